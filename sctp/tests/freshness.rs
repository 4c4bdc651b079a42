//! Messages that are fresh or not sent at all: lifetimes, latency budgets, bounds of what waits.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may fail this way")]
#![expect(clippy::cast_possible_truncation, reason = "numbers in tests are small")]

mod pair;

use std::time::Duration;

use bytes::Bytes;
use narrowboat_sctp::{
    AbandonReason, AssociationConfig, AssociationEvent, CongestionControl, Ppid, Reliability, SendMessageError,
    SendOptions, SendPolicy, StreamId, WaitingMax,
};
use pair::{MS, Pair, Verdict};

const STREAM: StreamId = StreamId(1);
const RELIABLE: SendOptions = SendOptions {
    unordered: false,
    reliability: Reliability::Reliable,
    acknowledge_immediately: false,
    exceeds_limits: false,
    ignores_policy: false,
};
const ONCE: SendOptions = SendOptions { reliability: Reliability::MaxRetransmits(0), unordered: true, ..RELIABLE };

fn lifetime(time: Duration) -> SendOptions {
    SendOptions { reliability: Reliability::MaxLifetime(time), ..RELIABLE }
}

/// Returns number, bytes and reason of the messages that were abandoned unsent, and forgets the events.
fn dropped(pair: &mut Pair) -> Vec<(u64, usize, AbandonReason)> {
    pair.take_events(0);
    std::mem::take(&mut pair.events[0])
        .into_iter()
        .filter_map(|event| match event {
            AssociationEvent::Abandoned { messages, bytes, reason, unsent: true, .. } => {
                Some((messages, bytes, reason))
            }
            _ => None,
        })
        .collect()
}

/// Creates a pair whose sender cannot send new data: the peer's window is full.
fn closed_window() -> Pair {
    let config = AssociationConfig { receive_window: 20_000, ..AssociationConfig::default() };
    let mut pair = Pair::connected(config);
    pair.reads = [false; 2];
    for _ in 0..30 {
        pair.send(0, StreamId(0), vec![0; 1_000]);
    }
    pair.run_for(2_000 * MS);
    pair.events[0].clear();
    pair
}

/// Age of messages on arrival, and what became of them.
struct Outcome {
    p99: Duration,
    /// Whole messages that arrived, in percent of the link.
    share: u64,
    /// Bytes of packets that arrived, in percent of the link.
    used: u64,
    /// Round trip with a full queue.
    rtt: Duration,
}

/// Offers messages of `len` bytes at `times` the rate of a link, each with its time of sending in front.
fn overload(
    len: usize,
    rate: u64,
    times: f64,
    options: SendOptions,
    policy: SendPolicy,
    message_interleaving: bool,
) -> Outcome {
    const TIME: Duration = Duration::from_secs(20);
    // The rate and the queue are those of packets of this size.
    let config = AssociationConfig {
        mtu: 1200,
        path_mtu_discovery: false,
        message_interleaving,
        ..AssociationConfig::default()
    };
    let mut pair = Pair::connected(config);
    pair.keeps_trace = false;
    pair.one_way = 25 * MS;
    // A queue of a round trip, and room for a few packets.
    let queue = (rate / 20).max(6_000);
    pair.bottleneck = Some((rate, queue as usize));
    pair.ends[0].set_send_policy(STREAM, policy);
    let interval = Duration::from_secs_f64(len as f64 / (rate as f64 * times));
    let (begun, mut next) = (pair.now, pair.now);
    let before = pair.ends[1].stats().bytes_received;
    let (mut ages, mut arrived) = (Vec::new(), 0);
    while pair.now < begun + TIME {
        while next <= pair.now {
            let mut message = vec![7; len];
            message[..8].copy_from_slice(&(pair.elapsed().as_nanos() as u64).to_be_bytes());
            let sent = pair.ends[0].send(pair.now, STREAM, Ppid(53), message.into(), options);
            assert!(matches!(sent, Ok(()) | Err(SendMessageError::Full)));
            next += interval;
        }
        pair.run_for(next.saturating_duration_since(pair.now).min(MS));
        let now = pair.elapsed();
        for (_, _, payload) in pair.received[1].drain(..) {
            let at = Duration::from_nanos(u64::from_be_bytes(payload[..8].try_into().unwrap()));
            ages.push(now - at);
            arrived += payload.len() as u64;
        }
    }
    ages.sort_unstable();
    Outcome {
        p99: ages[ages.len() * 99 / 100],
        share: arrived * 100 / (rate * TIME.as_secs()),
        used: (pair.ends[1].stats().bytes_received - before) * 100 / (rate * TIME.as_secs()),
        rtt: 2 * pair.one_way + Duration::from_secs_f64((queue + 1_200) as f64 / rate as f64),
    }
}

