//! Receipts at this layer: the status of messages for those who hold their receipts.

use std::collections::HashMap;
use std::task::{Poll, Waker};

use narrowboat_sctp::{AbandonReason, ReceiptId, ReceiptStatus};

use crate::waiters::Waiters;

/// The receipts that the application holds.
#[derive(Debug, Default)]
pub(crate) struct ReceiptTable {
    entries: HashMap<ReceiptId, ReceiptEntry>,
}

/// One receipt.
#[derive(Debug)]
pub(crate) struct ReceiptEntry {
    status: ReceiptStatus,
    waiters: Waiters,
}

impl ReceiptTable {
    /// Adds the receipt of a message that was just accepted.
    pub(super) fn insert(&mut self, id: ReceiptId) {
        self.entries.insert(id, ReceiptEntry { status: ReceiptStatus::Queued, waiters: Waiters::default() });
    }

    /// Removes a receipt that the application has dropped. The caller drops it outside the lock.
    pub(super) fn remove(&mut self, id: ReceiptId) -> Option<ReceiptEntry> {
        let entry = self.entries.remove(&id);
        if self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to(self.entries.len() * 2);
        }
        entry
    }

    pub(super) fn waiters(&mut self, id: ReceiptId) -> Option<&mut Waiters> {
        self.entries.get_mut(&id).map(|entry| &mut entry.waiters)
    }

    /// Records the new status of a message.
    pub(super) fn on_status(&mut self, id: ReceiptId, status: ReceiptStatus, wakers: &mut Vec<Waker>) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.status = status;
            entry.waiters.wake_all(wakers);
        }
    }

    /// Ends the receipts of an association that has failed: nothing more is heard of their messages.
    pub(super) fn fail(&mut self, wakers: &mut Vec<Waker>) {
        for entry in self.entries.values_mut().filter(|entry| !entry.status.is_final()) {
            entry.status = ReceiptStatus::Abandoned(AbandonReason::AssociationEnded);
            entry.waiters.wake_all(wakers);
        }
    }

    /// Returns the status of a message; the receipt exists as long as its handle.
    pub(crate) fn status(&self, id: ReceiptId) -> ReceiptStatus {
        let gone = ReceiptStatus::Abandoned(AbandonReason::AssociationEnded);
        self.entries.get(&id).map_or(gone, |entry| entry.status)
    }

    /// Returns the result once the message was sent, or abandoned before.
    pub(crate) fn poll_sent(&self, id: ReceiptId) -> Poll<Result<(), AbandonReason>> {
        match self.status(id) {
            ReceiptStatus::Sent | ReceiptStatus::Acknowledged => Poll::Ready(Ok(())),
            ReceiptStatus::Abandoned(reason) => Poll::Ready(Err(reason)),
            _ => Poll::Pending,
        }
    }

    /// Returns the result once the message was acknowledged or abandoned.
    pub(crate) fn poll_acknowledged(&self, id: ReceiptId) -> Poll<Result<(), AbandonReason>> {
        match self.status(id) {
            ReceiptStatus::Acknowledged => Poll::Ready(Ok(())),
            ReceiptStatus::Abandoned(reason) => Poll::Ready(Err(reason)),
            _ => Poll::Pending,
        }
    }
}
