//! Path MTU discovery by probes (RFC 8899), which needs no ICMP.
//!
//! The association starts with packets of the base size, which every path is expected to carry. A probe is a HEARTBEAT
//! in front of a PAD chunk (RFC 8261 §6.2, RFC 4820) in one packet of the size that is tried. Its answer confirms the
//! size. A probe that is lost three times rules its size out.
//!
//! - *Demand*: a probe leaves only after sixteen times its size has left in full packets. So an idle association, or
//!   one of small messages, sends no probe, and a search costs a sixteenth of the traffic at most. The time-out of a
//!   probe is looked at when the next one could leave; there is no timer to wake an idle association.
//! - *Order*: the usual sizes first, upwards. After a failure the usual sizes between, halving their number; then the
//!   bytes between, until the step is not worth a probe.
//! - *Black holes* (RFC 8899 §4.3): if larger packets than the base size get lost while smaller ones pass, or nothing
//!   passes until T3-rtx, packets have the base size again. The size before is the first that is probed afterwards, so
//!   a mistake costs a few round trips with smaller packets.

use crate::time::{Duration, Instant};

/// Lost probes of a size that rule it out (RFC 8899 §5.1.2).
const MAX_PROBES: u32 = 3;

/// Time after a search at which the next one begins (RFC 8899 §5.1.1).
const PMTU_RAISE_TIMER: Duration = Duration::from_secs(600);

/// Times the size of a probe that has to leave in full packets before the probe.
const DEMAND_FACTOR: usize = 16;

/// Time-outs in a row at the base size after which the path may not even carry that.
const BASE_TIMEOUTS_MAX: u32 = 2;

/// Usual sizes of IP packets, from the least that IPv6 allows to what a loopback interface takes. Between:
/// tunnels, `PPPoE`, Ethernet, jumbo frames. A search begins with that of Ethernet.
const USUAL_SIZES: [usize; 10] = [1280, 1400, 1420, 1452, 1480, 1492, ETHERNET, 9000, 16_384, 65_535];
const ETHERNET: usize = 1500;

/// Least difference of two sizes that is worth another probe, in bytes, and as a share of the confirmed size.
const STEP_MIN: usize = 16;
const STEP_SHARE: usize = 64;

/// States of the search (RFC 8899 §5.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PmtudState {
    /// Packets have the base size, and no probe was sent yet.
    Base,
    Searching,
    /// No larger size is worth a probe until the time.
    SearchComplete {
        until: Instant,
    },
    /// The path does not carry the base size; packets have the least size.
    Error,
}

/// Sizes of packets, in bytes; multiples of 4.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PacketSizes {
    /// `MIN_PLPMTU`: the least size that packets fall to. No chunk that may be retransmitted is larger, so each fits
    /// every packet.
    pub(crate) min: usize,
    /// `BASE_PLPMTU`: the size to start with.
    pub(crate) base: usize,
    /// `MAX_PLPMTU`: the largest size to search.
    pub(crate) max: usize,
    /// Bytes of the layers below around each packet, from the IP header on.
    pub(crate) overhead: usize,
}

/// A size that is being tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct MtuProbe {
    /// The nonce of the HEARTBEAT, the same each time: a late answer confirms the size as well.
    nonce: u64,
    size: usize,
    /// Time at which the probe counts as lost (`PROBE_TIMER`).
    deadline: Instant,
    /// True if the answer may still come in time.
    is_in_flight: bool,
    losses: u32,
}

/// Sizes that the search has learned about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct LearnedSizes {
    /// PLPMTU: the size of packets now.
    mtu: usize,
    /// The least size that is ruled out.
    too_large: usize,
    /// The size that packets had before they fell, until it is probed.
    before_fall: Option<usize>,
}

/// Bytes in full packets, which show that larger ones would be of use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Demand {
    /// Bytes that have left since the last probe.
    bytes: usize,
    /// Bytes below which there is nothing to do.
    min: usize,
}

/// The search for the largest packet that the path carries.
#[derive(Debug)]
pub(crate) struct PathMtuDiscovery {
    state: PmtudState,
    sizes: PacketSizes,
    learned: LearnedSizes,
    probe: Option<MtuProbe>,
    demand: Demand,
    /// Time-outs in a row at the base size.
    base_timeouts: u32,
    falls: u64,
    probes_lost: u64,
}

