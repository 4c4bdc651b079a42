//! Message interleaving (RFC 8260): its negotiation, and pairs of associations whose messages interleave.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may fail this way")]

mod pair;

use std::time::Duration;

use bytes::Bytes;
use narrowboat_sctp::testing::Random;
use narrowboat_sctp::testing::wire::{
    ChunkType, Chunks, ForwardTsn, IDataChunk, IForwardTsn, PacketHeader, PacketWriter,
};
use narrowboat_sctp::{
    Association, AssociationConfig, AssociationEvent, CloseReason, CookieKeys, Reliability, SendOptions, SignalledInit,
    State, StreamId, Valid, Violation,
};
use pair::{MS, Packet, Pair, Verdict};

const SECOND: Duration = Duration::from_secs(1);
const BULK: StreamId = StreamId(1);
const PING: StreamId = StreamId(2);

fn config(message_interleaving: bool) -> AssociationConfig {
    AssociationConfig { message_interleaving, ..AssociationConfig::default() }
}

/// Returns a message that differs from all others.
fn message(number: u32, len: usize) -> Bytes {
    let mut random = Random(u64::from(number) + 1);
    let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| random.u64().to_be_bytes()).take(len).collect();
    bytes[..4.min(len)].copy_from_slice(&number.to_be_bytes()[..4.min(len)]);
    bytes.into()
}

/// Returns the I-DATA chunks of packets.
fn i_data<'a>(packets: impl IntoIterator<Item = &'a Packet>) -> Vec<IDataChunk> {
    let chunks = |packet: &'a Packet| Chunks::new(&packet.bytes).map(move |chunk| (packet, chunk.unwrap()));
    let data = packets.into_iter().flat_map(chunks).filter(|(_, chunk)| chunk.kind == ChunkType::I_DATA);
    data.map(|(packet, chunk)| IDataChunk::decode(chunk.flags, chunk.value_in(&packet.bytes)).unwrap()).collect()
}

/// Runs until all messages have arrived at the other end, and compares them: in order on each stream.
fn assert_arrive(pair: &mut Pair, from: usize, sent: &[(StreamId, Bytes)]) {
    pair.run_until(600 * SECOND, |pair| pair.received[1 - from].len() >= sent.len());
    let received = &pair.received[1 - from];
    assert_eq!(received.len(), sent.len());
    for stream in sent.iter().map(|(stream, _)| *stream) {
        let expected = sent.iter().filter(|message| message.0 == stream).map(|message| &message.1);
        let on_stream = received.iter().filter(|message| message.0 == stream).map(|message| &message.2);
        assert!(on_stream.eq(expected), "stream {stream}");
    }
}

#[test]
fn messages_interleave_if_both_ends_offer_it_and_are_data_otherwise() {
    for (ours, theirs) in [(true, true), (true, false), (false, true), (false, false)] {
        for signalled in [false, true] {
            let mut pair = Pair::with_configs([config(ours), config(theirs)], 1);
            if signalled {
                let inits: Vec<_> = pair.ends.iter().map(|end| end.signalled_init().unwrap()).collect();
                for end in 0..2 {
                    let init = SignalledInit::parse(&inits[1 - end]).unwrap();
                    pair.ends[end].connect_as_signalled(pair.now, &init).unwrap();
                }
            } else {
                pair.connect();
            }
            let both = ours && theirs;
            let mut sent = Vec::new();
            for number in 0..9 {
                let (stream, payload) = (StreamId(number % 3), message(number.into(), 1 << number));
                for end in 0..2 {
                    pair.send(end, stream, payload.clone());
                }
                sent.push((stream, payload));
            }
            for end in 0..2 {
                assert_eq!(pair.ends[end].peer_supports_message_interleaving(), both);
                assert!(pair.ends[end].peer_supports_partial_reliability());
                assert_arrive(&mut pair, end, &sent);
                let (with, without) =
                    if both { (ChunkType::I_DATA, ChunkType::DATA) } else { (ChunkType::DATA, ChunkType::I_DATA) };
                assert!(!pair.sent(end, with).is_empty() && pair.sent(end, without).is_empty(), "{ours} {theirs}");
            }
        }
    }
}

#[test]
fn without_partial_reliability_interleaving_is_not_offered() {
    let plain = AssociationConfig { partial_reliability: false, ..config(true) };
    let mut pair = Pair::with_configs([plain, config(true)], 1);
    pair.connect();
    assert!(pair.ends.iter().all(|end| !end.peer_supports_message_interleaving()));
    pair.send(0, BULK, "x");
    pair.run_for(SECOND);
    assert_eq!(pair.received[1].len(), 1);
}

