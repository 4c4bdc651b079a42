//! Errors: one narrow type for each kind of call. Each converts into [`Error`].

use std::io;
use std::net::SocketAddr;

pub use narrowboat_dcep::OpenError;
pub use narrowboat_sctp::{ConfigError, SignalledInitError};

pub use crate::net::TransportFailure;

#[cfg(feature = "webrtc")]
pub use crate::webrtc::{FingerprintError, IdentityError, PemError, SdpError, SdpProblem, TicketError};

use crate::{Message, ReadyState};

/// Reason why an association ended. Every association ends with exactly one.
pub type CloseReason = narrowboat_sctp::CloseReason<TransportFailure>;

/// Reason for which a channel ended other than by the closing procedure, or with messages unsent.
pub type ChannelError = narrowboat_dcep::ChannelError<TransportFailure>;

/// Any error of this crate, for applications that pass them all on with `?`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The endpoint could not be created.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// An association was not established.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A description was not accepted or created.
    #[cfg(feature = "webrtc")]
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// A channel was not opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A channel ended before it was open.
    #[error(transparent)]
    OpenChannel(#[from] OpenChannelError),
    /// A message was not sent.
    #[error(transparent)]
    Send(#[from] SendError),
    /// A channel failed.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// A byte stream failed, although its channel did not.
    #[error(transparent)]
    ByteStream(#[from] ByteStreamError),
    /// An association ended.
    #[error(transparent)]
    Closed(#[from] CloseReason),
    /// The identity could not be loaded or created.
    #[cfg(feature = "webrtc")]
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Not a valid fingerprint.
    #[cfg(feature = "webrtc")]
    #[error(transparent)]
    Fingerprint(#[from] FingerprintError),
    /// Not a valid ticket.
    #[cfg(feature = "webrtc")]
    #[error(transparent)]
    Ticket(#[from] TicketError),
}

/// Reason for which an endpoint could not be created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The address is not an IP address and port, or its name was not found.
    #[error("cannot tell which address to listen on: write an IP address and a port, like 0.0.0.0:4433 ({0})")]
    Address(#[source] io::Error),
    /// Another program has the port.
    #[error("UDP port {0} is in use: stop the program that has it, or choose another port (0 takes any free one)")]
    PortTaken(SocketAddr),
    /// The address is not one of this machine's.
    #[error("{0} is not an address of this machine: use one that is, or 0.0.0.0 or [::] for all of them")]
    NotLocal(SocketAddr),
    /// The system does not permit this user to bind the port.
    #[error("this user may not bind {0}: choose a port of 1024 or above, or ask for the permission")]
    Forbidden(SocketAddr),
    /// Any other error of the system.
    #[error("cannot bind UDP port {address} ({source}): check the address, or choose another one")]
    Io {
        /// Address that was to be bound.
        address: SocketAddr,
        /// Error of the system.
        source: io::Error,
    },
    /// A limit is out of its range.
    #[error("bad configuration: {0}")]
    Config(#[from] ConfigError),
    /// The identity's key cannot be used.
    #[error("the identity cannot be used: {0}; make another one with Identity::generate")]
    Identity(String),
    /// An endpoint with an identity cannot accept peers over plain UDP.
    #[error(
        "an endpoint with an identity takes nobody over plain UDP: leave accept_plain out, or use a second endpoint"
    )]
    PlainWithIdentity,
    /// An endpoint without an identity cannot accept peers that come with its ticket.
    #[error("peers come with a ticket to an endpoint with an identity: give it one, with EndpointBuilder::identity")]
    IdentityNeeded,
    /// The system provides no random numbers, which every key and tag is made of.
    #[error(
        "the system gives no random numbers ({0}): nothing is secure without them, so let this process call getrandom"
    )]
    Random(#[source] io::Error),
    /// The call was made outside of a tokio runtime, which runs the endpoint.
    #[error("no tokio runtime: call this from within one, in an async function or with Runtime::enter")]
    NoRuntime,
}

impl BindError {
    pub(crate) fn from_io(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::PortTaken(address),
            io::ErrorKind::AddrNotAvailable => Self::NotLocal(address),
            io::ErrorKind::PermissionDenied => Self::Forbidden(address),
            _ => Self::Io { address, source },
        }
    }
}

/// Reason for which an association was not established.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The text is not an IP address and port, nor a ticket, or its name was not found.
    #[error(
        "cannot tell who {target:?} is ({source}): write an IP address and a port, like 192.0.2.1:4433, or a ticket"
    )]
    Address {
        /// Text that names the peer.
        target: String,
        /// Error of the system.
        source: io::Error,
    },
    /// The list of addresses is empty.
    #[error("there is no address to connect to: name at least one")]
    NoAddress,
    /// The text begins like a ticket, and is not a valid one.
    #[cfg(feature = "webrtc")]
    #[error("cannot connect by this ticket, because {0}")]
    Ticket(#[from] TicketError),
    /// 0.0.0.0 and `[::]` are addresses to listen on, not addresses of a peer.
    #[error(
        "{0} is where a service listens, not where it is: use an address of its machine, or 127.0.0.1 or [::1] for this one"
    )]
    Unspecified(SocketAddr),
    /// Port 0 or a multicast address, at which no single peer can be.
    #[error("nobody can be reached at {0}: name the address and port that a service listens on")]
    NoPeer(SocketAddr),
    /// A link-local address does not say on which link (RFC 4007 §11).
    #[error("{0} is on some link, and does not say which: write the interface behind it, like [fe80::1%2]:4433")]
    ScopeNeeded(SocketAddr),
    /// The address is the endpoint's own.
    #[error("{0} is this endpoint itself: connect from another endpoint")]
    Itself(SocketAddr),
    /// The endpoint's socket speaks the other version of IP only.
    #[error("{0} cannot be reached from an IPv4 socket: bind the endpoint to [::]:0, which speaks IPv4 and IPv6")]
    AddressFamily(SocketAddr),
    /// The system knows no way to the peer.
    #[error("no route to {address}: check the address and this machine's network ({why})")]
    NoRoute {
        /// The peer.
        address: SocketAddr,
        /// Error of the system.
        why: String,
    },
    /// The endpoint has `associations_max` associations.
    #[error("the endpoint has as many associations as its configuration allows: close one, or raise associations_max")]
    TooManyAssociations,
    /// The associations of the endpoint hold `memory_max` bytes.
    #[error("the endpoint's associations hold as much memory as they may: read what has arrived, or raise memory_max")]
    OutOfMemory,
    /// There is an association with this address and port. An endpoint has one at most, because the address identifies
    /// its datagrams.
    #[error(
        "there is an association with {0} already, and its datagrams could not be told from those of a second one: open \
         another channel on it, or use another endpoint"
    )]
    AlreadyConnected(SocketAddr),
    /// The endpoint has an identity, so it speaks DTLS only, and an address does not say which certificate to expect.
    #[error("this endpoint speaks DTLS only: connect to {0} with a ticket, which says what its certificate is")]
    TicketNeeded(SocketAddr),
    /// The endpoint has no identity, so it speaks plain UDP only.
    #[error("this endpoint has no identity to connect with: give it one, with Endpoint::builder().identity(…)")]
    IdentityNeeded,
    /// [`Endpoint::close`](crate::Endpoint::close) was called.
    #[error("the endpoint is closed: make another one to connect with")]
    EndpointClosed,
    /// The handshake failed, or the association ended before it was accepted.
    #[error("no association with {address}: {reason}")]
    Closed {
        /// The peer.
        address: SocketAddr,
        /// Reason of its end.
        #[source]
        reason: CloseReason,
    },
}

