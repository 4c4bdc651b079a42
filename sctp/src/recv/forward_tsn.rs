//! FORWARD-TSN: what the sender has given up is no longer waited for (RFC 3758 §3.6).

use super::Receiver;
use super::tracker::Position;
use crate::cost_counter;
use crate::message::StreamId;
use crate::serial::Ssn;

impl Receiver {
    /// Moves the Cumulative TSN Ack Point up to `position` at least. The cost is that of what is stored on the way, not
    /// of the distance.
    pub(super) fn skip_to(&mut self, position: Position, streams: impl Iterator<Item = (StreamId, Ssn)>) {
        let old = self.tracker.cumulative();
        self.has_skipped = true;
        self.tracker.advance_to(position);
        let cumulative = self.tracker.cumulative();
        self.skipped_to = (cumulative == position).then_some(position);

        let mut skipped = Vec::new();
        let deferred = self.deferred.as_ref();
        self.reassembly.remove_skipped(old, position, |first, run| {
            let end = first + run.len() as Position - 1;
            if end == cumulative && !run.ending {
                self.skipped_to = Some(end);
            }
            if !run.unordered && deferred.is_none_or(|deferred| !deferred.holds(run.stream, first)) {
                skipped.push((run.stream, run.ssn));
            }
        });
        for (stream, ssn) in streams {
            cost_counter::step();
            // Each message has a TSN of its own, so no more of them can have been skipped than TSNs. Whatever else is
            // listed is old, of a stream that was reset since, or nonsense.
            let messages = Position::from(ssn.distance_from(self.ordered.next_ssn(stream))) + 1;
            if stream < self.inbound_streams && messages <= position - old {
                self.skip_through(stream, ssn);
            }
        }
        // A sender lists these too; if one does not, nothing else would ever move the stream on.
        for (stream, ssn) in skipped {
            self.skip_through(stream, ssn);
        }
        self.after_arrival();
    }

    /// The stream's messages up to this SSN have come or will never come: delivers those that have.
    pub(super) fn skip_through(&mut self, stream: StreamId, last: Ssn) {
        if last.is_before(self.ordered.next_ssn(stream)) {
            return;
        }
        while let Some((ssn, first)) = self.ordered.take_through(stream, last) {
            self.deliver(first);
            self.ordered.on_passed(stream, ssn);
        }
        self.ordered.on_passed(stream, last);
        self.deliver_waiting(stream);
    }
}
