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

/// The outstanding request.
#[derive(Debug)]
struct Request {
    number: RequestSn,
    streams: Vec<StreamId>,
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

    /// Makes resets ready whose data up to `cumulative` has been acknowledged or abandoned. All data of a stream
    /// arrives before its reset is requested, which also serves peers that reset at once although data is missing.
    pub(crate) fn on_acknowledged(&mut self, cumulative: UnwrappedTsn) {
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
            None => !self.ready.is_empty(),
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
    ) -> Option<(RequestSn, Tsn, &[StreamId])> {
        if self.request.is_none() {
            if self.ready.is_empty() || streams_max == 0 {
                return None;
            }
            let count = self.ready.len().min(streams_max).min(REQUEST_STREAMS_MAX);
            let mut streams: Vec<StreamId> = self.ready.drain(..count).collect();
            self.ready.shrink_to(64);
            self.disambiguate(&mut streams, last_assigned_tsn.wrap());
            self.request = Some(Request {
                number: self.next,
                streams,
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
        Some((request.number, request.last_tsn.wrap(), &request.streams))
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
        if matches!(result, ResetResult::Performed | ResetResult::NothingToDo) {
            self.performed = Some((request.streams.clone(), request.last_tsn.wrap()));
            return RequestOutcome::Performed(request.into_streams());
        }
        request.is_answered = true;
        request.has_timed_out = false;
        // A peer that lacks data has to wait, however long that takes. One that has everything has no reason to.
        let is_in_progress = matches!(result, ResetResult::InProgress | ResetResult::ErrorInProgress);
        if !is_in_progress || request.last_tsn <= cumulative {
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
            assert!(!request.streams.is_empty());
            assert_eq!(request.number.next(), self.next, "one request at a time");
            assert_eq!(request.refusals == 0, request.refused_since.is_none());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outgoing() -> (OwnRequests, Instant) {
        (OwnRequests::new(RequestSn(u32::MAX), 3, Duration::from_secs(30)), crate::testing::some_time())
    }

    fn tsn(number: u64) -> UnwrappedTsn {
        UnwrappedTsn::BEFORE_ALL.add(number)
    }

    #[test]
    fn a_stream_is_reset_only_after_its_last_chunk_is_acknowledged() {
        let (mut reset, now) = outgoing();
        reset.enqueue(StreamId(6), tsn(9));
        reset.on_acknowledged(tsn(8));
        assert!(!reset.is_due());
        reset.enqueue(StreamId(4), tsn(12));
        reset.on_acknowledged(tsn(11));
        let (number, _, streams) = reset.take_due(now, 100, tsn(11)).unwrap();
        assert_eq!((number, streams), (RequestSn(u32::MAX), &[StreamId(6)][..]));
        assert!(reset.take_due(now, 100, tsn(11)).is_none(), "one request at a time");
        reset.on_acknowledged(tsn(12));
        assert!(!reset.is_due());
        assert_eq!(
            reset.on_response(now, number, ResetResult::Performed, tsn(u64::MAX)),
            RequestOutcome::Performed(vec![StreamId(6)])
        );
        let (number, _, streams) = reset.take_due(now, 100, tsn(12)).unwrap();
        assert_eq!((number, streams), (RequestSn(0), &[StreamId(4)][..]), "the numbers wrap");
        reset.check_consistency();
    }

    #[test]
    fn many_streams_are_reset_by_requests_that_every_peer_can_read() {
        let (mut reset, now) = outgoing();
        (0..1000).for_each(|stream| reset.enqueue(StreamId(stream), tsn(1)));
        reset.on_acknowledged(tsn(1));
        let mut performed = Vec::new();
        while let Some((number, _, streams)) = reset.take_due(now, 10_000, tsn(20)) {
            assert!(16 + 2 * streams.len() <= 512);
            let RequestOutcome::Performed(mut streams) =
                reset.on_response(now, number, ResetResult::Performed, tsn(u64::MAX))
            else {
                panic!()
            };
            performed.append(&mut streams);
        }
        assert_eq!(performed, (0..1000).map(StreamId).collect::<Vec<_>>());
    }

    #[test]
    fn in_progress_is_asked_again_as_soon_as_the_data_is_acknowledged_and_only_once() {
        let (mut reset, now) = outgoing();
        reset.enqueue(StreamId(2), tsn(5));
        reset.on_acknowledged(tsn(5));
        let (number, ..) = reset.take_due(now, 100, tsn(20)).unwrap();
        assert_eq!(reset.on_response(now, number, ResetResult::InProgress, tsn(u64::MAX)), RequestOutcome::InProgress);
        assert!(!reset.is_due());
        reset.on_acknowledged(tsn(19));
        assert!(!reset.is_due());
        reset.on_acknowledged(tsn(20));
        assert!(reset.is_due());
        assert_eq!(reset.take_due(now, 100, tsn(41)).unwrap().1, Tsn(20), "repeated unchanged");
        reset.on_acknowledged(tsn(21));
        assert!(!reset.is_due());
        assert_eq!(reset.on_timeout(), RequestTimeout::Unanswered);
        assert!(reset.is_due());
    }

    #[test]
    fn a_reset_that_follows_an_equal_one_without_data_between_is_no_repetition_of_it() {
        let (mut reset, now) = outgoing();
        let mut request = |streams: &[u16], last_tsn: u64| {
            for stream in streams {
                reset.enqueue(StreamId(*stream), tsn(0));
            }
            reset.on_acknowledged(tsn(0));
            let (number, _, sent) = reset.take_due(now, 100, tsn(last_tsn)).unwrap();
            let sent = sent.to_vec();
            assert_eq!(
                reset.on_response(now, number, ResetResult::InProgress, tsn(u64::MAX)),
                RequestOutcome::InProgress
            );
            assert_eq!(
                reset.on_response(now, number, ResetResult::Performed, tsn(u64::MAX)),
                RequestOutcome::Performed(sent[..streams.len()].to_vec())
            );
            sent.iter().map(|stream| stream.0).collect::<Vec<u16>>()
        };
        assert_eq!(request(&[4], 9), [4]);
        assert_eq!(request(&[4], 9), [4, 4]);
        assert_eq!(request(&[4], 9), [4], "unlike the one before");
        assert_eq!(request(&[4], 10), [4], "there was data");
        assert_eq!(request(&[4, 6, 8], 10), [4, 6, 8]);
        assert_eq!(request(&[4, 6, 8], 10), [6, 8, 4]);
    }

    #[test]
    fn refusals_end_and_g07_answers_to_nothing_are_ignored() {
        let (mut reset, start) = outgoing();
        let answer =
            |reset: &mut OwnRequests, now, number, result| reset.on_response(now, number, result, tsn(u64::MAX));
        assert_eq!(answer(&mut reset, start, RequestSn(u32::MAX), ResetResult::Performed), RequestOutcome::Nothing);
        reset.enqueue(StreamId(2), tsn(0));
        reset.on_acknowledged(tsn(0));
        // Neither three refusals nor thirty seconds are enough alone.
        for (attempt, seconds) in [0, 1, 29, 30].into_iter().enumerate() {
            let now = start + Duration::from_secs(seconds);
            let (number, ..) = reset.take_due(now, 100, tsn(20)).unwrap();
            assert_eq!(number, RequestSn(u32::MAX).add(u32::try_from(attempt).unwrap()));
            assert_eq!(answer(&mut reset, now, number.add(5), ResetResult::Performed), RequestOutcome::Nothing);
            let answered = answer(&mut reset, now, number, ResetResult::Denied);
            if attempt < 3 {
                assert_eq!(answered, RequestOutcome::Retry);
                assert_eq!(reset.on_timeout(), RequestTimeout::Answered, "the peer has answered");
                reset.check_consistency();
            } else {
                assert_eq!(answered, RequestOutcome::Failed);
            }
        }
        assert!(!reset.is_outstanding());
    }

    #[test]
    fn a_request_that_did_not_fit_is_due_again_and_unchanged() {
        let (mut reset, now) = outgoing();
        reset.enqueue(StreamId(2), tsn(0));
        reset.on_acknowledged(tsn(0));
        let (number, last_tsn, streams) = reset.take_due(now, 100, tsn(20)).unwrap();
        let first = (number, last_tsn, streams.to_vec());
        assert!(!reset.is_due());
        reset.defer();
        assert!(reset.is_due());
        let (number, last_tsn, streams) = reset.take_due(now, 100, tsn(30)).unwrap();
        assert_eq!((number, last_tsn, streams.to_vec()), first);
        reset.check_consistency();
    }

    #[test]
    fn a_peer_that_answers_bad_sequence_number_for_ever_gets_new_numbers_then_the_end() {
        let (mut reset, start) = outgoing();
        reset.enqueue(StreamId(2), tsn(0));
        reset.on_acknowledged(tsn(0));
        let mut numbers = Vec::new();
        for second in 0.. {
            let now = start + Duration::from_secs(second);
            let (number, ..) = reset.take_due(now, 100, tsn(20)).unwrap();
            numbers.push(number);
            let outcome = reset.on_response(now, number, ResetResult::BadSequenceNumber, tsn(19));
            if outcome == RequestOutcome::Failed {
                assert_eq!(second, 30, "the time-out, with far more refusals than the limit");
                break;
            }
            assert_eq!(outcome, RequestOutcome::Retry);
            assert!(!reset.is_due(), "after a time-out");
            assert_eq!(reset.on_timeout(), RequestTimeout::Answered, "the peer has answered");
            reset.check_consistency();
        }
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0].next()), "{numbers:?}");
        assert!(!reset.is_outstanding());
    }

    #[test]
    fn in_progress_is_a_refusal_only_once_the_peer_has_acknowledged_everything() {
        for (acknowledged, expected) in [(19, RequestOutcome::InProgress), (20, RequestOutcome::Failed)] {
            let (mut reset, start) = outgoing();
            reset.enqueue(StreamId(2), tsn(0));
            reset.on_acknowledged(tsn(0));
            let mut last = RequestOutcome::Nothing;
            for seconds in [0, 300, 600] {
                let now = start + Duration::from_secs(seconds);
                let (number, ..) = reset.take_due(now, 100, tsn(20)).unwrap();
                last = reset.on_response(now, number, ResetResult::InProgress, tsn(acknowledged));
                reset.on_timeout();
            }
            assert_eq!(last, expected, "{acknowledged} of 20");
        }
    }

    #[test]
    fn what_is_heard_repeats_a_request_that_has_timed_out_once_a_time_out() {
        let (mut reset, start) = outgoing();
        let (second, rto) = (Duration::from_secs(1), Duration::from_secs(1));
        reset.enqueue(StreamId(2), tsn(0));
        reset.on_acknowledged(tsn(0));
        reset.take_due(start, 100, tsn(20)).unwrap();
        reset.on_heard(start + 2 * second, rto);
        assert!(!reset.is_due(), "its time-out has not passed");
        assert_eq!(reset.on_timeout(), RequestTimeout::Unanswered);
        reset.take_due(start + 3 * second, 100, tsn(20)).unwrap();
        for (after, is_due) in [(3, false), (4, true)] {
            reset.on_heard(start + after * second, rto);
            assert_eq!(reset.is_due(), is_due, "after {after} s");
        }
        let (number, ..) = reset.take_due(start + 4 * second, 100, tsn(20)).unwrap();
        assert_eq!(reset.on_response(start, number, ResetResult::InProgress, tsn(19)), RequestOutcome::InProgress);
        reset.on_heard(start + 9 * second, rto);
        assert!(!reset.is_due(), "the peer has said to wait");
        assert_eq!(reset.on_timeout(), RequestTimeout::Answered, "no error of the path");
        reset.take_due(start + 9 * second, 100, tsn(20)).unwrap();
        assert_eq!(reset.on_timeout(), RequestTimeout::Unanswered, "the repetition is not answered");
    }
}
