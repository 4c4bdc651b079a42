//! The schedulers, with streams that have no messages but lengths.

use std::collections::{BTreeMap, VecDeque};

use super::*;

/// Bytes of a chunk that fills a packet.
const FULL: usize = 1_188;

/// Messages of at most so many bytes go ahead of others.
const AHEAD: usize = 5;

/// Keys and bytes of the messages that wait on a stream.
type Messages = VecDeque<(MessageKey, usize)>;

#[derive(Default)]
struct World {
    scheduler: Scheduler,
    streams: BTreeMap<StreamId, (StreamTurn, Messages)>,
    next_key: MessageKey,
    interleaves: bool,
}

impl World {
    fn new(kind: StreamScheduler) -> Self {
        Self { scheduler: Scheduler::new(kind), ..Self::default() }
    }

    fn interleaving(kind: StreamScheduler) -> Self {
        Self { interleaves: true, ..Self::new(kind) }
    }

    fn set_priority(&mut self, stream: u16, priority: u16) {
        let stream = StreamId(stream);
        let interleaves = self.interleaves;
        let (turn, messages) = self.streams.entry(stream).or_default();
        self.scheduler.set_priority(stream, turn, priority, upcoming(messages, interleaves));
    }

    fn push(&mut self, stream: u16, len: usize) {
        let (stream, key) = (StreamId(stream), self.next_key.take());
        let (turn, messages) = self.streams.entry(stream).or_default();
        messages.push_back((key, len));
        if messages.len() == 1 {
            self.scheduler.activate(stream, turn, upcoming(messages, self.interleaves).unwrap());
        }
    }

    /// Cuts a chunk, and returns its stream and length.
    fn cut(&mut self) -> Option<(u16, usize)> {
        let stream = self.scheduler.current()?;
        let (turn, messages) = self.streams.get_mut(&stream).unwrap();
        let (_, left) = messages.front_mut().unwrap();
        let len = FULL.min(*left);
        *left -= len;
        let ends = *left == 0;
        if ends {
            messages.pop_front();
        }
        self.scheduler.on_cut(turn, len, upcoming(messages, self.interleaves), ends || self.interleaves);
        Some((stream.0, len))
    }

    /// Cuts so many chunks, and returns their streams.
    fn order(&mut self, count: usize) -> Vec<u16> {
        let order = std::iter::from_fn(|| self.cut()).take(count).map(|(stream, _)| stream).collect();
        self.check();
        order
    }

    /// Drops the first message of a stream.
    fn drop_message(&mut self, stream: u16) {
        let stream = StreamId(stream);
        let (turn, messages) = self.streams.get_mut(&stream).unwrap();
        messages.pop_front();
        self.scheduler.on_message_dropped(stream, turn, upcoming(messages, self.interleaves));
        self.check();
    }

    /// Returns the chunks that are left of the message that has been begun.
    fn left_of_message(&self) -> usize {
        let stream = self.scheduler.current().unwrap();
        let (_, left) = self.streams[&stream].1[0];
        if self.scheduler.hold == Hold::Message { left.div_ceil(FULL) } else { 0 }
    }

    /// Puts the current stream aside, and returns it.
    fn put_aside(&mut self) -> u16 {
        let stream = self.scheduler.current().unwrap();
        self.scheduler.put_aside(&self.streams[&stream].0);
        self.check();
        stream.0
    }

    fn resume(&mut self) {
        while let Some(stream) = self.scheduler.pop_aside() {
            let (turn, messages) = self.streams.get_mut(&stream).unwrap();
            self.scheduler.activate(stream, turn, upcoming(messages, self.interleaves).unwrap());
        }
        self.check();
    }

    fn check(&self) {
        let active = self.streams.iter().filter(|(_, (_, messages))| !messages.is_empty());
        self.scheduler.check_consistency(active.map(|(stream, (turn, _))| (*stream, turn)));
    }

