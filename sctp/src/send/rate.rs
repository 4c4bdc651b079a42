//! Rate of the sender: congestion window, pacing, and the sender's usage of them.

use super::congestion::{Acked, BeforeLoss, CongestionController, CwndUsage, Delivery, Departure};
use super::freshness::RateSeen;
use super::pacer::Pacer;
use crate::config::CongestionControl;
use crate::path::Path;
use crate::serial::{TransmissionNumber, UnwrappedTsn};
use crate::stats::CongestionStats;
use crate::time::{Duration, Instant};

/// Permission to send one packet although cwnd is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CwndExemption {
    None,
    /// A lost chunk may leave (RFC 9260 §7.2.4 step 3). If it is abandoned instead, nothing takes its place.
    Retransmission,
    /// Anything may leave: a tail loss probe may consist of new data (RFC 8985 §7.3).
    Any,
}

/// Congestion window and pacer, with the results of earlier attempts to send that they need.
#[derive(Debug)]
pub(super) struct SendRate {
    controller: CongestionController,
    pacer: Pacer,
    /// Time at which the pacer lets the next packet out.
    paced_until: Option<Instant>,
    cwnd_usage: CwndUsage,
    /// True if everything was sent when it was last tried, with room left in cwnd.
    is_app_limited: bool,
    cwnd_exemption: CwndExemption,
    last_sent: Option<Instant>,
    /// TSN whose acknowledgement ends the round trip under way.
    round_end: UnwrappedTsn,
}

/// Data that a SACK acknowledged for the first time.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewlyAcked {
    /// Bytes, chunk headers and padding included.
    pub(super) bytes: usize,
    /// The Cumulative TSN Ack Point.
    pub(super) cumulative: UnwrappedTsn,
    /// True if the Cumulative TSN Ack Point moved.
    pub(super) is_advanced: bool,
    /// The TSN that the next new chunk gets.
    pub(super) next_tsn: UnwrappedTsn,
    /// Round-trip time of the latest transmission among them, unless it was a retransmission.
    pub(super) rtt: Option<Duration>,
    /// True if a loss was being repaired before.
    pub(super) in_recovery: bool,
    pub(super) delivery: Delivery,
}

impl SendRate {
    pub(super) fn new(kind: CongestionControl, path: &Path) -> Self {
        Self::with(CongestionController::new(kind, path.pmdcs()))
    }

    fn with(controller: CongestionController) -> Self {
        Self {
            controller,
            pacer: Pacer::default(),
            paced_until: None,
            cwnd_usage: CwndUsage::default(),
            is_app_limited: true,
            cwnd_exemption: CwndExemption::None,
            last_sent: None,
            round_end: UnwrappedTsn::BEFORE_ALL,
        }
    }

    /// Switches to another path, of which nothing is known yet.
    pub(super) fn on_path_changed(&mut self, path: &Path) {
        self.controller = self.controller.for_new_path(path.pmdcs());
        self.pacer = Pacer::default();
        self.paced_until = None;
    }

    pub(super) fn on_mtu_changed(&mut self, path: &Path) {
        self.controller.on_mtu_changed(path.pmdcs());
    }

    pub(super) fn cwnd(&self) -> usize {
        self.controller.cwnd()
    }

    /// Returns true if new data may leave: the flight size is below cwnd (RFC 9260 §6.1 B).
    pub(super) fn has_room(&self, flight_size: usize) -> bool {
        flight_size < self.cwnd()
    }

    /// Returns the rate at which chunks leave, for decisions about messages that wait.
    pub(super) fn seen(&self, flight_size: usize, path: &Path) -> RateSeen {
        let cwnd = self.cwnd();
        let is_slow_start = self.controller.is_in_slow_start();
        RateSeen {
            cwnd,
            free: cwnd.saturating_sub(flight_size),
            srtt: path.rto.srtt(),
            is_slow_start,
            packet: path.pmdcs(),
        }
    }

    pub(super) fn cwnd_exemption(&self) -> CwndExemption {
        self.cwnd_exemption
    }

    pub(super) fn set_cwnd_exemption(&mut self, exemption: CwndExemption) {
        self.cwnd_exemption = exemption;
    }

