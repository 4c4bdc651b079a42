//! Congestion avoidance as RFC 9260 §7.2 has it.

use std::time::{Duration, Instant};

use super::window::CongestionWindow;
use super::{Acked, Controller, CwndUsage};

#[derive(Debug)]
pub(crate) struct NewReno {
    window: CongestionWindow,
    partial_bytes_acked: usize,
}

impl NewReno {
    /// `mtu`: bytes of user data and chunk headers that a packet takes (RFC 9260's PMDCS).
    pub(crate) fn new(mtu: usize) -> Self {
        Self { window: CongestionWindow::new(mtu), partial_bytes_acked: 0 }
    }
}

impl Controller for NewReno {
    fn cwnd(&self) -> usize {
        self.window.cwnd
    }

    fn is_in_slow_start(&self) -> bool {
        self.window.cwnd < self.window.ssthresh
    }

    fn on_acked(&mut self, acked: Acked) {
        if acked.in_recovery || self.window.slow_start(&acked) {
            return;
        }
        self.partial_bytes_acked += acked.bytes;
        if self.partial_bytes_acked >= self.window.cwnd {
            if acked.usage == CwndUsage::Full {
                self.partial_bytes_acked -= self.window.cwnd;
                self.window.cwnd += self.window.mtu;
            } else {
                self.partial_bytes_acked = self.window.cwnd;
            }
        }
    }

    fn on_loss(&mut self) {
        self.window.shrink(1, 2);
        self.partial_bytes_acked = 0;
    }

    fn on_timeout(&mut self) {
        self.on_loss();
        self.window.collapse();
    }

    fn on_all_acked(&mut self) {
        self.partial_bytes_acked = 0;
    }

    fn on_idle(&mut self, last_sent: Instant, now: Instant, rto: Duration) {
        self.window.on_idle(last_sent, now, rto);
    }

    fn check_consistency(&self) {
        self.window.check_consistency();
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{MTU, acked};
    use super::*;

    #[test]
    fn avoidance_adds_one_packet_a_round() {
        let mut reno = NewReno::new(MTU);
        reno.on_loss();
        let start = reno.cwnd();
        reno.window.cwnd += MTU;
        let mut total = 0;
        while total < reno.cwnd() {
            reno.on_acked(acked(MTU));
            total += MTU;
        }
        assert_eq!(reno.cwnd(), start + 2 * MTU);
    }

    #[test]
    fn loss_halves_and_a_time_out_starts_over() {
        let mut reno = NewReno::new(MTU);
        reno.window.cwnd = 100 * MTU;
        reno.on_loss();
        assert_eq!((reno.cwnd(), reno.window.ssthresh), (50 * MTU, 50 * MTU));
        reno.on_timeout();
        assert_eq!((reno.cwnd(), reno.window.ssthresh), (MTU, 25 * MTU));
        for _ in 0..10 {
            reno.on_timeout();
            reno.on_loss();
            reno.check_consistency();
        }
    }
}
