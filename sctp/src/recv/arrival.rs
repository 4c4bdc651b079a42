//! A DATA chunk on its way from the packet to the inbox.

use bytes::Bytes;

use super::reassembly::Spot;
use super::run::{Run, Waiting};
use super::tracker::Position;
use super::window::{FRAGMENT_OVERHEAD, MESSAGE_OVERHEAD};
use super::{DataChunk, Received, Receiver};
use crate::error::Violation;
use crate::message::StreamId;

impl Receiver {
    /// A chunk with a TSN that is new and within reach.
    pub(super) fn on_new_data(
        &mut self,
        position: Position,
        chunk: &DataChunk,
        payload: Bytes,
        datagram_len: usize,
    ) -> Result<Received, Violation> {
        if !self.tracker.can_record(position) {
            return Ok(Received::Dropped);
        }
        let in_sequence = position == self.tracker.cumulative() + 1;
        let has_gaps = self.tracker.has_gaps();
        let spot = Spot {
            position,
            in_sequence,
            has_previous: in_sequence || self.tracker.contains(position - 1),
            has_next: has_gaps && self.tracker.contains(position + 1),
        };
        if chunk.stream >= self.inbound_streams {
            // Without storing it, it still must not lie in the middle of a message of another stream.
            self.reassembly.check_fit(spot, &DataChunk { beginning: true, ending: true, ..*chunk })?;
            self.tracker.record(position);
            self.after_arrival();
            return Ok(Received::BadStream);
        }
        if !(in_sequence && self.reassembly.has_head())
            && let Some(received) = self.on_straggler(spot, chunk)?
        {
            return Ok(received);
        }
        let cost = payload.len() + FRAGMENT_OVERHEAD + MESSAGE_OVERHEAD;
        if !self.make_room(position, cost) {
            return Ok(Received::Dropped);
        }
        let should_copy = self.window.should_copy(self.held(), payload.len(), datagram_len);
        let payload = if should_copy { Bytes::copy_from_slice(&payload) } else { payload };
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
        self.violation.map_or(Ok(Received::New), Err)
    }

    /// After something arrived in sequence, or was skipped: the message that is now in sequence, and the reset that waited.
    pub(super) fn after_arrival(&mut self) {
        self.reassembly.promote(self.tracker.cumulative());
        if self.perform_if_due() {
            self.finished_reset = true;
        }
    }

    /// A message is whole: delivers it, and those that waited for it, or keeps it until its turn.
    pub(super) fn on_whole(&mut self, first: Position, run: Run) {
        let (stream, ssn) = (run.stream, run.ssn);
        if self.deferred.as_ref().is_some_and(|deferred| deferred.holds(stream, first)) {
            self.reassembly.hold(first, run, Waiting::Reset);
        } else if run.unordered {
            self.inbox.push_message(run.into_message());
        } else if ssn == self.ordered.next_ssn(stream) {
            self.inbox.push_message(run.into_message());
            self.ordered.on_passed(stream, ssn);
            self.deliver_waiting(stream);
        } else if self.ordered.park(stream, ssn, first) {
            self.reassembly.hold(first, run, Waiting::Order);
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

    /// A chunk of a message that can no longer become whole, or whose SSN says that the message was delivered before.
    fn on_straggler(&mut self, spot: Spot, chunk: &DataChunk) -> Result<Option<Received>, Violation> {
        if !chunk.beginning && self.skipped_to == Some(spot.position - 1) {
            self.discard(spot, chunk)?;
            return Ok(Some(Received::New));
        }
        let is_stale = !chunk.unordered && chunk.ssn.is_before(self.ordered.next_ssn(chunk.stream));
        if !is_stale || self.deferred.as_ref().is_some_and(|deferred| deferred.holds(chunk.stream, spot.position)) {
            return Ok(None);
        }
        if !spot.in_sequence {
            // It may also be more than half the circle ahead. When all before it has come, this is clear.
            return Ok(Some(Received::Dropped));
        }
        if !self.has_skipped {
            return Err(Violation::BadFragment);
        }
        self.discard(spot, chunk)?;
        Ok(Some(Received::New))
    }

    /// Acknowledges a chunk in sequence without keeping it, and throws away what continues it.
    fn discard(&mut self, spot: Spot, chunk: &DataChunk) -> Result<(), Violation> {
        self.tracker.record(spot.position);
        self.skipped_to = (!chunk.ending).then_some(spot.position);
        let next = spot.position + 1;
        if self.reassembly.at(next).is_some_and(|run| !run.beginning) {
            if chunk.ending {
                return Err(Violation::BadFragment);
            }
            if let Some(run) = self.reassembly.take(next) {
                self.skipped_to = (!run.ending).then_some(spot.position + run.len() as Position);
            }
        }
        if !chunk.unordered {
            self.skip_through(chunk.stream, chunk.ssn);
        }
        self.after_arrival();
        Ok(())
    }

    /// Makes sure that something can be held, giving up what has higher TSNs if necessary (RFC 9260 §6.2): what comes before it
    /// is what they wait for.
    fn make_room(&mut self, position: Position, cost: usize) -> bool {
        while !self.window.fits(self.held(), cost) {
            if self.reassembly.highest().is_none_or(|highest| highest <= position || !self.tracker.can_forget(highest))
            {
                return false;
            }
            let Some(evicted) = self.reassembly.evict_highest() else { return false };
            if let Some((stream, ssn)) = evicted.parked {
                self.ordered.unpark(stream, ssn);
            }
            self.tracker.forget(evicted.position);
            self.policy.on_urgent_chunk();
        }
        true
    }
}
