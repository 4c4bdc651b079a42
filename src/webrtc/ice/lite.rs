//! The lite agent of one association (RFC 8445 §2.5, §7.3): it never asks, it answers and remembers.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::Credentials;
use super::answer::{self, CheckRefusal};
use crate::webrtc::stun::{Key, StunMessage};

/// Addresses of a peer that are remembered, at most; the least recently checked address is dropped first. A browser
/// checks from one address for each interface and family that it has; a NAT that gives out new ports adds to them
/// slowly.
pub(crate) const ADDRESSES_MAX: usize = 8;

/// Credentials of this end that are kept without a confirmation by the peer, at most.
const NAMES_MAX: usize = 8;

/// Time without a check after which the selected address loses its place to another one that is being checked. Browsers
/// check the pair they use at least every 6 seconds (RFC 7675 §5.1), so two checks were lost, or the peer has moved and
/// does not say so: nothing demands USE-CANDIDATE in checks of consent.
const SELECTED_SILENCE_MAX: Duration = Duration::from_secs(13);

/// Answers the checks of one peer, and judges by them where it is and whether it still consents.
///
/// A lite agent asks for no consent, so it cannot have it confirmed as RFC 7675 §5.1 describes. What it has are the
/// checks of the peer, who must make them to keep *our* consent: as long as authenticated ones arrive, the peer is
/// there and wants to be sent to. An address counts for 30 seconds from its last check, or for less if so configured;
/// when none counts any more, the association is over.
///
/// Inputs are [`handle_request`](Self::handle_request) and [`handle_timeout`](Self::handle_timeout), the latter due at
/// [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub(crate) struct LiteAgent {
    /// Credentials of this end, the ones that were checked last at the end. One, unless the peer chooses them (direct
    /// mode) and has not confirmed its choice.
    names: Vec<Name>,
    /// Time at which the association is over if no check arrives at all.
    first_check_by: Instant,
    /// Time for which a check counts as consent.
    consent: Duration,
    addresses: Vec<Address>,
    selected: Option<SocketAddr>,
}

/// Credentials of this end, and the key that their password makes.
#[derive(Debug)]
struct Name {
    local: Credentials,
    key: Key,
}

impl Name {
    fn new(local: Credentials) -> Self {
        Self { key: Key::new(local.pwd()), local }
    }
}

/// An address and its last check.
#[derive(Clone, Copy, Debug)]
struct Address {
    address: SocketAddr,
    checked_at: Instant,
}

/// Changes that an accepted check has made.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Checked {
    /// The source was not known before: datagrams from there belong to this association now.
    pub(crate) is_new: bool,
    /// An address that had to make room: datagrams from there no longer belong here.
    pub(crate) evicted: Option<SocketAddr>,
    /// Datagrams go to the source from now on, and went elsewhere or nowhere before. What is known about the path's
    /// size and time no longer holds.
    pub(crate) is_switch: bool,
}

/// Reason why there is nobody left to send to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum ConsentError {
    #[error("no ICE check has arrived: the peer does not reach this address and port over UDP, or is gone")]
    NeverChecked,
    #[error(
        "the peer has sent no ICE check for as long as consent lasts: it is gone, or no longer reaches this address"
    )]
    ConsentExpired,
}

impl LiteAgent {
    /// Creates an agent with these credentials, which waits for its first check for `first_check_timeout`; each check
    /// is good for `consent`. The peer's user fragment does not matter: a user name is valid if its first half is ours
    /// (RFC 8445 §7.3).
    pub(crate) fn new(now: Instant, local: Credentials, first_check_timeout: Duration, consent: Duration) -> Self {
        let agent = Self::unnamed(now, consent);
        Self { names: vec![Name::new(local)], first_check_by: now + first_check_timeout, ..agent }
    }

    /// Creates an agent whose credentials the peer chooses by its checks: see [`add_name`](Self::add_name).
    pub(crate) fn unnamed(now: Instant, consent: Duration) -> Self {
        Self { names: Vec::new(), first_check_by: now + consent, consent, addresses: Vec::new(), selected: None }
    }

    /// Returns the user fragments of this end, the one that was checked last at the end.
    pub(crate) fn ufrags(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.names.iter().map(|name| name.local.ufrag())
    }

    /// True if checks may name this fragment.
    pub(crate) fn has_ufrag(&self, ufrag: &str) -> bool {
        self.ufrags().any(|known| known == ufrag)
    }

