//! Congestion control by losses: slow start and congestion avoidance (RFC 9260 §7.2).

use super::Acked;
use super::cubic::Cubic;
use super::new_reno::NewReno;
use super::window::CongestionWindow;
use crate::send::pacer::PacingRate;
use crate::stats::{CongestionState, CongestionStats};
use crate::time::{Duration, Instant};

/// Congestion control by losses: cwnd grows until something is lost. It keeps no packet size: each event brings that of
/// the path.
#[derive(Clone, Debug)]
pub(in crate::send) struct LossBased {
    pub(super) window: CongestionWindow,
    pub(super) avoidance: CongestionAvoidance,
}

/// Growth and reduction of cwnd outside of slow start.
#[derive(Clone, Debug)]
pub(super) enum CongestionAvoidance {
    Cubic(Cubic),
    NewReno(NewReno),
}

impl LossBased {
    /// Creates a controller for a path of which nothing is known.
    pub(super) fn new(avoidance: CongestionAvoidance, pmdcs: usize) -> Self {
        Self { window: CongestionWindow::new(pmdcs), avoidance }
    }

    /// Creates a controller of the same kind for another path, of which nothing is known.
    pub(super) fn for_new_path(&self, pmdcs: usize) -> Self {
        let avoidance = match self.avoidance {
            CongestionAvoidance::Cubic(_) => CongestionAvoidance::Cubic(Cubic::default()),
            CongestionAvoidance::NewReno(_) => CongestionAvoidance::NewReno(NewReno::default()),
        };
        Self::new(avoidance, pmdcs)
    }

    /// Returns the number of bytes that may be in flight.
    pub(super) fn cwnd(&self) -> usize {
        self.window.cwnd
    }

    pub(super) fn is_in_slow_start(&self) -> bool {
        self.window.is_in_slow_start()
    }

    /// Returns the rate at which packets leave. `None` if they are not spread.
    pub(super) fn pacing_rate(&self, srtt: Option<Duration>) -> Option<PacingRate> {
        PacingRate::of_window(self.window.cwnd, srtt?, self.window.is_doubling())
    }

    /// Returns the state of the window.
    pub(super) fn stats(&self, srtt: Option<Duration>) -> CongestionStats {
        let state = match self.window.is_in_slow_start() {
            true => CongestionState::SlowStart,
            false => CongestionState::CongestionAvoidance,
        };
        CongestionStats {
            state,
            bandwidth: None,
            min_rtt: None,
            pacing_rate: self.pacing_rate(srtt).and_then(|rate| rate.bytes_per_second()),
            ssthresh: Some(self.window.ssthresh).filter(|ssthresh| *ssthresh < usize::MAX),
        }
    }

    /// Notes how much was in flight before a SACK (RFC 7661).
    pub(super) fn validate(&mut self, now: Instant, flight_size: usize, pmdcs: usize) {
        if self.window.validate(now, flight_size, pmdcs) {
            self.on_reduced_unused();
        }
    }

    /// Begins CUBIC's curve anew after time in which the window was not used.
    fn on_reduced_unused(&mut self) {
        if let CongestionAvoidance::Cubic(cubic) = &mut self.avoidance {
            cubic.on_idle();
        }
        self.report("slow start");
    }

    /// Handles the acknowledgement of new data.
    pub(super) fn on_acked(&mut self, acked: &Acked) {
        if acked.in_recovery {
            return;
        }
        if self.window.is_in_slow_start() {
            self.window.slow_start(acked);
            if !self.window.is_in_slow_start() {
                self.report("congestion avoidance");
            }
            return;
        }
        match &mut self.avoidance {
            CongestionAvoidance::Cubic(cubic) => cubic.on_acked(&mut self.window, acked),
            CongestionAvoidance::NewReno(reno) => reno.on_acked(&mut self.window, acked),
        }
    }

    /// Handles a loss that gap reports show; called once per recovery (RFC 9260 §7.2.3, §7.2.4).
    pub(super) fn on_loss(&mut self, pmdcs: usize) {
        self.reduce(pmdcs);
        self.report("recovery");
    }

    /// Returns the state to go back to if the loss that is about to be handled turns out to be none.
    pub(super) fn before_loss(&self) -> Self {
        self.clone()
    }

    /// Undoes the response to a loss or a time-out that was needless (RFC 9438 §4.9, RFC 4015 §3.2). What grew since
    /// stays.
    pub(super) fn on_spurious_loss(&mut self, before: Self) {
        self.window.cwnd = self.window.cwnd.max(before.window.cwnd);
        self.window.ssthresh = self.window.ssthresh.max(before.window.ssthresh);
        self.avoidance = before.avoidance;
        self.report(if self.window.is_in_slow_start() { "slow start" } else { "congestion avoidance" });
    }

    fn reduce(&mut self, pmdcs: usize) {
        match &mut self.avoidance {
            CongestionAvoidance::Cubic(cubic) => cubic.on_loss(&mut self.window, pmdcs),
            CongestionAvoidance::NewReno(reno) => reno.on_loss(&mut self.window, pmdcs),
        }
    }

    /// Emits the event of a change that is more than growth. There is no ssthresh before the first loss.
    fn report(&self, state: &'static str) {
        let CongestionWindow { cwnd, ssthresh, .. } = self.window;
        let ssthresh = Some(ssthresh).filter(|ssthresh| *ssthresh < usize::MAX);
        tracing::debug!(state, cwnd, ssthresh, "congestion state changed");
    }

    /// Handles the expiry of T3-rtx with data in flight (RFC 9260 §7.2.3).
    pub(super) fn on_timeout(&mut self, pmdcs: usize) {
        self.reduce(pmdcs);
        self.window.collapse(pmdcs);
        if let CongestionAvoidance::Cubic(cubic) = &mut self.avoidance {
            cubic.on_timeout();
        }
        self.report("slow start");
    }

