//! Goodput on links behind a drop-tail queue: where stacks that do not recover well from the loss that they cause
//! themselves collapse. In virtual time, so nothing here depends on the machine, and each figure is the same in every
//! run of the same code.
//!
//! The floors are what was measured, less a margin: who changes congestion control and falls through one has to say
//! why. The whole takes some twenty million packets, so that a build with debug assertions runs a few slow links only.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test harness: it panics when something is wrong"
)]

#[path = "simulation/clock.rs"]
mod clock;
#[path = "goodput/pings.rs"]
mod pings;
#[path = "simulation/pipe.rs"]
mod pipe;
#[path = "goodput/world.rs"]
mod world;

use clock::{MILLISECOND, SECOND};
use narrowboat_sctp::CongestionControl;
use world::{Load, Path, World};

/// Seconds of a transfer.
const TIME: u64 = 30;

/// In thousandths of the link: at least so much over all, and in each five seconds but the first.
#[derive(Clone, Copy, Debug)]
struct Goodput {
    share: u64,
    worst: u64,
}

/// A transfer, and the least that it has to achieve.
struct Case {
    path: Path,
    floor: Goodput,
}

const fn clean(megabits: u64, round_trip: u64, share: u64, worst: u64) -> Case {
    Case { path: Path::clean(megabits, round_trip), floor: Goodput { share, worst } }
}

const fn queued(megabits: u64, round_trip: u64, queue: u64, share: u64, worst: u64) -> Case {
    Case { path: Path { queue, ..Path::clean(megabits, round_trip) }, floor: Goodput { share, worst } }
}

const fn lossy(megabits: u64, round_trip: u64, loss: u64, share: u64, worst: u64) -> Case {
    Case { path: Path { loss, ..Path::clean(megabits, round_trip) }, floor: Goodput { share, worst } }
}

/// 95 % is all that there is: the rest are headers. What is missing at long round trips is the time until the window
/// has opened.
#[test]
fn clean_links_are_filled() {
    run(
        CongestionControl::Cubic,
        &[
            clean(20, 10, 900, 880),
            clean(20, 50, 910, 890),
            clean(20, 100, 890, 860),
            // A repair holds ordered data back for a round trip of 400 ms behind a full queue: 8 % of five seconds, if
            // they end there.
            clean(20, 200, 870, 860),
            clean(100, 10, 920, 900),
            clean(100, 50, 910, 900),
            clean(100, 100, 890, 880),
            clean(100, 200, 840, 860),
            clean(1000, 10, 920, 900),
            clean(1000, 50, 900, 900),
            clean(1000, 100, 870, 900),
            clean(1000, 200, 810, 860),
        ],
    );
}

#[test]
fn short_and_long_queues_are_filled_too() {
    run(
        CongestionControl::Cubic,
        &[
            queued(20, 10, 25, 880, 860),
            queued(20, 50, 25, 890, 870),
            queued(100, 10, 25, 900, 880),
            queued(100, 50, 25, 900, 880),
            queued(100, 100, 25, 880, 870),
            queued(1000, 20, 25, 910, 880),
            queued(1000, 30, 25, 910, 880),
            queued(1000, 50, 25, 900, 880),
            queued(20, 50, 400, 910, 900),
            queued(100, 50, 400, 910, 900),
            queued(100, 100, 400, 880, 880),
        ],
    );
}

#[test]
fn random_loss_costs_what_it_has_to() {
    run(
        CongestionControl::Cubic,
        &[
            lossy(20, 10, 1_000, 880, 900),
            lossy(20, 50, 1_000, 375, 280),
            lossy(20, 100, 1_000, 185, 115),
            lossy(100, 10, 1_000, 400, 355),
            lossy(100, 50, 1_000, 74, 56),
            lossy(20, 10, 10_000, 630, 610),
            lossy(20, 50, 10_000, 150, 130),
            lossy(100, 10, 10_000, 135, 130),
            lossy(100, 50, 10_000, 30, 26),
            lossy(1000, 50, 10, 265, 140),
        ],
    );
}

#[test]
fn a_model_fills_clean_links() {
    run(
        CongestionControl::Bbr,
        &[
            clean(20, 50, 910, 890),
            clean(100, 10, 930, 900),
            clean(100, 50, 920, 900),
            clean(100, 200, 870, 900),
            clean(1000, 50, 915, 900),
            clean(1000, 100, 890, 890),
            clean(1000, 200, 835, 860),
        ],
    );
}

