//! Peers that have begun a handshake and proved nothing yet: a table of fixed size.
//!
//! Anybody can send a ClientHello with anybody's address as its source. What is kept of those that do is bounded in
//! number, by source and in time, and what they are sent is bounded by what they have sent. A peer whose handshake is
//! done leaves the table.
//!
//! A peer enters in one of two ways. Without a proof of its address it enters only while there are few such peers, and
//! pushes out nobody of another source. With a proof (`reachability`) it always enters; in a full table the source with
//! the most peers loses its oldest. So neither forged sources nor one host with many ports keep others out.

mod chain;
mod pending_peer;
mod quota;
mod shares;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use narrowboat_sctp::{SaltedHasher, Source};

use self::chain::{Chain, List};
pub(crate) use self::pending_peer::{Budget, HELLO_WORTH_A_FLIGHT, PendingPeer};
pub(crate) use self::quota::SourceQuota;
use self::shares::Shares;
use crate::net::SecondCounter;

/// Time between two sweeps over the timers of all peers in the table. A sweep has a fixed cost: a timer for each peer
/// would have to move with every datagram of strangers.
const SWEEP_EVERY: Duration = Duration::from_millis(250);

/// Limits of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct AdmissionConfig {
    /// Peers at most. Default 1,024. One holds five kilobytes at most until its hello is whole, then about ten.
    pub(crate) peers_max: usize,
    /// Of those, from one IPv4 address or one IPv6 network of 64 bits. Default 128: many users share an address behind
    /// a NAT, and many pages one machine.
    pub(crate) per_source_max: usize,
    /// Time that a peer has for its handshake. Default 10 s: four times as long as a browser needs if two flights are
    /// lost.
    pub(crate) lifetime: Duration,
    /// Peers without a proof of their address at most. Default 512, half of the table.
    pub(crate) unproved_max: usize,
    /// Peers without a proof that enter in a second at most. Default 100. From half of this rate on, and from half of
    /// `unproved_max` on, everybody is asked for a proof.
    pub(crate) unproved_per_second_max: u32,
    /// Peers of one source that enter in a second at most, with a proof or without. Default 50: a handshake is
    /// about a millisecond of arithmetic, so one host takes a twentieth of a core.
    pub(crate) per_source_and_second_max: u16,
}

impl Default for AdmissionConfig {
    fn default() -> Self {
        Self {
            peers_max: 1024,
            per_source_max: 128,
            lifetime: Duration::from_secs(10),
            unproved_max: 512,
            unproved_per_second_max: 100,
            per_source_and_second_max: 50,
        }
    }
}

/// Peers that left without a proof, by reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct AdmissionStats {
    /// Had to make room for a newer one.
    pub(crate) displaced: u64,
    /// Took too long.
    pub(crate) expired: u64,
    /// Not taken in: too many of its source in this second, or too many peers without a proof.
    pub(crate) refused: u64,
}

/// The table. `T` is what is kept for a peer. Each operation but the sweep costs the same however many peers there are,
/// and nothing is allocated after the start but what is in `T`.
#[derive(Debug)]
pub(crate) struct PendingHandshakes<T> {
    config: AdmissionConfig,
    by_address: HashMap<SocketAddr, u32, SaltedHasher>,
    slots: Vec<Option<TableSlot<T>>>,
    free: Vec<u32>,
    /// All, in the order in which they came.
    ages: Chain,
    by_age: List,
    shares: Shares,
    /// Number of peers without a proof.
    unproved: usize,
    quota: SourceQuota,
    next_sweep: Instant,
    load: SecondCounter,
    stats: AdmissionStats,
}

/// A place in the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place(u32);

#[derive(Debug)]
struct TableSlot<T> {
    address: SocketAddr,
    expires: Instant,
    peer: PendingPeer<T>,
}

impl<T> PendingHandshakes<T> {
    /// Creates an empty table. `salt` must come from a secure source of randomness: nobody shall choose addresses that
    /// collide.
    pub(crate) fn new(now: Instant, config: AdmissionConfig, salt: u64) -> Self {
        let slots = u32::try_from(config.peers_max).unwrap_or(u32::MAX);
        let size = slots as usize;
        Self {
            // Twice the room, so that a map full of deleted entries is cleaned where it is instead of growing.
            by_address: HashMap::with_capacity_and_hasher(2 * size, SaltedHasher::new(salt)),
            slots: (0..slots).map(|_| None).collect(),
            free: (0..slots).rev().collect(),
            ages: Chain::new(size),
            by_age: List::default(),
            shares: Shares::new(slots, config.per_source_max, SaltedHasher::new(salt)),
            unproved: 0,
            quota: SourceQuota::new(now, SaltedHasher::new(salt)),
            next_sweep: now,
            load: SecondCounter::default(),
            stats: AdmissionStats::default(),
            config,
        }
    }

    // Getters

