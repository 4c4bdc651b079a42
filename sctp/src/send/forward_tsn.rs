//! Moving the peer past what was abandoned (RFC 3758 §3.5).

use std::time::Instant;

use super::Sender;
use crate::cost_counter;
use crate::message::StreamId;
use crate::path::Rto;
use crate::serial::{Ssn, UnwrappedTsn};
use crate::wire::ForwardTsn;

/// Most chunks that one FORWARD-TSN skips, so that it costs little to write. The rest follows when the peer has moved.
const SKIPPED_MAX: usize = 1024;

/// The last FORWARD-TSN that was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct SentForwardTsn {
    /// The Advanced.Peer.Ack.Point at that time.
    advanced_peer_ack_point: UnwrappedTsn,
    /// How far it moves the peer; less than `advanced_peer_ack_point` if not all streams fit the packet.
    end: UnwrappedTsn,
    at: Instant,
}

impl Sender {
    /// A SACK came in. RFC 3758 §3.5 C3 has a FORWARD-TSN follow each SACK that lags behind the Advanced.Peer.Ack.Point.
    /// The peer answers each with a SACK, so the two would circle without end, as fast as the path lets them. One for the
    /// same point therefore waits for a round trip (§3.5 F2); if no SACK comes after that, T3 sends it.
    pub(super) fn schedule_forward_tsn(&mut self, now: Instant, rto: &Rto) {
        let has_waited = self.forward_tsn_sent.is_none_or(|sent| now >= sent.at + rto.srtt().unwrap_or(rto.current()));
        self.is_forward_tsn_due = self.can_abandon
            && self.outstanding.has_abandoned_front()
            && (self.is_forward_tsn_due || has_waited || self.has_new_forward_point());
    }

    /// Something was abandoned.
    pub(super) fn on_abandoned(&mut self) {
        self.is_forward_tsn_due |= self.outstanding.has_abandoned_front() && self.has_new_forward_point();
    }

    /// T3 expired (RFC 3758 §3.5 A5).
    pub(super) fn renew_forward_tsn(&mut self) {
        self.is_forward_tsn_due |= self.can_abandon && self.outstanding.has_abandoned_front();
    }

    /// Returns true if the last FORWARD-TSN said less than one would say now, or the peer has done what it said.
    fn has_new_forward_point(&mut self) -> bool {
        let point = self.outstanding.advanced_peer_ack_point();
        let cumulative = self.outstanding.cumulative_tsn_ack_point();
        self.forward_tsn_sent.is_none_or(|sent| point > sent.advanced_peer_ack_point || cumulative >= sent.end)
    }

    /// RFC 3758 §3.5 C3 to C5. What does not fit the packet follows when the peer has taken the first part.
    pub(super) fn write_forward_tsn(&mut self, now: Instant, room: usize, out: &mut Vec<u8>) {
        let mut skipped: Vec<(StreamId, Ssn)> = Vec::new();
        let mut end = self.outstanding.cumulative_tsn_ack_point();
        for chunk in self.outstanding.abandoned_front().take(SKIPPED_MAX) {
            cost_counter::step();
            if !chunk.message.unordered {
                let (stream, ssn) = (chunk.message.stream, chunk.message.ssn);
                let has_room = ForwardTsn::encoded_len(skipped.len() + 1) <= room;
                match skipped.iter_mut().find(|entry| entry.0 == stream) {
                    Some(entry) => entry.1 = ssn,
                    None if !has_room => break,
                    None => skipped.push((stream, ssn)),
                }
            }
            end = end.next();
        }
        if ForwardTsn::encoded_len(skipped.len()) > room {
            return;
        }
        self.is_forward_tsn_due = false;
        if end > self.outstanding.cumulative_tsn_ack_point() {
            let advanced_peer_ack_point = self.outstanding.advanced_peer_ack_point();
            self.forward_tsn_sent = Some(SentForwardTsn { advanced_peer_ack_point, end, at: now });
            ForwardTsn::encode(end.wrap(), skipped.into_iter(), out);
        }
    }
}
