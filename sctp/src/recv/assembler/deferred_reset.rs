//! Resets of incoming streams, performed at once or deferred until data sent before them has arrived (RFC 6525 §5.2.2).

use std::collections::BTreeSet;

use super::DataAssembler;
use crate::event::Streams;
use crate::message::StreamId;
use crate::recv::ResetProgress;
use crate::recv::inbox::Inbox;
use crate::serial::{Tsn, UnwrappedTsn};

/// The peer's resets: the deferred one, and the last that was deferred and then performed.
#[derive(Debug, Default)]
pub(super) struct StreamResets {
    deferred: Option<DeferredReset>,
    /// The deferred reset that was performed last, until the next request has come.
    last_performed: Option<(Streams, Tsn)>,
    /// True if a deferred reset was performed and its request is to be answered.
    is_just_performed: bool,
}

impl StreamResets {
    /// Returns the progress of a reset that was requested before.
    ///
    /// Some stacks (dcSCTP) repeat a request that was answered "in progress" under a new number. The new request means
    /// the same reset if it names the same streams and the same TSN, because nothing was sent in between. The reset is
    /// performed once. Only the very next request can be such a repetition, since requests are made one at a time.
    pub(super) fn progress(&mut self, streams: &Streams, last_tsn: Tsn) -> Option<ResetProgress> {
        if let Some(deferred) = &self.deferred {
            let is_same = deferred.streams == *streams && deferred.last.wrap() == last_tsn;
            return Some(if is_same { ResetProgress::Deferred } else { ResetProgress::Busy });
        }
        let is_repeated = self.last_performed.take().is_some_and(|last| last.1 == last_tsn && last.0 == *streams);
        is_repeated.then_some(ResetProgress::Performed)
    }

    /// Returns a new reset if it is to be performed now, and defers it otherwise.
    pub(super) fn begin(
        &mut self,
        streams: Streams,
        last: UnwrappedTsn,
        cumulative: UnwrappedTsn,
    ) -> Option<DeferredReset> {
        let reset = DeferredReset::new(streams, last);
        if last <= cumulative {
            return Some(reset);
        }
        self.deferred = Some(reset);
        None
    }

    /// Takes the deferred reset if all that it waited for has arrived or was skipped.
    #[inline]
    pub(super) fn take_due(&mut self, cumulative: UnwrappedTsn) -> Option<DeferredReset> {
        self.deferred.as_ref().filter(|reset| reset.last <= cumulative)?;
        self.take_deferred()
    }

    fn take_deferred(&mut self) -> Option<DeferredReset> {
        let reset = self.deferred.take()?;
        self.last_performed = Some((reset.streams.clone(), reset.last.wrap()));
        self.is_just_performed = true;
        Some(reset)
    }

    /// Returns true if a deferred reset was performed since the last call.
    pub(super) fn take_performed(&mut self) -> bool {
        std::mem::take(&mut self.is_just_performed)
    }

    pub(super) fn deferred(&self) -> Option<&DeferredReset> {
        self.deferred.as_ref()
    }

    /// Returns true if a message that begins at `first` has to wait for the deferred reset.
    pub(super) fn holds(&self, stream: StreamId, first: UnwrappedTsn) -> bool {
        self.deferred.as_ref().is_some_and(|reset| reset.holds(stream, first))
    }

    /// Returns true if a whole message has to wait for the deferred reset, and remembers it.
    pub(super) fn hold(&mut self, stream: StreamId, first: UnwrappedTsn) -> bool {
        match self.deferred.as_mut().filter(|reset| reset.holds(stream, first)) {
            Some(reset) => {
                reset.held.insert(first);
                true
            }
            None => false,
        }
    }

    /// Notes that a message that waited for the reset has lost a fragment.
    pub(super) fn on_evicted(&mut self, first: UnwrappedTsn) {
        if let Some(reset) = &mut self.deferred {
            reset.held.remove(&first);
        }
    }

