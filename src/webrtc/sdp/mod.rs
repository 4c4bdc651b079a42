//! Session descriptions of one data channel section (RFC 8866, RFC 8829, RFC 8841): a strict reader of offers and
//! answers, and a writer of ours.
//!
//! | module | owns |
//! | --- | --- |
//! | `lines` | lines with their numbers, in the order that the grammar demands; sections; attributes |
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
mod setup;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
mod write;

pub(crate) use description::{Answer, Offer, Remote};
pub use error::{SdpError, SdpProblem};
pub(crate) use write::{Local, answer, offer};

/// The longest description that is read. Browsers' with several cameras stay below 20 KB.
pub(crate) const LEN_MAX: usize = 65_536;

/// What a peer takes that does not say (RFC 8841 §6.1).
pub(crate) const MAX_MESSAGE_SIZE_DEFAULT: u64 = 65_536;

/// A message size without a limit, which SDP writes as 0 (RFC 8841 §6.1).
pub(crate) const MAX_MESSAGE_SIZE_ANY: u64 = u64::MAX;
