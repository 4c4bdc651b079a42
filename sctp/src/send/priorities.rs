//! Messages of the Priority Policy that wait (RFC 7496 §3.2). Other messages have no entry here.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::charge::CHUNK_OVERHEAD;
use crate::cost_counter;
use crate::message::StreamId;
use crate::serial::MessageKey;

/// Bytes charged for each message with a priority that waits: its entries here, of which a table may be half empty.
const PRIORITY_OVERHEAD: usize = 160;

/// Most messages that one message displaces. A refused one costs as many steps.
const DISPLACED_MAX: usize = 1024;

/// A message that was not begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct PrioritizedMessage {
    pub(super) stream: StreamId,
    /// Larger numbers are lower priorities.
    pub(super) priority: u32,
    pub(super) key: MessageKey,
    /// Bytes of the message.
    pub(super) len: usize,
}

/// Messages by priority. The last one is that to drop first: the oldest of the lowest priority.
#[derive(Debug, Default)]
pub(super) struct Priorities {
    all: BTreeMap<(u32, Reverse<MessageKey>, StreamId), usize>,
    by_stream: BTreeMap<(StreamId, u32, Reverse<MessageKey>), usize>,
}

impl Priorities {
    pub(super) fn insert(&mut self, message: PrioritizedMessage) {
        let PrioritizedMessage { stream, priority, key, len } = message;
        self.all.insert((priority, Reverse(key), stream), len);
        self.by_stream.insert((stream, priority, Reverse(key)), len);
    }

    /// Removes a message, because it is begun or dropped.
    pub(super) fn remove(&mut self, message: PrioritizedMessage) {
        let PrioritizedMessage { stream, priority, key, .. } = message;
        self.all.remove(&(priority, Reverse(key), stream));
        self.by_stream.remove(&(stream, priority, Reverse(key)));
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Returns the message to drop first for one with the priority `below`, or for one that has none and so comes
    /// before all. `None` if every message has that priority or a higher one.
    pub(super) fn lowest(&self, below: Option<u32>) -> Option<(StreamId, MessageKey)> {
        let (&(priority, Reverse(key), stream), _) = self.all.last_key_value()?;
        is_lower(priority, below).then_some((stream, key))
    }

    /// Returns the same for one stream alone.
    pub(super) fn lowest_on(&self, stream: StreamId, below: Option<u32>) -> Option<(StreamId, MessageKey)> {
        let (&(_, priority, Reverse(key)), _) = self.by_stream.range(whole(stream)).next_back()?;
        is_lower(priority, below).then_some((stream, key))
    }

    /// Returns true if dropping messages for one with the priority `below` gives the send buffer more than `bytes`.
    pub(super) fn have_below(&self, below: Option<u32>, bytes: usize) -> bool {
        let gained = |len: &usize| len + CHUNK_OVERHEAD + PRIORITY_OVERHEAD;
        exceed(self.all.iter().rev().map(|((priority, ..), len)| (*priority, gained(len))), below, bytes)
    }

    /// Returns the same for one stream alone.
    pub(super) fn have_below_on(&self, stream: StreamId, below: Option<u32>, bytes: usize) -> bool {
        let messages = self.by_stream.range(whole(stream)).rev();
        exceed(messages.map(|((_, priority, _), len)| (*priority, len + CHUNK_OVERHEAD)), below, bytes)
    }

    /// Returns the number of bytes that the send buffer counts for the entries.
    pub(super) fn charge(&self) -> usize {
        self.all.len() * PRIORITY_OVERHEAD
    }
}

fn is_lower(priority: u32, below: Option<u32>) -> bool {
    below.is_none_or(|below| priority > below)
}

/// Returns the keys of all messages of a stream.
fn whole(stream: StreamId) -> RangeInclusive<(StreamId, u32, Reverse<MessageKey>)> {
    (stream, 0, Reverse(MessageKey::MAX))..=(stream, u32::MAX, Reverse(MessageKey::default()))
}

/// Returns true if the messages with a lower priority, which come first, take more than `bytes` together. A message may
/// have more chunks than one, so it gives this much at least.
fn exceed(messages: impl Iterator<Item = (u32, usize)>, below: Option<u32>, bytes: usize) -> bool {
    let lower = messages.take_while(|(priority, _)| is_lower(*priority, below)).take(DISPLACED_MAX);
    lower
        .scan(0_usize, |sum, (_, gained)| {
            cost_counter::step();
            *sum += gained;
            Some(*sum)
        })
        .any(|sum| sum > bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_the_lowest_priority_goes_first_and_never_one_that_is_as_high() {
        let (mut keys, mut priorities) = (MessageKey::default(), Priorities::default());
        let mut messages = Vec::new();
        for (stream, priority) in [(1, 5), (2, 7), (1, 7), (2, 0), (1, u32::MAX)] {
            let message = PrioritizedMessage { stream: StreamId(stream), priority, key: keys.take(), len: 10 };
            priorities.insert(message);
            messages.push(message);
        }
        let names = |index: usize| Some((messages[index].stream, messages[index].key));
        assert_eq!(priorities.lowest(None), names(4));
        assert_eq!(priorities.lowest_on(StreamId(2), None), names(1));
        priorities.remove(messages[4]);
        priorities.remove(messages[4]);
        assert_eq!(priorities.lowest(Some(6)), names(1), "the older one of two");
        assert_eq!(priorities.lowest_on(StreamId(1), Some(6)), names(2));
        assert_eq!(priorities.lowest(Some(7)), None);
        assert_eq!(priorities.lowest_on(StreamId(3), None), None);
        let have = |below, bytes| priorities.have_below(below, bytes);
        let (each, on_stream) = (10 + CHUNK_OVERHEAD + PRIORITY_OVERHEAD, 10 + CHUNK_OVERHEAD);
        assert_eq!([have(None, 4 * each - 1), have(None, 4 * each)], [true, false]);
        assert_eq!([have(Some(6), 2 * each - 1), have(Some(6), 2 * each)], [true, false]);
        assert!(priorities.have_below_on(StreamId(1), None, 2 * on_stream - 1));
        assert!(!priorities.have_below_on(StreamId(1), Some(5), on_stream));
        assert_eq!(priorities.len(), 4);
        messages.iter().for_each(|message| priorities.remove(*message));
        assert!(priorities.by_stream.is_empty());
        assert_eq!((priorities.len(), priorities.charge()), (0, 0));
    }
}
