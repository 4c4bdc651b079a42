//! A DATA chunk on its way from the packet to the inbox.

use bytes::Bytes;

use super::fragments::{Run, WaitingFragments};
use super::reassembly::Neighbours;
use super::tracker::{Position, tsn_at};
use super::window::{FRAGMENT_OVERHEAD, MESSAGE_OVERHEAD};
use super::{ArrivedChunk, Receiver};
use crate::cost_counter;
use crate::error::Violation;
use crate::message::StreamId;
use crate::serial::Ssn;
use crate::wire::DataChunk;

impl Receiver {
    /// A chunk with a TSN that is new and within reach.
    pub(super) fn on_new_data(
        &mut self,
        position: Position,
        chunk: &DataChunk,
        payload: Bytes,
        datagram_len: usize,
    ) -> Result<ArrivedChunk, Violation> {
        if !self.tracker.can_record(position) {
            return Ok(ArrivedChunk::Dropped);
        }
        if chunk.stream >= self.inbound_streams {
            // Without storing it, it still must not lie in the middle of a message of another stream.
            self.reassembly.check_fit(self.spot(position), &DataChunk { beginning: true, ending: true, ..*chunk })?;
            self.tracker.record(position);
            self.after_arrival();
            return Ok(ArrivedChunk::BadStream);
        }
        let in_sequence = position == self.tracker.cumulative() + 1;
        if !(in_sequence && self.reassembly.has_head())
            && let Some(received) = self.on_straggler(position, in_sequence, chunk)?
        {
            return Ok(received);
        }
        // RFC 9260 §6.2: no probe of a closed window is taken, but what others wait for is.
        if self.window.is_probe(self.held(), payload.len()) && position > self.tracker.highest() {
            return Ok(ArrivedChunk::Dropped);
        }
        let cost = payload.len() + FRAGMENT_OVERHEAD + MESSAGE_OVERHEAD;
        if !self.make_room(position, cost) {
            return Ok(ArrivedChunk::Dropped);
        }
        self.window.on_arrival(cost);
        let should_copy = self.window.should_copy(self.held(), payload.len(), datagram_len);
        let payload = if should_copy { Bytes::copy_from_slice(&payload) } else { payload };
        // Room may have been made next to it.
        let spot = self.spot(position);
        self.tracker.record(position);
        if let Some((first, run)) = self.reassembly.add(spot, chunk, payload)? {
            self.on_whole(first, run);
        }
        if in_sequence {
            self.after_arrival();
            if self.window.is_above_head_max(self.held()) {
                return Err(Violation::MessageTooLarge);
            }
        }
        Ok(ArrivedChunk::New)
    }

    /// After something arrived in sequence, or was skipped: the message that is now in sequence, and the reset that
    /// waited.
    pub(super) fn after_arrival(&mut self) {
        let cumulative = self.tracker.cumulative();
        self.reassembly.promote(cumulative);
        if let Some(deferred) = self.deferred.take_if(|deferred| deferred.last() <= cumulative) {
            self.last_performed_reset = Some((deferred.streams().clone(), tsn_at(deferred.last())));
            self.perform(deferred);
            self.reset_just_performed = true;
        }
        // A FORWARD-TSN that passed this message's SSN has said that its end will never come.
        if self.has_skipped
            && let Some((_, run)) = self.reassembly.head()
            && self.is_stale(run.stream, run.ssn, run.unordered)
        {
            self.reassembly.drop_head();
            self.skipped_to = Some(cumulative);
        }
    }

    /// A message is whole: delivers it, and those that waited for it, or keeps it until its turn.
    pub(super) fn on_whole(&mut self, first: Position, run: Run) {
        let (stream, ssn) = (run.stream, run.ssn);
        if let Some(deferred) = self.deferred.as_mut().filter(|deferred| deferred.holds(stream, first)) {
            deferred.on_held(first);
            self.reassembly.hold(first, run, WaitingFragments::Reset);
        } else if run.unordered {
            self.inbox.push_message(run.into_message());
        } else if ssn == self.ordered.next_ssn(stream) {
            self.inbox.push_message(run.into_message());
            self.ordered.on_passed(stream, ssn);
            self.deliver_waiting(stream);
        } else if self.ordered.park(stream, ssn, first) {
            self.reassembly.hold(first, run, WaitingFragments::Order);
        } else {
            self.violation = Some(Violation::BadFragment);
        }
    }

