//! One run of the handshake. A hello that somebody has forged or damaged begins one that leads nowhere, and so may any
//! answer to a hello in the clear; the peer's own then gets another run, and the first that is finished is the
//! association.

use std::time::{Duration, Instant};

use dimpl::ProtocolVersion;
use sha2::{Digest, Sha256};

use super::client_flight::ClientFlight;
use super::client_hello::is_server_answer;
use super::record::{
    self, CHANGE_CIPHER_SPEC, CLIENT_HELLO, HANDSHAKE, HandshakeHeader, RECORD_HEADER_LEN, Record, Records,
};
use super::record_filter::{HandshakePhase, RecordFilter, RecordRefusal};
use super::{DtlsParameters, ExpectedPeer, SetupRole, Version};

/// Messages that fit together, but name nobody who was expected, wait so long for better ones.
const UNEXPECTED_AFTER: Duration = Duration::from_secs(1);

/// A ClientHello that has arrived whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Hello {
    pub(super) sequence: u16,
    /// The client's random. A second hello, with a cookie, has that of the first (RFC 6347 §4.2.1, RFC 8446 §4.1.2).
    pub(super) random: [u8; 32],
    body: Vec<u8>,
}

impl Hello {
    /// Reads a whole hello; `None` if it is too short for one.
    pub(super) fn new(sequence: u16, body: Vec<u8>) -> Option<Self> {
        // Legacy version, random.
        let random = *body.get(2..34)?.first_chunk::<32>()?;
        Some(Self { sequence, random, body })
    }

    /// Returns the SHA-256 of the whole hello. A flood repeats hellos, so this is called only for those that have
    /// failed.
    pub(super) fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.body).into()
    }

    /// Returns the length of the datagram that carries the whole hello.
    pub(super) fn datagram_len(&self) -> usize {
        RECORD_HEADER_LEN + HandshakeHeader::LEN + self.body.len()
    }
}

/// One run of the handshake, and after it the association.
#[derive(Debug)]
pub(super) struct HandshakeAttempt {
    pub(super) inner: dimpl::Dtls,
    pub(super) gate: RecordFilter,
    role: SetupRole,
    /// Passive: the last hello that was taken in, until the handshake is done. Its repetitions are compared with it.
    hello: Option<Hello>,
    /// Active: true once a ServerHello was taken in.
    is_answered: bool,
    /// Active: randoms of the ServerHellos that came before this attempt's hello was sent. They answer others.
    other_answers: Vec<[u8; 32]>,
    /// Passive, DTLS 1.2: what the client has sent in the clear.
    flight: Option<ClientFlight>,
    flight_deadline: Option<Instant>,
    /// True once this end has sent a ChangeCipherSpec: an active one may get the peer's from then on.
    has_changed_cipher: bool,
    /// True once the peer's ChangeCipherSpec was taken in. Another one would be in the way.
    has_peer_changed_cipher: bool,
    /// Time at which `dimpl` wants to be called.
    pub(super) deadline: Option<Instant>,
    /// SHA-256 of the certificate that the peer has shown, once it was found to be the expected one.
    pub(super) peer_fingerprint: Option<[u8; 32]>,
    /// SHA-256 of the certificate that the peer has shown, if it was not.
    pub(super) refused: Option<[u8; 32]>,
}

impl HandshakeAttempt {
    /// Creates an attempt. `other_answers` are the randoms of the ServerHellos that have come so far.
    pub(super) fn new(
        now: Instant,
        parameters: &DtlsParameters,
        role: SetupRole,
        asks_for_cookie: bool,
        other_answers: Vec<[u8; 32]>,
    ) -> Self {
        Self {
            inner: parameters.association(now, role, asks_for_cookie),
            gate: RecordFilter::default(),
            role,
            hello: None,
            is_answered: false,
            other_answers,
            flight: None,
            flight_deadline: None,
            has_changed_cipher: false,
            has_peer_changed_cipher: false,
            deadline: None,
            peer_fingerprint: None,
            refused: None,
        }
    }

