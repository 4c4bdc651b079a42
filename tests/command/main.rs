//! The command, as a user types it: real processes, real files, real signals.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::let_underscore_must_use, reason = "some results make no difference to a test")]
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
