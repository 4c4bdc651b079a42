//! DTLS 1.2 and 1.3 with one peer (RFC 8261, RFC 8842), without I/O. The protocol is `dimpl`'s; here is what it leaves
//! to its user: whom to trust, what to let in, and how packets become datagrams.

mod attempt;
mod client_flight;
mod client_hello;
mod event;
mod failure;
mod handshake;
mod parameters;
mod record;
mod record_filter;
#[cfg(test)]
pub(crate) mod tests;

use std::cell::Cell;
use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dimpl::Output;
use sha2::{Digest, Sha256};

use self::attempt::HandshakeAttempt;
use self::client_hello::ClientHelloReassembly;
pub(crate) use self::client_hello::is_plausible_client_hello;
pub(crate) use self::event::{DtlsDrops, DtlsEvent, SealError, Version};
pub(crate) use self::failure::DtlsFailure;
use self::failure::Hex;
pub(crate) use self::parameters::{DtlsParameters, Versions};
use self::record_filter::{HandshakePhase, RecordFilter, RecordRefusal};
use super::CertificateHash;

/// Bytes of a packet at most: what one record carries (RFC 8446 §5.1).
pub(crate) const PACKET_LEN_MAX: usize = 1 << 14;

/// Most bytes that `dimpl` writes during a handshake: a certificate that fills its receive queue.
const HANDSHAKE_OUTPUT_LEN_MAX: usize = record_filter::QUEUE_MAX * record_filter::DATAGRAM_LEN_MAX;

thread_local! {
    /// Room for that, one for all handshakes of a thread: to fill it with zeros for each datagram of a flood of hellos
    /// takes twice the time of all the rest.
    static HANDSHAKE_OUTPUT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Datagrams of the handshake that wait to be sent at most: several times the longest flight.
const FLIGHTS_MAX: usize = 16;

/// A time-out is not followed by another before so much time has passed. An acknowledgement that helps the peer to
/// repair its flight is of no more use in less than a round trip.
const REPEAT_PAUSE: Duration = Duration::from_millis(50);

/// A deadline as far away as this is none. `dimpl` says "in ten years" when it waits for nothing.
const NEVER: Duration = Duration::from_secs(24 * 60 * 60);

/// Which side begins (RFC 8842 §5: `a=setup`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SetupRole {
    /// Waits for the peer's ClientHello.
    Passive,
    /// Sends a ClientHello.
    Active,
}

/// Certificate that the peer must have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ExpectedPeer {
    /// Any certificate: only the peer learns whom it talks to, as with HTTPS.
    Anyone,
    /// A certificate with any of these hashes (RFC 8122 §5).
    Fingerprints(Vec<CertificateHash>),
}

impl ExpectedPeer {
    /// Notes in an attempt that the peer has shown this certificate, and if it may have it.
    fn judge(&self, certificate: &[u8], shown: &mut Option<[u8; 32]>, refused: &mut Option<[u8; 32]>) {
        let presented: [u8; 32] = Sha256::digest(certificate).into();
        let is_expected = self.accepts(certificate);
        tracing::debug!(fingerprint = %Hex(&presented), is_expected, "DTLS certificate");
        *(if is_expected { shown } else { refused }) = Some(presented);
    }

