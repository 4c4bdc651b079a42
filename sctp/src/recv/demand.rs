//! The demand for receive window: bytes that the path brings and the application reads in a round trip.
//!
//! A sender is not held up by a window of what it sends in a round trip, twice that while it doubles its rate, and
//! again as much while a loss is repaired or a queue doubles the round trip. Bytes that the application does not read
//! need no larger window, however fast they come. The idea is that of Dynamic Right-Sizing, which TCP stacks use.
//!
//! An application that reads everything, but seldom, is not slow: it is served by a window for the time between two of
//! its turns. One that never has read everything counts with what it reads in a round trip.
//!
//! An application that has not begun to read may be about to: it opens channels first, and reads later. It is served by
//! a window of a mebibyte, as if it were to read all of that at once.

use crate::time::{Duration, Instant};

/// Shortest round: less is the delay of acknowledgements and of tasks, and not of the path.
const ROUND_MIN: Duration = Duration::from_millis(25);

/// Length of a round before the round-trip time is known.
const ROUND_UNKNOWN: Duration = Duration::from_secs(1);

/// The demand of the last of these periods, and of the present one, counts; none after a pause of this length.
pub(super) const PERIOD: Duration = Duration::from_secs(10);

/// Largest window for an application that has not begun to read.
pub(super) const UNREAD_WINDOW: usize = 1 << 20;

/// An application has begun to read once it has read one byte of so many that are unread. The protocol above reads a
/// little of its own before: the `DATA_CHANNEL_OPEN` of each channel.
const UNREAD_PER_READ: usize = 16;

/// Bytes of window for each byte of a round.
const FACTOR: usize = 4;

/// A change of the window that the demand asks for, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum WindowDemand {
    /// At least so much.
    AtLeast(usize),
    /// So much, and no more: a period is over.
    Exactly(usize),
}

/// Bytes of the present round.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    began: Option<Instant>,
    /// Bytes that have arrived in it.
    arrived: usize,
    /// Bytes that were unread when it began.
    unread_before: usize,
}

/// Bytes of the present round, and the most of recent ones; all with overheads.
#[derive(Debug)]
pub(super) struct ReaderDemand {
    round_trip: Duration,
    round: Round,
    /// Bytes of the present packet that were taken.
    packet: usize,
    period_began: Option<Instant>,
    /// Bytes that the application has read in this period, and in the one before.
    read: [usize; 2],
    /// Most bytes of a round in this period, and in the one before.
    peaks: [usize; 2],
    /// Time of the last packet.
    active_at: Option<Instant>,
}

impl ReaderDemand {
    pub(super) fn new() -> Self {
        Self {
            round_trip: ROUND_UNKNOWN,
            round: Round::default(),
            packet: 0,
            period_began: None,
            read: [0; 2],
            peaks: [0; 2],
            active_at: None,
        }
    }

    /// Sets the round-trip time of the path. A long one may be a measure of lost packets.
    pub(super) fn set_round_trip(&mut self, round_trip: Duration) {
        self.round_trip = round_trip.clamp(ROUND_MIN, ROUND_UNKNOWN);
    }

    /// Counts bytes that have arrived and were taken.
    pub(super) fn on_arrival(&mut self, cost: usize) {
        self.packet += cost;
    }

    /// Counts bytes that the application has read.
    pub(super) fn on_read(&mut self, cost: usize) {
        self.read[0] += cost;
    }

    /// Returns the demand at the end of a packet with DATA. `unread`: bytes that the application has not read. What
    /// waits behind a loss is not among them, for it is not the reader that is slow.
    pub(super) fn on_packet_end(&mut self, now: Instant, unread: usize) -> WindowDemand {
        let since = |began: Option<Instant>| began.map_or(Duration::MAX, |at| now.saturating_duration_since(at));
        let packet = std::mem::take(&mut self.packet);
        // Packets of a batch come at the same time: no period has ended between them.
        let is_later = self.active_at != Some(now);
        if is_later && since(self.active_at) >= PERIOD {
            // The application's reading in the pause says nothing about its speed after it.
            let round = Round { began: Some(now), arrived: 0, unread_before: unread };
            let period_began = Some(now);
            let read = [0, self.read[0]];
            *self =
                Self { round_trip: self.round_trip, round, period_began, read, active_at: period_began, ..Self::new() };
            return WindowDemand::Exactly(0);
        }
        self.active_at = Some(now);
        let before_packet = unread.saturating_sub(packet);
        let mut length = since(self.round.began);
        if length >= self.round_trip {
            self.peaks[0] = self.peaks[0].max(self.read_in_round(before_packet, before_packet == 0, length));
            self.round = Round { began: Some(now), arrived: 0, unread_before: before_packet };
            length = Duration::ZERO;
        }
        self.round.arrived += packet;
        self.peaks[0] = self.peaks[0].max(self.read_in_round(unread, before_packet == 0, length));
        let [peak, last_peak] = self.peaks;
        let not_begun = self.window_before_reading(unread);
        if is_later && since(self.period_began) >= PERIOD {
            self.period_began = Some(now);
            self.peaks = [0, peak];
            self.read = [0, self.read[0]];
            return WindowDemand::Exactly(not_begun.max(FACTOR * peak));
        }
        WindowDemand::AtLeast(not_begun.max(FACTOR * peak.max(last_peak)))
    }

