//! Events of the sender that wait for the application.

use std::collections::VecDeque;

use crate::event::{AbandonReason, AssociationEvent};
use crate::message::StreamId;

/// Notices for which an empty queue keeps room, as a burst of messages may bring many at once. From this many on,
/// abandoned messages of the same kind share one.
const NOTICES_KEPT: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Notices {
    queue: VecDeque<AssociationEvent>,
}

/// A message that was abandoned.
#[derive(Clone, Copy, Debug)]
pub(super) struct AbandonedMessage {
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
        let AbandonedMessage { stream, len, reason, unsent } = message;
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
        let mut notices = Notices::default();
        for index in 0..1_000 {
            let reason = if index % 2 == 0 { AbandonReason::Lifetime } else { AbandonReason::Displaced };
            notices.push_abandoned(AbandonedMessage { stream: StreamId(index % 3), len: 10, reason, unsent: true });
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
