//! All deadlines of an association.

use std::time::Instant;

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
    /// The pacer lets the next packet out (RFC 9002 §7.7).
    Pacing,
    /// Time for a HEARTBEAT, or for its answer (RFC 9260 §8.3).
    Heartbeat,
    /// Guards RE-CONFIG (RFC 6525 §5.1.1).
    Reconfig,
}

impl Timer {
    const ALL: [Self; 10] = [
        Self::T1Init,
        Self::T1Cookie,
        Self::T2Shutdown,
        Self::T3Rtx,
        Self::T5ShutdownGuard,
        Self::Rack,
        Self::TailLossProbe,
        Self::Pacing,
        Self::Heartbeat,
        Self::Reconfig,
    ];
}

/// The armed timers.
#[derive(Debug, Default)]
pub(crate) struct TimerTable([Option<Instant>; Timer::ALL.len()]);

impl TimerTable {
    pub(crate) fn set(&mut self, timer: Timer, deadline: Instant) {
        self.put(timer, Some(deadline));
    }

    pub(crate) fn stop(&mut self, timer: Timer) {
        self.put(timer, None);
    }

    pub(crate) fn put(&mut self, timer: Timer, deadline: Option<Instant>) {
        if let Some(slot) = self.0.get_mut(timer as usize) {
            *slot = deadline;
        }
    }

    pub(crate) fn stop_all(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn deadline(&self, timer: Timer) -> Option<Instant> {
        self.0.get(timer as usize).copied().flatten()
    }

    pub(crate) fn is_armed(&self, timer: Timer) -> bool {
        self.deadline(timer).is_some()
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.iter().flatten().min().copied()
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
    use std::time::Duration;

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
