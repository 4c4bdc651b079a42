//! The end of an association and of its channels, at this end: how it begins, who is woken, and when it is complete.

use std::task::{Poll, Waker};
use std::time::Instant;

use super::channel_entry::EventKind;
use super::inner::Inner;
use crate::error::CloseReason;
use crate::waiters::Interest;

impl Inner {
    /// Ends the association gracefully. One that is not established, and has nothing to deliver, is given up.
    pub(crate) fn begin_shutdown(&mut self, now: Instant) {
        if self.is_ending() {
            return;
        }
        self.is_ended_here = self.core.state().can_accept_messages();
        self.is_ending = true;
        self.has_work = true;
        if self.is_connected || !self.channels.is_empty() {
            self.core.shutdown(now);
        } else {
            self.core.abort("given up before it was established");
        }
        // Nobody will take these.
        for id in std::mem::take(&mut self.incoming) {
            self.channels.forget(now, &mut self.core, id);
            self.release_reference(id);
        }
        self.wake_everybody();
    }

    pub(crate) fn abort(&mut self, reason: &str) {
        if self.is_failed {
            return;
        }
        self.is_ending = true;
        self.core.abort(reason);
        self.has_work = true;
        self.wake_everybody();
    }

    /// How the association ended, once it has in every respect: whoever waited may end the process.
    pub(super) fn poll_closed(&self) -> Poll<CloseReason> {
        self.closed.clone().filter(|_| self.is_finished).map_or(Poll::Pending, Poll::Ready)
    }

    pub(super) fn finish(&mut self, wakers: &mut Vec<Waker>) {
        self.is_finished = true;
        self.leaving.append(&mut self.ended);
        self.on_sent(wakers);
        self.waiters.wake(Interest::Progress, wakers);
    }

    /// The driver has written what there was to send; `is_all` is true if that was nothing. The answers to the resets of
    /// the channels that have ended are among it.
    pub(super) fn on_written(&mut self, is_all: bool, wakers: &mut Vec<Waker>) {
        if is_all || self.is_failed || !self.core.has_answer_to_transmit() {
            self.leaving.append(&mut self.ended);
        }
        if is_all {
            self.on_sent(wakers);
        }
    }

    /// The system has taken what the driver had written.
    pub(super) fn on_sent(&mut self, wakers: &mut Vec<Waker>) {
        for id in std::mem::take(&mut self.leaving) {
            if let Some(slot) = self.slots.get_mut(&id) {
                slot.is_end_sent = true;
                slot.events.push(EventKind::Close);
                slot.waiters.wake_all(wakers);
            }
        }
    }

    /// Wakes those who wait for room to send when there will be none: the peer shuts the association down.
    pub(super) fn wake_senders_of_the_ending(&mut self, wakers: &mut Vec<Waker>) {
        let takes_messages = self.core.state().can_accept_messages();
        if std::mem::replace(&mut self.takes_messages, takes_messages) && !takes_messages {
            self.slots.values_mut().for_each(|slot| slot.waiters.wake(Interest::Send, wakers));
        }
    }
}
