//! Associations of peers that wait to be accepted, and the tasks that wait for one or for the end of all.

use std::collections::VecDeque;

use super::Incoming;
use crate::waiters::Waiters;

/// The accept queue of an endpoint, under a lock that no datagram of an existing association takes.
#[derive(Debug, Default)]
pub(super) struct AcceptQueue {
    incoming: VecDeque<Incoming>,
    /// Tasks that wait for an association, or for the end of all associations.
    pub(super) waiters: Waiters,
    is_closed: bool,
}

impl AcceptQueue {
    /// Appends an association, or returns it if the queue is closed or has `len_max` of them.
    #[must_use = "it is to be refused, after the lock"]
    pub(super) fn push(&mut self, incoming: Incoming, len_max: usize) -> Option<Incoming> {
        if self.is_closed || self.incoming.len() >= len_max {
            return Some(incoming);
        }
        self.incoming.push_back(incoming);
        None
    }

    /// Removes the association that has waited longest.
    pub(super) fn pop(&mut self) -> Option<Incoming> {
        self.incoming.pop_front()
    }

    /// True if no association enters the queue any more.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Closes the queue. Returns the associations that wait.
    #[must_use = "they are to be refused, after the lock"]
    pub(super) fn close(&mut self) -> VecDeque<Incoming> {
        self.is_closed = true;
        std::mem::take(&mut self.incoming)
    }
}
