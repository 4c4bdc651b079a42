//! INIT and INIT ACK (RFC 9260 §3.3.2, §3.3.3).

use super::chunk::{ChunkType, begin_chunk, end_chunk, pad};
use super::param::{ParameterType, Parameters, push_parameter};
use super::{DecodeError, Extensions, Reader};
use crate::serial::Tsn;

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
    /// What the sender understands beyond RFC 9260.
    pub extensions: Extensions,
    /// The State Cookie, in an INIT ACK.
    pub cookie: Option<&'a [u8]>,
    /// By how many milliseconds the sender of an INIT would like the cookie to live longer.
    pub cookie_preservative: Option<u32>,
    /// Whether there is a Host Name Address, which must be answered with an ABORT.
    pub has_host_name: bool,
    /// The error detection method for whose sake the sender takes packets with a checksum of zero (RFC 9653 §4).
    pub zero_checksum: Option<u32>,
    parameters: &'a [u8],
}

impl<'a> Init<'a> {
    /// Bytes before the parameters, counted from the start of the chunk.
    pub const HEADER_LEN: usize = 20;

    /// An INIT with the mandatory fields. The others are public: set what is wanted, then [`encode`](Self::encode).
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
            parameters: &[],
        }
    }

    /// Reads the chunk's value. Of a parameter that is there twice, the first counts. Parameters behind an unknown one
    /// that says so are not looked at (RFC 9260 §3.2.1).
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
                    let milliseconds = exactly_u32(parameter.value)?;
                    init.cookie_preservative = init.cookie_preservative.or(Some(milliseconds));
                }
                ParameterType::ZERO_CHECKSUM => {
                    let method = exactly_u32(parameter.value)?;
                    init.zero_checksum = init.zero_checksum.or(Some(method));
                }
                ParameterType::HOST_NAME => init.has_host_name = true,
                ParameterType::SUPPORTED_EXTENSIONS => {
                    init.extensions = init.extensions.union(Extensions::from_chunk_types(parameter.value));
                }
                ParameterType::FORWARD_TSN => init.extensions = init.extensions.union(Extensions::FORWARD_TSN),
                kind if !is_known(kind) && kind.unrecognized_action().stops() => break,
                _ => {}
            }
        }
        Ok(init)
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
        pad(out, at);
        out.extend_from_slice(unrecognized);
        end_chunk(out, at);
    }

    /// The parameters, each with its header and without padding, that this implementation does not know and whose type
    /// asks for a report (RFC 9260 §3.2.2), up to one that ends the processing of the chunk.
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

/// Whether a parameter type is one that an INIT or INIT ACK may carry and that is understood, if only to be ignored:
/// addresses, because an association has one path and takes it from the datagram (RFC 5062 §2).
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

fn exactly_u32(value: &[u8]) -> Result<u32, DecodeError> {
    value.try_into().map(u32::from_be_bytes).map_err(|_| DecodeError::BadLength)
}
