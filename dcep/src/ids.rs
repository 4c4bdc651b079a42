//! Stream ids on which this end may open channels (RFC 8832 §6).

use std::collections::VecDeque;

use narrowboat_sctp::{Interval, IntervalSet, StreamId};

use crate::config::Role;

/// Most freed ids that are held back. The lowest free id is used first, but a freed id is not reused until this number
/// of other ids have been freed after it, unless no other id is left. So a packet that arrives far too late does not
/// hit a new channel.
const RESTING_MAX: usize = 64;

/// The ids of one parity: which are free.
///
/// Free ids are kept as intervals, so that what this holds grows with the ids in use and not with those ever used. At
/// worst it holds 16,384 intervals, 64 KiB.
#[derive(Debug)]
pub(crate) struct StreamIds {
    role: Role,
    /// Places of the free ids in the sequence of ids of this parity.
    free: IntervalSet<u16>,
    /// Freed last; the oldest in front. Not in `free`.
    resting: VecDeque<u16>,
}

impl StreamIds {
    pub(crate) fn new(role: Role) -> Self {
        // Stream 65,535 does not exist: an association has at most 65,535 streams, counted from 0.
        let last = match role {
            Role::Client => 32_767,
            Role::Server => 32_766,
        };
        let mut free = IntervalSet::default();
        free.insert_interval(Interval { first: 0, last }, |_| {});
        Self { role, free, resting: VecDeque::new() }
    }

    /// Takes a free id below `streams`.
    pub(crate) fn allocate(&mut self, streams: u16) -> Option<StreamId> {
        if let Some(Interval { first, .. }) = self.free.first()
            && self.id(first).is_below(streams)
        {
            self.take_free(first);
            return Some(self.id(first));
        }
        let position = self.resting.iter().position(|&place| self.id(place).is_below(streams))?;
        self.resting.remove(position).map(|place| self.id(place))
    }

    /// Takes this id, if it is of this parity. It must be free.
    pub(crate) fn reserve(&mut self, id: StreamId) {
        let Some(place) = self.place(id) else { return };
        if let Some(position) = self.resting.iter().position(|&resting| resting == place) {
            self.resting.remove(position);
        } else {
            self.take_free(place);
        }
    }

    /// Gives back an id that was in use, if it is of this parity; it rests first.
    pub(crate) fn release(&mut self, id: StreamId) {
        let Some(place) = self.place(id) else { return };
        self.resting.push_back(place);
        if self.resting.len() > RESTING_MAX
            && let Some(rested) = self.resting.pop_front()
        {
            self.put_free(rested);
        }
    }

    /// Gives back an id of which the peer has never heard, if it is of this parity.
    pub(crate) fn release_unused(&mut self, id: StreamId) {
        if let Some(place) = self.place(id) {
            self.put_free(place);
        }
    }

    /// Returns `true` if the id is of this parity and free.
    pub(crate) fn is_free(&self, id: StreamId) -> bool {
        self.place(id).is_some_and(|place| self.resting.contains(&place) || self.free.contains(place))
    }

    /// Returns the number of free ids, resting ones included.
    pub(crate) fn len_free(&self) -> usize {
        let free: usize = self.free.iter().map(|Interval { first, last }| usize::from(last - first) + 1).sum();
        free + self.resting.len()
    }

    pub(crate) fn check_consistency(&self) {
        self.free.check_consistency();
        assert!(self.resting.len() <= RESTING_MAX);
        for (index, &place) in self.resting.iter().enumerate() {
            assert!(!self.free.contains(place), "an id is both resting and free");
            assert!(!self.resting.iter().skip(index + 1).any(|&other| other == place), "an id rests twice");
        }
    }

    fn id(&self, place: u16) -> StreamId {
        StreamId(place * 2 + u16::from(self.role == Role::Server))
    }

    fn place(&self, id: StreamId) -> Option<u16> {
        (self.role.owns(id) && id != StreamId::MAX).then_some(id.0 / 2)
    }

    fn take_free(&mut self, place: u16) {
        debug_assert!(self.free.contains(place), "stream {} is not free", self.id(place));
        self.free.remove(place);
    }

    fn put_free(&mut self, place: u16) {
        debug_assert!(!self.free.contains(place), "stream {} is free already", self.id(place));
        self.free.insert(place);
    }
}

/// Ids whose last channel has ended without resets, because the peer does not know them (RFC 6525): none can be used
/// again.
///
/// A bit for each id, so that a peer that has them all used up costs 8 KiB.
#[derive(Debug, Default)]
pub(crate) struct RetiredIds {
    bits: Vec<u64>,
    len: usize,
}

impl RetiredIds {
    pub(crate) fn insert(&mut self, id: StreamId) {
        let (word, bit) = Self::place(id);
        if self.bits.is_empty() {
            self.bits.resize(usize::from(StreamId::MAX.0) / 64 + 1, 0);
        }
        if let Some(bits) = self.bits.get_mut(word) {
            self.len += usize::from(*bits & bit == 0);
            *bits |= bit;
        }
    }

