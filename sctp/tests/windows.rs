//! Receive windows that follow the demand: fast readers, slow ones, and those that pause.

mod pair;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use narrowboat_sctp::testing::wire::{ChunkType as C, Chunks, Sack};
use narrowboat_sctp::{
    AssociationConfig, AssociationEvent, CongestionControl, PacketDropReason, Ppid, SendOptions, StreamId,
};
use pair::{MS, Pair};

const SECOND: Duration = Duration::from_secs(1);
const MIB: usize = 1 << 20;

/// Fills the send buffer of the first end with messages of this size.
fn fill(pair: &mut Pair, size: usize, bytes: usize) {
    while pair.ends[0].stats().buffered_amount < bytes {
        let message = Bytes::from(vec![7; size]);
        let sent = pair.ends[0].send(pair.now, StreamId(1), Ppid(53), message, SendOptions::default());
        if sent.is_err() {
            break;
        }
    }
}

/// Runs for a time with a sender that always has more, and returns the bytes that were read.
fn transfer(pair: &mut Pair, time: Duration, size: usize) -> usize {
    let (end, mut read) = (pair.now + time, 0);
    loop {
        fill(pair, size, 3 * MIB);
        let has_more = pair.step(end);
        read += pair.received[1].drain(..).map(|(_, _, bytes)| bytes.len()).sum::<usize>();
        if !has_more {
            return read;
        }
    }
}

/// Returns a pair on a path of 1 Gbit/s with a queue of one bandwidth-delay product. Packets are large, so that there
/// are few.
fn fast_path(one_way: Duration) -> Pair {
    let config = AssociationConfig { mtu: 16_000, ..AssociationConfig::default() };
    let mut pair = Pair::with_config(config);
    pair.one_way = one_way;
    pair.ends[0].connect(pair.now);
    pair.run_for(10 * one_way);
    pair.keeps_trace = false;
    pair.bottleneck = Some((125_000_000, 250_000 * one_way.as_millis() as usize));
    pair
}

/// Hands back what the second end has kept unread, and lets it read from now on.
fn resume(pair: &mut Pair) -> usize {
    pair.reads[1] = true;
    let mut read = 0;
    for event in std::mem::take(&mut pair.events[1]) {
        if let AssociationEvent::Message(message) = event {
            read += message.payload.into_bytes().len();
            pair.ends[1].release(message.credit);
        }
    }
    read
}

#[test]
fn the_default_windows_fill_a_gigabit_at_a_hundred_milliseconds() {
    let mut pair = fast_path(50 * MS);
    transfer(&mut pair, 2 * SECOND, 64 << 10);
    let bytes = transfer(&mut pair, SECOND, 64 << 10);
    assert!(bytes > 118_000_000, "{bytes} bytes in a second");
    assert_eq!(pair.ends[1].stats().drops.count(PacketDropReason::WindowOverrun), 0);
}

#[test]
fn a_slow_reader_holds_no_more_than_the_initial_window_however_fast_the_path_is() {
    let mut pair = fast_path(50 * MS);
    pair.reads[1] = false;
    let mut most = 0;
    // A megabyte a second, in messages of 10,000 bytes.
    for _ in 0..500 {
        fill(&mut pair, 10_000, 3 * MIB);
        pair.run_for(10 * MS);
        most = most.max(pair.ends[1].memory_charged());
        let oldest = pair.events[1].iter().position(|event| matches!(event, AssociationEvent::Message(_)));
        if let Some(AssociationEvent::Message(message)) = oldest.map(|at| pair.events[1].remove(at)) {
            pair.ends[1].release(message.credit);
        }
    }
    assert!((200_000..600_000).contains(&most), "{most} bytes were held");
}

#[test]
fn a_reader_that_stops_holds_what_was_promised_and_an_idle_association_nothing() {
    let mut pair = fast_path(10 * MS);
    transfer(&mut pair, SECOND, 64 << 10);
    pair.reads[1] = false;
    fill(&mut pair, 64 << 10, 3 * MIB);
    transfer(&mut pair, SECOND, 64 << 10);
    let held = pair.ends[1].memory_charged();
    assert!(held <= 40 * MIB, "{held} bytes are held");
    resume(&mut pair);
    pair.run_for(20 * SECOND);
    assert_eq!(pair.ends.each_ref().map(|end| end.stats().buffered_amount), [0, 0]);
    let idle = pair.ends.each_ref().map(narrowboat_sctp::Association::memory_charged);
    assert!(idle[0] < 2_000 && idle[1] < 2_000, "{idle:?} bytes are charged");
}

