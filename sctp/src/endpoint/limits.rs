//! How many strangers are answered in a second.

use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// Counts answers in windows of a second. Two neighbouring windows may together pass up to twice the limit within one
/// second, which for its purpose is exact enough and costs two numbers.
#[derive(Debug)]
pub(super) struct AnswerLimit {
    window_start: Instant,
    taken: u32,
    max: u32,
}

impl AnswerLimit {
    pub(super) fn new(now: Instant, max: u32) -> Self {
        Self { window_start: now, taken: 0, max }
    }

    /// Takes one answer, if there is one left.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.window_start) >= SECOND {
            self.window_start = now;
            self.taken = 0;
        }
        let has_one = self.taken < self.max;
        self.taken += u32::from(has_one);
        has_one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_so_many_answers_and_the_next_as_many_again() {
        let start = crate::testing::some_time();
        let mut limit = AnswerLimit::new(start, 3);
        let taken = |limit: &mut AnswerLimit, at| (0..10).filter(|_| limit.take(at)).count();
        assert_eq!(taken(&mut limit, start), 3);
        assert_eq!(taken(&mut limit, start + SECOND / 2), 0);
        assert_eq!(taken(&mut limit, start + SECOND), 3);
        assert_eq!(taken(&mut limit, start), 0, "a clock that steps back opens nothing");
    }
}
