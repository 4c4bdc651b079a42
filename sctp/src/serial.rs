//! Sequence numbers, each a type of its own (RFC 9260 §1.6).
//!
//! None has an order: "less than" only makes sense on a circle when one names the direction, so
//! comparisons are methods with names, and `a.is_before(b)` reads the same at the wrap as elsewhere.

use std::num::NonZeroU32;

use crate::interval_set::Discrete;

macro_rules! serial {
    ($(#[$doc:meta])* $name:ident($int:ty, $signed:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub struct $name(pub $int);

        impl $name {
            /// Returns the number `n` steps on.
            #[must_use]
            pub const fn add(self, n: $int) -> Self {
                Self(self.0.wrapping_add(n))
            }

            /// Returns the number `n` steps back.
            #[must_use]
            pub const fn sub(self, n: $int) -> Self {
                Self(self.0.wrapping_sub(n))
            }

            /// Returns the number after this one.
            #[must_use]
            pub const fn next(self) -> Self {
                self.add(1)
            }

            /// Returns the number before this one.
            #[must_use]
            pub const fn prev(self) -> Self {
                self.sub(1)
            }

            /// Returns the number of steps forward from `earlier` to this number.
            #[must_use]
            pub const fn distance_from(self, earlier: Self) -> $int {
                self.0.wrapping_sub(earlier.0)
            }

            /// Returns `true` if this number comes before `other` on the shorter way round.
            #[must_use]
            pub const fn is_before(self, other: Self) -> bool {
                (self.0.wrapping_sub(other.0) as $signed) < 0
            }

            /// Returns `true` if this number comes after `other` on the shorter way round.
            #[must_use]
            pub const fn is_after(self, other: Self) -> bool {
                other.is_before(self)
            }

            /// Returns `true` if this number is `other` or comes before it.
            #[must_use]
            pub const fn is_at_or_before(self, other: Self) -> bool {
                !other.is_before(self)
            }

            /// Returns `true` if this number is `other` or comes after it.
            #[must_use]
            pub const fn is_at_or_after(self, other: Self) -> bool {
                !self.is_before(other)
            }

            /// Returns the later of the two numbers.
            #[must_use]
            pub const fn later_of(self, other: Self) -> Self {
                if self.is_before(other) { other } else { self }
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

serial! {
    /// Transmission Sequence Number: counts DATA chunks of one direction (RFC 9260 §1.5.2).
    Tsn(u32, i32)
}
serial! {
    /// Stream Sequence Number: counts ordered messages of one stream (RFC 9260 §1.5.3).
    Ssn(u16, i16)
}
serial! {
    /// Message Identifier: counts messages of one stream when interleaving (RFC 8260 §2.1).
    Mid(u32, i32)
}

impl Mid {
    /// Returns the Stream Sequence Number of the message if it is sent in DATA: the low 16 bits.
    pub(crate) const fn to_ssn(self) -> Ssn {
        #[expect(clippy::cast_possible_truncation, reason = "the low 16 bits count likewise")]
        Ssn(self.0 as u16)
    }
}

serial! {
    /// Fragment Sequence Number: counts fragments of one message when interleaving (RFC 8260 §2.1).
    Fsn(u32, i32)
}
serial! {
    /// Re-configuration Request Sequence Number (RFC 6525 §4.1).
    RequestSn(u32, i32)
}

/// A TSN that does not wrap.
///
/// The low 32 bits are the TSN. The numbers of an association begin at 2³², so that any TSN can be unwrapped around any
/// Cumulative TSN Ack Point without an underflow. Sender and receiver count alike. Other than a [`Tsn`] it has an
/// order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct UnwrappedTsn(u64);

impl UnwrappedTsn {
    /// A number below every TSN of an association: nothing was sent, or nothing was acknowledged.
    pub(crate) const BEFORE_ALL: Self = Self(0);

    /// Returns the first TSN of a direction.
    pub(crate) const fn first(initial: Tsn) -> Self {
        Self((1 << 32) | initial.0 as u64)
    }

    /// Returns the TSN as it is on the wire.
    pub(crate) const fn wrap(self) -> Tsn {
        #[expect(clippy::cast_possible_truncation, reason = "the low 32 bits are the TSN")]
        Tsn(self.0 as u32)
    }

    /// Unwraps the TSN that is nearest to this number. A TSN that is 2³¹ away counts as earlier.
    pub(crate) const fn unwrap_near(self, tsn: Tsn) -> Self {
        let distance = tsn.distance_from(self.wrap()).cast_signed();
        Self(self.0.saturating_add_signed(distance as i64))
    }

    /// Returns the number `n` steps on.
    pub(crate) const fn add(self, n: u64) -> Self {
        Self(self.0.saturating_add(n))
    }

    /// Returns the number `n` steps back.
    pub(crate) const fn sub(self, n: u64) -> Self {
        Self(self.0.saturating_sub(n))
    }

    /// Returns the number after this one.
    pub(crate) const fn next(self) -> Self {
        self.add(1)
    }

    /// Returns the number before this one.
    pub(crate) const fn prev(self) -> Self {
        self.sub(1)
    }

    /// Returns the distance from `earlier` to this number, or 0 if it is not later.
    pub(crate) const fn distance_from(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Returns the numbers from this one to `last`, both included; none if `last` is earlier.
    pub(crate) fn through(self, last: Self) -> impl DoubleEndedIterator<Item = Self> + Clone {
        (self.0..=last.0).map(Self)
    }
}

impl Discrete for UnwrappedTsn {
    fn successor(self) -> Self {
        self.next()
    }

    fn predecessor(self) -> Self {
        self.prev()
    }
}

impl std::fmt::Debug for UnwrappedTsn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "UnwrappedTsn({}·2³² + {})", self.0 >> 32, self.wrap())
    }
}

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
        pub(crate) struct $name(u64);

        impl $name {
            /// Returns this number, and moves on to the next one.
            pub(crate) const fn take(&mut self) -> Self {
                let taken = *self;
                self.0 = self.0.wrapping_add(1);
                taken
            }
        }
    };
}

counter! {
    /// Counts the messages of an association that were accepted for sending. Fragments with the same key belong
    /// together.
    MessageKey
}

impl MessageKey {
    /// The greatest key.
    pub(crate) const MAX: Self = Self(u64::MAX);

    /// Returns the count.
    pub(crate) const fn to_u64(self) -> u64 {
        self.0
    }
}
counter! {
    /// Counts the transmissions of DATA chunks, retransmissions included, in the order of sending.
    TransmissionNumber
}

impl TransmissionNumber {
    /// Returns true if this transmission was the one after `earlier`.
    pub(crate) fn follows(self, earlier: Self) -> bool {
        self.0 == earlier.0.wrapping_add(1)
    }
}

/// Verification Tag of an end: any number but 0, which stands for no tag in a packet (RFC 9260 §8.5.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct VerificationTag(NonZeroU32);

impl VerificationTag {
    pub(crate) fn new(tag: u32) -> Option<Self> {
        NonZeroU32::new(tag).map(Self)
    }

    pub(crate) fn get(self) -> u32 {
        self.0.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_holds_across_the_wrap() {
        for start in [0u32, 1, 77, u32::MAX - 3, u32::MAX, 1 << 31] {
            let a = Tsn(start);
            for step in [1u32, 2, 1000, (1 << 31) - 1] {
                let b = a.add(step);
                assert!(a.is_before(b) && b.is_after(a), "{a:?} {b:?}");
                assert!(a.is_at_or_before(b) && !a.is_at_or_after(b));
                assert_eq!(b.distance_from(a), step);
                assert_eq!(b.sub(step), a);
                assert_eq!(a.later_of(b), b);
                assert_eq!(b.later_of(a), b);
            }
            assert!(!a.is_before(a) && a.is_at_or_before(a) && a.is_at_or_after(a));
        }
    }

    #[test]
    fn small_numbers_wrap_at_their_own_width() {
        assert_eq!(Ssn(u16::MAX).next(), Ssn(0));
        assert!(Ssn(u16::MAX).is_before(Ssn(0)));
        assert_eq!(Ssn(0).prev(), Ssn(u16::MAX));
    }

    #[test]
    fn unwrapping_around_the_cumulative_tsn_ack_is_the_inverse_of_wrapping() {
        for initial in [0, 1, 77, u32::MAX - 1, u32::MAX, 1 << 31] {
            let first = UnwrappedTsn::first(Tsn(initial));
            assert_eq!(first.wrap(), Tsn(initial));
            assert_eq!(first.prev().wrap(), Tsn(initial).prev());
            for cumulative in [first.prev(), first, first.add(5), first.add(u64::from(u32::MAX)), first.add(1 << 40)] {
                for distance in [0_u64, 1, 2, 1000, (1 << 31) - 1] {
                    assert_eq!(cumulative.unwrap_near(cumulative.add(distance).wrap()), cumulative.add(distance));
                    assert_eq!(cumulative.unwrap_near(cumulative.sub(distance).wrap()), cumulative.sub(distance));
                }
                let opposite = cumulative.add(1 << 31);
                assert_eq!(cumulative.unwrap_near(opposite.wrap()), cumulative.sub(1 << 31), "neither way is shorter");
            }
        }
    }

    #[test]
    fn no_tsn_underflows_before_the_first_is_acknowledged() {
        for initial in [0, 1, u32::MAX] {
            let cumulative = UnwrappedTsn::first(Tsn(initial)).prev();
            for tsn in [0, 1, u32::MAX, 1 << 31, (1 << 31) - 1, (1 << 31) + 1] {
                let unwrapped = cumulative.unwrap_near(Tsn(tsn));
                assert_eq!(unwrapped.wrap(), Tsn(tsn));
                assert!(unwrapped > UnwrappedTsn::BEFORE_ALL);
            }
        }
    }

    #[test]
    fn unwrapped_numbers_have_an_order_and_can_be_counted() {
        let first = UnwrappedTsn::first(Tsn(u32::MAX));
        assert!(first < first.next() && UnwrappedTsn::BEFORE_ALL < first);
        assert_eq!(first.next().wrap(), Tsn(0));
        assert_eq!((first.add(7).distance_from(first), first.distance_from(first.add(7))), (7, 0));
        assert!(first.through(first.add(2)).map(UnwrappedTsn::wrap).eq([Tsn(u32::MAX), Tsn(0), Tsn(1)]));
        assert_eq!(first.through(first.prev()).count(), 0);
        assert_eq!(UnwrappedTsn::BEFORE_ALL.prev(), UnwrappedTsn::BEFORE_ALL);
    }
}
