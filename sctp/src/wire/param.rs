//! Parameters: type, length, value, inside chunks (RFC 9260 §3.2.1). Error causes have the same shape (§3.3.10).

use super::DecodeError;
use super::chunk::{CHUNK_LEN_MAX, UnrecognizedAction, pad, padded, patch_length};

/// Bytes before a parameter's value.
pub(super) const PARAMETER_HEADER_LEN: usize = 4;

/// The type of a parameter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ParameterType(pub u16);

impl ParameterType {
    /// What a HEARTBEAT carries (RFC 9260 §3.3.5).
    pub const HEARTBEAT_INFO: Self = Self(1);
    /// An IPv4 address (RFC 9260 §3.3.2.1.1).
    pub const IPV4_ADDRESS: Self = Self(5);
    /// An IPv6 address (RFC 9260 §3.3.2.1.2).
    pub const IPV6_ADDRESS: Self = Self(6);
    /// The State Cookie of an INIT ACK (RFC 9260 §3.3.3.1.1).
    pub const STATE_COOKIE: Self = Self(7);
    /// A parameter of the INIT that the sender of the INIT ACK does not know (RFC 9260 §3.3.3.1.2).
    pub const UNRECOGNIZED: Self = Self(8);
    /// A wish for a longer cookie lifetime (RFC 9260 §3.3.2.1.3).
    pub const COOKIE_PRESERVATIVE: Self = Self(9);
    /// A host name, which nobody may send any more (RFC 9260 §3.3.2.1.4).
    pub const HOST_NAME: Self = Self(11);
    /// The kinds of address that the sender can use (RFC 9260 §3.3.2.1.5).
    pub const SUPPORTED_ADDRESS_TYPES: Self = Self(12);
    /// Outgoing SSN Reset Request (RFC 6525 §4.1).
    pub const OUTGOING_RESET: Self = Self(13);
    /// Incoming SSN Reset Request (RFC 6525 §4.2).
    pub const INCOMING_RESET: Self = Self(14);
    /// SSN/TSN Reset Request (RFC 6525 §4.3).
    pub const SSN_TSN_RESET: Self = Self(15);
    /// Re-configuration Response (RFC 6525 §4.4).
    pub const RECONFIG_RESPONSE: Self = Self(16);
    /// Add Outgoing Streams Request (RFC 6525 §4.5).
    pub const ADD_OUTGOING: Self = Self(17);
    /// Add Incoming Streams Request (RFC 6525 §4.6).
    pub const ADD_INCOMING: Self = Self(18);
    /// The sender can do ECN (RFC 9260 §3.3.2).
    pub const ECN_CAPABLE: Self = Self(0x8000);
    /// The sender takes packets with a checksum of zero (RFC 9653 §4).
    pub const ZERO_CHECKSUM: Self = Self(0x8001);
    /// Nothing but bytes (RFC 4820 §4).
    pub const PADDING: Self = Self(0x8005);
    /// Chunk types beyond RFC 9260 that the sender understands (RFC 5061 §4.2.7).
    pub const SUPPORTED_EXTENSIONS: Self = Self(0x8008);
    /// The sender understands FORWARD-TSN (RFC 3758 §3.1).
    pub const FORWARD_TSN: Self = Self(0xC000);

    /// What a receiver does that does not know this type.
    #[must_use]
    #[inline]
    pub const fn unrecognized_action(self) -> UnrecognizedAction {
        let [high, _] = self.0.to_be_bytes();
        UnrecognizedAction::from_high_bits(high)
    }
}

/// One parameter.
///
/// ```text
///  byte 0             2             4                      length
///       +-------------+-------------+----------- - - - - - --+- - - -+
///       | type        | length      | value                  | 0-3 B |
///       +-------------+-------------+----------- - - - - - --+- - - -+
/// ```
///
/// The length counts the four bytes of the header but no padding.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Parameter<'a> {
    /// Its type.
    pub kind: ParameterType,
    /// Its value, without header and padding.
    pub value: &'a [u8],
    /// The parameter with its header and without its padding.
    pub whole: &'a [u8],
}

/// The parameters, or error causes, that follow one another in a chunk: every walk over such a list is this one, so all
/// have the same bounds.
///
/// The padding of the last parameter may be missing. A parameter that is cut short, or whose length is below four or
/// beyond the chunk, yields one error and is the last.
#[derive(Clone, Debug)]
pub struct Parameters<'a> {
    rest: &'a [u8],
}

impl<'a> Parameters<'a> {
    /// The parameters in `bytes`.
    #[must_use]
    #[inline]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn parse(&self) -> Option<(Parameter<'a>, &'a [u8])> {
        let &[k0, k1, l0, l1] = self.rest.first_chunk()?;
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        let whole = self.rest.get(..len)?;
        // Fails if the length is below the header's own four bytes.
        let value = whole.get(PARAMETER_HEADER_LEN..)?;
        let kind = ParameterType(u16::from_be_bytes([k0, k1]));
        Some((Parameter { kind, value, whole }, self.rest.get(padded(len)..).unwrap_or_default()))
    }
}

impl<'a> Iterator for Parameters<'a> {
    type Item = Result<Parameter<'a>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let Some((parameter, rest)) = self.parse() else {
            self.rest = &[];
            return Some(Err(DecodeError::BadLength));
        };
        self.rest = rest;
        Some(Ok(parameter))
    }
}

impl std::iter::FusedIterator for Parameters<'_> {}

/// Appends an Unrecognized Parameter parameter (RFC 9260 §3.3.3.1.2) that reports `whole`, as
/// [`Init::unrecognized`](super::Init::unrecognized) yields it. `out` may hold other such parameters and nothing else;
/// it is what [`Init::encode`](super::Init::encode) takes.
pub fn encode_unrecognized(whole: &[u8], out: &mut Vec<u8>) {
    push_parameter(out, 0, ParameterType::UNRECOGNIZED, |out| out.extend_from_slice(whole));
}

/// Appends a parameter to the chunk that begins at `chunk_at`, after padding the one before it: the last padding is not
/// counted in the chunk's length (RFC 9260 §3.2). What exceeds [`CHUNK_LEN_MAX`] is cut.
#[inline]
pub(super) fn push_parameter(
    out: &mut Vec<u8>,
    chunk_at: usize,
    kind: ParameterType,
    write_value: impl FnOnce(&mut Vec<u8>),
) {
    pad(out, chunk_at);
    let at = out.len();
    let [k0, k1] = kind.0.to_be_bytes();
    out.extend_from_slice(&[k0, k1, 0, 0]);
    write_value(out);
    out.truncate(chunk_at.saturating_add(CHUNK_LEN_MAX));
    patch_length(out, at);
}
