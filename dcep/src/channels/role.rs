//! Taking the other role when both ends have begun.

use narrowboat_sctp::{Association, StreamId};

use super::{ChannelsPhase, DataChannels};
use crate::channel::Origin;
use crate::config::Role;
use crate::event::ChannelId;
use crate::ids::StreamIds;

impl DataChannels {
    pub(super) fn take_role(&mut self, association: &mut Association, role: Role) {
        if self.role == role || self.phase != ChannelsPhase::Connecting {
            return;
        }
        self.role = role;
        self.ids = StreamIds::new(role);
        for stream in self.streams.keys() {
            self.ids.reserve(*stream);
        }
        let is_in_band = |id: &ChannelId| self.channels.get(id).is_some_and(|channel| channel.origin == Origin::Local);
        let moving: Vec<(StreamId, ChannelId)> = self
            .streams
            .iter()
            .filter_map(|(stream, state)| Some((*stream, state.channel().filter(is_in_band)?)))
            .collect();
        for (from, id) in moving {
            let Some(to) = self.ids.allocate(Self::stream_limit(association)) else { return };
            if association.move_unsent(from, to) {
                self.move_channel(id, from, to);
            } else {
                self.ids.release_unused(to);
            }
        }
    }

    fn move_channel(&mut self, id: ChannelId, from: StreamId, to: StreamId) {
        let (Some(channel), Some(stream)) = (self.channels.get_mut(&id), self.streams.remove(&from)) else { return };
        channel.stream = to;
        if let Some(deadline) = stream.deadline {
            self.deadlines.remove(&(deadline, from));
            self.deadlines.insert((deadline, to));
        }
        self.streams.insert(to, stream);
    }
}
