//! Events of the log: a limit of their rate, and texts of peers in them.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time between two events that a limit permits.
const PAUSE: Duration = Duration::from_secs(1);

/// Time without overload after which it counts as over.
const OVERLOAD_ENDS_AFTER: Duration = Duration::from_secs(5);

/// Bytes of a peer's text that an event shows.
const TEXT_LEN_MAX: usize = 64;

/// Limits a warning to one per second, so that a cause that all associations share does not fill the log.
#[derive(Debug, Default)]
pub(crate) struct EventLimit(Mutex<LimitState>);

#[derive(Debug, Default)]
struct LimitState {
    permitted_at: Option<Instant>,
    suppressed: u64,
}

impl EventLimit {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(LimitState { permitted_at: None, suppressed: 0 }))
    }

    /// Returns the number of events that were suppressed since the last one, if another one may be emitted now.
    pub(crate) fn permit(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.permitted_at.is_some_and(|at| now.saturating_duration_since(at) < PAUSE) {
            state.suppressed += 1;
            return None;
        }
        state.permitted_at = Some(now);
        Some(std::mem::take(&mut state.suppressed))
    }
}

/// Reports the beginning and the end of an overload by new peers.
#[derive(Debug, Default)]
pub(crate) struct OverloadReport {
    /// Time at which the overload is over unless it goes on; `None` if there is none.
    ends_at: Option<Instant>,
}

impl OverloadReport {
    /// Handles the present load.
    pub(crate) fn on_load(&mut self, now: Instant, is_busy: bool) {
        if is_busy {
            if self.ends_at.replace(now + OVERLOAD_ENDS_AFTER).is_none() {
                tracing::warn!("overload by new peers begins: they are asked to prove their addresses");
            }
        } else if self.ends_at.take_if(|at| *at <= now).is_some() {
            tracing::warn!("overload by new peers ends");
        }
    }

    /// Returns the time at which to call [`on_load`](Self::on_load), if at all.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.ends_at
    }
}

/// Returns the beginning of a peer's text. The rest could fill the log.
pub(crate) fn shortened(text: &str) -> &str {
    let mut ends = text.char_indices().map(|(at, letter)| at + letter.len_utf8());
    let end = ends.by_ref().take_while(|end| *end <= TEXT_LEN_MAX).last().unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_permits_one_event_per_second_and_counts_the_others() {
        let (limit, now) = (EventLimit::new(), Instant::now());
        assert_eq!(limit.permit(now), Some(0));
        for millis in [0, 1, 500, 999] {
            assert_eq!(limit.permit(now + Duration::from_millis(millis)), None);
        }
        assert_eq!(limit.permit(now + Duration::from_secs(1)), Some(4));
        assert_eq!(limit.permit(now + Duration::from_millis(1999)), None);
        assert_eq!(limit.permit(now + Duration::from_secs(60)), Some(1));
    }

    #[test]
    fn an_overload_ends_five_seconds_after_the_last_load() {
        let (mut report, now) = (OverloadReport::default(), Instant::now());
        report.on_load(now, false);
        assert_eq!(report.poll_timeout(), None);
        report.on_load(now, true);
        report.on_load(now + Duration::from_secs(3), true);
        report.on_load(now + Duration::from_millis(7999), false);
        assert_eq!(report.poll_timeout(), Some(now + Duration::from_secs(8)));
        report.on_load(now + Duration::from_secs(8), false);
        assert_eq!(report.poll_timeout(), None);
    }

    #[test]
    fn a_long_text_is_cut_between_two_characters() {
        assert_eq!(shortened(""), "");
        assert_eq!(shortened("news"), "news");
        assert_eq!(shortened(&"x".repeat(65_535)), "x".repeat(64));
        assert_eq!(shortened(&"€".repeat(100)), "€".repeat(21));
    }
}