/// Returns the most packets with new data that leave between a ping and the packet that carries it.
fn packets_ahead_of_pings(message_interleaving: bool) -> usize {
    let mut pair = Pair::connected(config(message_interleaving));
    pair.bottleneck = Some((1_250_000, 60_000));
    // Longer than all that is sent in the time of the test.
    pair.send(0, BULK, message(0, 4 << 20));
    pair.run_for(SECOND);
    let mut ahead_max = 0;
    for number in 1..=100 {
        pair.trace.clear();
        pair.send(0, PING, message(number, 64));
        pair.run_for(20 * MS);
        let carries_ping = |packet: &&Packet| i_data([*packet]).iter().any(|chunk| chunk.stream == PING);
        let kind = if message_interleaving { ChunkType::I_DATA } else { ChunkType::DATA };
        let sent = pair.sent(0, kind);
        ahead_max = ahead_max.max(sent.iter().position(carries_ping).unwrap_or(sent.len()));
    }
    ahead_max
}

#[test]
fn a_small_message_is_never_behind_more_than_a_packet_of_a_large_one() {
    assert!(packets_ahead_of_pings(true) <= 1, "{} packets", packets_ahead_of_pings(true));
    // The test can tell: without interleaving pings wait for the end of the message.
    assert!(packets_ahead_of_pings(false) > 10);
}

#[test]
fn large_and_small_messages_arrive_in_order_through_loss_reordering_and_repetition() {
    for seed in 1..=8 {
        let mut pair = Pair::connected(config(true));
        let mut random = Random(seed);
        pair.keeps_trace = false;
        pair.rule = Box::new(move |_| match random.below(20) {
            0 => Verdict::Drop,
            1 => Verdict::Repeat(7 * MS),
            2 | 3 => Verdict::Delay(15 * MS),
            _ => Verdict::Pass,
        });
        let mut lens = Random(seed + 100);
        let mut sent = Vec::new();
        for number in 0..120 {
            let len = if number % 8 == 0 { 100_000 } else { 1 + lens.index(3_000) };
            let (stream, payload) = (StreamId(number % 7), message(number.into(), len));
            pair.send(0, stream, payload.clone());
            sent.push((stream, payload));
        }
        assert_arrive(&mut pair, 0, &sent);
    }
}

#[test]
fn unordered_messages_arrive_once_each_beside_ordered_ones_of_their_stream() {
    let mut pair = Pair::connected(config(true));
    let mut random = Random(3);
    pair.rule = Box::new(move |_| if random.percent(10) { Verdict::Drop } else { Verdict::Pass });
    let mut sent = [Vec::new(), Vec::new()];
    for number in 0..60 {
        let (payload, unordered) = (message(number, 4 + (number as usize * 977) % 20_000), number % 2 == 1);
        pair.send_with(0, BULK, payload.clone(), SendOptions { unordered, ..SendOptions::default() });
        sent[usize::from(unordered)].push(payload);
    }
    pair.run_until(600 * SECOND, |pair| pair.received[1].len() >= 60);
    let is_ordered = |payload: &&Bytes| payload[3].is_multiple_of(2);
    let mut received: Vec<_> = pair.received[1].iter().map(|(_, _, payload)| payload).collect();
    assert!(received.iter().copied().filter(is_ordered).eq(&sent[0]));
    received.sort();
    let mut all = sent.concat();
    all.sort();
    assert!(received.into_iter().eq(&all));
}

