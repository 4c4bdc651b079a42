//! Moving the peer past abandoned chunks: FORWARD-TSN and the Advanced.Peer.Ack.Point (RFC 3758 §3.5), and
//! I-FORWARD-TSN (RFC 8260 §2.3.1).

use std::ops::ControlFlow;

use super::data_format::DataFormat;
use super::outstanding::{Chunk, ChunkState, Outstanding};
use super::queued::MessageHeader;
use crate::cost_counter;
use crate::path::Path;
use crate::serial::UnwrappedTsn;
use crate::time::Instant;
use crate::wire::{ForwardTsn, IForwardTsn, SkippedMessage};

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
        self.is_due = self.is_due || self.has_waited(now, path) || self.has_advanced(now, outstanding);
    }

    /// Returns `true` if the answer to the last FORWARD-TSN could be here.
    fn has_waited(&self, now: Instant, path: &Path) -> bool {
        let wait = path.rto.srtt().unwrap_or_else(|| path.rto.current());
        self.sent.is_none_or(|sent| now >= sent.at + wait)
    }

    /// Handles the abandonment of a message.
    pub(super) fn on_abandoned(&mut self, now: Instant, outstanding: &mut Outstanding) {
        self.is_due |= outstanding.has_abandoned_front() && self.has_advanced(now, outstanding);
    }

    /// Handles the expiry of T3-rtx (RFC 3758 §3.5 A5). One that a SACK has just made due is on its way still, and the
    /// next expiry comes when that has had its time.
    pub(super) fn on_t3_timeout(&mut self, now: Instant, outstanding: &mut Outstanding, path: &Path) {
        if self.can_abandon && outstanding.has_abandoned_front() {
            self.is_due |= self.has_waited(now, path) || self.has_advanced(now, outstanding);
        }
    }

    /// Returns `true` if the last FORWARD-TSN said less than one would say now, or the peer has done what it said.
    fn has_advanced(&self, now: Instant, outstanding: &mut Outstanding) -> bool {
        let point = outstanding.advanced_peer_ack_point(now);
        let cumulative = outstanding.cumulative_tsn_ack_point();
        self.sent.is_none_or(|sent| point > sent.advanced_peer_ack_point || cumulative >= sent.end)
    }

    /// Writes the FORWARD-TSN that is due into `room` bytes (RFC 3758 §3.5 C3 to C5), or the I-FORWARD-TSN if messages
    /// interleave. The streams that do not fit follow when the peer has taken the first part.
    pub(super) fn write(
        &mut self,
        now: Instant,
        room: usize,
        format: DataFormat,
        outstanding: &mut Outstanding,
        out: &mut Vec<u8>,
    ) {
        let advanced_peer_ack_point = outstanding.advanced_peer_ack_point(now);
        let mut skipped = SkippedMessages { format, room, entries: Vec::new() };
        let mut end = outstanding.cumulative_tsn_ack_point();
        for chunk in outstanding.abandoned_front().take(SKIPPED_MAX) {
            cost_counter::step();
            if skipped.add(chunk).is_break() {
                break;
            }
            end = end.next();
        }
        if encoded_len(format, skipped.entries.len()) > room {
            return;
        }
        self.is_due = false;
        if end > outstanding.cumulative_tsn_ack_point() {
            tracing::debug!(new_cumulative_tsn = end.wrap().0, streams = skipped.entries.len(), "FORWARD TSN sent");
            self.sent = Some(SentForwardTsn { advanced_peer_ack_point, end, at: now });
            let skipped = skipped.entries.into_iter().map(|entry| entry.last);
            match format {
                DataFormat::Data => {
                    ForwardTsn::encode(end.wrap(), skipped.map(|entry| (entry.stream, entry.mid.to_ssn())), out);
                }
                DataFormat::IData => IForwardTsn::encode(end.wrap(), skipped, out),
            }
        }
    }
}

/// The messages that a FORWARD-TSN names.
struct SkippedMessages {
    format: DataFormat,
    /// Bytes for the chunk.
    room: usize,
    entries: Vec<SkippedEntry>,
}

/// Skipped messages of one stream with no message between them that has arrived.
struct SkippedEntry {
    /// The last of them.
    last: SkippedMessage,
    /// True if a message of the stream that has arrived follows.
    is_finished: bool,
}

impl SkippedMessages {
    /// Adds the message of a chunk that is passed. Breaks if there is no room for another entry.
    ///
    /// An entry skips all messages of the stream up to its own (RFC 3758 §3.5 C4 names a stream once, if it can be). A
    /// receiver delivers those that have arrived, at the entry before the skipped ones that follow; dcSCTP discards
    /// them if there is no such entry, against §3.6. So the stream is named before each message that has arrived.
    fn add(&mut self, chunk: &Chunk) -> ControlFlow<()> {
        let MessageHeader { stream, unordered, mid, .. } = chunk.message;
        // DATA has no numbers for unordered messages: their TSNs say what is skipped.
        if unordered && !self.format.interleaves() {
            return ControlFlow::Continue(());
        }
        let has_room = encoded_len(self.format, self.entries.len() + 1) <= self.room;
        let mut entries = self.entries.iter_mut().rev();
        let entry = entries.find(|entry| (entry.last.stream, entry.last.unordered) == (stream, unordered));
        match entry {
            Some(entry) if chunk.state == ChunkState::Passed => entry.is_finished |= !unordered,
            // A stream sends one message after the other, so the last number is the highest.
            Some(entry) if !entry.is_finished => entry.last.mid = mid,
            _ if chunk.state == ChunkState::Passed => {}
            _ if !has_room => return ControlFlow::Break(()),
            _ => {
                let last = SkippedMessage { stream, unordered, mid };
                self.entries.push(SkippedEntry { last, is_finished: false });
            }
        }
        ControlFlow::Continue(())
    }
}

/// Returns the number of bytes of the chunk with so many entries.
fn encoded_len(format: DataFormat, entries: usize) -> usize {
    match format {
        DataFormat::Data => ForwardTsn::encoded_len(entries),
        DataFormat::IData => IForwardTsn::encoded_len(entries),
    }
}
