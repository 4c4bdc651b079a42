//! One direction of an association as its receiver acknowledges it: I16 and the wire's half of I17, for every SACK
//! sent, against all DATA and FORWARD-TSN received.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::outgoing::Offset;
use crate::packet::{Data, ForwardTsn, MessageName, Sack};

/// The window of a new association, unless the configured one is smaller. It grows with use and shrinks after a pause.
const INITIAL_WINDOW: u32 = 256 << 10;

/// An input of the receiver.
#[derive(Clone, Debug)]
enum Input {
    Data {
        tsn: u32,
        len: usize,
        ends: bool,
        fragment: Option<Fragment>,
        all_read: bool,
    },
    ForwardTsn(ForwardTsn),
    Refusal,
    /// The end of a packet, and the number of drops for want of room so far.
    Packet {
        refusals: u64,
    },
}

/// A fragment of a message that is sent as I-DATA.
#[derive(Clone, Copy, Debug)]
struct Fragment {
    message: MessageName,
    fsn: u32,
}

/// Fragments of an interleaved message that have come.
#[derive(Clone, Debug, Default)]
struct Partial {
    fsns: BTreeSet<u32>,
    last: Option<u32>,
}

#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    initial: u32,
    cumulative: Offset,
    /// Received above the cumulative TSN.
    received: BTreeSet<Offset>,
    /// A chunk arrived that the receiver was free to refuse: its next report is a subset, and then the report is what
    /// it holds.
    inexact: bool,
    /// Number of drops for want of room so far.
    refusals: u64,
    /// True if all messages up to the cumulative TSN are whole.
    is_whole: bool,
    /// TSNs above the cumulative one that end a message.
    ends: BTreeSet<Offset>,
    /// Messages of which fragments have come and others have not, if messages interleave.
    partial: BTreeMap<MessageName, Partial>,
    /// `partial` may lack messages: the receiver has refused fragments, and what it holds is not known any more.
    lacks_partial: bool,
    interleaves: bool,
    /// I40: others wait for this one, so that it is taken however full the buffer is.
    must_reach: Offset,
    /// The last cumulative TSN that was reported.
    reported: Offset,
    window: u32,
    /// The last `a_rwnd`, and bytes that have arrived since: what the peer was told it may still send.
    told: usize,
    arrived: usize,
    /// Inputs of a batch that were not yet reported: the answers to a packet leave with the batch, but they report the
    /// state before the next packet of the batch arrived.
    batch: Option<VecDeque<Input>>,
}

impl Incoming {
    pub(crate) fn new(initial: u32, window: u32, interleaves: bool) -> Self {
        let received = BTreeSet::new();
        Self {
            initial,
            cumulative: -1,
            received,
            inexact: false,
            refusals: 0,
            is_whole: true,
            ends: BTreeSet::new(),
            partial: BTreeMap::new(),
            lacks_partial: false,
            interleaves,
            must_reach: -1,
            reported: -1,
            window,
            told: window.min(INITIAL_WINDOW) as usize,
            arrived: 0,
            batch: None,
        }
    }

    /// From now on, inputs are known to the sender as far as its packets show it, until [`catch_up`](Self::catch_up).
    pub(crate) fn lag(&mut self) {
        self.batch.get_or_insert_default();
    }

    /// Handles all inputs of the batch.
    pub(crate) fn catch_up(&mut self) {
        while self.advance_a_packet() {}
        self.batch = None;
    }

    pub(crate) fn on_taken_in(&mut self, refusals: u64) {
        self.on_input(Input::Packet { refusals });
    }

    fn on_input(&mut self, input: Input) {
        match &mut self.batch {
            Some(batch) => batch.push_back(input),
            None => self.apply(input),
        }
    }

    fn apply(&mut self, input: Input) {
        match input {
            Input::Data { tsn, len, ends, fragment, all_read } => {
                self.apply_data(tsn, len, ends, fragment, all_read);
            }
            Input::ForwardTsn(forward) => self.apply_forward_tsn(&forward),
            Input::Refusal => self.inexact = true,
            Input::Packet { refusals } => self.on_refusals(refusals),
        }
    }

