//! Fragments into messages by MID and FSN (RFC 8260 §2.2.3).
//!
//! Fragments in order are in lists, one for each message. All others are in one tree for all messages, so that a
//! message of which one fragment has arrived costs an entry and not a tree of its own. A second tree names them by TSN:
//! the highest is discarded when room is short, and they join the lists when the Cumulative TSN Ack Point reaches them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use bytes::Bytes;

use super::message::{InterleavedMessage, MessageKey};
use crate::cost_counter;
use crate::error::Violation;
use crate::message::StreamId;
use crate::recv::cost::Cost;
use crate::serial::{Mid, UnwrappedTsn};
use crate::wire::IDataChunk;

/// The name of a fragment: its message and its FSN.
type FragmentKey = (MessageKey, u32);

/// Fragments and messages that cannot be delivered yet.
#[derive(Debug)]
pub(super) struct InterleavedStore {
    messages: BTreeMap<MessageKey, InterleavedMessage>,
    /// Fragments that lack one before them, or lie above the Cumulative TSN Ack Point, and their TSNs.
    out_of_order: BTreeMap<FragmentKey, (UnwrappedTsn, Bytes)>,
    /// Fragments above the Cumulative TSN Ack Point, single chunks included.
    above: BTreeMap<UnwrappedTsn, FragmentKey>,
    cost: Cost,
    /// Cost of the parts of messages that are in sequence.
    in_order_cost: Cost,
    message_size_max: usize,
}

impl InterleavedStore {
    pub(super) fn new(message_size_max: usize) -> Self {
        Self {
            messages: BTreeMap::new(),
            out_of_order: BTreeMap::new(),
            above: BTreeMap::new(),
            cost: Cost::default(),
            in_order_cost: Cost::default(),
            message_size_max,
        }
    }

    pub(super) fn cost(&self) -> Cost {
        self.cost
    }

    pub(super) fn in_order_cost(&self) -> Cost {
        self.in_order_cost
    }

    /// Gives back the nodes of trees that are empty: all three are if no message is held.
    pub(super) fn trim(&mut self) {
        if self.messages.is_empty() {
            *self = Self::new(self.message_size_max);
        }
    }

    /// Returns the number of fragments and messages that are held in trees.
    pub(super) fn held_len(&self) -> usize {
        self.messages.len() + self.out_of_order.len()
    }

    /// Checks a chunk against the fragments of its message, and against the limit of its length.
    pub(super) fn check(&self, key: MessageKey, chunk: &IDataChunk, payload_len: usize) -> Result<(), Violation> {
        let fsn = chunk.fsn.0;
        if chunk.beginning != (fsn == 0) {
            return Err(Violation::BadFragment);
        }
        let message = self.messages.get(&key);
        // Every fragment has at least one byte, so the FSN alone may be too large. For the same reason no FSN wraps.
        let bytes = message.map_or(0, |message| message.bytes).saturating_add(payload_len);
        if bytes > self.message_size_max || fsn as usize >= self.message_size_max {
            return Err(Violation::MessageTooLarge);
        }
        let Some(message) = message else { return Ok(()) };
        let is_beyond_last = message.last.is_some_and(|last| chunk.ending || fsn > last);
        let is_twice = fsn < message.next_fsn() || self.out_of_order.contains_key(&(key, fsn));
        let is_last_too_early = chunk.ending
            && self.out_of_order.range((key, fsn)..=(key, u32::MAX)).next_back().is_some_and(|(last, _)| last.1 > fsn);
        if is_beyond_last || is_twice || is_last_too_early { Err(Violation::BadFragment) } else { Ok(()) }
    }

    /// Adds a fragment from the middle of a message that follows those without a gap, in one step. Hands the payload
    /// back if the fragment is another one, or if any fragment waits out of order.
    #[inline]
    pub(super) fn extend(
        &mut self,
        key: MessageKey,
        chunk: &IDataChunk,
        payload: Bytes,
        in_sequence: bool,
    ) -> Result<(), Bytes> {
        if !in_sequence || chunk.beginning || chunk.ending || chunk.unordered || !self.out_of_order.is_empty() {
            return Err(payload);
        }
        let Some(message) = self.messages.get_mut(&key) else { return Err(payload) };
        let (len, fsn) = (payload.len(), chunk.fsn.0);
        let is_too_large = message.bytes.saturating_add(len) > self.message_size_max;
        if is_too_large || message.last.is_some() || message.head.is_none() || fsn != message.next_fsn() {
            return Err(payload);
        }
        self.cost -= message.cost();
        self.in_order_cost -= message.in_order_cost();
        message.bytes += len;
        message.push(payload);
        self.cost += message.cost();
        self.in_order_cost += message.in_order_cost();
        Ok(())
    }

