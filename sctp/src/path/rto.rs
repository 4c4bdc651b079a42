//! Round-trip time and retransmission time-out (RFC 9260 §6.3.1, RFC 6298).

use crate::config::AssociationConfig;
use crate::time::Duration;

/// Least share of the variance in the time-out. RFC 9260 §6.3.1 has the granularity of the clock here; but a path whose
/// RTT is steady, however long, would then have a time-out just above it, and the 200 ms for which a peer may delay a
/// SACK would fire it.
const VARIANCE_MIN: Duration = Duration::from_millis(200);

/// The estimator and the time-out that it yields.
#[derive(Debug)]
pub(crate) struct Rto {
    srtt: Option<Duration>,
    rttvar: Duration,
    /// Time after which the latest retransmission seemed to be answered, if that was much sooner than the smoothed
    /// round-trip time and no sample has come since.
    ambiguous: Option<Duration>,
    /// Smallest sample so far, for RACK's reordering window.
    rtt_min: Option<Duration>,
    current: Duration,
    initial: Duration,
    min: Duration,
    max: Duration,
}

impl Rto {
    pub(crate) fn new(config: &AssociationConfig) -> Self {
        Self {
            srtt: None,
            rttvar: Duration::ZERO,
            ambiguous: None,
            rtt_min: None,
            current: config.rto_initial,
            initial: config.rto_initial,
            min: config.rto_min,
            max: config.rto_max,
        }
    }

    /// Returns the RTO to arm a timer with.
    pub(crate) fn current(&self) -> Duration {
        self.current
    }

    pub(crate) fn srtt(&self) -> Option<Duration> {
        self.srtt
    }

    /// Returns the mean difference of samples from the smoothed round-trip time.
    pub(crate) fn rttvar(&self) -> Duration {
        self.rttvar
    }

    /// Returns the round-trip time to spread packets over: the smoothed one, unless it is out of date. After an outage
    /// samples of many seconds may have come in, and then nothing but retransmissions, which give none (Karn). Packets
    /// that are spread over such a time bring no newer samples either.
    pub(crate) fn pacing_rtt(&self) -> Option<Duration> {
        self.ambiguous.or(self.srtt)
    }

    pub(crate) fn rtt_min(&self) -> Option<Duration> {
        self.rtt_min
    }

    /// Adds a sample. The caller applies Karn's rule: the sample belongs to a single transmission.
    pub(crate) fn on_sample(&mut self, rtt: Duration) {
        self.rtt_min = Some(self.rtt_min.map_or(rtt, |min| min.min(rtt)));
        self.ambiguous = None;
        let srtt = match self.srtt {
            // C2: the first measurement.
            None => {
                self.rttvar = rtt / 2;
                rtt
            }
            // C3: RTO.Alpha = 1/8, RTO.Beta = 1/4.
            Some(srtt) => {
                self.rttvar = self.rttvar * 3 / 4 + srtt.abs_diff(rtt) / 4;
                srtt * 7 / 8 + rtt / 8
            }
        };
        self.srtt = Some(srtt);
        self.on_progress();
    }

    /// Notes that a retransmission seems to be answered, after this time. It may have been the original, so the
    /// estimate stays as it is. A time far below it shows that the estimate is out of date.
    pub(crate) fn on_ambiguous_sample(&mut self, rtt: Duration) {
        if self.srtt.is_some_and(|srtt| rtt < srtt / 2) {
            self.ambiguous = Some(rtt);
        }
    }

    /// Doubles the RTO after a timer expired (E2).
    pub(crate) fn back_off(&mut self) {
        self.current = self.next_back_off(self.current);
    }

    /// Returns twice the wait, limited to RTO.Max.
    pub(crate) fn next_back_off(&self, wait: Duration) -> Duration {
        (wait * 2).min(self.max)
    }

    /// Ends the back-off, because the peer has answered the latest packet. The time-out returns to the estimate (RFC
    /// 9260 §6.3.2 R3 and its note), or to its initial value if nothing could be measured.
    pub(crate) fn on_progress(&mut self) {
        self.current = self.without_back_off();
    }

    /// Returns the time-out that the estimate yields, however often a timer has expired since.
    pub(crate) fn without_back_off(&self) -> Duration {
        match self.srtt {
            Some(srtt) => (srtt + (4 * self.rttvar).max(VARIANCE_MIN)).clamp(self.min, self.max),
            None => self.initial,
        }
    }

    pub(crate) fn check_consistency(&self) {
        assert!(self.current <= self.max, "RTO {:?} above its maximum", self.current);
        assert!(self.current >= self.min, "RTO {:?} below its minimum", self.current);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_steady_path_settles_on_the_minimum() {
        let mut rto = Rto::new(&AssociationConfig::default());
        assert_eq!(rto.current(), Duration::from_secs(1));
        rto.on_sample(100 * MS);
        assert_eq!(rto.srtt(), Some(100 * MS));
        assert_eq!(rto.current(), 400 * MS, "100 + 4 × 50 ms is below the minimum");
        for _ in 0..50 {
            rto.on_sample(100 * MS);
        }
        assert_eq!(rto.current(), 400 * MS);
    }

    #[test]
    fn back_off_doubles_up_to_the_maximum_and_ends_with_progress() {
        let mut rto = Rto::new(&AssociationConfig::default());
        rto.on_sample(1000 * MS);
        let estimate = rto.current();
        assert_eq!(estimate, 3000 * MS);
        rto.back_off();
        assert_eq!(rto.current(), 6000 * MS);
        rto.back_off();
        rto.back_off();
        assert_eq!(rto.current(), Duration::from_secs(10));
        rto.on_progress();
        assert_eq!(rto.current(), estimate);
    }

    #[test]
    fn progress_before_any_sample_goes_back_to_the_initial_value() {
        let mut rto = Rto::new(&AssociationConfig::default());
        rto.back_off();
        rto.back_off();
        rto.on_progress();
        assert_eq!(rto.current(), AssociationConfig::default().rto_initial);
    }

    #[test]
    fn a_retransmission_answered_far_sooner_than_the_estimate_sets_the_pace_until_the_next_sample() {
        let mut rto = Rto::new(&AssociationConfig::default());
        rto.on_ambiguous_sample(MS);
        assert_eq!(rto.pacing_rtt(), None, "there is no estimate that could be out of date");
        rto.on_sample(1000 * MS);
        let estimate = (rto.srtt(), rto.current());
        for (ambiguous, expected) in [(500, 1000), (499, 499), (80, 80)] {
            rto.on_ambiguous_sample(ambiguous * MS);
            assert_eq!(rto.pacing_rtt(), Some(expected * MS));
            assert_eq!((rto.srtt(), rto.current()), estimate, "Karn's rule");
        }
        rto.on_sample(1000 * MS);
        assert_eq!(rto.pacing_rtt(), Some(1000 * MS));
    }

    #[test]
    fn variance_widens_the_time_out() {
        let mut rto = Rto::new(&AssociationConfig::default());
        for i in 0..100 {
            rto.on_sample((200 + (i % 2) * 300) * MS);
        }
        assert!(rto.current() > 700 * MS, "{:?}", rto.current());
    }
}