/// Sends messages with a lifetime on several streams at once through a link that cannot carry them.
#[test]
fn several_messages_are_abandoned_in_their_middles_and_never_seen_in_parts() {
    let mut pair = Pair::connected(config(true));
    pair.bottleneck = Some((100_000, 1 << 16));
    let short = SendOptions { reliability: Reliability::MaxLifetime(300 * MS), ..SendOptions::default() };
    let streams = [1, 2, 3, 4].map(StreamId);
    for (number, stream) in (0..).zip(streams) {
        pair.send_with(0, stream, message(number, 100_000), short);
    }
    pair.run_for(100 * MS);
    let begun: Vec<_> = i_data(pair.sent(0, ChunkType::I_DATA)).iter().map(|chunk| chunk.stream).collect();
    assert!(streams.iter().all(|stream| begun.contains(stream)), "all are begun: {begun:?}");
    let mut sent = Vec::new();
    for (number, stream) in (10..).zip(streams) {
        for unordered in [false, true] {
            let payload = message(number + if unordered { 10 } else { 0 }, 10_000);
            pair.send_with(0, stream, payload.clone(), SendOptions { unordered, ..SendOptions::default() });
            sent.push(payload);
        }
    }
    pair.run_until(60 * SECOND, |pair| pair.received[1].len() == 8);
    pair.run_for(10 * SECOND);
    let mut received: Vec<_> = pair.received[1].iter().map(|(_, _, payload)| payload.clone()).collect();
    received.sort();
    sent.sort();
    assert!(received == sent);
    let abandoned =
        pair.events[0].iter().filter(|event| matches!(event, AssociationEvent::Abandoned { bytes: 100_000, .. }));
    assert_eq!(abandoned.count(), 4);
    assert!(pair.sent(0, ChunkType::FORWARD_TSN).is_empty() && !pair.sent(0, ChunkType::I_FORWARD_TSN).is_empty());
    for packet in pair.sent(0, ChunkType::I_FORWARD_TSN) {
        for chunk in Chunks::new(&packet.bytes).map(Result::unwrap) {
            if chunk.kind == ChunkType::I_FORWARD_TSN {
                let skip = IForwardTsn::decode(chunk.value_in(&packet.bytes)).unwrap();
                let mut entries: Vec<_> = skip.streams().map(|entry| (entry.stream, entry.unordered)).collect();
                let len = entries.len();
                entries.sort_unstable();
                entries.dedup();
                assert_eq!(entries.len(), len, "each stream once, for ordered and for unordered messages");
            }
        }
    }
    assert_eq!(pair.ends[0].stats().flight_size, 0);
}

/// RFC 3758 §3.5 F2 by a clock: SACKs and skips must not answer each other as fast as the path lets them.
#[test]
fn a_skip_to_the_same_point_leaves_once_a_round_trip() {
    for message_interleaving in [false, true] {
        let (data, skip) = if message_interleaving {
            (ChunkType::I_DATA, ChunkType::I_FORWARD_TSN)
        } else {
            (ChunkType::DATA, ChunkType::FORWARD_TSN)
        };
        let mut pair = Pair::connected(config(message_interleaving));
        pair.one_way = 50 * MS;
        for number in 0..20 {
            pair.send(0, PING, message(number, 100));
            pair.run_for(200 * MS);
        }
        pair.trace.clear();
        let once = SendOptions { reliability: Reliability::MaxRetransmits(0), ..SendOptions::default() };
        let start = pair.now - pair.start;
        // A hole each 50 ms; skips are lost for three seconds, and everything else arrives.
        pair.rule = Box::new(move |packet| {
            let is_hole =
                packet.has(data) && packet.from == 0 && ((packet.at - start).as_millis() / 20).is_multiple_of(5);
            let is_skip = packet.has(skip) && packet.at < start + 3 * SECOND;
            if is_hole || is_skip { Verdict::Drop } else { Verdict::Pass }
        });
        for number in 0..200 {
            pair.send_with(0, BULK, message(number, 500), once);
            pair.run_for(20 * MS);
        }
        pair.run_for(5 * SECOND);
        let mut sent: Vec<(Duration, u32)> = Vec::new();
        for packet in pair.sent(0, skip) {
            for chunk in Chunks::new(&packet.bytes).map(Result::unwrap).filter(|chunk| chunk.kind == skip) {
                let value = chunk.value_in(&packet.bytes);
                let point = if message_interleaving {
                    IForwardTsn::decode(value).unwrap().new_cumulative_tsn
                } else {
                    ForwardTsn::decode(value).unwrap().new_cumulative_tsn
                };
                let last = sent.iter().rfind(|(_, other)| *other == point.0);
                assert!(last.is_none_or(|(at, _)| packet.at >= *at + 100 * MS), "{:?} {sent:?}", packet.at);
                sent.push((packet.at, point.0));
            }
        }
        assert!(sent.len() > 20, "{sent:?}");
    }
}

