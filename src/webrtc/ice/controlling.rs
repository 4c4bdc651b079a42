//! The controlling agent of who connects with a ticket (RFC 8445 §7.2, §8.1.1; RFC 7675 §5.1). The peer is lite and
//! public, so there is nothing to gather or to pair: each address is checked, and the first that answers is nominated.
//! Checks of the peer are answered.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{CheckRefusal, Credentials, answer};
use crate::webrtc::stun::{Class, Key, StunMessage, StunWriter, TransactionId, Username};

/// Addresses of the peer that are tried, at most. No machine's list of interfaces is longer.
pub(crate) const ADDRESSES_MAX: usize = 8;

/// Time between the first checks of two addresses (Ta, RFC 8445 §14.2).
const PACING: Duration = Duration::from_millis(50);

/// Time until a check is repeated, doubled each time (RFC 8445 §14.3, RFC 8489 §6.2.1).
const RTO_INITIAL: Duration = Duration::from_millis(500);

/// Transmissions of a check at most (Rc, RFC 8489 §6.2.1).
const TRANSMISSIONS_MAX: u32 = 7;

/// Time to wait for an answer after the last transmission, in initial RTOs (Rm, RFC 8489 §6.2.1).
const LAST_WAIT: u32 = 16;

/// Basic time between checks of consent; each is 0.8 to 1.2 times that (RFC 7675 §5.1).
const CONSENT_PERIOD: Duration = Duration::from_secs(5);

/// Time that is left of a consent for the answer to the second of two checks, if the first was lost.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// Time between checks during the handshake: half of what a newcomer is to wait at most.
const HANDSHAKE_PERIOD: Duration = Duration::from_secs(1);

/// Checks of consent whose answer still counts: as many as are sent within a consent's lifetime.
const OUTSTANDING_MAX: usize = 8;

/// Revocations in a row that end it (RFC 7675 §5.2). One is not enough: without signalling each check contains the
/// password, so anyone who can read along can sign a revocation, but a peer that is there answers too.
const REVOCATIONS_MAX: u32 = 3;

/// Priority that a peer without better knowledge would compute for us: type preference of a peer-reflexive candidate,
/// first interface, first component (RFC 8445 §5.1.2.1, §7.1.1).
const PRIORITY: u32 = (110 << 24) | (65_535 << 8) | 255;

/// Finds out which address of a peer answers, and whether it keeps consenting.
///
/// After any input, and when [`poll_timeout`](Self::poll_timeout) is due: [`handle_timeout`](Self::handle_timeout) says
/// whether it failed, then [`poll_transmit`](Self::poll_transmit) until it has no more.
#[derive(Debug)]
pub(crate) struct ControllingAgent {
    local: Credentials,
    remote: Credentials,
    key: Key,
    tiebreaker: u64,
    rng: StdRng,
    /// Time for which an answer counts as consent.
    consent: Duration,
    phase: IcePhase,
    /// A response came that the password has not signed (RFC 8489 §9.1.4).
    is_integrity_violated: bool,
}

#[derive(Debug)]
enum IcePhase {
    Checking(Vec<Pair>),
    Selected(Consent),
    Failed(IceFailure),
}

/// An address that has not answered yet.
#[derive(Debug)]
struct Pair {
    address: SocketAddr,
    transaction_id: TransactionId,
    transmissions: u32,
    /// Time at which the check is retransmitted, or given up after the last transmission.
    due: Instant,
    refused: Option<u16>,
}

/// The nominated pair.
#[derive(Debug)]
struct Consent {
    address: SocketAddr,
    /// Time for which an answer counts as consent.
    timeout: Duration,
    /// True if the peer has answered a check with USE-CANDIDATE.
    is_nominated: bool,
    /// Until then, checks repeat after this.
    rto: Duration,
    outstanding: VecDeque<TransactionId>,
    /// True when the secure handshake is done. Checks follow each other faster until then, because the peer may ask for
    /// something in return before it takes a handshake in.
    is_secure: bool,
    /// Revocations since the last answer that was none.
    revocations: u32,
    next_check: Instant,
    /// The next check is not to be put off by the answer to another.
    is_urgent: bool,
    expires: Instant,
}

/// Meaning of an accepted response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CheckOutcome {
    /// The first one: this address works, and DTLS may begin (RFC 8445 §12.1).
    Selected(SocketAddr),
    /// The peer goes on consenting.
    Consent,
    /// The peer refused a check; unless another address answers, that is how it ends.
    Refused(u16),
}

