//! CUBIC (RFC 9438): the window grows with the time since the last loss and not with round trips, fast away from where
//! the loss was and slowly near it.

use std::time::{Duration, Instant};

use super::window::CongestionWindow;
use super::{Acked, Controller, CwndUsage};

/// How fast the window grows, in packets a cubic second (RFC 9438 §5).
const C: f64 = 0.4;
/// What a loss leaves of the window (RFC 9438 §4.6): seven tenths.
const BETA: (usize, usize) = (7, 10);
/// The window that lost more than the one before it leaves room to others (RFC 9438 §4.7): (1 + β) / 2.
const FAST_CONVERGENCE: f64 = 0.85;
/// Additive increase that is as fast as Reno's with this β (RFC 9438 §4.3): 3 (1 − β) / (1 + β).
const ALPHA: f64 = 9.0 / 17.0;
/// The target of one round trip is at most so many windows (RFC 9438 §4.4).
const TARGET_MAX: f64 = 1.5;

/// Congestion avoidance between two losses.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    /// When it began; later by the time that the window was not used (RFC 9438 §4.2, §5.8).
    began_at: Instant,
    last_acked_at: Instant,
    /// Seconds from its beginning until the window is again what it was at the loss.
    k: f64,
    /// What Reno's window would be, in packets.
    reno: f64,
}

/// Sizes are in packets where the RFC has segments.
#[derive(Debug)]
pub(crate) struct Cubic {
    window: CongestionWindow,
    epoch: Option<Epoch>,
    /// The window at the last loss, or less by fast convergence. `None` if there was no loss.
    w_max: Option<f64>,
    /// The window at the last loss.
    cwnd_prior: f64,
    /// Growth that does not yet come to a byte.
    remainder: f64,
}

impl Cubic {
    /// `mtu`: bytes of user data and chunk headers that a packet takes (RFC 9260's PMDCS).
    pub(crate) fn new(mtu: usize) -> Self {
        Self { window: CongestionWindow::new(mtu), epoch: None, w_max: None, cwnd_prior: 0.0, remainder: 0.0 }
    }

    fn packets(&self, bytes: usize) -> f64 {
        bytes as f64 / self.window.mtu as f64
    }

    /// §4.2. Without a loss to go by, or above where it was, the curve starts flat from here (§4.8, §4.10).
    fn begin_epoch(&mut self, now: Instant) -> Epoch {
        let cwnd = self.packets(self.window.cwnd);
        let w_max = self.w_max.unwrap_or(cwnd).max(cwnd);
        self.w_max = Some(w_max);
        Epoch { began_at: now, last_acked_at: now, k: ((w_max - cwnd) / C).cbrt(), reno: cwnd }
    }

    /// §4.6, §4.7.
    fn remember_loss(&mut self) {
        let cwnd = self.packets(self.window.cwnd);
        self.cwnd_prior = cwnd;
        let is_below_last = self.w_max.is_some_and(|w_max| cwnd < w_max);
        self.w_max = Some(if is_below_last { cwnd * FAST_CONVERGENCE } else { cwnd });
        self.epoch = None;
        self.remainder = 0.0;
    }
}

impl Controller for Cubic {
    fn cwnd(&self) -> usize {
        self.window.cwnd
    }

    fn is_in_slow_start(&self) -> bool {
        self.window.cwnd < self.window.ssthresh
    }

    fn on_acked(&mut self, acked: Acked) {
        if acked.in_recovery || self.window.slow_start(&acked) {
            return;
        }
        let mut epoch = self.epoch.unwrap_or_else(|| self.begin_epoch(acked.now));
        if acked.usage != CwndUsage::Full {
            // §5.8: time in which the window was not used does not count.
            epoch.began_at += acked.now.saturating_duration_since(epoch.last_acked_at);
            epoch.last_acked_at = acked.now;
            self.epoch = Some(epoch);
            return;
        }
        epoch.last_acked_at = acked.now;
        let (cwnd, acked_packets) = (self.packets(self.window.cwnd), self.packets(acked.bytes));
        let w_max = self.w_max.unwrap_or(cwnd);
        let elapsed = acked.now.saturating_duration_since(epoch.began_at).as_secs_f64();
        let curve = |t: f64| C * (t - epoch.k).powi(3) + w_max;
        // §4.3
        let alpha = if epoch.reno < self.cwnd_prior { ALPHA } else { 1.0 };
        epoch.reno += alpha * acked_packets / cwnd;
        let growth = if curve(elapsed) < epoch.reno {
            epoch.reno - cwnd
        } else {
            // §4.4, §4.5
            let target = curve(elapsed + acked.srtt.as_secs_f64()).clamp(cwnd, TARGET_MAX * cwnd);
            (target - cwnd) / cwnd * acked_packets
        };
        self.epoch = Some(epoch);
        // No more than slow start would allow.
        self.remainder += growth.clamp(0.0, acked_packets) * self.window.mtu as f64;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to the bytes acknowledged")]
        let whole = self.remainder as usize;
        self.remainder -= whole as f64;
        self.window.cwnd += whole;
    }

    fn on_loss(&mut self) {
        self.remember_loss();
        self.window.shrink(BETA.0, BETA.1);
    }

    /// §4.8: what follows starts flat, for the path may be another one.
    fn on_timeout(&mut self) {
        self.remember_loss();
        self.window.shrink(BETA.0, BETA.1);
        self.window.collapse();
        self.w_max = None;
    }

    fn on_all_acked(&mut self) {}

