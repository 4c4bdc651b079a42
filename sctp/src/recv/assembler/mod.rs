//! From DATA chunks to messages in the order of their streams (RFC 9260 §6.5, §6.6, §6.9).
//!
//! One [`DataAssembler`] owns reassembly, order, skipping (RFC 3758) and stream resets (RFC 6525 §5.2.2). An
//! [`IDataAssembler`] does so for I-DATA (RFC 8260), behind the same small interface; [`Assembler`] is the one that was
//! negotiated. It does not know which TSNs have arrived: the tracker says that, and the receiver passes it on. Messages
//! and resets go to the inbox in the order in which the application gets them.

mod deferred_reset;
mod fragments;
mod i_data;
mod negotiated;
mod ordered;
mod reassembly;
mod sequence_table;
mod skip;

use bytes::Bytes;

use self::deferred_reset::StreamResets;
use self::fragments::{Run, WaitingFragments};
use self::ordered::Ordered;
use self::reassembly::Reassembly;
use super::ResetProgress;
use super::cost::Cost;
use super::inbox::Inbox;
use super::tracker::Neighbours;
use crate::error::Violation;
use crate::event::Streams;
use crate::message::StreamId;
use crate::serial::{Ssn, UnwrappedTsn};
use crate::wire::DataChunk;

#[cfg(test)]
pub(super) use self::deferred_reset::DeferredReset;
#[cfg(test)]
pub(super) use self::i_data::{IDataAssembler, OUT_OF_ORDER_OVERHEAD};
pub(super) use self::negotiated::Assembler;
pub(crate) use self::negotiated::FragmentHeader;
pub(super) use self::skip::SkippedTsns;

/// Treatment of a new fragment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FragmentClass {
    /// Its message can become whole: [`insert`](DataAssembler::insert) it.
    Wanted,
    /// Its message was skipped: acknowledge and [`discard`](DataAssembler::discard) it.
    Skipped,
    /// Its SSN was delivered already, or is more than half of all numbers ahead. That is clear once everything before
    /// it has arrived, so until then the chunk is neither kept nor acknowledged.
    Ambiguous,
}

/// Cost of what an assembler holds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AssemblerCost {
    /// The partial message that ends at the Cumulative TSN Ack Point, if there is one. While messages interleave, the
    /// parts of all messages up to that point.
    pub(super) in_order_partial: Cost,
    /// All fragments and messages that wait for others, `in_order_partial` included.
    pub(super) all: Cost,
}

/// Assembles messages from DATA chunks, whose fragments have consecutive TSNs.
#[derive(Debug)]
pub(super) struct DataAssembler {
    reassembly: Reassembly,
    ordered: Ordered,
    resets: StreamResets,
    /// True if a FORWARD-TSN was obeyed. Late fragments of skipped messages are no violation then.
    has_skipped: bool,
    /// A fragment that follows this TSN without beginning a message belongs to a message that was skipped.
    skipped_to: Option<UnwrappedTsn>,
    /// Violation found in a message that had waited, for a reset or for what a FORWARD-TSN skips.
    violation: Option<Violation>,
}

impl DataAssembler {
    pub(super) fn new(message_size_max: usize) -> Self {
        Self {
            reassembly: Reassembly::new(message_size_max),
            ordered: Ordered::default(),
            resets: StreamResets::default(),
            has_skipped: false,
            skipped_to: None,
            violation: None,
        }
    }

    /// Forgets everything that is not delivered. The association is over.
    pub(super) fn clear(&mut self) {
        let violation = self.violation;
        *self = Self { violation, ..Self::new(0) };
    }

    #[cfg(test)]
    fn resets(&self) -> &StreamResets {
        &self.resets
    }

    fn resets_mut(&mut self) -> &mut StreamResets {
        &mut self.resets
    }

    pub(super) fn violation(&self) -> Option<Violation> {
        self.violation
    }

    pub(super) fn cost(&self) -> AssemblerCost {
        AssemblerCost { in_order_partial: self.reassembly.in_order_partial_cost(), all: self.reassembly.cost() }
    }

    /// Checks a chunk of a stream that does not exist: without being kept, it still must not lie in the middle of a
    /// message of another stream.
    pub(super) fn check_outside(&self, neighbours: Neighbours, chunk: &DataChunk) -> Result<(), Violation> {
        self.reassembly.check_fit(neighbours, &DataChunk { beginning: true, ending: true, ..*chunk })
    }

