//! Congestion control: how much may be in flight (RFC 9260 §7).

mod cubic;
mod hystart;
mod new_reno;
mod window;

use self::cubic::Cubic;
use self::new_reno::NewReno;
use self::window::CongestionWindow;
use crate::config::CongestionControl;
use crate::time::{Duration, Instant};

/// Limit of the sender when it last tried to send. A congestion window that was not used says nothing about the
/// capacity of the path.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[expect(clippy::enum_variant_names, reason = "the terms of RFC 9002 and RFC 9438")]
pub(crate) enum CwndUsage {
    /// The congestion window had room for more than there was to send.
    #[default]
    ApplicationLimited,
    /// More than half was used, and more would have been sent without pacing: pacing is always behind a window that
    /// doubles (RFC 9002 §7.8).
    PacingLimited,
    /// There was no room for another packet.
    CwndLimited,
}

impl CwndUsage {
    pub(crate) fn new(flight_size: usize, cwnd: usize, pmdcs: usize, is_paced: bool) -> Self {
        if flight_size + pmdcs > cwnd {
            Self::CwndLimited
        } else if is_paced && flight_size > cwnd / 2 {
            Self::PacingLimited
        } else {
            Self::ApplicationLimited
        }
    }
}

/// Data that one SACK acknowledged for the first time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acked {
    /// Bytes, chunk headers and padding included.
    pub(crate) bytes: usize,
    /// True if the Cumulative TSN Ack Point moved.
    pub(crate) cumulative: bool,
    /// Usage of cwnd before the SACKs of this batch. The first SACK of a batch would otherwise make the window look
    /// unused to the others.
    pub(crate) usage: CwndUsage,
    /// True if a loss is being repaired.
    pub(crate) in_recovery: bool,
    /// Round-trip time of the latest transmission that was acknowledged, unless it was a retransmission.
    pub(crate) rtt: Option<Duration>,
    /// The smoothed round-trip time.
    pub(crate) srtt: Duration,
    pub(crate) now: Instant,
    /// True if all that was outstanding when the round began is acknowledged, so that another begins.
    pub(crate) is_new_round: bool,
    /// The path's PMDCS: bytes of DATA chunks that a packet takes (RFC 9260 §2.4).
    pub(crate) pmdcs: usize,
}

/// The congestion controller of an association. It sees events and answers with one number, cwnd. It keeps no packet
/// size: each event brings that of the path.
#[derive(Debug)]
pub(crate) struct CongestionController {
    window: CongestionWindow,
    avoidance: CongestionAvoidance,
}

/// Growth and reduction of cwnd outside of slow start.
#[derive(Debug)]
enum CongestionAvoidance {
    Cubic(Cubic),
    NewReno(NewReno),
}

impl CongestionController {
    /// Creates a controller for a path of which nothing is known.
    pub(crate) fn new(kind: CongestionControl, pmdcs: usize) -> Self {
        let avoidance = match kind {
            CongestionControl::Cubic => CongestionAvoidance::Cubic(Cubic::default()),
            CongestionControl::NewReno => CongestionAvoidance::NewReno(NewReno::default()),
        };
        Self { window: CongestionWindow::new(pmdcs), avoidance }
    }

    /// Creates a controller of the same kind for another path, of which nothing is known.
    pub(crate) fn for_new_path(&self, pmdcs: usize) -> Self {
        let kind = match self.avoidance {
            CongestionAvoidance::Cubic(_) => CongestionControl::Cubic,
            CongestionAvoidance::NewReno(_) => CongestionControl::NewReno,
        };
        Self::new(kind, pmdcs)
    }

    /// Returns the number of bytes that may be in flight.
    pub(crate) fn cwnd(&self) -> usize {
        self.window.cwnd
    }

    /// True if cwnd doubles each round trip (RFC 9260 §7.2.1).
    pub(crate) fn is_in_slow_start(&self) -> bool {
        self.window.is_in_slow_start()
    }

