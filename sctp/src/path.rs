//! The one path to the peer: its packet size, round-trip time, and whether it is alive.

mod rto;

pub(crate) use rto::Rto;

use std::time::{Duration, Instant};

use crate::config::AssociationConfig;

/// Time-outs in a row after which the path may be another one, or none: one is often the loss of a single packet.
const SUSPECT_ERRORS: u32 = 2;

/// What an association knows of its path. RFC 9260 allows several; under UDP and DTLS there is one.
#[derive(Debug)]
pub(crate) struct Path {
    /// Largest packet, in bytes.
    pub(crate) mtu: usize,
    pub(crate) rto: Rto,
    /// Time-outs in a row (RFC 9260 §8.1).
    error_count: u32,
    /// When the last of them was counted.
    counted_at: Option<Instant>,
    error_count_max: u32,
    /// When the first of what these time-outs were for was sent.
    unanswered_since: Option<Instant>,
    unanswered_max: Option<Duration>,
    /// True if there were [`SUSPECT_ERRORS`] time-outs in a row, and nobody has asked since.
    is_suspect: bool,
    /// The HEARTBEAT that waits for its answer.
    heartbeat: Option<Heartbeat>,
    /// What the last probe of another path asked.
    probe: Option<u64>,
    /// Whether it was answered.
    is_proven: bool,
}

#[derive(Clone, Copy, Debug)]
struct Heartbeat {
    nonce: u64,
    sent_at: Instant,
}

impl Path {
    pub(crate) fn new(config: &AssociationConfig) -> Self {
        Self {
            // Chunks are padded to 4 bytes, so the last 1 to 3 bytes of an odd MTU are of no use.
            mtu: config.mtu & !3,
            rto: Rto::new(config),
            error_count: 0,
            counted_at: None,
            error_count_max: config.association_max_retransmits,
            unanswered_since: None,
            unanswered_max: config.association_timeout,
            is_suspect: false,
            heartbeat: None,
            probe: None,
            is_proven: false,
        }
    }

    pub(crate) fn on_probe_sent(&mut self, nonce: u64) {
        self.probe = Some(nonce);
    }

    /// Whether this answers the last probe.
    pub(crate) fn on_probe_ack(&mut self, nonce: u64) -> bool {
        let is_answer = self.probe.take_if(|probe| *probe == nonce).is_some();
        self.is_proven |= is_answer;
        is_answer
    }

    pub(crate) fn take_proof(&mut self) -> bool {
        std::mem::take(&mut self.is_proven)
    }

    /// The peer has shown that it is there (RFC 9260 §8.1).
    pub(crate) fn on_sign_of_life(&mut self) {
        self.error_count = 0;
        self.unanswered_since = None;
        self.is_suspect = false;
        // The next time-out is of another silence, whenever its timer was started.
        self.counted_at = None;
    }

    /// What was sent at `since` went unanswered until `now`. Returns true if the peer counts as unreachable from now on.
    ///
    /// DATA, HEARTBEAT, RE-CONFIG and SHUTDOWN have a timer each, and several may wait in the same silence. It is one
    /// silence, so it is counted once and backs the time-out off once: a timer that was started before the last time-out that
    /// counted has nothing new to say.
    #[must_use]
    pub(crate) fn on_timeout(&mut self, now: Instant, since: Option<Instant>) -> bool {
        if since < self.counted_at {
            return false;
        }
        self.counted_at = Some(now);
        self.rto.back_off();
        self.error_count = self.error_count.saturating_add(1);
        self.is_suspect |= self.error_count == SUSPECT_ERRORS;
        let since = *self.unanswered_since.get_or_insert(since.unwrap_or(now));
        self.error_count > self.error_count_max || self.unanswered_max.is_some_and(|max| now >= since + max)
    }

    /// How long the answer to what is sent now is waited for. A peer that has little time is asked each quarter of it, and at
    /// its end.
    pub(crate) fn answer_time(&self, now: Instant) -> Duration {
        let Some(max) = self.unanswered_max else { return self.rto.current() };
        let timeout = self.rto.current().min((max / 4).max(self.rto.without_back_off()));
        let left = self.unanswered_since.map(|since| (since + max).saturating_duration_since(now));
        left.map_or(timeout, |left| timeout.min(left))
    }

    /// Returns `true` once after two time-outs in a row.
    pub(crate) fn take_suspicion(&mut self) -> bool {
        std::mem::take(&mut self.is_suspect)
    }

    pub(crate) fn on_heartbeat_sent(&mut self, now: Instant, nonce: u64) {
        self.heartbeat = Some(Heartbeat { nonce, sent_at: now });
    }

    /// Takes the outstanding HEARTBEAT as lost. Returns false if there is none.
    pub(crate) fn forget_heartbeat(&mut self) -> bool {
        self.heartbeat.take().is_some()
    }

    /// Returns the round-trip time if the answer fits what was asked (RFC 9260 §8.3). Only the nonce is believed; the
    /// time of sending was never on the wire.
    pub(crate) fn on_heartbeat_ack(&mut self, now: Instant, nonce: u64) -> Option<Duration> {
        let heartbeat = self.heartbeat.filter(|heartbeat| heartbeat.nonce == nonce)?;
        self.heartbeat = None;
        self.on_sign_of_life();
        Some(now.saturating_duration_since(heartbeat.sent_at))
    }

    pub(crate) fn check_consistency(&self) {
        assert!(self.mtu >= 576 && self.mtu.is_multiple_of(4));
        assert!(self.error_count <= self.error_count_max + 1, "an association outlived its error limit");
        self.rto.check_consistency();
    }
}
