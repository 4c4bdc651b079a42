//! Datagrams that are not any association's: answers to strangers, and to checks.

use std::time::Instant;

use super::{Route, SecondCounter};

/// Refusals of checks that are sent in a second, at most. A peer that has made a mistake gets its answer. A sender of
/// ten thousand wrong checks cannot keep this end busy with answers to it, or to the address that it has forged.
const REFUSALS_PER_SECOND_MAX: u32 = 200;

/// Answers that wait to be sent, one after another in one buffer.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    bytes: Vec<u8>,
    /// Route of each answer, and the offset in `bytes` at which the answer ends.
    ends: Vec<(Route, usize)>,
    refusals: SecondCounter,
}

impl Answers {
    /// Returns the buffer to append the next answer to; [`push`](Self::push) sets its route.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Completes the answer appended since the last one, and sets its route. Does nothing if no bytes were appended.
    pub(crate) fn push(&mut self, route: Route) {
        if self.ends.last().map_or(0, |(_, end)| *end) < self.bytes.len() {
            self.ends.push((route, self.bytes.len()));
        }
    }

    /// Removes the bytes that were appended since the last answer.
    pub(crate) fn discard_unfinished(&mut self) {
        self.bytes.truncate(self.ends.last().map_or(0, |(_, end)| *end));
    }

    /// Queues the refusal of a check like [`push`](Self::push); drops it if there were too many in this second.
    pub(crate) fn push_refusal(&mut self, now: Instant, route: Route) {
        if self.refusals.count(now) < REFUSALS_PER_SECOND_MAX {
            self.push(route);
        } else {
            self.discard_unfinished();
        }
        self.refusals.add(now);
    }

    /// Removes all answers and returns them.
    #[cfg(test)]
    pub(crate) fn take(&mut self) -> Vec<(Route, Vec<u8>)> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        let answer = |((route, end), start): (&(Route, usize), usize)| {
            (*route, self.bytes.get(start..*end).unwrap_or_default().to_vec())
        };
        self.ends.iter().zip(starts).map(answer).collect()
    }

    /// Passes each answer to `send`, and removes them all.
    pub(crate) fn drain(&mut self, mut send: impl FnMut(Route, &[u8])) {
        let mut start = 0;
        for (route, end) in self.ends.drain(..) {
            if let Some(answer) = self.bytes.get(start..end) {
                send(route, answer);
            }
            start = end;
        }
        self.bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use super::*;

    #[test]
    fn k04_refusals_beyond_two_hundred_in_a_second_are_dropped_and_nothing_else_is() {
        let (mut answers, start) = (Answers::default(), Instant::now());
        let route = Route { remote: SocketAddr::from(([192, 0, 2, 1], 7)), local: None };
        for number in 0..10_000 {
            answers.buffer().extend([7; 44]);
            answers.push_refusal(start + Duration::from_micros(number * 90), route);
        }
        assert_eq!((answers.ends.len(), answers.bytes.len()), (200, 200 * 44));
        answers.buffer().extend([8; 100]);
        answers.push(route);
        assert_eq!(answers.ends.last().map(|(_, end)| *end), Some(200 * 44 + 100));
        answers.buffer().extend([7; 44]);
        answers.push_refusal(start + Duration::from_secs(1), route);
        assert_eq!(answers.ends.len(), 202, "another second");
    }
}
