//! Shares of the receive window.

use std::iter::Sum;
use std::ops::{Add, AddAssign, SubAssign};

use crate::message::Credit;

/// Charged beside its payload for a message of one chunk that the application has not read: its place in a queue, of
/// which one in two may be free, and the block of memory that a copied payload takes.
pub(super) const UNREAD_OVERHEAD: usize = 128;

/// Charged for any other message, whole or not, beside its payload. Covers an entry in each of the two trees that hold
/// what came out of order, whose nodes may be half empty, and the place in the queue and the list of a message of many
/// chunks.
pub(super) const MESSAGE_OVERHEAD: usize = 288;

/// Charged for each fragment of such a message beside its payload: a slot in its message's list, whose capacity may be
/// twice its use.
pub(super) const FRAGMENT_OVERHEAD: usize = 64;

/// Share of the receive window that something takes: payload, which the peer counts too, and overhead, which it does
/// not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Cost {
    pub(super) payload: usize,
    pub(super) overhead: usize,
}

impl Cost {
    /// Returns the cost of a message that the application has not read.
    #[inline]
    pub(super) fn unread(payload: usize, fragments: usize) -> Self {
        let overhead = match fragments {
            1 => UNREAD_OVERHEAD,
            _ => MESSAGE_OVERHEAD + fragments * FRAGMENT_OVERHEAD,
        };
        Self { payload, overhead }
    }

    pub(super) fn total(self) -> usize {
        self.payload + self.overhead
    }

    /// Makes the credit that a message carries. Both parts are bounded by the largest message, far below 4 GiB.
    pub(super) fn into_credit(self) -> Credit {
        let bounded = |bytes| u32::try_from(bytes).unwrap_or(u32::MAX);
        Credit { payload: bounded(self.payload), overhead: bounded(self.overhead) }
    }

    /// Returns the cost that a message's credit stands for.
    pub(super) fn of(credit: &Credit) -> Self {
        Self { payload: credit.payload as usize, overhead: credit.overhead as usize }
    }
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { payload: self.payload + other.payload, overhead: self.overhead + other.overhead }
    }
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Cost {
    fn sub_assign(&mut self, other: Self) {
        self.payload -= other.payload;
        self.overhead -= other.overhead;
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::default(), Self::add)
    }
}
