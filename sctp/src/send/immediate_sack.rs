//! Asking for an immediate SACK of a chunk that was sent without the I bit (RFC 7053, RFC 9260 §6.2).

use super::Sender;
use super::outstanding::ChunkState;
use super::rate::CwndExemption;
use crate::message::StreamId;
use crate::path::Path;
use crate::time::Instant;

impl Sender {
    /// Requests an immediate SACK for a stream that is to be reset once its last chunk is acknowledged. If nothing more
    /// is sent, the peer may delay its SACK for up to 500 ms, because no second packet follows. The chunk is sent again
    /// then, with the I bit: a duplicate has to be acknowledged at once, and so has the chunk itself if it was lost.
    ///
    /// A chunk that has had all of its retransmissions goes once more, too. It repairs nothing: its stream ends, so no
    /// later message waits for it. A message whose lifetime has ended is abandoned instead, since it may not arrive
    /// late; the peer acknowledges the FORWARD-TSN at once, even if it has the message (RFC 3758 §3.6).
    ///
    /// Nothing is concluded from the answer: the SACK may have been in flight, so the chunk does not count as lost.
    /// While losses are repaired, or a probe is out, SACKs come at once anyway.
    pub(crate) fn request_immediate_sack(&mut self, now: Instant, stream: StreamId, path: &Path) {
        let is_quiet = self.queue.streams.is_empty() && !self.loss.is_in_recovery() && self.has_open_tail();
        let is_quiet = is_quiet && path.rto.srtt().is_some();
        let Some(tsn) = self.drains_at(stream).filter(|_| is_quiet) else { return };
        let Some(chunk) = self.outstanding.chunk(tsn).filter(|chunk| chunk.state == ChunkState::InFlight) else {
            return;
        };
        let message = chunk.message;
        if message.limit.is_expired(now) && self.forward_point.can_abandon() {
            self.abandon(now, tsn, message.into(), message.limit.into());
            return;
        }
        self.outstanding.request_sack(tsn);
        self.outstanding.mark_lost(tsn);
        self.rate.set_cwnd_exemption(CwndExemption::Retransmission);
        self.loss.tlp.on_repetition_sent(now, self.outstanding.last_assigned_tsn());
    }
}
