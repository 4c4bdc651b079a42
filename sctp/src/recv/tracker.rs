//! The TSNs that have arrived (RFC 9260 §6.2, §6.7).

use std::collections::VecDeque;

use crate::cost_counter;
use crate::serial::{Tsn, UnwrappedTsn};
use crate::wire::GapBlock;

/// Ranges above the Cumulative TSN Ack Point that are remembered. A SACK in a 1,200-byte packet reports 293 of them;
/// seven times that is what a 16 MiB window in full packets makes at 15 % random loss. It bounds memory (32 KiB) and
/// the cost of inserting in the middle.
pub(super) const RANGES_MAX: usize = 2048;

/// Duplicates that are remembered until the next SACK, which normally follows the packet that brought them.
pub(super) const DUPLICATES_MAX: usize = 128;

/// UnwrappedTsn of a TSN relative to those that have arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TsnClass {
    /// Not seen before, and within reach.
    New(UnwrappedTsn),
    /// Received, or skipped by FORWARD-TSN.
    Duplicate,
    /// Beyond what any window could hold.
    TooFar,
}

/// A new TSN, and what has arrived next to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Neighbours {
    pub(super) position: UnwrappedTsn,
    /// True if the TSN follows the Cumulative TSN Ack Point.
    pub(super) in_sequence: bool,
    /// True if the TSN before it has arrived, or was skipped.
    pub(super) has_previous: bool,
    /// True if the TSN after it has arrived.
    pub(super) has_next: bool,
}

/// TSNs that arrived one after the other, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Range {
    first: UnwrappedTsn,
    last: UnwrappedTsn,
}

/// The Cumulative TSN Ack Point, and what arrived above it.
#[derive(Debug)]
pub(super) struct Tracker {
    cumulative: UnwrappedTsn,
    /// Sorted, with at least one missing TSN in front of each.
    ranges: VecDeque<Range>,
    duplicates: Vec<Tsn>,
    ahead_max: u32,
}

impl Tracker {
    /// Creates a tracker of which nothing has arrived; the first TSN will be `initial`. `window` is the receive window
    /// in bytes.
    pub(super) fn new(initial: Tsn, window: u32) -> Self {
        // A DATA chunk carries at least one byte, so a sender that keeps to the window is never further ahead. The
        // limit is at least what gap blocks can name, because a sender that abandons messages uses up TSNs but no
        // window.
        let ahead_max = window.clamp(u32::from(u16::MAX), 1 << 30);
        let cumulative = UnwrappedTsn::first(initial).prev();
        Self { cumulative, ranges: VecDeque::new(), duplicates: Vec::new(), ahead_max }
    }

    pub(super) fn cumulative(&self) -> UnwrappedTsn {
        self.cumulative
    }

    pub(super) fn cumulative_tsn(&self) -> Tsn {
        self.cumulative.wrap()
    }

    /// Returns the highest TSN that has arrived.
    pub(super) fn highest(&self) -> UnwrappedTsn {
        self.ranges.back().map_or(self.cumulative, |range| range.last)
    }

    pub(super) fn has_gaps(&self) -> bool {
        !self.ranges.is_empty()
    }

    /// Returns the position of a TSN above the Cumulative TSN Ack Point and within reach.
    pub(super) fn place(&self, tsn: Tsn) -> TsnClass {
        match self.ahead(tsn) {
            TsnClass::New(position) if self.has_gaps() && self.contains(position) => TsnClass::Duplicate,
            place => place,
        }
    }

    /// Classifies a TSN like [`place`](Self::place), but does not check if TSNs above the Cumulative TSN Ack Point have
    /// arrived.
    pub(super) fn ahead(&self, tsn: Tsn) -> TsnClass {
        let ahead = tsn.distance_from(self.cumulative_tsn());
        if ahead == 0 || ahead > 1 << 31 {
            TsnClass::Duplicate
        } else if ahead > self.ahead_max {
            TsnClass::TooFar
        } else {
            TsnClass::New(self.cumulative.add(u64::from(ahead)))
        }
    }

    /// Returns the position of a TSN that is not above the Cumulative TSN Ack Point.
    pub(super) fn behind(&self, tsn: Tsn) -> UnwrappedTsn {
        self.cumulative.sub(u64::from(self.cumulative_tsn().distance_from(tsn)))
    }

    /// Returns which of the TSNs next to a new TSN have arrived.
    pub(super) fn neighbours(&self, position: UnwrappedTsn) -> Neighbours {
        let in_sequence = self.is_next(position);
        Neighbours {
            position,
            in_sequence,
            has_previous: in_sequence || self.contains(position.prev()),
            has_next: self.has_gaps() && self.contains(position.next()),
        }
    }

    /// Returns true if a TSN follows the Cumulative TSN Ack Point.
    pub(super) fn is_next(&self, position: UnwrappedTsn) -> bool {
        position == self.cumulative.next()
    }

