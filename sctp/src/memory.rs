//! Memory that many associations share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that every association is charged from its beginning: its own structures, and [`GUARANTEED`].
const BASE: usize = 24 << 10;

/// Bytes that an association may hold of what arrives, however much the others use. Included in [`BASE`].
pub(crate) const GUARANTEED: usize = 16 << 10;

/// Bytes taken from the budget and given back at once, so that a packet seldom touches the shared counter.
const CHUNK: usize = 64 << 10;

/// An association that holds more than this is large: the last quarter of the budget is kept for others.
const LARGE: usize = 1 << 20;

/// Memory for all associations of an endpoint together: what they hold for their peers and for their applications.
///
/// Each association takes from it what it uses, in steps of 64 KiB, and 24 KiB from its beginning. When it is used up,
/// no association can be added, `send` reports that it is full, and receive windows close. Windows are small at the
/// beginning and grow with use while less than half of the budget is in use, and the last quarter is for associations
/// that hold less than 1 MiB, so a few peers do not take all.
///
/// The counter is atomic; clones share it.
#[derive(Clone, Debug)]
pub struct MemoryBudget(Arc<Counter>);

#[derive(Debug)]
struct Counter {
    max: usize,
    used: AtomicUsize,
}

impl MemoryBudget {
    /// Creates a budget of `max` bytes.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self(Arc::new(Counter { max, used: AtomicUsize::new(0) }))
    }

    /// Returns the size of the budget, in bytes.
    #[must_use]
    pub fn max(&self) -> usize {
        self.0.max
    }

    /// Returns the number of bytes that associations have taken. It may exceed [`max`](Self::max) a little, by what
    /// several of them took in the same moment.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// True if another association can be added.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.used().saturating_add(BASE) <= self.0.max
    }

    /// True if half of it is in use.
    fn is_short(&self) -> bool {
        self.used() >= self.max() / 2
    }

    fn take(&self, bytes: usize) {
        self.0.used.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: usize) {
        self.0.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The part of a budget that one association has taken. Dropping it gives it back.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    budget: Option<MemoryBudget>,
    /// Beside [`BASE`].
    taken: usize,
}

impl Lease {
    /// Takes the base of a new association.
    pub(crate) fn new(budget: &MemoryBudget) -> Self {
        budget.take(BASE);
        Self { budget: Some(budget.clone()), taken: 0 }
    }

    /// Returns the bytes that the association may use beside its base: those that it has reserved, and those that it
    /// could reserve now. `None` means no limit.
    pub(crate) fn reachable(&self) -> Option<usize> {
        let budget = self.budget.as_ref()?;
        let max = if self.taken < LARGE { budget.max() } else { budget.max() / 4 * 3 };
        // Steps may have taken a little more than there was, which is not to be used up.
        Some(self.taken.saturating_add(max).saturating_sub(budget.used()))
    }

    /// True if the association may offer its peer a larger window.
    pub(crate) fn may_grow(&self) -> bool {
        self.budget.as_ref().is_none_or(|budget| !budget.is_short())
    }

    /// Takes or gives back, so that what was taken covers what is used beside the base.
    pub(crate) fn cover(&mut self, used: usize) {
        let Some(budget) = &self.budget else { return };
        let wanted = used.next_multiple_of(CHUNK);
        if wanted > self.taken {
            budget.take(wanted - self.taken);
            self.taken = wanted;
        } else if used == 0 && self.taken > 0 && budget.is_short() {
            // Others may need what an idle association keeps for its next packet.
            budget.give_back(self.taken);
            self.taken = 0;
        } else if self.taken - wanted > CHUNK {
            // One more is kept, so that use around a multiple does not touch the counter with each packet.
            let kept = if used == 0 { 0 } else { wanted + CHUNK };
            budget.give_back(self.taken - kept);
            self.taken = kept;
        }
    }
}

impl Lease {
    /// Gives back all that is not used. For associations that are idle.
    pub(crate) fn trim(&mut self, used: usize) {
        let Some(budget) = &self.budget else { return };
        let excess = self.taken.saturating_sub(used.next_multiple_of(CHUNK));
        if excess > 0 {
            budget.give_back(excess);
            self.taken -= excess;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(budget) = &self.budget {
            budget.give_back(BASE + self.taken);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_covers_the_use_and_comes_back() {
        let budget = MemoryBudget::new(10 << 20);
        let mut lease = Lease::new(&budget);
        assert_eq!(budget.used(), BASE);
        for used in [1, 100_000, 5 << 20, 70_000, 65_536, 0, 300_000] {
            lease.cover(used);
            assert!(lease.taken >= used && lease.taken <= used.next_multiple_of(CHUNK) + CHUNK, "{used}");
            assert_eq!(budget.used(), BASE + lease.taken);
        }
        drop(lease);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn small_changes_do_not_touch_the_counter() {
        let budget = MemoryBudget::new(10 << 20);
        let mut lease = Lease::new(&budget);
        lease.cover(CHUNK + 1);
        let before = budget.used();
        for used in [CHUNK - 1, CHUNK + 1, 10, CHUNK, 2 * CHUNK] {
            lease.cover(used);
            assert_eq!(budget.used(), before, "{used}");
        }
    }

    #[test]
    fn an_idle_association_keeps_a_step_only_while_there_is_plenty() {
        for (max, kept) in [(4 << 20, CHUNK), (160 << 10, 0)] {
            let budget = MemoryBudget::new(max);
            let mut lease = Lease::new(&budget);
            lease.cover(1);
            assert_eq!(lease.taken, CHUNK, "{max}");
            lease.cover(0);
            assert_eq!((lease.taken, budget.used()), (kept, BASE + kept), "{max}");
        }
    }

    #[test]
    fn a_new_association_needs_its_base_and_a_large_one_leaves_a_quarter() {
        let budget = MemoryBudget::new(8 << 20);
        let mut large = Lease::new(&budget);
        large.cover(5 << 20);
        assert!(!large.may_grow());
        assert_eq!(large.reachable().unwrap(), (6 << 20) - BASE);
        let small = Lease::new(&budget);
        assert_eq!(small.reachable().unwrap(), (3 << 20) - 2 * BASE);
        large.cover((8 << 20) - 3 * BASE);
        assert!(!budget.has_room());
        assert!(small.reachable().unwrap() < BASE);
        drop(large);
        assert!(budget.has_room());
        assert_eq!(Lease::default().reachable(), None);
    }
}
