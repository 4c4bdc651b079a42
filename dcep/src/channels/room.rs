//! Channels that wait for room in the send buffer.

use std::collections::{BTreeSet, VecDeque};

use crate::event::ChannelId;

/// Entries without a message that the list of DCEP messages may have, beside half of it, before it is cleaned.
const DROPPED_KEPT: usize = 16;

/// Channels that wait until the send buffer has room, for a DCEP message or for a message of the application.
#[derive(Debug, Default)]
pub(super) struct RoomQueue {
    /// Channels whose DCEP message waits, in order; some may have closed since.
    controls: VecDeque<ChannelId>,
    /// Entries of `controls` whose message is not to be sent any more.
    dropped: usize,
    /// Channels on which `send` returned `Full`.
    senders: BTreeSet<ChannelId>,
}

impl RoomQueue {
    /// Queues a channel whose DCEP message waits.
    pub(super) fn push_control(&mut self, id: ChannelId) {
        self.controls.push_back(id);
    }

    /// Returns a channel to the front of the queue, because there is no room after all.
    pub(super) fn return_control(&mut self) {
        self.controls.rotate_right(1);
    }

    pub(super) fn pop_control(&mut self) -> Option<ChannelId> {
        self.controls.pop_front()
    }

    /// Returns the number of entries, of which some may have no message any more.
    pub(super) fn len_controls(&self) -> usize {
        self.controls.len()
    }

    /// Records that the DCEP message of a channel in the queue is not to be sent any more. Its entry is removed later,
    /// with many others, because a peer may reset all channels in one packet. `waits` tells the channels whose message
    /// still waits.
    pub(super) fn on_control_dropped(&mut self, waits: impl Fn(ChannelId) -> bool) {
        self.dropped += 1;
        if self.dropped > self.controls.len() / 2 + DROPPED_KEPT {
            self.controls.retain(|id| waits(*id));
            self.dropped = 0;
        }
    }

    /// Records that an entry was popped whose message was dropped.
    pub(super) fn on_dropped_popped(&mut self) {
        self.dropped = self.dropped.saturating_sub(1);
    }

    /// Records that `send` returned `Full`.
    pub(super) fn await_room(&mut self, id: ChannelId) {
        self.senders.insert(id);
    }

    /// Records that the application cannot send on the channel any more. Returns `true` if it waited.
    pub(super) fn stop_waiting(&mut self, id: ChannelId) -> bool {
        self.senders.remove(&id)
    }

    /// Returns the next channel on which `send` returned `Full`.
    pub(super) fn pop_sender(&mut self) -> Option<ChannelId> {
        self.senders.pop_first()
    }

    /// Forgets the DCEP messages that wait, because the association has ended or restarted.
    pub(super) fn clear_controls(&mut self) {
        self.controls.clear();
        self.dropped = 0;
    }

    pub(super) fn has_control(&self, id: ChannelId) -> bool {
        self.controls.contains(&id)
    }

    pub(super) fn awaits_room(&self, id: ChannelId) -> bool {
        self.senders.contains(&id)
    }

    pub(super) fn senders(&self) -> impl Iterator<Item = ChannelId> {
        self.senders.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dcep_messages_that_find_no_room_keep_their_place() {
        let mut room = RoomQueue::default();
        (1..4).for_each(|id| room.push_control(ChannelId(id)));
        assert_eq!(room.pop_control(), Some(ChannelId(1)));
        // Sent, and queued again at the end.
        room.push_control(ChannelId(1));
        room.return_control();
        assert_eq!(room.pop_control(), Some(ChannelId(1)));
    }

    #[test]
    fn entries_without_a_message_are_removed_many_at_a_time() {
        let mut room = RoomQueue::default();
        (0..100).for_each(|id| room.push_control(ChannelId(id)));
        let waits = |id: ChannelId| id.0 >= 67;
        for _ in 0..66 {
            room.on_control_dropped(waits);
        }
        assert_eq!(room.len_controls(), 100, "half and a few more are kept");
        room.on_control_dropped(waits);
        assert_eq!((room.len_controls(), room.pop_control()), (33, Some(ChannelId(67))));
    }

    #[test]
    fn a_sender_is_told_of_room_once_unless_it_has_stopped_waiting() {
        let mut room = RoomQueue::default();
        [3, 1, 2, 1].into_iter().for_each(|id| room.await_room(ChannelId(id)));
        assert!(room.stop_waiting(ChannelId(2)) && !room.stop_waiting(ChannelId(2)));
        assert_eq!([(); 3].map(|()| room.pop_sender()), [Some(ChannelId(1)), Some(ChannelId(3)), None]);
    }
}
