//! Outages of 0 to 100 seconds around the closing of a channel, beginning at each step of each closing order, in
//! virtual time and with the default configuration. Both ends close or neither does, both report the same, and the id
//! is free again. In release builds every second is tried, and the table is printed:
//!
//! `cargo test --release --test outage -- --nocapture`
//!
//! Over DTLS an outage differs in two things, and those are modelled: consent ends after thirty seconds without a check
//! or its answer (RFC 7675 §5.1), and an end that is gone answers nothing, where over plain UDP it answers with ABORT.
#![expect(clippy::print_stdout, reason = "the table is what this is run for")]
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may fail this way")]

#[path = "../dcep/tests/pair/mod.rs"]
mod pair;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use narrowboat_dcep::{ChannelError, ChannelId, ReadyState};
use narrowboat_sctp::{LowerLayerError, LowerLayerErrorKind};
use pair::{A, B, Fate, Pair, Side, negotiated};

const SECOND: Duration = Duration::from_secs(1);
/// RFC 7675 §5.1.
const CONSENT_LIFETIME: Duration = Duration::from_secs(30);
/// Time between the checks of the end that checks, which is A.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// Longer than any association survives an outage, one end after the other.
const PATIENCE: Duration = Duration::from_secs(250);
/// After the network is back, a channel is closed within two greatest time-outs (RTO.Max), one after another: the first
/// for queued data, the second for the request.
const RECOVERY_MAX: Duration = Duration::from_secs(21);
const STREAM: u16 = 6;
const MESSAGE_LEN: usize = 10_000;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Transport {
    Plain,
    Dtls,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Closer {
    A,
    B,
    Both,
}

impl Closer {
    fn includes(self, side: Side) -> bool {
        matches!((self, side), (Self::Both, _) | (Self::A, A) | (Self::B, B))
    }
}

/// Messages queued at each end when the channel is closed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Load {
    Idle,
    AtA,
    AtBoth,
}

impl Load {
    fn messages(self, side: Side) -> usize {
        match (self, side) {
            (Self::Idle, _) | (Self::AtA, B) => 0,
            _ => 12,
        }
    }
}

/// The directions that are cut, by sender.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Cut {
    FromA,
    FromB,
    Both,
}

impl Cut {
    fn includes(self, side: Side) -> bool {
        matches!((self, side), (Self::Both, _) | (Self::FromA, A) | (Self::FromB, B))
    }
}

#[derive(Clone, Copy, Debug)]
struct Case {
    transport: Transport,
    closer: Closer,
    load: Load,
    cut: Cut,
    /// Packets that get through after `close`, before the outage begins.
    step: usize,
    outage: Duration,
}

/// The way between the ends.
#[derive(Default)]
struct Way {
    sent: Cell<usize>,
    cut_since: Cell<Option<Instant>>,
    /// Ends that are gone, and neither send nor hear.
    gone: [Cell<bool>; 2],
}

impl Way {
    /// True if a packet of this end gets through now.
    fn is_open(&self, case: &Case, from: Side, now: Instant) -> bool {
        let is_cut = self.cut_since.get().is_some_and(|since| now < since + case.outage) && case.cut.includes(from);
        !is_cut && self.gone.iter().all(|gone| !gone.get())
    }
}

/// Outcome of a case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Verdict {
    /// The association lives, and both ends have closed.
    Closed,
    /// The association ended, and with it the channel, at both ends.
    Ended,
    /// The same, but one end was closed already: the last answer to the other was lost.
    EndedAfterOneClosed,
}

struct Run {
    case: Case,
    pair: Pair,
    ids: [ChannelId; 2],
    way: Rc<Way>,
    received: [usize; 2],
    consent: [Instant; 2],
    next_check: Instant,
}

impl Run {
    fn new(case: Case) -> Self {
        let mut pair = Pair::connected();
        let ids = [A, B].map(|side| pair.open(side, negotiated(STREAM)));
        pair.run();
        for (side, id) in [(A, ids[0]), (B, ids[1])] {
            pair.send(side, id, "before");
        }
        pair.run();
        for (side, id) in [(A, ids[0]), (B, ids[1])] {
            assert_eq!(pair.recv_all(side, id).len(), 1);
        }
        pair.clear_events();
        let way = Rc::new(Way::default());
        let (seen, clock) = (Rc::clone(&way), pair.clock());
        pair.network(move |packet| {
            let now = clock.get();
            let number = seen.sent.replace(seen.sent.get() + 1);
            if number == case.step && seen.cut_since.get().is_none() {
                seen.cut_since.set(Some(now));
            }
            if seen.is_open(&case, packet.from, now) { Fate::Deliver } else { Fate::Drop }
        });
        let now = pair.now;
        Self { case, pair, ids, way, received: [0; 2], consent: [now; 2], next_check: now }
    }

