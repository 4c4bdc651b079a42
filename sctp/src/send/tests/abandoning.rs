//! Abandoned messages (RFC 3758).

use super::*;
use crate::serial::Ssn;
use crate::wire::{ChunkType, ForwardTsn};

/// Writes a packet, and returns the last chunk that its FORWARD-TSN skips and the messages that it names. `None` if it
/// has none.
fn forward_tsn(world: &mut World) -> Option<(u64, Vec<(u16, u16)>)> {
    let mut packet = vec![0; PACKET_HEADER_LEN];
    let room = PacketRoom { end: world.path.mtu(), floor_end: world.path.mtu_floor(), may_exceed_mtu: true };
    world.sender.write(world.now, room, &world.path, &mut packet);
    world.sender.check_consistency(&world.path);
    let mut chunks = Chunks::new(&packet).map(Result::unwrap);
    let chunk = chunks.find(|chunk| chunk.kind == ChunkType::FORWARD_TSN)?;
    let forward = ForwardTsn::decode(chunk.value_in(&packet)).unwrap();
    let last = world.first.unwrap_near(forward.new_cumulative_tsn).distance_from(world.first);
    Some((last, forward.streams().map(|(stream, Ssn(ssn))| (stream.0, ssn)).collect()))
}

/// Returns a world with four messages of one packet each on stream 1, the first two of which are lost.
fn two_lost() -> World {
    let mut world = World::measured();
    (0..6).for_each(|_| world.push(1, FULL));
    assert_eq!(world.packets().len(), 6);
    world.now += 100 * MS;
    world.sack(0, &[(3, 5)]);
    world
}

#[test]
fn abandoning_a_stream_abandons_what_is_lost_and_lets_what_is_in_flight_arrive() {
    let mut world = two_lost();
    world.push(1, 500);
    // Chunks 0 and 1 are lost, the last one is in flight, and one message waits.
    assert_eq!(world.sender.abandon_stream(world.now, StreamId(1)), 500 + 2 * FULL);
    assert_eq!(world.abandoned().len(), 2);
    assert_eq!(world.sender.flight_size(), FULL + DataChunk::HEADER_LEN, "the last one may still arrive");
    assert_eq!(world.packets(), [] as [Vec<u64>; 0], "nothing is retransmitted");
    world.now += 100 * MS;
    world.sack(6, &[]);
    assert_eq!(world.abandoned(), [] as [usize; 0]);
    assert!(world.sender.is_drained());
}

#[test]
fn a_peer_without_forward_tsn_gets_everything_that_was_begun() {
    let mut world = World::measured();
    world.sender.on_established(1 << 20, false, DataFormat::Data, &world.path);
    (0..3).for_each(|_| world.push_with(1, FULL, once()));
    world.packets();
    world.now += 1000 * MS;
    world.sender.on_t3_timeout(world.now, false, &world.path);
    assert_eq!(world.packets(), [[0]]);
    assert_eq!(world.abandoned(), [] as [usize; 0]);
}

#[test]
fn a_message_is_abandoned_whole_with_its_rest_in_the_queue() {
    let mut world = World::measured();
    world.push_with(1, 20 * FULL, once());
    assert_eq!(world.packets().len(), 10, "cwnd takes a half of the message");
    world.push(2, 10);
    world.now += 100 * MS;
    world.sack(0, &[(2, 10)]);
    assert_eq!(world.abandoned(), [20 * FULL]);
    // Chunk 10 is a placeholder for the rest, chunk 11 is the other message.
    assert_eq!(world.packets().concat(), [11]);
    world.now += 100 * MS;
    world.sack(12, &[]);
    assert!(world.sender.is_drained());
}

#[test]
fn a_message_whose_fragments_are_all_acknowledged_is_abandoned_by_its_rest() {
    let mut world = World::measured();
    world.push(1, 20 * FULL);
    assert_eq!(world.packets().len(), 10);
    world.now += 100 * MS;
    world.sack(10, &[]);
    assert_eq!(world.sender.discard_unsent(world.now, StreamId(1)), 10 * FULL);
    assert_eq!(world.abandoned(), [20 * FULL]);
    assert!(world.sender.has_outstanding(), "the placeholder, which a FORWARD-TSN skips");
    world.now += 100 * MS;
    world.packet();
    world.sack(11, &[]);
    assert!(world.sender.is_drained());
}

