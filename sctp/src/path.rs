//! The one path to the peer: packet size, round-trip time, and signs of life.
//!
//! [`Path`] is the only owner of these. Others are lent it with each call, and keep no copy: the packet size may change
//! at any time.

mod pmtud;
mod rto;

pub(crate) use rto::Rto;

use self::pmtud::{PacketSizes, PathMtuDiscovery};
use crate::config::AssociationConfig;
use crate::lower_layer::LowerLayerLimits;
use crate::time::{Duration, Instant};
use crate::wire::PACKET_HEADER_LEN;

/// Time-outs in a row after which the path may be another one, or none: one is often the loss of a single packet.
const SUSPECT_ERRORS: u32 = 2;

/// A timer that fires later than it was due by more than this share of the idle time-out shows a suspension.
const SUSPENSION_SHARE: u32 = 6;

/// Sizes of packets that a path may take.
const MTU_MIN: usize = 512;
const MTU_MAX: usize = 65_487;

/// Bytes of an IPv4 header and a UDP header: what is around each packet, unless the layer below says otherwise.
const OVERHEAD_DEFAULT: usize = 28;

/// The path of an association. RFC 9260 allows several; under UDP and DTLS there is one.
#[derive(Debug)]
pub(crate) struct Path {
    discovery: PathMtuDiscovery,
    /// Time from which on the next MTU probe may leave: one a round trip.
    mtu_probe_at: Option<Instant>,
    limits: Option<LowerLayerLimits>,
    /// Round-trip time and retransmission time-out.
    pub(crate) rto: Rto,
    errors: ErrorCounter,
    /// The HEARTBEAT that waits for its answer.
    heartbeat: Option<Heartbeat>,
    challenge: PathChallenge,
}

/// State of the peer after a time-out (RFC 9260 §8.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PeerStatus {
    Reachable,
    /// There were too many time-outs in a row, or they lasted too long.
    Unreachable,
}

/// The silence of the peer, and time-outs in a row (RFC 9260 §8.1).
#[derive(Debug)]
struct ErrorCounter {
    error_count: u32,
    error_count_max: Option<u32>,
    /// Time at which the last time-out was counted.
    counted_at: Option<Instant>,
    idle_timeout: Duration,
    /// Time at which the peer last answered, or this machine has woken up. `None` before either.
    silent_since: Option<Instant>,
    /// Time at which the first packet was sent that has gone unanswered in this silence.
    unanswered_since: Option<Instant>,
    /// True if there were [`SUSPECT_ERRORS`] time-outs in a row, and nobody has asked since.
    is_suspect: bool,
}

impl ErrorCounter {
    /// Returns the time at which the peer is given up, if the first packet that has gone unanswered was sent at
    /// `unanswered_since`.
    fn deadline(&self, unanswered_since: Instant) -> Instant {
        let answer_by = unanswered_since + self.idle_timeout * 2 / 3;
        self.silent_since.map_or(answer_by, |since| answer_by.max(since + self.idle_timeout))
    }
}

#[derive(Clone, Copy, Debug)]
struct Heartbeat {
    nonce: u64,
    sent_at: Instant,
}

/// A HEARTBEAT to another address of the peer than the one in use.
#[derive(Debug, Default)]
struct PathChallenge {
    /// The nonce of the last one that was not answered.
    nonce: Option<u64>,
    /// True if it was answered, and nobody has asked since.
    is_validated: bool,
}

impl Path {
    pub(crate) fn new(config: &AssociationConfig) -> Self {
        Self::with_limits(config, None)
    }

    /// Creates another path of the same layer below, of which nothing is known yet. The peer gets the whole time to
    /// answer on it, whatever had gone unanswered on the old one.
    pub(crate) fn renewed(&self, now: Instant, config: &AssociationConfig) -> Self {
        let mut path = Self::with_limits(config, self.limits);
        path.discovery = path.discovery.with_counters_of(&self.discovery);
        path.errors.silent_since = Some(now);
        path
    }

    fn with_limits(config: &AssociationConfig, limits: Option<LowerLayerLimits>) -> Self {
        let errors = ErrorCounter {
            error_count: 0,
            error_count_max: config.association_max_retransmits,
            counted_at: None,
            idle_timeout: config.idle_timeout,
            silent_since: None,
            unanswered_since: None,
            is_suspect: false,
        };
        Self {
            discovery: PathMtuDiscovery::new(packet_sizes(config, limits)),
            mtu_probe_at: None,
            limits,
            rto: Rto::new(config),
            errors,
            heartbeat: None,
            challenge: PathChallenge::default(),
        }
    }

    /// Begins the search for the size of packets anew, within the limits of the layer below.
    pub(crate) fn set_limits(&mut self, config: &AssociationConfig, limits: LowerLayerLimits) {
        self.limits = Some(limits);
        let discovery = PathMtuDiscovery::new(packet_sizes(config, self.limits));
        self.discovery = discovery.with_counters_of(&self.discovery);
    }

