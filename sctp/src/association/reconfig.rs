//! Stream reset as requester and responder (RFC 6525 §5).

use super::tcb::Tcb;
use super::timer::Timer;
use super::{Association, State};
use crate::error::{CloseReason, ResetError};
use crate::event::{AssociationEvent, Streams};
use crate::message::StreamId;
use crate::path::PeerStatus;
use crate::recv::ResetProgress;
use crate::reset::{RequestDecision, RequestOutcome, RequestTimeout};
use crate::serial::{RequestSn, Tsn};
use crate::stats::PacketDropReason;
use crate::time::Instant;
use crate::wire::{Cause, Reconfig, ReconfigParameter, ResetResult, StreamList};

impl Association {
    pub(super) fn begin_reset(&mut self, now: Instant, streams: &[StreamId]) -> Result<(), ResetError> {
        if !matches!(self.state, State::Established | State::ShutdownReceived) {
            return Err(ResetError::NotEstablished);
        }
        if !self.peer_supports_stream_reset() {
            return Err(ResetError::NotSupported);
        }
        if let Some(stream) = streams.iter().find(|stream| !stream.is_below(self.outbound_streams())) {
            return Err(ResetError::NoSuchStream(*stream));
        }
        let Some(Tcb { own_requests, .. }) = self.tcb.as_deref_mut() else { return Err(ResetError::NotEstablished) };
        for stream in streams {
            if !self.sender.is_resetting(*stream) {
                if let Some(drains_at) = self.sender.drains_at(*stream) {
                    own_requests.enqueue(*stream, drains_at);
                    if drains_at > self.sender.cumulative_tsn_ack_point() {
                        self.sender.request_immediate_sack(now, *stream, &self.path);
                    }
                }
                self.sender.begin_reset(*stream);
            }
        }
        self.on_send_progress(now);
        Ok(())
    }

    /// Queues that ran empty wait for their last acknowledgement; those that have it can be reset.
    pub(super) fn advance_resets(&mut self) {
        let Some(Tcb { own_requests, .. }) = self.tcb.as_deref_mut() else { return };
        while let Some((stream, drains_at)) = self.sender.poll_drained() {
            own_requests.enqueue(stream, drains_at);
        }
        own_requests.on_acknowledged(self.sender.cumulative_tsn_ack_point());
    }

    pub(super) fn on_reconfig(&mut self, now: Instant, value: &[u8]) {
        if !self.peer_supports_stream_reset() {
            return self.drop_chunk(PacketDropReason::UnknownChunk);
        }
        if !self.state.is_up() || self.state == State::ShutdownAckSent {
            return self.drop_chunk(PacketDropReason::UnexpectedChunk);
        }
        let reconfig = match Reconfig::decode(value) {
            Ok(reconfig) if reconfig.is_allowed_combination() => reconfig,
            Ok(_) => {
                // RFC 6525 §3.1: other combinations of parameters do not exist.
                self.control_queue.push_error(Cause::ProtocolViolation(b"RE-CONFIG parameters do not go together"));
                return self.drop_chunk(PacketDropReason::BadReconfig);
            }
            Err(_) => return self.drop_chunk(PacketDropReason::Malformed),
        };
        for parameter in reconfig.parameters() {
            match parameter {
                ReconfigParameter::OutgoingReset { request, response, last_tsn, streams } => {
                    self.on_answered_by_request(now, response);
                    self.on_request(request, |this| this.perform_incoming(last_tsn, &streams));
                }
                ReconfigParameter::IncomingReset { request, streams } => {
                    self.on_request(request, |this| this.reset_for_peer(now, &streams));
                }
                ReconfigParameter::AddOutgoing { request, count } => {
                    self.on_request(request, |this| this.take_more_streams(count));
                }
                ReconfigParameter::AddIncoming { request, count } => {
                    self.on_request(request, |this| this.add_streams_for_peer(count));
                }
                ReconfigParameter::SsnTsnReset { request } => self.deny_tsn_reset(request),
                ReconfigParameter::Response { response, result, .. } => self.on_response(now, response, result),
                ReconfigParameter::Unknown(_) => self.drop_chunk(PacketDropReason::BadReconfig),
            }
        }
        self.abort_for_late_violation();
    }

