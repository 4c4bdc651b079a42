//! The command, as a user types it: real processes, real files, real signals.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod connecting;
mod files;
mod permission;
mod process;
mod secure;
mod signals;
mod strangers;
mod terminal;
mod trouble;
