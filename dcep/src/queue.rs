//! The application's share of the bytes in a stream's send queue (W3C bufferedAmount).

use std::collections::VecDeque;

/// Runs of framing that are checked at a time.
const CHECKED_MAX: usize = 64;

/// Positions of framing in the bytes that were queued on the stream. Framing is what the application did not send:
/// DATA_CHANNEL_OPEN, DATA_CHANNEL_ACK, and the one byte that stands for an empty message.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    /// Bytes queued so far, less those discarded unsent.
    accepted: u64,
    /// Runs of framing that may still be queued, in order. No run is empty, and adjacent ones are of different kinds.
    framing: VecDeque<Framing>,
}

#[derive(Clone, Copy, Debug)]
struct Framing {
    start: u64,
    end: u64,
    /// Bytes of all framing before this, since the channel exists.
    before: u64,
    /// True if it stands for empty messages, which are the application's even if their bytes are not.
    is_message: bool,
}

impl SendQueue {
    /// Records an accepted message of the application, when `queued` bytes of the stream were waiting before.
    pub(crate) fn on_message(&mut self, len: usize, queued: usize) {
        self.forget_sent(queued);
        self.accepted += len as u64;
    }

    /// Records the accepted byte that stands for an empty message.
    pub(crate) fn on_empty_message(&mut self, queued: usize) {
        self.on_framing(1, queued, true);
    }

    /// Records an accepted DCEP message.
    pub(crate) fn on_control(&mut self, len: usize, queued: usize) {
        self.on_framing(len, queued, false);
    }

    fn on_framing(&mut self, len: usize, queued: usize, is_message: bool) {
        self.forget_sent(queued);
        let (start, end) = (self.accepted, self.accepted + len as u64);
        match self.framing.back_mut() {
            Some(last) if last.end == start && last.is_message == is_message => last.end = end,
            last => {
                let before = last.map_or(0, |last| last.before + (last.end - last.start));
                self.framing.push_back(Framing { start, end, before, is_message });
            }
        }
        self.accepted = end;
    }

    /// Removes the last `len` bytes, which were discarded. Returns `true` if empty messages were among them.
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

    /// Returns how many of `queued` waiting bytes are the application's. Messages that were abandoned in the queue
    /// count as sent before the others, so the result may be too high by a few bytes of framing for a while.
    ///
    /// Takes one step right after a message was accepted, and O(log n) steps in the number of runs otherwise.
    pub(crate) fn application_bytes(&self, queued: usize) -> usize {
        let (Some(first), Some(last)) = (self.framing.front(), self.framing.back()) else { return queued };
        let sent = self.accepted.saturating_sub(queued as u64);
        let is_sent = |framing: &Framing| {
            narrowboat_sctp::step();
            framing.end <= sent
        };
        let index = if is_sent(first) { self.framing.partition_point(is_sent) } else { 0 };
        let Some(next) = self.framing.get(index) else { return queued };
        let framing = last.before + (last.end - last.start) - next.before - sent.saturating_sub(next.start);
        queued.saturating_sub(usize::try_from(framing).unwrap_or(usize::MAX))
    }

    fn forget_sent(&mut self, queued: usize) {
        let sent = self.accepted.saturating_sub(queued as u64);
        while self.framing.front().is_some_and(|framing| framing.end <= sent) {
            narrowboat_sctp::step();
            self.framing.pop_front();
        }
    }

    pub(crate) fn check_consistency(&self) {
        let mut previous: Option<&Framing> = None;
        // A debug build checks after each message, which may be one of a hundred thousand.
        let skipped = self.framing.len().saturating_sub(CHECKED_MAX);
        for framing in self.framing.iter().skip(skipped) {
            assert!(framing.start < framing.end && framing.end <= self.accepted, "framing that was never accepted");
            if let Some(previous) = previous {
                let adjoins = previous.end == framing.start && previous.is_message == framing.is_message;
                assert!(previous.end <= framing.start && !adjoins, "framing is in order, and joined");
                assert_eq!(
                    framing.before,
                    previous.before + (previous.end - previous.start),
                    "bytes of framing before"
                );
            }
            previous = Some(framing);
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
        assert!(queue.framing.is_empty(), "what is sent is released");
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

    /// An empty message between any two others made each of them cost as much as all that waited.
    #[test]
    fn each_of_many_small_messages_costs_a_few_steps() {
        const MESSAGES: usize = 20_000;
        let (mut queue, mut queued) = (SendQueue::default(), 0);
        queue.on_control(20, 0);
        queued += 20;
        let before = narrowboat_sctp::steps();
        for message in 0..MESSAGES {
            match message % 3 {
                0 => queue.on_empty_message(queued),
                1 => queue.on_message(1, queued),
                _ => queue.on_control(1, queued),
            }
            queued += 1;
            assert_eq!(queue.application_bytes(queued), message.div_ceil(3));
            queue.check_consistency();
        }
        let sending = narrowboat_sctp::steps() - before;
        assert!(sending <= 2 * MESSAGES as u64, "{sending} steps");
        // Nothing is forgotten while nothing is accepted, as when the application asks how much waits.
        let before = narrowboat_sctp::steps();
        for waiting in (1..=queued - 20).rev() {
            let application = queue.application_bytes(waiting);
            if waiting % 1_000 == 0 {
                let messages = (MESSAGES - waiting..MESSAGES).filter(|message| message % 3 == 1).count();
                assert_eq!(application, messages);
            }
        }
        let asking = narrowboat_sctp::steps() - before;
        assert!(asking <= 20 * MESSAGES as u64, "{asking} steps");
        assert!(cfg!(not(debug_assertions)) || sending > 0 && asking > 0);
        queue.on_discarded(queued);
        assert_eq!((queue.application_bytes(0), queue.framing.len()), (0, 0));
    }
}