#[test]
fn a_forward_tsn_for_the_same_point_waits_for_a_round_trip() {
    let mut world = World::measured();
    world.push_with(1, FULL, once());
    world.packets();
    world.now += 1000 * MS;
    world.sender.on_t3_timeout(world.now, false, &world.path);
    let forwards = |world: &mut World| world.packet_in_batch(true).0 > PACKET_HEADER_LEN;
    assert!(forwards(&mut world));
    world.sack(0, &[]);
    assert!(!forwards(&mut world), "the peer may have it on its way");
    world.now += 400 * MS;
    world.sack(0, &[]);
    assert!(forwards(&mut world));
}

/// RFC 3758 §3.5 C2: the Advanced.Peer.Ack.Point moves only if the chunk that follows it was abandoned.
#[test]
fn no_forward_tsn_is_due_for_a_message_behind_one_that_is_in_flight() {
    let mut world = World::measured();
    world.push(2, FULL);
    world.push(1, 20 * FULL);
    world.packets();
    world.sender.discard_unsent(world.now, StreamId(1));
    assert_eq!(world.abandoned(), [20 * FULL]);
    assert!(!world.sender.has_sendable(world.now, &world.path));
    // The front was abandoned and the peer told; the message behind the next one is not at the front.
    let mut world = World::measured();
    world.push_with(1, FULL, once());
    world.push(2, FULL);
    world.push(3, 20 * FULL);
    assert_eq!(world.packets().len(), 10);
    world.now += 100 * MS;
    world.sack(0, &[(3, 5)]);
    assert_eq!(world.packet(), [], "a FORWARD-TSN leaves no room for a full chunk");
    assert_eq!(world.packets().concat().first(), Some(&1));
    assert_eq!(world.abandoned(), [FULL]);
    assert!(!world.sender.has_sendable(world.now, &world.path));
    world.sender.discard_unsent(world.now, StreamId(3));
    assert_eq!(world.abandoned(), [20 * FULL]);
    assert!(!world.sender.has_sendable(world.now, &world.path));
}

#[test]
fn room_that_an_abandoned_message_leaves_in_cwnd_is_used_at_once() {
    let mut world = World::measured();
    let options = SendOptions { reliability: Reliability::MaxLifetime(5000 * MS), ..SendOptions::default() };
    world.push_with(1, 200 * FULL, options);
    let mut sent = 0;
    while sent < 70 {
        world.sack(sent, &[]);
        sent += world.paced_packets();
        world.now += 100 * MS;
    }
    world.push(2, 100);
    // More is in flight than the reduced window takes, so lost chunks wait.
    world.sack(sent - 34, &[]);
    world.paced_packets();
    world.now += 100 * MS;
    world.sack(sent - 34, &[(7, 9)]);
    world.packets();
    assert!(world.sender.outstanding.has_lost() && world.sender.flight_size() >= world.sender.cwnd());
    world.now += 5000 * MS;
    world.sender.on_probe_timeout(world.now, &world.path);
    let packet = world.packet();
    assert_eq!(packet.iter().map(|chunk| chunk.stream).collect::<Vec<_>>(), [StreamId(2)]);
    assert_eq!(world.abandoned(), [200 * FULL]);
}

/// Each gap took a round trip: a FORWARD-TSN named the first one alone.
#[test]
fn a_forward_tsn_passes_messages_that_have_arrived_and_are_not_sent_again() {
    let mut world = World::measured();
    (0..10).for_each(|_| world.push_with(1, FULL, once()));
    assert_eq!(world.packets().len(), 10);
    world.now += 100 * MS;
    let held = world.sender.charged();
    // Chunks 0, 2, 3, and 5 are lost.
    world.sack(0, &[(2, 2), (5, 5), (7, 10)]);
    assert_eq!(world.abandoned().len(), 4);
    // The stream is named before each message that has arrived, so that the peer delivers that.
    assert_eq!(forward_tsn(&mut world), Some((5, vec![(1, 0), (1, 3), (1, 5)])));
    assert!(world.sender.charged() + 5 * FULL <= held, "what was passed is not kept");
    assert_eq!(forward_tsn(&mut world), None, "once a round trip");
    // The peer takes its reports back: nothing that was passed is sent again.
    world.now += 100 * MS;
    world.sack(0, &[]);
    assert_eq!(world.sender.counters().retransmitted, 0);
    assert_eq!(forward_tsn(&mut world), Some((5, vec![(1, 0), (1, 3), (1, 5)])));
    world.sack(10, &[]);
    assert!(world.sender.is_drained());
}

