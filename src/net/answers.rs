//! Datagrams that are not any association's: answers to strangers, and to checks.

use std::time::{Duration, Instant};

use super::Route;

/// Refusals of checks that are sent in a second. Whoever has made a mistake hears of it; whoever makes ten thousand of them
/// does not keep this end busy with telling him so, or somebody else in whose name they are.
const REFUSALS_PER_SECOND_MAX: u32 = 200;

/// Answers that wait to be sent, one after another in one buffer.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    bytes: Vec<u8>,
    /// Route of each answer, and the offset in `bytes` at which the answer ends.
    ends: Vec<(Route, usize)>,
    /// Since when refusals are counted, and how many there were.
    refusals: Option<(Instant, u32)>,
}

impl Answers {
    /// The buffer to append the next one to; [`push`](Self::push) says whose it is.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Completes the answer appended since the last one, and sets its route. Does nothing if no bytes were appended.
    pub(crate) fn push(&mut self, route: Route) {
        if self.ends.last().map_or(0, |(_, end)| *end) < self.bytes.len() {
            self.ends.push((route, self.bytes.len()));
        }
    }

    /// Takes back what was appended since the last answer.
    pub(crate) fn discard_unfinished(&mut self) {
        self.bytes.truncate(self.ends.last().map_or(0, |(_, end)| *end));
    }

    /// As [`push`](Self::push), for the refusal of a check: dropped if there were too many in this second.
    pub(crate) fn push_refusal(&mut self, now: Instant, route: Route) {
        let (since, count) = self
            .refusals
            .filter(|(since, _)| now.saturating_duration_since(*since) < Duration::from_secs(1))
            .unwrap_or((now, 0));
        self.refusals = Some((since, count.saturating_add(1)));
        if count < REFUSALS_PER_SECOND_MAX {
            self.push(route);
        } else {
            self.bytes.truncate(self.ends.last().map_or(0, |(_, end)| *end));
        }
    }

    /// Takes them all out.
    #[cfg(test)]
    pub(crate) fn take(&mut self) -> Vec<(Route, Vec<u8>)> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(_, end)| *end));
        let answer = |((route, end), start): (&(Route, usize), usize)| {
            (*route, self.bytes.get(start..*end).unwrap_or_default().to_vec())
        };
        self.ends.iter().zip(starts).map(answer).collect()
    }

    /// Shows them all to `send`, and forgets them.
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
