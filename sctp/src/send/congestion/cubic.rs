//! CUBIC (RFC 9438): the window grows with the time since the last loss and not with round trips, fast away from where
//! the loss was and slowly near it.

use super::window::CongestionWindow;
use super::{Acked, CwndUsage};
use crate::time::Instant;

/// Growth of the window, in packets a cubic second (RFC 9438 §5): the constant C.
const C: f64 = 0.4;
/// Multiplicative decrease factor of the window (RFC 9438 §4.6): seven tenths.
const BETA: (usize, usize) = (7, 10);
/// Factor of fast convergence (RFC 9438 §4.7): (1 + β) / 2. A flow whose window at a loss is smaller than at the loss
/// before it leaves room to others.
const FAST_CONVERGENCE: f64 = 0.85;
/// Additive increase that is as fast as Reno's with this β (RFC 9438 §4.3): 3 (1 − β) / (1 + β).
const ALPHA: f64 = 9.0 / 17.0;
/// Most windows that the target of one round trip may be (RFC 9438 §4.4).
const TARGET_MAX: f64 = 1.5;

/// Congestion avoidance between two losses.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    /// Time at which the epoch began, later by the time that the window was not used (RFC 9438 §4.2, §5.8).
    began_at: Instant,
    last_acked_at: Instant,
    /// Seconds from the beginning of the epoch until the window is again as large as at the loss.
    k: f64,
    /// Reno's window (RFC 9438 §4.3's `W_est`).
    w_est: f64,
}

/// CUBIC state of an association. Windows are in bytes where the RFC has segments, so they do not depend on the packet
/// size.
#[derive(Clone, Debug)]
pub(crate) struct Cubic {
    /// Growth of the window, in packets a cubic second.
    growth: f64,
    epoch: Option<Epoch>,
    /// The window at the last loss, or less by fast convergence. `None` if there was no loss.
    w_max: Option<f64>,
    /// The window at the last loss.
    cwnd_prior: f64,
    /// Growth that does not yet come to a byte.
    remainder: f64,
}

impl Default for Cubic {
    fn default() -> Self {
        Self::new(C)
    }
}

impl Cubic {
    /// Creates the state with another growth than RFC 9438's.
    pub(super) fn new(growth: f64) -> Self {
        Self { growth, epoch: None, w_max: None, cwnd_prior: 0.0, remainder: 0.0 }
    }

    /// Begins an epoch (§4.2). Without an earlier loss, or above the window at that loss, the curve starts flat from
    /// here (§4.8, §4.10).
    fn begin_epoch(&mut self, now: Instant, cwnd: f64, pmdcs: f64) -> Epoch {
        let w_max = self.w_max.unwrap_or(cwnd).max(cwnd);
        self.w_max = Some(w_max);
        Epoch { began_at: now, last_acked_at: now, k: ((w_max - cwnd) / (self.growth * pmdcs)).cbrt(), w_est: cwnd }
    }

    pub(super) fn on_acked(&mut self, window: &mut CongestionWindow, acked: &Acked) {
        let (cwnd, pmdcs, bytes) = (window.cwnd as f64, acked.pmdcs as f64, acked.bytes as f64);
        let mut epoch = self.epoch.unwrap_or_else(|| self.begin_epoch(acked.now, cwnd, pmdcs));
        if acked.usage != CwndUsage::CwndLimited {
            // §5.8: time in which the window was not used does not count.
            epoch.began_at += acked.now.saturating_duration_since(epoch.last_acked_at);
            epoch.last_acked_at = acked.now;
            self.epoch = Some(epoch);
            return;
        }
        epoch.last_acked_at = acked.now;
        let w_max = self.w_max.unwrap_or(cwnd);
        let elapsed = acked.now.saturating_duration_since(epoch.began_at).as_secs_f64();
        let w_cubic = |t: f64| self.growth * pmdcs * (t - epoch.k).powi(3) + w_max;
        // §4.3
        let alpha = if epoch.w_est < self.cwnd_prior { ALPHA } else { 1.0 };
        epoch.w_est += alpha * pmdcs * bytes / cwnd;
        let growth = if w_cubic(elapsed) < epoch.w_est {
            epoch.w_est - cwnd
        } else {
            // §4.4, §4.5
            let target = w_cubic(elapsed + acked.srtt.as_secs_f64()).clamp(cwnd, TARGET_MAX * cwnd);
            (target - cwnd) / cwnd * bytes
        };
        self.epoch = Some(epoch);
        // No more than slow start would allow.
        self.remainder += growth.clamp(0.0, bytes);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to the bytes acknowledged")]
        let whole = self.remainder as usize;
        self.remainder -= whole as f64;
        window.cwnd += whole;
    }

