//! Fragments into messages (RFC 9260 §6.9).
//!
//! Without interleaving, a message's fragments have consecutive TSNs. Fragments are joined to *runs* as they come,
//! whatever their streams; whole runs go out, and come back only if they have to wait for something else.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::fragments::{Run, WaitingFragments};
use crate::cost_counter;
use crate::error::Violation;
use crate::message::StreamId;
use crate::recv::cost::Cost;
use crate::recv::tracker::Neighbours;
use crate::serial::{Ssn, UnwrappedTsn};
use crate::wire::DataChunk;

/// Fragments for which room is made ahead, at most: what a message of 64 KiB has in full packets, four times over.
const EXPECTED_FRAGMENTS_MAX: usize = 256;

/// A fragment that was discarded to make room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Evicted {
    pub(super) position: UnwrappedTsn,
    /// First TSN of its message.
    pub(super) first: UnwrappedTsn,
    pub(super) stream: StreamId,
    pub(super) ssn: Ssn,
    /// Fragments that the message was waiting for before.
    pub(super) waiting: WaitingFragments,
}

/// Fragments and messages that cannot be delivered yet.
#[derive(Debug)]
pub(super) struct Reassembly {
    /// The partial message that ends, for now, at the Cumulative TSN Ack Point, and its first TSN.
    in_order_partial: Option<(UnwrappedTsn, Run)>,
    /// All other runs by first TSN: parts of messages above the Cumulative TSN Ack Point, and whole messages that wait
    /// for their turn.
    held: BTreeMap<UnwrappedTsn, Run>,
    /// Cost of `held`.
    held_cost: Cost,
    message_size_max: usize,
    /// Fragments of the last long message.
    expected: usize,
}

impl Reassembly {
    pub(super) fn new(message_size_max: usize) -> Self {
        Self {
            in_order_partial: None,
            held: BTreeMap::new(),
            held_cost: Cost::default(),
            message_size_max,
            expected: 0,
        }
    }

    pub(super) fn in_order_partial_cost(&self) -> Cost {
        self.in_order_partial.as_ref().map(|(_, run)| run.cost()).unwrap_or_default()
    }

    /// Returns the cost of everything that is held.
    pub(super) fn cost(&self) -> Cost {
        self.in_order_partial_cost() + self.held_cost
    }

    pub(super) fn has_in_order_partial(&self) -> bool {
        self.in_order_partial.is_some()
    }

    /// Adds a fragment. Returns its message if that is whole now, with the TSN that it begins at.
    pub(super) fn add(
        &mut self,
        neighbours: Neighbours,
        chunk: &DataChunk,
        payload: Bytes,
    ) -> Result<Option<(UnwrappedTsn, Run)>, Violation> {
        if payload.len() > self.message_size_max {
            return Err(Violation::MessageTooLarge);
        }
        if neighbours.in_sequence
            && !neighbours.has_next
            && chunk.beginning
            && chunk.ending
            && self.in_order_partial.is_none()
        {
            return Ok(Some((neighbours.position, Run::new(chunk, payload))));
        }
        self.check_fit(neighbours, chunk)?;
        let next = if neighbours.has_next && !chunk.ending { self.take(neighbours.position.next()) } else { None };
        if neighbours.in_sequence {
            self.add_in_sequence(neighbours.position, chunk, payload, next)
        } else {
            self.add_ahead(neighbours.position, chunk, payload, next)
        }
    }

    /// Checks that the B and E bits of a chunk agree with those of the fragments next to it.
    pub(super) fn check_fit(&self, neighbours: Neighbours, chunk: &DataChunk) -> Result<(), Violation> {
        let previous = if neighbours.in_sequence {
            self.in_order_partial.as_ref().map(|(_, run)| run)
        } else if neighbours.has_previous {
            self.open_run_that_ends_at(neighbours.position.prev()).map(|(_, run)| run)
        } else {
            None
        };
        let fits_previous = match previous {
            Some(run) if run.ending => chunk.beginning,
            Some(run) => !chunk.beginning && run.is_of_message_of(chunk),
            None => chunk.beginning || !neighbours.has_previous,
        };
        let next = if neighbours.has_next { self.held.get(&(neighbours.position.next())) } else { None };
        let fits_next = match next {
            Some(run) if run.beginning => chunk.ending,
            Some(run) => !chunk.ending && run.is_of_message_of(chunk),
            None => chunk.ending || !neighbours.has_next,
        };
        if fits_previous && fits_next { Ok(()) } else { Err(Violation::BadFragment) }
    }

