//! Peers that treat FORWARD-TSN, and what it skips, in ways that no receiver should (RFC 3758). Each test bears the id
//! of its row in the list of attacks.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may fail this way")]

mod victim;

use std::time::Duration;

use narrowboat_sctp::testing::wire::ChunkType as C;
use narrowboat_sctp::{AssociationEvent, CloseReason, Reliability, SendOptions, State, StreamId, Tsn};
use victim::{MS, SECOND, Sent, Victim, kinds, raw, sack};

fn once() -> SendOptions {
    SendOptions { reliability: Reliability::MaxRetransmits(0), ..SendOptions::default() }
}

fn count(sent: &[Sent], kind: C) -> usize {
    sent.iter().filter(|chunk| chunk.kind == kind).count()
}

/// New Cumulative TSN of the FORWARD-TSNs, from the first TSN of the victim.
fn skips(victim: &Victim, sent: &[Sent]) -> Vec<u32> {
    let of = |chunk: &Sent| u32::from_be_bytes(chunk.value[..4].try_into().unwrap()).wrapping_sub(victim.tsn.0);
    sent.iter().filter(|chunk| chunk.kind == C::FORWARD_TSN).map(of).collect()
}

fn tsn(victim: &Victim, number: u32) -> Tsn {
    Tsn(victim.tsn.0.wrapping_add(number))
}

fn abandoned(victim: &Victim) -> u64 {
    let messages = |event: &AssociationEvent| match event {
        AssociationEvent::Abandoned { messages, .. } => *messages,
        _ => 0,
    };
    victim.events.iter().map(messages).sum()
}

#[test]
fn f12_a_peer_that_never_answers_forward_tsn_is_given_up_if_it_answers_nothing_else() {
    let mut victim = Victim::in_state(State::Established);
    victim.message_with(StreamId(1), b"once", once());
    let sent = victim.pass(Duration::from_secs(600));
    assert_eq!(count(&sent, C::DATA), 0, "not a second time");
    assert_eq!(victim.closed(), Some(CloseReason::PeerUnreachable));
    let skips = skips(&victim, &sent);
    assert!((2..=12).contains(&skips.len()) && skips.iter().all(|tsn| *tsn == 0), "{skips:?}");
    assert_eq!(abandoned(&victim), 1);
}

#[test]
fn f12_a_peer_that_answers_each_forward_tsn_with_an_old_sack_is_given_up_too() {
    let mut victim = Victim::in_state(State::Established);
    let before = Tsn(victim.tsn.0.wrapping_sub(1));
    victim.message_with(StreamId(1), b"once", once());
    let (mut skipped, mut repeated) = (0, 0);
    for _ in 0..6_000 {
        let sent = victim.pass(100 * MS);
        for chunk in &sent {
            match chunk.kind {
                C::HEARTBEAT => drop(victim.send(&[raw(C::HEARTBEAT_ACK, 0, &chunk.value)])),
                C::FORWARD_TSN => skipped += count(&victim.send(&[sack(before, 1 << 20, &[])]), C::FORWARD_TSN),
                _ => {}
            }
        }
        skipped += count(&sent, C::FORWARD_TSN);
        repeated += count(&sent, C::DATA);
    }
    assert_eq!((victim.closed(), repeated), (Some(CloseReason::PeerUnreachable), 0));
    assert!((2..=30).contains(&skipped), "{skipped} FORWARD-TSNs");
}

#[test]
fn f13_acknowledgements_of_what_was_given_up_that_come_and_go() {
    let mut victim = Victim::in_state(State::Established);
    // A round trip of a tenth of a second.
    for number in 0..40 {
        victim.message(StreamId(1), b"x");
        victim.now += 100 * MS;
        victim.send(&[sack(tsn(&victim, number), 1 << 20, &[])]);
    }
    for _ in 0..10 {
        victim.message_with(StreamId(1), &[7; 1_000], once());
    }
    let (before, cwnd) = (tsn(&victim, 39), victim.association.stats().cwnd);
    victim.now += 100 * MS;
    let mut sent = Vec::new();
    for round in 0..1_000 {
        victim.now += MS;
        let blocks: &[(u16, u16)] = match round % 3 {
            0 => &[(3, 10)],
            1 => &[],
            _ => &[(2, 2), (5, 7)],
        };
        sent.extend(victim.send(&[sack(before, 1 << 20, blocks)]));
        sent.extend(victim.pass(MS));
    }
    assert_eq!(count(&sent, C::DATA), 0, "nothing is sent twice, whatever was reported");
    assert!(victim.association.stats().cwnd <= cwnd, "and nothing is credited to the congestion window");
    assert_eq!(abandoned(&victim), 2, "the others had been reported before the peer was told to skip them");
    // Two seconds are 20 round trips, and in each the point to skip to is moved by a report.
    let skips = skips(&victim, &sent);
    assert!((10..=60).contains(&skips.len()), "{} FORWARD-TSNs: {skips:?}", skips.len());
    assert_eq!(victim.association.stats().flight_size, 0);
    // It goes on where it is.
    assert_eq!(count(&victim.message(StreamId(1), b"next"), C::DATA), 1);
    victim.send(&[sack(tsn(&victim, 50), 1 << 20, &[])]);
    assert_eq!(count(&victim.pass(60 * SECOND), C::FORWARD_TSN), 0);
}

#[test]
fn f14_what_is_given_up_behind_a_closed_window_is_skipped_all_the_same() {
    let mut victim = Victim::in_state(State::Established);
    let lifetime = SendOptions { reliability: Reliability::MaxLifetime(300 * MS), ..SendOptions::default() };
    for _ in 0..5 {
        victim.message_with(StreamId(1), b"fresh", lifetime);
    }
    victim.send(&[sack(tsn(&victim, 0), 0, &[])]);
    let sent = victim.pass(5 * SECOND);
    assert_eq!(skips(&victim, &sent).first(), Some(&4), "{:?}", kinds(&sent));
    assert_eq!(abandoned(&victim), 4);
    // The peer skips them, and its window stays closed: the next message is a probe of it.
    victim.send(&[sack(tsn(&victim, 4), 0, &[])]);
    let sent = [victim.message(StreamId(1), b"probe"), victim.pass(20 * SECOND)].concat();
    assert!(count(&sent, C::DATA) > 0, "{:?}", kinds(&sent));
    assert_eq!(count(&sent, C::FORWARD_TSN), 0);
}
