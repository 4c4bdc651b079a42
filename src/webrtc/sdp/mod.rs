//! Session descriptions of one data channel section (RFC 8866, RFC 8829, RFC 8841): a reader of offers and answers, and
//! a writer of ours.
//!
//! The reader is strict about what it uses, and ignores the rest: who writes descriptions edits them, and a line that
//! is not needed is no reason to refuse a peer. What was unreadable is returned beside the result, to be counted.
//!
//! | module | owns |
//! | --- | --- |
//! | `lines` | lines with their numbers; sections; attributes |
//! | `section` | `m=` lines, and the group that shares one transport |
//! | `description` | what a browser's offer or answer says about its data channels |
//! | `attribute` | the values of the attributes that count |
//! | `setup` | who begins the DTLS handshake |
//! | `write` | our answers and offers |
//!
//! Candidates are not read: being ICE-lite we check nothing, and learn where the peer is from its own checks. So late
//! and trickled ones need no care either.

mod attribute;
mod description;
mod error;
mod lines;
mod section;
mod setup;
#[cfg(test)]
mod shapes;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
mod write;

pub(crate) use description::{AnswerDescription, OfferDescription, Remote};
pub use error::{SdpError, SdpProblem};
pub(crate) use write::{Local, answer, offer};

/// The longest description that is read. Browsers' with several cameras stay below 20 KB.
pub(crate) const LEN_MAX: usize = 65_536;

/// Name of the section in our offers, and in the answers to them (`a=mid`).
const MID: &str = "0";

/// The SCTP port of a peer that does not say: all implementations of WebRTC use it.
pub(crate) const SCTP_PORT_DEFAULT: u16 = 5000;

/// Largest message that a peer takes if its description does not say (RFC 8841 §6.1).
pub(crate) const MAX_MESSAGE_SIZE_DEFAULT: u64 = 65_536;

/// A message size without a limit, which SDP writes as 0 (RFC 8841 §6.1).
pub(crate) const MAX_MESSAGE_SIZE_ANY: u64 = u64::MAX;
