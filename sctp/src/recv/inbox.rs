//! Messages and resets that wait for the application, and messages that it has taken and not yet read.

use std::collections::VecDeque;

use super::ReceiverEvent;
use super::cost::Cost;
use crate::event::Streams;
use crate::message::{Credit, ReceivedMessage, StreamId};

/// Slots that an inbox keeps while it is in use: one that fills and runs empty by turns is not moved each time.
const SLOTS_IN_USE: usize = 64;

/// Slots that an inbox keeps while the association is idle.
const IDLE_SLOTS: usize = 16;

/// Stream ids in one queued reset from which repeated ones are removed before the list grows.
const DEDUP_FROM: usize = 1024;

/// Events in order, and their cost.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    events: VecDeque<ReceiverEvent>,
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
        // After a burst, its room goes back. Shrinking to twice the use keeps this rare.
        if self.events.capacity() > SLOTS_IN_USE && self.events.len() * 4 < self.events.capacity() {
            self.events.shrink_to((self.events.len() * 2).max(SLOTS_IN_USE));
        }
        Some(event)
    }

    /// Gives back the slots that an idle association does not use.
    pub(super) fn trim(&mut self) {
        if self.events.len() * 4 < self.events.capacity() {
            self.events.shrink_to((self.events.len() * 2).max(IDLE_SLOTS));
        }
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
    fn an_inbox_gives_the_room_of_a_burst_back_and_keeps_twice_what_it_uses() {
        let mut inbox = Inbox::default();
        for _ in 0..1000 {
            inbox.events.push_back(ReceiverEvent::Reset(Streams::List(Vec::new())));
        }
        let burst = inbox.events.capacity();
        while inbox.pop().is_some() {
            let (len, capacity) = (inbox.events.len(), inbox.events.capacity());
            assert!(capacity <= (4 * len).max(SLOTS_IN_USE), "{capacity} slots for {len} events");
            assert!(capacity == burst || capacity >= 2 * len, "{capacity} slots for {len} events");
        }
        inbox.trim();
        assert!(inbox.events.capacity() <= IDLE_SLOTS, "{} slots for none", inbox.events.capacity());
    }

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
        let Some(ReceiverEvent::Reset(Streams::List(list))) = inbox.events.front() else { panic!("one reset") };
        assert_eq!(list.len(), 1100);
        assert_eq!(inbox.unread().total(), 2 * list.capacity());
        assert!(matches!(inbox.pop(), Some(ReceiverEvent::Reset(_))));
        assert_eq!(inbox.unread(), Cost::default());
    }
}
