//! Policies for messages that wait too long on a stream.

use crate::time::Duration;

/// Most that waits on a stream before the oldest messages are dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitingMax {
    /// Bytes of user data.
    Bytes(usize),
    /// Messages.
    Messages(usize),
}

/// Policy for messages that wait on a stream and were not begun: they are sent however old they are, or dropped before
/// they cost anything.
///
/// A policy holds for all messages of its stream, reliable ones included: a message that is dropped was never sent, so
/// the order of the others stays, and the peer is told nothing. A message of which a part was sent is not dropped. The
/// policy is local, and works with peers without FORWARD-TSN. Each drop is counted, and reported by
/// [`AssociationEvent::Abandoned`](crate::AssociationEvent::Abandoned).
///
/// The default keeps reliable messages, and bounds the backlog of messages with
/// [`Reliability::MaxRetransmits`](crate::Reliability::MaxRetransmits): one that has waited for longer than
/// [`BACKLOG_TIME`](Self::BACKLOG_TIME) is dropped as long as more waits on the stream than can leave within that time
/// at the rate seen; for ordered messages the time is shorter, as with a [`latency_budget`](Self::latency_budget). So
/// an application that sends more than the path takes gets its latest messages through, instead of all of them later
/// and later; and nothing is dropped while the path keeps up. Messages with
/// [`Reliability::MaxLifetime`](crate::Reliability::MaxLifetime) have a bound of their own.
///
/// ```
/// # use std::time::Duration;
/// # use narrowboat_sctp::{SendPolicy, WaitingMax};
/// let positions = SendPolicy::new().drop_oldest(WaitingMax::Messages(1));
/// let voice = SendPolicy::new().latency_budget(Duration::from_millis(100));
/// let everything = SendPolicy::new();
/// assert_ne!(everything, SendPolicy::default());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SendPolicy {
    pub(crate) latency_budget: Option<Duration>,
    pub(crate) waiting_max: Option<WaitingMax>,
    /// True if the backlog of messages with a bounded number of retransmissions is bounded.
    pub(crate) bounds_backlog: bool,
}

impl SendPolicy {
    /// Time for which the default policy lets a backlog wait: 500 ms.
    ///
    /// State that is older is of little use to the applications that send unreliably. A shorter time would drop parts
    /// of bursts that a path takes within a few round trips of slow start.
    pub const BACKLOG_TIME: Duration = Duration::from_millis(500);

    pub(crate) const DEFAULT: Self = Self { latency_budget: None, waiting_max: None, bounds_backlog: true };

    /// Returns a policy that drops nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { latency_budget: None, waiting_max: None, bounds_backlog: false }
    }

    /// Drops a message that has not been begun this long after it was passed to `send`, and one whose end cannot leave
    /// by then at the rate seen: the congestion window over the round-trip time. The time for which the message then
    /// travels is not included. A budget of zero sends what can be begun at once.
    ///
    /// The peer holds an ordered message back while one before it is missing. For messages that are ordered and have a
    /// limit of retransmissions the time until the peer learns of such a loss, some round trips, is therefore taken
    /// off the budget, up to two thirds of it: they arrive no later than unordered ones if the budget is more than
    /// twice the round-trip time.
    #[must_use]
    pub const fn latency_budget(mut self, budget: Duration) -> Self {
        self.latency_budget = Some(budget);
        self
    }

    /// Drops the oldest messages when more than this waits, instead of refusing the new one. The new one itself is
    /// always accepted: it may be larger than the bound alone.
    #[must_use]
    pub const fn drop_oldest(mut self, max: WaitingMax) -> Self {
        self.waiting_max = Some(max);
        self
    }
}

impl Default for SendPolicy {
    fn default() -> Self {
        Self::DEFAULT
    }
}
