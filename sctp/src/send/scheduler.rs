//! Stream scheduling (RFC 8260 §3): the stream that sends next.

use std::collections::{HashMap, VecDeque};

use crate::cost_counter;
use crate::message::StreamId;

/// Picks the stream whose message is cut next. Without interleaving a message, once begun, is finished before another
/// stream has its turn, because the fragments of a message have consecutive TSNs (RFC 9260 §6.9).
#[derive(Debug)]
pub(super) enum Scheduler {
    RoundRobin(RoundRobin),
}

impl Default for Scheduler {
    fn default() -> Self {
        Self::RoundRobin(RoundRobin::default())
    }
}

impl Scheduler {
    /// Activates a stream that has data to send now, and had none before.
    pub(super) fn activate(&mut self, stream: StreamId) {
        let Self::RoundRobin(scheduler) = self;
        scheduler.activate(stream);
    }

    /// Returns the stream to cut from.
    pub(super) fn current(&self) -> Option<StreamId> {
        let Self::RoundRobin(scheduler) = self;
        scheduler.current()
    }

    /// Moves on from the current stream, which has finished a message or has nothing left to send.
    pub(super) fn advance(&mut self, has_more: bool) {
        let Self::RoundRobin(scheduler) = self;
        scheduler.advance(has_more);
    }

    /// Handles the loss of the message that a stream was sending; the stream need not be the current one.
    pub(super) fn on_message_dropped(&mut self, stream: StreamId, has_more: bool) {
        if self.current() == Some(stream) {
            self.advance(has_more);
        } else if !has_more {
            self.remove(stream);
        }
    }

    /// Removes a stream that waits for its turn and has nothing left to send. A peer may reset all streams in one
    /// packet, so this must not cost a walk over the others.
    pub(super) fn remove(&mut self, stream: StreamId) {
        let Self::RoundRobin(scheduler) = self;
        scheduler.remove(stream);
    }

    /// Returns the number of streams that wait for their turn, for recounting.
    pub(super) fn len(&self) -> usize {
        let Self::RoundRobin(scheduler) = self;
        scheduler.len()
    }
}

/// One message per stream in turn (RFC 8260 §3.2).
#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    /// The first one is valid.
    turns: VecDeque<StreamId>,
    /// Number of invalid entries of each stream in `turns`, which come before its valid turn. Empty unless streams were
    /// removed from the middle.
    removed: HashMap<StreamId, usize>,
    removed_count: usize,
}

impl RoundRobin {
    /// Returns `true` if this turn, the first of its stream, was removed, and forgets the turn.
    fn take_removed(&mut self, stream: StreamId) -> bool {
        if self.removed_count == 0 {
            return false;
        }
        cost_counter::step();
        let Some(count) = self.removed.get_mut(&stream) else { return false };
        *count -= 1;
        if *count == 0 {
            self.removed.remove(&stream);
        }
        self.removed_count -= 1;
        if self.removed_count == 0 {
            self.removed = HashMap::new();
        }
        true
    }

    /// Brings a valid turn to the front.
    fn skip_removed(&mut self) {
        while let Some(first) = self.turns.front().copied() {
            if !self.take_removed(first) {
                break;
            }
            self.turns.pop_front();
        }
        if self.turns.is_empty() {
            // A burst of 65,000 streams must not cost memory for ever.
            self.turns.shrink_to(16);
        }
    }

    /// Forgets removed turns before they are the larger part. So each costs a constant number of steps.
    fn compact(&mut self) {
        if self.removed_count <= self.turns.len() / 2 + 16 {
            return;
        }
        let mut turns = std::mem::take(&mut self.turns);
        turns.retain(|stream| !self.take_removed(*stream));
        self.turns = turns;
    }
}

impl RoundRobin {
    fn activate(&mut self, stream: StreamId) {
        self.turns.push_back(stream);
    }

    fn current(&self) -> Option<StreamId> {
        self.turns.front().copied()
    }

