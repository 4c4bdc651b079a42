//! The streams that are not free, with counts of those that no channel owns.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use narrowboat_sctp::time::Instant;
use narrowboat_sctp::{ReceivedMessage, StreamId};

use super::awaited_streams::AwaitedStreams;
use crate::event::ChannelId;
use crate::stream::{Arrival, Stream, StreamOwner};

/// Maximum number of streams that hold messages for an expected negotiated channel.
const UNCLAIMED_STREAMS_MAX: usize = 8;

/// Streams of which this end remembers that messages for a negotiated channel to come were lost.
const LOST_STREAMS_MAX: usize = 256;

/// Every stream id that is not free, and what is known of some that are.
#[derive(Debug, Default)]
pub(super) struct StreamTable {
    streams: BTreeMap<StreamId, Stream>,
    unclaimed: UnclaimedCount,
    /// Streams that are in use without a channel, and without an expected one.
    ownerless: usize,
    /// Ownerless streams that the peer has reset.
    unanswered_resets: usize,
    /// Streams whose messages were discarded because no negotiated channel was created in time: the first
    /// [`LOST_STREAMS_MAX`] of them.
    lost: BTreeSet<StreamId>,
    /// Channels whose streams do not exist yet, though they are in use here.
    pub(super) awaited: AwaitedStreams,
    /// Times at which to check for progress of closing streams, and to give up streams that are awaited.
    deadlines: BTreeSet<(Instant, StreamId)>,
}

/// Streams that hold messages for an expected negotiated channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct UnclaimedCount {
    streams: usize,
    /// Bytes of their messages, as charged to the receive window.
    bytes: usize,
}

impl UnclaimedCount {
    fn add(&mut self, message: &ReceivedMessage) {
        self.bytes += message.credit.bytes() as usize;
    }

    /// Removes a stream and the messages that it held.
    fn remove(&mut self, held: &VecDeque<Arrival>) {
        self.streams -= 1;
        self.bytes -= bytes_of(held);
    }
}

/// Returns the bytes of held messages, as charged to the receive window.
fn bytes_of(held: &VecDeque<Arrival>) -> usize {
    let bytes = |arrival: &Arrival| match arrival {
        Arrival::Message(message) => message.credit.bytes() as usize,
        Arrival::Reset => 0,
    };
    held.iter().map(bytes).sum()
}

impl StreamTable {
    pub(super) fn stream(&self, id: StreamId) -> Option<&Stream> {
        self.streams.get(&id)
    }

