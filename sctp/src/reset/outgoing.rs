//! Our own requests: one at a time, drained first, repeated until they end (RFC 6525 §5.1).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use crate::error::ResetFailure;
use crate::message::StreamId;
use crate::serial::{RequestSn, Tsn};
use crate::wire::ResetResult;

/// Streams in one request. RFC 6525 sets no limit but the packet; usrsctp takes no more than 248, which it reads into 512
/// bytes, and denies the request else.
const REQUEST_STREAMS_MAX: usize = 240;

/// A request on its way.
#[derive(Debug)]
struct Request {
    number: RequestSn,
    streams: Vec<StreamId>,
    last_tsn: Tsn,
    /// Position of `last_tsn`; once it is acknowledged, the peer can perform the reset.
    last_position: u64,
    begun_at: Instant,
    /// Refusals so far, this request's predecessors for the same streams included.
    refusals: u32,
    /// The last answer was "in progress".
    is_in_progress: bool,
    /// Whether it was repeated because `last_tsn` was acknowledged; once is enough.
    was_hurried: bool,
    /// It has another number than before, and so names what is the last TSN by then.
    is_renewed: bool,
    is_due: bool,
}

impl Request {
    /// Each stream once, even if it was named twice.
    fn into_streams(mut self) -> Vec<StreamId> {
        self.streams.dedup();
        self.streams
    }
}

/// What an answer meant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// It fits no request: ignored (RFC 6525 §5.2.7 H1).
    Nothing,
    /// The peer waits for data; ask again later, and do not count it as an error (H2).
    InProgress,
    /// The reset is done (H4).
    Performed(Vec<StreamId>),
    /// Refused; to be asked again after a time-out.
    AskAgain,
    /// Refused too often.
    Failed(Vec<StreamId>, ResetFailure),
}

/// Outgoing resets.
#[derive(Debug)]
pub(crate) struct OutgoingReset {
    next: RequestSn,
    /// How many numbers before the one in use, or the next one, were given up without an answer: the peer may not have
    /// seen them, and takes no later one then.
    unanswered: u32,
    /// Streams that are reset once the chunk at that position is acknowledged; soonest first.
    draining: BinaryHeap<Reverse<(u64, StreamId)>>,
    ready: VecDeque<StreamId>,
    request: Option<Request>,
    /// Streams and last TSN of the last request that was performed.
    performed: Option<(Vec<StreamId>, Tsn)>,
    attempts_max: u32,
    timeout: Duration,
}

impl OutgoingReset {
    /// Requests count from the initial TSN (RFC 6525 §4.1).
    pub(crate) fn new(first: RequestSn, attempts_max: u32, timeout: Duration) -> Self {
        Self {
            next: first,
            unanswered: 0,
            draining: BinaryHeap::new(),
            ready: VecDeque::new(),
            request: None,
            performed: None,
            attempts_max,
            timeout,
        }
    }

    /// The stream, whose queue is empty, is to be reset; its last chunk went to position `drains_at`.
    pub(crate) fn want(&mut self, stream: StreamId, drains_at: u64) {
        self.draining.push(Reverse((drains_at, stream)));
    }