    /// Keeps a message that is a single chunk until its turn.
    pub(super) fn hold_single(
        &mut self,
        key: MessageKey,
        message: InterleavedMessage,
        position: UnwrappedTsn,
        in_sequence: bool,
    ) {
        if !in_sequence {
            self.above.insert(position, (key, 0));
        }
        self.cost += message.cost();
        self.messages.insert(key, message);
    }

    /// Adds a fragment that has passed [`check`](Self::check). Returns true if its message is whole now.
    pub(super) fn add(
        &mut self,
        key: MessageKey,
        chunk: &IDataChunk,
        payload: Bytes,
        position: UnwrappedTsn,
        in_sequence: bool,
    ) -> bool {
        let fsn = chunk.fsn.0;
        let message = self.messages.entry(key).or_default();
        let is_next = in_sequence && fsn == message.next_fsn();
        if !message.is_empty() {
            self.cost -= message.cost();
            self.in_order_cost -= message.in_order_cost();
        }
        if chunk.beginning {
            message.ppid = chunk.ppid;
        }
        if chunk.ending {
            message.last = Some(fsn);
        }
        message.bytes += payload.len();
        if is_next {
            message.push(payload);
        } else {
            message.out_of_order += 1;
            self.out_of_order.insert((key, fsn), (position, payload));
            if !in_sequence {
                self.above.insert(position, (key, fsn));
            }
        }
        self.cost += message.cost();
        self.in_order_cost += message.in_order_cost();
        let is_whole = message.is_whole();
        if is_next && message.out_of_order > 0 {
            let next = message.next_fsn();
            self.join_head(key, next, position);
        }
        is_whole
    }

    /// Handles an advance of the Cumulative TSN Ack Point: fragments up to it cannot be discarded any more.
    pub(super) fn on_cumulative_advanced(&mut self, cumulative: UnwrappedTsn) {
        while let Some(entry) = self.above.first_entry()
            && *entry.key() <= cumulative
        {
            cost_counter::step();
            let (key, fsn) = entry.remove();
            self.join_head(key, fsn, cumulative);
        }
    }

