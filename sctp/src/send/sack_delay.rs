//! Time by which the peer delays the SACK of a packet that is alone (RFC 9260 §6.2).
//!
//! A tail loss probe that leaves before such a SACK can be here repeats data for nothing. So the probe waits longer if
//! a single packet is in flight: first for as long as stacks commonly delay a SACK, then for as long as this peer does.

use crate::time::Duration;

/// Allowance for a peer of which nothing is known (RFC 8985 §7.2: `TLP.max_ack_delay`), or that has just taken longer
/// than was allowed for.
const ALLOWANCE_INITIAL: Duration = Duration::from_millis(25);

/// A SACK must not be delayed for longer (RFC 9260 §6.2).
const ALLOWANCE_MAX: Duration = Duration::from_millis(500);

/// Share by which a SACK that comes sooner lowers the allowance.
const DECAY: u32 = 16;

/// Allowances for the delay of a SACK, beyond the smoothed round-trip time.
#[derive(Debug)]
pub(super) struct PeerSackDelay {
    /// For a packet that may be delayed.
    delayed: Duration,
    /// For a packet that asks for a SACK at once (RFC 7053): zero, unless the peer does not comply.
    requested: Duration,
}

impl PeerSackDelay {
    pub(super) fn new() -> Self {
        Self { delayed: ALLOWANCE_INITIAL, requested: Duration::ZERO }
    }

    /// Returns the allowance for a packet. `asks`: the packet asks for a SACK at once.
    pub(super) fn allowance(&self, asks_for_sack: bool) -> Duration {
        if asks_for_sack { self.requested } else { self.delayed }
    }

    /// Handles the SACK of a packet that was alone in flight. It came this much later than the smoothed round-trip
    /// time.
    pub(super) fn on_sample(&mut self, asks_for_sack: bool, late: Duration) {
        let allowance = if asks_for_sack { &mut self.requested } else { &mut self.delayed };
        let decayed = allowance.saturating_sub(allowance.saturating_sub(late) / DECAY);
        *allowance = decayed.max(late).min(ALLOWANCE_MAX);
    }

    /// Handles a probe that was needless: the SACK was only late. It gives no sample (Karn), so the allowance doubles.
    pub(super) fn on_needless_probe(&mut self, asks_for_sack: bool) {
        let allowance = if asks_for_sack { &mut self.requested } else { &mut self.delayed };
        *allowance = (2 * *allowance).clamp(ALLOWANCE_INITIAL, ALLOWANCE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_allowance_is_what_the_peer_takes_and_falls_slowly() {
        let mut delay = PeerSackDelay::new();
        assert_eq!([delay.allowance(false), delay.allowance(true)], [25 * MS, Duration::ZERO], "RFC 8985 §7.2");
        delay.on_sample(false, 185 * MS);
        assert_eq!([delay.allowance(false), delay.allowance(true)], [185 * MS, Duration::ZERO]);
        delay.on_sample(false, 25 * MS);
        assert_eq!(delay.allowance(false), 175 * MS, "a sixteenth of the difference");
        for _ in 0..200 {
            delay.on_sample(false, Duration::ZERO);
        }
        assert!(delay.allowance(false) < MS);
        delay.on_sample(false, Duration::from_secs(9));
        assert_eq!(delay.allowance(false), 500 * MS, "no SACK may be delayed for longer");
    }

    #[test]
    fn a_peer_that_does_not_answer_at_once_when_asked_is_known_for_it() {
        let mut delay = PeerSackDelay::new();
        delay.on_sample(true, 3 * MS);
        assert_eq!(delay.allowance(true), 3 * MS);
        for expected in [25, 50, 100, 200, 400, 500, 500] {
            delay.on_needless_probe(true);
            assert_eq!(delay.allowance(true), expected * MS);
        }
        assert_eq!(delay.allowance(false), 25 * MS, "that is another matter");
        for _ in 0..600 {
            delay.on_sample(true, Duration::ZERO);
        }
        assert!(delay.allowance(true) < MS);
    }
}
