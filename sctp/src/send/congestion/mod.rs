//! Congestion control: how much may be in flight, and how fast it leaves (RFC 9260 §7).

mod bbr;
mod cubic;
mod hystart;
mod loss_based;
mod new_reno;
mod window;

pub(super) use self::bbr::Departure;

use self::bbr::Bbr;
use self::cubic::Cubic;
use self::loss_based::{CongestionAvoidance, LossBased};
use self::new_reno::NewReno;
use super::pacer::PacingRate;
use crate::config::CongestionControl;
use crate::serial::TransmissionNumber;
use crate::stats::CongestionStats;
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

/// Packets in flight after a SACK, for the model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery {
    /// The latest transmission among the newly acknowledged chunks.
    pub(crate) newest: Option<TransmissionNumber>,
    /// Flight size after the SACK.
    pub(crate) flight_size: usize,
}

/// The congestion controller of an association. It sees events, and answers with cwnd and a rate.
#[derive(Debug)]
pub(crate) enum CongestionController {
    LossBased(LossBased),
    Bbr(Box<Bbr>),
}

/// State of a controller before it reduced its rate.
#[derive(Clone, Debug)]
pub(crate) enum BeforeLoss {
    LossBased(LossBased),
    /// A model keeps what it needs.
    Model,
}

impl CongestionController {
    /// Creates a controller for a path of which nothing is known.
    pub(crate) fn new(kind: CongestionControl, pmdcs: usize) -> Self {
        match kind {
            CongestionControl::Cubic => {
                Self::LossBased(LossBased::new(CongestionAvoidance::Cubic(Cubic::default()), pmdcs))
            }
            CongestionControl::Bbr => Self::Bbr(Box::new(Bbr::new(pmdcs))),
            CongestionControl::NewReno => {
                Self::LossBased(LossBased::new(CongestionAvoidance::NewReno(NewReno::default()), pmdcs))
            }
        }
    }

    /// Creates a controller of the same kind for another path, of which nothing is known.
    pub(crate) fn for_new_path(&self, pmdcs: usize) -> Self {
        match self {
            Self::LossBased(controller) => Self::LossBased(controller.for_new_path(pmdcs)),
            Self::Bbr(_) => Self::Bbr(Box::new(Bbr::new(pmdcs))),
        }
    }

    /// Returns the number of bytes that may be in flight.
    pub(crate) fn cwnd(&self) -> usize {
        match self {
            Self::LossBased(controller) => controller.cwnd(),
            Self::Bbr(bbr) => bbr.cwnd(),
        }
    }

    /// Returns true if the window doubles with each round trip.
    pub(crate) fn is_in_slow_start(&self) -> bool {
        match self {
            Self::LossBased(controller) => controller.is_in_slow_start(),
            Self::Bbr(bbr) => bbr.is_in_startup(),
        }
    }

    /// Returns the rate at which packets leave. `None` if they are not spread.
    pub(crate) fn pacing_rate(&self, srtt: Option<Duration>) -> Option<PacingRate> {
        match self {
            Self::LossBased(controller) => controller.pacing_rate(srtt),
            Self::Bbr(bbr) => Some(bbr.pacing_rate(srtt)),
        }
    }

    /// Returns the state for users.
    pub(crate) fn stats(&self, srtt: Option<Duration>) -> CongestionStats {
        match self {
            Self::LossBased(controller) => controller.stats(srtt),
            Self::Bbr(bbr) => bbr.stats(srtt),
        }
    }

    /// Returns true if the rate alone keeps a repair from a burst. A controller by losses has just learnt that its
    /// window is too large, and approaches a smaller one; a model knows the rate.
    pub(crate) fn paces_repair(&self) -> bool {
        matches!(self, Self::Bbr(_))
    }

    /// Handles the departure of a packet with DATA.
    pub(crate) fn on_packet_sent(&mut self, now: Instant, departure: Departure) {
        if let Self::Bbr(bbr) = self {
            bbr.on_packet_sent(now, departure);
        }
    }

    /// Handles an attempt to send in which the application ran out of data.
    pub(crate) fn on_app_limited(&mut self, flight_size: usize) {
        if let Self::Bbr(bbr) = self {
            bbr.on_app_limited(flight_size);
        }
    }

    /// Handles the loss of a chunk of `bytes`, whose latest transmission is given.
    pub(crate) fn on_chunk_lost(&mut self, now: Instant, number: TransmissionNumber, bytes: usize) {
        if let Self::Bbr(bbr) = self {
            bbr.on_chunk_lost(now, number, bytes);
        }
    }

