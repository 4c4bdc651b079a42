//! Signs of life, and ends: heartbeats (RFC 9260 §8.3), ABORT (§9.1), ERROR (§3.3.10).

use std::time::Instant;

use bytes::Bytes;
use rand::Rng;

use super::negotiate;
use super::timer::Timer;
use super::{Association, State};
use crate::error::{CloseReason, Violation};
use crate::event::AssociationEvent;
use crate::message::StreamId;
use crate::stats::PacketDropReason;
use crate::wire::{Cause, Causes, RawChunk, T_BIT, decode_heartbeat};

impl Association {
    /// The answer is the chunk's value as it came, if it fits a packet; the last of several wins.
    pub(super) fn on_heartbeat(&mut self, datagram: &Bytes, chunk: &RawChunk) {
        let can_answer = matches!(
            self.state,
            State::CookieEchoed | State::Established | State::ShutdownPending | State::ShutdownReceived
        );
        if !can_answer {
            return self.drop_chunk(PacketDropReason::UnexpectedChunk);
        }
        let value = chunk.value_in(datagram);
        match decode_heartbeat(value) {
            Ok(_) if value.len() + 64 <= self.path.mtu() => {
                // §8.3: whatever else came with the Heartbeat Info goes back, too.
                if self.outbox.heartbeat_ack.replace(Bytes::copy_from_slice(value)).is_some() {
                    self.drop_chunk(PacketDropReason::AnswerLimit);
                }
            }
            Ok(_) => self.drop_chunk(PacketDropReason::AnswerLimit),
            Err(_) => self.drop_chunk(PacketDropReason::Malformed),
        }
    }

    pub(super) fn on_heartbeat_ack(&mut self, now: Instant, value: &[u8]) {
        let nonce = decode_heartbeat(value).ok().and_then(|info| info.try_into().ok()).map(u64::from_be_bytes);
        if nonce.is_some_and(|nonce| self.path.on_challenge_ack(nonce)) {
            return;
        }
        match nonce.and_then(|nonce| self.path.on_heartbeat_ack(now, nonce)) {
            Some(rtt) => {
                self.path.rto.on_sample(rtt);
                self.schedule_heartbeat(now);
            }
            None => self.drop_chunk(PacketDropReason::BadHeartbeatAck),
        }
    }

    /// The next HEARTBEAT comes after the configured idle time and one time-out, give or take half of the latter: the peers
    /// of a service that was started again then do not ask at the same time for ever (§8.3).
    pub(super) fn schedule_heartbeat(&mut self, now: Instant) {
        let config = &self.config;
        // A peer that has vanished is to be noticed within a certain time, if so configured.
        let interval = config.heartbeat_interval.into_iter().chain(config.association_timeout.map(|max| max / 3)).min();
        let Some(interval) = interval else { return self.timers.stop(Timer::Heartbeat) };
        let rto = self.path.rto.current();
        let jitter = rto.mul_f64(f64::from(self.rng.next_u32()) / f64::from(u32::MAX));
        self.timers.set(Timer::Heartbeat, now + interval + rto / 2 + jitter);
    }

    /// Time to ask, or time that an answer should have come. What was not answered is asked again without the idle time, so
    /// that an idle peer that has vanished is noticed as soon as one that owes an acknowledgement.
    pub(super) fn on_heartbeat_timeout(&mut self, now: Instant) {
        if self.path.forget_heartbeat() && self.is_silent_too_long(now, Timer::Heartbeat) {
            return self.give_peer_up(CloseReason::PeerUnreachable);
        }
        if self.sender.has_outstanding() {
            // Data on its way asks the same question.
            return self.schedule_heartbeat(now);
        }
        if matches!(self.state, State::Established | State::ShutdownPending | State::ShutdownReceived) {
            let nonce = self.rng.next_u64();
            self.path.on_heartbeat_sent(now, nonce);
            self.outbox.heartbeat = Some(nonce);
            self.timers.start(Timer::Heartbeat, now, self.path.answer_time(now));
        }
    }

