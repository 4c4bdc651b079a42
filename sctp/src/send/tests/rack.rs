//! RACK by numbers (RFC 8985 §6.2), on a path whose round trip is 100 ms.

use super::super::outstanding::{Chunk, Outstanding};
use super::super::packet_place::PlaceInPacket;
use super::super::queued::{Fragment, FragmentPlace, Limit, MessageHeader};
use super::super::rack::Rack;
use super::super::rtt_sample::RttSample;
use super::*;
use crate::serial::{Fsn, MessageKey, Mid};

/// RACK and the chunks that it watches. Times are milliseconds since the start.
struct Transfer {
    rack: Rack,
    outstanding: Outstanding,
    path: Path,
    start: Instant,
    first: UnwrappedTsn,
    in_recovery: bool,
}

impl Transfer {
    fn new() -> Self {
        let initial = Tsn(u32::MAX - 1);
        let mut path = Path::new(&AssociationConfig::default());
        path.rto.on_sample(100 * MS);
        Self {
            rack: Rack::new(),
            outstanding: Outstanding::new(initial),
            path,
            start: some_time(),
            first: UnwrappedTsn::first(initial),
            in_recovery: false,
        }
    }

    /// Creates a transfer that has sent `count` chunks at its start.
    fn with_chunks(count: u64) -> Self {
        let mut transfer = Self::new();
        (0..count).for_each(|_| transfer.send(0));
        transfer
    }

    fn at(&self, milliseconds: u32) -> Instant {
        self.start + milliseconds * MS
    }

    fn send(&mut self, at: u32) {
        let (limit, key) = (Limit::Never, MessageKey::default());
        let (ppid, mid, immediate, unordered) = (Ppid(53), Mid(0), false, false);
        let message = MessageHeader { key, stream: StreamId(1), mid, ppid, unordered, immediate, limit, len: 100 };
        let (payload, previous_tsn) = (Bytes::from_static(&[7; 100]), UnwrappedTsn::BEFORE_ALL);
        let place = FragmentPlace { fsn: Fsn(0), beginning: true, ending: true };
        let fragment = Fragment { message, payload, place, previous_tsn };
        let tsn = self.outstanding.next_tsn();
        let number = self.rack.on_sent(tsn, false);
        self.outstanding.push(Chunk::new(self.at(at), tsn, fragment, DataFormat::Data, number));
    }

    fn retransmit(&mut self, chunk: u64, at: u32) {
        let tsn = self.first.add(chunk);
        self.outstanding.mark_lost(tsn);
        let number = self.rack.on_sent(tsn, true);
        let place = PlaceInPacket { crosses_floor: false, begins_packet: true };
        self.outstanding.on_retransmitted(self.at(at), tsn, number, place);
    }

    /// Handles a gap block that reports a chunk. Returns the sample of the round-trip time.
    fn ack(&mut self, chunk: u64, at: u32) -> Option<Duration> {
        self.ack_with(chunk, at, false)
    }

    /// Reports after a round trip.
    fn ack_each(&mut self, chunks: &[u64]) {
        for chunk in chunks {
            self.ack(*chunk, 100);
        }
    }

    fn ack_with(&mut self, chunk: u64, at: u32, is_probe_answer: bool) -> Option<Duration> {
        self.ack_range((chunk, chunk), at, is_probe_answer).rtt()
    }

    /// Handles a gap block that reports the chunks from the first to the last.
    fn ack_range(&mut self, (first, last): (u64, u64), at: u32, is_probe_answer: bool) -> RttSample {
        let (now, mut sample) = (self.at(at), RttSample::default());
        let (rack, rtt_min) = (&mut self.rack, self.path.rto.rtt_min());
        self.outstanding.acknowledge_gap(self.first.add(first), self.first.add(last), |tsn, chunk| {
            rack.on_acked(now, tsn, chunk, rtt_min, is_probe_answer, &mut sample);
            rack.on_gap_reported(1);
        });
        sample
    }

    /// Returns the chunks that are found lost, and the reordering deadline in milliseconds.
    fn detect(&mut self, at: u32) -> (Vec<u64>, Option<u128>) {
        let (now, mut lost) = (self.at(at), Vec::new());
        let deadline = self.rack.detect(now, self.in_recovery, &self.path, &self.outstanding, &mut lost);
        lost.iter().for_each(|tsn| self.outstanding.mark_lost(*tsn));
        self.rack.check_consistency(&self.outstanding);
        let numbers = lost.iter().map(|tsn| tsn.distance_from(self.first)).collect();
        (numbers, deadline.map(|at| at.saturating_duration_since(self.start).as_millis()))
    }

    /// Returns the reordering window in milliseconds, of a chunk that was sent at the start and overtaken.
    fn reo_wnd(&mut self, rtt: u32) -> u128 {
        let (lost, deadline) = self.detect(rtt);
        if lost.is_empty() { deadline.unwrap() - u128::from(rtt) } else { 0 }
    }
}

