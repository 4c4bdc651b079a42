//! What unit tests of several rooms share.

use std::time::Instant;

/// Some time. Tests only ever compare times with each other.
#[expect(clippy::disallowed_methods, reason = "any time will do")]
pub(crate) fn some_time() -> Instant {
    Instant::now()
}
