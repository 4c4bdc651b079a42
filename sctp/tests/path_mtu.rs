//! Path MTU discovery (RFC 8899): what is found, what it costs, and paths that shrink in the middle of a transfer.

mod pair;

use std::time::Duration;

use bytes::Bytes;
use narrowboat_sctp::testing::wire::ChunkType;
use narrowboat_sctp::{AssociationConfig, LowerLayerLimits, Reliability, SendOptions, StreamId};
use pair::{MS, Packet, Pair, Verdict};

/// The default configuration with discovery.
fn searching() -> AssociationConfig {
    AssociationConfig { path_mtu_discovery: true, ..AssociationConfig::default() }
}

const SECOND: Duration = Duration::from_secs(1);

/// Bytes a second of the link.
const RATE: u64 = 2_500_000;

/// Bytes of IPv4 and UDP headers.
const HEADERS: usize = 28;

fn is_probe(packet: &Packet) -> bool {
    packet.kinds() == [ChunkType::HEARTBEAT, ChunkType::PAD]
}

/// Drops IP packets of more than `mtu` bytes.
fn limit(pair: &mut Pair, mtu: usize) {
    pair.rule = Box::new(move |packet| if packet.bytes.len() + HEADERS > mtu { Verdict::Drop } else { Verdict::Pass });
}

/// A pair on a link of 20 Mbit/s and 20 ms, with a queue of one bandwidth-delay product.
fn fast_pair(config: AssociationConfig) -> Pair {
    let mut pair = Pair::connected(config);
    pair.bottleneck = Some((RATE, 50_000));
    pair.link_mtu = usize::MAX;
    pair
}

/// Keeps the sender of end 0 busy for `duration`. Returns the bytes that arrive meanwhile.
fn transfer(pair: &mut Pair, duration: Duration) -> usize {
    let before: usize = pair.received[1].iter().map(|message| message.2.len()).sum();
    let until = pair.now + duration;
    while pair.now < until {
        while pair.ends[0].stats().buffered_amount < 200_000 {
            pair.send(0, StreamId(1), Bytes::from_static(&[7; 100_000]));
        }
        let step = (pair.now + 5 * MS).min(until);
        while pair.step(step) {}
    }
    pair.received[1].iter().map(|message| message.2.len()).sum::<usize>() - before
}

#[test]
fn the_search_finds_the_usual_sizes_exactly_and_others_nearly() {
    let cases = [(1500, 1472), (1492, 1464), (1452, 1424), (1420, 1392), (9000, 8972), (65_535, 65_484), (1280, 1252)];
    for (mtu, expected) in cases {
        let mut pair = fast_pair(searching());
        if mtu > 50_000 {
            // A queue with room for such a packet.
            pair.bottleneck = Some((10 * RATE, 500_000));
        }
        limit(&mut pair, mtu);
        transfer(&mut pair, 6 * SECOND);
        let stats = pair.ends[0].stats();
        assert_eq!(stats.mtu, expected, "IP packets of {mtu} bytes");
        assert_eq!((stats.t3_expirations, stats.mtu_black_holes), (0, 0), "{mtu}");
        assert_eq!(pair.ends[1].stats().mtu, AssociationConfig::default().mtu, "it has sent nothing that needs more");
    }
    for mtu in [1340, 1600, 5000] {
        let mut pair = fast_pair(searching());
        limit(&mut pair, mtu);
        transfer(&mut pair, 30 * SECOND);
        let (found, passes) = (pair.ends[0].stats().mtu, mtu - HEADERS);
        assert!(found <= passes && found + found / 50 >= passes, "{found} bytes where {passes} pass");
    }
}

#[test]
fn an_ethernet_path_is_found_in_the_first_half_second_of_a_transfer() {
    let mut pair = fast_pair(searching());
    limit(&mut pair, 1500);
    transfer(&mut pair, 500 * MS);
    assert_eq!(pair.ends[0].stats().mtu, 1472);
}

