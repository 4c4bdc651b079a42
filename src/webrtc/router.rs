//! Whom a datagram on a secure endpoint is for: by its source, and a check by whom it names (RFC 8445 §7.3).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use narrowboat_sctp::AssociationHandle;

use super::admission::Source;
use super::answered::AnsweredPeers;
use super::demux::Protocol;
use super::stats::SecureCounters;
use super::stun::{Class, StunMessage};
use crate::association::Input;
use crate::endpoint::UfragClaim;
use crate::socket::Datagram;

/// How long an address belongs to a peer that checks from it no more, if another peer does. Browsers check at least every 6
/// seconds, so two checks were lost, or the peer is gone and a NAT has given its port to someone else.
const ADDRESS_KEPT_FOR: Duration = Duration::from_secs(13);

/// The peers of a secure endpoint: who is at which address, and who answers to which user fragment. Each datagram costs one
/// or two look-ups, however many peers there are.
#[derive(Debug)]
pub(crate) struct SecureRouter {
    by_address: HashMap<SocketAddr, RouteOwner>,
    by_ufrag: HashMap<Box<str>, AssociationHandle>,
    peers: HashMap<AssociationHandle, RoutedPeer>,
    /// Peers without signalling at each IP address.
    direct_by_ip: HashMap<IpAddr, usize>,
    /// Peers with signalling that are not connected yet.
    pending: usize,
    /// Of those, the ones that this end has answered and that may have to make room.
    answered: AnsweredPeers,
    next: u64,
    counters: Arc<SecureCounters>,
}

#[derive(Clone, Copy, Debug)]
struct RouteOwner {
    handle: AssociationHandle,
    checked_at: Instant,
    /// True if somebody has sent a ClientHello from the address since.
    has_newcomer: bool,
}

#[derive(Debug, Default)]
struct RoutedPeer {
    /// The fragments that checks for it name. A peer without signalling has none before its first check, and may have
    /// several until it has confirmed one.
    ufrags: Vec<Box<str>>,
    /// True until a peer without signalling has confirmed a fragment: whatever its checks name, they are its own.
    is_unnamed: bool,
    addresses: Vec<SocketAddr>,
    /// Where a peer without signalling came from.
    direct_ip: Option<IpAddr>,
    is_pending: bool,
    /// Who has asked for the answer that it was given, if it may have to make room: `Some(None)` is somebody unknown.
    answered: Option<Option<Source>>,
    /// True if this end has begun.
    is_asked: bool,
}

/// What becomes of a datagram.
#[derive(Debug)]
pub(crate) enum RouteTarget {
    /// It is for this association.
    Peer(AssociationHandle, Input),
    /// It is a handshake's, and either this association's or that of a newcomer who has got its address.
    PeerOrNewcomer(AssociationHandle, Datagram),
    /// It may be a new peer's.
    Stranger(Datagram),
    /// It was dropped, and counted.
    Nobody,
}