    /// Handles the acknowledgement of new data.
    pub(crate) fn on_acked(&mut self, acked: &Acked) {
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
    pub(crate) fn on_loss(&mut self, pmdcs: usize) {
        self.reduce(pmdcs);
        self.report("recovery");
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
    pub(crate) fn on_timeout(&mut self, pmdcs: usize) {
        self.reduce(pmdcs);
        self.window.collapse(pmdcs);
        if let CongestionAvoidance::Cubic(cubic) = &mut self.avoidance {
            cubic.on_timeout();
        }
        self.report("slow start");
    }

    /// Handles the acknowledgement of everything that was sent (RFC 9260 §7.2.2, last rule).
    pub(crate) fn on_all_acked(&mut self) {
        if let CongestionAvoidance::NewReno(reno) = &mut self.avoidance {
            reno.on_all_acked();
        }
    }

    /// Handles an idle time: nothing was sent since `last_sent` (RFC 9260 §7.2.1, last rule).
    pub(crate) fn on_idle(&mut self, last_sent: Instant, now: Instant, rto: Duration, pmdcs: usize) {
        if !self.window.on_idle(last_sent, now, rto, pmdcs) {
            return;
        }
        if let CongestionAvoidance::Cubic(cubic) = &mut self.avoidance {
            cubic.on_idle();
        }
        self.report("slow start");
    }

    /// Handles a change of the packet size. The bytes that the path carries stay known.
    pub(crate) fn on_mtu_changed(&mut self, pmdcs: usize) {
        self.window.on_mtu_changed(pmdcs);
    }

    pub(crate) fn check_consistency(&self, pmdcs: usize) {
        self.window.check_consistency(pmdcs);
        if let CongestionAvoidance::Cubic(cubic) = &self.avoidance {
            cubic.check_consistency();
        }
    }
}

#[cfg(test)]
mod testing {
    use super::*;
    use crate::testing::some_time;

    pub(super) const MTU: usize = 1200;

    /// Returns a SACK outside recovery that moves the Cumulative TSN Ack Point when the window was full.
    pub(super) fn acked(bytes: usize) -> Acked {
        Acked {
            bytes,
            cumulative: true,
            usage: CwndUsage::CwndLimited,
            in_recovery: false,
            rtt: None,
            srtt: Duration::from_millis(100),
            now: some_time(),
            is_new_round: false,
            pmdcs: MTU,
        }
    }

    /// Returns a controller with a window of `cwnd` bytes that has just lost something for the first time.
    pub(super) fn after_loss(kind: CongestionControl, cwnd: usize) -> CongestionController {
        let mut controller = CongestionController::new(kind, MTU);
        controller.window.cwnd = cwnd;
        controller.on_loss(MTU);
        controller
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{MTU, acked, after_loss};
    use super::*;
    use crate::testing::some_time;

    const KINDS: [CongestionControl; 2] = [CongestionControl::Cubic, CongestionControl::NewReno];

    #[test]
    fn a_window_is_used_if_it_is_full_or_more_than_half_full_and_paced() {
        let usage = |packets: usize, is_paced| CwndUsage::new(packets * MTU, 10 * MTU, MTU, is_paced);
        assert_eq!(
            [usage(5, false), usage(9, false), usage(10, false)],
            [CwndUsage::ApplicationLimited, CwndUsage::ApplicationLimited, CwndUsage::CwndLimited]
        );
        assert_eq!(
            [usage(5, true), usage(6, true), usage(10, true)],
            [CwndUsage::ApplicationLimited, CwndUsage::PacingLimited, CwndUsage::CwndLimited]
        );
        assert_eq!(CwndUsage::new(9 * MTU + 1, 10 * MTU, MTU, false), CwndUsage::CwndLimited, "no packet fits");
    }

    #[test]
    fn slow_start_lasts_while_cwnd_is_at_most_ssthresh() {
        for kind in KINDS {
            let mut controller = after_loss(kind, 100 * MTU);
            assert_eq!(controller.window.cwnd, controller.window.ssthresh);
            assert!(controller.is_in_slow_start(), "RFC 9260 §7.2.1: cwnd is less than or equal to ssthresh");
            let before = controller.cwnd();
            controller.on_acked(&acked(MTU));
            assert_eq!(controller.cwnd(), before + MTU, "growth by what was acknowledged");
            assert!(!controller.is_in_slow_start());
            controller.on_acked(&acked(MTU));
            assert!(controller.cwnd() < before + MTU + MTU / 2, "congestion avoidance from now on");
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
        while controller.is_in_slow_start() {
            controller.on_acked(&Acked { now: idle_until, ..acked(10 * MTU) });
        }
        let before = controller.cwnd();
        controller.on_acked(&Acked { now: idle_until, ..acked(MTU) });
        assert!(controller.cwnd() - before < MTU / 4, "{} bytes for one packet", controller.cwnd() - before);
    }
}