/// Reason for which a description was not accepted or created.
#[cfg(feature = "webrtc")]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignalError {
    /// The peer's offer or answer is invalid or not supported.
    #[error(transparent)]
    Description(#[from] SdpError),
    /// The answer has an INIT (`a=sctp-init`) that cannot be accepted.
    #[error("{0}, so the answer cannot be used: pass it on as the peer has made it")]
    SctpInit(#[source] SignalledInitError),
    /// The offer restarts ICE or DTLS, or changes the SCTP port, of a connection that lives. It goes on as it is.
    #[error(
        "the offer restarts a connection that lives, which is not supported: roll it back \
         (setLocalDescription({{type: \"rollback\"}})) to keep the connection, or make a new RTCPeerConnection"
    )]
    Restart,
    /// The offer belongs to a connection that has ended.
    #[error("the connection that this offer belongs to has ended: make a new RTCPeerConnection, and offer from that")]
    SessionEnded,
    /// The endpoint has no identity, so it speaks plain UDP only.
    #[error("this endpoint has no identity to be known by: give it one, with Endpoint::builder().identity(…)")]
    IdentityNeeded,
    /// The endpoint has `associations_max` associations.
    #[error("the endpoint has as many associations as its configuration allows: close one, or raise associations_max")]
    TooManyAssociations,
    /// The associations of the endpoint hold `memory_max` bytes.
    #[error("the endpoint's associations hold as much memory as they may: read what has arrived, or raise memory_max")]
    OutOfMemory,
    /// Too many peers with an answer or offer of this endpoint have not connected yet.
    #[error("too many peers that were answered have not connected yet: try again in a minute")]
    TooManyPending,
    /// The endpoint does not accept peers that come with a ticket.
    #[error(
        "this endpoint takes nobody who comes with a ticket: open that way in, with EndpointBuilder::accept_direct"
    )]
    DirectNotAccepted,
    /// The endpoint is closed.
    #[error("the endpoint is closed: make another one to be found at")]
    EndpointClosed,
    /// The addresses of this machine could not be read.
    #[error("cannot tell this machine's addresses: say where peers find it, with EndpointBuilder::advertise ({0})")]
    Interfaces(#[source] io::Error),
    /// No address of this machine can be reached from others.
    #[error(
        "this machine has no address that peers could use: say where they find it, with EndpointBuilder::advertise"
    )]
    NoAddress,
}

