//! What waits for sending: a queue per stream, cut into fragments when a packet is written.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Instant;

use bytes::Bytes;

use super::scheduler::{RoundRobin, Scheduler};
use crate::event::Event;
use crate::message::{Ppid, Reliability, SendOptions, StreamId};
use crate::serial::Ssn;

/// Smallest piece of a long message that is put into the rest of a packet. Below this the 16-byte chunk header costs
/// more than the filled packet gains.
const FRAGMENT_LEN_MIN: usize = 256;

/// Streams keyed by id. The hasher is the same in every run, so that a simulation replays from its seed, and cheap, for
/// each chunk takes look-ups.
type Streams = HashMap<StreamId, OutgoingStream, BuildHasherDefault<StreamIdHasher>>;

/// Spreads 16 bits over 64. No two ids have the same hash, so nobody gains by choosing them.
#[derive(Default)]
struct StreamIdHasher(u64);

impl Hasher for StreamIdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u16(u16::from(*byte));
        }
    }

    fn write_u16(&mut self, id: u16) {
        // An odd number near 2^64 over the golden ratio; the table looks at the lowest bits and the highest seven.
        let spread = (self.0.rotate_left(16) ^ u64::from(id)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = spread ^ (spread >> 32);
    }
}

/// When a message is given up (RFC 3758 §4.1, RFC 7496 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Never,
    Retransmits(u32),
    Until(Instant),
}

impl Limit {
    /// A message is alive during its whole lifetime, which may be zero: it then leaves at once or never.
    pub(crate) fn is_expired(self, now: Instant) -> bool {
        matches!(self, Self::Until(deadline) if deadline < now)
    }
}

/// What all fragments of a message share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageHeader {
    /// Counts messages of the association; tells which fragments belong together.
    pub(crate) key: u64,
    pub(crate) stream: StreamId,
    /// 0 if unordered.
    pub(crate) ssn: Ssn,
    pub(crate) ppid: Ppid,
    pub(crate) unordered: bool,
    pub(crate) immediate: bool,
    pub(crate) limit: Limit,
    /// Bytes in the whole message.
    pub(crate) len: usize,
}

/// The message whose turn it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Next {
    pub(crate) stream: StreamId,
    pub(crate) key: u64,
    pub(crate) limit: Limit,
    /// Bytes that have not been cut.
    pub(crate) left: usize,
    /// Whether some fragments have been sent.
    pub(crate) is_begun: bool,
}

/// A piece of a message, about to get a TSN.
#[derive(Debug)]
pub(crate) struct Fragment {
    pub(crate) message: MessageHeader,
    pub(crate) payload: Bytes,
    pub(crate) beginning: bool,
    pub(crate) ending: bool,
}

#[derive(Debug)]
struct QueuedMessage {
    header: MessageHeader,
    /// What has not been cut yet.
    rest: Bytes,
}

impl QueuedMessage {
    fn is_begun(&self) -> bool {
        self.rest.len() < self.header.len
    }
}

#[derive(Debug, Default)]
struct OutgoingStream {
    messages: VecDeque<QueuedMessage>,
    next_ssn: Ssn,
    buffered: usize,
    low_threshold: usize,
    /// Position of the last chunk that was sent on this stream.
    last_position: Option<u64>,
    resetting: bool,
}

/// The queues of all streams, and whose turn it is.
#[derive(Debug)]
pub(crate) struct StreamQueues {
    streams: Streams,
    scheduler: Box<dyn Scheduler>,
    totals: Totals,
    next_key: u64,
}

/// What all streams together come to.
#[derive(Debug, Default)]
struct Totals {
    buffered: usize,
    /// Streams under reset whose queue has run empty, until someone asks.
    drained: Vec<StreamId>,
}

impl Totals {
    /// Keeps the sums, and reports a crossing of the threshold (W3C `bufferedamountlow`).
    fn on_left_queue(
        &mut self,
        stream: StreamId,
        queue: &mut OutgoingStream,
        bytes: usize,
        notices: &mut VecDeque<Event>,
    ) {
        let was_above = queue.buffered > queue.low_threshold;
        queue.buffered -= bytes;
        self.buffered -= bytes;
        if was_above && queue.buffered <= queue.low_threshold {
            notices.push_back(Event::BufferedAmountLow(stream));
        }
        if queue.resetting && bytes > 0 && queue.messages.is_empty() {
            self.drained.push(stream);
        }
    }
}

impl StreamQueues {
    pub(crate) fn new() -> Self {
        Self {
            streams: Streams::default(),
            scheduler: Box::<RoundRobin>::default(),
            totals: Totals::default(),
            next_key: 0,
        }
    }

    /// Bytes waiting on all streams.
    pub(crate) fn buffered(&self) -> usize {
        self.totals.buffered
    }

    /// Bytes waiting on one stream.
    pub(crate) fn buffered_on(&self, stream: StreamId) -> usize {
        self.streams.get(&stream).map_or(0, |stream| stream.buffered)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.totals.buffered == 0
    }