    pub(super) fn is_app_limited(&self) -> bool {
        self.is_app_limited
    }

    /// Returns the time at which a packet with DATA last left.
    pub(super) fn last_sent(&self) -> Option<Instant> {
        self.last_sent
    }

    pub(super) fn paced_until(&self) -> Option<Instant> {
        self.paced_until
    }

    /// Handles the beginning of an attempt to send.
    pub(super) fn on_attempt(&mut self) {
        self.paced_until = None;
    }

    /// Reduces cwnd after an idle time, when nothing is outstanding (RFC 9260 §7.2.1).
    pub(super) fn on_nothing_outstanding(&mut self, now: Instant, path: &Path) {
        if let Some(last_sent) = self.last_sent {
            self.controller.on_idle(last_sent, now, path.rto.current(), path.pmdcs());
        }
    }

    /// Calls [`CongestionController::on_window_opened`].
    pub(super) fn on_window_opened(&mut self, now: Instant) {
        self.controller.on_window_opened(now);
    }

    /// Returns `true` if the next packet has to wait for its time.
    #[inline]
    pub(super) fn is_paced(&mut self, now: Instant, is_exempt: bool, path: &Path) -> bool {
        let rate = self.controller.pacing_rate(path.rto.pacing_rtt());
        self.paced_until = self.pacer.delay_until(now, rate, path.mtu()).filter(|_| !is_exempt);
        self.paced_until.is_some()
    }

    /// Handles the departure of a packet with DATA.
    pub(super) fn on_packet_sent(&mut self, now: Instant, bytes: usize, departure: Departure) {
        self.pacer.on_sent(bytes);
        self.controller.on_packet_sent(now, departure);
        self.cwnd_exemption = CwndExemption::None;
        self.last_sent = Some(now);
    }

    /// Notes what bounded the sender in an attempt to send. `has_more`: something is lost or queued.
    pub(super) fn on_attempted(&mut self, flight_size: usize, has_more: bool, path: &Path) {
        let cwnd = self.cwnd();
        self.cwnd_usage = CwndUsage::new(flight_size, cwnd, path.pmdcs(), self.paced_until.is_some());
        self.is_app_limited = !has_more && flight_size < cwnd;
        if self.is_app_limited {
            self.controller.on_app_limited(flight_size);
        }
    }

    /// Handles a SACK. The window grows by the acknowledged bytes before a loss shrinks it (RFC 9260 §7.2.4, note).
    pub(super) fn on_acked(&mut self, now: Instant, acked: NewlyAcked, path: &Path) {
        let is_new_round = acked.cumulative >= self.round_end;
        if is_new_round {
            self.round_end = acked.next_tsn;
        }
        if acked.bytes > 0 {
            let sack = Acked {
                bytes: acked.bytes,
                cumulative: acked.is_advanced,
                usage: self.cwnd_usage,
                in_recovery: acked.in_recovery,
                rtt: acked.rtt,
                srtt: path.rto.srtt().or(acked.rtt).unwrap_or_default(),
                now,
                is_new_round,
                pmdcs: path.pmdcs(),
            };
            self.controller.on_acked(&sack, acked.delivery);
        }
    }

    pub(super) fn on_all_acked(&mut self) {
        self.controller.on_all_acked();
    }

    /// Returns the state to go back to if the loss that is about to be handled turns out to be none.
    pub(super) fn before_loss(&self) -> BeforeLoss {
        self.controller.before_loss()
    }

    /// Undoes the response to a needless loss. No more is sent at once than the exemption from before allowed.
    pub(super) fn on_spurious_loss(&mut self, before: BeforeLoss, path: &Path) {
        self.controller.on_spurious_loss(before);
        // The packet size may have changed since.
        self.controller.on_mtu_changed(path.pmdcs());
    }

    /// Returns the state of the controller for users. The least round-trip time is the path's if no model has one.
    pub(super) fn stats(&self, path: &Path) -> CongestionStats {
        let stats = self.controller.stats(path.rto.pacing_rtt());
        CongestionStats { min_rtt: stats.min_rtt.or_else(|| path.rto.rtt_min()), ..stats }
    }

