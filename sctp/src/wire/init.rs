//! INIT and INIT ACK (RFC 9260 §3.3.2, §3.3.3).

use super::chunk::{ChunkType, begin_chunk, end_chunk, pad};
use super::param::{ParameterType, Parameters, push_parameter};
use super::{DecodeError, Extensions, Reader};
use crate::serial::Tsn;

/// Padding of an INIT ACK whose sender has begun the association, too.
const COLLISION: &[u8] = b"both ends have begun";

/// The contents of an INIT or INIT ACK. Both have the same shape; they differ in which parameters make sense.
///
/// ```text
///  byte 0      1      2             4
///       +------+------+-------------+
///       | 1, 2 |      | length      |
///       +------+------+-------------+
///     4 | Initiate Tag              |
///       +---------------------------+
///     8 | a_rwnd                    |
///       +-------------+-------------+
///    12 | outbound    | inbound     |  streams
///       +-------------+-------------+
///    16 | initial TSN               |
///       +---------------------------+
///    20 | parameters ...            |
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Init<'a> {
    /// The Verification Tag that the sender wants to see in every packet of this association.
    pub initiate_tag: u32,
    /// The sender's receive window, in bytes.
    pub a_rwnd: u32,
    /// Streams that the sender would like to send on.
    pub outbound_streams: u16,
    /// Streams that the sender lets its peer send on.
    pub inbound_streams: u16,
    /// The TSN of the sender's first DATA chunk.
    pub initial_tsn: Tsn,
    /// Extensions that the sender supports beyond RFC 9260.
    pub extensions: Extensions,
    /// The State Cookie, in an INIT ACK.
    pub cookie: Option<&'a [u8]>,
    /// Milliseconds that the sender of an INIT asks to add to the lifetime of the cookie.
    pub cookie_preservative: Option<u32>,
    /// True if there is a Host Name Address, which must be answered with an ABORT.
    pub has_host_name: bool,
    /// The error detection method that lets the sender accept packets with a checksum of zero (RFC 9653 §4).
    pub zero_checksum: Option<u32>,
    /// True if the sender of an INIT ACK has begun the association itself (RFC 9260 §5.2.1). Its INIT may have been
    /// lost, so that the peer would not know. It travels as padding (RFC 4820 §4), which other implementations skip.
    pub is_collision: bool,
    /// Optional parameters that count as absent, because their value has the wrong length.
    pub malformed_parameters: u32,
    /// Parameters of unknown types, up to one that ends the processing of the chunk.
    pub unknown_parameters: u32,
    parameters: &'a [u8],
}

impl<'a> Init<'a> {
    /// Bytes before the parameters, counted from the start of the chunk.
    pub const HEADER_LEN: usize = 20;

    /// Creates an INIT with the mandatory fields. The others are public: set what is wanted, then
    /// [`encode`](Self::encode).
    #[must_use]
    pub const fn new(
        initiate_tag: u32,
        a_rwnd: u32,
        outbound_streams: u16,
        inbound_streams: u16,
        initial_tsn: Tsn,
    ) -> Self {
        Self {
            initiate_tag,
            a_rwnd,
            outbound_streams,
            inbound_streams,
            initial_tsn,
            extensions: Extensions::NONE,
            cookie: None,
            cookie_preservative: None,
            has_host_name: false,
            zero_checksum: None,
            is_collision: false,
            malformed_parameters: 0,
            unknown_parameters: 0,
            parameters: &[],
        }
    }

