//! Losses that were none: reordering, and delays beyond the time-out (RFC 8985 §6.2, RFC 4015, RFC 5682).
#![expect(clippy::panic, reason = "a test may fail this way")]
#![expect(clippy::cast_possible_truncation, reason = "numbers in tests are small")]

mod pair;

use std::time::Duration;

use narrowboat_sctp::{AssociationConfig, CongestionControl, Ppid, SendMessageError, SendOptions, StreamId};
use pair::{MS, Packet, Pair, Verdict};

const SECOND: Duration = Duration::from_secs(1);

/// Bytes a second of the link: 10 Mbit/s.
const RATE: u64 = 1_250_000;

/// A pair behind a link of 10 Mbit/s with a round-trip time of 40 ms and a queue of one bandwidth-delay product.
fn link(config: AssociationConfig, seed: u8) -> Pair {
    let mut pair = Pair::with_configs([config.clone(), config], seed);
    pair.one_way = 20 * MS;
    pair.keeps_trace = false;
    pair.connect();
    pair.bottleneck = Some((RATE, 50_000));
    pair
}

/// Keeps the sender full for a time. Returns the bytes that arrive.
fn transfer(pair: &mut Pair, time: Duration) -> usize {
    let until = pair.now + time;
    pair.received[1].clear();
    while pair.now < until {
        while pair.ends[0].buffered_amount(StreamId(1)) < 200_000 {
            let message = vec![7; 10_000].into();
            match pair.ends[0].send(pair.now, StreamId(1), Ppid(53), message, SendOptions::default()) {
                Ok(()) => {}
                Err(SendMessageError::Full) => break,
                Err(error) => panic!("{error}"),
            }
        }
        pair.step((pair.now + MS).min(until));
    }
    pair.received[1].iter().map(|(_, _, payload)| payload.len()).sum()
}

/// Draws numbers for a pattern.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// The delay of a packet by its number and a random number.
type Pattern = (&'static str, fn(u64, u64) -> Duration);

const PATTERNS: [Pattern; 8] = [
    ("none", |_, _| Duration::ZERO),
    ("every 10th 5 ms late", |number, _| if number % 10 == 0 { 5 * MS } else { Duration::ZERO }),
    ("every 10th 10 ms late", |number, _| if number % 10 == 0 { 10 * MS } else { Duration::ZERO }),
    ("every 100th 20 ms late", |number, _| if number % 100 == 0 { 20 * MS } else { Duration::ZERO }),
    ("every 33rd 30 ms late", |number, _| if number % 33 == 0 { 30 * MS } else { Duration::ZERO }),
    ("two paths that differ by 8 ms", |number, _| if number % 2 == 0 { 8 * MS } else { Duration::ZERO }),
    ("jitter up to 10 ms", |_, random| MS / 100 * (random % 1000) as u32),
    ("jitter up to 30 ms", |_, random| MS * 3 / 100 * (random % 1000) as u32),
];

/// Bytes that arrive in two seconds, after the first second.
fn reordered(config: &AssociationConfig, delay: fn(u64, u64) -> Duration, seed: u8) -> usize {
    let mut pair = link(config.clone(), seed);
    let (mut number, mut state) = (0, u64::from(seed));
    pair.rule = Box::new(move |packet: &Packet| {
        if packet.from == 1 {
            return Verdict::Pass;
        }
        number += 1;
        Verdict::Delay(delay(number, random(&mut state)))
    });
    transfer(&mut pair, SECOND);
    transfer(&mut pair, 2 * SECOND)
}

#[test]
fn steady_reordering_costs_a_tenth_of_the_link_at_most_after_the_first_second() {
    for (congestion_control, seeds) in [(CongestionControl::Cubic, 1..=3), (CongestionControl::NewReno, 1..=1)] {
        let config = AssociationConfig { congestion_control, ..AssociationConfig::default() };
        let shares = PATTERNS.map(|(name, delay)| {
            let mut bytes: Vec<usize> = seeds.clone().map(|seed| reordered(&config, delay, seed)).collect();
            bytes.sort_unstable();
            (name, bytes[bytes.len() / 2] * 100 / (2 * RATE as usize))
        });
        let (_, in_order) = shares[0];
        assert!(in_order >= 90, "{congestion_control:?}: {shares:?}");
        let bad: Vec<_> = shares.iter().filter(|(_, share)| share * 10 < in_order * 9).collect();
        assert!(bad.is_empty(), "{congestion_control:?}: {bad:?} percent of the link, of {in_order} in order");
    }
}

/// An outage takes the SACKs first, then everything. When it ends, the SACK of one retransmission reports data that
/// arrived half a minute ago. That is not the round-trip time of the path, and the rest is not paced as if it were.
#[test]
fn an_outage_is_no_round_trip_and_the_link_is_in_use_a_second_after_the_first_answer() {
    // On a shorter path the answer comes too soon for a retransmission (RFC 8985 §6.2 step 2).
    for one_way in [20 * MS, 15 * MS] {
        let mut pair = link(AssociationConfig::default(), 1);
        transfer(&mut pair, 2 * SECOND);
        let (begins, ends) = (pair.elapsed(), pair.elapsed() + 30 * SECOND);
        pair.rule = Box::new(move |packet: &Packet| {
            let begins = if packet.from == 1 { begins } else { begins + 5 * MS };
            if (begins..ends).contains(&packet.at) { Verdict::Drop } else { Verdict::Pass }
        });
        transfer(&mut pair, 30 * SECOND);
        pair.one_way = one_way;
        let before = pair.ends[0].stats().packets_received;
        while pair.ends[0].stats().packets_received == before {
            transfer(&mut pair, MS);
        }
        let srtt = pair.ends[0].stats().srtt;
        assert!(srtt.is_some_and(|srtt| srtt < 200 * MS), "{srtt:?}, one way {one_way:?}");
        transfer(&mut pair, SECOND);
        let bytes = transfer(&mut pair, SECOND);
        assert!(bytes * 10 >= RATE as usize * 8, "{bytes} bytes in a second, one way {one_way:?}");
    }
}

/// A radio link that holds everything back for longer than the time-out, and loses nothing.
#[test]
fn a_pause_of_the_link_costs_a_few_retransmissions_and_a_fifth_of_the_next_second_at_most() {
    let mut pair = link(AssociationConfig::default(), 1);
    transfer(&mut pair, 2 * SECOND);
    let before = pair.ends[0].stats();
    pair.held_until[0] = pair.now + SECOND;
    transfer(&mut pair, SECOND + 50 * MS);
    let bytes = transfer(&mut pair, SECOND);
    let after = pair.ends[0].stats();
    assert!(after.t3_expirations > before.t3_expirations, "the pause is longer than the time-out");
    assert!(after.congestion_events_undone > before.congestion_events_undone);
    let retransmitted = after.data_chunks_retransmitted - before.data_chunks_retransmitted;
    // Five packets, of two chunks each since the search has found room for them.
    assert!(retransmitted <= 10, "{retransmitted} retransmissions");
    assert!(bytes * 10 >= RATE as usize * 8, "{bytes} bytes in a second");
}
