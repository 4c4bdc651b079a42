//! The seam to the browser side: parts and options of an endpoint with an identity, descriptions, tickets, strangers.

mod associate;
mod builder;
mod candidates;
mod description;
mod options;
mod part;
mod strangers;
mod target;
mod ticket;

pub(super) use crate::webrtc::Server;
#[cfg(feature = "axum")]
pub(crate) use description::AnsweredOffer;
pub use description::{Answer, DtlsRole, Offer};
pub(super) use options::SecureOptions;
pub(crate) use part::SecurePart;
pub(super) use strangers::Strangers;
pub(super) use target::SecureTarget;
