//! A loss under repair: when it ends (RFC 9260 §7.2.4 step 6), and how fast data leaves meanwhile (RFC 6937).
//!
//! When much is found lost at once, the flight size falls far below the congestion window. Filling it at once would send a
//! burst into the queue that has just overflowed. Proportional rate reduction lets out what arrives, so that the window is
//! reached smoothly within a round trip.

/// One episode.
#[derive(Debug)]
pub(crate) struct Recovery {
    /// The last position sent when the loss was found; acknowledging it ends the episode.
    end: u64,
    /// Bytes in flight when the loss was found.
    flight_at_start: usize,
    /// Bytes acknowledged since.
    delivered: usize,
    /// Bytes sent since.
    sent: usize,
    /// Bytes that may be sent in answer to the last SACK.
    budget: usize,
}

impl Recovery {
    pub(crate) fn new(end: u64, flight_at_start: usize) -> Self {
        Self { end, flight_at_start: flight_at_start.max(1), delivered: 0, sent: 0, budget: 0 }
    }

    pub(crate) fn is_over(&self, cumulative: u64) -> bool {
        cumulative >= self.end
    }

    pub(crate) fn may_send(&self) -> bool {
        self.budget > 0
    }

    pub(crate) fn on_sent(&mut self, bytes: usize) {
        self.sent += bytes;
        self.budget = self.budget.saturating_sub(bytes);
    }

    /// A SACK acknowledged `bytes` for the first time; `window` is what the flight size is to become.
    pub(crate) fn on_acked(&mut self, bytes: usize, flight_size: usize, window: usize, mtu: usize) {
        self.delivered += bytes;
        self.budget = if flight_size > window {
            // RFC 6937 §3: proportional part.
            let target = (self.delivered as u128 * window as u128).div_ceil(self.flight_at_start as u128);
            usize::try_from(target).unwrap_or(usize::MAX).saturating_sub(self.sent)
        } else {
            // Slow-start part: what has left the network, and one packet more.
            let limit = self.delivered.saturating_sub(self.sent).max(bytes) + mtu;
            limit.min(window - flight_size)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: usize = 1200;

    #[test]
    fn a_mild_loss_halves_the_rate_at_once() {
        let mut recovery = Recovery::new(200, 100 * MTU);
        let (mut flight, mut sent) = (99 * MTU, 0);
        for _ in 0..98 {
            flight -= MTU;
            recovery.on_acked(MTU, flight, 50 * MTU, MTU);
            while recovery.may_send() && flight < 50 * MTU + 49 * MTU {
                recovery.on_sent(MTU);
                flight += MTU;
                sent += 1;
            }
        }
        assert!((45..=55).contains(&sent), "{sent} packets for 98 that arrived");
    }

    #[test]
    fn a_heavy_loss_is_no_reason_for_a_burst() {
        let mut recovery = Recovery::new(200, 100 * MTU);
        // 80 of 100 were lost: the flight is far below the window.
        let mut flight = 20 * MTU;
        for _ in 0..20 {
            flight -= MTU;
            recovery.on_acked(MTU, flight, 50 * MTU, MTU);
            let mut burst = 0;
            while recovery.may_send() {
                recovery.on_sent(MTU);
                flight += MTU;
                burst += 1;
            }
            assert!(burst <= 2, "a burst of {burst}");
        }
        assert!(flight > 30 * MTU, "the flight grows again, as in slow start");
    }

    #[test]
    fn the_episode_ends_with_what_was_outstanding_when_it_began() {
        let recovery = Recovery::new(10, 0);
        assert!(!recovery.is_over(9));
        assert!(recovery.is_over(10));
    }
}
