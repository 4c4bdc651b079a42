//! A set of positions kept as ranges.

use crate::cost_counter;

/// Sorted, disjoint, non-adjacent ranges, both ends inclusive.
#[derive(Debug, Default)]
pub(crate) struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn highest(&self) -> Option<u64> {
        self.0.last().map(|range| range.1)
    }

    pub(crate) fn first(&self) -> Option<(u64, u64)> {
        self.0.first().copied()
    }

    /// Adds a range, and hands `on_new` each part of it that was not in the set. Costs what the set holds at that
    /// place, not the length of the range.
    pub(crate) fn insert(&mut self, start: u64, end: u64, mut on_new: impl FnMut(u64, u64)) {
        // First range that ends at or after the one before `start`: it touches or follows.
        let first = self.0.partition_point(|range| range.1 + 1 < start);
        let (mut low, mut high, mut next_new, mut touched) = (start, end, start, 0);
        for &(from, to) in self.0.iter().skip(first) {
            cost_counter::step();
            if from > end + 1 {
                break;
            }
            if next_new < from {
                on_new(next_new, end.min(from - 1));
            }
            next_new = next_new.max(to + 1);
            low = low.min(from);
            high = high.max(to);
            touched += 1;
        }
        if next_new <= end {
            on_new(next_new, end);
        }
        self.0.splice(first..first + touched, [(low, high)]);
    }

    /// Removes everything below `position`.
    pub(crate) fn remove_below(&mut self, position: u64) {
        let gone = self.0.partition_point(|range| range.1 < position);
        self.0.drain(..gone);
        if let Some(first) = self.0.first_mut() {
            first.0 = first.0.max(position);
        }
        if self.0.capacity() > 16 && self.0.len() < self.0.capacity() / 4 {
            self.0.shrink_to((self.0.len() * 2).max(16));
        }
    }

    pub(crate) fn contains(&self, position: u64) -> bool {
        let at = self.0.partition_point(|range| range.1 < position);
        self.0.get(at).is_some_and(|range| range.0 <= position)
    }

    pub(crate) fn check_consistency(&self) {
        for range in &self.0 {
            assert!(range.0 <= range.1);
        }
        for pair in self.0.windows(2) {
            if let [a, b] = pair {
                assert!(a.1 + 1 < b.0, "ranges {a:?} and {b:?} touch");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ranges_agree_with_a_plain_set() {
        let mut random = 1u64;
        let mut draw = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        for _ in 0..300 {
            let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
            let mut floor = 0;
            for _ in 0..40 {
                if draw(8) == 0 {
                    floor += draw(10);
                    ranges.remove_below(floor);
                    model = model.split_off(&floor);
                } else {
                    let start = floor + draw(60);
                    let end = start + draw(12);
                    let mut new = Vec::new();
                    ranges.insert(start, end, |from, to| new.extend(from..=to));
                    let expected: Vec<u64> = (start..=end).filter(|position| model.insert(*position)).collect();
                    assert_eq!(new, expected);
                }
                ranges.check_consistency();
                assert!((floor..floor + 80).all(|position| ranges.contains(position) == model.contains(&position)));
                assert_eq!(ranges.highest(), model.last().copied());
                assert_eq!(ranges.is_empty(), model.is_empty());
            }
        }
    }
}