/// 60 messages a second are five times what the link takes. An ordered message behind a lost one waits for a
/// FORWARD-TSN as well: a round trip until the loss is found, and the way of the FORWARD-TSN.
#[test]
fn state_on_a_channel_without_retransmissions_does_not_age_on_a_slow_link() {
    let rate = 1_200 * 60 / 5;
    let budget = SendPolicy::new().latency_budget(200 * MS);
    for (policy, limit) in [(SendPolicy::default(), SendPolicy::BACKLOG_TIME), (budget, 200 * MS)] {
        for unordered in [true, false] {
            let Outcome { p99, used, rtt, .. } =
                overload(1_200, rate, 5.0, SendOptions { unordered, ..ONCE }, policy, true);
            println!("{policy:?}, unordered {unordered}: p99 {p99:?}, round trip {rtt:?}, {used} % of the link");
            let limit = limit + if unordered { rtt } else { 2 * rtt };
            assert!(p99 <= limit, "{policy:?}: p99 {p99:?}, round trip {rtt:?}");
            assert!(used >= 90, "{policy:?}: {used} % of the link");
        }
    }
}

/// Losses on the path, or by a queue that overflows, leave several gaps in a round trip. A FORWARD-TSN for each of them
/// alone takes a round trip each, so that ordered messages wait for ever longer.
#[test]
fn ordered_messages_without_retransmissions_do_not_age_behind_many_losses() {
    for message_interleaving in [false, true] {
        let config = AssociationConfig {
            congestion_control: CongestionControl::Bbr,
            message_interleaving,
            ..AssociationConfig::default()
        };
        let mut pair = Pair::connected(config);
        pair.keeps_trace = false;
        pair.one_way = 50 * MS;
        let mut random = 7_u64;
        pair.rule = Box::new(move |packet| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if packet.from == 0 && (random >> 33) % 100 < 5 { Verdict::Drop } else { Verdict::Pass }
        });
        let options = SendOptions { unordered: false, ..ONCE };
        let mut ages = Vec::new();
        // 60 gaps a second, six in a round trip.
        for _ in 0..5_000 {
            let mut message = vec![7; 1_000];
            message[..8].copy_from_slice(&(pair.elapsed().as_nanos() as u64).to_be_bytes());
            pair.send_with(0, STREAM, message, options);
            pair.run_for(Duration::from_micros(833));
            let now = pair.elapsed();
            for (_, _, payload) in pair.received[1].drain(..) {
                ages.push(now - Duration::from_nanos(u64::from_be_bytes(payload[..8].try_into().unwrap())));
            }
        }
        let arrived = ages.len();
        ages.sort_unstable();
        let p99 = ages[arrived * 99 / 100];
        println!("interleaving {message_interleaving}: p99 {p99:?}, {arrived} of 5000 messages arrived");
        assert!(p99 <= 450 * MS, "p99 {p99:?}");
        assert!(arrived >= 4_500, "{arrived} messages");
    }
}

#[test]
fn messages_of_several_packets_with_a_lifetime_arrive_whole() {
    for message_interleaving in [false, true] {
        for (len, rate) in [(12_500, 250_000), (50_000, 1_250_000), (12_500, 1_250_000)] {
            let Outcome { p99, share, .. } =
                overload(len, rate, 2.5, lifetime(200 * MS), SendPolicy::default(), message_interleaving);
            let what = format!("{len} bytes, {rate} bytes/s, interleaving {message_interleaving}");
            println!("{what}: p99 {p99:?}, {share} % of the link in whole messages");
            assert!(share >= 80, "{what}: {share} % of the link");
        }
    }
}

#[test]
fn an_expired_message_is_dropped_at_its_time_though_nothing_can_be_sent() {
    let mut pair = closed_window();
    let waiting = pair.ends[0].buffered_amount(STREAM);
    // The first one expires last.
    for time in [900, 300, 500] {
        pair.send_with(0, STREAM, vec![1; time], lifetime(time as u32 * MS));
    }
    let sent_at = pair.now;
    let charged = pair.ends[0].memory_charged();
    for (at, expected) in [(299, vec![]), (320, vec![300]), (520, vec![500]), (890, vec![]), (920, vec![900])] {
        pair.run_for(sent_at + at * MS - pair.now);
        let expected: Vec<_> = expected.into_iter().map(|len| (1, len, AbandonReason::Lifetime)).collect();
        assert_eq!(dropped(&mut pair), expected, "after {at} ms");
    }
    assert_eq!(pair.ends[0].buffered_amount(STREAM), waiting);
    assert!(pair.ends[0].memory_charged() + 1_700 <= charged);
    assert_eq!(pair.ends[0].stats().abandoned.total().messages(), 3);
}