    pub(super) fn version(&self) -> Option<Version> {
        Some(match self.inner.protocol_version()? {
            ProtocolVersion::DTLS1_3 => Version::Dtls13,
            _ => Version::Dtls12,
        })
    }

    /// Returns the phase of a handshake that has begun.
    pub(super) fn phase(&self) -> HandshakePhase {
        match (self.version(), self.role) {
            (Some(version), role) => HandshakePhase::Handshaking(role, version),
            (None, SetupRole::Active) => HandshakePhase::AwaitsServerHello,
            (None, SetupRole::Passive) => HandshakePhase::AwaitsClientHello,
        }
    }

    /// True if the hello belongs to this attempt: the same as its first one, or a second one of the same client.
    pub(super) fn is_of(&self, hello: &Hello) -> bool {
        self.hello
            .as_ref()
            .is_some_and(|own| own.body == hello.body || (hello.sequence == 1 && own.random == hello.random))
    }

    /// True if this is the hello that was taken in last. `dimpl` repeats its answer by the clock, and would do so less
    /// often for each hello that is repeated.
    pub(super) fn has_taken(&self, hello: &Hello) -> bool {
        self.hello.as_ref() == Some(hello)
    }

    /// Returns the SHA-256 of the hello that was taken in last.
    pub(super) fn hello_digest(&self) -> Option<[u8; 32]> {
        self.hello.as_ref().map(Hello::digest)
    }

    /// True if this is an answer to the hello of an active end, from any sender.
    pub(super) fn is_answered_by(&self, datagram: &[u8]) -> bool {
        self.role == SetupRole::Active && is_server_answer(datagram)
    }

    /// Takes in a whole hello. `dimpl` gets it in one piece, whatever it came in.
    pub(super) fn take_hello(&mut self, now: Instant, hello: Hello) -> Result<(), dimpl::Error> {
        if self.flight.as_ref().is_none_or(ClientFlight::is_unanswered) {
            self.flight = Some(ClientFlight::new(hello.sequence, &hello.body));
        }
        let message = record::handshake_message(CLIENT_HELLO, hello.sequence, &hello.body);
        self.hello = Some(hello);
        self.inner.handle_timeout(now)?;
        let result = self.inner.handle_packet(&record::plaintext_record(&message));
        if self.version() == Some(Version::Dtls13) {
            self.flight = None;
        }
        result
    }

    /// Checks whether a datagram that is not a ClientHello may be taken in.
    pub(super) fn check(&mut self, datagram: &[u8]) -> Result<(), RecordRefusal> {
        let is_for_another = |random| self.other_answers.contains(&random);
        if !self.is_answered && record::server_random(datagram).is_some_and(is_for_another) {
            return Err(RecordRefusal::Unexpected);
        }
        let phase = self.phase();
        self.gate.check(phase, datagram)
    }

    /// Takes in a datagram of the handshake that was checked.
    pub(super) fn take_in(
        &mut self,
        now: Instant,
        datagram: &[u8],
        parameters: &DtlsParameters,
        expected: &ExpectedPeer,
    ) -> Result<(), dimpl::Error> {
        self.is_answered |= record::server_random(datagram).is_some();
        self.inner.handle_timeout(now)?;
        // `dimpl` drops a whole datagram for its first message if it knows that, and for a record that it cannot
        // decrypt.
        let mut records = Records::new(datagram);
        while let Some((record, bytes)) = records.next_with_bytes() {
            match self.phase() {
                HandshakePhase::Handshaking(SetupRole::Passive, Version::Dtls12) => {
                    self.take_from_client(now, record, bytes, parameters, expected)?;
                }
                HandshakePhase::Handshaking(SetupRole::Active, Version::Dtls12) => {
                    self.take_from_server(record, bytes)?;
                }
                _ => self.inner.handle_packet(bytes)?,
            }
        }
        Ok(())
    }

