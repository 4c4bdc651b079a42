//! Against usrsctp, over real UDP on loopback (RFC 6951): what two independent implementations make of each other.
//!
//! usrsctp runs in a process of its own (`peer.c`, compiled here; needs Debian's `libusrsctp-dev`, which `tests/run`
//! installs). The clock and the sockets are real, so every wait ends when something has happened; the deadline only
//! turns a hang into a failure.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::let_underscore_must_use, reason = "some results make no difference to a test")]
#![expect(clippy::panic, clippy::indexing_slicing, reason = "this is how a test fails, also outside of its function")]

mod endings;
mod faults;
mod messages;
mod ours;
mod pair;
mod peer;
mod resets;
