//! The channels in the hands of one call: with their association, and the time.

use narrowboat_sctp::time::Instant;
use narrowboat_sctp::{Association, Credit, SendPolicy, StreamId};

use super::DataChannels;
use crate::channel::Channel;
use crate::event::ChannelId;
use crate::options::NORMAL_PRIORITY;
use crate::stats::ChannelDropReason;

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
        let stream = channel.stream;
        let (origin, ordered, reliability) = (channel.origin, channel.options.ordered, channel.options.reliability);
        if stream.is_below(self.association.outbound_streams()) {
            self.association.set_stream_priority(stream, channel.options.weight());
        }
        let id = self.state.channels.insert(channel);
        tracing::debug!(channel = id.0, stream_id = %stream, ?origin, ordered, ?reliability, "channel created");
        self.state.ids.on_used(stream);
        self.state.streams.assign(stream, id, self.now);
        id
    }

    /// Adds a free stream that comes into use without a channel, and without an expected one.
    pub(super) fn insert_ownerless(&mut self, stream: StreamId) {
        self.state.ids.reserve(stream);
        self.state.streams.insert_ownerless(stream, self.now);
    }

    /// Releases a stream on which nothing was sent. Its settings become the defaults, as by a reset: the next channel
    /// on it begins with them.
    pub(super) fn release_unused_stream(&mut self, stream: StreamId) {
        self.association.set_buffered_amount_low_threshold(stream, 0);
        self.association.set_stream_priority(stream, NORMAL_PRIORITY);
        self.association.set_send_policy(stream, SendPolicy::default());
        self.state.streams.remove(stream);
        self.state.ids.release_unused(stream);
    }

    /// Discards a message, and counts it.
    pub(super) fn discard_message(&mut self, credit: Credit, reason: ChannelDropReason) {
        self.state.stats.drops.add(reason);
        self.association.release(credit);
    }
}