    pub(crate) fn is_resetting(&self, stream: StreamId) -> bool {
        self.streams.get(&stream).is_some_and(|stream| stream.resetting)
    }

    /// Streams in use from this id on, in order.
    pub(crate) fn streams_from(&self, first: StreamId) -> Vec<StreamId> {
        let mut streams: Vec<StreamId> = self.streams.keys().copied().filter(|stream| *stream >= first).collect();
        streams.sort_unstable();
        streams
    }

    /// Refuses messages on the stream until [`finish_reset`](Self::finish_reset).
    pub(crate) fn begin_reset(&mut self, stream: StreamId) {
        self.streams.entry(stream).or_default().resetting = true;
    }

    /// The reset was performed, so the stream starts over (RFC 6525 §5.2.7 H4).
    pub(crate) fn finish_reset(&mut self, stream: StreamId) {
        if let Entry::Occupied(mut entry) = self.streams.entry(stream) {
            if entry.get().messages.is_empty() {
                entry.remove();
                if self.streams.is_empty() {
                    self.streams.shrink_to(0);
                }
            } else {
                entry.get_mut().resetting = false;
            }
        }
    }

    /// Where the last chunk of a stream went whose queue is empty: it is drained once that is acknowledged. `None`:
    /// something still waits. `Some(0)`: nothing was ever sent.
    pub(crate) fn drains_at(&self, stream: StreamId) -> Option<u64> {
        match self.streams.get(&stream) {
            None => Some(0),
            Some(stream) if stream.messages.is_empty() => Some(stream.last_position.unwrap_or(0)),
            Some(_) => None,
        }
    }

    /// A stream under reset whose queue has run empty, and where it drains; each is told once.
    pub(crate) fn poll_drained(&mut self) -> Option<(StreamId, u64)> {
        let stream = self.totals.drained.pop()?;
        if self.totals.drained.is_empty() {
            self.totals.drained.shrink_to(16);
        }
        Some((stream, self.drains_at(stream)?))
    }

    pub(crate) fn set_low_threshold(&mut self, stream: StreamId, threshold: usize) {
        if threshold > 0 {
            self.streams.entry(stream).or_default().low_threshold = threshold;
        } else if let Some(queue) = self.streams.get_mut(&stream) {
            // The default needs no entry.
            queue.low_threshold = 0;
        }
    }

    /// Queues a message that has passed every check.
    pub(crate) fn push(&mut self, now: Instant, stream: StreamId, ppid: Ppid, payload: Bytes, options: SendOptions) {
        let limit = match options.reliability {
            Reliability::Reliable => Limit::Never,
            Reliability::MaxRetransmits(count) => Limit::Retransmits(count),
            // A lifetime beyond what the clock can express is as good as for ever.
            Reliability::MaxLifetime(lifetime) => now.checked_add(lifetime).map_or(Limit::Never, Limit::Until),
        };
        let header = MessageHeader {
            key: self.next_key,
            stream,
            ssn: Ssn(0),
            ppid,
            unordered: options.unordered,
            immediate: options.acknowledge_immediately,
            limit,
            len: payload.len(),
        };
        self.next_key += 1;
        let queue = self.streams.entry(stream).or_default();
        if queue.messages.is_empty() {
            self.scheduler.activate(stream);
        }
        queue.buffered += payload.len();
        self.totals.buffered += payload.len();
        queue.messages.push_back(QueuedMessage { header, rest: payload });
    }

    /// The message whose turn it is, those that expired before their first fragment was sent having been dropped.
    pub(crate) fn peek(&mut self, now: Instant, notices: &mut VecDeque<Event>) -> Option<Next> {
        loop {
            let stream = self.scheduler.current()?;
            let front = self.streams.get(&stream).and_then(|queue| queue.messages.front());
            match front {
                Some(message) if message.is_begun() || !message.header.limit.is_expired(now) => {
                    let QueuedMessage { header: MessageHeader { key, limit, .. }, rest } = message;
                    let (left, is_begun) = (rest.len(), message.is_begun());
                    return Some(Next { stream, key: *key, limit: *limit, left, is_begun });
                }
                Some(_) => self.drop_front(stream, notices),
                None => self.scheduler.advance(false),
            }
        }
    }

