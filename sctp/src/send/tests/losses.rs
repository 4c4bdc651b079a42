//! Losses, retransmissions and probes.

use super::super::outstanding::ChunkState;
use super::*;

/// Returns a world with ten packets in flight. A SACK one round trip later reports all but those `missing`.
fn after_loss(missing: std::ops::RangeInclusive<u64>) -> World {
    let mut world = World::measured();
    (0..10).for_each(|_| world.push(1, FULL));
    assert_eq!(world.packets().len(), 10);
    world.now += 100 * MS;
    let acked = *missing.start();
    let gap = (*missing.end() - acked + 2) as u16;
    world.sack(acked, &[(gap, (10 - acked) as u16)]);
    world
}

/// RFC 9260 §7.2.4 step 4.
#[test]
fn t3_restarts_when_the_first_outstanding_chunk_is_retransmitted_and_for_no_other() {
    let mut world = after_loss(0..=1);
    assert!(!world.sender.take_t3_restart(), "nothing was retransmitted yet");
    assert_eq!(world.packet(), [Written { number: 0, stream: StreamId(1), len: FULL }]);
    assert!(world.sender.take_t3_restart());
    assert!(!world.sender.take_t3_restart(), "told once");
    world.now += 10 * MS;
    world.sack(0, &[(3, 10)]);
    assert_eq!(world.packets(), [[1]]);
    assert!(!world.sender.take_t3_restart(), "the second outstanding chunk is not the first");
}

/// Returns a full window of more than 30 packets in flight, and the number of the first. The first 24 are lost, and
/// four that follow have arrived.
fn heavy_loss() -> (World, u64) {
    let mut world = World::measured();
    (0..200).for_each(|_| world.push(1, FULL));
    let mut sent = 0;
    while sent < 70 {
        world.sack(sent, &[]);
        sent += world.paced_packets();
        world.now += 100 * MS;
    }
    let acked = sent - 34;
    world.sack(acked, &[]);
    world.paced_packets();
    world.now += 100 * MS;
    world.sack(acked, &[(25, 28)]);
    (world, acked)
}

/// Proportional rate reduction: what may leave follows from what arrived, so that nothing may for a SACK without news.
#[test]
fn a_sack_that_is_repeated_in_recovery_sends_nothing() {
    let (mut world, acked) = heavy_loss();
    let released = world.packets();
    assert_eq!(released.concat().first(), Some(&acked), "the first retransmission");
    assert!((4..=6).contains(&released.len()), "{} packets for four that arrived", released.len());
    assert!(world.sender.flight_size() + 2 * FULL < world.sender.cwnd(), "cwnd has room");
    for _ in 0..10 {
        world.now += MS;
        world.sack(acked, &[(25, 28)]);
        assert_eq!(world.packets(), [] as [Vec<u64>; 0], "no chunk arrived, so none may leave");
    }
    world.now += MS;
    world.sack(acked, &[(25, 30)]);
    let released = world.packets().len();
    assert!((1..=4).contains(&released), "{released} packets for two that arrived");
}

/// Retransmissions that wait for their turn are more to send, and so is the queue behind them: the reduction goes on.
#[test]
fn the_rate_is_reduced_until_the_end_of_recovery_whether_retransmissions_or_new_data_leave() {
    for is_queue_empty in [true, false] {
        let (mut world, acked) = heavy_loss();
        if is_queue_empty {
            world.sender.discard_unsent(world.now, StreamId(1));
        }
        let mut released = world.packets().concat();
        assert!((4..=6).contains(&released.len()), "{released:?} for four that arrived");
        // All that was sent before and is not lost arrives.
        let next = world.sender.last_assigned_tsn().next().distance_from(world.first);
        world.now += MS;
        world.sack(acked, &[(25, (next - acked) as u16)]);
        for _ in 0..40 {
            // The pacer spreads them.
            released.extend(world.packets().concat());
            world.now += MS;
        }
        // The retransmissions arrive, two at a time.
        let mut new_with_room = 0;
        for number in (acked + 2..acked + 24).step_by(2) {
            world.now += 10 * MS;
            world.sack(number, &[((acked + 25 - number) as u16, (next - number) as u16)]);
            let packets = world.packets().concat();
            assert!(packets.len() <= 4, "{packets:?} for two that arrived");
            let has_room = world.sender.flight_size() + 4 * FULL < world.sender.cwnd();
            new_with_room += packets.iter().filter(|packet| **packet >= next && has_room).count();
            released.extend(packets);
        }
        let lost = released.iter().filter(|number| (acked..acked + 24).contains(*number)).count();
        assert_eq!(lost, 24, "{released:?}");
        assert_eq!(new_with_room == 0, is_queue_empty, "{new_with_room} new chunks left while cwnd had more room");
    }
}

