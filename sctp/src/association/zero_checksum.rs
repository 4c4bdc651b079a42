//! Packets without a checksum over a layer that detects errors better (RFC 9653).

use super::Association;
use crate::config::AssociationConfig;
use crate::cookie::CookieKeys;
use crate::valid::Valid;
use crate::wire::{PacketWriter, has_zero_checksum, is_checksum_valid};

/// The error detection method of SCTP over DTLS (RFC 9653 §8).
pub(crate) const METHOD_DTLS: u32 = 1;

/// The part of this end in RFC 9653. That of the peer is in [`Negotiated`](super::negotiate::Negotiated).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ZeroChecksum {
    /// Packets travel over DTLS, and the configuration wants no checksums.
    is_enabled: bool,
    /// An INIT, an INIT ACK or a signalled INIT of this end has told the peer.
    is_announced: bool,
}

impl ZeroChecksum {
    pub(super) fn over_dtls(config: &AssociationConfig) -> Self {
        Self { is_enabled: config.zero_checksum, is_announced: false }
    }

    /// Returns the method that INIT and INIT ACK name.
    pub(super) fn offer(self) -> Option<u32> {
        self.is_enabled.then_some(METHOD_DTLS)
    }

    /// Records that the peer is told: from then on it may leave the checksum out (§5.3).
    pub(super) fn on_announced(&mut self) {
        self.is_announced = self.is_enabled;
    }
}

impl Association {
    /// Creates an association like [`new`](Self::new) whose packets travel in DTLS records (RFC 8261). DTLS
    /// discards every packet that was changed on its way, so if
    /// [`zero_checksum`](AssociationConfig::zero_checksum) is set, both ends leave out the checksum (RFC 9653).
    #[must_use]
    pub fn new_over_dtls(config: Valid<AssociationConfig>, keys: CookieKeys, address: &[u8], seed: [u8; 32]) -> Self {
        let mut association = Self::new(config, keys, address, seed);
        association.zero_checksum = ZeroChecksum::over_dtls(&association.config);
        association
    }

    /// Returns `true` if packets leave without a checksum: they travel over DTLS, and the peer has announced that it
    /// accepts them (RFC 9653 §5.2). `false` before the handshake is done.
    #[must_use]
    pub fn sends_zero_checksum(&self) -> bool {
        self.omits_checksum()
    }

    /// Returns true if the packet has a valid checksum, or none and the peer was told that it need not have one (§5.3).
    #[inline]
    pub(super) fn is_checksum_acceptable(&self, datagram: &[u8]) -> bool {
        (self.zero_checksum.is_announced && has_zero_checksum(datagram)) || is_checksum_valid(datagram)
    }

    /// Returns true if packets of an established association leave without a checksum (§5.2). Packets with an INIT, an
    /// INIT ACK or a COOKIE ECHO, ABORTs and answers to packets out of the blue always have one: their reader may not
    /// know the association, or not any more.
    #[inline]
    pub(super) fn omits_checksum(&self) -> bool {
        self.zero_checksum.is_enabled && self.tcb.as_ref().is_some_and(|tcb| tcb.negotiated.peer_accepts_zero_checksum)
    }

    /// Returns true if the peer may leave out the checksum: it was told so, and the handshake is done (§5.3).
    pub(super) fn accepts_zero_checksum(&self) -> bool {
        self.zero_checksum.is_announced && self.tcb.is_some()
    }

    /// Completes a packet of the association and returns its length.
    #[inline]
    pub(super) fn finish_packet(omits_checksum: bool, packet: PacketWriter<'_>) -> usize {
        if omits_checksum { packet.finish_without_checksum() } else { packet.finish() }
    }
}
