//! Ends without a shutdown: ABORT (RFC 9260 §9.1), ERROR (§3.3.10), and the close of an association.

use super::negotiate;
use super::{Association, State};
use crate::error::{CloseReason, Violation};
use crate::event::AssociationEvent;
use crate::message::StreamId;
use crate::stats::PacketDropReason;
use crate::time::Instant;
use crate::wire::{Cause, Causes, T_BIT};

impl Association {
    pub(super) fn on_abort(&mut self, flags: u8, value: &[u8]) {
        let mut causes = Causes::new(value);
        let first = causes.next();
        if first.as_ref().is_some_and(Result::is_err) || causes.any(|cause| cause.is_err()) {
            // §3.3.7: an ABORT that cannot be decoded is dropped.
            return self.drop_chunk(PacketDropReason::Malformed);
        }
        if self.state == State::ShutdownAckSent && flags & T_BIT != 0 {
            // The peer has forgotten the association, and an old SHUTDOWN of ours came too late. Each end has
            // acknowledged all that the other sent, so this says no more than the SHUTDOWN COMPLETE that is missing
            // (§9.2).
            return self.close(CloseReason::Shutdown);
        }
        let first = first.and_then(Result::ok);
        let cause = first.as_ref().map(Cause::code);
        let text = first.as_ref().map(Cause::text).unwrap_or_default();
        self.close(CloseReason::PeerAbort { cause, text });
    }

    /// Tells the peer that what it sends on this stream is of no use here: an ERROR with the cause Invalid Stream
    /// Identifier (RFC 9260 §3.3.10.1). It ends nothing, and may be lost.
    pub fn report_invalid_stream(&mut self, stream: StreamId) {
        self.control_queue.push_error(Cause::InvalidStream(stream));
    }

    pub(super) fn on_error(&mut self, now: Instant, value: &[u8]) {
        for cause in Causes::new(value) {
            if let Ok(cause) = &cause {
                tracing::debug!(cause = cause.code(), "ERROR received");
            }
            match cause {
                Ok(Cause::StaleCookie(_)) => return self.on_stale_cookie(now),
                Ok(Cause::InvalidStream(stream)) if self.state.is_up() && self.sender.has_stream(stream) => {
                    self.events.push_back(AssociationEvent::InvalidStream(stream));
                }
                Ok(_) => {}
                Err(_) => return self.drop_chunk(PacketDropReason::Malformed),
            }
        }
    }

    pub(super) fn abort_locally(&mut self, reason: &str) {
        if self.is_over {
            return;
        }
        self.push_abort(Cause::UserInitiatedAbort(reason.as_bytes()));
        self.close(CloseReason::LocalAbort);
    }

    /// Ends the association because the peer broke a rule, with an ABORT that says which.
    pub(super) fn abort_for(&mut self, violation: Violation) {
        self.push_abort(violation.cause());
        self.close(CloseReason::PeerViolation(violation));
    }

    /// Closes the association because the peer was silent for too long, or after too many time-outs in a row. One ABORT
    /// tells a peer that still receives packets, so that the peer need not wait for its own time-outs.
    pub(super) fn give_peer_up(&mut self, reason: CloseReason) {
        self.push_abort(Cause::UserInitiatedAbort(b"no answer to retransmissions"));
        self.close(reason);
    }

    /// Queues an ABORT, if the peer's tag is known.
    pub(super) fn push_abort(&mut self, cause: Cause<'_>) {
        let Some(tag) = self.peer_tag() else { return };
        let mut packet = Vec::new();
        negotiate::write_abort(&self.config, tag.get(), Some(cause), false, &mut packet);
        self.control_queue.push_last(&packet);
    }

    /// Ends the association; a second call changes nothing. Received messages can still be polled; unsent messages are
    /// discarded.
    pub(super) fn close(&mut self, reason: CloseReason) {
        if self.is_over {
            return;
        }
        tracing::debug!(%reason, cause = error_cause(&reason), "association closed");
        self.set_state(State::Closed);
        self.is_over = true;
        self.closing = Some(reason);
        self.timers.stop_all();
        self.control_queue.clear_chunks();
        self.sender.clear();
        if let Some(tcb) = &mut self.tcb {
            tcb.own_requests.clear();
            tcb.receiver.clear();
        }
    }
}

/// Returns the error cause of the ABORT that ended an association, of whichever end (RFC 9260 §3.3.10).
fn error_cause(reason: &CloseReason) -> Option<u16> {
    match reason {
        CloseReason::PeerAbort { cause, .. } => *cause,
        CloseReason::PeerViolation(violation) => Some(violation.cause().code()),
        _ => None,
    }
}
