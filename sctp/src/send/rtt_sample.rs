//! The round-trip time that a SACK yields (RFC 9260 §6.3.1 C5).

use super::outstanding::{Chunk, ChunkState};
use crate::serial::TransmissionNumber;
use crate::time::Duration;

/// Round-trip times of the chunks that one SACK acknowledges for the first time.
///
/// A chunk that was sent once only gives a sample, unless the same SACK acknowledges a retransmission that left after
/// it. Such a SACK may have left because of the retransmission: earlier SACKs were lost, or the peer reports no gaps.
/// The time since the chunk was sent is then that of an outage, or of a repair, and not that of a round trip. The same
/// holds for a chunk that counts as lost.
#[derive(Debug, Default)]
pub(super) struct RttSample {
    /// The latest transmission that is known to have arrived, if its chunk gives a sample.
    sample: Option<(TransmissionNumber, Duration)>,
    /// The latest retransmission.
    retransmission: Option<TransmissionNumber>,
    /// Time since the latest retransmission that may have been answered.
    ambiguous: Option<Duration>,
}

impl RttSample {
    /// Handles the acknowledgement of a chunk whose last transmission was `rtt` ago. `is_latest`: no later transmission
    /// is known to have arrived.
    pub(super) fn on_acked(&mut self, chunk: &Chunk, rtt: Duration, is_latest: bool) {
        if chunk.transmissions > 1 {
            self.retransmission = self.retransmission.max(Some(chunk.transmission));
            if is_latest {
                self.ambiguous = Some(rtt);
            }
        } else if is_latest && chunk.state != ChunkState::Lost {
            self.sample = Some((chunk.transmission, rtt));
        }
    }

    /// Returns the sample.
    pub(super) fn rtt(&self) -> Option<Duration> {
        let (number, rtt) = self.sample?;
        (Some(number) > self.retransmission).then_some(rtt)
    }

    /// Returns the time since a retransmission that this SACK seems to answer, if there is no sample.
    pub(super) fn ambiguous_rtt(&self) -> Option<Duration> {
        self.ambiguous.filter(|_| self.rtt().is_none())
    }
}