    /// Returns the largest packet, in bytes.
    pub(crate) fn mtu(&self) -> usize {
        self.discovery.mtu()
    }

    /// Sets the MTU, rounded down to a multiple of 4: chunks are padded to 4 bytes. No larger one is searched.
    pub(crate) fn set_mtu(&mut self, mtu: usize) {
        let mtu = clamp(mtu);
        let overhead = self.discovery.sizes().overhead;
        let discovery = PathMtuDiscovery::new(PacketSizes { min: mtu, base: mtu, max: mtu, overhead });
        self.discovery = discovery.with_counters_of(&self.discovery);
    }

    pub(crate) fn discovery(&mut self) -> &mut PathMtuDiscovery {
        &mut self.discovery
    }

    /// Returns the number of times that packets became smaller because the path did not carry them.
    pub(crate) fn black_holes(&self) -> u64 {
        self.discovery.falls()
    }

    /// Returns the number of MTU probes that were lost.
    pub(crate) fn mtu_probes_lost(&self) -> u64 {
        self.discovery.probes_lost()
    }

    /// Returns the size of packets that need no proof: they fall to it if larger ones do not arrive.
    pub(crate) fn mtu_floor(&self) -> usize {
        self.discovery.floor()
    }

    /// Returns the size of the MTU probe that is due.
    pub(crate) fn poll_mtu_probe(&mut self, now: Instant) -> Option<usize> {
        let size = self.discovery.poll_probe(now)?;
        self.mtu_probe_at.is_none_or(|at| at <= now).then_some(size)
    }

    /// Records that an MTU probe leaves. `draw` draws its nonce, unless the size was probed before. Returns the nonce.
    pub(crate) fn on_mtu_probe_sent(&mut self, now: Instant, size: usize, draw: impl FnOnce() -> u64) -> u64 {
        let nonce = self.discovery.nonce_of(size).unwrap_or_else(draw);
        self.discovery.on_probe_sent(nonce, size, now + self.rto.current());
        self.mtu_probe_at = Some(now + self.rto.srtt().unwrap_or_else(|| self.rto.current()));
        nonce
    }

    /// Returns the number of bytes of DATA chunks that a packet takes, headers and padding included: the Path Max Data
    /// Chunk Size (RFC 9260 §2.4).
    pub(crate) fn pmdcs(&self) -> usize {
        self.mtu() - PACKET_HEADER_LEN
    }

    /// Returns the most bytes of user data in one chunk, whose header has `header_len` bytes: what a packet of the
    /// least size takes. A fragment cannot be cut again (RFC 9260 §6.9), so it has to fit whatever size packets fall
    /// to.
    pub(crate) fn payload_max(&self, header_len: usize) -> usize {
        self.discovery.sizes().min - PACKET_HEADER_LEN - header_len
    }

    /// Records the nonce of a challenge to another address, which shows if the peer receives there (as RFC 9000 §8.2
    /// has it).
    pub(crate) fn on_challenge_sent(&mut self, nonce: u64) {
        self.challenge.nonce = Some(nonce);
    }

    /// Returns `true` if this answers the last challenge.
    pub(crate) fn on_challenge_ack(&mut self, nonce: u64) -> bool {
        let is_answer = self.challenge.nonce.take_if(|asked| *asked == nonce).is_some();
        self.challenge.is_validated |= is_answer;
        is_answer
    }

    /// Returns `true` once if a challenge was answered.
    pub(crate) fn take_validated(&mut self) -> bool {
        std::mem::take(&mut self.challenge.is_validated)
    }

    /// Looks for a suspension of this machine when a timer fires that was due at `due`. The peer could not be heard
    /// meanwhile, so that time is no silence. After a long one it begins anew: the peer gets the whole time to answer.
    /// It does not after a short one, or a busy machine would never give a peer up.
    pub(crate) fn check_suspension(&mut self, now: Instant, due: Instant) {
        let errors = &mut self.errors;
        let late = now.saturating_duration_since(due);
        if late > errors.idle_timeout {
            tracing::debug!(?late, "woken up late");
            errors.silent_since = Some(now);
            errors.unanswered_since = None;
        } else if late > errors.idle_timeout / SUSPENSION_SHARE {
            tracing::debug!(?late, "woken up late");
            errors.silent_since = errors.silent_since.map(|since| since + late);
            errors.unanswered_since = errors.unanswered_since.map(|since| since + late);
        }
    }

    /// Records that the peer has answered (RFC 9260 §8.1).
    pub(crate) fn on_sign_of_life(&mut self, now: Instant) {
        self.errors.silent_since = Some(now);
        self.errors.unanswered_since = None;
        self.errors.error_count = 0;
        self.errors.is_suspect = false;
        // The next time-out is of another silence, whenever its timer was started.
        self.errors.counted_at = None;
    }