/// Error of [`open_channel`](crate::Association::open_channel).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenChannelError {
    /// The channel could not be created.
    #[error(transparent)]
    Refused(#[from] OpenError),
    /// The channel failed before it was open.
    #[error("the channel failed before it was open: {0}")]
    Failed(#[from] ChannelError),
    /// The channel was closed before it was open.
    #[error("the channel was closed before it was open: the peer may not want channels of this label or protocol")]
    Closed,
}

/// Reason for which a message was not sent. Nothing of it was queued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The message is longer than the peer accepts. The channel stays open.
    #[error("a message of {len} bytes is above the peer's limit of {max}: send it in smaller ones")]
    TooLarge {
        /// Bytes in the message.
        len: usize,
        /// Limit in bytes; see [`Association::max_message_size`](crate::Association::max_message_size).
        max: usize,
    },
    /// The channel is closing or closed, by this end or by the peer.
    #[error("the channel is {}: nothing more can be sent on it, so open another one", format!("{_0:?}").to_lowercase())]
    NotOpen(ReadyState),
    /// The association is shutting down, which ends the channel too.
    #[error("the association is shutting down: nothing more can be sent on it, so connect again")]
    AssociationClosed,
    /// The channel has failed.
    #[error("the channel failed: {0}")]
    Failed(#[from] ChannelError),
}

/// Error of [`try_send`](crate::DataChannel::try_send). Nothing of the message was queued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrySendError {
    /// The send buffer is full. Returns the message.
    #[error("the send buffer is full: wait for room with send, or leave the message out")]
    Full(Message),
    /// The message cannot be sent, now or later.
    #[error(transparent)]
    Refused(#[from] SendError),
}

/// Error of [`try_recv`](crate::DataChannel::try_recv).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TryRecvError {
    /// No message has arrived.
    #[error("no message has arrived")]
    Empty,
    /// The channel is closed, and every message was received.
    #[error("the channel is closed")]
    Closed,
    /// The channel failed, and every message was received. Returned once, then [`Closed`](Self::Closed).
    #[error("the channel failed: {0}")]
    Failed(#[from] ChannelError),
}

/// Reason for which a [`ByteStream`](crate::ByteStream) cannot be read or written any more, although its channel did
/// not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ByteStreamError {
    /// This end closed the channel or its association while the peer may have had more to send. Reading returns this in
    /// place of the end. [`io::ErrorKind::ConnectionAborted`].
    #[error(
        "this end closed the channel before the peer had ended the byte stream, so the rest of it may be missing: open the \
         channel with ChannelOptions::byte_stream, which lets each end shut down its own direction"
    )]
    ClosedHere,
    /// The peer closed the channel before all that was written was sent, and the rest was discarded. Reading returns
    /// this in place of the end. [`io::ErrorKind::ConnectionReset`].
    #[error(
        "the peer closed the channel before it had received all that was written: let it read to the end before it closes, \
         or open the channel with ChannelOptions::byte_stream"
    )]
    Undelivered,
    /// The peer closed the channel or its association without having ended the byte stream. Reading returns this in
    /// place of the end. [`io::ErrorKind::ConnectionReset`].
    #[error("the peer closed the channel in the middle of the byte stream: have it shut the stream down first")]
    Truncated,
    /// The peer dropped the byte stream before it had read all that was written to it. Reading returns this in place of
    /// the end. [`io::ErrorKind::ConnectionReset`].
    #[error("the peer dropped the byte stream before it had read all that was written: see why it ended there")]
    Reset,
    /// The peer has dropped its reading half. Writing and shutting down return this. [`io::ErrorKind::BrokenPipe`].
    #[error("the peer does not read this byte stream any more: stop writing, and read what it still sends")]
    Stopped,
    /// This end has shut down the direction in which it writes. [`io::ErrorKind::BrokenPipe`].
    #[error("this end has shut the byte stream down: write before the shutdown, or open another channel")]
    ShutDown,
    /// The peer sent text on a byte stream that can be half closed. Reading returns this.
    /// [`io::ErrorKind::InvalidData`].
    #[error("the peer sent text on a byte stream: have it send binary messages")]
    Text,
}