#[test]
fn a_latency_budget_drops_reliable_messages_that_were_not_begun_and_keeps_the_order_of_the_others() {
    let mut pair = closed_window();
    pair.ends[0].set_send_policy(STREAM, SendPolicy::new().latency_budget(100 * MS));
    pair.send(0, STREAM, "old");
    pair.run_for(150 * MS);
    assert_eq!(dropped(&mut pair), [(1, 3, AbandonReason::LatencyBudget)]);
    // A change holds for what waits already.
    pair.send(0, STREAM, "kept");
    pair.ends[0].set_send_policy(STREAM, SendPolicy::new());
    pair.send(0, STREAM, "too");
    pair.run_for(1_000 * MS);
    assert_eq!(dropped(&mut pair), []);
    pair.reads = [true; 2];
    let unread = std::mem::take(&mut pair.events[1]);
    for event in unread {
        if let AssociationEvent::Message(message) = event {
            pair.ends[1].release(message.credit);
        }
    }
    pair.flush();
    pair.run_for(10_000 * MS);
    let received: Vec<&Bytes> =
        pair.received[1].iter().filter(|message| message.0 == STREAM).map(|message| &message.2).collect();
    assert_eq!(received, ["kept", "too"]);
}

#[test]
fn a_new_message_displaces_the_oldest_instead_of_being_refused() {
    let mut pair = closed_window();
    pair.ends[0].set_send_policy(STREAM, SendPolicy::new().drop_oldest(WaitingMax::Messages(2)));
    for index in 0..5_usize {
        pair.send(0, STREAM, vec![1; 10 + index]);
    }
    let displaced = |lens: &[usize]| lens.iter().map(|len| (1, *len, AbandonReason::Displaced)).collect::<Vec<_>>();
    assert_eq!(dropped(&mut pair), displaced(&[10, 11, 12]));
    pair.ends[0].set_send_policy(STREAM, SendPolicy::new().drop_oldest(WaitingMax::Bytes(100)));
    pair.send(0, STREAM, vec![1; 80]);
    assert_eq!(dropped(&mut pair), displaced(&[13]));
    pair.send(0, STREAM, vec![1; 200]);
    assert_eq!(dropped(&mut pair), displaced(&[14, 80]));
    assert_eq!(pair.ends[0].buffered_amount(STREAM), 200, "the newest is never refused");
}

#[test]
fn a_full_send_buffer_displaces_messages_of_the_stream_that_asks_and_of_no_other() {
    let config = AssociationConfig { send_buffer: 200_000, receive_window: 20_000, ..AssociationConfig::default() };
    let mut pair = Pair::connected(config);
    pair.reads = [false; 2];
    pair.ends[0].set_send_policy(STREAM, SendPolicy::new().drop_oldest(WaitingMax::Bytes(usize::MAX)));
    let mut fill = |stream| {
        (0..1_000)
            .map(|_| pair.ends[0].send(pair.now, stream, Ppid(53), vec![0; 1_000].into(), RELIABLE))
            .filter(Result::is_err)
            .count()
    };
    assert_eq!(fill(STREAM), 0, "it never refuses");
    assert!(fill(StreamId(2)) == 1_000, "another stream has no right to its place");
    assert!(pair.ends[0].memory_charged() < 250_000);
}

#[test]
fn the_default_policy_drops_nothing_while_the_path_keeps_up() {
    let mut pair = Pair::connected(AssociationConfig::default());
    pair.one_way = 50 * MS;
    // A burst on a fast path, and a few messages in an outage.
    for _ in 0..300 {
        pair.ends[0].send(pair.now, STREAM, Ppid(53), vec![0; 1_100].into(), ONCE).unwrap();
    }
    pair.run_for(3_000 * MS);
    assert_eq!((dropped(&mut pair), pair.received[1].len()), (vec![], 300));
    pair.rule = Box::new(|_| Verdict::Drop);
    pair.send_with(0, STREAM, vec![0; 100], ONCE);
    pair.run_for(3_000 * MS);
    assert_eq!(dropped(&mut pair), []);
}