    /// Finds out what to do with a new fragment.
    pub(super) fn classify(
        &self,
        position: UnwrappedTsn,
        in_sequence: bool,
        chunk: &DataChunk,
    ) -> Result<FragmentClass, Violation> {
        if in_sequence && self.reassembly.has_in_order_partial() {
            return Ok(FragmentClass::Wanted);
        }
        if !chunk.beginning && self.skipped_to == Some(position.prev()) {
            return Ok(FragmentClass::Skipped);
        }
        if !self.is_passed(chunk.stream, chunk.ssn, chunk.unordered) || self.resets.holds(chunk.stream, position) {
            return Ok(FragmentClass::Wanted);
        }
        match (in_sequence, self.has_skipped) {
            (false, _) => Ok(FragmentClass::Ambiguous),
            (true, true) => Ok(FragmentClass::Skipped),
            (true, false) => Err(Violation::BadFragment),
        }
    }

    /// Takes a fragment in, whose TSN lies among these neighbours, and delivers what is whole and next in its stream.
    /// [`on_cumulative_advanced`](Self::on_cumulative_advanced) is to follow if the fragment was in sequence.
    pub(super) fn insert(
        &mut self,
        neighbours: Neighbours,
        chunk: &DataChunk,
        payload: Bytes,
        inbox: &mut Inbox,
    ) -> Result<(), Violation> {
        if let Some((first, run)) = self.reassembly.add(neighbours, chunk, payload)? {
            self.on_whole(first, run, inbox);
        }
        Ok(())
    }

    /// Takes note of a fragment in sequence whose message was skipped, and discards the fragments that continue it.
    pub(super) fn discard(&mut self, position: UnwrappedTsn, chunk: &DataChunk) -> Result<(), Violation> {
        self.skipped_to = (!chunk.ending).then_some(position);
        let next = position.next();
        if self.reassembly.at(next).is_some_and(|run| !run.beginning) {
            if chunk.ending {
                return Err(Violation::BadFragment);
            }
            if let Some(run) = self.reassembly.take(next) {
                self.skipped_to = (!run.ending).then_some(position.add(run.len() as u64));
            }
        }
        Ok(())
    }

    /// Handles an advance of the Cumulative TSN Ack Point: finds the message that is in sequence now, and performs the
    /// reset that has waited for it.
    pub(super) fn on_cumulative_advanced(&mut self, cumulative: UnwrappedTsn, inbox: &mut Inbox) {
        self.reassembly.promote(cumulative);
        if let Some(reset) = self.resets.take_due(cumulative) {
            self.perform(reset, cumulative, inbox);
        }
        // A FORWARD-TSN that passed this message's SSN has said that its end will never come.
        if self.has_skipped
            && let Some((_, run)) = self.reassembly.in_order_partial()
            && self.is_passed(run.stream, run.ssn, run.unordered)
        {
            self.reassembly.discard_in_order_partial();
            self.skipped_to = Some(cumulative);
        }
    }

    /// Resets streams, now or when everything up to `last` has arrived or was skipped (RFC 6525 §5.2.2).
    pub(super) fn reset(
        &mut self,
        streams: Streams,
        last: UnwrappedTsn,
        cumulative: UnwrappedTsn,
        inbox: &mut Inbox,
    ) -> ResetProgress {
        match self.resets.begin(streams, last, cumulative) {
            Some(reset) => {
                self.perform(reset, cumulative, inbox);
                ResetProgress::Performed
            }
            None => ResetProgress::Deferred,
        }
    }

    /// Returns the highest TSN that [`evict_highest`](Self::evict_highest) can discard.
    pub(super) fn highest(&self) -> Option<UnwrappedTsn> {
        self.reassembly.highest()
    }

    /// Discards the fragment with the highest TSN, and returns that. What is in sequence stays.
    pub(super) fn evict_highest(&mut self) -> Option<UnwrappedTsn> {
        let evicted = self.reassembly.evict_highest()?;
        match evicted.waiting {
            WaitingFragments::Order => self.ordered.take(evicted.stream, evicted.ssn),
            WaitingFragments::Reset => self.resets.on_evicted(evicted.first),
            WaitingFragments::Fragments => {}
        }
        Some(evicted.position)
    }

