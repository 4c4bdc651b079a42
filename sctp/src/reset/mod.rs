//! Stream reset (RFC 6525), which is what closing a data channel is made of.

mod incoming;
mod outgoing;

pub(crate) use incoming::{Decision, IncomingReset};
pub(crate) use outgoing::{Answered, OutgoingReset};
