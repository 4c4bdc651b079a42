//! User data gets through, in order and whole, whatever the link does.

#![expect(clippy::cast_possible_truncation, reason = "numbers in tests are small, or meant to wrap")]

mod pair;

use std::time::Duration;

use bytes::Bytes;
use narrowboat_sctp::testing::Random;
use narrowboat_sctp::{AssociationConfig, AssociationEvent, Reliability, SendOptions, State, StreamId};
use pair::{MS, Pair, Verdict};

fn pattern(len: usize, seed: u32) -> Bytes {
    (0..len).map(|at| (at as u32).wrapping_mul(2_654_435_761).wrapping_add(seed).to_be_bytes()[0]).collect()
}

/// Losses: true once in so many draws.
fn coin(seed: u64) -> impl FnMut(u64) -> bool {
    let mut random = Random(seed);
    move |one_in| random.below(one_in) == 0
}

#[test]
fn messages_of_every_size_arrive_whole_and_in_order() {
    let mut pair = Pair::connected(AssociationConfig::default());
    let sizes = [1, 2, 3, 4, 1171, 1172, 1173, 2344, 5000, 65_535, 65_536, 65_537, 1_000_000];
    for (index, size) in sizes.into_iter().enumerate() {
        pair.send(0, StreamId(1), pattern(size, index as u32));
    }
    pair.run_until(Duration::from_secs(30), |pair| pair.received[1].len() == sizes.len());
    for (index, (message, size)) in pair.received[1].iter().zip(sizes).enumerate() {
        assert_eq!(message.2, pattern(size, index as u32), "{size} bytes");
    }
    assert_eq!(pair.ends[0].stats().data_chunks_retransmitted, 0);
}

#[test]
fn losses_reordering_and_repetition_change_nothing_for_reliable_messages() {
    for seed in 0..12 {
        let mut pair = Pair::connected(AssociationConfig::default());
        let mut flip = coin(seed);
        pair.rule = Box::new(move |_| match (flip(10), flip(20), flip(20)) {
            (true, ..) => Verdict::Drop,
            (_, true, _) => Verdict::Delay(7 * MS),
            (.., true) => Verdict::Repeat(3 * MS),
            _ => Verdict::Pass,
        });
        for index in 0..60u32 {
            let options = SendOptions { unordered: index.is_multiple_of(3), ..SendOptions::default() };
            let size = (index as usize * 977) % 20_000 + 1;
            pair.send_with(index as usize % 2, StreamId(index as u16 % 5), pattern(size, index), options);
        }
        pair.run_until(Duration::from_secs(120), |pair| pair.received.iter().all(|received| received.len() == 30));
        for end in 0..2 {
            for stream in 0..5u16 {
                let ordered =
                    |index: &u32| !index.is_multiple_of(3) && *index as usize % 2 != end && *index as u16 % 5 == stream;
                let expected: Vec<Bytes> = (0..60u32)
                    .filter(ordered)
                    .map(|index| pattern((index as usize * 977) % 20_000 + 1, index))
                    .collect();
                let got: Vec<Bytes> = pair.received[end]
                    .iter()
                    .filter(|message| message.0 == StreamId(stream) && expected.contains(&message.2))
                    .map(|message| message.2.clone())
                    .collect();
                assert_eq!(got, expected, "seed {seed}, end {end}, stream {stream}");
            }
        }
        pair.rule = Box::new(|_| Verdict::Pass);
        pair.run_for(Duration::from_secs(2));
        assert_eq!(pair.ends[0].stats().flight_size, 0);
    }
}

#[test]
fn a_message_of_64_mib_and_one_of_a_byte_arrive() {
    let config = AssociationConfig { receive_window: 1 << 20, ..AssociationConfig::default() };
    let mut pair = Pair::connected(config);
    pair.keeps_trace = false;
    pair.one_way = MS / 10;
    let large = Bytes::from(vec![7u8; 64 << 20]);
    pair.send(0, StreamId(1), large.clone());
    pair.run_until(Duration::from_secs(3600), |pair| pair.received[1].len() == 1);
    pair.send(0, StreamId(1), &b"x"[..]);
    pair.run_until(Duration::from_secs(1), |pair| pair.received[1].len() == 2);
    assert!(pair.received[1][0].2 == large);
    assert_eq!(pair.received[1][1].2, &b"x"[..]);
}

