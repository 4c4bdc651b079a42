//! All deadlines of an association.

use crate::time::{Duration, Instant};

/// A timer, by its name in the RFCs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Timer {
    /// Guards INIT (RFC 9260 §5.1).
    T1Init,
    /// Guards COOKIE ECHO (RFC 9260 §5.1).
    T1Cookie,
    /// Guards SHUTDOWN and SHUTDOWN ACK (RFC 9260 §9.2).
    T2Shutdown,
    /// Guards DATA, and FORWARD-TSN (RFC 9260 §6.3, RFC 3758 §3.5 F1).
    T3Rtx,
    /// Ends a shutdown that does not get on (RFC 9260 §9.2).
    T5ShutdownGuard,
    /// Something was overtaken, and counts as lost from then on (RFC 8985 §6.3).
    Rack,
    /// Nothing was heard for a while: probe for a lost tail (RFC 8985 §7.2).
    TailLossProbe,
    /// The peer has no room, and may have said since that it has (RFC 9260 §6.1 A).
    WindowProbe,
    /// The pacer lets the next packet out (RFC 9002 §7.7).
    Pacing,
    /// Time for a HEARTBEAT, or for its answer (RFC 9260 §8.3).
    Heartbeat,
    /// Guards RE-CONFIG (RFC 6525 §5.1.1).
    Reconfig,
    /// Ends the delay of an acknowledgement (RFC 9260 §6.2).
    Sack,
    /// The time of a message that waits is over: its lifetime, or the latency budget of its stream (RFC 3758 §4.1).
    Lifetime,
}

impl Timer {
    const ALL: [Self; 13] = [
        Self::T1Init,
        Self::T1Cookie,
        Self::T2Shutdown,
        Self::T3Rtx,
        Self::T5ShutdownGuard,
        Self::Rack,
        Self::TailLossProbe,
        Self::WindowProbe,
        Self::Pacing,
        Self::Heartbeat,
        Self::Reconfig,
        Self::Sack,
        Self::Lifetime,
    ];
}

/// The armed timers.
#[derive(Debug, Default)]
pub(crate) struct TimerTable {
    deadlines: [Option<Instant>; Timer::ALL.len()],
    /// Time at which each timer was last [started](TimerTable::start).
    started: [Option<Instant>; Timer::ALL.len()],
    /// True if data was sent or acknowledged since the deadline of the tail loss probe was last computed.
    has_outdated_probe: bool,
}

impl TimerTable {
    pub(crate) fn set(&mut self, timer: Timer, deadline: Instant) {
        self.put(timer, Some(deadline));
    }

    /// Arms a timer that waits for an answer of the peer.
    pub(crate) fn start(&mut self, timer: Timer, now: Instant, timeout: Duration) {
        self.put(timer, Some(now + timeout));
        if let Some(slot) = self.started.get_mut(timer as usize) {
            *slot = Some(now);
        }
    }

    /// Returns the time at which a timer was last started, whether it still runs or not.
    pub(crate) fn started_at(&self, timer: Timer) -> Option<Instant> {
        self.started.get(timer as usize).copied().flatten()
    }

    pub(crate) fn stop(&mut self, timer: Timer) {
        self.put(timer, None);
    }

    pub(crate) fn put(&mut self, timer: Timer, deadline: Option<Instant>) {
        if let Some(slot) = self.deadlines.get_mut(timer as usize) {
            *slot = deadline;
        }
    }

    /// Notes that the deadline of the tail loss probe is to be computed anew: once for all packets of a batch.
    pub(crate) fn outdate_probe(&mut self) {
        self.has_outdated_probe = true;
    }

    /// Returns true once if the deadline of the tail loss probe is to be computed anew.
    pub(crate) fn take_outdated_probe(&mut self) -> bool {
        std::mem::take(&mut self.has_outdated_probe)
    }

    pub(crate) fn stop_all(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn deadline(&self, timer: Timer) -> Option<Instant> {
        self.deadlines.get(timer as usize).copied().flatten()
    }

    pub(crate) fn is_armed(&self, timer: Timer) -> bool {
        self.deadline(timer).is_some()
    }

    /// Returns the earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.deadlines.iter().flatten().min().copied()
    }

    /// Takes a timer that is due. A timer fires once, and never early.
    pub(crate) fn take_expired(&mut self, now: Instant) -> Option<Timer> {
        let timer = Timer::ALL.into_iter().find(|timer| self.deadline(*timer).is_some_and(|at| at <= now))?;
        self.stop(timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_timer_fires_once_and_not_early() {
        let start = crate::testing::some_time();
        let mut timers = TimerTable::default();
        for (index, timer) in Timer::ALL.into_iter().enumerate() {
            assert_eq!(timer as usize, index);
            timers.set(timer, start + Duration::from_millis(index as u64));
        }
        assert_eq!(timers.next(), Some(start));
        assert_eq!(timers.take_expired(start - Duration::from_nanos(1)), None);
        let late = start + Duration::from_secs(1);
        let mut fired = Vec::new();
        while let Some(timer) = timers.take_expired(late) {
            fired.push(timer);
        }
        assert_eq!(fired, Timer::ALL);
        assert_eq!(timers.next(), None);
    }
}