/// RFC 8899 §3: probes need room in packets that nobody needs. They cost a sixteenth at most, and nothing without data.
#[test]
fn probes_leave_beside_full_packets_only_one_a_round_trip_and_a_sixteenth_of_the_bytes() {
    let mut pair = Pair::connected(searching());
    for _ in 0..200 {
        pair.send(0, StreamId(1), Bytes::from_static(&[7; 500]));
        pair.run_for(25 * MS);
    }
    pair.run_for(1000 * SECOND);
    assert_eq!(pair.trace.iter().filter(|packet| is_probe(packet)).count(), 0, "small messages, then an idle hour");

    let mut pair = fast_pair(searching());
    limit(&mut pair, 1333);
    transfer(&mut pair, 5 * SECOND);
    let probes: Vec<&Packet> = pair.trace.iter().filter(|packet| packet.from == 0 && is_probe(packet)).collect();
    assert!(probes.len() > 6, "{} probes", probes.len());
    assert!(probes.windows(2).all(|pair| pair[1].at >= pair[0].at + 20 * MS), "one a round trip");
    let bytes: usize = probes.iter().map(|packet| packet.bytes.len()).sum();
    let sent: usize = pair.trace.iter().filter(|packet| packet.from == 0).map(|packet| packet.bytes.len()).sum();
    assert!(bytes * 16 <= sent, "{bytes} of {sent} bytes");
}

/// RFC 8899 §3, item 7 and §5.1.2: a lost probe is not a sign of congestion. Three of a size rule it out.
#[test]
fn lost_probes_neither_slow_the_sender_nor_count_against_the_peer() {
    let config = AssociationConfig { association_max_retransmits: Some(1), mtu_max: 1300, ..searching() };
    let mut pair = fast_pair(config);
    // The queue takes all that is sent: nothing but probes is lost.
    pair.bottleneck = Some((RATE, 10_000_000));
    pair.rule = Box::new(|packet| if is_probe(packet) { Verdict::Drop } else { Verdict::Pass });
    transfer(&mut pair, 8 * SECOND);
    let stats = pair.ends[0].stats();
    assert_eq!((stats.congestion_events, stats.t3_expirations, stats.mtu), (0, 0, AssociationConfig::default().mtu));
    // The last one may still be on its way.
    assert!((stats.mtu_probes_sent - 1..=stats.mtu_probes_sent).contains(&stats.mtu_probes_lost), "{stats:?}");
    let probes = pair.trace.iter().filter(|packet| is_probe(packet));
    let sizes: Vec<usize> = probes.map(|packet| packet.bytes.len()).collect();
    let mut runs: Vec<&[usize]> = sizes.chunk_by(|size, next| size == next).collect();
    assert_eq!(runs[0], [1300; 3]);
    assert!(runs.pop().is_some_and(|last| last.len() <= 3));
    assert!(runs.len() >= 2 && runs.iter().all(|run| run.len() == 3), "{sizes:?}");
}

#[test]
fn a_probe_whose_answer_is_late_confirms_its_size_too() {
    let mut pair = fast_pair(AssociationConfig { mtu_max: 1472, ..searching() });
    pair.rule = Box::new(|packet| {
        let is_answer = packet.kinds() == [ChunkType::HEARTBEAT_ACK];
        if is_answer { Verdict::Delay(900 * MS) } else { Verdict::Pass }
    });
    transfer(&mut pair, 2 * SECOND);
    assert_eq!(pair.ends[0].stats().mtu, 1472);
}

/// RFC 8899 §5.1.1: `PMTU_RAISE_TIMER`. The path may carry more than before.
#[test]
fn the_search_begins_again_after_ten_minutes_if_there_is_something_to_send() {
    let mut pair = fast_pair(AssociationConfig { mtu_max: 1472, ..searching() });
    limit(&mut pair, 1400);
    transfer(&mut pair, 10 * SECOND);
    assert_eq!(pair.ends[0].stats().mtu, 1372);
    limit(&mut pair, 1500);
    pair.run_for(300 * SECOND);
    transfer(&mut pair, SECOND);
    assert_eq!(pair.ends[0].stats().mtu, 1372, "too early");
    pair.run_for(300 * SECOND);
    transfer(&mut pair, SECOND);
    assert_eq!(pair.ends[0].stats().mtu, 1472);
}

