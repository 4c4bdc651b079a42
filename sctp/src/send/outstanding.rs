//! Chunks that were sent and not cumulatively acknowledged: a ring indexed by TSN.

mod advance;

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use self::advance::PeerAckPoint;
use super::charge::{CHUNK_OVERHEAD, push_back, shrink};
use super::data_format::DataFormat;
use super::flight::Flight;
use super::packet_place::PlaceInPacket;
use super::queued::{Fragment, FragmentPlace, Limit, MessageHeader};
use crate::cost_counter;
use crate::interval_set::{Interval, IntervalSet};
use crate::message::StreamId;
use crate::serial::{Fsn, Ssn, TransmissionNumber, Tsn, UnwrappedTsn};
use crate::time::Instant;
use crate::wire::{DataChunk, IDataChunk};

/// State of an outstanding chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ChunkState {
    /// Sent, and neither acknowledged nor lost; counted in the flight size. A chunk begins here, and comes back by a
    /// retransmission.
    InFlight,
    /// Lost; to be retransmitted.
    Lost,
    /// Reported in a gap block. The receiver may take the report back (RFC 9260 §6.2), which makes the chunk lost.
    GapAcked,
    /// Its message was abandoned; a FORWARD-TSN will skip it (RFC 3758 §3.5). A chunk stays here.
    Abandoned,
    /// Reported in a gap block, and below the Advanced.Peer.Ack.Point: the peer has its message, which is not
    /// retransmitted even if the report is taken back. A chunk stays here.
    Passed,
}

/// A chunk of user data that was sent at least once, or that stands for the unsent rest of an abandoned message.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) message: MessageHeader,
    pub(crate) payload: Bytes,
    pub(crate) place: FragmentPlace,
    format: DataFormat,
    pub(crate) state: ChunkState,
    /// Times it was sent.
    pub(crate) transmissions: u32,
    /// Its latest transmission in the order of sending.
    pub(crate) transmission: TransmissionNumber,
    pub(crate) sent_at: Instant,
    /// Place of the latest transmission in its packet.
    pub(crate) packet_place: PlaceInPacket,
    /// Steps back to the TSN of the message's fragment before, and on to that of the one behind; 0 if there is none.
    /// Fragments of a message need not be neighbours.
    to_previous: u32,
    to_next: u32,
}

/// Returns the number of TSNs from one fragment to a later one of the same message; 0 if there is no earlier one.
fn steps_between(previous: UnwrappedTsn, next: UnwrappedTsn) -> u32 {
    if previous == UnwrappedTsn::BEFORE_ALL { 0 } else { u32::try_from(next.distance_from(previous)).unwrap_or(0) }
}

impl Chunk {
    /// Creates a chunk that is sent for the first time.
    pub(crate) fn new(
        now: Instant,
        tsn: UnwrappedTsn,
        fragment: Fragment,
        format: DataFormat,
        transmission: TransmissionNumber,
    ) -> Self {
        let Fragment { message, payload, place, previous_tsn } = fragment;
        Self {
            message: MessageHeader { immediate: message.immediate && place.ending, ..message },
            payload,
            place,
            format,
            state: ChunkState::InFlight,
            transmissions: 1,
            transmission,
            sent_at: now,
            packet_place: PlaceInPacket { crosses_floor: false, begins_packet: true },
            to_previous: steps_between(previous_tsn, tsn),
            to_next: 0,
        }
    }

    /// Returns true if the limit of the chunk's message forbids a retransmission.
    pub(super) fn is_exhausted(&self, now: Instant) -> bool {
        match self.message.limit {
            Limit::Never | Limit::Priority(_) => false,
            Limit::Retransmits(max) | Limit::Discarded(max) => self.transmissions > max,
            limit @ Limit::Until(_) => limit.is_expired(now),
        }
    }

    /// Returns the bytes that the chunk takes in a packet, which are what congestion control counts.
    pub(crate) fn wire_len(&self) -> usize {
        self.format.encoded_len(self.payload.len())
    }