    /// Returns the bytes of the tables of streams.
    pub(super) fn tables(&self) -> usize {
        self.ordered.table_size() + self.resets.table_size()
    }

    /// Gives back the nodes of trees that are empty.
    pub(super) fn trim(&mut self) {
        self.reassembly.trim();
        self.ordered.trim();
    }

    /// Returns the cost of a recount.
    pub(super) fn recount_cost(&self) -> usize {
        self.reassembly.held_len() / 16 + self.ordered.pages_len() * 8
    }

    /// Recounts everything. `has_arrived` tells if a TSN has arrived.
    pub(super) fn check_consistency(&self, cumulative: UnwrappedTsn, has_arrived: impl Fn(UnwrappedTsn) -> bool) {
        self.reassembly.check_consistency(cumulative);
        self.ordered.check_consistency();
        for (first, run) in self.reassembly.held() {
            let last = run.last_tsn(first);
            assert!(first.through(last).all(&has_arrived), "held but not received");
        }
        let (mut held_back, mut held) = (0, 0);
        for (stream, ssn, first) in self.ordered.held_back() {
            let is_same = |run: &Run| run.waiting == WaitingFragments::Order && (run.stream, run.ssn) == (stream, ssn);
            assert!(self.reassembly.at(first).is_some_and(is_same), "a message that is held back is not there");
            held_back += 1;
        }
        if let Some(reset) = self.resets.deferred() {
            assert!(reset.last() > cumulative, "a reset is overdue");
            for first in reset.held() {
                let is_held = |run: &Run| run.waiting == WaitingFragments::Reset && reset.holds(run.stream, first);
                assert!(
                    self.reassembly.at(first).is_some_and(is_held),
                    "a message that waits for a reset is not there"
                );
                held += 1;
            }
        }
        let waiting = |waiting| self.reassembly.held().filter(|(_, run)| run.waiting == waiting).count();
        assert_eq!((waiting(WaitingFragments::Order), waiting(WaitingFragments::Reset)), (held_back, held));
    }

    /// Delivers a whole message, and those that waited for it, or holds it until its turn.
    fn on_whole(&mut self, first: UnwrappedTsn, run: Run, inbox: &mut Inbox) {
        let (stream, ssn) = (run.stream, run.ssn);
        if self.resets.hold(stream, first) {
            self.reassembly.hold(first, run, WaitingFragments::Reset);
        } else if run.unordered {
            inbox.push_message(run.into_message());
        } else if ssn == self.ordered.next_ssn(stream) {
            inbox.push_message(run.into_message());
            self.ordered.on_passed(stream, ssn);
            self.deliver_next(stream, inbox);
        } else if self.ordered.hold_back(stream, ssn, first) {
            self.reassembly.hold(first, run, WaitingFragments::Order);
        } else {
            self.violation = Some(Violation::BadFragment);
        }
    }

    /// Delivers the messages of a stream that waited for the one before them.
    fn deliver_next(&mut self, stream: StreamId, inbox: &mut Inbox) {
        while let Some(first) = self.ordered.take_next(stream) {
            self.deliver(first, inbox);
            let ssn = self.ordered.next_ssn(stream);
            self.ordered.on_passed(stream, ssn);
        }
    }

    /// Delivers a whole message that was held.
    fn deliver(&mut self, first: UnwrappedTsn, inbox: &mut Inbox) {
        if let Some(run) = self.reassembly.take(first) {
            inbox.push_message(run.into_message());
        }
    }

    /// Returns true if the stream has gone on past an SSN.
    fn is_passed(&self, stream: StreamId, ssn: Ssn, unordered: bool) -> bool {
        !unordered && ssn.is_before(self.ordered.next_ssn(stream))
    }
}

#[cfg(test)]
impl DataAssembler {
    /// Size of an entry of what waits.
    pub(super) const RUN_SIZE: usize = size_of::<Run>();

    pub(super) fn ordered(&self) -> &Ordered {
        &self.ordered
    }

    pub(super) fn set_skipped_to(&mut self, position: Option<UnwrappedTsn>) {
        self.skipped_to = position;
    }
}
