//! Messages that wait for sending: the streams' queues, the limits of the send buffer, and notices for the application.

use bytes::Bytes;

use super::data_format::DataFormat;
use super::freshness::RateSeen;
use super::notices::Notices;
use super::queued::{Fragment, MessageHeader, NextMessage};
use super::stream::StreamQueues;
use crate::config::AssociationConfig;
use crate::error::SendMessageError;
use crate::event::AssociationEvent;
use crate::message::{AbandonReason, Ppid, Reliability, SendOptions, StreamId};
use crate::path::Path;
use crate::serial::{MessageKey, UnwrappedTsn};
use crate::time::Instant;

/// Least send buffer while little is outstanding, unless less is configured. Beyond a third of the configured one,
/// twice as much may be in use as is outstanding: enough for a sender that doubles its rate, and nothing for a path
/// that takes little.
const SEND_BUFFER_BASE: usize = 16 << 20;

#[derive(Debug)]
pub(super) struct OutgoingQueue {
    pub(super) streams: StreamQueues,
    pub(super) notices: Notices,
    send_buffer: usize,
    message_size_max: usize,
    /// True if a message was refused because the send buffer was full.
    was_refused: bool,
    /// True if a message was refused because memory that is shared with other associations was used up.
    waits_for_memory: bool,
}

impl OutgoingQueue {
    pub(super) fn new(config: &AssociationConfig, path: &Path) -> Self {
        Self {
            streams: StreamQueues::new(config.stream_send_buffer, DataFormat::default().payload_max(path))
                .with_scheduler(config.stream_scheduler),
            notices: Notices::default(),
            send_buffer: config.send_buffer,
            message_size_max: config.send_message_size_max,
            was_refused: false,
            waits_for_memory: false,
        }
    }

    /// Accepts a message and returns its number, or says why not. `outstanding`: what the send buffer counts for chunks
    /// that were sent.
    pub(super) fn push(
        &mut self,
        now: Instant,
        stream: StreamId,
        ppid: Ppid,
        payload: Bytes,
        options: SendOptions,
        outstanding: usize,
    ) -> Result<MessageKey, SendMessageError> {
        if payload.is_empty() {
            return Err(SendMessageError::Empty);
        }
        if payload.len() > self.message_size_max {
            return Err(SendMessageError::TooLarge { len: payload.len(), max: self.message_size_max });
        }
        let admission = self.streams.admission(stream);
        if admission.is_resetting {
            return Err(SendMessageError::Resetting(stream));
        }
        if !options.exceeds_limits && (admission.is_full || self.is_full(outstanding)) {
            // Messages that have expired in the meantime need not keep new ones out.
            self.peek(now, RateSeen::default);
            self.displace(stream, outstanding);
            self.displace_lower(stream, options.reliability, outstanding);
            let is_full = self.is_full(outstanding);
            self.was_refused |= is_full;
            if is_full || self.streams.refuses(stream) {
                return Err(SendMessageError::Full);
            }
        }
        if admission.is_bounded {
            self.streams.make_place(stream, payload.len(), &mut self.notices);
        }
        Ok(self.streams.push(now, stream, ppid, payload, options))
    }

    /// Drops the oldest messages of a stream whose policy says so until the buffers have room for a new one; drops none
    /// if that would not help.
    fn displace(&mut self, stream: StreamId, outstanding: usize) {
        if self.used(outstanding).saturating_sub(self.limit(outstanding)) >= self.streams.displaceable(stream) {
            return;
        }
        while self.is_full(outstanding) || self.streams.admission(stream).is_full {
            if !self.streams.drop_oldest(stream, AbandonReason::Displaced, &mut self.notices) {
                break;
            }
        }
    }

    /// Drops messages with a lower priority until the buffers have room for a new one (RFC 7496 §3.2); drops none if
    /// that would not help.
    fn displace_lower(&mut self, stream: StreamId, reliability: Reliability, outstanding: usize) {
        let below = match reliability {
            Reliability::Priority(priority) => Some(priority),
            // All others come before messages with a priority.
            Reliability::Reliable | Reliability::MaxRetransmits(_) | Reliability::MaxLifetime(_) => None,
        };
        let excess = self.is_full(outstanding).then(|| self.used(outstanding) - self.limit(outstanding));
        if !self.streams.can_drop_lower(stream, below, excess) {
            return;
        }
        while self.streams.admission(stream).is_full && self.streams.drop_lowest(Some(stream), below, &mut self.notices)
        {
        }
        while self.is_full(outstanding) && self.streams.drop_lowest(None, below, &mut self.notices) {}
    }

    fn is_full(&self, outstanding: usize) -> bool {
        self.used(outstanding) >= self.limit(outstanding)
    }

    /// Returns the size of the send buffer at the moment.
    fn limit(&self, outstanding: usize) -> usize {
        (2 * outstanding).max(SEND_BUFFER_BASE).max(self.send_buffer / 3).min(self.send_buffer)
    }

    /// Returns what is used of the send buffer: by what waits, by what is outstanding, and by the streams in use. The
    /// latter take seven eighths of it at most with their counters, so that something can always be sent.
    fn used(&self, outstanding: usize) -> usize {
        let streams = self.streams.streams_charge() + self.notices.counters_charge();
        let streams = streams.min(self.limit(outstanding) / 8 * 7);
        self.streams.charge() + outstanding + streams + self.notices.receipts_charge()
    }