/// Step 2: an acknowledgement that comes sooner than any round trip belongs to an earlier transmission.
#[test]
fn a_retransmission_that_is_acknowledged_too_soon_says_nothing() {
    // Chunk 0 is retransmitted at 200 ms. Chunk 1 counts as overtaken if the acknowledgement counts.
    for (answered_at, is_probe_answer, is_overtaken) in [(299, false, false), (300, false, true), (299, true, true)] {
        let mut transfer = Transfer::with_chunks(2);
        transfer.retransmit(0, 200);
        assert_eq!(transfer.ack_with(0, answered_at, is_probe_answer), None, "Karn's rule");
        let (lost, _) = transfer.detect(answered_at);
        assert_eq!(!lost.is_empty(), is_overtaken, "answered at {answered_at} ms, by a probe: {is_probe_answer}");
    }
}

#[test]
fn a_first_transmission_counts_however_soon_it_is_acknowledged() {
    let mut transfer = Transfer::with_chunks(2);
    assert_eq!(transfer.ack(1, 60), Some(60 * MS));
    assert_eq!(transfer.detect(60), (vec![], Some(60 + 25)));
    assert_eq!(transfer.detect(85), (vec![0], None), "the reordering window is over");
}

/// Step 2: `RACK.rtt` and `RACK.xmit_ts` are those of the latest transmission that has arrived.
#[test]
fn only_the_latest_transmission_measures() {
    let mut transfer = Transfer::with_chunks(2);
    transfer.send(10);
    assert_eq!(transfer.ack(2, 130), Some(120 * MS));
    assert_eq!(transfer.ack(1, 140), None, "sent before");
    assert_eq!(transfer.detect(140), (vec![], Some(120 + 25)));
    transfer.send(150);
    assert_eq!(transfer.detect(150), (vec![0], None));
    transfer.retransmit(0, 160);
    assert_eq!(transfer.detect(1000), (vec![], None), "nothing that was sent later has arrived");
}

/// RFC 9260 §6.3.1 C5: the SACK of a retransmission may be the first that reports what was sent before it, and then
/// tells the time of the repair.
#[test]
fn what_the_sack_of_a_retransmission_reports_late_is_no_round_trip() {
    // Chunk 0 is retransmitted at 5,000 ms. Its answer may be that of the original.
    for (answered_at, ambiguous) in [(5099, None), (5100, Some(100 * MS)), (5300, Some(300 * MS))] {
        let mut transfer = Transfer::with_chunks(4);
        transfer.retransmit(0, 5000);
        let sample = transfer.ack_range((0, 2), answered_at, false);
        assert_eq!((sample.rtt(), sample.ambiguous_rtt()), (None, ambiguous), "answered at {answered_at} ms");
        // A chunk that was sent later measures, whatever the same SACK reports besides.
        transfer.send(5200);
        let sample = transfer.ack_range((3, 4), 5320, false);
        assert_eq!((sample.rtt(), sample.ambiguous_rtt()), (Some(120 * MS), None));
    }
}

#[test]
fn a_chunk_that_counts_as_lost_is_no_round_trip() {
    let mut transfer = Transfer::with_chunks(3);
    transfer.outstanding.mark_lost(transfer.first.add(1));
    assert_eq!(transfer.ack(1, 5000), None);
    assert_eq!(transfer.ack(2, 5000), Some(5000 * MS), "late, but not lost");
}

/// Step 4: a quarter of the least round-trip time, and none after three reports or in recovery while no reordering was
/// seen.
#[test]
fn the_reordering_window_is_a_quarter_of_the_round_trip_until_three_chunks_overtake() {
    for (reports, in_recovery, reo_wnd) in [(1, false, 25), (2, false, 25), (3, false, 0), (1, true, 0)] {
        let mut transfer = Transfer::with_chunks(4);
        transfer.in_recovery = in_recovery;
        (1..=reports).for_each(|chunk| transfer.ack_each(&[chunk]));
        assert_eq!(transfer.reo_wnd(100), reo_wnd, "{reports} reports, in recovery: {in_recovery}");
    }
}

#[test]
fn reports_from_before_the_last_advance_or_time_out_do_not_count() {
    for is_time_out in [false, true] {
        let mut transfer = Transfer::with_chunks(6);
        transfer.ack_each(&[3, 4]);
        if is_time_out {
            transfer.rack.on_t3_timeout();
            transfer.outstanding.acknowledge_to(transfer.first.add(5), |_, _| {});
            (0..2).for_each(|_| transfer.send(0));
            transfer.ack(7, 100);
        } else {
            transfer.rack.on_cumulative_advanced(transfer.first.prev());
            transfer.ack(5, 100);
        }
        assert_eq!(transfer.reo_wnd(100), 25);
    }
}

