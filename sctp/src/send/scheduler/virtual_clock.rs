//! The virtual time of fair queueing.

/// Virtual time that a byte takes on a stream of weight 1.
const BYTE_TIME: u64 = 1 << 16;

/// More than a stream may owe: a message of 1 GiB at weight 1, and its headers. A time that is further ahead is old,
/// and the clock has wrapped since.
const DEBT_MAX: u64 = 1 << 47;

/// Clock of weighted fair queueing. A turn of a stream starts where the one before it has finished, or now if that is
/// later, and finishes after its bytes, divided by the stream's weight. The least finish is served first.
///
/// The clock shows the mean of the starts of all streams that have something to send, by weight: the start that a fluid
/// would have, of which each stream gets its share at any time. A stream that comes starts there, so it gains nothing
/// by having been idle. A clock that showed the start of the turn under way would stand still while all streams have a
/// turn, and a small message would wait for all of them.
///
/// Times wrap, and those that are compared are less than [`DEBT_MAX`] apart.
#[derive(Debug, Default)]
pub(super) struct VirtualClock {
    now: u64,
    /// Sum over the streams: their weight, times the time by which their start is ahead of the clock. Less than the sum
    /// of the weights, because the clock moves on otherwise.
    surplus: i64,
    /// Sum of the weights.
    weights: i64,
}

impl VirtualClock {
    /// Returns the time by which `time` is ahead of the clock, 0 if it has passed.
    fn debt(&self, time: u64) -> u64 {
        let ahead = time.wrapping_sub(self.now);
        if ahead <= DEBT_MAX { ahead } else { 0 }
    }

    /// Returns the weight, times the time by which `start` is ahead of the clock or behind it.
    fn moment(&self, start: u64, weight: u16) -> i64 {
        start.wrapping_sub(self.now).cast_signed().saturating_mul(i64::from(weight))
    }

    /// Moves the clock to the mean.
    fn settle(&mut self) {
        if self.weights == 0 {
            self.surplus = 0;
        } else {
            self.now = self.now.wrapping_add_signed(self.surplus.div_euclid(self.weights));
            self.surplus = self.surplus.rem_euclid(self.weights);
        }
    }

    /// Adds a stream whose last turn has finished at `ready_at`. Returns the start of its next turn.
    pub(super) fn join(&mut self, ready_at: u64, weight: u16) -> u64 {
        self.join_at(self.now.wrapping_add(self.debt(ready_at)), weight)
    }

    /// Adds a stream whose next turn starts at `start`, even if that has passed. Returns `start`.
    pub(super) fn join_at(&mut self, start: u64, weight: u16) -> u64 {
        self.surplus = self.surplus.saturating_add(self.moment(start, weight));
        self.weights += i64::from(weight);
        self.settle();
        start
    }

    /// Removes a stream whose next turn would start at `start`.
    pub(super) fn leave(&mut self, start: u64, weight: u16) {
        self.surplus = self.surplus.saturating_sub(self.moment(start, weight));
        self.weights -= i64::from(weight);
        self.settle();
    }

    /// Returns the time that `bytes` take.
    pub(super) fn duration(bytes: usize, weight: u16) -> u64 {
        bytes as u64 * BYTE_TIME / u64::from(weight)
    }

    /// Handles bytes that were sent in a turn that started at `start`. Returns the start of the stream's next turn.
    pub(super) fn serve(&mut self, start: u64, bytes: usize, weight: u16) -> u64 {
        let duration = Self::duration(bytes, weight);
        if self.weights == i64::from(weight) {
            // No other stream has anything to send, and the mean of the starts is that of this one.
            self.now = self.now.wrapping_add(duration);
            return start.wrapping_add(duration);
        }
        self.surplus = self.surplus.saturating_add_unsigned(duration * u64::from(weight));
        self.settle();
        start.wrapping_add(duration)
    }

