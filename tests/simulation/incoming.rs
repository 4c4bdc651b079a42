//! One direction of an association as its receiver acknowledges it: I16 and the wire's half of I17, for every SACK that
//! leaves, against all DATA and FORWARD-TSN that came in.

use std::collections::BTreeSet;

use crate::outgoing::Offset;
use crate::packet::Sack;

#[derive(Debug)]
pub(crate) struct Incoming {
    initial: u32,
    cumulative: Offset,
    /// Received above the cumulative TSN.
    received: BTreeSet<Offset>,
    /// Something came that the receiver was free to refuse: from then on what it reports is a subset.
    inexact: bool,
    /// The last cumulative TSN that was reported.
    reported: Offset,
    window: u32,
}

impl Incoming {
    pub(crate) fn new(initial: u32, window: u32) -> Self {
        let received = BTreeSet::new();
        Self { initial, cumulative: -1, received, inexact: false, reported: -1, window }
    }

    pub(crate) fn on_data(&mut self, tsn: u32) {
        let offset = self.offset(tsn);
        if offset > self.cumulative {
            self.received.insert(offset);
            self.advance();
        }
    }

    pub(crate) fn on_forward_tsn(&mut self, cumulative: u32) {
        let to = self.offset(cumulative);
        if to > self.cumulative {
            self.cumulative = to;
            self.received = self.received.split_off(&(to + 1));
            self.advance();
        }
    }

    /// The receiver dropped something for want of room, or was in a state that takes no data.
    pub(crate) fn on_refusal(&mut self) {
        self.inexact = true;
    }

    /// Whether everything up to this TSN has come.
    pub(crate) fn has_all_to(&self, tsn: u32) -> bool {
        self.offset(tsn) <= self.cumulative
    }

    /// `truncated`: the packet had no room for more blocks. `unread`: messages that wait for the application, none of which
    /// is empty on the wire.
    pub(crate) fn on_sack(&mut self, sack: &Sack, truncated: bool, unread: usize) {
        let (a_rwnd, most) = (sack.a_rwnd as usize, (self.window as usize).saturating_sub(unread));
        assert!(a_rwnd <= most, "I17: {a_rwnd} of {} bytes are advertised, {unread} messages are unread", self.window);
        let cumulative = self.report(sack.cumulative);
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
            }
        }
        for &tsn in &sack.duplicates {
            assert!(self.has(self.offset(tsn)), "I16: {tsn} is reported as duplicate, but never came");
        }
        if !self.inexact && !truncated {
            assert_eq!(cumulative, self.cumulative, "I16: the cumulative TSN is not what has come");
            assert_eq!(listed, self.received.len(), "I16: {:?} does not report all of {:?}", sack, self.received);
        }
    }

    /// A cumulative TSN was reported, in a SACK or a SHUTDOWN.
    pub(crate) fn report(&mut self, cumulative: u32) -> Offset {
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
        }
    }

    fn offset(&self, tsn: u32) -> Offset {
        let base = self.cumulative.max(0);
        base + i64::from(tsn.wrapping_sub(self.initial.wrapping_add(base as u32)) as i32)
    }
}