#[test]
fn a_window_of_losses_is_one_congestion_event() {
    let mut world = after_loss(0..=3);
    let cwnd = world.sender.cwnd();
    assert_eq!(world.sender.counters().congestion_events, 1);
    world.packets();
    world.now += 100 * MS;
    world.sack(2, &[(3, 8)]);
    assert_eq!((world.sender.counters().congestion_events, world.sender.cwnd()), (1, cwnd));
}

#[test]
fn losses_that_are_found_during_recovery_are_the_same_congestion_event() {
    let mut world = World::measured();
    (0..10).for_each(|_| world.push(1, FULL));
    world.packets();
    world.now += 100 * MS;
    world.sack(0, &[(3, 6)]);
    world.packets();
    world.now += 10 * MS;
    world.sack(0, &[(3, 6), (8, 10)]);
    assert_eq!(world.packets(), [[6]], "another loss");
    assert_eq!(world.sender.counters().congestion_events, 1);
}

/// RFC 6937 lets data out for SACKs. Without any the repair goes on after each round trip.
#[test]
fn a_repair_that_has_stalled_goes_on_after_a_round_trip() {
    let (mut world, _) = heavy_loss();
    world.packets();
    let first = world.sender.paced_until().unwrap();
    let wait = first.saturating_duration_since(world.now);
    assert!((100 * MS..120 * MS).contains(&wait), "{wait:?} with a round trip of 100 ms and what the pacer adds");
    for _ in 0..3 {
        assert_eq!(world.sender.paced_until(), Some(world.now + wait));
        world.now += wait - MS;
        assert_eq!(world.packets(), [] as [Vec<u64>; 0]);
        world.now += MS;
        assert_eq!(world.packets().len(), 1, "a full packet uses the permission up");
    }
}

#[test]
fn a_sender_that_has_sent_everything_is_bound_by_cwnd_alone_in_recovery() {
    let mut world = after_loss(0..=0);
    assert_eq!(world.packets(), [[0]]);
    (0..3).for_each(|_| world.push(1, FULL));
    assert_eq!(world.packets(), [[10], [11], [12]], "no SACK is needed");
    assert_eq!(world.sender.paced_until(), None);
}

/// RFC 9260 §7.2.3: slow start, although what was outstanding when the first loss was found is not acknowledged yet.
#[test]
fn a_time_out_ends_the_repair_of_an_earlier_loss() {
    let mut world = after_loss(0..=3);
    world.now += 1000 * MS;
    world.sender.on_t3_timeout(world.now, false, &world.path);
    assert_eq!(world.packets(), [[0]]);
    world.now += 100 * MS;
    world.sack(1, &[(4, 9)]);
    assert_eq!(world.sender.cwnd(), 2 * world.path.pmdcs());
    assert_eq!(world.packets(), [[1], [2]]);
}

#[test]
fn a_time_out_ends_the_episode_of_a_probe_and_the_next_one_follows_a_sample_of_the_round_trip() {
    let mut world = World::measured();
    world.push(1, FULL);
    world.packets();
    world.sender.on_probe_timeout(world.now, &world.path);
    assert_eq!(world.packets(), [[0]]);
    assert_eq!(world.probe_wait(), None);
    world.now += 1000 * MS;
    world.sender.on_t3_timeout(world.now, false, &world.path);
    assert_eq!(world.packets(), [[0]]);
    assert_eq!(world.probe_wait(), None, "RFC 8985 §7.3");
    world.now += 100 * MS;
    world.sack(1, &[]);
    for (number, expected) in [(1, None), (2, Some(200 * MS))] {
        world.push(1, FULL);
        assert_eq!(world.packets(), [[number]]);
        assert_eq!(world.probe_wait(), expected);
        world.now += 100 * MS;
        world.sack(number + 1, &[]);
    }
}

