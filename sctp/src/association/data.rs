//! User data, both ways (RFC 9260 §6, RFC 3758).

use bytes::Bytes;

use super::tcb::Tcb;
use super::timer::Timer;
use super::{Association, State};
use crate::error::{SendMessageError, Violation};
use crate::event::ReceiptId;
use crate::message::{Credit, Ppid, SendOptions, StreamId};
use crate::recv::{ArrivedChunk, Forwarded, FragmentHeader, Receiver};
use crate::send::SackOutcome;
use crate::send_policy::SendPolicy;
use crate::serial::{MessageKey, Tsn};
use crate::stats::PacketDropReason;
use crate::time::Instant;
use crate::wire::{Cause, ForwardTsn, IForwardTsn, Sack};

impl Association {
    /// Hands over a message as [`send`](Self::send) does, and reports its progress by
    /// [`AssociationEvent::Receipt`](crate::AssociationEvent::Receipt). A receipt is charged like a short message until
    /// its status is final. Messages without one pay nothing for it.
    ///
    /// # Errors
    ///
    /// See [`SendMessageError`].
    pub fn send_with_receipt(
        &mut self,
        now: Instant,
        stream: StreamId,
        ppid: Ppid,
        payload: Bytes,
        options: SendOptions,
    ) -> Result<ReceiptId, SendMessageError> {
        let key = self.accept_message(now, stream, ppid, payload, options);
        let result = key.map(|key| self.sender.open_receipt(key));
        self.conclude();
        result
    }

    /// Stops reporting the progress of a message, which is still sent. Does nothing if the status was final.
    pub fn forget_receipt(&mut self, id: ReceiptId) {
        self.sender.forget_receipt(id);
        self.conclude();
    }

    pub(super) fn accept_message(
        &mut self,
        now: Instant,
        stream: StreamId,
        ppid: Ppid,
        payload: Bytes,
        options: SendOptions,
    ) -> Result<MessageKey, SendMessageError> {
        if self.is_over || !self.state.can_accept_messages() || self.is_shutdown_wanted {
            return Err(SendMessageError::Closed);
        }
        if !stream.is_below(self.outbound_streams()) {
            return Err(SendMessageError::NoSuchStream { stream, streams: self.outbound_streams() });
        }
        self.burst_left = self.config.max_burst;
        if !options.exceeds_limits && self.is_out_of_memory(payload.len()) {
            self.sender.note_refusal();
            return Err(SendMessageError::Full);
        }
        let key = self.sender.push(now, stream, ppid, payload, options)?;
        self.schedule_expiry();
        Ok(key)
    }

    pub(super) fn apply_policy(&mut self, stream: StreamId, policy: SendPolicy) {
        if !self.is_over {
            self.sender.set_policy(stream, policy);
            self.schedule_expiry();
        }
    }

    /// Arms the timer of the message that expires first. No timer runs in CLOSED, where nothing is sent either.
    pub(super) fn schedule_expiry(&mut self) {
        let expiry = self.sender.next_expiry().filter(|_| self.state != State::Closed);
        self.timers.put(Timer::Lifetime, expiry);
    }

    /// Discards messages that were accepted before the handshake was done, on streams that the peer does not accept.
    /// The owner of the association learns the number of streams after
    /// [`AssociationEvent::Connected`](crate::AssociationEvent::Connected).
    pub(super) fn discard_beyond_agreed_streams(&mut self, now: Instant) {
        for stream in self.sender.streams_from(StreamId(self.outbound_streams())) {
            self.sender.discard_unsent(now, stream);
            // Nobody can reset a stream that does not exist: its entry would stay for as long as the association.
            self.sender.finish_reset(stream);
        }
    }

    pub(super) fn discard(&mut self, now: Instant, stream: StreamId) -> usize {
        let dropped = self.sender.discard_unsent(now, stream);
        self.on_send_progress(now);
        dropped
    }

    pub(super) fn reopen_window(&mut self, credit: Credit) {
        let can_tell = self.state.can_receive_data();
        if let Some(tcb) = &mut self.tcb
            && tcb.receiver.release(credit)
            && can_tell
        {
            tcb.receiver.sack_now();
        }
    }

