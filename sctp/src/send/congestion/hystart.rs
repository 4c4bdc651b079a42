//! Leaving slow start before the queue overflows: HyStart++ (RFC 9406).
//!
//! Slow start doubles the window each round trip, so without a hint it overshoots by up to a whole window and loses
//! half of it. A round-trip time that grows from one round to the next says that a queue is building.
//!
//! The RFC compares the least sample of a whole round. The first samples of a round are of packets that were sent
//! before the queue was there, so that the least one grows a round late, and the window has doubled once more. Here
//! each eighth of a round is compared by itself too. A burst of delay that is shorter changes nothing.

use crate::time::{Duration, Instant};

/// RFC 9406 §4.3.
const RTT_THRESHOLD_MIN: Micros = 4_000;
const RTT_THRESHOLD_MAX: Micros = 16_000;
const RTT_DIVISOR: u32 = 8;
const SAMPLES_MIN: u32 = 8;
/// Divisor of the growth of the window in Conservative Slow Start, which checks if the delay was real.
pub(super) const CONSERVATIVE_DIVISOR: usize = 4;
const CONSERVATIVE_ROUNDS: u32 = 5;
/// Parts of a round, each of which is compared with the round before.
const PARTS: u32 = 8;
/// Shortest part. In a shorter one the pacer's own bursts, and the delay of acknowledgements, look like a queue.
const PART_MIN_MICROS: u32 = 5_000;

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

/// A delay in microseconds: an association keeps several, and most of them for good.
type Micros = u32;

/// Part of a round.
#[derive(Clone, Debug, Default)]
struct RoundPart {
    began_at: Option<Instant>,
    least: Option<Micros>,
    samples: u32,
}

impl RoundPart {
    /// Adds a sample. Returns the least of the part if it is over: it has eight samples and lasted for `time`.
    fn on_sample(&mut self, now: Instant, rtt: Micros, time: Micros) -> Option<Micros> {
        let began_at = *self.began_at.get_or_insert(now);
        let least = self.least.map_or(rtt, |least| least.min(rtt));
        (self.least, self.samples) = (Some(least), self.samples + 1);
        let is_over = self.samples >= SAMPLES_MIN && micros(now.saturating_duration_since(began_at)) >= time;
        is_over.then(|| {
            *self = Self { began_at: Some(now), ..Self::default() };
            least
        })
    }
}

fn micros(time: Duration) -> Micros {
    Micros::try_from(time.as_micros()).unwrap_or(Micros::MAX)
}

#[derive(Clone, Debug)]
pub(super) struct HyStart {
    phase: HystartPhase,
    last_round_min: Option<Micros>,
    round_min: Option<Micros>,
    samples: u32,
    part: RoundPart,
    /// The delay that conservative slow start began with.
    baseline: Micros,
    rounds_left: u32,
}

impl HyStart {
    pub(super) fn new() -> Self {
        Self {
            phase: HystartPhase::Fast,
            last_round_min: None,
            round_min: None,
            samples: 0,
            part: RoundPart::default(),
            baseline: 0,
            rounds_left: 0,
        }
    }

    pub(super) fn phase(&self) -> HystartPhase {
        self.phase
    }

