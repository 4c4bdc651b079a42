//! Errors by blame: an `Err` is the caller's doing, an event is the peer's or the network's.

use crate::lower_layer::{LowerLayerEnd, LowerLayerError};
use crate::message::StreamId;
use crate::serial::Tsn;
use crate::wire::{Cause, ParameterType};

/// Reason why a message was not accepted. Nothing of the message was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendMessageError {
    /// Too much is waiting already, on this stream or in all.
    /// [`AssociationEvent::Writable`](crate::AssociationEvent::Writable) follows.
    #[error("the send buffer is full")]
    Full,
    /// SCTP carries no empty message (RFC 9260 §3.3.1); data channels send one byte with a PPID that says so.
    #[error("SCTP carries no empty message")]
    Empty,
    /// The message is longer than the peer takes, or than the configuration allows.
    #[error("a message of {len} bytes is above the limit of {max}")]
    TooLarge {
        /// Bytes in the message.
        len: usize,
        /// Bytes that are allowed.
        max: usize,
    },
    /// The peer accepts fewer streams than that.
    #[error("stream {stream} does not exist: the association has {streams} outgoing streams")]
    NoSuchStream {
        /// The stream asked for.
        stream: StreamId,
        /// Number of streams that there are.
        streams: u16,
    },
    /// The stream is being reset (RFC 6525 §5.1.2): nothing is sent on it before the peer has answered.
    #[error("stream {0} is being reset")]
    Resetting(StreamId),
    /// `shutdown` or `abort` was called, the peer shut down, or the association has failed.
    #[error("the association is shutting down or closed")]
    Closed,
}

/// Reason why an INIT that came with the signalling cannot be used (draft-hancke-tsvwg-snap-00 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignalledInitError {
    /// It is another chunk.
    #[error("a=sctp-init holds a chunk of type {0}, not an INIT")]
    NotInit(u8),
    /// The attribute does not hold exactly one chunk.
    #[error("a=sctp-init does not hold one whole INIT chunk")]
    Malformed,
    /// It breaks a rule for INITs (RFC 9260 §3.3.2): no tag, no streams, a window below 1,500 bytes, or a host name.
    #[error("a=sctp-init holds an INIT that no association can come of")]
    Unacceptable,
    /// The association has begun already, or is over (§5.6).
    #[error("the association has begun already: a=sctp-init comes too late")]
    AlreadyBegun,
}

/// Reason why a stream reset was not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResetError {
    /// The peer did not offer RE-CONFIG (RFC 6525).
    #[error("the peer cannot reset streams: it did not offer RE-CONFIG")]
    NotSupported,
    /// The association is shutting down, closed, or not yet established.
    #[error("the association is not established")]
    NotEstablished,
    /// The peer accepts fewer streams than that.
    #[error("stream {0} does not exist")]
    NoSuchStream(StreamId),
    /// There would be more streams than the protocol or the configuration allows.
    #[error("there would be more streams than allowed: ask for fewer, or raise inbound_streams")]
    TooManyStreams,
    /// Eight requests wait for their answers, or a request names more than 240 streams.
    #[error("too many requests wait for the peer: try again when it has answered")]
    TooManyRequests,
}

/// Reason why an association ended. Every association reports exactly one, in
/// [`AssociationEvent::Closed`](crate::AssociationEvent::Closed).
///
/// `L` is the error of the layer below. An association knows it as a [`LowerLayerError`];
/// [`map_transport`](Self::map_transport) puts a caller's own type in its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason<L = LowerLayerError> {
    /// A graceful shutdown by either end: all that was accepted was delivered (RFC 9260 §9.2).
    #[error("the association was shut down")]
    Shutdown,
    /// `abort` was called here.
    #[error("the association was aborted locally")]
    LocalAbort,
    /// The peer sent ABORT.
    #[error("the peer aborted the association{}", abort_reason(*cause, text))]
    PeerAbort {
        /// The first error cause in the ABORT, if it had one (RFC 9260 §3.3.10).
        cause: Option<u16>,
        /// Text from the peer, cut to 256 bytes and made printable.
        text: String,
    },
    /// No answer to INIT or COOKIE ECHO.
    #[error(
        "the peer did not answer the handshake: see that it runs, that address and port are right, and that no firewall \
         between drops UDP"
    )]
    HandshakeTimedOut,
    /// The peer answered nothing for [`idle_timeout`](crate::AssociationConfig::idle_timeout), or left
    /// `association_max_retransmits` time-outs in a row unanswered, if they are limited (RFC 9260 §8.1). It has been
    /// sent an ABORT.
    #[error("the peer became unreachable: connect again when it, or its network, is back")]
    PeerUnreachable,
    /// The graceful shutdown took longer than `shutdown_guard`.
    #[error("the peer did not finish the shutdown in time: what was sent last may not have arrived")]
    ShutdownTimedOut,
    /// The peer refused to reset a stream for the whole of `reset_timeout`, and `reset_attempts_max` times. It has been
    /// sent an ABORT: a stream that is closed at one end and open at the other would lose messages silently.
    #[error("the peer refused to close a channel again and again ({0:?}): connect anew")]
    ResetRefused(crate::wire::ResetResult),
    /// The peer broke a rule that the association cannot survive; it has been sent an ABORT.
    #[error("the peer violated the protocol: {0}")]
    PeerViolation(#[from] Violation),
    /// The transport below ended, so nothing could be said any more; see
    /// [`Association::transport_failed`](crate::Association::transport_failed).
    #[error(transparent)]
    Transport(L),
}