    /// Delivers what waited for the message before it.
    pub(super) fn deliver_waiting(&mut self, stream: StreamId) {
        while let Some(first) = self.ordered.take_next(stream) {
            self.deliver(first);
            let ssn = self.ordered.next_ssn(stream);
            self.ordered.on_passed(stream, ssn);
        }
    }

    /// Delivers a whole message that was held.
    pub(super) fn deliver(&mut self, first: Position) {
        if let Some(run) = self.reassembly.take(first) {
            self.inbox.push_message(run.into_message());
        }
    }

    /// What has arrived around a new TSN.
    fn spot(&self, position: Position) -> Neighbours {
        let in_sequence = position == self.tracker.cumulative() + 1;
        Neighbours {
            position,
            in_sequence,
            has_previous: in_sequence || self.tracker.contains(position - 1),
            has_next: self.tracker.has_gaps() && self.tracker.contains(position + 1),
        }
    }

    /// A chunk of a message that can no longer become whole, or whose SSN says that the message was delivered before.
    fn on_straggler(
        &mut self,
        position: Position,
        in_sequence: bool,
        chunk: &DataChunk,
    ) -> Result<Option<ArrivedChunk>, Violation> {
        if !chunk.beginning && self.skipped_to == Some(position - 1) {
            self.discard(position, chunk)?;
            return Ok(Some(ArrivedChunk::New));
        }
        let is_stale = self.is_stale(chunk.stream, chunk.ssn, chunk.unordered);
        if !is_stale || self.deferred.as_ref().is_some_and(|deferred| deferred.holds(chunk.stream, position)) {
            return Ok(None);
        }
        if !in_sequence {
            // It may also be more than half the circle ahead. When all before it has come, this is clear.
            return Ok(Some(ArrivedChunk::Dropped));
        }
        if !self.has_skipped {
            return Err(Violation::BadFragment);
        }
        self.discard(position, chunk)?;
        Ok(Some(ArrivedChunk::New))
    }

    /// Whether the messages of the stream have gone on past an SSN.
    fn is_stale(&self, stream: StreamId, ssn: Ssn, unordered: bool) -> bool {
        !unordered && ssn.is_before(self.ordered.next_ssn(stream))
    }

    /// Acknowledges a chunk in sequence without keeping it, and throws away what continues it.
    fn discard(&mut self, position: Position, chunk: &DataChunk) -> Result<(), Violation> {
        self.tracker.record(position);
        self.skipped_to = (!chunk.ending).then_some(position);
        let next = position + 1;
        if self.reassembly.at(next).is_some_and(|run| !run.beginning) {
            if chunk.ending {
                return Err(Violation::BadFragment);
            }
            if let Some(run) = self.reassembly.take(next) {
                self.skipped_to = (!run.ending).then_some(position + run.len() as Position);
            }
        }
        self.after_arrival();
        Ok(())
    }

    /// Makes sure that something can be held, giving up what has higher TSNs if necessary (RFC 9260 §6.2): what comes
    /// before it is what they wait for.
    fn make_room(&mut self, position: Position, cost: usize) -> bool {
        // What the application has not read stays, so that nothing is given up in vain.
        if !self.window.could_fit(self.held(), cost) {
            return false;
        }
        while !self.window.fits(self.held(), cost) {
            cost_counter::step();
            if self.reassembly.highest().is_none_or(|highest| highest <= position || !self.tracker.can_forget(highest))
            {
                return false;
            }
            let Some(evicted) = self.reassembly.evict_highest() else { return false };
            match (evicted.waiting, &mut self.deferred) {
                (WaitingFragments::Order, _) => self.ordered.unpark(evicted.stream, evicted.ssn),
                (WaitingFragments::Reset, Some(deferred)) => deferred.on_evicted(evicted.first),
                _ => {}
            }
            self.tracker.forget(evicted.position);
            self.reneged += 1;
            self.policy.make_urgent();
        }
        true
    }
}