/// Runs the cases, two at a time.
fn run(congestion_control: CongestionControl, cases: &[Case]) {
    let is_wanted = |case: &&Case| !cfg!(debug_assertions) || case.path.megabits == 20 && case.path.round_trip <= 50;
    let cases: Vec<&Case> = cases.iter().filter(is_wanted).collect();
    let (even, odd): (Vec<_>, Vec<_>) = cases.iter().enumerate().partition(|(index, _)| index % 2 == 0);
    let all = |cases: Vec<(usize, &&Case)>| {
        cases.into_iter().map(|(index, case)| (index, transfer(congestion_control, case.path))).collect::<Vec<_>>()
    };
    let mut results: Vec<(usize, Goodput)> = std::thread::scope(|scope| {
        let odd = scope.spawn(|| all(odd));
        let even = all(even);
        even.into_iter().chain(odd.join().unwrap()).collect()
    });
    results.sort_by_key(|(index, _)| *index);
    let mut bad = Vec::new();
    for (Case { path, floor }, (_, goodput)) in cases.iter().zip(&results) {
        let Path { megabits, round_trip, queue, loss } = path;
        let line = format!(
            "{megabits:>5} Mbit/s {round_trip:>4} ms, queue {queue:>3} %, loss {:>4} %: {:>4.1} % of the link, {:>4.1} % in \
             the worst 5 s; at least {} and {}",
            *loss as f64 / 1e4,
            goodput.share as f64 / 10.0,
            goodput.worst as f64 / 10.0,
            floor.share as f64 / 10.0,
            floor.worst as f64 / 10.0
        );
        eprintln!("{line}");
        if goodput.share < floor.share || goodput.worst < floor.worst {
            bad.push(line);
        }
    }
    assert!(bad.is_empty(), "below the floor:\n{}", bad.join("\n"));
}

fn transfer(congestion_control: CongestionControl, path: Path) -> Goodput {
    let mut world = World::new(path, 1);
    if congestion_control == CongestionControl::default() {
        world.add(0, Load::BULK);
    } else {
        world.add_with(congestion_control, 0, Load::BULK);
    }
    world.run(TIME * SECOND);
    let mut delivered = world.flows.remove(0).delivered;
    delivered.resize(usize::try_from(TIME).unwrap(), 0);
    let thousandths = |bytes: u64, seconds: u64| bytes * 8 * 1000 / (path.rate() * seconds);
    let windows = delivered.windows(5).skip(5).map(|window| thousandths(window.iter().sum(), 5));
    Goodput { share: thousandths(delivered.iter().sum(), TIME), worst: windows.min().unwrap() }
}

/// The slowest path comes first; a build with debug assertions leaves it at that.
fn slow_first<const N: usize>(paths: [Path; N]) -> impl Iterator<Item = Path> {
    paths.into_iter().take(if cfg!(debug_assertions) { 1 } else { N })
}

/// Two associations through one queue, one of which comes later, when the other has it all. The time at which it comes
/// decides which of the two loses a packet when the queue is full, so that one run alone says little.
#[test]
fn a_bottleneck_is_shared() {
    for path in slow_first([Path::clean(20, 50), Path::clean(100, 20), Path::clean(50, 100)]) {
        let least = median(|seed| {
            let mut world = World::new(path, 1);
            world.add(0, Load::BULK);
            world.add(5 * SECOND + seed * 37 * MILLISECOND, Load::BULK);
            world.run(60 * SECOND);
            let shares: Vec<u64> = world.flows.iter().map(|flow| flow.delivered.iter().skip(20).sum()).collect();
            let total = shares.iter().sum::<u64>() * 8 * 100 / (path.rate() * 40);
            assert!(total >= 90, "{total} %");
            shares.iter().min().unwrap() * 100 / shares.iter().sum::<u64>()
        });
        eprintln!("{path:?}: the lesser one has {least} % of what both have");
        assert!(least >= 33, "one has more than twice as much as the other");
    }
}

/// Two associations, which start at once or one after the other, with each pair of controllers. Nobody gets less than
/// 35 % of what both deliver in the minute.
#[test]
fn each_controller_leaves_its_share_to_each() {
    use CongestionControl::{Bbr, Cubic, NewReno};
    let pairs =
        [(Bbr, Cubic), (Bbr, Bbr), (Cubic, Bbr), (Bbr, NewReno), (NewReno, Bbr), (Cubic, Cubic), (NewReno, NewReno)];
    for path in slow_first([Path::clean(20, 20), Path::clean(50, 40)]) {
        for (first, second) in pairs.into_iter().take(if cfg!(debug_assertions) { 2 } else { pairs.len() }) {
            let share = median(|seed| {
                let starts_at = seed * SECOND + seed * 37 * MILLISECOND;
                let mut world = World::new(path, seed);
                world.add_with(first, 0, Load::BULK);
                world.add_with(second, starts_at, Load::BULK);
                world.run(60 * SECOND);
                let both = usize::try_from(starts_at / SECOND + 1).unwrap();
                let bytes = |flow: usize| world.flows[flow].delivered.iter().skip(both).sum::<u64>();
                bytes(0) * 100 / (bytes(0) + bytes(1))
            });
            eprintln!("{first:?} beside {second:?}, {path:?}: {share} %");
            assert!((35..=65).contains(&share), "{share} % for the first");
        }
    }
}

