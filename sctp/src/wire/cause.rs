//! Error causes, and the chunks that carry them: ABORT and ERROR (RFC 9260 §3.3.7, §3.3.10).

use super::chunk::{CHUNK_HEADER_LEN, ChunkType, begin_chunk, end_chunk, padded};
use super::param::{PARAMETER_HEADER_LEN, Parameter, ParameterType, Parameters, push_parameter};
use super::{DecodeError, Reader};
use crate::message::StreamId;
use crate::serial::Tsn;

/// The flag of ABORT and SHUTDOWN COMPLETE that says that the Verification Tag of the packet is the receiver's own
/// peer tag, reflected by a sender that knows no other (RFC 9260 §8.5.1).
pub const T_BIT: u8 = 0x01;

/// Bytes that [`Cause::text`] keeps of what a peer says.
pub const CAUSE_TEXT_MAX: usize = 256;

/// One error cause (RFC 9260 §3.3.10.1 to §3.3.10.13).
///
/// ```text
///  byte 0             2             4                      length
///       +-------------+-------------+----------- - - - - - --+- - - -+
///       | code        | length      | information            | 0-3 B |
///       +-------------+-------------+----------- - - - - - --+- - - -+
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cause<'a> {
    /// DATA on a stream that does not exist.
    InvalidStream(StreamId),
    /// A mandatory parameter of this type was missing. Only the first of a list is kept.
    MissingParameter(u16),
    /// The cookie was valid, but by that many microseconds too old.
    StaleCookie(u32),
    /// Not enough memory, streams or patience.
    OutOfResource,
    /// An address, as a whole parameter, that cannot be resolved.
    UnresolvableAddress(&'a [u8]),
    /// A chunk, with its header, of unknown type.
    UnrecognizedChunk(&'a [u8]),
    /// A mandatory parameter has a value that cannot be.
    InvalidMandatoryParameter,
    /// Whole parameters of unknown type.
    UnrecognizedParameters(&'a [u8]),
    /// The DATA chunk with this TSN carried no user data.
    NoUserData(Tsn),
    /// A COOKIE ECHO came while the association was shutting down.
    CookieWhileShuttingDown,
    /// A restart that would add these addresses, as whole parameters.
    RestartWithNewAddresses(&'a [u8]),
    /// The peer's application called abort, for the reason given.
    UserInitiatedAbort(&'a [u8]),
    /// A rule of the protocol was broken; the text may say which.
    ProtocolViolation(&'a [u8]),
    /// A code that RFC 9260 does not know.
    Unknown {
        /// The code.
        code: u16,
        /// What came with it.
        info: &'a [u8],
    },
}

impl<'a> Cause<'a> {
    /// The number of the cause.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match *self {
            Self::InvalidStream(_) => 1,
            Self::MissingParameter(_) => 2,
            Self::StaleCookie(_) => 3,
            Self::OutOfResource => 4,
            Self::UnresolvableAddress(_) => 5,
            Self::UnrecognizedChunk(_) => 6,
            Self::InvalidMandatoryParameter => 7,
            Self::UnrecognizedParameters(_) => 8,
            Self::NoUserData(_) => 9,
            Self::CookieWhileShuttingDown => 10,
            Self::RestartWithNewAddresses(_) => 11,
            Self::UserInitiatedAbort(_) => 12,
            Self::ProtocolViolation(_) => 13,
            Self::Unknown { code, .. } => code,
        }
    }

    /// Reads the information of a cause. More than its fields is tolerated, so that an ABORT is not missed for it.
    ///
    /// # Errors
    ///
    /// [`DecodeError::TooShort`] if a field is missing.
    pub fn decode(code: u16, info: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(info);
        Ok(match code {
            1 => Self::InvalidStream(reader.u16()?),
            2 => {
                let count = usize::try_from(reader.u32()?).map_err(|_| DecodeError::BadLength)?;
                if count.saturating_mul(2) > reader.rest().len() {
                    return Err(DecodeError::BadLength);
                }
                Self::MissingParameter(reader.u16()?)
            }
            3 => Self::StaleCookie(reader.u32()?),
            4 => Self::OutOfResource,
            5 => Self::UnresolvableAddress(info),
            6 => Self::UnrecognizedChunk(info),
            7 => Self::InvalidMandatoryParameter,
            8 => Self::UnrecognizedParameters(info),
            9 => Self::NoUserData(Tsn(reader.u32()?)),
            10 => Self::CookieWhileShuttingDown,
            11 => Self::RestartWithNewAddresses(info),
            12 => Self::UserInitiatedAbort(info),
            13 => Self::ProtocolViolation(info),
            code => Self::Unknown { code, info },
        })
    }

    /// What the peer says in words, if the cause has room for that: cut at [`CAUSE_TEXT_MAX`] bytes, with `?` for what
    /// is not UTF-8 or not printable.
    #[must_use]
    pub fn text(&self) -> String {
        let (Self::UserInitiatedAbort(info) | Self::ProtocolViolation(info) | Self::Unknown { info, .. }) = *self
        else {
            return String::new();
        };
        let info = info.get(..CAUSE_TEXT_MAX).unwrap_or(info);
        let mut text = String::with_capacity(info.len());
        for piece in info.utf8_chunks() {
            text.extend(piece.valid().chars().map(|c| if c.is_control() { '?' } else { c }));
            if !piece.invalid().is_empty() {
                text.push('?');
            }
        }
        text
    }

    /// The same cause with at most `max` bytes of information of variable length, to keep an answer within a packet
    /// (RFC 9260 §12.4).
    #[must_use]
    pub fn clip(self, max: usize) -> Self {
        let clip = |info: &'a [u8]| info.get(..max).unwrap_or(info);
        match self {
            Self::UnresolvableAddress(info) => Self::UnresolvableAddress(clip(info)),
            Self::UnrecognizedChunk(info) => Self::UnrecognizedChunk(clip(info)),
            Self::UnrecognizedParameters(info) => Self::UnrecognizedParameters(clip(info)),
            Self::RestartWithNewAddresses(info) => Self::RestartWithNewAddresses(clip(info)),
            Self::UserInitiatedAbort(info) => Self::UserInitiatedAbort(clip(info)),
            Self::ProtocolViolation(info) => Self::ProtocolViolation(clip(info)),
            Self::Unknown { code, info } => Self::Unknown { code, info: clip(info) },
            fixed => fixed,
        }
    }

    /// Bytes of an ABORT or ERROR with this cause alone, padding included.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        let info = match *self {
            Self::OutOfResource | Self::InvalidMandatoryParameter | Self::CookieWhileShuttingDown => 0,
            Self::InvalidStream(_) | Self::StaleCookie(_) | Self::NoUserData(_) => 4,
            Self::MissingParameter(_) => 6,
            Self::UnresolvableAddress(info)
            | Self::UnrecognizedChunk(info)
            | Self::UnrecognizedParameters(info)
            | Self::RestartWithNewAddresses(info)
            | Self::UserInitiatedAbort(info)
            | Self::ProtocolViolation(info)
            | Self::Unknown { info, .. } => info.len(),
        };
        padded(CHUNK_HEADER_LEN + PARAMETER_HEADER_LEN + info)
    }

    fn push(&self, chunk_at: usize, out: &mut Vec<u8>) {
        push_parameter(out, chunk_at, ParameterType(self.code()), |out| match *self {
            Self::InvalidStream(stream) => {
                out.extend_from_slice(&stream.to_be_bytes());
                out.extend_from_slice(&[0; 2]);
            }
            Self::MissingParameter(kind) => {
                out.extend_from_slice(&1u32.to_be_bytes());
                out.extend_from_slice(&kind.to_be_bytes());
            }
            Self::StaleCookie(microseconds) => out.extend_from_slice(&microseconds.to_be_bytes()),
            Self::NoUserData(tsn) => out.extend_from_slice(&tsn.0.to_be_bytes()),
            Self::OutOfResource | Self::InvalidMandatoryParameter | Self::CookieWhileShuttingDown => {}
            Self::UnresolvableAddress(info)
            | Self::UnrecognizedChunk(info)
            | Self::UnrecognizedParameters(info)
            | Self::RestartWithNewAddresses(info)
            | Self::UserInitiatedAbort(info)
            | Self::ProtocolViolation(info)
            | Self::Unknown { info, .. } => out.extend_from_slice(info),
        });
    }
}

/// The error causes in the value of an ABORT or ERROR.
///
/// One that is malformed yields one error and is the last; an ABORT that has one must be dropped (RFC 9260 §3.3.7).
#[derive(Clone, Debug)]
pub struct Causes<'a> {
    parameters: Parameters<'a>,
}

