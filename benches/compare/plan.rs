//! The measurements to run, and their length.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use narrowboat_peers::Stack;

/// The measurements to run, and their length.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The columns.
    pub(crate) stacks: Vec<Stack>,
    /// Measurements of each stack, in turns.
    pub(crate) rounds: usize,
    /// Time that one measurement takes at least.
    pub(crate) slice: Duration,
    /// Time that one measurement, or the preparation of it, takes at most.
    pub(crate) wall_max: Duration,
    /// Time that one transfer of another stack over a simulated link takes at most.
    peers_goodput_wall_max: Duration,
    /// Virtual time of a transfer over a simulated link.
    pub(crate) goodput_time: Duration,
    /// Channels that are opened and closed.
    pub(crate) cycles: usize,
}

impl Plan {
    /// Returns the full plan, which takes some eight minutes.
    pub(crate) fn full() -> Self {
        Self {
            stacks: Stack::ALL.to_vec(),
            rounds: 9,
            slice: Duration::from_millis(200),
            wall_max: Duration::from_secs(4),
            peers_goodput_wall_max: Duration::from_secs(8),
            goodput_time: Duration::from_secs(30),
            cycles: 10_000,
        }
    }

    /// A look, while one works on something: some two minutes.
    pub(crate) fn quick() -> Self {
        Self {
            rounds: 3,
            slice: Duration::from_millis(60),
            wall_max: Duration::from_secs(2),
            peers_goodput_wall_max: Duration::from_secs(1),
            cycles: 1_000,
            ..Self::full()
        }
    }

    /// Time that one transfer over a simulated link takes at most. What this project promises is measured to the end.
    pub(crate) fn goodput_wall_max(&self, stack: Stack) -> Duration {
        if stack == Stack::Narrowboat { Duration::from_secs(600) } else { self.peers_goodput_wall_max }
    }

    /// Returns the column of a stack in the table.
    pub(crate) fn column(&self, stack: Stack) -> Option<usize> {
        self.stacks.iter().position(|other| *other == stack)
    }
}

/// Turns a panic inside a stack into a reason for the table.
pub(crate) fn guard<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Err(format!("panicked: {text}"))
    })
}
