//! RE-CONFIG (RFC 6525 §3.1, §4).

use super::chunk::{ChunkType, begin_chunk, end_chunk};
use super::param::{Parameter, ParameterType, Parameters, push_parameter};
use super::{DecodeError, Reader, ResetResult, StreamList};
use crate::message::StreamId;
use crate::serial::{RequestSn, Tsn};

/// One request or answer in a RE-CONFIG.
///
/// ```text
///       +-------------+-------------+
///       | type        | length      |     13  14  15  16  17  18
///       +-------------+-------------+
///       | request number            |      x   x   x       x   x
///       | response number           |      x           x
///       | last TSN assigned         |      x
///       | result                    |                  x
///       | next TSNs: own, other's   |                  o
///       | count       | reserved    |                      x   x
///       | stream      | stream ...  |      o   o
///       +-------------+-------------+     x always, o may be missing
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ReconfigParameter<'a> {
    /// The sender starts its streams anew (RFC 6525 §4.1).
    OutgoingReset {
        /// The number of this request.
        request: RequestSn,
        /// The number of the incoming reset that this answers, or of the last request that came.
        response: RequestSn,
        /// The last TSN before the reset.
        last_tsn: Tsn,
        /// The streams; none stands for all.
        streams: StreamList<'a>,
    },
    /// The sender asks its peer to reset the peer's streams (RFC 6525 §4.2).
    IncomingReset {
        /// The number of this request.
        request: RequestSn,
        /// The streams; none stands for all.
        streams: StreamList<'a>,
    },
    /// The sender asks for all sequence numbers to start anew (RFC 6525 §4.3).
    SsnTsnReset {
        /// The number of this request.
        request: RequestSn,
    },
    /// The answer to a request (RFC 6525 §4.4).
    Response {
        /// The number of the request that this answers.
        response: RequestSn,
        /// Result of the request.
        result: ResetResult,
        /// After an SSN/TSN reset, the next TSN of the sender and that of the receiver.
        tsns: Option<(Tsn, Tsn)>,
    },
    /// The sender wants to have more streams (RFC 6525 §4.5).
    AddOutgoing {
        /// The number of this request.
        request: RequestSn,
        /// Number of streams to add.
        count: u16,
    },
    /// The sender wants its peer to have more streams (RFC 6525 §4.6).
    AddIncoming {
        /// The number of this request.
        request: RequestSn,
        /// Number of streams to add.
        count: u16,
    },
    /// A parameter that RFC 6525 does not know.
    Unknown(u16),
}

/// The contents of a RE-CONFIG: one parameter or two.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Reconfig<'a> {
    first: ReconfigParameter<'a>,
    second: Option<ReconfigParameter<'a>>,
    has_more: bool,
}

impl<'a> Reconfig<'a> {
    /// Reads the chunk's value. All parameters are checked, two are kept: no combination of more is allowed.
    ///
    /// # Errors
    ///
    /// [`DecodeError::MissingParameter`] if there is none, [`DecodeError::TooShort`] or [`DecodeError::BadLength`] if
    /// one is malformed.
    pub fn decode(value: &'a [u8]) -> Result<Self, DecodeError> {
        let mut parameters = Parameters::new(value);
        let mut next = || match parameters.next() {
            None => Ok(None),
            Some(parameter) => {
                let parameter = ReconfigParameter::decode(parameter?)?;
                // RFC 6525 §4: nothing counts behind a parameter that is not known and has a type of this kind.
                if let ReconfigParameter::Unknown(kind) = parameter
                    && ParameterType(kind).unrecognized_action().stops()
                {
                    parameters = Parameters::new(&[]);
                }
                Ok(Some(parameter))
            }
        };
        let first = next()?.ok_or(DecodeError::MissingParameter)?;
        let second = next()?;
        let mut has_more = false;
        while next()?.is_some() {
            has_more = true;
        }
        Ok(Self { first, second, has_more })
    }

    /// Returns the parameters in order; from the third on they are left out.
    pub fn parameters(&self) -> impl Iterator<Item = ReconfigParameter<'a>> + use<'a> {
        std::iter::once(self.first).chain(self.second)
    }