    /// Converts what a stream that does not take part owes at one weight to another weight.
    pub(super) fn rescale(&self, ready_at: u64, from: u16, to: u16) -> u64 {
        let debt = u128::from(self.debt(ready_at)) * u128::from(from) / u128::from(to);
        self.now.wrapping_add(u64::try_from(debt).map_or(DEBT_MAX, |debt| debt.min(DEBT_MAX)))
    }

    /// Returns a time before all turns. Later calls return later times, or the same.
    pub(super) fn before_all(&self) -> u64 {
        self.now.wrapping_sub(1 << 62)
    }

    /// Returns the sum of the weights, for recounting.
    pub(super) fn weights(&self) -> i64 {
        self.weights
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_the_longer_the_less_the_weight_is() {
        let [one, double, light] = [(100, 256), (200, 256), (100, 128)].map(|(b, w)| VirtualClock::duration(b, w));
        assert!(one > 0 && double == 2 * one && light == 2 * one);
        assert!(VirtualClock::duration(1, u16::MAX) > 0);
    }

    #[test]
    fn the_clock_shows_the_mean_of_the_starts_by_weight() {
        let mut clock = VirtualClock::default();
        assert_eq!([clock.join(0, 100), clock.join(0, 300)], [0, 0]);
        let first = clock.serve(0, 1_000, 100);
        assert_eq!(clock.now, first / 4);
        let second = clock.serve(0, 1_000, 300);
        assert_eq!(clock.now, (first + 3 * second) / 4);
        clock.leave(second, 300);
        assert_eq!(clock.now, first);
        clock.leave(first, 100);
        assert_eq!((clock.now, clock.weights()), (first, 0));
    }

    #[test]
    fn a_debt_lasts_until_the_others_have_had_as_much_and_idle_time_gives_no_credit() {
        let mut clock = VirtualClock::default();
        clock.join(0, 256);
        let owed = clock.join(0, 256);
        let owed = clock.serve(owed, 1_000, 256);
        clock.leave(owed, 256);
        assert_eq!(clock.now, 0, "the other one has had nothing yet");
        let start = clock.serve(0, 400, 256);
        assert_eq!(clock.join(owed, 256), owed);
        clock.leave(owed, 256);
        let start = clock.serve(start, 4_000, 256);
        assert_eq!(clock.join(owed, 256), start);
    }

    #[test]
    fn rounding_does_not_add_up() {
        let mut clock = VirtualClock::default();
        let mut starts: Vec<u64> = (0..1_000).map(|_| clock.join(0, 65_535)).collect();
        for _ in 0..1_000 {
            starts.iter_mut().for_each(|start| *start = clock.serve(*start, 21, 65_535));
        }
        assert_eq!((clock.now, clock.surplus), (starts[0], 0));
    }

    #[test]
    fn the_clock_wraps_and_a_time_of_long_ago_is_not_taken_for_a_debt() {
        let mut clock = VirtualClock { now: u64::MAX - 10, ..VirtualClock::default() };
        let start = clock.join(u64::MAX - 10, 1);
        let next = clock.serve(start, 100, 1);
        assert!(next < u64::MAX / 2 && clock.now == next, "it has wrapped");
        assert_eq!(clock.join(u64::MAX - 10, 1), next);
        assert_eq!(clock.join(next.wrapping_add(DEBT_MAX + 1), 1), next);
    }

    #[test]
    fn a_change_of_weight_converts_the_debt_but_no_more_than_can_be_owed() {
        let clock = VirtualClock { now: 1_000, ..VirtualClock::default() };
        assert_eq!(clock.rescale(1_600, 128, 256), 1_300);
        assert_eq!(clock.rescale(1_600, 256, 128), 2_200);
        assert_eq!(clock.rescale(900, 256, 1), 1_000);
        assert_eq!(clock.rescale(1_000 + DEBT_MAX, u16::MAX, 1), 1_000 + DEBT_MAX);
    }
}
