//! Shares of the receive window.

use std::iter::Sum;
use std::ops::{Add, AddAssign, SubAssign};

use crate::message::Credit;

/// Share of the receive window that something takes: payload, which the peer counts too, and overhead, which it does
/// not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Cost {
    pub(super) payload: usize,
    pub(super) overhead: usize,
}

impl Cost {
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
