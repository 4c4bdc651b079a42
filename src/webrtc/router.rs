//! The peers of a secure endpoint, by address and by user fragment (RFC 8445 §7.3).

mod datagrams;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use narrowboat_sctp::{AddressCounts, AssociationHandle, Source, give_back_memory};

use super::answered::AnsweredPeers;
use super::reachability::Reachability;
use super::stats::SecureCounters;
use crate::counters::count_drop;
use crate::net::effects::UfragClaim;

pub(in crate::webrtc) use self::datagrams::is_client_hello;

/// Time for which an address belongs to a peer that no longer checks from it, if another peer does. Browsers check at
/// least every 6 seconds, so two checks were lost, or the peer is gone and a NAT has given its port to someone else.
const ADDRESS_KEPT_FOR: Duration = Duration::from_secs(13);

/// Peers of a secure endpoint, by address and by user fragment. Each datagram costs one or two look-ups, however many
/// peers there are.
#[derive(Debug)]
pub(crate) struct SecureRouter {
    by_address: HashMap<SocketAddr, RouteOwner>,
    by_ufrag: HashMap<Box<str>, AssociationHandle>,
    peers: HashMap<AssociationHandle, RoutedPeer>,
    /// Peers without signalling at each IP address.
    direct_by_ip: AddressCounts,
    /// Peers with signalling that are not connected yet.
    pending: usize,
    /// Of those, the ones that this end has answered and that may have to make room.
    answered: AnsweredPeers,
    next: u64,
    /// Recognizes answers to questions of this end.
    reachability: Reachability,
    counters: Arc<SecureCounters>,
}

#[derive(Clone, Copy, Debug)]
struct RouteOwner {
    handle: AssociationHandle,
    checked_at: Instant,
    /// True if somebody has sent a ClientHello from the address since the peer has got it.
    has_newcomer: bool,
    /// End of the time in which handshakes from the address belong to a peer without signalling, which has shown that
    /// it is there.
    newcomer_until: Option<Instant>,
}

#[derive(Debug, Default)]
struct RoutedPeer {
    /// Fragments that checks for this peer name. A peer without signalling has none before its first check, and may
    /// have several until it has confirmed one.
    ufrags: Vec<Box<str>>,
    /// True until a peer without signalling has confirmed a fragment. Until then its checks are its own, with any
    /// fragment.
    is_unnamed: bool,
    addresses: Vec<SocketAddr>,
    /// IP address from which a peer without signalling came.
    direct_ip: Option<IpAddr>,
    is_pending: bool,
    /// Source that requested the answer given to this peer, if the peer may have to make room. `Some(None)` is an
    /// unknown source.
    answered: Option<Option<Source>>,
    /// True if this end has begun.
    is_asked: bool,
}

impl SecureRouter {
    pub(crate) fn new(counters: Arc<SecureCounters>, reachability: Reachability) -> Self {
        Self {
            by_address: HashMap::new(),
            by_ufrag: HashMap::new(),
            peers: HashMap::new(),
            direct_by_ip: AddressCounts::default(),
            pending: 0,
            answered: AnsweredPeers::default(),
            next: 0,
            reachability,
            counters,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }

    /// Returns true if the router knows this peer.
    pub(crate) fn has(&self, handle: AssociationHandle) -> bool {
        self.peers.contains_key(&handle)
    }

    pub(crate) fn pending(&self) -> usize {
        self.pending
    }

    /// Returns the number of peers without signalling at an IP address.
    pub(crate) fn count_at(&self, ip: IpAddr) -> usize {
        self.direct_by_ip.get(ip)
    }

    /// Returns the peer with signalling that is to make room for an answer that this source asks for. A description
    /// costs its sender nothing, so answers that lead to no connection must not keep others out, and one client must
    /// not displace others. `None` if all pending peers have been offered something.
    pub(crate) fn displaceable(&self, source: Option<Source>) -> Option<AssociationHandle> {
        let has_checked = |handle| self.peers.get(&handle).is_some_and(|peer| !peer.addresses.is_empty());
        self.answered.displaceable(source, has_checked)
    }

    /// Enters a peer whose offer this end answers; its checks will name this fragment. It may have to make room for
    /// another.
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

    /// Enters a peer that this end asks at these addresses, and that may ask this end by this fragment. A peer that is
    /// not connected and checks from one of the addresses does not keep it.
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
        let is_taken = |address: &&SocketAddr| self.owner(address).is_some_and(|owner| !self.is_pending(owner));
        if let Some(taken) = addresses.iter().find(is_taken) {
            return Err(*taken);
        }
        let handle = self.insert(RoutedPeer { ufrags: vec![ufrag.into()], is_asked: true, ..RoutedPeer::default() });
        self.by_ufrag.insert(ufrag.into(), handle);
        addresses.iter().for_each(|address| self.give(now, handle, *address));
        Ok(handle)
    }