/// Reason why a response was dropped.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub(crate) enum ResponseError {
    #[error("no response")]
    NotAResponse,
    #[error("response to nothing")]
    UnknownTransaction,
    #[error("response from another address than was asked")]
    WrongSource,
    #[error("response with wrong integrity")]
    Integrity,
    #[error("response without the address that it saw, or with attributes that nobody knows")]
    Malformed,
}

/// Reason why there is nobody to send to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum IceFailure {
    #[error("no answer from any of its addresses: check that the service runs and that UDP reaches its port")]
    NoAnswer,
    #[error(
        "the service refused the ICE check (error {0}): it does not take connections by ticket, or is none of ours"
    )]
    Refused(u16),
    #[error("the service has no room for another peer, or takes none any more: try again later")]
    NoRoom,
    #[error("something else answers at that address: its responses are not signed with our password")]
    Integrity,
    #[error("the service does not know this connection any more: it was started again, or has given it up")]
    ConsentRevoked,
    #[error("no answer for as long as consent lasts: the service is gone, or the network between")]
    ConsentExpired,
}

impl ControllingAgent {
    /// Creates an agent that checks these addresses, the first of them at once. The seed must be unpredictable:
    /// transaction ids come from it, which keep off-path attackers from answering. Each answer is good for `consent`.
    pub(crate) fn new(
        now: Instant,
        local: Credentials,
        remote: Credentials,
        addresses: &[SocketAddr],
        consent: Duration,
        seed: [u8; 32],
    ) -> Self {
        let mut rng = StdRng::from_seed(seed);
        let mut pairs: Vec<Pair> = Vec::new();
        let mut due = now;
        for address in addresses {
            if pairs.len() < ADDRESSES_MAX && pairs.iter().all(|pair| pair.address != *address) {
                let transaction_id = transaction_id(&mut rng);
                pairs.push(Pair { address: *address, transaction_id, transmissions: 0, due, refused: None });
                due += PACING;
            }
        }
        let tiebreaker = rng.next_u64();
        let key = Key::new(remote.pwd());
        let phase = IcePhase::Checking(pairs);
        Self { local, remote, key, tiebreaker, rng, consent, phase, is_integrity_violated: false }
    }

    /// Returns the address that answered first, if one has.
    pub(crate) fn selected(&self) -> Option<SocketAddr> {
        match &self.phase {
            IcePhase::Selected(consent) => Some(consent.address),
            IcePhase::Checking(_) | IcePhase::Failed(_) => None,
        }
    }

    /// True if this end has asked this address and would take an answer from there.
    pub(crate) fn asks(&self, address: SocketAddr) -> bool {
        match &self.phase {
            IcePhase::Checking(pairs) => pairs.iter().any(|pair| pair.address == address),
            IcePhase::Selected(consent) => consent.address == address,
            IcePhase::Failed(_) => false,
        }
    }

    /// Takes a response that came from `source`.
    pub(crate) fn handle_response(
        &mut self,
        now: Instant,
        source: SocketAddr,
        response: &StunMessage<'_>,
    ) -> Result<CheckOutcome, ResponseError> {
        let error_code = match response.class {
            Class::Success => None,
            Class::Error => Some(response.error_code.ok_or(ResponseError::Malformed)?),
            Class::Request | Class::Indication => return Err(ResponseError::NotAResponse),
        };
        let asked = self.checked_address(response.transaction_id).ok_or(ResponseError::UnknownTransaction)?;
        // RFC 8445 §7.2.5.2.1: an answer from elsewhere shows that the way back is another one.
        if asked != source {
            return Err(ResponseError::WrongSource);
        }
        // Some refusals cannot be signed (RFC 8489 §9.1.3). Whoever sends one has seen the transaction id.
        let is_signed = self.key.has_signed(response);
        let may_be_unsigned = matches!(error_code, Some(400 | 401)) && !response.has_integrity();
        if !is_signed && !may_be_unsigned {
            self.is_integrity_violated = true;
            return Err(ResponseError::Integrity);
        }
        if let Some(code) = error_code {
            self.refused(now, source, code, response.transaction_id);
            return Ok(CheckOutcome::Refused(code));
        }
        if response.xor_mapped_address.is_none() || !response.unknown_attributes().is_empty() {
            return Err(ResponseError::Malformed);
        }
        Ok(self.answered(now, source, response.transaction_id))
    }

    /// Handles the end of the DTLS handshake. The next check leaves at once: it tells a peer without signalling the
    /// user fragment of this end, and only then does the peer follow this end to another address.
    pub(crate) fn on_connected(&mut self, now: Instant) {
        if let IcePhase::Selected(consent) = &mut self.phase {
            (consent.next_check, consent.is_urgent) = (now, true);
            consent.is_secure = true;
        }
    }

