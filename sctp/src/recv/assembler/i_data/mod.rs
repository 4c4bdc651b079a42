//! From I-DATA chunks to messages in the order of their streams (RFC 8260 §2.2.3, §2.3).
//!
//! A message is found by its stream, its U bit and its MID, a fragment of it by its FSN; nothing is assumed about the
//! TSNs. They say only which fragments can be discarded for lack of room, and which belong to a stream before its
//! reset. Several messages of different streams may be partial at once, and none of them waits for another.

mod message;
mod mids;
mod store;

use bytes::Bytes;

use self::message::{InterleavedMessage, MessageKey};
use self::mids::Mids;
use self::store::InterleavedStore;
use super::deferred_reset::{DeferredReset, StreamResets};
use super::skip::SkippedTsns;
use super::{AssemblerCost, FragmentClass};
use crate::cost_counter;
use crate::error::Violation;
use crate::event::Streams;
use crate::message::StreamId;
use crate::recv::ResetProgress;
use crate::recv::inbox::Inbox;
use crate::serial::{Mid, UnwrappedTsn};
use crate::wire::{IDataChunk, SkippedMessage};

pub(in crate::recv) use self::message::OUT_OF_ORDER_OVERHEAD;

/// Half of all MIDs. Of two MIDs of a stream, the earlier one is at most so far behind.
const HALF_OF_ALL: u32 = (1 << 31) - 1;

/// Assembles messages from I-DATA chunks.
#[derive(Debug)]
pub(in crate::recv) struct IDataAssembler {
    store: InterleavedStore,
    mids: Mids,
    resets: StreamResets,
    /// True if an I-FORWARD-TSN was obeyed. Late fragments of skipped messages are no violation then.
    has_skipped: bool,
}

impl IDataAssembler {
    pub(in crate::recv) fn new(message_size_max: usize) -> Self {
        Self {
            store: InterleavedStore::new(message_size_max),
            mids: Mids::default(),
            resets: StreamResets::default(),
            has_skipped: false,
        }
    }

    pub(super) fn cost(&self) -> AssemblerCost {
        AssemblerCost { in_order_partial: self.store.in_order_cost(), all: self.store.cost() }
    }

    #[cfg(test)]
    pub(super) fn resets(&self) -> &StreamResets {
        &self.resets
    }

    pub(super) fn resets_mut(&mut self) -> &mut StreamResets {
        &mut self.resets
    }

    /// Finds out what to do with a new fragment.
    ///
    /// On a stream with a deferred reset, fragments behind the sender's last assigned TSN are not taken: their MIDs
    /// count from 0 again. A sender that follows RFC 6525 §5.1.2 waits for the answer before it sends them.
    pub(super) fn classify(
        &self,
        position: UnwrappedTsn,
        in_sequence: bool,
        chunk: &IDataChunk,
    ) -> Result<FragmentClass, Violation> {
        if self.resets.holds(chunk.stream, position) {
            return Ok(FragmentClass::Ambiguous);
        }
        if !self.mids.is_passed(chunk.stream, chunk.unordered, chunk.mid) {
            return Ok(FragmentClass::Wanted);
        }
        match (self.has_skipped, in_sequence) {
            (true, _) => Ok(FragmentClass::Skipped),
            // Only skipped ones are over: which unordered messages were delivered is not remembered.
            (false, _) if chunk.unordered => Ok(FragmentClass::Wanted),
            // The stream may have been reset, and the request for it be late.
            (false, false) => Ok(FragmentClass::Ambiguous),
            (false, true) => Err(Violation::BadFragment),
        }
    }

    /// Gives back the nodes of trees that are empty.
    pub(super) fn trim(&mut self) {
        self.store.trim();
    }

    /// Returns the overhead that a fragment is charged with beside that of a message in one chunk.
    pub(super) fn extra_overhead(&self, chunk: &IDataChunk, in_sequence: bool) -> usize {
        if in_sequence || (chunk.beginning && chunk.ending) { 0 } else { OUT_OF_ORDER_OVERHEAD }
    }

