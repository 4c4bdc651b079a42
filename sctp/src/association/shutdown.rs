//! Graceful shutdown (RFC 9260 §9.2).

use super::timer::Timer;
use super::{Association, State};
use crate::error::CloseReason;
use crate::path::PeerStatus;
use crate::serial::Tsn;
use crate::stats::PacketDropReason;
use crate::time::Instant;
use crate::wire::{Cause, PacketWriter, Shutdown, encode_shutdown_complete};

/// The wait for a peer that has still to send, after this end's SHUTDOWN.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerQueue {
    /// The peer's data up to here has come.
    cumulative: Tsn,
    /// End of the wait, whatever the peer sends.
    until: Instant,
}

impl Association {
    pub(super) fn begin_shutdown(&mut self, now: Instant) {
        match self.state {
            // Nothing was begun, so nothing is to be ended; an association that is over stays as it is.
            State::Closed => self.close(CloseReason::Shutdown),
            // Accepted messages are delivered first, so the handshake goes on.
            State::CookieWait | State::CookieEchoed => {
                self.is_shutdown_wanted = true;
                if self.sender.is_drained() {
                    self.push_abort(Cause::UserInitiatedAbort(b"shut down"));
                    self.close(CloseReason::Shutdown);
                }
            }
            State::Established => {
                self.set_state(State::ShutdownPending);
                self.guard_shutdown(now);
                self.advance_shutdown(now);
            }
            _ => {}
        }
    }

    /// Goes on once everything is sent and acknowledged.
    #[inline]
    pub(super) fn advance_shutdown(&mut self, now: Instant) {
        if matches!(self.state, State::ShutdownPending | State::ShutdownReceived) && self.sender.is_drained() {
            self.on_drained(now);
        }
    }

    /// Sends SHUTDOWN or SHUTDOWN ACK: everything is sent and acknowledged.
    #[cold]
    fn on_drained(&mut self, now: Instant) {
        if self.state == State::ShutdownPending {
            self.set_state(State::ShutdownSent);
            self.control_queue.shutdown = true;
            let until = now + self.config.shutdown_max.max(self.config.shutdown_guard);
            self.peer_queue =
                self.tcb.as_ref().map(|tcb| PeerQueue { cumulative: tcb.receiver.cumulative_tsn(), until });
        } else {
            self.acknowledge_shutdown();
        }
        // §8.3: no HEARTBEAT after SHUTDOWN or SHUTDOWN ACK.
        self.timers.stop(Timer::Heartbeat);
        self.path.forget_heartbeat();
        self.control_queue.heartbeat = None;
        self.timers.start(Timer::T2Shutdown, now, self.path.rto.current());
        self.guard_shutdown(now);
    }

    /// Sends SHUTDOWN ACK, because both ends are done with their data. A stream reset under way ends with the
    /// association: what it is answered is of no interest any more.
    fn acknowledge_shutdown(&mut self) {
        self.set_state(State::ShutdownAckSent);
        self.control_queue.shutdown_ack = true;
        if let Some(tcb) = &mut self.tcb {
            tcb.own_requests.clear();
        }
        self.timers.stop(Timer::Reconfig);
    }

    /// Restarts T5, which runs from the last progress of this end's own queue. So a long queue may take long, but a
    /// peer that acknowledges nothing is aborted.
    fn guard_shutdown(&mut self, now: Instant) {
        self.timers.set(Timer::T5ShutdownGuard, now + self.config.shutdown_guard);
    }

    pub(super) fn on_shutdown_progress(&mut self, now: Instant) {
        if matches!(self.state, State::ShutdownPending | State::ShutdownReceived) {
            self.guard_shutdown(now);
        }
    }

    /// Handles a packet of the peer. §9.2: the packet clears the count of retransmissions, and restarts T2. T5 restarts
    /// only for new data from the peer's queue, and not beyond `shutdown_max`. So a slow peer can empty its queue, but
    /// a peer that sends for ever is aborted.
    pub(super) fn on_heard_while_shutting_down(&mut self, now: Instant) {
        if self.state != State::ShutdownSent {
            return;
        }
        self.path.on_sign_of_life(now);
        self.timers.start(Timer::T2Shutdown, now, self.path.rto.current());
        if let (Some(tcb), Some(queue)) = (&self.tcb, &mut self.peer_queue)
            && tcb.receiver.cumulative_tsn() != queue.cumulative
        {
            queue.cumulative = tcb.receiver.cumulative_tsn();
            let deadline = (now + self.config.shutdown_guard).min(queue.until);
            self.timers.set(Timer::T5ShutdownGuard, deadline);
        }
    }

    pub(super) fn on_shutdown(&mut self, now: Instant, value: &[u8]) {
        if !self.state.is_up() || self.state == State::ShutdownAckSent {
            // §9.2: also H05, in COOKIE-WAIT and COOKIE-ECHOED.
            return self.drop_chunk(PacketDropReason::UnexpectedChunk);
        }
        let Ok(shutdown) = Shutdown::decode(value) else { return self.drop_chunk(PacketDropReason::Malformed) };
        let advanced = match self.sender.on_shutdown_ack_point(now, shutdown.cumulative_tsn_ack, &self.path) {
            Ok(advanced) => advanced,
            Err(violation) => return self.abort_for(violation),
        };
        match self.state {
            State::Established | State::ShutdownPending => {
                self.set_state(State::ShutdownReceived);
                self.guard_shutdown(now);
            }
            // Both ends at once: the SHUTDOWN is answered without further ado.
            State::ShutdownSent => {
                self.control_queue.shutdown = false;
                self.acknowledge_shutdown();
                self.timers.start(Timer::T2Shutdown, now, self.path.rto.current());
            }
            _ => {}
        }
        self.path.on_sign_of_life(now);
        self.on_acknowledged(now, advanced);
    }

    pub(super) fn on_shutdown_ack(&mut self) {
        match self.state {
            State::ShutdownSent | State::ShutdownAckSent => {
                let mut packet = Vec::new();
                let mut writer = PacketWriter::begin(&self.peer_header(), self.path.mtu(), &mut packet);
                encode_shutdown_complete(false, writer.chunks());
                writer.finish();
                self.control_queue.push_last(&packet);
                self.close(CloseReason::Shutdown);
            }
            _ => self.drop_chunk(PacketDropReason::UnexpectedChunk),
        }
    }

    pub(super) fn on_shutdown_complete(&mut self) {
        if self.state == State::ShutdownAckSent {
            self.close(CloseReason::Shutdown);
        } else {
            self.drop_chunk(PacketDropReason::UnexpectedChunk);
        }
    }

    pub(super) fn on_t2_timeout(&mut self, now: Instant) {
        if self.on_no_answer(now, Timer::T2Shutdown) == PeerStatus::Unreachable {
            return self.give_peer_up(CloseReason::PeerUnreachable);
        }
        match self.state {
            State::ShutdownSent => self.control_queue.shutdown = true,
            State::ShutdownAckSent => self.control_queue.shutdown_ack = true,
            _ => return,
        }
        self.timers.start(Timer::T2Shutdown, now, self.path.answer_time(now));
    }

    pub(super) fn on_t5_timeout(&mut self) {
        self.push_abort(Cause::UserInitiatedAbort(b"the shutdown took too long"));
        self.close(CloseReason::ShutdownTimedOut);
    }
}
