//! Cost of losses (RFC 9260 §7.2).
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod victim;

use narrowboat_sctp::testing::wire::Sack;
use narrowboat_sctp::{SendOptions, State, StreamId, Tsn};
use victim::{MS, SECOND, Victim, chunk, kinds, sack};

/// RFC 9260 §7.2.4 step 2 and 6, §7.2.3.
#[test]
fn a_window_of_losses_cuts_the_congestion_window_once_and_a_time_out_leaves_a_packet_of_it() {
    let mut victim = Victim::in_state(State::Established);
    let sent = victim.message(StreamId(1), &[7; 11_000]);
    assert!(kinds(&sent).len() >= 9, "one window: {}", sent.len());
    let tsn = |victim: &Victim, number: u32| Tsn(victim.tsn.0.wrapping_add(number));
    let before = victim.association.stats().cwnd;
    victim.now += 50 * MS;
    // The first chunk is missing.
    victim.send(&[sack(tsn(&victim, u32::MAX), 1 << 20, &[(2, 4)])]);
    let stats = victim.association.stats();
    assert_eq!((stats.data_chunks_retransmitted, stats.congestion_events), (1, 1));
    let cut = stats.cwnd;
    assert!(cut <= before * 8 / 10, "{before} to {cut}");
    // Its retransmission arrives. The fifth, the ninth and the tenth were sent before it, so they are lost, too (RFC
    // 8985 §6.2): other losses of the same window.
    victim.now += 50 * MS;
    victim.send(&[sack(tsn(&victim, 3), 1 << 20, &[(2, 4)])]);
    let stats = victim.association.stats();
    assert_eq!((stats.data_chunks_retransmitted, stats.congestion_events), (4, 1));
    assert!(stats.cwnd <= cut, "{cut} to {}", stats.cwnd);
    // Data sent after all of that has arrived belongs to another window.
    victim.now += 50 * MS;
    victim.send(&[sack(tsn(&victim, 8), 1 << 20, &[])]);
    victim.pass(MS);
    assert_eq!(victim.association.stats().congestion_events, 1);
    // Silence.
    victim.message(StreamId(1), &[7; 9_000]);
    victim.pass(2 * SECOND);
    let stats = victim.association.stats();
    assert!(stats.t3_expirations > 0 && stats.cwnd < 1200, "{} bytes", stats.cwnd);
}

/// RFC 8985 §7.4: a tail loss probe that is lost, too, is repaired in the recovery that follows.
#[test]
fn a_lost_probe_reduces_the_window_once_with_the_losses_that_are_repaired_with_it() {
    let mut victim = Victim::in_state(State::Established);
    let first = victim.tsn;
    let tsn = |number: u32| Tsn(first.0.wrapping_add(number));
    // A round-trip time of 50 ms, and then a message that is lost, and its probe with it.
    victim.message(StreamId(1), b"first");
    victim.now += 50 * MS;
    victim.send(&[sack(tsn(0), 1 << 20, &[])]);
    victim.message(StreamId(1), b"lost");
    let probe = victim.pass(320 * MS);
    assert_eq!(probe.len(), 1, "the probe: {:?}", kinds(&probe));
    // Later packets arrive.
    victim.message(StreamId(1), b"later");
    victim.now += 50 * MS;
    victim.send(&[sack(tsn(1).prev(), 1 << 20, &[(2, 2)])]);
    victim.pass(60 * MS);
    assert_eq!(victim.association.stats().congestion_events, 1);
    victim.now += 50 * MS;
    victim.send(&[sack(tsn(2), 1 << 20, &[])]);
    let stats = victim.association.stats();
    assert_eq!((stats.t3_expirations, stats.congestion_events), (0, 1));
}

/// RFC 9260 §6.7.
#[test]
fn a_repetition_of_what_the_peer_had_already_is_known_for_one() {
    let mut victim = Victim::in_state(State::Established);
    victim.message(StreamId(1), b"x");
    assert!(!victim.pass(2 * SECOND).is_empty(), "it is sent again");
    let tsn = victim.tsn;
    let twice = chunk(|out| Sack::encode(tsn, 1 << 20, Vec::new().into_iter(), vec![tsn].into_iter(), out));
    victim.send(&[twice]);
    let stats = victim.association.stats();
    assert_eq!((stats.spurious_retransmissions, stats.flight_size), (1, 0));
}

/// RFC 9260 §6.2.1: from the handshake on the peer's window is known, and less what is in flight.
#[test]
fn the_peers_window_is_reported_from_the_handshake_on() {
    let mut victim = Victim::in_state(State::Established);
    // The window of the peer that the tests make up.
    let window = 1 << 20;
    assert_eq!(victim.association.stats().peer_rwnd, window);
    victim.message(StreamId(1), &[7; 500]);
    assert_eq!(victim.association.stats().peer_rwnd, window - 500);
    let tsn = victim.tsn;
    victim.send(&[sack(tsn, 12_345, &[])]);
    assert_eq!(victim.association.stats().peer_rwnd, 12_345);
}

/// RFC 9260 §3.3.1: the I bit asks for a SACK at once, which helps when the message is complete and not before.
#[test]
fn only_the_last_fragment_of_a_message_asks_for_a_sack_at_once() {
    let asks = |victim: &mut Victim, len: usize, acknowledge_immediately| {
        let options = SendOptions { acknowledge_immediately, ..SendOptions::default() };
        let sent = victim.message_with(StreamId(1), &[7; 3_000][..len], options);
        sent.iter().map(|chunk| chunk.flags & 8 != 0).collect::<Vec<bool>>()
    };
    let mut victim = Victim::in_state(State::Established);
    assert_eq!(asks(&mut victim, 3_000, true), [false, false, true]);
    assert_eq!(asks(&mut victim, 1_000, true), [true]);
    // Unasked, the end of a burst does, and a packet that leaves alone does not.
    assert_eq!(asks(&mut victim, 3_000, false), [false, false, true]);
    assert_eq!(asks(&mut victim, 1_000, false), [false]);
    assert_eq!(asks(&mut victim, 1_000, false), [false]);
}