/// A peer is never told that it may send less than it was told before: by the bytes that have arrived, and `a_rwnd`.
#[test]
fn the_right_edge_of_the_window_never_moves_back() {
    let mut pair = Pair::connected(AssociationConfig::default());
    for round in 0..6 {
        // Bulk, a pause, and a few messages, by turns.
        for _ in 0..if round % 2 == 0 { 500 } else { 5 } {
            pair.send(0, StreamId(1), vec![7; 4_000]);
        }
        pair.run_for(30 * SECOND);
    }
    let (mut sent, mut edges) = (BTreeMap::new(), Vec::new());
    let mut total = 0;
    for packet in &pair.trace {
        for chunk in Chunks::new(&packet.bytes).map_while(Result::ok) {
            let value = chunk.value_in(&packet.bytes);
            if packet.from == 0 && [C::DATA, C::I_DATA].contains(&chunk.kind) {
                total += value.len() - if chunk.kind == C::DATA { 12 } else { 16 };
                sent.insert(u32::from_be_bytes(value[..4].try_into().unwrap()), total);
            } else if packet.from == 1 && chunk.kind == C::SACK {
                let sack = Sack::decode(value).unwrap();
                edges.push(sent[&sack.cumulative_tsn_ack.0] + sack.a_rwnd as usize);
            }
        }
    }
    assert!(edges.len() > 1_000 && edges.is_sorted(), "{edges:?}");
}

#[test]
fn messages_larger_than_the_window_are_taken_without_a_drop() {
    for path_mtu_discovery in [false, true] {
        for (window, size) in [(4 << 10, 16 << 10), (32 << 10, 64 << 10), (32 << 10, 33_000), (64 << 10, 1 << 20)] {
            let receiving = AssociationConfig { receive_window: window, ..AssociationConfig::default() };
            let sending = AssociationConfig { path_mtu_discovery, ..AssociationConfig::default() };
            let mut pair = Pair::with_configs([sending, receiving], 1);
            pair.connect();
            pair.keeps_trace = false;
            let bytes = transfer(&mut pair, 3 * SECOND, size);
            let stats = pair.ends[1].stats();
            let refused = stats.drops.count(PacketDropReason::WindowOverrun);
            assert_eq!(refused, 0, "{size} bytes into {window}: {} taken", stats.data_chunks_received);
            assert_eq!(pair.ends[0].stats().data_chunks_retransmitted, 0, "{size} bytes into {window}");
            // Most of a window each round trip of 20 ms.
            let least = 150 * window as usize / 2;
            assert!(bytes >= least, "{size} bytes into {window}: {bytes} of {least} bytes");
        }
    }
}

#[test]
fn after_a_pause_of_three_minutes_the_reader_gets_full_speed_within_two_round_trips() {
    let size = 64 << 10;
    for congestion_control in [CongestionControl::Cubic, CongestionControl::NewReno, CongestionControl::Bbr] {
        for (one_way, bottleneck) in [(10 * MS, None), (MS, Some((12_500_000, 25_000)))] {
            let case = format!("{congestion_control:?}, {one_way:?}");
            let sending = AssociationConfig { congestion_control, ..AssociationConfig::default() };
            let receiving = AssociationConfig { receive_window: 32 << 10, ..AssociationConfig::default() };
            let mut pair = Pair::with_configs([sending, receiving], 1);
            (pair.one_way, pair.bottleneck) = (one_way, bottleneck);
            pair.connect();
            pair.keeps_trace = false;
            let chunks = |pair: &Pair| pair.ends[1].stats().data_chunks_received;
            transfer(&mut pair, 2 * SECOND, size);
            let start = chunks(&pair);
            transfer(&mut pair, 100 * one_way, size);
            let before = chunks(&pair) - start;
            pair.reads[1] = false;
            transfer(&mut pair, 180 * SECOND, size);
            let losses = pair.ends[0].stats().congestion_events;
            resume(&mut pair);
            transfer(&mut pair, 4 * one_way, size);
            let start = chunks(&pair);
            transfer(&mut pair, 100 * one_way, size);
            let after = chunks(&pair) - start;
            assert!(before >= 50 * 13, "{case}: {before} chunks in 50 round trips");
            assert!(after * 20 >= before * 19, "{case}: {after} chunks after the pause, {before} before");
            // Those that cut their window for each loss do not take the refused probe for one.
            let events = pair.ends[0].stats().congestion_events - losses;
            assert!(events == 0 || congestion_control == CongestionControl::Bbr, "{case}: {events} reductions");
        }
    }
}