/// A message of eight bytes on a stream of its own, beside a bulk transfer on the same association. It waits for the
/// queue in the network, which the transfer fills, and for the rest of a bulk message whose turn it was, but not for
/// the bulk messages behind that.
#[test]
fn small_messages_overtake_the_bulk_that_waits() {
    for path in slow_first([Path::clean(20, 50), Path::clean(100, 20)]) {
        let mut world = World::new(path, 1);
        world.add(0, Load::with_pings(100 * MILLISECOND));
        world.run(20 * SECOND);
        let mut pings = world.flows.remove(0).pings;
        pings.sort_unstable();
        let [median, late] = [50, 95].map(|percent| pings[pings.len() * percent / 100] / MILLISECOND);
        let full_queue = path.round_trip / 2 + path.round_trip * path.queue / 100;
        let bulk_message = (64 << 10) * 8 * 1000 / path.rate();
        eprintln!(
            "{path:?}: {} messages, half within {median} ms, 95 % within {late} ms; the queue alone takes up to \
             {full_queue} ms, and a bulk message {bulk_message} ms",
            pings.len()
        );
        assert!(pings.len() >= 185);
        assert!(median <= full_queue + 1 && late <= full_queue + bulk_message + 5);
    }
}

/// 32 MiB over 100 Mbit/s and 50 ms, from the first packet to the last message, handshake included. The goal of 3.05 s
/// without loss is missed: a window that doubles from ten packets leaves the link idle for 0.24 s, the handshake takes
/// 0.1 s, the packets take 2.81 s, and the last one arrives 25 ms later.
#[test]
fn an_upload_takes_little_more_than_its_packets() {
    let cases = [
        (CongestionControl::Bbr, 1_000, 3400),
        // With the header of I-DATA, four bytes longer than that of DATA, the packets take 9 ms more.
        (CongestionControl::Cubic, 0, 3205),
        (CongestionControl::Bbr, 0, 3225),
        (CongestionControl::Bbr, 10_000, 3600),
        (CongestionControl::Bbr, 50_000, 6000),
    ];
    for (congestion_control, loss, most) in cases.into_iter().take(if cfg!(debug_assertions) { 1 } else { 5 }) {
        let time = median(|seed| {
            let mut world = World::new(Path { loss, ..Path::clean(100, 50) }, seed);
            world.add_with(congestion_control, 0, Load::BULK);
            world.run(10 * SECOND);
            world.flows[0].arrivals.get(511).map_or(u64::MAX, |at| at / MILLISECOND)
        });
        eprintln!("{congestion_control:?}, loss {:>4} %: {time} ms; at most {most}", loss as f64 / 1e4);
        assert!(time <= most);
    }
}

/// Returns the median of five seeds, or the value of one in a build with debug assertions.
fn median(measure: impl Fn(u64) -> u64) -> u64 {
    let seeds = if cfg!(debug_assertions) { 2..=2 } else { 1..=5 };
    let mut values: Vec<u64> = seeds.map(measure).collect();
    values.sort_unstable();
    values[values.len() / 2]
}

/// The queue of four products is there for others; the model leaves most of it empty.
#[test]
fn a_model_keeps_a_long_queue_short() {
    for path in slow_first([Path { queue: 400, ..Path::clean(20, 50) }, Path { queue: 400, ..Path::clean(100, 50) }]) {
        let mut world = World::new(path, 1);
        world.add_with(CongestionControl::Bbr, 0, Load::BULK);
        world.run(20 * SECOND);
        let (wait, share) = (world.late_wait() / MILLISECOND, world.flows[0].delivered.iter().sum::<u64>());
        let share = share * 8 * 100 / (path.rate() * 20);
        eprintln!("{path:?}: 95 % of the packets pass the queue within {wait} ms; {share} % of the link");
        assert!(wait <= 25, "{wait} ms: more than half a product; a full queue takes 200");
        assert!(share >= 92, "{share} %");
    }
}
