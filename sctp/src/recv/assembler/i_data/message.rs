//! A message whose fragments come among those of other messages.

use bytes::Bytes;

use crate::message::{Ppid, ReceivedMessage, StreamId};
use crate::recv::assembler::fragments::Fragments;
use crate::recv::cost::{Cost, FRAGMENT_OVERHEAD, MESSAGE_OVERHEAD};
use crate::serial::{Mid, UnwrappedTsn};

/// Charged for each fragment that is out of order, beside [`FRAGMENT_OVERHEAD`]: an entry in the tree of fragments and
/// one in the tree of TSNs, whose nodes may be half empty.
pub(in crate::recv) const OUT_OF_ORDER_OVERHEAD: usize = 128;

/// The name of a message (RFC 8260 §2.2.3): ordered and unordered messages of a stream are counted apart.
///
/// Its order is that of a tree. The messages of one kind of a stream are neighbours in it; where their numbers wrap,
/// the later ones come first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct MessageKey {
    pub(super) stream: StreamId,
    pub(super) unordered: bool,
    mid: u32,
}

impl MessageKey {
    pub(super) fn new(stream: StreamId, unordered: bool, mid: Mid) -> Self {
        Self { stream, unordered, mid: mid.0 }
    }

    pub(super) fn mid(self) -> Mid {
        Mid(self.mid)
    }
}

/// A message, or the part of it that has arrived.
#[derive(Debug, Default)]
pub(in crate::recv) struct InterleavedMessage {
    pub(super) ppid: Ppid,
    /// FSN of the last fragment, once that has arrived.
    pub(super) last: Option<u32>,
    /// Fragments from the first on, without a gap. None of their TSNs is above the Cumulative TSN Ack Point, unless the
    /// message is a single chunk.
    pub(super) head: Option<Fragments>,
    /// Payload of `head`.
    pub(super) head_bytes: usize,
    /// Number of the fragments that are held elsewhere, because they are out of order.
    pub(super) out_of_order: u32,
    /// Payload of all fragments.
    pub(super) bytes: usize,
    /// TSN of a message that is a single chunk, and waits for its turn.
    pub(super) single: Option<UnwrappedTsn>,
}

impl InterleavedMessage {
    /// Returns a message that is a single chunk.
    pub(super) fn single(ppid: Ppid, position: UnwrappedTsn, payload: Bytes) -> Self {
        let bytes = payload.len();
        let head = Some(Fragments::One(payload));
        Self { ppid, last: Some(0), head, head_bytes: bytes, out_of_order: 0, bytes, single: Some(position) }
    }

    /// Returns the FSN that follows the fragments without a gap.
    pub(super) fn next_fsn(&self) -> u32 {
        // Each fragment has a byte, and messages are far shorter than 4 GiB.
        self.head.as_ref().map_or(0, |head| u32::try_from(head.len()).unwrap_or(u32::MAX))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.head.is_none() && self.out_of_order == 0
    }

    /// Returns true if all fragments are there: no FSN comes twice, and none lies behind the last.
    pub(super) fn is_whole(&self) -> bool {
        self.last.is_some_and(|last| u64::from(self.next_fsn()) + u64::from(self.out_of_order) == u64::from(last) + 1)
    }

    /// Adds the fragment that follows those without a gap. Its bytes are counted in `bytes` by the caller.
    pub(super) fn push(&mut self, payload: Bytes) {
        self.head_bytes += payload.len();
        match &mut self.head {
            Some(head) => head.push(payload, 0),
            None => self.head = Some(Fragments::One(payload)),
        }
    }

    /// Returns the share of the receive window that the message takes.
    pub(super) fn cost(&self) -> Cost {
        let (head, out_of_order) = (self.next_fsn() as usize, self.out_of_order as usize);
        let overhead = (head + out_of_order) * FRAGMENT_OVERHEAD + out_of_order * OUT_OF_ORDER_OVERHEAD;
        Cost { payload: self.bytes, overhead: overhead + MESSAGE_OVERHEAD }
    }

    /// Returns the share of the part that is in sequence, which cannot be discarded.
    pub(super) fn in_order_cost(&self) -> Cost {
        if self.head.is_none() || self.single.is_some() {
            return Cost::default();
        }
        let overhead = self.next_fsn() as usize * FRAGMENT_OVERHEAD + MESSAGE_OVERHEAD;
        Cost { payload: self.head_bytes, overhead }
    }

    /// Returns the message, once all of its fragments are in `head`.
    pub(super) fn into_message(self, key: MessageKey) -> ReceivedMessage {
        let credit = Cost::unread(self.bytes, self.next_fsn() as usize).into_credit();
        let payload = self.head.unwrap_or_default().into_payload();
        let MessageKey { stream, unordered, .. } = key;
        ReceivedMessage { stream, ppid: self.ppid, unordered, payload, credit }
    }
}