    fn take_from_client(
        &mut self,
        now: Instant,
        record: Record<'_>,
        bytes: &[u8],
        parameters: &DtlsParameters,
        expected: &ExpectedPeer,
    ) -> Result<(), dimpl::Error> {
        let Some(flight) = &mut self.flight else { return Ok(()) };
        match record {
            // The server's flight is over when these are known: what comes again changes nothing.
            Record::Classic { kind: HANDSHAKE, epoch: 0, .. } if flight.is_chosen() => Ok(()),
            Record::Classic { kind: HANDSHAKE, epoch: 0, fragment } => {
                let mut is_new = false;
                let _ = HandshakeHeader::all(fragment, |header, piece| is_new |= flight.add(header, piece));
                let chosen = if is_new { flight.choose(parameters.verifier(), expected) } else { None };
                if chosen.is_none() && flight.has_unexpected() {
                    self.flight_deadline.get_or_insert(now + UNEXPECTED_AFTER);
                }
                self.give_all(chosen)
            }
            _ if !flight.is_chosen() => {
                flight.hold(bytes);
                Ok(())
            }
            _ => self.give(bytes),
        }
    }

    fn take_from_server(&mut self, record: Record<'_>, bytes: &[u8]) -> Result<(), dimpl::Error> {
        match record {
            Record::Classic { kind: HANDSHAKE, epoch: 0, fragment } => {
                let mut result = Ok(());
                let _ = HandshakeHeader::all(fragment, |header, piece| {
                    if result.is_ok() {
                        let message = record::piece_of_message(header, piece);
                        result = self.inner.handle_packet(&record::plaintext_record(&message));
                    }
                });
                result
            }
            // Too early: the server changes after the client.
            Record::Classic { kind: CHANGE_CIPHER_SPEC, epoch: 0, .. } if !self.has_changed_cipher => Ok(()),
            _ => self.give(bytes),
        }
    }

    fn give_all(&mut self, records: Option<Vec<Box<[u8]>>>) -> Result<(), dimpl::Error> {
        let Some(records) = records else { return Ok(()) };
        self.flight_deadline = None;
        records.iter().try_for_each(|record| self.give(record))
    }

    /// Hands a record of DTLS 1.2 to `dimpl`. One that cannot be decrypted is discarded (RFC 6347 §4.1.2.7): alone in
    /// its datagram it leaves no trace there.
    fn give(&mut self, record: &[u8]) -> Result<(), dimpl::Error> {
        let is_plaintext = matches!(record, [_, _, _, 0, 0, ..]);
        if record.first() == Some(&CHANGE_CIPHER_SPEC) {
            let is_right = matches!(record, [_, 0xFE, 0xFD, 0, 0, .., 0, 1, 1]);
            if !is_right || self.has_peer_changed_cipher {
                return Ok(());
            }
            self.has_peer_changed_cipher = true;
        }
        match self.inner.handle_packet(record) {
            Err(dimpl::Error::CryptoError(_)) if !is_plaintext => Ok(()),
            result => result,
        }
    }

    /// Takes note of a datagram of the handshake that this end sends.
    pub(super) fn on_sent(&mut self, datagram: &[u8]) {
        for record in Records::new(datagram).flatten() {
            match (record, &mut self.flight) {
                (Record::Classic { kind: HANDSHAKE, epoch: 0, fragment }, Some(flight)) => {
                    let _ = HandshakeHeader::all(fragment, |header, piece| flight.on_sent(header, piece));
                }
                (Record::Classic { kind: CHANGE_CIPHER_SPEC, .. }, _) => self.has_changed_cipher = true,
                _ => {}
            }
        }
    }

    /// Returns the time at which to call [`handle_timeout`](Self::handle_timeout).
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.deadline.into_iter().chain(self.flight_deadline).min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), dimpl::Error> {
        self.inner.handle_timeout(now)?;
        if self.flight_deadline.is_some_and(|at| at <= now) {
            self.flight_deadline = None;
            let chosen = self.flight.as_mut().and_then(ClientFlight::choose_unexpected);
            self.give_all(chosen)?;
        }
        Ok(())
    }

    /// Forgets what only a handshake needs.
    pub(super) fn on_connected(&mut self) {
        self.hello = None;
        self.flight = None;
        self.flight_deadline = None;
        self.other_answers = Vec::new();
    }
}