/// RFC 8985 §7.2: the reordering timer or the retransmissions that wait will bring the next SACK.
#[test]
fn no_probe_is_sent_while_a_gap_is_reported_or_a_lost_chunk_waits() {
    let mut world = World::measured();
    (0..3).for_each(|_| world.push(1, FULL));
    world.packets();
    world.now += 100 * MS;
    world.sack(0, &[(2, 2)]);
    assert_eq!(world.packets(), [] as [Vec<u64>; 0], "nothing is lost yet");
    assert_eq!(world.probe_wait(), None);
    let mut world = World::measured();
    (0..3).for_each(|_| world.push(1, FULL));
    world.packets();
    world.sender.on_t3_timeout(world.now, false, &world.path);
    assert_eq!(world.packets(), [[0]]);
    assert_eq!(world.probe_wait(), None, "two are lost");
}

#[test]
fn a_chunk_that_rack_finds_lost_is_marked_once_and_leaves_the_flight() {
    let world = after_loss(0..=0);
    let chunk = world.sender.outstanding.chunk(world.first).unwrap();
    assert_eq!(chunk.state, ChunkState::Lost);
    assert_eq!(world.sender.flight_size(), 0, "the others are reported");
}

/// RFC 8985 §7.3, §7.4.2: the acknowledgement ends exactly at the probe, which is the usual case.
#[test]
fn a_probe_that_repairs_a_loss_reduces_the_window_and_one_that_was_not_needed_does_not() {
    for (duplicates, events) in [(&[][..], 1), (&[1][..], 0)] {
        let mut world = World::measured();
        (0..2).for_each(|_| world.push(1, FULL));
        assert_eq!(world.packets(), [[0], [1]]);
        world.now += 200 * MS;
        world.sender.on_probe_timeout(world.now, &world.path);
        assert_eq!(world.packets(), [[1]], "the last chunk, there is no new data");
        assert_eq!(world.probe_wait(), None, "one probe is out");
        world.now += 100 * MS;
        world.sack_with(2, &[], 1 << 20, duplicates);
        assert_eq!(world.sender.counters().congestion_events, events, "duplicates {duplicates:?}");
    }
}

#[test]
fn a_probe_of_new_data_tells_nothing_about_losses() {
    let mut world = World::measured();
    world.push(1, FULL);
    world.packets();
    world.push(1, 100);
    world.sender.on_probe_timeout(world.now + 300 * MS, &world.path);
    assert_eq!(world.packets(), [[1]]);
    world.now += 400 * MS;
    world.sack(2, &[]);
    assert_eq!(world.sender.counters().congestion_events, 0);
}

/// RFC 8985 §7.2: the peer may delay the SACK of a single packet only.
#[test]
fn the_probe_waits_for_a_delayed_sack_only_if_a_single_packet_is_in_flight() {
    let mut world = World::measured();
    (0..50).for_each(|_| world.path.rto.on_sample(100 * MS));
    world.push(1, FULL);
    world.packets();
    assert_eq!(world.probe_wait(), Some(150 * MS));
    world.push(1, FULL);
    world.packets();
    assert_eq!(world.probe_wait(), Some(125 * MS));
    world.now += 100 * MS;
    world.sack(2, &[]);
    assert_eq!(world.probe_wait(), None, "nothing is in flight");
}

/// RFC 9260 §6.1 A: what is in flight is the window probe, for which T3 is responsible.
#[test]
fn no_tail_loss_probe_is_sent_into_a_closed_window() {
    let mut world = World::measured();
    (0..2).for_each(|_| world.push(1, FULL));
    world.packets();
    world.now += 100 * MS;
    world.sack_with(1, &[], FULL as u32, &[]);
    assert!(world.sender.is_probing_window());
    assert_eq!(world.probe_wait(), None);
    world.sack_with(1, &[], 10 * FULL as u32, &[]);
    assert!(!world.sender.is_probing_window());
    assert_eq!(world.probe_wait(), Some(100 * MS), "200 ms after its transmission: it has asked for a SACK at once");
}

