//! Messages of a few bytes, sixty times a second, over paths that lose: the flow of a game. `dcsctp` delays a SACK by
//! up to 200 ms, as the browsers do.

use std::time::{Duration, Instant};

use bytes::Bytes;
use narrowboat_peers::{Dcsctp, End, Event, LinkConfig, Narrowboat, Pair, Refusal, Reliability, SendOptions, Settings};
use narrowboat_sctp::{AssociationConfig, Valid};

use crate::world::{OURS, THEIRS};

const UNRELIABLE: SendOptions = SendOptions { unordered: true, reliability: Reliability::MaxRetransmits(0) };
const RELIABLE: SendOptions = SendOptions { unordered: false, reliability: Reliability::Reliable };
const TICKS: u16 = 0;
const STATE: u16 = 1;
const BULK: u16 = 2;

/// Time between two ticks.
const TICK: Duration = Duration::from_micros(16_667);

/// Other traffic on the association.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Beside {
    Nothing,
    /// A reliable channel with the rate of the ticks.
    State,
    /// State, and so many messages of a packet each at once, every second.
    Bursts(usize),
    /// State, and a transfer that never ends.
    Bulk,
}

/// A path and its traffic.
#[derive(Clone, Copy, Debug)]
struct Case {
    one_way: Duration,
    loss: f64,
    size: usize,
    beside: Beside,
    seed: u64,
}

/// Returns the age that this percentage of the ticks that arrived did not exceed.
fn percentile(ages: &[Duration], share: usize) -> Duration {
    let mut ages = ages.to_vec();
    ages.sort_unstable();
    ages[(ages.len() * share).div_ceil(100) - 1]
}

/// The ages at arrival of the unreliable ticks.
fn run(case: Case, time: Duration) -> Vec<Duration> {
    fastrand::seed(case.seed);
    let start = Instant::now();
    let settings = Settings::default();
    // The window holds four packets at such a loss. Its bytes, and so the wait, grow with the packets.
    let config =
        Valid::new(AssociationConfig { stream_send_buffer: 1 << 20, path_mtu_discovery: false, ..Default::default() })
            .unwrap();
    let mut seed = [9; 32];
    seed[..8].copy_from_slice(&case.seed.to_le_bytes());
    let ends: [Box<dyn narrowboat_peers::Peer>; 2] =
        [Box::new(Narrowboat::with_config(start, config, seed)), Box::new(Dcsctp::new(start, &settings))];
    let mut pair = Pair::new(start, ends, LinkConfig::clean(case.one_way), case.seed);
    pair.establish().unwrap();
    let loss = LinkConfig { loss: case.loss, ..LinkConfig::clean(case.one_way) };
    // Behind a queue of 100 ms, so that a transfer has something to fill.
    let rate = LinkConfig { rate: Some(20_000_000), queue: 250_000, ..loss };
    let path = if case.beside == Beside::Bulk { rate } else { loss };
    End::BOTH.into_iter().for_each(|end| pair.set_link(end, path));
    let bulk = Bytes::from(vec![7; 1_100]);
    let (begun, mut ages) = (pair.now(), Vec::new());
    let ticks = u32::try_from(time.as_micros() / TICK.as_micros()).unwrap();
    for tick in 0..ticks {
        let send = |pair: &mut Pair, stream, options| {
            let mut message = vec![0; case.size];
            message[..4].copy_from_slice(&u32::try_from((pair.now() - begun).as_micros()).unwrap().to_le_bytes());
            assert_eq!(pair.send(OURS, stream, &message.into(), options), Ok(()));
        };
        send(&mut pair, TICKS, UNRELIABLE);
        if case.beside != Beside::Nothing {
            send(&mut pair, STATE, RELIABLE);
        }
        if let Beside::Bursts(count) = case.beside
            && tick % 60 == 30
        {
            for _ in 0..count {
                assert_eq!(pair.send(OURS, BULK, &Bytes::from(vec![7; 1_100]), RELIABLE), Ok(()));
            }
        }
        let next = begun + TICK * (tick + 1);
        loop {
            while case.beside == Beside::Bulk && pair.send(OURS, BULK, &bulk, RELIABLE) != Err(Refusal::Full) {}
            for end in End::BOTH {
                while let Some(event) = pair.poll_event(end) {
                    match event {
                        Event::Message(message) if end == THEIRS && message.stream == TICKS => {
                            let sent = u32::from_le_bytes(message.payload.into_bytes()[..4].try_into().unwrap());
                            ages.push(pair.now() - begun - Duration::from_micros(sent.into()));
                        }
                        Event::Closed { reason, .. } => panic!("{case:?}: {reason}"),
                        _ => {}
                    }
                }
            }
            if !pair.advance(next) {
                break;
            }
        }
    }
    ages
}

/// Runs each mix over each path, and checks that 99 of 100 ticks that arrive are not later than `late_max` after they
/// were sent.
fn check(loss: f64, one_ways: &[u64], besides: &[Beside], late_max: impl Fn(Duration) -> Duration) {
    let mut bad = Vec::new();
    for one_way in one_ways.iter().copied().map(Duration::from_millis) {
        for (size, &beside) in [8, 48].into_iter().flat_map(|size| besides.iter().map(move |beside| (size, beside))) {
            for seed in 1..=4 {
                let case = Case { one_way, loss, size, beside, seed };
                let ages = run(case, Duration::from_secs(20));
                let (late, latest) = (percentile(&ages, 99), percentile(&ages, 100));
                let line = format!("{case:?}: {} arrived, p99 {late:?}, latest {latest:?}", ages.len());
                println!("{line}");
                if late > late_max(one_way) {
                    bad.push(line);
                }
            }
        }
    }
    assert!(bad.is_empty(), "too late:\n{}", bad.join("\n"));
}

#[test]
fn a_tick_does_not_wait_for_the_repair_of_a_loss() {
    let besides = [Beside::Nothing, Beside::State];
    check(0.05, &[0, 25], &besides, |one_way| one_way + Duration::from_millis(20));
    check(0.2, &[0, 25], &besides, |one_way| one_way + Duration::from_millis(20));
}

/// Bulk fills the congestion window, which holds four packets at such a loss, so that a tick waits for the window: a
/// round trip or two, but no delayed SACK and no time-out.
#[test]
fn a_tick_beside_bulk_waits_for_the_congestion_window_only() {
    let besides = [Beside::Bursts(8), Beside::Bursts(30), Beside::Bulk];
    check(0.05, &[25], &besides, |one_way| 5 * one_way + Duration::from_millis(20));
}