    /// Handles the first packet, which shows that the peer has finished the handshake. A check that has overtaken the
    /// last flight of the handshake was answered by nobody in particular, so that only one that is answered from now on
    /// has told the peer what our checks are called. Such a check is repeated until it is answered.
    pub(crate) fn on_first_packet(&mut self, now: Instant) {
        self.check_at_once(now);
    }

    /// Checks the nominated address now, and repeats the check until it is answered.
    pub(crate) fn check_at_once(&mut self, now: Instant) {
        if let IcePhase::Selected(consent) = &mut self.phase {
            consent.outstanding.clear();
            consent.is_nominated = false;
            consent.rto = RTO_INITIAL;
            (consent.next_check, consent.is_urgent) = (now, true);
        }
    }

    /// Takes a check from `source`, appends the answer to `out`, which goes back there. The peer asks whether we
    /// receive where our datagrams come from; it decides nothing else, because this end has the controlling role.
    ///
    /// # Errors
    ///
    /// The check is refused. The answer says so too.
    pub(crate) fn handle_request(
        &self,
        source: SocketAddr,
        request: &StunMessage<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), CheckRefusal> {
        let is_for_us = request.ice_username().is_some_and(|name| name.to == self.local.ufrag());
        let key = Key::new(self.local.pwd());
        let verdict = answer::check_as_controlling(request, &key);
        let verdict =
            if is_for_us && self.asks(source) { verdict } else { verdict.and(Err(CheckRefusal::Unauthenticated)) };
        match verdict {
            Ok(()) => answer::accept(request, source, &key, out),
            Err(refusal) => answer::refuse(request, refusal, Some(&key), out),
        }
        verdict
    }

    /// Returns the time at which the next check is due, or the answer to the last one overdue; `None` after a failure.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match &self.phase {
            IcePhase::Checking(pairs) => pairs.iter().filter(|pair| pair.refused.is_none()).map(|pair| pair.due).min(),
            IcePhase::Selected(consent) => Some(consent.next_check.min(consent.expires)),
            IcePhase::Failed(_) => None,
        }
    }

    /// Says whether it failed. Nothing may be sent from then on, and these credentials are dead (RFC 7675 §5.1).
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<(), IceFailure> {
        let failure = match &self.phase {
            IcePhase::Checking(pairs) if pairs.iter().all(|pair| pair.is_over(now)) => {
                let refused = pairs.iter().find_map(|pair| pair.refused).map(|code| match code {
                    _ if code == CheckRefusal::NoRoom.code() => IceFailure::NoRoom,
                    code => IceFailure::Refused(code),
                });
                let unsigned = self.is_integrity_violated.then_some(IceFailure::Integrity);
                Some(refused.or(unsigned).unwrap_or(IceFailure::NoAnswer))
            }
            IcePhase::Selected(consent) if consent.revocations >= REVOCATIONS_MAX => Some(IceFailure::ConsentRevoked),
            IcePhase::Selected(consent) if now >= consent.expires => Some(IceFailure::ConsentExpired),
            IcePhase::Checking(_) | IcePhase::Selected(_) => None,
            IcePhase::Failed(failure) => return Err(*failure),
        };
        failure.map_or(Ok(()), |failure| {
            self.phase = IcePhase::Failed(failure);
            Err(failure)
        })
    }

    /// Appends the next check that is due to `out` and says where it goes.
    pub(crate) fn poll_transmit(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<SocketAddr> {
        let (address, transaction_id, nominate) = match &mut self.phase {
            IcePhase::Checking(pairs) => {
                let pair = pairs.iter_mut().find(|pair| pair.is_due(now))?;
                (pair.address, pair.on_transmit(now), false)
            }
            IcePhase::Selected(consent) if consent.next_check <= now && now < consent.expires => {
                (consent.address, consent.on_transmit(now, &mut self.rng), true)
            }
            IcePhase::Selected(_) | IcePhase::Failed(_) => return None,
        };
        let username = Username { to: self.remote.ufrag(), from: self.local.ufrag() };
        let mut check = StunWriter::new(out, Class::Request, transaction_id).username(username).priority(PRIORITY);
        // In each check of consent too: should a NAT give us another port, the peer follows at the next one.
        if nominate {
            check = check.use_candidate();
        }
        check.controlling(self.tiebreaker).finish(Some(&self.key));
        Some(address)
    }

    /// Returns the address that the check with this transaction id was sent to.
    fn checked_address(&self, id: TransactionId) -> Option<SocketAddr> {
        match &self.phase {
            IcePhase::Checking(pairs) => {
                pairs.iter().find(|pair| pair.transmissions > 0 && pair.transaction_id == id).map(|pair| pair.address)
            }
            IcePhase::Selected(consent) => consent.outstanding.contains(&id).then_some(consent.address),
            IcePhase::Failed(_) => None,
        }
    }

    fn answered(&mut self, now: Instant, source: SocketAddr, id: TransactionId) -> CheckOutcome {
        if let IcePhase::Selected(consent) = &mut self.phase {
            consent.on_answer(now, id, &mut self.rng);
            return CheckOutcome::Consent;
        }
        self.phase = IcePhase::Selected(Consent {
            address: source,
            timeout: self.consent,
            is_nominated: false,
            is_secure: false,
            rto: RTO_INITIAL,
            outstanding: VecDeque::new(),
            revocations: 0,
            next_check: now,
            is_urgent: false,
            expires: now + self.consent,
        });
        CheckOutcome::Selected(source)
    }

    /// Handles the refusal of a check. It ends the check (RFC 8489 §6.3.4), but not the consent, which the next check
    /// may renew.
    fn refused(&mut self, now: Instant, source: SocketAddr, code: u16, id: TransactionId) {
        match &mut self.phase {
            IcePhase::Checking(pairs) => {
                for pair in pairs.iter_mut().filter(|pair| pair.address == source) {
                    pair.refused = Some(code);
                    pair.due = now;
                }
            }
            IcePhase::Selected(consent) => consent.on_refusal(now, id, code),
            IcePhase::Failed(_) => {}
        }
    }
}

