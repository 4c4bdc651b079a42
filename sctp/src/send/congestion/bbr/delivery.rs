//! Samples of the delivery rate: how fast the path delivered what was in flight when a packet was sent.
//!
//! Each packet with DATA leaves a record of what had been delivered when it was sent. When a SACK reports it, the bytes
//! delivered since, by the time that this took, are a sample. Sending and acknowledging are both timed, and the longer
//! time counts: SACKs that were held up arrive faster than the path delivers.

use std::collections::VecDeque;

use super::bandwidth::Bandwidth;
use crate::send::charge::{push_back, shrink};
use crate::serial::TransmissionNumber;
use crate::time::{Duration, Instant};

/// A packet with DATA that leaves.
#[derive(Clone, Copy, Debug)]
pub(in crate::send) struct Departure {
    /// The first transmission of a chunk in the packet.
    pub(in crate::send) first: TransmissionNumber,
    /// Flight size without the packet and with it.
    pub(in crate::send) flight_before: usize,
    pub(in crate::send) flight_size: usize,
}

/// Record of a packet that was sent.
#[derive(Clone, Copy, Debug)]
struct SentPacket {
    first: TransmissionNumber,
    sent_at: Instant,
    /// Times at which the sample of this packet begins: of sending, and of acknowledging.
    first_sent_at: Instant,
    delivered_at: Instant,
    /// Bytes delivered and lost before.
    delivered: u64,
    lost: u64,
    /// Flight size, the packet included.
    flight_size: usize,
    is_app_limited: bool,
}

/// Sample of the path by the latest packet that a SACK reports.
#[derive(Clone, Copy, Debug)]
pub(super) struct RateSample {
    /// `None` if the sample is too short to say.
    pub(super) bandwidth: Option<Bandwidth>,
    /// Bytes delivered before the packet was sent, and since.
    pub(super) prior_delivered: u64,
    pub(super) delivered: u64,
    /// Bytes lost since the packet was sent.
    pub(super) lost: u64,
    /// Flight size when the packet was sent.
    pub(super) flight_size: usize,
    /// True if the application, not the path, limited the rate.
    pub(super) is_app_limited: bool,
}

/// A lost packet, and the losses since it was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct LostPacket {
    pub(super) lost: u64,
    pub(super) flight_size: usize,
    pub(super) is_app_limited: bool,
}

#[derive(Debug, Default)]
pub(super) struct DeliverySampler {
    /// Packets in order of sending, from the first whose fate is open.
    packets: VecDeque<SentPacket>,
    delivered: u64,
    lost: u64,
    delivered_at: Option<Instant>,
    first_sent_at: Option<Instant>,
    /// Samples are application-limited until this number of bytes is delivered.
    app_limited_until: u64,
    /// Samples that begin before this number of bytes was delivered tell no rate.
    jumped_until: u64,
}

impl DeliverySampler {
    /// Returns the number of bytes delivered so far.
    pub(super) fn delivered(&self) -> u64 {
        self.delivered
    }

    pub(super) fn delivered_at(&self) -> Option<Instant> {
        self.delivered_at
    }

