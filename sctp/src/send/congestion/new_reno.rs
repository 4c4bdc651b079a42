//! Congestion avoidance as RFC 9260 §7.2.2 has it.

use super::window::CongestionWindow;
use super::{Acked, CwndUsage};

#[derive(Clone, Debug, Default)]
pub(crate) struct NewReno {
    partial_bytes_acked: usize,
}

impl NewReno {
    pub(super) fn on_acked(&mut self, window: &mut CongestionWindow, acked: &Acked) {
        self.partial_bytes_acked += acked.bytes;
        if self.partial_bytes_acked >= window.cwnd {
            if acked.usage == CwndUsage::CwndLimited {
                self.partial_bytes_acked -= window.cwnd;
                window.cwnd += acked.pmdcs;
            } else {
                self.partial_bytes_acked = window.cwnd;
            }
        }
    }

    pub(super) fn on_loss(&mut self, window: &mut CongestionWindow, pmdcs: usize) {
        window.shrink(1, 2, pmdcs);
        self.partial_bytes_acked = 0;
    }

    pub(super) fn on_all_acked(&mut self) {
        self.partial_bytes_acked = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{MTU, acked, after_loss, loss_based};
    use super::super::{Acked, CwndUsage};
    use crate::config::CongestionControl::NewReno;

    #[test]
    fn avoidance_adds_one_packet_a_round() {
        let mut reno = after_loss(NewReno, 20 * MTU);
        let start = reno.cwnd();
        reno.window.cwnd += MTU;
        let mut total = 0;
        while total < reno.cwnd() {
            reno.on_acked(&acked(MTU));
            total += MTU;
        }
        assert_eq!(reno.cwnd(), start + 2 * MTU);
    }

    #[test]
    fn partial_bytes_acked_starts_over_when_everything_is_acknowledged() {
        let mut reno = after_loss(NewReno, 20 * MTU);
        reno.window.cwnd += MTU;
        let start = reno.cwnd();
        reno.on_acked(&acked(start - MTU));
        reno.on_all_acked();
        reno.on_acked(&acked(MTU));
        assert_eq!(reno.cwnd(), start, "RFC 9260 §7.2.2");
        reno.on_acked(&acked(start - MTU));
        assert_eq!(reno.cwnd(), start + MTU);
    }

    #[test]
    fn bytes_beyond_the_window_count_for_the_next() {
        let mut reno = after_loss(NewReno, 20 * MTU);
        reno.window.cwnd += MTU;
        let start = reno.cwnd();
        reno.on_acked(&acked(start - 1));
        assert_eq!(reno.cwnd(), start, "a byte is missing");
        reno.on_acked(&acked(501));
        assert_eq!(reno.cwnd(), start + MTU);
        reno.on_acked(&acked(start + MTU - 501));
        assert_eq!(reno.cwnd(), start + MTU);
        reno.on_acked(&acked(1));
        assert_eq!(reno.cwnd(), start + 2 * MTU);
    }

    /// RFC 9260 §7.2.2: a window that was not used does not grow, and saves one window of bytes at most.
    #[test]
    fn partial_bytes_acked_is_at_most_the_window_while_the_window_is_not_used() {
        let mut reno = after_loss(NewReno, 20 * MTU);
        reno.window.cwnd += MTU;
        let start = reno.cwnd();
        reno.on_acked(&Acked { usage: CwndUsage::PacingLimited, ..acked(5 * start) });
        assert_eq!(reno.cwnd(), start);
        reno.on_acked(&acked(MTU));
        assert_eq!(reno.cwnd(), start + MTU);
        reno.on_acked(&acked(start - 1));
        assert_eq!(reno.cwnd(), start + MTU);
        reno.on_acked(&acked(1));
        assert_eq!(reno.cwnd(), start + 2 * MTU);
    }

    #[test]
    fn a_loss_forgets_partial_bytes_acked() {
        let mut reno = after_loss(NewReno, 20 * MTU);
        reno.window.cwnd += MTU;
        reno.on_acked(&acked(10 * MTU));
        reno.on_loss(MTU);
        let start = reno.cwnd();
        reno.window.ssthresh = start - 1;
        reno.on_acked(&acked(start - 1));
        assert_eq!(reno.cwnd(), start);
    }

    #[test]
    fn loss_halves_and_a_time_out_starts_over() {
        let mut reno = loss_based(NewReno);
        reno.window.cwnd = 100 * MTU;
        reno.on_loss(MTU);
        assert_eq!((reno.cwnd(), reno.window.ssthresh), (50 * MTU, 50 * MTU));
        reno.on_timeout(MTU);
        assert_eq!((reno.cwnd(), reno.window.ssthresh), (MTU, 25 * MTU));
        for _ in 0..10 {
            reno.on_timeout(MTU);
            reno.on_loss(MTU);
            reno.check_consistency(MTU);
        }
    }
}
