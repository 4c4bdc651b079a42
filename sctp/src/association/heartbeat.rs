//! Heartbeats (RFC 9260 §8.3).

use bytes::Bytes;
use rand::Rng;

use super::timer::Timer;
use super::{Association, State};
use crate::error::CloseReason;
use crate::path::PeerStatus;
use crate::stats::PacketDropReason;
use crate::time::Instant;
use crate::wire::{RawChunk, decode_heartbeat};

impl Association {
    /// Queues the answer to a HEARTBEAT: its value as it came, if that fits a packet. The last of several is answered.
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
            Ok(_) if value.len() + 64 <= self.path.mtu_floor() => {
                // §8.3: whatever else came with the Heartbeat Info goes back, too.
                if self.control_queue.heartbeat_ack.replace(Bytes::copy_from_slice(value)).is_some() {
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
            tracing::debug!("path validated");
            return;
        }
        if nonce.is_some_and(|nonce| self.on_mtu_probe_ack(now, nonce)) {
            return;
        }
        match nonce.and_then(|nonce| self.path.on_heartbeat_ack(now, nonce)) {
            Some(rtt) => {
                self.path.rto.on_sample(rtt);
                tracing::debug!(?rtt, rto = ?self.path.rto.current(), "HEARTBEAT answered");
                self.schedule_heartbeat(now);
            }
            None => self.drop_chunk(PacketDropReason::BadHeartbeatAck),
        }
    }

    /// Schedules the next HEARTBEAT: after the configured idle time and one RTO, give or take half of the RTO (§8.3),
    /// and after a third of the idle time-out at most, less a random part of up to an eighth of it. Without the random
    /// part, all peers of a service that was started again would ask at the same time for ever.
    pub(super) fn schedule_heartbeat(&mut self, now: Instant) {
        let Some(interval) = self.config.heartbeat_interval else { return self.timers.stop(Timer::Heartbeat) };
        let random = f64::from(self.rng.next_u32()) / f64::from(u32::MAX);
        let rto = self.path.rto.current();
        let most = self.config.idle_timeout / 3;
        let wait = (interval + rto / 2 + rto.mul_f64(random)).min(most - (most / 8).mul_f64(random));
        self.timers.set(Timer::Heartbeat, now + wait);
    }

    /// Sends the next HEARTBEAT, or handles one without an answer. After an unanswered HEARTBEAT the next one is sent
    /// without the idle time, so that an idle peer that has vanished is noticed as soon as a peer that owes an
    /// acknowledgement.
    pub(super) fn on_heartbeat_timeout(&mut self, now: Instant) {
        if self.path.forget_heartbeat() && self.on_no_answer(now, Timer::Heartbeat) == PeerStatus::Unreachable {
            return self.give_peer_up(CloseReason::PeerUnreachable);
        }
        if self.sender.has_outstanding() {
            // Data in flight tests the path as well.
            return self.schedule_heartbeat(now);
        }
        if matches!(self.state, State::Established | State::ShutdownPending | State::ShutdownReceived) {
            let nonce = self.rng.next_u64();
            self.path.on_heartbeat_sent(now, nonce);
            self.control_queue.heartbeat = Some(nonce);
            self.timers.start(Timer::Heartbeat, now, self.path.answer_time(now));
        }
    }
}
