//! Proof that a peer receives what is sent to its address, without any state before the proof.
//!
//! This end sends a check of its own. The transaction id of that check is a MAC over the peer's address, so a response
//! with the right transaction id shows that its sender has received the check. The peer signs the response with its
//! password, but in direct mode the sender of a check has chosen that password: only the transaction id proves
//! something.
//!
//! A question about a peer of the router has the peer's number in its transaction id, beside the MAC, because a
//! response names nobody.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use narrowboat_sctp::AssociationHandle;
use sha2::Sha256;

use super::direct::DirectName;
use super::stun::{Class, Key, StunWriter, TransactionId, Username};

/// Time after which transaction ids change. A response counts in the period of its request and in the next one.
const PERIOD: Duration = Duration::from_secs(16);

/// PRIORITY of a check of ours: the priority of a peer-reflexive candidate (RFC 8445 §7.1.1). Some agents refuse a
/// check without one.
const PRIORITY: u32 = (110 << 24) | (65_535 << 8) | 255;

/// Bytes of a transaction id that are a MAC if the rest is the number of a peer.
const PEER_MAC_LEN: usize = 8;

/// Subject of a proof, besides the address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ProofSubject<'a> {
    /// Nothing.
    Address,
    /// The user fragment that the peer's checks name.
    Ufrag(&'a str),
    /// The peer of the router that checks from the address.
    Peer(AssociationHandle),
}

/// The secret of an endpoint that its checks are made from.
#[derive(Clone)]
pub(crate) struct Reachability {
    mac: Hmac<Sha256>,
    start: Instant,
}

impl Reachability {
    /// Creates the proofs' key, which must come from a secure source of randomness.
    pub(crate) fn new(now: Instant, key: &[u8; 32]) -> Self {
        #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
        Self { mac: Hmac::new_from_slice(key).expect("a key of any length"), start: now }
    }

    /// Appends a check for the peer that `name` names at `remote`.
    pub(crate) fn ask(
        &self,
        now: Instant,
        remote: SocketAddr,
        name: &DirectName<'_>,
        subject: ProofSubject<'_>,
        out: &mut Vec<u8>,
    ) {
        let id = self.transaction_id(self.period(now), remote, subject);
        let [a, b, c, d, e, f, g, h, ..] = id.0;
        let username = Username { to: name.client_ufrag, from: name.server };
        let check = StunWriter::new(out, Class::Request, id).username(username).priority(PRIORITY);
        check.controlled(u64::from_be_bytes([a, b, c, d, e, f, g, h])).finish(Some(&Key::new(name.client_pwd)));
    }

    /// True if a response with this transaction id from `remote` answers a check about `subject`.
    pub(crate) fn is_proof(
        &self,
        now: Instant,
        remote: SocketAddr,
        subject: ProofSubject<'_>,
        id: TransactionId,
    ) -> bool {
        let period = self.period(now);
        let (mac, _) = id.0.split_at(subject.mac_len());
        [Some(period), period.checked_sub(1)]
            .into_iter()
            .flatten()
            .any(|period| self.mac(period, remote, subject).verify_truncated_left(mac).is_ok())
    }

    fn period(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_secs() / PERIOD.as_secs()
    }

    fn transaction_id(&self, period: u64, remote: SocketAddr, subject: ProofSubject<'_>) -> TransactionId {
        let mac = self.mac(period, remote, subject).finalize().into_bytes();
        let mut id = TransactionId(mac.first_chunk().copied().unwrap_or_default());
        if let ProofSubject::Peer(handle) = subject {
            let [_, _, _, _, number @ ..] = handle.0.to_be_bytes();
            id.0.iter_mut().skip(PEER_MAC_LEN).zip(number).for_each(|(byte, of_number)| *byte = of_number);
        }
        id
    }

