//! RE-CONFIG as one end speaks it: I30 for its requests, I30 and I31 for its answers.

use std::collections::BTreeMap;

use crate::incoming::Incoming;
use crate::outgoing::Outgoing;
use crate::packet::Reconfig;

/// Results of RFC 6525 §4.4.
const NOTHING_TO_DO: u32 = 0;
const PERFORMED: u32 = 1;
const BAD_SEQUENCE_NUMBER: u32 = 5;
const IN_PROGRESS: u32 = 6;

#[derive(Debug)]
pub(crate) struct Resets {
    next_request: u32,
    request: Option<Request>,
    /// Requests that were answered in the batch being handled: they may have been retransmitted before.
    ended: Vec<Request>,
    /// Last TSN of the peer's requests, and true if they wait for it.
    asked: BTreeMap<u32, (u32, bool)>,
    answered: BTreeMap<u32, u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Request {
    number: u32,
    last_tsn: u32,
    streams: Vec<u16>,
    /// A request for more streams: if of the outgoing ones, and how many.
    more: Option<(bool, u16)>,
    /// Streams that the peer is asked to reset.
    asked: Vec<u16>,
    in_progress: bool,
}

impl Request {
    const NONE: Self =
        Self { number: 0, last_tsn: 0, streams: Vec::new(), more: None, asked: Vec::new(), in_progress: false };
}

impl Resets {
    /// RFC 6525 §4.1: request numbers start at the initial TSN.
    pub(crate) fn new(initial: u32) -> Self {
        let (asked, answered) = Default::default();
        Self { next_request: initial, request: None, ended: Vec::new(), asked, answered }
    }

    pub(crate) fn on_sent(&mut self, parameter: &Reconfig, outgoing: &mut Outgoing, incoming: &Incoming) {
        match parameter {
            Reconfig::Outgoing { request, last_tsn, streams, .. } => {
                let new = Request { number: *request, last_tsn: *last_tsn, streams: streams.clone(), ..Request::NONE };
                self.on_request(new, outgoing);
            }
            Reconfig::Incoming { request, streams } => {
                let new = Request { number: *request, asked: streams.clone(), ..Request::NONE };
                self.on_request(new, outgoing);
            }
            Reconfig::Add { request, is_outgoing, count } => {
                assert!(*count > 0, "I30: a request for no streams");
                let new = Request { number: *request, more: Some((*is_outgoing, *count)), ..Request::NONE };
                self.on_request(new, outgoing);
            }
            Reconfig::Response { request, result } => self.on_answer(*request, *result, incoming),
            other => panic!("I30: {other:?} is nothing that we send"),
        }
    }

    /// All packets written while packets arrived have left.
    pub(crate) fn end_batch(&mut self) {
        self.ended.clear();
    }

    fn on_request(&mut self, new: Request, outgoing: &mut Outgoing) {
        let number = new.number;
        let is_same = |old: &Request| *old == Request { in_progress: old.in_progress, ..new.clone() };
        if self.ended.iter().any(is_same) {
            return;
        }
        if let Some(old) = &self.request {
            if old.number == number {
                assert!(is_same(old), "I30: request {number} changed");
                return;
            }
            // After "in progress", a retransmission may carry a new number.
            assert!(old.in_progress, "I30: request {number} while {} is not answered", old.number);
            let is_again = (&old.streams, old.more, &old.asked) == (&new.streams, new.more, &new.asked);
            assert!(is_again, "I30: another request while one is in progress");
        }
        assert_eq!(number, self.next_request, "I30: request numbers must follow each other");
        self.next_request = number.wrapping_add(1);
        if self.request.is_none() && new.more.is_none() && new.asked.is_empty() {
            outgoing.on_reset_requested(new.last_tsn, &new.streams);
        }
        self.request = Some(new);
    }

    fn on_answer(&mut self, number: u32, result: u32, incoming: &Incoming) {
        if result == PERFORMED || result == NOTHING_TO_DO {
            let asked = self.asked.get(&number);
            let (last_tsn, waits) = asked.unwrap_or_else(|| panic!("I30: request {number} was never made"));
            // RFC 6525 §5.2.2 E2: only once all that was sent before has come.
            let complete = result == NOTHING_TO_DO || !waits || incoming.has_all_to(*last_tsn);
            assert!(complete, "I31: request {number} was performed before TSN {last_tsn} had come");
        }
        // RFC 6525 §5.2.1: only the last two answers need be remembered.
        let newer = self.answered.keys().filter(|&&other| (other.wrapping_sub(number) as i32) > 0).count();
        // A number is not used up by being refused for its place, either.
        if result == BAD_SEQUENCE_NUMBER {
            assert!(newer >= 2 || !self.answered.contains_key(&number), "I30: request {number} is forgotten too soon");
            return;
        }
        let before = self.answered.insert(number, result).filter(|&before| before != IN_PROGRESS);
        assert!(before.is_none_or(|before| before == result), "I30: request {number}: {before:?}, then {result}");
    }

    /// `is_batch`: packets written before this one arrived may leave after it.
    pub(crate) fn on_received(&mut self, parameter: &Reconfig, outgoing: &mut Outgoing, is_batch: bool) {
        match parameter {
            Reconfig::Outgoing { request, response, last_tsn, streams } => {
                // It may answer a request to reset the peer's side (RFC 6525 §5.2.2 E1).
                let is_answered = |ours: &mut Request| ours.number == *response && !ours.asked.is_empty();
                self.ended.extend(self.request.take_if(is_answered).filter(|_| is_batch));
                outgoing.on_peer_reset(streams);
                self.asked.insert(*request, (*last_tsn, true));
            }
            Reconfig::Incoming { request, .. } | Reconfig::Add { request, .. } => {
                self.asked.insert(*request, (0, false));
            }
            Reconfig::Response { request, result } => {
                let Some(ours) = self.request.as_mut().filter(|ours| ours.number == *request) else { return };
                if *result == IN_PROGRESS {
                    ours.in_progress = true;
                    return;
                }
                let performed = *result == PERFORMED || *result == NOTHING_TO_DO;
                let streams = std::mem::take(&mut ours.streams);
                outgoing.on_reset_answered(&streams, performed);
                let ended = self.request.take().filter(|_| is_batch);
                self.ended.extend(ended.map(|ended| Request { streams, ..ended }));
            }
            Reconfig::Other(_) => {}
        }
    }
}
