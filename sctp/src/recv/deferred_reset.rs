//! An incoming stream reset that waits for data sent before it (RFC 6525 §5.2.2 E2).

use std::collections::BTreeSet;

use super::Receiver;
use super::tracker::{Position, tsn_at};
use crate::event::Streams;
use crate::message::StreamId;
use crate::serial::Tsn;

/// The reset: it is performed when the Cumulative TSN Ack Point reaches the sender's last assigned TSN. Until then,
/// messages that its streams carried after that TSN are held: they belong to the streams' next use.
#[derive(Debug)]
pub(super) struct Deferred {
    streams: Streams,
    /// Sorted, so that asking for a stream costs little however long the peer's list is; `None` is every stream.
    sorted: Option<Vec<StreamId>>,
    last: Position,
    /// First TSNs of the whole messages that are held.
    held: BTreeSet<Position>,
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
        Self { streams, sorted, last, held: BTreeSet::new() }
    }

    pub(super) fn streams(&self) -> &Streams {
        &self.streams
    }

    pub(super) fn is_for(&self, streams: &Streams, last_tsn: Tsn) -> bool {
        self.streams == *streams && tsn_at(self.last) == last_tsn
    }

    /// The sender's last assigned TSN.
    pub(super) fn last(&self) -> Position {
        self.last
    }

    pub(super) fn affects(&self, stream: StreamId) -> bool {
        self.sorted.as_ref().is_none_or(|sorted| sorted.binary_search(&stream).is_ok())
    }

    pub(super) fn on_held(&mut self, first: Position) {
        self.held.insert(first);
    }

    pub(super) fn on_evicted(&mut self, first: Position) {
        self.held.remove(&first);
    }

    pub(super) fn held(&self) -> impl Iterator<Item = Position> {
        self.held.iter().copied()
    }

    /// Whether a message that begins at `first` has to wait for the reset.
    pub(super) fn holds(&self, stream: StreamId, first: Position) -> bool {
        first > self.last && self.affects(stream)
    }
}

impl Receiver {
    /// Performs the reset: all up to the sender's last assigned TSN has come or was skipped (RFC 6525 §5.2.2 E3, E4).
    pub(super) fn perform(&mut self, deferred: Deferred) {
        self.finish_old_use(&deferred);
        let Deferred { streams, held, .. } = deferred;
        self.inbox.push_reset(streams);
        for first in held {
            if let Some(run) = self.reassembly.take(first) {
                self.on_whole(first, run);
            }
        }
    }

    /// Nothing more can come on the streams as they were: delivers what waited for messages that the sender never sent,
    /// and gives up a message that it has not finished.
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
        while let Some((ssn, first)) = self.ordered.take_first(stream) {
            self.deliver(first);
            self.ordered.on_passed(stream, ssn);
        }
    }
}
