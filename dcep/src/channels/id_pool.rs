//! Stream ids that are free, that are never used again, and of which a reset was answered.

use narrowboat_sctp::StreamId;
use narrowboat_sctp::time::Instant;

use crate::answered::AnsweredResets;
use crate::config::Role;
use crate::ids::{RetiredIds, StreamIds};

/// The ids that are not in use.
#[derive(Debug)]
pub(super) struct IdPool {
    role: Role,
    /// Free ids of this end's parity.
    free: StreamIds,
    /// Ids of either parity that can never be used again.
    retired: RetiredIds,
    /// Retired ids on which the peer was refused a channel. The ERROR that reports it may be lost.
    turned_down: RetiredIds,
    /// Free ids on which a reset of the peer was answered.
    answered: AnsweredResets,
}

impl IdPool {
    pub(super) fn new(role: Role) -> Self {
        Self {
            role,
            free: StreamIds::new(role),
            retired: RetiredIds::default(),
            turned_down: RetiredIds::default(),
            answered: AnsweredResets::default(),
        }
    }

    /// Returns the role, which decides on which ids this end opens channels.
    pub(super) fn role(&self) -> Role {
        self.role
    }

    /// Takes a free id below `streams` for a channel of this end.
    pub(super) fn allocate(&mut self, streams: u16) -> Option<StreamId> {
        self.free.allocate(streams)
    }

    /// Takes this id, which is free. Negotiated channels and those of the peer use ids of either parity.
    pub(super) fn reserve(&mut self, id: StreamId) {
        self.free.reserve(id);
    }

    /// Records that an end uses the id: the next reset of the peer will be answered, because it belongs to that use.
    pub(super) fn on_used(&mut self, id: StreamId) {
        self.answered.on_used(id);
    }

    /// Changes the role. `in_use` are the ids of the table of streams.
    pub(super) fn change_role(&mut self, role: Role, in_use: impl Iterator<Item = StreamId>) {
        self.role = role;
        self.free = StreamIds::new(role);
        in_use.for_each(|id| self.free.reserve(id));
    }

    /// Frees an id whose stream both ends have reset.
    pub(super) fn release(&mut self, now: Instant, id: StreamId) {
        self.free.release(id);
        self.answered.on_free(now, id);
    }

    /// Frees an id of which the peer has never heard.
    pub(super) fn release_unused(&mut self, id: StreamId) {
        self.free.release_unused(id);
    }

    /// Retires an id whose stream cannot be reset.
    pub(super) fn retire(&mut self, id: StreamId) {
        self.retired.insert(id);
    }

    pub(super) fn is_retired(&self, id: StreamId) -> bool {
        self.retired.contains(id)
    }

    /// Returns the number of ids that can never be used again.
    pub(super) fn len_retired(&self) -> usize {
        self.retired.len()
    }

    /// Records that the peer was refused a channel on this id. Returns `true` if the id is retired, so that no reset
    /// tells the peer.
    pub(super) fn turn_down(&mut self, id: StreamId) -> bool {
        let is_retired = self.is_retired(id);
        if is_retired {
            self.turned_down.insert(id);
        }
        is_retired
    }

    /// Returns `true` if the peer was refused a channel on this id, and no reset has told the peer.
    pub(super) fn is_turned_down(&self, id: StreamId) -> bool {
        self.turned_down.contains(id)
    }

    /// Handles the peer's reset of a free id. Returns `true` if the reset is to be answered, and records the answer.
    pub(super) fn take_answer(&mut self, now: Instant, id: StreamId) -> bool {
        self.answered.take_answer(now, id)
    }

    /// Recounts the counters. `in_use` are the ids of the table of streams; `is_over` if the association has ended.
    pub(super) fn check_consistency(&self, in_use: impl Iterator<Item = StreamId>, is_over: bool) {
        self.free.check_consistency();
        self.answered.check_consistency();
        let mut ours = self.retired.len_of(self.role);
        for id in in_use {
            assert!(id != StreamId::MAX, "stream 65535 does not exist");
            assert!(!self.free.is_free(id), "a stream in use is not free");
            assert!(!self.is_retired(id), "a retired stream serves nobody");
            ours += usize::from(self.role.owns(id));
        }
        let all = u16::MAX / 2 + u16::from(self.role.owns(StreamId(0)));
        assert!(is_over || self.free.len_free() + ours == usize::from(all), "each id is either free or in use");
        assert!(self.turned_down.is_within(&self.retired), "only a stream that cannot be reset is remembered");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_retired_id_is_turned_down() {
        let mut ids = IdPool::new(Role::Client);
        let [kept, retired] = [2, 4].map(StreamId);
        ids.reserve(retired);
        ids.retire(retired);
        assert_eq!([kept, retired].map(|id| ids.turn_down(id)), [false, true]);
        assert_eq!([kept, retired].map(|id| ids.is_turned_down(id)), [false, true]);
        ids.check_consistency(std::iter::empty(), false);
    }

    #[test]
    fn the_other_role_allocates_ids_of_the_other_parity_that_are_not_in_use() {
        let mut ids = IdPool::new(Role::Client);
        let in_use = [0, 1].map(StreamId);
        in_use.into_iter().for_each(|id| ids.reserve(id));
        ids.change_role(Role::Server, in_use.into_iter());
        assert_eq!((ids.role(), ids.allocate(100)), (Role::Server, Some(StreamId(3))));
        ids.check_consistency(in_use.into_iter().chain([StreamId(3)]), false);
    }
}