/// Step 3: a chunk that was sent once and arrives behind a later one was reordered.
#[test]
fn after_reordering_three_reports_are_no_proof_of_a_loss() {
    let arrivals: [(&[u64], u128); 3] = [(&[4, 3, 5], 25), (&[3, 4, 5], 0), (&[5, 4, 3], 25)];
    for (order, reo_wnd) in arrivals {
        let mut transfer = Transfer::with_chunks(6);
        transfer.ack_each(order);
        assert_eq!(transfer.reo_wnd(100), reo_wnd, "{order:?}");
    }
    // A retransmission that arrives late is none.
    let mut transfer = Transfer::with_chunks(6);
    transfer.retransmit(1, 0);
    transfer.ack_each(&[3, 4, 5, 1]);
    assert_eq!(transfer.reo_wnd(100), 0);
}

/// Step 4: each report of a duplicate widens the window by its first width, once a round trip, up to the round-trip
/// time; after sixteen recoveries it is as at first.
#[test]
fn duplicates_widen_the_window_for_sixteen_recoveries() {
    let mut transfer = Transfer::with_chunks(2);
    transfer.rack.on_needless_loss();
    transfer.ack(1, 100);
    assert_eq!(transfer.reo_wnd(100), 25, "nothing had arrived");
    for widened in [50, 75, 100, 100] {
        for _ in 0..3 {
            transfer.rack.on_needless_loss();
            assert_eq!(transfer.reo_wnd(100), widened, "once a round trip");
        }
        transfer.send(0);
        transfer.ack(transfer.outstanding.len() as u64 - 1, 100);
    }
    for recoveries in 1..=17 {
        transfer.rack.on_recovery_ended();
        assert_eq!(transfer.reo_wnd(100), if recoveries < 16 { 100 } else { 25 }, "after {recoveries} recoveries");
    }
}

#[test]
fn duplicates_are_a_sign_of_reordering() {
    let mut transfer = Transfer::with_chunks(5);
    transfer.in_recovery = true;
    transfer.ack(1, 100);
    transfer.rack.on_needless_loss();
    assert_eq!(transfer.reo_wnd(100), 50);
}

/// Step 5: each transmission has its own deadline, and the earliest is when to look again.
#[test]
fn first_transmissions_and_retransmissions_are_found_lost_at_their_own_times() {
    let mut transfer = Transfer::with_chunks(2);
    transfer.retransmit(0, 10);
    transfer.send(20);
    transfer.ack(2, 120);
    assert_eq!(transfer.detect(120), (vec![], Some(125)), "chunk 1 was sent at 0, chunk 0 again at 10");
    assert_eq!(transfer.detect(125), (vec![1], Some(135)));
    assert_eq!(transfer.detect(134), (vec![], Some(135)));
    assert_eq!(transfer.detect(135), (vec![0], None));
}

#[test]
fn the_earlier_deadline_is_that_of_a_retransmission_if_it_was_sent_first() {
    let mut transfer = Transfer::with_chunks(1);
    transfer.retransmit(0, 5);
    transfer.send(10);
    transfer.send(20);
    transfer.ack(2, 120);
    assert_eq!(transfer.detect(120), (vec![], Some(130)));
}

/// A SACK with sixteen gap blocks may have no room for more, so what lies above waits for a round trip more.
#[test]
fn chunks_above_a_truncated_report_are_lost_a_round_trip_later() {
    for (blocks, first_lost, then) in [(15, vec![0, 1, 2], None), (16, vec![0, 1], Some(200))] {
        let mut transfer = Transfer::with_chunks(7);
        transfer.ack_each(&[3, 4, 5, 6]);
        transfer.rack.on_gap_blocks(blocks, transfer.first.add(1));
        assert_eq!(transfer.rack.is_report_truncated(), blocks == 16);
        assert_eq!(transfer.detect(100), (first_lost, then), "{blocks} blocks");
    }
}

/// The path has held the chunks back, and hands them over in any order.
#[test]
fn chunks_that_a_needless_time_out_took_for_lost_have_the_widest_window_until_they_are_acknowledged() {
    let mut transfer = Transfer::with_chunks(9);
    transfer.rack.rebuild(&transfer.outstanding);
    transfer.ack_each(&[5, 6, 7]);
    assert_eq!(transfer.reo_wnd(100), 100, "a smoothed round trip, although three chunks overtake");
    transfer.rack.on_cumulative_advanced(transfer.first.add(7));
    assert_eq!(transfer.reo_wnd(100), 100, "one is outstanding");
    transfer.rack.on_cumulative_advanced(transfer.first.add(8));
    transfer.send(100);
    assert_eq!(transfer.reo_wnd(100), 25);
}