    /// Knows one more packet. `false` if there is none.
    fn advance_a_packet(&mut self) -> bool {
        let mut moved = false;
        while let Some(input) = self.batch.as_mut().and_then(VecDeque::pop_front) {
            moved = true;
            let is_packet = matches!(input, Input::Packet { .. });
            self.apply(input);
            if is_packet {
                break;
            }
        }
        moved
    }

    /// `all_read`: nothing but fragments and messages that wait for others can fill the buffer.
    pub(crate) fn on_data(&mut self, data: &Data<'_>, all_read: bool) {
        let fragment = data.fsn.map(|fsn| Fragment { message: data.message, fsn });
        self.on_input(Input::Data { tsn: data.tsn, len: data.payload.len(), ends: data.end, fragment, all_read });
    }

    fn apply_data(&mut self, tsn: u32, len: usize, ends: bool, fragment: Option<Fragment>, all_read: bool) {
        let offset = self.offset(tsn);
        if offset > self.cumulative {
            let is_filler = offset == self.cumulative + 1 && !self.received.is_empty();
            let is_new = self.received.insert(offset);
            self.arrived += if is_new { len } else { 0 };
            if let Some(fragment) = fragment.filter(|_| is_new) {
                self.on_fragment(fragment, ends);
            }
            // The last TSN does not tell if all interleaved messages are whole.
            if ends || fragment.is_some() {
                self.ends.insert(offset);
            }
            self.advance();
            if is_filler && !self.inexact && all_read {
                self.must_reach = offset;
            }
        }
    }

    fn on_fragment(&mut self, fragment: Fragment, ends: bool) {
        let partial = self.partial.entry(fragment.message).or_default();
        partial.fsns.insert(fragment.fsn);
        if ends {
            partial.last = Some(fragment.fsn);
        }
        if partial.last.is_some_and(|last| partial.fsns.len() as u64 == u64::from(last) + 1) {
            self.partial.remove(&fragment.message);
        }
    }

    pub(crate) fn on_forward_tsn(&mut self, forward: &ForwardTsn) {
        self.on_input(Input::ForwardTsn(forward.clone()));
    }

    fn apply_forward_tsn(&mut self, forward: &ForwardTsn) {
        let to = self.offset(forward.cumulative);
        if to > self.cumulative {
            for last in &forward.skipped {
                self.partial.retain(|message, _| {
                    let is_same = (message.stream, message.unordered) == (last.stream, last.unordered);
                    // An unordered message before it may still be wanted.
                    let is_passed = if last.unordered {
                        message.number == last.number
                    } else {
                        last.number.wrapping_sub(message.number) < 1 << 31
                    };
                    !(is_same && is_passed)
                });
            }
            self.cumulative = to;
            self.received = self.received.split_off(&(to + 1));
            self.ends = self.ends.split_off(&(to + 1));
            self.is_whole = false;
            self.advance();
        }
    }

    /// The receiver was in a state that takes no data.
    pub(crate) fn on_refusal(&mut self) {
        self.on_input(Input::Refusal);
    }

    /// Notes the number of chunks that the receiver has dropped for want of room, so far.
    pub(crate) fn on_refusals(&mut self, refusals: u64) {
        self.inexact |= std::mem::replace(&mut self.refusals, refusals) != refusals;
    }

    /// Returns `true` if everything up to this TSN has arrived.
    pub(crate) fn has_all_to(&self, tsn: u32) -> bool {
        if self.batch.is_none() {
            return self.offset(tsn) <= self.cumulative;
        }
        let mut whole = self.clone();
        whole.catch_up();
        whole.offset(tsn) <= whole.cumulative
    }

