//! Timers of questions to the peer, and error counts if there is no answer (RFC 9260 §6.1 A, §8.1, §8.3).
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test may fail this way")]

mod victim;

use std::time::Duration;

use narrowboat_sctp::testing::wire::ChunkType as C;
use narrowboat_sctp::{AssociationConfig, CloseReason, Ppid, SendOptions, State, StreamId, Tsn};
use victim::{MS, SECOND, Victim, data, kinds, raw, sack};

/// Without HEARTBEATs, and with all that was sent acknowledged by a peer with this window.
fn with_window(a_rwnd: u32) -> Victim {
    let mut victim = Victim::with_config(
        State::Established,
        AssociationConfig { heartbeat_interval: None, ..AssociationConfig::default() },
    );
    victim.message(StreamId(1), b"the first");
    victim.send(&[sack(victim.tsn, a_rwnd, &[])]);
    victim
}

/// The time until DATA leaves, to ten milliseconds.
fn wait_for_data(victim: &mut Victim) -> Duration {
    let start = victim.now;
    while victim.now - start < 60 * SECOND {
        if kinds(&victim.pass(10 * MS)).contains(&C::DATA) {
            return victim.now - start;
        }
    }
    panic!("no DATA in a minute");
}

fn queue(victim: &mut Victim, payload: &'static [u8]) {
    victim.association.send(victim.now, StreamId(1), Ppid(53), payload.into(), SendOptions::default()).unwrap();
    assert_eq!(kinds(&victim.poll()), [], "the window is closed");
}

#[test]
fn a_closed_window_is_first_probed_after_a_time_out() {
    let mut victim = with_window(0);
    victim.pass(100 * MS);
    let rto = victim.association.stats().rto;
    queue(&mut victim, b"waits");
    let wait = wait_for_data(&mut victim);
    assert_eq!(wait + 100 * MS, rto, "counted from when the peer said that it has no room");
}

#[test]
fn a_window_that_was_closed_long_ago_is_probed_at_once() {
    let mut victim = with_window(0);
    victim.pass(60 * SECOND);
    queue(&mut victim, b"waits");
    assert_eq!(wait_for_data(&mut victim), 10 * MS);
}

#[test]
fn a_window_that_opens_lets_out_what_waits_for_a_probe() {
    let mut victim = with_window(0);
    queue(&mut victim, b"waits");
    let sent = victim.send(&[sack(victim.tsn, 10_000, &[])]);
    assert_eq!(kinds(&sent), [C::DATA]);
}

/// A peer that takes each probe, and says each time that it has no room.
#[test]
fn probes_that_are_taken_come_ever_more_rarely() {
    let mut victim = with_window(0);
    let (rto, rto_max) = (victim.association.stats().rto, AssociationConfig::default().rto_max);
    for _ in 0..2 {
        (0..40).for_each(|_| queue(&mut victim, b"waits"));
        let mut expected = rto;
        for probe in 1..=40 {
            assert_eq!(wait_for_data(&mut victim), expected, "probe {probe}");
            expected = (2 * expected).min(rto_max);
            victim.tsn = Tsn(victim.tsn.0.wrapping_add(1));
            assert_eq!(kinds(&victim.send(&[sack(victim.tsn, 0, &[])])), []);
        }
        assert_eq!(victim.association.state(), State::Established);
        // The window opens for a moment: the next time begins as the first one did.
        victim.send(&[sack(victim.tsn, 10_000, &[])]);
        victim.send(&[sack(victim.tsn, 0, &[])]);
    }
}

/// A peer that has a little room reads what it gets, so it gets a chunk a time-out.
#[test]
fn a_window_smaller_than_a_chunk_gets_one_a_time_out() {
    let mut victim = with_window(100);
    let rto = victim.association.stats().rto;
    for _ in 0..10 {
        queue(&mut victim, &[7; 1000]);
        assert_eq!(wait_for_data(&mut victim), rto);
        victim.tsn = Tsn(victim.tsn.0.wrapping_add(1));
        victim.send(&[sack(victim.tsn, 100, &[])]);
    }
}