    /// Handles a request of the peer: it is performed once, and answered as often as it comes (§5.2.1).
    fn on_request(&mut self, request: RequestSn, execute: impl FnOnce(&mut Self) -> ResetResult) {
        let Some(tcb) = &self.tcb else { return };
        let result = match tcb.peer_requests.decide(request) {
            RequestDecision::Execute => {
                let result = execute(self);
                if let Some(tcb) = &mut self.tcb {
                    tcb.peer_requests.answer(request, result);
                }
                result
            }
            RequestDecision::Repeat(result) => {
                self.stats.drops.add(PacketDropReason::Duplicate);
                result
            }
            RequestDecision::OutOfSequence => {
                self.stats.drops.add(PacketDropReason::BadReconfig);
                ResetResult::BadSequenceNumber
            }
        };
        tracing::debug!(request_sn = request.0, ?result, "request of the peer answered");
        self.control_queue.push_reconfig_response(request, result);
        // §5.2.1: a SACK beside the answer tells the peer what is missing.
        if let Some(tcb) = &mut self.tcb {
            tcb.receiver.sack_now();
        }
    }

    /// Denies an SSN/TSN reset (§5.2.1). To perform it means to forget what is under way in both directions: reliable
    /// messages would be lost in silence, and RFC 8831 does not say what becomes of the channels. The answer names the
    /// next TSNs, which stay as they are (§5.1.7 D3, D4).
    fn deny_tsn_reset(&mut self, request: RequestSn) {
        self.on_request(request, |_| ResetResult::Denied);
        if let Some(tcb) = &self.tcb {
            let own = self.sender.last_assigned_tsn().next().wrap();
            let other = Tsn(tcb.receiver.cumulative_tsn().0.wrapping_add(1));
            self.control_queue.add_next_tsns(own, other);
        }
    }

    /// Handles the peer's request to reset its outgoing side (§5.2.2).
    fn perform_incoming(&mut self, last_tsn: Tsn, streams: &StreamList<'_>) -> ResetResult {
        let inbound = self.inbound_streams();
        if streams.iter().any(|stream| !stream.is_below(inbound)) {
            return ResetResult::WrongSsn;
        }
        let unused = streams.iter().filter(|stream| !self.sender.has_stream(*stream)).count();
        if unused > self.unused_resets_left {
            self.stats.drops.add(PacketDropReason::AnswerLimit);
            return ResetResult::Denied;
        }
        let streams = if streams.is_empty() { Streams::All } else { Streams::List(streams.iter().collect()) };
        tracing::debug!(?streams, last_tsn = last_tsn.0, "stream reset of the peer");
        let Some(tcb) = &mut self.tcb else { return ResetResult::Denied };
        let progress = tcb.receiver.reset_streams(streams, last_tsn);
        if matches!(progress, ResetProgress::Performed | ResetProgress::Deferred) {
            self.unused_resets_left -= unused;
        }
        match progress {
            ResetProgress::Performed => ResetResult::Performed,
            ResetProgress::Deferred => ResetResult::InProgress,
            ResetProgress::Impossible => ResetResult::Denied,
            // One at a time: the peer may not ask again before the first is answered.
            ResetProgress::Busy => ResetResult::ErrorInProgress,
        }
    }

    /// Handles the peer's request that this end reset its outgoing side (§5.2.3). This end does so with a request of
    /// its own as soon as the streams are drained; the peer sees that request, so the answer can be given at once.
    fn reset_for_peer(&mut self, now: Instant, streams: &StreamList<'_>) -> ResetResult {
        if streams.iter().any(|stream| !stream.is_below(self.outbound_streams())) {
            return ResetResult::WrongSsn;
        }
        // A stream on which nothing was sent is at its beginning already, and a reset of it would only cost memory.
        let list: Vec<StreamId> = if streams.is_empty() {
            self.sender.streams_from(StreamId(0))
        } else {
            streams.iter().filter(|stream| self.sender.has_stream(*stream)).collect()
        };
        if list.iter().all(|stream| self.sender.is_resetting(*stream)) {
            return ResetResult::NothingToDo;
        }
        match self.begin_reset(now, &list) {
            Ok(()) => ResetResult::Performed,
            Err(ResetError::NoSuchStream(_)) => ResetResult::WrongSsn,
            Err(_) => ResetResult::Denied,
        }
    }