impl SecureRouter {
    pub(crate) fn new(counters: Arc<SecureCounters>) -> Self {
        Self {
            by_address: HashMap::new(),
            by_ufrag: HashMap::new(),
            peers: HashMap::new(),
            direct_by_ip: HashMap::new(),
            pending: 0,
            answered: AnsweredPeers::default(),
            next: 0,
            counters,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }

    pub(crate) fn pending(&self) -> usize {
        self.pending
    }

    /// Peers without signalling at an IP address.
    pub(crate) fn count_at(&self, ip: IpAddr) -> usize {
        self.direct_by_ip.get(&ip).copied().unwrap_or(0)
    }

    /// The peer with signalling that is to make room for one whose answer this source asks for. A description costs its sender
    /// nothing, so that those which lead to nothing must not keep others out, nor may one client push out others. `None` if
    /// all pending peers have been offered something.
    pub(crate) fn displaceable(&self, source: Option<Source>) -> Option<AssociationHandle> {
        let has_checked = |handle| self.peers.get(&handle).is_some_and(|peer| !peer.addresses.is_empty());
        self.answered.displaceable(source, has_checked)
    }

    /// Enters a peer whose offer this end answers; its checks will name this fragment. It may have to make room for another.
    pub(crate) fn insert_answered(&mut self, ufrag: &str, source: Option<Source>) -> AssociationHandle {
        let handle = self.insert_signalled(ufrag);
        if let Some(peer) = self.peers.get_mut(&handle) {
            peer.answered = Some(source);
        }
        self.answered.insert(source, handle);
        handle
    }

    /// Enters a peer whose description travels by signalling; its checks will name this fragment.
    pub(crate) fn insert_signalled(&mut self, ufrag: &str) -> AssociationHandle {
        self.pending += 1;
        let handle = self.insert(RoutedPeer { ufrags: vec![ufrag.into()], is_pending: true, ..RoutedPeer::default() });
        self.by_ufrag.insert(ufrag.into(), handle);
        handle
    }

    /// Enters a peer that this end asks at these addresses, and that may ask this end by this fragment.
    ///
    /// # Errors
    ///
    /// The first of the addresses that is another peer's already.
    pub(crate) fn insert_asked(
        &mut self,
        now: Instant,
        addresses: &[SocketAddr],
        ufrag: &str,
    ) -> Result<AssociationHandle, SocketAddr> {
        if let Some(taken) = addresses.iter().find(|address| self.by_address.contains_key(address)) {
            return Err(*taken);
        }
        let handle = self.insert(RoutedPeer { ufrags: vec![ufrag.into()], is_asked: true, ..RoutedPeer::default() });
        self.by_ufrag.insert(ufrag.into(), handle);
        for address in addresses {
            self.learn(now, handle, *address, None);
        }
        Ok(handle)
    }

    /// Enters a peer that has come without signalling, and has proved to be at this address. Whoever was there before is
    /// gone: it would have to have the same port.
    pub(crate) fn insert_direct(&mut self, now: Instant, address: SocketAddr) -> AssociationHandle {
        *self.direct_by_ip.entry(address.ip()).or_insert(0) += 1;
        let handle =
            self.insert(RoutedPeer { direct_ip: Some(address.ip()), is_unnamed: true, ..RoutedPeer::default() });
        if let Some(previous) = self.owner(&address).filter(|previous| self.is_unnamed(*previous)) {
            // Its checks may have been the new peer's.
            let claimed =
                self.peers.get_mut(&previous).map(|peer| std::mem::take(&mut peer.ufrags)).unwrap_or_default();
            claimed.iter().for_each(|ufrag| self.unname(previous, ufrag));
        }
        self.give(now, handle, address);
        handle
    }

    /// The peer that this end asks at this address, if there is one.
    pub(crate) fn asked_at(&self, address: &SocketAddr) -> Option<AssociationHandle> {
        let is_asked = |handle: &AssociationHandle| self.peers.get(handle).is_some_and(|peer| peer.is_asked);
        self.owner(address).filter(is_asked)
    }

    /// A peer that this end has asked has come without signalling, and has proved to be at this address. It is asked no more.
    pub(crate) fn on_adopted(&mut self, now: Instant, handle: AssociationHandle, address: SocketAddr) {
        let Some(peer) = self.peers.get_mut(&handle) else { return };
        (peer.is_asked, peer.is_unnamed) = (false, true);
        let (ufrags, addresses) = (std::mem::take(&mut peer.ufrags), peer.addresses.clone());
        ufrags.iter().for_each(|ufrag| self.unname(handle, ufrag));
        addresses.iter().filter(|other| **other != address).for_each(|other| self.take(handle, *other));
        self.give(now, handle, address);
    }

    /// Forgets a peer that is over.
    pub(crate) fn remove(&mut self, handle: AssociationHandle) {
        let Some(peer) = self.peers.remove(&handle) else { return };
        self.pending -= usize::from(peer.is_pending);
        if let Some(source) = peer.answered {
            self.answered.remove(source, handle);
        }
        for address in &peer.addresses {
            if self.owner(address) == Some(handle) {
                self.by_address.remove(address);
            }
        }
        for ufrag in &peer.ufrags {
            self.unname(handle, ufrag);
        }
        if let Some(ip) = peer.direct_ip
            && let Some(count) = self.direct_by_ip.get_mut(&ip)
        {
            *count -= 1;
            if *count == 0 {
                self.direct_by_ip.remove(&ip);
            }
        }
        if self.by_address.capacity() > 64 && self.by_address.len() * 4 < self.by_address.capacity() {
            self.by_address.shrink_to_fit();
            self.by_ufrag.shrink_to_fit();
            self.peers.shrink_to_fit();
            self.direct_by_ip.shrink_to_fit();
        }
    }

    /// Returns `true` if a peer with signalling has not finished its handshake.
    pub(crate) fn is_pending(&self, handle: AssociationHandle) -> bool {
        self.peers.get(&handle).is_some_and(|peer| peer.is_pending)
    }

    /// A peer with signalling is connected; it counts as pending no more.
    pub(crate) fn on_connected(&mut self, handle: AssociationHandle) {
        if let Some(peer) = self.peers.get_mut(&handle) {
            self.pending -= usize::from(std::mem::take(&mut peer.is_pending));
            if let Some(source) = peer.answered.take() {
                self.answered.remove(source, handle);
            }
        }
    }

    /// A valid check has shown that the peer is at this address; one that had to make room for it is `evicted`. An address
    /// of another peer that still checks from it stays that one's: whoever can forge a source must not silence others.
    pub(crate) fn learn(
        &mut self,
        now: Instant,
        handle: AssociationHandle,
        address: SocketAddr,
        evicted: Option<SocketAddr>,
    ) {
        if let Some(evicted) = evicted {
            self.take(handle, evicted);
        }
        match self.by_address.get(&address) {
            Some(owner)
                if owner.handle != handle && now.saturating_duration_since(owner.checked_at) < ADDRESS_KEPT_FOR =>
            {
                self.counters.address_conflicts.fetch_add(1, Ordering::Relaxed);
            }
            _ => self.give(now, handle, address),
        }
    }

    /// A peer without signalling has chosen a fragment. A claim takes no fragment from another peer; a confirmation does:
    /// whoever has confirmed is at this peer's address, and knows the password.
    pub(crate) fn name(&mut self, handle: AssociationHandle, naming: UfragClaim) {
        let Some(peer) = self.peers.get_mut(&handle).filter(|peer| peer.is_unnamed) else { return };
        let (ufrag, dropped) = match naming {
            UfragClaim::Claimed { ufrag, dropped } => (ufrag.into_boxed_str(), dropped.into_iter().collect::<Vec<_>>()),
            UfragClaim::Confirmed { ufrag } => {
                peer.is_unnamed = false;
                self.by_ufrag.insert(ufrag.as_str().into(), handle);
                let others = peer.ufrags.iter().filter(|other| ***other != *ufrag).map(ToString::to_string).collect();
                (ufrag.into_boxed_str(), others)
            }
        };
        for other in &dropped {
            peer.ufrags.retain(|known| **known != **other);
        }
        if !peer.ufrags.contains(&ufrag) {
            peer.ufrags.push(ufrag.clone());
        }
        self.by_ufrag.entry(ufrag).or_insert(handle);
        for other in &dropped {
            self.unname(handle, other);
        }
    }

    fn unname(&mut self, handle: AssociationHandle, ufrag: &str) {
        if self.by_ufrag.get(ufrag) == Some(&handle) {
            self.by_ufrag.remove(ufrag);
        }
    }

    /// Says whom a datagram is for.
    pub(crate) fn route(&mut self, now: Instant, datagram: Datagram) -> RouteTarget {
        match Protocol::of(&datagram.bytes) {
            Some(Protocol::Stun) => self.route_stun(now, datagram),
            Some(Protocol::Dtls) => self.route_dtls(datagram),
            None => self.drop_datagram(|counters| &counters.unknown_protocol),
        }
    }

    fn route_stun(&mut self, now: Instant, datagram: Datagram) -> RouteTarget {
        let Ok(message) = StunMessage::parse(&datagram.bytes) else {
            return self.drop_datagram(|counters| &counters.bad_stun);
        };
        if message.has_malformed_attribute {
            self.counters.malformed_stun_attributes.fetch_add(1, Ordering::Relaxed);
        }
        let source = datagram.route.remote;
        if message.class == Class::Request && self.is_own_check(&source, &message) {
            return self.drop_datagram(|counters| &counters.bad_stun);
        }
        let handle = match message.class {
            // A keepalive without a request: it says nothing.
            Class::Indication => return self.drop_datagram(|counters| &counters.stun_indications),
            // The others are asked nothing, so that a response from there may be a newcomer's.
            Class::Success | Class::Error => self.owner(&source).filter(|handle| self.expects_response(*handle)),
            Class::Request => {
                let named = || self.by_ufrag.get(message.ice_username()?.to).copied();
                // What comes from the address of a peer that has not confirmed a name is that peer's own. This is so for a
                // fragment that an earlier peer at the same address has left, too.
                let unnamed = self.owner(&source).filter(|handle| self.is_unnamed(*handle));
                unnamed.or_else(named)
            }
        };
        let Some(handle) = handle else { return RouteTarget::Stranger(datagram) };
        if let Some(owner) = self.by_address.get_mut(&source).filter(|owner| owner.handle == handle) {
            owner.checked_at = now;
        }
        RouteTarget::Peer(handle, Input::Stun(datagram))
    }

    /// True if this end has sent the check itself, and an echo service or a loop in the network has sent it back. The direct listener
    /// would answer it, and the service would seem to have done so.
    fn is_own_check(&self, source: &SocketAddr, check: &StunMessage<'_>) -> bool {
        let Some(asked) = self.asked_at(source).and_then(|handle| self.peers.get(&handle)) else { return false };
        let from = check.ice_username().map(|username| username.from);
        asked.ufrags.iter().any(|ufrag| Some(&**ufrag) == from)
    }

    fn route_dtls(&mut self, datagram: Datagram) -> RouteTarget {
        match self.owner(&datagram.route.remote) {
            // A ClientHello may be another peer's, who has got the port of the old one (RFC 6347 §4.2.8). Until it has
            // proved itself, the old one is not disturbed.
            // A peer with signalling may check in the name of a newcomer's address, and needs no hello once it is connected.
            Some(handle) if !self.expects_hello(handle) && is_client_hello(&datagram.bytes) => {
                if let Some(owner) = self.by_address.get_mut(&datagram.route.remote) {
                    owner.has_newcomer = true;
                }
                RouteTarget::Stranger(datagram)
            }
            Some(handle) if self.has_newcomer(&datagram.route.remote) && is_of_handshake(&datagram.bytes) => {
                RouteTarget::PeerOrNewcomer(handle, datagram)
            }
            Some(handle) => RouteTarget::Peer(handle, Input::Datagram(datagram)),
            None => RouteTarget::Stranger(datagram),
        }
    }

    fn insert(&mut self, peer: RoutedPeer) -> AssociationHandle {
        let handle = AssociationHandle(self.next);
        self.next += 1;
        self.peers.insert(handle, peer);
        handle
    }

    fn owner(&self, address: &SocketAddr) -> Option<AssociationHandle> {
        self.by_address.get(address).map(|owner| owner.handle)
    }

    fn has_newcomer(&self, address: &SocketAddr) -> bool {
        self.by_address.get(address).is_some_and(|owner| owner.has_newcomer)
    }

    fn expects_response(&self, handle: AssociationHandle) -> bool {
        self.peers.get(&handle).is_some_and(|peer| peer.is_unnamed || peer.is_asked)
    }

    /// True if a hello from an address of this peer is its own: it has been described and is not connected, or this end has
    /// asked it.
    fn expects_hello(&self, handle: AssociationHandle) -> bool {
        self.peers.get(&handle).is_some_and(|peer| peer.is_pending || peer.is_asked)
    }

    fn is_unnamed(&self, handle: AssociationHandle) -> bool {
        self.peers.get(&handle).is_some_and(|peer| peer.is_unnamed)
    }

    /// The address is this peer's from now on.
    fn give(&mut self, now: Instant, handle: AssociationHandle, address: SocketAddr) {
        if let Some(previous) = self.owner(&address).filter(|previous| *previous != handle) {
            self.take(previous, address);
        }
        if let Some(peer) = self.peers.get_mut(&handle) {
            if !peer.addresses.contains(&address) {
                peer.addresses.push(address);
            }
            self.by_address.insert(address, RouteOwner { handle, checked_at: now, has_newcomer: false });
        }
    }

    fn take(&mut self, handle: AssociationHandle, address: SocketAddr) {
        if let Some(peer) = self.peers.get_mut(&handle) {
            peer.addresses.retain(|known| *known != address);
        }
        if self.owner(&address) == Some(handle) {
            self.by_address.remove(&address);
        }
    }

    fn drop_datagram(&self, counter: impl FnOnce(&SecureCounters) -> &std::sync::atomic::AtomicU64) -> RouteTarget {
        counter(&self.counters).fetch_add(1, Ordering::Relaxed);
        RouteTarget::Nobody
    }

    /// Recounts the table.
    #[cfg(test)]
    pub(super) fn check_consistency(&self) {
        use std::collections::HashSet;
        for (address, owner) in &self.by_address {
            assert!(self.peers[&owner.handle].addresses.contains(address));
        }
        for (ufrag, handle) in &self.by_ufrag {
            assert!(self.peers[handle].ufrags.contains(ufrag));
        }
        assert_eq!(self.pending, self.peers.values().filter(|peer| peer.is_pending).count());
        let answered = self.peers.iter().filter_map(|(handle, peer)| Some((peer.answered?, *handle)));
        assert_eq!(answered.collect::<HashSet<_>>(), self.answered.iter().collect());
        assert!(self.peers.values().all(|peer| peer.answered.is_none() || peer.is_pending));
        let direct = self.peers.values().filter(|peer| peer.direct_ip.is_some()).count();
        assert_eq!(self.direct_by_ip.values().sum::<usize>(), direct);
    }
}

/// Whether the datagram begins with a plaintext handshake record with a ClientHello (RFC 6347 §4.1, §4.2.2).
pub(in crate::webrtc) fn is_client_hello(datagram: &[u8]) -> bool {
    matches!(datagram, [22, _, _, 0, 0, _, _, _, _, _, _, _, _, 1, ..])
}

/// True if the datagram begins with a record that a client may send before its handshake is done: in the clear or under the
/// keys of the handshake, which are epoch 1 in DTLS 1.2 (RFC 6347 §4.1) and epoch 2 in 1.3 (RFC 9147 §4.2.2, §6.1).
fn is_of_handshake(datagram: &[u8]) -> bool {
    match datagram.first() {
        Some(20..=22) => true,
        Some(unified) => unified & 0b1110_0011 == 0b0010_0010,
        None => false,
    }
}

#[cfg(test)]
mod tests;
