//! Moving the peer past abandoned chunks: FORWARD-TSN and the Advanced.Peer.Ack.Point (RFC 3758 §3.5).

use super::outstanding::Outstanding;
use crate::cost_counter;
use crate::message::StreamId;
use crate::path::Path;
use crate::serial::{Ssn, UnwrappedTsn};
use crate::time::Instant;
use crate::wire::ForwardTsn;

/// Most chunks that one FORWARD-TSN skips, so that it costs little to write. The rest follows when the peer has moved.
const SKIPPED_MAX: usize = 1024;

/// State of FORWARD-TSNs: the last one that was sent, and if another is due.
#[derive(Debug, Default)]
pub(super) struct ForwardPoint {
    /// True if the peer supports FORWARD-TSN; without it no message is abandoned that was begun.
    can_abandon: bool,
    is_due: bool,
    sent: Option<SentForwardTsn>,
}

/// The last FORWARD-TSN that was sent.
#[derive(Clone, Copy, Debug)]
struct SentForwardTsn {
    /// The Advanced.Peer.Ack.Point at that time.
    advanced_peer_ack_point: UnwrappedTsn,
    /// New Cumulative TSN that it gives the peer; less than `advanced_peer_ack_point` if not all streams fit the
    /// packet.
    end: UnwrappedTsn,
    at: Instant,
}

impl ForwardPoint {
    pub(super) fn on_established(&mut self, can_abandon: bool) {
        self.can_abandon = can_abandon;
    }

    pub(super) fn can_abandon(&self) -> bool {
        self.can_abandon
    }

    pub(super) fn is_due(&self) -> bool {
        self.is_due
    }

    /// Clears the state, because the association is over and sends no more.
    pub(super) fn clear(&mut self) {
        self.is_due = false;
        self.sent = None;
    }

    /// Handles a SACK. RFC 3758 §3.5 C3 has a FORWARD-TSN follow each SACK that lags behind the
    /// Advanced.Peer.Ack.Point. The peer answers each with a SACK, so the two would circle without end, as fast as the
    /// path lets them. One for the same point therefore waits for a round trip (§3.5 F2); if no SACK comes after that,
    /// T3 sends it.
    pub(super) fn on_sack(&mut self, now: Instant, outstanding: &mut Outstanding, path: &Path) {
        if !self.can_abandon || !outstanding.has_abandoned_front() {
            self.is_due = false;
            return;
        }
        let wait = path.rto.srtt().unwrap_or_else(|| path.rto.current());
        let has_waited = self.sent.is_none_or(|sent| now >= sent.at + wait);
        self.is_due = self.is_due || has_waited || self.has_advanced(outstanding);
    }

    /// Handles the abandonment of a message.
    pub(super) fn on_abandoned(&mut self, outstanding: &mut Outstanding) {
        self.is_due |= outstanding.has_abandoned_front() && self.has_advanced(outstanding);
    }

    /// Handles the expiry of T3-rtx (RFC 3758 §3.5 A5).
    pub(super) fn on_t3_timeout(&mut self, outstanding: &Outstanding) {
        self.is_due |= self.can_abandon && outstanding.has_abandoned_front();
    }

    /// Returns `true` if the last FORWARD-TSN said less than one would say now, or the peer has done what it said.
    fn has_advanced(&self, outstanding: &mut Outstanding) -> bool {
        let point = outstanding.advanced_peer_ack_point();
        let cumulative = outstanding.cumulative_tsn_ack_point();
        self.sent.is_none_or(|sent| point > sent.advanced_peer_ack_point || cumulative >= sent.end)
    }

    /// Writes the FORWARD-TSN that is due into `room` bytes (RFC 3758 §3.5 C3 to C5). The streams that do not fit
    /// follow when the peer has taken the first part.
    pub(super) fn write(&mut self, now: Instant, room: usize, outstanding: &mut Outstanding, out: &mut Vec<u8>) {
        let mut skipped: Vec<(StreamId, Ssn)> = Vec::new();
        let mut end = outstanding.cumulative_tsn_ack_point();
        for chunk in outstanding.abandoned_front().take(SKIPPED_MAX) {
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
        self.is_due = false;
        if end > outstanding.cumulative_tsn_ack_point() {
            let advanced_peer_ack_point = outstanding.advanced_peer_ack_point();
            tracing::debug!(new_cumulative_tsn = end.wrap().0, streams = skipped.len(), "FORWARD TSN sent");
            self.sent = Some(SentForwardTsn { advanced_peer_ack_point, end, at: now });
            ForwardTsn::encode(end.wrap(), skipped.into_iter(), out);
        }
    }
}
