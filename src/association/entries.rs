//! The channels of an association at this layer: their entries, those that wait to be accepted, and those that have
//! ended.

use std::collections::{HashMap, VecDeque};
use std::task::Waker;

use narrowboat_dcep::ChannelId;

use super::channel_entry::{ChannelEntry, EventKind};
use super::half_close::HalfClose;
use crate::error::ChannelError;
use crate::waiters::Interest;

/// The entries of channels.
#[derive(Debug, Default)]
pub(crate) struct ChannelEntries {
    entries: HashMap<ChannelId, ChannelEntry>,
    /// Channels of the peer that the application has not accepted yet.
    incoming: VecDeque<ChannelId>,
    /// Channels that are not closed.
    alive: usize,
    /// Channels that have ended, and whose last packet is not written yet.
    ended: Vec<ChannelId>,
    /// Channels that have ended, and whose last packet is being sent.
    leaving: Vec<ChannelId>,
    /// True if a channel became a byte stream that can be half closed. Other associations skip the checks for one.
    has_half_close: bool,
}

impl ChannelEntries {
    pub(super) fn entry(&self, id: ChannelId) -> Option<&ChannelEntry> {
        self.entries.get(&id)
    }

    pub(super) fn entry_mut(&mut self, id: ChannelId) -> Option<&mut ChannelEntry> {
        self.entries.get_mut(&id)
    }

    /// Returns the number of entries.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the number of channels that are not closed.
    pub(crate) fn alive(&self) -> usize {
        self.alive
    }

    /// Adds the entry of a new channel.
    pub(super) fn insert(&mut self, id: ChannelId, entry: ChannelEntry) {
        self.entries.insert(id, entry);
        self.alive += 1;
    }

    /// Queues a channel of the peer until it is accepted. The queue refers to it.
    pub(super) fn push_incoming(&mut self, id: ChannelId) {
        self.hold_reference(id);
        self.incoming.push_back(id);
    }

    /// Returns the next channel that waits to be accepted, with one handle.
    pub(super) fn accept(&mut self) -> Option<ChannelId> {
        let id = self.incoming.pop_front()?;
        self.hold_handle(id);
        self.release_reference(id);
        Some(id)
    }

    /// Returns the channels that will not be accepted any more. The caller releases their references.
    pub(super) fn take_incoming(&mut self) -> VecDeque<ChannelId> {
        std::mem::take(&mut self.incoming)
    }

