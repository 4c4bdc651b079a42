//! Competition with flows that keep the queue filled.
//!
//! A probe finds no bandwidth where others fill the queue. It takes theirs: the losses that it causes shrink their
//! windows, and not this one. So there is no probe while the queue stays. Instead the window follows CUBIC's curve
//! (RFC 9438), and a loss shrinks it as it shrinks theirs.

use super::cycle::BbrState;
use super::window::packets_min;
use super::{Acked, Bbr};
use crate::send::congestion::cubic::Cubic;
use crate::send::congestion::window::CongestionWindow;
use crate::time::{Duration, Instant};

/// Successive rounds with a queue after which others keep it.
const STANDING_ROUNDS: u32 = 2;

/// A round has a queue if its least round-trip time is above that of the path by more than this part.
const QUEUE_DIVISOR: u32 = 8;

/// Growth of the window, in packets a cubic second: half of CUBIC's, so that `NewReno` gets its share too.
const GROWTH: f64 = 0.2;

/// Share of the window, in percent, that is kept if no loss has shrunk it for the time between two probes of the
/// round-trip time.
const KEPT_SHARE: usize = 85;

/// A queue that is not empty at any time of a round.
#[derive(Debug, Default)]
pub(super) struct StandingQueue {
    /// The least round-trip time of the round under way.
    least: Option<Duration>,
    /// Successive rounds with a queue.
    rounds: u32,
}

impl StandingQueue {
    pub(super) fn is_standing(&self) -> bool {
        self.rounds >= STANDING_ROUNDS
    }

    pub(super) fn on_sample(&mut self, rtt: Option<Duration>, min_rtt: Option<Duration>, is_round_start: bool) {
        if is_round_start && let (Some(least), Some(min_rtt)) = (self.least.take(), min_rtt) {
            let has_queue = least > min_rtt + min_rtt / QUEUE_DIVISOR;
            self.rounds = if has_queue { self.rounds.saturating_add(1) } else { 0 };
        }
        self.least = self.least.into_iter().chain(rtt).min();
    }

    /// Forgets the rounds so far, because the queue is this flow's own.
    pub(super) fn restart(&mut self) {
        *self = Self::default();
    }
}

/// The window beside others.
#[derive(Clone, Debug)]
pub(super) struct Competition {
    window: CongestionWindow,
    cubic: Cubic,
    /// True if a loss has shrunk the window since the last probe of the round-trip time.
    has_reduced: bool,
    /// True while a probe of the round-trip time interrupts the competition.
    pub(super) is_interrupted: bool,
}

impl Competition {
    pub(super) fn new(pmdcs: usize) -> Self {
        let (window, cubic) = (CongestionWindow::new(pmdcs), Cubic::new(GROWTH));
        Self { window, cubic, has_reduced: false, is_interrupted: false }
    }

    pub(super) fn cwnd(&self) -> usize {
        self.window.cwnd
    }

    /// Begins with `flight_size` bytes in flight. The curve still knows the window at the last loss.
    pub(super) fn begin(&mut self, flight_size: usize, cwnd_min: usize) {
        self.window.cwnd = flight_size.max(cwnd_min);
        self.cubic.on_idle();
        (self.has_reduced, self.is_interrupted) = (false, false);
    }

    pub(super) fn on_acked(&mut self, acked: &Acked) {
        if !acked.in_recovery {
            self.cubic.on_acked(&mut self.window, acked);
        }
    }

    pub(super) fn on_loss(&mut self, pmdcs: usize) {
        self.cubic.on_loss(&mut self.window, pmdcs);
        self.has_reduced = true;
    }

    /// Undoes the response to a spurious loss.
    pub(super) fn on_spurious_loss(&mut self, before: &Self) {
        self.window.cwnd = self.window.cwnd.max(before.window.cwnd);
        self.cubic = before.cubic.clone();
    }

    /// Handles a change of the packet size.
    pub(super) fn on_mtu_changed(&mut self, cwnd_min: usize) {
        self.window.cwnd = self.window.cwnd.max(cwnd_min);
    }

    /// Goes on after a probe of the round-trip time. Flows of this kind probe it at once, so that the queue is empty
    /// for a moment, and it may never overflow: larger flows have to make room for smaller ones without a loss.
    pub(super) fn resume(&mut self, pmdcs: usize) {
        if !self.has_reduced {
            self.cubic.make_room(&mut self.window, KEPT_SHARE, pmdcs);
        }
        (self.has_reduced, self.is_interrupted) = (false, false);
    }

    pub(super) fn check_consistency(&self) {
        self.cubic.check_consistency();
    }
}

