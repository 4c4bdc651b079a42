//! Limits of a silent peer: by time, and by the number of time-outs in a row (Association.Max.Retrans, RFC 9260 §8.1).

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test may fail this way")]

mod pair;

use std::time::Duration;

use bytes::Bytes;
use narrowboat_sctp::testing::wire::ChunkType;
use narrowboat_sctp::{AssociationConfig, AssociationEvent, CloseReason, State, StreamId};
use pair::{MS, Packet, Pair, Verdict};

const SECOND: Duration = Duration::from_secs(1);

fn config(idle_timeout: Duration) -> AssociationConfig {
    AssociationConfig { idle_timeout, ..AssociationConfig::default() }
}

fn cut(pair: &mut Pair) {
    pair.rule = Box::new(|_| Verdict::Drop);
}

fn mend(pair: &mut Pair) {
    pair.rule = Box::new(|_| Verdict::Pass);
}

/// Returns the time from now until the end has given up its peer.
fn given_up_after(pair: &mut Pair, end: usize, at_most: Duration) -> Option<Duration> {
    let from = pair.now;
    while pair.now - from < at_most {
        pair.run_for(10 * MS);
        let closed = pair.events[end].iter().find_map(|event| match event {
            AssociationEvent::Closed(reason) => Some(reason.clone()),
            _ => None,
        });
        if let Some(reason) = closed {
            assert_eq!(reason, CloseReason::PeerUnreachable);
            return Some(pair.now - from);
        }
    }
    None
}

/// Returns the time at which the last answer came to the first end.
fn answered_at(pair: &Pair) -> Duration {
    let is_answer =
        |packet: &&Packet| packet.from == 1 && (packet.has(ChunkType::HEARTBEAT_ACK) || packet.has(ChunkType::SACK));
    let arrivals = pair.trace.iter().filter(is_answer).map(|packet| packet.at + pair.one_way);
    arrivals.filter(|at| *at <= pair.elapsed()).max().expect("something was answered")
}

