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
    /// Out of Resource: memory, streams or time.
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
        /// Information of the cause.
        info: &'a [u8],
    },
}

impl<'a> Cause<'a> {
    /// Returns the number of the cause.
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
            1 => Self::InvalidStream(StreamId(reader.u16()?)),
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

    /// Returns the text of the peer, if the cause has room for one. The text is cut at [`CAUSE_TEXT_MAX`] bytes, with
    /// `?` for bytes that are not UTF-8 and characters that are not printable: control characters, line separators and
    /// bidirectional controls.
    #[must_use]
    pub fn text(&self) -> String {
        let (Self::UserInitiatedAbort(info) | Self::ProtocolViolation(info) | Self::Unknown { info, .. }) = *self
        else {
            return String::new();
        };
        let info = info.get(..CAUSE_TEXT_MAX).unwrap_or(info);
        let mut text = String::with_capacity(info.len());
        for piece in info.utf8_chunks() {
            text.extend(piece.valid().chars().map(|c| if is_printable(c) { c } else { '?' }));
            if !piece.invalid().is_empty() {
                text.push('?');
            }
        }
        text
    }

    /// Returns the same cause with at most `max` bytes of information of variable length, to keep an answer within a
    /// packet (RFC 9260 §12.4).
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

    /// Returns the number of bytes of an ABORT or ERROR with this cause alone, padding included.
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
        padded(info.saturating_add(CHUNK_HEADER_LEN + PARAMETER_HEADER_LEN))
    }

    fn push(&self, chunk_at: usize, out: &mut Vec<u8>) {
        push_parameter(out, chunk_at, ParameterType(self.code()), |out| match *self {
            Self::InvalidStream(stream) => {
                out.extend_from_slice(&stream.0.to_be_bytes());
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
    /// Returns an iterator over the causes in the value of an ABORT or ERROR.
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

/// True if a terminal or a log shows `c` and does nothing else with it (RFC 5424 §8.1, §8.2).
fn is_printable(c: char) -> bool {
    !(c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}'))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Random, bytes_of, datagram_of};
    use super::*;

    fn random_cause<'a>(random: &mut Random, info: &'a [u8]) -> Cause<'a> {
        match random.index(14) {
            0 => Cause::InvalidStream(StreamId(random.u16())),
            1 => Cause::MissingParameter(random.u16()),
            2 => Cause::StaleCookie(random.u32()),
            3 => Cause::OutOfResource,
            4 => Cause::UnresolvableAddress(info),
            5 => Cause::UnrecognizedChunk(info),
            6 => Cause::InvalidMandatoryParameter,
            7 => Cause::UnrecognizedParameters(info),
            8 => Cause::NoUserData(Tsn(random.u32())),
            9 => Cause::CookieWhileShuttingDown,
            10 => Cause::RestartWithNewAddresses(info),
            11 => Cause::UserInitiatedAbort(info),
            12 => Cause::ProtocolViolation(info),
            _ => Cause::Unknown { code: random.u16() | 0x4000, info },
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut random = Random(11);
        for _ in 0..3000 {
            let infos = [random.bytes(30), random.bytes(30), random.bytes(30)];
            let count = random.index(4);
            let causes: Vec<_> = infos[..count].iter().map(|info| random_cause(&mut random, info)).collect();
            let reflected = random.bool();
            let (datagram, raw) = datagram_of(|out| encode_abort(&causes, reflected, out));
            assert_eq!((raw.kind, raw.flags), (ChunkType::ABORT, u8::from(reflected)));
            let read: Result<Vec<_>, _> = Causes::new(raw.value_in(&datagram)).collect();
            assert_eq!(read.as_ref(), Ok(&causes));
            if let [cause] = causes[..] {
                assert_eq!(datagram.len() - raw.start, cause.encoded_len());
            }
            let (datagram, raw) = datagram_of(|out| encode_error(&causes, out));
            assert_eq!((raw.kind, raw.flags), (ChunkType::ERROR, 0));
            assert!(Causes::new(raw.value_in(&datagram)).eq(causes.iter().copied().map(Ok)));
        }
    }

    #[test]
    fn every_cause_has_its_code_and_layout() {
        for (cause, bytes) in [
            (Cause::InvalidStream(StreamId(0x0102)), &[0, 1, 0, 8, 1, 2, 0, 0][..]),
            (Cause::MissingParameter(7), &[0, 2, 0, 10, 0, 0, 0, 1, 0, 7, 0, 0]),
            (Cause::StaleCookie(0x0102_0304), &[0, 3, 0, 8, 1, 2, 3, 4]),
            (Cause::OutOfResource, &[0, 4, 0, 4]),
            (Cause::UnresolvableAddress(&[0, 11, 0, 4]), &[0, 5, 0, 8, 0, 11, 0, 4]),
            (Cause::UnrecognizedChunk(&[99, 0, 0, 4]), &[0, 6, 0, 8, 99, 0, 0, 4]),
            (Cause::InvalidMandatoryParameter, &[0, 7, 0, 4]),
            (Cause::UnrecognizedParameters(&[0xC1, 0, 0, 4]), &[0, 8, 0, 8, 0xC1, 0, 0, 4]),
            (Cause::NoUserData(Tsn(5)), &[0, 9, 0, 8, 0, 0, 0, 5]),
            (Cause::CookieWhileShuttingDown, &[0, 10, 0, 4]),
            (Cause::RestartWithNewAddresses(&[]), &[0, 11, 0, 4]),
            (Cause::UserInitiatedAbort(b"bye"), &[0, 12, 0, 7, b'b', b'y', b'e', 0]),
            (Cause::ProtocolViolation(b"?"), &[0, 13, 0, 5, b'?', 0, 0, 0]),
            (Cause::Unknown { code: 0xABCD, info: &[1] }, &[0xAB, 0xCD, 0, 5, 1, 0, 0, 0]),
        ] {
            assert_eq!(bytes_of(|out| encode_error(&[cause], out))[4..], *bytes, "{cause:?}");
            assert_eq!(u16::from_be_bytes([bytes[0], bytes[1]]), cause.code());
        }
    }

    #[test]
    fn a_malformed_cause_is_one_error_and_the_end() {
        for bad in [
            &[0, 4, 0, 3][..],
            &[0, 4, 0, 5],
            &[0, 4, 0],
            &[0, 1, 0, 5, 1, 0, 0, 0],
            &[0, 3, 0, 7, 1, 0, 0, 0],
            &[0, 9, 0, 4],
            &[0, 2, 0, 8, 0, 0, 0, 1],
            &[0, 2, 0, 10, 255, 255, 255, 255, 0, 7, 0, 0],
        ] {
            let value = [&[0, 10, 0, 4], bad].concat();
            let read: Vec<_> = Causes::new(&value).collect();
            assert_eq!(read.len(), 2, "{bad:?}");
            assert_eq!(read[0], Ok(Cause::CookieWhileShuttingDown));
            assert!(read[1].is_err(), "{bad:?}");
        }
    }

    #[test]
    fn more_than_the_fields_does_not_hide_an_abort() {
        let read: Vec<_> = Causes::new(&[0, 4, 0, 7, b'o', b'o', b'm', 0, 0, 7, 0, 5, 1]).collect();
        assert_eq!(read, [Ok(Cause::OutOfResource), Ok(Cause::InvalidMandatoryParameter)]);
    }

    #[test]
    fn text_is_bounded_and_printable() {
        assert_eq!(Cause::UserInitiatedAbort("tschüß".as_bytes()).text(), "tschüß");
        assert_eq!(Cause::ProtocolViolation(b"a\n\x1b[31m\xFFb").text(), "a??[31m?b");
        assert_eq!(Cause::UserInitiatedAbort("a\u{202e}b\u{2066}c\u{2028}".as_bytes()).text(), "a?b?c?");
        assert_eq!(Cause::OutOfResource.text(), "");
        assert_eq!(Cause::UserInitiatedAbort(&[b'x'; 60_000]).text().len(), CAUSE_TEXT_MAX);
        // Cut in the middle of a character.
        let text = Cause::UserInitiatedAbort("ü".repeat(1000).as_bytes()).clip(3).text();
        assert_eq!(text, "ü?");
    }

    #[test]
    fn clipping_keeps_a_cause_within_a_packet() {
        let mut random = Random(12);
        let info = vec![1; 60_000];
        for _ in 0..200 {
            let cause = random_cause(&mut random, &info).clip(100);
            assert!(cause.encoded_len() <= 8 + 100, "{cause:?}");
        }
    }
}