    /// Counts an error: a packet that was sent at `since` went unanswered until `now`.
    ///
    /// DATA, HEARTBEAT, RE-CONFIG and SHUTDOWN have a timer each, and several may wait in the same silence. It is one
    /// silence, so it is counted once and backs the time-out off once: a timer that was started before the last
    /// time-out that counted has nothing new to say.
    #[must_use]
    pub(crate) fn on_timeout(&mut self, now: Instant, since: Option<Instant>) -> PeerStatus {
        let errors = &mut self.errors;
        let sent_at = since.unwrap_or(now);
        let first = errors.unanswered_since.map_or(sent_at, |first| first.min(sent_at));
        errors.unanswered_since = Some(first);
        let mut is_over = now >= errors.deadline(first);
        if since >= errors.counted_at {
            errors.counted_at = Some(now);
            self.rto.back_off();
            errors.error_count = errors.error_count.saturating_add(1);
            errors.is_suspect |= errors.error_count == SUSPECT_ERRORS;
            is_over |= errors.error_count_max.is_some_and(|max| errors.error_count > max);
        }
        if is_over { PeerStatus::Unreachable } else { PeerStatus::Reachable }
    }

    /// Returns the time to wait for the answer to a packet that is sent now. A peer that has little time is asked each
    /// quarter of it, and given up at its end.
    pub(crate) fn answer_time(&self, now: Instant) -> Duration {
        let errors = &self.errors;
        let share = errors.idle_timeout / 4;
        if errors.unanswered_since.is_none() && self.rto.current() <= share {
            // Nearly always: two thirds of the idle time-out are left at least.
            return self.rto.current();
        }
        let left = errors.deadline(errors.unanswered_since.unwrap_or(now)).saturating_duration_since(now);
        self.rto.current().min(share.max(self.rto.without_back_off())).min(left)
    }

    /// Returns `true` once after two time-outs in a row.
    pub(crate) fn take_suspicion(&mut self) -> bool {
        std::mem::take(&mut self.errors.is_suspect)
    }

    pub(crate) fn on_heartbeat_sent(&mut self, now: Instant, nonce: u64) {
        self.heartbeat = Some(Heartbeat { nonce, sent_at: now });
    }

    /// Forgets the outstanding HEARTBEAT, which is lost. Returns false if there is none.
    pub(crate) fn forget_heartbeat(&mut self) -> bool {
        self.heartbeat.take().is_some()
    }

    /// Returns the round-trip time if the HEARTBEAT ACK fits the HEARTBEAT (RFC 9260 §8.3). Only the nonce is believed;
    /// the time of sending was never on the wire.
    pub(crate) fn on_heartbeat_ack(&mut self, now: Instant, nonce: u64) -> Option<Duration> {
        let heartbeat = self.heartbeat.filter(|heartbeat| heartbeat.nonce == nonce)?;
        self.heartbeat = None;
        self.on_sign_of_life(now);
        Some(now.saturating_duration_since(heartbeat.sent_at))
    }

    pub(crate) fn check_consistency(&self) {
        self.discovery.check_consistency();
        let errors = &self.errors;
        let is_within = errors.error_count_max.is_none_or(|max| errors.error_count <= max + 1);
        assert!(is_within, "an association outlived its error limit");
        self.rto.check_consistency();
    }
}

/// Returns a size of packets that can be: a multiple of 4, within what UDP takes.
fn clamp(mtu: usize) -> usize {
    mtu.clamp(MTU_MIN, MTU_MAX) & !3
}