    /// Appends the chunk to a packet.
    pub(crate) fn encode(&self, tsn: UnwrappedTsn, out: &mut Vec<u8>) {
        let FragmentPlace { fsn, beginning, ending } = self.place;
        let MessageHeader { stream, mid, ppid, unordered, immediate, .. } = self.message;
        let (tsn, payload) = (tsn.wrap(), &self.payload);
        match self.format {
            DataFormat::Data => {
                let ssn = if unordered { Ssn(0) } else { mid.to_ssn() };
                DataChunk { tsn, stream, ssn, ppid, unordered, beginning, ending, immediate }.encode(payload, out);
            }
            DataFormat::IData => {
                IDataChunk { tsn, stream, mid, ppid, fsn, unordered, beginning, ending, immediate }
                    .encode(payload, out);
            }
        }
    }
}

/// Gap reports that one SACK can take back at most: a large window.
const FORGET_CREDIT_MAX: usize = 16_384;

/// Gap reports that any SACK can take back.
const FORGOTTEN_MIN: usize = 64;

/// The ring.
#[derive(Debug)]
pub(crate) struct Outstanding {
    ring: VecDeque<Chunk>,
    /// TSN of the first chunk in the ring: one after the Cumulative TSN Ack Point.
    base: UnwrappedTsn,
    flight: Flight,
    peer_ack_point: PeerAckPoint,
    /// Bytes of user data held, whatever the state of their chunks.
    payload_held: usize,
    lost: BTreeSet<UnwrappedTsn>,
    gap_acked: IntervalSet<UnwrappedTsn>,
    /// Gap reports that may be forgotten at once.
    forget_credit: usize,
}

