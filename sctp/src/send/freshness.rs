//! Values that tell for how long messages may wait: the rate seen, the policy of a stream, the table of deadlines.

use std::collections::BTreeSet;

use crate::message::StreamId;
use crate::send_policy::SendPolicy;
use crate::time::{Duration, Instant};

/// Rate at which chunks are expected to leave: a congestion window in each round trip.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RateSeen {
    /// Bytes of the congestion window.
    pub(crate) cwnd: usize,
    /// Bytes of it that are free now.
    pub(crate) free: usize,
    /// `None` if the rate is not known.
    pub(crate) srtt: Option<Duration>,
    /// True if the window doubles with each round trip.
    pub(crate) is_slow_start: bool,
    /// Bytes of chunks that a packet takes.
    pub(crate) packet: usize,
}

impl RateSeen {
    /// Returns the time until so many bytes have left, if nothing goes before them. While nothing is in flight half of
    /// it: no rate was seen that they would exceed, and a window that is never filled would never grow. What exceeds
    /// the free window waits for an acknowledgement, which makes room for a whole packet.
    pub(super) fn time_for(self, bytes: usize) -> Duration {
        let Some(srtt) = self.srtt else { return Duration::ZERO };
        let (mut left, mut window) = (bytes.saturating_sub(self.free), self.cwnd.max(1));
        left = left.checked_next_multiple_of(self.packet).unwrap_or(left);
        let mut time = Duration::ZERO;
        while self.is_slow_start && left > window {
            left -= window;
            window = window.saturating_mul(2);
            time = time.saturating_add(srtt);
        }
        let time = time.saturating_add(scale(srtt, left, window));
        if self.free >= self.cwnd { time / 2 } else { time }
    }

    /// Returns the number of bytes that leave within a time, if nothing goes before them. `None` if the rate is not
    /// known.
    pub(super) fn bytes_in(self, time: Duration) -> Option<usize> {
        let srtt = self.srtt?.as_micros().max(1);
        usize::try_from(self.cwnd as u128 * time.as_micros() / srtt).ok()
    }
}

/// Returns `time * numerator / denominator`.
fn scale(time: Duration, numerator: usize, denominator: usize) -> Duration {
    let nanos = time.as_nanos() * numerator as u128 / denominator as u128;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Bytes charged for each stream with a deadline: its state, and an entry in the table.
const DEADLINE_OVERHEAD: usize = 192;

/// State of one stream's rules. A stream with the default policy has none unless a message waits with a deadline.
#[derive(Debug, Default)]
pub(super) struct Freshness {
    pub(super) policy: SendPolicy,
    /// Entry of the stream in [`Expiries`]: no message has a deadline before.
    pub(super) expires_at: Option<Instant>,
    /// True if a message may have a deadline before that of one in front of it.
    pub(super) is_unsorted: bool,
}

/// Streams by the earliest deadline of a message that waits on them, or by an earlier time. The entry of a stream is
/// brought up to date when its time has come, so that messages which leave in time cost nothing.
#[derive(Debug, Default)]
pub(super) struct Expiries(pub(super) BTreeSet<(Instant, StreamId)>);

impl Expiries {
    pub(super) fn set(&mut self, stream: StreamId, freshness: &mut Option<Box<Freshness>>, at: Option<Instant>) {
        let before = freshness.as_ref().and_then(|freshness| freshness.expires_at);
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.0.remove(&(before, stream));
        }
        self.0.extend(at.map(|at| (at, stream)));
        freshness.get_or_insert_default().expires_at = at;
        freshness.take_if(|freshness| at.is_none() && freshness.policy == SendPolicy::DEFAULT);
    }

    /// Returns the number of bytes that the send buffer counts for the deadlines of streams.
    pub(super) fn charge(&self) -> usize {
        self.0.len() * DEADLINE_OVERHEAD
    }
}
