//! The direction of a channel in which this end sends.

use bytes::Bytes;
use narrowboat_sctp::AbandonStats;

use crate::queue::SendQueue;

/// State of sending on a channel.
#[derive(Debug, Default)]
pub(crate) struct ChannelSending {
    /// DATA_CHANNEL_OPEN or DATA_CHANNEL_ACK that the send buffer has no room for. No message is sent before it.
    pub(crate) control: Option<Bytes>,
    pub(crate) queue: SendQueue,
    /// True if the application has sent a message.
    pub(crate) has_sent: bool,
    /// True if `send` returned `Full` since the last [`ChannelsEvent::Writable`](crate::ChannelsEvent::Writable).
    pub(crate) awaits_room: bool,
    threshold: LowThreshold,
    /// Application bytes that were accepted and never sent.
    discarded: usize,
    /// True if a message was accepted and never sent whole; it may have been empty.
    has_discarded: bool,
    pub(crate) counters: SentCounters,
}

/// Messages that the application has sent, and those of them that were abandoned.
#[derive(Debug, Default)]
pub(crate) struct SentCounters {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) abandoned: AbandonStats,
}

impl SentCounters {
    /// Counts a message that was accepted.
    pub(crate) fn add(&mut self, len: usize) {
        self.messages += 1;
        self.bytes += len as u64;
    }
}

/// The buffered amount that counts as low (W3C bufferedAmountLowThreshold).
#[derive(Debug, Default)]
struct LowThreshold {
    bytes: usize,
    /// True if the buffered amount has been above the threshold since it was last reported as low.
    was_above: bool,
}

impl ChannelSending {
    /// Sets the threshold of [`ChannelsEvent::BufferedAmountLow`](crate::ChannelsEvent::BufferedAmountLow).
    pub(crate) fn set_low_threshold(&mut self, bytes: usize, buffered_amount: usize) {
        self.threshold = LowThreshold { bytes, was_above: buffered_amount > bytes };
    }

    /// Returns the threshold.
    pub(crate) fn low_threshold(&self) -> usize {
        self.threshold.bytes
    }

    /// Handles an accepted message, after which this much is buffered.
    pub(crate) fn on_message(&mut self, buffered_amount: usize) {
        self.has_sent = true;
        self.threshold.was_above |= buffered_amount > self.threshold.bytes;
    }

    /// Handles a decrease of the buffered amount. Returns `true`, once, if it has fallen to the threshold or below.
    pub(crate) fn on_decrease(&mut self, buffered_amount: usize) -> bool {
        let is_low = self.threshold.was_above && buffered_amount <= self.threshold.bytes;
        self.threshold.was_above &= !is_low;
        is_low
    }

    /// Counts `queued` bytes that were discarded unsent, `application` of them the application's.
    pub(crate) fn on_discarded(&mut self, queued: usize, application: usize) {
        self.has_discarded |= self.queue.on_discarded(queued) || application > 0;
        self.discarded += application;
    }

    /// Returns the application bytes that were accepted and never sent.
    pub(crate) fn discarded(&self) -> usize {
        self.discarded
    }

    /// Returns `true` if a message of the application was discarded.
    pub(crate) fn has_discarded(&self) -> bool {
        self.has_discarded
    }

    pub(crate) fn check_consistency(&self) {
        assert!(self.discarded == 0 || self.has_discarded);
        self.queue.check_consistency();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_amount_is_reported_once_each_time_that_it_falls_from_above_the_threshold() {
        let mut sending = ChannelSending::default();
        sending.set_low_threshold(10, 0);
        sending.on_message(10);
        assert!(!sending.on_decrease(5), "it was never above");
        sending.on_message(11);
        assert!(!sending.on_decrease(11));
        assert!(sending.on_decrease(10));
        assert!(!sending.on_decrease(0), "reported already");
        sending.set_low_threshold(3, 4);
        assert!(sending.on_decrease(3), "above the new threshold when it was set");
        sending.set_low_threshold(3, 3);
        assert!(!sending.on_decrease(2), "at the new threshold when it was set, not above");
    }

    #[test]
    fn an_empty_message_that_was_discarded_counts_without_bytes() {
        let mut sending = ChannelSending::default();
        sending.queue.on_empty_message(0);
        sending.on_discarded(1, 0);
        assert_eq!((sending.discarded(), sending.has_discarded()), (0, true));
        sending.check_consistency();
    }
}
