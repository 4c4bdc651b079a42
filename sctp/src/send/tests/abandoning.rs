//! Abandoned messages (RFC 3758).

use super::*;

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