    fn id(&self, side: Side) -> ChannelId {
        self.ids[side as usize]
    }

    fn start(&mut self) {
        for side in [A, B] {
            for index in 0..self.case.load.messages(side) {
                self.pair.send(side, self.id(side), vec![u8::try_from(index).unwrap(); MESSAGE_LEN]);
            }
        }
        for side in [A, B] {
            if self.case.closer.includes(side) {
                self.pair.close(side, self.id(side));
            }
        }
    }

    fn is_over(&self, side: Side) -> bool {
        self.pair[side].association.is_over()
    }

    /// Both channels are closed, and the associations are both up or both over.
    fn is_settled(&self) -> bool {
        [A, B].iter().all(|side| self.pair.closed(*side, self.id(*side)).is_some())
            && self.is_over(A) == self.is_over(B)
    }

    /// One event of the pair, or one check.
    fn step(&mut self, limit: Instant) -> bool {
        let limit = if self.case.transport == Transport::Dtls { limit.min(self.next_check) } else { limit };
        if !self.pair.step(limit) {
            if self.case.transport == Transport::Plain || limit < self.next_check {
                return false;
            }
            self.pair.now = self.next_check;
            self.check();
        }
        for side in [A, B] {
            self.received[side as usize] += self.pair.recv_all(side, self.id(side)).len();
        }
        true
    }

    /// A sends checks, B answers them, and an end that has heard nothing for too long ends.
    fn check(&mut self) {
        let now = self.pair.now;
        if self.way.is_open(&self.case, A, now) {
            self.consent[B as usize] = now;
            if self.way.is_open(&self.case, B, now) {
                self.consent[A as usize] = now;
            }
        }
        for side in [A, B] {
            let gone = &self.way.gone[side as usize];
            if !gone.get() && !self.is_over(side) && now >= self.consent[side as usize] + CONSENT_LIFETIME {
                let expired = LowerLayerError::new(LowerLayerErrorKind::Lost, std::fmt::Error);
                self.pair[side].association.transport_failed(expired);
                self.pair.turn(side);
            }
            self.way.gone[side as usize].set(self.is_over(side));
        }
        self.next_check = now + CHECK_INTERVAL;
    }

    /// Until nothing is open any more. Returns the time that it took after the outage.
    fn finish(&mut self) -> Duration {
        let limit = self.pair.now + PATIENCE;
        while !self.is_settled() {
            assert!(self.step(limit), "{:?}: A {:?}, B {:?}", self.case, self.story(A), self.story(B));
        }
        let healed = self.way.cut_since.get().map_or(self.pair.now, |since| since + self.case.outage);
        self.pair.now.saturating_duration_since(healed)
    }

    fn story(&self, side: Side) -> (Option<ReadyState>, Option<Option<ChannelError>>, bool) {
        (self.pair.state(side, self.id(side)), self.pair.closed(side, self.id(side)), self.is_over(side))
    }

    /// The end that did not close discards its unsent messages, and reports that.
    fn is_cut_off(&self, side: Side, error: Option<&ChannelError>) -> bool {
        let may_be = !self.case.closer.includes(side) && self.case.load.messages(side) > 0;
        may_be && matches!(error, Some(ChannelError::PeerClosed { .. }))
    }

    fn verdict(&self) -> Verdict {
        let errors = [A, B].map(|side| self.pair.closed(side, self.id(side)).unwrap());
        let is_clean =
            [A, B].map(|side| errors[side as usize].is_none() || self.is_cut_off(side, errors[side as usize].as_ref()));
        if !self.is_over(A) {
            assert_eq!(is_clean, [true; 2], "{:?}: {errors:?} on a living association", self.case);
            for side in [A, B] {
                let expected = self.case.load.messages(side.other());
                if self.case.closer.includes(side.other()) {
                    assert_eq!(self.received[side as usize], expected, "{:?}: messages at {side:?}", self.case);
                }
            }
            return Verdict::Closed;
        }
        for (error, is_clean) in errors.iter().zip(is_clean) {
            assert!(is_clean || matches!(error, Some(ChannelError::Association(_))), "{:?}: {errors:?}", self.case);
        }
        match is_clean {
            [false, false] => Verdict::Ended,
            // Both were told before the association ended for want of anything to say: it lives no longer than that.
            [true, true] => Verdict::Closed,
            _ => Verdict::EndedAfterOneClosed,
        }
    }

