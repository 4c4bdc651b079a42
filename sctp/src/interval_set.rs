//! A set of numbers, kept as the intervals that they form.

use std::collections::VecDeque;
use std::fmt::Debug;

use crate::cost_counter;

/// Intervals for which an empty set keeps memory.
const CAPACITY_KEPT: usize = 4;

/// Intervals for which a set keeps memory while it is in use.
const CAPACITY_IN_USE: usize = 16;

/// A number with an order, and with neighbours.
pub trait Discrete: Copy + Ord + Debug {
    /// Returns the number after this one; the greatest number is its own.
    #[must_use]
    fn successor(self) -> Self;

    /// Returns the number before this one; the least number is its own.
    #[must_use]
    fn predecessor(self) -> Self;
}

impl Discrete for u16 {
    fn successor(self) -> Self {
        self.saturating_add(1)
    }

    fn predecessor(self) -> Self {
        self.saturating_sub(1)
    }
}

/// Consecutive numbers, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interval<T> {
    /// The least of the numbers.
    pub first: T,
    /// The greatest of the numbers.
    pub last: T,
}

/// A set of numbers, which costs what its intervals cost: they are sorted, and at least one number is missing between
/// two of them.
///
/// A search is O(log n), and O(1) above the last interval. A change in the middle also moves the intervals on its
/// shorter side. They lie in one ring, so that moving 4,000 of them takes less time than the nodes of a tree do; the
/// owner bounds their number.
#[derive(Debug)]
pub struct IntervalSet<T>(VecDeque<Interval<T>>);

