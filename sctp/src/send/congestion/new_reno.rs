//! Slow start and congestion avoidance as RFC 9260 §7.2 has them.

use std::time::{Duration, Instant};

use super::hystart::{CONSERVATIVE_DIVISOR, HyStart, Phase};
use super::{Acked, Controller};

/// Initial window in packets (RFC 6928). RFC 9260 says 4,404 bytes; ten packets is what TCP, QUIC and the browsers'
/// stacks have used for years, and saves two round trips at the start of every transfer.
const INITIAL_PACKETS: usize = 10;

/// RFC 9260 §7.2.1's L: packets by which one SACK may open the window in slow start. A receiver that reads in batches
/// sends one SACK for many packets, and L = 1 would then double the window once in many round trips. Growth is still
/// bounded by the bytes that were acknowledged, which is what defeats ACK splitting.
const PACKETS_PER_SACK_MAX: usize = 64;

#[derive(Debug)]
pub(crate) struct NewReno {
    mtu: usize,
    cwnd: usize,
    ssthresh: usize,
    partial_bytes_acked: usize,
    /// Slow start of the beginning; later ones have a threshold to go by.
    hystart: HyStart,
}

impl NewReno {
    /// `mtu`: bytes of user data and chunk headers that a packet takes (RFC 9260's PMDCS).
    pub(crate) fn new(mtu: usize) -> Self {
        Self { mtu, cwnd: INITIAL_PACKETS * mtu, ssthresh: usize::MAX, partial_bytes_acked: 0, hystart: HyStart::new() }
    }

    fn halved(&self) -> usize {
        (self.cwnd / 2).max(4 * self.mtu)
    }
}

impl Controller for NewReno {
    fn cwnd(&self) -> usize {
        self.cwnd
    }

    fn is_in_slow_start(&self) -> bool {
        self.cwnd < self.ssthresh
    }

    fn on_acked(&mut self, acked: Acked) {
        if acked.in_recovery {
            return;
        }
        // A window that was not used says nothing about what the path would have carried.
        let was_full = acked.flight_before + self.mtu > self.cwnd;
        if self.cwnd <= self.ssthresh {
            if self.ssthresh == usize::MAX {
                self.hystart.on_acked(acked.rtt, acked.is_new_round);
            }
            let growth = match self.hystart.phase() {
                Phase::Over if self.ssthresh == usize::MAX => {
                    self.ssthresh = self.cwnd;
                    return;
                }
                Phase::Conservative => acked.bytes / CONSERVATIVE_DIVISOR,
                Phase::Fast | Phase::Over => acked.bytes,
            };
            if was_full && acked.cumulative {
                self.cwnd += growth.min(PACKETS_PER_SACK_MAX * self.mtu);
            }
            return;
        }
        self.partial_bytes_acked += acked.bytes;
        if self.partial_bytes_acked >= self.cwnd {
            if was_full {
                self.partial_bytes_acked -= self.cwnd;
                self.cwnd += self.mtu;
            } else {
                self.partial_bytes_acked = self.cwnd;
            }
        }
    }

    fn on_loss(&mut self) {
        self.ssthresh = self.halved();
        self.cwnd = self.ssthresh;
        self.partial_bytes_acked = 0;
    }

    fn on_timeout(&mut self) {
        self.ssthresh = self.halved();
        self.cwnd = self.mtu;
        self.partial_bytes_acked = 0;
    }

    fn on_all_acked(&mut self) {
        self.partial_bytes_acked = 0;
    }

    fn on_idle(&mut self, last_sent: Instant, now: Instant, rto: Duration) {
        let floor = INITIAL_PACKETS * self.mtu;
        let mut idle = now.saturating_duration_since(last_sent);
        if idle < rto || self.cwnd <= floor {
            return;
        }
        self.ssthresh = self.ssthresh.max(self.cwnd);
        while idle >= rto && self.cwnd > floor {
            self.cwnd = (self.cwnd / 2).max(floor);
            idle -= rto;
        }
    }

    fn check_consistency(&self) {
        assert!(self.cwnd >= self.mtu, "a window below one packet");
        assert!(self.ssthresh >= 4 * self.mtu);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: usize = 1200;

    fn acked(bytes: usize, flight_before: usize) -> Acked {
        Acked { bytes, cumulative: true, flight_before, in_recovery: false, rtt: None, is_new_round: false }
    }

    #[test]
    fn slow_start_grows_by_what_was_acked_if_the_window_was_full() {
        let mut reno = NewReno::new(MTU);
        let start = reno.cwnd();
        reno.on_acked(acked(2 * MTU, start / 2));
        assert_eq!(reno.cwnd(), start, "half of the window was idle");
        reno.on_acked(acked(2 * MTU, start));
        assert_eq!(reno.cwnd(), start + 2 * MTU);
        reno.on_acked(Acked { cumulative: false, ..acked(MTU, reno.cwnd()) });
        assert_eq!(reno.cwnd(), start + 2 * MTU, "gap reports alone do not open the window");
    }

    #[test]
    fn avoidance_adds_one_packet_a_round() {
        let mut reno = NewReno::new(MTU);
        reno.on_loss();
        let start = reno.cwnd();
        reno.cwnd += MTU;
        let mut total = 0;
        while total < reno.cwnd() {
            reno.on_acked(acked(MTU, reno.cwnd()));
            total += MTU;
        }
        assert_eq!(reno.cwnd(), start + 2 * MTU);
    }

    #[test]
    fn loss_halves_and_a_time_out_starts_over() {
        let mut reno = NewReno::new(MTU);
        reno.cwnd = 100 * MTU;
        reno.on_loss();
        assert_eq!((reno.cwnd(), reno.ssthresh), (50 * MTU, 50 * MTU));
        reno.on_timeout();
        assert_eq!((reno.cwnd(), reno.ssthresh), (MTU, 25 * MTU));
        for _ in 0..10 {
            reno.on_timeout();
            reno.on_loss();
            reno.check_consistency();
        }
    }

    #[test]
    fn e13_ack_splitting_and_empty_sacks_earn_no_more_than_the_bytes_acked() {
        let mut reno = NewReno::new(MTU);
        let start = reno.cwnd();
        for _ in 0..1000 {
            reno.on_acked(acked(0, reno.cwnd()));
        }
        assert_eq!(reno.cwnd(), start);
        for _ in 0..12 {
            reno.on_acked(acked(100, reno.cwnd()));
        }
        assert_eq!(reno.cwnd(), start + MTU);
    }

    #[test]
    fn an_idle_window_shrinks_once_per_rto_to_the_initial_one() {
        let (mut reno, start, rto) = (NewReno::new(MTU), crate::testing::some_time(), Duration::from_secs(1));
        reno.cwnd = 160 * MTU;
        reno.on_idle(start, start + rto / 2, rto);
        assert_eq!(reno.cwnd(), 160 * MTU);
        reno.on_idle(start, start + 2 * rto, rto);
        assert_eq!(reno.cwnd(), 40 * MTU);
        reno.on_idle(start, start + 60 * rto, rto);
        assert_eq!(reno.cwnd(), INITIAL_PACKETS * MTU);
    }
}
