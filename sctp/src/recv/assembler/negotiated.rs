//! The assembler of the kind of chunks that was negotiated.

use bytes::Bytes;

use super::i_data::IDataAssembler;
use super::{AssemblerCost, DataAssembler, FragmentClass, SkippedTsns};
use crate::error::Violation;
use crate::event::Streams;
use crate::message::StreamId;
use crate::recv::ResetProgress;
use crate::recv::cost::{Cost, FRAGMENT_OVERHEAD, MESSAGE_OVERHEAD};
use crate::recv::inbox::Inbox;
use crate::recv::tracker::Neighbours;
use crate::serial::{Ssn, Tsn, UnwrappedTsn};
use crate::wire::{ChunkType, DataChunk, DecodeError, IDataChunk, RawChunk, SkippedMessage};

/// The fields of a chunk with user data.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FragmentHeader {
    /// DATA (RFC 9260 §3.3.1).
    Data(DataChunk),
    /// I-DATA (RFC 8260 §2.1).
    IData(IDataChunk),
}

impl From<DataChunk> for FragmentHeader {
    fn from(chunk: DataChunk) -> Self {
        Self::Data(chunk)
    }
}

impl From<IDataChunk> for FragmentHeader {
    fn from(chunk: IDataChunk) -> Self {
        Self::IData(chunk)
    }
}

impl FragmentHeader {
    /// Reads the fields of a DATA or I-DATA chunk. Returns them and the number of bytes before the payload.
    #[inline]
    pub(crate) fn decode(chunk: &RawChunk, datagram: &[u8]) -> Result<(Self, usize), DecodeError> {
        let value = chunk.value_in(datagram);
        if chunk.kind == ChunkType::I_DATA {
            return Ok((Self::IData(IDataChunk::decode(chunk.flags, value)?), IDataChunk::HEADER_LEN));
        }
        Ok((Self::Data(DataChunk::decode(chunk.flags, value)?), DataChunk::HEADER_LEN))
    }

    #[inline]
    pub(crate) fn tsn(&self) -> Tsn {
        match self {
            Self::Data(chunk) => chunk.tsn,
            Self::IData(chunk) => chunk.tsn,
        }
    }

    #[inline]
    pub(crate) fn stream(&self) -> StreamId {
        match self {
            Self::Data(chunk) => chunk.stream,
            Self::IData(chunk) => chunk.stream,
        }
    }

    /// Returns the share of the window that the chunk takes in a message that is not read. At most, for a fragment: the
    /// others of its message may not come.
    #[inline]
    pub(in crate::recv) fn cost_when_unread(&self, payload: usize) -> Cost {
        let (beginning, ending) = match self {
            Self::Data(chunk) => (chunk.beginning, chunk.ending),
            Self::IData(chunk) => (chunk.beginning, chunk.ending),
        };
        if beginning && ending {
            Cost::unread(payload, 1)
        } else {
            Cost { payload, overhead: MESSAGE_OVERHEAD + FRAGMENT_OVERHEAD }
        }
    }

    /// Returns true if the sender wants a SACK at once.
    #[inline]
    pub(in crate::recv) fn is_immediate(&self) -> bool {
        match self {
            Self::Data(chunk) => chunk.immediate,
            Self::IData(chunk) => chunk.immediate,
        }
    }
}

/// Assembles messages from the chunks that both ends have agreed on. Chunks of the other kind violate the protocol (RFC
/// 8260 §2.2.3).
#[derive(Debug)]
pub(in crate::recv) enum Assembler {
    Data(DataAssembler),
    IData(IDataAssembler),
}

impl Assembler {
    /// Creates the assembler for I-DATA if messages interleave, and that for DATA otherwise.
    pub(in crate::recv) fn new(interleaving: bool, message_size_max: usize) -> Self {
        if interleaving {
            Self::IData(IDataAssembler::new(message_size_max))
        } else {
            Self::Data(DataAssembler::new(message_size_max))
        }
    }

    /// Returns true if the chunk is of the kind that was negotiated.
    #[inline]
    pub(in crate::recv) fn is_of_kind(&self, chunk: &FragmentHeader) -> bool {
        matches!((self, chunk), (Self::Data(_), FragmentHeader::Data(_)) | (Self::IData(_), FragmentHeader::IData(_)))
    }