/// Returns the sizes that are configured, within the limits of the layer below.
fn packet_sizes(config: &AssociationConfig, limits: Option<LowerLayerLimits>) -> PacketSizes {
    let packet_max = limits.map_or(MTU_MAX, |limits| limits.packet_max);
    let base = clamp(limits.and_then(|limits| limits.mtu).unwrap_or(config.mtu).min(packet_max));
    let overhead = limits.map_or(OVERHEAD_DEFAULT, |limits| limits.overhead);
    if !config.path_mtu_discovery {
        return PacketSizes { min: base, base, max: base, overhead };
    }
    PacketSizes {
        min: config.mtu_min.map_or(base, |min| clamp(min).min(base)),
        base,
        max: clamp(config.mtu_max.min(packet_max)).max(base),
        overhead,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::some_time;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_packet_is_a_multiple_of_four_bytes_within_what_udp_takes() {
        let mut path = Path::new(&AssociationConfig { mtu: 1203, ..AssociationConfig::default() });
        assert_eq!((path.mtu(), path.pmdcs(), path.payload_max(16)), (1200, 1188, 1172));
        for (mtu, expected) in [(0, 512), (515, 512), (9000, 9000), (usize::MAX, 65_484)] {
            path.set_mtu(mtu);
            assert_eq!(path.mtu(), expected);
            path.check_consistency();
        }
    }

    #[test]
    fn several_timers_of_one_silence_count_once() {
        let (mut path, start) = (Path::new(&AssociationConfig::default()), some_time());
        let rto = path.rto.current();
        assert_eq!(path.on_timeout(start + SECOND, Some(start)), PeerStatus::Reachable);
        assert_eq!(
            path.on_timeout(start + SECOND, Some(start)),
            PeerStatus::Reachable,
            "another timer of the same silence"
        );
        assert_eq!((path.errors.error_count, path.rto.current()), (1, 2 * rto));
        assert_eq!(path.on_timeout(start + 3 * SECOND, Some(start + SECOND)), PeerStatus::Reachable);
        assert_eq!((path.errors.error_count, path.rto.current()), (2, 4 * rto));
        assert!(path.take_suspicion() && !path.take_suspicion(), "told once after two in a row");
        path.on_sign_of_life(start + 3 * SECOND);
        assert_eq!(path.errors.error_count, 0);
    }

    #[test]
    fn a_peer_is_unreachable_after_one_time_out_more_than_the_limit() {
        let config = AssociationConfig { association_max_retransmits: Some(10), ..AssociationConfig::default() };
        let (mut path, mut now) = (Path::new(&config), some_time());
        for _ in 0..10 {
            assert_eq!(path.on_timeout(now + SECOND, Some(now)), PeerStatus::Reachable);
            now += SECOND;
        }
        assert_eq!(path.on_timeout(now + SECOND, Some(now)), PeerStatus::Unreachable);
    }

    /// A third of the time is for asking, two thirds are for the answer.
    #[test]
    fn a_silent_peer_has_the_whole_time_and_two_thirds_of_it_for_its_answer() {
        let start = some_time();
        for (sent_at, given_up_at) in [(0, 60), (1, 60), (20, 60), (21, 61), (1000, 1040)] {
            let mut path = Path::new(&AssociationConfig::default());
            path.on_sign_of_life(start);
            let (since, end) = (start + sent_at * SECOND, start + given_up_at * SECOND);
            assert_eq!(path.on_timeout(end - Duration::from_nanos(1), Some(since)), PeerStatus::Reachable);
            assert_eq!(path.answer_time(end - Duration::from_nanos(1)), Duration::from_nanos(1), "asked at the end");
            assert_eq!(path.on_timeout(end, Some(since)), PeerStatus::Unreachable, "sent at {sent_at} s");
        }
        let mut path = Path::new(&AssociationConfig::default());
        path.on_sign_of_life(start);
        assert_eq!(path.on_timeout(start + 59 * SECOND, Some(start)), PeerStatus::Reachable);
        path.on_sign_of_life(start + 59 * SECOND);
        assert_eq!(path.on_timeout(start + 118 * SECOND, Some(start)), PeerStatus::Reachable, "it has answered");
        assert_eq!(path.on_timeout(start + 119 * SECOND, Some(start)), PeerStatus::Unreachable);
    }

    #[test]
    fn a_timer_that_fires_far_too_late_takes_its_lateness_off_the_silence_or_begins_it_anew() {
        let start = some_time();
        for (late, is_over) in [(0, true), (10, true), (11, true), (40, true), (41, false), (60, false), (61, false)] {
            let late = late * SECOND;
            let mut path = Path::new(&AssociationConfig::default());
            path.on_sign_of_life(start);
            let now = start + 100 * SECOND;
            path.check_suspension(now, now - late);
            assert_eq!(path.on_timeout(now, Some(start)) == PeerStatus::Unreachable, is_over, "{late:?} late");
            assert_eq!(path.on_timeout(now + 60 * SECOND, Some(now)), PeerStatus::Unreachable);
        }
    }

    #[test]
    fn a_heartbeat_ack_must_have_the_nonce_and_measures_once() {
        let (mut path, now) = (Path::new(&AssociationConfig::default()), some_time());
        path.on_heartbeat_sent(now, 7);
        assert_eq!(path.on_heartbeat_ack(now + SECOND, 8), None);
        assert_eq!(path.on_heartbeat_ack(now + SECOND, 7), Some(SECOND));
        assert_eq!(path.on_heartbeat_ack(now + SECOND, 7), None);
        assert!(!path.forget_heartbeat());
    }

    #[test]
    fn a_challenge_is_answered_once_and_only_the_last_one() {
        let mut path = Path::new(&AssociationConfig::default());
        path.on_challenge_sent(1);
        path.on_challenge_sent(2);
        assert!(!path.on_challenge_ack(1) && !path.take_validated());
        assert!(path.on_challenge_ack(2) && !path.on_challenge_ack(2));
        assert!(path.take_validated() && !path.take_validated());
    }
}