    pub(super) fn on_data(&mut self, chunk: FragmentHeader, payload: Bytes, datagram_len: usize) {
        if !self.state.can_receive_data() {
            return self.drop_chunk(PacketDropReason::UnexpectedChunk);
        }
        if payload.is_empty() {
            // §6.2: a DATA chunk without data is an attack or a defect.
            return self.abort_for(Violation::NoUserData(chunk.tsn()));
        }
        let Some(tcb) = &mut self.tcb else { return };
        let receiver = &mut tcb.receiver;
        let received = receiver.on_data(chunk, payload, datagram_len);
        for _ in 0..receiver.take_reneged() {
            self.stats.drops.add(PacketDropReason::Reneged);
        }
        match received {
            Ok(ArrivedChunk::New) => self.stats.data_chunks_received += 1,
            Ok(ArrivedChunk::Duplicate) => self.drop_chunk(PacketDropReason::Duplicate),
            Ok(ArrivedChunk::Dropped) => self.drop_chunk(PacketDropReason::WindowOverrun),
            Ok(ArrivedChunk::BadStream) => {
                self.drop_chunk(PacketDropReason::BadStream);
                self.control_queue.push_error(Cause::InvalidStream(chunk.stream()));
            }
            Err(violation) => self.abort_for(violation),
        }
    }

    /// Handles a DATA or I-DATA chunk that is too short for its own fields.
    pub(super) fn on_short_data(&mut self) {
        if !self.state.can_receive_data() {
            return self.drop_chunk(PacketDropReason::UnexpectedChunk);
        }
        self.abort_for(Violation::Malformed);
    }

    /// Finishes a packet with DATA after all its chunks are processed.
    pub(super) fn on_data_packet_end(&mut self, now: Instant) {
        if let Some(tcb) = &mut self.tcb {
            if let Some(round_trip) = self.path.rto.srtt() {
                tcb.receiver.set_round_trip(round_trip);
            }
            tcb.receiver.on_packet_end(now);
            if self.state == State::ShutdownSent {
                // §9.2: each such packet is answered with SACK and SHUTDOWN.
                tcb.receiver.sack_now();
                self.control_queue.shutdown = true;
            }
        }
        self.finish_deferred_reset();
    }

    pub(super) fn on_sack(&mut self, now: Instant, value: &[u8]) {
        if !self.state.is_up() || self.state == State::ShutdownAckSent {
            return self.drop_chunk(PacketDropReason::UnexpectedChunk);
        }
        let Ok(sack) = Sack::decode(value) else { return self.drop_chunk(PacketDropReason::Malformed) };
        match self.sender.on_sack(now, &sack, &self.path) {
            Err(violation) => self.abort_for(violation),
            Ok(SackOutcome::Dropped) => self.drop_chunk(PacketDropReason::BadSack),
            Ok(SackOutcome::Accepted { advanced, is_new, rtt, ambiguous_rtt, reo_deadline }) => {
                // §8.1; an answer to the probe of a closed window is a sign of life too (§6.1 A).
                if is_new || advanced || self.sender.is_probing_window() {
                    self.path.on_sign_of_life(now);
                }
                if advanced {
                    self.path.discovery().on_delivered();
                }
                if let Some(rtt) = rtt {
                    self.path.rto.on_sample(rtt);
                } else if advanced {
                    self.path.rto.on_progress();
                }
                if let Some(rtt) = ambiguous_rtt {
                    self.path.rto.on_ambiguous_sample(rtt);
                }
                self.timers.put(Timer::Rack, reo_deadline);
                self.check_black_hole();
                self.on_acknowledged(now, advanced);
            }
        }
    }

    /// Continues timers, resets and a shutdown that waited for the Cumulative TSN Ack Point to move or for a message to
    /// be abandoned.
    pub(super) fn on_acknowledged(&mut self, now: Instant, advanced: bool) {
        self.sender.on_memory_progress();
        if !self.sender.has_outstanding() {
            // §6.3.2 R2.
            self.timers.stop(Timer::T3Rtx);
        } else if advanced || !self.timers.is_armed(Timer::T3Rtx) {
            // R3.
            self.timers.start(Timer::T3Rtx, now, self.path.answer_time(now));
        }
        self.timers.outdate_probe();
        if advanced {
            self.on_shutdown_progress(now);
        }
        self.on_send_progress(now);
    }