    /// Notifies the application of room after a refusal.
    pub(super) fn check_refused(&mut self, outstanding: usize) {
        let has_room = self.was_refused && !self.is_full(outstanding);
        if self.streams.take_room() | has_room {
            self.was_refused &= !has_room;
            self.notices.push(AssociationEvent::Writable);
        }
    }

    /// Notes that a message was refused because shared memory is used up. The application may try again when something
    /// was acknowledged.
    pub(super) fn note_memory_refusal(&mut self) {
        self.waits_for_memory = true;
    }

    /// Handles an acknowledgement, which freed memory.
    pub(super) fn on_memory_progress(&mut self) {
        if std::mem::take(&mut self.waits_for_memory) {
            self.notices.push(AssociationEvent::Writable);
        }
    }

    pub(super) fn poll_notice(&mut self) -> Option<AssociationEvent> {
        self.notices.pop()
    }

    /// Calls [`StreamQueues::peek`].
    pub(super) fn peek(&mut self, now: Instant, rate: impl Fn() -> RateSeen) -> Option<NextMessage> {
        self.streams.peek(now, rate, &mut self.notices)
    }

    /// Calls [`StreamQueues::expire`].
    pub(super) fn expire(&mut self, now: Instant) -> Vec<NextMessage> {
        self.streams.expire(now, &mut self.notices)
    }

    /// Calls [`StreamQueues::cut`].
    #[inline]
    pub(super) fn cut(&mut self, tsn: UnwrappedTsn, room: usize, room_max: usize) -> Option<Fragment> {
        self.streams.cut(tsn, room, room_max, &mut self.notices)
    }

    /// Calls [`StreamQueues::drop_rest`].
    pub(super) fn drop_rest(&mut self, stream: StreamId, key: MessageKey) -> Option<MessageHeader> {
        self.streams.drop_rest(stream, key, &mut self.notices)
    }

    /// Calls [`StreamQueues::drop_unsent`].
    pub(super) fn drop_unsent(&mut self, stream: StreamId) -> (usize, Option<NextMessage>) {
        self.streams.drop_unsent(stream, &mut self.notices)
    }

    /// Returns how much was counted.
    pub(super) fn check_consistency(&self) -> usize {
        self.streams.check_consistency()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::some_time;

    fn queue(send_buffer: usize) -> OutgoingQueue {
        let config = AssociationConfig { send_buffer, send_message_size_max: 5_000, ..AssociationConfig::default() };
        OutgoingQueue::new(&config, &Path::new(&config))
    }

    fn push(queue: &mut OutgoingQueue, payload: Vec<u8>, outstanding: usize) -> Result<(), SendMessageError> {
        push_on(queue, 1, payload, outstanding)
    }

    fn push_on(
        queue: &mut OutgoingQueue,
        stream: u16,
        payload: Vec<u8>,
        outstanding: usize,
    ) -> Result<(), SendMessageError> {
        queue
            .push(some_time(), StreamId(stream), Ppid(53), payload.into(), SendOptions::default(), outstanding)
            .map(drop)
    }

    #[test]
    fn messages_that_can_never_be_sent_are_refused() {
        let mut queue = queue(1 << 20);
        assert_eq!(push(&mut queue, vec![], 0), Err(SendMessageError::Empty));
        assert_eq!(push(&mut queue, vec![0; 5_001], 0), Err(SendMessageError::TooLarge { len: 5_001, max: 5_000 }));
        assert_eq!(push(&mut queue, vec![0; 5_000], 0), Ok(()));
        queue.streams.begin_reset(StreamId(1));
        assert_eq!(push(&mut queue, vec![0; 1], 0), Err(SendMessageError::Resetting(StreamId(1))));
    }

    #[test]
    fn a_refusal_is_followed_by_one_notice_of_room() {
        let mut queue = queue(1 << 16);
        assert_eq!(push(&mut queue, vec![0; 100], 1 << 16), Err(SendMessageError::Full));
        queue.check_refused(1 << 16);
        assert!(queue.poll_notice().is_none(), "what is outstanding still fills the buffer");
        queue.check_refused(0);
        assert!(matches!(queue.poll_notice(), Some(AssociationEvent::Writable)));
        queue.check_refused(0);
        assert!(queue.poll_notice().is_none());
    }

    #[test]
    fn beyond_sixteen_mebibytes_as_much_may_wait_as_is_outstanding() {
        let mib = 1 << 20;
        for (send_buffer, outstanding, accepted) in
            [(48, 0, 16), (48, 8, 8), (48, 12, 12), (48, 20, 20), (48, 40, 8), (8, 6, 2)]
        {
            let mut queue = OutgoingQueue { message_size_max: mib, ..queue(send_buffer * mib) };
            // Each on a stream of its own, for which there is another limit.
            let mut messages = 0;
            while push_on(&mut queue, messages, vec![0; mib / 2], outstanding * mib).is_ok() {
                messages += 1;
            }
            let (waiting, exact) = (usize::from(messages) * mib / 2, accepted * mib);
            // The overhead of the chunks is a third, and the last message may cross the line.
            assert!(waiting <= exact + mib / 2 && waiting * 7 / 5 >= exact, "{waiting} beside {outstanding} MiB");
        }
    }

    #[test]
    fn a_refusal_for_want_of_shared_memory_ends_with_the_next_acknowledgement() {
        let mut queue = queue(1 << 16);
        queue.on_memory_progress();
        assert!(queue.poll_notice().is_none());
        queue.note_memory_refusal();
        queue.on_memory_progress();
        assert!(matches!(queue.poll_notice(), Some(AssociationEvent::Writable)));
    }
}
