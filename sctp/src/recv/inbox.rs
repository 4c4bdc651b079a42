//! Messages and resets that wait for the application, and messages that it has taken and not yet read.

use super::ReceiverEvent;
use super::cost::Cost;
use crate::event::Streams;
use crate::message::{Credit, ReceivedMessage, StreamId};
use crate::unread_queue::UnreadQueue;

/// Stream ids in one queued reset from which repeated ones are removed before the list grows.
const DEDUP_FROM: usize = 1024;

/// Events in order, and their cost.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    events: UnreadQueue<ReceiverEvent>,
    /// Cost of `events`.
    queued: Cost,
    /// Cost of messages that were taken and whose credits were not released.
    unreleased: Cost,
}

impl Inbox {
    pub(super) fn push_message(&mut self, message: ReceivedMessage) {
        self.queued += Cost::of(&message.credit);
        self.events.push_back(ReceiverEvent::Message(message));
    }

    /// Resets with no message in between are one: a reset that follows another changes nothing on streams that they
    /// share.
    pub(super) fn push_reset(&mut self, streams: Streams) {
        if let Some(ReceiverEvent::Reset(last)) = self.events.back_mut() {
            self.queued -= cost_of(last);
            merge(last, streams);
            self.queued += cost_of(last);
        } else {
            self.queued += cost_of(&streams);
            self.events.push_back(ReceiverEvent::Reset(streams));
        }
    }

    pub(super) fn pop(&mut self) -> Option<ReceiverEvent> {
        let event = self.events.pop_front()?;
        match &event {
            ReceiverEvent::Message(message) => {
                let cost = Cost::of(&message.credit);
                self.queued -= cost;
                self.unreleased += cost;
            }
            ReceiverEvent::Reset(streams) => self.queued -= cost_of(streams),
        }
        Some(event)
    }

    /// Gives back what an idle association does not use.
    pub(super) fn trim(&mut self) {
        self.events.trim();
    }

    #[expect(clippy::needless_pass_by_value, reason = "a credit is handed back once")]
    pub(super) fn on_released(&mut self, credit: Credit) {
        // A credit of another association cannot make more room than was taken.
        let credit = Cost::of(&credit);
        self.unreleased.payload = self.unreleased.payload.saturating_sub(credit.payload);
        self.unreleased.overhead = self.unreleased.overhead.saturating_sub(credit.overhead);
    }

    /// Returns the cost of everything that the application has not yet read.
    pub(super) fn unread(&self) -> Cost {
        self.queued + self.unreleased
    }

    /// Returns the cost of a recount.
    pub(super) fn recount_cost(&self) -> usize {
        self.events.len() / 16
    }

    pub(super) fn check_consistency(&self) {
        let counted = self.events.iter().map(|event| match event {
            ReceiverEvent::Message(message) => Cost::of(&message.credit),
            ReceiverEvent::Reset(streams) => cost_of(streams),
        });
        assert_eq!(self.queued, counted.sum::<Cost>());
    }
}

/// Returns the cost of a queued reset: the memory of its list, which the peer can make us hold.
fn cost_of(streams: &Streams) -> Cost {
    let overhead = match streams {
        Streams::All => 0,
        Streams::List(list) => list.capacity() * size_of::<StreamId>(),
    };
    Cost { payload: 0, overhead }
}

fn merge(into: &mut Streams, other: Streams) {
    match (into, other) {
        (Streams::All, _) => {}
        (into, Streams::All) => *into = Streams::All,
        (Streams::List(list), Streams::List(more)) => {
            if list.len() >= DEDUP_FROM && list.len() + more.len() > list.capacity() {
                // Sorted once for each doubling, so a stream id costs O(log n).
                list.sort_unstable();
                list.dedup();
                if list.len() > list.capacity() / 2 {
                    list.reserve_exact(list.len().max(more.len()));
                }
            }
            list.extend(more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queued_reset_costs_the_memory_of_its_list() {
        let mut inbox = Inbox::default();
        inbox.push_reset(Streams::List((0..1000).map(StreamId).collect()));
        assert_eq!(inbox.unread(), Cost { payload: 0, overhead: 2000 });
        // Growing, a list may take twice what it holds.
        for id in 1000..1100 {
            inbox.push_reset(Streams::List(vec![StreamId(id)]));
            inbox.check_consistency();
        }
        let Some(ReceiverEvent::Reset(Streams::List(list))) = inbox.events.get(0) else { panic!("one reset") };
        assert_eq!(list.len(), 1100);
        assert_eq!(inbox.unread().total(), 2 * list.capacity());
        assert!(matches!(inbox.pop(), Some(ReceiverEvent::Reset(_))));
        assert_eq!(inbox.unread(), Cost::default());
    }
}
