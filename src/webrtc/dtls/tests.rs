//! Two ends in memory: handshakes over bad links, what strangers send, and packets both ways.

mod attacks;
mod forgeries;
mod handshakes;
pub(crate) mod identity;
pub(crate) mod link;
mod packets;