/// Something that happens while, or right before, the peer falls silent.
type Work = (&'static str, fn(&mut Pair));

const WORK: [Work; 5] = [
    ("nothing", |_| {}),
    ("a message", |pair| pair.send(0, StreamId(1), "never answered")),
    ("many messages", |pair| (0..50).for_each(|_| pair.send(0, StreamId(1), vec![7; 20_000]))),
    ("a reset", |pair| pair.ends[0].reset_streams(pair.now, &[StreamId(1)]).expect("begins")),
    ("a message, later", |pair| {
        pair.run_for(250 * MS);
        pair.send(0, StreamId(1), "never answered");
    }),
];

#[test]
fn a_silent_peer_is_given_up_after_the_same_time_idle_and_busy() {
    for (name, work) in WORK {
        for heartbeat_interval in [Some(SECOND), Some(15 * SECOND)] {
            for idle_timeout in [SECOND, 3 * SECOND, 10 * SECOND, 60 * SECOND, 300 * SECOND] {
                let mut pair = Pair::connected(AssociationConfig { heartbeat_interval, ..config(idle_timeout) });
                pair.send(0, StreamId(1), "answered");
                pair.run_for(100 * SECOND);
                let since = answered_at(&pair);
                cut(&mut pair);
                work(&mut pair);
                given_up_after(&mut pair, 0, 1000 * SECOND).expect("given up");
                let silence = pair.elapsed() - since;
                assert!(
                    silence >= idle_timeout && silence <= idle_timeout + 10 * MS,
                    "{silence:?} instead of {idle_timeout:?}, {name}, asked each {heartbeat_interval:?}"
                );
                assert_eq!(pair.ends[0].state(), State::Closed);
                let last = pair.trace.iter().rfind(|packet| packet.from == 0).map(Packet::kinds);
                assert_eq!(last, Some(vec![ChunkType::ABORT]), "it is told (RFC 9260 §9.1)");
            }
        }
    }
}

#[test]
fn a_peer_that_is_never_asked_has_two_thirds_of_the_time_for_its_first_answer() {
    let mut pair = Pair::connected(AssociationConfig { heartbeat_interval: None, ..AssociationConfig::default() });
    cut(&mut pair);
    pair.run_for(3600 * SECOND);
    assert_eq!(pair.ends[0].state(), State::Established, "nothing was sent");
    pair.send(0, StreamId(1), "never answered");
    let after = given_up_after(&mut pair, 0, 100 * SECOND).expect("given up");
    assert!(after >= 40 * SECOND && after <= 40 * SECOND + 10 * MS, "{after:?}");
}

/// RFC 9260 §8.3.
#[test]
fn an_idle_peer_is_asked_at_least_each_third_of_the_time_with_jitter() {
    for idle_timeout in [SECOND, 3 * SECOND, 10 * SECOND, 300 * SECOND] {
        let mut pair = Pair::connected(config(idle_timeout));
        pair.run_for(500 * SECOND);
        let asked: Vec<Duration> = pair.sent(0, ChunkType::HEARTBEAT).iter().map(|packet| packet.at).collect();
        let waits: Vec<Duration> = asked.windows(2).map(|times| times[1] - times[0]).collect();
        let rtt = 2 * pair.one_way;
        assert!(waits.iter().all(|wait| *wait <= idle_timeout / 3 + rtt), "{waits:?}");
        assert!(waits.iter().all(|wait| *wait >= (idle_timeout / 4).min(15 * SECOND)), "{waits:?}");
        let distinct: std::collections::BTreeSet<Duration> = waits.iter().copied().collect();
        assert!(distinct.len() * 4 > waits.len() * 3, "{waits:?}");
    }
}

/// Packets of the peer come in, and none of this end arrives: its data would wait for ever.
#[test]
fn a_peer_that_sends_and_does_not_answer_is_given_up() {
    for len_max in [0, 1000] {
        let mut pair = Pair::connected(AssociationConfig::default());
        pair.rule =
            Box::new(
                move |packet| {
                    if packet.from == 0 && packet.bytes.len() > len_max { Verdict::Drop } else { Verdict::Pass }
                },
            );
        pair.send(0, StreamId(1), vec![7; 5_000]);
        let from = pair.now;
        while pair.ends[0].state() == State::Established && pair.now - from < 100 * SECOND {
            pair.send(1, StreamId(1), "of the peer");
            pair.run_for(SECOND);
        }
        let after = pair.now - from;
        assert!(after >= 59 * SECOND && after <= 61 * SECOND, "{after:?}, packets up to {len_max} bytes arrive");
        let is_told = |event: &_| matches!(event, AssociationEvent::Closed(CloseReason::PeerUnreachable));
        assert!(pair.events[0].iter().any(is_told));
    }
}

/// The window stays closed for half an hour, but each probe of it is answered.
#[test]
fn a_reader_that_pauses_is_no_silent_peer() {
    let mut pair = Pair::connected(AssociationConfig { receive_window: 32 << 10, ..config(10 * SECOND) });
    pair.reads[1] = false;
    for _ in 0..20 {
        pair.send(0, StreamId(1), vec![7; 10_000]);
    }
    pair.run_for(1800 * SECOND);
    assert_eq!([pair.ends[0].state(), pair.ends[1].state()], [State::Established; 2]);
    assert!(pair.ends[0].stats().buffered_amount > 100_000, "the window is closed");
    pair.reads[1] = true;
    for event in std::mem::take(&mut pair.events[1]) {
        if let AssociationEvent::Message(message) = event {
            pair.ends[1].release(message.credit);
        }
    }
    pair.run_until(60 * SECOND, |pair| pair.ends[0].stats().buffered_amount + pair.ends[0].stats().flight_size == 0);
}

/// A machine is suspended for an hour, which neither an idle association nor one that waits for an answer sees.
#[test]
fn time_in_which_the_machine_was_suspended_is_no_silence() {
    for is_busy in [false, true] {
        let mut pair = Pair::connected(AssociationConfig::default());
        pair.run_for(5 * SECOND);
        cut(&mut pair);
        if is_busy {
            pair.send(0, StreamId(1), "sent before");
            pair.run_for(100 * MS);
        }
        pair.now += 3600 * SECOND;
        // The network is back some seconds later.
        pair.run_for(15 * SECOND);
        mend(&mut pair);
        pair.send(0, StreamId(1), "sent after");
        pair.run_until(20 * SECOND, |pair| pair.received[1].len() == 1 + usize::from(is_busy));
        assert_eq!([pair.ends[0].state(), pair.ends[1].state()], [State::Established; 2], "busy: {is_busy}");
    }
}

#[test]
fn a_peer_that_vanished_while_the_machine_was_suspended_is_given_up_after_the_time() {
    for is_busy in [false, true] {
        let mut pair = Pair::connected(AssociationConfig::default());
        pair.run_for(5 * SECOND);
        cut(&mut pair);
        if is_busy {
            pair.send(0, StreamId(1), "sent before");
        }
        pair.now += 3600 * SECOND;
        let after = given_up_after(&mut pair, 0, 100 * SECOND).expect("given up");
        assert!(after >= 59 * SECOND && after <= 61 * SECOND, "{after:?}, busy: {is_busy}");
    }
}

/// Each timer of a busy machine fires late, by more than a suspension would have to last to be seen.
#[test]
fn a_machine_that_is_always_late_gives_a_silent_peer_up() {
    let mut pair = Pair::connected(config(SECOND));
    pair.send(0, StreamId(1), "sent before");
    pair.run_for(SECOND);
    cut(&mut pair);
    pair.send(0, StreamId(1), "not answered");
    let start = pair.now;
    while pair.ends[0].state() != State::Closed {
        pair.now = pair.ends[0].poll_timeout().expect("something is awaited") + 200 * MS;
        let now = pair.now;
        pair.ends[0].handle_timeout(now);
        while pair.ends[0].poll_transmit(now, 1, &mut Vec::new()).is_some() {}
        assert!(now.saturating_duration_since(start) < 4 * SECOND, "not given up");
    }
    assert!(pair.now.saturating_duration_since(start) >= SECOND);
}

#[test]
fn a_shorter_outage_is_survived_and_each_answer_starts_the_time_anew() {
    let timeout = 10 * SECOND;
    let mut pair = Pair::connected(config(timeout));
    for round in 0..5 {
        cut(&mut pair);
        pair.send(0, StreamId(1), Bytes::from(format!("message {round}")));
        assert_eq!(given_up_after(&mut pair, 0, 4 * SECOND), None, "round {round}");
        mend(&mut pair);
        pair.run_until(20 * SECOND, |pair| pair.received[1].len() == round + 1);
        // The other end asks each quarter of the time.
        pair.run_for(timeout / 4 + SECOND);
    }
    assert_eq!(pair.ends[0].state(), State::Established);
}

#[test]
fn time_outs_in_a_row_end_the_association_only_if_they_are_limited() {
    // 0.4 + 0.8 + 1.6 + 3.2 s.
    for (association_max_retransmits, expected) in [(None, 600 * SECOND), (Some(3), 6 * SECOND)] {
        let mut pair = Pair::connected(AssociationConfig { association_max_retransmits, ..config(600 * SECOND) });
        cut(&mut pair);
        pair.send(0, StreamId(1), "never answered");
        let after = given_up_after(&mut pair, 0, 1000 * SECOND).expect("given up");
        assert!(after + SECOND >= expected && after <= expected + SECOND, "{after:?}");
    }
}

#[test]
fn a_path_is_suspected_once_after_two_time_outs_and_again_after_the_next_answer() {
    let mut pair = Pair::connected(AssociationConfig::default());
    pair.run_for(SECOND);
    for _ in 0..2 {
        assert!(!pair.ends[0].take_path_suspicion());
        cut(&mut pair);
        pair.send(0, StreamId(1), "unanswered");
        let before = pair.ends[0].stats().t3_expirations;
        pair.run_until(10 * SECOND, |pair| pair.ends[0].stats().t3_expirations == before + 1);
        assert!(!pair.ends[0].take_path_suspicion(), "one may be the loss of a packet");
        pair.run_until(10 * SECOND, |pair| pair.ends[0].stats().t3_expirations == before + 2);
        assert!(pair.ends[0].take_path_suspicion());
        pair.run_until(20 * SECOND, |pair| pair.ends[0].stats().t3_expirations == before + 4);
        assert!(!pair.ends[0].take_path_suspicion(), "once");
        mend(&mut pair);
        pair.run_for(20 * SECOND);
    }
}
