//! The handshake while it lasts: which attempts there are, what each of them gets, and what follows when one fails.
//!
//! Most of a handshake is in the clear, and anybody can send that. So no datagram ends a handshake: an attempt that
//! fails is forgotten, and another one may begin. A passive end makes one for each hello, an active end sends another
//! hello.

use std::time::{Duration, Instant};

use super::attempt::{HandshakeAttempt, Hello};
use super::parameters::HANDSHAKE_TIMEOUT;
use super::record_filter::{HandshakePhase, RecordRefusal};
use super::{Dtls, DtlsEvent, DtlsFailure, SetupRole, Stage, client_hello, record};

/// Attempts that last at the same time: the first, and the two newest. The first is most often right, and a peer that
/// has begun again may still finish the one before.
const AT_ONCE_MAX: usize = 3;

/// ServerHellos that are remembered at most.
const ANSWERS_MAX: usize = 32;

/// Attempts that a passive end makes at most. Each costs a key exchange and a signature.
pub(super) const HELLOS_ANSWERED_MAX: u32 = 6;

/// The same for who has shown nothing: the peer's hello, one that was forged, and another of the peer's.
const STRANGERS_HELLOS_ANSWERED_MAX: u32 = 3;

/// Hellos of its own that an active end sends at most.
const HELLOS_SENT_MAX: u32 = 4;

/// An active end whose attempt has failed begins another after this, and after twice the time with each. Until then
/// what was forged is still coming in.
const RETRY_AFTER: Duration = Duration::from_millis(250);

/// An active end that is not connected so long after the first answer begins another attempt beside the first: the
/// answer may have been somebody else's. Twice the time with each.
const DOUBT_AFTER: Duration = Duration::from_millis(1500);

/// A passive end that can do nothing with a hello waits so long for another one.
const OTHER_HELLO_WITHIN: Duration = Duration::from_secs(5);

impl Dtls {
    /// Begins an attempt with a hello of this end's own.
    pub(super) fn begin_actively(&mut self, now: Instant) {
        self.retry_at = None;
        if self.begun >= HELLOS_SENT_MAX {
            return;
        }
        let index = self.begin(now);
        self.fire(index, now);
    }

    /// Answers fewer hellos: nobody has shown yet to receive where they come from.
    pub(crate) fn answer_few_hellos(&mut self) {
        self.hellos_answered_max = STRANGERS_HELLOS_ANSWERED_MAX;
    }

    fn begin(&mut self, now: Instant) -> usize {
        if self.role == SetupRole::Passive || self.begun == 0 {
            self.give_up_at = Some(now + HANDSHAKE_TIMEOUT);
        }
        if self.attempts.len() >= AT_ONCE_MAX {
            self.attempts.remove(1);
        }
        self.begun += 1;
        let (role, attempt, asks_for_cookie) = (self.role, self.begun, self.asks_for_cookie);
        tracing::debug!(?role, attempt, asks_for_cookie, "DTLS handshake attempt");
        self.attempts.reserve_exact(1);
        let answers = self.answers.clone();
        self.attempts.push(HandshakeAttempt::new(now, &self.parameters, self.role, self.asks_for_cookie, answers));
        self.attempts.len() - 1
    }

    /// Takes in a datagram while the handshake lasts.
    pub(super) fn handle_handshake(&mut self, now: Instant, datagram: &[u8]) {
        if self.role == SetupRole::Passive && client_hello::is_client_hello(datagram) {
            return match self.gate.check(HandshakePhase::AwaitsClientHello, datagram) {
                Ok(()) => self.take_hello(now, datagram),
                Err(refusal) => self.count(refusal),
            };
        }
        if self.role == SetupRole::Active {
            self.remember_answer(datagram);
        }
        let mut refusal = match self.attempts.is_empty() {
            true => Some(
                self.gate.check(HandshakePhase::AwaitsClientHello, datagram).err().unwrap_or(RecordRefusal::Unexpected),
            ),
            false => None,
        };
        let mut index = 0;
        while index < self.attempts.len() && self.stage == Stage::Handshaking {
            let Some(attempt) = self.attempts.get_mut(index) else { break };
            if let Err(reason) = attempt.check(datagram) {
                refusal = Some(reason);
                index += 1;
                continue;
            }
            self.now = now;
            let is_answer = attempt.is_answered_by(datagram);
            let result = attempt.take_in(now, datagram, &self.parameters, &self.expected);
            if is_answer && self.retry_at.is_none() {
                self.retry_at = Some(now + self.doubled(DOUBT_AFTER));
            }
            // The next one takes the place of one that has failed.
            index += usize::from(self.settle(index, datagram.len(), result));
        }
        if let Some(refusal) = refusal {
            self.count(refusal);
        }
    }

    pub(super) fn count(&mut self, refusal: RecordRefusal) {
        tracing::debug!(reason = ?refusal, "dropped");
        match refusal {
            RecordRefusal::Malformed => self.drops.malformed += 1,
            RecordRefusal::Unauthenticated => self.drops.unauthenticated += 1,
            RecordRefusal::Unexpected => self.drops.unexpected += 1,
        }
    }

    fn doubled(&self, wait: Duration) -> Duration {
        wait * (1 << self.begun.saturating_sub(1).min(8))
    }

    /// Takes note of a ServerHello: it answers no hello that is sent later.
    fn remember_answer(&mut self, datagram: &[u8]) {
        let Some(random) = record::server_random(datagram).filter(|random| !self.answers.contains(random)) else {
            return;
        };
        if self.answers.len() >= ANSWERS_MAX {
            self.answers.remove(0);
        }
        self.answers.push(random);
    }

