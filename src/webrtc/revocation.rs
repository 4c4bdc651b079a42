//! Revocation of the consent of peers whose association no longer exists (RFC 7675 §5.2), because this process was
//! started again or has given the association up. Without signalling, the answer to a check follows from the check
//! alone, so such a peer would believe in the association as long as its checks are answered.
//!
//! Such a peer is recognized by a DTLS record that begins no handshake, from an address where no peer is known. Anyone
//! can forge such a record, with another's address too, so the record alone decides nothing. From then on this end only
//! watches how long that address goes on checking with one user name without beginning a handshake. A peer that
//! connects sends its ClientHello when its first check is answered. It is forgotten here then, in spite of any record
//! forged before or later; the next user name begins anew. So a forger can neither keep a peer out nor have anything
//! sent: a revocation is the answer to a check, and not longer than the answer that it replaces.

use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use narrowboat_sctp::{SaltedHasher, Source};

use super::ice::CONSENT_TIMEOUT;

/// Addresses that are watched at once, at most. If more addresses have lost their association at a time, the others
/// follow when the watched ones have gone.
const WATCHED_MAX: usize = 4096;

/// Places that an address may have in the table, by its hash.
const PLACES_PER_SET: usize = 8;

/// Time for which a peer may check without sending a ClientHello: three of them can be lost (RFC 6347 §4.2.4.1: the
/// ClientHello is retransmitted after 1 and 3 seconds).
const HELLO_WAIT_MAX: Duration = Duration::from_secs(5);

/// A table of fixed size, in which an address has one of a few places, by its hash. Each operation costs the same at
/// any time.
///
/// A record can be forged, so a peer that is watched for a record alone makes room for the next. A peer that has
/// answered a check of ours (`reachability`) is really there, and makes room for nobody; a source has half of a set of
/// places at most.
#[derive(Debug)]
pub(crate) struct Revocations {
    salted: SaltedHasher,
    /// Nothing before the first stray record.
    places: Vec<Option<Watched>>,
}

/// An address from which a stray record has come. Hashes instead of what they are made of: their salt is a secret, so
/// nobody can make two that are equal.
#[derive(Clone, Copy, Debug)]
struct Watched {
    address: u64,
    /// The source that it counts for.
    source: u64,
    /// True if it has shown that it is there.
    is_proved: bool,
    /// The last stray record or refused check.
    heard_at: Instant,
    /// The user fragment of its checks since, and when the first of them came.
    checks: Option<(u64, Instant)>,
}

impl Revocations {
    pub(crate) fn new(salted: SaltedHasher) -> Self {
        Self { salted, places: Vec::new() }
    }

    /// Handles a record that begins no handshake, from an address where no peer is known.
    pub(crate) fn on_stray_record(&mut self, now: Instant, remote: SocketAddr) {
        if self.places.is_empty() {
            self.places.resize(WATCHED_MAX, None);
        }
        let address = self.salted.hash_one(remote);
        let source = self.salted.hash_one(Source::of(remote));
        let Some(set) = self.set(address) else { return };
        if let Some(watched) = find(set, address).filter(|watched| watched.is_fresh(now)) {
            watched.heard_at = now;
            return;
        }
        let is_free = |place: &Option<Watched>| place.is_none_or(|watched| !watched.is_fresh(now));
        let free = set.iter().position(is_free);
        let Some(place) = free.or_else(|| oldest_unproved(set)).and_then(|index| set.get_mut(index)) else { return };
        *place = Some(Watched { address, source, is_proved: false, heard_at: now, checks: None });
    }

    /// True if the peer that checks from this address is watched, and has to show that it is there to stay so.
    pub(crate) fn asks_for_proof(&mut self, now: Instant, remote: SocketAddr) -> bool {
        let address = self.salted.hash_one(remote);
        let watched = self.set(address).and_then(|set| find(set, address));
        watched.is_some_and(|watched| watched.is_fresh(now) && !watched.is_proved)
    }

    /// Handles the answer of the peer at this address to a check of ours.
    pub(crate) fn on_proof(&mut self, remote: SocketAddr) {
        let address = self.salted.hash_one(remote);
        let source = self.salted.hash_one(Source::of(remote));
        let Some(set) = self.set(address) else { return };
        // One source may fill half of a set, so that nobody keeps others out of it.
        let of_source = set.iter().flatten().filter(|watched| watched.is_proved && watched.source == source).count();
        if of_source < PLACES_PER_SET / 2
            && let Some(watched) = find(set, address)
        {
            watched.is_proved = true;
        }
    }

    /// Handles the ClientHello of the peer at this address.
    pub(crate) fn on_hello(&mut self, remote: SocketAddr) {
        let address = self.salted.hash_one(remote);
        for place in self.set(address).into_iter().flatten() {
            if place.is_some_and(|watched| watched.address == address) {
                *place = None;
            }
        }
    }

    /// Returns `true` if a check that is otherwise valid is to be answered with a revocation.
    pub(crate) fn revokes(&mut self, now: Instant, remote: SocketAddr, ufrag: &str) -> bool {
        let (address, ufrag) = (self.salted.hash_one(remote), self.salted.hash_one(ufrag));
        let watched = self.set(address).and_then(|set| find(set, address));
        let Some(watched) = watched.filter(|watched| watched.is_fresh(now)) else { return false };
        match watched.checks {
            Some((name, since)) if name == ufrag => {
                let is_over = now.saturating_duration_since(since) >= HELLO_WAIT_MAX;
                if is_over {
                    watched.heard_at = now;
                }
                is_over
            }
            _ => {
                watched.checks = Some((ufrag, now));
                false
            }
        }
    }