/// RFC 8899 §4.3. The link is used to nine tenths within five seconds after each cliff.
#[test]
fn a_path_that_shrinks_in_the_middle_of_a_transfer_is_used_again() {
    let small = AssociationConfig { mtu: 872, ..searching() };
    let falling = AssociationConfig { mtu_min: Some(872), ..searching() };
    // Bytes that a record of DTLS adds to a packet: 37 in 1.2, 22 in 1.3.
    for (config, record, before, cliffs) in [
        (searching(), 0, 1500, &[1280, 1200][..]),
        (searching(), 37, 1500, &[1280, 1200]),
        (searching(), 22, 1500, &[1280, 1200]),
        (searching(), 0, 9000, &[1400]),
        (searching(), 0, 65_535, &[1500]),
        (small, 0, 1500, &[900]),
        (falling, 0, 1500, &[900]),
    ] {
        let mut pair = fast_pair(config);
        if record > 0 {
            let mtu = Some(AssociationConfig::default().mtu - record);
            let limits = LowerLayerLimits { mtu, packet_max: 1 << 14, overhead: HEADERS + record };
            pair.ends[0].set_lower_layer_limits(limits);
        }
        limit(&mut pair, before - record);
        pair.keeps_trace = false;
        transfer(&mut pair, if before > 1500 { 10 * SECOND } else { 2 * SECOND });
        assert!(pair.ends[0].stats().mtu + record + HEADERS > cliffs[0], "{before}");
        for (index, &mtu) in cliffs.iter().enumerate() {
            limit(&mut pair, mtu - record);
            transfer(&mut pair, 5 * SECOND);
            let bytes = transfer(&mut pair, 2 * SECOND);
            let (stats, falls) = (pair.ends[0].stats(), index as u64 + 1);
            let what = format!("{before} to {mtu} with records of {record}: {stats:?}");
            assert!(stats.mtu + record + HEADERS <= mtu && stats.mtu_black_holes >= falls, "{what}");
            let share = bytes as f64 / (2.0 * RATE as f64);
            assert!(share >= 0.9, "{share:.2} of the link, {what}");
        }
    }
}

fn once() -> SendOptions {
    SendOptions { reliability: Reliability::MaxRetransmits(0), ..SendOptions::default() }
}

/// Offers messages of 1,400 bytes that are sent once, at twice the rate of the link. Returns the number of those that
/// arrive.
fn offer_once(pair: &mut Pair, duration: Duration) -> usize {
    let before = pair.received[1].len();
    let until = pair.now + duration;
    while pair.now < until {
        for _ in 0..18 {
            if pair.ends[0].stats().buffered_amount < 200_000 {
                pair.send_with(0, StreamId(1), Bytes::from_static(&[7; 1400]), once());
            }
        }
        let step = (pair.now + 5 * MS).min(until);
        while pair.step(step) {}
    }
    pair.received[1].len() - before
}

/// A message that is never retransmitted need not fit the packets of later, so it shares its fate with no other.
#[test]
fn a_message_that_is_sent_once_and_fits_a_packet_of_now_is_one_chunk_and_survives_a_shrinking_path() {
    for (interleaving, record) in [(true, 0), (false, 0), (true, 37), (true, 22)] {
        let mut pair = fast_pair(AssociationConfig { message_interleaving: interleaving, ..searching() });
        if record > 0 {
            let mtu = Some(AssociationConfig::default().mtu - record);
            pair.ends[0].set_lower_layer_limits(LowerLayerLimits {
                mtu,
                packet_max: 1 << 14,
                overhead: HEADERS + record,
            });
        }
        limit(&mut pair, 1500 - record);
        offer_once(&mut pair, 2 * SECOND);
        pair.trace.clear();
        let before = pair.ends[0].stats();
        offer_once(&mut pair, SECOND);
        let after = pair.ends[0].stats();
        let chunks = after.data_chunks_sent - before.data_chunks_sent;
        let packets = pair.trace.iter().filter(|packet| packet.from == 0 && packet.has_user_data()).count() as u64;
        assert!(chunks * 20 <= packets * 21, "{chunks} chunks in {packets} packets");
        for mtu in [1280, 1200] {
            limit(&mut pair, mtu - record);
            offer_once(&mut pair, 5 * SECOND);
            let arrived = offer_once(&mut pair, 2 * SECOND);
            let (stats, share) = (pair.ends[0].stats(), arrived as f64 * 1400.0 / (2.0 * RATE as f64));
            assert!(stats.mtu + record + HEADERS <= mtu, "{stats:?}");
            assert!(share >= 0.9, "{share:.2} of the link at {mtu} with records of {record}: {stats:?}");
        }
    }
}