    /// Cuts chunks while each of the streams has something to send, until one has sent `bytes`. Returns the most
    /// packets by which any share differed from its weight.
    fn unfairness(&mut self, weights: &[(u16, u16)], bytes: u64) -> u64 {
        let mut sent: BTreeMap<u16, u64> = weights.iter().map(|(stream, _)| (*stream, 0)).collect();
        let mut worst = 0;
        while sent.values().all(|sent| *sent < bytes) {
            let (stream, len) = self.cut().unwrap();
            *sent.get_mut(&stream).unwrap() += len as u64;
            // Bytes that a stream of weight 1 would have sent, in millionths.
            let rounds: Vec<u64> =
                weights.iter().map(|(stream, weight)| sent[stream] * 1_000_000 / u64::from(*weight)).collect();
            let spread = rounds.iter().max().unwrap() - rounds.iter().min().unwrap();
            let least = weights.iter().map(|(_, weight)| *weight).min().unwrap();
            worst = worst.max(spread * u64::from(least) / 1_000_000);
        }
        worst.div_ceil(FULL as u64)
    }
}

fn upcoming(messages: &Messages, interleaves: bool) -> Option<Upcoming> {
    let (message, left) = *messages.front()?;
    let goes_first = left <= AHEAD;
    Some(Upcoming { message, wire_len: if interleaves { left.min(FULL) } else { left }, goes_first })
}

#[test]
fn first_come_first_served_keeps_the_order_of_the_messages_rfc8260_3_1() {
    for mut world in
        [World::new(StreamScheduler::FirstComeFirstServed), World::interleaving(StreamScheduler::FirstComeFirstServed)]
    {
        for (stream, len) in [(3, 2 * FULL), (1, 10), (3, 10), (2, 10), (1, 10)] {
            world.push(stream, len);
        }
        assert_eq!(world.order(9), [3, 3, 1, 3, 2, 1]);
        // A dropped message gives its place to the next message of its stream, which is later than others.
        for stream in [1, 2, 1] {
            world.push(stream, 10);
        }
        world.drop_message(1);
        assert_eq!(world.order(9), [2, 1]);
        for (stream, len) in [(1, 10), (2, 10), (3, 10), (2, 10)] {
            world.push(stream, len);
        }
        world.drop_message(2);
        assert_eq!(world.order(9), [1, 3, 2], "a stream that waits has lost its message");
    }
}

#[test]
fn round_robin_counts_messages_or_chunks_if_messages_interleave_rfc8260_3_2() {
    let mut worlds = [World::new(StreamScheduler::RoundRobin), World::interleaving(StreamScheduler::RoundRobin)];
    for world in &mut worlds {
        for (stream, len) in [(3, 3 * FULL), (1, 10), (1, 10), (2, 2 * FULL)] {
            world.push(stream, len);
        }
    }
    assert_eq!(worlds.each_mut().map(|world| world.order(9)), [vec![3, 3, 3, 1, 2, 2, 1], vec![3, 1, 2, 3, 1, 2, 3]]);
}

#[test]
fn round_robin_per_packet_keeps_to_one_stream_in_a_packet_rfc8260_3_3() {
    for interleaves in [false, true] {
        let mut world = World { interleaves, ..World::new(StreamScheduler::RoundRobinPerPacket) };
        for (stream, len) in [(1, 100), (1, 100), (2, 100), (3, FULL + 100), (1, 100)] {
            world.push(stream, len);
        }
        let mut packets = Vec::new();
        loop {
            // At most two chunks fit a packet.
            let packet = world.order(2);
            world.scheduler.on_packet_end();
            if packet.is_empty() {
                break;
            }
            packets.push(packet);
        }
        assert_eq!(packets, [vec![1, 1], vec![2], vec![3, 3], vec![1]]);
    }
}

#[test]
fn a_message_that_a_packet_has_ended_in_is_finished_first_unless_messages_interleave_rfc8260_3_3() {
    for (interleaves, second) in [(false, 1), (true, 2)] {
        let mut world = World { interleaves, ..World::new(StreamScheduler::RoundRobinPerPacket) };
        world.push(1, 2 * FULL);
        world.push(2, 100);
        assert_eq!(world.order(1), [1]);
        world.scheduler.on_packet_end();
        assert_eq!(world.order(1), [second]);
    }
}

