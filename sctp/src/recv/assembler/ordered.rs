//! The order of messages within each stream (RFC 9260 §6.5, §6.6).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::sequence_table::SequenceTable;
use crate::cost_counter;
use crate::message::StreamId;
use crate::serial::{Ssn, UnwrappedTsn};

/// The next message of each stream, and the messages that arrived before their turn.
#[derive(Debug, Default)]
pub(in crate::recv) struct Ordered {
    /// The SSN of the next message of each stream.
    next: SequenceTable<Ssn>,
    /// First TSN of each whole message that waits for one before it, by stream and SSN.
    held_back: BTreeMap<(StreamId, u16), UnwrappedTsn>,
}

impl Ordered {
    /// Returns the SSN of the message that is to be delivered next.
    pub(in crate::recv) fn next_ssn(&self, stream: StreamId) -> Ssn {
        self.next.of(stream)
    }

    /// Moves past a message that was delivered or will never come.
    pub(super) fn on_passed(&mut self, stream: StreamId, ssn: Ssn) {
        cost_counter::step();
        self.next.set(stream, ssn.next());
    }

    /// Remembers a message that waits for its turn. False if there is one with its SSN already, which stays.
    #[must_use]
    pub(super) fn hold_back(&mut self, stream: StreamId, ssn: Ssn, first: UnwrappedTsn) -> bool {
        match self.held_back.entry((stream, ssn.0)) {
            Entry::Vacant(entry) => {
                entry.insert(first);
                true
            }
            Entry::Occupied(_) => false,
        }
    }

    /// Forgets a message that is held back.
    pub(super) fn take(&mut self, stream: StreamId, ssn: Ssn) {
        self.held_back.remove(&(stream, ssn.0));
    }

    /// Takes the next message of the stream, if it is here.
    pub(super) fn take_next(&mut self, stream: StreamId) -> Option<UnwrappedTsn> {
        if self.held_back.is_empty() {
            return None;
        }
        self.held_back.remove(&(stream, self.next_ssn(stream).0))
    }

    /// Takes the first of the stream's messages that wait, if its SSN is not beyond `last`.
    pub(super) fn take_through(&mut self, stream: StreamId, last: Ssn) -> Option<(Ssn, UnwrappedTsn)> {
        let next = self.next_ssn(stream);
        let (ssn, _) = self.first_held_back(stream)?;
        let is_within = !last.is_before(next) && ssn.distance_from(next) <= last.distance_from(next);
        if is_within { self.take_first(stream) } else { None }
    }

    /// Takes the first of the stream's messages that wait.
    pub(super) fn take_first(&mut self, stream: StreamId) -> Option<(Ssn, UnwrappedTsn)> {
        let (ssn, first) = self.first_held_back(stream)?;
        self.take(stream, ssn);
        Some((ssn, first))
    }

    /// Returns a stream with messages that are held back.
    pub(super) fn any_held_back(&self) -> Option<StreamId> {
        self.held_back.keys().next().map(|&(stream, _)| stream)
    }

    /// Sets the next SSN of the stream to 0 (RFC 6525 §5.2.2 E3).
    pub(super) fn reset(&mut self, stream: StreamId) {
        cost_counter::step();
        self.next.set(stream, Ssn(0));
    }

    /// Sets the next SSN of all streams to 0.
    pub(super) fn reset_all(&mut self) {
        self.next = SequenceTable::default();
    }

    /// Gives back the node of an empty tree.
    pub(super) fn trim(&mut self) {
        if self.held_back.is_empty() {
            self.held_back = BTreeMap::new();
        }
    }

    pub(super) fn held_back(&self) -> impl Iterator<Item = (StreamId, Ssn, UnwrappedTsn)> {
        self.held_back.iter().map(|(&(stream, ssn), &first)| (stream, Ssn(ssn), first))
    }

    #[cfg(test)]
    pub(in crate::recv) fn held_back_len(&self) -> usize {
        self.held_back.len()
    }

    /// Returns the number of bytes of the table of streams.
    pub(super) fn table_size(&self) -> usize {
        self.next.size()
    }

    /// Returns the number of pages of the table of streams.
    pub(super) fn pages_len(&self) -> usize {
        self.next.pages_len()
    }

    #[cfg(test)]
    pub(in crate::recv) fn streams_len(&self) -> usize {
        self.next.streams_len()
    }

    pub(super) fn check_consistency(&self) {
        for (stream, ssn, _) in self.held_back() {
            assert_ne!(ssn, self.next_ssn(stream), "the next message of stream {stream} is held back");
        }
        self.next.check_consistency();
    }

    fn first_held_back(&self, stream: StreamId) -> Option<(Ssn, UnwrappedTsn)> {
        let next = self.next_ssn(stream).0;
        let mut above = self.held_back.range((stream, next)..=(stream, u16::MAX));
        let mut below = self.held_back.range((stream, 0)..(stream, next));
        above.next().or_else(|| below.next()).map(|(&(_, ssn), &first)| (Ssn(ssn), first))
    }
}
