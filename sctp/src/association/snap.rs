//! An association whose INITs have travelled with the signalling, and not over the path (draft-hancke-tsvwg-snap-00):
//! both ends are established from the start, and the first packet may carry data.

use bytes::Bytes;

use super::negotiate;
use super::tcb::PeerInit;
use super::{Association, State};
use crate::error::SignalledInitError;
use crate::time::Instant;
use crate::wire::{ChunkType, Init, padded};

/// Bytes of a signalled INIT at most. A browser's has 30; nobody needs what does not fit a packet.
const SIGNALLED_INIT_LEN_MAX: usize = 1200;

/// The INIT chunk of a peer, from `a=sctp-init`. Exists only if it passed the checks of every INIT (RFC 9260 §3.3.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignalledInit {
    value: Bytes,
}

impl SignalledInit {
    /// Reads what the attribute holds, after base64: one INIT chunk, with or without padding, and nothing else.
    ///
    /// # Errors
    ///
    /// See [`SignalledInitError`].
    pub fn parse(chunk: &[u8]) -> Result<Self, SignalledInitError> {
        let (&[kind, _, l0, l1], _) = chunk.split_first_chunk::<4>().ok_or(SignalledInitError::Malformed)?;
        if ChunkType(kind) != ChunkType::INIT {
            return Err(SignalledInitError::NotInit(kind));
        }
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        if chunk.len() > SIGNALLED_INIT_LEN_MAX || (chunk.len() != len && chunk.len() != padded(len)) {
            return Err(SignalledInitError::Malformed);
        }
        let value = chunk.get(4..len).ok_or(SignalledInitError::Malformed)?;
        let init = Init::decode(value).map_err(|_| SignalledInitError::Malformed)?;
        negotiate::check(&init).map_err(|_| SignalledInitError::Unacceptable)?;
        Ok(Self { value: Bytes::copy_from_slice(value) })
    }
}

impl Association {
    /// Returns the INIT that would be sent (§5.2). Writing it changes no state and starts no timer (§6).
    pub(super) fn write_signalled_init(&self) -> Option<Bytes> {
        if self.state != State::Closed || self.is_over {
            return None;
        }
        let init = self.local_init();
        let mut chunk = Vec::new();
        init.encode(ChunkType::INIT, &[], &mut chunk);
        // Without the padding, which is not part of a chunk (RFC 9260 §3.2).
        let len = chunk.get(2..4).and_then(|field| field.try_into().ok()).map_or(0, u16::from_be_bytes);
        chunk.truncate(usize::from(len));
        Some(chunk.into())
    }

    /// Establishes the association (§6), as steps A to E of RFC 9260 §5.1 would have done.
    pub(super) fn establish_as_signalled(
        &mut self,
        now: Instant,
        peer: &SignalledInit,
    ) -> Result<(), SignalledInitError> {
        // §5.6: it is an error for an association that exists.
        if self.state != State::Closed || self.is_over {
            return Err(SignalledInitError::AlreadyBegun);
        }
        let init = Init::decode(&peer.value).map_err(|_| SignalledInitError::Malformed)?;
        self.stats.drops.add_parameters(&init);
        let peer = PeerInit::from_init(&self.config, &init).ok_or(SignalledInitError::Unacceptable)?;
        self.establish(now, &peer);
        Ok(())
    }
}
