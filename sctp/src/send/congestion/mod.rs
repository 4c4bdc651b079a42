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

/// What one SACK acknowledged for the first time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acked {
    /// Bytes, chunk headers and padding included.
    pub(crate) bytes: usize,
    /// Whether the Cumulative TSN Ack Point moved.
    pub(crate) cumulative: bool,
    /// Flight size when it was last tried to send. SACKs often come in batches; the first of them must not make the window
    /// look unused to the others.
    pub(crate) flight_before: usize,
    /// Whether there was more to send, which waited for nothing but its time.
    pub(crate) is_paced: bool,
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

    /// A SACK outside recovery that moves the Cumulative TSN Ack Point.
    pub(super) fn acked(bytes: usize, flight_before: usize) -> Acked {
        Acked {
            bytes,
            cumulative: true,
            flight_before,
            is_paced: false,
            in_recovery: false,
            rtt: None,
            srtt: Duration::from_millis(100),
            now: some_time(),
            is_new_round: false,
        }
    }
}
