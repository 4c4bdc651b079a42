//! Receipts: the progress of single messages. Other messages have no entry here.

use std::collections::{BTreeSet, VecDeque};

use crate::event::{AssociationEvent, ReceiptId, ReceiptStatus};
use crate::message::AbandonReason;
use crate::serial::{MessageKey, UnwrappedTsn};

/// Bytes charged for each receipt whose message has neither been acknowledged nor abandoned: its entries here, its
/// events, and what the owner of the association keeps for it.
const RECEIPT_OVERHEAD: usize = 384;

/// Receipts of messages that were neither acknowledged nor abandoned.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    open: BTreeSet<MessageKey>,
    /// Messages that were sent, by the TSN of their last chunks. May name some that were abandoned since.
    sent: VecDeque<(UnwrappedTsn, MessageKey)>,
}

impl Receipts {
    /// Returns `true` if no message has a receipt, which is all that others pay for.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Returns the number of bytes that the send buffer counts for receipts.
    pub(super) fn charge(&self) -> usize {
        self.open.len() * RECEIPT_OVERHEAD
    }

    pub(super) fn insert(&mut self, key: MessageKey) -> ReceiptId {
        self.open.insert(key);
        ReceiptId(key)
    }

    /// Removes a receipt that was dropped.
    pub(super) fn remove(&mut self, id: ReceiptId) {
        self.open.remove(&id.0);
        self.give_back();
    }

    /// Handles the departure of a message's last chunk.
    pub(super) fn on_sent(&mut self, key: MessageKey, last: UnwrappedTsn) -> Option<AssociationEvent> {
        self.open.contains(&key).then(|| {
            self.sent.push_back((last, key));
            event(key, ReceiptStatus::Sent)
        })
    }

    /// Takes the next message whose chunks are all acknowledged.
    pub(super) fn take_acknowledged(&mut self, cumulative: UnwrappedTsn) -> Option<AssociationEvent> {
        while let Some((_, key)) = self.sent.front().copied().filter(|(last, _)| *last <= cumulative) {
            self.sent.pop_front();
            if self.open.remove(&key) {
                return Some(event(key, ReceiptStatus::Acknowledged));
            }
        }
        self.give_back();
        None
    }

    /// Handles the abandonment of a message.
    pub(super) fn on_abandoned(&mut self, key: MessageKey, reason: AbandonReason) -> Option<AssociationEvent> {
        self.open.remove(&key).then(|| event(key, ReceiptStatus::Abandoned(reason)))
    }

    /// Takes the receipts of all messages, because the association ends.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = AssociationEvent> + use<> {
        let Self { open, .. } = std::mem::take(self);
        open.into_iter().map(|key| event(key, ReceiptStatus::Abandoned(AbandonReason::AssociationEnded)))
    }

    fn give_back(&mut self) {
        if self.open.is_empty() {
            self.sent = VecDeque::new();
        }
    }
}

fn event(key: MessageKey, status: ReceiptStatus) -> AssociationEvent {
    AssociationEvent::Receipt { id: ReceiptId(key), status }
}