    /// Handles the peer's request to send on more streams than it announced at first (§5.2.5), as usrsctp does when a
    /// channel needs one. A stream costs nothing until it is used, so all up to the configured limit are granted.
    fn take_more_streams(&mut self, count: u16) -> ResetResult {
        let Some(Tcb { negotiated, receiver, .. }) = self.tcb.as_deref_mut() else { return ResetResult::Denied };
        match negotiated.inbound_streams.checked_add(count).filter(|sum| *sum <= self.config.inbound_streams) {
            Some(sum) if count > 0 => {
                negotiated.inbound_streams = sum;
                receiver.take_streams(sum);
                self.events.push_back(AssociationEvent::IncomingStreamsAdded(count));
                ResetResult::Performed
            }
            Some(_) => ResetResult::NothingToDo,
            None => ResetResult::Denied,
        }
    }

    /// Answers a deferred reset request once the data that it waited for has arrived and the reset is performed.
    pub(super) fn finish_deferred_reset(&mut self) {
        if let Some(tcb) = &mut self.tcb
            && tcb.receiver.take_performed_reset()
            && let Some(request) = tcb.peer_requests.on_deferred_performed()
        {
            tracing::debug!(request_sn = request.0, result = ?ResetResult::Performed, "request of the peer answered");
            self.control_queue.push_reconfig_response(request, ResetResult::Performed);
        }
    }

    /// Handles the peer's response (§5.2.7).
    fn on_response(&mut self, now: Instant, response: RequestSn, result: ResetResult) {
        tracing::debug!(request_sn = response.0, ?result, "stream reset answered");
        let acknowledged = self.sender.cumulative_tsn_ack_point();
        let Some(tcb) = &mut self.tcb else { return };
        match tcb.own_requests.on_response(now, response, result, acknowledged) {
            RequestOutcome::Nothing => self.drop_chunk(PacketDropReason::BadReconfig),
            RequestOutcome::Other(request, result) => self.on_other_answered(now, request, result),
            RequestOutcome::InProgress | RequestOutcome::Retry => {
                self.path.on_sign_of_life(now);
                self.timers.start(Timer::Reconfig, now, self.path.answer_time(now));
                self.advance_resets();
            }
            RequestOutcome::Performed(streams) => {
                self.path.on_sign_of_life(now);
                self.timers.stop(Timer::Reconfig);
                for stream in streams {
                    self.sender.finish_reset(stream);
                    self.events.push_back(AssociationEvent::OutgoingStreamReset(stream));
                }
            }
            // The streams stay open at the peer, and this end cannot use them any more. Only the end of the association
            // ends them at both ends.
            RequestOutcome::Failed => {
                self.push_abort(Cause::UserInitiatedAbort(b"stream resets are refused"));
                self.close(CloseReason::ResetRefused(result));
            }
        }
    }

    /// Retransmits a request for as long as the association lasts (§5.1.1). Each time-out counts as an error of the
    /// path.
    pub(super) fn on_reconfig_timeout(&mut self, now: Instant) {
        let Some(tcb) = &mut self.tcb else { return };
        match tcb.own_requests.on_timeout() {
            RequestTimeout::Answered => self.path.rto.back_off(),
            RequestTimeout::Unanswered => {
                if self.on_no_answer(now, Timer::Reconfig) == PeerStatus::Unreachable {
                    return self.give_peer_up(CloseReason::PeerUnreachable);
                }
            }
        }
        self.timers.start(Timer::Reconfig, now, self.path.answer_time(now));
    }
}