    fn set(&mut self, address: u64) -> Option<&mut [Option<Watched>]> {
        let sets = (self.places.len() / PLACES_PER_SET) as u64;
        let index = usize::try_from(address.checked_rem(sets)?).ok()?;
        self.places.get_mut(index * PLACES_PER_SET..(index + 1) * PLACES_PER_SET)
    }
}

fn find(set: &mut [Option<Watched>], address: u64) -> Option<&mut Watched> {
    set.iter_mut().flatten().find(|watched| watched.address == address)
}

fn oldest_unproved(set: &[Option<Watched>]) -> Option<usize> {
    let unproved = |(index, place): (usize, &Option<Watched>)| {
        place.filter(|watched| !watched.is_proved).map(|watched| (watched.heard_at, index))
    };
    set.iter().enumerate().filter_map(unproved).min().map(|(_, index)| index)
}

impl Watched {
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.heard_at) < CONSENT_TIMEOUT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "narrowboat+1/oldoldoldoldoldoldoldold";
    const NEW: &str = "narrowboat+1/newnewnewnewnewnewnewnew";

    fn address(number: u32) -> SocketAddr {
        SocketAddr::from((number.to_be_bytes(), 7))
    }

    fn at(start: Instant, milliseconds: u64) -> Instant {
        start + Duration::from_millis(milliseconds)
    }

    fn revocations() -> Revocations {
        Revocations::new(SaltedHasher::new(7))
    }

    #[test]
    fn who_sends_records_that_nobody_knows_and_begins_no_handshake_is_revoked_until_it_checks_no_more() {
        let (mut revocations, start) = (revocations(), Instant::now());
        assert!(!revocations.revokes(start, address(1), OLD), "without a stray record nobody is watched");
        revocations.on_stray_record(start, address(1));
        assert!(!revocations.revokes(at(start, 2700), address(1), OLD));
        assert!(!revocations.revokes(at(start, 7699), address(1), OLD));
        assert!(revocations.revokes(at(start, 7700), address(1), OLD));
        assert!(!revocations.revokes(at(start, 7700), address(2), OLD), "another address");
        let mut time = 7700;
        for _ in 0..10 {
            time += 29_000;
            assert!(revocations.revokes(at(start, time), address(1), OLD), "it still checks");
        }
        time += 30_000;
        assert!(!revocations.revokes(at(start, time), address(1), OLD), "it was silent for a consent's lifetime");
    }

    #[test]
    fn forged_records_keep_nobody_from_connecting() {
        let (mut revocations, start) = (revocations(), Instant::now());
        let victim = address(1);
        for time in 0..5000 {
            revocations.on_stray_record(at(start, time), victim);
        }
        assert!(!revocations.revokes(at(start, 5000), victim, NEW), "its first check is answered");
        for time in 5001..9000 {
            revocations.on_stray_record(at(start, time), victim);
            assert!(!revocations.revokes(at(start, time), victim, NEW), "so are all until it has its ClientHello out");
        }
        revocations.on_hello(victim);
        assert!(!revocations.revokes(at(start, 20_000), victim, NEW));
        revocations.on_stray_record(at(start, 20_001), victim);
        assert!(!revocations.revokes(at(start, 20_002), victim, NEW), "and all is as before");
    }

    #[test]
    fn who_was_revoked_and_comes_with_another_name_from_the_same_address_is_let_in() {
        let (mut revocations, start) = (revocations(), Instant::now());
        revocations.on_stray_record(start, address(1));
        assert!(!revocations.revokes(start, address(1), OLD));
        assert!(revocations.revokes(at(start, 5000), address(1), OLD));
        assert!(!revocations.revokes(at(start, 5001), address(1), NEW));
        revocations.on_hello(address(1));
        assert!(!revocations.revokes(at(start, 11_000), address(1), NEW));
    }

    #[test]
    fn k19_records_from_any_number_of_addresses_grow_nothing_and_push_out_nobody_who_is_there() {
        let (mut revocations, start) = (revocations(), Instant::now());
        assert_eq!(revocations.places.capacity(), 0);
        // The places are all taken before the peer's own record comes.
        let flood = |revocations: &mut Revocations, from: u32, milliseconds: u64| {
            for number in from..from + 100_000 {
                revocations.on_stray_record(at(start, milliseconds), address(number));
            }
        };
        flood(&mut revocations, 1, 0);
        revocations.on_stray_record(at(start, 500), address(0));
        assert!(!revocations.revokes(at(start, 500), address(0), OLD));
        assert!(revocations.asks_for_proof(at(start, 500), address(0)));
        revocations.on_proof(address(0));
        assert!(!revocations.asks_for_proof(at(start, 501), address(0)));
        flood(&mut revocations, 200_000, 1000);
        assert_eq!(revocations.places.capacity(), WATCHED_MAX);
        assert!(revocations.revokes(at(start, 5500), address(0), OLD));
    }

    #[test]
    fn k19_one_source_that_is_there_does_not_keep_others_from_being_watched() {
        let (mut revocations, start) = (revocations(), Instant::now());
        for port in 0..u16::MAX {
            let attacker = SocketAddr::from(([10, 0, 0, 1], port));
            revocations.on_stray_record(start, attacker);
            revocations.on_proof(attacker);
        }
        for number in 1..100 {
            revocations.on_stray_record(start, address(number));
            assert!(!revocations.revokes(start, address(number), OLD));
            revocations.on_proof(address(number));
            assert!(revocations.revokes(at(start, 5000), address(number), OLD), "{number}");
        }
    }
}
