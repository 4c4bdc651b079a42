//! Counters and gauges of an association, from their owners.

use super::Association;
use crate::message::StreamId;
use crate::stats::{AbandonStats, AssociationStats, ExtensionsInUse};

impl Association {
    /// Returns the messages of this stream that were abandoned since it was reset (RFC 7496 §4.3).
    #[must_use]
    pub fn abandoned_on(&self, stream: StreamId) -> AbandonStats {
        self.sender.abandoned_on(stream)
    }

    pub(super) fn collect_stats(&self) -> AssociationStats {
        let counters = self.sender.counters();
        AssociationStats {
            extensions: self.extensions_in_use(),
            messages_sent: counters.messages,
            abandoned: self.sender.abandoned().clone(),
            data_chunks_sent: counters.chunks,
            data_chunks_retransmitted: counters.retransmitted,
            congestion_events: counters.congestion_events,
            congestion_events_undone: counters.congestion_events_undone,
            spurious_retransmissions: counters.spurious,
            srtt: self.path.rto.srtt(),
            rto: self.path.rto.current(),
            mtu: self.path.mtu(),
            mtu_probes_lost: self.path.mtu_probes_lost(),
            mtu_black_holes: self.path.black_holes(),
            cwnd: self.sender.cwnd(),
            congestion: self.sender.congestion_stats(&self.path),
            flight_size: self.sender.flight_size(),
            peer_rwnd: self.sender.peer_rwnd(),
            buffered_amount: self.sender.buffered(),
            ..self.stats.clone()
        }
    }

    fn extensions_in_use(&self) -> ExtensionsInUse {
        ExtensionsInUse {
            message_interleaving: self.peer_supports_message_interleaving(),
            partial_reliability: self.peer_supports_partial_reliability(),
            stream_reset: self.peer_supports_stream_reset(),
            zero_checksum_sent: self.omits_checksum(),
            zero_checksum_accepted: self.accepts_zero_checksum(),
        }
    }
}
