//! What work costs on this machine, where the costs of more and of less are compared.
#![expect(clippy::disallowed_methods, reason = "what is measured is the machine's time")]

use std::time::{Duration, Instant};

/// The least of several runs, which is what the work takes when nobody disturbs it. Each run prepares its work first.
pub(crate) fn cost<W: FnOnce()>(mut prepare: impl FnMut() -> W) -> Duration {
    let mut run = || {
        let work = prepare();
        let start = Instant::now();
        work();
        start.elapsed()
    };
    let mut least = run();
    for _ in 0..6 {
        least = least.min(run());
    }
    least
}
