//! The channels in the hands of one call: with their association, and the time.

use narrowboat_sctp::time::Instant;
use narrowboat_sctp::{Association, Credit, StreamId};

use super::DataChannels;
use crate::channel::Channel;
use crate::event::ChannelId;
use crate::stats::ChannelDropReason;
use crate::stream::{Stream, StreamOwner};

/// Everything that a call reads and changes. The procedures of the siblings of this module are its methods, so that
/// none of them passes the time and the association on by hand.
pub(super) struct ChannelsContext<'a> {
    pub(super) now: Instant,
    pub(super) association: &'a mut Association,
    pub(super) state: &'a mut DataChannels,
}

impl ChannelsContext<'_> {
    /// Returns the number of streams that exist in both directions (RFC 8831 §6.4).
    pub(super) fn stream_limit(&self) -> u16 {
        DataChannels::stream_limit(self.association)
    }

    /// Adds a channel, which takes over its stream if that is in use already.
    pub(super) fn insert_channel(&mut self, channel: Channel) -> ChannelId {
        let state = &mut *self.state;
        let id = ChannelId(state.next_channel);
        tracing::debug!(
            channel = id.0,
            stream_id = %channel.stream,
            origin = ?channel.origin,
            ordered = channel.options.ordered,
            reliability = ?channel.options.reliability,
            "channel created"
        );
        state.next_channel += 1;
        state.answered_resets.on_used(channel.stream);
        state.lost_streams.remove(&channel.stream);
        let stream = state.streams.entry(channel.stream);
        stream.or_insert_with(|| Stream::new(StreamOwner::Nobody, self.now)).owner = StreamOwner::Channel(id);
        state.channels.insert(id, channel);
        id
    }

    /// Adds a free stream that comes into use without a channel.
    pub(super) fn insert_stream(&mut self, stream: StreamId, owner: StreamOwner) -> &mut Stream {
        let state = &mut *self.state;
        state.ids.reserve(stream);
        state.ownerless_streams += usize::from(owner == StreamOwner::Nobody);
        state.streams.entry(stream).or_insert_with(|| Stream::new(owner, self.now))
    }

    /// Removes a stream from the table. The caller releases or retires its id.
    pub(super) fn remove_stream(&mut self, id: StreamId) -> Option<Stream> {
        let state = &mut *self.state;
        let mut stream = state.streams.remove(&id)?;
        if stream.owner == StreamOwner::Nobody {
            state.ownerless_streams -= 1;
            state.unanswered_resets -= usize::from(stream.is_incoming_reset());
        }
        if let Some(deadline) = stream.deadline.take() {
            state.deadlines.remove(&(deadline, id));
        }
        Some(stream)
    }

    /// Discards a message, and counts it.
    pub(super) fn discard_message(&mut self, credit: Credit, reason: ChannelDropReason) {
        self.state.stats.drops.add(reason);
        self.association.release(credit);
    }
}
