//! Whom a datagram on a secure endpoint is for: by its source, and a check by whom it names (RFC 8445 §7.3).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use narrowboat_sctp::AssociationHandle;

use super::demux::Protocol;
use super::stats::SecureCounters;
use super::stun::{Class, Message};
use crate::association::Input;
use crate::socket::Datagram;

/// How long an address belongs to a peer that checks from it no more, if another peer does. Browsers check at least every 6
/// seconds, so two checks were lost, or the peer is gone and a NAT has given its port to someone else.
const ADDRESS_KEPT_FOR: Duration = Duration::from_secs(13);

/// The peers of a secure endpoint: who is at which address, and who answers to which user fragment. Each datagram costs one
/// or two look-ups, however many peers there are.
#[derive(Debug)]
pub(crate) struct Router {
    by_address: HashMap<SocketAddr, Owner>,
    by_ufrag: HashMap<Box<str>, AssociationHandle>,
    peers: HashMap<AssociationHandle, Peer>,
    /// Peers without signalling at each IP address.
    direct_by_ip: HashMap<IpAddr, usize>,
    /// Peers with signalling that are not connected yet.
    pending: usize,
    next: u64,
    counters: Arc<SecureCounters>,
}

#[derive(Clone, Copy, Debug)]
struct Owner {
    handle: AssociationHandle,
    checked_at: Instant,
}

#[derive(Debug)]
struct Peer {
    /// The fragment that checks for it name; without signalling it is not known before the first one.
    ufrag: Option<Box<str>>,
    addresses: Vec<SocketAddr>,
    /// Where a peer without signalling came from.
    direct_ip: Option<IpAddr>,
    is_pending: bool,
}

/// What becomes of a datagram.
#[derive(Debug)]
pub(crate) enum Destination {
    /// It is for this association.
    Peer(AssociationHandle, Input),
    /// It may be a new peer's.
    Stranger(Datagram),
    /// It was dropped, and counted.
    Nobody,
}

