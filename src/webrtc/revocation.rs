//! Peers that believe in an association that is not there any more, because this process was started again or has given it
//! up, and that would believe in it for as long as their checks are answered: without signalling, an answer follows from
//! the check alone. Their consent is revoked (RFC 7675 §5.2).
//!
//! What gives such a peer away is a DTLS record that begins no handshake, from an address where nobody is known. Anyone can
//! forge one, in another's name too, so it decides nothing: from then on it is only watched for how long that address goes
//! on checking with one user name and does not begin a handshake. A peer that connects sends its ClientHello when its first
//! check is answered, and is forgotten here, whatever was forged before or is forged later; the next user name begins
//! anew. So who forges can neither keep a peer out nor have anything sent: a revocation is the answer to a check, and no
//! longer than the one that it takes the place of.

use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::admission::Salted;
use super::ice::CONSENT_LIFETIME;

/// How many addresses are watched at once. When more than that have lost their association at a time, the others follow when
/// these have gone.
const WATCHED_MAX: usize = 1024;

/// How long a peer may check without a ClientHello: three of them can be lost (RFC 6347 §4.2.4.1: after 1 and 3 seconds the
/// hello is repeated).
const HELLO_WAIT_MAX: Duration = Duration::from_secs(5);

/// A table of fixed size, in which an address has one place, by its hash. Each operation costs the same at any time.
#[derive(Debug)]
pub(crate) struct Revocations {
    salted: Salted,
    /// Nothing before the first stray record.
    places: Vec<Option<Watched>>,
}

/// An address from which a stray record has come. Hashes instead of what they are made of: their salt is a secret, so
/// nobody can make two that are equal.
#[derive(Clone, Copy, Debug)]
struct Watched {
    address: u64,
    /// The last stray record or refused check.
    heard_at: Instant,
    /// The user fragment of its checks since, and when the first of them came.
    checks: Option<(u64, Instant)>,
}

impl Revocations {
    pub(crate) fn new(salted: Salted) -> Self {
        Self { salted, places: Vec::new() }
    }

    /// A record that begins no handshake has come from where nobody is known.
    pub(crate) fn on_stray_record(&mut self, now: Instant, remote: SocketAddr) {
        if self.places.is_empty() {
            self.places.resize(WATCHED_MAX, None);
        }
        let address = self.salted.hash_one(remote);
        let Some(place) = self.place(address) else { return };
        match place {
            Some(watched) if watched.address == address && watched.is_fresh(now) => watched.heard_at = now,
            // Who is watched already stays, or records from many addresses would keep all from being found out.
            Some(watched) if watched.is_fresh(now) => {}
            _ => *place = Some(Watched { address, heard_at: now, checks: None }),
        }
    }

    /// Whoever is there begins a handshake.
    pub(crate) fn on_hello(&mut self, remote: SocketAddr) {
        let address = self.salted.hash_one(remote);
        if let Some(place) = self.place(address)
            && place.is_some_and(|watched| watched.address == address)
        {
            *place = None;
        }
    }

    /// Whether a check that is right but for that is to be answered with a revocation.
    pub(crate) fn revokes(&mut self, now: Instant, remote: SocketAddr, ufrag: &str) -> bool {
        let (address, ufrag) = (self.salted.hash_one(remote), self.salted.hash_one(ufrag));
        let Some(Some(watched)) = self.place(address) else { return false };
        if watched.address != address || !watched.is_fresh(now) {
            return false;
        }
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

    fn place(&mut self, address: u64) -> Option<&mut Option<Watched>> {
        let index = address.checked_rem(self.places.len() as u64)?;
        self.places.get_mut(usize::try_from(index).ok()?)
    }
}

impl Watched {
    fn is_fresh(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.heard_at) < CONSENT_LIFETIME
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
        Revocations::new(Salted::new(7))
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
    fn records_from_any_number_of_addresses_grow_nothing_and_push_nobody_out() {
        let (mut revocations, start) = (revocations(), Instant::now());
        assert_eq!(revocations.places.capacity(), 0);
        revocations.on_stray_record(start, address(0));
        assert!(!revocations.revokes(start, address(0), OLD));
        for number in 1..100_000 {
            revocations.on_stray_record(at(start, 1000), address(number));
        }
        assert_eq!(revocations.places.capacity(), WATCHED_MAX);
        assert!(revocations.revokes(at(start, 5000), address(0), OLD));
        // When those are silent, their places go to others.
        let later = at(start, 40_000);
        for number in 200_000..300_000 {
            revocations.on_stray_record(later, address(number));
        }
        let taken = revocations.places.iter().flatten().filter(|watched| watched.heard_at == later).count();
        assert_eq!(taken, WATCHED_MAX);
    }
}
