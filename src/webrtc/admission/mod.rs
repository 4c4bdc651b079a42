//! Peers that have begun a handshake and proved nothing yet: a table of fixed size.
//!
//! Anybody can send a ClientHello with anybody's address as its source. What is kept of those that do is bounded in
//! number, by source and in time, and what they are sent is bounded by what they have sent. Who proves to be there, leaves
//! the table.

mod candidate;
mod chain;
mod load;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::{BuildHasher, DefaultHasher, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

pub(crate) use self::candidate::{Budget, Candidate};
use self::chain::{Chain, List};
use self::load::Load;

/// How often the timers of those in the table are looked at. All of them, at a fixed cost: a timer for each would have to
/// move with every datagram of strangers.
const SWEEP_EVERY: Duration = Duration::from_millis(250);

/// Limits of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct AdmissionConfig {
    /// Peers at most. Default 1,024. One holds five kilobytes at most until its hello is whole, then about ten.
    pub(crate) candidates_max: usize,
    /// Of those, from one IPv4 address or one IPv6 network of 64 bits. Default 128: many users share an address behind a
    /// NAT, and many pages one machine.
    pub(crate) per_source_max: usize,
    /// How long a peer has. Default 10 s: four times what a browser needs that loses two flights.
    pub(crate) lifetime: Duration,
    /// Hellos in a second that are answered with a handshake at once; a cookie is asked for beyond. Default 100.
    pub(crate) hellos_per_second_without_cookie: u32,
    /// Hellos in a second that are answered at all. Default 1,000: the processor belongs to those who are connected.
    pub(crate) hellos_per_second_max: u32,
}

impl Default for AdmissionConfig {
    fn default() -> Self {
        Self {
            candidates_max: 1024,
            per_source_max: 128,
            lifetime: Duration::from_secs(10),
            hellos_per_second_without_cookie: 100,
            hellos_per_second_max: 1000,
        }
    }
}

/// What became of peers that left without a proof.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct AdmissionStats {
    /// Had to make room for a newer one.
    pub(crate) displaced: u64,
    /// Took too long.
    pub(crate) expired: u64,
    /// Not taken in: too many hellos in this second.
    pub(crate) refused: u64,
}

/// The table. `T` is what is kept for a peer. Each operation but the sweep costs the same however many peers there are, and nothing is
/// allocated after the start but what is in `T`.
#[derive(Debug)]
pub(crate) struct Admission<T> {
    config: AdmissionConfig,
    by_address: HashMap<SocketAddr, u32, Salted>,
    by_source: HashMap<Source, List, Salted>,
    slots: Vec<Option<Slot<T>>>,
    free: Vec<u32>,
    /// All, in the order in which they came.
    ages: Chain,
    by_age: List,
    /// Those of one source, likewise.
    sources: Chain,
    next_sweep: Instant,
    load: Load,
    stats: AdmissionStats,
}

#[derive(Debug)]
struct Slot<T> {
    address: SocketAddr,
    expires: Instant,
    candidate: Candidate<T>,
}

impl<T> Admission<T> {
    /// An empty table. `salt` must come from a secure source of randomness: nobody shall choose addresses that collide.
    pub(crate) fn new(now: Instant, config: AdmissionConfig, salt: u64) -> Self {
        let slots = u32::try_from(config.candidates_max).unwrap_or(u32::MAX);
        let size = slots as usize;
        Self {
            // Twice the room, so that a map full of deleted entries is cleaned where it is instead of growing.
            by_address: HashMap::with_capacity_and_hasher(2 * size, Salted(salt)),
            by_source: HashMap::with_capacity_and_hasher(2 * size, Salted(salt)),
            slots: (0..slots).map(|_| None).collect(),
            free: (0..slots).rev().collect(),
            ages: Chain::new(size),
            by_age: List::default(),
            sources: Chain::new(size),
            next_sweep: now,
            load: Load::new(),
            stats: AdmissionStats::default(),
            config,
        }
    }

    // Getters

