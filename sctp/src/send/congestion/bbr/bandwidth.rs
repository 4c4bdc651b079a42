//! Bandwidth: a rate of delivery, and the maximum of such rates over two cycles of probing.

use crate::time::Duration;

/// A rate, in bytes per second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(super) struct Bandwidth(u64);

impl Bandwidth {
    /// Returns the rate of so many bytes in this time; a time of nothing counts as a nanosecond.
    pub(super) fn of(bytes: u64, time: Duration) -> Self {
        let rate = u128::from(bytes) * 1_000_000_000 / time.as_nanos().max(1);
        Self(u64::try_from(rate).unwrap_or(u64::MAX))
    }

    pub(super) fn bytes_per_second(self) -> u64 {
        self.0
    }

    pub(super) fn bytes_in(self, time: Duration) -> usize {
        let bytes = u128::from(self.0).saturating_mul(time.as_nanos()) / 1_000_000_000;
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// Returns this share of the rate.
    pub(super) fn percent(self, percent: u64) -> Self {
        Self(self.0.saturating_mul(percent) / 100)
    }
}

/// The maximum of delivery rates over the current cycle of probing and the one before: between two probes a flow does
/// not send faster than its estimate, so it measures no more either.
#[derive(Debug, Default)]
pub(super) struct MaxBandwidth {
    previous: Bandwidth,
    current: Bandwidth,
}

impl MaxBandwidth {
    pub(super) fn get(&self) -> Bandwidth {
        self.previous.max(self.current)
    }

    pub(super) fn update(&mut self, sample: Bandwidth) {
        self.current = self.current.max(sample);
    }

    /// Begins another cycle. One without a sample is not counted.
    pub(super) fn advance(&mut self) {
        if self.current > Bandwidth::default() {
            self.previous = std::mem::take(&mut self.current);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_rate_is_bytes_by_time_whatever_their_size() {
        assert_eq!(Bandwidth::of(1200, Duration::from_micros(100)).bytes_per_second(), 12_000_000);
        assert_eq!(Bandwidth::of(3000, 2 * SECOND).bytes_in(SECOND / 4), 375);
        assert_eq!(Bandwidth::of(u64::MAX, Duration::ZERO).bytes_in(Duration::MAX), usize::MAX, "nothing overflows");
        assert_eq!(Bandwidth::of(1000, SECOND).percent(277).bytes_per_second(), 2770);
    }

    #[test]
    fn a_maximum_lasts_for_the_next_cycle_and_a_cycle_without_samples_does_not_count() {
        let rate = |bytes| Bandwidth::of(bytes, SECOND);
        let mut max = MaxBandwidth::default();
        max.update(rate(100));
        max.update(rate(50));
        assert_eq!(max.get(), rate(100));
        max.advance();
        max.advance();
        assert_eq!(max.get(), rate(100));
        max.update(rate(60));
        assert_eq!(max.get(), rate(100));
        max.advance();
        assert_eq!(max.get(), rate(60));
    }
}
