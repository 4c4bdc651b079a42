//! Runs seeds, and prints how to run a failed seed again.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::options::Options;
use crate::phases::{self, Outcome};
use crate::trace::{Trace, Verbosity};

/// Runs when the environment does not say how many: seconds, not minutes, without optimisation.
const SEEDS: u64 = 200;

/// Number of failures that is enough to see their common cause.
const FAILURES_MAX: usize = 20;

/// `SIM_SEEDS` seeds from `SIM_FIRST` on.
pub(crate) fn seeds_from_environment() -> Range<u64> {
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
    };
    let first = number("SIM_FIRST", 0);
    first..first + number("SIM_SEEDS", SEEDS)
}

/// Runs it, and panics with a full report if it fails.
pub(crate) fn check(options: &Options) -> Outcome {
    run(options, Verbosity::Hash).unwrap_or_else(|failure| panic!("{}", explain(options, &failure)))
}

/// The outcome, or the failure.
pub(crate) fn run(options: &Options, verbosity: Verbosity) -> Result<Outcome, String> {
    let trace = Trace::new(verbosity);
    let result = catch_unwind(AssertUnwindSafe(|| phases::run(options.clone(), &trace)));
    result.map_err(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        let words = words.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
        match verbosity {
            Verbosity::Hash => words,
            _ => format!("{options:#?}\n{}\n{words}", trace.tail()),
        }
    })
}

/// Runs a failed set of options again, to show how it came to that.
pub(crate) fn explain(options: &Options, failure: &str) -> String {
    let copy = options.clone();
    // The replay runs in a thread of its own: the failure has left the allocation counters of this one in the middle.
    let again = std::thread::spawn(move || run(&copy, Verbosity::Tail)).join().expect("failures are caught");
    let report = again.err().unwrap_or_else(|| format!("I02: this came once and not again: {failure}"));
    let seed = options.seed;
    format!("{report}\n\nSIM_SEED={seed} cargo test --release --test simulation seeds -- --nocapture")
}

/// Runs seeds on all processors, and panics with all that failed.
pub(crate) fn check_all(seeds: Range<u64>, options: impl Fn(u64) -> Options + Sync) {
    let started = Instant::now();
    let (next, packets) = (AtomicU64::new(seeds.start), AtomicU64::new(0));
    let failures = Mutex::new(Vec::new());
    let work = || {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= seeds.end || failures.lock().unwrap().len() >= FAILURES_MAX {
            return false;
        }
        match run(&options(seed), Verbosity::Hash) {
            Ok(outcome) => packets.fetch_add(outcome.packets, Ordering::Relaxed),
            Err(failure) => {
                failures.lock().unwrap().push((seed, failure));
                return false;
            }
        };
        true
    };
    let is_done = || next.load(Ordering::Relaxed) >= seeds.end || failures.lock().unwrap().len() >= FAILURES_MAX;
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while !is_done() {
                    // Until the first failure: that leaves the allocation counters of a thread in the middle.
                    std::thread::scope(|scope| scope.spawn(|| while work() {}).join()).expect("failures are caught");
                }
            });
        }
    });
    eprintln!("{} seeds, {} packets in {:.1?}", seeds.end - seeds.start, packets.into_inner(), started.elapsed());
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    let Some((seed, failure)) = failures.first() else { return };
    let report = explain(&options(*seed), failure);
    let line = |(seed, failure): &(u64, String)| format!("seed {seed}: {}", failure.lines().next().unwrap_or_default());
    let list: Vec<_> = failures.iter().map(line).collect();
    panic!("{report}\n\n{} seeds failed:\n{}", failures.len(), list.join("\n"));
}