    /// Counts one more handle of a channel.
    pub(super) fn hold_handle(&mut self, id: ChannelId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.holders.handles += 1;
            entry.holders.references += 1;
        }
    }

    /// Counts one handle of a channel less, but not the reference that the handle was. Returns `true` if it was the
    /// last handle.
    pub(super) fn release_handle(&mut self, id: ChannelId) -> bool {
        self.entries.get_mut(&id).is_some_and(|entry| {
            entry.holders.handles -= 1;
            entry.holders.handles == 0
        })
    }

    /// Counts one more reference to a channel: a handle, a future, or the queue of channels to accept.
    pub(super) fn hold_reference(&mut self, id: ChannelId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.holders.references += 1;
        }
    }

    /// Counts one reference to a channel less. The last one of a closed channel removes the entry.
    pub(super) fn release_reference(&mut self, id: ChannelId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.holders.references -= 1;
        }
        self.remove_if_unused(id);
    }

    /// Handles the end of a channel, which its tasks hear of. Its last packet is still to be written.
    pub(super) fn on_closed(&mut self, id: ChannelId, result: Result<(), ChannelError>, wakers: &mut Vec<Waker>) {
        self.alive -= 1;
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.on_closed(result);
            entry.waiters.wake_all(wakers);
        }
        self.ended.push(id);
        self.remove_if_unused(id);
    }

    /// Ends every channel with an error, after a panic.
    pub(super) fn fail(&mut self, error: &ChannelError) {
        // Channels that end together are reported in any order.
        for (id, entry) in self.entries.iter_mut().filter(|(_, entry)| entry.end.result.is_none()) {
            entry.on_closed(Err(error.clone()));
            self.ended.push(*id);
        }
        self.alive = 0;
        for id in self.take_incoming() {
            self.release_reference(id);
        }
    }

    /// Handles the writing of the last packets of the channels that have ended.
    pub(super) fn on_last_packets_written(&mut self) {
        self.leaving.append(&mut self.ended);
    }

    /// Handles the acceptance of the written packets by the system: the peer will hear of the channels that have ended.
    pub(super) fn on_sent(&mut self, wakers: &mut Vec<Waker>) {
        for id in std::mem::take(&mut self.leaving) {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.end.is_sent = true;
                entry.events.push(EventKind::Close);
                entry.waiters.wake_all(wakers);
            }
        }
    }

    /// Wakes the tasks that wait for `interest` on any channel.
    pub(super) fn wake(&mut self, interest: Interest, wakers: &mut Vec<Waker>) {
        self.entries.values_mut().for_each(|entry| entry.waiters.wake(interest, wakers));
    }

    /// Wakes every task that waits on a channel.
    pub(super) fn wake_all(&mut self, wakers: &mut Vec<Waker>) {
        self.entries.values_mut().for_each(|entry| entry.waiters.wake_all(wakers));
    }

    /// Makes a channel a byte stream that can be half closed, unless it is one, and returns the state of that.
    pub(super) fn begin_half_close(&mut self, id: ChannelId) -> Option<&mut HalfClose> {
        self.has_half_close = true;
        Some(self.entries.get_mut(&id)?.byte_stream.get_or_insert_default().half_close.get_or_insert_default())
    }

    /// Returns the state of a byte stream that can be half closed.
    pub(super) fn half_close(&mut self, id: ChannelId) -> Option<&mut HalfClose> {
        if !self.has_half_close {
            return None;
        }
        self.entries.get_mut(&id)?.byte_stream.as_deref_mut()?.half_close.as_mut()
    }

    fn remove_if_unused(&mut self, id: ChannelId) {
        if self.entries.get(&id).is_some_and(|entry| entry.holders.references == 0 && entry.end.result.is_some()) {
            self.entries.remove(&id);
        }
    }

    /// Recounts the counters. `handles` are those of the association, its channels' included.
    pub(super) fn check_consistency(&self, handles: usize) {
        assert_eq!(self.alive, self.entries.values().filter(|entry| entry.end.result.is_none()).count());
        assert!(handles >= self.entries.values().map(|entry| entry.holders.handles).sum());
        assert!(self.entries.values().all(|entry| entry.holders.references >= entry.holders.handles));
        assert!(self.entries.values().all(|entry| entry.holders.references > 0 || entry.waiters.is_empty()));
        assert!(self.incoming.iter().all(|id| self.entries.contains_key(id)));
        assert!(self.has_half_close || self.entries.values().all(|entry| !entry.has_half_close()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: ChannelId = ChannelId(1);
    const SECOND: ChannelId = ChannelId(2);

    fn entries() -> ChannelEntries {
        let mut entries = ChannelEntries::default();
        entries.insert(FIRST, ChannelEntry::default());
        entries.insert(SECOND, ChannelEntry::open());
        entries
    }

    #[test]
    fn an_entry_lives_until_the_channel_is_closed_and_nobody_refers_to_it() {
        let (mut entries, mut wakers) = (entries(), Vec::new());
        entries.hold_handle(FIRST);
        entries.hold_reference(FIRST);
        entries.on_closed(FIRST, Ok(()), &mut wakers);
        assert!(entries.release_handle(FIRST), "the last handle");
        entries.release_reference(FIRST);
        assert!(entries.entry(FIRST).is_some(), "a future still refers to it");
        entries.release_reference(FIRST);
        assert!(entries.entry(FIRST).is_none());
        entries.hold_handle(SECOND);
        entries.release_handle(SECOND);
        entries.release_reference(SECOND);
        assert!(entries.entry(SECOND).is_some(), "it is not closed");
        entries.on_closed(SECOND, Ok(()), &mut wakers);
        assert_eq!((entries.len(), entries.alive()), (0, 0));
        entries.check_consistency(0);
    }

    #[test]
    fn a_channel_that_waits_to_be_accepted_is_referred_to_by_the_queue_then_by_its_handle() {
        let (mut entries, mut wakers) = (entries(), Vec::new());
        entries.push_incoming(SECOND);
        entries.on_closed(SECOND, Ok(()), &mut wakers);
        assert_eq!(entries.accept(), Some(SECOND), "with the messages that it holds");
        assert_eq!(entries.accept(), None);
        entries.check_consistency(1);
        assert!(entries.release_handle(SECOND));
        entries.release_reference(SECOND);
        assert!(entries.entry(SECOND).is_none());
    }

    #[test]
    fn the_end_of_a_channel_is_sent_when_the_packets_written_after_it_were_accepted() {
        let (mut entries, mut wakers) = (entries(), Vec::new());
        entries.hold_handle(FIRST);
        entries.on_closed(FIRST, Ok(()), &mut wakers);
        let is_sent = |entries: &ChannelEntries| entries.entry(FIRST).map(|entry| entry.end.is_sent);
        entries.on_sent(&mut wakers);
        assert_eq!(is_sent(&entries), Some(false), "nothing was written since");
        entries.on_last_packets_written();
        assert_eq!(is_sent(&entries), Some(false), "the system has not accepted it");
        entries.on_sent(&mut wakers);
        assert_eq!(is_sent(&entries), Some(true));
    }

    #[test]
    fn a_failure_ends_every_channel_once_and_drops_those_that_wait() {
        let (mut entries, mut wakers) = (entries(), Vec::new());
        entries.hold_handle(FIRST);
        entries.on_closed(FIRST, Ok(()), &mut wakers);
        entries.push_incoming(SECOND);
        entries.fail(&ChannelError::Refused);
        assert_eq!(entries.entry(FIRST).and_then(|entry| entry.end.result.clone()), Some(Ok(())));
        assert!(entries.entry(SECOND).is_none(), "nobody refers to it");
        assert_eq!((entries.accept(), entries.alive()), (None, 0));
        entries.check_consistency(1);
    }
}
