//! Probes while nothing is heard: the tail loss probe (RFC 8985 §7), and that of a repair that has stalled.

use super::sack_delay::PeerSackDelay;
use crate::path::Rto;
use crate::serial::{TransmissionNumber, UnwrappedTsn};
use crate::time::{Duration, Instant};

/// Least time by which a SACK may be later than the smoothed round-trip time says: below this a timer is mostly noise.
const MARGIN_MIN: Duration = Duration::from_millis(10);

/// A tail loss probe in flight (RFC 8985 §7.4).
#[derive(Clone, Copy, Debug)]
struct Probe {
    /// RFC 8985's `TLP.end_seq`: acknowledging this TSN ends the episode.
    end: UnwrappedTsn,
    /// RFC 8985's `TLP.is_retrans`.
    is_retransmission: bool,
    sent_at: Instant,
    /// The packet whose SACK was missing, if a single packet was in flight.
    single: Option<SinglePacket>,
}

/// A packet that was the only one in flight: the peer may delay its SACK.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SinglePacket {
    /// True if the packet asks for a SACK at once (RFC 7053).
    pub(super) asks_for_sack: bool,
}

/// Evidence at the end of a probe's episode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ProbeOutcome {
    /// Nothing that congestion control has to know.
    Nothing,
    /// The probe, which repeated this chunk, has repaired a loss (RFC 8985 §7.4.2).
    Repaired(UnwrappedTsn),
}

/// The last packet with DATA that has left.
#[derive(Clone, Copy, Debug)]
struct LastPacket {
    /// The first transmission in it.
    first: TransmissionNumber,
    /// True if the packet asks for a SACK at once.
    asks_for_sack: bool,
}

/// Probes that are out.
#[derive(Debug)]
pub(super) struct TailLossProbe {
    probe: Option<Probe>,
    last_packet: Option<LastPacket>,
    /// True if the round-trip time was measured since the last probe (RFC 8985 §7.3): retransmissions give no samples,
    /// so probes alone would never learn that the path has become slower.
    has_rtt_sample: bool,
    /// Probes of a repair that has stalled, since something was acknowledged.
    repair_probes: u32,
    sack_delay: PeerSackDelay,
}

impl TailLossProbe {
    pub(super) fn new() -> Self {
        Self {
            probe: None,
            last_packet: None,
            has_rtt_sample: true,
            repair_probes: 0,
            sack_delay: PeerSackDelay::new(),
        }
    }

    /// Handles the departure of a packet, whose first transmission is given. `asks`: it asks for a SACK at once.
    pub(super) fn on_packet_sent(&mut self, first: TransmissionNumber, asks_for_sack: bool) {
        self.last_packet = Some(LastPacket { first, asks_for_sack });
    }

    /// Returns the last packet if no other is in flight. `oldest` is the first transmission whose fate is not known.
    pub(super) fn single_packet(&self, oldest: TransmissionNumber) -> Option<SinglePacket> {
        let last = self.last_packet.filter(|last| oldest >= last.first)?;
        Some(SinglePacket { asks_for_sack: last.asks_for_sack })
    }

    /// Handles the first acknowledgement of a chunk. Returns `true` if a repair was being probed.
    pub(super) fn on_acked(&mut self) -> bool {
        std::mem::take(&mut self.repair_probes) > 0
    }

    /// Handles a sample of the round-trip time. `single`: the SACK acknowledges the only packet in flight.
    pub(super) fn on_rtt_sample(&mut self, rtt: Duration, single: Option<SinglePacket>, rto: &Rto) {
        self.has_rtt_sample = true;
        if let (Some(SinglePacket { asks_for_sack }), Some(srtt)) = (single, rto.srtt()) {
            self.sack_delay.on_sample(asks_for_sack, rtt.saturating_sub(srtt));
        }
    }

    /// Ends the probe's episode when recovery starts. A probe that is still out tells nothing more: its acknowledgement
    /// must not reduce the congestion window again for the same losses (RFC 8985 §7.4.1 ends the probe's episode).
    pub(super) fn on_recovery_started(&mut self) {
        self.probe = None;
    }

    pub(super) fn on_t3_timeout(&mut self) {
        self.probe = None;
        self.repair_probes = 0;
    }

    /// Returns `true` if a tail loss probe is out.
    pub(super) fn is_out(&self) -> bool {
        self.probe.is_some()
    }

    /// Returns the time of a tail loss probe, if nothing is heard until then. `None` if none may be sent.
    ///
    /// RFC 8985 §7.2 waits for two smoothed round trips after each SACK. A SACK of earlier packets makes that of the
    /// last one no later, so the time here counts from the last transmission: one smoothed round trip, and as much more
    /// as samples differ, up to another round trip (as the probe time-out of RFC 9002 §6.2.1). As long as SACKs come
    /// in, the queue in front of the last packet gets shorter, and the probe waits.
    pub(super) fn deadline(
        &self,
        now: Instant,
        last_sent: Instant,
        rto: &Rto,
        single: Option<SinglePacket>,
    ) -> Option<Instant> {
        let srtt = rto.srtt().filter(|_| self.has_rtt_sample && self.probe.is_none())?;
        let (least, variation) = ((srtt / 4).max(MARGIN_MIN), (4 * rto.rttvar()).min(srtt));
        // The delay of SACKs is a part of the variation.
        let wait = srtt + variation.max(self.allowance(single) + least);
        Some((last_sent + wait).max(now + variation.max(least)))
    }