#[test]
fn messages_sent_before_the_handshake_are_delivered_after_it() {
    let mut pair = Pair::new();
    pair.send(1, StreamId(2), &b"from the end that is called"[..]);
    pair.send(0, StreamId(1), &b"from the end that calls"[..]);
    pair.connect();
    assert_eq!(pair.received[1][0].2, &b"from the end that calls"[..]);
    assert_eq!(pair.received[0][0].2, &b"from the end that is called"[..]);
}

/// Returns a pair that has exchanged one message, so that there is an RTT to go by, and loses one of the next packets
/// from an end: the one after `kept` others.
fn pair_that_loses_one(from: usize, kept: u32) -> Pair {
    let mut pair = Pair::connected(AssociationConfig::default());
    pair.send(0, StreamId(1), pattern(1172, 0));
    pair.run_for(Duration::from_secs(1));
    let mut count = 0;
    pair.rule = Box::new(move |packet| {
        count += u32::from(packet.from == from);
        if packet.from == from && count == kept + 1 { Verdict::Drop } else { Verdict::Pass }
    });
    pair
}

#[test]
fn a_single_lost_packet_is_repaired_without_a_time_out_also_at_the_tail() {
    for lost in 0..10 {
        let mut pair = pair_that_loses_one(0, lost);
        pair.send(0, StreamId(1), pattern(11_720, 1));
        pair.run_until(350 * MS, |pair| pair.received[1].len() == 2);
        assert_eq!(pair.ends[0].stats().t3_expirations, 0, "packet {lost}");
    }
}

#[test]
fn whichever_acknowledgement_is_lost_nothing_stalls() {
    for lost in 0..30 {
        let mut pair = pair_that_loses_one(1, lost);
        pair.send(0, StreamId(1), pattern(60_000, 1));
        pair.run_for(Duration::from_secs(2));
        let stats = pair.ends[0].stats();
        assert_eq!((pair.received[1].len(), stats.flight_size, stats.t3_expirations), (2, 0, 0), "SACK {lost}");
    }
}

#[test]
fn a_lost_retransmission_is_found_without_a_time_out() {
    // A packet is one chunk, so that chunks count packets.
    let mut pair = Pair::connected(AssociationConfig { path_mtu_discovery: false, ..AssociationConfig::default() });
    pair.send(0, StreamId(1), pattern(50_000, 0));
    pair.run_for(Duration::from_secs(1));
    let mut victim = None;
    let mut seen = 0;
    pair.rule = Box::new(move |packet| {
        if packet.from != 0 || packet.bytes.len() < 1000 {
            return Verdict::Pass;
        }
        let tsn = packet.bytes.slice(16..20);
        let victim = victim.get_or_insert_with(|| tsn.clone());
        seen += u32::from(*victim == tsn);
        if *victim == tsn && seen <= 2 { Verdict::Drop } else { Verdict::Pass }
    });
    pair.send(0, StreamId(1), pattern(200_000, 1));
    pair.run_until(Duration::from_secs(2), |pair| pair.received[1].len() == 2);
    assert_eq!(pair.ends[0].stats().t3_expirations, 0);
    assert_eq!(pair.ends[0].stats().data_chunks_retransmitted, 2);
}

