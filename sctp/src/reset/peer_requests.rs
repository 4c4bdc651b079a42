//! Requests from the peer, each executed once (RFC 6525 §5.2.1).

use crate::serial::RequestSn;
use crate::wire::ResetResult;

/// What to do with a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RequestDecision {
    /// New: execute it, and tell [`PeerRequests::answer`] the result.
    Execute,
    /// Seen before: the same answer again.
    Repeat(ResetResult),
    /// Neither the next one nor a repetition.
    OutOfSequence,
}

/// The numbers of the peer's requests, and what was answered.
#[derive(Debug)]
pub(crate) struct PeerRequests {
    next: RequestSn,
    /// The last two answers, since a chunk may hold two requests (RFC 6525 §3.1).
    answers: [Option<(RequestSn, ResetResult)>; 2],
    /// The request that waits for data to arrive.
    deferred: Option<RequestSn>,
}

impl PeerRequests {
    /// The peer counts its requests from its initial TSN (RFC 6525 §4.1).
    pub(crate) fn new(first: RequestSn) -> Self {
        Self { next: first, answers: [None; 2], deferred: None }
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

    /// The request that [`decide`](Self::decide) let through has this result.
    pub(crate) fn answer(&mut self, request: RequestSn, result: ResetResult) {
        let deferred = self.deferred;
        let [newest, older] = &mut self.answers;
        let before = newest.replace((request, result));
        // The answer to what is still deferred is not final: it is kept, whatever else the peer asks meanwhile.
        if older.is_none_or(|older| Some(older.0) != deferred) {
            *older = before;
        }
        self.next = request.next();
        if result == ResetResult::InProgress {
            self.deferred = Some(request);
        }
    }

    /// The data that the deferred request waited for has come. Returns the request, to be answered at once: a peer that
    /// only listens need not ask again.
    pub(crate) fn on_deferred_performed(&mut self) -> Option<RequestSn> {
        let request = self.deferred.take()?;
        // The same reset may have been asked for by two numbers.
        for answer in self.answers.iter_mut().flatten().filter(|answer| answer.1 == ResetResult::InProgress) {
            answer.1 = ResetResult::Performed;
        }
        Some(request)
    }

    pub(crate) fn last_request(&self) -> RequestSn {
        self.next.prev()
    }

    pub(crate) fn check_consistency(&self) {
        if let Some(deferred) = self.deferred {
            assert!(self.answers.iter().flatten().any(|answer| *answer == (deferred, ResetResult::InProgress)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g01_g10_a_request_is_executed_once_and_repeated_for_ever_also_at_the_wrap() {
        for first in [0, 7, u32::MAX - 1, u32::MAX] {
            let mut incoming = PeerRequests::new(RequestSn(first));
            for step in 0..4 {
                let request = RequestSn(first).add(step);
                assert_eq!(incoming.decide(request.next()), RequestDecision::OutOfSequence);
                assert_eq!(incoming.decide(request), RequestDecision::Execute);
                let result = if step % 2 == 0 { ResetResult::Performed } else { ResetResult::Denied };
                incoming.answer(request, result);
                for _ in 0..3 {
                    assert_eq!(incoming.decide(request), RequestDecision::Repeat(result));
                }
            }
            assert_eq!(incoming.decide(RequestSn(first)), RequestDecision::OutOfSequence, "older than two answers");
        }
    }

    #[test]
    fn a_deferred_request_changes_its_answer_once_performed() {
        let mut incoming = PeerRequests::new(RequestSn(9));
        incoming.answer(RequestSn(9), ResetResult::InProgress);
        assert_eq!(incoming.decide(RequestSn(9)), RequestDecision::Repeat(ResetResult::InProgress));
        assert_eq!(incoming.on_deferred_performed(), Some(RequestSn(9)));
        assert_eq!(incoming.decide(RequestSn(9)), RequestDecision::Repeat(ResetResult::Performed));
        assert_eq!(incoming.on_deferred_performed(), None);
        incoming.check_consistency();
    }
}
