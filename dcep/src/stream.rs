//! A stream id in use, and the two resets that free it (RFC 8831 §6.7).

use std::collections::VecDeque;

use narrowboat_sctp::ReceivedMessage;
use narrowboat_sctp::time::Instant;

use crate::event::ChannelId;

/// Owner of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StreamOwner {
    /// A channel that is not closed.
    Channel(ChannelId),
    /// None yet: messages wait for a negotiated channel that the application is expected to create.
    Unclaimed,
    /// None any more: the channel of the peer was refused, or has ended here. Messages of the peer are discarded.
    Nobody,
}

/// The direction in which this end sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outgoing {
    InUse,
    /// A reset was requested; it is sent when everything is acknowledged or abandoned.
    Resetting,
    /// The peer has performed it.
    Reset,
}

/// A message or reset that waits on a stream.
#[derive(Debug)]
pub(crate) enum Arrival {
    Message(ReceivedMessage),
    Reset,
}

/// A stream id in use. It is free again when both directions have been reset, and not before:
///
/// ```text
///            our reset asked for      performed
/// outgoing:  in use ─────▶ resetting ─────▶ reset ┐
///                             │                   ├─▶ both: the id is free
///                             │ not supported     │
///                             ▼                   │
///                     retired: never free         │
/// incoming:  in use ────────────────────▶ reset ──┘
///                  the peer's reset
/// ```
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) owner: StreamOwner,
    outgoing: Outgoing,
    is_incoming_reset: bool,
    /// Messages that wait: on an unclaimed stream for a channel; on any other for the next use of the id, as they came
    /// after the peer's reset. That use starts when our reset is performed, which the peer learns before us. Each
    /// message holds its credit, so the receive window bounds them.
    held: VecDeque<Arrival>,
    /// Time of the last event that brought the end of the closing procedure nearer.
    progress: Instant,
    /// Time at which to check for progress of the closing procedure.
    pub(crate) deadline: Option<Instant>,
}

impl Stream {
    pub(crate) fn new(owner: StreamOwner, now: Instant) -> Self {
        Self {
            owner,
            outgoing: Outgoing::InUse,
            is_incoming_reset: false,
            held: VecDeque::new(),
            progress: now,
            deadline: None,
        }
    }

    pub(crate) fn channel(&self) -> Option<ChannelId> {
        match self.owner {
            StreamOwner::Channel(id) => Some(id),
            StreamOwner::Unclaimed | StreamOwner::Nobody => None,
        }
    }

    pub(crate) fn outgoing(&self) -> Outgoing {
        self.outgoing
    }

    pub(crate) fn is_incoming_reset(&self) -> bool {
        self.is_incoming_reset
    }

    pub(crate) fn progress(&self) -> Instant {
        self.progress
    }

    pub(crate) fn held(&self) -> &VecDeque<Arrival> {
        &self.held
    }

    /// Returns `true` if both directions are reset, so that the id is free.
    pub(crate) fn is_done(&self) -> bool {
        self.is_incoming_reset && self.outgoing == Outgoing::Reset
    }

    pub(crate) fn on_progress(&mut self, now: Instant) {
        self.progress = now;
    }

    pub(crate) fn on_reset_asked(&mut self, now: Instant) {
        debug_assert_eq!(self.outgoing, Outgoing::InUse, "a stream is reset once");
        self.outgoing = Outgoing::Resetting;
        self.progress = now;
    }

    pub(crate) fn on_reset_performed(&mut self, now: Instant) {
        debug_assert_eq!(self.outgoing, Outgoing::Resetting, "this reset was not requested");
        self.outgoing = Outgoing::Reset;
        self.progress = now;
    }

    pub(crate) fn on_incoming_reset(&mut self, now: Instant) {
        debug_assert!(!self.is_incoming_reset, "the second reset belongs to the next use");
        self.is_incoming_reset = true;
        self.progress = now;
    }

    pub(crate) fn hold(&mut self, message: ReceivedMessage) {
        self.held.push_back(Arrival::Message(message));
    }

    /// Holds a reset for the next use, unless no message precedes it.
    pub(crate) fn hold_reset(&mut self) {
        if matches!(self.held.back(), Some(Arrival::Message(_))) {
            self.held.push_back(Arrival::Reset);
        }
    }

    /// Returns `true` if messages wait for the next use: on a stream in use, those that came after the peer's reset.
    pub(crate) fn has_held(&self) -> bool {
        self.is_incoming_reset() && !self.held.is_empty()
    }

    pub(crate) fn take_held(&mut self) -> VecDeque<Arrival> {
        std::mem::take(&mut self.held)
    }

    pub(crate) fn check_consistency(&self) {
        let mut after_message = false;
        for arrival in &self.held {
            let is_message = matches!(arrival, Arrival::Message(_));
            assert!(is_message || after_message, "a reset is held that ends nothing");
            after_message = is_message;
        }
        match self.owner {
            StreamOwner::Unclaimed => {
                assert!(!self.held.is_empty(), "an unclaimed stream has something to claim");
                assert!(
                    self.outgoing == Outgoing::InUse && !self.is_incoming_reset,
                    "an unclaimed stream is not closing"
                );
            }
            StreamOwner::Channel(_) | StreamOwner::Nobody => {
                assert!(self.held.is_empty() || self.is_incoming_reset, "held though it could be delivered");
            }
        }
        assert!(!self.is_done(), "a stream that is done is released");
        assert!(self.deadline.is_none() || self.channel().is_some(), "a deadline without anybody to tell");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> (Stream, Instant) {
        #[expect(clippy::disallowed_methods, reason = "any instant will do")]
        let now = Instant::now();
        (Stream::new(StreamOwner::Channel(ChannelId(1)), now), now)
    }

    #[test]
    fn an_id_is_free_only_when_both_directions_are_reset() {
        // Each order of the three steps that has our question before its answer.
        for order in ["qar", "qra", "rqa"] {
            let (mut stream, now) = stream();
            for step in order.chars() {
                assert!(!stream.is_done(), "{order}");
                match step {
                    'q' => stream.on_reset_asked(now),
                    'a' => stream.on_reset_performed(now),
                    _ => stream.on_incoming_reset(now),
                }
            }
            assert!(stream.is_done(), "{order}");
        }
    }

    #[test]
    fn a_reset_is_held_only_behind_a_message() {
        let (mut stream, _) = stream();
        stream.hold_reset();
        assert!(stream.held().is_empty());
    }
}