    /// Returns the run that begins at a TSN, unless it is in sequence.
    pub(super) fn at(&self, first: UnwrappedTsn) -> Option<&Run> {
        self.held.get(&first)
    }

    /// Keeps a whole message for later.
    pub(super) fn hold(&mut self, first: UnwrappedTsn, mut run: Run, waiting: WaitingFragments) {
        run.waiting = waiting;
        self.insert(first, run);
    }

    /// Removes the run that begins at a TSN, unless it is in sequence.
    pub(super) fn take(&mut self, first: UnwrappedTsn) -> Option<Run> {
        cost_counter::step();
        let run = self.held.remove(&first)?;
        self.held_cost -= run.cost();
        Some(run)
    }

    /// Finds the partial message in sequence after the Cumulative TSN Ack Point has moved over TSNs that had arrived
    /// above it.
    pub(super) fn promote(&mut self, cumulative: UnwrappedTsn) {
        if self.in_order_partial.is_none()
            && let Some(first) = self.open_run_that_ends_at(cumulative).map(|(first, _)| first)
        {
            self.in_order_partial = self.take(first).map(|run| (first, run));
        }
    }

    /// Discards the partial message in sequence.
    pub(super) fn discard_in_order_partial(&mut self) {
        self.in_order_partial = None;
    }

    /// Returns the partial message in sequence, and the TSN that it begins at.
    pub(super) fn in_order_partial(&self) -> Option<(UnwrappedTsn, &Run)> {
        self.in_order_partial.as_ref().map(|(first, run)| (*first, run))
    }

    /// Removes parts of messages that can no longer become whole because what was missing between two Cumulative TSN
    /// Ack Points has been skipped: those that lack a TSN at or below the new one (RFC 3758 §3.6). Each is passed to
    /// `removed` with the TSN that it begins at.
    pub(super) fn remove_skipped(
        &mut self,
        old: UnwrappedTsn,
        new: UnwrappedTsn,
        mut removed: impl FnMut(UnwrappedTsn, Run),
    ) {
        // The message in sequence lacks the TSN after the old one.
        if let Some((first, run)) = self.in_order_partial.take() {
            removed(first, run);
        }
        let lacks_one = |first: UnwrappedTsn, run: &Run| {
            cost_counter::step();
            !run.beginning || run.last_tsn(first) < new
        };
        let partials =
            self.held.range(old.next()..=new.next()).filter(|(first, run)| !run.is_whole() && lacks_one(**first, run));
        let firsts: Vec<_> = partials.map(|(&first, _)| first).collect();
        for first in firsts {
            if let Some(run) = self.take(first) {
                removed(first, run);
            }
        }
    }

    /// Returns the highest TSN held out of sequence.
    pub(super) fn highest(&self) -> Option<UnwrappedTsn> {
        self.held.last_key_value().map(|(&first, run)| run.last_tsn(first))
    }

    /// Discards the fragment with the highest TSN.
    pub(super) fn evict_highest(&mut self) -> Option<Evicted> {
        let mut entry = self.held.last_entry()?;
        let first = *entry.key();
        let run = entry.get_mut();
        let &mut Run { stream, ssn, waiting, .. } = run;
        let position = run.last_tsn(first);
        self.held_cost -= run.cost();
        if run.len() == 1 {
            entry.remove();
        } else {
            run.pop();
            self.held_cost += run.cost();
        }
        Some(Evicted { position, first, stream, ssn, waiting })
    }

    /// Runs out of sequence, by first TSN.
    pub(super) fn held(&self) -> impl Iterator<Item = (UnwrappedTsn, &Run)> {
        self.held.iter().map(|(&first, run)| (first, run))
    }

