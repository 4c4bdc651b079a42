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
        /// What became of it.
        result: ResetResult,
        /// After an SSN/TSN reset, the next TSN of the sender and that of the receiver.
        tsns: Option<(Tsn, Tsn)>,
    },
    /// The sender wants to have more streams (RFC 6525 §4.5).
    AddOutgoing {
        /// The number of this request.
        request: RequestSn,
        /// How many more.
        count: u16,
    },
    /// The sender wants its peer to have more streams (RFC 6525 §4.6).
    AddIncoming {
        /// The number of this request.
        request: RequestSn,
        /// How many more.
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

    /// The parameters in order; from the third on they are left out.
    pub fn parameters(&self) -> impl Iterator<Item = ReconfigParameter<'a>> + use<'a> {
        std::iter::once(self.first).chain(self.second)
    }

    /// Whether RFC 6525 §3.1 allows these parameters together, in this order. If not, the peer should be told with an
    /// ERROR "Protocol Violation".
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

/// A 16-bit count and the 16 reserved bits behind it.
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

    /// Bytes that a chunk with one Outgoing SSN Reset Request for that many streams takes, padding included.
    #[must_use]
    pub const fn outgoing_reset_len(streams: usize) -> usize {
        super::padded(20 + 2 * streams)
    }

    fn push<const N: usize>(&mut self, kind: ParameterType, words: [u32; N], streams: impl Iterator<Item = StreamId>) {
        push_parameter(self.out, self.at, kind, |out| {
            out.extend(words.into_iter().flat_map(u32::to_be_bytes));
            out.extend(streams.flat_map(u16::to_be_bytes));
        });
    }
}