impl Pair {
    fn is_due(&self, now: Instant) -> bool {
        self.refused.is_none() && self.transmissions < TRANSMISSIONS_MAX && self.due <= now
    }

    fn is_over(&self, now: Instant) -> bool {
        self.refused.is_some() || (self.transmissions >= TRANSMISSIONS_MAX && self.due <= now)
    }

    fn on_transmit(&mut self, now: Instant) -> TransactionId {
        self.transmissions += 1;
        let is_last = self.transmissions >= TRANSMISSIONS_MAX;
        let wait = if is_last { LAST_WAIT } else { 1 << (self.transmissions - 1) };
        self.due = now + RTO_INITIAL * wait;
        self.transaction_id
    }
}

impl Consent {
    fn on_transmit(&mut self, now: Instant, rng: &mut StdRng) -> TransactionId {
        let id = transaction_id(rng);
        if self.outstanding.len() >= OUTSTANDING_MAX {
            self.outstanding.pop_front();
        }
        self.outstanding.push_back(id);
        self.is_urgent = false;
        self.next_check = now
            + match (self.is_nominated, self.is_secure) {
                (true, true) => self.interval(rng),
                (true, false) => HANDSHAKE_PERIOD,
                (false, _) => self.rto,
            };
        self.rto = (self.rto * 2).min(CONSENT_PERIOD);
        id
    }

    /// Returns the time between two checks: 0.8 to 1.2 times the period, so that the checks of many clients spread out
    /// (RFC 7675 §5.1). However short the consent is, it outlives the loss of one check.
    fn interval(&self, rng: &mut StdRng) -> Duration {
        let interval = CONSENT_PERIOD.mul_f64(0.8 + 0.4 * f64::from(rng.next_u32()) / f64::from(u32::MAX));
        interval.min(self.timeout.saturating_sub(ANSWER_TIME) / 2)
    }

    fn on_answer(&mut self, now: Instant, id: TransactionId, rng: &mut StdRng) {
        self.outstanding.retain(|outstanding| *outstanding != id);
        self.revocations = 0;
        self.expires = self.expires.max(now + self.timeout);
        if !self.is_nominated {
            self.is_nominated = true;
            if !self.is_urgent {
                self.next_check = now + if self.is_secure { self.interval(rng) } else { HANDSHAKE_PERIOD };
            }
        }
    }

    /// Handles an error response to a consent check. Only one error code means that the peer withdraws consent; the
    /// next check, which leaves soon, verifies that.
    fn on_refusal(&mut self, now: Instant, id: TransactionId, code: u16) {
        self.outstanding.retain(|outstanding| *outstanding != id);
        if code == CheckRefusal::Forbidden.code() {
            self.revocations += 1;
            self.next_check = if self.revocations >= REVOCATIONS_MAX { now } else { now + RTO_INITIAL };
        }
    }
}

fn transaction_id(rng: &mut StdRng) -> TransactionId {
    let mut id = [0; 12];
    rng.fill_bytes(&mut id);
    TransactionId(id)
}

#[cfg(test)]
mod tests;
