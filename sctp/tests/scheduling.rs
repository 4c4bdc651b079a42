//! Streams share the link as their scheduler says (RFC 8260 §3).

mod pair;

use std::collections::BTreeMap;
use std::time::Duration;

use narrowboat_sctp::testing::wire::Chunks;
use narrowboat_sctp::{AssociationConfig, StreamId, StreamScheduler};
use pair::{MS, Pair, Verdict};

/// Bytes a second, and bytes that wait in front of the link, which are more than the receive window.
const BOTTLENECK: (u64, usize) = (1_000_000, 60_000);

/// Bytes that the path holds in its round trip of 20 ms, and a queue of 10 ms.
const RECEIVE_WINDOW: u32 = 30_000;

fn with_scheduler(stream_scheduler: StreamScheduler) -> Pair {
    let config = AssociationConfig { stream_scheduler, ..AssociationConfig::default() };
    behind_a_bottleneck(&config)
}

/// Weighted fair queueing with I-DATA or with DATA.
fn with_weights(message_interleaving: bool) -> Pair {
    let config = AssociationConfig { message_interleaving, ..AssociationConfig::default() };
    behind_a_bottleneck(&config)
}

fn behind_a_bottleneck(config: &AssociationConfig) -> Pair {
    let config = AssociationConfig { receive_window: RECEIVE_WINDOW, ..config.clone() };
    let mut pair = Pair::connected(config);
    pair.bottleneck = Some(BOTTLENECK);
    pair.keeps_trace = false;
    pair
}

/// Queues `total` bytes on each stream, in messages of the length given for it.
fn fill(pair: &mut Pair, streams: &[(u16, usize)], total: usize) {
    for (stream, len) in streams {
        for _ in 0..total / len {
            let payload = vec![7; *len].into();
            let options = narrowboat_sctp::SendOptions::default();
            let sent = pair.ends[0].send(pair.now, StreamId(*stream), narrowboat_sctp::Ppid(53), payload, options);
            assert_eq!(sent, Ok(()));
        }
    }
}

/// Returns the bytes of messages that have arrived on each stream.
fn arrived(pair: &Pair) -> BTreeMap<u16, usize> {
    pair.received[1].iter().fold(BTreeMap::new(), |mut bytes, (stream, _, payload)| {
        *bytes.entry(stream.0).or_default() += payload.len();
        bytes
    })
}

#[test]
fn shares_at_a_bottleneck_follow_the_weights_within_5_percent_rfc8831_6_4() {
    let weights = [(1, 128), (2, 256), (3, 512), (4, 1_024)];
    for (interleaves, loss) in [(true, false), (true, true), (false, false), (false, true)] {
        let mut pair = with_weights(interleaves);
        let mut random = narrowboat_sctp::testing::Random(7);
        pair.rule = Box::new(move |_| if loss && random.percent(1) { Verdict::Drop } else { Verdict::Pass });
        weights.iter().for_each(|(stream, weight)| pair.ends[0].set_stream_priority(StreamId(*stream), *weight));
        // The sizes of the messages make no difference.
        fill(&mut pair, &[(1, 1_000), (2, 10_000), (3, 3_000), (4, 7_000)], 3_000_000);
        pair.run_for(Duration::from_secs(5));
        let bytes = arrived(&pair);
        let total: usize = bytes.values().sum();
        assert!(total > 1_000_000, "{total} bytes");
        for (stream, weight) in weights {
            let (share, expected) = (bytes[&stream] as f64 / total as f64, f64::from(weight) / 1_920.0);
            assert!(
                (share / expected - 1.0).abs() < 0.05,
                "interleaving {interleaves}: stream {stream} has {share:.3} and not {expected:.3}"
            );
        }
    }
}

#[test]
fn a_change_of_weight_counts_from_the_next_message_on() {
    for interleaves in [true, false] {
        let mut pair = with_weights(interleaves);
        pair.ends[0].set_stream_priority(StreamId(1), 16);
        fill(&mut pair, &[(1, 5_000), (2, 5_000)], 3_500_000);
        pair.run_for(Duration::from_secs(1));
        let before = arrived(&pair);
        assert!(before[&2] > 10 * before[&1], "{before:?}");
        pair.ends[0].set_stream_priority(StreamId(1), 4_096);
        pair.run_for(Duration::from_secs(1));
        let after = arrived(&pair);
        assert!(after[&1] - before[&1] > 8 * (after[&2] - before[&2]), "{before:?}, {after:?}");
    }
}