    /// Reduces the window after a loss (§4.6, §4.7).
    pub(super) fn on_loss(&mut self, window: &mut CongestionWindow, pmdcs: usize) {
        let cwnd = window.cwnd as f64;
        self.cwnd_prior = cwnd;
        let is_below_last = self.w_max.is_some_and(|w_max| cwnd < w_max);
        self.w_max = Some(if is_below_last { cwnd * FAST_CONVERGENCE } else { cwnd });
        self.epoch = None;
        self.remainder = 0.0;
        window.shrink(BETA.0, BETA.1, pmdcs);
    }

    /// Reduces the window to a share of it, in percent, so that other flows find room without a loss. The curve starts
    /// flat from there, and Reno's window grows by a packet a round trip, for small flows as for large ones.
    pub(super) fn make_room(&mut self, window: &mut CongestionWindow, percent: usize, pmdcs: usize) {
        window.shrink(percent, 100, pmdcs);
        self.w_max = None;
        self.cwnd_prior = 0.0;
        self.epoch = None;
        self.remainder = 0.0;
    }

    /// Forgets the earlier loss after a time-out, because the path may be another one: the curve starts flat (§4.8).
    pub(super) fn on_timeout(&mut self) {
        self.w_max = None;
    }

    /// Ends the epoch after an idle time (§5.8): time without data does not count, and the window is smaller than
    /// before it.
    pub(super) fn on_idle(&mut self) {
        self.epoch = None;
    }

    pub(super) fn check_consistency(&self) {
        assert!((0.0..1.0).contains(&self.remainder));
        assert!(self.w_max.is_none_or(f64::is_finite));
        assert!(self.epoch.is_none_or(|epoch| epoch.k >= 0.0 && epoch.w_est.is_finite()));
    }
}

#[cfg(test)]
mod tests {

    use super::super::loss_based::{CongestionAvoidance, LossBased};
    use super::super::testing::{MTU, acked, after_loss, loss_based};
    use super::*;
    use crate::config::CongestionControl;
    use crate::testing::some_time;
    use crate::time::Duration;

    const MS: Duration = Duration::from_millis(1);

    /// Returns CUBIC in congestion avoidance after a loss at `packets`.
    fn avoiding(packets: usize) -> LossBased {
        let mut cubic = after_loss(CongestionControl::Cubic, packets * MTU);
        cubic.window.cwnd += 1;
        cubic
    }

    fn w_max(cubic: &LossBased) -> f64 {
        let CongestionAvoidance::Cubic(cubic) = &cubic.avoidance else { panic!("another algorithm") };
        cubic.w_max.unwrap() / MTU as f64
    }

    /// Acknowledges a full window in each round trip. Returns the window in packets after each.
    fn rounds(cubic: &mut LossBased, now: &mut Instant, srtt: Duration, count: usize) -> Vec<usize> {
        (0..count)
            .map(|_| {
                let (window, steps) = (cubic.cwnd(), cubic.cwnd() / (2 * MTU));
                for _ in 0..steps {
                    *now += srtt / u32::try_from(steps).unwrap();
                    cubic.on_acked(&Acked { now: *now, srtt, ..acked(window / steps) });
                    cubic.check_consistency(MTU);
                }
                cubic.cwnd() / MTU
            })
            .collect()
    }

    #[test]
    fn a_loss_takes_three_tenths_and_the_window_is_back_when_the_rfc_says() {
        let (mut cubic, mut now) = (avoiding(1000), some_time());
        assert_eq!(cubic.cwnd(), 700 * MTU + 1);
        // K = cbrt(300 / 0.4) = 9.09 s, 90 round trips of 100 ms; then the curve turns up.
        let windows = rounds(&mut cubic, &mut now, 100 * MS, 180);
        assert!((690..=780).contains(&windows[5]), "{windows:?}");
        assert!((985..=1000).contains(&windows[80]), "{windows:?}");
        assert!((999..=1003).contains(&windows[100]), "{windows:?}");
        assert!((1200..=1500).contains(&windows[179]), "{windows:?}");
        assert!(windows.is_sorted());
    }

