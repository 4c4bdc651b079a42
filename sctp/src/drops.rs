//! Counters of what an end drops, one for each reason.

/// Defines an enum of reasons, and a struct that counts how often each was met.
#[doc(hidden)]
#[macro_export]
macro_rules! drop_reasons {
    (
        $(#[$reason_doc:meta])* pub enum $reason:ident;
        $(#[$drops_doc:meta])* pub struct $drops:ident;
        $($(#[$doc:meta])* $name:ident),* $(,)?
    ) => {
        $(#[$reason_doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[non_exhaustive]
        pub enum $reason { $($(#[$doc])* $name),* }

        impl $reason {
            /// Every reason.
            pub const ALL: [Self; [$(stringify!($name)),*].len()] = [$(Self::$name),*];
        }

        $(#[$drops_doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $drops([u64; $reason::ALL.len()]);

        impl $drops {
            /// Returns the number of drops for this reason.
            #[must_use]
            pub fn count(&self, reason: $reason) -> u64 {
                self.0.get(reason as usize).copied().unwrap_or(0)
            }

            /// Returns the number of drops for all reasons together.
            #[must_use]
            pub fn total(&self) -> u64 {
                self.0.iter().sum()
            }

            pub(crate) fn add(&mut self, reason: $reason) {
                self.add_times(reason, 1);
            }

            /// Counts drops, and emits the one event that there is for them.
            pub(crate) fn add_times(&mut self, reason: $reason, times: u64) {
                if times == 0 {
                    return;
                }
                tracing::debug!(?reason, times, "dropped");
                if let Some(count) = self.0.get_mut(reason as usize) {
                    *count += times;
                }
            }
        }
    };
}

#[cfg(test)]
#[expect(unreachable_pub, reason = "the macro defines public types")]
mod tests {
    crate::drop_reasons! {
        /// Reasons.
        pub enum TestReason;
        /// Counters.
        pub struct TestDrops;
        /// One.
        First,
        /// Another.
        Second,
    }

    #[test]
    fn each_reason_has_a_counter_of_its_own() {
        let mut drops = TestDrops::default();
        drops.add(TestReason::First);
        drops.add_times(TestReason::Second, 3);
        assert_eq!(TestReason::ALL.map(|reason| drops.count(reason)), [1, 3]);
        assert_eq!(drops.total(), 4);
    }
}
