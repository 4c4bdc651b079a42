//! One SCTP association (RFC 9260) with one path, without I/O.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::config::Config;
use crate::cookie::CookieKeys;
use crate::error::{ResetError, SendError};
use crate::event::Event;
use crate::message::{Credit, Ppid, SendOptions, StreamId};
use crate::stats::Stats;

/// Where an association is in RFC 9260 §4's diagram.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum State {
    /// Nothing yet, or no longer.
    Closed,
    /// INIT sent.
    CookieWait,
    /// COOKIE ECHO sent.
    CookieEchoed,
    /// Data flows both ways.
    Established,
    /// `shutdown` was called; what was accepted is still being delivered.
    ShutdownPending,
    /// SHUTDOWN sent.
    ShutdownSent,
    /// SHUTDOWN received; what was accepted is still being delivered.
    ShutdownReceived,
    /// SHUTDOWN ACK sent.
    ShutdownAckSent,
}

/// Datagrams that `poll_transmit` wrote, one after another, all to be sent to the peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// Bytes written to the buffer in this call.
    pub len: usize,
    /// Bytes of each datagram; the last one may be shorter (for GSO). Equal to `len` if there is only one.
    pub segment_size: usize,
}

/// The two low bits of the IP header's traffic class, as they arrived (RFC 3168).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Ecn {
    /// Not known, or not capable.
    #[default]
    NotEct,
    /// Congestion was experienced on the way.
    Ce,
}

/// One SCTP association.
#[derive(Debug)]
pub struct Association {
    _private: (),
}

impl Association {
    /// An association in `Closed` that answers a peer's INIT; [`connect`](Self::connect) makes it send one.
    #[must_use]
    pub fn new(_now: Instant, _config: Arc<Config>, _cookie_keys: CookieKeys, _seed: [u8; 32]) -> Self { todo!() }

    // Getters
    pub fn state(&self) -> State { todo!() }
    pub fn stats(&self) -> Stats { todo!() }
    /// Bytes accepted by `send` for this stream and not yet sent for the first time.
    pub fn buffered_amount(&self, _stream: StreamId) -> usize { todo!() }
    /// Streams that may be sent on; as configured until the handshake is done, then what both ends agreed on.
    pub fn outbound_streams(&self) -> u16 { todo!() }
    pub fn inbound_streams(&self) -> u16 { todo!() }
    pub fn peer_supports_stream_reset(&self) -> bool { todo!() }
    pub fn peer_supports_partial_reliability(&self) -> bool { todo!() }
    /// Whether all that was accepted by `send` on this stream has been acknowledged or given up.
    pub fn is_drained(&self, _stream: StreamId) -> bool { todo!() }
    /// Whether an outgoing reset of the stream was asked for and has not ended.
    pub fn is_resetting(&self, _stream: StreamId) -> bool { todo!() }

    // Commands
    pub fn connect(&mut self, _now: Instant) { todo!() }
    pub fn send(&mut self, _now: Instant, _stream: StreamId, _ppid: Ppid, _payload: Bytes, _options: SendOptions) -> Result<(), SendError> { todo!() }
    /// Threshold of `Event::BufferedAmountLow`; 0 at first.
    pub fn set_buffered_amount_low_threshold(&mut self, _stream: StreamId, _threshold: usize) { todo!() }
    /// Hands back the room of a message that the application has read, which opens the receive window.
    pub fn release(&mut self, _now: Instant, _credit: Credit) { todo!() }
    /// Resets the outgoing side of the streams once all that was accepted on them has been acknowledged or given up.
    /// Each ends in an `Event::OutgoingReset`. Until then `send` on them fails with `Resetting`.
    pub fn reset_streams(&mut self, _now: Instant, _streams: &[StreamId]) -> Result<(), ResetError> { todo!() }
    /// Throws away what was accepted on a stream and not yet sent (a message half sent is given up like an expired one if
    /// the peer knows FORWARD-TSN, else finished). Returns the bytes dropped.
    pub fn discard_unsent(&mut self, _now: Instant, _stream: StreamId) -> usize { todo!() }
    pub fn shutdown(&mut self, _now: Instant) { todo!() }
    pub fn abort(&mut self, _now: Instant, _reason: &str) { todo!() }

    // Inputs
    /// `datagram` should own memory of about its own size: payloads are kept as slices of it.
    pub fn handle_datagram(&mut self, _now: Instant, _ecn: Ecn, _datagram: Bytes) { todo!() }
    pub fn handle_timeout(&mut self, _now: Instant) { todo!() }

    // Outputs, polled in this order after any of the above
    pub fn poll_event(&mut self) -> Option<Event> { todo!() }
    /// Appends up to `max_datagrams` datagrams, equal in size but for the last, to `buf`.
    pub fn poll_transmit(&mut self, _now: Instant, _max_datagrams: usize, _buf: &mut Vec<u8>) -> Option<Transmit> { todo!() }
    pub fn poll_timeout(&self) -> Option<Instant> { todo!() }
}