    /// Returns the number of bytes found lost so far.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    pub(super) fn is_app_limited(&self) -> bool {
        self.app_limited_until > 0
    }

    /// Marks the samples of all that is in flight as application-limited.
    pub(super) fn mark_app_limited(&mut self, flight_size: usize) {
        self.app_limited_until = (self.delivered + flight_size as u64).max(1);
    }

    /// Marks the samples of all that is in flight as unusable, because a SACK has acknowledged more at once than the
    /// path delivers meanwhile: it reports what has arrived long ago, and did not fit the SACKs before.
    pub(super) fn mark_jump(&mut self) {
        self.jumped_until = self.delivered;
    }

    pub(super) fn on_sent(&mut self, now: Instant, departure: Departure) {
        if departure.flight_before == 0 {
            (self.first_sent_at, self.delivered_at) = (Some(now), Some(now));
        }
        let packet = SentPacket {
            first: departure.first,
            sent_at: now,
            first_sent_at: self.first_sent_at.unwrap_or(now),
            delivered_at: self.delivered_at.unwrap_or(now),
            delivered: self.delivered,
            lost: self.lost,
            flight_size: departure.flight_size,
            is_app_limited: self.is_app_limited(),
        };
        push_back(&mut self.packets, packet);
    }

    /// Returns the packet that this transmission left in.
    fn packet(&self, number: TransmissionNumber) -> Option<&SentPacket> {
        let after = self.packets.partition_point(|packet| packet.first <= number);
        self.packets.get(after.checked_sub(1)?)
    }

    pub(super) fn on_lost(&mut self, number: TransmissionNumber, bytes: usize) -> Option<LostPacket> {
        self.lost += bytes as u64;
        let packet = self.packet(number)?;
        Some(LostPacket {
            lost: self.lost - packet.lost,
            flight_size: packet.flight_size,
            is_app_limited: packet.is_app_limited,
        })
    }

    /// Handles a SACK. `newest` is the latest transmission among the newly acknowledged chunks.
    pub(super) fn on_acked(
        &mut self,
        now: Instant,
        bytes: usize,
        newest: Option<TransmissionNumber>,
        min_rtt: Option<Duration>,
    ) -> Option<RateSample> {
        self.delivered += bytes as u64;
        self.delivered_at = Some(now);
        if self.delivered > self.app_limited_until {
            self.app_limited_until = 0;
        }
        let packet = *self.packet(newest?)?;
        self.first_sent_at = self.first_sent_at.max(Some(packet.sent_at));
        let delivered = self.delivered - packet.delivered;
        let sending = packet.sent_at.saturating_duration_since(packet.first_sent_at);
        let interval = sending.max(now.saturating_duration_since(packet.delivered_at));
        // A retransmission that was needless is reported sooner than a round trip: it looks fast.
        let is_reliable = interval > Duration::ZERO
            && packet.delivered >= self.jumped_until
            && min_rtt.is_none_or(|min_rtt| interval >= min_rtt);
        Some(RateSample {
            bandwidth: is_reliable.then(|| Bandwidth::of(delivered, interval)),
            prior_delivered: packet.delivered,
            delivered,
            lost: self.lost - packet.lost,
            flight_size: packet.flight_size,
            is_app_limited: packet.is_app_limited,
        })
    }

    /// Forgets the packets before this transmission, whose fate is known; all of them without one.
    pub(super) fn forget_before(&mut self, oldest: Option<TransmissionNumber>) {
        let Some(oldest) = oldest else {
            self.packets.clear();
            self.packets.shrink_to(8);
            return;
        };
        while self.packets.get(1).is_some_and(|next| next.first <= oldest) {
            self.packets.pop_front();
        }
        shrink(&mut self.packets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::some_time;

    const MS: Duration = Duration::from_millis(1);

    /// Sends packets of one chunk each, a millisecond apart, from an idle state. Returns their transmissions.
    fn send(sampler: &mut DeliverySampler, start: Instant, packets: u32) -> Vec<TransmissionNumber> {
        let mut next = TransmissionNumber::default();
        (0..packets)
            .map(|index| {
                let (first, flight_before) = (next.take(), 1000 * index as usize);
                sampler
                    .on_sent(start + index * MS, Departure { first, flight_before, flight_size: flight_before + 1000 });
                first
            })
            .collect()
    }

    #[test]
    fn the_rate_is_what_was_delivered_since_a_packet_left_by_the_longer_of_two_times() {
        let (mut sampler, start) = (DeliverySampler::default(), some_time());
        let sent = send(&mut sampler, start, 10);
        let sample = sampler.on_acked(start + 50 * MS, 1000, Some(sent[0]), None).unwrap();
        assert_eq!(sample.bandwidth, Some(Bandwidth::of(1000, 50 * MS)));
        // The others arrive in one SACK; the last was sent 9 ms after the first, and is reported 52 ms after it.
        let sample = sampler.on_acked(start + 52 * MS, 9000, Some(sent[9]), None).unwrap();
        assert_eq!((sample.delivered, sample.prior_delivered, sample.flight_size), (10_000, 0, 10_000));
        assert_eq!(sample.bandwidth, Some(Bandwidth::of(10_000, 52 * MS)));
    }

    #[test]
    fn a_sample_shorter_than_any_round_trip_tells_no_rate() {
        let (mut sampler, start) = (DeliverySampler::default(), some_time());
        let sent = send(&mut sampler, start, 1);
        let sample = sampler.on_acked(start + 20 * MS, 1000, Some(sent[0]), Some(21 * MS)).unwrap();
        assert_eq!(sample.bandwidth, None);
        assert_eq!(sampler.delivered(), 1000);
    }

    #[test]
    fn what_is_in_flight_when_the_application_runs_out_is_marked_and_nothing_after_it() {
        let (mut sampler, start) = (DeliverySampler::default(), some_time());
        let mut next = TransmissionNumber::default();
        let departure =
            |next: &mut TransmissionNumber| Departure { first: next.take(), flight_before: 0, flight_size: 1000 };
        sampler.on_sent(start, departure(&mut next));
        sampler.mark_app_limited(1000);
        let marked = departure(&mut next);
        sampler.on_sent(start + MS, marked);
        let first = TransmissionNumber::default();
        assert!(!sampler.on_acked(start + 50 * MS, 1000, Some(first), None).unwrap().is_app_limited);
        assert!(sampler.is_app_limited(), "as much is to be delivered as was in flight");
        assert!(sampler.on_acked(start + 51 * MS, 1000, Some(marked.first), None).unwrap().is_app_limited);
        assert!(!sampler.is_app_limited());
    }

    #[test]
    fn a_lost_packet_tells_what_was_in_flight_and_lost_since() {
        let (mut sampler, start) = (DeliverySampler::default(), some_time());
        let sent = send(&mut sampler, start, 10);
        assert_eq!(sampler.on_lost(sent[2], 1000).map(|lost| (lost.lost, lost.flight_size)), Some((1000, 3000)));
        assert_eq!(sampler.on_lost(sent[3], 1000).map(|lost| (lost.lost, lost.flight_size)), Some((2000, 4000)));
        assert_eq!(sampler.lost(), 2000);
    }

    #[test]
    fn a_record_is_kept_until_the_fate_of_its_packet_is_known() {
        let (mut sampler, start) = (DeliverySampler::default(), some_time());
        let sent = send(&mut sampler, start, 1000);
        sampler.forget_before(Some(sent[990]));
        assert_eq!(sampler.packets.len(), 10);
        assert!(sampler.packets.capacity() < 100);
        assert!(sampler.on_lost(sent[990], 1000).is_some());
        assert!(sampler.on_lost(sent[989], 1000).is_none());
        sampler.forget_before(None);
        assert!(sampler.packets.is_empty());
    }

    /// A SACK has room for some hundred gaps. What lies behind them is reported when they are filled, all at once.
    #[test]
    fn what_was_in_flight_at_a_jump_tells_no_rate() {
        let (mut sampler, start) = (DeliverySampler::default(), some_time());
        let sent = send(&mut sampler, start, 10);
        let sample = sampler.on_acked(start + 200 * MS, 8000, Some(sent[7]), None);
        assert!(sample.is_some_and(|sample| sample.bandwidth.is_some()));
        sampler.mark_jump();
        let sample = sampler.on_acked(start + 201 * MS, 1000, Some(sent[8]), None);
        assert!(sample.is_some_and(|sample| sample.bandwidth.is_none() && sample.delivered == 9000));
        let mut next = sent[9];
        next.take();
        let first = next;
        sampler.on_sent(start + 202 * MS, Departure { first, flight_before: 1000, flight_size: 2000 });
        let sample = sampler.on_acked(start + 260 * MS, 1000, Some(first), None);
        assert!(sample.is_some_and(|sample| sample.bandwidth.is_some()), "it was sent after the jump");
    }
}