/// The window is full behind the gap, so nothing can be sent whose arrival would show that the repetition was lost.
#[test]
fn a_repetition_that_is_lost_while_the_window_is_full_is_repeated_without_a_time_out() {
    for repetitions_lost in 1..=4 {
        for one_way in [MS / 20, 10 * MS] {
            let mut pair =
                Pair::connected(AssociationConfig { receive_window: 20_000, ..AssociationConfig::default() });
            pair.one_way = one_way;
            pair.send(0, StreamId(1), pattern(50_000, 0));
            pair.run_for(Duration::from_secs(1));
            let (mut first, mut seen) = (None, 0);
            pair.rule = Box::new(move |packet| {
                if packet.from != 0 || packet.bytes.len() < 1000 {
                    return Verdict::Pass;
                }
                let tsn = packet.bytes.slice(16..20);
                let is_first = *first.get_or_insert_with(|| tsn.clone()) == tsn;
                seen += u32::from(is_first);
                if is_first && seen <= repetitions_lost + 1 { Verdict::Drop } else { Verdict::Pass }
            });
            let start = pair.now;
            pair.send(0, StreamId(1), pattern(100_000, 1));
            pair.run_until(Duration::from_secs(5), |pair| pair.received[1].len() == 2);
            let stats = pair.ends[0].stats();
            let what = format!("{repetitions_lost} repetitions lost, {one_way:?}: {:?}", pair.now - start);
            assert_eq!(stats.t3_expirations, 0, "{what}");
            assert!(stats.data_chunks_retransmitted <= u64::from(repetitions_lost) + 2, "{what}: {stats:?}");
        }
    }
}

#[test]
fn a_reader_that_stops_closes_the_window_and_reading_opens_it() {
    let config = AssociationConfig { receive_window: 100_000, ..AssociationConfig::default() };
    let mut pair = Pair::connected(config);
    pair.reads[1] = false;
    for index in 0..100 {
        pair.send(0, StreamId(1), pattern(10_000, index));
    }
    pair.run_for(Duration::from_secs(60));
    let unread = pair.events[1].len();
    assert!((5..=20).contains(&unread), "{unread} messages of 10,000 bytes fit a window of 100,000");
    assert_eq!(pair.ends[0].state(), State::Established, "a closed window is no failure");
    // Now it reads again.
    pair.reads[1] = true;
    for event in std::mem::take(&mut pair.events[1]) {
        let AssociationEvent::Message(message) = event else { panic!("{event:?}") };
        pair.received[1].push((message.stream, message.ppid, message.payload.into_bytes()));
        pair.ends[1].release(message.credit);
    }
    pair.run_until(Duration::from_secs(20), |pair| pair.received[1].len() == 100);
}

#[test]
fn e09_a_window_closed_for_an_hour_is_probed_and_survives() {
    let config = AssociationConfig { receive_window: 20_000, ..AssociationConfig::default() };
    let mut pair = Pair::connected(config);
    pair.reads[1] = false;
    for index in 0..20 {
        pair.send(0, StreamId(1), pattern(5000, index));
    }
    pair.run_for(Duration::from_secs(3600));
    assert_eq!(pair.ends[0].state(), State::Established);
    let sent = pair.sent(0, pair.data_kind()).len();
    assert!(sent < 1000, "{sent} packets with user data in an hour with a closed window");
}

#[test]
fn e10_a_peer_that_falls_silent_is_given_up_with_an_error() {
    let mut pair = Pair::connected(AssociationConfig::default());
    pair.rule = Box::new(|_| Verdict::Drop);
    pair.send(0, StreamId(1), pattern(100_000, 0));
    pair.run_for(Duration::from_secs(200));
    let ends: Vec<_> = pair.events[0].iter().filter(|event| matches!(event, AssociationEvent::Closed(_))).collect();
    assert_eq!(ends.len(), 1);
    assert!(matches!(ends[0], AssociationEvent::Closed(narrowboat_sctp::CloseReason::PeerUnreachable)), "{ends:?}");
    assert_eq!(pair.ends[0].poll_timeout(), None);
}