    /// A new channel on the same id works both ways.
    fn use_id_again(&mut self) {
        self.pair.heal();
        self.pair.forget_all(&[(A, self.id(A)), (B, self.id(B))]);
        self.pair.assert_nothing_left();
        let ids = [A, B].map(|side| self.pair.open(side, negotiated(STREAM)));
        for (side, id) in [(A, ids[0]), (B, ids[1])] {
            self.pair.send(side, id, "again");
        }
        self.pair.run_for(11 * SECOND);
        for (side, id) in [(A, ids[0]), (B, ids[1])] {
            assert_eq!(self.pair.recv_all(side, id).len(), 1, "{:?}: {side:?}", self.case);
        }
    }
}

/// Returns the time from the end of the outage to the end of the closing, too, if the association lives.
fn run(case: Case) -> (Verdict, Duration) {
    let mut run = Run::new(case);
    run.start();
    let recovery = run.finish();
    let verdict = run.verdict();
    if run.is_over(A) {
        return (verdict, Duration::ZERO);
    }
    assert!(recovery <= RECOVERY_MAX, "{case:?}: closed {recovery:?} after the network was back");
    run.use_id_again();
    (verdict, recovery)
}

/// Packets that a closing takes if nothing is lost, SACKs included.
fn packets(closer: Closer, load: Load) -> usize {
    let case =
        Case { transport: Transport::Plain, closer, load, cut: Cut::Both, step: usize::MAX, outage: Duration::ZERO };
    let mut run = Run::new(case);
    run.start();
    run.finish();
    run.way.sent.get()
}

/// Each packet of a short closing; of a long one the first, one of the middle, and the last ones, which are the resets.
fn steps(packets: usize) -> Vec<usize> {
    let last = if cfg!(debug_assertions) { 3 } else { 6 };
    let mut steps: Vec<usize> = [0, 1, packets / 2].into_iter().chain(packets.saturating_sub(last)..=packets).collect();
    steps.sort_unstable();
    steps.dedup();
    steps
}

fn outages() -> Vec<u32> {
    if cfg!(debug_assertions) { vec![0, 24, 31, 40, 74] } else { (0..=100).collect() }
}

#[derive(Default)]
struct Row {
    verdicts: BTreeMap<Verdict, usize>,
    slowest: Duration,
}

fn row(transport: Transport, outage: Duration) -> Row {
    let mut row = Row::default();
    for closer in [Closer::A, Closer::B, Closer::Both] {
        for load in [Load::Idle, Load::AtA, Load::AtBoth] {
            if cfg!(debug_assertions) && load == Load::AtA {
                continue;
            }
            for step in steps(packets(closer, load)) {
                for cut in [Cut::FromA, Cut::FromB, Cut::Both] {
                    let (verdict, recovery) = run(Case { transport, closer, load, cut, step, outage });
                    *row.verdicts.entry(verdict).or_default() += 1;
                    row.slowest = row.slowest.max(recovery);
                }
            }
        }
    }
    row
}

fn table(transport: Transport) {
    println!("{transport:?}: outage, closed at both ends, ended at both ends (after one had closed), slowest close");
    for outage in outages() {
        let row = row(transport, outage * SECOND);
        let count = |verdict| row.verdicts.get(&verdict).copied().unwrap_or_default();
        let (closed, ended) = (count(Verdict::Closed), count(Verdict::Ended));
        let late = count(Verdict::EndedAfterOneClosed);
        let slowest = row.slowest.as_secs_f32();
        println!("{outage:>4} s {closed:>6} {:>6} ({late}) {slowest:>6.1} s", ended + late);
        // Shorter outages end nothing.
        let survives = match transport {
            Transport::Plain => 30,
            Transport::Dtls => 20,
        };
        assert!(outage > survives || ended + late == 0, "{transport:?}: an outage of {outage} s ended associations");
    }
}

#[test]
fn over_plain_udp_both_ends_close_or_neither() {
    table(Transport::Plain);
}

#[test]
fn over_dtls_both_ends_close_or_neither() {
    table(Transport::Dtls);
}