    /// Cuts the next piece of the message that [`peek`](Self::peek) has just returned, for a packet that has `room`
    /// bytes left for payload, where an empty one has `room_max`. A message that fits a packet is never cut; a longer
    /// one fills the packet that it starts in. The piece goes to `position`.
    pub(crate) fn cut(
        &mut self,
        position: u64,
        room: usize,
        room_max: usize,
        notices: &mut VecDeque<Event>,
    ) -> Option<Fragment> {
        let stream = self.scheduler.current()?;
        let queue = self.streams.get_mut(&stream)?;
        let message = queue.messages.front_mut()?;
        let beginning = !message.is_begun();
        let left = message.rest.len();
        let len = if left <= room {
            left
        } else if room >= FRAGMENT_LEN_MIN.min(room_max) && (left > room_max || !beginning) {
            // Multiples of 4 need no padding, and keep every packet of a long message at the same size.
            room & !3
        } else {
            return None;
        };
        if beginning && !message.header.unordered {
            message.header.ssn = queue.next_ssn;
            queue.next_ssn = queue.next_ssn.next();
        }
        let mut header = message.header;
        let (payload, ending) = if len == left {
            // The last piece takes the message itself, without another reference to it.
            let rest = queue.messages.pop_front()?.rest;
            // RFC 7053 §4.2: the stream's reset waits for the acknowledgement of its last chunk.
            header.immediate |= queue.resetting && queue.messages.is_empty();
            if queue.messages.is_empty() {
                queue.messages.shrink_to(8);
            }
            self.scheduler.advance(!queue.messages.is_empty());
            (rest, true)
        } else {
            (message.rest.split_to(len), false)
        };
        queue.last_position = Some(position);
        self.totals.on_left_queue(stream, queue, len, notices);
        Some(Fragment { message: header, payload, beginning, ending })
    }

    /// The chunk that stands for the rest of a message that was dropped got this position.
    pub(crate) fn on_sent(&mut self, stream: StreamId, position: u64) {
        if let Some(queue) = self.streams.get_mut(&stream) {
            queue.last_position = Some(position);
        }
    }

    /// Drops what is left of a message of which some fragments have been sent. Returns its header if there was a rest.
    pub(crate) fn drop_rest(
        &mut self,
        stream: StreamId,
        key: u64,
        notices: &mut VecDeque<Event>,
    ) -> Option<MessageHeader> {
        let queue = self.streams.get_mut(&stream)?;
        let header = queue.messages.front()?.header;
        if header.key != key {
            return None;
        }
        let rest = queue.messages.pop_front()?.rest.len();
        // A message that was begun is the scheduler's current one.
        self.scheduler.advance(!queue.messages.is_empty());
        self.totals.on_left_queue(stream, queue, rest, notices);
        Some(header)
    }

    /// Drops every message of the stream that has not been begun. Returns the bytes, and the message that has been, if
    /// there is one.
    pub(crate) fn drop_unsent(
        &mut self,
        stream: StreamId,
        notices: &mut VecDeque<Event>,
    ) -> (usize, Option<MessageHeader>) {
        let Some(queue) = self.streams.get_mut(&stream) else { return (0, None) };
        let begun = queue.messages.front().filter(|message| message.is_begun()).map(|message| message.header);
        let keep = usize::from(begun.is_some());
        let dropped: usize = queue.messages.drain(keep..).map(|message| message.rest.len()).sum();
        // The scheduler finds an empty queue at the stream's next turn, unless new messages came; so that it never
        // holds a stream twice, the turn is taken away now.
        if keep == 0 && dropped > 0 {
            self.remove_turn(stream);
        }
        if let Some(queue) = self.streams.get_mut(&stream) {
            self.totals.on_left_queue(stream, queue, dropped, notices);
        }
        (dropped, begun)
    }

    /// Drops everything, as when the association ends.
    pub(crate) fn clear(&mut self) {
        *self = Self { next_key: self.next_key, ..Self::new() };
    }

    fn remove_turn(&mut self, stream: StreamId) {
        for _ in 0..self.scheduler.len() {
            let Some(current) = self.scheduler.current() else { return };
            self.scheduler.advance(current != stream);
        }
    }

    fn drop_front(&mut self, stream: StreamId, notices: &mut VecDeque<Event>) {
        let Some(queue) = self.streams.get_mut(&stream) else { return };
        if let Some(message) = queue.messages.pop_front() {
            self.scheduler.advance(!queue.messages.is_empty());
            notices.push_back(Event::Abandoned { stream, len: message.header.len });
            self.totals.on_left_queue(stream, queue, message.rest.len(), notices);
        }
    }

    /// Returns how much was counted.
    pub(crate) fn check_consistency(&self) -> usize {
        let (mut total, mut counted) = (0, self.streams.len());
        let mut active = 0;
        for (id, stream) in &self.streams {
            let buffered: usize = stream.messages.iter().map(|message| message.rest.len()).sum();
            assert_eq!(buffered, stream.buffered, "buffered amount of stream {id}");
            let begun = stream.messages.iter().skip(1).filter(|message| message.is_begun()).count();
            assert_eq!(begun, 0, "only the first message of a stream may be half sent");
            assert!(stream.messages.iter().all(|message| !message.rest.is_empty()));
            total += buffered;
            counted += stream.messages.len();
            active += usize::from(!stream.messages.is_empty());
        }
        assert_eq!(total, self.totals.buffered, "buffered amount of all streams");
        assert_eq!(active, self.scheduler.len(), "a stream waits for its turn exactly if it has something to send");
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_of_zero_makes_no_entry_of_a_stream() {
        let mut queues = StreamQueues::new();
        queues.set_low_threshold(3, 0);
        assert_eq!(queues.streams_from(0), []);
        queues.set_low_threshold(3, 1);
        assert_eq!(queues.streams_from(0), [3]);
        queues.finish_reset(3);
        assert_eq!(queues.streams_from(0), []);
    }
}
