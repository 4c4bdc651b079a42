//! Taking the other role when both ends have begun.

use narrowboat_sctp::{Association, StreamId};

use super::{ChannelsPhase, DataChannels};
use crate::channel::Origin;
use crate::config::Role;
use crate::event::ChannelId;

impl DataChannels {
    pub(super) fn take_role(&mut self, association: &mut Association, role: Role) {
        if self.role() == role || self.phase != ChannelsPhase::Connecting {
            return;
        }
        self.ids.change_role(role, self.streams.iter().map(|(id, _)| id));
        let is_in_band =
            |id: &ChannelId| self.channels.channel(*id).is_some_and(|channel| channel.origin == Origin::Local);
        let moving: Vec<(StreamId, ChannelId)> = self
            .streams
            .iter()
            .filter_map(|(stream, state)| Some((stream, state.channel().filter(is_in_band)?)))
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
        if let Some(channel) = self.channels.channel_mut(id) {
            channel.stream = to;
            self.streams.rename(from, to);
        }
    }
}