    /// Forgets everything that is not delivered. The association is over.
    pub(in crate::recv) fn clear(&mut self) {
        match self {
            Self::Data(assembler) => assembler.clear(),
            Self::IData(assembler) => *assembler = IDataAssembler::new(0),
        }
    }

    /// Returns a violation found in a message that had waited.
    #[inline]
    pub(in crate::recv) fn violation(&self) -> Option<Violation> {
        match self {
            Self::Data(assembler) => assembler.violation(),
            Self::IData(_) => None,
        }
    }

    /// Returns the violation of a peer that sends partial messages without end.
    pub(in crate::recv) fn violation_of_limit(&self) -> Violation {
        match self {
            Self::Data(_) => Violation::MessageTooLarge,
            Self::IData(_) => Violation::PartialMessagesTooLarge,
        }
    }

    #[inline]
    pub(in crate::recv) fn cost(&self) -> AssemblerCost {
        match self {
            Self::Data(assembler) => assembler.cost(),
            Self::IData(assembler) => assembler.cost(),
        }
    }

    /// Checks a chunk of a stream that does not exist.
    pub(in crate::recv) fn check_outside(
        &self,
        neighbours: Neighbours,
        chunk: &FragmentHeader,
    ) -> Result<(), Violation> {
        match (self, chunk) {
            (Self::Data(assembler), FragmentHeader::Data(chunk)) => assembler.check_outside(neighbours, chunk),
            (Self::IData(_), FragmentHeader::IData(_)) => Ok(()),
            _ => Err(Violation::NotNegotiated),
        }
    }

    /// Finds out what to do with a new fragment.
    #[inline]
    pub(in crate::recv) fn classify(
        &self,
        position: UnwrappedTsn,
        in_sequence: bool,
        chunk: &FragmentHeader,
    ) -> Result<FragmentClass, Violation> {
        match (self, chunk) {
            (Self::Data(assembler), FragmentHeader::Data(chunk)) => assembler.classify(position, in_sequence, chunk),
            (Self::IData(assembler), FragmentHeader::IData(chunk)) => assembler.classify(position, in_sequence, chunk),
            _ => Err(Violation::NotNegotiated),
        }
    }

    /// Returns the overhead that a fragment is charged with beside that of a message in one chunk.
    #[inline]
    pub(in crate::recv) fn extra_overhead(&self, chunk: &FragmentHeader, in_sequence: bool) -> usize {
        match (self, chunk) {
            (Self::IData(assembler), FragmentHeader::IData(chunk)) => assembler.extra_overhead(chunk, in_sequence),
            _ => 0,
        }
    }

    /// Takes a fragment in, and delivers what is whole and next in its stream.
    #[inline]
    pub(in crate::recv) fn insert(
        &mut self,
        neighbours: Neighbours,
        chunk: &FragmentHeader,
        payload: Bytes,
        inbox: &mut Inbox,
    ) -> Result<(), Violation> {
        match (self, chunk) {
            (Self::Data(assembler), FragmentHeader::Data(chunk)) => assembler.insert(neighbours, chunk, payload, inbox),
            (Self::IData(assembler), FragmentHeader::IData(chunk)) => {
                let Neighbours { position, in_sequence, .. } = neighbours;
                assembler.insert(position, in_sequence, chunk, payload, inbox)
            }
            _ => Err(Violation::NotNegotiated),
        }
    }

    /// Takes note of a fragment whose message was skipped.
    pub(in crate::recv) fn discard(&mut self, position: UnwrappedTsn, chunk: &FragmentHeader) -> Result<(), Violation> {
        match (self, chunk) {
            (Self::Data(assembler), FragmentHeader::Data(chunk)) => assembler.discard(position, chunk),
            _ => Ok(()),
        }
    }

    /// Handles an advance of the Cumulative TSN Ack Point.
    #[inline]
    pub(in crate::recv) fn on_cumulative_advanced(&mut self, cumulative: UnwrappedTsn, inbox: &mut Inbox) {
        match self {
            Self::Data(assembler) => assembler.on_cumulative_advanced(cumulative, inbox),
            Self::IData(assembler) => assembler.on_cumulative_advanced(cumulative, inbox),
        }
    }

    /// Obeys a FORWARD-TSN, if messages do not interleave.
    pub(in crate::recv) fn skip(
        &mut self,
        tsns: SkippedTsns,
        streams: impl Iterator<Item = (StreamId, Ssn)>,
        inbox: &mut Inbox,
    ) {
        if let Self::Data(assembler) = self {
            assembler.skip(tsns, streams, inbox);
        }
    }