/// RFC 9260 §6.3.3, §7.2.3.
#[test]
fn after_a_time_out_one_packet_leaves_and_the_window_is_one_packet() {
    let mut world = World::measured();
    (0..10).for_each(|_| world.push(1, FULL));
    world.packets();
    world.now += 1000 * MS;
    world.sender.on_t3_timeout(world.now, false, &world.path);
    assert_eq!((world.sender.flight_size(), world.sender.cwnd()), (0, world.path.pmdcs()));
    assert_eq!(world.packets(), [[0]]);
    world.now += 100 * MS;
    world.sack(1, &[]);
    assert_eq!(world.packets().len(), 2, "slow start");
}

#[test]
fn a_time_out_of_a_window_probe_is_no_sign_of_congestion() {
    let mut world = World::measured();
    let cwnd = world.sender.cwnd();
    world.push(1, FULL);
    world.packets();
    world.sender.on_t3_timeout(world.now + 1000 * MS, true, &world.path);
    assert_eq!(world.sender.cwnd(), cwnd);
    assert_eq!(world.packets(), [[0]]);
}

/// Returns a world with ten packets in flight, of which the first two counted as lost and were retransmitted, and the
/// window before.
fn after_retransmission() -> (World, usize) {
    let mut world = World::measured();
    let cwnd = world.sender.cwnd();
    (0..10).for_each(|_| world.push(1, FULL));
    world.packets();
    world.now += 100 * MS;
    world.sack(0, &[(3, 10)]);
    assert_eq!(world.packets().concat(), [0, 1]);
    assert!(world.sender.cwnd() < cwnd);
    (world, cwnd)
}

/// As TCP does by the DSACK.
#[test]
fn a_recovery_whose_retransmissions_are_all_reported_as_duplicates_is_undone() {
    for (duplicates, is_undone) in [(&[0, 1][..], true), (&[0], false), (&[1, 1], false), (&[3, 4], false)] {
        let (mut world, cwnd) = after_retransmission();
        world.now += 100 * MS;
        world.sack_with(10, &[], 1 << 20, duplicates);
        assert_eq!(world.sender.cwnd() >= cwnd, is_undone, "duplicates {duplicates:?}");
        assert_eq!(world.sender.counters().congestion_events_undone, u64::from(is_undone));
    }
}

#[test]
fn duplicates_may_be_reported_one_after_the_other_and_behind_the_end_of_recovery() {
    let (mut world, cwnd) = after_retransmission();
    world.now += 100 * MS;
    world.sack(10, &[]);
    for (wait, number) in [(10, 0), (10, 1)] {
        assert!(world.sender.cwnd() < cwnd);
        world.now += wait * MS;
        world.sack_with(10, &[], 1 << 20, &[number]);
    }
    assert!(world.sender.cwnd() >= cwnd);
    let (mut world, cwnd) = after_retransmission();
    world.now += 100 * MS;
    world.sack(10, &[]);
    world.now += 400 * MS;
    world.sack_with(10, &[], 1 << 20, &[0, 1]);
    assert!(world.sender.cwnd() < cwnd, "too late to be of this recovery");
}

/// Losses less than the time of evidence apart would otherwise be one episode for ever, which a single loss justifies.
#[test]
fn a_loss_that_had_its_time_does_not_justify_a_needless_reduction_behind_it() {
    let (mut world, _) = after_retransmission();
    world.now += 100 * MS;
    world.sack(10, &[]);
    for (first, duplicates) in [(10, &[][..]), (15, &[15])] {
        world.now += 100 * MS;
        (0..5).for_each(|_| world.push(1, FULL));
        world.packets();
        world.now += 100 * MS;
        let before = world.sender.cwnd();
        world.sack(first, &[(2, 5)]);
        assert!(world.sender.cwnd() < before);
        world.packets();
        world.now += 100 * MS;
        world.sack_with(first + 5, &[], 1 << 20, duplicates);
        assert_eq!(world.sender.counters().congestion_events_undone, duplicates.len() as u64);
        assert_eq!(world.sender.cwnd() >= before, !duplicates.is_empty());
    }
}