    /// Everything up to this position has been acknowledged or given up. All data of a stream arrives before its reset is
    /// asked for, which also serves peers that reset at once whatever is missing.
    pub(crate) fn on_acknowledged(&mut self, cumulative: u64) {
        while let Some(Reverse((position, stream))) = self.draining.peek().copied() {
            if position > cumulative {
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
            && !request.was_hurried
            && request.last_position <= cumulative
        {
            request.was_hurried = true;
            request.is_due = true;
        }
    }

    /// Whether a request is to be sent now.
    pub(crate) fn is_due(&self) -> bool {
        match &self.request {
            Some(request) => request.is_due,
            None => !self.ready.is_empty(),
        }
    }

    pub(crate) fn is_outstanding(&self) -> bool {
        self.request.is_some()
    }

    /// When the request under way is given up.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        Some(self.request.as_ref()?.begun_at + self.timeout)
    }

    /// The request to write: a new one of at most `streams_max` streams, or the one under way again, unchanged
    /// (RFC 6525 §5.1.1).
    pub(crate) fn take_due(
        &mut self,
        now: Instant,
        streams_max: usize,
        last_assigned: (Tsn, u64),
    ) -> Option<(RequestSn, Tsn, &[StreamId])> {
        if self.request.is_none() {
            if self.ready.is_empty() || streams_max == 0 {
                return None;
            }
            let count = self.ready.len().min(streams_max).min(REQUEST_STREAMS_MAX);
            let mut streams: Vec<StreamId> = self.ready.drain(..count).collect();
            self.ready.shrink_to(64);
            self.distinguish(&mut streams, last_assigned.0);
            self.request = Some(Request {
                number: self.next,
                streams,
                last_tsn: last_assigned.0,
                last_position: last_assigned.1,
                begun_at: now,
                refusals: 0,
                is_in_progress: false,
                was_hurried: false,
                is_renewed: false,
                is_due: true,
            });
            self.next = self.next.next();
        }
        let request = self.request.as_mut().filter(|request| request.is_due)?;
        request.is_due = false;
        if std::mem::take(&mut request.is_renewed) {
            (request.last_tsn, request.last_position) = last_assigned;
        }
        Some((request.number, request.last_tsn, &request.streams))
    }

    /// dcSCTP repeats a request that was answered "in progress" under a new number, so a new request that names the same
    /// streams and the same TSN as such a one may be taken for its repetition. It is another reset if the stream was used
    /// again without any data. So it names its streams in another order, or the only one twice, which means the same.
    fn distinguish(&mut self, streams: &mut Vec<StreamId>, last_tsn: Tsn) {
        let is_ambiguous = self.performed.as_ref().is_some_and(|last| (&last.0, last.1) == (streams, last_tsn));
        if is_ambiguous {
            match streams.as_slice() {
                [only] => streams.push(*only),
                _ => streams.rotate_left(1),
            }
        }
    }

    /// What [`take_due`](Self::take_due) gave did not fit the packet.
    pub(crate) fn put_off(&mut self) {
        if let Some(request) = &mut self.request {
            request.is_due = true;
        }
    }

    /// The time-out expired. Returns whether it counts as an error of the path (RFC 6525 §5.2.7 H2).
    pub(crate) fn on_timeout(&mut self) -> bool {
        let Some(request) = &mut self.request else { return false };
        request.is_due = true;
        !request.is_in_progress
    }

    /// The deadline passed.
    pub(crate) fn on_deadline(&mut self) -> Vec<StreamId> {
        let Some(request) = self.request.take() else { return Vec::new() };
        if request.is_renewed {
            // The number has not been used.
            self.next = request.number;
        } else {
            self.unanswered = if request.is_in_progress { 0 } else { self.unanswered.saturating_add(1) };
        }
        request.into_streams()
    }

    pub(crate) fn on_response(&mut self, number: RequestSn, result: ResetResult) -> Answered {
        let Some(mut request) = self.request.take_if(|request| request.number == number) else {
            return Answered::Nothing;
        };
        if result == ResetResult::BadSequenceNumber && self.unanswered > 0 {
            // It waits for one of those that were given up. From the latest on down, so that none that it has executed is
            // named again.
            self.unanswered -= 1;
            self.next = request.number;
            request.number = request.number.prev();
            (request.is_renewed, request.is_due) = (true, true);
            self.request = Some(request);
            return Answered::AskAgain;
        }
        self.unanswered = 0;
        match result {
            ResetResult::Performed | ResetResult::NothingToDo => {
                self.performed = Some((request.streams.clone(), request.last_tsn));
                return Answered::Performed(request.into_streams());
            }
            ResetResult::InProgress => {
                request.is_in_progress = true;
                self.request = Some(request);
                return Answered::InProgress;
            }
            _ => {}
        }
        request.refusals += 1;
        if request.refusals >= self.attempts_max {
            return Answered::Failed(request.into_streams(), ResetFailure::Refused(result));
        }
        // The answer has ended this number; another attempt is a new request.
        request.number = self.next;
        request.is_in_progress = false;
        request.was_hurried = false;
        request.is_renewed = true;
        self.next = self.next.next();
        self.request = Some(request);
        Answered::AskAgain
    }

    /// The association is over, or has started again.
    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.next, self.attempts_max, self.timeout);
    }

    pub(crate) fn check_consistency(&self) {
        if let Some(request) = &self.request {
            assert!(!request.streams.is_empty());
            assert_eq!(request.number.next(), self.next, "one request at a time");
            assert!(request.refusals < self.attempts_max);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outgoing() -> (OutgoingReset, Instant) {
        (OutgoingReset::new(RequestSn(u32::MAX), 3, Duration::from_secs(30)), crate::testing::some_time())
    }

    #[test]
    fn a_stream_is_reset_only_after_its_last_chunk_is_acknowledged() {
        let (mut reset, now) = outgoing();
        reset.want(6, 9);
        reset.on_acknowledged(8);
        assert!(!reset.is_due());
        reset.want(4, 12);
        reset.on_acknowledged(11);
        let (number, _, streams) = reset.take_due(now, 100, (Tsn(1), 11)).unwrap();
        assert_eq!((number, streams), (RequestSn(u32::MAX), &[6][..]));
        assert!(reset.take_due(now, 100, (Tsn(1), 11)).is_none(), "one request at a time");
        reset.on_acknowledged(12);
        assert!(!reset.is_due());
        assert_eq!(reset.on_response(number, ResetResult::Performed), Answered::Performed(vec![6]));
        let (number, _, streams) = reset.take_due(now, 100, (Tsn(1), 12)).unwrap();
        assert_eq!((number, streams), (RequestSn(0), &[4][..]), "the numbers wrap");
        reset.check_consistency();
    }

    #[test]
    fn many_streams_are_reset_by_requests_that_every_peer_can_read() {
        let (mut reset, now) = outgoing();
        (0..1000).for_each(|stream| reset.want(stream, 1));
        reset.on_acknowledged(1);
        let mut performed = Vec::new();
        while let Some((number, _, streams)) = reset.take_due(now, 10_000, (Tsn(9), 20)) {
            assert!(16 + 2 * streams.len() <= 512);
            let Answered::Performed(mut streams) = reset.on_response(number, ResetResult::Performed) else { panic!() };
            performed.append(&mut streams);
        }
        assert_eq!(performed, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn in_progress_is_asked_again_as_soon_as_the_data_is_acknowledged_and_only_once() {
        let (mut reset, now) = outgoing();
        reset.want(2, 5);
        reset.on_acknowledged(5);
        let (number, ..) = reset.take_due(now, 100, (Tsn(9), 20)).unwrap();
        assert_eq!(reset.on_response(number, ResetResult::InProgress), Answered::InProgress);
        assert!(!reset.is_due());
        reset.on_acknowledged(19);
        assert!(!reset.is_due());
        reset.on_acknowledged(20);
        assert!(reset.is_due());
        assert_eq!(reset.take_due(now, 100, (Tsn(30), 41)).unwrap().1, Tsn(9), "repeated unchanged");
        reset.on_acknowledged(21);
        assert!(!reset.is_due());
        assert!(!reset.on_timeout(), "no error of the path");
        assert!(reset.is_due());
    }

    #[test]
    fn a_reset_that_follows_an_equal_one_without_data_between_is_no_repetition_of_it() {
        let (mut reset, now) = outgoing();
        let mut request = |streams: &[StreamId], last_tsn: u32| {
            for stream in streams {
                reset.want(*stream, 0);
            }
            reset.on_acknowledged(0);
            let (number, _, sent) = reset.take_due(now, 100, (Tsn(last_tsn), 20)).unwrap();
            let sent = sent.to_vec();
            assert_eq!(reset.on_response(number, ResetResult::InProgress), Answered::InProgress);
            assert_eq!(
                reset.on_response(number, ResetResult::Performed),
                Answered::Performed(sent[..streams.len()].to_vec())
            );
            sent
        };
        assert_eq!(request(&[4], 9), [4]);
        assert_eq!(request(&[4], 9), [4, 4]);
        assert_eq!(request(&[4], 9), [4], "unlike the one before");
        assert_eq!(request(&[4], 10), [4], "there was data");
        assert_eq!(request(&[4, 6, 8], 10), [4, 6, 8]);
        assert_eq!(request(&[4, 6, 8], 10), [6, 8, 4]);
    }

    #[test]
    fn a_number_that_was_given_up_is_used_again_if_the_peer_still_waits_for_it() {
        for seen in 0..=3 {
            let (mut reset, now) = outgoing();
            // Three requests without an answer, of which the peer has seen the first ones.
            for stream in 0..3 {
                reset.want(stream, 0);
                reset.on_acknowledged(0);
                assert_eq!(reset.take_due(now, 100, (Tsn(9), 20)).unwrap().0, RequestSn(u32::MAX).add(stream.into()));
                assert_eq!(reset.on_deadline(), [stream]);
            }
            reset.want(7, 0);
            reset.on_acknowledged(0);
            for number in (seen..=3).rev() {
                let (asked, last_tsn, streams) = reset.take_due(now, 100, (Tsn(30 + number), 40)).unwrap();
                assert_eq!((asked, last_tsn, streams), (RequestSn(u32::MAX).add(number), Tsn(30 + number), &[7][..]));
                let result = if number == seen { ResetResult::Performed } else { ResetResult::BadSequenceNumber };
                let expected = if number == seen { Answered::Performed(vec![7]) } else { Answered::AskAgain };
                assert_eq!(reset.on_response(asked, result), expected);
                reset.check_consistency();
            }
            reset.want(8, 0);
            reset.on_acknowledged(0);
            let (asked, ..) = reset.take_due(now, 100, (Tsn(50), 60)).unwrap();
            assert_eq!(asked, RequestSn(u32::MAX).add(seen + 1), "and on from there");
            // Nothing is left to go back to.
            assert_eq!(reset.on_response(asked, ResetResult::BadSequenceNumber), Answered::AskAgain);
            assert!(!reset.is_due());
        }
    }

    #[test]
    fn a_number_that_was_not_sent_before_the_deadline_is_the_next_one() {
        let (mut reset, now) = outgoing();
        reset.want(2, 0);
        reset.on_acknowledged(0);
        let (number, ..) = reset.take_due(now, 100, (Tsn(9), 20)).unwrap();
        assert_eq!(reset.on_response(number, ResetResult::ErrorInProgress), Answered::AskAgain);
        assert_eq!(reset.on_deadline(), [2]);
        reset.want(4, 0);
        reset.on_acknowledged(0);
        assert_eq!(reset.take_due(now, 100, (Tsn(9), 20)).unwrap().0, number.next());
        assert_eq!(reset.on_response(number.next(), ResetResult::BadSequenceNumber), Answered::AskAgain);
        assert!(!reset.is_due(), "nothing was given up without an answer");
    }

    #[test]
    fn refusals_end_and_g07_answers_to_nothing_are_ignored() {
        let (mut reset, now) = outgoing();
        assert_eq!(reset.on_response(RequestSn(u32::MAX), ResetResult::Performed), Answered::Nothing);
        reset.want(2, 0);
        reset.on_acknowledged(0);
        for attempt in 0..3 {
            let (number, ..) = reset.take_due(now, 100, (Tsn(9), 20)).unwrap();
            assert_eq!(number, RequestSn(u32::MAX).add(attempt));
            assert_eq!(reset.on_response(number.add(5), ResetResult::Performed), Answered::Nothing);
            let answered = reset.on_response(number, ResetResult::Denied);
            if attempt < 2 {
                assert_eq!(answered, Answered::AskAgain);
                assert!(reset.on_timeout());
            } else {
                assert_eq!(answered, Answered::Failed(vec![2], ResetFailure::Refused(ResetResult::Denied)));
            }
        }
        assert!(!reset.is_outstanding());
    }
}
