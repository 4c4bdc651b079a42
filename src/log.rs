//! Events of the log: a limit of their rate, and texts of peers in them.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Time between two events that a limit permits.
const PAUSE: Duration = Duration::from_secs(1);

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
    fn a_long_text_is_cut_between_two_characters() {
        assert_eq!(shortened(""), "");
        assert_eq!(shortened("news"), "news");
        assert_eq!(shortened(&"x".repeat(65_535)), "x".repeat(64));
        assert_eq!(shortened(&"€".repeat(100)), "€".repeat(21));
    }
}