    /// RFC 9438 §4.2, §4.4: after each round trip the window is `W_cubic` of that time, in the concave region and in
    /// the convex.
    #[test]
    fn the_window_after_each_round_trip_is_what_the_formula_says() {
        for (packets, srtt) in [(1000_u32, 100 * MS), (400, 50 * MS), (5000, 200 * MS)] {
            let (mut cubic, mut now) = (avoiding(packets as usize), some_time());
            let w_max = f64::from(packets);
            let k = (0.3 * w_max / 0.4).cbrt();
            for (round, window) in rounds(&mut cubic, &mut now, srtt, 150).into_iter().enumerate() {
                let elapsed = srtt.as_secs_f64() * (round + 1) as f64;
                let expected = 0.4 * (elapsed - k).powi(3) + w_max;
                let error = (window as f64 - expected).abs();
                // The first acknowledgement starts the clock, and growth lags behind its target by a part of a round
                // trip.
                assert!(
                    error <= 0.01 * expected + 2.0,
                    "{window} packets after {elapsed} s; the formula has {expected}"
                );
            }
        }
    }

    /// Acknowledges at a time after the beginning of the epoch. Returns the growth of the window in bytes.
    fn growth(cubic: &mut LossBased, now: Instant, bytes: usize) -> usize {
        let before = cubic.cwnd();
        cubic.on_acked(&Acked { now, srtt: 100 * MS, ..acked(bytes) });
        cubic.check_consistency(MTU);
        cubic.cwnd() - before
    }

    /// RFC 9438 §4.4, §4.5: each acknowledgement adds its share of what is missing of `W_cubic(t + RTT)`.
    #[test]
    fn each_acknowledgement_adds_its_share_of_the_target() {
        let start = some_time();
        for milliseconds in [1000, 2000, 5000, 9000, 10_000, 12_000] {
            for share in [1, 2, 700] {
                let mut cubic = avoiding(1000);
                assert_eq!(growth(&mut cubic, start, 0), 0);
                let (cwnd, t) = (700.0, f64::from(milliseconds) / 1000.0 + 0.1);
                let target = 1000.0 + 0.4 * (t - (300.0_f64 / 0.4).cbrt()).powi(3);
                let expected = (target - cwnd) * MTU as f64 / f64::from(share);
                let bytes = cubic.cwnd() / share as usize;
                let grown = growth(&mut cubic, start + MS * milliseconds as u32, bytes) as f64;
                assert!((grown - expected).abs() < 4.0, "{grown} bytes after {t} s instead of {expected}");
            }
        }
    }

    /// RFC 9438 §4.4: the target of a round trip is at most one and a half windows.
    #[test]
    fn a_round_trip_adds_half_a_window_at_most() {
        let (mut cubic, start) = (avoiding(1000), some_time());
        growth(&mut cubic, start, 0);
        assert_eq!(growth(&mut cubic, start + 60_000 * MS, 100 * MTU), 50 * MTU);
    }

    /// RFC 9438 §4.3: `W_est` grows by 9/17 of a packet a window up to where the loss was, then by a packet.
    #[test]
    fn where_reno_is_faster_the_window_is_its_estimate() {
        let (mut cubic, start) = (avoiding(20), some_time());
        for window in 1..=20 {
            let before = cubic.cwnd();
            let grown = growth(&mut cubic, start, before);
            // 14 packets and 12 times 9/17 are more than 20.
            let expected = if window <= 12 { MTU * 9 / 17 } else { MTU };
            assert!(grown.abs_diff(expected) <= 2, "window {window}: {grown} bytes instead of {expected}");
        }
        // In small steps it is as much.
        let mut cubic = avoiding(20);
        let bytes = cubic.cwnd() / 168;
        let grown: usize = (0..168).map(|_| growth(&mut cubic, start, bytes)).sum();
        assert!(grown.abs_diff(MTU * 9 / 17) < 20, "{grown}");
    }

    #[test]
    fn at_the_least_window_reno_grows_by_a_packet_at_once() {
        let mut controller = after_loss(CongestionControl::Cubic, 4 * MTU);
        let CongestionAvoidance::Cubic(cubic) = &mut controller.avoidance else { panic!("another algorithm") };
        cubic.on_acked(&mut controller.window, &acked(4 * MTU));
        assert_eq!(controller.cwnd(), 5 * MTU, "the loss was at this window");
    }

    /// RFC 9438 §5.8.
    #[test]
    fn the_curve_stands_still_while_the_window_is_not_used() {
        let start = some_time();
        let mut cubic = avoiding(1000);
        growth(&mut cubic, start, 0);
        let without = growth(&mut cubic, start + 2000 * MS, MTU);
        let mut cubic = avoiding(1000);
        growth(&mut cubic, start, 0);
        growth(&mut cubic, start + 1000 * MS, 0);
        for at in [3000, 4500] {
            let (now, usage) = (start + at * MS, CwndUsage::PacingLimited);
            cubic.on_acked(&Acked { now, usage, ..acked(MTU) });
        }
        assert_eq!(growth(&mut cubic, start + 5500 * MS, MTU), without, "one second before and one behind");
    }

