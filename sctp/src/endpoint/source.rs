//! Sources of datagrams: the hosts and networks that limits apply to, and tables of addresses.

use std::collections::HashMap;
use std::collections::hash_map::{DefaultHasher, RandomState};
use std::hash::{BuildHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

/// Entries for which a table of addresses keeps its memory.
const CAPACITY_KEPT: usize = 64;

/// Holder of a limit: a host, or a network that one subscriber has for himself (RFC 6177 §2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Source {
    /// An IPv4 address.
    V4([u8; 4]),
    /// The first 64 bits of an IPv6 address.
    V6(u64),
}

impl Source {
    /// Returns the source of datagrams that come from this address.
    #[must_use]
    pub fn of(address: SocketAddr) -> Self {
        Self::of_ip(address.ip())
    }

    /// Returns the source of datagrams that come from this IP address. An IPv4 address counts as itself when it is
    /// mapped to IPv6.
    #[must_use]
    pub fn of_ip(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.octets()),
            IpAddr::V6(ip) => Self::V6(u64::try_from(ip.to_bits() >> 64).unwrap_or_default()),
        }
    }
}

/// Hashes with a secret, so that nobody can choose keys that collide; the same secret gives the same hashes.
#[derive(Clone, Copy, Debug)]
pub struct SaltedHasher(u64);

impl SaltedHasher {
    /// Creates a hasher. The salt must come from a secure source of randomness.
    #[must_use]
    pub const fn new(salt: u64) -> Self {
        Self(salt)
    }
}

impl BuildHasher for SaltedHasher {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}

/// The number of associations at each IP address.
#[derive(Debug, Default)]
pub struct AddressCounts<S = RandomState>(HashMap<IpAddr, usize, S>);

impl<S: BuildHasher> AddressCounts<S> {
    /// Creates counts of nothing.
    #[must_use]
    pub fn with_hasher(hasher: S) -> Self {
        Self(HashMap::with_hasher(hasher))
    }

    /// Returns the number of associations at an address.
    #[must_use]
    pub fn get(&self, ip: IpAddr) -> usize {
        self.0.get(&ip).copied().unwrap_or(0)
    }

    /// Returns the number of associations at all addresses.
    #[must_use]
    pub fn total(&self) -> usize {
        self.0.values().sum()
    }

    /// Counts an association.
    pub fn add(&mut self, ip: IpAddr) {
        *self.0.entry(ip).or_insert(0) += 1;
    }

    /// Takes an association off the count.
    pub fn remove(&mut self, ip: IpAddr) {
        let Some(count) = self.0.get_mut(&ip) else { return };
        *count -= 1;
        if *count == 0 {
            self.0.remove(&ip);
            give_back_memory(&mut self.0);
        }
    }
}

/// Shrinks a table of addresses that was once four times as large. Costs O(1) for each entry that was removed.
pub fn give_back_memory<K: Eq + Hash, V, S: BuildHasher>(table: &mut HashMap<K, V, S>) {
    if table.capacity() > CAPACITY_KEPT && table.len() * 4 < table.capacity() {
        table.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_source_and_an_ipv4_address_one_whether_mapped_or_not() {
        let of = |ip: &str| Source::of_ip(ip.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    }

    #[test]
    fn addresses_are_counted_and_their_memory_is_given_back() {
        let mut counts = AddressCounts::with_hasher(SaltedHasher::new(7));
        let ip = |n: u32| IpAddr::from(n.to_be_bytes());
        for n in 0..10_000 {
            counts.add(ip(n));
        }
        counts.add(ip(1));
        assert_eq!((counts.get(ip(1)), counts.get(ip(2)), counts.total()), (2, 1, 10_001));
        for n in 0..9_990 {
            counts.remove(ip(n));
            counts.remove(ip(n + 20_000));
        }
        assert_eq!((counts.get(ip(1)), counts.get(ip(2)), counts.total()), (1, 0, 11));
        assert!(counts.0.capacity() <= CAPACITY_KEPT, "{}", counts.0.capacity());
    }
}
