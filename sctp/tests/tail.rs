//! Loss of the last packet of a burst (RFC 8985 §7), in virtual time, on a path whose round trip takes 50 ms.

mod pair;

use std::time::Duration;

use narrowboat_sctp::testing::wire::{ChunkType, Chunks};
use narrowboat_sctp::{AssociationConfig, StreamId};
use pair::{MS, Packet, Pair, Verdict};

const SECOND: Duration = Duration::from_secs(1);
const RTT: Duration = Duration::from_millis(50);

/// Bytes of user data that fill a packet, in an I-DATA chunk.
const FULL: usize = 1140;

/// A pair whose second end delays its SACKs by up to this time. Bursts of several sizes were sent and have arrived.
fn pair(sack_delay: Duration, bottleneck: Option<(u64, usize)>) -> Pair {
    // A HEARTBEAT ACK, which is never delayed, would add to the variation.
    // A packet is one chunk, so that chunks count packets.
    let config =
        AssociationConfig { heartbeat_interval: None, path_mtu_discovery: false, ..AssociationConfig::default() };
    let delaying = AssociationConfig { sack_delay_max: sack_delay, ..config.clone() };
    let mut pair = Pair::with_configs([config, delaying], 1);
    pair.one_way = RTT / 2;
    pair.connect();
    pair.bottleneck = bottleneck;
    for packets in 1..=8 {
        pair.send(0, StreamId(1), vec![7; packets * FULL]);
        pair.run_for(SECOND);
    }
    pair
}

fn has_data(packet: &Packet) -> bool {
    packet.has(ChunkType::DATA) || packet.has(ChunkType::I_DATA)
}

fn drop_data_packet(pair: &mut Pair, number: usize) {
    let mut count = 0;
    pair.rule = Box::new(move |packet| {
        count += usize::from(packet.from == 0 && has_data(packet));
        if packet.from == 0 && count == number { Verdict::Drop } else { Verdict::Pass }
    });
}

#[test]
fn the_last_packet_of_a_burst_is_repaired_within_two_and_a_half_round_trips() {
    // 100 Mbit/s, and no limit.
    for bottleneck in [Some((12_500_000, 1 << 20)), None] {
        for sack_delay in [Duration::ZERO, 20 * MS, 200 * MS] {
            for packets in 2..=12 {
                let mut pair = pair(sack_delay, bottleneck);
                let before = pair.received[1].len();
                drop_data_packet(&mut pair, packets);
                pair.trace.clear();
                pair.send(0, StreamId(1), vec![7; packets * FULL]);
                pair.run_until(10 * SECOND, |pair| pair.received[1].len() > before);
                // Packets beyond a window of ten are paced.
                let sent_at = pair.sent(0, pair.data_kind())[packets - 1].at;
                assert!(packets > 10 || sent_at == pair.trace[0].at);
                let took = pair.elapsed() - sent_at;
                assert!(took <= RTT * 5 / 2, "{took:?} for {packets} packets, SACKs delayed by {sack_delay:?}");
                assert_eq!(pair.ends[0].stats().t3_expirations, 0);
            }
        }
    }
}

/// The peer may delay the SACK of a packet that is alone. One that does not delay it for long gets a probe early.
#[test]
fn a_lost_packet_that_left_alone_is_repaired_by_the_delay_of_this_peer() {
    for (sack_delay, at_most) in [(20 * MS, 3 * RTT), (200 * MS, 4 * RTT + 200 * MS)] {
        let mut pair = pair(sack_delay, None);
        for _ in 0..40 {
            pair.send(0, StreamId(1), vec![7; FULL]);
            pair.run_for(SECOND);
        }
        let (before, sent_at) = (pair.received[1].len(), pair.now);
        drop_data_packet(&mut pair, 1);
        pair.send(0, StreamId(1), vec![7; FULL]);
        pair.run_until(10 * SECOND, |pair| pair.received[1].len() > before);
        assert!(pair.now - sent_at <= at_most, "{:?}, SACKs delayed by {sack_delay:?}", pair.now - sent_at);
        assert_eq!(pair.ends[0].stats().t3_expirations, 0);
    }
}

/// The delay of the peer's SACKs is learned by a few needless probes at most, whatever is sent.
#[test]
fn a_path_without_loss_sees_hardly_any_probe() {
    // No limit, 10 Mbit/s, 500 kbit/s: at the last the queue alone takes ten round trips.
    for bottleneck in [None, Some((1_250_000, 1 << 20)), Some((62_500, 1 << 20))] {
        for sack_delay in [Duration::ZERO, 20 * MS, 100 * MS, 200 * MS] {
            let mut pair = pair(sack_delay, bottleneck);
            for round in 0..200_usize {
                // Several messages share a packet; some bursts end with an odd packet, and some are one packet.
                let (messages, len) = [(1, 100), (1, 1_000), (3, 50), (2, FULL), (3, FULL), (1, 9 * FULL)][round % 6];
                (0..messages).for_each(|_| pair.send(0, StreamId(1), vec![7; len]));
                pair.run_for([13, 45, 90, 230, 700][round % 5] * MS);
            }
            pair.run_for(SECOND);
            let stats = pair.ends[0].stats();
            assert!(
                stats.spurious_retransmissions <= 4,
                "{} needless probes, SACKs delayed by {sack_delay:?}, {bottleneck:?}",
                stats.spurious_retransmissions
            );
            let lasting = stats.congestion_events - stats.congestion_events_undone;
            assert_eq!(lasting, 0, "no loss, SACKs delayed by {sack_delay:?}, {bottleneck:?}");
        }
    }
}

/// RFC 8985 §7.3. Nothing arrives any more: the probe leaves after 62.5 ms, and T3-rtx fires its time after the probe.
#[test]
fn a_probe_starts_the_retransmission_timer_again() {
    let mut pair = pair(20 * MS, None);
    pair.trace.clear();
    let (sent_at, rto) = (pair.elapsed(), pair.ends[0].stats().rto);
    pair.rule = Box::new(|_| Verdict::Drop);
    pair.send(0, StreamId(1), vec![7; 2 * FULL]);
    pair.run_until(SECOND, |pair| pair.ends[0].stats().t3_expirations == 1);
    let times: Vec<Duration> = pair.sent(0, pair.data_kind()).iter().map(|packet| packet.at - sent_at).collect();
    let [_, _, probe, retransmission] = times[..] else { panic!("{times:?}") };
    assert!(probe > RTT && probe < 2 * RTT, "{probe:?}");
    assert_eq!(retransmission - probe, rto);
}

fn asks(packet: &Packet) -> bool {
    let mut chunks = Chunks::new(&packet.bytes).map_while(Result::ok);
    chunks.any(|chunk| matches!(chunk.kind, ChunkType::DATA | ChunkType::I_DATA) && chunk.flags & 8 != 0)
}

/// RFC 7053.
#[test]
fn the_end_of_a_burst_and_a_probe_ask_for_a_sack_at_once_and_other_packets_do_not() {
    for packets in [1_usize, 2, 7] {
        let mut pair = pair(200 * MS, None);
        pair.trace.clear();
        drop_data_packet(&mut pair, packets);
        pair.send(0, StreamId(1), vec![7; packets * FULL]);
        pair.run_for(SECOND);
        let asked: Vec<bool> = pair.sent(0, pair.data_kind()).into_iter().map(asks).collect();
        let mut expected = vec![false; packets - 1];
        expected.extend([packets > 1, true]);
        assert_eq!(asked, expected, "the burst and the probe");
    }
}