    /// Returns true if a TSN has arrived or was skipped.
    pub(super) fn contains(&self, position: UnwrappedTsn) -> bool {
        position <= self.cumulative || self.range_below(position).is_some_and(|(_, range)| range.last >= position)
    }

    /// Returns true if a new TSN can be remembered: it is next in sequence, extends a range, or there is room for one
    /// more range.
    pub(super) fn can_record(&self, position: UnwrappedTsn) -> bool {
        self.ranges.len() < RANGES_MAX || self.contains(position.prev()) || self.contains(position.next())
    }

    /// Remembers a new TSN.
    pub(super) fn record(&mut self, position: UnwrappedTsn) {
        cost_counter::step();
        if position == self.cumulative.next() {
            self.cumulative = position;
            self.absorb();
            return;
        }
        let index = self.ranges.len() - self.count_above(position);
        let joins_next = self.ranges.get(index).is_some_and(|next| next.first == position.next());
        let previous = index.checked_sub(1).and_then(|i| self.ranges.get_mut(i)).filter(|r| r.last.next() == position);
        match (previous, joins_next) {
            (Some(previous), false) => previous.last = position,
            (Some(_), true) => {
                self.count_moved(index);
                if let Some(next) = self.ranges.remove(index)
                    && let Some(previous) = self.ranges.get_mut(index - 1)
                {
                    previous.last = next.last;
                }
            }
            (None, true) => {
                if let Some(next) = self.ranges.get_mut(index) {
                    next.first = position;
                }
            }
            (None, false) => {
                self.count_moved(index);
                self.ranges.insert(index, Range { first: position, last: position });
            }
        }
    }

    /// Returns true if [`forget`](Self::forget) stays within bounds: taking a TSN out of the middle makes two ranges of
    /// one.
    pub(super) fn can_forget(&self, position: UnwrappedTsn) -> bool {
        self.ranges.len() < 2 * RANGES_MAX || !(self.contains(position.prev()) && self.contains(position.next()))
    }

    /// Takes back the receipt of a TSN above the Cumulative TSN Ack Point (RFC 9260 §6.2 allows it).
    pub(super) fn forget(&mut self, position: UnwrappedTsn) {
        let Some((index, range)) = self.range_below(position).filter(|(_, range)| range.last >= position) else {
            return;
        };
        cost_counter::step();
        let before = Range { first: range.first, last: position.prev() };
        let after = Range { first: position.next(), last: range.last };
        match (before.first <= before.last, after.first <= after.last) {
            (true, true) => {
                self.count_moved(index);
                self.replace(index, before);
                self.ranges.insert(index + 1, after);
            }
            (true, false) => self.replace(index, before),
            (false, true) => self.replace(index, after),
            (false, false) => {
                self.count_moved(index);
                self.ranges.remove(index);
            }
        }
    }

    /// Moves the Cumulative TSN Ack Point up to `position`, and on over what has arrived (RFC 3758 §3.6).
    pub(super) fn advance_to(&mut self, position: UnwrappedTsn) {
        while self.ranges.front().is_some_and(|range| range.last <= position) {
            cost_counter::step();
            self.ranges.pop_front();
        }
        self.cumulative = position;
        self.absorb();
    }

    pub(super) fn note_duplicate(&mut self, tsn: Tsn) {
        if self.duplicates.len() < DUPLICATES_MAX {
            self.duplicates.push(tsn);
        }
    }

    pub(super) fn duplicates(&self) -> &[Tsn] {
        &self.duplicates
    }

    pub(super) fn clear_duplicates(&mut self) {
        self.duplicates.clear();
        self.duplicates.shrink_to(4);
    }

    /// Returns the Gap Ack Blocks from the lowest up (RFC 9260 §6.7), as far as 16-bit offsets reach.
    pub(super) fn gap_blocks(&self) -> impl Iterator<Item = GapBlock> {
        self.ranges.iter().map_while(|range| {
            cost_counter::step();
            let start = u16::try_from(range.first.distance_from(self.cumulative)).ok()?;
            let end = u16::try_from(range.last.distance_from(self.cumulative)).unwrap_or(u16::MAX);
            Some(GapBlock { start, end })
        })
    }

    pub(super) fn check_consistency(&self) {
        let mut end = self.cumulative;
        for range in &self.ranges {
            assert!(range.first > end.next(), "{range:?} is not apart from what ends at {end:?}");
            assert!(range.last >= range.first, "{range:?} is empty");
            end = range.last;
        }
        assert!(self.ranges.len() <= 2 * RANGES_MAX);
        assert!(self.duplicates.len() <= DUPLICATES_MAX);
    }

    /// Counts the ranges that a change in the middle moves: those on its shorter side.
    fn count_moved(&self, index: usize) {
        let moved = index.min(self.ranges.len().saturating_sub(index));
        cost_counter::take(moved);
    }