impl<'a> Causes<'a> {
    /// The causes in the value of an ABORT or ERROR.
    #[must_use]
    pub const fn new(value: &'a [u8]) -> Self {
        Self { parameters: Parameters::new(value) }
    }
}

impl<'a> Iterator for Causes<'a> {
    type Item = Result<Cause<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let decode = |Parameter { kind, value, .. }| Cause::decode(kind.0, value);
        let cause = self.parameters.next()?.and_then(decode);
        if cause.is_err() {
            self.parameters = Parameters::new(&[]);
        }
        Some(cause)
    }
}

impl std::iter::FusedIterator for Causes<'_> {}

/// Appends an ABORT with these causes. `reflected`: see [`T_BIT`].
pub fn encode_abort(causes: &[Cause<'_>], reflected: bool, out: &mut Vec<u8>) {
    encode(ChunkType::ABORT, if reflected { T_BIT } else { 0 }, causes, out);
}

/// Appends an ERROR with these causes.
pub fn encode_error(causes: &[Cause<'_>], out: &mut Vec<u8>) {
    encode(ChunkType::ERROR, 0, causes, out);
}

fn encode(kind: ChunkType, flags: u8, causes: &[Cause<'_>], out: &mut Vec<u8>) {
    let at = begin_chunk(out, kind, flags);
    for cause in causes {
        cause.push(at, out);
    }
    end_chunk(out, at);
}
