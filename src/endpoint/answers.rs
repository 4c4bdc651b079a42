//! Datagrams that are not any association's: answers to strangers, and to checks.

use crate::socket::{Route, Socket};

/// Answers that wait to be sent, one after another in one buffer.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    bytes: Vec<u8>,
    /// Where each goes, and where it ends.
    ends: Vec<(Route, usize)>,
}

impl Answers {
    /// The buffer to append the next one to; [`push`](Self::push) says whose it is.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// What was appended since the last answer is one for this route; nothing appended is none.
    pub(crate) fn push(&mut self, route: Route) {
        if self.ends.last().map_or(0, |(_, end)| *end) < self.bytes.len() {
            self.ends.push((route, self.bytes.len()));
        }
    }

    /// Sends them all, or drops those that the system has no room for: whoever asked will ask again.
    pub(crate) fn send(&mut self, socket: &Socket) {
        let mut start = 0;
        for (route, end) in self.ends.drain(..) {
            if let Some(answer) = self.bytes.get(start..end) {
                socket.send_answer(route, answer);
            }
            start = end;
        }
        self.bytes.clear();
    }
}