impl PathMtuDiscovery {
    /// Begins a search. There is nothing to search for if all sizes are equal.
    pub(crate) fn new(sizes: PacketSizes) -> Self {
        let mut discovery = Self {
            state: PmtudState::Base,
            sizes,
            learned: LearnedSizes { mtu: sizes.base, too_large: usize::MAX, before_fall: None },
            probe: None,
            demand: Demand { bytes: 0, min: 0 },
            base_timeouts: 0,
            falls: 0,
            probes_lost: 0,
        };
        discovery.set_demand();
        discovery
    }

    /// Continues the counters of an earlier search.
    pub(crate) fn with_counters_of(self, before: &Self) -> Self {
        Self { falls: before.falls, probes_lost: before.probes_lost, ..self }
    }

    /// Returns the size of packets.
    pub(crate) fn mtu(&self) -> usize {
        self.learned.mtu
    }

    pub(crate) fn sizes(&self) -> PacketSizes {
        self.sizes
    }

    /// Returns the number of times that packets became smaller because the path did not carry them.
    pub(crate) fn falls(&self) -> u64 {
        self.falls
    }

    /// Returns the number of probes that were not answered in time, or were refused.
    pub(crate) fn probes_lost(&self) -> u64 {
        self.probes_lost
    }

    /// Records that so many bytes left in packets of the full size.
    pub(crate) fn on_full_packets(&mut self, bytes: usize) {
        self.demand.bytes = self.demand.bytes.saturating_add(bytes);
    }

    /// Returns the size of the probe that is due.
    pub(crate) fn poll_probe(&mut self, now: Instant) -> Option<usize> {
        if self.demand.bytes < self.demand.min {
            return None;
        }
        self.expire_probe(now);
        if self.probe.is_some_and(|probe| probe.is_in_flight) {
            return None;
        }
        if let PmtudState::SearchComplete { until } = self.state {
            if now < until {
                return None;
            }
            self.learned.too_large = usize::MAX;
            self.state = PmtudState::Searching;
        }
        let Some(size) = self.next_size() else {
            self.complete(now);
            return None;
        };
        (self.demand.bytes >= DEMAND_FACTOR * size).then_some(size)
    }

    /// Returns the nonce of earlier probes of a size, if there were any.
    pub(crate) fn nonce_of(&self, size: usize) -> Option<u64> {
        self.probe.filter(|probe| probe.size == size).map(|probe| probe.nonce)
    }

    /// Records that a probe leaves, whose answer is to come before `deadline`.
    pub(crate) fn on_probe_sent(&mut self, nonce: u64, size: usize, deadline: Instant) {
        let losses = self.probe.filter(|probe| probe.size == size).map_or(0, |probe| probe.losses);
        self.probe = Some(MtuProbe { nonce, size, deadline, is_in_flight: true, losses });
        self.demand.bytes = 0;
        if self.state == PmtudState::Base {
            self.state = PmtudState::Searching;
        }
    }

    /// Confirms the size of the probe with this nonce. Returns `true` if there is one, and packets may be larger from
    /// now on.
    pub(crate) fn on_probe_ack(&mut self, now: Instant, nonce: u64) -> bool {
        let Some(probe) = self.probe.take_if(|probe| probe.nonce == nonce) else { return false };
        self.learned.mtu = self.learned.mtu.max(probe.size);
        self.learned.too_large = self.learned.too_large.max(self.learned.mtu + 4);
        self.learned.before_fall = self.learned.before_fall.filter(|size| *size > self.learned.mtu);
        self.base_timeouts = 0;
        self.state = PmtudState::Searching;
        self.on_size_settled(now);
        true
    }

    /// Handles the refusal of a packet of this size by the system below, which knows the first hop. It is a hint: it
    /// ends a probe at once, and lets larger packets fall. Returns `true` if packets are
    /// smaller from now on.
    pub(crate) fn on_too_large(&mut self, now: Instant, size: usize) -> bool {
        if size > self.learned.mtu && self.probe.is_some_and(|probe| probe.size == size) {
            self.probes_lost += 1;
            self.rule_out(now, size);
        }
        if size > self.learned.mtu || size <= self.floor() {
            return false;
        }
        self.fall();
        self.learned.too_large = self.learned.too_large.min(size);
        true
    }

    /// Returns the size that packets fall to if they do not arrive. Packets up to this size need no proof.
    pub(crate) fn floor(&self) -> usize {
        if self.learned.mtu > self.sizes.base { self.sizes.base } else { self.sizes.min }
    }

    /// Handles a black hole: larger packets than the [`floor`](Self::floor) do not arrive. Returns `true` if packets
    /// are smaller from now on.
    pub(crate) fn on_black_hole(&mut self) -> bool {
        let can_fall = self.mtu() > self.floor();
        if can_fall {
            self.fall();
        }
        can_fall
    }

