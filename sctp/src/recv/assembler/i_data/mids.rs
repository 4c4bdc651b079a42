//! The MIDs of each stream (RFC 8260 §2.1).

use crate::cost_counter;
use crate::message::StreamId;
use crate::recv::assembler::sequence_table::SequenceTable;
use crate::serial::Mid;

/// Distance between an unordered message and the last one that was skipped. Beyond it the mark of the latter is moved,
/// so that no new MID appears to be old after the numbers have wrapped.
const MARK_DISTANCE_MAX: u32 = 1 << 30;

/// Numbers of the messages that are expected next, and of those that were skipped.
#[derive(Debug, Default)]
pub(in crate::recv) struct Mids {
    /// MID of the ordered message that is to be delivered next.
    ordered: SequenceTable<Mid>,
    /// MID that follows the latest unordered message of which anything has arrived, or that was skipped.
    unordered: SequenceTable<Mid>,
    /// MID of the first unordered message that was not skipped.
    skipped: SequenceTable<Mid>,
}

impl Mids {
    /// Returns the MID that follows the latest message that has arrived, was delivered or was skipped: of the ordered
    /// messages the one to be delivered next.
    pub(in crate::recv) fn next(&self, stream: StreamId, unordered: bool) -> Mid {
        if unordered { self.unordered.of(stream) } else { self.ordered.of(stream) }
    }

    /// Returns true if an ordered message was delivered or skipped, or an unordered one skipped.
    pub(super) fn is_passed(&self, stream: StreamId, unordered: bool, mid: Mid) -> bool {
        mid.is_before(if unordered { self.skipped.of(stream) } else { self.ordered.of(stream) })
    }

    /// Moves past an ordered message that was delivered or will never come.
    pub(super) fn on_passed(&mut self, stream: StreamId, mid: Mid) {
        cost_counter::step();
        self.ordered.set(stream, mid.next());
    }

    /// Notes that a fragment of an unordered message has arrived.
    pub(super) fn on_unordered(&mut self, stream: StreamId, mid: Mid) {
        let next = self.unordered.of(stream);
        if mid.is_before(next) {
            return;
        }
        self.unordered.set(stream, mid.next());
        if mid.distance_from(self.skipped.of(stream)) > MARK_DISTANCE_MAX {
            self.skipped.set(stream, mid.sub(MARK_DISTANCE_MAX));
        }
    }

    /// Notes that the unordered messages up to this one were skipped.
    pub(super) fn on_unordered_skipped(&mut self, stream: StreamId, mid: Mid) {
        cost_counter::step();
        self.on_unordered(stream, mid);
        let skipped = self.skipped.of(stream).later_of(mid.next());
        self.skipped.set(stream, skipped);
    }

    /// Sets the MIDs of the stream to 0 (RFC 8260 §2.3.2).
    pub(super) fn reset(&mut self, stream: StreamId) {
        cost_counter::step();
        for table in [&mut self.ordered, &mut self.unordered, &mut self.skipped] {
            table.set(stream, Mid(0));
        }
    }

    /// Sets the MIDs of all streams to 0.
    pub(super) fn reset_all(&mut self) {
        *self = Self::default();
    }

    /// Returns the number of bytes of the tables.
    pub(super) fn size(&self) -> usize {
        self.tables().map(SequenceTable::size).sum()
    }

    /// Returns the number of pages of the tables.
    pub(super) fn pages_len(&self) -> usize {
        self.tables().map(SequenceTable::pages_len).sum()
    }

    pub(super) fn check_consistency(&self) {
        self.tables().for_each(SequenceTable::check_consistency);
    }

    fn tables(&self) -> impl Iterator<Item = &SequenceTable<Mid>> {
        [&self.ordered, &self.unordered, &self.skipped].into_iter()
    }
}

#[cfg(test)]
impl Mids {
    /// Lets the stream begin with this MID, as if as many messages had been delivered.
    pub(in crate::recv) fn begin_at(&mut self, stream: StreamId, mid: Mid) {
        for table in [&mut self.ordered, &mut self.unordered, &mut self.skipped] {
            table.set(stream, mid);
        }
    }

    /// Returns the number of streams whose ordered messages do not begin with 0.
    pub(in crate::recv) fn streams_len(&self) -> usize {
        self.tables().map(SequenceTable::streams_len).max().unwrap_or(0)
    }
}