impl Outstanding {
    pub(crate) fn new(initial: Tsn) -> Self {
        let base = UnwrappedTsn::first(initial);
        Self {
            ring: VecDeque::new(),
            base,
            flight: Flight::default(),
            peer_ack_point: PeerAckPoint::at(base.prev()),
            payload_held: 0,
            lost: BTreeSet::new(),
            gap_acked: IntervalSet::default(),
            forget_credit: FORGET_CREDIT_MAX,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.ring.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// Returns the Cumulative TSN Ack Point (RFC 9260 §2.4).
    pub(crate) fn cumulative_tsn_ack_point(&self) -> UnwrappedTsn {
        self.base.prev()
    }

    /// Returns the TSN that the next new chunk gets.
    pub(crate) fn next_tsn(&self) -> UnwrappedTsn {
        self.base.add(self.ring.len() as u64)
    }

    /// Returns the last TSN that was assigned.
    pub(crate) fn last_assigned_tsn(&self) -> UnwrappedTsn {
        self.next_tsn().prev()
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

    /// Returns the number of bytes that the send buffer counts for the ring. A chunk that was abandoned has no payload
    /// any more, but holds its place until the peer has moved on.
    pub(crate) fn charge(&self) -> usize {
        self.payload_held + self.ring.len() * CHUNK_OVERHEAD
    }

    /// Unwraps a TSN that the peer has named, around the first that is outstanding.
    pub(crate) fn unwrap(&self, tsn: Tsn) -> UnwrappedTsn {
        self.base.unwrap_near(tsn)
    }

    pub(crate) fn chunk(&self, tsn: UnwrappedTsn) -> Option<&Chunk> {
        self.ring.get(self.index(tsn)?)
    }

    fn chunk_mut(&mut self, tsn: UnwrappedTsn) -> Option<&mut Chunk> {
        let index = self.index(tsn)?;
        self.ring.get_mut(index)
    }

    fn index(&self, tsn: UnwrappedTsn) -> Option<usize> {
        if tsn < self.base { None } else { usize::try_from(tsn.distance_from(self.base)).ok() }
    }

    /// Adds a new chunk, which is in flight. It has [`next_tsn`](Self::next_tsn). Returns it in its place.
    #[inline]
    pub(crate) fn push(&mut self, chunk: Chunk) -> Option<&mut Chunk> {
        if chunk.to_previous > 0 {
            let previous = self.next_tsn().sub(chunk.to_previous.into());
            if let Some(previous) = self.chunk_mut(previous) {
                previous.to_next = chunk.to_previous;
            }
        }
        self.payload_held += chunk.payload.len();
        self.flight.add(chunk.wire_len(), chunk.payload.len());
        push_back(&mut self.ring, chunk);
        self.ring.back_mut()
    }

    /// Pushes a TSN that is never sent: it stands for the unsent rest of an abandoned message, so that the peer is told
    /// to drop the fragments that it may have, even if it has acknowledged them all.
    pub(crate) fn push_placeholder(&mut self, now: Instant, message: MessageHeader) {
        let placeholder = Chunk {
            message,
            payload: Bytes::new(),
            place: FragmentPlace { fsn: Fsn::default(), beginning: false, ending: true },
            format: DataFormat::default(),
            state: ChunkState::Abandoned,
            transmissions: 0,
            transmission: TransmissionNumber::default(),
            sent_at: now,
            packet_place: PlaceInPacket { crosses_floor: false, begins_packet: false },
            to_previous: 0,
            to_next: 0,
        };
        push_back(&mut self.ring, placeholder);
    }

    /// Moves the Cumulative TSN Ack Point, and hands `on_acked` each chunk that this acknowledges for the first time,
    /// in the state before.
    pub(crate) fn acknowledge_to(&mut self, tsn: UnwrappedTsn, mut on_acked: impl FnMut(UnwrappedTsn, &Chunk)) {
        while self.base <= tsn {
            cost_counter::step();
            let Some(chunk) = self.ring.pop_front() else { break };
            self.payload_held -= chunk.payload.len();
            match chunk.state {
                ChunkState::InFlight => {
                    self.flight.remove(chunk.wire_len(), chunk.payload.len());
                    on_acked(self.base, &chunk);
                }
                ChunkState::Lost => {
                    self.lost.remove(&self.base);
                    on_acked(self.base, &chunk);
                }
                ChunkState::GapAcked | ChunkState::Abandoned | ChunkState::Passed => {}
            }
            self.base = self.base.next();
            self.forget_credit = (self.forget_credit + 1).min(FORGET_CREDIT_MAX);
        }
        self.peer_ack_point.on_acknowledged(self.base.prev());
        self.gap_acked.remove_below(self.base);
        if self.ring.is_empty() {
            // An idle association gives back what a large window took.
            self.ring.shrink_to(8);
        } else {
            shrink(&mut self.ring);
        }
    }

    /// Takes in one gap block, both ends inclusive, and hands `on_acked` each chunk that it acknowledges for the first
    /// time, in the state before. Costs what is new, not what the block spans.
    pub(crate) fn acknowledge_gap(
        &mut self,
        start: UnwrappedTsn,
        end: UnwrappedTsn,
        mut on_acked: impl FnMut(UnwrappedTsn, &Chunk),
    ) {
        let Self { ring, base, gap_acked, lost, flight, .. } = self;
        gap_acked.insert_interval(Interval { first: start, last: end }, |new| {
            let first = usize::try_from(new.first.distance_from(*base)).unwrap_or(usize::MAX);
            for (tsn, chunk) in new.first.through(new.last).zip(ring.iter_mut().skip(first)) {
                cost_counter::step();
                match chunk.state {
                    ChunkState::InFlight => flight.remove(chunk.wire_len(), chunk.payload.len()),
                    ChunkState::Lost => {
                        lost.remove(&tsn);
                    }
                    // An abandoned chunk stays abandoned.
                    ChunkState::GapAcked | ChunkState::Abandoned | ChunkState::Passed => continue,
                }
                on_acked(tsn, chunk);
                chunk.state = ChunkState::GapAcked;
            }
        });
    }

    /// Returns `true` if the receiver has taken gap reports back: it says that the first chunk is missing, which it had
    /// reported (RFC 9260 §6.2.1 D iii). A report of the first chunk cannot be a mere reordering of SACKs, since a
    /// receiver that has it would have moved its cumulative point.
    pub(crate) fn has_reneged(&self) -> bool {
        self.ring.front().is_some_and(|chunk| chunk.state == ChunkState::GapAcked)
    }

    /// Forgets gap reports, the lowest first; chunks that were reported are to be sent again. A SACK of a few bytes can
    /// take back what a whole window was reported to have, and another can report it again. So only as many are
    /// forgotten as chunks were acknowledged cumulatively before; what remains is found missing by the SACKs that
    /// follow.
    pub(crate) fn forget_gap_reports(&mut self) {
        let limit = self.forget_credit.max(FORGOTTEN_MIN);
        let mut forgotten = 0;
        while forgotten < limit
            && let Some(Interval { first: start, last: end }) = self.gap_acked.first()
        {
            let end = end.min(start.add((limit - forgotten) as u64).prev());
            for tsn in start.through(end) {
                cost_counter::step();
                forgotten += 1;
                if let Some(chunk) = self.chunk_mut(tsn).filter(|chunk| chunk.state == ChunkState::GapAcked) {
                    chunk.state = ChunkState::Lost;
                    self.lost.insert(tsn);
                }
            }
            self.gap_acked.remove_below(end.next());
        }
        self.forget_credit = self.forget_credit.saturating_sub(forgotten);
        self.peer_ack_point.rescan();
    }

    pub(crate) fn gap_reports(&self) -> &IntervalSet<UnwrappedTsn> {
        &self.gap_acked
    }

    /// Marks a chunk as lost if it is in flight.
    pub(crate) fn mark_lost(&mut self, tsn: UnwrappedTsn) {
        let Some(chunk) = self.index(tsn).and_then(|index| self.ring.get_mut(index)) else { return };
        if chunk.state == ChunkState::InFlight {
            chunk.state = ChunkState::Lost;
            self.flight.remove(chunk.wire_len(), chunk.payload.len());
            self.lost.insert(tsn);
        }
    }

    /// Puts all lost chunks back in flight, because none was lost after all.
    pub(crate) fn unmark_lost(&mut self) {
        for tsn in std::mem::take(&mut self.lost) {
            cost_counter::step();
            let Some(chunk) = self.index(tsn).and_then(|index| self.ring.get_mut(index)) else { continue };
            chunk.state = ChunkState::InFlight;
            self.flight.add(chunk.wire_len(), chunk.payload.len());
        }
    }

    /// Makes the chunk ask for an immediate SACK when it is retransmitted (RFC 7053). One retransmission is allowed in
    /// any case.
    pub(crate) fn request_sack(&mut self, tsn: UnwrappedTsn) {
        if let Some(chunk) = self.chunk_mut(tsn) {
            chunk.message.immediate = true;
            if let Limit::Retransmits(max) | Limit::Discarded(max) = &mut chunk.message.limit {
                *max = (*max).max(chunk.transmissions);
            }
        }
    }

    /// Returns the TSNs of chunks in flight, in order.
    pub(crate) fn in_flight(&self) -> impl DoubleEndedIterator<Item = UnwrappedTsn> {
        let base = self.base;
        let in_flight = self.ring.iter().enumerate().filter(|(_, chunk)| chunk.state == ChunkState::InFlight);
        in_flight.map(move |(index, _)| base.add(index as u64))
    }

    pub(crate) fn first_lost(&self) -> Option<UnwrappedTsn> {
        self.lost.first().copied()
    }

    pub(crate) fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Records that a lost chunk was retransmitted.
    pub(crate) fn on_retransmitted(
        &mut self,
        now: Instant,
        tsn: UnwrappedTsn,
        transmission: TransmissionNumber,
        place: PlaceInPacket,
    ) {
        if !self.lost.remove(&tsn) {
            return;
        }
        let Some(chunk) = self.index(tsn).and_then(|index| self.ring.get_mut(index)) else { return };
        chunk.state = ChunkState::InFlight;
        chunk.transmissions = chunk.transmissions.saturating_add(1);
        chunk.transmission = transmission;
        chunk.sent_at = now;
        chunk.packet_place = place;
        self.flight.add(chunk.wire_len(), chunk.payload.len());
    }

    /// Abandons every outstanding fragment of the message that the chunk `tsn` belongs to (RFC 3758 §3.5 A3).
    pub(crate) fn abandon_message(&mut self, tsn: UnwrappedTsn) {
        let mut next = Some(self.first_fragment(tsn));
        while let Some(at) = next {
            cost_counter::step();
            next = self.abandon_chunk(at);
        }
    }

    /// Returns the first outstanding fragment of the message that the chunk `tsn` belongs to.
    fn first_fragment(&self, tsn: UnwrappedTsn) -> UnwrappedTsn {
        let mut first = tsn;
        while let Some(chunk) = self.chunk(first).filter(|chunk| chunk.to_previous > 0) {
            cost_counter::step();
            let previous = first.sub(chunk.to_previous.into());
            if previous < self.base {
                break;
            }
            first = previous;
        }
        first
    }

    /// Returns the TSN of the message's next fragment.
    fn abandon_chunk(&mut self, tsn: UnwrappedTsn) -> Option<UnwrappedTsn> {
        let index = self.index(tsn)?;
        let chunk = self.ring.get_mut(index)?;
        match chunk.state {
            ChunkState::InFlight => self.flight.remove(chunk.wire_len(), chunk.payload.len()),
            ChunkState::Lost => {
                self.lost.remove(&tsn);
            }
            ChunkState::GapAcked | ChunkState::Abandoned | ChunkState::Passed => {}
        }
        self.payload_held -= chunk.payload.len();
        chunk.state = ChunkState::Abandoned;
        // Nothing of it is retransmitted, so its bytes need not be kept.
        chunk.payload = Bytes::new();
        (chunk.to_next > 0).then(|| tsn.add(chunk.to_next.into()))
    }

    /// Forbids retransmissions of a stream from now on. Returns the TSNs that are not acknowledged.
    pub(crate) fn forbid_retransmissions(&mut self, stream: StreamId) -> Vec<UnwrappedTsn> {
        let tsns = self.base.through(self.last_assigned_tsn());
        let chunks = tsns.zip(&mut self.ring).filter(|(_, chunk)| chunk.message.stream == stream);
        let unacknowledged = chunks.filter(|(_, chunk)| matches!(chunk.state, ChunkState::InFlight | ChunkState::Lost));
        unacknowledged
            .map(|(tsn, chunk)| {
                chunk.message.limit = Limit::Discarded(0);
                tsn
            })
            .collect()
    }

    pub(crate) fn check_consistency(&self) {
        let mut flight = Flight::default();
        self.ring
            .iter()
            .filter(|chunk| chunk.state == ChunkState::InFlight)
            .for_each(|chunk| flight.add(chunk.wire_len(), chunk.payload.len()));
        assert_eq!(flight, self.flight, "flight size");
        assert_eq!(self.ring.iter().map(|chunk| chunk.payload.len()).sum::<usize>(), self.payload_held);
        self.gap_acked.check_consistency();
        for (tsn, chunk) in self.base.through(self.last_assigned_tsn()).zip(&self.ring) {
            assert_eq!(self.lost.contains(&tsn), chunk.state == ChunkState::Lost, "lost set at {tsn:?}");
            let is_reported = self.gap_acked.contains(tsn);
            assert!(is_reported || chunk.state != ChunkState::GapAcked, "{tsn:?} is gap-acked and in no range");
            let may_be_reported =
                matches!(chunk.state, ChunkState::GapAcked | ChunkState::Abandoned | ChunkState::Passed);
            assert!(!is_reported || may_be_reported);
            assert!(chunk.transmissions > 0 || chunk.state == ChunkState::Abandoned);
            if chunk.to_next > 0 {
                let next = self.chunk(tsn.add(chunk.to_next.into()));
                let is_linked =
                    |next: &Chunk| next.to_previous == chunk.to_next && next.message.key == chunk.message.key;
                assert!(next.is_some_and(is_linked), "{tsn:?} has lost the next fragment of its message");
            }
        }
        assert!(self.lost.first().is_none_or(|first| *first >= self.base));
        assert!(self.gap_acked.last().is_none_or(|range| range.last < self.next_tsn()));
        self.check_peer_ack_point();
    }
}