#[test]
fn messages_with_limits_are_given_up_whole_and_the_rest_goes_on() {
    for reliability in [Reliability::MaxRetransmits(0), Reliability::MaxLifetime(50 * MS)] {
        for unordered in [false, true] {
            let mut pair = Pair::connected(AssociationConfig::default());
            pair.send(0, StreamId(1), pattern(10, 9));
            pair.run_for(Duration::from_secs(1));
            let mut flip = coin(5);
            pair.rule = Box::new(move |packet| if packet.from == 0 && flip(4) { Verdict::Drop } else { Verdict::Pass });
            for index in 0..200u32 {
                let options = SendOptions { unordered, reliability, ..SendOptions::default() };
                pair.send_with(0, StreamId(1), pattern(3000, index), options);
                pair.run_for(5 * MS);
            }
            pair.rule = Box::new(|_| Verdict::Pass);
            pair.run_for(Duration::from_secs(5));
            pair.send(0, StreamId(1), &b"last"[..]);
            pair.run_for(Duration::from_secs(1));
            let got = &pair.received[1][1..];
            assert_eq!(got.last().unwrap().2, &b"last"[..], "{reliability:?} {unordered}");
            assert!(got.len() > 20 && got.len() < 201, "{} of 200 arrived, {reliability:?} {unordered}", got.len());
            let all: Vec<Bytes> = (0..200).map(|index| pattern(3000, index)).collect();
            assert!(got[..got.len() - 1].iter().all(|message| all.contains(&message.2)), "only whole messages");
            let abandoned = pair.abandoned(0);
            assert_eq!(abandoned + got.len() - 1, 200, "each message arrived or was given up, {reliability:?}");
            assert_eq!(pair.ends[0].stats().flight_size, 0);
        }
    }
}

/// Polls the first end with room for 32 datagrams a call, and returns the lengths of the datagrams of each call.
fn batches(pair: &mut Pair) -> Vec<Vec<usize>> {
    let (mut batches, mut buffer) = (Vec::new(), Vec::new());
    while let Some(transmit) = pair.ends[0].poll_transmit(pair.now, 32, &mut buffer) {
        batches.push(buffer.chunks(transmit.segment_size).map(<[u8]>::len).collect());
        assert_eq!(transmit.len, buffer.len());
        buffer.clear();
    }
    batches
}

#[test]
fn small_messages_leave_many_datagrams_at_a_time() {
    let mut pair = Pair::connected(AssociationConfig::default());
    for index in 0..100 {
        let now = pair.now;
        let sent =
            pair.ends[0].send(now, StreamId(1), narrowboat_sctp::Ppid(53), pattern(100, index), SendOptions::default());
        assert_eq!(sent, Ok(()));
    }
    // As many messages as fit each packet with their headers, and all full packets that the initial window takes.
    let chunk = pair.data_header_len() + 100;
    let a_packet = (AssociationConfig::default().mtu - 12) / chunk;
    let packets = (pair.ends[0].stats().cwnd / (a_packet * chunk)).min(100 / a_packet);
    assert!(packets >= 10);
    assert_eq!(batches(&mut pair), [vec![12 + a_packet * chunk; packets]]);
}

#[test]
fn datagrams_of_one_call_are_equal_but_for_the_last_and_none_is_above_the_mtu() {
    for seed in 0..200 {
        let mut pair = Pair::connected(AssociationConfig::default());
        let mut flip = coin(seed);
        for index in 0..40 {
            let size = 1 + (0..11).filter(|_| flip(2)).map(|bit| 1 << bit).sum::<usize>();
            let now = pair.now;
            let options = SendOptions { unordered: flip(3), ..SendOptions::default() };
            let sent = pair.ends[0].send(now, StreamId(1), narrowboat_sctp::Ppid(53), pattern(size, index), options);
            assert_eq!(sent, Ok(()));
        }
        for batch in batches(&mut pair) {
            let [first, others @ ..] = &batch[..] else { panic!("an empty batch") };
            let is_equal = others.iter().rev().skip(1).all(|len| len == first);
            assert!(is_equal && others.last().is_none_or(|last| last <= first) && *first <= 1200, "{batch:?}");
        }
    }
}
