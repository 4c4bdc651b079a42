//! Detection of black holes: packets above the base size do not arrive, while smaller ones do (RFC 8899 §4.3).

use super::outstanding::Chunk;
use crate::serial::TransmissionNumber;

/// Large packets in a row that are lost before the path counts as a black hole for them, as many as probes.
const LOST_MAX: u32 = 3;

/// The large packets that were acknowledged and lost. A loss counts if no large packet that was sent later has arrived:
/// congestion drops some of many packets, a black hole drops them all.
#[derive(Debug, Default)]
pub(super) struct BlackHoleDetector {
    /// The latest transmission of a large packet that has arrived.
    newest_acked: Option<TransmissionNumber>,
    /// Large packets that were sent after it and lost.
    lost: u32,
}

impl BlackHoleDetector {
    pub(super) fn on_acked(&mut self, chunk: &Chunk) {
        if chunk.packet_place.crosses_floor && self.newest_acked.is_none_or(|newest| chunk.transmission > newest) {
            self.newest_acked = Some(chunk.transmission);
            self.lost = 0;
        }
    }

    pub(super) fn on_lost(&mut self, chunk: &Chunk) {
        if chunk.packet_place.crosses_floor && self.newest_acked.is_none_or(|newest| chunk.transmission > newest) {
            self.lost = self.lost.saturating_add(1);
        }
    }

    /// Returns `true` once if large packets do not arrive any more.
    pub(super) fn take(&mut self) -> bool {
        let is_black_hole = self.lost >= LOST_MAX;
        if is_black_hole {
            self.lost = 0;
        }
        is_black_hole
    }
}
