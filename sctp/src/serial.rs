//! Sequence numbers, each a type of its own (RFC 9260 §1.6).
//!
//! None has an order: "less than" only makes sense on a circle when one names the direction, so
//! comparisons are methods with names, and `a.is_before(b)` reads the same at the wrap as elsewhere.

macro_rules! serial {
    ($(#[$doc:meta])* $name:ident($int:ty, $signed:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub struct $name(pub $int);

        impl $name {
            /// The number `n` steps on.
            #[must_use]
            pub const fn add(self, n: $int) -> Self {
                Self(self.0.wrapping_add(n))
            }

            /// The number `n` steps back.
            #[must_use]
            pub const fn sub(self, n: $int) -> Self {
                Self(self.0.wrapping_sub(n))
            }

            /// The number after this one.
            #[must_use]
            pub const fn next(self) -> Self {
                self.add(1)
            }

            /// The number before this one.
            #[must_use]
            pub const fn prev(self) -> Self {
                self.sub(1)
            }

            /// How many steps forward lead from `earlier` to this number.
            #[must_use]
            pub const fn distance_from(self, earlier: Self) -> $int {
                self.0.wrapping_sub(earlier.0)
            }

            /// Whether this number comes before `other` on the shorter way round.
            #[must_use]
            pub const fn is_before(self, other: Self) -> bool {
                (self.0.wrapping_sub(other.0) as $signed) < 0
            }

            /// Whether this number comes after `other` on the shorter way round.
            #[must_use]
            pub const fn is_after(self, other: Self) -> bool {
                other.is_before(self)
            }

            /// Whether this number is `other` or comes before it.
            #[must_use]
            pub const fn is_at_or_before(self, other: Self) -> bool {
                !other.is_before(self)
            }

            /// Whether this number is `other` or comes after it.
            #[must_use]
            pub const fn is_at_or_after(self, other: Self) -> bool {
                !self.is_before(other)
            }

            /// Whichever of the two comes later.
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
serial! {
    /// Fragment Sequence Number: counts fragments of one message when interleaving (RFC 8260 §2.1).
    Fsn(u32, i32)
}
serial! {
    /// Re-configuration Request Sequence Number (RFC 6525 §4.1).
    RequestSn(u32, i32)
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
}
