//! Counters that many tasks add to, and snapshots of them.

/// Makes two structs with the same fields: a public one of numbers, and one of atomics with a `stats` method that reads
/// them all.
macro_rules! counters {
    (
        $(#[$stats_doc:meta])* pub struct $stats:ident;
        $(#[$counters_doc:meta])* struct $counters:ident;
        $($(#[$doc:meta])* $name:ident),* $(,)?
    ) => {
        $(#[$stats_doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $stats { $($(#[$doc])* pub $name: u64),* }

        $(#[$counters_doc])*
        #[derive(Debug, Default)]
        pub(crate) struct $counters { $(pub(crate) $name: std::sync::atomic::AtomicU64),* }

        impl $counters {
            pub(crate) fn stats(&self) -> $stats {
                $stats { $($name: self.$name.load(std::sync::atomic::Ordering::Relaxed)),* }
            }
        }
    };
}

pub(crate) use counters;