    /// Gives back the node of an empty tree.
    pub(super) fn trim(&mut self) {
        if self.held.is_empty() {
            self.held = BTreeMap::new();
        }
    }

    pub(super) fn held_len(&self) -> usize {
        self.held.len()
    }

    pub(super) fn check_consistency(&self, cumulative: UnwrappedTsn) {
        assert_eq!(self.held_cost, self.held.values().map(Run::cost).sum::<Cost>());
        if let Some((first, run)) = &self.in_order_partial {
            assert_eq!(run.last_tsn(*first), cumulative, "the message does not end in sequence");
            assert!(run.beginning && !run.ending && run.waiting == WaitingFragments::Fragments);
        }
        let mut end = UnwrappedTsn::BEFORE_ALL;
        for (&first, run) in &self.held {
            assert!(first > end, "runs overlap at {first:?}");
            end = run.last_tsn(first);
            assert_eq!(run.is_whole(), run.waiting != WaitingFragments::Fragments);
            assert!(
                run.is_whole() || first > cumulative,
                "a partial message at {first:?} is at or below {cumulative:?}"
            );
            assert!(run.bytes() <= self.message_size_max);
        }
    }

    fn add_in_sequence(
        &mut self,
        position: UnwrappedTsn,
        chunk: &DataChunk,
        payload: Bytes,
        next: Option<Run>,
    ) -> Result<Option<(UnwrappedTsn, Run)>, Violation> {
        if let Some((_, run)) = &mut self.in_order_partial {
            run.push(chunk.ending, payload, self.expected);
            if let Some(next) = next {
                run.append(next);
            }
        } else {
            let mut run = Run::new(chunk, payload);
            if let Some(next) = next {
                run.append(next);
            }
            self.in_order_partial = Some((position, run));
        }
        let Some((_, run)) = &self.in_order_partial else { return Ok(None) };
        if run.bytes() > self.message_size_max {
            return Err(Violation::MessageTooLarge);
        }
        if !run.ending {
            return Ok(None);
        }
        self.expected = run.len().min(EXPECTED_FRAGMENTS_MAX);
        Ok(self.in_order_partial.take())
    }

    fn add_ahead(
        &mut self,
        position: UnwrappedTsn,
        chunk: &DataChunk,
        payload: Bytes,
        next: Option<Run>,
    ) -> Result<Option<(UnwrappedTsn, Run)>, Violation> {
        let previous = if chunk.beginning { None } else { self.open_run_that_ends_at(position.prev()) };
        let first = previous.map_or(position, |(first, _)| first);
        if next.is_none()
            && !chunk.ending
            && let Some(run) = self.held.get_mut(&first)
            && run.bytes() + payload.len() <= self.message_size_max
        {
            // In place: this is the way of a long message behind a gap.
            self.held_cost -= run.cost();
            run.push(false, payload, 0);
            self.held_cost += run.cost();
            return Ok(None);
        }
        let mut run = match self.take(first) {
            Some(mut run) => {
                run.push(chunk.ending, payload, 0);
                run
            }
            None => Run::new(chunk, payload),
        };
        if let Some(next) = next {
            run.append(next);
        }
        if run.bytes() > self.message_size_max {
            return Err(Violation::MessageTooLarge);
        }
        if run.is_whole() {
            return Ok(Some((first, run)));
        }
        self.insert(first, run);
        Ok(None)
    }

    fn insert(&mut self, first: UnwrappedTsn, run: Run) {
        cost_counter::step();
        self.held_cost += run.cost();
        self.held.insert(first, run);
    }

    /// Returns the unfinished run that ends at a TSN.
    fn open_run_that_ends_at(&self, position: UnwrappedTsn) -> Option<(UnwrappedTsn, &Run)> {
        // The last of all is the usual answer, and found faster.
        let (&first, run) = match self.held.last_key_value()? {
            last if *last.0 <= position => last,
            _ => self.held.range(..=position).next_back()?,
        };
        (!run.ending && run.last_tsn(first) == position).then_some((first, run))
    }
}
