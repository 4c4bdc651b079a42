//! An incoming stream reset that waits for data sent before it (RFC 6525 §5.2.2 E2).

use super::Receiver;
use super::run::Waiting;
use super::tracker::Position;
use crate::event::Streams;
use crate::message::StreamId;

/// The reset: it is performed when the Cumulative TSN Ack Point reaches the sender's last assigned TSN. Until then,
/// messages that its streams carried after that TSN are held: they belong to the streams' next use.
#[derive(Debug)]
pub(super) struct Deferred {
    streams: Streams,
    /// Sorted, so that asking for a stream costs little however long the peer's list is; `None` is every stream.
    sorted: Option<Vec<StreamId>>,
    last: Position,
}

impl Deferred {
    pub(super) fn new(streams: Streams, last: Position) -> Self {
        let sorted = match &streams {
            Streams::All => None,
            Streams::List(list) => {
                let mut sorted = list.clone();
                sorted.sort_unstable();
                sorted.dedup();
                Some(sorted)
            }
        };
        Self { streams, sorted, last }
    }

    pub(super) fn streams(&self) -> &Streams {
        &self.streams
    }

    pub(super) fn into_streams(self) -> Streams {
        self.streams
    }

    /// The sender's last assigned TSN.
    pub(super) fn last(&self) -> Position {
        self.last
    }

    pub(super) fn affects(&self, stream: StreamId) -> bool {
        self.sorted.as_ref().is_none_or(|sorted| sorted.binary_search(&stream).is_ok())
    }

    /// Whether a message that begins at `first` has to wait for the reset.
    pub(super) fn holds(&self, stream: StreamId, first: Position) -> bool {
        first > self.last && self.affects(stream)
    }
}

impl Receiver {
    /// Starts to wait. Whole messages that came too early, and belong after the reset, wait with it.
    pub(super) fn defer(&mut self, deferred: Deferred) {
        for (_, run) in self.reassembly.whole_above(deferred.last(), |run| deferred.affects(run.stream)) {
            self.ordered.unpark(run.stream, run.ssn);
            run.waiting = Waiting::Reset;
        }
        self.deferred = Some(deferred);
    }

    /// Performs the reset once all up to the sender's last assigned TSN has come or was skipped (RFC 6525 §5.2.2 E3, E4).
    pub(super) fn perform_if_due(&mut self) -> bool {
        let cumulative = self.tracker.cumulative();
        let Some(deferred) = self.deferred.take_if(|deferred| deferred.last() <= cumulative) else { return false };
        self.finish_old_use(&deferred);
        let held = self.reassembly.whole_above(deferred.last(), |run| run.waiting == Waiting::Reset);
        let held: Vec<_> = held.map(|(first, _)| first).collect();
        self.inbox.push_reset(deferred.into_streams());
        for first in held {
            if let Some(run) = self.reassembly.take(first) {
                self.on_whole(first, run);
            }
        }
        true
    }

    /// Nothing more can come on the streams as they were: delivers what waited for messages that the sender never sent, and gives
    /// up a message that it has not finished.
    fn finish_old_use(&mut self, deferred: &Deferred) {
        let is_unfinished = |(first, stream)| first <= deferred.last() && deferred.affects(stream);
        if self.reassembly.head().map(|(first, run)| (first, run.stream)).is_some_and(is_unfinished) {
            self.reassembly.drop_head();
            self.skipped_to = Some(self.tracker.cumulative());
        }
        match deferred.streams() {
            Streams::All => {
                while let Some(stream) = self.ordered.any_parked() {
                    self.deliver_all(stream);
                }
                self.ordered.reset_all();
            }
            Streams::List(list) => {
                for &stream in list {
                    self.deliver_all(stream);
                    self.ordered.reset(stream);
                }
            }
        }
    }

    fn deliver_all(&mut self, stream: StreamId) {
        let last = self.ordered.next_ssn(stream).prev();
        while let Some((ssn, first)) = self.ordered.take_through(stream, last) {
            self.deliver(first);
            self.ordered.on_passed(stream, ssn);
        }
    }
}
