//! The TSNs that have arrived (RFC 9260 §6.2, §6.7).

use crate::cost_counter;
use crate::interval_set::IntervalSet;
use crate::serial::{Tsn, UnwrappedTsn};
use crate::wire::GapBlock;

/// Ranges above the Cumulative TSN Ack Point that are remembered. A SACK in a 1,200-byte packet reports 293 of them;
/// seven times that is what 16 MiB in full packets make at 15 % random loss. It bounds memory (32 KiB) and
/// the cost of inserting in the middle.
pub(super) const RANGES_MAX: usize = 2048;

/// Duplicates that are remembered until the next SACK, which normally follows the packet that brought them.
pub(super) const DUPLICATES_MAX: usize = 128;

/// Place of a TSN relative to those that have arrived.
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

/// The Cumulative TSN Ack Point, and what arrived above it.
#[derive(Debug)]
pub(super) struct Tracker {
    cumulative: UnwrappedTsn,
    /// TSNs that arrived above it, of which at least the next one is missing.
    ranges: IntervalSet<UnwrappedTsn>,
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
        Self { cumulative, ranges: IntervalSet::default(), duplicates: Vec::new(), ahead_max }
    }

    pub(super) fn cumulative(&self) -> UnwrappedTsn {
        self.cumulative
    }

    pub(super) fn cumulative_tsn(&self) -> Tsn {
        self.cumulative.wrap()
    }

    /// Returns the highest TSN that has arrived.
    pub(super) fn highest(&self) -> UnwrappedTsn {
        self.ranges.last().map_or(self.cumulative, |range| range.last)
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
        position <= self.cumulative || self.ranges.contains(position)
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
        self.ranges.insert(position);
    }

    /// Returns true if [`forget`](Self::forget) stays within bounds: taking a TSN out of the middle makes two ranges of
    /// one.
    pub(super) fn can_forget(&self, position: UnwrappedTsn) -> bool {
        self.ranges.len() < 2 * RANGES_MAX || !(self.contains(position.prev()) && self.contains(position.next()))
    }

    /// Takes back the receipt of a TSN above the Cumulative TSN Ack Point (RFC 9260 §6.2 allows it).
    pub(super) fn forget(&mut self, position: UnwrappedTsn) {
        self.ranges.remove(position);
    }

    /// Moves the Cumulative TSN Ack Point up to `position`, and on over what has arrived (RFC 3758 §3.6).
    pub(super) fn advance_to(&mut self, position: UnwrappedTsn) {
        self.ranges.remove_below(position.next());
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
        self.ranges.check_consistency();
        assert!(self.ranges.first().is_none_or(|range| range.first > self.cumulative.next()), "{:?}", self.ranges);
        assert!(self.ranges.len() <= 2 * RANGES_MAX);
        assert!(self.duplicates.len() <= DUPLICATES_MAX);
    }

    /// Moves the Cumulative TSN Ack Point over the first range if it reaches it.
    fn absorb(&mut self) {
        if let Some(range) = self.ranges.first()
            && range.first <= self.cumulative.next()
        {
            self.cumulative = range.last;
            self.ranges.remove_below(range.last.next());
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
        let long = tracker.ranges.last().unwrap();
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
