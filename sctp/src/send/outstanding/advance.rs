//! The Advanced.Peer.Ack.Point: how far a FORWARD-TSN moves the peer (RFC 3758 §3.5 C2).

use super::super::queued::MessageHeader;
use super::{Chunk, ChunkState, Outstanding};
use crate::cost_counter;
use crate::message::StreamId;
use crate::serial::UnwrappedTsn;
use crate::time::Instant;

/// Most chunks of a message that the point passes because the message has arrived. A longer one rarely arrives whole
/// without retransmissions, and would be looked at again with each SACK.
const ARRIVED_CHUNKS_MAX: usize = 64;

/// Most chunks that are looked at beyond the point, so that a SACK costs little.
const SCANNED_MAX: u64 = 1024;

/// Most streams of which messages have arrived behind the point and none was abandoned since.
const UNNAMED_MAX: usize = 16;

/// The point, as far as it was looked for. It only moves up.
#[derive(Debug)]
pub(super) struct PeerAckPoint {
    /// The last abandoned chunk that a FORWARD-TSN may name; the Cumulative TSN Ack Point if there is none.
    last: UnwrappedTsn,
    /// The last chunk that was looked at. Between the point and it are messages that have arrived, and abandoned ones.
    scanned: UnwrappedTsn,
    /// Streams of which an ordered message between the two has arrived, and none behind that was abandoned.
    unnamed: Vec<StreamId>,
}

impl PeerAckPoint {
    pub(super) fn at(last: UnwrappedTsn) -> Self {
        Self { last, scanned: last, unnamed: Vec::new() }
    }

    pub(super) fn on_acknowledged(&mut self, cumulative: UnwrappedTsn) {
        if cumulative > self.last {
            self.last = cumulative;
            self.rescan();
        }
    }

    /// Looks at what is behind the point again: the peer has moved, or messages may not have arrived after all.
    pub(super) fn rescan(&mut self) {
        self.scanned = self.last;
        self.unnamed = Vec::new();
    }

    /// Returns true if the point may pass a message that has arrived, as far as its stream is concerned.
    fn may_pass(&mut self, message: &MessageHeader) -> bool {
        if message.unordered || self.unnamed.contains(&message.stream) {
            return true;
        }
        let has_room = self.unnamed.len() < UNNAMED_MAX;
        if has_room {
            self.unnamed.push(message.stream);
        }
        has_room
    }
}

impl Outstanding {
    /// Returns the Advanced.Peer.Ack.Point: the last abandoned chunk that a FORWARD-TSN may name. Equal to the
    /// Cumulative TSN Ack Point if there is none.
    ///
    /// Between two abandoned chunks the point passes messages that have arrived whole, if their limits forbid
    /// retransmissions: even if the peer reneged, they would be abandoned at once. Otherwise a FORWARD-TSN would fill
    /// one gap, and those behind it would take a round trip each. Behind each ordered message that is passed the
    /// FORWARD-TSN names an abandoned one of its stream, so that a peer that has reneged does not wait for it.
    pub(crate) fn advanced_peer_ack_point(&mut self, now: Instant) -> UnwrappedTsn {
        let mut next = self.peer_ack_point.scanned.next();
        while next.distance_from(self.peer_ack_point.last) <= SCANNED_MAX
            && let Some(chunk) = self.chunk(next)
        {
            cost_counter::step();
            let message = chunk.message;
            if chunk.state == ChunkState::Abandoned {
                if !message.unordered {
                    self.peer_ack_point.unnamed.retain(|stream| *stream != message.stream);
                }
                if self.peer_ack_point.unnamed.is_empty() {
                    self.pass_to(next);
                }
            } else if self.peer_ack_point.last > self.cumulative_tsn_ack_point()
                && let Some(last) = self.end_of_arrived(next, now)
                && self.peer_ack_point.may_pass(&message)
            {
                next = last;
            } else {
                break;
            }
            next = next.next();
        }
        self.peer_ack_point.scanned = next.prev();
        self.peer_ack_point.last
    }

    /// Moves the point to an abandoned chunk, past messages that have arrived and others that were abandoned.
    fn pass_to(&mut self, abandoned: UnwrappedTsn) {
        for tsn in self.peer_ack_point.last.next().through(abandoned.prev()) {
            cost_counter::step();
            let Some(chunk) = self.chunk_mut(tsn).filter(|chunk| chunk.state == ChunkState::GapAcked) else { continue };
            chunk.state = ChunkState::Passed;
            let payload = std::mem::take(&mut chunk.payload);
            self.payload_held -= payload.len();
        }
        self.peer_ack_point.last = abandoned;
    }

    /// Returns the last chunk of a message that begins with the chunk `first`, if the message has arrived whole and its
    /// limit forbids retransmissions. `None`, too, if chunks of other messages are between its own.
    fn end_of_arrived(&self, first: UnwrappedTsn, now: Instant) -> Option<UnwrappedTsn> {
        let key = self.chunk(first).filter(|chunk| chunk.place.beginning)?.message.key;
        let chunks = self.ring.range(self.index(first)?..).take(ARRIVED_CHUNKS_MAX);
        for (chunk, tsn) in chunks.zip(first.through(first.add(ARRIVED_CHUNKS_MAX as u64))) {
            cost_counter::step();
            if chunk.state != ChunkState::GapAcked || chunk.message.key != key || !chunk.is_exhausted(now) {
                return None;
            }
            if chunk.place.ending {
                return Some(tsn);
            }
        }
        None
    }

    /// Returns `true` if a FORWARD-TSN would move the peer.
    pub(crate) fn has_abandoned_front(&self) -> bool {
        self.ring.front().is_some_and(Chunk::is_skipped)
    }

    /// Returns the chunks up to the Advanced.Peer.Ack.Point: abandoned ones, and those that have arrived between them.
    pub(crate) fn abandoned_front(&self) -> impl Iterator<Item = &Chunk> {
        self.ring.iter().take_while(|chunk| chunk.is_skipped())
    }

    pub(super) fn check_peer_ack_point(&self) {
        let PeerAckPoint { last, scanned, .. } = self.peer_ack_point;
        assert!(self.cumulative_tsn_ack_point() <= last && last <= scanned && scanned < self.next_tsn());
        for (tsn, chunk) in self.base.through(self.last_assigned_tsn()).zip(&self.ring) {
            assert!(tsn > last || chunk.is_skipped(), "{tsn:?} is below the Advanced.Peer.Ack.Point");
            assert!(tsn <= last || chunk.state != ChunkState::Passed, "{tsn:?} was passed too early");
        }
    }
}

impl Chunk {
    /// Returns `true` if a FORWARD-TSN skips the chunk.
    fn is_skipped(&self) -> bool {
        matches!(self.state, ChunkState::Abandoned | ChunkState::Passed)
    }
}
