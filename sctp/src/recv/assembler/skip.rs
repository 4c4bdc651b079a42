//! FORWARD-TSN: messages that the sender has abandoned are no longer waited for (RFC 3758 §3.6).

use super::DataAssembler;
use crate::message::StreamId;
use crate::recv::inbox::Inbox;
use crate::serial::{Ssn, UnwrappedTsn};

/// Movement of the Cumulative TSN Ack Point by a FORWARD-TSN.
#[derive(Clone, Copy, Debug)]
pub(in crate::recv) struct SkippedTsns {
    /// The Cumulative TSN Ack Point before.
    pub(in crate::recv) old: UnwrappedTsn,
    /// The New Cumulative TSN of the chunk.
    pub(in crate::recv) new: UnwrappedTsn,
    /// The Cumulative TSN Ack Point now: beyond `new` if TSNs that follow it have arrived.
    pub(in crate::recv) cumulative: UnwrappedTsn,
}

impl DataAssembler {
    /// Discards partial messages that lack a skipped TSN, and moves streams on past the SSNs that were given with the
    /// chunk. The cost is that of what is held on the way, not of the distance.
    pub(in crate::recv) fn skip(
        &mut self,
        tsns: SkippedTsns,
        streams: impl Iterator<Item = (StreamId, Ssn)>,
        inbox: &mut Inbox,
    ) {
        let SkippedTsns { old, new, cumulative } = tsns;
        self.has_skipped = true;
        self.skipped_to = (cumulative == new).then_some(new);

        let mut skipped = Vec::new();
        let resets = &self.resets;
        self.reassembly.remove_skipped(old, new, |first, run| {
            let end = run.last_tsn(first);
            if end == cumulative && !run.ending {
                self.skipped_to = Some(end);
            }
            if !run.unordered && !resets.holds(run.stream, first) {
                skipped.push((run.stream, run.ssn));
            }
        });
        for (stream, ssn) in streams {
            // Each message has a TSN of its own, so no more messages can have been skipped than TSNs. Other entries are
            // old, of a stream that was reset since, or nonsense.
            let messages = u64::from(ssn.distance_from(self.ordered.next_ssn(stream))) + 1;
            if messages <= new.distance_from(old) {
                self.skip_through(stream, ssn, inbox);
            }
        }
        // A sender lists these too; if one does not, nothing else would ever move the stream on.
        for (stream, ssn) in skipped {
            self.skip_through(stream, ssn, inbox);
        }
        self.on_cumulative_advanced(cumulative, inbox);
    }

    /// Delivers the messages of the stream that have arrived up to this SSN; the others will never arrive.
    fn skip_through(&mut self, stream: StreamId, last: Ssn, inbox: &mut Inbox) {
        if last.is_before(self.ordered.next_ssn(stream)) {
            return;
        }
        while let Some((ssn, first)) = self.ordered.take_through(stream, last) {
            self.deliver(first, inbox);
            self.ordered.on_passed(stream, ssn);
        }
        self.ordered.on_passed(stream, last);
        self.deliver_next(stream, inbox);
    }
}