    /// Moves a fragment to those of its message without a gap, if it is the next, and those that follow it.
    fn join_head(&mut self, key: MessageKey, fsn: u32, cumulative: UnwrappedTsn) {
        let Some(message) = self.messages.get_mut(&key).filter(|message| message.next_fsn() == fsn) else { return };
        self.cost -= message.cost();
        self.in_order_cost -= message.in_order_cost();
        while let Entry::Occupied(entry) = self.out_of_order.entry((key, message.next_fsn()))
            && entry.get().0 <= cumulative
        {
            cost_counter::step();
            let (_, payload) = entry.remove();
            message.out_of_order -= 1;
            message.push(payload);
        }
        self.cost += message.cost();
        self.in_order_cost += message.in_order_cost();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(super) fn has(&self, key: MessageKey) -> bool {
        self.messages.contains_key(&key)
    }

    pub(super) fn is_whole(&self, key: MessageKey) -> bool {
        self.messages.get(&key).is_some_and(InterleavedMessage::is_whole)
    }

    /// Removes a message. A whole one is returned with all of its fragments; of a partial one they are discarded.
    pub(super) fn take(&mut self, key: MessageKey) -> Option<InterleavedMessage> {
        cost_counter::step();
        let mut message = self.messages.remove(&key)?;
        self.cost -= message.cost();
        self.in_order_cost -= message.in_order_cost();
        if let Some(position) = message.single {
            self.above.remove(&position);
        }
        while message.out_of_order > 0
            && let Some((&fragment, _)) = self.out_of_order.range((key, 0)..=(key, u32::MAX)).next()
            && let Some((position, payload)) = self.out_of_order.remove(&fragment)
        {
            cost_counter::step();
            self.above.remove(&position);
            message.out_of_order -= 1;
            message.push(payload);
        }
        Some(message)
    }

    /// Returns the first message of a stream whose MID is at most `distance` behind `from`.
    pub(super) fn first_from(&self, stream: StreamId, unordered: bool, from: Mid, distance: u32) -> Option<MessageKey> {
        let key = |mid| MessageKey::new(stream, unordered, Mid(mid));
        let last = from.add(distance);
        if from.0 <= last.0 {
            return self.first_in(key(from.0), key(last.0));
        }
        self.first_in(key(from.0), key(u32::MAX)).or_else(|| self.first_in(key(0), key(last.0)))
    }

    fn first_in(&self, first: MessageKey, last: MessageKey) -> Option<MessageKey> {
        self.messages.range(first..=last).next().map(|(&key, _)| key)
    }

    /// Returns a stream with messages that are held.
    pub(super) fn any_stream(&self) -> Option<StreamId> {
        self.messages.first_key_value().map(|(key, _)| key.stream)
    }

    /// Returns the highest TSN held above the Cumulative TSN Ack Point.
    pub(super) fn highest(&self) -> Option<UnwrappedTsn> {
        self.above.last_key_value().map(|(&position, _)| position)
    }

    /// Discards the fragment with the highest TSN, and returns that.
    pub(super) fn evict_highest(&mut self) -> Option<UnwrappedTsn> {
        let (position, (key, fsn)) = self.above.pop_last()?;
        let message = self.messages.get_mut(&key)?;
        self.cost -= message.cost();
        if let Some((_, payload)) = self.out_of_order.remove(&(key, fsn)) {
            message.out_of_order -= 1;
            message.bytes -= payload.len();
            message.last = message.last.filter(|last| *last != fsn);
        }
        if message.is_empty() || message.single.is_some() {
            self.messages.remove(&key);
        } else {
            self.cost += message.cost();
        }
        Some(position)
    }

    pub(super) fn messages(&self) -> impl Iterator<Item = (MessageKey, &InterleavedMessage)> {
        self.messages.iter().map(|(&key, message)| (key, message))
    }

    /// Recounts everything. `has_arrived` tells if a TSN has arrived.
    pub(super) fn check_consistency(&self, cumulative: UnwrappedTsn, has_arrived: impl Fn(UnwrappedTsn) -> bool) {
        assert_eq!(self.cost, self.messages.values().map(InterleavedMessage::cost).sum::<Cost>());
        assert_eq!(self.in_order_cost, self.messages.values().map(InterleavedMessage::in_order_cost).sum::<Cost>());
        let mut out_of_order: BTreeMap<MessageKey, (u32, usize)> = BTreeMap::new();
        for (&(key, fsn), (position, payload)) in &self.out_of_order {
            assert!(has_arrived(*position), "held but not received");
            assert_eq!(self.above.contains_key(position), *position > cumulative, "{position:?}");
            let message = self.messages.get(&key);
            let next = message.map_or(u32::MAX, InterleavedMessage::next_fsn);
            assert!(fsn > next || (fsn == next && *position > cumulative), "{fsn} has not joined those before it");
            assert!(message.is_some_and(|message| message.last.is_none_or(|last| fsn <= last)));
            let (count, bytes) = out_of_order.entry(key).or_default();
            (*count, *bytes) = (*count + 1, *bytes + payload.len());
        }
        for (&position, (key, fsn)) in &self.above {
            assert!(position > cumulative && has_arrived(position));
            let single = self.messages.get(key).and_then(|message| message.single);
            let fragment = self.out_of_order.get(&(*key, *fsn)).map(|(position, _)| *position);
            assert_eq!(single.or(fragment), Some(position));
        }
        for (key, message) in self.messages() {
            let (count, bytes) = out_of_order.get(&key).copied().unwrap_or_default();
            assert_eq!((message.out_of_order, message.bytes), (count, message.head_bytes + bytes));
            assert!(!message.is_empty() && message.bytes <= self.message_size_max);
            assert!(message.single.is_none_or(|position| has_arrived(position) && message.is_whole()));
        }
    }
}
