//! Limits of a peer that leaves everything unanswered: by number (Association.Max.Retrans, RFC 9260 §8.1), and by time.

#![expect(clippy::indexing_slicing, reason = "a test may fail this way")]

mod pair;

use std::time::Duration;

use bytes::Bytes;
use narrowboat_sctp::{AssociationConfig, AssociationEvent, CloseReason, State, StreamId};
use pair::{MS, Pair, Verdict};

const SECOND: Duration = Duration::from_secs(1);

fn config(timeout: Option<Duration>) -> AssociationConfig {
    AssociationConfig { association_timeout: timeout, ..AssociationConfig::default() }
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

#[test]
fn a_peer_that_answers_nothing_that_is_sent_is_given_up_after_the_time_that_is_configured() {
    for seconds in [1, 3, 10, 30] {
        let timeout = Duration::from_secs(seconds);
        let mut pair = Pair::connected(config(Some(timeout)));
        pair.run_for(SECOND);
        cut(&mut pair);
        pair.send(0, StreamId(1), "never answered");
        let after = given_up_after(&mut pair, 0, 100 * SECOND).expect("given up");
        // The first retransmission is of a tail loss probe, which puts the time-out off.
        assert!(after >= timeout && after <= timeout + SECOND, "{after:?} instead of {timeout:?}");
        assert_eq!(pair.ends[0].state(), State::Closed);
    }
}

#[test]
fn an_idle_peer_that_has_vanished_is_noticed_after_four_thirds_of_the_time_and_a_time_out() {
    for heartbeat_interval in [None, Some(15 * SECOND), Some(SECOND)] {
        for seconds in [1, 10, 30] {
            let timeout = Duration::from_secs(seconds);
            let mut pair = Pair::connected(AssociationConfig { heartbeat_interval, ..config(Some(timeout)) });
            pair.run_for(100 * SECOND);
            cut(&mut pair);
            let after = given_up_after(&mut pair, 0, 100 * SECOND).expect("given up");
            assert!(after >= timeout && after <= timeout * 4 / 3 + SECOND, "{after:?} instead of {timeout:?}");
        }
    }
}

#[test]
fn a_shorter_outage_is_survived_and_each_answer_starts_the_time_anew() {
    let timeout = 10 * SECOND;
    let mut pair = Pair::connected(config(Some(timeout)));
    for round in 0..5 {
        cut(&mut pair);
        pair.send(0, StreamId(1), Bytes::from(format!("message {round}")));
        assert_eq!(given_up_after(&mut pair, 0, 7 * SECOND), None, "round {round}");
        mend(&mut pair);
        pair.run_until(20 * SECOND, |pair| pair.received[1].len() == round + 1);
        pair.run_for(SECOND);
    }
    assert_eq!(pair.ends[0].state(), State::Established);
}

#[test]
fn by_default_the_number_of_retransmissions_alone_decides() {
    let mut pair = Pair::connected(config(None));
    cut(&mut pair);
    pair.send(0, StreamId(1), "never answered");
    let after = given_up_after(&mut pair, 0, 200 * SECOND).expect("given up");
    assert!(after > 55 * SECOND && after < 90 * SECOND, "{after:?}");
    let mut pair = Pair::connected(config(None));
    cut(&mut pair);
    let after = given_up_after(&mut pair, 0, 600 * SECOND).expect("given up");
    assert!(after > 65 * SECOND && after < 240 * SECOND, "{after:?}");
}

#[test]
fn a_path_is_suspected_once_after_two_time_outs_and_again_after_the_next_answer() {
    let mut pair = Pair::connected(config(None));
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
