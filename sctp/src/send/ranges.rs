//! A set of TSNs kept as ranges.

use crate::cost_counter;
use crate::serial::UnwrappedTsn;

/// Sorted, disjoint, non-adjacent ranges, both ends inclusive.
#[derive(Debug, Default)]
pub(crate) struct Ranges(Vec<(UnwrappedTsn, UnwrappedTsn)>);

impl Ranges {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn highest(&self) -> Option<UnwrappedTsn> {
        self.0.last().map(|range| range.1)
    }

    pub(crate) fn first(&self) -> Option<(UnwrappedTsn, UnwrappedTsn)> {
        self.0.first().copied()
    }

    /// Adds a range, and hands `on_new` each part of it that was not in the set. Costs what the set holds at that
    /// place, not the length of the range.
    pub(crate) fn insert(
        &mut self,
        start: UnwrappedTsn,
        end: UnwrappedTsn,
        mut on_new: impl FnMut(UnwrappedTsn, UnwrappedTsn),
    ) {
        // First range that ends at or after the one before `start`: it touches or follows.
        let first = self.0.partition_point(|range| range.1.next() < start);
        let (mut low, mut high, mut next_new, mut touched) = (start, end, start, 0);
        for &(from, to) in self.0.iter().skip(first) {
            cost_counter::step();
            if from > end.next() {
                break;
            }
            if next_new < from {
                on_new(next_new, end.min(from.prev()));
            }
            next_new = next_new.max(to.next());
            low = low.min(from);
            high = high.max(to);
            touched += 1;
        }
        if next_new <= end {
            on_new(next_new, end);
        }
        self.0.splice(first..first + touched, [(low, high)]);
    }

    /// Removes everything below `tsn`.
    pub(crate) fn remove_below(&mut self, tsn: UnwrappedTsn) {
        let gone = self.0.partition_point(|range| range.1 < tsn);
        self.0.drain(..gone);
        if let Some(first) = self.0.first_mut() {
            first.0 = first.0.max(tsn);
        }
        if self.0.capacity() > 16 && self.0.len() < self.0.capacity() / 4 {
            self.0.shrink_to((self.0.len() * 2).max(16));
        }
    }

    pub(crate) fn contains(&self, tsn: UnwrappedTsn) -> bool {
        let at = self.0.partition_point(|range| range.1 < tsn);
        self.0.get(at).is_some_and(|range| range.0 <= tsn)
    }

    pub(crate) fn check_consistency(&self) {
        for range in &self.0 {
            assert!(range.0 <= range.1);
        }
        for pair in self.0.windows(2) {
            if let [a, b] = pair {
                assert!(a.1.next() < b.0, "ranges {a:?} and {b:?} touch");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serial::Tsn;
    use std::collections::BTreeSet;

    #[test]
    fn ranges_agree_with_a_plain_set() {
        let mut random = crate::testing::Random(1);
        let mut draw = |below| random.below(below);
        for _ in 0..300 {
            let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
            let mut floor = UnwrappedTsn::first(Tsn(u32::MAX - 20));
            for _ in 0..40 {
                if draw(8) == 0 {
                    floor = floor.add(draw(10));
                    ranges.remove_below(floor);
                    model = model.split_off(&floor);
                } else {
                    let start = floor.add(draw(60));
                    let end = start.add(draw(12));
                    let mut new = Vec::new();
                    ranges.insert(start, end, |from, to| new.extend(from.through(to)));
                    let expected: Vec<UnwrappedTsn> = start.through(end).filter(|tsn| model.insert(*tsn)).collect();
                    assert_eq!(new, expected);
                }
                ranges.check_consistency();
                assert!(floor.through(floor.add(80)).all(|tsn| ranges.contains(tsn) == model.contains(&tsn)));
                assert_eq!(ranges.highest(), model.last().copied());
                assert_eq!(ranges.is_empty(), model.is_empty());
            }
        }
    }
}
