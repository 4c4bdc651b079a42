//! Runs seeds, and says how to run one that failed again.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::options::Options;
use crate::phases::{self, Outcome};
use crate::trace::{Trace, Verbosity};

/// Runs when the environment does not say how many: seconds, not minutes, without optimisation.
const SEEDS: u64 = 200;

pub(crate) fn seeds_from_environment() -> u64 {
    std::env::var("SIM_SEEDS").ok().map_or(SEEDS, |count| count.parse().expect("SIM_SEEDS is a number"))
}

/// Runs it; on failure runs it again to show how it came to that.
pub(crate) fn check(options: Options) -> Outcome {
    match run(options.clone(), Verbosity::Hash) {
        Ok(outcome) => outcome,
        Err(failure) => {
            // In a thread of its own: the failure has left the allocation counters of this one in the middle.
            let again = std::thread::spawn(move || run(options, Verbosity::Tail)).join().expect("failures are caught");
            panic!("{}", again.err().unwrap_or_else(|| format!("I02: failed once only: {failure}")));
        }
    }
}

/// The outcome, or a report of the failure.
pub(crate) fn run(options: Options, verbosity: Verbosity) -> Result<Outcome, String> {
    let trace = Trace::new(verbosity);
    let result = catch_unwind(AssertUnwindSafe(|| phases::run(options.clone(), &trace)));
    result.map_err(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        let words = words.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
        if verbosity == Verbosity::Hash {
            return words;
        }
        let seed = options.seed;
        let replay = format!("SIM_SEED={seed} cargo test --release --test simulation seeds -- --nocapture");
        format!("{options:#?}\n{}\n{words}\nseed {seed}; replay (if drawn from it): {replay}", trace.tail())
    })
}

/// Runs seeds on all processors; stops at the first failure.
pub(crate) fn in_parallel(seeds: Range<u64>, run: impl Fn(u64) -> Outcome + Sync) {
    let started = Instant::now();
    let next = AtomicU64::new(seeds.start);
    let total = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let result = catch_unwind(AssertUnwindSafe(|| run(seed)));
                    let outcome = result.unwrap_or_else(|failure| {
                        next.store(seeds.end, Ordering::Relaxed);
                        std::panic::resume_unwind(failure);
                    });
                    total.fetch_add(outcome.packets, Ordering::Relaxed);
                }
            });
        }
    });
    let (packets, elapsed) = (total.into_inner(), started.elapsed());
    eprintln!("{} seeds, {packets} packets in {elapsed:.1?}", seeds.end - seeds.start);
}
