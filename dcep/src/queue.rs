//! How many bytes of a stream's send queue are the application's (W3C bufferedAmount).

use std::collections::VecDeque;

/// Remembers where in the stream of bytes handed to the association the bytes are that the application does not know
/// of: DATA_CHANNEL_OPEN, DATA_CHANNEL_ACK, and the one byte that stands for an empty message.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    /// Bytes handed over so far, less those thrown away unsent.
    accepted: u64,
    /// Where framing starts and ends, in order; only what may still be queued. Neither empty nor adjacent.
    framing: VecDeque<(u64, u64)>,
}

impl SendQueue {
    /// The application's bytes were accepted, when `queued` bytes of the stream were waiting before.
    pub(crate) fn on_message(&mut self, len: usize, queued: usize) {
        self.forget_sent(queued);
        self.accepted += len as u64;
    }

    /// Bytes that are not the application's were accepted.
    pub(crate) fn on_framing(&mut self, len: usize, queued: usize) {
        self.forget_sent(queued);
        let (start, end) = (self.accepted, self.accepted + len as u64);
        match self.framing.back_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => self.framing.push_back((start, end)),
        }
        self.accepted = end;
    }

    /// The last `len` bytes were thrown away.
    pub(crate) fn on_discarded(&mut self, len: usize) {
        self.accepted = self.accepted.saturating_sub(len as u64);
        while let Some(last) = self.framing.back_mut() {
            if last.0 < self.accepted {
                last.1 = last.1.min(self.accepted);
                break;
            }
            self.framing.pop_back();
        }
    }

    /// Of `queued` bytes that wait, those of the application. Messages that were abandoned in the queue count as sent
    /// before the others, so for a while this may be too much by the few bytes of framing.
    pub(crate) fn application_bytes(&self, queued: usize) -> usize {
        let sent = self.accepted.saturating_sub(queued as u64);
        let framing: u64 = self
            .framing
            .iter()
            .rev()
            .take_while(|(_, end)| *end > sent)
            .map(|(start, end)| end - sent.max(*start))
            .sum();
        queued.saturating_sub(usize::try_from(framing).unwrap_or(usize::MAX))
    }

    fn forget_sent(&mut self, queued: usize) {
        let sent = self.accepted.saturating_sub(queued as u64);
        while self.framing.front().is_some_and(|(_, end)| *end <= sent) {
            self.framing.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dcep_and_placeholders_do_not_count() {
        let mut queue = SendQueue::default();
        queue.on_framing(20, 0);
        assert_eq!(queue.application_bytes(20), 0);
        queue.on_message(100, 20);
        queue.on_framing(1, 120);
        queue.on_framing(1, 121);
        queue.on_message(50, 122);
        assert_eq!(queue.framing.len(), 2, "two placeholders in a row are one stretch");
        assert_eq!(queue.application_bytes(172), 150, "nothing sent");
        assert_eq!(queue.application_bytes(160), 150, "half of OPEN sent");
        assert_eq!(queue.application_bytes(152), 150, "OPEN sent");
        assert_eq!(queue.application_bytes(60), 58, "part of the first message sent");
        assert_eq!(queue.application_bytes(51), 50, "a placeholder sent");
        assert_eq!(queue.application_bytes(0), 0);
        queue.on_message(1, 0);
        assert!(queue.framing.is_empty(), "what is sent is forgotten");
        assert_eq!(queue.application_bytes(1), 1);
    }

    #[test]
    fn what_is_thrown_away_was_the_last() {
        let mut queue = SendQueue::default();
        queue.on_framing(20, 0);
        queue.on_message(100, 20);
        queue.on_framing(1, 120);
        queue.on_discarded(51);
        assert_eq!(queue.application_bytes(70), 50);
        queue.on_discarded(65);
        assert_eq!(queue.application_bytes(5), 0);
        queue.on_discarded(5);
        assert_eq!((queue.application_bytes(0), queue.framing.len()), (0, 0));
    }
}
