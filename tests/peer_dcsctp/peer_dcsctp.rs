//! This project's association against Google's `dcsctp`, in one process and on a virtual clock.
//!
//! Every behaviour is run with either end connecting and with both at once, over a clean path and over paths that lose,
//! repeat and reorder. A failure names the run, which repeats exactly.

#[cfg(test)]
mod ending;
#[cfg(test)]
mod extensions;
#[cfg(test)]
mod numbers;
#[cfg(test)]
mod reset;
#[cfg(test)]
mod sizes;
#[cfg(test)]
mod ticks;
#[cfg(test)]
mod transfer;
#[cfg(test)]
mod world;
#[cfg(test)]
mod zero_checksum;