    /// RFC 9438 §4.8, §4.10: without a loss to go by, or above it, the plateau is here.
    #[test]
    fn the_curve_starts_flat_after_a_time_out_and_above_the_last_loss() {
        let start = some_time();
        for is_time_out in [true, false] {
            let mut cubic = avoiding(100);
            if is_time_out {
                cubic.on_timeout(MTU);
            }
            cubic.window.cwnd = 1000 * MTU;
            cubic.window.ssthresh = 100 * MTU;
            growth(&mut cubic, start, 0);
            assert!((w_max(&cubic) - 1000.0).abs() < 1e-9);
            let grown = growth(&mut cubic, start + 4900 * MS, 1000 * MTU);
            assert!(grown.abs_diff(50 * MTU) <= 2, "0.4 · 5³ packets, not {grown} bytes");
        }
    }

    #[test]
    fn growth_follows_time_and_not_round_trips() {
        let after = |srtt: Duration, count: usize| {
            let (mut cubic, mut now) = (avoiding(4000), some_time());
            rounds(&mut cubic, &mut now, srtt, count).pop().unwrap()
        };
        let (short, long) = (after(50 * MS, 200), after(200 * MS, 50));
        assert!(short.abs_diff(long) < short / 50, "{short} and {long} packets after ten seconds");
    }

    #[test]
    fn on_a_short_path_it_is_as_fast_as_reno() {
        let (mut cubic, mut now) = (avoiding(20), some_time());
        assert_eq!(cubic.cwnd() / MTU, 14);
        // 9/17 of a packet a round trip of 5 ms up to 20, then one.
        let windows = rounds(&mut cubic, &mut now, 5 * MS, 40);
        assert!((18..=20).contains(&windows[10]), "{windows:?}");
        assert!((38..=48).contains(&windows[39]), "{windows:?}");
    }

    #[test]
    fn a_second_loss_below_the_first_leaves_room() {
        let mut cubic = after_loss(CongestionControl::Cubic, 100 * MTU);
        assert!((w_max(&cubic) - 100.0).abs() < 1e-9);
        cubic.on_loss(MTU);
        assert!((w_max(&cubic) - 70.0 * FAST_CONVERGENCE).abs() < 1e-9);
        // At the same window, or a larger one, there is as much room as before.
        for packets in [100, 120] {
            let mut cubic = after_loss(CongestionControl::Cubic, 100 * MTU);
            cubic.window.cwnd = packets * MTU;
            cubic.on_loss(MTU);
            assert!((w_max(&cubic) - packets as f64).abs() < 1e-9);
        }
    }

    #[test]
    fn a_window_that_is_not_used_does_not_grow_meanwhile_nor_jump_afterwards() {
        let (mut cubic, mut now) = (avoiding(100), some_time());
        rounds(&mut cubic, &mut now, 100 * MS, 10);
        let before = cubic.cwnd();
        for _ in 0..100 {
            now += 100 * MS;
            let usage = CwndUsage::ApplicationLimited;
            cubic.on_acked(&Acked { now, srtt: 100 * MS, usage, ..acked(MTU) });
        }
        assert_eq!(cubic.cwnd(), before);
        let after = rounds(&mut cubic, &mut now, 100 * MS, 1);
        assert!(after[0] * MTU < before + 3 * MTU, "{after:?}");
    }

    #[test]
    fn a_time_out_starts_over_and_hostile_numbers_break_nothing() {
        let (mut cubic, mut now) = (loss_based(CongestionControl::Cubic), some_time());
        cubic.window.cwnd = 100 * MTU;
        cubic.on_timeout(MTU);
        assert_eq!((cubic.cwnd(), cubic.window.ssthresh), (MTU, 70 * MTU));
        for step in 0..200_u64 {
            if step % 7 == 0 {
                cubic.on_timeout(MTU);
            }
            if step % 11 == 0 {
                cubic.on_loss(MTU);
            }
            now += Duration::from_secs(step * step * 1000);
            cubic.window.cwnd = cubic.window.cwnd.max(cubic.window.ssthresh + 1);
            let bytes = usize::try_from(step << 24).unwrap();
            cubic.on_acked(&Acked { now, srtt: Duration::from_secs(step), ..acked(bytes) });
            cubic.check_consistency(MTU);
        }
    }
}