    fn advance(&mut self, has_more: bool) {
        let Some(stream) = self.turns.pop_front() else { return };
        if has_more {
            self.turns.push_back(stream);
        }
        self.skip_removed();
    }

    fn remove(&mut self, stream: StreamId) {
        if self.turns.front() == Some(&stream) {
            return self.advance(false);
        }
        *self.removed.entry(stream).or_default() += 1;
        self.removed_count += 1;
        self.compact();
    }

    fn len(&self) -> usize {
        self.turns.len() - self.removed_count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_take_turns_and_leave_when_they_are_done() {
        let mut scheduler = RoundRobin::default();
        for stream in [3, 1, 2] {
            scheduler.activate(StreamId(stream));
        }
        let mut order = Vec::new();
        for has_more in [true, false, true, true, false, false] {
            order.extend(scheduler.current());
            scheduler.advance(has_more);
        }
        assert_eq!(order, [3, 1, 2, 3, 2, 3].map(StreamId));
        assert_eq!(scheduler.current(), None);
        scheduler.advance(false);
    }

    #[test]
    fn a_stream_that_was_removed_and_comes_again_waits_behind_the_others() {
        let mut scheduler = RoundRobin::default();
        for stream in [1, 2, 3] {
            scheduler.activate(StreamId(stream));
        }
        scheduler.remove(StreamId(2));
        scheduler.activate(StreamId(2));
        scheduler.remove(StreamId(2));
        scheduler.activate(StreamId(2));
        assert_eq!(scheduler.len(), 3);
        let order: Vec<_> = std::iter::from_fn(|| {
            let current = scheduler.current();
            scheduler.advance(false);
            current
        })
        .collect();
        assert_eq!(order, [1, 3, 2].map(StreamId));
        assert_eq!((scheduler.len(), scheduler.removed_count, scheduler.removed.len()), (0, 0, 0));
    }

    #[test]
    fn a_stream_that_loses_its_message_out_of_turn_keeps_its_turn_only_if_it_has_more() {
        let mut scheduler = Scheduler::default();
        for stream in [1, 2, 3] {
            scheduler.activate(StreamId(stream));
        }
        scheduler.on_message_dropped(StreamId(2), true);
        assert_eq!((scheduler.current(), scheduler.len()), (Some(StreamId(1)), 3));
        scheduler.on_message_dropped(StreamId(2), false);
        scheduler.on_message_dropped(StreamId(1), true);
        assert_eq!((scheduler.current(), scheduler.len()), (Some(StreamId(3)), 2));
        scheduler.on_message_dropped(StreamId(3), false);
        assert_eq!((scheduler.current(), scheduler.len()), (Some(StreamId(1)), 1));
    }

    #[test]
    fn removing_all_streams_in_any_order_takes_a_few_steps_each() {
        let all: Vec<StreamId> = (0..32_000).map(StreamId).collect();
        let from_the_back: Vec<StreamId> = all.iter().rev().copied().collect();
        let from_both_ends: Vec<StreamId> =
            (0..16_000).flat_map(|stream| [stream, 31_999 - stream]).map(StreamId).collect();
        for order in [&all, &from_the_back, &from_both_ends] {
            let mut scheduler = RoundRobin::default();
            all.iter().for_each(|stream| scheduler.activate(*stream));
            let before = cost_counter::steps();
            order.iter().for_each(|stream| scheduler.remove(*stream));
            assert!(cost_counter::steps() - before <= 4 * 32_000, "{} steps", cost_counter::steps() - before);
            assert_eq!((scheduler.len(), scheduler.current()), (0, None));
        }
        // A stream that comes and goes behind one that does not end leaves nothing.
        let mut scheduler = RoundRobin::default();
        scheduler.activate(StreamId(1));
        for _ in 0..10_000 {
            scheduler.activate(StreamId(2));
            scheduler.remove(StreamId(2));
        }
        assert!(scheduler.turns.len() < 64, "{} turns", scheduler.turns.len());
    }
}