    /// Returns true if the rate alone keeps a repair from a burst.
    pub(super) fn paces_repair(&self) -> bool {
        self.controller.paces_repair()
    }

    /// Handles the loss of a chunk of `bytes`, whose latest transmission is given.
    pub(super) fn on_chunk_lost(&mut self, now: Instant, number: TransmissionNumber, bytes: usize) {
        self.controller.on_chunk_lost(now, number, bytes);
    }

    /// Handles the end of loss detection. No transmission before `oldest` is in flight.
    pub(super) fn on_losses_detected(&mut self, oldest: Option<TransmissionNumber>) {
        self.controller.on_losses_detected(oldest);
    }

    pub(super) fn on_loss(&mut self, path: &Path) {
        self.controller.on_loss(path.pmdcs());
    }

    pub(super) fn on_t3_timeout(&mut self, path: &Path) {
        self.controller.on_timeout(path.pmdcs());
    }

    pub(super) fn check_consistency(&self, path: &Path) {
        self.controller.check_consistency(path.pmdcs());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AssociationConfig;
    use crate::testing::some_time;

    fn rate() -> (SendRate, Path, Instant) {
        let path = Path::new(&AssociationConfig::default());
        (SendRate::new(CongestionControl::NewReno, &path), path, some_time())
    }

    fn departure() -> Departure {
        Departure { first: TransmissionNumber::default(), flight_before: 0, flight_size: 1000 }
    }

    fn newly_acked(bytes: usize) -> NewlyAcked {
        let first = UnwrappedTsn::first(crate::serial::Tsn(1));
        NewlyAcked {
            bytes,
            cumulative: first,
            is_advanced: true,
            next_tsn: first.next(),
            rtt: None,
            in_recovery: false,
            delivery: Delivery { newest: None, flight_size: 0 },
        }
    }

    #[test]
    fn cwnd_grows_only_if_the_last_attempt_to_send_used_it() {
        let (mut rate, path, now) = rate();
        let cwnd = rate.cwnd();
        rate.on_attempted(cwnd / 3, false, &path);
        assert!(rate.is_app_limited());
        rate.on_acked(now, newly_acked(1000), &path);
        assert_eq!(rate.cwnd(), cwnd, "application-limited");
        rate.on_attempted(cwnd, true, &path);
        assert!(!rate.is_app_limited());
        rate.on_acked(now, newly_acked(1000), &path);
        assert_eq!(rate.cwnd(), cwnd + 1000);
    }

    #[test]
    fn the_application_limits_the_rate_if_everything_was_sent_and_cwnd_has_room() {
        let (mut rate, path, _) = rate();
        assert!(rate.is_app_limited(), "nothing was sent yet");
        let cwnd = rate.cwnd();
        for (flight_size, has_more, expected) in
            [(cwnd, false, false), (cwnd - 1, false, true), (cwnd - 1, true, false), (cwnd, true, false)]
        {
            rate.on_attempted(flight_size, has_more, &path);
            assert_eq!(rate.is_app_limited(), expected, "{flight_size} of {cwnd} bytes, more to send: {has_more}");
        }
    }

    #[test]
    fn a_packet_uses_up_the_exemption() {
        let (mut rate, _, now) = rate();
        rate.set_cwnd_exemption(CwndExemption::Any);
        rate.on_packet_sent(now, 100, departure());
        assert_eq!(rate.cwnd_exemption(), CwndExemption::None);
    }

    #[test]
    fn an_exempt_packet_does_not_wait_for_the_pacer() {
        let (mut rate, mut path, now) = rate();
        path.rto.on_sample(Duration::from_millis(100));
        while !rate.is_paced(now, false, &path) {
            rate.on_packet_sent(now, path.mtu(), departure());
        }
        assert!(rate.paced_until().is_some());
        assert!(!rate.is_paced(now, true, &path));
        assert_eq!(rate.paced_until(), None);
    }

    #[test]
    fn another_path_forgets_the_window_and_what_was_paced() {
        let (mut rate, path, now) = rate();
        rate.on_attempted(rate.cwnd(), true, &path);
        rate.on_acked(now, newly_acked(5000), &path);
        rate.on_path_changed(&path);
        assert_eq!(rate.cwnd(), 10 * path.pmdcs());
    }
}
