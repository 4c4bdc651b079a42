//! What has been sent and not cumulatively acknowledged: a ring indexed by TSN.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use bytes::Bytes;

use super::charge::{CHUNK_OVERHEAD, push_back, shrink};
use super::queued::{Fragment, Limit, MessageHeader};
use super::ranges::Ranges;
use crate::cost_counter;
use crate::message::StreamId;
use crate::serial::Tsn;
use crate::wire::DataChunk;

/// What is known of a chunk that was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ChunkState {
    /// On its way; counted in the flight size.
    InFlight,
    /// Taken as lost; to be sent again.
    Lost,
    /// Reported in a gap block, which the receiver may take back (RFC 9260 §6.2).
    GapAcked,
    /// Given up; a FORWARD-TSN will skip it (RFC 3758 §3.5).
    Abandoned,
}

/// A DATA chunk that was sent at least once, or that stands for the unsent rest of an abandoned message.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) message: MessageHeader,
    pub(crate) payload: Bytes,
    pub(crate) beginning: bool,
    pub(crate) ending: bool,
    pub(crate) fate: ChunkState,
    /// Times it was sent.
    pub(crate) transmissions: u32,
    /// Its latest transmission in the order of sending.
    pub(crate) transmission: u64,
    pub(crate) sent_at: Instant,
}

impl Chunk {
    /// Bytes that it takes in a packet, which is what congestion control counts.
    pub(crate) fn wire_len(&self) -> usize {
        DataChunk::encoded_len(self.payload.len())
    }

    pub(crate) fn header(&self, tsn: Tsn) -> DataChunk {
        DataChunk {
            tsn,
            stream: self.message.stream,
            ssn: self.message.ssn,
            ppid: self.message.ppid,
            unordered: self.message.unordered,
            beginning: self.beginning,
            ending: self.ending,
            immediate: self.message.immediate && self.ending,
        }
    }
}

/// Sums over the chunks in flight.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Flight {
    chunks: usize,
    /// Bytes that they take in packets.
    bytes: usize,
    /// Bytes of user data, which the peer's window counts.
    payload: usize,
}

impl Flight {
    fn add(&mut self, chunk: &Chunk) {
        self.chunks += 1;
        self.bytes += chunk.wire_len();
        self.payload += chunk.payload.len();
    }

    fn remove(&mut self, chunk: &Chunk) {
        self.chunks -= 1;
        self.bytes -= chunk.wire_len();
        self.payload -= chunk.payload.len();
    }
}

/// Position of the initial TSN. A turn of the circle lies below it, so that every TSN that a peer may name has a position.
const FIRST: u64 = 1 + (1 << 32);

/// Gap reports that one SACK can take back at most: a large window.
const FORGET_CREDIT_MAX: usize = 16_384;

/// Gap reports that any SACK can take back.
const FORGOTTEN_MIN: usize = 64;

/// The ring. A *position* is a TSN that does not wrap.
#[derive(Debug)]
pub(crate) struct Outstanding {
    initial: Tsn,
    ring: VecDeque<Chunk>,
    /// Position of the first chunk in the ring: one after the Cumulative TSN Ack Point.
    base: u64,
    flight: Flight,
    /// Advanced.Peer.Ack.Point (RFC 3758 §3.5 C2), as far as it was looked for.
    advanced: u64,
    /// Bytes of user data held, whatever their fate.
    payload_held: usize,
    lost: BTreeSet<u64>,
    gap_acked: Ranges,
    /// Gap reports that may be forgotten at once.
    forget_credit: usize,
}