/// A question to the peer: its name, and the function that asks it.
type Ask = (&'static str, fn(&mut Victim));

/// A peer that has vanished is unreachable after the same number of time-outs, however many timers wait for it.
#[test]
fn one_silence_is_counted_once_whatever_waits_in_it() {
    let asks: [Ask; 3] = [
        ("DATA", |victim| drop(victim.message(StreamId(1), b"x"))),
        ("RE-CONFIG", |victim| victim.association.reset_streams(victim.now, &[StreamId(2)]).unwrap()),
        ("SHUTDOWN", |victim| victim.association.shutdown(victim.now)),
    ];
    // 0.4 + 0.8 + 1.6 + 3.2 + 6.4 + 6 × 10 s.
    let alone = 72_400 * MS;
    for subset in 0..1_u32 << asks.len() {
        for offset in [Duration::ZERO, 100 * MS, 300 * MS, 395 * MS] {
            let config = AssociationConfig {
                shutdown_guard: 600 * SECOND,
                idle_timeout: 3600 * SECOND,
                association_max_retransmits: Some(10),
                ..AssociationConfig::default()
            };
            let mut victim = Victim::with_config(State::Established, config);
            while !kinds(&victim.pass(5 * MS)).contains(&C::HEARTBEAT) {}
            let start = victim.now;
            let mut named = vec!["HEARTBEAT"];
            for (number, (name, ask)) in asks.iter().enumerate() {
                if subset & 1 << number != 0 {
                    victim.pass(offset);
                    ask(&mut victim);
                    victim.poll();
                    named.push(name);
                }
            }
            while !victim.association.is_over() {
                victim.pass(5 * MS);
            }
            let took = victim.now - start;
            assert_eq!(victim.closed(), Some(CloseReason::PeerUnreachable), "{named:?}");
            assert!(took >= alone - 20 * MS && took <= alone + 12 * SECOND, "{named:?}, {offset:?} apart: {took:?}");
        }
    }
}

/// RFC 9260 §9.2.
#[test]
fn t2_repeats_the_shutdown_with_what_has_come_until_the_peer_is_given_up() {
    for state in [State::ShutdownSent, State::ShutdownAckSent] {
        let config = AssociationConfig { shutdown_guard: 600 * SECOND, ..AssociationConfig::default() };
        let mut victim = Victim::with_config(state, config);
        let kind = if state == State::ShutdownSent { C::SHUTDOWN } else { C::SHUTDOWN_ACK };
        if state == State::ShutdownSent {
            assert!(kinds(&victim.send(&[data(0, b"queued")])).contains(&C::SHUTDOWN), "answered at once");
        }
        let (start, mut times, mut last) = (victim.now, Vec::new(), None);
        while !victim.association.is_over() && victim.now - start < 100 * SECOND {
            for sent in victim.pass(10 * MS) {
                if sent.kind == kind {
                    times.push(victim.now - start);
                    assert!(kind == C::SHUTDOWN_ACK || sent.value == data(0, b"")[4..8], "the latest TSN of the peer");
                }
                last = Some(sent.kind);
            }
        }
        let rto = times[0];
        let waits: Vec<Duration> = times.windows(2).map(|times| times[1] - times[0]).collect();
        assert_eq!(waits[..3], [2 * rto, 4 * rto, 8 * rto], "§6.3.3 E2");
        assert_eq!(victim.closed(), Some(CloseReason::PeerUnreachable));
        let silence = victim.now - start;
        assert!(silence > 59 * SECOND && silence <= 60 * SECOND + 10 * MS, "{silence:?}");
        assert_eq!(last, Some(C::ABORT));
    }
}

#[test]
fn heartbeats_of_many_associations_spread_over_a_time_out() {
    let AssociationConfig { heartbeat_interval: interval, .. } = AssociationConfig::default();
    let waits = (0..64).map(|seed| {
        let mut victim = Victim::with_seed(State::Established, [seed; 32]);
        let (start, rto) = (victim.now, victim.association.stats().rto);
        while !kinds(&victim.pass(MS)).contains(&C::HEARTBEAT) {}
        (victim.now - start - interval.unwrap(), rto)
    });
    let waits: Vec<(Duration, Duration)> = waits.collect();
    assert!(waits.iter().all(|(wait, rto)| *wait >= *rto / 2 && *wait <= *rto * 3 / 2 + MS), "{waits:?}");
    let quarters: std::collections::BTreeSet<u128> =
        waits.iter().map(|(wait, rto)| (*wait - *rto / 2).as_millis() * 4 / (rto.as_millis() + 1)).collect();
    assert_eq!(quarters.len(), 4, "each quarter of the range is used: {waits:?}");
}

#[test]
fn each_heartbeat_of_an_association_has_a_jitter_of_its_own() {
    let mut victim = Victim::in_state(State::Established);
    let mut waits = std::collections::BTreeSet::new();
    for _ in 0..8 {
        let start = victim.now;
        let heartbeat = loop {
            if let Some(sent) = victim.pass(MS).into_iter().find(|sent| sent.kind == C::HEARTBEAT) {
                break sent;
            }
        };
        waits.insert(victim.now - start);
        victim.send(&[raw(C::HEARTBEAT_ACK, 0, &heartbeat.value)]);
    }
    assert!(waits.len() > 4, "{waits:?}");
}
