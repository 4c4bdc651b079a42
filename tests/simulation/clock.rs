//! Virtual time: nanoseconds since the run began, shown to the code under test as an `Instant`.

use std::time::{Duration, Instant};

/// Nanoseconds of virtual time.
pub(crate) type Nanos = u64;

pub(crate) const MILLISECOND: Nanos = 1_000_000;
pub(crate) const SECOND: Nanos = 1_000_000_000;

/// Time at which runs begin: not 0, so that time stamps may lie a little before.
pub(crate) const START: Nanos = SECOND;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    /// The one look at the wall clock; only differences to it are ever used.
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn instant(&self, now: Nanos) -> Instant {
        self.0 + Duration::from_nanos(now)
    }

    pub(crate) fn nanos(&self, instant: Instant) -> Nanos {
        nanos(instant.saturating_duration_since(self.0))
    }
}

pub(crate) fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
