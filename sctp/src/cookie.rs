//! State Cookies: all that is remembered of a peer before it has proved where it is (RFC 9260 §5.1.3).

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::serial::Tsn;
use crate::time::{Duration, Instant};
use crate::wire::Extensions;

type HmacSha256 = Hmac<Sha256>;

/// Bytes of the authentication code: HMAC-SHA256 cut to 128 bits, so that an INIT ACK is less than three times the
/// smallest INIT and nobody gains by reflecting one.
const MAC_LEN: usize = 16;
/// Bytes of what is authenticated and sent.
const BODY_LEN: usize = 40;
/// Bytes of a cookie.
pub(crate) const COOKIE_LEN: usize = BODY_LEN + MAC_LEN;

/// Keys that authenticate State Cookies; cheap to clone, shared by all associations of an endpoint.
///
/// The key changes with every cookie lifetime and is derived from a master key and the time, so rotation needs no
/// state: a cookie names its time, and one older than its lifetime is refused whatever its key.
#[derive(Clone)]
pub struct CookieKeys {
    master: [u8; 32],
    epoch: Instant,
}

impl std::fmt::Debug for CookieKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CookieKeys").finish_non_exhaustive()
    }
}

/// Contents of a cookie: the fields of both INITs that matter later. The ports are not in the cookie, but are
/// authenticated with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cookie {
    pub(crate) local_tag: u32,
    pub(crate) peer_tag: u32,
    /// Tie-Tags, local and of the peer, of the association that existed when the cookie was made; 0 if none did
    /// (RFC 9260 §5.2.2).
    pub(crate) tie_tags: (u32, u32),
    pub(crate) local_initial_tsn: Tsn,
    pub(crate) peer_initial_tsn: Tsn,
    pub(crate) peer_rwnd: u32,
    pub(crate) outbound_streams: u16,
    pub(crate) inbound_streams: u16,
    /// Extensions that both ends support.
    pub(crate) extensions: Extensions,
    /// True if the peer accepts packets over DTLS without a checksum (RFC 9653).
    pub(crate) peer_accepts_zero_checksum: bool,
}

/// Addresses that the cookie is bound to besides its contents. A cookie that comes from another address than its INIT
/// is rejected.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Binding<'a> {
    pub(crate) local_port: u16,
    pub(crate) remote_port: u16,
    /// The peer's transport address, in any fixed form; empty where there are no addresses to know, as under DTLS.
    pub(crate) address: &'a [u8],
}

/// The keys of an association, and the address that its cookies are bound to.
#[derive(Clone, Debug)]
pub(crate) struct BoundKeys {
    pub(crate) keys: CookieKeys,
    pub(crate) address: Box<[u8]>,
}

/// A cookie that is ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct VerifiedCookie {
    pub(crate) cookie: Cookie,
    /// Time since the INIT ACK that carried it, in whole milliseconds of its clock: a round trip, or longer.
    pub(crate) age: Duration,
    /// By how much it is too old, if it is (RFC 9260 §5.1.5 step 4).
    pub(crate) staleness: Option<Duration>,
}

impl CookieKeys {
    /// Creates keys drawn from `seed`, which must come from a secure source; `now` is the zero of the times in the
    /// cookies.
    #[must_use]
    pub fn new(now: Instant, seed: [u8; 32]) -> Self {
        Self { master: seed, epoch: now }
    }

    /// Makes a cookie.
    pub(crate) fn seal(&self, now: Instant, lifetime: Duration, cookie: &Cookie, binding: Binding<'_>) -> Vec<u8> {
        let created = u64::try_from(now.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX);
        let [_, _, _, c0, c1, c2, c3, c4] = created.to_be_bytes();
        let mut out = Vec::with_capacity(COOKIE_LEN);
        out.extend([c1, c2, c3, c4]);
        out.extend(cookie.local_tag.to_be_bytes());
        out.extend(cookie.peer_tag.to_be_bytes());
        out.extend(cookie.tie_tags.0.to_be_bytes());
        out.extend(cookie.tie_tags.1.to_be_bytes());
        out.extend(cookie.local_initial_tsn.0.to_be_bytes());
        out.extend(cookie.peer_initial_tsn.0.to_be_bytes());
        out.extend(cookie.peer_rwnd.to_be_bytes());
        out.extend(cookie.outbound_streams.to_be_bytes());
        out.extend(cookie.inbound_streams.to_be_bytes());
        // Milliseconds need more than 32 bits: an endpoint may run for longer than 49 days.
        out.extend([cookie.extensions.to_bits(), u8::from(cookie.peer_accepts_zero_checksum), 0, c0]);
        let mac = self.mac(created, lifetime, &out, binding).finalize().into_bytes();
        out.extend(mac.iter().take(MAC_LEN));
        out
    }

    /// Takes a cookie apart if it is one of ours for this binding (RFC 9260 §5.1.5 steps 1 to 4). The comparison takes
    /// the same time wherever a forgery first differs.
    pub(crate) fn open(
        &self,
        now: Instant,
        lifetime: Duration,
        bytes: &[u8],
        binding: Binding<'_>,
    ) -> Option<VerifiedCookie> {
        let (body, mac) = bytes.split_at_checked(BODY_LEN).filter(|_| bytes.len() == COOKIE_LEN)?;
        let mut fields = body.chunks_exact(4).filter_map(|field| field.try_into().ok().map(u32::from_be_bytes));
        let created = u64::from(*body.last()?) << 32 | u64::from(fields.next()?);
        self.mac(created, lifetime, body, binding).verify_truncated_left(mac).ok()?;
        let mut field = || fields.next();
        let cookie = Cookie {
            local_tag: field()?,
            peer_tag: field()?,
            tie_tags: (field()?, field()?),
            local_initial_tsn: Tsn(field()?),
            peer_initial_tsn: Tsn(field()?),
            peer_rwnd: field()?,
            outbound_streams: u16::from_be_bytes(body.get(32..34)?.try_into().ok()?),
            inbound_streams: u16::from_be_bytes(body.get(34..36)?.try_into().ok()?),
            extensions: Extensions::from_bits(*body.get(36)?),
            peer_accepts_zero_checksum: *body.get(37)? != 0,
        };
        let created = self.epoch + Duration::from_millis(created);
        let age = now.saturating_duration_since(created);
        Some(VerifiedCookie { cookie, age, staleness: age.checked_sub(lifetime).filter(|over| !over.is_zero()) })
    }