/// If the peer reneged, it would wait for the message of the other stream for ever.
#[test]
fn a_forward_tsn_passes_a_message_only_if_an_abandoned_one_of_its_stream_follows() {
    for (third, last, messages) in [(1, 0, vec![(1, 0)]), (2, 3, vec![(1, 1), (2, 1)])] {
        let mut world = World::measured();
        // One after the other, so that streams do not take turns.
        for stream in [1, 2, 1, third, 1, 1, 1, 1] {
            world.push_with(stream, FULL, once());
            world.packets();
        }
        world.now += 100 * MS;
        // Chunk 1 has arrived, chunks 0, 2 and 3 are lost.
        world.sack(0, &[(2, 2), (5, 8)]);
        assert_eq!(world.abandoned().len(), 3);
        assert_eq!(forward_tsn(&mut world), Some((last, messages)), "stream {third}");
        if third == 1 {
            // The peer moves to the next gap, where nothing that has arrived is in between.
            world.now += 100 * MS;
            world.sack(2, &[(3, 6)]);
            assert_eq!(forward_tsn(&mut world), Some((3, vec![(1, 2)])));
        }
    }
}

#[test]
fn a_forward_tsn_stops_at_a_message_that_would_be_sent_again() {
    for (options, last) in [(SendOptions::default(), 0), (once(), 2)] {
        let mut world = World::measured();
        world.push_with(1, FULL, once());
        world.push_with(1, FULL, options);
        (0..7).for_each(|_| world.push_with(1, FULL, once()));
        world.packets();
        world.now += 100 * MS;
        // Chunks 0 and 2 are lost.
        world.sack(0, &[(2, 2), (4, 9)]);
        assert_eq!(forward_tsn(&mut world).map(|(last, _)| last), Some(last), "{options:?}");
    }
}

#[test]
fn messages_that_have_arrived_are_passed_once_their_lifetime_is_over() {
    let mut world = World::measured();
    let options = SendOptions { reliability: Reliability::MaxLifetime(150 * MS), ..SendOptions::default() };
    world.push_with(1, FULL, once());
    world.push_with(1, FULL, options);
    world.push_with(1, FULL, once());
    (0..5).for_each(|_| world.push(1, FULL));
    world.packets();
    world.now += 100 * MS;
    world.sack(0, &[(2, 2), (4, 8)]);
    assert_eq!(forward_tsn(&mut world).map(|(last, _)| last), Some(0));
    world.now += 100 * MS;
    world.sack(0, &[(2, 2), (4, 8)]);
    assert_eq!(forward_tsn(&mut world), Some((2, vec![(1, 0), (1, 2)])));
}

#[test]
fn a_loss_shrinks_the_congestion_window_though_its_message_is_abandoned() {
    let windows = [SendOptions::default(), once()].map(|options| {
        let mut world = World::measured();
        (0..10).for_each(|_| world.push_with(1, FULL, options));
        world.packets();
        let before = world.sender.cwnd();
        world.now += 100 * MS;
        world.sack(0, &[(2, 10)]);
        assert!(world.sender.cwnd() < before);
        world.sender.cwnd()
    });
    assert_eq!(windows[0], windows[1]);
}

#[test]
fn a_forward_tsn_that_waits_for_data_waits_for_a_quarter_of_the_round_trip_time_at_most() {
    // In slow start the pacer lets the next packet out after a twentieth of the round-trip time.
    for (round_trip, waits) in [(100 * MS, true), (700 * MS, true), (3_900 * MS, true), (6_000 * MS, false)] {
        let mut world = World::new();
        world.path.rto.on_sample(round_trip);
        world.push(1, 20 * FULL);
        world.push(2, 20 * FULL);
        assert_eq!(world.packets().len(), 10);
        assert!(world.sender.discard_unsent(world.now, StreamId(1)) > 0);
        assert_eq!(forward_tsn(&mut world).is_none(), waits, "{round_trip:?}");
        if waits {
            let at = world.sender.paced_until().unwrap();
            assert!(at - world.now <= round_trip / 4 && at - world.now <= 200 * MS);
            world.now = at;
            assert!(forward_tsn(&mut world).is_some());
        }
    }
}

#[test]
fn a_forward_tsn_does_not_wait_if_no_data_can_follow() {
    let mut world = World::measured();
    world.push(1, 20 * FULL);
    assert_eq!(world.packets().len(), 10);
    world.sender.discard_unsent(world.now, StreamId(1));
    assert!(forward_tsn(&mut world).is_some());
}