impl<T> Default for IntervalSet<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T: Discrete> IntervalSet<T> {
    /// True if the set has no number.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the number of intervals.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the intervals, from the least numbers up.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Interval<T>> {
        self.0.iter().copied()
    }

    /// Returns the interval of the least numbers.
    #[must_use]
    pub fn first(&self) -> Option<Interval<T>> {
        self.0.front().copied()
    }

    /// Returns the interval of the greatest numbers.
    #[must_use]
    pub fn last(&self) -> Option<Interval<T>> {
        self.0.back().copied()
    }

    /// True if the number is in the set.
    #[must_use]
    pub fn contains(&self, number: T) -> bool {
        self.find(number).is_some()
    }

    /// Adds a number.
    #[inline]
    pub fn insert(&mut self, number: T) {
        self.insert_interval(Interval { first: number, last: number }, |_| {});
    }

    /// Adds an interval, and passes each part of it that was not in the set to `on_new`. Costs the number of intervals
    /// that it touches, not its length.
    #[inline]
    pub fn insert_interval(&mut self, added: Interval<T>, mut on_new: impl FnMut(Interval<T>)) {
        let (first, last) = (added.first, added.last);
        // The first interval that ends at or after the number before `first`: it touches the added one, or follows it.
        let index = self.count_before(first.predecessor());
        let (mut joined, mut new_from, mut touched) = (added, Some(first), 0);
        for &old in self.0.iter().skip(index) {
            cost_counter::step();
            if old.first > last.successor() {
                break;
            }
            if let Some(from) = new_from
                && from < old.first
            {
                on_new(Interval { first: from, last: last.min(old.first.predecessor()) });
            }
            new_from = new_from.map(|from| from.max(old.last.successor())).filter(|from| *from > old.last);
            joined.first = joined.first.min(old.first);
            joined.last = joined.last.max(old.last);
            touched += 1;
        }
        if let Some(from) = new_from.filter(|from| *from <= last) {
            on_new(Interval { first: from, last });
        }
        if touched == 0 {
            self.count_moved(index);
            self.0.insert(index, joined);
            return;
        }
        if let Some(slot) = self.0.get_mut(index) {
            *slot = joined;
        }
        if touched > 1 {
            self.count_moved(index);
            self.0.drain(index + 1..index + touched);
            self.give_back_memory();
        }
    }

    /// Removes a number. An interval of which it is in the middle becomes two.
    pub fn remove(&mut self, number: T) {
        let Some((index, old)) = self.find(number) else { return };
        cost_counter::step();
        let before = (old.first < number).then(|| Interval { first: old.first, last: number.predecessor() });
        let after = (number < old.last).then(|| Interval { first: number.successor(), last: old.last });
        match (before, after) {
            (Some(before), Some(after)) => {
                self.count_moved(index);
                self.replace(index, before);
                self.0.insert(index + 1, after);
            }
            (Some(left), None) | (None, Some(left)) => self.replace(index, left),
            (None, None) => {
                self.count_moved(index);
                self.0.remove(index);
                self.give_back_memory();
            }
        }
    }

    /// Removes all numbers below this one.
    pub fn remove_below(&mut self, number: T) {
        while self.0.front().is_some_and(|interval| interval.last < number) {
            cost_counter::step();
            self.0.pop_front();
        }
        if let Some(interval) = self.0.front_mut() {
            interval.first = interval.first.max(number);
        }
        self.give_back_memory();
    }

    /// Asserts that the intervals are sorted, not empty, and apart.
    ///
    /// # Panics
    ///
    /// Panics if they are not.
    pub fn check_consistency(&self) {
        let mut previous: Option<Interval<T>> = None;
        for interval in &self.0 {
            assert!(interval.first <= interval.last, "{interval:?} is empty");
            assert!(
                previous.is_none_or(|previous| previous.last.successor() < interval.first),
                "{interval:?} is not apart from {previous:?}"
            );
            previous = Some(*interval);
        }
    }

    /// Returns the interval that contains a number, and its index.
    fn find(&self, number: T) -> Option<(usize, Interval<T>)> {
        let index = self.count_before(number);
        self.0.get(index).filter(|interval| interval.first <= number).map(|interval| (index, *interval))
    }

    /// Returns the number of intervals that end before a number.
    #[inline]
    fn count_before(&self, number: T) -> usize {
        match self.0.back() {
            None => 0,
            Some(last) if last.last < number => self.0.len(),
            Some(last) if last.first <= number => self.0.len() - 1,
            Some(_) => self.0.partition_point(|interval| interval.last < number),
        }
    }

    /// Counts the intervals that a change in the middle moves: those on its shorter side.
    fn count_moved(&self, index: usize) {
        cost_counter::take(index.min(self.0.len().saturating_sub(index)));
    }

    fn replace(&mut self, index: usize, interval: Interval<T>) {
        if let Some(slot) = self.0.get_mut(index) {
            *slot = interval;
        }
    }

    /// Gives back the memory of a time with many intervals.
    fn give_back_memory(&mut self) {
        if self.0.is_empty() {
            self.0.shrink_to(CAPACITY_KEPT);
        } else if self.0.capacity() > CAPACITY_IN_USE && self.0.len() < self.0.capacity() / 4 {
            self.0.shrink_to((self.0.len() * 2).max(CAPACITY_IN_USE));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::testing::Random;

    fn interval(first: u16, last: u16) -> Interval<u16> {
        Interval { first, last }
    }

    #[test]
    fn intervals_agree_with_a_plain_set_up_to_both_ends_of_the_numbers() {
        let mut random = Random(1);
        for round in 0..300 {
            let lowest = [0, 1000, u16::MAX - 79][round % 3];
            let mut draw = |bound| u16::try_from(random.below(bound)).unwrap();
            let (mut set, mut model) = (IntervalSet::default(), BTreeSet::new());
            for _ in 0..80 {
                let first = lowest + draw(80);
                match draw(12) {
                    0 => {
                        set.remove_below(first);
                        model = model.split_off(&first);
                    }
                    1..4 => {
                        set.remove(first);
                        model.remove(&first);
                    }
                    4..8 => {
                        set.insert(first);
                        model.insert(first);
                    }
                    _ => {
                        let last = first.saturating_add(draw(12)).min(lowest + 79);
                        let mut new = Vec::new();
                        set.insert_interval(interval(first, last), |part| new.extend(part.first..=part.last));
                        let expected: Vec<u16> = (first..=last).filter(|number| model.insert(*number)).collect();
                        assert_eq!(new, expected);
                    }
                }
                set.check_consistency();
                assert!(set.iter().flat_map(|part| part.first..=part.last).eq(model.iter().copied()));
                assert!((lowest..=lowest + 79).all(|number| set.contains(number) == model.contains(&number)));
                assert_eq!(set.first().map(|part| part.first), model.first().copied());
                assert_eq!(set.last().map(|part| part.last), model.last().copied());
                assert_eq!((set.is_empty(), set.len()), (model.is_empty(), set.iter().count()));
            }
        }
    }

    #[test]
    fn an_interval_is_added_at_the_cost_of_those_that_it_touches() {
        let mut set = IntervalSet::default();
        for number in (0..20_000).step_by(2) {
            set.insert(number);
        }
        let before = cost_counter::steps();
        set.insert_interval(interval(30_000, 60_000), |_| {});
        set.insert_interval(interval(19_981, 19_985), |_| {});
        assert!(cost_counter::steps() - before < 30, "{} steps", cost_counter::steps() - before);
        assert_eq!(set.len(), 10_000 + 1 - 3);
    }

    #[test]
    fn the_memory_of_many_intervals_is_given_back() {
        let mut set = IntervalSet::default();
        for number in (0..8000).step_by(2) {
            set.insert(number);
        }
        assert!(set.0.capacity() >= 4000);
        set.remove_below(7980);
        assert_eq!(set.len(), 10);
        assert!(set.0.capacity() <= 2 * CAPACITY_IN_USE, "{}", set.0.capacity());
        set.insert_interval(interval(0, 8000), |_| {});
        set.remove_below(8001);
        assert!(set.is_empty() && set.0.capacity() <= CAPACITY_KEPT);
    }
}
