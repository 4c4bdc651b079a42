//! Table of associations by the address of the peer.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use super::source::{AddressCounts, SaltedHasher, give_back_memory};

/// Names an association within its endpoint; never used again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct AssociationHandle(pub u64);

/// Key of a peer: its address and SCTP port.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct PeerAssociation {
    pub(super) address: SocketAddr,
    pub(super) sctp_port: u16,
}

impl PeerAssociation {
    /// Returns the UDP address as State Cookies are bound to it.
    pub(super) fn binding(&self) -> [u8; 18] {
        let ip = match self.address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let mut bytes = [0; 18];
        for (byte, value) in bytes.iter_mut().zip(ip.octets().into_iter().chain(self.address.port().to_be_bytes())) {
            *byte = value;
        }
        bytes
    }
}

#[derive(Debug)]
pub(super) struct AssociationTable {
    by_peer: HashMap<PeerAssociation, AssociationHandle, SaltedHasher>,
    by_handle: HashMap<AssociationHandle, PeerAssociation, SaltedHasher>,
    by_ip: AddressCounts<SaltedHasher>,
    next: u64,
}

impl AssociationTable {
    pub(super) fn new(salt: u64) -> Self {
        Self {
            by_peer: HashMap::with_hasher(SaltedHasher::new(salt)),
            by_handle: HashMap::with_hasher(SaltedHasher::new(salt)),
            by_ip: AddressCounts::with_hasher(SaltedHasher::new(salt)),
            next: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_handle.len()
    }

    pub(super) fn find(&self, peer: &PeerAssociation) -> Option<AssociationHandle> {
        self.by_peer.get(peer).copied()
    }

    pub(super) fn peer(&self, handle: AssociationHandle) -> Option<&PeerAssociation> {
        self.by_handle.get(&handle)
    }

    pub(super) fn count_at(&self, ip: IpAddr) -> usize {
        self.by_ip.get(ip)
    }

    /// Inserts an association. Returns `None` if the peer is in the table already.
    pub(super) fn insert(&mut self, peer: PeerAssociation) -> Option<AssociationHandle> {
        if self.by_peer.contains_key(&peer) {
            return None;
        }
        let handle = AssociationHandle(self.next);
        self.next += 1;
        self.by_peer.insert(peer, handle);
        self.by_handle.insert(handle, peer);
        self.by_ip.add(peer.address.ip());
        Some(handle)
    }

    pub(super) fn remove(&mut self, handle: AssociationHandle) {
        let Some(peer) = self.by_handle.remove(&handle) else { return };
        self.by_peer.remove(&peer);
        self.by_ip.remove(peer.address.ip());
        give_back_memory(&mut self.by_handle);
        give_back_memory(&mut self.by_peer);
    }

    pub(super) fn check_consistency(&self) {
        assert_eq!(self.by_peer.len(), self.by_handle.len());
        #[expect(clippy::iter_over_hash_type, reason = "a check in any order")]
        for (handle, peer) in &self.by_handle {
            assert_eq!(self.by_peer.get(peer), Some(handle));
        }
        assert_eq!(self.by_ip.total(), self.by_handle.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_behind_one_address_are_told_apart_and_counted() {
        let mut table = AssociationTable::new(7);
        let peer = |port, sctp_port| PeerAssociation { address: SocketAddr::from(([192, 0, 2, 1], port)), sctp_port };
        let first = table.insert(peer(1, 5000)).unwrap();
        let second = table.insert(peer(2, 5000)).unwrap();
        let third = table.insert(peer(1, 5001)).unwrap();
        assert_eq!(table.insert(peer(1, 5000)), None);
        assert_eq!(table.count_at(peer(9, 1).address.ip()), 3);
        assert_eq!(table.find(&peer(2, 5000)), Some(second));
        table.check_consistency();
        for handle in [first, third, second] {
            table.remove(handle);
            table.remove(handle);
            table.check_consistency();
        }
        assert_eq!((table.len(), table.count_at(peer(9, 1).address.ip())), (0, 0));
        assert_ne!(table.insert(peer(1, 5000)), Some(first), "handles are not used again");
    }

    #[test]
    fn ipv4_is_bound_like_its_mapped_form_with_the_port() {
        let peer = PeerAssociation { address: SocketAddr::from(([192, 0, 2, 1], 0x1234)), sctp_port: 5000 };
        assert_eq!(peer.binding(), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 0, 2, 1, 0x12, 0x34]);
    }
}