/// The chunks that counted as lost would otherwise be kept for as long as nothing is sent.
#[test]
fn a_reduction_is_forgotten_when_its_time_is_over_and_nothing_is_outstanding() {
    let (mut world, _) = after_retransmission();
    world.sender.trim_memory(world.now + 3600 * MS);
    assert!(world.sender.loss.undo.is_followed(), "something is outstanding");
    world.now += 100 * MS;
    world.sack(10, &[]);
    world.sender.trim_memory(world.now);
    assert!(world.sender.loss.undo.is_followed(), "a duplicate may still be reported");
    world.sender.trim_memory(world.now + 3600 * MS);
    assert!(!world.sender.loss.undo.is_followed());
}

/// As the Eifel algorithm has it: the retransmission cannot be the cause.
#[test]
fn an_acknowledgement_too_soon_for_the_retransmission_shows_a_needless_recovery() {
    for (wait, is_undone) in [(0, true), (49, true), (50, false), (100, false)] {
        let (mut world, cwnd) = after_retransmission();
        world.now += wait * MS;
        world.sack(10, &[]);
        assert_eq!(world.sender.cwnd() >= cwnd, is_undone, "{wait} ms after the retransmission");
        assert!(!world.sender.loss.is_in_recovery());
    }
    let mut world = after_loss(0..=0);
    let reduced = world.sender.cwnd();
    world.sack(10, &[]);
    assert!(world.sender.cwnd() > reduced, "not retransmitted at all");
}

#[test]
fn a_chunk_that_was_lost_twice_was_lost() {
    let mut world = after_loss(0..=0);
    assert_eq!(world.packets(), [[0]]);
    world.push(1, FULL);
    assert_eq!(world.packets(), [[10]]);
    world.now += 150 * MS;
    world.sack(0, &[(2, 11)]);
    assert_eq!(world.packets(), [[0]]);
    world.now += 100 * MS;
    world.sack_with(11, &[], 1 << 20, &[0]);
    assert_eq!(world.sender.counters().congestion_events_undone, 0);
}

/// RFC 5682: the SACK of a chunk that was not retransmitted shows that the path has only become slower.
#[test]
fn a_needless_time_out_is_undone_and_nothing_more_is_retransmitted() {
    let mut world = World::measured();
    let cwnd = world.sender.cwnd();
    (0..10).for_each(|_| world.push(1, FULL));
    world.packets();
    for _ in 0..2 {
        world.now += 500 * MS;
        world.sender.on_t3_timeout(world.now, false, &world.path);
        assert_eq!(world.packets(), [[0]]);
    }
    world.now += 500 * MS;
    world.sack(1, &[]);
    assert_eq!(world.sender.counters().congestion_events_undone, 0, "this may be the retransmission");
    world.packets();
    world.sack(4, &[]);
    assert_eq!(world.sender.counters().congestion_events_undone, 1);
    assert!(world.sender.cwnd() >= cwnd, "{} of {cwnd}", world.sender.cwnd());
    assert_eq!(world.sender.flight_size(), 6 * world.path.pmdcs(), "the others are in flight");
    assert_eq!(world.packets(), [] as [Vec<u64>; 0]);
    // A chunk that was lost all the same is found by its successors.
    world.now += 10 * MS;
    world.sack(5, &[(2, 5)]);
    world.now += 300 * MS;
    world.sender.on_rack_timeout(world.now, &world.path);
    assert_eq!(world.packets(), [[5]]);
}

/// The SACK looks the same if one gap was filled by the retransmission.
#[test]
fn a_time_out_is_not_undone_if_the_answer_acknowledges_everything_unless_it_reports_a_duplicate() {
    for (duplicates, is_undone) in [(&[][..], false), (&[0], true)] {
        let mut world = World::measured();
        (0..10).for_each(|_| world.push(1, FULL));
        world.packets();
        world.now += 500 * MS;
        world.sender.on_t3_timeout(world.now, false, &world.path);
        assert_eq!(world.packets(), [[0]]);
        world.now += 100 * MS;
        world.sack_with(10, &[], 1 << 20, duplicates);
        assert_eq!(world.sender.counters().congestion_events_undone, u64::from(is_undone), "{duplicates:?}");
    }
}