    /// Returns the number of bytes of the lists of streams.
    pub(super) fn table_size(&self) -> usize {
        let list = |streams: &Streams| match streams {
            Streams::All => 0,
            Streams::List(list) => list.capacity() * size_of::<StreamId>(),
        };
        let deferred = self.deferred.as_ref().map_or(0, |reset| 2 * list(&reset.streams));
        deferred + self.last_performed.as_ref().map_or(0, |(streams, _)| list(streams))
    }
}

/// A reset that is performed when the Cumulative TSN Ack Point reaches the sender's last assigned TSN. Until then,
/// messages that its streams carried after that TSN are held: they belong to the streams' next use.
#[derive(Debug)]
pub(in crate::recv) struct DeferredReset {
    streams: Streams,
    /// Sorted, so that asking for a stream costs little however long the peer's list is; `None` is every stream.
    sorted: Option<Vec<StreamId>>,
    /// The sender's last assigned TSN.
    last: UnwrappedTsn,
    /// First TSNs of the whole messages that are held.
    held: BTreeSet<UnwrappedTsn>,
}

impl DeferredReset {
    fn new(streams: Streams, last: UnwrappedTsn) -> Self {
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

    pub(super) fn into_streams(self) -> Streams {
        self.streams
    }

    #[cfg(test)]
    pub(in crate::recv) fn streams(&self) -> &Streams {
        &self.streams
    }

    pub(super) fn last(&self) -> UnwrappedTsn {
        self.last
    }

    pub(super) fn held(&self) -> impl Iterator<Item = UnwrappedTsn> {
        self.held.iter().copied()
    }

    /// Returns true if a message that begins at `first` has to wait for the reset.
    pub(super) fn holds(&self, stream: StreamId, first: UnwrappedTsn) -> bool {
        first > self.last && self.affects(stream)
    }

    fn affects(&self, stream: StreamId) -> bool {
        self.sorted.as_ref().is_none_or(|sorted| sorted.binary_search(&stream).is_ok())
    }
}

impl DataAssembler {
    /// Performs a reset: everything up to the sender's last assigned TSN has arrived or was skipped (RFC 6525 §5.2.2
    /// E3, E4).
    pub(super) fn perform(&mut self, reset: DeferredReset, cumulative: UnwrappedTsn, inbox: &mut Inbox) {
        self.finish_old_use(&reset, cumulative, inbox);
        let DeferredReset { streams, held, .. } = reset;
        inbox.push_reset(streams);
        for first in held {
            if let Some(run) = self.reassembly.take(first) {
                self.on_whole(first, run, inbox);
            }
        }
    }

    /// Finishes the use of the streams before the reset, on which nothing more can arrive: delivers messages that
    /// waited for messages that the sender never sent, and discards a message that the sender has not finished.
    fn finish_old_use(&mut self, reset: &DeferredReset, cumulative: UnwrappedTsn, inbox: &mut Inbox) {
        let is_unfinished = |(first, stream)| first <= reset.last && reset.affects(stream);
        if self.reassembly.in_order_partial().map(|(first, run)| (first, run.stream)).is_some_and(is_unfinished) {
            self.reassembly.discard_in_order_partial();
            self.skipped_to = Some(cumulative);
        }
        match &reset.streams {
            Streams::All => {
                while let Some(stream) = self.ordered.any_held_back() {
                    self.deliver_held_back(stream, inbox);
                }
                self.ordered.reset_all();
            }
            Streams::List(list) => {
                for &stream in list {
                    self.deliver_held_back(stream, inbox);
                    self.ordered.reset(stream);
                }
            }
        }
    }

    fn deliver_held_back(&mut self, stream: StreamId, inbox: &mut Inbox) {
        while let Some((ssn, first)) = self.ordered.take_first(stream) {
            self.deliver(first, inbox);
            self.ordered.on_passed(stream, ssn);
        }
    }
}