    /// Handles a SACK in slow start. `is_new_round`: everything that was outstanding when the round began is
    /// acknowledged.
    pub(super) fn on_acked(&mut self, now: Instant, rtt: Option<Duration>, is_new_round: bool) {
        if self.phase == HystartPhase::Over {
            return;
        }
        if is_new_round {
            self.begin_round();
        }
        let Some(rtt) = rtt.map(micros) else { return };
        let round_min = self.round_min.map_or(rtt, |min| min.min(rtt));
        self.round_min = Some(round_min);
        self.samples += 1;
        let part_time = self.last_round_min.unwrap_or_default() / PARTS;
        let part_min = self.part.on_sample(now, rtt, part_time).filter(|_| part_time >= PART_MIN_MICROS);
        if self.samples < SAMPLES_MIN {
            return;
        }
        match self.phase {
            HystartPhase::Fast => {
                let Some(last) = self.last_round_min else { return };
                let threshold = (last / RTT_DIVISOR).clamp(RTT_THRESHOLD_MIN, RTT_THRESHOLD_MAX);
                // Pacing at twice the window alone makes a queue within a round, before the pipe is full.
                let part_min = part_min.filter(|min| *min >= last.saturating_add((2 * threshold).max(last / 4)));
                let least = part_min.unwrap_or(round_min);
                if least >= last.saturating_add(threshold) {
                    self.phase = HystartPhase::Conservative;
                    (self.baseline, self.round_min) = (least, Some(least));
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
        self.part = RoundPart::default();
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
    use crate::testing::some_time;

    const MS: Duration = Duration::from_millis(1);

    fn round(hystart: &mut HyStart, rtt: Duration) -> HystartPhase {
        for sample in 0..10 {
            hystart.on_acked(some_time(), Some(rtt), sample == 0);
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

    /// Returns the phase after a round of 50 ms and one with these samples.
    fn after_samples(samples: &[u64]) -> HystartPhase {
        let mut hystart = HyStart::new();
        round(&mut hystart, 50 * MS);
        for (number, rtt) in samples.iter().enumerate() {
            hystart.on_acked(some_time(), Some(Duration::from_millis(*rtt)), number == 0);
        }
        hystart.phase()
    }

    /// RFC 9406 §4.2: currentRoundMinRTT is the least of the round, and eight samples are needed.
    #[test]
    fn the_least_delay_of_a_round_counts_wherever_it_is_in_the_round() {
        assert_eq!(after_samples(&[90; 8]), HystartPhase::Conservative);
        assert_eq!(after_samples(&[90; 7]), HystartPhase::Fast, "N_RTT_SAMPLE is eight");
        for at in 0..8 {
            let mut samples = [90; 8];
            samples[at] = 51;
            assert_eq!(after_samples(&samples), HystartPhase::Fast, "sample {at}");
        }
    }

    /// RFC 9406 §4.2: an eighth of the round before, but 4 ms at least and 16 ms at most.
    #[test]
    fn the_threshold_is_an_eighth_of_the_delay_within_bounds() {
        for (before, threshold) in [(8, 4), (32, 4), (80, 10), (128, 16), (400, 16)] {
            for (growth, phase) in [(threshold - 1, HystartPhase::Fast), (threshold, HystartPhase::Conservative)] {
                let mut hystart = HyStart::new();
                round(&mut hystart, before * MS);
                assert_eq!(round(&mut hystart, (before + growth) * MS), phase, "{before} ms and {growth} ms more");
            }
        }
    }

    #[test]
    fn a_round_without_samples_leaves_the_delay_of_the_round_before_to_compare_with() {
        let mut hystart = HyStart::new();
        round(&mut hystart, 50 * MS);
        hystart.on_acked(some_time(), None, true);
        assert_eq!(round(&mut hystart, 65 * MS), HystartPhase::Conservative);
    }

    /// RFC 9406 §4.2: only a delay below the baseline is a sign that the growth was a passing one.
    #[test]
    fn the_delay_that_began_conservative_slow_start_does_not_end_it() {
        let mut hystart = HyStart::new();
        round(&mut hystart, 50 * MS);
        round(&mut hystart, 60 * MS);
        assert_eq!(round(&mut hystart, 60 * MS), HystartPhase::Conservative);
        assert_eq!(round(&mut hystart, 59 * MS), HystartPhase::Fast);
        // The next growth is measured from the last round, and gets five rounds of its own.
        let phases: Vec<HystartPhase> = (0..6).map(|_| round(&mut hystart, 70 * MS)).collect();
        assert_eq!(phases[4..], [HystartPhase::Conservative, HystartPhase::Over]);
    }

    #[test]
    fn a_passing_delay_is_forgiven() {
        let mut hystart = HyStart::new();
        round(&mut hystart, 50 * MS);
        assert_eq!(round(&mut hystart, 60 * MS), HystartPhase::Conservative);
        assert_eq!(round(&mut hystart, 50 * MS), HystartPhase::Fast);
    }

    /// Returns the phase after a round of 80 ms, and one of a hundred samples over 80 ms whose delay is that of `rtt`.
    fn after_round(rtt: impl Fn(u64) -> u64) -> HystartPhase {
        let (mut hystart, start) = (HyStart::new(), some_time());
        round(&mut hystart, 80 * MS);
        for sample in 0..100 {
            let now = start + Duration::from_micros(sample * 800);
            hystart.on_acked(now, Some(Duration::from_millis(rtt(sample))), sample == 0);
        }
        hystart.phase()
    }

    #[test]
    fn a_queue_that_begins_within_a_round_is_seen_in_it_and_a_short_burst_of_delay_is_none() {
        // The queue grows by a millisecond with every second sample.
        assert_eq!(after_round(|sample| 80 + sample / 2), HystartPhase::Conservative);
        assert_eq!(after_round(|sample| if (40..52).contains(&sample) { 120 } else { 80 }), HystartPhase::Fast);
        assert_eq!(after_round(|sample| if sample == 60 { 89 } else { 80 + sample / 10 }), HystartPhase::Fast, "9 ms");
    }

    #[test]
    fn the_delay_of_the_part_that_ended_slow_start_is_the_baseline() {
        let (mut hystart, start) = (HyStart::new(), some_time());
        round(&mut hystart, 80 * MS);
        for sample in 0..40_u32 {
            hystart.on_acked(start + sample * MS, Some(if sample < 20 { 80 * MS } else { 100 * MS }), sample == 0);
        }
        assert_eq!(hystart.phase(), HystartPhase::Conservative, "the first half of the round has no part in it");
        hystart.on_acked(start + 41 * MS, Some(100 * MS), false);
        assert_eq!(hystart.phase(), HystartPhase::Conservative);
        hystart.on_acked(start + 42 * MS, Some(99 * MS), false);
        assert_eq!(hystart.phase(), HystartPhase::Fast);
    }
}
