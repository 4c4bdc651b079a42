//! The parts of this crate that tests and fuzzers of the workspace need. No part of the public interface; the feature
//! `testing` switches them on.

mod random;

#[cfg(test)]
use crate::time::Instant;

pub use random::Random;

/// Returns some time. Tests only ever compare times with each other.
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "any time will do")]
pub(crate) fn some_time() -> Instant {
    Instant::now()
}

/// The wire format.
#[cfg(feature = "testing")]
pub mod wire {
    pub use crate::wire::*;
}