    /// Returns `true` if RFC 6525 §3.1 allows these parameters together, in this order. If not, the peer should be told
    /// with an ERROR "Protocol Violation".
    #[must_use]
    pub const fn is_allowed_combination(&self) -> bool {
        use ReconfigParameter as P;
        !self.has_more
            && matches!(
                (&self.first, &self.second),
                (
                    P::OutgoingReset { .. }
                        | P::IncomingReset { .. }
                        | P::SsnTsnReset { .. }
                        | P::AddOutgoing { .. }
                        | P::AddIncoming { .. }
                        | P::Response { .. },
                    None
                ) | (P::OutgoingReset { .. }, Some(P::IncomingReset { .. }))
                    | (P::AddOutgoing { .. }, Some(P::AddIncoming { .. }))
                    | (P::Response { .. }, Some(P::OutgoingReset { .. } | P::Response { .. }))
            )
    }
}

impl<'a> ReconfigParameter<'a> {
    fn decode(parameter: Parameter<'a>) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(parameter.value);
        let decoded = match parameter.kind {
            ParameterType::OUTGOING_RESET => {
                return Ok(Self::OutgoingReset {
                    request: RequestSn(reader.u32()?),
                    response: RequestSn(reader.u32()?),
                    last_tsn: Tsn(reader.u32()?),
                    streams: StreamList::decode(reader.rest())?,
                });
            }
            ParameterType::INCOMING_RESET => {
                return Ok(Self::IncomingReset {
                    request: RequestSn(reader.u32()?),
                    streams: StreamList::decode(reader.rest())?,
                });
            }
            ParameterType::SSN_TSN_RESET => Self::SsnTsnReset { request: RequestSn(reader.u32()?) },
            ParameterType::RECONFIG_RESPONSE => Self::Response {
                response: RequestSn(reader.u32()?),
                result: ResetResult::from(reader.u32()?),
                // RFC 6525 §4.4: both or none.
                tsns: if reader.rest().is_empty() { None } else { Some((Tsn(reader.u32()?), Tsn(reader.u32()?))) },
            },
            ParameterType::ADD_OUTGOING => {
                Self::AddOutgoing { request: RequestSn(reader.u32()?), count: count(&mut reader)? }
            }
            ParameterType::ADD_INCOMING => {
                Self::AddIncoming { request: RequestSn(reader.u32()?), count: count(&mut reader)? }
            }
            ParameterType(other) => return Ok(Self::Unknown(other)),
        };
        reader.finish()?;
        Ok(decoded)
    }
}

/// Returns a 16-bit count and the 16 reserved bits behind it.
fn count(reader: &mut Reader<'_>) -> Result<u16, DecodeError> {
    let count = reader.u16()?;
    let _reserved = reader.u16()?;
    Ok(count)
}

/// Writes a RE-CONFIG, parameter by parameter; [`finish`](Self::finish) completes it.
#[derive(Debug)]
#[must_use = "call `finish`, or the chunk has no length"]
pub struct ReconfigWriter<'o> {
    out: &'o mut Vec<u8>,
    at: usize,
}

impl<'o> ReconfigWriter<'o> {
    /// Begins the chunk at the end of `out`.
    pub fn begin(out: &'o mut Vec<u8>) -> Self {
        let at = begin_chunk(out, ChunkType::RE_CONFIG, 0);
        Self { out, at }
    }

    /// Adds an Outgoing SSN Reset Request.
    pub fn push_outgoing_reset(
        &mut self,
        request: RequestSn,
        response: RequestSn,
        last_tsn: Tsn,
        streams: impl Iterator<Item = StreamId>,
    ) {
        self.push(ParameterType::OUTGOING_RESET, [request.0, response.0, last_tsn.0], streams);
    }

    /// Adds an Incoming SSN Reset Request.
    pub fn push_incoming_reset(&mut self, request: RequestSn, streams: impl Iterator<Item = StreamId>) {
        self.push(ParameterType::INCOMING_RESET, [request.0], streams);
    }

    /// Adds an SSN/TSN Reset Request.
    pub fn push_ssn_tsn_reset(&mut self, request: RequestSn) {
        self.push(ParameterType::SSN_TSN_RESET, [request.0], std::iter::empty());
    }

    /// Adds a Re-configuration Response; `tsns` only for an SSN/TSN reset: the next TSN of this end, then the peer's.
    pub fn push_response(&mut self, response: RequestSn, result: ResetResult, tsns: Option<(Tsn, Tsn)>) {
        let kind = ParameterType::RECONFIG_RESPONSE;
        match tsns {
            None => self.push(kind, [response.0, result.into()], std::iter::empty()),
            Some((own, other)) => {
                self.push(kind, [response.0, result.into(), own.0, other.0], std::iter::empty());
            }
        }
    }

    /// Adds an Add Outgoing Streams Request.
    pub fn push_add_outgoing(&mut self, request: RequestSn, count: u16) {
        self.push(ParameterType::ADD_OUTGOING, [request.0, u32::from(count) << 16], std::iter::empty());
    }