/// Converts the error that a byte stream or its channel ended with.
pub(crate) fn io_error(error: impl Into<Error>) -> io::Error {
    let error = error.into();
    let kind = match &error {
        Error::Send(SendError::NotOpen(_) | SendError::AssociationClosed) => io::ErrorKind::BrokenPipe,
        Error::Send(SendError::TooLarge { .. }) => io::ErrorKind::InvalidInput,
        Error::Send(SendError::Failed(error)) | Error::Channel(error) => channel_error_kind(error),
        Error::Closed(reason) => close_reason_kind(reason),
        Error::ByteStream(error) => match error {
            ByteStreamError::ClosedHere => io::ErrorKind::ConnectionAborted,
            ByteStreamError::Undelivered | ByteStreamError::Truncated | ByteStreamError::Reset => {
                io::ErrorKind::ConnectionReset
            }
            ByteStreamError::Stopped | ByteStreamError::ShutDown => io::ErrorKind::BrokenPipe,
            ByteStreamError::Text => io::ErrorKind::InvalidData,
        },
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

/// Returns the kind of I/O error, as with TCP: a connection is reset by the peer, and aborted by this end.
fn channel_error_kind(error: &ChannelError) -> io::ErrorKind {
    match error {
        ChannelError::Association(reason) => close_reason_kind(reason),
        ChannelError::PeerRestarted | ChannelError::Refused | ChannelError::PeerClosed { .. } => {
            io::ErrorKind::ConnectionReset
        }
        _ => io::ErrorKind::ConnectionAborted,
    }
}

fn close_reason_kind(reason: &CloseReason) -> io::ErrorKind {
    match reason {
        CloseReason::PeerAbort { .. } | CloseReason::Transport(TransportFailure::ClosedByPeer) => {
            io::ErrorKind::ConnectionReset
        }
        CloseReason::HandshakeTimedOut | CloseReason::PeerUnreachable | CloseReason::ShutdownTimedOut => {
            io::ErrorKind::TimedOut
        }
        _ => io::ErrorKind::ConnectionAborted,
    }
}
