//! Bounds of the model by loss. The long-term bound is what probes found to be too much; the short-term bounds adapt to
//! losses between two probes.

use super::bandwidth::Bandwidth;
use super::delivery::{DeliverySampler, RateSample};
use crate::serial::TransmissionNumber;

/// Share of what was in flight, in percent, that may be lost without a reduction.
const LOSS_MAX: u64 = 2;

/// The same if the round trips show no queue: such loss is the path's, and a slower flow loses as much. More than this
/// may be a queue that is too short to be seen.
const LOSS_WITHOUT_QUEUE_MAX: u64 = 10;

/// Least share of a bound, in percent, that a round with losses leaves.
pub(super) const BETA: u64 = 70;

/// Gaps in a round from which on losses end Startup: fewer may be one burst.
const STARTUP_GAPS_MIN: u32 = 6;

/// Losses of the round under way.
#[derive(Debug, Default)]
struct LossRound {
    /// The round ends with a packet that was sent after so many bytes were delivered.
    end: u64,
    has_loss: bool,
    /// Bytes delivered and lost before it.
    delivered_before: u64,
    lost_before: u64,
    gaps: u32,
    last_lost: Option<TransmissionNumber>,
}

#[derive(Debug, Default)]
pub(super) struct LossBounds {
    pub(super) inflight_longterm: Option<usize>,
    pub(super) inflight_shortterm: Option<usize>,
    pub(super) bandwidth_shortterm: Option<Bandwidth>,
    /// The best of the round under way.
    latest_bandwidth: Bandwidth,
    latest_inflight: u64,
    round: LossRound,
}

/// Loss of a round that has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct RoundLoss {
    /// True if the flow has to give way.
    pub(super) is_congestion: bool,
    /// True if the pipe is full, if this was Startup.
    pub(super) ends_startup: bool,
}

/// Returns true if so much loss of `bytes` says that they were too many.
pub(super) fn is_too_much(lost: u64, bytes: u64, has_queue: bool) -> bool {
    let max = if has_queue { LOSS_MAX } else { LOSS_WITHOUT_QUEUE_MAX };
    lost.saturating_mul(100) > bytes.saturating_mul(max)
}

/// Returns the flight size at which losses passed the limit, within the flight of a lost packet of `bytes`.
pub(super) fn inflight_at_loss(flight_size: usize, lost: u64, bytes: usize) -> usize {
    let before = flight_size.saturating_sub(bytes) as u64;
    let lost_before = lost.saturating_sub(bytes as u64);
    let prefix = (before * LOSS_MAX).saturating_sub(lost_before * 100) / (100 - LOSS_MAX);
    usize::try_from(before + prefix).unwrap_or(usize::MAX)
}

impl LossBounds {
    /// Handles a loss. Returns true if it is the first of its round.
    pub(super) fn on_lost(&mut self, number: Option<TransmissionNumber>, sampler: &DeliverySampler) -> bool {
        let is_first = !self.round.has_loss;
        if is_first {
            self.round.has_loss = true;
            self.round.end = sampler.delivered();
        }
        let is_same_gap = matches!((self.round.last_lost, number), (Some(last), Some(number)) if number.follows(last));
        if !is_same_gap {
            self.round.gaps += 1;
        }
        self.round.last_lost = number;
        is_first
    }

    pub(super) fn forget_loss(&mut self) {
        self.round.has_loss = false;
    }

    /// Notes what was delivered. Returns the loss of the round if it is over.
    pub(super) fn on_sample(
        &mut self,
        sample: &RateSample,
        sampler: &DeliverySampler,
        has_queue: bool,
    ) -> Option<RoundLoss> {
        self.latest_bandwidth = self.latest_bandwidth.max(sample.bandwidth.unwrap_or_default());
        self.latest_inflight = self.latest_inflight.max(sample.delivered);
        if sample.prior_delivered < self.round.end {
            return None;
        }
        let round = &self.round;
        let lost = sampler.lost().saturating_sub(round.lost_before);
        let bytes = lost + sampler.delivered().saturating_sub(round.delivered_before);
        let loss = RoundLoss {
            is_congestion: round.has_loss && is_too_much(lost, bytes, has_queue),
            ends_startup: round.has_loss && round.gaps >= STARTUP_GAPS_MIN && is_too_much(lost, bytes, has_queue),
        };
        self.round = LossRound {
            end: sampler.delivered(),
            delivered_before: sampler.delivered(),
            lost_before: sampler.lost(),
            ..LossRound::default()
        };
        Some(loss)
    }

    /// Returns the most that was in flight and delivered in this round.
    pub(super) fn latest_inflight(&self) -> usize {
        usize::try_from(self.latest_inflight).unwrap_or(usize::MAX)
    }

    /// Lowers the short-term bounds to what was delivered in the round, by three tenths at most.
    pub(super) fn adapt_to_loss(&mut self, bandwidth: Bandwidth, cwnd: usize) {
        let bandwidth = self.bandwidth_shortterm.unwrap_or(bandwidth);
        self.bandwidth_shortterm = Some(self.latest_bandwidth.max(bandwidth.percent(BETA)));
        let inflight = self.inflight_shortterm.unwrap_or(cwnd);
        self.inflight_shortterm = Some(self.latest_inflight().max(share(inflight, BETA)));
    }

    /// Begins another round with this sample.
    pub(super) fn advance(&mut self, sample: &RateSample) {
        (self.latest_bandwidth, self.latest_inflight) = (sample.bandwidth.unwrap_or_default(), sample.delivered);
    }

    /// Forgets what the round has brought so far.
    pub(super) fn reset_signals(&mut self) {
        self.round.has_loss = false;
        (self.latest_bandwidth, self.latest_inflight) = (Bandwidth::default(), 0);
    }

    pub(super) fn reset_shortterm(&mut self) {
        (self.bandwidth_shortterm, self.inflight_shortterm) = (None, None);
    }
}

/// Returns this share of a number of bytes.
pub(super) fn share(bytes: usize, percent: u64) -> usize {
    usize::try_from(bytes as u128 * u128::from(percent) / 100).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_percent_are_too_much_with_a_queue_and_ten_without() {
        for (lost, has_queue, expected) in
            [(2000, true, false), (2001, true, true), (2001, false, false), (10_001, false, true)]
        {
            assert_eq!(is_too_much(lost, 100_000, has_queue), expected);
        }
    }

    #[test]
    fn the_flight_at_which_losses_passed_the_limit_is_found_within_the_packet() {
        // 2,040 of 102,040 bytes are two percent.
        assert_eq!(inflight_at_loss(101_000, 1000, 1000), 102_040);
        assert_eq!(inflight_at_loss(101_000, 4000, 1000), 100_000, "passed before");
    }
}