    /// Takes other credentials of this end beside the known ones. Returns the user fragment that had to make room: the
    /// one that was checked longest ago.
    pub(crate) fn add_name(&mut self, local: Credentials) -> Option<String> {
        let dropped = (self.names.len() >= NAMES_MAX).then(|| self.names.remove(0).local.ufrag().to_owned());
        self.names.push(Name::new(local));
        dropped
    }

    /// Forgets all user fragments but this one, which the peer has confirmed.
    pub(crate) fn keep_name(&mut self, ufrag: &str) {
        self.names.retain(|name| name.local.ufrag() == ufrag);
    }

    /// Returns the address to send to, if there is one yet: the one that was nominated last (RFC 8445 §8.2), and before
    /// any nomination the one that was checked first.
    #[cfg(test)]
    pub(crate) fn selected(&self) -> Option<SocketAddr> {
        self.selected
    }

    /// True if the address has passed a check that still counts. Datagrams from such an address, nominated or not, are
    /// the peer's (RFC 8445 §12.2); datagrams from any other address are not.
    pub(crate) fn is_valid(&self, now: Instant, address: SocketAddr) -> bool {
        let known = self.addresses.iter().find(|known| known.address == address);
        known.is_some_and(|known| now < known.checked_at + self.consent)
    }

    /// Returns the addresses that datagrams of this association may come from, to take their routes down at the end.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.addresses.iter().map(|known| known.address)
    }

    /// Takes a Binding request from `source`, appends the answer to `out`, which goes back to `source` whatever came of
    /// it, and says what changed. A refused request changes nothing.
    pub(crate) fn handle_request(
        &mut self,
        now: Instant,
        source: SocketAddr,
        request: &StunMessage<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Checked, CheckRefusal> {
        let ufrag = request.ice_username().map(|username| username.to);
        let named = self.names.iter().position(|name| Some(name.local.ufrag()) == ufrag);
        // An unknown name is a reason of its own, but not one for a different answer (RFC 8489 §9.1.3).
        let name = match named {
            Some(index) => self.names.get(index),
            None => self.names.last(),
        };
        let Some(name) = name else {
            answer::refuse(request, CheckRefusal::Unauthenticated, None, out);
            return Err(CheckRefusal::Unauthenticated);
        };
        let verdict = answer::check(request, &name.key);
        let verdict = if named.is_some() { verdict } else { verdict.and(Err(CheckRefusal::Unauthenticated)) };
        if let Err(refusal) = verdict {
            answer::refuse(request, refusal, Some(&name.key), out);
            return Err(refusal);
        }
        answer::accept(request, source, &name.key, out);
        if let Some(older) = named.and_then(|index| self.names.get_mut(index..)) {
            older.rotate_left(1);
        }
        let takes_over = request.use_candidate || self.selected_is_silent(now);
        let (is_new, evicted) = self.remember(now, source);
        let is_switch = takes_over && self.selected != Some(source);
        if is_switch {
            self.selected = Some(source);
        }
        self.check_consistency();
        Ok(Checked { is_new, evicted, is_switch })
    }

    /// Returns the time at which the association is over unless another check arrives.
    pub(crate) fn poll_timeout(&self) -> Instant {
        let last_check = self.addresses.iter().map(|known| known.checked_at).max();
        last_check.map_or(self.first_check_by, |at| at + self.consent)
    }

    /// Says whether it is over. From then on nothing may be sent any more, and these credentials are dead (RFC 7675
    /// §5.1).
    pub(crate) fn handle_timeout(&self, now: Instant) -> Result<(), ConsentError> {
        if now < self.poll_timeout() {
            Ok(())
        } else if self.addresses.is_empty() {
            Err(ConsentError::NeverChecked)
        } else {
            Err(ConsentError::ConsentExpired)
        }
    }

    /// Returns true if no address is selected, or the selected one has been silent for longer than browsers are.
    fn selected_is_silent(&self, now: Instant) -> bool {
        let selected = self.addresses.iter().find(|known| Some(known.address) == self.selected);
        selected.is_none_or(|known| now > known.checked_at + SELECTED_SILENCE_MAX)
    }

    /// Notes a check; a new address may push out the one that was checked longest ago, but never the selected one.
    fn remember(&mut self, now: Instant, source: SocketAddr) -> (bool, Option<SocketAddr>) {
        if let Some(known) = self.addresses.iter_mut().find(|known| known.address == source) {
            known.checked_at = known.checked_at.max(now);
            return (false, None);
        }
        let mut evicted = None;
        if self.addresses.len() >= ADDRESSES_MAX {
            let others = self.addresses.iter().enumerate().filter(|(_, known)| Some(known.address) != self.selected);
            if let Some((oldest, _)) = others.min_by_key(|(_, known)| known.checked_at) {
                evicted = Some(self.addresses.swap_remove(oldest).address);
            }
        }
        self.addresses.push(Address { address: source, checked_at: now });
        (true, evicted)
    }

    /// Recounts what must always hold.
    fn check_consistency(&self) {
        if cfg!(debug_assertions) {
            assert!(self.addresses.len() <= ADDRESSES_MAX, "addresses are bounded");
            assert!(self.names.len() <= NAMES_MAX, "names are bounded");
            let known = |address| self.addresses.iter().filter(|known| known.address == address).count();
            assert!(self.addresses().all(|address| known(address) == 1), "each address is known once");
            assert!(self.selected.is_none_or(|address| known(address) == 1), "what is selected was checked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::CONSENT_TIMEOUT;
    use super::*;
    use crate::webrtc::stun::{Class, StunWriter, TransactionId, Username};

    fn agent(now: Instant) -> LiteAgent {
        let local = Credentials::new("ours", "ourpasswordourpassword").expect("valid");
        LiteAgent::new(now, local, Duration::from_secs(20), CONSENT_TIMEOUT)
    }

    fn address(number: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], number))
    }

    fn request(nominate: bool) -> Vec<u8> {
        request_to("ours", "ourpasswordourpassword", nominate)
    }

    fn request_to(to: &str, pwd: &str, nominate: bool) -> Vec<u8> {
        let mut datagram = Vec::new();
        let mut writer = StunWriter::new(&mut datagram, Class::Request, TransactionId([7; 12]))
            .username(Username { to, from: "theirs" })
            .priority(1)
            .controlling(2);
        if nominate {
            writer = writer.use_candidate();
        }
        writer.finish(Some(&Key::new(pwd)));
        datagram
    }

    fn check(agent: &mut LiteAgent, now: Instant, from: u16, nominate: bool) -> Checked {
        let datagram = request(nominate);
        let message = StunMessage::parse(&datagram).expect("a message");
        let mut answer = Vec::new();
        let checked = agent.handle_request(now, address(from), &message, &mut answer).expect("accepted");
        let response = StunMessage::parse(&answer).expect("a response");
        assert_eq!((response.class, response.transaction_id), (Class::Success, TransactionId([7; 12])));
        assert_eq!(response.xor_mapped_address, Some(address(from)));
        assert!(Key::new("ourpasswordourpassword").has_signed(&response));
        checked
    }

    #[test]
    fn an_address_is_the_peers_after_its_first_check_and_before_nomination() {
        let now = Instant::now();
        let mut agent = agent(now);
        assert!(!agent.is_valid(now, address(1)));
        assert_eq!(agent.selected(), None);
        let first = check(&mut agent, now, 1, false);
        assert_eq!(first, Checked { is_new: true, evicted: None, is_switch: true });
        assert!(agent.is_valid(now, address(1)) && !agent.is_valid(now, address(2)));
        assert_eq!(agent.selected(), Some(address(1)));
        assert_eq!(check(&mut agent, now, 1, true), Checked::default());
    }

    #[test]
    fn k11_a_nomination_switches_the_pair_and_both_addresses_stay_valid() {
        let now = Instant::now();
        let mut agent = agent(now);
        check(&mut agent, now, 1, true);
        assert!(!check(&mut agent, now, 2, false).is_switch, "a check without USE-CANDIDATE does not move the path");
        assert_eq!(agent.selected(), Some(address(1)));
        assert!(check(&mut agent, now, 2, true).is_switch);
        assert_eq!(agent.selected(), Some(address(2)));
        assert!(agent.is_valid(now, address(1)), "what is still on its way from the old address is the peer's");
    }

    #[test]
    fn a_selected_address_that_fell_silent_gives_way_to_one_that_is_checked() {
        let now = Instant::now();
        let mut agent = agent(now);
        check(&mut agent, now, 1, true);
        check(&mut agent, now + Duration::from_secs(13), 2, false);
        assert_eq!(agent.selected(), Some(address(1)));
        check(&mut agent, now + Duration::from_millis(13_001), 2, false);
        assert_eq!(agent.selected(), Some(address(2)));
    }

    #[test]
    fn k05_consent_ends_thirty_seconds_after_the_last_check() {
        let now = Instant::now();
        let mut agent = agent(now);
        assert_eq!(agent.poll_timeout(), now + Duration::from_secs(20));
        assert_eq!(agent.handle_timeout(now + Duration::from_millis(19_999)), Ok(()));
        assert_eq!(agent.handle_timeout(now + Duration::from_secs(20)), Err(ConsentError::NeverChecked));
        check(&mut agent, now + Duration::from_secs(5), 1, true);
        check(&mut agent, now + Duration::from_secs(9), 1, false);
        assert_eq!(agent.poll_timeout(), now + Duration::from_secs(39));
        assert_eq!(agent.handle_timeout(now + Duration::from_millis(38_999)), Ok(()));
        assert_eq!(agent.handle_timeout(now + Duration::from_secs(39)), Err(ConsentError::ConsentExpired));
        assert!(!agent.is_valid(now + Duration::from_secs(39), address(1)));
    }

    #[test]
    fn k05_a_shorter_consent_ends_earlier_and_is_renewed_by_each_check() {
        let now = Instant::now();
        let local = Credentials::new("ours", "ourpasswordourpassword").expect("valid");
        let mut agent = LiteAgent::new(now, local, Duration::from_secs(20), Duration::from_secs(10));
        assert_eq!(agent.poll_timeout(), now + Duration::from_secs(20), "the first check may be late");
        for seconds in [3, 9, 15] {
            let at = now + Duration::from_secs(seconds);
            check(&mut agent, at, 1, true);
            assert_eq!(agent.poll_timeout(), at + Duration::from_secs(10));
        }
        let end = now + Duration::from_secs(25);
        assert!(agent.is_valid(end - Duration::from_millis(1), address(1)) && !agent.is_valid(end, address(1)));
        assert_eq!(agent.handle_timeout(end - Duration::from_millis(1)), Ok(()));
        assert_eq!(agent.handle_timeout(end), Err(ConsentError::ConsentExpired));
    }

    #[test]
    fn k04_a_request_with_bad_integrity_or_name_is_answered_shortly_and_changes_nothing() {
        let now = Instant::now();
        let mut agent = agent(now);
        check(&mut agent, now, 1, true);
        for (to, pwd) in [("ours", "anotherpasswordanother"), ("else", "ourpasswordourpassword"), ("ours", "")] {
            let datagram = request_to(to, pwd, true);
            let message = StunMessage::parse(&datagram).expect("a message");
            for _ in 0..10_000 {
                let mut answer = Vec::new();
                let outcome = agent.handle_request(now, address(9), &message, &mut answer);
                assert_eq!(outcome, Err(CheckRefusal::Unauthenticated));
                assert!(answer.len() * 2 <= datagram.len() * 3, "{} for {}", answer.len(), datagram.len());
            }
            let mut answer = Vec::new();
            agent.handle_request(now, address(9), &message, &mut answer).expect_err("a wrong password");
            let response = StunMessage::parse(&answer).expect("a response");
            assert_eq!((response.class, response.error_code), (Class::Error, Some(401)));
            assert!(!response.has_integrity());
        }
        assert_eq!(agent.selected(), Some(address(1)));
        assert_eq!(agent.addresses().collect::<Vec<_>>(), [address(1)]);
    }

    #[test]
    fn addresses_are_bounded_and_the_oldest_goes_first_but_never_the_selected_one() {
        let now = Instant::now();
        let mut agent = agent(now);
        for number in 1..=8 {
            check(&mut agent, now + Duration::from_millis(u64::from(number)), number, number == 1);
        }
        let later = now + Duration::from_millis(100);
        assert_eq!(check(&mut agent, later, 9, false).evicted, Some(address(2)));
        assert_eq!(check(&mut agent, later, 2, false).evicted, Some(address(3)));
        for number in 10..=1_000 {
            check(&mut agent, later, number, false);
        }
        assert_eq!(agent.addresses().count(), ADDRESSES_MAX);
        assert!(agent.is_valid(later, address(1)));
        assert_eq!(agent.selected(), Some(address(1)));
    }

    #[test]
    fn a_clock_that_steps_back_takes_no_consent_away() {
        let now = Instant::now();
        let mut agent = agent(now);
        check(&mut agent, now + Duration::from_secs(10), 1, true);
        check(&mut agent, now, 1, true);
        assert_eq!(agent.poll_timeout(), now + Duration::from_secs(40));
    }
}
