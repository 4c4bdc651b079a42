//! Timers that fire.

use super::timer::Timer;
use super::{Association, State};
use crate::error::CloseReason;
use crate::path::PeerStatus;
use crate::recv::SackDue;
use crate::time::Instant;

impl Association {
    /// Returns the end of the delay of a SACK that waits; the receiver decides about it.
    fn sack_deadline(&self) -> Option<Instant> {
        match self.tcb.as_ref()?.receiver.sack_due() {
            SackDue::At(deadline) => Some(deadline),
            SackDue::Not | SackDue::Now => None,
        }
    }

    /// Arms or stops the timer of the delayed SACK. Called at the end of each change.
    pub(super) fn schedule_sack(&mut self) {
        self.timers.put(Timer::Sack, self.sack_deadline());
    }

    pub(super) fn fire_timers(&mut self, now: Instant) {
        // A timer that re-arms itself does so for later than now, so this ends.
        while let Some(timer) = self.timers.take_expired(now) {
            tracing::trace!(?timer, "timer expired");
            match timer {
                Timer::T1Init | Timer::T1Cookie => self.on_t1_timeout(now, timer),
                Timer::T2Shutdown => self.on_t2_timeout(now),
                Timer::T3Rtx => self.on_t3_timeout(now),
                Timer::T5ShutdownGuard => self.on_t5_timeout(),
                Timer::Rack => self.on_rack_timeout(now),
                Timer::TailLossProbe => self.on_probe_timeout(now),
                Timer::WindowProbe => self.sender.on_window_probe_timeout(&self.path),
                // Paced chunks are written when packets are polled next.
                Timer::Pacing => {}
                Timer::Heartbeat => self.on_heartbeat_timeout(now),
                Timer::Reconfig => self.on_reconfig_timeout(now),
                Timer::Sack => self.on_sack_timeout(now),
                Timer::Lifetime => self.on_lifetime_timeout(now),
            }
        }
    }

    /// Sends a probe. T3-rtx starts again behind a tail loss probe (RFC 8985 §7.3), and waits for the same answer as
    /// before.
    fn on_probe_timeout(&mut self, now: Instant) {
        if self.sender.on_probe_timeout(now, &self.path) {
            self.timers.set(Timer::T3Rtx, now + self.path.answer_time(now));
        }
    }

    /// Abandons messages whose time is over.
    fn on_lifetime_timeout(&mut self, now: Instant) {
        self.sender.on_lifetime_timeout(now, &self.path);
        if self.state.can_send_data() {
            self.on_send_progress(now);
        }
        self.schedule_expiry();
    }

    /// Handles the end of the delay of a SACK (RFC 9260 §6.2).
    fn on_sack_timeout(&mut self, now: Instant) {
        if let Some(tcb) = &mut self.tcb {
            tcb.receiver.on_sack_timeout(now);
        }
    }

    /// Handles the expiry of T1-init or T1-cookie (RFC 9260 §5.1.6).
    fn on_t1_timeout(&mut self, now: Instant, timer: Timer) {
        self.handshake.attempts += 1;
        if self.handshake.attempts > self.config.init_max_retransmits {
            return self.give_peer_up(CloseReason::HandshakeTimedOut);
        }
        match self.state {
            State::CookieWait => self.control_queue.init = true,
            State::CookieEchoed => self.control_queue.cookie_echo = true,
            _ => return,
        }
        self.path.rto.back_off();
        tracing::debug!(?timer, rto = ?self.path.rto.current(), "no answer in time");
        self.timers.start(timer, now, self.path.rto.current());
    }

    /// Handles the expiry of T3-rtx (RFC 9260 §6.3.3).
    fn on_t3_timeout(&mut self, now: Instant) {
        self.stats.t3_expirations += 1;
        let is_window_probe = self.sender.is_probing_window();
        // An unanswered probe of a closed window counts like anything unanswered; every SACK clears the count (§6.1 A).
        if self.on_no_answer(now, Timer::T3Rtx) == PeerStatus::Unreachable {
            return self.give_peer_up(CloseReason::PeerUnreachable);
        }
        if !is_window_probe {
            self.shrink_packets_on_timeout();
        }
        self.sender.on_t3_timeout(now, is_window_probe, &self.path);
        self.timers.stop(Timer::Rack);
        self.timers.stop(Timer::TailLossProbe);
        if self.sender.has_outstanding() {
            self.timers.start(Timer::T3Rtx, now, self.path.answer_time(now));
        }
    }

    /// Counts an answer that did not come in time (RFC 9260 §8.1).
    #[must_use]
    pub(super) fn on_no_answer(&mut self, now: Instant, timer: Timer) -> PeerStatus {
        let status = self.path.on_timeout(now, self.timers.started_at(timer));
        tracing::debug!(?timer, rto = ?self.path.rto.current(), "no answer in time");
        status
    }

    fn on_rack_timeout(&mut self, now: Instant) {
        let reo_deadline = self.sender.on_rack_timeout(now, &self.path);
        self.timers.put(Timer::Rack, reo_deadline);
        self.check_black_hole();
    }

    /// Checks that each timer runs only in the states that it belongs to (RFC 9260 §5.1, §6.3.2, §9.2).
    pub(super) fn check_timers(&self) {
        let state = self.state;
        let is_armed = |timer| self.timers.is_armed(timer);
        assert_eq!(is_armed(Timer::T1Init), state == State::CookieWait, "T1-init in {state:?}");
        assert_eq!(is_armed(Timer::T1Cookie), state == State::CookieEchoed, "T1-cookie in {state:?}");
        let is_ending = matches!(state, State::ShutdownSent | State::ShutdownAckSent);
        assert_eq!(is_armed(Timer::T2Shutdown), is_ending, "T2-shutdown in {state:?}");
        assert_eq!(is_armed(Timer::T3Rtx), self.sender.has_outstanding(), "T3-rtx in {state:?}");
        let waits_for_window = state.can_send_data() && !self.sender.has_outstanding();
        assert!(!is_armed(Timer::WindowProbe) || waits_for_window, "a window is probed in {state:?}");
        assert_eq!(self.timers.deadline(Timer::Sack), self.sack_deadline(), "the delayed SACK in {state:?}");
        let awaits_response = self.tcb.as_ref().is_some_and(|tcb| tcb.own_requests.is_outstanding());
        assert!(!is_armed(Timer::Reconfig) || awaits_response, "a reset in {state:?}");
        assert!(state != State::Closed || self.timers.next().is_none(), "a timer runs in CLOSED");
    }
}
