//! Aggregation: how much more than expected is acknowledged at once, by batches of the network or of the receiver. The
//! congestion window is larger by that, so that the flow goes on sending between two batches.

use super::bandwidth::Bandwidth;
use crate::time::Instant;

/// Rounds after which the current maximum becomes the previous one: the two together cover five to ten rounds.
const ROUNDS: u32 = 5;

#[derive(Debug, Default)]
pub(super) struct ExtraAcked {
    began_at: Option<Instant>,
    /// Bytes acknowledged since.
    acked: usize,
    previous: usize,
    current: usize,
    rounds: u32,
}

impl ExtraAcked {
    pub(super) fn get(&self) -> usize {
        self.previous.max(self.current)
    }

    /// Begins to count anew, since nothing was expected until now.
    pub(super) fn restart(&mut self, now: Instant) {
        (self.began_at, self.acked) = (Some(now), 0);
    }

    /// Handles the beginning of a round. In Startup the expectation is that of a smaller window, so that only the last
    /// round counts.
    pub(super) fn on_round(&mut self, is_startup: bool) {
        self.rounds += 1;
        if is_startup || self.rounds >= ROUNDS {
            self.previous = std::mem::take(&mut self.current);
            self.rounds = 0;
        }
    }

    pub(super) fn on_acked(&mut self, now: Instant, bytes: usize, bandwidth: Bandwidth, cwnd: usize) {
        let began_at = self.began_at.unwrap_or(now);
        let mut expected = bandwidth.bytes_in(now.saturating_duration_since(began_at));
        if self.began_at.is_none() || self.acked <= expected {
            self.restart(now);
            expected = 0;
        }
        self.acked = self.acked.saturating_add(bytes);
        self.current = self.current.max(self.acked.saturating_sub(expected).min(cwnd));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::some_time;
    use crate::time::Duration;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_arrives_at_once_counts_and_a_steady_stream_by_its_steps_only() {
        let rate = Bandwidth::of(1000, MS);
        for (step, bytes) in [(1, 1000), (20, 20_000)] {
            let (mut extra, mut now) = (ExtraAcked::default(), some_time());
            for _ in 0..100 {
                now += step * MS;
                extra.on_acked(now, bytes, rate, 100_000);
            }
            assert_eq!(extra.get(), bytes);
        }
    }

    #[test]
    fn an_old_maximum_is_forgotten_after_ten_rounds() {
        let (mut extra, now, rate) = (ExtraAcked::default(), some_time(), Bandwidth::of(1000, MS));
        extra.on_acked(now, 50_000, rate, 30_000);
        assert_eq!(extra.get(), 30_000, "no more than a window");
        (0..9).for_each(|_| extra.on_round(false));
        assert_eq!(extra.get(), 30_000);
        extra.on_round(false);
        assert_eq!(extra.get(), 0);
    }
}
