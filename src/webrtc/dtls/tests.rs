//! Two ends in memory: handshakes over bad links, what strangers send, and packets both ways.

mod attacks;
mod handshakes;
mod identity;
mod link;
mod packets;