    /// Returns the time from now to a probe for a lost retransmission. It doubles with each probe.
    pub(super) fn repair_probe_timeout(&self, rto: &Rto, single: Option<SinglePacket>) -> Option<Duration> {
        let timeout = (2 * rto.srtt()?).max(MARGIN_MIN) + self.allowance(single);
        timeout.checked_mul(1_u32.checked_shl(self.repair_probes)?)
    }

    fn allowance(&self, single: Option<SinglePacket>) -> Duration {
        single.map_or(Duration::ZERO, |single| self.sack_delay.allowance(single.asks_for_sack))
    }

    pub(super) fn on_repair_probe_sent(&mut self) {
        self.repair_probes += 1;
    }

    pub(super) fn on_probe_sent(
        &mut self,
        now: Instant,
        end: UnwrappedTsn,
        is_retransmission: bool,
        single: Option<SinglePacket>,
    ) {
        self.probe = Some(Probe { end, is_retransmission, sent_at: now, single });
        self.has_rtt_sample = false;
    }

    /// Records that a chunk leaves once more only to ask for a SACK. No probe is sent until that has come; nothing is
    /// concluded from it.
    pub(super) fn on_repetition_sent(&mut self, now: Instant, end: UnwrappedTsn) {
        self.probe = Some(Probe { end, is_retransmission: false, sent_at: now, single: None });
    }

