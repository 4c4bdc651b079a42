//! Undoing the congestion response to a loss that was none: the chunks that counted as lost had only been overtaken, or
//! their SACKs were late.
//!
//! Evidence is what TCP has in the DSACK (RFC 3708), the Eifel algorithm (RFC 4015) and F-RTO (RFC 5682):
//!
//! - The peer reports the chunk as a duplicate: both the original and the retransmission have arrived.
//! - The chunk is acknowledged before it was retransmitted, or so soon afterwards that the retransmission cannot have
//!   been the cause.
//!
//! If there is such evidence for every chunk that counted as lost since the congestion window was reduced, the
//! reduction is undone. One chunk that was lost indeed justifies the reduction.

use std::collections::BTreeMap;

use super::congestion::BeforeLoss;
use crate::serial::UnwrappedTsn;
use crate::time::{Duration, Instant};

/// Chunks whose fate is followed. A reordering that overtakes more at once is not distinguished from a loss, which
/// bounds the memory.
const SUSPECTS_MAX: usize = 1024;

/// Smoothed round trips after a loss in which evidence is waited for: one for the retransmission's SACK, and as much
/// again for each of pacing, a queue and the reordering itself.
const EVIDENCE_ROUND_TRIPS: u32 = 4;

/// The last reduction of the congestion window, if it may still turn out needless.
#[derive(Debug, Default)]
pub(super) struct Undo {
    episode: Option<Episode>,
    /// The last TSN sent when a time-out expired that was undone. Another time-out before its acknowledgement shows
    /// that chunks were lost after all, and is not undone.
    undone_to: Option<UnwrappedTsn>,
}

/// A reduction, and the chunks that counted as lost since.
#[derive(Debug)]
struct Episode {
    before: BeforeLoss,
    /// The last TSN sent when T3-rtx expired. `None` if RACK found the loss.
    timeout_end: Option<UnwrappedTsn>,
    /// Chunks that counted as lost and are not known to have arrived without their retransmission, with the end of the
    /// time in which evidence of that can be expected.
    suspects: BTreeMap<UnwrappedTsn, Instant>,
    /// True if a chunk was lost beyond doubt, or if there are too many to tell.
    is_justified: bool,
    /// True if an original arrived that counted as lost when T3-rtx expired and was not retransmitted since.
    has_late_original: bool,
    /// End of the time in which evidence can be expected.
    until: Instant,
}

impl Undo {
    /// Begins an episode when RACK finds a loss, before the window is reduced. If the last one is still undecided, it
    /// goes on: the reductions of both are undone together, or neither. A loss for which no
    /// evidence to the contrary has come in time justifies the reduction, and ends the episode: needless reductions
    /// behind it are undone by themselves.
    pub(super) fn begin(&mut self, now: Instant, before: BeforeLoss) {
        let is_undecided = |episode: &Episode| {
            let may_be_needless = !episode.is_justified && episode.suspects.values().all(|until| now < *until);
            episode.timeout_end.is_none() && now < episode.until && may_be_needless
        };
        if !self.episode.as_ref().is_some_and(is_undecided) {
            self.episode = Some(Episode::new(now, before, None));
        }
    }

    /// Begins an episode when T3-rtx expires with `outstanding` chunks, the first and the last of them, before the
    /// window is reduced. Its evidence may take as long as `wait`.
    pub(super) fn begin_timeout(
        &mut self,
        now: Instant,
        before: BeforeLoss,
        outstanding: (UnwrappedTsn, UnwrappedTsn),
        wait: Duration,
    ) {
        let (first, end) = outstanding;
        if self.undone_to.is_some_and(|undone_to| first <= undone_to) {
            self.episode = None;
            return;
        }
        // A second time-out in a row reduces nothing more, so the state before the first one counts.
        let earlier = self.episode.take().filter(|episode| episode.timeout_end.is_some() && now < episode.until);
        let before = earlier.map_or(before, |episode| episode.before);
        self.episode = Some(Episode { until: now + wait, ..Episode::new(now, before, Some(end)) });
    }

    /// Returns true if the last reduction may still turn out needless.
    #[cfg(test)]
    pub(super) const fn is_followed(&self) -> bool {
        self.episode.is_some()
    }

    /// Forgets the episode, because the path is another one.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Forgets the episode if no evidence is expected any more. To be called when nothing is outstanding.
    pub(super) fn trim(&mut self, now: Instant) {
        self.episode.take_if(|episode| now >= episode.until);
    }

    /// Records that a chunk counts as lost. `is_retransmission`: it had been retransmitted before.
    pub(super) fn on_lost(&mut self, now: Instant, tsn: UnwrappedTsn, is_retransmission: bool, srtt: Duration) {
        let Some(episode) = &mut self.episode else { return };
        // A chunk that is lost twice: one duplicate would not tell which of the two losses was none.
        episode.is_justified |= is_retransmission || episode.suspects.len() >= SUSPECTS_MAX;
        let until = now + EVIDENCE_ROUND_TRIPS * srtt;
        if episode.is_justified {
            episode.suspects = BTreeMap::new();
        } else {
            episode.suspects.insert(tsn, until);
        }
        episode.until = episode.until.max(until);
    }

    /// Records that the original of a chunk has arrived: the peer reports a duplicate, or acknowledges the chunk too
    /// soon. Returns true if the chunk counted as lost.
    pub(super) fn on_original_arrived(&mut self, tsn: UnwrappedTsn) -> bool {
        self.episode.as_mut().is_some_and(|episode| episode.suspects.remove(&tsn).is_some())
    }

    /// Records that a chunk is acknowledged which counted as lost and was not retransmitted.
    pub(super) fn on_late_original(&mut self, tsn: UnwrappedTsn) {
        if let Some(episode) = &mut self.episode {
            episode.has_late_original |= episode.timeout_end.is_some_and(|end| tsn <= end);
        }
    }

    /// Returns the state to restore if the last time-out was needless: a SACK moves the Cumulative TSN Ack Point, and
    /// acknowledges chunks that were not retransmitted since (RFC 5682 §3.1). A SACK that acknowledges all that was
    /// outstanding does not tell: one retransmission may have filled the only gap.
    pub(super) fn take_needless_timeout(&mut self, cumulative: UnwrappedTsn, is_advanced: bool) -> Option<BeforeLoss> {
        let is_needless = |episode: &mut Episode| {
            episode.has_late_original && is_advanced && episode.timeout_end.is_some_and(|end| cumulative < end)
        };
        let episode = self.episode.take_if(is_needless)?;
        self.undone_to = episode.timeout_end;
        Some(episode.before)
    }

    /// Returns the state to restore if no chunk was lost. To be called when
    /// [`on_original_arrived`](Self::on_original_arrived) has removed a chunk.
    pub(super) fn take_needless_recovery(&mut self, now: Instant) -> Option<BeforeLoss> {
        let is_needless = |episode: &mut Episode| !episode.is_justified && episode.suspects.is_empty();
        let episode = self.episode.take_if(is_needless)?;
        (now < episode.until).then_some(episode.before)
    }
}

impl Episode {
    fn new(now: Instant, before: BeforeLoss, timeout_end: Option<UnwrappedTsn>) -> Self {
        let suspects = BTreeMap::new();
        Self { before, timeout_end, suspects, is_justified: false, has_late_original: false, until: now }
    }
}
