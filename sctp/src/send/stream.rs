//! Messages that wait for sending: a queue per stream, cut into fragments when a packet is written.

mod consistency;
mod waiting;

use std::collections::hash_map::Entry;

use bytes::Bytes;

use super::charge::{STREAM_OVERHEAD, push_waiting, shrink_waiting};
use super::data_format::DataFormat;
use super::freshness::{Expiries, RateSeen};
use super::notices::Notices;
use super::outgoing_stream::OutgoingStream;
use super::priorities::Priorities;
use super::queued::{
    Fragment, FragmentPlace, Limit, MessageHeader, NextMessage, QueuedMessage, charge, charge_of_piece,
};
use super::scheduler::{DEFAULT_PRIORITY, Scheduler};
use super::stream_map::StreamMap;
use super::stream_totals::{Left, StreamTotals};
use crate::config::StreamScheduler;
use crate::message::{AbandonReason, Ppid, Reliability, SendOptions, StreamId};
use crate::serial::{Fsn, MessageKey, Mid, UnwrappedTsn};
use crate::time::Instant;

/// Smallest piece of a long message that is put into the rest of a packet. Below this the chunk header of 16 or 20
/// bytes costs more than the filled packet gains.
const FRAGMENT_LEN_MIN: usize = 192;

/// Slots that the empty queues of all streams together keep, so that a message now and then needs no allocation.
const SLOTS_KEPT: usize = 64;

/// The queues of all streams, and the scheduler that says whose turn it is.
#[derive(Debug)]
pub(crate) struct StreamQueues {
    streams: StreamMap<OutgoingStream>,
    scheduler: Scheduler,
    format: DataFormat,
    expiries: Expiries,
    priorities: Priorities,
    totals: StreamTotals,
    cumulative_tsn_ack_point: UnwrappedTsn,
    next_key: MessageKey,
}

/// State of a stream that decides if it takes another message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Admission {
    pub(super) is_resetting: bool,
    /// True if too much waits on the stream.
    pub(super) is_full: bool,
    /// True if messages that wait may have to make place.
    pub(super) is_bounded: bool,
}

impl StreamQueues {
    /// Creates empty queues. `stream_max`: charge of a stream from which on it refuses messages. `chunk_max`: most
    /// bytes of a message in one chunk.
    pub(crate) fn new(stream_max: usize, chunk_max: usize) -> Self {
        Self {
            streams: StreamMap::default(),
            scheduler: Scheduler::default(),
            format: DataFormat::default(),
            expiries: Expiries::default(),
            priorities: Priorities::default(),
            totals: StreamTotals { stream_max, chunk_max, ..StreamTotals::default() },
            cumulative_tsn_ack_point: UnwrappedTsn::BEFORE_ALL,
            next_key: MessageKey::default(),
        }
    }

    /// Returns the empty queues with another scheduler.
    pub(crate) fn with_scheduler(self, scheduler: StreamScheduler) -> Self {
        Self { scheduler: Scheduler::new(scheduler), ..self }
    }

    /// Returns the chunk type that messages are sent in.
    pub(crate) fn format(&self) -> DataFormat {
        self.format
    }

    /// Sets the chunk type that messages are sent in, before any is sent.
    pub(crate) fn set_format(&mut self, format: DataFormat) {
        self.format = format;
    }

    /// Handles a change of the chunk size: charges all waiting messages anew, one step for each.
    pub(crate) fn on_mtu_changed(&mut self, chunk_max: usize) {
        if chunk_max == self.totals.chunk_max {
            return;
        }
        self.totals.chunk_max = chunk_max;
        let messages = self.streams.values().flat_map(|stream| &stream.messages);
        self.totals.charge = messages.map(|message| message.charge(chunk_max)).sum();
    }