    pub(crate) fn contains(&self, id: StreamId) -> bool {
        let (word, bit) = Self::place(id);
        self.bits.get(word).is_some_and(|bits| bits & bit != 0)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the number of the streams on which the end with this role opens channels.
    pub(crate) fn len_of(&self, role: Role) -> usize {
        let parity = if role == Role::Client { u64::MAX / 3 } else { u64::MAX / 3 * 2 };
        self.bits.iter().map(|bits| (bits & parity).count_ones() as usize).sum()
    }

    /// True if all of these are among the others.
    pub(crate) fn is_within(&self, others: &Self) -> bool {
        let is_within = |(word, bits): (usize, &u64)| bits & !others.bits.get(word).copied().unwrap_or(0) == 0;
        self.bits.iter().enumerate().all(is_within)
    }

    fn place(id: StreamId) -> (usize, u64) {
        (usize::from(id.0 / 64), 1 << (id.0 % 64))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use narrowboat_sctp::testing::Random;

    use super::*;

    #[test]
    fn each_role_takes_its_own_parity_lowest_first() {
        let mut ids = StreamIds::new(Role::Client);
        assert_eq!(
            [ids.allocate(100), ids.allocate(100), ids.allocate(100)],
            [Some(StreamId(0)), Some(StreamId(2)), Some(StreamId(4))]
        );
        let mut ids = StreamIds::new(Role::Server);
        assert_eq!(
            [ids.allocate(100), ids.allocate(100), ids.allocate(100)],
            [Some(StreamId(1)), Some(StreamId(3)), Some(StreamId(5))]
        );
    }

    #[test]
    fn j13_every_id_can_be_in_use_at_once_and_65535_is_none() {
        for (role, count, last) in [(Role::Client, 32_768, 65_534), (Role::Server, 32_767, 65_533)] {
            let mut ids = StreamIds::new(role);
            let taken: Vec<_> = std::iter::from_fn(|| ids.allocate(65_535)).collect();
            assert_eq!((taken.len(), taken.last()), (count, Some(&StreamId(last))));
            assert_eq!(ids.len_free(), 0);
            // Any order back, and what is held is one interval and the resting ids.
            for &id in taken.iter().step_by(2).chain(taken.iter().skip(1).step_by(2)) {
                ids.release(id);
            }
            ids.check_consistency();
            assert_eq!(ids.len_free(), count);
            assert!(ids.free.len() <= RESTING_MAX + 1, "{} intervals", ids.free.len());
        }
    }

    #[test]
    fn a_freed_id_rests_unless_nothing_else_is_left() {
        let mut ids = StreamIds::new(Role::Client);
        for round in 0..64 {
            let id = ids.allocate(65_535).unwrap();
            assert_eq!(id, StreamId(round * 2), "never the one just freed");
            ids.release(id);
        }
        assert_eq!(ids.allocate(65_535), Some(StreamId(128)));
        ids.release(StreamId(128));
        assert_eq!(ids.allocate(65_535), Some(StreamId(0)), "the one that rested longest");
        let mut ids = StreamIds::new(Role::Server);
        assert_eq!([ids.allocate(4), ids.allocate(4), ids.allocate(4)], [Some(StreamId(1)), Some(StreamId(3)), None]);
        ids.release(StreamId(3));
        assert_eq!(ids.allocate(4), Some(StreamId(3)), "rather than none");
    }

    #[test]
    fn fewer_streams_limit_what_is_allocated_not_what_is_given_back() {
        let mut ids = StreamIds::new(Role::Client);
        let taken: Vec<_> = std::iter::from_fn(|| ids.allocate(10)).collect();
        assert_eq!(taken, [0, 2, 4, 6, 8].map(StreamId));
        taken.into_iter().for_each(|id| ids.release_unused(id));
        assert_eq!(ids.allocate(1), Some(StreamId(0)));
        assert_eq!(ids.allocate(2), None);
    }

    #[test]
    fn retired_ids_are_counted_once_and_take_8_kib() {
        let mut retired = RetiredIds::default();
        assert!(!retired.contains(StreamId(7)));
        for id in [0, 7, 63, 64, 65_535, 7] {
            retired.insert(StreamId(id));
        }
        assert_eq!((retired.len(), retired.bits.len() * 8), (5, 8 << 10));
        assert_eq!([Role::Client, Role::Server].map(|role| retired.len_of(role)), [2, 3]);
        assert!(!retired.contains(StreamId(8)));
    }

    #[test]
    fn an_id_that_equals_the_number_of_streams_is_not_taken_whether_fresh_or_resting() {
        let mut ids = StreamIds::new(Role::Client);
        assert_eq!([0, 2, 4].map(|_| ids.allocate(5)), [Some(StreamId(0)), Some(StreamId(2)), Some(StreamId(4))]);
        assert_eq!(ids.allocate(6), None, "6 is the first that does not exist");
        ids.release(StreamId(4));
        assert_eq!(ids.allocate(4), None, "4 rests, and does not exist with fewer streams");
        assert_eq!(ids.allocate(5), Some(StreamId(4)));
        assert_eq!(ids.allocate(7), Some(StreamId(6)));
        ids.check_consistency();
    }

    #[test]
    fn it_agrees_with_a_plain_set_through_any_sequence() {
        let mut numbers = Random(1);
        let mut random = |below| numbers.index(below);
        let mut ids = StreamIds::new(Role::Server);
        let mut used = BTreeSet::new();
        for _ in 0..20_000 {
            match random(5) {
                0 | 1 => {
                    let id = ids.allocate(400);
                    assert_eq!(id.is_none(), used.len() == 200);
                    assert!(id.is_none_or(|id| id.is_below(400) && used.insert(id)));
                }
                2 => {
                    let id = StreamId(u16::try_from(random(200)).unwrap() * 2 + 1);
                    if used.insert(id) {
                        ids.reserve(id);
                    }
                }
                action => {
                    if let Some(&id) = used.iter().nth(random(used.len() + 1)) {
                        used.remove(&id);
                        if action == 3 { ids.release(id) } else { ids.release_unused(id) }
                    }
                }
            }
            ids.check_consistency();
            assert_eq!(ids.len_free(), 32_767 - used.len());
        }
        assert!((1..400).step_by(2).map(StreamId).all(|id| ids.is_free(id) != used.contains(&id)));
        assert!(!ids.is_free(StreamId(2)) && !ids.is_free(StreamId(65_535)), "not of this parity");
    }
}