    fn mac(&self, created: u64, lifetime: Duration, body: &[u8], binding: Binding<'_>) -> HmacSha256 {
        let rotation = u128::from(created) / lifetime.as_millis().max(1);
        let key = new_mac(&self.master).chain_update(rotation.to_be_bytes()).finalize().into_bytes();
        new_mac(&key)
            .chain_update(body)
            .chain_update(binding.local_port.to_be_bytes())
            .chain_update(binding.remote_port.to_be_bytes())
            .chain_update(binding.address)
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
fn new_mac(key: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(key).expect("HMAC takes a key of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(60);
    const HERE: Binding<'_> = Binding { local_port: 5000, remote_port: 5001, address: b"192.0.2.1:9" };

    fn sample() -> Cookie {
        Cookie {
            local_tag: 1,
            peer_tag: 0xffff_ffff,
            tie_tags: (3, 4),
            local_initial_tsn: Tsn(5),
            peer_initial_tsn: Tsn(6),
            peer_rwnd: 7,
            outbound_streams: 8,
            inbound_streams: 65_535,
            extensions: Extensions::RE_CONFIG,
            peer_accepts_zero_checksum: true,
        }
    }

    fn keys() -> (CookieKeys, Instant) {
        let now = crate::testing::some_time();
        (CookieKeys::new(now, [9; 32]), now + Duration::from_secs(1000))
    }

    #[test]
    fn a_cookie_comes_back_as_it_was_made() {
        let (keys, now) = keys();
        let bytes = keys.seal(now, LIFETIME, &sample(), HERE);
        assert_eq!(bytes.len(), COOKIE_LEN);
        let opened = keys.open(now + LIFETIME, LIFETIME, &bytes, HERE).unwrap();
        assert_eq!(opened, VerifiedCookie { cookie: sample(), age: LIFETIME, staleness: None });
    }

    #[test]
    fn b08_a_cookie_that_is_flipped_cut_or_extended_is_refused() {
        let (keys, now) = keys();
        let bytes = keys.seal(now, LIFETIME, &sample(), HERE);
        for bit in 0..bytes.len() * 8 {
            let mut forged = bytes.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(keys.open(now, LIFETIME, &forged, HERE), None, "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert_eq!(keys.open(now, LIFETIME, &bytes[..len], HERE), None);
        }
        for extra in [1, 65_000] {
            let mut longer = bytes.clone();
            longer.resize(bytes.len() + extra, 0);
            assert_eq!(keys.open(now, LIFETIME, &longer, HERE), None);
        }
    }

    #[test]
    fn b10_b11_a_cookie_is_bound_to_ports_and_address() {
        let (keys, now) = keys();
        let bytes = keys.seal(now, LIFETIME, &sample(), HERE);
        for elsewhere in [
            Binding { local_port: 1, ..HERE },
            Binding { remote_port: 1, ..HERE },
            Binding { address: b"192.0.2.1:8", ..HERE },
        ] {
            assert_eq!(keys.open(now, LIFETIME, &bytes, elsewhere), None);
        }
    }

    #[test]
    fn b17_the_key_of_the_previous_lifetime_still_opens_and_then_the_cookie_is_stale() {
        let (keys, _) = keys();
        let just_before_rotation = keys.epoch + 3 * LIFETIME - Duration::from_millis(1);
        let bytes = keys.seal(just_before_rotation, LIFETIME, &sample(), HERE);
        let next_rotation = just_before_rotation + LIFETIME;
        assert_eq!(keys.open(next_rotation, LIFETIME, &bytes, HERE).unwrap().staleness, None);
        let late = next_rotation + Duration::from_millis(7);
        let staleness = keys.open(late, LIFETIME, &bytes, HERE).unwrap().staleness;
        assert_eq!(staleness, Some(Duration::from_millis(7)));
    }

    #[test]
    fn cookies_are_fresh_however_long_the_endpoint_has_run() {
        let (keys, _) = keys();
        for days in [0, 49, 50, 100, 1000, 10_000] {
            let now = keys.epoch + Duration::from_secs(days * 24 * 3600);
            let bytes = keys.seal(now, LIFETIME, &sample(), HERE);
            let staleness = |later| keys.open(now + later, LIFETIME, &bytes, HERE).unwrap().staleness;
            assert_eq!(staleness(LIFETIME), None, "after {days} days");
            assert_eq!(staleness(LIFETIME + Duration::from_secs(1)), Some(Duration::from_secs(1)), "after {days} days");
        }
    }

    #[test]
    fn b18_a_cookie_made_before_a_restart_is_refused() {
        let (keys, now) = keys();
        let bytes = keys.seal(now, LIFETIME, &sample(), HERE);
        let restarted = CookieKeys::new(keys.epoch, [8; 32]);
        assert_eq!(restarted.open(now, LIFETIME, &bytes, HERE), None);
    }
}