    pub(crate) fn on_acknowledged(&mut self, cumulative: UnwrappedTsn) {
        self.cumulative_tsn_ack_point = cumulative;
        while let Some(stream) = self.scheduler.pop_aside() {
            let Some(queue) = self.streams.get_mut(&stream) else { continue };
            if let Some(upcoming) = queue.upcoming(self.format, self.totals.chunk_max) {
                self.scheduler.activate(stream, &mut queue.turn, upcoming);
            }
        }
    }

    /// Returns the number of bytes that the send buffer counts for the messages that wait.
    pub(crate) fn charge(&self) -> usize {
        self.totals.charge
    }

    /// Returns the number of bytes that the send buffer counts for the streams in use.
    pub(crate) fn streams_charge(&self) -> usize {
        self.streams.len() * STREAM_OVERHEAD + self.expiries.charge() + self.priorities.charge()
    }

    /// Returns what decides if the stream takes another message, by one look-up.
    pub(super) fn admission(&self, stream: StreamId) -> Admission {
        let Some(queue) = self.streams.get(&stream) else { return Admission::default() };
        Admission {
            is_resetting: queue.is_resetting,
            is_full: queue.charge() >= self.totals.stream_max,
            is_bounded: queue.freshness.is_some(),
        }
    }

    /// Returns true if no further message is accepted on the stream; [`take_room`](Self::take_room) then tells when it
    /// is again.
    pub(crate) fn refuses(&mut self, stream: StreamId) -> bool {
        let max = self.totals.stream_max;
        let queue = self.streams.get_mut(&stream).filter(|queue| queue.charge() >= max);
        queue.map(|queue| queue.was_refused = true).is_some()
    }

    /// Returns true once if a stream that has refused a message has room again.
    pub(crate) fn take_room(&mut self) -> bool {
        std::mem::take(&mut self.totals.has_room)
    }

    /// Returns the number of bytes that wait on all streams.
    pub(crate) fn buffered(&self) -> usize {
        self.totals.buffered
    }

    /// Returns the number of bytes that wait on one stream.
    pub(crate) fn buffered_on(&self, stream: StreamId) -> usize {
        self.streams.get(&stream).map_or(0, |stream| stream.buffered)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.totals.buffered == 0
    }

    pub(crate) fn is_resetting(&self, stream: StreamId) -> bool {
        self.streams.get(&stream).is_some_and(|stream| stream.is_resetting)
    }

    pub(crate) fn has_stream(&self, stream: StreamId) -> bool {
        self.streams.contains_key(&stream)
    }

    /// Returns the streams in use from this id on, in order.
    pub(crate) fn streams_from(&self, first: StreamId) -> Vec<StreamId> {
        let mut streams: Vec<StreamId> = self.streams.keys().copied().filter(|stream| *stream >= first).collect();
        streams.sort_unstable();
        streams
    }

    /// Moves what waits on a stream that was never used to another one that is not in use. Returns false if that cannot
    /// be.
    pub(crate) fn move_unsent(&mut self, from: StreamId, to: StreamId) -> bool {
        let is_used = |queue: &OutgoingStream| queue.has_sent() || queue.is_resetting;
        if self.streams.contains_key(&to) || self.streams.get(&from).is_some_and(is_used) {
            return false;
        }
        if let Some(mut queue) = self.streams.remove(&from) {
            self.forget_deadlines(from, &mut queue.freshness);
            for message in &mut queue.messages {
                let before = message.prioritized();
                message.header.stream = to;
                if let Some((before, after)) = before.zip(message.prioritized()) {
                    self.priorities.remove(before);
                    self.priorities.insert(after);
                }
            }
            if let Some(upcoming) = queue.upcoming(self.format, self.totals.chunk_max) {
                self.scheduler.remove(from, &queue.turn);
                self.scheduler.activate(to, &mut queue.turn, upcoming);
            }
            self.streams.insert(to, queue);
            self.reschedule(to, None);
        }
        true
    }

    /// Refuses messages on the stream until [`finish_reset`](Self::finish_reset).
    pub(crate) fn begin_reset(&mut self, stream: StreamId) {
        self.streams.entry(stream).or_default().is_resetting = true;
    }

