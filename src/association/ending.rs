//! The end of an association and of its channels: its begin, the tasks that it wakes, and its completion.

use std::task::{Poll, Waker};
use std::time::Instant;

use super::channel_entry::EventKind;
use super::inner::Inner;
use crate::error::CloseReason;
use crate::waiters::Interest;

impl Inner {
    /// Begins the shutdown of the association. An association that is not established, and has nothing to deliver, is
    /// aborted.
    pub(crate) fn begin_shutdown(&mut self, now: Instant) {
        if self.is_ending() {
            return;
        }
        self.is_ended_here = self.sctp.state().can_accept_messages();
        self.is_ending = true;
        self.has_work = true;
        if self.is_connected || !self.channels.is_empty() {
            self.sctp.shutdown(now);
        } else {
            self.sctp.abort("given up before it was established");
        }
        // These are not accepted any more.
        for id in std::mem::take(&mut self.incoming) {
            self.channels.forget(now, &mut self.sctp, id);
            self.release_reference(id);
        }
        self.wake_everybody();
    }

    pub(crate) fn abort(&mut self, reason: &str) {
        if self.is_failed {
            return;
        }
        self.is_ending = true;
        self.sctp.abort(reason);
        self.has_work = true;
        self.wake_everybody();
    }

    /// Returns the end of the association, once its last datagram has left too, so that the process may end.
    pub(crate) fn poll_closed(&self) -> Poll<CloseReason> {
        self.closed.clone().filter(|_| self.is_finished).map_or(Poll::Pending, Poll::Ready)
    }

    pub(super) fn finish(&mut self, wakers: &mut Vec<Waker>) {
        self.is_finished = true;
        self.leaving.append(&mut self.ended);
        self.on_sent(wakers);
        self.waiters.wake(Interest::Progress, wakers);
    }

    /// Handles packets that the driver has written, `is_all` if there was nothing more to write. The answers to the
    /// resets of the channels that have ended are among them.
    pub(super) fn on_written(&mut self, is_all: bool, wakers: &mut Vec<Waker>) {
        if is_all || self.is_failed || !self.sctp.has_answer_to_transmit() {
            self.leaving.append(&mut self.ended);
        }
        if is_all {
            self.on_sent(wakers);
        }
    }

    /// Handles the acceptance of the written packets by the system.
    pub(super) fn on_sent(&mut self, wakers: &mut Vec<Waker>) {
        for id in std::mem::take(&mut self.leaving) {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.is_end_sent = true;
                entry.events.push(EventKind::Close);
                entry.waiters.wake_all(wakers);
            }
        }
    }

    /// Wakes tasks that wait for room in the send buffer when the peer shuts the association down: there will be none.
    pub(super) fn wake_senders_on_shutdown(&mut self, wakers: &mut Vec<Waker>) {
        let takes_messages = self.sctp.state().can_accept_messages();
        if std::mem::replace(&mut self.takes_messages, takes_messages) && !takes_messages {
            self.entries.values_mut().for_each(|entry| entry.waiters.wake(Interest::Send, wakers));
        }
    }
}