impl Router {
    pub(crate) fn new(counters: Arc<SecureCounters>) -> Self {
        Self {
            by_address: HashMap::new(),
            by_ufrag: HashMap::new(),
            peers: HashMap::new(),
            direct_by_ip: HashMap::new(),
            pending: 0,
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

    /// Enters a peer whose description travels by signalling; its checks will name this fragment.
    pub(crate) fn insert_signalled(&mut self, ufrag: &str) -> AssociationHandle {
        self.pending += 1;
        let handle =
            self.insert(Peer { ufrag: Some(ufrag.into()), addresses: Vec::new(), direct_ip: None, is_pending: true });
        self.by_ufrag.insert(ufrag.into(), handle);
        handle
    }

    /// Enters a peer that this end asks at these addresses. `None` if one of them is someone else's already.
    pub(crate) fn insert_asked(
        &mut self,
        now: Instant,
        addresses: &[SocketAddr],
    ) -> Result<AssociationHandle, SocketAddr> {
        if let Some(taken) = addresses.iter().find(|address| self.by_address.contains_key(address)) {
            return Err(*taken);
        }
        let handle = self.insert(Peer { ufrag: None, addresses: Vec::new(), direct_ip: None, is_pending: false });
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
            self.insert(Peer { ufrag: None, addresses: Vec::new(), direct_ip: Some(address.ip()), is_pending: false });
        self.give(now, handle, address);
        handle
    }

    /// Forgets a peer that is over.
    pub(crate) fn remove(&mut self, handle: AssociationHandle) {
        let Some(peer) = self.peers.remove(&handle) else { return };
        self.pending -= usize::from(peer.is_pending);
        for address in &peer.addresses {
            if self.owner(address) == Some(handle) {
                self.by_address.remove(address);
            }
        }
        if let Some(ufrag) = peer.ufrag
            && self.by_ufrag.get(&ufrag) == Some(&handle)
        {
            self.by_ufrag.remove(&ufrag);
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

    /// A peer with signalling is connected; it counts as pending no more.
    pub(crate) fn on_connected(&mut self, handle: AssociationHandle) {
        if let Some(peer) = self.peers.get_mut(&handle) {
            self.pending -= usize::from(std::mem::take(&mut peer.is_pending));
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

    /// A peer without signalling has made its first check: this is the fragment that the next ones will name.
    pub(crate) fn name(&mut self, handle: AssociationHandle, ufrag: &str) {
        if self.by_ufrag.contains_key(ufrag) {
            return;
        }
        if let Some(peer) = self.peers.get_mut(&handle)
            && peer.ufrag.is_none()
        {
            peer.ufrag = Some(ufrag.into());
            self.by_ufrag.insert(ufrag.into(), handle);
        }
    }

    /// Says whom a datagram is for.
    pub(crate) fn route(&mut self, now: Instant, datagram: Datagram) -> Destination {
        match Protocol::of(&datagram.bytes) {
            Some(Protocol::Stun) => self.route_stun(now, datagram),
            Some(Protocol::Dtls) => self.route_dtls(datagram),
            None => self.drop_datagram(|counters| &counters.unknown_protocol),
        }
    }

    fn route_stun(&mut self, now: Instant, datagram: Datagram) -> Destination {
        let Ok(message) = Message::parse(&datagram.bytes) else {
            return self.drop_datagram(|counters| &counters.bad_stun);
        };
        let source = datagram.route.remote;
        let handle = match message.class {
            // A keepalive without a request: it says nothing.
            Class::Indication => return Destination::Nobody,
            Class::Success | Class::Error => match self.owner(&source) {
                Some(handle) => Some(handle),
                None => return self.drop_datagram(|counters| &counters.stray_stun_responses),
            },
            Class::Request => {
                let ufrag = message.ice_username().map(|username| username.to);
                let named = ufrag.and_then(|ufrag| self.by_ufrag.get(ufrag)).copied();
                let unnamed = || self.owner(&source).filter(|handle| self.is_unnamed(*handle));
                named.or_else(unnamed)
            }
        };
        let Some(handle) = handle else { return Destination::Stranger(datagram) };
        if let Some(owner) = self.by_address.get_mut(&source).filter(|owner| owner.handle == handle) {
            owner.checked_at = now;
        }
        Destination::Peer(handle, Input::Stun(datagram))
    }

    fn route_dtls(&mut self, datagram: Datagram) -> Destination {
        match self.owner(&datagram.route.remote) {
            // A ClientHello may be another peer's, who has got the port of the old one (RFC 6347 §4.2.8). Until it has
            // proved itself, the old one is not disturbed.
            Some(handle) if self.is_direct(handle) && is_client_hello(&datagram.bytes) => {
                Destination::Stranger(datagram)
            }
            Some(handle) => Destination::Peer(handle, Input::Datagram(datagram)),
            None => Destination::Stranger(datagram),
        }
    }

    fn insert(&mut self, peer: Peer) -> AssociationHandle {
        let handle = AssociationHandle(self.next);
        self.next += 1;
        self.peers.insert(handle, peer);
        handle
    }

    fn owner(&self, address: &SocketAddr) -> Option<AssociationHandle> {
        self.by_address.get(address).map(|owner| owner.handle)
    }

    fn is_direct(&self, handle: AssociationHandle) -> bool {
        self.peers.get(&handle).is_some_and(|peer| peer.direct_ip.is_some())
    }

    fn is_unnamed(&self, handle: AssociationHandle) -> bool {
        self.peers.get(&handle).is_some_and(|peer| peer.direct_ip.is_some() && peer.ufrag.is_none())
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
            self.by_address.insert(address, Owner { handle, checked_at: now });
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

    fn drop_datagram(&self, counter: impl FnOnce(&SecureCounters) -> &std::sync::atomic::AtomicU64) -> Destination {
        counter(&self.counters).fetch_add(1, Ordering::Relaxed);
        Destination::Nobody
    }

    /// Recounts the table.
    #[cfg(test)]
    fn check_consistency(&self) {
        for (address, owner) in &self.by_address {
            assert!(self.peers[&owner.handle].addresses.contains(address));
        }
        for (ufrag, handle) in &self.by_ufrag {
            assert_eq!(self.peers[handle].ufrag.as_ref(), Some(ufrag));
        }
        assert_eq!(self.pending, self.peers.values().filter(|peer| peer.is_pending).count());
        let direct = self.peers.values().filter(|peer| peer.direct_ip.is_some()).count();
        assert_eq!(self.direct_by_ip.values().sum::<usize>(), direct);
    }
}

/// Whether the datagram begins with a plaintext handshake record with a ClientHello (RFC 6347 §4.1, §4.2.2).
pub(super) fn is_client_hello(datagram: &[u8]) -> bool {
    matches!(datagram, [22, _, _, 0, 0, _, _, _, _, _, _, _, _, 1, ..])
}