impl<L> CloseReason<L> {
    /// Replaces the error of the layer below.
    #[must_use]
    pub fn map_transport<M>(self, map: impl FnOnce(L) -> M) -> CloseReason<M> {
        match self {
            Self::Shutdown => CloseReason::Shutdown,
            Self::LocalAbort => CloseReason::LocalAbort,
            Self::PeerAbort { cause, text } => CloseReason::PeerAbort { cause, text },
            Self::HandshakeTimedOut => CloseReason::HandshakeTimedOut,
            Self::PeerUnreachable => CloseReason::PeerUnreachable,
            Self::ShutdownTimedOut => CloseReason::ShutdownTimedOut,
            Self::ResetRefused(result) => CloseReason::ResetRefused(result),
            Self::PeerViolation(violation) => CloseReason::PeerViolation(violation),
            Self::Transport(error) => CloseReason::Transport(map(error)),
        }
    }
}

impl<L: LowerLayerEnd> CloseReason<L> {
    /// Returns `true` if an end ended the association on purpose and has said no reason to complain: a graceful
    /// shutdown, the close of the transport, and the ABORT of a page that calls `RTCPeerConnection.close()`, which says
    /// "User-Initiated Abort" (RFC 9260 §3.3.10.12) with the text "Close called" or with none. What was not delivered
    /// by then may be lost.
    #[must_use]
    pub fn is_orderly(&self) -> bool {
        match self {
            Self::Shutdown => true,
            Self::Transport(error) => error.is_orderly(),
            Self::PeerAbort { cause: Some(12), text } => text.is_empty() || text == "Close called",
            _ => false,
        }
    }
}

/// Returns the reason that an ABORT gives, with its text if there is one: the rest of a sentence.
fn abort_reason(cause: Option<u16>, text: &str) -> String {
    match cause {
        _ if !text.is_empty() => format!(": {text}"),
        // "User-Initiated Abort", and nothing more.
        None | Some(12) => String::new(),
        // "Out of Resource" (RFC 9260 section 3.3.10.4).
        Some(4) => ": it is full, in total or for this address; try again later".to_owned(),
        Some(cause) => format!(" with error cause {cause} (RFC 9260 section 3.3.10)"),
    }
}

/// A rule that the peer broke. Each ends the association with an ABORT that carries the RFC's cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// A DATA chunk without user data (RFC 9260 §6.2), and its TSN.
    NoUserData(Tsn),
    /// A SACK or SHUTDOWN that acknowledges what was never sent (RFC 9260 §12.4).
    AckOfUnsentTsn,
    /// Fragments that do not fit together (RFC 9260 §6.9).
    BadFragment,
    /// A message above `receive_message_size_max` (RFC 8831 §6.6).
    MessageTooLarge,
    /// More in unfinished messages than can be held, while messages interleave (RFC 8260). Only their ends could make
    /// room.
    PartialMessagesTooLarge,
    /// I-DATA or I-FORWARD-TSN without having negotiated it, or the reverse (RFC 8260 §2.2.3, §2.3.1).
    NotNegotiated,
    /// An INIT ACK or INIT with values that no association can have (RFC 9260 §3.3.3).
    BadHandshake,
    /// An INIT ACK without a State Cookie (RFC 9260 §3.3.3).
    MissingCookie,
    /// An INIT ACK or INIT that names the peer by a host name (RFC 9260 §3.3.2.4).
    HostNameAddress,
    /// A chunk that does not parse where the RFC asks for an ABORT.
    Malformed,
}

impl Violation {
    /// Returns the rule in words.
    const fn text(self) -> &'static str {
        match self {
            Self::NoUserData(_) => "DATA without user data",
            Self::AckOfUnsentTsn => "acknowledgement of a TSN that was never sent",
            Self::BadFragment => "fragments that contradict each other",
            Self::MessageTooLarge => "a message above the size limit",
            Self::PartialMessagesTooLarge => "unfinished messages above the size limit together",
            Self::NotNegotiated => "a chunk that was not negotiated",
            Self::BadHandshake => "mandatory handshake value out of range",
            Self::MissingCookie => "INIT ACK without a State Cookie",
            Self::HostNameAddress => "a host name instead of an address",
            Self::Malformed => "a malformed chunk",
        }
    }

    /// Returns the error cause of the ABORT (RFC 9260 §3.3.10). Its text is short, and nothing of it is the peer's own.
    pub(crate) const fn cause(self) -> Cause<'static> {
        match self {
            Self::NoUserData(tsn) => Cause::NoUserData(tsn),
            Self::PartialMessagesTooLarge => Cause::OutOfResource,
            Self::BadHandshake => Cause::InvalidMandatoryParameter,
            Self::MissingCookie => Cause::MissingParameter(ParameterType::STATE_COOKIE.0),
            Self::HostNameAddress => Cause::UnresolvableAddress(&[]),
            Self::AckOfUnsentTsn
            | Self::BadFragment
            | Self::MessageTooLarge
            | Self::NotNegotiated
            | Self::Malformed => Cause::ProtocolViolation(self.text().as_bytes()),
        }
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Violation {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_violation_has_the_cause_of_the_rfc_and_says_no_word_of_the_peer() {
        for (violation, code) in [
            (Violation::NoUserData(Tsn(7)), 9),
            (Violation::AckOfUnsentTsn, 13),
            (Violation::BadFragment, 13),
            (Violation::MessageTooLarge, 13),
            (Violation::PartialMessagesTooLarge, 4),
            (Violation::NotNegotiated, 13),
            (Violation::BadHandshake, 7),
            (Violation::MissingCookie, 2),
            (Violation::HostNameAddress, 5),
            (Violation::Malformed, 13),
        ] {
            assert_eq!(violation.cause().code(), code, "{violation}");
            if let Cause::ProtocolViolation(text) = violation.cause() {
                assert_eq!(text, violation.to_string().as_bytes());
            }
        }
        assert_eq!(Violation::MissingCookie.cause(), Cause::MissingParameter(7));
    }
}