    /// Takes a fragment in, and delivers what is whole and next in its stream.
    pub(super) fn insert(
        &mut self,
        position: UnwrappedTsn,
        in_sequence: bool,
        chunk: &IDataChunk,
        payload: Bytes,
        inbox: &mut Inbox,
    ) -> Result<(), Violation> {
        let key = MessageKey::new(chunk.stream, chunk.unordered, chunk.mid);
        let payload = match self.store.extend(key, chunk, payload, in_sequence) {
            Ok(()) => return Ok(()),
            Err(payload) => payload,
        };
        self.store.check(key, chunk, payload.len())?;
        if chunk.unordered {
            self.mids.on_unordered(chunk.stream, chunk.mid);
        }
        if !(chunk.beginning && chunk.ending) {
            if self.store.add(key, chunk, payload, position, in_sequence) {
                self.on_whole(key, inbox);
            }
            return Ok(());
        }
        if self.store.has(key) {
            return Err(Violation::BadFragment);
        }
        let message = InterleavedMessage::single(chunk.ppid, position, payload);
        if self.is_next(key) {
            inbox.push_message(message.into_message(key));
            self.on_delivered(key, inbox);
        } else {
            self.store.hold_single(key, message, position, in_sequence);
        }
        Ok(())
    }

    /// Handles an advance of the Cumulative TSN Ack Point, and performs the reset that has waited for it.
    pub(super) fn on_cumulative_advanced(&mut self, cumulative: UnwrappedTsn, inbox: &mut Inbox) {
        self.store.on_cumulative_advanced(cumulative);
        if let Some(reset) = self.resets.take_due(cumulative) {
            self.perform(reset, inbox);
        }
    }

    /// Obeys an I-FORWARD-TSN: discards partial messages up to the MIDs that were given with it, and moves the order of
    /// streams on past them (RFC 8260 §2.3.1). The cost is that of what is held on the way, not of the distance.
    pub(super) fn skip(
        &mut self,
        tsns: SkippedTsns,
        messages: impl Iterator<Item = SkippedMessage>,
        inbox: &mut Inbox,
    ) {
        self.has_skipped = true;
        for SkippedMessage { stream, unordered, mid } in messages {
            // Each message has a TSN of its own, so no more messages can have been skipped than TSNs. Other entries are
            // of a stream that was reset since, or nonsense.
            let next = self.mids.next(stream, unordered);
            let is_old = mid.is_before(next);
            if !is_old && u64::from(mid.distance_from(next)) >= tsns.new.distance_from(tsns.old) {
                continue;
            }
            if unordered {
                self.skip_unordered(stream, mid);
            } else if !is_old {
                self.skip_ordered(stream, mid, inbox);
            }
        }
        self.on_cumulative_advanced(tsns.cumulative, inbox);
    }

    /// Discards the partial unordered messages of a stream up to this MID. Whole ones were delivered.
    fn skip_unordered(&mut self, stream: StreamId, last: Mid) {
        self.mids.on_unordered_skipped(stream, last);
        while let Some(key) = self.store.first_from(stream, true, last.sub(HALF_OF_ALL), HALF_OF_ALL) {
            self.store.take(key);
        }
    }

    /// Delivers the messages of the stream that are whole up to this MID; the others will never be.
    fn skip_ordered(&mut self, stream: StreamId, last: Mid, inbox: &mut Inbox) {
        let next = self.mids.next(stream, false);
        while let Some(key) = self.store.first_from(stream, false, next, last.distance_from(next)) {
            self.deliver_or_discard(key, inbox);
        }
        self.mids.on_passed(stream, last);
        self.deliver_next(stream, inbox);
    }

    /// Performs a new reset, or defers it.
    pub(super) fn reset(
        &mut self,
        streams: Streams,
        last: UnwrappedTsn,
        cumulative: UnwrappedTsn,
        inbox: &mut Inbox,
    ) -> ResetProgress {
        match self.resets.begin(streams, last, cumulative) {
            Some(reset) => {
                self.perform(reset, inbox);
                ResetProgress::Performed
            }
            None => ResetProgress::Deferred,
        }
    }

    /// Performs a reset: everything up to the sender's last assigned TSN has arrived or was skipped (RFC 6525 §5.2.2
    /// E3, E4). Messages that waited for those that the sender never sent are delivered, unfinished ones discarded.
    fn perform(&mut self, reset: DeferredReset, inbox: &mut Inbox) {
        let streams = reset.into_streams();
        match &streams {
            Streams::All => {
                while let Some(stream) = self.store.any_stream() {
                    self.finish_stream(stream, inbox);
                }
                self.mids.reset_all();
            }
            Streams::List(list) => {
                for &stream in list {
                    self.finish_stream(stream, inbox);
                    self.mids.reset(stream);
                }
            }
        }
        inbox.push_reset(streams);
    }