    /// Adds an Add Incoming Streams Request.
    pub fn push_add_incoming(&mut self, request: RequestSn, count: u16) {
        self.push(ParameterType::ADD_INCOMING, [request.0, u32::from(count) << 16], std::iter::empty());
    }

    /// Adds a parameter that was decoded; one that is not known is left out.
    pub fn push_parameter(&mut self, parameter: &ReconfigParameter<'_>) {
        use ReconfigParameter as P;
        match *parameter {
            P::OutgoingReset { request, response, last_tsn, streams } => {
                self.push_outgoing_reset(request, response, last_tsn, streams.iter());
            }
            P::IncomingReset { request, streams } => self.push_incoming_reset(request, streams.iter()),
            P::SsnTsnReset { request } => self.push_ssn_tsn_reset(request),
            P::Response { response, result, tsns } => self.push_response(response, result, tsns),
            P::AddOutgoing { request, count } => self.push_add_outgoing(request, count),
            P::AddIncoming { request, count } => self.push_add_incoming(request, count),
            P::Unknown(_) => {}
        }
    }

    /// Ends the chunk.
    pub fn finish(self) {
        end_chunk(self.out, self.at);
    }

    /// Returns the number of bytes that a chunk with one Outgoing SSN Reset Request for that many streams takes,
    /// padding included.
    #[must_use]
    pub const fn outgoing_reset_len(streams: usize) -> usize {
        super::padded(streams.saturating_mul(2).saturating_add(20))
    }