    fn mac(&self, period: u64, remote: SocketAddr, subject: ProofSubject<'_>) -> Hmac<Sha256> {
        let mut mac = self.mac.clone();
        mac.update(&period.to_be_bytes());
        match remote.ip().to_canonical() {
            IpAddr::V4(ip) => mac.update(&ip.to_ipv6_mapped().octets()),
            IpAddr::V6(ip) => mac.update(&ip.octets()),
        }
        mac.update(&remote.port().to_be_bytes());
        match subject {
            ProofSubject::Address => {}
            ProofSubject::Ufrag(ufrag) => mac.update(ufrag.as_bytes()),
            ProofSubject::Peer(handle) => {
                // A byte that no text has.
                mac.update(&[0xFF]);
                mac.update(&handle.0.to_be_bytes());
            }
        }
        mac
    }
}

impl ProofSubject<'_> {
    fn mac_len(self) -> usize {
        match self {
            Self::Address | Self::Ufrag(_) => size_of::<TransactionId>(),
            Self::Peer(_) => PEER_MAC_LEN,
        }
    }
}

/// Returns the low 32 bits of the number of the peer that the check with this transaction id was about, if it was about
/// one.
pub(crate) fn peer_number(id: TransactionId) -> u32 {
    id.0.last_chunk().copied().map(u32::from_be_bytes).unwrap_or_default()
}

impl std::fmt::Debug for Reachability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reachability")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webrtc::direct::Prefixes;
    use crate::webrtc::stun::StunMessage;

    const SERVER: &str = "narrowboat+1/6vVQ0Sf26fAsetCtwoo+QJrd";

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[test]
    fn only_who_has_received_the_check_knows_its_transaction_id_and_not_for_ever() {
        let start = Instant::now();
        let reachability = Reachability::new(start, &[7; 32]);
        let name = DirectName::parse(Username { to: SERVER, from: "EJ/U" }, Prefixes::default()).expect("a name");
        let mut out = Vec::new();
        reachability.ask(start, address(1), &name, ProofSubject::Address, &mut out);
        let check = StunMessage::parse(&out).expect("a message");
        assert_eq!(check.ice_username(), Some(Username { to: "EJ/U", from: SERVER }));
        assert!(Key::new("6vVQ0Sf26fAsetCtwoo+QJrd").has_signed(&check));
        assert!(check.controlled.is_some() && check.priority.is_some());
        let id = check.transaction_id;
        assert!(reachability.is_proof(start, address(1), ProofSubject::Address, id));
        assert!(reachability.is_proof(start + PERIOD, address(1), ProofSubject::Address, id), "the period after");
        assert!(!reachability.is_proof(start + 2 * PERIOD, address(1), ProofSubject::Address, id), "two periods later");
        assert!(!reachability.is_proof(start, address(2), ProofSubject::Address, id), "another port");
        assert!(!reachability.is_proof(start, address(1), ProofSubject::Ufrag("other"), id), "another subject");
        assert!(
            !Reachability::new(start, &[8; 32]).is_proof(start, address(1), ProofSubject::Address, id),
            "another endpoint"
        );
        assert!(reachability.is_proof(
            start,
            "[::ffff:192.0.2.1]:1".parse().expect("an address"),
            ProofSubject::Address,
            id
        ));
    }

    #[test]
    fn a_question_about_a_peer_names_it_in_its_transaction_id_and_proves_nothing_of_another() {
        let start = Instant::now();
        let reachability = Reachability::new(start, &[7; 32]);
        let name = DirectName { server: "ours", client_ufrag: "theirs", client_pwd: "their password of 22 b" };
        let handle = AssociationHandle((5 << 32) + 77);
        let mut out = Vec::new();
        reachability.ask(start, address(1), &name, ProofSubject::Peer(handle), &mut out);
        let id = StunMessage::parse(&out).expect("a message").transaction_id;
        assert_eq!(peer_number(id), 77);
        assert!(reachability.is_proof(start, address(1), ProofSubject::Peer(handle), id));
        for other in [AssociationHandle(77), AssociationHandle(handle.0 + 1)] {
            assert!(!reachability.is_proof(start, address(1), ProofSubject::Peer(other), id), "{other:?}");
        }
        assert!(!reachability.is_proof(start, address(2), ProofSubject::Peer(handle), id), "another port");
        assert!(!reachability.is_proof(start, address(1), ProofSubject::Address, id));
    }
}
