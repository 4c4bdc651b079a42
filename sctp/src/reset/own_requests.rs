//! Our own requests: one at a time, drained first, retransmitted until the peer has performed them (RFC 6525 §5.1).
//!
//! No request is abandoned. An end that abandons a reset leaves the peer with a stream that stays open for ever. So a
//! request ends when the peer has performed it, or with the association.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::message::StreamId;
use crate::serial::{RequestSn, Tsn, UnwrappedTsn};
use crate::time::{Duration, Instant};
use crate::wire::ResetResult;

/// Streams in one request. RFC 6525 sets no limit but the packet. usrsctp accepts no more than 248, which it reads into
/// 512 bytes, and denies a longer request.
const REQUEST_STREAMS_MAX: usize = 240;

/// Requests of the application, other than resets of outgoing streams, that may wait.
const OTHERS_MAX: usize = 8;

/// A request other than a reset of outgoing streams. The peer may refuse it, and nothing is lost then.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum OtherRequest {
    /// Asks the peer to reset its side of these streams; of all if the list is empty (RFC 6525 §5.1.3).
    ResetIncoming(Vec<StreamId>),
    /// Asks to send on that many more streams (§5.1.5).
    AddOutgoing(u16),
    /// Asks the peer to send on that many more streams (§5.1.6).
    AddIncoming(u16),
}

/// The request to write.
#[derive(Debug)]
pub(crate) enum DueRequest<'a> {
    ResetOutgoing { number: RequestSn, last_tsn: Tsn, streams: &'a [StreamId] },
    Other { number: RequestSn, request: &'a OtherRequest },
}

/// The outstanding request.
#[derive(Debug)]
struct Request {
    number: RequestSn,
    streams: Vec<StreamId>,
    /// The request, if it resets no outgoing streams; `streams` is empty then.
    other: Option<OtherRequest>,
    /// TSN after whose acknowledgement the peer can perform the reset.
    last_tsn: UnwrappedTsn,
    /// Time at which the request was last sent.
    sent_at: Instant,
    /// Refusals so far, under any request number.
    refusals: u32,
    /// Time of the first refusal.
    refused_since: Option<Instant>,
    /// The last answer was "in progress".
    is_in_progress: bool,
    /// The peer has answered since the request was last sent.
    is_answered: bool,
    /// The request has timed out since the last answer.
    has_timed_out: bool,
    /// True if the request was retransmitted early because `last_tsn` was acknowledged; once is enough.
    retried_early: bool,
    /// True if the request has another number than before. It then names the last TSN at the time when it is sent.
    has_new_number: bool,
    is_due: bool,
}

impl Request {
    /// Returns each stream once, even if it was named twice.
    fn into_streams(mut self) -> Vec<StreamId> {
        self.streams.dedup();
        self.streams
    }
}

/// Outcome of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RequestOutcome {
    /// It fits no request: ignored (RFC 6525 §5.2.7 H1).
    Nothing,
    /// The peer waits for data; ask again later, and do not count it as an error (H2).
    InProgress,
    /// The reset is done (H4).
    Performed(Vec<StreamId>),
    /// A request of another kind is answered, and over.
    Other(OtherRequest, ResetResult),
    /// Refused; to be asked again after a time-out.
    Retry,
    /// Refused too often and for too long: the peer does not reset streams.
    Failed,
}

/// Expiry of the timer of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RequestTimeout {
    /// The peer has answered that it cannot perform the request yet: no error of the path (RFC 6525 §5.2.7 H2).
    Answered,
    /// The peer is silent, which counts as an error of the path.
    Unanswered,
}

/// Outgoing resets.
#[derive(Debug)]
pub(crate) struct OwnRequests {
    next: RequestSn,
    /// Streams that are reset once the chunk at that TSN is acknowledged; soonest first.
    draining: BinaryHeap<Reverse<(UnwrappedTsn, StreamId)>>,
    ready: VecDeque<StreamId>,
    others: VecDeque<OtherRequest>,
    request: Option<Request>,
    /// Streams and last TSN of the last request that was performed.
    performed: Option<(Vec<StreamId>, Tsn)>,
    attempts_max: u32,
    timeout: Duration,
}

impl OwnRequests {
    /// Requests count from the initial TSN (RFC 6525 §4.1).
    pub(crate) fn new(first: RequestSn, attempts_max: u32, timeout: Duration) -> Self {
        Self {
            next: first,
            draining: BinaryHeap::new(),
            ready: VecDeque::new(),
            others: VecDeque::new(),
            request: None,
            performed: None,
            attempts_max,
            timeout,
        }
    }

