//! The channels of an association, and the names that they get.

use std::collections::BTreeMap;

use crate::channel::{Channel, Origin};
use crate::event::ChannelId;
use crate::ready_state::ReadyState;

/// Every channel that is not both closed and released.
#[derive(Debug, Default)]
pub(super) struct ChannelTable {
    /// Boxed: a node of the tree has eleven places, and most associations have a channel or two.
    channels: BTreeMap<ChannelId, Box<Channel>>,
    /// Number of the next channel.
    next: u64,
    /// Bytes of labels and protocols of the peer's channels.
    peer_label_bytes: usize,
}

impl ChannelTable {
    pub(super) fn channel(&self, id: ChannelId) -> Option<&Channel> {
        self.channels.get(&id).map(Box::as_ref)
    }

    pub(super) fn channel_mut(&mut self, id: ChannelId) -> Option<&mut Channel> {
        self.channels.get_mut(&id).map(Box::as_mut)
    }

    pub(super) fn len(&self) -> usize {
        self.channels.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (ChannelId, &Channel)> {
        self.channels.iter().map(|(id, channel)| (*id, channel.as_ref()))
    }

    /// Returns the bytes of labels and protocols of the peer's channels.
    pub(super) fn peer_label_bytes(&self) -> usize {
        self.peer_label_bytes
    }

    /// Adds a channel, and returns its name.
    pub(super) fn insert(&mut self, channel: Channel) -> ChannelId {
        let id = ChannelId(self.next);
        self.next += 1;
        self.peer_label_bytes += label_bytes(&channel);
        self.channels.insert(id, Box::new(channel));
        id
    }

    /// Removes a channel that is closed and released.
    pub(super) fn remove(&mut self, id: ChannelId) {
        let Some(channel) = self.channels.remove(&id) else { return };
        debug_assert!(channel.state() == ReadyState::Closed && channel.ending.is_released);
        self.peer_label_bytes -= label_bytes(&channel);
    }

    /// Removes a channel of this end that nobody has heard of.
    pub(super) fn take_back(&mut self, id: ChannelId) {
        self.channels.remove(&id);
    }

    /// Recounts the counters.
    pub(super) fn check_consistency(&self) {
        for (id, channel) in self.iter() {
            channel.check_consistency();
            assert!(id.0 < self.next, "an id that was never given out");
            assert!(!channel.is_closed() || !channel.ending.is_released, "a closed and released channel is gone");
        }
        assert_eq!(self.channels.values().map(|channel| label_bytes(channel)).sum::<usize>(), self.peer_label_bytes);
    }
}

/// Returns the bytes of the label and protocol that the peer has chosen.
fn label_bytes(channel: &Channel) -> usize {
    if channel.origin == Origin::Peer { channel.options.text_len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use narrowboat_sctp::StreamId;

    use super::*;
    use crate::options::ChannelOptions;

    #[test]
    fn the_label_bytes_of_the_peer_are_counted_while_its_channels_exist() {
        let mut table = ChannelTable::default();
        let channel = |origin| Channel::new(origin, ChannelOptions::new("twelve bytes"), StreamId(1));
        let ids = [Origin::Peer, Origin::Local, Origin::Peer].map(|origin| table.insert(channel(origin)));
        assert_eq!((table.peer_label_bytes(), table.len()), (24, 3));
        let removed = table.channel_mut(ids[0]).unwrap();
        removed.on_closed(None);
        removed.inbox.close();
        removed.ending.is_released = true;
        table.remove(ids[0]);
        assert_eq!((table.peer_label_bytes(), table.len()), (12, 2));
        assert!(table.insert(channel(Origin::Local)) > ids[2], "a name is never used again");
        table.check_consistency();
    }
}
