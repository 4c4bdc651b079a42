//! Packet sizes that change in the middle of a transfer.

use super::*;

#[test]
fn new_chunks_have_the_size_of_the_path_as_it_is() {
    let mut world = World::new();
    world.push(1, 100 * FULL);
    assert_eq!(world.packet()[0].len, FULL);
    for mtu in [600, 1400, 9000] {
        world.path.set_mtu(mtu);
        world.sender.on_mtu_changed(&world.path);
        let (len, chunks) = world.packet_in_batch(true);
        assert_eq!((len, chunks.len()), (mtu, 1), "one full packet");
    }
}

/// Returns a world whose packets may fall from 1,200 bytes to 700.
fn falling() -> World {
    World::with_config(&AssociationConfig { mtu_min: Some(700), ..AssociationConfig::default() })
}

fn lengths(chunks: &[Written]) -> Vec<usize> {
    chunks.iter().map(|chunk| chunk.len).collect()
}

#[test]
fn only_what_is_never_retransmitted_is_cut_to_the_packets_of_now() {
    let least = 700 - PACKET_HEADER_LEN - DataChunk::HEADER_LEN;
    let of = |reliability| SendOptions { reliability, ..SendOptions::default() };
    for (options, expected) in [
        (once(), vec![FULL]),
        (of(Reliability::MaxRetransmits(1)), vec![least, FULL - least - DataChunk::HEADER_LEN]),
        (of(Reliability::MaxLifetime(1000 * MS)), vec![least, FULL - least - DataChunk::HEADER_LEN]),
        (of(Reliability::Reliable), vec![least, FULL - least - DataChunk::HEADER_LEN]),
    ] {
        let mut world = falling();
        world.push_with(1, FULL, options);
        world.push_with(1, FULL, options);
        assert_eq!(lengths(&world.packet()), expected, "{options:?}");
    }
    let mut world = falling();
    world.sender.on_established(1 << 20, false, DataFormat::Data, &world.path);
    world.push_with(1, FULL, once());
    assert_eq!(lengths(&world.packet())[0], least, "a peer that cannot skip it gets it again");
}

/// A tail loss probe is not to get lost by its size, and leaves whatever comes next.
#[test]
fn a_probe_takes_a_piece_of_a_message_that_fits_larger_packets() {
    let mut world = falling();
    world.path.rto.on_sample(100 * MS);
    world.push_with(1, FULL, once());
    assert_eq!(lengths(&world.packet()), [FULL]);
    world.push_with(1, FULL, once());
    world.now += 300 * MS;
    assert!(world.sender.on_probe_timeout(world.now, &world.path));
    let (len, chunks) = world.packet_in_batch(true);
    assert_eq!((len, chunks.len()), (700, 1));
}

/// RFC 9260 §6.9: a fragment cannot be cut again.
#[test]
fn a_chunk_cut_for_larger_packets_leaves_alone_as_the_first_of_a_batch() {
    let mut world = World::measured();
    (0..4).for_each(|_| world.push(1, FULL));
    world.push(1, 3000);
    assert_eq!(world.packets().concat().len(), 7);
    world.path.set_mtu(800);
    world.sender.on_mtu_changed(&world.path);
    world.now += 1000 * MS;
    world.sender.on_t3_timeout(world.now, false, &world.path);
    assert_eq!(world.packet_in_batch(false).1, [], "it would be larger than the packets before it");
    let (len, chunks) = world.packet_in_batch(true);
    assert_eq!((len, chunks), (1200, vec![Written { number: 0, stream: StreamId(1), len: FULL }]));
    for acked in 1..6 {
        world.now += 100 * MS;
        world.sack(acked, &[]);
        loop {
            let (len, chunks) = world.packet_in_batch(true);
            if chunks.is_empty() {
                break;
            }
            assert!(len <= 800 || chunks.len() == 1, "{chunks:?} in {len} bytes");
        }
    }
    world.now += 100 * MS;
    world.sack(7, &[]);
    assert!(world.sender.is_drained());
}

#[test]
fn an_oversized_chunk_leaves_in_no_packet_that_holds_something_else() {
    let mut world = World::measured();
    world.push(1, FULL);
    world.packets();
    world.path.set_mtu(800);
    world.sender.on_mtu_changed(&world.path);
    world.sender.on_t3_timeout(world.now, false, &world.path);
    let mut packet = vec![0; 100];
    let room = PacketRoom { end: 800, floor_end: 800, may_exceed_mtu: false };
    assert!(!world.sender.write(world.now, room, &world.path, &mut packet));
    assert_eq!(packet.len(), 100);
}

#[test]
fn messages_that_wait_are_charged_for_chunks_of_the_new_size() {
    let mut world = World::measured();
    world.push(1, 100_000);
    let before = world.sender.charged();
    world.path.set_mtu(600);
    world.sender.on_mtu_changed(&world.path);
    assert!(world.sender.charged() > before + 80 * 300, "twice as many chunks");
    world.sender.check_consistency(&world.path);
    world.path.set_mtu(1200);
    world.sender.on_mtu_changed(&world.path);
    assert_eq!(world.sender.charged(), before);
}

#[test]
fn another_path_has_an_initial_window_and_its_own_packet_size() {
    let mut world = World::measured();
    world.path = Path::new(&AssociationConfig { mtu: 700, ..AssociationConfig::default() });
    world.sender.on_path_changed(&world.path);
    assert_eq!(world.sender.cwnd(), 10 * world.path.pmdcs());
    world.push(1, 5000);
    assert_eq!(world.packet_in_batch(true).0, 700);
}

/// RFC 8985 §6.2 step 4 counts segments: one packet that is overtaken is no loss yet, however many chunks it has.
#[test]
fn a_packet_of_several_chunks_counts_once_in_a_gap_report() {
    let mut world = World::measured();
    world.push(1, FULL);
    (0..3).for_each(|_| world.push(1, 300));
    assert_eq!(world.packets(), [vec![0], vec![1, 2, 3]]);
    world.now += 100 * MS;
    let outcome = world.sack(0, &[(2, 4)]);
    let SackOutcome::Accepted { reo_deadline: Some(at), .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!(at, world.now + 25 * MS, "a quarter of a round trip for the packet that is missing");
    assert!(world.packets().is_empty());
}
