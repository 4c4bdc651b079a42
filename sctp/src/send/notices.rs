//! Events of the sender that wait for the application.

use std::collections::VecDeque;

use super::receipts::Receipts;
use super::stream_map::StreamMap;
use crate::event::{AssociationEvent, ReceiptId};
use crate::message::{AbandonReason, StreamId};
use crate::serial::{MessageKey, UnwrappedTsn};
use crate::stats::{AbandonCount, AbandonStats};

/// Notices for which an empty queue keeps room, as a burst of messages may bring many at once. From this many on,
/// abandoned messages of the same kind share one.
const NOTICES_KEPT: usize = 16;

/// Bytes charged for the counters of a stream, and for their entry in a table of which half may be empty.
const STREAM_COUNTERS_OVERHEAD: usize = AbandonReason::ALL.len() * size_of::<AbandonCount>() + 64;

#[derive(Debug, Default)]
pub(super) struct Notices {
    queue: VecDeque<AssociationEvent>,
    receipts: Receipts,
    abandoned: AbandonStats,
    /// The same for each stream on which a message was abandoned since the stream was reset.
    abandoned_on: StreamMap<AbandonStats>,
}

/// A message that was abandoned.
#[derive(Clone, Copy, Debug)]
pub(super) struct AbandonedMessage {
    pub(super) key: MessageKey,
    pub(super) stream: StreamId,
    /// Bytes in the whole message.
    pub(super) len: usize,
    pub(super) reason: AbandonReason,
    /// True if no byte of it was sent.
    pub(super) unsent: bool,
}

impl Notices {
    pub(super) fn push(&mut self, notice: AssociationEvent) {
        self.queue.push_back(notice);
    }

    /// Reports an abandoned message. An application that sends more than the path takes has a message abandoned with
    /// each call of `send`, so that a long queue joins those of one stream and reason: it looks for a notice to join
    /// among the last few.
    pub(super) fn push_abandoned(&mut self, message: AbandonedMessage) {
        let AbandonedMessage { key, stream, len, reason, unsent } = message;
        self.end_receipt(key, reason);
        self.abandoned.add(reason, unsent, 1, len);
        self.abandoned_on.entry(stream).or_default().add(reason, unsent, 1, len);
        if self.queue.len() >= NOTICES_KEPT {
            for notice in self.queue.iter_mut().rev().take(NOTICES_KEPT) {
                if let AssociationEvent::Abandoned { stream: on, messages, bytes, reason: why, unsent: is_unsent } =
                    notice
                    && (*on, *why, *is_unsent) == (stream, reason, unsent)
                {
                    *messages += 1;
                    *bytes += len;
                    return;
                }
            }
        }
        self.push(AssociationEvent::Abandoned { stream, messages: 1, bytes: len, reason, unsent });
    }

    /// Reports the progress of the message from now on.
    pub(super) fn open_receipt(&mut self, key: MessageKey) -> ReceiptId {
        self.receipts.insert(key)
    }

    /// Reports the progress of the message no longer.
    pub(super) fn forget_receipt(&mut self, id: ReceiptId) {
        self.receipts.remove(id);
    }

    /// Handles the departure of the last chunk of a message.
    pub(super) fn on_sent(&mut self, key: MessageKey, last: UnwrappedTsn) {
        if !self.receipts.is_empty() {
            self.queue.extend(self.receipts.on_sent(key, last));
        }
    }

    /// Handles an advance of the Cumulative TSN Ack Point.
    pub(super) fn on_acknowledged(&mut self, cumulative: UnwrappedTsn) {
        while !self.receipts.is_empty()
            && let Some(notice) = self.receipts.take_acknowledged(cumulative)
        {
            self.queue.push_back(notice);
        }
    }

    /// Ends the receipt of an abandoned message, if it has one.
    pub(super) fn end_receipt(&mut self, key: MessageKey, reason: AbandonReason) {
        if !self.receipts.is_empty() {
            self.queue.extend(self.receipts.on_abandoned(key, reason));
        }
    }

    /// Ends all receipts and the streams, because the association ends.
    pub(super) fn end_receipts(&mut self) {
        self.abandoned_on = StreamMap::default();
        self.queue.extend(self.receipts.take_all());
    }

    /// Returns the messages that were abandoned, on all streams.
    pub(super) fn abandoned(&self) -> &AbandonStats {
        &self.abandoned
    }

    pub(super) fn abandoned_on(&self, stream: StreamId) -> AbandonStats {
        self.abandoned_on.get(&stream).cloned().unwrap_or_default()
    }

    /// Continues the counters of an association that the peer has restarted; its streams begin anew.
    pub(super) fn continue_totals(&mut self, before: &Self) {
        self.abandoned = before.abandoned.clone();
    }

    pub(super) fn on_stream_reset(&mut self, stream: StreamId) {
        if self.abandoned_on.remove(&stream).is_some() && self.abandoned_on.len() < self.abandoned_on.capacity() / 4 {
            self.abandoned_on.shrink_to(self.abandoned_on.len() * 2);
        }
    }

    /// Returns the number of bytes that the send buffer counts for receipts.
    pub(super) fn receipts_charge(&self) -> usize {
        self.receipts.charge()
    }

    /// Returns the number of bytes that the send buffer counts for the counters of streams. They stay until the streams
    /// are reset.
    pub(super) fn counters_charge(&self) -> usize {
        self.abandoned_on.len() * STREAM_COUNTERS_OVERHEAD
    }

    pub(super) fn pop(&mut self) -> Option<AssociationEvent> {
        let notice = self.queue.pop_front()?;
        if self.queue.is_empty() {
            self.queue.shrink_to(NOTICES_KEPT);
        }
        Some(notice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abandoned_messages_share_notices_when_many_wait() {
        let (mut notices, key) = (Notices::default(), MessageKey::default());
        for index in 0..1_000 {
            let reason = if index % 2 == 0 { AbandonReason::Lifetime } else { AbandonReason::Displaced };
            notices.push_abandoned(AbandonedMessage {
                key,
                stream: StreamId(index % 3),
                len: 10,
                reason,
                unsent: true,
            });
        }
        assert!(notices.queue.len() <= NOTICES_KEPT + 6, "{} notices", notices.queue.len());
        let (mut count, mut total) = (0, 0);
        while let Some(AssociationEvent::Abandoned { messages, bytes, .. }) = notices.pop() {
            count += messages;
            total += bytes;
        }
        assert_eq!((count, total), (1_000, 10_000));
    }
}