/// The last chunk of a stream that is reset leaves once more, to ask for its acknowledgement, though nothing else of
/// its message does. It may be larger than what the path takes by then.
#[test]
fn a_reset_behind_a_large_chunk_that_a_shrinking_path_has_swallowed_comes_to_an_end() {
    let mut pair = fast_pair(searching());
    limit(&mut pair, 1500);
    offer_once(&mut pair, 2 * SECOND);
    pair.run_for(2 * SECOND);
    assert_eq!(pair.ends[0].stats().mtu, 1472);
    limit(&mut pair, 1280);
    pair.send_with(0, StreamId(1), Bytes::from_static(&[7; 1400]), once());
    let now = pair.now;
    pair.ends[0].reset_streams(now, &[StreamId(1)]).unwrap();
    let is_over = |pair: &Pair| !pair.ends[0].is_resetting(StreamId(1));
    pair.run_until(10 * SECOND, is_over);
    assert!(is_over(&pair), "{:?}", pair.ends[0].stats());
    let before = pair.received[1].len();
    pair.send(0, StreamId(1), Bytes::from_static(&[7; 100_000]));
    pair.run_for(2 * SECOND);
    assert_eq!(pair.received[1].len(), before + 1, "the association goes on");
}

#[test]
fn a_black_hole_is_found_without_a_time_out_if_small_packets_pass() {
    let mut pair = fast_pair(searching());
    limit(&mut pair, 1500);
    transfer(&mut pair, 2 * SECOND);
    limit(&mut pair, 1280);
    transfer(&mut pair, 300 * MS);
    let stats = pair.ends[0].stats();
    assert_eq!((stats.mtu_black_holes, stats.t3_expirations), (1, 0), "{stats:?}");
}

#[test]
fn loss_by_congestion_is_not_taken_for_a_black_hole() {
    let mut pair = Pair::connected(AssociationConfig { mtu_max: 1472, ..searching() });
    pair.bottleneck = Some((1_250_000, 60_000));
    let mut number = 0_u32;
    pair.rule = Box::new(move |packet| {
        number += 1;
        if packet.from == 0 && number.is_multiple_of(50) { Verdict::Drop } else { Verdict::Pass }
    });
    transfer(&mut pair, 20 * SECOND);
    let stats = pair.ends[0].stats();
    assert!(stats.congestion_events > 20, "{stats:?}");
    assert_eq!((stats.mtu, stats.mtu_black_holes), (1472, 0), "{stats:?}");
}

/// A queue that overflows drops the end of a window, and passes what is sent behind that.
#[test]
fn large_packets_lost_in_a_row_in_one_round_trip_are_no_black_hole() {
    let mut pair = fast_pair(AssociationConfig { mtu_max: 1472, ..searching() });
    limit(&mut pair, 1500);
    transfer(&mut pair, 2 * SECOND);
    for _ in 0..5 {
        limit(&mut pair, 1280);
        transfer(&mut pair, 15 * MS);
        limit(&mut pair, 1500);
        transfer(&mut pair, SECOND);
    }
    let stats = pair.ends[0].stats();
    assert!(stats.congestion_events >= 5, "{stats:?}");
    assert_eq!((stats.mtu, stats.mtu_black_holes), (1472, 0), "{stats:?}");
}

/// EMSGSIZE is a hint: it ends a probe at once, and makes packets smaller, but never below the size to start with.
#[test]
fn a_refusal_by_the_system_rules_a_size_out_at_once() {
    let mut pair = fast_pair(searching());
    let mtu = pair.ends[0].path_mtu();
    let now = pair.now;
    assert!(!pair.ends[0].on_packet_too_large(now, mtu), "it cannot be sent at all");
    limit(&mut pair, 1500);
    let mut seen = 0;
    for _ in 0..300 {
        transfer(&mut pair, 10 * MS);
        let refused = pair.trace[seen..].iter().map(|packet| packet.bytes.len()).filter(|len| *len > 1472).last();
        seen = pair.trace.len();
        if let Some(len) = refused {
            let now = pair.now;
            assert!(pair.ends[0].on_packet_too_large(now, len));
        }
    }
    let stats = pair.ends[0].stats();
    assert_eq!((stats.mtu, stats.mtu_black_holes, stats.t3_expirations), (1472, 0, 0), "{stats:?}");
    let now = pair.now;
    assert!(pair.ends[0].on_packet_too_large(now, 1472));
    assert_eq!(pair.ends[0].path_mtu(), mtu);
}

