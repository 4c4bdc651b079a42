//! An acknowledgement at once for a chunk that was sent without asking for it (RFC 7053, RFC 9260 §6.2).

use std::time::Instant;

use super::outstanding::ChunkState;
use super::{CwndExemption, Sender};
use crate::message::StreamId;
use crate::path::Rto;

impl Sender {
    /// The stream is to be reset once its last chunk is acknowledged. If nothing is sent any more, the peer may delay its SACK
    /// for up to 500 ms, because no second packet follows. The chunk is sent again then, with the I bit: a duplicate has to
    /// be acknowledged at once, and so has the chunk itself if it was lost.
    ///
    /// A chunk that has had all of its repetitions goes once more, too. It repairs nothing: its stream ends, so no later
    /// message waits for it. A message whose lifetime has ended is given up instead, since it may not arrive late; the peer
    /// acknowledges the FORWARD-TSN at once, even if it has the message (RFC 3758 §3.6).
    ///
    /// Nothing is concluded from the answer: the SACK may have been on its way, so the chunk does not count as lost. While
    /// losses are repaired, or a probe is out, SACKs come at once anyway.
    pub(crate) fn hurry_acknowledgement(&mut self, now: Instant, stream: StreamId, rto: &Rto) {
        let is_quiet = self.queues.is_empty() && self.recovery.is_none() && self.probe_delay(rto).is_some();
        let Some(tsn) = self.drains_at(stream).filter(|_| is_quiet) else { return };
        let Some(chunk) = self.outstanding.chunk(tsn).filter(|chunk| chunk.state == ChunkState::InFlight) else {
            return;
        };
        let message = chunk.message;
        if message.limit.is_expired(now) && self.can_abandon {
            self.abandon(now, tsn, stream, message.key);
            return;
        }
        self.outstanding.request_sack(tsn);
        self.outstanding.mark_lost(tsn);
        self.cwnd_exemption = CwndExemption::Repetition;
        self.loss.on_probe_sent(self.outstanding.last_assigned_tsn(), false);
    }
}