    /// Peers in the table.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.by_age.len
    }

    /// What became of those that left without a proof.
    pub(crate) fn stats(&self) -> AdmissionStats {
        self.stats
    }

    /// Whether a new peer shall be asked for a cookie first: the table is more than half full, or hellos come fast. Costs
    /// the honest ones a round trip, and those who lie about their address the handshake.
    pub(crate) fn asks_for_cookie(&mut self, now: Instant) -> bool {
        self.by_age.len * 2 > self.config.candidates_max
            || self.load.rate(now) > self.config.hellos_per_second_without_cookie
    }

    /// The peer at an address.
    pub(crate) fn candidate(&mut self, address: SocketAddr) -> Option<&mut Candidate<T>> {
        let slot = *self.by_address.get(&address)?;
        Some(&mut self.slots.get_mut(slot as usize)?.as_mut()?.candidate)
    }

    // Inputs

    /// Takes in a peer; of one that is there already, what `make` returns takes the place. It pushes out the oldest of its
    /// own source if that has its share, else the oldest of all if the table is full. `None` if there were too many in
    /// this second; then nothing was made.
    pub(crate) fn insert(
        &mut self,
        now: Instant,
        address: SocketAddr,
        make: impl FnOnce() -> T,
    ) -> Option<&mut Candidate<T>> {
        if self.load.count(now) >= self.config.hellos_per_second_max {
            self.stats.refused += 1;
            return None;
        }
        self.load.on_hello(now);
        if self.by_age.len == 0 {
            self.next_sweep = now + SWEEP_EVERY;
        }
        self.remove(address);
        let source = Source::of(address);
        let of_source = self.by_source.get(&source).copied().unwrap_or_default();
        if of_source.len >= self.config.per_source_max {
            self.displace(of_source.first);
        } else if self.by_age.len >= self.config.candidates_max {
            self.displace(self.by_age.first);
        }
        let slot = self.free.pop()?;
        self.by_address.insert(address, slot);
        self.ages.push_back(&mut self.by_age, slot);
        self.sources.push_back(self.by_source.entry(source).or_default(), slot);
        let candidate = Candidate { value: make(), budget: Budget::default() };
        let place = self.slots.get_mut(slot as usize)?;
        let expires = now + self.config.lifetime;
        Some(&mut place.insert(Slot { address, expires, candidate }).candidate)
    }

    /// Takes a peer out: it has proved itself, or failed.
    pub(crate) fn remove(&mut self, address: SocketAddr) -> Option<T> {
        let slot = self.by_address.remove(&address)?;
        self.ages.remove(&mut self.by_age, slot);
        let source = Source::of(address);
        if let Some(of_source) = self.by_source.get_mut(&source) {
            self.sources.remove(of_source, slot);
            if of_source.len == 0 {
                self.by_source.remove(&source);
            }
        }
        self.free.push(slot);
        Some(self.slots.get_mut(slot as usize)?.take()?.candidate.value)
    }

    /// Takes out one peer whose time is over, if there is one.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<(SocketAddr, T)> {
        let slot = self.oldest().filter(|slot| slot.expires <= now)?;
        let address = slot.address;
        self.stats.expired += 1;
        self.remove(address).map(|value| (address, value))
    }

    /// Shows all who are in the table to `visit` if it is time for that.
    pub(crate) fn sweep(&mut self, now: Instant, mut visit: impl FnMut(SocketAddr, &mut Candidate<T>)) {
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now + SWEEP_EVERY;
        for slot in self.slots.iter_mut().flatten() {
            visit(slot.address, &mut slot.candidate);
        }
    }

    // Outputs

    /// When to call [`expire`](Self::expire), until it has nothing more, and [`sweep`](Self::sweep).
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.oldest().map(|slot| slot.expires.min(self.next_sweep))
    }

    /// All have the same time, so who came first goes first.
    fn oldest(&self) -> Option<&Slot<T>> {
        self.slot(self.by_age.first?)
    }

    fn displace(&mut self, slot: Option<u32>) {
        if let Some(address) = slot.and_then(|slot| self.slot(slot)).map(|slot| slot.address) {
            self.remove(address);
            self.stats.displaced += 1;
        }
    }

    fn slot(&self, slot: u32) -> Option<&Slot<T>> {
        self.slots.get(slot as usize)?.as_ref()
    }
}

/// Who shares a limit: a host, or a network that one subscriber has for himself (RFC 6177 §2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Source {
    V4([u8; 4]),
    V6(u64),
}

impl Source {
    fn of(address: SocketAddr) -> Self {
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip.octets()),
            IpAddr::V6(ip) => Self::V6((ip.to_bits() >> 64) as u64),
        }
    }
}

/// Hashes with a secret.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Salted(u64);

impl Salted {
    /// The salt must come from a secure source of randomness.
    pub(crate) const fn new(salt: u64) -> Self {
        Self(salt)
    }
}

impl BuildHasher for Salted {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}