#[test]
fn the_layer_below_sets_the_sizes_to_search_between() {
    let carrier = LowerLayerLimits { mtu: None, packet_max: 1100, overhead: 60 };
    let dtls = LowerLayerLimits { mtu: Some(1163), packet_max: 1 << 14, overhead: 48 + 37 };
    for (limits, first, found) in [(carrier, 1100, 1100), (dtls, 1160, 1412)] {
        let mut pair = fast_pair(searching());
        pair.ends[0].set_lower_layer_limits(limits);
        assert_eq!(pair.ends[0].path_mtu(), first);
        pair.rule = Box::new(
            move |packet| {
                if packet.bytes.len() + limits.overhead > 1500 { Verdict::Drop } else { Verdict::Pass }
            },
        );
        transfer(&mut pair, 10 * SECOND);
        assert_eq!(pair.ends[0].path_mtu(), found);
        let now = pair.now;
        pair.ends[0].on_path_changed(now);
        assert_eq!(pair.ends[0].path_mtu(), first, "another path of the same layer");
    }
}

#[test]
fn without_discovery_no_packet_is_larger_than_configured() {
    let mut pair = fast_pair(AssociationConfig { path_mtu_discovery: false, ..searching() });
    transfer(&mut pair, 2 * SECOND);
    assert!(pair.trace.iter().all(|packet| packet.bytes.len() <= AssociationConfig::default().mtu));
    assert_eq!(pair.ends[0].stats().mtu_probes_sent, 0);
}

/// RFC 9260 §6.9: fragments that were sent cannot be cut again, so they fit the least size whatever the size is now.
#[test]
fn every_fragment_fits_a_packet_of_the_least_size() {
    let mut pair = fast_pair(AssociationConfig { mtu_min: Some(900), ..searching() });
    transfer(&mut pair, 2 * SECOND);
    assert!(pair.ends[0].stats().mtu >= 8972);
    let (kind, sent) = (pair.data_kind(), pair.sent(0, pair.data_kind()));
    assert!(!sent.is_empty());
    for packet in sent {
        for chunk in narrowboat_sctp::testing::wire::Chunks::new(&packet.bytes).map_while(Result::ok) {
            assert!(chunk.value.len() + 4 + 12 <= 900 || chunk.kind != kind);
        }
    }
}

/// Nothing notices that control chunks get lost by the size of their packet, so they need no proof that they pass.
#[test]
fn control_chunks_fit_the_size_that_packets_fall_to() {
    // The link is unlimited, so the window keeps the send buffer from being full.
    let sender = AssociationConfig { mtu: 600, path_mtu_discovery: false, receive_window: 8 << 20, ..searching() };
    let receiver = AssociationConfig { mtu: 600, mtu_max: 1472, ..searching() };
    let mut pair = Pair::with_configs([receiver, sender], 1);
    pair.connect();
    transfer(&mut pair, 2 * SECOND);
    assert_eq!(pair.ends[0].stats().mtu, 1472);
    pair.run_for(SECOND);
    // Each second packet of a large window is lost: the acknowledgements report hundreds of gaps.
    let (mut number, kind) = (0, pair.data_kind());
    pair.rule = Box::new(move |packet| {
        number += usize::from(packet.from == 1 && packet.has(kind));
        let is_lost = packet.from == 1 && (700..1300).contains(&number) && number % 2 == 0;
        if is_lost { Verdict::Drop } else { Verdict::Pass }
    });
    pair.trace.clear();
    for _ in 0..10 {
        pair.send(1, StreamId(1), Bytes::from_static(&[7; 100_000]));
    }
    pair.run_for(5 * SECOND);
    let longest = pair.sent(0, ChunkType::SACK).iter().map(|packet| packet.bytes.len()).max();
    assert!(longest.is_some_and(|len| (560..=600).contains(&len)), "{longest:?}");
}
