//! How much may be on its way (RFC 9260 §7).

mod cubic;
mod hystart;
mod new_reno;
mod window;

use std::fmt::Debug;
use std::time::{Duration, Instant};

use self::cubic::Cubic;
use self::new_reno::NewReno;
use crate::config::CongestionControl;

/// How much of the congestion window was used when it was last tried to send. One that was not says nothing about what the
/// path would have carried.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum CwndUsage {
    /// There was room for more than there was to send.
    #[default]
    Part,
    /// More than half, and more would have left but for its time: pacing is always behind a window that doubles
    /// (RFC 9002 §7.8).
    Paced,
    /// There was no room for another packet.
    Full,
}

impl CwndUsage {
    /// `mtu`: as for [`controller`].
    pub(crate) fn new(flight_size: usize, cwnd: usize, mtu: usize, is_paced: bool) -> Self {
        if flight_size + mtu > cwnd {
            Self::Full
        } else if is_paced && flight_size > cwnd / 2 {
            Self::Paced
        } else {
            Self::Part
        }
    }
}

/// What one SACK acknowledged for the first time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acked {
    /// Bytes, chunk headers and padding included.
    pub(crate) bytes: usize,
    /// Whether the Cumulative TSN Ack Point moved.
    pub(crate) cumulative: bool,
    /// Judged before the SACK and those that came with it, lest the first of a batch makes the window look unused to the
    /// others.
    pub(crate) usage: CwndUsage,
    /// Whether a loss is being repaired.
    pub(crate) in_recovery: bool,
    /// Round-trip time of the latest transmission that was acknowledged, unless it was a retransmission.
    pub(crate) rtt: Option<Duration>,
    /// The smoothed round-trip time.
    pub(crate) srtt: Duration,
    pub(crate) now: Instant,
    /// Whether all that was outstanding when the round began is acknowledged, so that another begins.
    pub(crate) is_new_round: bool,
}

/// A congestion controller. It sees events of the whole association and answers with one number, the window.
pub(crate) trait Controller: Debug + Send {
    /// Bytes that may be in flight.
    fn cwnd(&self) -> usize;
    /// Whether the window is to double each round trip.
    fn is_in_slow_start(&self) -> bool;
    /// New data was acknowledged.
    fn on_acked(&mut self, acked: Acked);
    /// A loss was found by gap reports; called once per recovery (RFC 9260 §7.2.3, §7.2.4).
    fn on_loss(&mut self);
    /// T3 expired with something in flight (RFC 9260 §7.2.3).
    fn on_timeout(&mut self);
    /// Everything sent has been acknowledged (RFC 9260 §7.2.2, last rule).
    fn on_all_acked(&mut self);
    /// Nothing was sent since `last_sent` (RFC 9260 §7.2.1, last rule).
    fn on_idle(&mut self, last_sent: Instant, now: Instant, rto: Duration);
    /// Recounts what can be recounted.
    fn check_consistency(&self);
}

/// A controller for a path of which nothing is known. `mtu`: bytes of user data and chunk headers that a packet takes
/// (RFC 9260's PMDCS).
pub(crate) fn controller(kind: CongestionControl, mtu: usize) -> Box<dyn Controller> {
    match kind {
        CongestionControl::Cubic => Box::new(Cubic::new(mtu)),
        CongestionControl::NewReno => Box::new(NewReno::new(mtu)),
    }
}

#[cfg(test)]
mod testing {
    use super::*;
    use crate::testing::some_time;

    pub(super) const MTU: usize = 1200;

    /// A SACK outside recovery that moves the Cumulative TSN Ack Point when the window was full.
    pub(super) fn acked(bytes: usize) -> Acked {
        Acked {
            bytes,
            cumulative: true,
            usage: CwndUsage::Full,
            in_recovery: false,
            rtt: None,
            srtt: Duration::from_millis(100),
            now: some_time(),
            is_new_round: false,
        }
    }
    #[test]
    fn a_window_is_used_if_it_is_full_or_more_than_half_full_and_paced() {
        let usage = |packets: usize, is_paced| CwndUsage::new(packets * MTU, 10 * MTU, MTU, is_paced);
        assert_eq!(
            [usage(5, false), usage(9, false), usage(10, false)],
            [CwndUsage::Part, CwndUsage::Part, CwndUsage::Full]
        );
        assert_eq!(
            [usage(5, true), usage(6, true), usage(10, true)],
            [CwndUsage::Part, CwndUsage::Paced, CwndUsage::Full]
        );
        assert_eq!(CwndUsage::new(9 * MTU + 1, 10 * MTU, MTU, false), CwndUsage::Full, "no packet fits");
    }
}
