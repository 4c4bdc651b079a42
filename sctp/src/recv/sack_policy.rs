//! Policy of acknowledgements (RFC 9260 §6.2, §6.7).

use crate::time::{Duration, Instant};

/// Packets at the start of an association that are each acknowledged at once: slow start grows by acknowledgements, and
/// a sender that begins with a small window would wait for the delay in every round.
const QUICK_PACKETS: u32 = 16;

/// Packets with DATA after which an acknowledgement is no longer delayed (RFC 9260 §6.2).
const PACKETS_PER_SACK: u32 = 2;

/// Time at which the next SACK is to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SackDue {
    /// There is nothing to acknowledge.
    Not,
    /// At the end of the delay, unless the SACK travels with other chunks before.
    At(Instant),
    /// With the next packet, and without waiting for another reason to send one.
    Now,
}

/// Decides about SACKs, at most one for a packet.
#[derive(Debug)]
pub(super) struct SackPolicy {
    delay: Duration,
    due: SackDue,
    /// Packets with DATA since the last SACK.
    packets: u32,
    /// Packets that are still acknowledged at once because the association is young.
    quick: u32,
    /// There was a gap when the last packet with DATA had been taken in.
    had_gaps: bool,
    /// The packet that is being taken in has brought DATA or FORWARD-TSN.
    packet_counts: bool,
    /// Something in that packet must be answered at once.
    urgent: bool,
}

impl SackPolicy {
    pub(super) fn new(delay: Duration) -> Self {
        Self {
            delay,
            due: SackDue::Not,
            packets: 0,
            quick: QUICK_PACKETS,
            had_gaps: false,
            packet_counts: false,
            urgent: false,
        }
    }

    pub(super) fn due(&self) -> SackDue {
        self.due
    }

    /// Notes that the packet has a DATA or FORWARD-TSN chunk (RFC 3758 §3.6 has the same rules for both).
    pub(super) fn on_chunk(&mut self) {
        self.packet_counts = true;
    }

    /// Requests a SACK without delay for the current packet, if the packet has such a chunk.
    pub(super) fn make_urgent(&mut self) {
        self.urgent = true;
    }

    pub(super) fn on_packet_end(&mut self, now: Instant, has_gaps: bool) {
        let is_urgent = std::mem::take(&mut self.urgent);
        if !std::mem::take(&mut self.packet_counts) {
            return;
        }
        self.packets = self.packets.saturating_add(1);
        let quick = self.quick > 0;
        self.quick = self.quick.saturating_sub(1);
        // RFC 9260 §6.7: at once while there is a gap, and also when one has closed, so that the sender stops
        // repairing.
        let gaps = std::mem::replace(&mut self.had_gaps, has_gaps) || has_gaps;
        if is_urgent || gaps || quick || self.packets >= PACKETS_PER_SACK {
            self.due = SackDue::Now;
        } else if self.due == SackDue::Not {
            self.due = SackDue::At(now + self.delay);
        }
    }

    pub(super) fn on_timeout(&mut self, now: Instant) {
        if matches!(self.due, SackDue::At(at) if at <= now) {
            self.due = SackDue::Now;
        }
    }

    pub(super) fn sack_now(&mut self) {
        self.due = SackDue::Now;
    }

    pub(super) fn on_sent(&mut self) {
        self.due = SackDue::Not;
        self.packets = 0;
    }
}