#[test]
fn the_highest_priority_goes_first_and_equal_ones_take_turns_rfc8260_3_4() {
    let mut world = World::interleaving(StreamScheduler::Priority);
    world.set_priority(1, 128);
    world.set_priority(2, 512);
    world.set_priority(3, 512);
    for stream in [1, 2, 3, 2, 3] {
        world.push(stream, 2 * FULL);
    }
    assert_eq!(world.order(5), [2, 3, 2, 3, 2]);
    world.set_priority(1, 1_024);
    assert_eq!(world.order(2), [1, 1], "a change counts at once");
    world.push(1, 4 * FULL);
    world.set_priority(1, 0);
    assert_eq!(world.order(9), [3, 2, 3, 1, 1, 1, 1]);
}

#[test]
fn a_message_that_was_begun_is_finished_before_a_higher_priority_unless_messages_interleave_rfc8260_3_4() {
    for (interleaves, order) in [(false, [1, 1, 1, 2]), (true, [1, 2, 1, 1])] {
        let mut world = World { interleaves, ..World::new(StreamScheduler::Priority) };
        world.push(1, 3 * FULL);
        world.set_priority(2, 512);
        let mut cut = world.order(1);
        world.push(2, 10);
        cut.extend(world.order(9));
        assert_eq!(cut, order);
    }
}

#[test]
fn fair_capacity_gives_all_streams_the_same_bytes_whatever_their_messages_and_priorities_rfc8260_3_5() {
    let mut world = World::interleaving(StreamScheduler::FairCapacity);
    world.set_priority(1, 1_024);
    for (stream, len) in [(1, 100), (2, 50_000), (3, 2_000)] {
        (0..300_000 / len).for_each(|_| world.push(stream, len));
    }
    let unfair = world.unfairness(&[(1, 1), (2, 1), (3, 1)], 200_000);
    assert!(unfair <= 1, "{unfair} packets");
}

#[test]
fn weighted_fair_queueing_gives_bytes_by_weight_within_a_packet_a_round_rfc8260_3_6() {
    let weights = [(1, 128), (2, 256), (3, 512), (4, 1_024), (5, 256)];
    let mut world = World::interleaving(StreamScheduler::WeightedFairQueueing);
    for (stream, weight) in weights {
        world.set_priority(stream, weight);
        // Messages from 60 bytes to 60,000.
        let len = 60 * 10_usize.pow(u32::from(stream) % 4);
        (0..2_000_000 / len).for_each(|_| world.push(stream, len));
    }
    let unfair = world.unfairness(&weights, 1_500_000);
    assert!(unfair <= 1, "{unfair} packets");
}

#[test]
fn without_interleaving_bytes_are_fair_within_a_message_rfc8260_3_6() {
    let weights = [(1, 128), (2, 1_024)];
    let mut world = World::new(StreamScheduler::WeightedFairQueueing);
    for (stream, weight) in weights {
        world.set_priority(stream, weight);
        (0..300).for_each(|_| world.push(stream, 10 * FULL));
    }
    let unfair = world.unfairness(&weights, 200 * 10 * FULL as u64);
    assert!((2..=10).contains(&unfair), "{unfair} packets");
}

#[test]
fn no_weight_starves_a_stream_and_0_counts_as_1() {
    let mut world = World::interleaving(StreamScheduler::WeightedFairQueueing);
    world.set_priority(1, 0);
    world.set_priority(2, 1_024);
    world.push(1, 10 * FULL);
    world.push(2, 10_000 * FULL);
    let order = world.order(5_000);
    assert_eq!(order.iter().filter(|stream| **stream == 1).count(), 5_000 / 1_025);
}

#[test]
fn an_idle_stream_gets_no_credit_and_keeps_no_more_debt_than_its_last_chunk() {
    let mut world = World::interleaving(StreamScheduler::WeightedFairQueueing);
    world.push(1, 2_000 * FULL);
    world.push(2, FULL);
    world.order(1_000);
    world.push(2, 1_000 * FULL);
    let order = world.order(20);
    let second = order.iter().filter(|stream| **stream == 2).count();
    assert!((9..=11).contains(&second), "{order:?}");
}

