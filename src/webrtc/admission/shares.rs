//! Which source has the largest share of a table: lists of sources by the number of their peers. Each operation costs
//! the same however many sources there are, and nothing is allocated after the start.

use std::collections::HashMap;

use narrowboat_sctp::{SaltedHasher, Source};

use super::chain::{Chain, List};

/// The peers of each source, oldest first.
#[derive(Debug)]
pub(super) struct Shares {
    by_source: HashMap<Source, u32, SaltedHasher>,
    /// By slot: a source and its peers.
    sources: Vec<Option<(Source, List)>>,
    free: Vec<u32>,
    /// Links of the peers of one source.
    peers: Chain,
    /// Links of the sources that have the same number of peers.
    equals: Chain,
    /// By number of peers, the source that came to that number first at the start.
    by_len: Vec<List>,
    /// The largest number of peers that a source has.
    largest: usize,
}

impl Shares {
    /// Creates the shares for a table of `slots` peers, of which a source may have `per_source_max`.
    pub(super) fn new(slots: u32, per_source_max: usize, salted: SaltedHasher) -> Self {
        let size = slots as usize;
        Self {
            by_source: HashMap::with_capacity_and_hasher(2 * size, salted),
            sources: vec![None; size],
            free: (0..slots).rev().collect(),
            peers: Chain::new(size),
            equals: Chain::new(size),
            by_len: vec![List::default(); per_source_max + 2],
            largest: 0,
        }
    }

    /// Returns the number of peers of a source, and the oldest of them.
    pub(super) fn of(&self, source: Source) -> (usize, Option<u32>) {
        self.slot(source).map_or((0, None), |(_, list)| (list.len, list.first))
    }

    /// Returns the oldest peer of the source that has the most.
    pub(super) fn oldest_of_largest(&self) -> Option<u32> {
        let source = self.by_len.get(self.largest)?.first?;
        self.sources.get(source as usize)?.as_ref()?.1.first
    }

    /// Enters a peer. The caller has made room for it.
    pub(super) fn add(&mut self, source: Source, peer: u32) {
        let slot = match self.by_source.get(&source) {
            Some(slot) => *slot,
            None => {
                let Some(slot) = self.free.pop() else { return };
                if let Some(place) = self.sources.get_mut(slot as usize) {
                    *place = Some((source, List::default()));
                }
                self.by_source.insert(source, slot);
                slot
            }
        };
        self.change(slot, |peers, list| peers.push_back(list, peer));
    }

    /// Takes out a peer.
    pub(super) fn remove(&mut self, source: Source, peer: u32) {
        let Some(slot) = self.by_source.get(&source).copied() else { return };
        self.change(slot, |peers, list| peers.remove(list, peer));
        if self.of(source).0 == 0 {
            self.by_source.remove(&source);
            if let Some(place) = self.sources.get_mut(slot as usize) {
                *place = None;
            }
            self.free.push(slot);
        }
    }

    /// Changes the peers of a source, and moves it to the list of those that have as many.
    fn change(&mut self, slot: u32, change: impl FnOnce(&mut Chain, &mut List)) {
        let Some(Some((_, list))) = self.sources.get_mut(slot as usize) else { return };
        let before = list.len;
        change(&mut self.peers, list);
        let after = list.len;
        if before > 0
            && let Some(equals) = self.by_len.get_mut(before)
        {
            self.equals.remove(equals, slot);
        }
        if after > 0
            && let Some(equals) = self.by_len.get_mut(after)
        {
            self.equals.push_back(equals, slot);
        }
        self.largest = self.largest.max(after);
        // A number changes by one, so the second largest is at most one below.
        if self.by_len.get(self.largest).is_some_and(|equals| equals.len == 0) {
            self.largest = self.largest.saturating_sub(1);
        }
    }

    fn slot(&self, source: Source) -> Option<&(Source, List)> {
        self.sources.get(*self.by_source.get(&source)? as usize)?.as_ref()
    }
}
