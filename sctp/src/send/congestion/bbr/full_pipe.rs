//! Detection of a full pipe: the delivery rate stops growing although the flow sends faster.

use super::bandwidth::Bandwidth;

/// Growth of the delivery rate, in percent, by which a pipe is not full.
const GROWTH: u64 = 125;

/// Rounds without such growth after which a pipe is full.
const ROUNDS: u32 = 3;

#[derive(Debug, Default)]
pub(super) struct FullPipe {
    baseline: Bandwidth,
    /// The best sample of the round under way.
    best: Bandwidth,
    rounds: u32,
    is_full_now: bool,
    is_reached: bool,
}

impl FullPipe {
    /// Returns true if the pipe is found full since the last [`restart`](Self::restart).
    pub(super) fn is_full_now(&self) -> bool {
        self.is_full_now
    }

    /// Returns true if the delivery rate did not grow in the last round.
    pub(super) fn is_flat(&self) -> bool {
        self.rounds > 0
    }

    /// Returns true if the pipe was ever found full.
    pub(super) fn is_reached(&self) -> bool {
        self.is_reached
    }

    pub(super) fn set_reached(&mut self, is_reached: bool) {
        self.is_reached = is_reached;
    }

    /// Starts over from this rate.
    pub(super) fn restart(&mut self, baseline: Bandwidth) {
        (self.baseline, self.rounds, self.is_full_now) = (baseline, 0, false);
    }

    /// Handles a sample that the application did not limit. The best of a round counts: a single one may be that of a
    /// packet that waited for the repair of a loss.
    pub(super) fn on_sample(&mut self, sample: Bandwidth, is_round_start: bool) {
        self.best = self.best.max(sample);
        if is_round_start && self.best > Bandwidth::default() {
            let best = std::mem::take(&mut self.best);
            self.on_round(best);
        }
    }

    fn on_round(&mut self, sample: Bandwidth) {
        if self.is_full_now {
            return;
        }
        if sample >= self.baseline.percent(GROWTH) {
            self.restart(sample);
            return;
        }
        self.rounds += 1;
        if self.rounds >= ROUNDS {
            self.is_full_now = true;
            self.is_reached = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    fn rate(bytes: u64) -> Bandwidth {
        Bandwidth::of(bytes, Duration::from_secs(1))
    }

    #[test]
    fn three_rounds_without_growth_by_a_quarter_are_a_plateau() {
        let mut pipe = FullPipe::default();
        // 156 is not a quarter more than 125, 157 is.
        for (bytes, is_full) in [(100, false), (125, false), (155, false), (155, false), (157, false)] {
            pipe.on_round(rate(bytes));
            assert_eq!(pipe.is_full_now(), is_full, "{bytes}");
        }
        assert!(!pipe.is_flat(), "the last round brought growth");
        for (bytes, is_full) in [(195, false), (10, false), (195, true), (1000, true)] {
            pipe.on_round(rate(bytes));
            assert_eq!(pipe.is_full_now(), is_full, "{bytes}");
            assert!(pipe.is_flat());
        }
        assert!(pipe.is_reached());
        pipe.restart(rate(150));
        assert!(pipe.is_reached() && !pipe.is_full_now());
    }

    #[test]
    fn the_best_sample_of_a_round_counts() {
        let mut pipe = FullPipe::default();
        for bytes in [100, 200, 400, 800, 1600] {
            pipe.on_sample(rate(bytes), false);
            pipe.on_sample(rate(1), true);
        }
        assert!(!pipe.is_full_now());
        for _ in 0..3 {
            assert!(!pipe.is_full_now());
            pipe.on_sample(rate(1600), true);
        }
        assert!(pipe.is_full_now());
    }
}