    fn push<const N: usize>(&mut self, kind: ParameterType, words: [u32; N], streams: impl Iterator<Item = StreamId>) {
        push_parameter(self.out, self.at, kind, |out| {
            out.extend(words.into_iter().flat_map(u32::to_be_bytes));
            out.extend(streams.flat_map(|stream| stream.0.to_be_bytes()));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Random, bytes_of, datagram_of};
    use super::*;

    const REQUEST: RequestSn = RequestSn(0x0102_0304);
    const RESPONSE: RequestSn = RequestSn(0x0506_0708);

    fn written(write: impl FnOnce(&mut ReconfigWriter<'_>)) -> Vec<u8> {
        bytes_of(|out| {
            let mut writer = ReconfigWriter::begin(out);
            write(&mut writer);
            writer.finish();
        })
    }

    #[test]
    fn every_field_is_where_the_drawing_has_it() {
        let bytes = written(|w| {
            w.push_outgoing_reset(REQUEST, RESPONSE, Tsn(9), [StreamId(0x1112)].into_iter());
            w.push_incoming_reset(REQUEST, [1, 2].map(StreamId).into_iter());
        });
        assert_eq!(bytes[..8], [130, 0, 0, 36, 0, 13, 0, 18]);
        assert_eq!(bytes[8..24], [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 9, 0x11, 0x12, 0, 0]);
        assert_eq!(bytes[24..], [0, 14, 0, 12, 1, 2, 3, 4, 0, 1, 0, 2]);
        assert_eq!(written(|w| w.push_ssn_tsn_reset(REQUEST)), [130, 0, 0, 12, 0, 15, 0, 8, 1, 2, 3, 4]);
        assert_eq!(
            written(|w| w.push_response(RESPONSE, ResetResult::InProgress, None)),
            [130, 0, 0, 16, 0, 16, 0, 12, 5, 6, 7, 8, 0, 0, 0, 6]
        );
        let tsns = Some((Tsn(1), Tsn(2)));
        assert_eq!(
            written(|w| w.push_response(RESPONSE, ResetResult::Performed, tsns))[12..],
            [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2]
        );
        let bytes = written(|w| {
            w.push_add_outgoing(REQUEST, 0x0A0B);
            w.push_add_incoming(REQUEST, 0x0C0D);
        });
        assert_eq!(bytes[4..16], [0, 17, 0, 12, 1, 2, 3, 4, 10, 11, 0, 0]);
        assert_eq!(bytes[16..], [0, 18, 0, 12, 1, 2, 3, 4, 12, 13, 0, 0]);
    }

    fn random_parameter<'a>(random: &mut Random, streams: &'a [u8]) -> ReconfigParameter<'a> {
        let request = RequestSn(random.u32());
        let streams = StreamList::decode(&streams[..streams.len() / 2 * 2]).unwrap();
        match random.index(6) {
            0 => ReconfigParameter::OutgoingReset {
                request,
                response: RequestSn(random.u32()),
                last_tsn: Tsn(random.u32()),
                streams,
            },
            1 => ReconfigParameter::IncomingReset { request, streams },
            2 => ReconfigParameter::SsnTsnReset { request },
            3 => ReconfigParameter::Response {
                response: request,
                result: ResetResult::from(u32::from(random.u16() % 9)),
                tsns: random.bool().then(|| (Tsn(random.u32()), Tsn(random.u32()))),
            },
            4 => ReconfigParameter::AddOutgoing { request, count: random.u16() },
            _ => ReconfigParameter::AddIncoming { request, count: random.u16() },
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut random = Random(10);
        for _ in 0..3000 {
            let (streams, more_streams) = (random.bytes(12), random.bytes(12));
            let first = random_parameter(&mut random, &streams);
            let second = random.bool().then(|| random_parameter(&mut random, &more_streams));
            let (datagram, raw) = datagram_of(|out| {
                let mut writer = ReconfigWriter::begin(out);
                writer.push_parameter(&first);
                second.iter().for_each(|second| writer.push_parameter(second));
                writer.finish();
            });
            assert_eq!((raw.kind, raw.flags), (ChunkType::RE_CONFIG, 0));
            let read = Reconfig::decode(raw.value_in(&datagram)).unwrap();
            assert!(read.parameters().eq(std::iter::once(first).chain(second)));
            if let (ReconfigParameter::OutgoingReset { streams, .. }, None) = (first, second) {
                assert_eq!(datagram.len() - raw.start, ReconfigWriter::outgoing_reset_len(streams.len()));
            }
        }
    }

    #[test]
    fn only_the_combinations_of_the_rfc_are_allowed() {
        type P = ReconfigParameter<'static>;
        let streams = StreamList::default();
        let parameters: [P; 7] = [
            P::OutgoingReset { request: REQUEST, response: RESPONSE, last_tsn: Tsn(0), streams },
            P::IncomingReset { request: REQUEST, streams },
            P::SsnTsnReset { request: REQUEST },
            P::AddOutgoing { request: REQUEST, count: 1 },
            P::AddIncoming { request: REQUEST, count: 1 },
            P::Response { response: RESPONSE, result: ResetResult::Performed, tsns: None },
            P::Unknown(0x8777),
        ];
        let is_allowed = |chosen: &[usize]| {
            let mut bytes = Vec::new();
            for &index in chosen {
                match parameters[index] {
                    P::Unknown(kind) => bytes.extend([kind.to_be_bytes(), [0, 4]].concat()),
                    parameter => bytes.extend_from_slice(&written(|w| w.push_parameter(&parameter))[4..]),
                }
            }
            Reconfig::decode(&bytes).unwrap().is_allowed_combination()
        };
        for (first, parameter) in parameters.iter().enumerate() {
            assert_eq!(is_allowed(&[first]), first < 6, "{parameter:?}");
            for second in 0..7 {
                let expected = [(0, 1), (3, 4), (5, 0), (5, 5)].contains(&(first, second));
                assert_eq!(is_allowed(&[first, second]), expected, "{first} and {second}");
                for third in 0..7 {
                    assert!(!is_allowed(&[first, second, third]));
                }
            }
        }
    }

    #[test]
    fn sizes_are_checked() {
        let sizes: [(u16, &[u16]); 6] =
            [(13, &[12, 14, 16]), (14, &[4, 6, 8, 10, 12, 14, 16]), (15, &[4]), (16, &[8, 16]), (17, &[8]), (18, &[8])];
        for (kind, good) in sizes {
            for len in 0..17u16 {
                let mut value = [kind.to_be_bytes(), (len + 4).to_be_bytes()].concat();
                value.extend(vec![0; len.into()]);
                assert_eq!(Reconfig::decode(&value).is_ok(), good.contains(&len), "parameter {kind}, {len} bytes");
            }
        }
        assert_eq!(Reconfig::decode(&[]), Err(DecodeError::MissingParameter));
    }

    #[test]
    fn nothing_counts_behind_an_unknown_parameter_that_stops() {
        let response = &written(|w| w.push_response(RESPONSE, ResetResult::Denied, None))[4..];
        let read = |kind: [u8; 2]| {
            let value = [&kind[..], &[0, 4], response].concat();
            Reconfig::decode(&value).unwrap().parameters().count()
        };
        assert_eq!(read([0x20, 1]), 1);
        assert_eq!(read([0x60, 1]), 1);
        assert_eq!(read([0xA0, 1]), 2);
        assert_eq!(read([0xE0, 1]), 2);
    }
}