    /// Enqueues a stream that is to be reset. Its queue is empty, and its last chunk has the TSN `drains_at`.
    pub(crate) fn enqueue(&mut self, stream: StreamId, drains_at: UnwrappedTsn) {
        self.draining.push(Reverse((drains_at, stream)));
    }

    /// Enqueues another request. Returns false, and drops it, if too many wait.
    pub(crate) fn enqueue_other(&mut self, request: OtherRequest) -> bool {
        let has_room = self.others.len() < OTHERS_MAX;
        if has_room {
            self.others.push_back(request);
        }
        has_room
    }

    /// Returns the other requests that the peer has not answered yet.
    pub(crate) fn unanswered_others(&self) -> impl Iterator<Item = &OtherRequest> {
        self.request.iter().filter_map(|request| request.other.as_ref()).chain(&self.others)
    }

    /// Ends the request to reset incoming streams that a request of the peer has answered (RFC 6525 §5.2.2 E1).
    pub(crate) fn on_answered_by_request(&mut self, response: RequestSn) -> Option<OtherRequest> {
        let is_answered = |request: &mut Request| {
            request.number == response && matches!(request.other, Some(OtherRequest::ResetIncoming(_)))
        };
        self.request.take_if(is_answered).and_then(|request| request.other)
    }

    /// Makes resets ready whose data up to `cumulative` has been acknowledged or abandoned. All data of a stream
    /// arrives before its reset is requested, which also serves peers that reset at once although data is missing.
    #[inline]
    pub(crate) fn on_acknowledged(&mut self, cumulative: UnwrappedTsn) {
        if !self.draining.is_empty() || self.request.is_some() {
            self.advance(cumulative);
        }
    }

    fn advance(&mut self, cumulative: UnwrappedTsn) {
        while let Some(Reverse((drains_at, stream))) = self.draining.peek().copied() {
            if drains_at > cumulative {
                break;
            }
            self.draining.pop();
            self.ready.push_back(stream);
            if self.draining.is_empty() {
                self.draining.shrink_to(64);
            }
        }
        // A peer that said "in progress" and waits to be asked again can perform the reset now: dcSCTP does so. Asking
        // at once saves the time-out.
        if let Some(request) = &mut self.request
            && request.is_in_progress
            && !request.retried_early
            && request.last_tsn <= cumulative
        {
            request.retried_early = true;
            request.is_due = true;
        }
    }

    /// Returns `true` if a request is to be sent now.
    pub(crate) fn is_due(&self) -> bool {
        match &self.request {
            Some(request) => request.is_due,
            None => !self.ready.is_empty() || !self.others.is_empty(),
        }
    }

    pub(crate) fn is_outstanding(&self) -> bool {
        self.request.is_some()
    }