/// A message of a megabyte is under way when its stream becomes 256 times as heavy, or as light.
#[test]
fn in_the_middle_of_a_message_a_weight_counts_from_the_next_chunk_on_if_messages_interleave() {
    for (interleaves, before, after) in [(true, 16, 4_096), (true, 4_096, 16), (false, 4_096, 16)] {
        let mut pair = with_weights(interleaves);
        pair.ends[0].set_stream_priority(StreamId(1), before);
        fill(&mut pair, &[(1, 1_000_000), (2, 5_000)], 3_000_000);
        pair.run_for(Duration::from_millis(300));
        let left = pair.ends[0].buffered_amount(StreamId(1)) - 2_000_000;
        assert!((1..1_000_000).contains(&left), "{left} bytes of the message wait");
        let others = arrived(&pair).get(&2).copied().unwrap_or_default();
        pair.ends[0].set_stream_priority(StreamId(1), after);
        let is_first_whole = |pair: &Pair| pair.received[1].iter().any(|message| message.0 == StreamId(1));
        if interleaves && after < before {
            // The rest takes its seventeenth of the link.
            pair.run_for(Duration::from_secs(1));
            let waits = pair.ends[0].buffered_amount(StreamId(1)) - 2_000_000;
            assert!(left - waits < 100_000 && !is_first_whole(&pair), "{left} bytes waited, {waits} wait still");
        } else {
            // The rest takes the link, less a seventeenth with I-DATA and all of it with DATA.
            pair.run_until(Duration::from_millis(1_250), is_first_whole);
            let others = arrived(&pair).get(&2).copied().unwrap_or_default() - others;
            assert!(others <= left / 10, "{others} bytes of the other stream beside {left}");
        }
    }
}

#[test]
fn a_reset_ends_the_weight_of_the_stream() {
    for interleaves in [true, false] {
        let mut pair = with_weights(interleaves);
        pair.ends[0].set_stream_priority(StreamId(1), 4_096);
        pair.send(0, StreamId(1), vec![7; 100]);
        pair.ends[0].reset_streams(pair.now, &[StreamId(1)]).unwrap();
        pair.run_until(Duration::from_secs(1), |pair| !pair.ends[0].is_resetting(StreamId(1)));
        fill(&mut pair, &[(1, 5_000), (2, 5_000)], 2_000_000);
        pair.run_for(Duration::from_secs(1));
        let left = [1, 2].map(|stream| pair.ends[0].buffered_amount(StreamId(stream)));
        assert!(left[0] < 1_600_000 && left[0].abs_diff(left[1]) <= 5_000, "{left:?}");
    }
}

#[test]
fn strict_priority_sends_what_is_urgent_first_and_first_come_first_served_does_not() {
    for (scheduler, is_first) in [(StreamScheduler::Priority, true), (StreamScheduler::FirstComeFirstServed, false)] {
        let mut pair = with_scheduler(scheduler);
        pair.ends[0].set_stream_priority(StreamId(2), 1_024);
        fill(&mut pair, &[(1, 10_000), (2, 10_000)], 500_000);
        pair.run_for(Duration::from_secs(2));
        let streams: Vec<u16> = pair.received[1].iter().map(|message| message.0.0).collect();
        assert_eq!(streams.len(), 100);
        let urgent = streams.iter().take(50).filter(|stream| **stream == 2).count();
        assert_eq!(urgent == 50, is_first, "{streams:?}");
    }
}

#[test]
fn a_packet_has_chunks_of_one_stream_only_also_after_losses_rfc8260_3_3() {
    let mut pair = with_scheduler(StreamScheduler::RoundRobinPerPacket);
    pair.keeps_trace = true;
    let mut random = narrowboat_sctp::testing::Random(3);
    pair.rule = Box::new(move |_| if random.percent(5) { Verdict::Drop } else { Verdict::Pass });
    fill(&mut pair, &[(1, 100), (2, 250), (3, 3_000)], 30_000);
    pair.run_until(Duration::from_secs(60), |pair| pair.received[1].len() == 300 + 120 + 10);
    assert!(pair.ends[0].stats().data_chunks_retransmitted > 0);
    let (mut bundles, kind) = (0, pair.data_kind());
    for packet in pair.sent(0, kind) {
        let chunks = Chunks::new(&packet.bytes).map(Result::unwrap).filter(|chunk| chunk.kind == kind);
        let streams: Vec<_> = chunks.map(|chunk| chunk.value_in(&packet.bytes)[4..6].to_vec()).collect();
        assert!(streams.windows(2).all(|pair| pair[0] == pair[1]), "{streams:?}");
        bundles += usize::from(streams.len() > 1);
    }
    assert!(bundles > 40, "small messages of one stream share a packet: {bundles}");
}

/// With DATA for one message of bulk, with I-DATA for none.
#[test]
fn a_small_message_waits_for_no_other_stream_that_has_more_however_many_there_are() {
    for interleaves in [true, false] {
        let mut pair = with_weights(interleaves);
        let bulk: Vec<(u16, usize)> = (1..20).map(|stream| (stream, 10_000)).collect();
        fill(&mut pair, &bulk, 500_000);
        pair.run_for(Duration::from_secs(2));
        for _ in 0..20 {
            pair.run_for(37 * MS);
            let (sent_at, before) = (pair.now, pair.received[1].len());
            pair.send(0, StreamId(0), vec![1; 64]);
            let is_ping = |pair: &Pair| pair.received[1].iter().skip(before).any(|message| message.0 == StreamId(0));
            pair.run_until(Duration::from_secs(1), is_ping);
            let age = pair.now - sent_at;
            // 10 ms of the path, 10 ms of its queue, a few packets; with DATA 10 ms of a message.
            assert!(age <= if interleaves { 24 * MS } else { 34 * MS }, "interleaving {interleaves}: {age:?}");
        }
    }
}
