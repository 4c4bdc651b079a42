//! Which stream sends next.

use std::collections::VecDeque;
use std::fmt::Debug;

use crate::message::StreamId;

/// Picks the stream whose message is cut next. Without interleaving a message, once begun, is finished before another
/// stream has its turn, because the fragments of a message have consecutive TSNs (RFC 9260 §6.9).
pub(crate) trait Scheduler: Debug + Send {
    /// The stream has something to send now, and had nothing before.
    fn activate(&mut self, stream: StreamId);
    /// The stream to cut from.
    fn current(&self) -> Option<StreamId>;
    /// The current stream has finished a message, or has nothing left to send.
    fn advance(&mut self, has_more: bool);
    /// Streams that wait for their turn, for recounting.
    fn len(&self) -> usize;
}

/// One message per stream in turn (RFC 8260 §3.2).
#[derive(Debug, Default)]
pub(crate) struct RoundRobin {
    turns: VecDeque<StreamId>,
}

impl Scheduler for RoundRobin {
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
        } else if self.turns.is_empty() {
            // A burst of 65,000 streams must not cost memory for ever.
            self.turns.shrink_to(16);
        }
    }

    fn len(&self) -> usize {
        self.turns.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_take_turns_and_leave_when_they_are_done() {
        let mut scheduler = RoundRobin::default();
        for stream in [3, 1, 2] {
            scheduler.activate(stream);
        }
        let mut order = Vec::new();
        for has_more in [true, false, true, true, false, false] {
            order.extend(scheduler.current());
            scheduler.advance(has_more);
        }
        assert_eq!(order, [3, 1, 2, 3, 2, 3]);
        assert_eq!(scheduler.current(), None);
        scheduler.advance(false);
    }
}
