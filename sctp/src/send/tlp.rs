//! Probes while nothing is heard: the tail loss probe (RFC 8985 §7), and that of a repair that has stalled.

use crate::path::Rto;
use crate::serial::UnwrappedTsn;
use crate::time::Duration;

/// Least time before a tail loss probe: below this a timer is mostly noise.
const PROBE_DELAY_MIN: Duration = Duration::from_millis(10);

/// Added to the probe time-out if a single packet is in flight, since its acknowledgement may be delayed (RFC 9260
/// §6.2: up to 200 ms in general). RFC 8985 §7.2 has `TLP.max_ack_delay` here.
const PEER_SACK_DELAY: Duration = Duration::from_millis(200);

/// A tail loss probe in flight (RFC 8985 §7.4).
#[derive(Clone, Copy, Debug)]
struct Probe {
    /// RFC 8985's `TLP.end_seq`: acknowledging this TSN ends the episode.
    end: UnwrappedTsn,
    /// RFC 8985's `TLP.is_retrans`.
    is_retransmission: bool,
}

/// Probes that are out.
#[derive(Debug, Default)]
pub(super) struct TailLossProbe {
    probe: Option<Probe>,
    /// Probes of a repair that has stalled, since something was acknowledged.
    repair_probes: u32,
}

impl TailLossProbe {
    /// Handles the first acknowledgement of a chunk. Returns `true` if a repair was being probed.
    pub(super) fn on_acked(&mut self) -> bool {
        std::mem::take(&mut self.repair_probes) > 0
    }

    /// Ends the probe's episode when recovery starts. A probe that is still out tells nothing more: its acknowledgement
    /// must not reduce the congestion window again for the same losses (RFC 8985 §7.4.1 ends the probe's episode).
    pub(super) fn on_recovery_started(&mut self) {
        self.probe = None;
    }

    pub(super) fn on_t3_timeout(&mut self) {
        *self = Self::default();
    }

    /// Returns the time from now to a tail loss probe (RFC 8985 §7.2). `None` while a probe is out.
    pub(super) fn probe_timeout(&self, rto: &Rto, is_single_packet: bool) -> Option<Duration> {
        if self.probe.is_some() {
            return None;
        }
        Self::timeout(rto, is_single_packet)
    }

    fn timeout(rto: &Rto, is_single_packet: bool) -> Option<Duration> {
        let timeout = (2 * rto.srtt()?).max(PROBE_DELAY_MIN);
        Some(if is_single_packet { timeout + PEER_SACK_DELAY } else { timeout })
    }

    /// Returns the time from now to a probe for a lost retransmission. It doubles with each probe.
    pub(super) fn repair_probe_timeout(&self, rto: &Rto, is_single_packet: bool) -> Option<Duration> {
        let timeout = Self::timeout(rto, is_single_packet)?;
        timeout.checked_mul(1_u32.checked_shl(self.repair_probes)?)
    }

    pub(super) fn on_repair_probe_sent(&mut self) {
        self.repair_probes += 1;
    }

    pub(super) fn on_probe_sent(&mut self, end: UnwrappedTsn, is_retransmission: bool) {
        self.probe = Some(Probe { end, is_retransmission });
    }

    /// Returns `true` if the acknowledgement up to `cumulative` shows that a probe repaired a loss, for which
    /// congestion control must be told (RFC 8985 §7.4.2).
    pub(super) fn on_cumulative_ack(&mut self, cumulative: UnwrappedTsn, has_duplicates: bool) -> bool {
        let Some(probe) = self.probe.filter(|probe| cumulative >= probe.end) else { return false };
        self.probe = None;
        probe.is_retransmission && !has_duplicates
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AssociationConfig;
    use crate::serial::Tsn;

    const MS: Duration = Duration::from_millis(1);

    fn rto(srtt: Duration) -> Rto {
        let mut rto = Rto::new(&AssociationConfig::default());
        rto.on_sample(srtt);
        rto
    }

    #[test]
    fn a_probe_that_repaired_a_loss_is_told_when_the_ack_ends_exactly_at_it() {
        let end = UnwrappedTsn::first(Tsn(7));
        for (is_retransmission, has_duplicates, cumulative, expected) in [
            (true, false, end, true),
            (true, false, end.next(), true),
            (true, false, end.prev(), false),
            (true, true, end, false),
            (false, false, end, false),
        ] {
            let mut tlp = TailLossProbe::default();
            tlp.on_probe_sent(end, is_retransmission);
            assert_eq!(tlp.on_cumulative_ack(cumulative, has_duplicates), expected, "RFC 8985 §7.4.2");
            assert_eq!(tlp.probe.is_some(), cumulative < end, "an episode ends with its acknowledgement");
            assert!(!tlp.on_cumulative_ack(end, false) || cumulative < end, "told once");
        }
    }

    /// RFC 8985 §7.4.1.
    #[test]
    fn a_probe_tells_nothing_more_once_its_losses_are_repaired() {
        let (mut tlp, end) = (TailLossProbe::default(), UnwrappedTsn::first(Tsn(7)));
        tlp.on_probe_sent(end, true);
        tlp.on_recovery_started();
        assert!(!tlp.on_cumulative_ack(end, false));
        assert_eq!(tlp.probe_timeout(&rto(100 * MS), false), Some(200 * MS), "another may be sent");
        tlp.on_probe_sent(end, true);
        tlp.on_repair_probe_sent();
        tlp.on_t3_timeout();
        assert!(!tlp.on_cumulative_ack(end, false));
        assert!(!tlp.on_acked(), "no repair is being probed");
    }

    #[test]
    fn the_wait_for_a_repair_has_an_end_however_often_it_doubles() {
        let mut tlp = TailLossProbe::default();
        for _ in 0..40 {
            tlp.on_repair_probe_sent();
        }
        assert_eq!(tlp.repair_probe_timeout(&rto(100 * MS), false), None, "T3 is sooner");
    }

    #[test]
    fn the_time_out_is_two_round_trips_and_the_sack_delay_for_a_single_packet() {
        let mut tlp = TailLossProbe::default();
        assert_eq!(tlp.probe_timeout(&rto(100 * MS), false), Some(200 * MS));
        assert_eq!(tlp.probe_timeout(&rto(100 * MS), true), Some(400 * MS));
        assert_eq!(tlp.probe_timeout(&rto(MS), false), Some(10 * MS));
        assert_eq!(tlp.probe_timeout(&Rto::new(&AssociationConfig::default()), false), None, "no round trip is known");
        tlp.on_probe_sent(UnwrappedTsn::first(Tsn(7)), true);
        assert_eq!(tlp.probe_timeout(&rto(100 * MS), false), None, "one is out");
    }

    #[test]
    fn probes_of_a_repair_back_off_until_something_is_acknowledged() {
        let mut tlp = TailLossProbe::default();
        for doublings in 0..4 {
            assert_eq!(tlp.repair_probe_timeout(&rto(100 * MS), false), Some(200 * MS * (1 << doublings)));
            tlp.on_repair_probe_sent();
        }
        assert!(tlp.on_acked());
        assert!(!tlp.on_acked());
        assert_eq!(tlp.repair_probe_timeout(&rto(100 * MS), false), Some(200 * MS));
    }
}
