//! How many bytes of a stream's send queue are the application's (W3C bufferedAmount).

use std::collections::VecDeque;

/// Remembers where in the stream of bytes handed to the association the bytes are that the application does not know
/// of: DATA_CHANNEL_OPEN, DATA_CHANNEL_ACK, and the one byte that stands for an empty message.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    /// Bytes handed over so far, less those thrown away unsent.
    accepted: u64,
    /// Where framing starts and ends, in order; only what may still be queued. Not empty, and what is adjacent is of
    /// different kinds.
    framing: VecDeque<Framing>,
}

#[derive(Clone, Copy, Debug)]
struct Framing {
    start: u64,
    end: u64,
    /// Whether it stands for empty messages, which are the application's even if their bytes are not.
    is_message: bool,
}

impl SendQueue {
    /// The application's bytes were accepted, when `queued` bytes of the stream were waiting before.
    pub(crate) fn on_message(&mut self, len: usize, queued: usize) {
        self.forget_sent(queued);
        self.accepted += len as u64;
    }

    /// The byte that stands for an empty message was accepted.
    pub(crate) fn on_empty_message(&mut self, queued: usize) {
        self.on_framing(1, queued, true);
    }

    /// A DCEP message was accepted.
    pub(crate) fn on_control(&mut self, len: usize, queued: usize) {
        self.on_framing(len, queued, false);
    }

    fn on_framing(&mut self, len: usize, queued: usize, is_message: bool) {
        self.forget_sent(queued);
        let (start, end) = (self.accepted, self.accepted + len as u64);
        match self.framing.back_mut() {
            Some(last) if last.end == start && last.is_message == is_message => last.end = end,
            _ => self.framing.push_back(Framing { start, end, is_message }),
        }
        self.accepted = end;
    }

    /// The last `len` bytes were thrown away. Returns whether empty messages were among them.
    pub(crate) fn on_discarded(&mut self, len: usize) -> bool {
        let mut had_empty_messages = false;
        self.accepted = self.accepted.saturating_sub(len as u64);
        while let Some(last) = self.framing.back_mut().filter(|last| last.end > self.accepted) {
            had_empty_messages |= last.is_message;
            last.end = self.accepted;
            if last.start >= last.end {
                self.framing.pop_back();
            }
        }
        had_empty_messages
    }

    /// Of `queued` bytes that wait, those of the application. Messages that were abandoned in the queue count as sent
    /// before the others, so for a while this may be too much by the few bytes of framing.
    pub(crate) fn application_bytes(&self, queued: usize) -> usize {
        let sent = self.accepted.saturating_sub(queued as u64);
        let framing: u64 = self
            .framing
            .iter()
            .rev()
            .take_while(|framing| framing.end > sent)
            .map(|framing| framing.end - sent.max(framing.start))
            .sum();
        queued.saturating_sub(usize::try_from(framing).unwrap_or(usize::MAX))
    }

    fn forget_sent(&mut self, queued: usize) {
        let sent = self.accepted.saturating_sub(queued as u64);
        while self.framing.front().is_some_and(|framing| framing.end <= sent) {
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
        queue.on_control(20, 0);
        assert_eq!(queue.application_bytes(20), 0);
        queue.on_message(100, 20);
        queue.on_empty_message(120);
        queue.on_empty_message(121);
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
        queue.on_control(20, 0);
        queue.on_message(100, 20);
        queue.on_empty_message(120);
        assert!(queue.on_discarded(51), "the empty message is lost");
        assert_eq!(queue.application_bytes(70), 50);
        assert!(!queue.on_discarded(65));
        assert_eq!(queue.application_bytes(5), 0);
        assert!(!queue.on_discarded(5), "DATA_CHANNEL_OPEN is not the application's");
        assert_eq!((queue.application_bytes(0), queue.framing.len()), (0, 0));
    }
}
