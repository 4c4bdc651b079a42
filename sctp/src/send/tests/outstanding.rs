//! The ring of outstanding chunks.

use super::super::outstanding::{Chunk, ChunkState, Outstanding};
use super::super::packet_place::PlaceInPacket;
use super::super::queued::{Fragment, FragmentPlace, Limit, MessageHeader};
use super::*;
use crate::serial::{Fsn, MessageKey, Mid, TransmissionNumber};

const PLACE: PlaceInPacket = PlaceInPacket { crosses_floor: false, begins_packet: true };

/// Chunks of interleaved messages.
struct Ring {
    outstanding: Outstanding,
    numbers: TransmissionNumber,
    first: UnwrappedTsn,
}

impl Ring {
    fn new() -> Self {
        let initial = Tsn(u32::MAX - 1);
        let outstanding = Outstanding::new(initial);
        Self { outstanding, numbers: TransmissionNumber::default(), first: UnwrappedTsn::first(initial) }
    }

    /// Pushes a fragment of 100 bytes behind that with the number `previous`.
    fn push(&mut self, key: MessageKey, stream: u16, previous: Option<u64>) {
        let limit = Limit::Never;
        let (ppid, mid) = (Ppid(53), Mid(0));
        let message = MessageHeader {
            key,
            stream: StreamId(stream),
            mid,
            ppid,
            unordered: false,
            immediate: false,
            limit,
            len: 1000,
        };
        let previous_tsn = previous.map_or(UnwrappedTsn::BEFORE_ALL, |number| self.first.add(number));
        let payload = Bytes::from_static(&[7; 100]);
        let place = FragmentPlace { fsn: Fsn(0), beginning: previous.is_none(), ending: false };
        let fragment = Fragment { message, payload, place, previous_tsn };
        let (tsn, number) = (self.outstanding.next_tsn(), self.numbers.take());
        let chunk = Chunk::new(some_time(), tsn, fragment, DataFormat::IData, number);
        self.outstanding.push(chunk);
        self.outstanding.check_consistency();
    }

    fn states(&self) -> Vec<ChunkState> {
        let last = self.outstanding.last_assigned_tsn();
        self.first.through(last).filter_map(|tsn| self.outstanding.chunk(tsn)).map(|chunk| chunk.state).collect()
    }
}

/// Returns a ring of two messages: chunks 0, 2, 3 and 5 belong to one, 1 and 4 to the other.
fn interleaved() -> Ring {
    let mut keys = MessageKey::default();
    let (one, other) = (keys.take(), keys.take());
    let mut ring = Ring::new();
    ring.push(one, 1, None);
    ring.push(other, 2, None);
    ring.push(one, 1, Some(0));
    ring.push(one, 1, Some(2));
    ring.push(other, 2, Some(1));
    ring.push(one, 1, Some(3));
    ring
}

#[test]
fn a_message_is_abandoned_from_any_of_its_fragments_though_others_lie_between() {
    use ChunkState::{Abandoned as A, InFlight as F};
    for from in [0, 2, 3, 5] {
        let mut ring = interleaved();
        ring.outstanding.abandon_message(ring.first.add(from));
        ring.outstanding.check_consistency();
        assert_eq!(ring.states(), [A, F, A, A, F, A], "from {from}");
        assert_eq!(ring.outstanding.chunks_in_flight(), 2);
    }
    let mut ring = interleaved();
    ring.outstanding.abandon_message(ring.first.add(4));
    assert_eq!(ring.states(), [F, A, F, F, A, F]);
}

#[test]
fn fragments_that_were_acknowledged_end_the_way_back() {
    use ChunkState::{Abandoned as A, InFlight as F};
    let mut ring = interleaved();
    ring.outstanding.acknowledge_to(ring.first.add(2), |_, _| {});
    ring.outstanding.abandon_message(ring.first.add(5));
    ring.outstanding.check_consistency();
    assert_eq!(ring.states(), [A, F, A]);
}

#[test]
fn lost_and_reported_fragments_are_abandoned_too_and_payloads_are_given_back() {
    let mut ring = interleaved();
    let charge = ring.outstanding.charge();
    ring.outstanding.mark_lost(ring.first);
    ring.outstanding.acknowledge_gap(ring.first.add(2), ring.first.add(2), |_, _| {});
    ring.outstanding.abandon_message(ring.first.add(3));
    ring.outstanding.check_consistency();
    assert!(!ring.outstanding.has_lost() && ring.outstanding.has_abandoned_front());
    assert_eq!(ring.outstanding.charge(), charge - 400);
    assert_eq!(ring.outstanding.advanced_peer_ack_point(some_time()), ring.first, "chunk 1 is in flight");
    ring.outstanding.abandon_message(ring.first.add(1));
    assert_eq!(ring.outstanding.advanced_peer_ack_point(some_time()), ring.first.add(5));
}

#[test]
fn each_chunk_is_acknowledged_once_and_counted_out_of_the_flight() {
    let mut ring = interleaved();
    let mut acked = Vec::new();
    ring.outstanding.acknowledge_gap(ring.first.add(3), ring.first.add(4), |tsn, _| acked.push(tsn));
    ring.outstanding.acknowledge_gap(ring.first.add(2), ring.first.add(5), |tsn, _| acked.push(tsn));
    ring.outstanding.acknowledge_to(ring.first.add(5), |tsn, _| acked.push(tsn));
    let numbers: Vec<u64> = acked.iter().map(|tsn| tsn.distance_from(ring.first)).collect();
    assert_eq!(numbers, [3, 4, 2, 5, 0, 1]);
    assert!(ring.outstanding.is_empty());
    assert_eq!((ring.outstanding.flight_size(), ring.outstanding.payload_in_flight()), (0, 0));
}

#[test]
fn a_chunk_in_flight_is_lost_once_and_comes_back_by_its_retransmission() {
    let mut ring = interleaved();
    let flight_size = ring.outstanding.flight_size();
    for _ in 0..2 {
        ring.outstanding.mark_lost(ring.first.add(1));
        ring.outstanding.check_consistency();
    }
    assert_eq!((ring.outstanding.first_lost(), ring.outstanding.chunks_in_flight()), (Some(ring.first.add(1)), 5));
    let number = ring.numbers.take();
    ring.outstanding.on_retransmitted(some_time(), ring.first.add(1), number, PLACE);
    ring.outstanding.check_consistency();
    assert_eq!((ring.outstanding.first_lost(), ring.outstanding.flight_size()), (None, flight_size));
    assert_eq!(ring.outstanding.chunk(ring.first.add(1)).unwrap().transmissions, 2);
}

#[test]
fn tsns_unwrap_around_the_cumulative_tsn_ack_point() {
    let ring = interleaved();
    for (tsn, number) in [(Tsn(u32::MAX - 1), 0), (Tsn(u32::MAX), 1), (Tsn(0), 2), (Tsn(3), 5)] {
        assert_eq!(ring.outstanding.unwrap(tsn), ring.first.add(number));
    }
    assert!(ring.outstanding.unwrap(Tsn(u32::MAX - 2)) < ring.first);
}
