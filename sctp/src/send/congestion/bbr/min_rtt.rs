//! The round-trip time of the path without queues: the least of ten seconds, looked for anew every five.

use crate::time::{Duration, Instant};

/// Time for which the least round-trip time counts.
const FILTER_LEN: Duration = Duration::from_secs(10);

/// Time after which the flow makes room for a fresh sample if none came by itself.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// A sample that is longer than the least by this share at most refreshes it: the queue was empty, and nothing is
/// gained by a probe.
const TOLERANCE_DIVISOR: u32 = 32;

/// The least sample of a time, and when it was last seen.
#[derive(Clone, Copy, Debug)]
struct LeastRtt {
    rtt: Duration,
    seen_at: Instant,
}

#[derive(Debug, Default)]
pub(super) struct MinRtt {
    /// Over ten seconds.
    long: Option<LeastRtt>,
    /// Over five seconds.
    short: Option<LeastRtt>,
    is_probe_due: bool,
}

impl MinRtt {
    pub(super) fn get(&self) -> Option<Duration> {
        self.long.map(|least| least.rtt)
    }

    /// Returns true if no sample came near the least one for five seconds.
    pub(super) fn is_probe_due(&self) -> bool {
        self.is_probe_due
    }

    pub(super) fn on_sample(&mut self, now: Instant, rtt: Option<Duration>) {
        self.is_probe_due = self.short.is_some_and(|short| now > short.seen_at + PROBE_INTERVAL);
        if let Some(rtt) = rtt {
            let sample = LeastRtt { rtt, seen_at: now };
            match &mut self.short {
                Some(short) if !self.is_probe_due && rtt >= short.rtt => {
                    if rtt <= short.rtt + short.rtt / TOLERANCE_DIVISOR {
                        short.seen_at = now;
                    }
                }
                short => *short = Some(sample),
            }
        }
        let Some(short) = self.short else { return };
        let is_stale = |long: LeastRtt| short.rtt <= long.rtt || now > long.seen_at + FILTER_LEN;
        if self.long.is_none_or(is_stale) {
            self.long = Some(short);
        }
    }

    /// Handles the end of a probe: the next one is due in five seconds.
    pub(super) fn on_probed(&mut self, now: Instant) {
        if let Some(short) = &mut self.short {
            short.seen_at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::some_time;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_least_of_ten_seconds_counts() {
        let (mut min_rtt, start) = (MinRtt::default(), some_time());
        assert_eq!(min_rtt.get(), None);
        min_rtt.on_sample(start, Some(50 * MS));
        min_rtt.on_sample(start + MS, Some(40 * MS));
        min_rtt.on_sample(start + 2 * MS, Some(60 * MS));
        assert_eq!(min_rtt.get(), Some(40 * MS));
        for second in 1..=10 {
            min_rtt.on_sample(start + second * 1000 * MS, Some(80 * MS));
            assert_eq!(min_rtt.get(), Some(40 * MS), "after {second} s");
        }
        min_rtt.on_sample(start + 10_002 * MS, Some(80 * MS));
        assert_eq!(min_rtt.get(), Some(80 * MS), "the path has become longer");
    }

    #[test]
    fn a_probe_is_due_after_five_seconds_in_which_no_sample_came_near_the_least() {
        let (mut min_rtt, start) = (MinRtt::default(), some_time());
        min_rtt.on_sample(start, Some(64 * MS));
        for (milliseconds, rtt, is_due) in
            [(4000, 66 * MS, false), (8999, 67 * MS, false), (9001, 67 * MS, true), (9002, 68 * MS, false)]
        {
            min_rtt.on_sample(start + milliseconds * MS, Some(rtt));
            assert_eq!(min_rtt.is_probe_due(), is_due, "after {milliseconds} ms");
        }
        assert_eq!(min_rtt.get(), Some(64 * MS));
    }
}
