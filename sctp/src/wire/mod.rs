//! The wire format: packets, chunks, parameters and error causes, one family a file.
//!
//! Decoding borrows from the datagram, checks every length against what surrounds it, and never panics; it allocates
//! nothing. What it hands out is well formed, not yet sensible: whether a TSN, a tag or a window may have the value it
//! has is for the association to judge. Encoding appends to a buffer and fills in lengths and zero padding. A
//! fixed-size chunk must have exactly its size; reserved fields and the contents of padding are ignored on input (RFC
//! 9260 §3.2).
//!
//! A datagram is read in three steps: [`PacketHeader::decode`] and [`is_checksum_valid`], then [`Chunks`], then the
//! decoder of each chunk's type on [`RawChunk::value_in`].

mod cause;
mod checksum;
mod chunk;
mod control;
mod data;
mod extensions;
mod forward_tsn;
mod i_data;
mod i_forward_tsn;
mod init;
mod packet;
mod packet_writer;
mod param;
mod reader;
mod reconfig;
mod reset_result;
mod sack;
mod stream_list;
#[cfg(test)]
mod testing;
mod trace;

pub use cause::{CAUSE_TEXT_MAX, Cause, Causes, T_BIT, encode_abort, encode_error};
pub use checksum::{has_zero_checksum, is_checksum_valid, seal};
pub use chunk::{
    CHUNK_HEADER_LEN, CHUNK_LEN_MAX, ChunkType, Chunks, RawChunk, UnrecognizedAction, begin_chunk, end_chunk, padded,
};
pub use control::{
    Shutdown, decode_heartbeat, encode_cookie_ack, encode_cookie_echo, encode_heartbeat, encode_pad,
    encode_shutdown_ack, encode_shutdown_complete,
};
pub use data::DataChunk;
pub use extensions::Extensions;
pub use forward_tsn::ForwardTsn;
pub use i_data::IDataChunk;
pub use i_forward_tsn::{IForwardTsn, SkippedMessage};
pub use init::Init;
pub use packet::PacketHeader;
pub use packet_writer::PacketWriter;
pub use param::{Parameter, ParameterType, Parameters, encode_unrecognized};
pub use reader::{DecodeError, Reader};
pub use reconfig::{Reconfig, ReconfigParameter, ReconfigWriter};
pub use reset_result::ResetResult;
pub use sack::{GapBlock, Sack};
pub use stream_list::StreamList;
pub(crate) use trace::trace_chunks;

/// Bytes of the common header (RFC 9260 §3.1), behind which the chunks begin.
pub const PACKET_HEADER_LEN: usize = 12;
