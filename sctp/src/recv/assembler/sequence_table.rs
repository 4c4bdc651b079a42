//! A sequence number for each stream.

use crate::message::StreamId;

const PAGE: usize = 256;

/// A number for each stream, 0 unless it was set. Held in pages, so that few streams cost little, all 65,536 cost
/// little more than their numbers, and each is found without a search; a page of zeros is given back.
#[derive(Debug)]
pub(super) struct SequenceTable<N> {
    pages: Vec<Option<Box<SequencePage<N>>>>,
    /// Number of allocated pages.
    used: usize,
}

#[derive(Debug)]
struct SequencePage<N> {
    numbers: [N; PAGE],
    /// Number of numbers that are not 0.
    used: usize,
}

impl<N> Default for SequenceTable<N> {
    fn default() -> Self {
        Self { pages: Vec::new(), used: 0 }
    }
}

impl<N: Copy + Default + PartialEq> SequenceTable<N> {
    pub(super) fn of(&self, stream: StreamId) -> N {
        let (page, slot) = place(stream);
        let page = self.pages.get(page).and_then(Option::as_ref);
        page.and_then(|page| page.numbers.get(slot)).copied().unwrap_or_default()
    }

    pub(super) fn set(&mut self, stream: StreamId, number: N) {
        let (index, slot) = place(stream);
        let zero = N::default();
        if number == zero && self.pages.get(index).is_none_or(Option::is_none) {
            return;
        }
        if self.pages.len() <= index {
            self.pages.resize_with(index + 1, || None);
        }
        let Some(entry) = self.pages.get_mut(index) else { return };
        let page = entry.get_or_insert_with(|| {
            self.used += 1;
            Box::new(SequencePage { numbers: [zero; PAGE], used: 0 })
        });
        let Some(current) = page.numbers.get_mut(slot) else { return };
        page.used = page.used + usize::from(number != zero) - usize::from(*current != zero);
        *current = number;
        if page.used == 0 {
            *entry = None;
            self.used -= 1;
            while self.pages.last().is_some_and(Option::is_none) {
                self.pages.pop();
            }
        }
    }

    /// Returns the number of bytes of the table.
    pub(super) fn size(&self) -> usize {
        self.used * size_of::<SequencePage<N>>() + self.pages.capacity() * size_of::<Option<Box<SequencePage<N>>>>()
    }

    pub(super) fn pages_len(&self) -> usize {
        self.pages.len()
    }

    /// Returns the number of streams whose number is not 0.
    #[cfg(test)]
    pub(super) fn streams_len(&self) -> usize {
        self.pages.iter().flatten().map(|page| page.used).sum()
    }

    pub(super) fn check_consistency(&self) {
        for page in self.pages.iter().flatten() {
            let counted = page.numbers.iter().filter(|number| **number != N::default()).count();
            assert!(page.used == counted && counted > 0);
        }
        assert!(self.pages.last().is_none_or(Option::is_some));
        assert_eq!(self.used, self.pages.iter().flatten().count());
    }
}

fn place(stream: StreamId) -> (usize, usize) {
    (usize::from(stream.0) / PAGE, usize::from(stream.0) % PAGE)
}