    /// Handles progress of the sender: data left the queues or was acknowledged.
    pub(super) fn on_send_progress(&mut self, now: Instant) {
        let restarts = self.sender.take_t3_restart();
        if self.sender.has_outstanding() {
            if !self.timers.is_armed(Timer::T3Rtx) {
                self.timers.start(Timer::T3Rtx, now, self.path.answer_time(now));
            } else if restarts {
                // It waits for the same answer as before.
                self.timers.set(Timer::T3Rtx, now + self.path.answer_time(now));
            }
        }
        self.timers.put(Timer::WindowProbe, self.sender.window_probe_at(now, &self.path));
        self.schedule_expiry();
        self.advance_resets();
        self.advance_shutdown(now);
    }

    /// Arms the tail loss probe timer if data is in flight and no loss is being repaired (RFC 8985 §7.2). Does nothing
    /// unless data was sent or acknowledged since the last call.
    pub(super) fn schedule_probe(&mut self, now: Instant) {
        if !self.timers.take_outdated_probe() {
            return;
        }
        let at = self.sender.probe_deadline(now, &self.path);
        // A probe that would come after T3 is of no use.
        let t3 = self.timers.deadline(Timer::T3Rtx).unwrap_or_else(|| now + self.path.rto.current());
        self.timers.put(Timer::TailLossProbe, at.filter(|at| *at < t3));
    }

    pub(super) fn on_forward_tsn(&mut self, value: &[u8]) {
        let Some(receiver) = self.receiver_of_skips(false) else { return };
        let Ok(forward) = ForwardTsn::decode(value) else { return self.drop_chunk(PacketDropReason::Malformed) };
        let forwarded = receiver.on_forward_tsn(forward.new_cumulative_tsn, forward.streams());
        self.on_forwarded(forwarded, forward.new_cumulative_tsn);
    }

    pub(super) fn on_i_forward_tsn(&mut self, value: &[u8]) {
        let Some(receiver) = self.receiver_of_skips(true) else { return };
        let Ok(forward) = IForwardTsn::decode(value) else { return self.drop_chunk(PacketDropReason::Malformed) };
        let forwarded = receiver.on_i_forward_tsn(forward.new_cumulative_tsn, forward.streams());
        self.on_forwarded(forwarded, forward.new_cumulative_tsn);
    }

    /// Returns the receiver that is to handle a FORWARD-TSN, or an I-FORWARD-TSN if `interleaving`. A chunk of the
    /// other kind violates the protocol (RFC 8260 §2.3.1).
    fn receiver_of_skips(&mut self, interleaving: bool) -> Option<&mut Receiver> {
        if !self.state.can_receive_data() {
            self.drop_chunk(PacketDropReason::UnexpectedChunk);
            return None;
        }
        let negotiated = self.tcb.as_ref()?.negotiated;
        if negotiated.has_interleaving() != interleaving || !negotiated.has_partial_reliability() {
            self.abort_for(Violation::NotNegotiated);
            return None;
        }
        self.tcb.as_deref_mut().map(|tcb| &mut tcb.receiver)
    }

    fn on_forwarded(&mut self, forwarded: Forwarded, new_cumulative_tsn: Tsn) {
        let Some(Tcb { receiver, .. }) = self.tcb.as_deref_mut() else { return };
        match forwarded {
            Forwarded::Advanced => {
                tracing::debug!(new_cumulative_tsn = new_cumulative_tsn.0, "FORWARD TSN received");
                receiver.sack_now();
            }
            Forwarded::Old => {
                // RFC 3758 §3.6: the peer may have missed the SACK that would have told it.
                receiver.sack_now();
                self.drop_chunk(PacketDropReason::Duplicate);
            }
            Forwarded::TooFar => self.drop_chunk(PacketDropReason::BadForwardTsn),
        }
        self.finish_deferred_reset();
        self.abort_for_late_violation();
    }

    /// Aborts the association for a violation that was found late: in a message that waited behind a reset or a gap.
    pub(super) fn abort_for_late_violation(&mut self) {
        if let Some(violation) = self.tcb.as_ref().and_then(|tcb| tcb.receiver.violation()) {
            self.abort_for(violation);
        }
    }
}