    /// Handles the end of loss detection. No transmission before `oldest` is in flight.
    pub(crate) fn on_losses_detected(&mut self, oldest: Option<TransmissionNumber>) {
        if let Self::Bbr(bbr) = self {
            bbr.on_losses_detected(oldest);
        }
    }

    /// Handles the acknowledgement of new data.
    pub(crate) fn on_acked(&mut self, acked: &Acked, delivery: Delivery) {
        match self {
            Self::LossBased(controller) => {
                controller.validate(acked.now, delivery.flight_size + acked.bytes, acked.pmdcs);
                controller.on_acked(acked);
            }
            Self::Bbr(bbr) => bbr.on_acked(acked, delivery),
        }
    }

    /// Handles a loss that gap reports show; called once per recovery (RFC 9260 §7.2.3, §7.2.4).
    pub(crate) fn on_loss(&mut self, pmdcs: usize) {
        match self {
            Self::LossBased(controller) => controller.on_loss(pmdcs),
            Self::Bbr(bbr) => bbr.on_loss(pmdcs),
        }
    }

    /// Returns the state to go back to if the loss that is about to be handled turns out to be none.
    pub(crate) fn before_loss(&self) -> BeforeLoss {
        match self {
            Self::LossBased(controller) => BeforeLoss::LossBased(controller.before_loss()),
            Self::Bbr(_) => BeforeLoss::Model,
        }
    }

    /// Undoes the response to a loss or a time-out that was needless.
    pub(crate) fn on_spurious_loss(&mut self, before: BeforeLoss) {
        match (self, before) {
            (Self::LossBased(controller), BeforeLoss::LossBased(before)) => controller.on_spurious_loss(before),
            (Self::Bbr(bbr), _) => bbr.on_spurious_loss(),
            // The controller was replaced since, for another path.
            (Self::LossBased(_), BeforeLoss::Model) => {}
        }
    }

    /// Handles the expiry of T3-rtx with data in flight (RFC 9260 §7.2.3).
    pub(crate) fn on_timeout(&mut self, pmdcs: usize) {
        match self {
            Self::LossBased(controller) => controller.on_timeout(pmdcs),
            Self::Bbr(bbr) => bbr.on_timeout(pmdcs),
        }
    }

    /// Handles the acknowledgement of everything that was sent (RFC 9260 §7.2.2, last rule).
    pub(crate) fn on_all_acked(&mut self) {
        match self {
            Self::LossBased(controller) => controller.on_all_acked(),
            Self::Bbr(_) => {}
        }
    }

    /// Handles an idle time: nothing was sent since `last_sent` (RFC 9260 §7.2.1, last rule).
    pub(crate) fn on_idle(&mut self, last_sent: Instant, now: Instant, rto: Duration, pmdcs: usize) {
        match self {
            Self::LossBased(controller) => controller.on_idle(last_sent, now, rto, pmdcs),
            Self::Bbr(bbr) => bbr.on_nothing_outstanding(now, pmdcs),
        }
    }

    /// Handles the end of a wait for the peer's window, in which nothing was in flight but a window probe.
    pub(crate) fn on_window_opened(&mut self, now: Instant) {
        if let Self::Bbr(bbr) = self {
            bbr.on_window_opened(now);
        }
    }

    /// Handles a change of the packet size. The bytes that the path carries stay known.
    pub(crate) fn on_mtu_changed(&mut self, pmdcs: usize) {
        match self {
            Self::LossBased(controller) => controller.on_mtu_changed(pmdcs),
            Self::Bbr(bbr) => bbr.on_mtu_changed(pmdcs),
        }
    }

    pub(crate) fn check_consistency(&self, pmdcs: usize) {
        match self {
            Self::LossBased(controller) => controller.check_consistency(pmdcs),
            Self::Bbr(bbr) => bbr.check_consistency(pmdcs),
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

    /// Returns a controller of which nothing is known.
    pub(super) fn loss_based(kind: CongestionControl) -> LossBased {
        let CongestionController::LossBased(controller) = CongestionController::new(kind, MTU) else {
            panic!("another kind")
        };
        controller
    }

    /// Returns a controller with a window of `cwnd` bytes that has just lost something for the first time.
    pub(super) fn after_loss(kind: CongestionControl, cwnd: usize) -> LossBased {
        let mut controller = loss_based(kind);
        controller.window.cwnd = cwnd;
        controller.on_loss(MTU);
        controller
    }
}

#[cfg(test)]
mod tests {
    use super::testing::MTU;
    use super::*;

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
}
