//! Counters of a secure endpoint for datagrams that belong to no association, or not yet.

use crate::counters::counters;

counters! {
    /// Datagrams that a secure endpoint has answered or dropped, by reason. Strangers can make these numbers grow, and
    /// nothing else.
    pub struct SecureStats;
    struct SecureCounters;
    /// Checks of connectivity that were answered with success.
    checks_answered,
    /// Checks that were refused: unknown user name, wrong integrity, or incomplete (RFC 8445 §7.3).
    checks_refused,
    /// Checks of peers whose association is not here any more, most likely because this service was started again: they
    /// were told that there is nobody who wants their datagrams (RFC 7675 §5.2).
    consents_revoked,
    /// Datagrams dropped because their first byte is neither STUN's nor DTLS's (RFC 7983).
    unknown_protocol,
    /// Datagrams dropped because they are not a STUN message with a correct FINGERPRINT.
    bad_stun,
    /// STUN messages that were taken without an attribute whose value could not be one of its type.
    malformed_stun_attributes,
    /// Parts of peers' offers and answers that could not be read, were not needed, and were ignored.
    ignored_in_descriptions,
    /// STUN indications: keepalives, which need no answer (RFC 8445 §11).
    stun_indications,
    /// STUN responses dropped because they answer nothing that was asked, or were not signed.
    stray_stun_responses,
    /// DTLS datagrams dropped because nobody is known at their source, and they begin no handshake.
    stray_dtls,
    /// ClientHellos dropped because this endpoint takes no peers without signalling, or none any more.
    unwanted_hellos,
    /// Peers without signalling that ended their handshake themselves: most likely they expect another certificate, so
    /// give them this endpoint's current ticket.
    refused_by_peers,
    /// Peers without signalling whose handshake failed otherwise.
    handshakes_failed,
    /// Peers dropped before they had proved themselves, for others that came later.
    unproved_evicted,
    /// DTLS datagrams dropped because too many had come before the description of the peer.
    early_overflow,
    /// Packets dropped because the connection was not there yet, or not any more.
    unsent_packets,
    /// Addresses that a peer has checked from, while they belonged to another peer that was alive.
    address_conflicts,
}