    pub(super) fn stream_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        self.streams.get_mut(&id)
    }

    pub(super) fn contains(&self, id: StreamId) -> bool {
        self.streams.contains_key(&id)
    }

    pub(super) fn len(&self) -> usize {
        self.streams.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (StreamId, &Stream)> {
        self.streams.iter().map(|(id, stream)| (*id, stream))
    }

    /// Returns the channel that owns the stream.
    pub(super) fn owner_of(&self, id: StreamId) -> Option<ChannelId> {
        self.stream(id)?.channel()
    }

    /// Returns the number of streams that are in use without a channel, and without an expected one.
    pub(super) fn ownerless(&self) -> usize {
        self.ownerless
    }

    /// Returns the number of ownerless streams that the peer has reset.
    pub(super) fn unanswered_resets(&self) -> usize {
        self.unanswered_resets
    }

    /// Gives a stream to a channel. A free stream comes into use; an unclaimed one was emptied before.
    pub(super) fn assign(&mut self, id: StreamId, channel: ChannelId, now: Instant) {
        self.lost.remove(&id);
        let owner = StreamOwner::Channel(channel);
        self.streams.entry(id).or_insert_with(|| Stream::new(owner, now)).owner = owner;
    }

    /// Removes a stream. An empty tree would keep a node of a kilobyte.
    fn take_out(&mut self, id: StreamId) -> Option<Stream> {
        let stream = self.streams.remove(&id);
        if self.streams.is_empty() {
            self.streams = BTreeMap::new();
        }
        stream
    }

    /// Adds a free stream that comes into use without a channel, and without an expected one.
    pub(super) fn insert_ownerless(&mut self, id: StreamId, now: Instant) {
        debug_assert!(!self.contains(id), "a stream that is free is not in the table");
        self.ownerless += 1;
        self.streams.insert(id, Stream::new(StreamOwner::Nobody, now));
    }

    /// Adds a free stream on which a message for an expected negotiated channel has arrived. The message is held next.
    pub(super) fn insert_unclaimed(&mut self, id: StreamId, now: Instant) {
        debug_assert!(!self.contains(id), "a stream that is free is not in the table");
        self.lost.remove(&id);
        self.unclaimed.streams += 1;
        self.streams.insert(id, Stream::new(StreamOwner::Unclaimed, now));
    }

    /// Holds a message on an unclaimed stream. Returns `true` if all unclaimed streams together are within their
    /// limits.
    pub(super) fn hold_unclaimed(&mut self, message: ReceivedMessage, bytes_max: usize) -> bool {
        self.unclaimed.add(&message);
        if let Some(stream) = self.streams.get_mut(&message.stream) {
            stream.hold(message);
        }
        self.unclaimed.bytes <= bytes_max && self.unclaimed.streams <= UNCLAIMED_STREAMS_MAX
    }

    /// Returns the messages of an unclaimed stream, whose channel was created; the caller assigns the stream to it.
    /// `None` if the stream is in use in another way.
    pub(super) fn claim(&mut self, id: StreamId) -> Option<VecDeque<Arrival>> {
        let stream = self.streams.get_mut(&id).filter(|stream| stream.owner == StreamOwner::Unclaimed)?;
        let held = stream.take_held();
        self.unclaimed.remove(&held);
        Some(held)
    }

    /// Returns the messages of an unclaimed stream whose channel is not expected any more. Nobody owns the stream then.
    pub(super) fn disclaim(&mut self, id: StreamId) -> Option<VecDeque<Arrival>> {
        let held = self.claim(id)?;
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.owner = StreamOwner::Nobody;
            self.ownerless += 1;
        }
        if self.lost.len() < LOST_STREAMS_MAX {
            self.lost.insert(id);
        }
        Some(held)
    }

    /// Returns `true`, once, if messages for a negotiated channel on this stream were discarded.
    pub(super) fn take_lost(&mut self, id: StreamId) -> bool {
        self.lost.remove(&id)
    }

    /// Handles the peer's reset of a stream in use.
    pub(super) fn on_incoming_reset(&mut self, id: StreamId, now: Instant) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.on_incoming_reset(now);
            self.unanswered_resets += usize::from(stream.owner == StreamOwner::Nobody);
        }
    }

    /// Sets the time at which the progress of a stream is checked, unless there is one.
    pub(super) fn set_deadline(&mut self, id: StreamId, deadline: Instant) {
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.deadline.is_none()
        {
            stream.deadline = Some(deadline);
            self.deadlines.insert((deadline, id));
        }
    }

    /// Removes the time at which a stream is checked.
    pub(super) fn clear_deadline(&mut self, id: StreamId) {
        if let Some(deadline) = self.streams.get_mut(&id).and_then(|stream| stream.deadline.take()) {
            self.deadlines.remove(&(deadline, id));
        }
    }

    /// Returns the earliest time at which the progress of a stream is checked.
    pub(super) fn first_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Returns the next stream whose progress is to be checked now. It has no deadline any more.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<StreamId> {
        let (_, id) = self.deadlines.first().copied().filter(|(deadline, _)| *deadline <= now)?;
        self.deadlines.pop_first();
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.deadline = None;
        }
        Some(id)
    }

    /// Moves a stream to an id that is not in use.
    pub(super) fn rename(&mut self, from: StreamId, to: StreamId) {
        let Some(stream) = self.take_out(from) else { return };
        if let Some(deadline) = stream.deadline {
            self.deadlines.remove(&(deadline, from));
            self.deadlines.insert((deadline, to));
        }
        self.streams.insert(to, stream);
    }

    /// Removes a stream that a channel owns, or nobody. The caller releases or retires its id.
    pub(super) fn remove(&mut self, id: StreamId) -> Option<Stream> {
        let mut stream = self.take_out(id)?;
        if stream.owner == StreamOwner::Nobody {
            self.ownerless -= 1;
            self.unanswered_resets -= usize::from(stream.is_incoming_reset());
        }
        if let Some(deadline) = stream.deadline.take() {
            self.deadlines.remove(&(deadline, id));
        }
        Some(stream)
    }

    /// Removes every stream, and returns them.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Stream> + use<> {
        self.unclaimed = UnclaimedCount::default();
        (self.ownerless, self.unanswered_resets) = (0, 0);
        self.awaited = AwaitedStreams::default();
        self.deadlines.clear();
        std::mem::take(&mut self.streams).into_values()
    }

    /// Forgets on which streams messages were lost.
    pub(super) fn forget_lost(&mut self) {
        self.lost.clear();
    }

    /// Recounts the counters.
    pub(super) fn check_consistency(&self) {
        let (mut unclaimed, mut deadlines) = (UnclaimedCount::default(), 0);
        for (id, stream) in self.iter() {
            stream.check_consistency();
            if stream.owner == StreamOwner::Unclaimed {
                unclaimed.streams += 1;
                unclaimed.bytes += bytes_of(stream.held());
            }
            if let Some(deadline) = stream.deadline {
                assert!(self.deadlines.contains(&(deadline, id)));
                deadlines += 1;
            }
        }
        assert_eq!(unclaimed, self.unclaimed);
        assert_eq!(deadlines, self.deadlines.len());
        let ownerless = || self.streams.values().filter(|stream| stream.owner == StreamOwner::Nobody);
        assert_eq!(ownerless().count(), self.ownerless);
        assert_eq!(ownerless().filter(|stream| stream.is_incoming_reset()).count(), self.unanswered_resets);
        assert!(self.lost.len() <= LOST_STREAMS_MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn some_time() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "any instant will do")]
        Instant::now()
    }

    #[test]
    fn a_stream_without_a_channel_counts_until_it_is_removed_and_its_reset_with_it() {
        let (mut table, now) = (StreamTable::default(), some_time());
        table.insert_ownerless(StreamId(3), now);
        table.insert_ownerless(StreamId(4), now);
        table.assign(StreamId(5), ChannelId(1), now);
        table.on_incoming_reset(StreamId(3), now);
        table.on_incoming_reset(StreamId(5), now);
        assert_eq!((table.ownerless(), table.unanswered_resets()), (2, 1), "the reset of a channel is answered");
        table.check_consistency();
        table.remove(StreamId(3));
        assert_eq!((table.ownerless(), table.unanswered_resets()), (1, 0));
        table.check_consistency();
        assert_eq!(table.take_all().count(), 2);
        table.check_consistency();
    }

    #[test]
    fn deadlines_come_in_order_once_and_follow_a_stream_to_its_new_id() {
        let (mut table, now) = (StreamTable::default(), some_time());
        let at = |seconds| now + Duration::from_secs(seconds);
        for (id, seconds) in [(2_u16, 20_u64), (4, 10), (6, 30)] {
            let id = StreamId(id);
            table.assign(id, ChannelId(seconds), now);
            table.set_deadline(id, at(seconds));
            table.set_deadline(id, at(1));
        }
        assert_eq!(table.first_deadline(), Some(at(10)), "the first one that was set counts");
        table.rename(StreamId(4), StreamId(8));
        table.check_consistency();
        table.remove(StreamId(2));
        assert_eq!(table.pop_due(at(9)), None);
        let due = [at(30); 3].map(|time| table.pop_due(time));
        assert_eq!(due, [Some(StreamId(8)), Some(StreamId(6)), None]);
        table.check_consistency();
    }

    #[test]
    fn lost_messages_are_remembered_once_and_not_beyond_the_limit() {
        let (mut table, now) = (StreamTable::default(), some_time());
        for id in 0..=u16::try_from(LOST_STREAMS_MAX).unwrap() {
            table.insert_unclaimed(StreamId(id), now);
            assert!(table.disclaim(StreamId(id)).is_some_and(|held| held.is_empty()));
        }
        assert_eq!(table.ownerless(), LOST_STREAMS_MAX + 1);
        assert_eq!([0, 0, 256].map(|id| table.take_lost(StreamId(id))), [true, false, false]);
        assert_eq!(table.claim(StreamId(1)).map(|held| held.len()), None, "nobody owns it");
        table.remove(StreamId(1));
        table.insert_unclaimed(StreamId(1), now);
        assert!(!table.take_lost(StreamId(1)), "messages are held for it again");
    }
}