    /// `truncated`: the packet had no room for more blocks. `unread`: bytes that wait for the application, at least;
    /// `is_empty`: nothing whole waits for anything.
    pub(crate) fn on_sack(&mut self, sack: &Sack, truncated: bool, unread: usize, is_empty: bool) {
        while !self.fits(sack, truncated) && self.advance_a_packet() {}
        // Bytes that the peer was told it may send are not taken back. A chunk that was refused has used up none.
        let used = if self.inexact { 0 } else { self.arrived };
        let promised = self.told.saturating_sub(used);
        let (a_rwnd, most) = (sack.a_rwnd as usize, (self.window as usize).saturating_sub(unread).max(promised));
        assert!(
            a_rwnd <= most,
            "I17: {a_rwnd} of {} bytes are advertised, {unread} bytes are unread, {promised} are promised",
            self.window
        );
        (self.told, self.arrived) = (a_rwnd, 0);
        let is_whole = self.is_whole && self.partial.is_empty() && !self.lacks_partial;
        let holds_nothing = is_empty && is_whole && self.received.is_empty() && !self.inexact;
        assert!(
            !holds_nothing || a_rwnd >= self.window.min(INITIAL_WINDOW) as usize,
            "I17: {a_rwnd} bytes are advertised, nothing is held"
        );
        let cumulative = self.report(sack.cumulative);
        let filler = self.must_reach;
        assert!(
            cumulative >= filler,
            "I40: {filler} was not taken, others wait for it: {sack:?}, {} refusals",
            self.refusals
        );
        let mut reported = BTreeSet::new();
        let mut last = 1;
        let mut listed = 0;
        for &(start, end) in &sack.gaps {
            // RFC 9260 §3.3.4: neither empty, nor touching the block before it, nor the cumulative TSN.
            assert!(start <= end && u32::from(start) > last, "I16: blocks {:?} are not sorted", sack.gaps);
            last = u32::from(end) + 1;
            for offset in i64::from(start)..=i64::from(end) {
                let tsn = cumulative + offset;
                assert!(self.has(tsn), "I16: TSN offset {tsn} is reported, but never came");
                listed += 1;
                reported.insert(tsn);
            }
        }
        for &tsn in &sack.duplicates {
            assert!(self.has(self.offset(tsn)), "I16: {tsn} is reported as duplicate, but never came");
        }
        if !self.inexact && !truncated {
            assert_eq!(cumulative, self.cumulative, "I16: the cumulative TSN is not what has come");
            assert_eq!(listed, self.received.len(), "I16: {:?} does not report all of {:?}", sack, self.received);
        } else if !truncated {
            // The receiver has reported its state: all later reports follow from that.
            (self.cumulative, self.received, self.inexact) = (cumulative, reported, false);
            (self.is_whole, self.lacks_partial) = (false, self.interleaves);
            self.ends.retain(|offset| self.received.contains(offset));
        }
    }

    /// Returns `true` if the SACK agrees with the state known by now.
    fn fits(&self, sack: &Sack, truncated: bool) -> bool {
        let cumulative = self.offset(sack.cumulative);
        let blocks = || sack.gaps.iter().flat_map(|&(start, end)| i64::from(start)..=i64::from(end));
        let all_came = cumulative <= self.cumulative && blocks().all(|offset| self.has(cumulative + offset));
        let is_all = cumulative == self.cumulative && blocks().count() == self.received.len();
        all_came && (is_all || self.inexact || truncated)
    }

    /// A cumulative TSN was reported, in a SACK or a SHUTDOWN.
    pub(crate) fn report(&mut self, cumulative: u32) -> Offset {
        while self.offset(cumulative) > self.cumulative && self.advance_a_packet() {}
        let cumulative = self.offset(cumulative);
        assert!(cumulative >= self.reported, "I16: the cumulative TSN went backwards");
        assert!(cumulative <= self.cumulative, "I16: the cumulative TSN covers what never came");
        self.reported = cumulative;
        cumulative
    }

    fn has(&self, offset: Offset) -> bool {
        offset <= self.cumulative || self.received.contains(&offset)
    }

    fn advance(&mut self) {
        while self.received.first() == Some(&(self.cumulative + 1)) {
            self.received.pop_first();
            self.cumulative += 1;
            self.is_whole = self.ends.remove(&self.cumulative);
        }
    }

    fn offset(&self, tsn: u32) -> Offset {
        let base = self.cumulative.max(0);
        base + i64::from(tsn.wrapping_sub(self.initial.wrapping_add(base as u32)) as i32)
    }
}
