//! Errors in a description, each with its line.

use crate::webrtc::FingerprintError;

/// Reason why an offer or answer is not accepted: the line, the problem in it, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the SDP: {problem}")]
pub struct SdpError {
    line: usize,
    #[source]
    problem: SdpProblem,
}

impl SdpError {
    pub(crate) fn new(line: usize, problem: SdpProblem) -> Self {
        Self { line, problem }
    }

    /// Returns the number of the line, from 1. For something that is missing, the line that it belongs to.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// Returns the problem in the line.
    #[must_use]
    pub fn problem(&self) -> &SdpProblem {
        &self.problem
    }
}

/// Problem in an offer or answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SdpProblem {
    /// More than 65,536 bytes.
    #[error("the description is longer than 65,536 bytes: send the offer of one connection, and nothing else")]
    TooLong,
    /// Not `type=value` (RFC 8866 §5).
    #[error(
        "not a line of SDP, which is a letter, \"=\" and a value: send the description's sdp field as it is, not JSON"
    )]
    NotALine,
    /// The first line says another version (RFC 8866 §5.1).
    #[error("a description begins with \"v=0\"")]
    Version,
    /// The first line is not the version (RFC 8866 §5.1).
    #[error("a description begins with the line \"v=0\": send it whole")]
    MissingVersion,
    /// A type of line that does not exist (RFC 8866 §5). Ignored, and counted.
    #[error("there is no \"{0}=\" line in SDP")]
    UnknownLine(char),
    /// An `m=` line that cannot be read (RFC 8866 §5.14).
    #[error("not an m= line, which is a medium, a port, a protocol and formats")]
    Media,
    /// No section for data channels.
    #[error(
        "no section \"m=application … UDP/DTLS/SCTP webrtc-datachannel\": create a data channel before the offer is \
         made"
    )]
    NoDataChannels,
    /// The section's protocol is of SCTP, but not of data channels over DTLS, in today's form or in that of old drafts.
    #[error("data channels as {0:?} are not supported: offer UDP/DTLS/SCTP webrtc-datachannel (RFC 8841 §4)")]
    Protocol(String),
    /// The section for data channels has port 0 (RFC 3264 §6).
    #[error("the peer has rejected data channels: their port is 0")]
    Rejected,
    /// The answer has other sections than the offer (RFC 3264 §6).
    #[error("the answer is not one to our offer, which has one section, with the mid {0:?}")]
    NotOurs(&'static str),
    /// Something is missing that the section must have.
    #[error("the section for data channels has no a={0} line, and neither has the session")]
    Missing(&'static str),
    /// An attribute that may have one value.
    #[error("a second a={0} line with another value: there may be one")]
    Twice(&'static str),
    /// `a=ice-ufrag` (RFC 8839 §5.4).
    #[error("a=ice-ufrag has 4 to 256 characters, none of them a space")]
    IceUfrag,
    /// `a=ice-pwd` (RFC 8839 §5.4).
    #[error("a=ice-pwd has 22 to 256 characters, none of them a space")]
    IcePwd,
    /// Both ends are ICE-lite (RFC 8445 §2.5).
    #[error("the peer is ICE-lite, and so are we: one end must be a full ICE agent, like a browser")]
    BothLite,
    /// `a=fingerprint` that is none (RFC 8122 §5).
    #[error("a=fingerprint: {0}")]
    Fingerprint(#[from] FingerprintError),
    /// Fingerprints, but none that we can check (RFC 8122 §5).
    #[error("no fingerprint is of a known hash function, which are sha-256, sha-384 and sha-512: add one that is")]
    NoKnownFingerprint,
    /// `a=setup` is not one of the four words (RFC 4145 §4), or `holdconn`.
    #[error("a=setup is actpass, active or passive; {0:?} is not supported")]
    Setup(String),
    /// The answer does not choose (RFC 8842 §5.3).
    #[error("a=setup in an answer is active or passive: the answerer chooses")]
    SetupUndecided,
    /// `a=sctp-port` (RFC 8841 §5.1).
    #[error("a=sctp-port is a number from 1 to 65535")]
    SctpPort,
    /// `a=max-message-size` (RFC 8841 §6.1).
    #[error("a=max-message-size is a number of bytes, or 0 for any size")]
    MaxMessageSize,
    /// `a=sctp-init` (draft-hancke-tsvwg-snap §4). Ignored, and counted: an ordinary handshake follows.
    #[error("a=sctp-init is an INIT chunk in base64")]
    SctpInit,
    /// `a=mid` (RFC 5888 §4).
    #[error("a=mid is a word without spaces")]
    Mid,
}
