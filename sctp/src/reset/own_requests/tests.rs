//! Tests of [`OwnRequests`].

use super::*;

fn outgoing() -> (OwnRequests, Instant) {
    (OwnRequests::new(RequestSn(u32::MAX), 3, Duration::from_secs(30)), crate::testing::some_time())
}

/// Takes a reset of outgoing streams.
fn take(
    reset: &mut OwnRequests,
    now: Instant,
    max: usize,
    last: UnwrappedTsn,
) -> Option<(RequestSn, Tsn, &[StreamId])> {
    match reset.take_due(now, max, last)? {
        DueRequest::ResetOutgoing { number, last_tsn, streams } => Some((number, last_tsn, streams)),
        DueRequest::Other { request, .. } => panic!("{request:?}"),
    }
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
    let (number, _, streams) = take(&mut reset, now, 100, tsn(11)).unwrap();
    assert_eq!((number, streams), (RequestSn(u32::MAX), &[StreamId(6)][..]));
    assert!(take(&mut reset, now, 100, tsn(11)).is_none(), "one request at a time");
    reset.on_acknowledged(tsn(12));
    assert!(!reset.is_due());
    assert_eq!(
        reset.on_response(now, number, ResetResult::Performed, tsn(u64::MAX)),
        RequestOutcome::Performed(vec![StreamId(6)])
    );
    let (number, _, streams) = take(&mut reset, now, 100, tsn(12)).unwrap();
    assert_eq!((number, streams), (RequestSn(0), &[StreamId(4)][..]), "the numbers wrap");
    reset.check_consistency();
}

#[test]
fn many_streams_are_reset_by_requests_that_every_peer_can_read() {
    let (mut reset, now) = outgoing();
    (0..1000).for_each(|stream| reset.enqueue(StreamId(stream), tsn(1)));
    reset.on_acknowledged(tsn(1));
    let mut performed = Vec::new();
    while let Some((number, _, streams)) = take(&mut reset, now, 10_000, tsn(20)) {
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
    let (number, ..) = take(&mut reset, now, 100, tsn(20)).unwrap();
    assert_eq!(reset.on_response(now, number, ResetResult::InProgress, tsn(u64::MAX)), RequestOutcome::InProgress);
    assert!(!reset.is_due());
    reset.on_acknowledged(tsn(19));
    assert!(!reset.is_due());
    reset.on_acknowledged(tsn(20));
    assert!(reset.is_due());
    assert_eq!(take(&mut reset, now, 100, tsn(41)).unwrap().1, Tsn(20), "repeated unchanged");
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
        let (number, _, sent) = take(&mut reset, now, 100, tsn(last_tsn)).unwrap();
        let sent = sent.to_vec();
        assert_eq!(reset.on_response(now, number, ResetResult::InProgress, tsn(u64::MAX)), RequestOutcome::InProgress);
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
    let answer = |reset: &mut OwnRequests, now, number, result| reset.on_response(now, number, result, tsn(u64::MAX));
    assert_eq!(answer(&mut reset, start, RequestSn(u32::MAX), ResetResult::Performed), RequestOutcome::Nothing);
    reset.enqueue(StreamId(2), tsn(0));
    reset.on_acknowledged(tsn(0));
    // Neither three refusals nor thirty seconds are enough alone.
    for (attempt, seconds) in [0, 1, 29, 30].into_iter().enumerate() {
        let now = start + Duration::from_secs(seconds);
        let (number, ..) = take(&mut reset, now, 100, tsn(20)).unwrap();
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
    let (number, last_tsn, streams) = take(&mut reset, now, 100, tsn(20)).unwrap();
    let first = (number, last_tsn, streams.to_vec());
    assert!(!reset.is_due());
    reset.defer();
    assert!(reset.is_due());
    let (number, last_tsn, streams) = take(&mut reset, now, 100, tsn(30)).unwrap();
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
        let (number, ..) = take(&mut reset, now, 100, tsn(20)).unwrap();
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
            let (number, ..) = take(&mut reset, now, 100, tsn(20)).unwrap();
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
    take(&mut reset, start, 100, tsn(20)).unwrap();
    reset.on_heard(start + 2 * second, rto);
    assert!(!reset.is_due(), "its time-out has not passed");
    assert_eq!(reset.on_timeout(), RequestTimeout::Unanswered);
    take(&mut reset, start + 3 * second, 100, tsn(20)).unwrap();
    for (after, is_due) in [(3, false), (4, true)] {
        reset.on_heard(start + after * second, rto);
        assert_eq!(reset.is_due(), is_due, "after {after} s");
    }
    let (number, ..) = take(&mut reset, start + 4 * second, 100, tsn(20)).unwrap();
    assert_eq!(reset.on_response(start, number, ResetResult::InProgress, tsn(19)), RequestOutcome::InProgress);
    reset.on_heard(start + 9 * second, rto);
    assert!(!reset.is_due(), "the peer has said to wait");
    assert_eq!(reset.on_timeout(), RequestTimeout::Answered, "no error of the path");
    take(&mut reset, start + 9 * second, 100, tsn(20)).unwrap();
    assert_eq!(reset.on_timeout(), RequestTimeout::Unanswered, "the repetition is not answered");
}