    /// Takes the request to write: a new one of at most `streams_max` streams, or the one under way again, unchanged
    /// (RFC 6525 §5.1.1).
    pub(crate) fn take_due(
        &mut self,
        now: Instant,
        streams_max: usize,
        last_assigned_tsn: UnwrappedTsn,
    ) -> Option<DueRequest<'_>> {
        if self.request.is_none() {
            let other = if self.ready.is_empty() { self.others.pop_front() } else { None };
            if (self.ready.is_empty() && other.is_none()) || streams_max == 0 {
                return None;
            }
            let count = self.ready.len().min(streams_max).min(REQUEST_STREAMS_MAX);
            let mut streams: Vec<StreamId> = self.ready.drain(..count).collect();
            self.ready.shrink_to(64);
            if other.is_none() {
                self.disambiguate(&mut streams, last_assigned_tsn.wrap());
            }
            self.request = Some(Request {
                number: self.next,
                streams,
                other,
                last_tsn: last_assigned_tsn,
                sent_at: now,
                refusals: 0,
                refused_since: None,
                is_in_progress: false,
                is_answered: false,
                has_timed_out: false,
                retried_early: false,
                has_new_number: false,
                is_due: true,
            });
            self.next = self.next.next();
        }
        let request = self.request.as_mut().filter(|request| request.is_due)?;
        request.is_due = false;
        request.is_answered = false;
        request.sent_at = now;
        if std::mem::take(&mut request.has_new_number) {
            request.last_tsn = last_assigned_tsn;
        }
        let number = request.number;
        Some(match &request.other {
            Some(request) => DueRequest::Other { number, request },
            None => DueRequest::ResetOutgoing { number, last_tsn: request.last_tsn.wrap(), streams: &request.streams },
        })
    }

    /// Distinguishes a new request from the one before it. dcSCTP retransmits a request that was answered "in progress"
    /// under a new number, so a peer may take a new request with the same streams and the same TSN for a
    /// retransmission. But the new request is another reset if the stream was used again without any data. Therefore it
    /// names its streams in another order, or its only stream twice, which means the same.
    fn disambiguate(&mut self, streams: &mut Vec<StreamId>, last_tsn: Tsn) {
        let is_ambiguous = self.performed.as_ref().is_some_and(|last| (&last.0, last.1) == (streams, last_tsn));
        if is_ambiguous {
            match streams.as_slice() {
                [only] => streams.push(*only),
                _ => streams.rotate_left(1),
            }
        }
    }

    /// Defers the request that [`take_due`](Self::take_due) returned, because it did not fit the packet.
    pub(crate) fn defer(&mut self) {
        if let Some(request) = &mut self.request {
            request.is_due = true;
        }
    }

    /// Handles the expiry of the timer: the request is to be sent again.
    pub(crate) fn on_timeout(&mut self) -> RequestTimeout {
        let Some(request) = &mut self.request else { return RequestTimeout::Answered };
        request.is_due = true;
        request.has_timed_out = true;
        if request.is_answered { RequestTimeout::Answered } else { RequestTimeout::Unanswered }
    }

    /// Handles a packet from the peer. After an outage the packet shows that the network is back, long before a
    /// time-out that has been backed off. So the request is retransmitted at once, if it was last sent longer ago than
    /// a time-out without back-off.
    #[inline]
    pub(crate) fn on_heard(&mut self, now: Instant, rto: Duration) {
        if let Some(request) = &mut self.request
            && request.has_timed_out
            && !request.is_answered
            && now.saturating_duration_since(request.sent_at) >= rto
        {
            request.is_due = true;
        }
    }

    /// Handles the answer of the peer, which has acknowledged everything up to `cumulative`.
    pub(crate) fn on_response(
        &mut self,
        now: Instant,
        number: RequestSn,
        result: ResetResult,
        cumulative: UnwrappedTsn,
    ) -> RequestOutcome {
        let Some(mut request) = self.request.take_if(|request| request.number == number) else {
            return RequestOutcome::Nothing;
        };
        if result != ResetResult::InProgress
            && let Some(other) = request.other.take()
        {
            return RequestOutcome::Other(other, result);
        }
        if matches!(result, ResetResult::Performed | ResetResult::NothingToDo) {
            self.performed = Some((request.streams.clone(), request.last_tsn.wrap()));
            return RequestOutcome::Performed(request.into_streams());
        }
        request.is_answered = true;
        request.has_timed_out = false;
        // A peer that lacks data has to wait, however long that takes. One that has everything has no reason to.
        let is_in_progress = matches!(result, ResetResult::InProgress | ResetResult::ErrorInProgress);
        if request.other.is_none() && (!is_in_progress || request.last_tsn <= cumulative) {
            request.refusals = request.refusals.saturating_add(1);
            let since = *request.refused_since.get_or_insert(now);
            let is_over = now.saturating_duration_since(since) >= self.timeout;
            if is_over && request.refusals >= self.attempts_max {
                return RequestOutcome::Failed;
            }
        }
        request.is_in_progress = result == ResetResult::InProgress;
        if request.is_in_progress {
            self.request = Some(request);
            return RequestOutcome::InProgress;
        }
        // The answer has ended this number; another attempt is a new request.
        request.number = self.next;
        request.retried_early = false;
        request.has_new_number = true;
        self.next = self.next.next();
        self.request = Some(request);
        RequestOutcome::Retry
    }

    /// Forgets all requests, because the association is over or has started again.
    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.next, self.attempts_max, self.timeout);
    }

    pub(crate) fn check_consistency(&self) {
        if let Some(request) = &self.request {
            assert!(request.streams.is_empty() == request.other.is_some());
            assert_eq!(request.number.next(), self.next, "one request at a time");
            assert_eq!(request.refusals == 0, request.refused_since.is_none());
        }
    }
}

#[cfg(test)]
mod tests;