    /// Returns `true` if the peer may have this certificate, which is in DER.
    fn accepts(&self, certificate: &[u8]) -> bool {
        match self {
            Self::Anyone => true,
            Self::Fingerprints(announced) => announced.iter().any(|hash| hash.matches(certificate)),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Handshaking,
    Connected(Version),
    Over,
}

/// A DTLS association with one peer.
///
/// - *Getters* change nothing.
/// - *Commands*: [`send`](Self::send), [`close`](Self::close).
/// - *Inputs*: [`handle_datagram`](Self::handle_datagram), [`handle_timeout`](Self::handle_timeout).
/// - *Outputs*, polled after any of the former, each until it has nothing more: [`poll_event`](Self::poll_event),
///   [`poll_transmit`](Self::poll_transmit), [`poll_timeout`](Self::poll_timeout).
///
/// Keys and nonces are drawn by the cryptographic library, from the operating system: the one thing here that is not an
/// argument.
#[derive(Debug)]
pub(crate) struct Dtls {
    parameters: Arc<DtlsParameters>,
    asks_for_cookie: bool,
    /// A ClientHello of fewer bytes is asked for a cookie in any case.
    cookie_below: usize,
    is_address_proved: bool,
    role: SetupRole,
    /// One for the peer's hello as a rule, and the only one once it is connected. More if somebody has forged a hello,
    /// or an answer to one.
    attempts: Vec<HandshakeAttempt>,
    /// Attempts so far.
    begun: u32,
    hellos_answered_max: u32,
    /// Randoms of the ServerHellos that have come, from any sender.
    answers: Vec<[u8; 32]>,
    /// SHA-256 of hellos that led nowhere.
    failed_hellos: Vec<[u8; 32]>,
    last_failure: Option<DtlsFailure>,
    /// Time at which an active end begins another attempt.
    retry_at: Option<Instant>,
    give_up_at: Option<Instant>,
    hello: ClientHelloReassembly,
    stage: Stage,
    expected: ExpectedPeer,
    /// For hellos, and once connected. Attempts have their own.
    gate: RecordFilter,
    /// Records sent whose nonces were drawn.
    random_nonces: u64,
    /// Datagrams of the peer after the handshake that were answered.
    key_changes: u32,
    events: VecDeque<DtlsEvent>,
    /// Datagrams of the handshake and of the end.
    flights: VecDeque<Vec<u8>>,
    /// Time of the last input.
    now: Instant,
    drops: DtlsDrops,
}

impl Dtls {
    /// Creates an association with a peer that is not known yet. An active one has its ClientHello to transmit.
    ///
    /// `asks_for_cookie` makes a passive one ask for a proof that the peer receives where it says that it is, before
    /// anything else: one more round trip (RFC 6347 §4.2.1, RFC 9147 §5.1).
    pub(crate) fn new(
        now: Instant,
        parameters: Arc<DtlsParameters>,
        role: SetupRole,
        expected: ExpectedPeer,
        asks_for_cookie: bool,
    ) -> Self {
        let mut dtls = Self {
            parameters,
            asks_for_cookie,
            cookie_below: 0,
            is_address_proved: false,
            role,
            attempts: Vec::new(),
            begun: 0,
            hellos_answered_max: handshake::HELLOS_ANSWERED_MAX,
            answers: Vec::new(),
            failed_hellos: Vec::new(),
            last_failure: None,
            retry_at: None,
            give_up_at: None,
            hello: ClientHelloReassembly::default(),
            stage: Stage::Handshaking,
            expected,
            gate: RecordFilter::default(),
            random_nonces: 0,
            key_changes: 0,
            events: VecDeque::new(),
            flights: VecDeque::new(),
            now,
            drops: DtlsDrops::default(),
        };
        if role == SetupRole::Active {
            dtls.begin_actively(now);
        }
        dtls
    }

    // Getters

    /// Returns the SHA-256 of the peer's certificate, once it has been accepted.
    pub(crate) fn peer_fingerprint(&self) -> Option<&[u8; 32]> {
        self.attempts.first()?.peer_fingerprint.as_ref()
    }

    /// True if the peer has shown that it receives what is sent to it: the peer has returned a cookie, or finished the
    /// handshake.
    pub(crate) fn is_address_proved(&self) -> bool {
        self.is_address_proved
    }

    /// Returns the negotiated version, while connected.
    pub(crate) fn version(&self) -> Option<Version> {
        match self.stage {
            Stage::Connected(version) => Some(version),
            Stage::Handshaking | Stage::Over => None,
        }
    }

    /// True if the association has ended. There may still be events and a last datagram to poll.
    pub(crate) fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Returns the counters of datagrams that were discarded, by reason.
    pub(crate) fn drops(&self) -> DtlsDrops {
        self.drops
    }

    // Commands

    /// Appends the datagram that carries `packet` to `out`: packets of one length become datagrams of one length.
    ///
    /// # Errors
    ///
    /// See [`SealError`]. Nothing was appended then, and nothing is kept.
    pub(crate) fn send(&mut self, packet: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        let version = match self.stage {
            Stage::Connected(version) => version,
            Stage::Handshaking => return Err(SealError::NotConnected),
            Stage::Over => return Err(SealError::Closed),
        };
        if packet.len() > PACKET_LEN_MAX {
            return Err(SealError::TooLong(packet.len()));
        }
        // The queue inside is empty here, since everything is taken out of it at once: nothing is lost to a full one.
        let Some(HandshakeAttempt { inner, .. }) = self.attempts.first_mut() else {
            return Err(SealError::NotConnected);
        };
        if let Err(error) = inner.send_application_data(packet) {
            self.fail_with(error);
            return Err(SealError::Closed);
        }
        let start = out.len();
        out.resize(start + packet.len() + version.overhead(), 0);
        let end = loop {
            match inner.poll_output(out.get_mut(start..).unwrap_or_default()) {
                Output::Packet(datagram) => break start + datagram.len(),
                Output::BufferTooSmall { needed } => out.resize(start + needed, 0),
                _ => break start,
            }
        };
        out.truncate(end);
        if version == Version::Dtls12 && end - start == packet.len() + version.overhead() {
            self.random_nonces += 1;
        }
        self.drain(0, 0);
        if self.random_nonces >= self.parameters.limits.random_nonces_max {
            self.end_with(DtlsFailure::RecordsExhausted);
        }
        Ok(())
    }

    /// Makes a passive end ask for a cookie if the ClientHello has fewer bytes than this, whatever was said at the
    /// start.
    pub(crate) fn ask_for_cookie_below(&mut self, len: usize) {
        self.cookie_below = len;
    }

    /// Ends the association. The peer is told if it is connected: poll [`poll_transmit`](Self::poll_transmit) once
    /// more.
    pub(crate) fn close(&mut self) {
        if self.stage == Stage::Over {
            return;
        }
        let was_connected = matches!(self.stage, Stage::Connected(_));
        self.flights.clear();
        let is_closed = self.attempts.first_mut().is_some_and(|attempt| attempt.inner.close().is_ok());
        if is_closed && was_connected {
            self.drain(0, 0);
        }
        self.end();
    }

    // Inputs

    /// Takes in a datagram from the peer.
    pub(crate) fn handle_datagram(&mut self, now: Instant, datagram: &[u8]) {
        match self.stage {
            Stage::Handshaking => self.handle_handshake(now, datagram),
            Stage::Connected(_) => self.handle_protected(now, datagram),
            Stage::Over => self.count(RecordRefusal::Unexpected),
        }
    }

    /// Fires what is due. To be called when the time that [`poll_timeout`](Self::poll_timeout) returned has come.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        match self.stage {
            Stage::Handshaking => self.handle_handshake_timeout(now),
            Stage::Connected(_) => self.fire(0, now),
            Stage::Over => {}
        }
    }