    fn on_idle(&mut self, last_sent: Instant, now: Instant, rto: Duration) {
        if self.window.on_idle(last_sent, now, rto) {
            self.epoch = None;
        }
    }

    fn check_consistency(&self) {
        self.window.check_consistency();
        assert!((0.0..1.0).contains(&self.remainder));
        assert!(self.w_max.is_none_or(f64::is_finite));
        assert!(self.epoch.is_none_or(|epoch| epoch.k >= 0.0 && epoch.reno.is_finite()));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{MTU, acked};
    use super::*;
    use crate::testing::some_time;

    const MS: Duration = Duration::from_millis(1);

    /// Acknowledges a full window in each round trip. Returns the window in packets after each.
    fn rounds(cubic: &mut Cubic, now: &mut Instant, srtt: Duration, count: usize) -> Vec<usize> {
        (0..count)
            .map(|_| {
                let (window, steps) = (cubic.cwnd(), cubic.cwnd() / (2 * MTU));
                for _ in 0..steps {
                    *now += srtt / u32::try_from(steps).unwrap();
                    cubic.on_acked(Acked { now: *now, srtt, ..acked(window / steps) });
                    cubic.check_consistency();
                }
                cubic.cwnd() / MTU
            })
            .collect()
    }

    #[test]
    fn a_loss_takes_three_tenths_and_the_window_is_back_when_the_rfc_says() {
        let (mut cubic, mut now) = (Cubic::new(MTU), some_time());
        cubic.window.cwnd = 1000 * MTU;
        cubic.on_loss();
        assert_eq!(cubic.cwnd(), 700 * MTU);
        // K = cbrt(300 / 0.4) = 9.09 s, 90 round trips of 100 ms; then the curve turns up.
        cubic.window.cwnd += 1;
        let windows = rounds(&mut cubic, &mut now, 100 * MS, 180);
        assert!((690..=780).contains(&windows[5]), "{windows:?}");
        assert!((985..=1000).contains(&windows[80]), "{windows:?}");
        assert!((999..=1003).contains(&windows[100]), "{windows:?}");
        assert!((1200..=1500).contains(&windows[179]), "{windows:?}");
        assert!(windows.is_sorted());
    }

    #[test]
    fn growth_follows_time_and_not_round_trips() {
        let after = |srtt: Duration, count: usize| {
            let (mut cubic, mut now) = (Cubic::new(MTU), some_time());
            cubic.window.cwnd = 4000 * MTU;
            cubic.on_loss();
            cubic.window.cwnd += 1;
            rounds(&mut cubic, &mut now, srtt, count).pop().unwrap()
        };
        let (short, long) = (after(50 * MS, 200), after(200 * MS, 50));
        assert!(short.abs_diff(long) < short / 50, "{short} and {long} packets after ten seconds");
    }

    #[test]
    fn on_a_short_path_it_is_as_fast_as_reno() {
        let (mut cubic, mut now) = (Cubic::new(MTU), some_time());
        cubic.window.cwnd = 20 * MTU;
        cubic.on_loss();
        assert_eq!(cubic.cwnd() / MTU, 14);
        cubic.window.cwnd += 1;
        // 9/17 of a packet a round trip of 5 ms up to 20, then one.
        let windows = rounds(&mut cubic, &mut now, 5 * MS, 40);
        assert!((18..=20).contains(&windows[10]), "{windows:?}");
        assert!((38..=48).contains(&windows[39]), "{windows:?}");
    }

    #[test]
    fn a_second_loss_below_the_first_leaves_room() {
        let mut cubic = Cubic::new(MTU);
        cubic.window.cwnd = 100 * MTU;
        cubic.on_loss();
        assert_eq!(cubic.w_max, Some(100.0));
        cubic.on_loss();
        assert_eq!(cubic.w_max, Some(70.0 * FAST_CONVERGENCE));
    }

    #[test]
    fn a_window_that_is_not_used_does_not_grow_meanwhile_nor_jump_afterwards() {
        let (mut cubic, mut now) = (Cubic::new(MTU), some_time());
        cubic.window.cwnd = 100 * MTU;
        cubic.on_loss();
        cubic.window.cwnd += 1;
        rounds(&mut cubic, &mut now, 100 * MS, 10);
        let before = cubic.cwnd();
        for _ in 0..100 {
            now += 100 * MS;
            cubic.on_acked(Acked { now, srtt: 100 * MS, usage: CwndUsage::Part, ..acked(MTU) });
        }
        assert_eq!(cubic.cwnd(), before);
        let after = rounds(&mut cubic, &mut now, 100 * MS, 1);
        assert!(after[0] * MTU < before + 3 * MTU, "{after:?}");
    }

    #[test]
    fn a_time_out_starts_over_and_hostile_numbers_break_nothing() {
        let (mut cubic, mut now) = (Cubic::new(MTU), some_time());
        cubic.window.cwnd = 100 * MTU;
        cubic.on_timeout();
        assert_eq!((cubic.cwnd(), cubic.window.ssthresh), (MTU, 70 * MTU));
        for step in 0..200_u64 {
            if step % 7 == 0 {
                cubic.on_timeout();
            }
            if step % 11 == 0 {
                cubic.on_loss();
            }
            now += Duration::from_secs(step * step * 1000);
            cubic.window.cwnd = cubic.window.cwnd.max(cubic.window.ssthresh + 1);
            let bytes = usize::try_from(step << 24).unwrap();
            cubic.on_acked(Acked { now, srtt: Duration::from_secs(step), ..acked(bytes) });
            cubic.check_consistency();
        }
    }
}