    fn take_hello(&mut self, now: Instant, datagram: &[u8]) {
        let Some((sequence, body)) = self.hello.add(datagram) else { return };
        let has_failed = |hello: &Hello| !self.failed_hellos.is_empty() && self.failed_hellos.contains(&hello.digest());
        let hello = Hello::new(sequence, body).filter(|hello| !has_failed(hello));
        let Some(hello) = hello else { return self.count(RecordRefusal::Unexpected) };
        tracing::debug!(message_seq = hello.sequence, len = hello.datagram_len(), "ClientHello");
        self.now = now;
        self.asks_for_cookie |= hello.datagram_len() < self.cookie_below;
        let index = match self.attempts.iter().position(|attempt| attempt.is_of(&hello)) {
            Some(index) => index,
            None if hello.sequence == 0 && self.begun < self.hellos_answered_max => self.begin(now),
            None => return self.count(RecordRefusal::Unexpected),
        };
        let Some(attempt) = self.attempts.get_mut(index) else { return };
        if attempt.has_taken(&hello) {
            return;
        }
        if !attempt.gate.takes_hello() {
            return self.count(RecordRefusal::Unexpected);
        }
        let result = attempt.take_hello(now, hello);
        self.settle(index, datagram.len(), result);
    }

    /// Takes out what an input has brought. Returns `false` if the attempt has failed.
    fn settle(&mut self, index: usize, datagram_len: usize, result: Result<(), dimpl::Error>) -> bool {
        let is_ok = result.is_ok();
        match result {
            Ok(()) => self.drain(index, datagram_len),
            Err(error) => self.on_attempt_failed(index, error),
        }
        is_ok
    }

    /// Fires what is due of an attempt.
    pub(super) fn fire(&mut self, index: usize, now: Instant) {
        let Some(attempt) = self.attempts.get_mut(index) else { return };
        let result = attempt.handle_timeout(now);
        if self.settle(index, 0, result)
            && let Some(attempt) = self.attempts.get_mut(index)
        {
            // While a message of the peer's flight is missing, `dimpl` wants to acknowledge the others again at once,
            // for ever.
            attempt.deadline = attempt.deadline.map(|at| if at <= now { now + super::REPEAT_PAUSE } else { at });
        }
    }

    /// Fires what is due of the handshake.
    pub(super) fn handle_handshake_timeout(&mut self, now: Instant) {
        if self.give_up_at.is_some_and(|at| at <= now) {
            return self.give_up();
        }
        for index in (0..self.attempts.len()).rev() {
            if self.stage == Stage::Handshaking {
                self.fire(index, now);
            }
        }
        if self.stage == Stage::Handshaking && self.retry_at.is_some_and(|at| at <= now) {
            self.begin_actively(now);
        }
    }

    fn on_attempt_failed(&mut self, index: usize, error: dimpl::Error) {
        let is_passive = self.role == SetupRole::Passive;
        if matches!(error, dimpl::Error::CertificateError(_)) && is_passive {
            // The one error that leaves an alert for the peer.
            self.flights.clear();
            self.drain(index, 0);
            self.events.push_back(DtlsEvent::Failed(DtlsFailure::NoCertificate));
            return self.end();
        }
        let attempt = self.attempts.remove(index);
        self.failed_hellos.extend(attempt.hello_digest());
        let failure = match attempt.refused {
            Some(presented) => DtlsFailure::WrongCertificate { presented },
            None => DtlsFailure::from_error(error, self.plaintext_alert().or(attempt.gate.plaintext_alert)),
        };
        tracing::debug!(%failure, attempt = self.begun, "DTLS handshake attempt failed");
        // An alert that has come this far is the peer's.
        let is_last = self.attempts.is_empty() && !is_passive && self.begun >= HELLOS_SENT_MAX;
        match failure {
            DtlsFailure::PeerAlert(_) => return self.fail(failure),
            DtlsFailure::TimedOut { .. } if self.attempts.is_empty() => return self.fail(failure),
            DtlsFailure::TimedOut { .. } => return,
            failure if is_last => return self.fail(failure),
            failure => self.last_failure = Some(failure),
        }
        if is_passive && self.attempts.is_empty() {
            self.give_up_at = Some(self.now + OTHER_HELLO_WITHIN);
        } else if !is_passive && self.begun < HELLOS_SENT_MAX {
            let at = self.now + self.doubled(RETRY_AFTER);
            self.retry_at = Some(self.retry_at.map_or(at, |earlier| earlier.min(at)));
        }
    }

    /// Gives up the handshake, which has taken too long.
    fn give_up(&mut self) {
        let refused = self.attempts.iter().find_map(|attempt| attempt.refused);
        let refused = refused.map(|presented| DtlsFailure::WrongCertificate { presented });
        let alert = self.plaintext_alert();
        let failure = refused.or_else(|| self.last_failure.take()).unwrap_or_else(|| DtlsFailure::timed_out(alert));
        self.fail(failure);
    }

    /// Returns the alert that was received in the clear, if any.
    pub(super) fn plaintext_alert(&self) -> Option<u8> {
        self.attempts.iter().find_map(|attempt| attempt.gate.plaintext_alert).or(self.gate.plaintext_alert)
    }

    /// Keeps the attempt that has completed. The others, and the records kept for them, are of no more use.
    pub(super) fn keep_only(&mut self, index: usize) {
        self.attempts.swap(0, index);
        self.attempts.truncate(1);
        if let Some(attempt) = self.attempts.first_mut() {
            attempt.on_connected();
        }
        self.answers = Vec::new();
        self.failed_hellos = Vec::new();
        self.last_failure = None;
        self.retry_at = None;
        self.give_up_at = None;
    }
}