    /// Returns the number of peers in the table.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn len(&self) -> usize {
        self.by_age.len
    }

    /// Returns the number of peers that left without a proof, by reason.
    pub(crate) fn stats(&self) -> AdmissionStats {
        self.stats
    }

    /// True if new peers are to be asked for a proof of their address: there are many without one, or they come fast.
    pub(crate) fn asks_for_proof(&mut self, now: Instant) -> bool {
        self.unproved * 2 > self.config.unproved_max
            || self.load.rate(now).saturating_mul(2) > self.config.unproved_per_second_max
    }

    /// True if the peer at this address is in the table, with a proof.
    pub(crate) fn is_proved(&self, address: SocketAddr) -> bool {
        let slot = self.by_address.get(&address).and_then(|slot| self.slot(*slot));
        slot.is_some_and(|slot| slot.peer.is_proved)
    }

    /// Returns the place of the peer at an address, until anybody enters or leaves.
    pub(crate) fn find(&self, address: SocketAddr) -> Option<Place> {
        self.by_address.get(&address).copied().map(Place)
    }

    /// Returns the peer in a place.
    pub(crate) fn peer_in(&mut self, place: Place) -> Option<&mut PendingPeer<T>> {
        Some(&mut self.slots.get_mut(place.0 as usize)?.as_mut()?.peer)
    }

    /// Returns the peer at an address.
    pub(crate) fn peer(&mut self, address: SocketAddr) -> Option<&mut PendingPeer<T>> {
        self.peer_in(self.find(address)?)
    }

    // Inputs

    /// Takes in a peer with no proof of its address; of one that is there already, what `make` returns takes the place.
    /// If its source has its share, the oldest of that source makes room. Returns `None`, and makes nothing, if too
    /// many of this source came in this second, or if there are too many peers without a proof.
    pub(crate) fn insert(
        &mut self,
        now: Instant,
        address: SocketAddr,
        make: impl FnOnce() -> T,
    ) -> Option<&mut PendingPeer<T>> {
        if !self.quota.take(now, Source::of(address), self.config.per_source_and_second_max) {
            self.stats.refused += 1;
            return None;
        }
        let is_busy = self.load.count(now) >= self.config.unproved_per_second_max;
        self.load.add(now);
        let is_full = self.unproved >= self.config.unproved_max || self.free.is_empty();
        let has_share = self.shares.of(Source::of(address)).0 >= self.config.per_source_max;
        let is_there = self.by_address.contains_key(&address);
        if is_busy || (is_full && !has_share && !is_there) {
            self.stats.refused += 1;
            return None;
        }
        self.enter(now, address, make, false)
    }

    /// Takes in a peer that has just proved to receive at its address; one that is there already stays as it is, and
    /// counts as proved. In a full table the source with the most peers loses its oldest. Returns `None` if too many of
    /// this source came in this second.
    pub(crate) fn insert_proved(
        &mut self,
        now: Instant,
        address: SocketAddr,
        make: impl FnOnce() -> T,
    ) -> Option<&mut PendingPeer<T>> {
        if let Some(slot) = self.by_address.get(&address).copied() {
            let peer = &mut self.slots.get_mut(slot as usize)?.as_mut()?.peer;
            self.unproved -= usize::from(!peer.is_proved);
            peer.is_proved = true;
            return Some(peer);
        }
        if !self.quota.take(now, Source::of(address), self.config.per_source_and_second_max) {
            self.stats.refused += 1;
            return None;
        }
        self.enter(now, address, make, true)
    }

    fn enter(
        &mut self,
        now: Instant,
        address: SocketAddr,
        make: impl FnOnce() -> T,
        is_proved: bool,
    ) -> Option<&mut PendingPeer<T>> {
        if self.by_age.len == 0 {
            self.next_sweep = now + SWEEP_EVERY;
        }
        self.remove(address);
        let source = Source::of(address);
        let (of_source, oldest) = self.shares.of(source);
        if of_source >= self.config.per_source_max {
            self.displace(oldest);
        } else if self.free.is_empty() {
            self.displace(self.shares.oldest_of_largest());
        }
        let slot = self.free.pop()?;
        self.by_address.insert(address, slot);
        self.ages.push_back(&mut self.by_age, slot);
        self.shares.add(source, slot);
        self.unproved += usize::from(!is_proved);
        let peer = PendingPeer { value: make(), budget: Budget::default(), local: None, is_proved };
        let place = self.slots.get_mut(slot as usize)?;
        let expires = now + self.config.lifetime;
        Some(&mut place.insert(TableSlot { address, expires, peer }).peer)
    }

    /// Takes a peer out: its handshake is done, or has failed.
    pub(crate) fn remove(&mut self, address: SocketAddr) -> Option<T> {
        let slot = self.by_address.remove(&address)?;
        self.ages.remove(&mut self.by_age, slot);
        self.shares.remove(Source::of(address), slot);
        self.free.push(slot);
        let peer = self.slots.get_mut(slot as usize)?.take()?.peer;
        self.unproved -= usize::from(!peer.is_proved);
        Some(peer.value)
    }

    /// Takes out one peer whose time is over, if there is one.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<(SocketAddr, T)> {
        let slot = self.oldest().filter(|slot| slot.expires <= now)?;
        let address = slot.address;
        self.stats.expired += 1;
        self.remove(address).map(|value| (address, value))
    }

    /// Shows all who are in the table to `visit` if it is time for that.
    pub(crate) fn sweep(&mut self, now: Instant, mut visit: impl FnMut(SocketAddr, &mut PendingPeer<T>)) {
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now + SWEEP_EVERY;
        for slot in self.slots.iter_mut().flatten() {
            visit(slot.address, &mut slot.peer);
        }
    }

    // Outputs

    /// Returns the time at which to call [`expire`](Self::expire), until it has nothing more, and
    /// [`sweep`](Self::sweep).
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.oldest().map(|slot| slot.expires.min(self.next_sweep))
    }

    /// Returns the oldest peer. All have the same time limit, so the one that came first expires first.
    fn oldest(&self) -> Option<&TableSlot<T>> {
        self.slot(self.by_age.first?)
    }

    fn displace(&mut self, slot: Option<u32>) {
        if let Some(address) = slot.and_then(|slot| self.slot(slot)).map(|slot| slot.address) {
            self.remove(address);
            self.stats.displaced += 1;
        }
    }

    fn slot(&self, slot: u32) -> Option<&TableSlot<T>> {
        self.slots.get(slot as usize)?.as_ref()
    }
}