#[test]
fn after_a_reset_of_the_stream_both_counters_begin_at_zero() {
    let mut pair = Pair::connected(config(true));
    for round in 0..3 {
        pair.trace.clear();
        for unordered in [false, true, false, true, false] {
            pair.send_with(0, BULK, message(round, 3_000), SendOptions { unordered, ..SendOptions::default() });
            pair.send(0, PING, "not reset");
        }
        pair.run_for(SECOND);
        let of_stream = |stream, unordered| {
            let chunks = i_data(pair.sent(0, ChunkType::I_DATA));
            let chunks = chunks.iter().filter(|chunk| chunk.stream == stream && chunk.unordered == unordered);
            chunks.filter(|chunk| chunk.beginning).map(|chunk| chunk.mid.0).collect::<Vec<_>>()
        };
        assert_eq!((of_stream(BULK, false), of_stream(BULK, true)), (vec![0, 1, 2], vec![0, 1]));
        assert_eq!(of_stream(PING, false), (0..5).map(|mid| round * 5 + mid).collect::<Vec<_>>());
        assert_eq!(pair.received[1].len(), (round as usize + 1) * 10);
        pair.ends[0].reset_streams(pair.now, &[BULK]).unwrap();
        pair.run_for(SECOND);
    }
}

/// The peer comes back after a crash with another setting: the new handshake decides.
#[test]
fn a_restart_negotiates_anew() {
    for (before, after) in [(true, false), (false, true), (true, true)] {
        let mut pair = Pair::with_configs([config(before), config(true)], 1);
        pair.connect();
        // Messages in their middles at both ends.
        pair.bottleneck = Some((100_000, 1 << 16));
        for end in 0..2 {
            for stream in [1, 2, 3].map(StreamId) {
                pair.send(end, stream, message(stream.0.into(), 100_000));
            }
        }
        pair.run_for(200 * MS);
        let keys = CookieKeys::new(pair.start, [77; 32]);
        pair.ends[0] = Association::new(Valid::new(config(after)).unwrap(), keys, &[], [77; 32]);
        pair.ends[0].connect(pair.now);
        pair.run_for(5 * SECOND);
        assert!(pair.events[1].iter().any(|event| matches!(event, AssociationEvent::Restarted)));
        assert_eq!(pair.ends.each_ref().map(|end| end.state()), [State::Established; 2]);
        assert!(pair.ends.iter().all(|end| end.peer_supports_message_interleaving() == after));
        pair.received = Default::default();
        pair.trace.clear();
        let mut sent = Vec::new();
        for number in 0..12 {
            let (stream, payload) = (StreamId(number % 4), message(number.into(), 10_000));
            pair.send(0, stream, payload.clone());
            pair.send(1, stream, payload.clone());
            sent.push((stream, payload));
        }
        for end in 0..2 {
            assert_arrive(&mut pair, end, &sent);
            assert_eq!(pair.sent(end, ChunkType::I_DATA).is_empty(), !after);
        }
    }
}

/// RFC 8260 §2.2.3, §2.3.1: chunks of the kind that was not agreed upon end the association.
#[test]
fn chunks_of_the_kind_that_was_not_agreed_upon_end_the_association() {
    for kind in [ChunkType::DATA, ChunkType::FORWARD_TSN] {
        let mut pair = Pair::connected(config(true));
        pair.send(0, BULK, "first");
        pair.run_for(SECOND);
        let first = pair.sent(0, ChunkType::I_DATA)[0].bytes.clone();
        let header = PacketHeader::decode(&first).unwrap();
        let tsn = i_data([&Packet { from: 0, at: Duration::ZERO, bytes: first }])[0].tsn;
        let mut packet = Vec::new();
        let mut writer = PacketWriter::begin(&header, 1200, &mut packet);
        let [t0, t1, t2, t3] = tsn.next().0.to_be_bytes();
        let data = [0, 3, 0, 17, t0, t1, t2, t3, 0, 1, 0, 1, 0, 0, 0, 53, b'x', 0, 0, 0];
        let skip = [192, 0, 0, 12, t0, t1, t2, t3, 0, 1, 0, 1];
        writer.chunks().extend_from_slice(if kind == ChunkType::DATA { &data } else { &skip });
        writer.finish();
        pair.put_on_wire(0, packet.into());
        pair.run_for(SECOND);
        let closed = pair.events[1].last();
        let expected = CloseReason::PeerViolation(Violation::NotNegotiated);
        assert!(
            matches!(closed, Some(AssociationEvent::Closed(reason)) if *reason == expected),
            "{kind:?}: {closed:?}"
        );
        assert_eq!(pair.received[1].len(), 1);
    }
}