    /// Returns the window for an application that has not begun to read, and 0 for any other. It is twice what is
    /// unread, so the sender is not held up while it grows.
    fn window_before_reading(&self, unread: usize) -> usize {
        let [read, last_read] = self.read;
        let has_begun = (read + last_read).saturating_mul(UNREAD_PER_READ) >= unread;
        if has_begun { 0 } else { (2 * unread).min(UNREAD_WINDOW) }
    }

    /// Returns the bytes that were read in this round and count. `read_all`: true if everything before the present
    /// packet was read.
    fn read_in_round(&self, unread: usize, read_all: bool, length: Duration) -> usize {
        let read = (self.round.arrived + self.round.unread_before).saturating_sub(unread);
        if read_all {
            read
        } else if length < 2 * self.round_trip {
            // Older bytes may have been read in this round, but the path did not bring them in the round.
            read.min(self.round.arrived)
        } else {
            // No packet has ended the round in time, so the reader has had longer than a round trip.
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(100);

    /// Returns the size to which a window grows in a minute. Packets have 10,000 bytes, and the application reads
    /// `portion` bytes each `interval`.
    fn grown(portion: usize, interval: Duration) -> usize {
        let start = crate::testing::some_time();
        let mut demand = ReaderDemand::new();
        demand.set_round_trip(RTT);
        let (mut window, mut unread, mut on_the_way) = (262_144, 0_usize, Vec::new());
        let (mut now, mut reads_at) = (Duration::ZERO, interval);
        let mut told = 0;
        while now < Duration::from_secs(60) {
            now += Duration::from_millis(1);
            if now >= reads_at {
                demand.on_read(portion.min(unread));
                unread = unread.saturating_sub(portion);
                reads_at += interval;
            }
            // A window update is sent for a quarter of the window. What it allows comes a round trip later.
            let free = window - on_the_way.len() * 10_000;
            let free = usize::saturating_sub(free, unread);
            if free >= told + window / 4 || on_the_way.is_empty() {
                on_the_way.extend((0..free / 10_000).map(|_| now + RTT));
            }
            told = window.saturating_sub(unread + on_the_way.len() * 10_000);
            while on_the_way.first().is_some_and(|at| *at <= now) {
                on_the_way.remove(0);
                unread += 10_000;
                demand.on_arrival(10_000);
                match demand.on_packet_end(start + now, unread) {
                    WindowDemand::AtLeast(wanted) => window = window.max(wanted),
                    WindowDemand::Exactly(wanted) => window = wanted.max(262_144),
                }
                window = window.min(64 << 20);
            }
        }
        window
    }

    #[test]
    fn a_reader_is_served_by_its_rate_and_one_that_reads_everything_at_once_by_its_turns() {
        let (ms, second) = (Duration::from_millis(1), Duration::from_secs(1));
        // A megabyte a second is 100 kB in a round trip, in portions of any size.
        for (portion, interval) in [(1_000, ms), (10_000, 10 * ms), (50_000, 50 * ms)] {
            let window = grown(portion, interval);
            assert!((300_000..700_000).contains(&window), "{window} for {portion} bytes each {interval:?}");
        }
        // Below the initial window nothing grows, however long it takes to empty a window.
        for (portion, interval) in [(10, ms), (10_000, second), (100_000, 10 * second)] {
            assert_eq!(grown(portion, interval), 262_144, "{portion} bytes each {interval:?}");
        }
        assert_eq!(grown(usize::MAX, 300 * ms), 64 << 20);
    }
}
