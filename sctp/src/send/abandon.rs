//! Abandoning messages (RFC 3758 §3.5 A, §4.1; RFC 7496 §3).

use super::Sender;
use super::outstanding::{Chunk, ChunkState};
use super::queued::Limit;
use crate::event::AssociationEvent;
use crate::message::StreamId;
use crate::serial::{MessageKey, UnwrappedTsn};
use crate::time::Instant;

impl Sender {
    /// Returns `true` if the chunk's message is to be abandoned rather than retransmitted.
    pub(super) fn must_abandon(&self, now: Instant, chunk: &Chunk) -> bool {
        let is_expired = match chunk.message.limit {
            Limit::Never => false,
            Limit::Retransmits(max) => chunk.transmissions > max,
            limit @ Limit::Until(_) => limit.is_expired(now),
        };
        is_expired && self.forward_point.can_abandon()
    }

    /// Abandons the message `key`: the fragments that are outstanding, of which `tsn` is one, and the rest that waits
    /// in the queue of `stream`.
    pub(super) fn abandon(&mut self, now: Instant, tsn: UnwrappedTsn, stream: StreamId, key: MessageKey) {
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
            tracing::debug!(stream_id = %stream, tsn = tsn.wrap().0, len, "message abandoned");
            self.queue.notify(AssociationEvent::Abandoned { stream, len });
            self.forward_point.on_abandoned(&mut self.outstanding);
        }
    }

    /// Discards the unsent data of a stream. A message that was begun is abandoned if the peer supports FORWARD-TSN,
    /// and otherwise sent completely.
    pub(crate) fn discard_unsent(&mut self, now: Instant, stream: StreamId) -> usize {
        let (mut dropped, begun) = self.queue.drop_unsent(stream);
        if let Some(message) = begun.filter(|_| self.forward_point.can_abandon()) {
            let before = self.queue.streams.buffered_on(stream);
            self.abandon(now, message.last_tsn, stream, message.key);
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
                    self.abandon(now, tsn, stream, chunk.message.key);
                }
            }
        }
        dropped
    }
}