    /// Handles an acknowledgement up to `cumulative` (RFC 8985 §7.4.2).
    pub(super) fn on_cumulative_ack(
        &mut self,
        now: Instant,
        cumulative: UnwrappedTsn,
        has_duplicates: bool,
        rtt_min: Option<Duration>,
    ) -> ProbeOutcome {
        let Some(probe) = self.probe.take_if(|probe| cumulative >= probe.end) else { return ProbeOutcome::Nothing };
        if !probe.is_retransmission {
            return ProbeOutcome::Nothing;
        }
        // Sooner than any round trip it is not the probe that is acknowledged.
        let is_too_soon = rtt_min.is_some_and(|min| now.saturating_duration_since(probe.sent_at) < min);
        if !has_duplicates && !is_too_soon {
            return ProbeOutcome::Repaired(probe.end);
        }
        if let Some(SinglePacket { asks_for_sack }) = probe.single {
            self.sack_delay.on_needless_probe(asks_for_sack);
        }
        ProbeOutcome::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AssociationConfig;
    use crate::serial::Tsn;
    use crate::testing::some_time;

    const MS: Duration = Duration::from_millis(1);

    const SINGLE: Option<SinglePacket> = Some(SinglePacket { asks_for_sack: false });
    const ASKING: Option<SinglePacket> = Some(SinglePacket { asks_for_sack: true });

    fn rto(srtt: Duration) -> Rto {
        let mut rto = Rto::new(&AssociationConfig::default());
        rto.on_sample(srtt);
        rto
    }

    /// Returns the estimate of a path whose round trip is always the same.
    fn steady(srtt: Duration) -> Rto {
        let mut rto = rto(srtt);
        (0..50).for_each(|_| rto.on_sample(srtt));
        rto
    }

    /// Returns the time from the last transmission to the probe.
    fn wait(tlp: &TailLossProbe, rto: &Rto, single: Option<SinglePacket>) -> Option<Duration> {
        let sent_at = some_time();
        Some(tlp.deadline(sent_at, sent_at, rto, single)?.saturating_duration_since(sent_at))
    }

    #[test]
    fn a_probe_that_repaired_a_loss_is_told_when_the_ack_ends_exactly_at_it() {
        let (end, now) = (UnwrappedTsn::first(Tsn(7)), some_time());
        for (is_retransmission, has_duplicates, cumulative, after, is_repaired) in [
            (true, false, end, 100, true),
            (true, false, end.next(), 100, true),
            (true, false, end.prev(), 100, false),
            (true, true, end, 100, false),
            (false, false, end, 100, false),
            (true, false, end, 99, false),
        ] {
            let mut tlp = TailLossProbe::new();
            tlp.on_probe_sent(now, end, is_retransmission, None);
            let outcome = tlp.on_cumulative_ack(now + after * MS, cumulative, has_duplicates, Some(100 * MS));
            assert_eq!(outcome == ProbeOutcome::Repaired(end), is_repaired, "RFC 8985 §7.4.2");
            assert_eq!(tlp.probe.is_some(), cumulative < end, "an episode ends with its acknowledgement");
            let again = tlp.on_cumulative_ack(now + 100 * MS, end, false, Some(100 * MS));
            assert!(again == ProbeOutcome::Nothing || cumulative < end, "told once");
        }
    }

    /// RFC 8985 §7.4.1.
    #[test]
    fn a_probe_tells_nothing_more_once_its_losses_are_repaired() {
        let (mut tlp, end, now) = (TailLossProbe::new(), UnwrappedTsn::first(Tsn(7)), some_time());
        let rto = rto(100 * MS);
        tlp.on_probe_sent(now, end, true, None);
        tlp.on_recovery_started();
        assert_eq!(tlp.on_cumulative_ack(now + 100 * MS, end, false, None), ProbeOutcome::Nothing);
        tlp.on_rtt_sample(100 * MS, None, &rto);
        assert_eq!(wait(&tlp, &rto, None), Some(200 * MS), "another may be sent");
        tlp.on_probe_sent(now, end, true, None);
        tlp.on_repair_probe_sent();
        tlp.on_t3_timeout();
        assert_eq!(tlp.on_cumulative_ack(now + 100 * MS, end, false, None), ProbeOutcome::Nothing);
        assert!(!tlp.on_acked(), "no repair is being probed");
    }

    #[test]
    fn the_wait_for_a_repair_has_an_end_however_often_it_doubles() {
        let mut tlp = TailLossProbe::new();
        for _ in 0..40 {
            tlp.on_repair_probe_sent();
        }
        assert_eq!(tlp.repair_probe_timeout(&rto(100 * MS), None), None, "T3 is sooner");
    }

    #[test]
    fn the_wait_is_a_round_trip_and_what_samples_differ_by_up_to_another_one() {
        let mut tlp = TailLossProbe::new();
        assert_eq!(wait(&tlp, &rto(100 * MS), None), Some(200 * MS), "one sample says nothing about the variance");
        assert_eq!(wait(&tlp, &steady(100 * MS), None), Some(125 * MS));
        assert_eq!(wait(&tlp, &steady(MS), None), Some(11 * MS));
        assert_eq!(wait(&tlp, &Rto::new(&AssociationConfig::default()), None), None, "no round trip is known");
        tlp.on_probe_sent(some_time(), UnwrappedTsn::first(Tsn(7)), true, None);
        assert_eq!(wait(&tlp, &rto(100 * MS), None), None, "one is out");
    }

    #[test]
    fn the_wait_counts_from_the_last_transmission_and_lasts_while_sacks_come() {
        let (tlp, rto, sent_at) = (TailLossProbe::new(), steady(100 * MS), some_time());
        for (now, expected) in [(0, 125), (60, 125), (100, 125), (101, 126), (300, 325)] {
            let at = tlp.deadline(sent_at + now * MS, sent_at, &rto, None).unwrap();
            assert_eq!(at, sent_at + expected * MS, "a SACK after {now} ms");
        }
    }

    #[test]
    fn the_sack_of_a_single_packet_may_be_delayed_as_this_peer_does() {
        let (mut tlp, rto) = (TailLossProbe::new(), steady(100 * MS));
        assert_eq!(wait(&tlp, &rto, SINGLE), Some(150 * MS));
        assert_eq!(wait(&tlp, &rto, ASKING), Some(125 * MS), "no delay, as requested");
        tlp.on_rtt_sample(300 * MS, SINGLE, &rto);
        assert_eq!(wait(&tlp, &rto, SINGLE), Some(325 * MS));
        assert_eq!(wait(&tlp, &rto, None), Some(125 * MS), "the second packet ends the delay");
        // A needless probe, because the peer does not comply with the request.
        let (now, end) = (some_time(), UnwrappedTsn::first(Tsn(7)));
        tlp.on_probe_sent(now, end, true, ASKING);
        tlp.on_cumulative_ack(now + 100 * MS, end, true, None);
        tlp.on_rtt_sample(100 * MS, None, &rto);
        assert_eq!(wait(&tlp, &rto, ASKING), Some(150 * MS));
    }

    /// RFC 8985 §7.3, the second condition.
    #[test]
    fn no_probe_follows_another_before_the_round_trip_was_measured_again() {
        let (mut tlp, rto, end) = (TailLossProbe::new(), steady(100 * MS), UnwrappedTsn::first(Tsn(7)));
        tlp.on_probe_sent(some_time(), end, true, None);
        tlp.on_cumulative_ack(some_time() + 100 * MS, end, false, None);
        tlp.on_t3_timeout();
        assert_eq!(wait(&tlp, &rto, None), None);
        tlp.on_rtt_sample(100 * MS, None, &rto);
        assert_eq!(wait(&tlp, &rto, None), Some(125 * MS));
    }

    #[test]
    fn probes_of_a_repair_back_off_until_something_is_acknowledged() {
        let mut tlp = TailLossProbe::new();
        for doublings in 0..4 {
            assert_eq!(tlp.repair_probe_timeout(&rto(100 * MS), None), Some(200 * MS * (1 << doublings)));
            tlp.on_repair_probe_sent();
        }
        assert!(tlp.on_acked());
        assert!(!tlp.on_acked());
        assert_eq!(tlp.repair_probe_timeout(&rto(100 * MS), None), Some(200 * MS));
    }
}
