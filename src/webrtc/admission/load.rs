//! A rate by the second.

use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(1);

/// Counts by the second.
#[derive(Debug)]
pub(super) struct Load {
    window: Option<Instant>,
    count: u32,
    previous: u32,
}

impl Load {
    pub(super) const fn new() -> Self {
        Self { window: None, count: 0, previous: 0 }
    }

    /// Returns the greater of the counts of this second and of the one before.
    pub(super) fn rate(&mut self, now: Instant) -> u32 {
        self.turn(now);
        self.count.max(self.previous)
    }

    /// Returns the count of this second.
    pub(super) fn count(&mut self, now: Instant) -> u32 {
        self.turn(now);
        self.count
    }

    pub(super) fn add(&mut self, now: Instant) {
        self.turn(now);
        self.count = self.count.saturating_add(1);
    }

    fn turn(&mut self, now: Instant) {
        let age = self.window.map(|start| now.saturating_duration_since(start));
        if age.is_some_and(|age| age < WINDOW) {
            return;
        }
        self.previous = if age.is_some_and(|age| age < 2 * WINDOW) { self.count } else { 0 };
        self.count = 0;
        self.window = Some(now);
    }
}