/// However often it comes, as long as the stream has less than its share.
#[test]
fn a_small_message_goes_next_when_messages_interleave_and_after_the_message_under_way_when_not() {
    for (interleaves, streams, len) in [(true, 1, 10), (true, 20, 10), (true, 20, 1), (false, 1, 10), (false, 20, 10)] {
        let mut world = World { interleaves, ..World::new(StreamScheduler::WeightedFairQueueing) };
        for stream in 1..=streams {
            (0..2_000).for_each(|_| world.push(stream, len * FULL));
        }
        for gap in (3..40).chain(3..40) {
            let under_way = if interleaves { 1 } else { world.left_of_message() };
            world.push(0, 80);
            let waits = std::iter::from_fn(|| world.cut()).take_while(|(stream, _)| *stream != 0).count();
            assert!(waits <= under_way, "behind {waits} chunks, of {under_way} under way");
            world.order(gap);
        }
    }
}

#[test]
fn messages_that_go_ahead_are_in_the_order_of_their_coming_rfc8831_6_4() {
    for interleaves in [false, true] {
        let mut world = World { interleaves, ..World::new(StreamScheduler::WeightedFairQueueing) };
        (1..5).for_each(|stream| world.push(stream, 100 * FULL));
        world.order(100);
        for (stream, priority, len) in [(9, 1, AHEAD), (8, 256, 1), (7, 1_024, AHEAD), (6, 128, 2)] {
            world.set_priority(stream, priority);
            world.push(stream, len);
            world.push(stream, 10 * FULL);
        }
        world.order(world.left_of_message());
        assert_eq!(world.order(4), [9, 8, 7, 6]);
    }
}

#[test]
fn a_message_that_is_dropped_between_two_packets_lets_others_go_on_rfc8260_3_3() {
    for is_last in [false, true] {
        let mut world = World::new(StreamScheduler::RoundRobinPerPacket);
        world.push(1, 2 * FULL);
        world.push(2, 10);
        if !is_last {
            world.push(1, 20);
        }
        assert_eq!(world.order(1), [1]);
        world.scheduler.on_packet_end();
        world.drop_message(1);
        assert_eq!(world.order(1), [2]);
    }
}

#[test]
fn a_weight_counts_from_the_next_chunk_on() {
    let mut world = World::interleaving(StreamScheduler::WeightedFairQueueing);
    world.set_priority(1, 1);
    world.push(1, 1_000 * FULL);
    world.push(2, 1_000 * FULL);
    assert_eq!(world.order(300).iter().filter(|stream| **stream == 1).count(), 1);
    // Its debt for its packet, up to 256 packets of the other, is one of its own at the new weight.
    world.set_priority(1, 256);
    let order = world.order(100);
    let first = order.iter().filter(|stream| **stream == 1).count();
    assert!((48..=51).contains(&first), "{order:?}");
}

#[test]
fn a_stream_that_is_put_aside_comes_back_without_credit() {
    let mut world = World::interleaving(StreamScheduler::WeightedFairQueueing);
    world.push(1, 1_000 * FULL);
    world.push(2, 1_000 * FULL);
    assert_eq!(world.put_aside(), 1);
    assert_eq!(world.order(100), [2; 100]);
    world.set_priority(1, 256);
    world.resume();
    let order = world.order(20);
    let first = order.iter().filter(|stream| **stream == 1).count();
    assert!((9..=11).contains(&first), "{order:?}");
    // One that has nothing left does not come back.
    let stream = StreamId(world.put_aside());
    let (turn, messages) = world.streams.get_mut(&stream).unwrap();
    messages.clear();
    world.scheduler.remove(stream, turn);
    world.resume();
}

#[test]
fn a_stream_that_loses_its_message_in_the_middle_has_used_its_turn() {
    let mut world = World::new(StreamScheduler::RoundRobin);
    for stream in [1, 2, 3, 1] {
        world.push(stream, 2 * FULL);
    }
    world.order(1);
    world.drop_message(1);
    assert_eq!(world.order(9), [2, 2, 3, 3, 1, 1]);
    for stream in [1, 2, 3] {
        world.push(stream, FULL);
    }
    world.drop_message(2);
    world.drop_message(1);
    assert_eq!(world.order(9), [3]);
}