    /// Obeys an I-FORWARD-TSN, if messages interleave.
    pub(in crate::recv) fn skip_messages(
        &mut self,
        tsns: SkippedTsns,
        messages: impl Iterator<Item = SkippedMessage>,
        inbox: &mut Inbox,
    ) {
        if let Self::IData(assembler) = self {
            assembler.skip(tsns, messages, inbox);
        }
    }

    /// Returns the progress of a reset that was requested before, if this is one.
    pub(in crate::recv) fn reset_progress(&mut self, streams: &Streams, last_tsn: Tsn) -> Option<ResetProgress> {
        match self {
            Self::Data(assembler) => assembler.resets_mut().progress(streams, last_tsn),
            Self::IData(assembler) => assembler.resets_mut().progress(streams, last_tsn),
        }
    }

    /// Resets streams, now or when everything up to `last` has arrived or was skipped (RFC 6525 §5.2.2).
    pub(in crate::recv) fn reset(
        &mut self,
        streams: Streams,
        last: UnwrappedTsn,
        cumulative: UnwrappedTsn,
        inbox: &mut Inbox,
    ) -> ResetProgress {
        match self {
            Self::Data(assembler) => assembler.reset(streams, last, cumulative, inbox),
            Self::IData(assembler) => assembler.reset(streams, last, cumulative, inbox),
        }
    }

    /// Returns true if a deferred reset was performed since the last call.
    pub(in crate::recv) fn take_performed_reset(&mut self) -> bool {
        match self {
            Self::Data(assembler) => assembler.resets_mut().take_performed(),
            Self::IData(assembler) => assembler.resets_mut().take_performed(),
        }
    }

    /// Returns the highest TSN that [`evict_highest`](Self::evict_highest) can discard.
    pub(in crate::recv) fn highest(&self) -> Option<UnwrappedTsn> {
        match self {
            Self::Data(assembler) => assembler.highest(),
            Self::IData(assembler) => assembler.highest(),
        }
    }

    /// Discards the fragment with the highest TSN, and returns that.
    pub(in crate::recv) fn evict_highest(&mut self) -> Option<UnwrappedTsn> {
        match self {
            Self::Data(assembler) => assembler.evict_highest(),
            Self::IData(assembler) => assembler.evict_highest(),
        }
    }

    /// Returns the bytes of the tables of streams.
    #[inline]
    pub(in crate::recv) fn tables(&self) -> usize {
        match self {
            Self::Data(assembler) => assembler.tables(),
            Self::IData(assembler) => assembler.tables(),
        }
    }

    /// Gives back what an idle association does not use: a tree that is empty keeps a node.
    pub(in crate::recv) fn trim(&mut self) {
        match self {
            Self::Data(assembler) => assembler.trim(),
            Self::IData(assembler) => assembler.trim(),
        }
    }

    /// Returns the cost of a recount.
    pub(in crate::recv) fn recount_cost(&self) -> usize {
        match self {
            Self::Data(assembler) => assembler.recount_cost(),
            Self::IData(assembler) => assembler.recount_cost(),
        }
    }

    /// Recounts everything. `has_arrived` tells if a TSN has arrived.
    pub(in crate::recv) fn check_consistency(
        &self,
        cumulative: UnwrappedTsn,
        has_arrived: impl Fn(UnwrappedTsn) -> bool,
    ) {
        match self {
            Self::Data(assembler) => assembler.check_consistency(cumulative, has_arrived),
            Self::IData(assembler) => assembler.check_consistency(cumulative, has_arrived),
        }
    }
}

#[cfg(test)]
impl Assembler {
    pub(in crate::recv) fn deferred(&self) -> Option<&super::DeferredReset> {
        match self {
            Self::Data(assembler) => assembler.resets().deferred(),
            Self::IData(assembler) => assembler.resets().deferred(),
        }
    }

    /// Returns the assembler for DATA.
    pub(in crate::recv) fn data(&mut self) -> &mut DataAssembler {
        let Self::Data(assembler) = self else { panic!("messages interleave") };
        assembler
    }

    /// Returns the assembler for I-DATA.
    pub(in crate::recv) fn i_data(&mut self) -> &mut IDataAssembler {
        let Self::IData(assembler) = self else { panic!("messages do not interleave") };
        assembler
    }
}