    /// Reads the chunk's value. Of a parameter that is there twice, the first counts. Parameters behind an unknown one
    /// that says so are not looked at (RFC 9260 §3.2.1). An optional parameter whose value has the wrong length counts
    /// as absent: the association does without.
    ///
    /// # Errors
    ///
    /// [`DecodeError::TooShort`] if a mandatory field is missing, [`DecodeError::BadLength`] if a parameter's length
    /// cannot be.
    pub fn decode(value: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(value);
        let mut init = Self::new(reader.u32()?, reader.u32()?, reader.u16()?, reader.u16()?, Tsn(reader.u32()?));
        init.parameters = reader.rest();
        for parameter in Parameters::new(init.parameters) {
            let parameter = parameter?;
            match parameter.kind {
                ParameterType::STATE_COOKIE => init.cookie = init.cookie.or(Some(parameter.value)),
                ParameterType::COOKIE_PRESERVATIVE => {
                    let value = init.number(parameter.value);
                    init.cookie_preservative = init.cookie_preservative.or(value);
                }
                ParameterType::ZERO_CHECKSUM => {
                    let value = init.number(parameter.value);
                    init.zero_checksum = init.zero_checksum.or(value);
                }
                ParameterType::PADDING => init.is_collision |= parameter.value == COLLISION,
                ParameterType::HOST_NAME => init.has_host_name = true,
                ParameterType::SUPPORTED_EXTENSIONS => {
                    init.extensions = init.extensions.union(Extensions::from_chunk_types(parameter.value));
                }
                ParameterType::FORWARD_TSN => init.extensions = init.extensions.union(Extensions::FORWARD_TSN),
                kind if is_known(kind) => {}
                kind => {
                    init.unknown_parameters = init.unknown_parameters.saturating_add(1);
                    if kind.unrecognized_action().stops() {
                        break;
                    }
                }
            }
        }
        Ok(init)
    }

    /// Reads a parameter that is a number, or counts it.
    fn number(&mut self, value: &[u8]) -> Option<u32> {
        let number = value.try_into().ok().map(u32::from_be_bytes);
        self.malformed_parameters = self.malformed_parameters.saturating_add(u32::from(number.is_none()));
        number
    }

    /// Appends the chunk as an INIT or INIT ACK. `unrecognized` is empty or what
    /// [`encode_unrecognized`](super::encode_unrecognized) wrote. A Host Name Address is never written.
    pub fn encode(&self, kind: ChunkType, unrecognized: &[u8], out: &mut Vec<u8>) {
        let at = begin_chunk(out, kind, 0);
        out.extend_from_slice(&self.initiate_tag.to_be_bytes());
        out.extend_from_slice(&self.a_rwnd.to_be_bytes());
        out.extend_from_slice(&self.outbound_streams.to_be_bytes());
        out.extend_from_slice(&self.inbound_streams.to_be_bytes());
        out.extend_from_slice(&self.initial_tsn.0.to_be_bytes());
        if let Some(cookie) = self.cookie {
            push_parameter(out, at, ParameterType::STATE_COOKIE, |out| out.extend_from_slice(cookie));
        }
        if let Some(milliseconds) = self.cookie_preservative {
            push_parameter(out, at, ParameterType::COOKIE_PRESERVATIVE, |out| out.extend(milliseconds.to_be_bytes()));
        }
        if let Some(method) = self.zero_checksum {
            push_parameter(out, at, ParameterType::ZERO_CHECKSUM, |out| out.extend(method.to_be_bytes()));
        }
        if self.extensions.contains(Extensions::FORWARD_TSN) {
            push_parameter(out, at, ParameterType::FORWARD_TSN, |_| {});
        }
        if !self.extensions.is_empty() {
            let types = self.extensions.chunk_types();
            push_parameter(out, at, ParameterType::SUPPORTED_EXTENSIONS, |out| out.extend(types));
        }
        if self.is_collision {
            push_parameter(out, at, ParameterType::PADDING, |out| out.extend_from_slice(COLLISION));
        }
        if !unrecognized.is_empty() {
            pad(out, at);
            out.extend_from_slice(unrecognized);
        }
        end_chunk(out, at);
    }

    /// Returns the parameters, each with its header and without padding, that this implementation does not know and
    /// whose type asks for a report (RFC 9260 §3.2.2), up to one that ends the processing of the chunk.
    pub fn unrecognized(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut parameters = Parameters::new(self.parameters);
        std::iter::from_fn(move || {
            loop {
                let parameter = parameters.next()?.ok()?;
                let action = parameter.kind.unrecognized_action();
                if is_known(parameter.kind) {
                    continue;
                }
                if action.stops() {
                    parameters = Parameters::new(&[]);
                }
                if action.reports() {
                    return Some(parameter.whole);
                }
            }
        })
    }
}

