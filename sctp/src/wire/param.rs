//! Parameters: type, length, value, inside chunks (RFC 9260 §3.2.1). Error causes have the same shape (§3.3.10).

use super::DecodeError;
use super::chunk::{CHUNK_LEN_MAX, UnrecognizedAction, pad, padded, patch_length};

/// Bytes before a parameter's value.
pub(super) const PARAMETER_HEADER_LEN: usize = 4;

/// The type of a parameter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ParameterType(pub u16);

impl ParameterType {
    /// Information in a HEARTBEAT (RFC 9260 §3.3.5).
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

    /// Returns the action of a receiver that does not know this type.
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
    /// Returns an iterator over the parameters in `bytes`.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Type, value and whole length of a parameter.
    type Found = (u16, Vec<u8>, usize);

    fn parameters(bytes: &[u8]) -> Vec<Result<Found, DecodeError>> {
        let parameters = Parameters::new(bytes).take(1000);
        parameters.map(|p| p.map(|p| (p.kind.0, p.value.to_vec(), p.whole.len()))).collect()
    }

    #[test]
    fn parameters_follow_one_another_at_multiples_of_four() {
        let found = parameters(&[0, 7, 0, 5, 9, 1, 2, 3, 0xC0, 0, 0, 4, 0x80, 8, 0, 6, 130, 192]);
        assert_eq!(found, [Ok((7, vec![9], 5)), Ok((0xC000, vec![], 4)), Ok((0x8008, vec![130, 192], 6))]);
    }

    #[test]
    fn a_bad_length_is_one_error_and_the_end() {
        for len in [0, 1, 2, 3, 5, 0xFFFF_u16] {
            let [high, low] = len.to_be_bytes();
            let found = parameters(&[0, 7, 0, 4, 0, 9, high, low]);
            assert_eq!(found, [Ok((7, vec![], 4)), Err(DecodeError::BadLength)], "length {len}");
        }
    }

    #[test]
    fn part_of_a_header_is_an_error() {
        for left_over in 1..4 {
            let mut bytes = vec![0, 7, 0, 4];
            bytes.extend(vec![0; left_over]);
            assert_eq!(parameters(&bytes), [Ok((7, vec![], 4)), Err(DecodeError::BadLength)]);
        }
    }

    #[test]
    fn the_last_padding_may_be_missing() {
        for padding in 0..4 {
            let mut bytes = vec![0, 7, 0, 5, 1];
            bytes.extend(vec![0xFF; padding]);
            assert_eq!(parameters(&bytes), [Ok((7, vec![1], 5))]);
        }
    }

    #[test]
    fn writing_pads_between_parameters_but_not_behind_the_last() {
        let mut out = vec![0xEE; 8];
        push_parameter(&mut out, 4, ParameterType(1), |out| out.push(5));
        push_parameter(&mut out, 4, ParameterType(2), |out| out.extend([6, 7]));
        assert_eq!(out[8..], [0, 1, 0, 5, 5, 0, 0, 0, 0, 2, 0, 6, 6, 7]);
    }

    #[test]
    fn what_does_not_fit_a_chunk_is_cut_to_whole_parameters() {
        let mut out = vec![0; 4];
        push_parameter(&mut out, 0, ParameterType(1), |out| out.extend(vec![1; 70_000]));
        push_parameter(&mut out, 0, ParameterType(2), |out| out.push(1));
        assert_eq!(out.len(), CHUNK_LEN_MAX);
        let found = parameters(&out[4..]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].as_ref().unwrap().2, CHUNK_LEN_MAX - 4);
    }

    #[test]
    fn reports_of_unknown_parameters_can_follow_one_another() {
        let mut out = Vec::new();
        encode_unrecognized(&[0xC1, 1, 0, 5, 9], &mut out);
        encode_unrecognized(&[0xC1, 2, 0, 4], &mut out);
        assert_eq!(out, [0, 8, 0, 9, 0xC1, 1, 0, 5, 9, 0, 0, 0, 0, 8, 0, 8, 0xC1, 2, 0, 4]);
    }

    #[test]
    fn the_high_bits_say_what_to_do_with_an_unknown_type() {
        use UnrecognizedAction::*;
        let actions = [0x3FFF, 0x7FFF, 0xBFFF, 0xFFFF].map(|kind| ParameterType(kind).unrecognized_action());
        assert_eq!(actions, [Stop, StopAndReport, Skip, SkipAndReport]);
    }
}
