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

/// Adds one to a counter of what was dropped or refused, and reports it with the name of the counter as the reason.
macro_rules! count_drop {
    ($counters:expr, $name:ident $(, $($field:tt)+)?) => {{
        $counters.$name.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        tracing::debug!(reason = stringify!($name), $($($field)+,)? "dropped");
    }};
}

pub(crate) use {count_drop, counters};
