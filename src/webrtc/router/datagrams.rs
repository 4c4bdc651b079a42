//! Routing of datagrams on a secure endpoint: by source, and checks by the user fragment that they name (RFC 8445
//! §7.3).

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use narrowboat_sctp::AssociationHandle;

use super::SecureRouter;
use crate::counters::count_drop;
use crate::net::{Datagram, Input, RouteTarget, Stranger};
use crate::webrtc::demux::Protocol;
use crate::webrtc::reachability::{ProofSubject, peer_number};
use crate::webrtc::stun::{Class, StunMessage, TransactionId};

/// Time for which handshakes from a contested address belong to a peer without signalling that has shown that it is
/// there: as long as one handshake may take (`AdmissionConfig::lifetime`).
pub(super) const NEWCOMER_KEPT_FOR: Duration = Duration::from_secs(10);

impl SecureRouter {
    /// Routes a datagram.
    pub(crate) fn route(&mut self, now: Instant, datagram: Datagram) -> RouteTarget {
        match Protocol::of(&datagram.bytes) {
            Some(Protocol::Stun) => self.route_stun(now, datagram),
            Some(Protocol::Dtls) => self.route_dtls(now, datagram),
            None => {
                count_drop!(self.counters, unknown_protocol, remote_address = %datagram.route.remote);
                RouteTarget::Nobody
            }
        }
    }

    fn route_stun(&mut self, now: Instant, datagram: Datagram) -> RouteTarget {
        let source = datagram.route.remote;
        let Ok(message) = StunMessage::parse(&datagram.bytes) else {
            count_drop!(self.counters, bad_stun, remote_address = %source);
            return RouteTarget::Nobody;
        };
        if message.has_malformed_attribute {
            self.counters.malformed_stun_attributes.fetch_add(1, Ordering::Relaxed);
        }
        if message.class == Class::Request && self.is_own_check(&source, &message) {
            count_drop!(self.counters, bad_stun, remote_address = %source, is_own = true);
            return RouteTarget::Nobody;
        }
        let owner = self.owner(&source);
        let handle = match message.class {
            // A keepalive without a request: it says nothing.
            Class::Indication => {
                count_drop!(self.counters, stun_indications, remote_address = %source);
                return RouteTarget::Nobody;
            }
            // The others are asked only if an address is contested, so that a response from there may be a newcomer's.
            Class::Success | Class::Error => owner.filter(|handle| self.expects_response(*handle)),
            Class::Request => {
                let named = || self.by_ufrag.get(message.ice_username()?.to).copied();
                // A check from the address of a peer that has not confirmed a name is that peer's own. This is so for a
                // fragment that an earlier peer at the same address has left, too.
                let unnamed = owner.filter(|handle| self.is_unnamed(*handle));
                unnamed.or_else(named)
            }
        };
        let Some(handle) = handle else {
            let is_contested = owner.is_some_and(|owner| self.is_pending(owner));
            if message.class == Class::Success && self.on_proof(now, source, message.transaction_id) {
                return RouteTarget::Nobody;
            }
            return RouteTarget::Stranger(Stranger { datagram, is_contested, has_room: false });
        };
        if let Some(owner) = self.by_address.get_mut(&source).filter(|owner| owner.handle == handle) {
            owner.checked_at = now;
        }
        let is_contested =
            message.class == Class::Request && owner.is_some_and(|owner| owner != handle && !self.is_asked(owner));
        RouteTarget::Peer(handle, Input { datagram, is_contested })
    }

    /// Handles a response from the address of a peer that is asked nothing there. If it answers a question of this end
    /// about another peer that checks from there, the address becomes the other peer's, and the result is `true`. If it
    /// answers a question to a newcomer, handshakes from there are the newcomer's for a while.
    ///
    /// Checks are worth less than answers, because a sender with a forged source receives nothing there.
    fn on_proof(&mut self, now: Instant, source: SocketAddr, id: TransactionId) -> bool {
        let Some(owner) = self.owner(&source) else { return false };
        if let Some(claimant) = self.peer_of(id).filter(|claimant| *claimant != owner)
            && self.reachability.is_proof(now, source, ProofSubject::Peer(claimant), id)
        {
            self.give(now, claimant, source);
            return true;
        }
        if self.is_pending(owner)
            && self.reachability.is_proof(now, source, ProofSubject::Address, id)
            && let Some(owner) = self.by_address.get_mut(&source)
        {
            owner.newcomer_until = Some(now + NEWCOMER_KEPT_FOR);
        }
        false
    }

    /// Returns the peer that a question with this transaction id was about, if it was about one.
    pub(super) fn peer_of(&self, id: TransactionId) -> Option<AssociationHandle> {
        let number = self.next & !u64::from(u32::MAX) | u64::from(peer_number(id));
        let number = if number < self.next { number } else { number.checked_sub(1 << 32)? };
        Some(AssociationHandle(number)).filter(|handle| self.peers.contains_key(handle))
    }

    /// True if this end has sent the check itself, and an echo service or a loop in the network has sent it back. The
    /// direct listener would answer it, and the service would seem to have done so.
    fn is_own_check(&self, source: &SocketAddr, check: &StunMessage<'_>) -> bool {
        let Some(asked) = self.asked_at(source).and_then(|handle| self.peers.get(&handle)) else { return false };
        let from = check.ice_username().map(|username| username.from);
        asked.ufrags.iter().any(|ufrag| Some(&**ufrag) == from)
    }

    fn route_dtls(&mut self, now: Instant, datagram: Datagram) -> RouteTarget {
        let source = datagram.route.remote;
        let stranger = |datagram| Stranger { datagram, is_contested: false, has_room: false };
        match self.owner(&source) {
            Some(_) if self.has_proved_newcomer(now, &source) => RouteTarget::Stranger(stranger(datagram)),
            // A ClientHello may be another peer's, who has got the port of the old one (RFC 6347 §4.2.8). Until it has
            // proved itself, the old one is not disturbed.
            // A peer with signalling may check in the name of a newcomer's address, and needs no hello once it is
            // connected.
            Some(handle) if !self.expects_hello(handle) && is_client_hello(&datagram.bytes) => {
                if let Some(owner) = self.by_address.get_mut(&source) {
                    owner.has_newcomer = true;
                }
                RouteTarget::Stranger(stranger(datagram))
            }
            Some(handle) if self.has_newcomer(&source) && is_of_handshake(&datagram.bytes) => {
                RouteTarget::PeerOrNewcomer(handle, datagram)
            }
            Some(handle) => RouteTarget::Peer(handle, Input::new(datagram)),
            None => RouteTarget::Stranger(stranger(datagram)),
        }
    }
}

/// True if the datagram begins with a plaintext handshake record with a ClientHello (RFC 6347 §4.1, §4.2.2).
pub(in crate::webrtc) fn is_client_hello(datagram: &[u8]) -> bool {
    matches!(datagram, [22, _, _, 0, 0, _, _, _, _, _, _, _, _, 1, ..])
}

/// True if the datagram begins with a record that a client may send before its handshake is done: in the clear or under
/// the keys of the handshake, which are epoch 1 in DTLS 1.2 (RFC 6347 §4.1) and epoch 2 in 1.3 (RFC 9147 §4.2.2, §6.1).
fn is_of_handshake(datagram: &[u8]) -> bool {
    match datagram.first() {
        Some(20..=22) => true,
        Some(unified) => unified & 0b1110_0011 == 0b0010_0010,
        None => false,
    }
}
