//! Doubly linked lists of slots: taking one out of the middle costs the same however long the list is, and nothing is
//! allocated after the start.

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Links {
    previous: Option<u32>,
    next: Option<u32>,
}

/// The links of all slots. A slot is in at most one [`List`] of a chain.
#[derive(Debug)]
pub(super) struct Chain {
    links: Vec<Links>,
}

/// The ends of a list whose links are in a [`Chain`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct List {
    pub(super) first: Option<u32>,
    last: Option<u32>,
    pub(super) len: usize,
}

impl Chain {
    pub(super) fn new(slots: usize) -> Self {
        Self { links: vec![Links::default(); slots] }
    }

    pub(super) fn push_back(&mut self, list: &mut List, slot: u32) {
        self.set(slot, Links { previous: list.last, next: None });
        match list.last {
            Some(last) => self.change(last, |links| links.next = Some(slot)),
            None => list.first = Some(slot),
        }
        list.last = Some(slot);
        list.len += 1;
    }

    pub(super) fn remove(&mut self, list: &mut List, slot: u32) {
        let Links { previous, next } = self.get(slot);
        match previous {
            Some(previous) => self.change(previous, |links| links.next = next),
            None => list.first = next,
        }
        match next {
            Some(next) => self.change(next, |links| links.previous = previous),
            None => list.last = previous,
        }
        self.set(slot, Links::default());
        list.len = list.len.saturating_sub(1);
    }

    /// Returns an iterator over the slots of a list from the first on.
    #[cfg(test)]
    pub(super) fn iter(&self, list: &List) -> impl Iterator<Item = u32> + '_ {
        std::iter::successors(list.first, |&slot| self.get(slot).next)
    }

    fn get(&self, slot: u32) -> Links {
        self.links.get(slot as usize).copied().unwrap_or_default()
    }

    fn set(&mut self, slot: u32, links: Links) {
        self.change(slot, |old| *old = links);
    }

    fn change(&mut self, slot: u32, change: impl FnOnce(&mut Links)) {
        if let Some(links) = self.links.get_mut(slot as usize) {
            change(links);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_leave_from_the_front_the_middle_and_the_back() {
        let mut chain = Chain::new(8);
        let (mut list, mut other) = (List::default(), List::default());
        for slot in 0..4 {
            chain.push_back(&mut list, slot);
            chain.push_back(&mut other, 7 - slot);
        }
        for (slot, left) in [(1, vec![0, 2, 3]), (0, vec![2, 3]), (3, vec![2]), (2, vec![])] {
            chain.remove(&mut list, slot);
            assert_eq!(chain.iter(&list).collect::<Vec<_>>(), left);
            assert_eq!((list.len, list.first, list.last), (left.len(), left.first().copied(), left.last().copied()));
        }
        assert_eq!(chain.iter(&other).collect::<Vec<_>>(), [7, 6, 5, 4]);
        chain.push_back(&mut list, 1);
        assert_eq!(chain.iter(&list).collect::<Vec<_>>(), [1]);
    }
}
