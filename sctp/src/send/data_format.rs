//! The chunk that carries user data: DATA, or I-DATA if messages interleave (RFC 8260 §2.2.1).

use crate::path::Path;
use crate::wire::{DataChunk, IDataChunk};

/// Chunk type of all user data of an association. The handshake decides it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum DataFormat {
    /// DATA: the fragments of a message have consecutive TSNs (RFC 9260 §6.9).
    #[default]
    Data,
    /// I-DATA: a stream may send between two fragments of another stream's message.
    IData,
}

impl DataFormat {
    /// Returns true if another stream may have its turn before a message has ended.
    pub(super) const fn interleaves(self) -> bool {
        matches!(self, Self::IData)
    }

    /// Returns the number of bytes before the payload of a chunk.
    pub(super) const fn header_len(self) -> usize {
        match self {
            Self::Data => DataChunk::HEADER_LEN,
            Self::IData => IDataChunk::HEADER_LEN,
        }
    }

    /// Returns the number of bytes of a chunk with a payload of this length, padding included.
    pub(super) const fn encoded_len(self, payload_len: usize) -> usize {
        match self {
            Self::Data => DataChunk::encoded_len(payload_len),
            Self::IData => IDataChunk::encoded_len(payload_len),
        }
    }

    /// Returns the number of bytes of user data that a packet of the least size takes in one chunk.
    pub(super) fn payload_max(self, path: &Path) -> usize {
        path.payload_max(self.header_len())
    }

    /// Returns the number of bytes of user data that a packet takes in one chunk now.
    pub(super) fn payload_max_now(self, path: &Path) -> usize {
        path.pmdcs() - self.header_len()
    }
}
