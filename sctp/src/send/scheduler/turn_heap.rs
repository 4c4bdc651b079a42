//! Streams that wait for their turn, the next one first.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashSet};

use crate::cost_counter;
use crate::message::StreamId;

/// Turns for which an empty heap keeps room. A burst of 65,000 streams must not cost memory for ever.
const TURNS_KEPT: usize = 16;

/// The turn of a stream that has something to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ScheduledTurn {
    /// The least tag comes first. Tags wrap, and all that wait are less than 2⁶³ apart.
    pub(super) tag: u64,
    /// Decides between equal tags: the stream that was served least recently comes first. It wraps.
    pub(super) served: u32,
    /// No two turns have the same number.
    pub(super) number: u64,
    pub(super) stream: StreamId,
}

impl Ord for ScheduledTurn {
    fn cmp(&self, other: &Self) -> Ordering {
        let lead = self.tag.wrapping_sub(other.tag).cast_signed();
        let older = self.served.wrapping_sub(other.served).cast_signed();
        lead.cmp(&0).then(older.cmp(&0)).then(self.number.cmp(&other.number))
    }
}

impl PartialOrd for ScheduledTurn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A heap of turns. A turn that is removed from the middle stays as an invalid entry until it comes first, or until
/// half of the entries are invalid. So a removal takes a constant number of steps on average.
#[derive(Debug, Default)]
pub(super) struct TurnHeap {
    /// The first one is valid.
    turns: BinaryHeap<Reverse<ScheduledTurn>>,
    /// Numbers of the invalid entries. Empty unless turns were removed from the middle.
    removed: HashSet<u64>,
}

impl TurnHeap {
    pub(super) fn push(&mut self, turn: ScheduledTurn) {
        self.turns.push(Reverse(turn));
    }

    pub(super) fn pop(&mut self) -> Option<ScheduledTurn> {
        let Reverse(turn) = self.turns.pop()?;
        self.tidy_up();
        Some(turn)
    }

    /// Puts `turn` in the place of the next one, and returns that, if it comes before `turn`.
    #[inline]
    pub(super) fn swap_if_earlier(&mut self, turn: ScheduledTurn) -> Option<ScheduledTurn> {
        let mut first = self.turns.peek_mut()?;
        if first.0 > turn {
            return None;
        }
        let taken = std::mem::replace(&mut *first, Reverse(turn)).0;
        drop(first);
        self.skip_removed();
        Some(taken)
    }

    /// Removes the turn with this number, which waits. A peer may reset all streams in one packet, so this must not
    /// cost a walk over the others.
    pub(super) fn remove(&mut self, number: u64) {
        self.removed.insert(number);
        if self.removed.len() > self.turns.len() / 2 + TURNS_KEPT {
            let removed = std::mem::take(&mut self.removed);
            self.turns.retain(|Reverse(turn)| {
                cost_counter::step();
                !removed.contains(&turn.number)
            });
        }
        self.tidy_up();
    }

    /// Returns the number of turns that wait.
    pub(super) fn len(&self) -> usize {
        self.turns.len() - self.removed.len()
    }

    /// Brings a valid turn to the front, and gives back memory that few turns need.
    fn tidy_up(&mut self) {
        self.skip_removed();
        if self.turns.len() < self.turns.capacity() / 4 {
            self.turns.shrink_to((2 * self.turns.len()).max(TURNS_KEPT));
        }
    }

    fn skip_removed(&mut self) {
        while !self.removed.is_empty() {
            cost_counter::step();
            match self.turns.peek() {
                Some(Reverse(first)) if self.removed.remove(&first.number) => drop(self.turns.pop()),
                _ => return,
            }
        }
        if self.removed.capacity() > 0 {
            self.removed = HashSet::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(tag: u64, number: u16) -> ScheduledTurn {
        ScheduledTurn { tag, served: u32::from(number), number: u64::from(number), stream: StreamId(number) }
    }

    fn all(heap: &mut TurnHeap) -> Vec<u64> {
        std::iter::from_fn(|| heap.pop()).map(|turn| turn.number).collect()
    }

    #[test]
    fn the_least_tag_comes_first_and_of_equal_ones_the_oldest_also_when_tags_wrap() {
        let mut heap = TurnHeap::default();
        for (tag, number) in [(3, 1), (u64::MAX, 2), (0, 3), (3, 0), (u64::MAX - 9, 4)] {
            heap.push(turn(tag, number));
        }
        assert_eq!(all(&mut heap), [4, 2, 3, 0, 1]);
    }

    #[test]
    fn a_turn_changes_places_with_an_earlier_one_only() {
        let mut heap = TurnHeap::default();
        assert_eq!(heap.swap_if_earlier(turn(1, 1)), None, "nobody waits");
        heap.push(turn(5, 2));
        heap.push(turn(7, 3));
        assert_eq!(heap.swap_if_earlier(turn(4, 4)), None);
        heap.remove(3);
        assert_eq!(heap.swap_if_earlier(turn(8, 5)), Some(turn(5, 2)), "what was removed is not in the way");
        assert_eq!(all(&mut heap), [5]);
    }

    #[test]
    fn removing_all_turns_in_any_order_takes_a_few_steps_each_and_leaves_no_memory() {
        let count = 32_000_u16;
        let from_the_front: Vec<u16> = (0..count).collect();
        let from_the_back: Vec<u16> = (0..count).rev().collect();
        let from_both_ends: Vec<u16> = (0..count / 2).flat_map(|number| [number, count - 1 - number]).collect();
        for order in [from_the_front, from_the_back, from_both_ends] {
            let mut heap = TurnHeap::default();
            (0..count).for_each(|number| heap.push(turn(u64::from(number % 7), number)));
            let before = cost_counter::steps();
            order.into_iter().for_each(|number| heap.remove(u64::from(number)));
            let steps = cost_counter::steps() - before;
            assert!(steps <= 6 * u64::from(count), "{steps} steps");
            assert_eq!((heap.len(), heap.pop()), (0, None));
            assert!(heap.turns.capacity() <= 2 * TURNS_KEPT && heap.removed.capacity() == 0);
        }
    }

    #[test]
    fn a_turn_that_comes_and_goes_behind_another_leaves_nothing() {
        let mut heap = TurnHeap::default();
        heap.push(turn(0, 0));
        for number in 1..10_000 {
            heap.push(turn(1, number));
            heap.remove(u64::from(number));
            assert_eq!(heap.len(), 1);
        }
        assert!(heap.turns.len() < 64, "{} turns", heap.turns.len());
        assert_eq!(all(&mut heap), [0]);
    }
}
