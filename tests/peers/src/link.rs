//! One direction of a simulated path: a queue, a rate, a delay, and faults.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Bytes that UDP and IPv4 add to an SCTP packet; they take room on the link and in its queue.
pub const UDP_OVERHEAD: usize = 28;

/// Rate, delay and faults of a link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkConfig {
    /// Bits a second; `None` sends at once.
    pub rate: Option<u64>,
    /// From the end of sending to arrival.
    pub delay: Duration,
    /// Bytes that may wait for sending, the one being sent included; more are dropped at the tail.
    pub queue: usize,
    /// Share of datagrams that are lost.
    pub loss: f64,
    /// Share of datagrams that arrive twice.
    pub duplicate: f64,
    /// Share of datagrams that are held back by up to `reorder_delay` and so are overtaken.
    pub reorder: f64,
    /// The longest that one is held back.
    pub reorder_delay: Duration,
}

impl LinkConfig {
    /// A path without limits or faults.
    #[must_use]
    pub fn clean(delay: Duration) -> Self {
        Self {
            rate: None,
            delay,
            queue: usize::MAX,
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            reorder_delay: Duration::ZERO,
        }
    }
}

/// Treatment of one datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The treatment that the configuration of the link gives.
    Pass,
    /// It is lost.
    Drop,
    /// It arrives that much later, and others overtake it.
    Hold(Duration),
}

/// Decides over datagrams one by one.
pub type Censor = Box<dyn FnMut(&[u8]) -> Fate>;

/// One direction of a path.
pub struct Link {
    config: LinkConfig,
    censor: Option<Censor>,
    rng: StdRng,
    /// Time at which the last datagram in the queue has left it.
    idle_at: Instant,
    /// Datagrams under way, by arrival.
    under_way: VecDeque<(Instant, Bytes)>,
    /// Datagrams lost to the full queue or to faults.
    pub dropped: u64,
    /// Bytes under way, without UDP's.
    bytes_under_way: usize,
}

impl Link {
    /// An empty link.
    #[must_use]
    pub fn new(now: Instant, config: LinkConfig, seed: u64) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        Self { config, censor: None, rng, idle_at: now, under_way: VecDeque::new(), dropped: 0, bytes_under_way: 0 }
    }

    /// Changes the path; datagrams under way are not touched.
    pub fn set_config(&mut self, config: LinkConfig) {
        self.config = config;
    }

    /// Has someone decide over each datagram before the path's own faults do.
    pub fn set_censor(&mut self, censor: Option<Censor>) {
        self.censor = censor;
    }

    /// Takes a datagram from the sender.
    pub fn send(&mut self, now: Instant, datagram: &[u8]) {
        let Some(sent_at) = self.queue(now, datagram.len()) else {
            self.dropped += 1;
            return;
        };
        let fate = self.censor.as_mut().map_or(Fate::Pass, |censor| censor(datagram));
        if fate == Fate::Drop || self.happens(self.config.loss) {
            self.dropped += 1;
            return;
        }
        let held = if let Fate::Hold(delay) = fate { delay } else { Duration::ZERO };
        let datagram = Bytes::copy_from_slice(datagram);
        if self.happens(self.config.duplicate) {
            self.deliver(sent_at + held, datagram.clone());
        }
        self.deliver(sent_at + held, datagram);
    }

    /// Returns the arrival time of the next datagram.
    #[must_use]
    pub fn next_arrival(&self) -> Option<Instant> {
        self.under_way.front().map(|(at, _)| *at)
    }

    /// The next datagram that has arrived.
    pub fn receive(&mut self, now: Instant) -> Option<Bytes> {
        if self.next_arrival()? > now {
            return None;
        }
        let (_, datagram) = self.under_way.pop_front()?;
        self.bytes_under_way -= datagram.len();
        Some(datagram)
    }

    /// Bytes of the datagrams that have been sent and have not arrived.
    #[must_use]
    pub fn bytes_under_way(&self) -> usize {
        self.bytes_under_way
    }

    /// Time for which a datagram that is sent now waits for those before it.
    #[must_use]
    pub fn queueing_delay(&self, now: Instant) -> Duration {
        self.idle_at.saturating_duration_since(now)
    }

    /// Returns the time at which a datagram of this many bytes is on the wire as a whole; `None` if the queue has no
    /// room.
    fn queue(&mut self, now: Instant, len: usize) -> Option<Instant> {
        let Some(rate) = self.config.rate else { return Some(now) };
        let bytes = len + UDP_OVERHEAD;
        let start = self.idle_at.max(now);
        let waiting = (start - now).as_nanos() * u128::from(rate) / 8_000_000_000;
        if waiting + bytes as u128 > self.config.queue as u128 {
            return None;
        }
        self.idle_at = start + Duration::from_nanos(bytes as u64 * 8_000_000_000 / rate);
        Some(self.idle_at)
    }

    fn happens(&mut self, share: f64) -> bool {
        share > 0.0 && self.rng.random_bool(share)
    }

    fn deliver(&mut self, sent_at: Instant, datagram: Bytes) {
        let mut at = sent_at + self.config.delay;
        if self.happens(self.config.reorder) {
            at += self.config.reorder_delay.mul_f64(self.rng.random_range(0.0..=1.0));
        }
        self.bytes_under_way += datagram.len();
        let later = self.under_way.iter().rev().take_while(|(other, _)| *other > at).count();
        self.under_way.insert(self.under_way.len() - later, (at, datagram));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_millis(10);

    #[test]
    fn a_rate_spreads_datagrams_and_a_full_queue_drops_the_tail() {
        let start = Instant::now();
        // 1,000 bytes on the wire take 1 ms; three fit the queue.
        let config = LinkConfig { rate: Some(8_000_000), queue: 3_000, ..LinkConfig::clean(DELAY) };
        let mut link = Link::new(start, config, 0);
        for _ in 0..4 {
            link.send(start, &[0; 1_000 - UDP_OVERHEAD]);
        }
        assert_eq!(link.dropped, 1);
        for milliseconds in 1..=3 {
            let at = start + DELAY + Duration::from_millis(milliseconds);
            assert_eq!(link.next_arrival(), Some(at));
            assert!(link.receive(at - Duration::from_nanos(1)).is_none());
            assert!(link.receive(at).is_some());
        }
        assert_eq!((link.next_arrival(), link.bytes_under_way()), (None, 0));
    }

    #[test]
    fn faults_happen_about_as_often_as_they_should() {
        let start = Instant::now();
        let config =
            LinkConfig { loss: 0.1, duplicate: 0.2, reorder: 0.3, reorder_delay: DELAY, ..LinkConfig::clean(DELAY) };
        let mut link = Link::new(start, config, 7);
        for number in 0..10_000_u32 {
            link.send(start + Duration::from_micros(u64::from(number)), &number.to_be_bytes());
        }
        let end = start + Duration::from_secs(1);
        let mut arrived: Vec<u32> = Vec::new();
        while let Some(datagram) = link.receive(end) {
            arrived.push(u32::from_be_bytes(datagram[..].try_into().unwrap()));
        }
        assert!((900..1_100).contains(&link.dropped), "{} lost", link.dropped);
        let duplicates = arrived.len() as u64 + link.dropped - 10_000;
        assert!((1_600..2_000).contains(&duplicates), "{duplicates} duplicated");
        let overtaken = arrived.windows(2).filter(|pair| pair[0] > pair[1]).count();
        assert!(overtaken > 1_500, "{overtaken} overtaken");
        arrived.sort_unstable();
        arrived.dedup();
        assert_eq!(arrived.len() as u64, 10_000 - link.dropped);
    }
}
