//! The order of messages within each stream (RFC 9260 §6.5, §6.6).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::cost_counter;
use crate::message::StreamId;
use crate::serial::{Ssn, UnwrappedTsn};

/// The next message of each stream, and the messages that arrived before their turn.
#[derive(Debug, Default)]
pub(in crate::recv) struct Ordered {
    next: NextSsns,
    /// First TSN of each whole message that waits for one before it, by stream and SSN.
    held_back: BTreeMap<(StreamId, u16), UnwrappedTsn>,
}

impl Ordered {
    /// Returns the SSN of the message that is to be delivered next.
    pub(in crate::recv) fn next_ssn(&self, stream: StreamId) -> Ssn {
        self.next.of(stream)
    }

    /// Moves past a message that was delivered or will never come.
    pub(super) fn on_passed(&mut self, stream: StreamId, ssn: Ssn) {
        cost_counter::step();
        self.next.set(stream, ssn.next());
    }

    /// Remembers a message that waits for its turn. False if there is one with its SSN already, which stays.
    #[must_use]
    pub(super) fn hold_back(&mut self, stream: StreamId, ssn: Ssn, first: UnwrappedTsn) -> bool {
        match self.held_back.entry((stream, ssn.0)) {
            Entry::Vacant(entry) => {
                entry.insert(first);
                true
            }
            Entry::Occupied(_) => false,
        }
    }

    /// Forgets a message that is held back.
    pub(super) fn take(&mut self, stream: StreamId, ssn: Ssn) {
        self.held_back.remove(&(stream, ssn.0));
    }

    /// Takes the next message of the stream, if it is here.
    pub(super) fn take_next(&mut self, stream: StreamId) -> Option<UnwrappedTsn> {
        if self.held_back.is_empty() {
            return None;
        }
        self.held_back.remove(&(stream, self.next_ssn(stream).0))
    }

    /// Takes the first of the stream's messages that wait, if its SSN is not beyond `last`.
    pub(super) fn take_through(&mut self, stream: StreamId, last: Ssn) -> Option<(Ssn, UnwrappedTsn)> {
        let next = self.next_ssn(stream);
        let (ssn, _) = self.first_held_back(stream)?;
        let is_within = !last.is_before(next) && ssn.distance_from(next) <= last.distance_from(next);
        if is_within { self.take_first(stream) } else { None }
    }

    /// Takes the first of the stream's messages that wait.
    pub(super) fn take_first(&mut self, stream: StreamId) -> Option<(Ssn, UnwrappedTsn)> {
        let (ssn, first) = self.first_held_back(stream)?;
        self.take(stream, ssn);
        Some((ssn, first))
    }

    /// Returns a stream with messages that are held back.
    pub(super) fn any_held_back(&self) -> Option<StreamId> {
        self.held_back.keys().next().map(|&(stream, _)| stream)
    }

    /// Sets the next SSN of the stream to 0 (RFC 6525 §5.2.2 E3).
    pub(super) fn reset(&mut self, stream: StreamId) {
        cost_counter::step();
        self.next.set(stream, Ssn(0));
    }

    /// Sets the next SSN of all streams to 0.
    pub(super) fn reset_all(&mut self) {
        self.next = NextSsns::default();
    }

    pub(super) fn held_back(&self) -> impl Iterator<Item = (StreamId, Ssn, UnwrappedTsn)> {
        self.held_back.iter().map(|(&(stream, ssn), &first)| (stream, Ssn(ssn), first))
    }

    #[cfg(test)]
    pub(in crate::recv) fn held_back_len(&self) -> usize {
        self.held_back.len()
    }

    /// Returns the number of bytes of the table of streams.
    pub(super) fn table_size(&self) -> usize {
        self.next.used * size_of::<Page>() + self.next.pages.capacity() * size_of::<Option<Box<Page>>>()
    }

    /// Returns the number of pages of the table of streams.
    pub(super) fn pages_len(&self) -> usize {
        self.next.pages.len()
    }

    #[cfg(test)]
    pub(in crate::recv) fn streams_len(&self) -> usize {
        self.next.pages.iter().flatten().map(|page| page.used).sum()
    }

    pub(super) fn check_consistency(&self) {
        for (stream, ssn, _) in self.held_back() {
            assert_ne!(ssn, self.next_ssn(stream), "the next message of stream {stream} is held back");
        }
        for page in &self.next.pages {
            let used = page.as_ref().map(|page| (page.used, page.ssns.iter().filter(|ssn| **ssn != Ssn(0)).count()));
            assert!(used.is_none_or(|(used, counted)| used == counted && used > 0));
        }
        assert!(self.next.pages.last().is_none_or(Option::is_some));
        assert_eq!(self.next.used, self.next.pages.iter().flatten().count());
    }

    fn first_held_back(&self, stream: StreamId) -> Option<(Ssn, UnwrappedTsn)> {
        let next = self.next_ssn(stream).0;
        let mut above = self.held_back.range((stream, next)..=(stream, u16::MAX));
        let mut below = self.held_back.range((stream, 0)..(stream, next));
        above.next().or_else(|| below.next()).map(|(&(_, ssn), &first)| (Ssn(ssn), first))
    }
}

const PAGE: usize = 256;

/// The next SSN of each stream. Held in pages, so that few streams cost little, all 65,536 cost 130 KiB, and each is
/// found without a search; a page without a stream in use is given back.
#[derive(Debug, Default)]
struct NextSsns {
    pages: Vec<Option<Box<Page>>>,
    /// Number of allocated pages.
    used: usize,
}

#[derive(Debug)]
struct Page {
    ssns: [Ssn; PAGE],
    /// Number of SSNs that are not 0.
    used: usize,
}

impl NextSsns {
    fn of(&self, stream: StreamId) -> Ssn {
        let (page, slot) = place(stream);
        self.pages.get(page).and_then(Option::as_ref).and_then(|page| page.ssns.get(slot)).copied().unwrap_or_default()
    }

    fn set(&mut self, stream: StreamId, ssn: Ssn) {
        let (index, slot) = place(stream);
        if ssn == Ssn(0) && self.pages.get(index).is_none_or(Option::is_none) {
            return;
        }
        if self.pages.len() <= index {
            self.pages.resize_with(index + 1, || None);
        }
        let Some(entry) = self.pages.get_mut(index) else { return };
        let page = entry.get_or_insert_with(|| {
            self.used += 1;
            Box::new(Page { ssns: [Ssn(0); PAGE], used: 0 })
        });
        let Some(current) = page.ssns.get_mut(slot) else { return };
        page.used = page.used + usize::from(ssn != Ssn(0)) - usize::from(*current != Ssn(0));
        *current = ssn;
        if page.used == 0 {
            *entry = None;
            self.used -= 1;
            while self.pages.last().is_some_and(Option::is_none) {
                self.pages.pop();
            }
        }
    }
}

fn place(stream: StreamId) -> (usize, usize) {
    (usize::from(stream.0) / PAGE, usize::from(stream.0) % PAGE)
}