/// Returns `true` if an INIT or INIT ACK may carry this parameter type and the type is known. Some known types are
/// ignored: addresses, because an association has one path, which is that of the datagram (RFC 5062 §2).
const fn is_known(kind: ParameterType) -> bool {
    matches!(
        kind,
        ParameterType::IPV4_ADDRESS
            | ParameterType::IPV6_ADDRESS
            | ParameterType::STATE_COOKIE
            | ParameterType::UNRECOGNIZED
            | ParameterType::COOKIE_PRESERVATIVE
            | ParameterType::HOST_NAME
            | ParameterType::SUPPORTED_ADDRESS_TYPES
            | ParameterType::ECN_CAPABLE
            | ParameterType::ZERO_CHECKSUM
            | ParameterType::PADDING
            | ParameterType::SUPPORTED_EXTENSIONS
            | ParameterType::FORWARD_TSN
    )
}

#[cfg(test)]
mod tests {
    use super::super::encode_unrecognized;
    use super::super::testing::{Random, bytes_of, datagram_of};
    use super::*;

    /// Returns all that can be compared: the bytes of the parameters differ where unknown ones are left out.
    fn without_bytes(init: Init<'_>) -> Init<'_> {
        Init { parameters: &[], malformed_parameters: 0, unknown_parameters: 0, ..init }
    }

    /// Returns the fixed fields, then these parameters.
    fn value(parameters: &[u8]) -> Vec<u8> {
        let mut value = vec![0, 0, 0, 1, 0, 0, 16, 0, 0, 1, 0, 1, 0, 0, 0, 9];
        value.extend_from_slice(parameters);
        value
    }

    #[test]
    fn the_init_of_a_browser_reads_as_what_it_says() {
        let value = [
            0x0f, 0xb2, 0xa0, 0x2e, 0x00, 0x50, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x17, 0x30, 0x0b, 0xbf, 0xc0, 0x00,
            0x00, 0x04, 0x80, 0x08, 0x00, 0x06, 0x82, 0xc0,
        ];
        let init = Init::decode(&value).unwrap();
        let mut expected = Init::new(0x0FB2_A02E, 5_242_880, 65_535, 65_535, Tsn(389_024_703));
        expected.extensions = Extensions::RE_CONFIG.union(Extensions::FORWARD_TSN);
        assert_eq!(without_bytes(init), expected);
        let bytes = bytes_of(|out| init.encode(ChunkType::INIT, &[], out));
        assert_eq!(bytes, [&[1, 0, 0, 30], &value[..], &[0, 0]].concat(), "ours has the same bytes");
        assert_eq!(init.unrecognized().count(), 0);
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut random = Random(3);
        for _ in 0..2000 {
            let cookie = random.bytes(70);
            let mut init = Init::new(random.u32(), random.u32(), random.u16(), random.u16(), Tsn(random.u32()));
            init.extensions = Extensions::from_bits(random.u8());
            init.cookie = random.bool().then_some(&cookie);
            init.cookie_preservative = random.bool().then(|| random.u32());
            init.zero_checksum = random.bool().then(|| random.u32());
            init.is_collision = random.bool();
            let kind = if random.bool() { ChunkType::INIT } else { ChunkType::INIT_ACK };
            let mut reports = Vec::new();
            for _ in 0..random.index(3) {
                encode_unrecognized(&random.bytes(20), &mut reports);
            }
            let (datagram, raw) = datagram_of(|out| init.encode(kind, &reports, out));
            assert_eq!((raw.kind, raw.flags), (kind, 0));
            let read = Init::decode(raw.value_in(&datagram)).unwrap();
            assert_eq!(without_bytes(read), init);
            assert_eq!(read.unrecognized().count(), 0, "a report is not itself unknown");
        }
    }

    #[test]
    fn the_mandatory_fields_are_mandatory() {
        for len in 0..16 {
            assert_eq!(Init::decode(&value(&[])[..len]), Err(DecodeError::TooShort));
        }
        assert!(Init::decode(&value(&[])).is_ok());
    }

    #[test]
    fn partial_reliability_is_found_in_either_place() {
        for parameters in [&[0xC0, 0, 0, 4][..], &[0x80, 8, 0, 5, 192]] {
            assert_eq!(Init::decode(&value(parameters)).unwrap().extensions, Extensions::FORWARD_TSN);
        }
    }

    #[test]
    fn a_host_name_is_noticed_and_addresses_are_ignored() {
        let init = value(&[0, 5, 0, 8, 10, 0, 0, 1, 0, 11, 0, 6, b'a', 0, 0, 0, 0, 12, 0, 6, 0, 5]);
        let init = Init::decode(&init).unwrap();
        assert!(init.has_host_name);
        assert_eq!(init.unrecognized().count(), 0);
    }

    #[test]
    fn of_a_repeated_parameter_the_first_counts() {
        let init = value(&[0, 7, 0, 5, 1, 0, 0, 0, 0, 7, 0, 5, 2]);
        assert_eq!(Init::decode(&init).unwrap().cookie, Some(&[1][..]));
    }

    #[test]
    fn an_optional_number_of_the_wrong_size_counts_as_absent() {
        for kind in [ParameterType::COOKIE_PRESERVATIVE, ParameterType::ZERO_CHECKSUM] {
            let [k0, k1] = kind.0.to_be_bytes();
            for len in [4, 7, 9] {
                let mut parameters = vec![k0, k1, 0, len];
                parameters.resize(12, 0);
                parameters.extend([0xC0, 0, 0, 4]);
                // The padding of a length that is not a multiple of four, then the next parameter.
                parameters.drain(usize::from(len).next_multiple_of(4)..12);
                let value = value(&parameters);
                let init = Init::decode(&value).unwrap();
                assert_eq!((init.cookie_preservative, init.zero_checksum), (None, None), "{kind:?} of {len} bytes");
                assert_eq!(init.extensions, Extensions::FORWARD_TSN, "what follows {kind:?} is read");
                assert_eq!(init.malformed_parameters, 1, "{kind:?} of {len} bytes is counted");
            }
        }
    }

    #[test]
    fn unknown_parameters_are_skipped_or_stop_and_are_reported_as_their_type_says() {
        let skip_silent = [0xA0, 1, 0, 4];
        let skip_report = [0xE0, 2, 0, 5, 7, 0, 0, 0];
        let stop_silent = [0x20, 3, 0, 4];
        let stop_report = [0x60, 4, 0, 4];
        let forward_tsn = [0xC0, 0, 0, 4];
        let read = |parts: &[&[u8]]| {
            let value = value(&parts.concat());
            let init = Init::decode(&value).unwrap();
            let stops = parts.iter().position(|part| part[0] < 0x80).map_or(parts.len(), |at| at + 1);
            let unknown = parts[..stops].iter().filter(|part| part[0] != 0xC0).count();
            assert_eq!(init.unknown_parameters as usize, unknown, "all up to the end are counted");
            (!init.extensions.is_empty(), init.unrecognized().map(<[u8]>::to_vec).collect::<Vec<_>>())
        };
        assert_eq!(read(&[&skip_silent, &forward_tsn]), (true, vec![]));
        assert_eq!(read(&[&skip_report, &forward_tsn]), (true, vec![skip_report[..5].to_vec()]));
        assert_eq!(read(&[&stop_silent, &forward_tsn, &skip_report]), (false, vec![]));
        assert_eq!(read(&[&stop_report, &forward_tsn, &skip_report]), (false, vec![stop_report.to_vec()]));
        let all = read(&[&skip_report, &skip_silent, &skip_report, &stop_report, &skip_report]);
        assert_eq!(all.1, [&skip_report[..5], &skip_report[..5], &stop_report]);
    }
}