    /// Handles the acknowledgement of everything that was sent (RFC 9260 §7.2.2, last rule).
    pub(super) fn on_all_acked(&mut self) {
        if let CongestionAvoidance::NewReno(reno) = &mut self.avoidance {
            reno.on_all_acked();
        }
    }

    /// Handles an idle time: nothing was sent since `last_sent` (RFC 9260 §7.2.1, last rule).
    pub(super) fn on_idle(&mut self, last_sent: Instant, now: Instant, rto: Duration, pmdcs: usize) {
        if self.window.on_idle(last_sent, now, rto, pmdcs) {
            self.on_reduced_unused();
        }
    }

    /// Handles a change of the packet size. The bytes that the path carries stay known.
    pub(super) fn on_mtu_changed(&mut self, pmdcs: usize) {
        self.window.on_mtu_changed(pmdcs);
    }

    pub(super) fn check_consistency(&self, pmdcs: usize) {
        self.window.check_consistency(pmdcs);
        if let CongestionAvoidance::Cubic(cubic) = &self.avoidance {
            cubic.check_consistency();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{MTU, acked, after_loss};
    use super::*;
    use crate::config::CongestionControl;
    use crate::testing::some_time;

    const KINDS: [CongestionControl; 2] = [CongestionControl::Cubic, CongestionControl::NewReno];

    #[test]
    fn slow_start_lasts_while_cwnd_is_at_most_ssthresh() {
        for kind in KINDS {
            let mut controller = after_loss(kind, 100 * MTU);
            assert_eq!(controller.window.cwnd, controller.window.ssthresh);
            assert!(controller.window.is_in_slow_start(), "RFC 9260 §7.2.1: cwnd is less than or equal to ssthresh");
            let before = controller.cwnd();
            controller.on_acked(&acked(MTU));
            assert_eq!(controller.cwnd(), before + MTU, "growth by what was acknowledged");
            assert!(!controller.window.is_in_slow_start());
            controller.on_acked(&acked(MTU));
            assert!(controller.cwnd() < before + MTU + MTU / 2, "congestion avoidance from now on");
        }
    }

    #[test]
    fn a_window_behind_a_loss_leaves_at_a_quarter_above_one_a_round_trip_and_one_that_doubles_at_two() {
        let srtt = Duration::from_millis(100);
        for kind in KINDS {
            let mut controller = after_loss(kind, 100 * MTU);
            let rate = |controller: &LossBased| {
                let bytes = controller.pacing_rate(Some(srtt)).unwrap().bytes_per_second().unwrap();
                bytes as f64 * srtt.as_secs_f64() / controller.cwnd() as f64
            };
            assert!((rate(&controller) - 1.25).abs() < 1e-3, "in slow start, but at its threshold");
            controller.on_timeout(MTU);
            assert!((rate(&controller) - 2.0).abs() < 1e-3, "far below the threshold");
        }
    }

    #[test]
    fn nothing_grows_while_a_loss_is_repaired() {
        for kind in KINDS {
            let mut controller = after_loss(kind, 100 * MTU);
            let before = controller.cwnd();
            controller.on_acked(&Acked { in_recovery: true, ..acked(50 * MTU) });
            assert_eq!(controller.cwnd(), before);
        }
    }

    #[test]
    fn another_packet_size_keeps_cwnd_in_bytes_and_its_least_value_in_packets() {
        for kind in KINDS {
            let mut controller = after_loss(kind, 100 * MTU);
            let before = controller.cwnd();
            controller.on_mtu_changed(MTU / 2);
            assert_eq!(controller.cwnd(), before);
            controller.check_consistency(MTU / 2);
            controller.on_timeout(MTU / 2);
            assert_eq!(controller.cwnd(), MTU / 2, "one packet of the new size");
            controller.on_mtu_changed(8 * MTU);
            assert_eq!(controller.cwnd(), 8 * MTU, "a packet can always leave");
            controller.check_consistency(8 * MTU);
        }
    }

    #[test]
    fn another_path_begins_with_the_same_algorithm_and_an_initial_window() {
        for kind in KINDS {
            let controller = after_loss(kind, 100 * MTU).for_new_path(MTU);
            assert_eq!((controller.cwnd(), controller.window.ssthresh), (10 * MTU, usize::MAX));
            assert_eq!(matches!(controller.avoidance, CongestionAvoidance::Cubic(_)), kind == CongestionControl::Cubic);
        }
    }

    #[test]
    fn an_idle_association_forgets_where_cubic_was_on_its_curve() {
        // RFC 9438 §4.2, §5.8: the time without data does not count. If the epoch went on, the window would jump.
        let (start, rto) = (some_time(), Duration::from_secs(1));
        let mut controller = after_loss(CongestionControl::Cubic, 100 * MTU);
        controller.on_acked(&acked(MTU));
        controller.on_acked(&Acked { now: start, ..acked(MTU) });
        let idle_until = start + 60 * rto;
        controller.on_idle(start, idle_until, rto, MTU);
        assert_eq!(controller.cwnd(), 10 * MTU);
        // Slow start up to where the window was, then flat: the curve begins anew.
        while controller.window.is_in_slow_start() {
            controller.on_acked(&Acked { now: idle_until, ..acked(10 * MTU) });
        }
        let before = controller.cwnd();
        controller.on_acked(&Acked { now: idle_until, ..acked(MTU) });
        assert!(controller.cwnd() - before < MTU / 4, "{} bytes for one packet", controller.cwnd() - before);
    }
}
