//! Stream reset (RFC 6525), which is what closing a data channel is made of.

mod own_requests;
mod peer_requests;

pub(crate) use own_requests::{DueRequest, OtherRequest, OwnRequests, RequestOutcome, RequestTimeout};
pub(crate) use peer_requests::{PeerRequests, RequestDecision};
