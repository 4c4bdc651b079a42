//! Trait for one end of an SCTP association, of any stack.

use std::fmt;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

/// A stream's number, the same in both directions.
pub type StreamId = u16;

/// Settings that all stacks share, so that a comparison compares the stacks and not their defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Largest SCTP packet, in bytes.
    pub mtu: usize,
    /// Receive window, in bytes.
    pub receive_window: u32,
    /// Bytes that may wait for sending, where the stack has such a limit.
    pub send_buffer: usize,
    /// Largest message in either direction, in bytes.
    pub message_size_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { mtu: 1200, receive_window: 1 << 20, send_buffer: 64 << 20, message_size_max: 256 << 10 }
    }
}

/// Extensions that an end offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfferedExtensions {
    /// Message interleaving (RFC 8260). Both stacks offer it only together with partial reliability.
    pub message_interleaving: bool,
    /// FORWARD-TSN (RFC 3758).
    pub partial_reliability: bool,
    /// RE-CONFIG (RFC 6525); `dcsctp` always offers it.
    pub stream_reset: bool,
    /// Packets without a checksum (RFC 9653).
    pub zero_checksum: bool,
}

/// Reliability of a message (RFC 3758).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Reliability {
    /// Until it arrives.
    #[default]
    Reliable,
    /// Retransmitted at most this often.
    MaxRetransmits(u16),
    /// Abandoned after this time.
    MaxLifetime(Duration),
}

/// Ordering and reliability of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SendOptions {
    /// Delivered on arrival, out of order.
    pub unordered: bool,
    /// The limit at which the message is abandoned.
    pub reliability: Reliability,
}

/// Reason why a command was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The send buffer is full; later it will do.
    Full,
    /// It will not do, in the stack's words.
    Failed(String),
}

impl Refusal {
    /// A refusal in the stack's words.
    pub fn failed(error: impl fmt::Debug) -> Self {
        Self::Failed(format!("{error:?}"))
    }
}

/// A received payload, in the form in which the stack hands it over: nothing is copied before someone asks for it in
/// one piece.
pub enum Payload {
    /// In one piece already.
    Whole(Vec<u8>),
    /// Fragments of this project's association.
    Narrowboat(narrowboat_sctp::Payload),
    /// In one piece already, as data channels hand it over.
    Channel(Bytes),
    /// Fragments of `rtc-sctp`.
    RtcSctp(rtc_sctp::Chunks),
    /// Fragments of `sctp-proto`.
    SctpProto(sctp_proto::Chunks),
}

impl Payload {
    /// Bytes in it.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Whole(bytes) => bytes.len(),
            Self::Narrowboat(payload) => payload.len(),
            Self::Channel(bytes) => bytes.len(),
            Self::RtcSctp(chunks) => chunks.len(),
            Self::SctpProto(chunks) => chunks.len(),
        }
    }

    /// Its bytes in one piece.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Whole(bytes) => bytes.into(),
            Self::Narrowboat(payload) => payload.into_bytes(),
            Self::Channel(bytes) => bytes,
            // The room is as long as the message, which is all that these two can fail for.
            Self::RtcSctp(chunks) => chunks.to_payload(chunks.len()).map(BytesMut::freeze).unwrap_or_default(),
            Self::SctpProto(chunks) => {
                let mut whole = vec![0; chunks.len()];
                chunks.read(&mut whole).map(|_| whole.into()).unwrap_or_default()
            }
        }
    }
}

/// A received message.
pub struct Message {
    /// The stream that it came on.
    pub stream: StreamId,
    /// Its bytes.
    pub payload: Payload,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message {{ stream: {}, bytes: {} }}", self.stream, self.payload.size())
    }
}

/// An event at one end.
#[derive(Debug)]
pub enum Event {
    /// The association is up.
    Connected,
    /// A whole message; taking it out opens the receive window again.
    Message(Message),
    /// The peer has reset its outgoing side of the stream.
    IncomingStreamsReset(StreamId),
    /// The peer has performed the reset that was asked for here, or it failed.
    OutgoingReset {
        /// The stream.
        stream: StreamId,
        /// The error, if there was one.
        error: Option<String>,
    },
    /// The association is over.
    Closed {
        /// True if the association ended by a graceful shutdown.
        graceful: bool,
        /// Reason, in the stack's words.
        reason: String,
    },
}

/// One end of an association without I/O. After any command or input, its events are polled, then its packets, then its
/// timeout.
pub trait Peer {
    /// Starts the handshake. An end that is not told to connect answers a peer that does.
    fn connect(&mut self, now: Instant);
    /// Hands over a message.
    ///
    /// # Errors
    ///
    /// The buffer is full, or the stack refused.
    fn send(&mut self, now: Instant, stream: StreamId, payload: &Bytes, options: SendOptions) -> Result<(), Refusal>;
    /// Resets the outgoing side of a stream. A stack that answers the peer's reset with its own may have done so
    /// already, and then has nothing to do.
    ///
    /// # Errors
    ///
    /// The stack refused.
    fn reset(&mut self, now: Instant, stream: StreamId) -> Result<(), Refusal>;
    /// Ends the association gracefully.
    fn shutdown(&mut self, now: Instant);
    /// Ends the association at once.
    fn abort(&mut self, now: Instant);
    /// Takes a datagram in.
    fn handle_datagram(&mut self, now: Instant, datagram: Bytes);
    /// Runs the timers that are due.
    fn handle_timeout(&mut self, now: Instant);
    /// The next event.
    fn poll_event(&mut self, now: Instant) -> Option<Event>;
    /// Hands each datagram that is due to `wire`. `room` is an empty buffer of the driver's, for a stack that writes
    /// into one.
    fn poll_transmit(&mut self, now: Instant, room: &mut Vec<u8>, wire: &mut dyn FnMut(&[u8]));
    /// Returns the deadline of the next timer.
    fn poll_timeout(&self) -> Option<Instant>;
    /// Returns the congestion window in bytes, if the stack tells.
    fn congestion_window(&self) -> Option<usize> {
        None
    }
    /// Returns `true` if the stack opens streams as data channels by itself (DCEP), so that the application need not.
    fn opens_channels(&self) -> bool {
        false
    }
}
