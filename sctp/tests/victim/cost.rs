//! What work costs on this machine, where the costs of more and of less are compared.
#![expect(clippy::disallowed_methods, reason = "what is measured is the machine's time")]

use std::time::{Duration, Instant};

pub(crate) fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// The least of several runs, which is what the work takes when nobody disturbs it.
pub(crate) fn least(run: impl FnMut() -> Duration) -> Duration {
    std::iter::repeat_with(run).take(7).min().unwrap_or_default()
}
