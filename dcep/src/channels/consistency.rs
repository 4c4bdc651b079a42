//! Invariants of channels, streams and ids, recounted from scratch.

use narrowboat_sctp::StreamId;

use super::{ChannelsPhase, DataChannels, LOST_STREAMS_MAX};
use crate::channel::Origin;
use crate::stream::{Arrival, Stream, StreamOwner};

impl DataChannels {
    /// Recounts everything that is counted elsewhere.
    ///
    /// # Panics
    ///
    /// If an invariant does not hold, which is a bug in this crate.
    pub fn check_consistency(&self) {
        self.check_channels();
        self.check_streams();
        self.ids.check_consistency();
        self.answered_resets.check_consistency();
        let ours = |id: &StreamId| self.role.owns(*id) && *id != StreamId::MAX;
        let ours = self.streams.keys().copied().filter(ours).count() + self.retired.len_of(self.role);
        let all = u16::MAX / 2 + u16::from(self.role.owns(StreamId(0)));
        if self.phase != ChannelsPhase::Ended {
            assert_eq!(self.ids.len_free() + ours, usize::from(all), "each id is either free or in use");
        }
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
        let mut label_bytes = 0;
        for (id, channel) in &self.channels {
            channel.check_consistency();
            assert!(id.0 < self.next_channel, "an id that was never given out");
            let owner = self.streams.get(&channel.stream).map(|stream| stream.owner);
            let owns_stream = owner == Some(StreamOwner::Channel(*id));
            assert_eq!(owns_stream, !channel.is_closed(), "a channel has its stream until it is closed");
            assert!(!channel.is_closed() || !channel.is_released, "a closed and released channel is gone");
            assert_eq!(channel.awaits_room, self.awaiting_room.contains(id), "who waits for room is on the list");
            let waits = self.waiting_controls.contains(id);
            assert!(channel.control.is_none() || waits, "a DCEP message that waits is on the list");
            assert!(channel.origin != Origin::Negotiated || channel.options.negotiated == Some(channel.stream.0));
            label_bytes += if channel.origin == Origin::Peer { channel.options.text_len() } else { 0 };
        }
        assert_eq!(label_bytes, self.peer_label_bytes);
        assert!(self.awaiting_room.iter().all(|id| self.channels.contains_key(id)));
        assert!(self.channels.len() <= self.config.channels_max);
    }

    fn check_streams(&self) {
        let (mut unclaimed_streams, mut unclaimed_bytes, mut deadlines) = (0, 0, 0);
        for (&id, stream) in &self.streams {
            stream.check_consistency();
            assert!(id != StreamId::MAX, "stream 65535 does not exist");
            assert!(!self.ids.is_free(id), "a stream in use is not free");
            assert!(!self.retired.contains(id), "a retired stream serves nobody");
            if let Some(channel) = stream.channel() {
                assert_eq!(self.channels.get(&channel).map(|channel| channel.stream), Some(id));
            }
            if stream.owner == StreamOwner::Unclaimed {
                unclaimed_streams += 1;
                unclaimed_bytes += stream
                    .held()
                    .iter()
                    .map(|arrival| match arrival {
                        Arrival::Message(message) => message.credit.bytes() as usize,
                        Arrival::Reset => 0,
                    })
                    .sum::<usize>();
            }
            if let Some(deadline) = stream.deadline {
                assert!(self.deadlines.contains(&(deadline, id)));
                deadlines += 1;
            }
        }
        assert_eq!((unclaimed_streams, unclaimed_bytes), (self.unclaimed_streams, self.unclaimed_bytes));
        assert_eq!(deadlines, self.deadlines.len());
        let ownerless = self.streams.values().filter(|stream| stream.owner == StreamOwner::Nobody).count();
        assert_eq!(ownerless, self.ownerless_streams);
        let is_unanswered = |stream: &&Stream| stream.owner == StreamOwner::Nobody && stream.is_incoming_reset();
        assert_eq!(self.streams.values().filter(is_unanswered).count(), self.unanswered_resets);
        assert!(self.lost_streams.len() <= LOST_STREAMS_MAX);
        assert!(self.turned_down.is_within(&self.retired), "only a stream that cannot be reset is remembered");
        assert!(self.phase != ChannelsPhase::Ended || self.streams.is_empty(), "an ended association has no streams");
    }
}
