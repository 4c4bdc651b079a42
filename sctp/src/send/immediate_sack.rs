//! An acknowledgement at once for a chunk that was sent without asking for it (RFC 7053, RFC 9260 §6.2).

use std::time::Instant;

use super::{Allowance, Sender};
use crate::message::StreamId;
use crate::path::Rto;

impl Sender {
    /// The stream is to be reset once its last chunk is acknowledged. If that is the last chunk of all, the peer may delay
    /// its SACK for up to 500 ms, because no second packet follows. The chunk is sent again then, with the I bit: a
    /// duplicate has to be acknowledged at once, and so has the chunk itself if it was lost.
    ///
    /// Nothing is concluded from the answer: the SACK may have been on its way, so the chunk does not count as lost. While
    /// losses are repaired, or a probe is out, SACKs come at once anyway.
    pub(crate) fn hurry_acknowledgement(&mut self, now: Instant, stream: StreamId, rto: &Rto) {
        let last = self.outstanding.next() - 1;
        let is_quiet = self.queues.is_empty() && self.probe_delay(rto).is_some();
        if !is_quiet || self.drains_at(stream) != Some(last) {
            return;
        }
        let is_repeatable = self.outstanding.chunk(last).is_some_and(|chunk| !self.is_over(now, chunk));
        if is_repeatable && self.outstanding.in_flight().next_back() == Some(last) {
            self.outstanding.request_sack(last);
            self.outstanding.mark_lost(last);
            self.allowance = Allowance::Repetition;
            self.loss.on_probe_sent(last, false);
        }
    }
}
