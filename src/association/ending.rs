//! The end of an association and of its channels: its begin, the tasks that it wakes, and its completion.

use std::task::{Poll, Waker};
use std::time::Instant;

use super::inner::Inner;
use crate::error::CloseReason;
use crate::waiters::Interest;

impl Inner {
    /// Begins the shutdown of the association. An association that is not established, and has nothing to deliver, is
    /// aborted.
    pub(crate) fn begin_shutdown(&mut self, now: Instant) {
        if self.life.is_ending() {
            return;
        }
        self.life.begin_shutdown(self.sctp.state().can_accept_messages());
        self.has_work = true;
        if self.life.was_connected() || !self.channels.is_empty() {
            self.sctp.shutdown(now);
        } else {
            self.sctp.abort("given up before it was established");
        }
        // These are not accepted any more.
        for id in self.entries.take_incoming() {
            self.channels.forget(now, &mut self.sctp, id);
            self.entries.release_reference(id);
        }
        self.wake_everybody();
    }

    pub(crate) fn abort(&mut self, reason: &str) {
        if self.life.is_failed() {
            return;
        }
        self.life.begin_abort();
        self.sctp.abort(reason);
        self.has_work = true;
        self.wake_everybody();
    }

    /// Returns the end of the association, once its last datagram has left too, so that the process may end.
    pub(crate) fn poll_closed(&self) -> Poll<CloseReason> {
        self.life.poll_finished()
    }

    pub(super) fn finish(&mut self, wakers: &mut Vec<Waker>) {
        self.tasks.receipts.fail(wakers);
        self.life.finish();
        self.entries.on_last_packets_written();
        self.entries.on_sent(wakers);
        self.tasks.waiters.wake(Interest::Progress, wakers);
    }

    /// Handles packets that the driver has written, `is_all` if there was nothing more to write. The answers to the
    /// resets of the channels that have ended are among them.
    pub(super) fn on_written(&mut self, is_all: bool, wakers: &mut Vec<Waker>) {
        if is_all || self.life.is_failed() || !self.sctp.has_answer_to_transmit() {
            self.entries.on_last_packets_written();
        }
        if is_all {
            self.entries.on_sent(wakers);
        }
    }

    /// Handles the acceptance of the written packets by the system.
    pub(super) fn on_sent(&mut self, wakers: &mut Vec<Waker>) {
        self.entries.on_sent(wakers);
    }

    /// Wakes tasks that wait for room in the send buffer when the peer shuts the association down: there will be none.
    pub(super) fn wake_senders_on_shutdown(&mut self, wakers: &mut Vec<Waker>) {
        if self.life.on_acceptance(self.sctp.state().can_accept_messages()) {
            self.entries.wake(Interest::Send, wakers);
        }
    }
}