    /// Starts the stream over, because its reset was performed (RFC 6525 §5.2.7 H4).
    pub(crate) fn finish_reset(&mut self, stream: StreamId) {
        if let Entry::Occupied(mut entry) = self.streams.entry(stream) {
            if entry.get().messages.is_empty() {
                let mut queue = entry.remove();
                self.totals.has_room |= queue.was_refused;
                self.forget_deadlines(stream, &mut queue.freshness);
                if self.streams.len() < self.streams.capacity() / 3 {
                    self.streams.shrink_to(self.streams.len() * 3 / 2);
                }
            } else {
                entry.get_mut().is_resetting = false;
            }
        }
    }

    /// Returns the TSN of the last chunk of a stream whose queue is empty: the stream is drained once that is
    /// acknowledged. `None` if something still waits; [`UnwrappedTsn::BEFORE_ALL`] if nothing was ever sent.
    pub(crate) fn drains_at(&self, stream: StreamId) -> Option<UnwrappedTsn> {
        match self.streams.get(&stream) {
            None => Some(UnwrappedTsn::BEFORE_ALL),
            Some(stream) if stream.messages.is_empty() => Some(stream.numbers.last_tsn),
            Some(_) => None,
        }
    }

    /// Returns a stream under reset whose queue has run empty, and the TSN at which it is drained. Each stream is
    /// returned once.
    pub(crate) fn poll_drained(&mut self) -> Option<(StreamId, UnwrappedTsn)> {
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
            queue.low_threshold = 0;
            self.forget_unused(stream);
        }
    }

    /// Sets the priority of a stream.
    pub(crate) fn set_priority(&mut self, stream: StreamId, priority: u16) {
        if priority != DEFAULT_PRIORITY {
            self.streams.entry(stream).or_default();
        }
        if let Some(queue) = self.streams.get_mut(&stream) {
            let upcoming = queue.upcoming(self.format, self.totals.chunk_max);
            self.scheduler.set_priority(stream, &mut queue.turn, priority, upcoming);
            self.forget_unused(stream);
        }
    }

    /// Removes the entry of a stream that says nothing: nothing was sent on it, and its settings are the defaults.
    fn forget_unused(&mut self, stream: StreamId) {
        if self.streams.get(&stream).is_some_and(OutgoingStream::is_unused) {
            self.streams.remove(&stream);
        }
    }

    /// Returns true if a packet takes the chunks of one stream only.
    pub(crate) fn is_per_packet(&self) -> bool {
        self.scheduler.is_per_packet()
    }

    #[inline]
    pub(crate) fn on_packet_end(&mut self) {
        self.scheduler.on_packet_end();
    }

    /// Queues a message that has passed every check. Returns its number.
    pub(crate) fn push(
        &mut self,
        now: Instant,
        stream: StreamId,
        ppid: Ppid,
        payload: Bytes,
        options: SendOptions,
    ) -> MessageKey {
        let limit = match options.reliability {
            Reliability::Reliable => Limit::Never,
            Reliability::MaxRetransmits(count) => Limit::Retransmits(count),
            Reliability::Priority(priority) => Limit::Priority(priority),
            // A lifetime beyond what the clock can express is as good as for ever.
            Reliability::MaxLifetime(lifetime) => now.checked_add(lifetime).map_or(Limit::Never, Limit::Until),
        };
        let header = MessageHeader {
            key: self.next_key.take(),
            stream,
            mid: Mid::default(),
            ppid,
            unordered: options.unordered,
            immediate: options.acknowledge_immediately,
            limit,
            len: payload.len(),
        };
        let queue = self.streams.entry(stream).or_default();
        let is_first = queue.messages.is_empty();
        let charge = charge(payload.len(), self.totals.chunk_max);
        queue.buffered += payload.len();
        self.totals.buffered += payload.len();
        self.totals.charge += charge;
        let (next_fsn, is_exempt) = (Fsn::default(), options.exceeds_limits || options.ignores_policy);
        let message = QueuedMessage { header, rest: payload, next_fsn, queued_at: now, is_exempt };
        if let Some(prioritized) = message.prioritized() {
            self.priorities.insert(prioritized);
        }
        push_waiting(&mut queue.messages, message);
        let may_expire = matches!(limit, Limit::Until(_)) || queue.freshness.is_some();
        if is_first && let Some(upcoming) = queue.upcoming(self.format, self.totals.chunk_max) {
            self.scheduler.activate(stream, &mut queue.turn, upcoming);
        }
        if may_expire {
            self.on_pushed(stream);
        }
        header.key
    }

    /// Returns the message whose turn it is. Drops messages that are too old to be begun.
    pub(crate) fn peek(
        &mut self,
        now: Instant,
        rate: impl Fn() -> RateSeen,
        notices: &mut Notices,
    ) -> Option<NextMessage> {
        loop {
            let stream = self.scheduler.current()?;
            let queue = self.streams.get(&stream)?;
            if queue.is_held(self.format, self.cumulative_tsn_ack_point) {
                self.scheduler.put_aside(&queue.turn);
                continue;
            }
            match queue.messages.front() {
                Some(message) if message.is_begun() => return Some(message.as_next(queue.numbers.last_tsn)),
                Some(message) => {
                    let streams = self.scheduler.len();
                    let sharers = if self.format.interleaves() { streams } else { 1 };
                    match queue.drop_reason(message, now, &rate, streams, sharers) {
                        None => return Some(message.as_next(queue.numbers.last_tsn)),
                        Some(reason) => self.drop_at(stream, 0, reason, notices),
                    }
                }
                None => self.scheduler.remove(stream, &queue.turn),
            }
        }
    }

    /// Cuts the next piece of the message that [`peek`](Self::peek) has just returned, for a packet that has `room`
    /// bytes left for payload, where an empty one has `room_max`. A message that fits a packet is never cut; a longer
    /// one fills the packet that it starts in. The piece gets the TSN `tsn`.
    #[inline]
    pub(crate) fn cut(
        &mut self,
        tsn: UnwrappedTsn,
        room: usize,
        room_max: usize,
        notices: &mut Notices,
    ) -> Option<Fragment> {
        let stream = self.scheduler.current()?;
        let slots_kept = SLOTS_KEPT / self.streams.len().max(1);
        let queue = self.streams.get_mut(&stream)?;
        let message = queue.messages.front()?;
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
        if let Some(prioritized) = message.prioritized() {
            self.priorities.remove(prioritized);
        }
        let unordered = message.header.unordered;
        let mid = beginning.then(|| queue.numbers.take(unordered));
        let message = queue.messages.front_mut()?;
        message.header.mid = mid.unwrap_or(message.header.mid);
        let (mut header, fsn) = (message.header, message.next_fsn);
        message.next_fsn = fsn.next();
        let previous_tsn = if beginning { UnwrappedTsn::BEFORE_ALL } else { queue.numbers.last_tsn };
        let (payload, ending) = if len == left {
            // The last piece takes the message itself, without another reference to it.
            let rest = queue.messages.pop_front()?.rest;
            // RFC 7053 §4.2: the stream's reset waits for the acknowledgement of its last chunk.
            header.immediate |= queue.is_resetting && queue.messages.is_empty();
            if queue.messages.is_empty() {
                queue.messages.shrink_to(slots_kept.min(8));
            } else {
                shrink_waiting(&mut queue.messages);
            }
            (rest, true)
        } else {
            (message.rest.split_to(len), false)
        };
        queue.numbers.last_tsn = tsn;
        let chunk_max = self.totals.chunk_max;
        let (wire_len, upcoming) = (self.format.encoded_len(len), queue.upcoming(self.format, chunk_max));
        self.scheduler.on_cut(&mut queue.turn, wire_len, upcoming, ending || self.format.interleaves());
        let charge = charge_of_piece(left, len, chunk_max);
        self.totals.on_left_queue(stream, queue, Left { bytes: len, charge }, notices);
        let place = FragmentPlace { fsn, beginning, ending };
        Some(Fragment { message: header, payload, place, previous_tsn })
    }

    /// Notes the TSN of the placeholder for the rest of a dropped message.
    pub(crate) fn on_placeholder(&mut self, stream: StreamId, tsn: UnwrappedTsn) {
        if let Some(queue) = self.streams.get_mut(&stream) {
            queue.numbers.last_tsn = tsn;
        }
    }

    /// Drops what is left of a message of which some fragments have been sent. Returns its header if there was a rest.
    /// Only the first message of a stream can have been begun, whichever stream has its turn.
    pub(crate) fn drop_rest(
        &mut self,
        stream: StreamId,
        key: MessageKey,
        notices: &mut Notices,
    ) -> Option<MessageHeader> {
        let queue = self.streams.get_mut(&stream)?;
        let header = queue.messages.front()?.header;
        if header.key != key {
            return None;
        }
        let bytes = queue.messages.pop_front()?.rest.len();
        shrink_waiting(&mut queue.messages);
        let upcoming = queue.upcoming(self.format, self.totals.chunk_max);
        self.scheduler.on_message_dropped(stream, &mut queue.turn, upcoming);
        let left = Left { bytes, charge: charge(bytes, self.totals.chunk_max) };
        self.totals.on_left_queue(stream, queue, left, notices);
        Some(header)
    }

    /// Drops every message of the stream that has not been begun. Returns the bytes, and the message that has been, if
    /// there is one.
    pub(crate) fn drop_unsent(&mut self, stream: StreamId, notices: &mut Notices) -> (usize, Option<NextMessage>) {
        let Some(queue) = self.streams.get_mut(&stream) else { return (0, None) };
        let last_tsn = queue.numbers.last_tsn;
        let begun =
            queue.messages.front().filter(|message| message.is_begun()).map(|message| message.as_next(last_tsn));
        let keep = usize::from(begun.is_some());
        let chunk_max = self.totals.chunk_max;
        let left = queue.messages.drain(keep..).fold(Left::default(), |left, message| {
            notices.end_receipt(message.header.key, AbandonReason::Discarded);
            if let Some(prioritized) = message.prioritized() {
                self.priorities.remove(prioritized);
            }
            Left { bytes: left.bytes + message.rest.len(), charge: left.charge + message.charge(chunk_max) }
        });
        let dropped = left.bytes;
        queue.messages.shrink_to(keep);
        // The scheduler finds an empty queue at the stream's next turn, unless new messages came; so that it never
        // holds a stream twice, the turn is taken away now.
        if keep == 0 && dropped > 0 {
            self.scheduler.remove(stream, &queue.turn);
        }
        if let Some(queue) = self.streams.get_mut(&stream) {
            self.totals.on_left_queue(stream, queue, left, notices);
        }
        (dropped, begun)
    }

    /// Continues the numbers of messages from those of an association that the peer has restarted.
    pub(crate) fn continue_keys(&mut self, before: &Self) {
        self.next_key = before.next_key;
    }

    /// Drops everything, as when the association ends.
    pub(crate) fn clear(&mut self) {
        *self = Self {
            next_key: self.next_key,
            cumulative_tsn_ack_point: self.cumulative_tsn_ack_point,
            format: self.format,
            ..Self::new(self.totals.stream_max, self.totals.chunk_max).with_scheduler(self.scheduler.kind())
        };
    }
}

#[cfg(test)]
impl StreamQueues {
    /// Sets the numbers of the next messages, as if so many had been sent.
    pub(super) fn set_next_mids(&mut self, stream: StreamId, mid: Mid) {
        let queue = self.streams.entry(stream).or_default();
        queue.numbers.set_next(mid);
    }
}