    // Outputs

    /// Returns the next event. Events are reported in the order in which they happened.
    pub(crate) fn poll_event(&mut self) -> Option<DtlsEvent> {
        self.events.pop_front()
    }

    /// Returns a datagram of the handshake or of the end. Those of packets are written by [`send`](Self::send).
    pub(crate) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.flights.pop_front()
    }

    /// Returns the length of what [`poll_transmit`](Self::poll_transmit) will return.
    pub(crate) fn next_transmit_len(&self) -> Option<usize> {
        self.flights.front().map(Vec::len)
    }

    /// Returns the time at which to call [`handle_timeout`](Self::handle_timeout), if at all.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let attempts = self.attempts.iter().filter_map(HandshakeAttempt::poll_timeout);
        attempts.chain(self.retry_at).chain(self.give_up_at).min().filter(|_| self.stage != Stage::Over)
    }

    /// Takes in a datagram when the handshake is done.
    fn handle_protected(&mut self, now: Instant, datagram: &[u8]) {
        if let Err(refusal) = self.gate.check(HandshakePhase::Connected, datagram) {
            return self.count(refusal);
        }
        self.now = now;
        if self.role == SetupRole::Passive && client_hello::is_client_hello(datagram) {
            if let Some((sequence, body)) = self.hello.add(datagram) {
                let message = record::handshake_message(record::CLIENT_HELLO, sequence, &body);
                self.take_in(now, &record::plaintext_record(&message));
            }
            return;
        }
        let (events, flights) = (self.events.len(), self.flights.len());
        self.take_in(now, datagram);
        if self.flights.len() > flights {
            self.key_changes += 1;
            if self.key_changes > self.parameters.limits.key_changes_max {
                self.end_with(DtlsFailure::KeyChanges);
            }
        } else if self.events.len() == events {
            self.drops.ineffective += 1;
            tracing::debug!(reason = "ineffective", "dropped");
        }
    }

    fn take_in(&mut self, now: Instant, datagram: &[u8]) {
        let Some(HandshakeAttempt { inner, .. }) = self.attempts.first_mut().filter(|_| self.stage != Stage::Over)
        else {
            return;
        };
        match inner.handle_timeout(now).and_then(|()| inner.handle_packet(datagram)) {
            Ok(()) => self.drain(0, datagram.len()),
            Err(error) => self.fail_with(error),
        }
    }

    /// Takes out all that the last input or command has brought of an attempt. `datagram_len` is the length of what
    /// came in, if something did: what comes out of a datagram that carries one packet is known from it, and becomes
    /// the packet's memory without being copied again.
    fn drain(&mut self, index: usize, datagram_len: usize) {
        match self.stage {
            Stage::Handshaking => {
                let mut buffer = HANDSHAKE_OUTPUT.take();
                buffer.resize(HANDSHAKE_OUTPUT_LEN_MAX, 0);
                self.drain_by(index, &mut buffer);
                HANDSHAKE_OUTPUT.set(buffer);
            }
            Stage::Connected(version) => self.drain_by(index, &mut vec![0; version.packet_len_max(datagram_len)]),
            Stage::Over => {}
        }
    }

    fn drain_by(&mut self, mut index: usize, buffer: &mut Vec<u8>) {
        loop {
            let Some(attempt) = self.attempts.get_mut(index) else { return };
            match attempt.inner.poll_output(buffer) {
                Output::BufferTooSmall { needed } => *buffer = vec![0; needed],
                Output::Packet(datagram) => {
                    if self.stage == Stage::Handshaking {
                        attempt.on_sent(datagram);
                    }
                    tracing::debug!(len = datagram.len(), "DTLS flight");
                    // More than waits here if nobody may send it; the peer will ask for it again.
                    if self.flights.len() < FLIGHTS_MAX {
                        self.is_address_proved |= self.asks_for_cookie && record::server_random(datagram).is_some();
                        self.flights.push_back(datagram.to_vec());
                    }
                }
                Output::PeerCert(certificate) => {
                    self.expected.judge(certificate, &mut attempt.peer_fingerprint, &mut attempt.refused);
                }
                Output::Connected => {
                    let (is_known, refused) = (attempt.peer_fingerprint.is_some(), attempt.refused);
                    let version = attempt.version().unwrap_or(Version::Dtls12);
                    self.keep_only(index);
                    index = 0;
                    if let Some(presented) = refused {
                        return self.refuse(presented);
                    }
                    if !is_known {
                        return self.fail(DtlsFailure::NoCertificate);
                    }
                    tracing::debug!(?version, "DTLS connected");
                    self.stage = Stage::Connected(version);
                    self.is_address_proved = true;
                    self.events.push_back(DtlsEvent::Connected(version));
                }
                Output::ApplicationData(packet) => {
                    let len = packet.len();
                    if len != 0 && matches!(self.stage, Stage::Connected(_)) {
                        buffer.truncate(len);
                        self.events.push_back(DtlsEvent::Packet(into_packet(mem::take(buffer))));
                    }
                }
                Output::CloseNotify => {
                    tracing::debug!(alert = "close_notify", "DTLS alert");
                    self.events.push_back(DtlsEvent::PeerClosed);
                    return self.close();
                }
                Output::Timeout(at) => {
                    let is_soon = at.saturating_duration_since(self.now) < NEVER;
                    attempt.deadline = is_soon.then_some(at);
                    return;
                }
                // Keys for SRTP, which data channels have no use for.
                _ => {}
            }
        }
    }

    /// Ends a connected association for a reason that the peer cannot know: it is told that this is the end.
    fn end_with(&mut self, failure: DtlsFailure) {
        if self.stage != Stage::Over {
            tracing::debug!(%failure, "DTLS failed");
            self.events.push_back(DtlsEvent::Failed(failure));
            self.close();
        }
    }

    /// Refuses a peer with the wrong certificate. The handshake was completed only so that the alert is authenticated;
    /// no data of the peer is accepted.
    fn refuse(&mut self, presented: [u8; 32]) {
        let failure = DtlsFailure::WrongCertificate { presented };
        tracing::debug!(%failure, "DTLS failed");
        self.events.push_back(DtlsEvent::Failed(failure));
        if self.attempts.first_mut().is_some_and(|attempt| attempt.inner.close().is_ok()) {
            self.drain(0, 0);
        }
        self.end();
    }

    fn fail_with(&mut self, error: dimpl::Error) {
        let alert = self.plaintext_alert();
        self.fail(DtlsFailure::from_error(error, alert));
    }

    fn fail(&mut self, failure: DtlsFailure) {
        self.flights.clear();
        tracing::debug!(%failure, "DTLS failed");
        self.events.push_back(DtlsEvent::Failed(failure));
        self.end();
    }

    fn end(&mut self) {
        tracing::debug!(stage = ?self.stage, "DTLS association over");
        self.stage = Stage::Over;
    }
}

/// Copies the packet into memory of just its size, because slices of it may be kept for long.
fn into_packet(buffer: Vec<u8>) -> Bytes {
    if buffer.capacity() == buffer.len() { Bytes::from(buffer) } else { Bytes::copy_from_slice(&buffer) }
}
