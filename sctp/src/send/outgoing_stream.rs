//! One stream of this end: its queue, and the numbers of its messages.

use std::collections::VecDeque;

use super::charge::CHUNK_OVERHEAD;
use super::data_format::DataFormat;
use super::freshness::Freshness;
use super::queued::QueuedMessage;
use super::scheduler::{DEFAULT_PRIORITY, StreamTurn, Upcoming};
use crate::serial::{Mid, UnwrappedTsn};

/// Ordered messages of a stream that may be begun before those of the last but one such period are acknowledged: at
/// most two periods of a stream are outstanding, 32,768 messages. RFC 9260 §6.1 allows 65,535; but a receiver that
/// compares stream sequence numbers by serial arithmetic tells 32,768 in a row apart (RFC 1982 §3.2). I-DATA needs no
/// such bound: its numbers have 32 bits, and the send buffer never holds half as many messages.
const SSN_PERIOD: u32 = 1 << 14;

#[derive(Debug, Default)]
pub(super) struct OutgoingStream {
    pub(super) messages: VecDeque<QueuedMessage>,
    pub(super) turn: StreamTurn,
    pub(super) numbers: StreamNumbers,
    /// Bytes of messages that wait.
    pub(super) buffered: usize,
    pub(super) low_threshold: usize,
    pub(super) is_resetting: bool,
    /// True if a message was refused because too much waits on this stream.
    pub(super) was_refused: bool,
    pub(super) freshness: Option<Box<Freshness>>,
}

impl OutgoingStream {
    /// Returns the bytes that count against the stream's own limit: a message that waits takes one slot, however many
    /// chunks it will take.
    pub(super) fn charge(&self) -> usize {
        self.buffered + self.messages.len() * CHUNK_OVERHEAD
    }

    /// Returns true if something was sent since the stream was created or reset.
    pub(super) fn has_sent(&self) -> bool {
        self.numbers.last_tsn != UnwrappedTsn::BEFORE_ALL
    }

    /// Returns true if nothing was sent on the stream, and its settings are the defaults.
    pub(super) fn is_unused(&self) -> bool {
        let has_defaults =
            self.low_threshold == 0 && self.turn.priority() == DEFAULT_PRIORITY && self.freshness.is_none();
        has_defaults && self.messages.is_empty() && !self.has_sent() && !self.is_resetting && !self.was_refused
    }

    /// Returns what the stream sends next. `chunk_max`: most bytes of a message in one chunk.
    pub(super) fn upcoming(&self, format: DataFormat, chunk_max: usize) -> Option<Upcoming> {
        let message = self.messages.front()?;
        let left = message.rest.len();
        let len = if format.interleaves() { left.min(chunk_max) } else { left };
        let goes_first = message.is_exempt && !message.is_begun();
        Some(Upcoming { message: message.header.key, wire_len: format.encoded_len(len), goes_first })
    }

    /// Returns true if the first message would begin a period of stream sequence numbers too early.
    pub(super) fn is_held(&self, format: DataFormat, acknowledged: UnwrappedTsn) -> bool {
        let is_start = self.numbers.is_period_start() && self.numbers.period_start > acknowledged;
        let is_new_ordered = |message: &QueuedMessage| !message.is_begun() && !message.header.unordered;
        is_start && !format.interleaves() && self.messages.front().is_some_and(is_new_ordered)
    }
}

/// Numbers of a stream: of the next ordered and of the next unordered message, which begin at 0, and again after each
/// reset of the stream (RFC 8260 §2.3.2); and the last TSN.
#[derive(Debug, Default)]
pub(super) struct StreamNumbers {
    ordered: Mid,
    unordered: Mid,
    /// TSN of the last chunk that was sent on this stream; [`UnwrappedTsn::BEFORE_ALL`] if none was.
    pub(super) last_tsn: UnwrappedTsn,
    /// TSN of the last chunk that was sent before the current period of [`SSN_PERIOD`] ordered messages began.
    period_start: UnwrappedTsn,
}

impl StreamNumbers {
    fn is_period_start(&self) -> bool {
        self.ordered.0.is_multiple_of(SSN_PERIOD)
    }

    /// Takes the number of a message whose first fragment is cut.
    pub(super) fn take(&mut self, unordered: bool) -> Mid {
        if !unordered && self.is_period_start() {
            self.period_start = self.last_tsn;
        }
        let next = if unordered { &mut self.unordered } else { &mut self.ordered };
        let mid = *next;
        *next = mid.next();
        mid
    }

    /// Sets the numbers of the next messages, as if so many had been sent.
    #[cfg(test)]
    pub(super) fn set_next(&mut self, mid: Mid) {
        (self.ordered, self.unordered) = (mid, mid);
    }
}