impl Bbr {
    /// Follows the queue, except for that of Startup and of the flow's own probes.
    pub(super) fn watch_queue(&mut self, acked: &Acked) {
        match self.state {
            BbrState::Down if self.cycle.has_own_queue() => self.queue.restart(),
            BbrState::Down | BbrState::Cruise | BbrState::Compete => {
                self.queue.on_sample(acked.rtt, self.model.min_rtt.get(), self.round.is_start);
            }
            _ => self.queue.restart(),
        }
    }

    /// Begins a probe of the bandwidth, or competition if others keep the queue filled.
    pub(super) fn begin_probe(&mut self, acked: &Acked) {
        if self.queue.is_standing() {
            self.begin_competition(acked.now, acked.pmdcs);
        } else {
            self.begin_refill();
        }
    }

    fn begin_competition(&mut self, now: Instant, pmdcs: usize) {
        self.bounds.reset_shortterm();
        self.bounds.inflight_longterm = None;
        self.cycle.forget_probe();
        self.competition.begin(self.window.flight_size, packets_min(pmdcs));
        self.begin_cycle(now);
        self.enter(BbrState::Compete);
    }

    /// Grows the window, and ends the competition if the queue was empty when a probe is due.
    pub(super) fn compete(&mut self, acked: &Acked) {
        self.competition.on_acked(acked);
        if !self.is_probe_due(acked) {
            return;
        }
        if self.queue.is_standing() {
            self.begin_cycle(acked.now);
        } else {
            self.begin_refill();
        }
    }

    pub(super) fn resume_competition(&mut self, now: Instant, pmdcs: usize) {
        self.competition.resume(pmdcs);
        self.begin_cycle(now);
        self.enter(BbrState::Compete);
    }

    /// Answers a loss with a queue that others keep filled.
    pub(super) fn answer_loss_of_others(&mut self, pmdcs: usize) {
        if matches!(self.state, BbrState::Down | BbrState::Cruise)
            && self.queue.is_standing()
            && let Some(now) = self.sampler.delivered_at()
        {
            self.note_ended(self.state);
            self.begin_competition(now, pmdcs);
        }
        if self.state == BbrState::Compete && self.model.has_queue() {
            self.competition.on_loss(pmdcs);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{MTU, acked};
    use super::*;
    use crate::testing::some_time;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_queue_stands_if_no_sample_of_two_rounds_comes_near_the_least() {
        let min_rtt = Some(80 * MS);
        let mut queue = StandingQueue::default();
        let mut round = |samples: [Duration; 3]| {
            for (index, rtt) in samples.into_iter().enumerate() {
                queue.on_sample(Some(rtt), min_rtt, index == 0);
            }
            queue.is_standing()
        };
        assert!(!round([91 * MS; 3]) && !round([91 * MS; 3]), "one round has ended");
        assert!(round([91 * MS, 90 * MS, 91 * MS]), "two have");
        assert!(!round([91 * MS; 3]), "one sample of the third was within an eighth");
        assert!(!round([91 * MS; 3]));
        assert!(round([91 * MS; 3]));
        queue.restart();
        assert!(!queue.is_standing());
    }

    fn window(packets: usize) -> Competition {
        let mut competition = Competition::new(MTU);
        competition.begin(packets * MTU, 4 * MTU);
        competition
    }

    #[test]
    fn a_loss_takes_as_much_as_from_cubic_and_the_window_comes_back_in_the_time_of_the_curve() {
        let (mut competition, mut now) = (window(1000), some_time());
        competition.on_loss(MTU);
        assert_eq!(competition.cwnd(), 700 * MTU);
        // K = cbrt(300 / 0.2) = 11.4 s; CUBIC needs 9.1 s.
        let mut after = |seconds: u32| {
            for _ in 0..seconds * 10 {
                now += 100 * MS;
                competition.on_acked(&Acked { now, ..acked(competition.cwnd() / 2) });
            }
            competition.cwnd() / MTU
        };
        assert!((930..=990).contains(&after(6)));
        assert!((995..=1002).contains(&after(6)));
    }

    #[test]
    fn a_flow_makes_room_once_between_two_probes_of_the_round_trip_time_if_no_loss_did() {
        for (has_loss, packets) in [(false, [850, 722]), (true, [700, 595])] {
            let mut competition = window(1000);
            if has_loss {
                competition.on_loss(MTU);
            }
            let kept = [(); 2].map(|()| {
                competition.resume(MTU);
                competition.cwnd() / MTU
            });
            assert_eq!(kept, packets, "loss: {has_loss}");
        }
    }
}
