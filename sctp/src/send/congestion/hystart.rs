//! Leaving slow start before the queue overflows: HyStart++ (RFC 9406).
//!
//! Slow start doubles the window each round trip, so without a hint it overshoots by up to a whole window and loses
//! half of it. A round-trip time that grows from one round to the next says that a queue is building.

use crate::time::Duration;

/// RFC 9406 §4.3.
const RTT_THRESHOLD_MIN: Duration = Duration::from_millis(4);
const RTT_THRESHOLD_MAX: Duration = Duration::from_millis(16);
const RTT_DIVISOR: u32 = 8;
const SAMPLES_MIN: u32 = 8;
/// Divisor of the growth of the window in Conservative Slow Start, which checks if the delay was real.
pub(super) const CONSERVATIVE_DIVISOR: usize = 4;
const CONSERVATIVE_ROUNDS: u32 = 5;

/// Phase of HyStart++, which sets the growth of the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum HystartPhase {
    /// Slow start.
    Fast,
    /// Conservative slow start: the delay grew.
    Conservative,
    /// Slow start is over.
    Over,
}

#[derive(Debug)]
pub(super) struct HyStart {
    phase: HystartPhase,
    last_round_min: Option<Duration>,
    round_min: Option<Duration>,
    samples: u32,
    /// The delay that conservative slow start began with.
    baseline: Duration,
    rounds_left: u32,
}

impl HyStart {
    pub(super) fn new() -> Self {
        Self {
            phase: HystartPhase::Fast,
            last_round_min: None,
            round_min: None,
            samples: 0,
            baseline: Duration::ZERO,
            rounds_left: 0,
        }
    }

    pub(super) fn phase(&self) -> HystartPhase {
        self.phase
    }

    /// Handles a SACK in slow start. `is_new_round`: everything that was outstanding when the round began is
    /// acknowledged.
    pub(super) fn on_acked(&mut self, rtt: Option<Duration>, is_new_round: bool) {
        if self.phase == HystartPhase::Over {
            return;
        }
        if is_new_round {
            self.begin_round();
        }
        let Some(rtt) = rtt else { return };
        let round_min = self.round_min.map_or(rtt, |min| min.min(rtt));
        self.round_min = Some(round_min);
        self.samples += 1;
        if self.samples < SAMPLES_MIN {
            return;
        }
        match self.phase {
            HystartPhase::Fast => {
                let Some(last) = self.last_round_min else { return };
                let threshold = (last / RTT_DIVISOR).clamp(RTT_THRESHOLD_MIN, RTT_THRESHOLD_MAX);
                if round_min >= last + threshold {
                    self.phase = HystartPhase::Conservative;
                    self.baseline = round_min;
                    self.rounds_left = CONSERVATIVE_ROUNDS;
                }
            }
            // The delay was a passing one.
            HystartPhase::Conservative if round_min < self.baseline => self.phase = HystartPhase::Fast,
            HystartPhase::Conservative | HystartPhase::Over => {}
        }
    }

    fn begin_round(&mut self) {
        self.last_round_min = self.round_min.take().or(self.last_round_min);
        self.samples = 0;
        if self.phase == HystartPhase::Conservative {
            self.rounds_left -= 1;
            if self.rounds_left == 0 {
                self.phase = HystartPhase::Over;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn round(hystart: &mut HyStart, rtt: Duration) -> HystartPhase {
        for sample in 0..10 {
            hystart.on_acked(Some(rtt), sample == 0);
        }
        hystart.phase()
    }

    #[test]
    fn a_steady_delay_is_no_reason_to_slow_down() {
        let mut hystart = HyStart::new();
        assert!((0..50).all(|_| round(&mut hystart, 50 * MS) == HystartPhase::Fast));
    }

    #[test]
    fn a_growing_delay_ends_slow_start_after_five_more_rounds() {
        let mut hystart = HyStart::new();
        round(&mut hystart, 50 * MS);
        assert_eq!(round(&mut hystart, 55 * MS), HystartPhase::Fast, "below an eighth");
        let phases: Vec<HystartPhase> = (0..6).map(|_| round(&mut hystart, 65 * MS)).collect();
        assert_eq!(phases[..5], [HystartPhase::Conservative; 5]);
        assert_eq!(phases[5], HystartPhase::Over);
    }

    #[test]
    fn a_passing_delay_is_forgiven() {
        let mut hystart = HyStart::new();
        round(&mut hystart, 50 * MS);
        assert_eq!(round(&mut hystart, 60 * MS), HystartPhase::Conservative);
        assert_eq!(round(&mut hystart, 50 * MS), HystartPhase::Fast);
    }
}
