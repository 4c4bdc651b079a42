//! Invariants of channels, streams and ids, recounted from scratch.

use super::{ChannelsPhase, DataChannels};
use crate::channel::Origin;
use crate::stream::StreamOwner;

impl DataChannels {
    /// Recounts everything that is counted elsewhere.
    ///
    /// # Panics
    ///
    /// If an invariant does not hold, which is a bug in this crate.
    pub fn check_consistency(&self) {
        self.channels.check_consistency();
        self.streams.check_consistency();
        self.ids.check_consistency(self.streams.iter().map(|(id, _)| id), self.phase == ChannelsPhase::Ended);
        self.check_channels();
        self.check_streams();
    }

    /// Checks after a mutation in debug builds; not after each one if there is much to count, or in a fuzzer, which has
    /// more use for other inputs.
    pub(super) fn recount(&self) {
        if cfg!(debug_assertions) {
            let unchecked = self.unchecked.get() + 1;
            let interval = if cfg!(fuzzing) { 63 } else { 0 };
            if unchecked > interval.max((self.channels.len() + self.streams.len()) / 64) {
                self.unchecked.set(0);
                self.check_consistency();
            } else {
                self.unchecked.set(unchecked);
            }
        }
    }

    fn check_channels(&self) {
        for (id, channel) in self.channels.iter() {
            let owner = self.streams.stream(channel.stream).map(|stream| stream.owner);
            let owns_stream = owner == Some(StreamOwner::Channel(id));
            assert_eq!(owns_stream, !channel.is_closed(), "a channel has its stream until it is closed");
            assert_eq!(channel.sending.awaits_room, self.room.awaits_room(id), "who waits for room is on the list");
            let waits = self.room.has_control(id);
            assert!(channel.sending.control.is_none() || waits, "a DCEP message that waits is on the list");
            assert!(channel.origin != Origin::Negotiated || channel.options.negotiated == Some(channel.stream.0));
        }
        for (stream, awaited) in self.streams.awaited.iter() {
            let owner = self.streams.stream(stream).map(|stream| stream.channel());
            assert_eq!(owner, Some(awaited.channel), "a stream that is awaited is in use");
        }
        assert!(self.room.senders().all(|id| self.channels.channel(id).is_some()));
        assert!(self.channels.len() <= self.config.channels_max);
    }

    fn check_streams(&self) {
        for (id, stream) in self.streams.iter() {
            if let Some(channel) = stream.channel() {
                assert_eq!(self.channels.channel(channel).map(|channel| channel.stream), Some(id));
            }
        }
        let is_ended = self.phase == ChannelsPhase::Ended;
        assert!(!is_ended || self.streams.is_empty(), "an ended association has no streams");
    }
}