    /// Enters a peer that has connected without signalling, and has proved to be at this address. The peer that had the
    /// address before is gone: it would have to have the same port.
    pub(crate) fn insert_direct(&mut self, now: Instant, address: SocketAddr) -> AssociationHandle {
        self.direct_by_ip.add(address.ip());
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

    /// Returns the peer that this end asks at this address, if there is one.
    pub(crate) fn asked_at(&self, address: &SocketAddr) -> Option<AssociationHandle> {
        self.owner(address).filter(|handle| self.is_asked(*handle))
    }

    /// Handles a peer that this end has asked, and that has connected without signalling and proved to be at this
    /// address. The peer is asked no more.
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
        if let Some(ip) = peer.direct_ip {
            self.direct_by_ip.remove(ip);
        }
        give_back_memory(&mut self.by_address);
        give_back_memory(&mut self.by_ufrag);
        give_back_memory(&mut self.peers);
    }

    /// Returns `true` if a peer with signalling has not finished its handshake.
    pub(crate) fn is_pending(&self, handle: AssociationHandle) -> bool {
        self.peers.get(&handle).is_some_and(|peer| peer.is_pending)
    }

    /// Handles the connection of a peer with signalling: the peer no longer counts as pending.
    pub(crate) fn on_connected(&mut self, handle: AssociationHandle) {
        if let Some(peer) = self.peers.get_mut(&handle) {
            self.pending -= usize::from(std::mem::take(&mut peer.is_pending));
            if let Some(source) = peer.answered.take() {
                self.answered.remove(source, handle);
            }
        }
    }

    /// Handles a valid check, which has shown that the peer is at this address; `evicted` had to make room for it. If
    /// another peer still checks from the address, the address stays with that peer, because a sender with a forged
    /// source must not silence others. If the peer answers a question of this end there, the address becomes its own
    /// all the same.
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
        match self.by_address.get_mut(&address) {
            Some(owner)
                if owner.handle != handle && now.saturating_duration_since(owner.checked_at) < ADDRESS_KEPT_FOR =>
            {
                count_drop!(self.counters, address_conflicts, remote_address = %address, association = handle.0);
            }
            // A newcomer there stays: the check may be forged in its name.
            Some(owner) if owner.handle == handle => owner.checked_at = now,
            _ => self.give(now, handle, address),
        }
    }

    /// Handles the choice of a fragment by a peer without signalling. A claim takes no fragment from another peer. A
    /// confirmation does, because a peer that has confirmed is at this address and knows the password.
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

    fn has_proved_newcomer(&self, now: Instant, address: &SocketAddr) -> bool {
        let owner = self.by_address.get(address);
        owner.and_then(|owner| owner.newcomer_until).is_some_and(|until| now < until)
    }

    fn expects_response(&self, handle: AssociationHandle) -> bool {
        self.peers.get(&handle).is_some_and(|peer| peer.is_unnamed || peer.is_asked)
    }

    /// True if a hello from an address of this peer is its own: it has been described and is not connected, or this end
    /// has asked it.
    fn expects_hello(&self, handle: AssociationHandle) -> bool {
        self.peers.get(&handle).is_some_and(|peer| peer.is_pending || peer.is_asked)
    }

    fn is_asked(&self, handle: AssociationHandle) -> bool {
        self.peers.get(&handle).is_some_and(|peer| peer.is_asked)
    }

    fn is_unnamed(&self, handle: AssociationHandle) -> bool {
        self.peers.get(&handle).is_some_and(|peer| peer.is_unnamed)
    }

    /// Gives the address to this peer from now on.
    fn give(&mut self, now: Instant, handle: AssociationHandle, address: SocketAddr) {
        if let Some(previous) = self.owner(&address).filter(|previous| *previous != handle) {
            tracing::debug!(remote_address = %address, association = handle.0, previous = previous.0, "address claimed");
            self.take(previous, address);
        }
        if let Some(peer) = self.peers.get_mut(&handle) {
            if !peer.addresses.contains(&address) {
                peer.addresses.push(address);
            }
            let owner = RouteOwner { handle, checked_at: now, has_newcomer: false, newcomer_until: None };
            self.by_address.insert(address, owner);
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

    /// Recounts the table.
    #[cfg(test)]
    pub(super) fn check_consistency(&self) {
        use std::collections::HashSet;
        #[expect(clippy::iter_over_hash_type, reason = "a check in any order")]
        for (address, owner) in &self.by_address {
            assert!(self.peers[&owner.handle].addresses.contains(address));
        }
        #[expect(clippy::iter_over_hash_type, reason = "a check in any order")]
        for (ufrag, handle) in &self.by_ufrag {
            assert!(self.peers[handle].ufrags.contains(ufrag));
        }
        assert_eq!(self.pending, self.peers.values().filter(|peer| peer.is_pending).count());
        let answered = self.peers.iter().filter_map(|(handle, peer)| Some((peer.answered?, *handle)));
        assert_eq!(answered.collect::<HashSet<_>>(), self.answered.iter().collect());
        assert!(self.peers.values().all(|peer| peer.answered.is_none() || peer.is_pending));
        let direct = self.peers.values().filter(|peer| peer.direct_ip.is_some()).count();
        assert_eq!(self.direct_by_ip.total(), direct);
    }
}
