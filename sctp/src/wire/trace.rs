//! Events for the chunks of a packet, at the level TRACE.

use tracing::Level;
use tracing::level_filters::LevelFilter;

use super::{CHUNK_HEADER_LEN, ChunkType, Chunks, DataChunk, IDataChunk, Sack};

/// Bytes before the payload in the value of DATA, and of I-DATA.
const PAYLOAD_AT: usize = DataChunk::HEADER_LEN - CHUNK_HEADER_LEN;
const I_DATA_PAYLOAD_AT: usize = IDataChunk::HEADER_LEN - CHUNK_HEADER_LEN;

/// Emits an event for each chunk of a packet that was sent or received. Switched off, it costs one comparison a packet:
/// all else, the question to the subscriber included, is outside of the caller.
#[inline]
pub(crate) fn trace_chunks(direction: &'static str, packet: &[u8]) {
    if LevelFilter::current() >= LevelFilter::TRACE {
        emit(direction, packet);
    }
}

#[cold]
#[inline(never)]
fn emit(direction: &'static str, packet: &[u8]) {
    if !tracing::enabled!(Level::TRACE) {
        return;
    }
    for chunk in Chunks::new(packet).map_while(Result::ok) {
        let (kind, value) = (chunk.kind, chunk.value_in(packet));
        match kind {
            ChunkType::DATA => {
                let Ok(DataChunk { tsn, stream, ssn, ppid, .. }) = DataChunk::decode(chunk.flags, value) else { break };
                let (tsn, ssn, ppid, len) = (tsn.0, ssn.0, ppid.0, value.len().saturating_sub(PAYLOAD_AT));
                tracing::trace!(direction, ?kind, tsn, stream_id = %stream, ssn, ppid, len, "chunk");
            }
            ChunkType::I_DATA => {
                let Ok(header) = IDataChunk::decode(chunk.flags, value) else { break };
                let IDataChunk { tsn, stream, mid, fsn, ppid, .. } = header;
                let (tsn, mid, fsn, ppid) = (tsn.0, mid.0, fsn.0, ppid.0);
                let len = value.len().saturating_sub(I_DATA_PAYLOAD_AT);
                tracing::trace!(direction, ?kind, tsn, stream_id = %stream, mid, fsn, ppid, len, "chunk");
            }
            ChunkType::SACK => {
                let Ok(sack) = Sack::decode(value) else { break };
                let (cumulative_tsn_ack, a_rwnd) = (sack.cumulative_tsn_ack.0, sack.a_rwnd);
                let gap_blocks = sack.gap_blocks().len();
                tracing::trace!(direction, ?kind, cumulative_tsn_ack, a_rwnd, gap_blocks, "chunk");
            }
            _ => tracing::trace!(direction, ?kind, len = value.len(), "chunk"),
        }
    }
}
