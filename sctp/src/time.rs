//! The clock type of all signatures, in one place: a target whose clock is another type changes this alias alone.

pub use std::time::Duration;

/// A point in time. The crate reads no clock: its owner passes the time to each call.
pub type Instant = std::time::Instant;
