//! Rates by the second.

use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(1);

/// Counts what happens in this second, and knows the count of the one before. A second begins with the first event
/// after the last second.
#[derive(Debug, Default)]
pub(crate) struct SecondCounter {
    window: Option<Instant>,
    count: u32,
    previous: u32,
}

impl SecondCounter {
    /// Returns the greater of the counts of this second and of the one before.
    pub(crate) fn rate(&mut self, now: Instant) -> u32 {
        self.turn(now);
        self.count.max(self.previous)
    }

    /// Returns the count of this second.
    pub(crate) fn count(&mut self, now: Instant) -> u32 {
        self.turn(now);
        self.count
    }

    pub(crate) fn add(&mut self, now: Instant) {
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
