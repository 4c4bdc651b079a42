//! Abandoning messages (RFC 3758 §3.5 A, §4.1; RFC 7496 §3).

use super::Sender;
use super::notices::AbandonedMessage;
use super::outstanding::{Chunk, ChunkState};
use super::queued::{Limit, MessageHeader, NextMessage};
use crate::message::{AbandonReason, StreamId};
use crate::path::Path;
use crate::serial::{MessageKey, UnwrappedTsn};
use crate::time::Instant;

/// A message of which something was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct BegunMessage {
    stream: StreamId,
    key: MessageKey,
}

impl From<MessageHeader> for BegunMessage {
    fn from(MessageHeader { stream, key, .. }: MessageHeader) -> Self {
        Self { stream, key }
    }
}

impl From<NextMessage> for BegunMessage {
    fn from(NextMessage { stream, key, .. }: NextMessage) -> Self {
        Self { stream, key }
    }
}

impl From<Limit> for AbandonReason {
    /// Returns the reason for which a message with this limit is not retransmitted.
    fn from(limit: Limit) -> Self {
        match limit {
            Limit::Never | Limit::Retransmits(_) => Self::Retransmits,
            Limit::Priority(_) => Self::Priority,
            Limit::Until(_) => Self::Lifetime,
            Limit::Discarded(_) => Self::Discarded,
        }
    }
}

impl Sender {
    /// Returns the message whose turn it is. Drops messages that are too old to be begun, by the rate at which chunks
    /// leave.
    pub(super) fn peek(&mut self, now: Instant, path: &Path) -> Option<NextMessage> {
        let (rate, flight_size) = (&self.rate, self.outstanding.flight_size());
        self.queue.peek(now, || rate.seen(flight_size, path))
    }

    /// Abandons messages whose time is over. A message that was begun stays if it can be sent within a round trip.
    pub(crate) fn on_lifetime_timeout(&mut self, now: Instant, path: &Path) {
        for next in self.queue.expire(now) {
            if self.forward_point.can_abandon() && !self.is_soon_sent(next, path) {
                self.abandon(now, next.last_tsn, next.into(), AbandonReason::Lifetime);
            }
        }
        self.check_refused();
    }

    /// Returns true if the rest of a message that was begun leaves within a round trip.
    pub(super) fn is_soon_sent(&self, next: NextMessage, path: &Path) -> bool {
        self.has_peer_window(&next, path) && next.left <= self.rate.cwnd()
    }

    /// Returns the time at which to call [`on_lifetime_timeout`](Self::on_lifetime_timeout).
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.queue.streams.next_expiry()
    }

    /// Returns `true` if the chunk's message is to be abandoned rather than retransmitted.
    pub(super) fn must_abandon(&self, now: Instant, chunk: &Chunk) -> bool {
        chunk.is_exhausted(now) && self.forward_point.can_abandon()
    }

    /// Abandons a message: the fragments that are outstanding, of which `tsn` is one, and the rest that waits in the
    /// queue of its stream.
    pub(super) fn abandon(&mut self, now: Instant, tsn: UnwrappedTsn, message: BegunMessage, reason: AbandonReason) {
        let BegunMessage { stream, key } = message;
        let mut len = None;
        if let Some(chunk) = self.outstanding.chunk(tsn).filter(|chunk| chunk.message.key == key) {
            len = Some(chunk.message.len);
            self.outstanding.abandon_message(tsn);
        }
        if let Some(message) = self.queue.drop_rest(stream, key) {
            len = Some(message.len);
            self.outstanding.push_placeholder(now, message);
            self.queue.streams.on_placeholder(stream, self.outstanding.last_assigned_tsn());
        }
        if let Some(len) = len {
            tracing::debug!(stream_id = %stream, tsn = tsn.wrap().0, len, ?reason, "message abandoned");
            self.queue.notices.push_abandoned(AbandonedMessage { key, stream, len, reason, unsent: false });
            self.forward_point.on_abandoned(now, &mut self.outstanding);
        }
    }

    /// Discards the unsent data of a stream. A message that was begun is abandoned if the peer supports FORWARD-TSN,
    /// and otherwise sent completely.
    pub(crate) fn discard_unsent(&mut self, now: Instant, stream: StreamId) -> usize {
        let (mut dropped, begun) = self.queue.drop_unsent(stream);
        if let Some(message) = begun.filter(|_| self.forward_point.can_abandon()) {
            let before = self.queue.streams.buffered_on(stream);
            self.abandon(now, message.last_tsn, message.into(), AbandonReason::Discarded);
            dropped += before - self.queue.streams.buffered_on(stream);
        }
        self.check_refused();
        dropped
    }

    /// Drops what was not sent of a stream, and retransmits nothing of it, if the peer can skip it. What is in flight
    /// may still arrive, but for a window probe, which the peer takes no sooner than the rest.
    pub(crate) fn abandon_stream(&mut self, now: Instant, stream: StreamId) -> usize {
        let mut dropped = self.discard_unsent(now, stream);
        if self.forward_point.can_abandon() {
            let is_probing = self.is_probing_window();
            for tsn in self.outstanding.forbid_retransmissions(stream) {
                let Some(chunk) = self.outstanding.chunk(tsn) else { continue };
                if chunk.state == ChunkState::Lost || is_probing && chunk.state == ChunkState::InFlight {
                    dropped += chunk.payload.len();
                    self.abandon(now, tsn, chunk.message.into(), AbandonReason::Discarded);
                }
            }
        }
        dropped
    }
}