    /// Moves the Cumulative TSN Ack Point over the first range if it reaches it.
    fn absorb(&mut self) {
        if let Some(&range) = self.ranges.front()
            && range.first <= self.cumulative.next()
        {
            self.cumulative = range.last;
            self.ranges.pop_front();
        }
        if self.ranges.is_empty() {
            // An idle association gives back what a time of loss took.
            self.ranges.shrink_to(4);
        }
    }

    /// Returns the number of ranges that begin above a position; O(1) for a position above all of them.
    fn count_above(&self, position: UnwrappedTsn) -> usize {
        if self.ranges.back().is_none_or(|last| last.first <= position) {
            return 0;
        }
        self.ranges.len() - self.ranges.partition_point(|range| range.first <= position)
    }

    /// Returns the last range that begins at or below a position, and its index.
    fn range_below(&self, position: UnwrappedTsn) -> Option<(usize, Range)> {
        let index = (self.ranges.len() - self.count_above(position)).checked_sub(1)?;
        self.ranges.get(index).map(|&range| (index, range))
    }

    fn replace(&mut self, index: usize, range: Range) {
        if let Some(slot) = self.ranges.get_mut(index) {
            *slot = range;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ranges_agree_with_a_set() {
        let mut numbers = crate::testing::Random(1);
        let mut random = |bound| numbers.below(bound);
        for round in 0..300u32 {
            let mut tracker = Tracker::new(Tsn(0u32.wrapping_sub(round)), 1 << 20);
            let (mut set, mut cumulative) = (BTreeSet::new(), tracker.cumulative());
            for _ in 0..200 {
                let position = cumulative.add(1 + random(60));
                match random(20) {
                    0 => {
                        tracker.advance_to(position);
                        cumulative = position;
                    }
                    1..4 => {
                        tracker.forget(position);
                        set.remove(&position);
                    }
                    _ => {
                        let is_new = tracker.place(position.wrap()) == TsnClass::New(position);
                        assert_eq!(is_new, set.insert(position));
                        if is_new {
                            tracker.record(position);
                        }
                    }
                }
                while set.remove(&cumulative.next()) {
                    cumulative = cumulative.next();
                }
                set = set.split_off(&cumulative.next());
                tracker.check_consistency();
                assert_eq!(tracker.cumulative(), cumulative);
                let named = tracker.gap_blocks().flat_map(|gap| gap.start..=gap.end);
                assert!(named.map(|offset| cumulative.add(u64::from(offset))).eq(set.iter().copied()));
                assert!(
                    cumulative
                        .through(cumulative.add(69))
                        .all(|at| tracker.contains(at) == (at == cumulative || set.contains(&at)))
                );
            }
        }
    }

    #[test]
    fn forgetting_keeps_the_number_of_ranges_bounded() {
        let mut tracker = Tracker::new(Tsn(1), 1 << 20);
        let first = tracker.cumulative().add(2);
        for position in first.through(first.add(19_999)) {
            tracker.record(position);
        }
        for position in first.next().through(first.add(19_999)).step_by(2) {
            if tracker.can_forget(position) {
                tracker.forget(position);
            }
        }
        assert_eq!(tracker.ranges.len(), 2 * RANGES_MAX);
        // The ends of a range can always go: first and last of the long one that is left, and one that is alone.
        let long = *tracker.ranges.back().unwrap();
        assert!(long.last > long.first.add(2));
        assert!(tracker.can_forget(first) && tracker.can_forget(long.first) && tracker.can_forget(long.last));
        assert!(!tracker.can_forget(long.first.next()) && !tracker.can_forget(long.last.prev()));
        // With one range less, the middle can go, too.
        tracker.forget(first);
        assert!(tracker.can_forget(long.first.next()));
        tracker.forget(long.first.next());
        tracker.check_consistency();
        assert!(!tracker.can_forget(long.last.prev()));
    }

    #[test]
    fn ranges_are_recorded_up_to_the_bound() {
        let mut tracker = Tracker::new(Tsn(1), 1 << 20);
        let first = tracker.cumulative().add(3);
        for n in 0..RANGES_MAX as u64 {
            assert!(tracker.can_record(first.add(3 * n)));
            tracker.record(first.add(3 * n));
        }
        let beyond = first.add(3 * RANGES_MAX as u64);
        assert!(!tracker.can_record(beyond));
        for at in [first.prev(), first.next(), beyond.sub(2), tracker.cumulative().next()] {
            assert!(tracker.can_record(at), "it makes no new range");
        }
    }

    #[test]
    fn a_tsn_from_before_the_first_unwraps_below_it() {
        for initial in [0, 1, u32::MAX] {
            let tracker = Tracker::new(Tsn(initial), 1 << 20);
            for back in [1, 2, 1000, 1 << 30] {
                let tsn = Tsn(initial).sub(back);
                let unwrapped = tracker.behind(tsn);
                assert_eq!(unwrapped.wrap(), tsn, "{back} before {initial}");
                assert_eq!(tracker.cumulative().distance_from(unwrapped), u64::from(back) - 1);
            }
        }
    }
}