    pub(super) fn on_abort(&mut self, flags: u8, value: &[u8]) {
        let mut causes = Causes::new(value);
        let first = causes.next();
        if first.as_ref().is_some_and(Result::is_err) || causes.any(|cause| cause.is_err()) {
            // §3.3.7: an ABORT that does not parse is no ABORT.
            return self.drop_chunk(PacketDropReason::Malformed);
        }
        if self.state == State::ShutdownAckSent && flags & T_BIT != 0 {
            // The peer has forgotten the association, and an old SHUTDOWN of ours came too late. Each end has acknowledged
            // all that the other sent, so this says no more than the SHUTDOWN COMPLETE that is missing (§9.2).
            return self.close(CloseReason::Shutdown);
        }
        let first = first.and_then(Result::ok);
        let cause = first.as_ref().map(Cause::code);
        let text = first.as_ref().map(Cause::text).unwrap_or_default();
        self.close(CloseReason::PeerAbort { cause, text });
    }

    /// Tells the peer that what it sends on this stream is of no use here: an ERROR with the cause Invalid Stream Identifier
    /// (RFC 9260 §3.3.10.1). It ends nothing, and may be lost.
    pub fn report_invalid_stream(&mut self, stream: StreamId) {
        self.outbox.push_error(Cause::InvalidStream(stream));
    }

    pub(super) fn on_error(&mut self, now: Instant, value: &[u8]) {
        for cause in Causes::new(value) {
            match cause {
                Ok(Cause::StaleCookie(_)) => return self.on_stale_cookie(now),
                Ok(Cause::InvalidStream(stream)) if self.state.is_up() && self.sender.has_stream(stream) => {
                    self.events.push_back(AssociationEvent::InvalidStream(stream));
                }
                Ok(cause) => tracing::debug!(code = cause.code(), "the peer reports an error"),
                Err(_) => return self.drop_chunk(PacketDropReason::Malformed),
            }
        }
    }

    pub(super) fn abort_locally(&mut self, reason: &str) {
        if self.is_over {
            return;
        }
        if self.handshake.peer_tag != 0 {
            self.push_abort(Cause::UserInitiatedAbort(reason.as_bytes()));
        }
        self.close(CloseReason::LocalAbort);
    }

    /// Ends the association because the peer broke a rule, with an ABORT that says which.
    pub(super) fn abort_for(&mut self, violation: Violation) {
        self.push_abort(violation.cause());
        self.close(CloseReason::PeerViolation(violation));
    }

    /// Too many retransmissions in a row went unanswered. A peer that still hears this end learns of it from one ABORT, and
    /// does not have to run into its own time-outs.
    pub(super) fn give_peer_up(&mut self, reason: CloseReason) {
        if self.handshake.peer_tag != 0 {
            self.push_abort(Cause::UserInitiatedAbort(b"no answer to retransmissions"));
        }
        self.close(reason);
    }

    pub(super) fn push_abort(&mut self, cause: Cause<'_>) {
        debug_assert_ne!(self.handshake.peer_tag, 0, "an ABORT for nobody");
        let mut packet = Vec::new();
        negotiate::write_abort(&self.config, self.handshake.peer_tag, Some(cause), false, &mut packet);
        self.outbox.push_last(&packet);
    }

    /// The end, once. What was received is still to be polled; what was not sent is dropped.
    pub(super) fn close(&mut self, reason: CloseReason) {
        if self.is_over {
            return;
        }
        tracing::debug!(%reason, "association closed");
        self.set_state(State::Closed);
        self.is_over = true;
        self.closing = Some(reason);
        self.timers.stop_all();
        self.outbox.clear_chunks();
        self.sender.clear();
        self.outgoing_reset.clear();
        if let Some(receiver) = &mut self.receiver {
            receiver.clear();
        }
    }
}