    /// Handles the expiry of T3-rtx: nothing arrives, perhaps because of the size. Returns `true` if packets are
    /// smaller from now on.
    pub(crate) fn on_timeout(&mut self) -> bool {
        self.base_timeouts = self.base_timeouts.saturating_add(1);
        let is_outage = self.learned.mtu <= self.sizes.base && self.base_timeouts < BASE_TIMEOUTS_MAX;
        !is_outage && self.on_black_hole()
    }

    /// Handles a sign that packets of this size arrive.
    pub(crate) fn on_delivered(&mut self) {
        self.base_timeouts = 0;
    }

    /// Lets packets fall to the [`floor`](Self::floor).
    fn fall(&mut self) {
        let size = self.floor();
        self.falls += 1;
        self.learned.before_fall = self.learned.before_fall.max(Some(self.learned.mtu));
        self.learned.too_large = self.learned.too_large.max(size + 4);
        self.learned.mtu = size;
        self.probe = None;
        self.demand.bytes = 0;
        self.base_timeouts = 0;
        self.state = if size < self.sizes.base { PmtudState::Error } else { PmtudState::Searching };
        self.set_demand();
    }

    /// Counts a probe that was not answered in time.
    fn expire_probe(&mut self, now: Instant) {
        let Some(probe) = self.probe.as_mut().filter(|probe| probe.is_in_flight && probe.deadline <= now) else {
            return;
        };
        probe.is_in_flight = false;
        probe.losses += 1;
        self.probes_lost += 1;
        let (size, losses) = (probe.size, probe.losses);
        tracing::debug!(size, losses, "MTU probe lost");
        if losses >= MAX_PROBES {
            self.rule_out(now, size);
        }
    }

    fn rule_out(&mut self, now: Instant, size: usize) {
        self.learned.too_large = self.learned.too_large.min(size);
        self.learned.before_fall = self.learned.before_fall.filter(|before| *before < size);
        self.probe = None;
        self.on_size_settled(now);
    }

    /// Handles the confirmation of a size, or the end of its trial.
    fn on_size_settled(&mut self, now: Instant) {
        if self.next_size().is_none() {
            self.complete(now);
        }
        self.set_demand();
    }

    fn complete(&mut self, now: Instant) {
        self.state = PmtudState::SearchComplete { until: now + PMTU_RAISE_TIMER };
        self.probe = None;
    }

    /// Notes the demand from which on there may be something to do.
    fn set_demand(&mut self) {
        let can_grow = self.sizes.max > self.mtu();
        let next = self.next_size().unwrap_or(self.learned.mtu);
        self.demand.min = if can_grow { DEMAND_FACTOR * next } else { usize::MAX };
    }

    /// Returns the next size to try: above what is confirmed, below what is ruled out.
    fn next_size(&self) -> Option<usize> {
        let sizes = self.sizes;
        let (low, high) = (self.learned.mtu, self.learned.too_large.min(sizes.max + 4));
        let is_between = |size: &usize| (low + 1..high).contains(size);
        if let Some(size) = self.probe.map(|probe| probe.size).filter(is_between) {
            return Some(size);
        }
        if let Some(size) = self.learned.before_fall.filter(is_between) {
            return Some(size);
        }
        let packet_len = |ip: usize| ip.saturating_sub(sizes.overhead).min(sizes.max) & !3;
        let usual = || USUAL_SIZES.into_iter().filter(move |ip| is_between(&packet_len(*ip)));
        if self.learned.too_large > sizes.max {
            let upwards = usual().find(|ip| *ip >= ETHERNET).map(packet_len);
            return upwards.or_else(|| Some(sizes.max).filter(is_between));
        }
        let middle = usual().nth(usual().count() / 2).map(packet_len);
        let is_worth_it = high - low > STEP_MIN.max(low / STEP_SHARE);
        middle.or_else(|| Some(((low + high) / 2) & !3).filter(|size| is_worth_it && is_between(size)))
    }

    pub(crate) fn check_consistency(&self) {
        let sizes = self.sizes;
        assert!(sizes.min <= sizes.base && sizes.base <= sizes.max, "{sizes:?}");
        assert!(self.learned.mtu >= sizes.min && self.learned.mtu <= sizes.max && self.learned.mtu.is_multiple_of(4));
        assert!(self.learned.too_large > self.learned.mtu, "packets of {} bytes are ruled out", self.learned.mtu);
        assert!(self.probe.is_none_or(|probe| probe.losses < MAX_PROBES && probe.size.is_multiple_of(4)));
    }
}