    fn finish_stream(&mut self, stream: StreamId, inbox: &mut Inbox) {
        for unordered in [false, true] {
            let next = self.mids.next(stream, unordered);
            while let Some(key) = self.store.first_from(stream, unordered, next, u32::MAX) {
                self.deliver_or_discard(key, inbox);
            }
        }
    }

    /// Returns the highest TSN that [`evict_highest`](Self::evict_highest) can discard.
    pub(super) fn highest(&self) -> Option<UnwrappedTsn> {
        self.store.highest()
    }

    /// Discards the fragment with the highest TSN, and returns that. Fragments up to the Cumulative TSN Ack Point stay.
    pub(super) fn evict_highest(&mut self) -> Option<UnwrappedTsn> {
        self.store.evict_highest()
    }

    /// Returns the bytes of the tables of streams.
    pub(super) fn tables(&self) -> usize {
        self.mids.size() + self.resets.table_size()
    }

    /// Returns the cost of a recount.
    pub(super) fn recount_cost(&self) -> usize {
        self.store.held_len() / 16 + self.mids.pages_len() * 8
    }

    /// Recounts everything. `has_arrived` tells if a TSN has arrived.
    pub(super) fn check_consistency(&self, cumulative: UnwrappedTsn, has_arrived: impl Fn(UnwrappedTsn) -> bool) {
        self.store.check_consistency(cumulative, has_arrived);
        self.mids.check_consistency();
        for (key, message) in self.store.messages() {
            assert!(!(message.is_whole() && self.is_next(key)), "{key:?} is not delivered");
            assert!(key.unordered || !self.mids.is_passed(key.stream, false, key.mid()), "{key:?} is over");
        }
        assert!(self.resets.deferred().is_none_or(|reset| reset.last() > cumulative), "a reset is overdue");
    }

    /// Returns true if a message can be delivered once it is whole.
    fn is_next(&self, key: MessageKey) -> bool {
        key.unordered || key.mid() == self.mids.next(key.stream, false)
    }

    /// Delivers a whole message if it is its turn.
    fn on_whole(&mut self, key: MessageKey, inbox: &mut Inbox) {
        if self.is_next(key) {
            self.deliver_or_discard(key, inbox);
            self.on_delivered(key, inbox);
        }
    }

    /// Delivers the messages that waited for this one.
    fn on_delivered(&mut self, key: MessageKey, inbox: &mut Inbox) {
        if !key.unordered {
            self.mids.on_passed(key.stream, key.mid());
            self.deliver_next(key.stream, inbox);
        }
    }

    fn deliver_next(&mut self, stream: StreamId, inbox: &mut Inbox) {
        while !self.store.is_empty() {
            let key = MessageKey::new(stream, false, self.mids.next(stream, false));
            if !self.store.is_whole(key) {
                return;
            }
            cost_counter::step();
            self.deliver_or_discard(key, inbox);
            self.mids.on_passed(stream, key.mid());
        }
    }

    /// Removes a message that is held, and delivers it if it is whole.
    fn deliver_or_discard(&mut self, key: MessageKey, inbox: &mut Inbox) {
        let is_whole = self.store.is_whole(key);
        if let Some(message) = self.store.take(key)
            && is_whole
        {
            inbox.push_message(message.into_message(key));
        }
    }
}

#[cfg(test)]
impl IDataAssembler {
    /// Size of an entry of a message that waits.
    pub(in crate::recv) const MESSAGE_SIZE: usize = size_of::<(MessageKey, InterleavedMessage)>();

    /// Size of the entry of a fragment that is out of order.
    pub(in crate::recv) const OUT_OF_ORDER_SIZE: usize = size_of::<((MessageKey, u32), (UnwrappedTsn, Bytes))>();

    /// Size of the entry of a fragment above the Cumulative TSN Ack Point.
    pub(in crate::recv) const ABOVE_SIZE: usize = size_of::<(UnwrappedTsn, (MessageKey, u32))>();

    pub(in crate::recv) fn mids(&self) -> &Mids {
        &self.mids
    }

    pub(in crate::recv) fn mids_mut(&mut self) -> &mut Mids {
        &mut self.mids
    }
}
