//! Requests from the peer, each executed once (RFC 6525 §5.2.1).

use crate::serial::RequestSn;
use crate::wire::ResetResult;

/// Decision about a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RequestDecision {
    /// New: execute it, and tell [`PeerRequests::answer`] the result.
    Execute,
    /// Seen before: the same answer again.
    Repeat(ResetResult),
    /// Neither the next request nor a retransmission.
    OutOfSequence,
}

/// The numbers of the peer's requests, and the last answers. The reset that a request in progress stands for is the
/// receiver's; here it is an answer that is not final yet.
#[derive(Debug)]
pub(crate) struct PeerRequests {
    next: RequestSn,
    /// The last two answers, since a chunk may hold two requests (RFC 6525 §3.1).
    answers: [Option<(RequestSn, ResetResult)>; 2],
}

impl PeerRequests {
    /// Creates the state before the first request. The peer numbers its requests from its initial TSN (RFC 6525 §4.1).
    pub(crate) fn new(first: RequestSn) -> Self {
        Self { next: first, answers: [None; 2] }
    }

    pub(crate) fn decide(&self, request: RequestSn) -> RequestDecision {
        if request == self.next {
            return RequestDecision::Execute;
        }
        match self.answers.iter().flatten().find(|answer| answer.0 == request) {
            Some(answer) => RequestDecision::Repeat(answer.1),
            None => RequestDecision::OutOfSequence,
        }
    }

    /// Records the result of the request that [`decide`](Self::decide) let through.
    pub(crate) fn answer(&mut self, request: RequestSn, result: ResetResult) {
        let [newest, older] = &mut self.answers;
        let before = newest.replace((request, result));
        // "In progress" is not final: the newest such answer is kept, whatever else the peer asks meanwhile.
        if before.is_some_and(is_in_progress) || !older.is_some_and(is_in_progress) {
            *older = before;
        }
        self.next = request.next();
    }

    /// Ends the reset that was in progress. Returns its request, to be answered at once: a peer that only listens need
    /// not ask again.
    pub(crate) fn on_deferred_performed(&mut self) -> Option<RequestSn> {
        // The same reset may have been asked for by two numbers; the first of these answers is the newest.
        let in_progress = self.answers.iter_mut().flatten().filter(|answer| is_in_progress(**answer));
        let mut newest = None;
        for (request, result) in in_progress {
            *result = ResetResult::Performed;
            newest.get_or_insert(*request);
        }
        newest
    }

    pub(crate) fn last_request(&self) -> RequestSn {
        self.next.prev()
    }

    pub(crate) fn check_consistency(&self) {
        if let [Some(newest), Some(older)] = self.answers {
            assert_eq!(newest.0.next(), self.next, "the newest answer is not the last one");
            assert!(newest.0 != older.0, "two answers to {:?}", newest.0);
        }
    }
}

fn is_in_progress(answer: (RequestSn, ResetResult)) -> bool {
    answer.1 == ResetResult::InProgress
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g01_g10_a_request_is_executed_once_and_repeated_for_ever_also_at_the_wrap() {
        for first in [0, 7, u32::MAX - 1, u32::MAX] {
            let mut requests = PeerRequests::new(RequestSn(first));
            for step in 0..4 {
                let request = RequestSn(first).add(step);
                assert_eq!(requests.decide(request.next()), RequestDecision::OutOfSequence);
                assert_eq!(requests.decide(request), RequestDecision::Execute);
                let result = if step % 2 == 0 { ResetResult::Performed } else { ResetResult::Denied };
                requests.answer(request, result);
                for _ in 0..3 {
                    assert_eq!(requests.decide(request), RequestDecision::Repeat(result));
                }
            }
            assert_eq!(requests.decide(RequestSn(first)), RequestDecision::OutOfSequence, "older than two answers");
        }
    }

    #[test]
    fn a_deferred_request_changes_its_answer_once_performed() {
        let mut requests = PeerRequests::new(RequestSn(9));
        requests.answer(RequestSn(9), ResetResult::InProgress);
        assert_eq!(requests.decide(RequestSn(9)), RequestDecision::Repeat(ResetResult::InProgress));
        assert_eq!(requests.on_deferred_performed(), Some(RequestSn(9)));
        assert_eq!(requests.decide(RequestSn(9)), RequestDecision::Repeat(ResetResult::Performed));
        assert_eq!(requests.on_deferred_performed(), None);
        requests.check_consistency();
    }

    /// The peer repeats a deferred request under a new number, then asks for something else that has to wait.
    #[test]
    fn the_answer_to_a_request_in_progress_is_kept_until_it_is_performed() {
        let mut requests = PeerRequests::new(RequestSn(9));
        for (request, result) in [
            (9, ResetResult::InProgress),
            (10, ResetResult::InProgress),
            (11, ResetResult::ErrorInProgress),
            (12, ResetResult::Denied),
        ] {
            requests.answer(RequestSn(request), result);
            requests.check_consistency();
        }
        assert_eq!(requests.decide(RequestSn(10)), RequestDecision::Repeat(ResetResult::InProgress));
        assert_eq!(requests.decide(RequestSn(12)), RequestDecision::Repeat(ResetResult::Denied));
        assert_eq!(requests.on_deferred_performed(), Some(RequestSn(10)));
        assert_eq!(requests.decide(RequestSn(10)), RequestDecision::Repeat(ResetResult::Performed));
        assert_eq!(requests.on_deferred_performed(), None);
        requests.answer(RequestSn(13), ResetResult::Performed);
        assert_eq!(
            requests.decide(RequestSn(10)),
            RequestDecision::OutOfSequence,
            "the final answer is not kept longer"
        );
    }
}