#[test]
fn all_65_535_streams_share_by_weight() {
    const STREAMS: u16 = 65_535;
    let mut world = World::interleaving(StreamScheduler::WeightedFairQueueing);
    for stream in 0..STREAMS {
        world.set_priority(stream, 128 << (stream % 4));
        world.push(stream, 20 * FULL);
    }
    let chunks = 7 * usize::from(STREAMS);
    let counts = world.order(chunks).iter().fold(vec![0; usize::from(STREAMS)], |mut counts, stream| {
        counts[usize::from(*stream)] += 1;
        counts
    });
    for (stream, count) in counts.iter().enumerate() {
        let expected = 7 * 4 * (1 << (stream % 4)) / 15;
        assert!((expected - 1..=expected + 2).contains(count), "{count} chunks of stream {stream}, not {expected}");
    }
}

/// A stream sends newest state only: each message takes the place of one that waits, before or after that is dropped.
/// It gets its share nevertheless.
#[test]
fn a_stream_that_drops_its_own_messages_keeps_its_turn() {
    let kinds = [
        StreamScheduler::WeightedFairQueueing,
        StreamScheduler::FairCapacity,
        StreamScheduler::RoundRobin,
        StreamScheduler::RoundRobinPerPacket,
    ];
    for kind in kinds {
        for (waiting, len, priority) in [(1, FULL, 256), (1, 100, 256), (3, FULL, 256), (1, FULL, 64), (3, FULL, 64)] {
            let mut world = World::interleaving(kind);
            world.set_priority(2, priority);
            world.push(1, 10_000_000);
            (0..waiting).for_each(|_| world.push(2, len));
            let mut sent = [0_u64; 2];
            for _ in 0..1_000 {
                for _ in 0..3 {
                    if waiting > 1 {
                        world.push(2, len);
                    }
                    world.drop_message(2);
                    if waiting == 1 {
                        world.push(2, len);
                    }
                }
                let (stream, bytes) = world.cut().unwrap();
                world.scheduler.on_packet_end();
                sent[usize::from(stream == 2)] += bytes as u64;
                if stream == 2 {
                    world.push(2, len);
                }
            }
            let is_weighted = kind == StreamScheduler::WeightedFairQueueing;
            // Round robin gives turns, and does not count bytes.
            let fair = match kind {
                StreamScheduler::RoundRobin | StreamScheduler::RoundRobinPerPacket => {
                    len as u64 * sent[0] / FULL as u64
                }
                _ if is_weighted => sent[0] * u64::from(priority) / 256,
                _ => sent[0],
            };
            let most = 1_000 * len as u64;
            assert!(sent[1] * 20 >= fair.min(most) * 19, "{kind:?}, {waiting} of {len} bytes, {priority}: {sent:?}");
        }
    }
}

#[test]
fn of_equal_turns_the_one_that_was_served_least_recently_comes_first() {
    let mut world = World::interleaving(StreamScheduler::RoundRobin);
    [1, 2, 3].iter().for_each(|stream| world.push(*stream, FULL));
    world.push(1, 10 * FULL);
    assert_eq!(world.order(4), [1, 2, 3, 1]);
    // Stream 1 has been served since the other two were.
    [3, 2].iter().for_each(|stream| world.push(*stream, FULL));
    assert_eq!(world.order(4), [2, 3, 1, 1]);
}

#[test]
fn streams_that_were_not_served_yet_keep_their_order_if_they_move() {
    let mut world = World::new(StreamScheduler::WeightedFairQueueing);
    [0, 2].iter().for_each(|stream| world.push(*stream, AHEAD));
    for (from, to) in [(0, 1), (2, 3)] {
        let (mut turn, messages) = world.streams.remove(&StreamId(from)).unwrap();
        world.scheduler.remove(StreamId(from), &turn);
        world.scheduler.activate(StreamId(to), &mut turn, upcoming(&messages, false).unwrap());
        world.streams.insert(StreamId(to), (turn, messages));
    }
    assert_eq!(world.order(2), [1, 3]);
}
