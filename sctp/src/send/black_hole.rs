//! Detection of black holes: packets above the base size do not arrive, while smaller ones do (RFC 8899 §4.3).

use super::outstanding::Chunk;
use crate::serial::TransmissionNumber;

/// Large packets in a row that are lost before the path counts as a black hole for them, as many as probes.
const LOST_MAX: u32 = 3;

/// Flights in a row from which large packets are lost. A queue that overflows drops the last packets of one flight,
/// which may be all that are large behind the last one that has arrived; the next flight is smaller.
const FLIGHTS_MIN: u32 = 2;

/// The large packets that were acknowledged and lost. A loss counts if no large packet that was sent later has arrived:
/// congestion drops some of many packets, a black hole drops them all.
#[derive(Debug, Default)]
pub(super) struct BlackHoleDetector {
    /// The latest transmission of a large packet that has arrived.
    newest_acked: Option<TransmissionNumber>,
    /// Large packets that were sent after it and lost.
    lost: u32,
    /// Flights that these belong to: packets that were sent after the loss of others was found are another flight.
    flights: u32,
    /// The first transmission of the next flight.
    next_flight: TransmissionNumber,
}

impl BlackHoleDetector {
    pub(super) fn on_acked(&mut self, chunk: &Chunk) {
        if chunk.packet_place.crosses_floor && self.newest_acked.is_none_or(|newest| chunk.transmission > newest) {
            self.newest_acked = Some(chunk.transmission);
            self.forget_losses();
        }
    }

    pub(super) fn forget_losses(&mut self) {
        (self.lost, self.flights) = (0, 0);
    }

    /// Handles the loss of a chunk. `next`: number of the next transmission.
    pub(super) fn on_lost(&mut self, chunk: &Chunk, next: TransmissionNumber) {
        if chunk.packet_place.crosses_floor && self.newest_acked.is_none_or(|newest| chunk.transmission > newest) {
            self.lost = self.lost.saturating_add(1);
            if self.flights == 0 || chunk.transmission >= self.next_flight {
                self.flights = self.flights.saturating_add(1);
                self.next_flight = next;
            }
        }
    }

    /// Returns `true` once if large packets do not arrive any more.
    pub(super) fn take(&mut self) -> bool {
        let is_black_hole = self.lost >= LOST_MAX && self.flights >= FLIGHTS_MIN;
        if is_black_hole {
            self.forget_losses();
        }
        is_black_hole
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::data_format::DataFormat;
    use super::super::packet_place::PlaceInPacket;
    use super::super::queued::{Fragment, FragmentPlace, Limit, MessageHeader};
    use super::*;
    use crate::message::{Ppid, StreamId};
    use crate::serial::{Fsn, MessageKey, Mid, Tsn, UnwrappedTsn};
    use crate::testing::some_time;

    /// Returns the chunk that the next large packet consists of.
    fn send(next: &mut TransmissionNumber) -> Chunk {
        let message = MessageHeader {
            key: MessageKey::default(),
            stream: StreamId(0),
            mid: Mid::default(),
            ppid: Ppid(0),
            unordered: false,
            immediate: false,
            limit: Limit::Never,
            len: 1,
        };
        let place = FragmentPlace { fsn: Fsn::default(), beginning: true, ending: true };
        let previous_tsn = UnwrappedTsn::BEFORE_ALL;
        let fragment = Fragment { message, payload: Bytes::from_static(b"m"), place, previous_tsn };
        let mut chunk = Chunk::new(some_time(), UnwrappedTsn::first(Tsn(1)), fragment, DataFormat::Data, next.take());
        chunk.packet_place = PlaceInPacket { crosses_floor: true, begins_packet: true };
        chunk
    }

    /// A queue that overflows drops the end of a flight, perhaps all large packets behind the last that has arrived.
    #[test]
    fn large_packets_of_two_flights_are_lost_before_that_is_a_black_hole() {
        let (mut detector, mut next) = (BlackHoleDetector::default(), TransmissionNumber::default());
        let flight: Vec<Chunk> = (0..9).map(|_| send(&mut next)).collect();
        flight[..4].iter().for_each(|chunk| detector.on_acked(chunk));
        flight[4..].iter().for_each(|chunk| detector.on_lost(chunk, next));
        assert!(!detector.take(), "one flight");
        let again = send(&mut next);
        detector.on_lost(&again, next);
        assert!(detector.take());
        assert!(!detector.take(), "told once");
    }

    #[test]
    fn a_large_packet_that_arrives_refutes_the_losses_before_it() {
        let (mut detector, mut next) = (BlackHoleDetector::default(), TransmissionNumber::default());
        let lost = send(&mut next);
        detector.on_lost(&lost, next);
        let (arrived, lost) = (send(&mut next), [send(&mut next), send(&mut next)]);
        detector.on_acked(&arrived);
        for (index, chunk) in lost.iter().enumerate() {
            detector.on_lost(chunk, if index == 0 { chunk.transmission } else { next });
            assert!(!detector.take(), "{} after it", index + 1);
        }
        let third = send(&mut next);
        detector.on_lost(&third, next);
        assert!(detector.take());
    }
}
