//! Ids on which this end has answered a reset though no channel here used them.

use std::collections::BTreeSet;

use narrowboat_sctp::StreamId;
use narrowboat_sctp::time::{Duration, Instant};

/// An id is remembered for once to twice this time. The peer's answer to our reset comes within a round trip of its
/// being performed, and a peer that uses the id again is answered as before.
const MEMORY: Duration = Duration::from_secs(10);

/// Ids that are remembered of each period: some 10 KiB. A peer that has more of its unused streams answered in that
/// time is not answered until the period is over.
const IDS_MAX: usize = 1_024;

/// Ids on which this end has answered the peer's reset, with no use by either end since.
///
/// A peer that resets a stream waits for this end to reset it, too, even if there is no channel here: its application
/// may have made a negotiated one alone. So such a reset is answered. The peer may see our reset when it does not use
/// the stream either: a forger has altered an answer, or the request was repeated under another number. It then answers
/// for the same reason, and so would this end, for ever. Nothing in a request tells an answer from a beginning.
/// Therefore an end answers once, and not again until the stream was used, or the memory of it has faded:
///
/// | the stream at this end | the peer's reset of it |
/// | --- | --- |
/// | has a channel, or messages that wait for one | answered, as part of closing |
/// | in use without a channel, and not reset by this end | answered |
/// | free | answered, and remembered |
/// | free, and remembered | performed, not answered |
///
/// Of two ends that follow this rule, each sends at most one answer more than closing takes, in whatever state they
/// begin.
#[derive(Debug, Default)]
pub(crate) struct AnsweredResets {
    recent: BTreeSet<StreamId>,
    older: BTreeSet<StreamId>,
    /// Begin of the period of `recent`.
    since: Option<Instant>,
}

impl AnsweredResets {
    /// Handles the peer's reset of this free stream. Returns true if the reset is to be answered, and records the
    /// answer.
    pub(crate) fn take_answer(&mut self, now: Instant, id: StreamId) -> bool {
        self.fade(now);
        self.recent.len() < IDS_MAX && !self.older.contains(&id) && self.recent.insert(id)
    }

    /// Notes that the stream is free again. If its reset was answered, the memory of it begins here: that took as long
    /// as the network wanted.
    pub(crate) fn on_free(&mut self, now: Instant, id: StreamId) {
        self.fade(now);
        if self.recent.len() < IDS_MAX && self.older.remove(&id) {
            self.recent.insert(id);
        }
    }

    /// Notes that the stream is in use.
    pub(crate) fn on_used(&mut self, id: StreamId) {
        self.recent.remove(&id);
        self.older.remove(&id);
    }

    fn fade(&mut self, now: Instant) {
        let age = self.since.map_or(Duration::MAX, |since| now.saturating_duration_since(since));
        if age < MEMORY {
            return;
        }
        self.older = std::mem::take(&mut self.recent);
        if age >= 2 * MEMORY {
            self.older.clear();
        }
        self.since = Some(now);
    }

    pub(crate) fn check_consistency(&self) {
        assert!(self.recent.len() <= IDS_MAX && self.older.len() <= IDS_MAX);
        assert!(self.since.is_some() || self.recent.is_empty(), "a period has a beginning");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some_time() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "any instant will do")]
        Instant::now()
    }

    #[test]
    fn an_id_is_remembered_until_it_is_used_or_the_memory_fades() {
        let (mut answered, start) = (AnsweredResets::default(), some_time());
        answered.on_free(start, StreamId(5));
        assert!(answered.take_answer(start, StreamId(5)), "a stream that was in use");
        assert!(!answered.take_answer(start, StreamId(5)));
        answered.on_used(StreamId(5));
        assert!(answered.take_answer(start, StreamId(5)) && answered.take_answer(start, StreamId(7)));
        assert!(!answered.take_answer(start + MEMORY, StreamId(7)), "the period before");
        answered.on_used(StreamId(7));
        assert!(answered.take_answer(start + MEMORY, StreamId(7)));
        answered.on_free(start + MEMORY, StreamId(5));
        assert_eq!([5, 7].map(|id| answered.take_answer(start + 2 * MEMORY, StreamId(id))), [false; 2]);
        assert_eq!([5, 7].map(|id| answered.take_answer(start + 3 * MEMORY, StreamId(id))), [true; 2]);
        assert!(answered.take_answer(start + 10 * MEMORY, StreamId(5)), "after a long silence");
        answered.check_consistency();
    }

    #[test]
    fn a_period_remembers_so_many_ids_and_answers_no_others() {
        let (mut answered, start) = (AnsweredResets::default(), some_time());
        for id in 0..10_000 {
            assert_eq!(answered.take_answer(start, StreamId(id)), usize::from(id) < IDS_MAX);
            answered.on_free(start, StreamId(id));
            answered.check_consistency();
        }
        assert!(answered.take_answer(start + MEMORY, StreamId(20_000)));
    }
}
