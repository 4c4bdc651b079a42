//! Fragments of one message with consecutive TSNs.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::cost_counter;
use crate::message::{Payload, Ppid, ReceivedMessage, StreamId};
use crate::recv::cost::{Cost, FRAGMENT_OVERHEAD, MESSAGE_OVERHEAD};
use crate::serial::{Ssn, UnwrappedTsn};
use crate::wire::DataChunk;

/// Reason why a run is not delivered yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum WaitingFragments {
    /// Fragments are missing.
    Fragments,
    /// It is whole; messages that go before it are missing.
    Order,
    /// It is whole; its stream is to be reset first.
    Reset,
}

/// A message or a part of it, with no gap inside. Each fragment has a TSN of its own, one after the other.
#[derive(Debug)]
pub(in crate::recv) struct Run {
    pub(super) stream: StreamId,
    pub(super) ssn: Ssn,
    pub(super) unordered: bool,
    /// It starts with the message's first fragment.
    pub(super) beginning: bool,
    /// It ends with the message's last fragment.
    pub(super) ending: bool,
    pub(super) waiting: WaitingFragments,
    ppid: Ppid,
    bytes: usize,
    fragments: Fragments,
}

impl Run {
    pub(super) fn new(chunk: &DataChunk, payload: Bytes) -> Self {
        Self {
            stream: chunk.stream,
            ssn: chunk.ssn,
            unordered: chunk.unordered,
            beginning: chunk.beginning,
            ending: chunk.ending,
            waiting: WaitingFragments::Fragments,
            ppid: chunk.ppid,
            bytes: payload.len(),
            fragments: Fragments::One(payload),
        }
    }

    /// Returns the number of fragments, which is that of TSNs.
    pub(super) fn len(&self) -> usize {
        self.fragments.len()
    }

    /// Returns the TSN of the last fragment of a run that begins at `first`.
    pub(super) fn last_tsn(&self, first: UnwrappedTsn) -> UnwrappedTsn {
        first.add(self.len() as u64).prev()
    }

    /// Returns the length of the payload, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the share of the receive window that the run takes.
    pub(super) fn cost(&self) -> Cost {
        Cost { payload: self.bytes, overhead: self.len() * FRAGMENT_OVERHEAD + MESSAGE_OVERHEAD }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.beginning && self.ending
    }

    /// Returns true if a chunk can be of the same message. An unordered message's SSN means nothing (RFC 9260 §6.6).
    /// The PPID is not looked at: the message has that of its first fragment.
    pub(super) fn is_of_message_of(&self, chunk: &DataChunk) -> bool {
        self.stream == chunk.stream && self.unordered == chunk.unordered && (self.unordered || self.ssn == chunk.ssn)
    }

    /// Adds the next fragment. `expected` is how many the message will probably have.
    pub(super) fn push(&mut self, ending: bool, payload: Bytes, expected: usize) {
        self.bytes += payload.len();
        self.ending = ending;
        self.fragments.push(payload, expected);
    }

    /// Adds the run that follows.
    pub(super) fn append(&mut self, next: Self) {
        self.bytes += next.bytes;
        self.ending = next.ending;
        self.fragments = std::mem::take(&mut self.fragments).join(next.fragments);
    }

    /// Discards the last fragment; there must be another.
    pub(super) fn pop(&mut self) {
        self.bytes -= self.fragments.pop().len();
        self.ending = false;
        self.waiting = WaitingFragments::Fragments;
    }

    /// Returns the message, once whole.
    pub(super) fn into_message(self) -> ReceivedMessage {
        let credit = Cost::unread(self.bytes, self.len()).into_credit();
        let Self { stream, ppid, unordered, fragments, .. } = self;
        ReceivedMessage { stream, ppid, unordered, payload: fragments.into_payload(), credit }
    }
}

/// The payloads of fragments that follow each other. One fragment needs no list.
#[derive(Debug)]
pub(super) enum Fragments {
    One(Bytes),
    Many(VecDeque<Bytes>),
}

impl Default for Fragments {
    fn default() -> Self {
        Self::One(Bytes::new())
    }
}

impl Fragments {
    /// Returns the number of fragments.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(list) => list.len(),
        }
    }

    /// Adds the next fragment. `expected` is how many there will probably be.
    pub(super) fn push(&mut self, payload: Bytes, expected: usize) {
        match self {
            Self::One(first) => {
                let mut list = VecDeque::with_capacity(expected.max(4));
                list.extend([std::mem::take(first), payload]);
                *self = Self::Many(list);
            }
            Self::Many(list) => list.push_back(payload),
        }
    }

    /// Moves the shorter list, so that a message put together from many pieces costs O(n log n).
    fn join(self, next: Self) -> Self {
        match (self, next) {
            (Self::One(a), Self::One(b)) => Self::Many(VecDeque::from([a, b])),
            (Self::One(a), Self::Many(mut list)) => {
                list.push_front(a);
                Self::Many(list)
            }
            (Self::Many(mut list), Self::One(b)) => {
                list.push_back(b);
                Self::Many(list)
            }
            (Self::Many(mut front), Self::Many(mut back)) => {
                if front.len() >= back.len() {
                    cost_counter::take(back.len());
                    front.append(&mut back);
                    Self::Many(front)
                } else {
                    while let Some(fragment) = front.pop_back() {
                        cost_counter::step();
                        back.push_front(fragment);
                    }
                    Self::Many(back)
                }
            }
        }
    }

    fn pop(&mut self) -> Bytes {
        match self {
            Self::One(only) => std::mem::take(only),
            Self::Many(list) => {
                let last = list.pop_back().unwrap_or_default();
                if list.len() * 4 < list.capacity() {
                    list.shrink_to(list.len() * 2);
                }
                last
            }
        }
    }

    pub(super) fn into_payload(self) -> Payload {
        match self {
            Self::One(only) => Payload::from(only),
            Self::Many(mut list) => {
                // The cost covers a capacity of twice the length.
                if list.capacity() > 2 * list.len() {
                    list.shrink_to_fit();
                }
                Payload::from_fragments(list)
            }
        }
    }
}