impl Outstanding {
    pub(crate) fn new(initial: Tsn) -> Self {
        Self {
            initial,
            ring: VecDeque::new(),
            base: FIRST,
            flight: Flight::default(),
            advanced: FIRST - 1,
            payload_held: 0,
            lost: BTreeSet::new(),
            gap_acked: Ranges::default(),
            forget_credit: FORGET_CREDIT_MAX,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.ring.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Position of the Cumulative TSN Ack Point.
    pub(crate) fn cumulative(&self) -> u64 {
        self.base - 1
    }

    /// Position that the next new chunk gets.
    pub(crate) fn next(&self) -> u64 {
        self.base + self.ring.len() as u64
    }

    pub(crate) fn flight_size(&self) -> usize {
        self.flight.bytes
    }

    pub(crate) fn payload_in_flight(&self) -> usize {
        self.flight.payload
    }

    pub(crate) fn chunks_in_flight(&self) -> usize {
        self.flight.chunks
    }

    /// What the send buffer counts for the ring. A chunk that was given up has no payload any more, but holds its place
    /// until the peer has moved on.
    pub(crate) fn charge(&self) -> usize {
        self.payload_held + self.ring.len() * CHUNK_OVERHEAD
    }

    pub(crate) fn tsn(&self, position: u64) -> Tsn {
        // Positions count TSNs, which wrap at 32 bits: the low bits are what is wanted.
        #[expect(clippy::cast_possible_truncation, reason = "serial arithmetic wants the low 32 bits")]
        self.initial.add(position.wrapping_sub(FIRST) as u32)
    }

    /// The position of a TSN, by the shorter way from the cumulative point.
    pub(crate) fn position(&self, tsn: Tsn) -> u64 {
        let distance = tsn.distance_from(self.tsn(self.base)).cast_signed();
        self.base.saturating_add_signed(i64::from(distance))
    }

    pub(crate) fn chunk(&self, position: u64) -> Option<&Chunk> {
        self.ring.get(self.index(position)?)
    }

    fn index(&self, position: u64) -> Option<usize> {
        usize::try_from(position.checked_sub(self.base)?).ok()
    }

    /// A new chunk, on its way. Returns its position.
    pub(crate) fn push(&mut self, now: Instant, fragment: Fragment, transmission: u64) -> u64 {
        let position = self.next();
        let Fragment { message, payload, beginning, ending } = fragment;
        self.payload_held += payload.len();
        let chunk = Chunk {
            message,
            payload,
            beginning,
            ending,
            fate: ChunkState::InFlight,
            transmissions: 1,
            transmission,
            sent_at: now,
        };
        self.flight.add(&chunk);
        push_back(&mut self.ring, chunk);
        position
    }

    /// A TSN that is never sent: it stands for the unsent rest of an abandoned message, so that the peer is told to
    /// drop the fragments that it may have, even if it has acknowledged them all.
    pub(crate) fn push_placeholder(&mut self, now: Instant, message: MessageHeader) {
        let placeholder = Chunk {
            message,
            payload: Bytes::new(),
            beginning: false,
            ending: true,
            fate: ChunkState::Abandoned,
            transmissions: 0,
            transmission: 0,
            sent_at: now,
        };
        push_back(&mut self.ring, placeholder);
    }

    /// Moves the Cumulative TSN Ack Point, and hands `on_acked` each chunk that this acknowledges for the first time.
    pub(crate) fn acknowledge_to(&mut self, position: u64, mut on_acked: impl FnMut(u64, &Chunk)) {
        while self.base <= position {
            cost_counter::step();
            let Some(chunk) = self.ring.pop_front() else { break };
            self.payload_held -= chunk.payload.len();
            match chunk.fate {
                ChunkState::InFlight => {
                    self.flight.remove(&chunk);
                    on_acked(self.base, &chunk);
                }
                ChunkState::Lost => {
                    self.lost.remove(&self.base);
                    on_acked(self.base, &chunk);
                }
                ChunkState::GapAcked | ChunkState::Abandoned => {}
            }
            self.base += 1;
            self.forget_credit = (self.forget_credit + 1).min(FORGET_CREDIT_MAX);
        }
        self.advanced = self.advanced.max(self.cumulative());
        self.gap_acked.remove_below(self.base);
        if self.ring.is_empty() {
            // An idle association gives back what a large window took.
            self.ring.shrink_to(8);
        } else {
            shrink(&mut self.ring);
        }
    }

    /// Takes in one gap block, both ends inclusive, and hands `on_acked` each chunk that it acknowledges for the first
    /// time. Costs what is new, not what the block spans.
    pub(crate) fn acknowledge_gap(&mut self, start: u64, end: u64, mut on_acked: impl FnMut(u64, &Chunk)) {
        let Self { ring, base, gap_acked, lost, flight, .. } = self;
        gap_acked.insert(start, end, |from, to| {
            let first = usize::try_from(from - *base).unwrap_or(usize::MAX);
            let count = usize::try_from(to - from + 1).unwrap_or(usize::MAX);
            for (position, chunk) in (from..).zip(ring.iter_mut().skip(first).take(count)) {
                cost_counter::step();
                match chunk.fate {
                    ChunkState::InFlight => flight.remove(chunk),
                    ChunkState::Lost => {
                        lost.remove(&position);
                    }
                    // What was given up stays given up.
                    ChunkState::GapAcked | ChunkState::Abandoned => continue,
                }
                chunk.fate = ChunkState::GapAcked;
                on_acked(position, chunk);
            }
        });
    }

    /// Whether the receiver has taken gap reports back: it says that the first chunk is missing, which it had reported
    /// (RFC 9260 §6.2.1 D iii). A report of the first chunk cannot be a mere reordering of SACKs, since a receiver that
    /// has it would have moved its cumulative point.
    pub(crate) fn has_reneged(&self) -> bool {
        self.ring.front().is_some_and(|chunk| chunk.fate == ChunkState::GapAcked)
    }

    /// Forgets gap reports, the lowest first; chunks that were reported are to be sent again. A SACK of a few bytes can
    /// take back what a whole window was reported to have, and another can report it again. So only as many are forgotten as
    /// chunks were acknowledged cumulatively before; what remains is found missing by the SACKs that follow.
    pub(crate) fn forget_gap_reports(&mut self) {
        let limit = self.forget_credit.max(FORGOTTEN_MIN);
        let mut forgotten = 0;
        while forgotten < limit
            && let Some((start, end)) = self.gap_acked.first()
        {
            let end = end.min(start + (limit - forgotten) as u64 - 1);
            for position in start..=end {
                cost_counter::step();
                forgotten += 1;
                let chunk = self.index(position).and_then(|index| self.ring.get_mut(index));
                if let Some(chunk) = chunk.filter(|chunk| chunk.fate == ChunkState::GapAcked) {
                    chunk.fate = ChunkState::Lost;
                    self.lost.insert(position);
                }
            }
            self.gap_acked.remove_below(end + 1);
        }
        self.forget_credit = self.forget_credit.saturating_sub(forgotten);
    }

    pub(crate) fn gap_reports(&self) -> &Ranges {
        &self.gap_acked
    }

    /// Takes a chunk in flight as lost.
    pub(crate) fn mark_lost(&mut self, position: u64) {
        let Some(chunk) = self.index(position).and_then(|index| self.ring.get_mut(index)) else { return };
        if chunk.fate == ChunkState::InFlight {
            chunk.fate = ChunkState::Lost;
            self.flight.remove(chunk);
            self.lost.insert(position);
        }
    }

    /// The chunk asks for its SACK at once when it is sent again (RFC 7053), which it may be once in any case.
    pub(crate) fn request_sack(&mut self, position: u64) {
        if let Some(chunk) = self.index(position).and_then(|index| self.ring.get_mut(index)) {
            chunk.message.immediate = true;
            if let Limit::Retransmits(max) = &mut chunk.message.limit {
                *max = (*max).max(chunk.transmissions);
            }
        }
    }

    /// Positions of chunks in flight, in order.
    pub(crate) fn in_flight(&self) -> impl DoubleEndedIterator<Item = u64> {
        let base = self.base;
        let in_flight = self.ring.iter().enumerate().filter(|(_, chunk)| chunk.fate == ChunkState::InFlight);
        in_flight.map(move |(index, _)| base + index as u64)
    }

    pub(crate) fn first_lost(&self) -> Option<u64> {
        self.lost.first().copied()
    }

    pub(crate) fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// A lost chunk is on its way again.
    pub(crate) fn on_retransmitted(&mut self, now: Instant, position: u64, transmission: u64) {
        if !self.lost.remove(&position) {
            return;
        }
        let Some(chunk) = self.index(position).and_then(|index| self.ring.get_mut(index)) else { return };
        chunk.fate = ChunkState::InFlight;
        chunk.transmissions = chunk.transmissions.saturating_add(1);
        chunk.transmission = transmission;
        chunk.sent_at = now;
        self.flight.add(chunk);
    }

    /// Gives up every fragment of the message that the chunk at `position` belongs to (RFC 3758 §3.5 A3). Fragments of a
    /// message are neighbours.
    pub(crate) fn abandon_message(&mut self, position: u64) {
        let Some(key) = self.chunk(position).map(|chunk| chunk.message.key) else { return };
        let mut first = position;
        while first > self.base && self.chunk(first - 1).is_some_and(|chunk| chunk.message.key == key) {
            first -= 1;
        }
        let mut at = first;
        while let Some(index) = self.index(at)
            && let Some(chunk) = self.ring.get_mut(index).filter(|chunk| chunk.message.key == key)
        {
            match chunk.fate {
                ChunkState::InFlight => self.flight.remove(chunk),
                ChunkState::Lost => {
                    self.lost.remove(&at);
                }
                ChunkState::GapAcked | ChunkState::Abandoned => {}
            }
            self.payload_held -= chunk.payload.len();
            chunk.fate = ChunkState::Abandoned;
            // Nothing of it is sent again, so its bytes need not be kept.
            chunk.payload = Bytes::new();
            at += 1;
        }
    }

    /// From now on nothing of a stream is sent again. Returns the positions of what is not acknowledged.
    pub(crate) fn send_once(&mut self, stream: StreamId) -> Vec<u64> {
        let chunks = (self.base..).zip(&mut self.ring).filter(|(_, chunk)| chunk.message.stream == stream);
        let unacknowledged = chunks.filter(|(_, chunk)| matches!(chunk.fate, ChunkState::InFlight | ChunkState::Lost));
        unacknowledged
            .map(|(position, chunk)| {
                chunk.message.limit = Limit::Retransmits(0);
                position
            })
            .collect()
    }

    /// The Advanced.Peer.Ack.Point (RFC 3758 §3.5 C2): the last of the abandoned chunks that follow the cumulative
    /// point without a break. Equal to the cumulative point if there is none. It only moves up, so each chunk is passed
    /// once.
    pub(crate) fn advanced_peer_ack_point(&mut self) -> u64 {
        while self.chunk(self.advanced + 1).is_some_and(|chunk| chunk.fate == ChunkState::Abandoned) {
            cost_counter::step();
            self.advanced += 1;
        }
        self.advanced
    }

    /// Whether a FORWARD-TSN would move the peer.
    pub(crate) fn has_abandoned_front(&self) -> bool {
        self.ring.front().is_some_and(|chunk| chunk.fate == ChunkState::Abandoned)
    }

    /// The abandoned chunks that follow the cumulative point without a break.
    pub(crate) fn abandoned_front(&self) -> impl Iterator<Item = &Chunk> {
        self.ring.iter().take_while(|chunk| chunk.fate == ChunkState::Abandoned)
    }

    pub(crate) fn check_consistency(&self) {
        let mut flight = Flight::default();
        self.ring.iter().filter(|chunk| chunk.fate == ChunkState::InFlight).for_each(|chunk| flight.add(chunk));
        assert_eq!(flight, self.flight, "flight size");
        assert_eq!(self.ring.iter().map(|chunk| chunk.payload.len()).sum::<usize>(), self.payload_held);
        self.gap_acked.check_consistency();
        let positions = (self.base..).zip(&self.ring);
        for (position, chunk) in positions {
            assert_eq!(self.lost.contains(&position), chunk.fate == ChunkState::Lost, "lost set at {position}");
            let is_reported = self.gap_acked.contains(position);
            assert!(is_reported || chunk.fate != ChunkState::GapAcked, "{position} is gap-acked and in no range");
            assert!(!is_reported || matches!(chunk.fate, ChunkState::GapAcked | ChunkState::Abandoned));
            assert!(chunk.transmissions > 0 || chunk.fate == ChunkState::Abandoned);
        }
        assert!(self.lost.first().is_none_or(|first| *first >= self.base));
        assert!(self.gap_acked.highest().is_none_or(|highest| highest < self.next()));
        assert!((self.cumulative()..self.next()).contains(&self.advanced));
        assert!(
            (self.base..=self.advanced)
                .all(|at| self.chunk(at).is_some_and(|chunk| chunk.fate == ChunkState::Abandoned))
        );
    }
}
