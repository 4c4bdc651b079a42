//! Messages that a client of DTLS 1.2 sends in the clear after the server's first flight: its certificate, its half of
//! the key exchange, and a signature over the handshake so far (RFC 5246 §7.4.6 to §7.4.8). Anybody can send such
//! messages, and `dimpl` takes the first of each for the peer's. The signature tells which messages belong together.
//! Until the signature fits, the messages wait here raw, several versions of each.

use std::collections::VecDeque;

use dimpl::crypto::SignatureVerifier;
use dimpl::{HashAlgorithm, SignatureAlgorithm};

use super::ExpectedPeer;
use super::record::{
    CERTIFICATE, CERTIFICATE_REQUEST, CERTIFICATE_VERIFY, CLIENT_HELLO, CLIENT_KEY_EXCHANGE, HandshakeHeader,
    SERVER_HELLO, SERVER_HELLO_DONE, SERVER_KEY_EXCHANGE, handshake_message, plaintext_record,
};

/// Pieces of messages held at most. An honest flight has three to ten; the oldest make room.
const PIECES_MAX: usize = 48;

/// Bytes of pieces held at most: a certificate chain of the longest that is taken in, and the rest.
const HELD_MAX: usize = 20 * 1024;

/// Versions of one message that are looked at, the newest first. What the peer sends again is new again.
const VERSIONS_MAX: usize = 4;

/// Signatures that are verified at most. Each takes a third of a millisecond.
const VERIFICATIONS_MAX: u32 = 64;

/// Records under keys that wait for the messages in the clear.
const PROTECTED_MAX: usize = 4;

/// The messages in the clear, in the order in which they are sent.
const KINDS: [u8; 3] = [CERTIFICATE, CLIENT_KEY_EXCHANGE, CERTIFICATE_VERIFY];

#[derive(PartialEq, Eq, Debug)]
struct FlightPiece {
    kind: u8,
    length: u32,
    offset: u32,
    bytes: Box<[u8]>,
}

impl FlightPiece {
    fn end(&self) -> u32 {
        self.offset + u32::try_from(self.bytes.len()).unwrap_or_default()
    }
}

/// The flight of one client, until it is told from what others have sent.
#[derive(Debug)]
pub(super) struct ClientFlight {
    /// The hello and what this end has answered, as the signature covers it.
    transcript: Vec<u8>,
    hello_len: usize,
    hello_sequence: u16,
    /// The message of ours that is being put together, and its number.
    own: (u16, Vec<u8>),
    pieces: VecDeque<FlightPiece>,
    held: usize,
    protected: Vec<Box<[u8]>>,
    verifications: u32,
    /// Messages that fit together, but are not the expected ones: another certificate, or none.
    unexpected: Option<Vec<Vec<u8>>>,
    is_chosen: bool,
}

impl ClientFlight {
    /// Creates the flight after a ClientHello with this body and message number.
    pub(super) fn new(sequence: u16, hello: &[u8]) -> Self {
        let transcript = handshake_message(CLIENT_HELLO, sequence, hello);
        Self {
            hello_len: transcript.len(),
            transcript,
            hello_sequence: sequence,
            own: (sequence, Vec::new()),
            pieces: VecDeque::new(),
            held: 0,
            protected: Vec::new(),
            verifications: 0,
            unexpected: None,
            is_chosen: false,
        }
    }

    /// True once the peer's messages are known, and `dimpl` has them.
    pub(super) fn is_chosen(&self) -> bool {
        self.is_chosen
    }

    /// True if nothing has been answered to the hello but a request for a cookie.
    pub(super) fn is_unanswered(&self) -> bool {
        self.transcript.len() == self.hello_len
    }

    /// True if there is something to take when nothing better comes in time.
    pub(super) fn has_unexpected(&self) -> bool {
        self.unexpected.is_some() && !self.is_chosen
    }

    /// Takes note of a message, or a piece of one, that this end sends in the clear.
    pub(super) fn on_sent(&mut self, header: HandshakeHeader, fragment: &[u8]) {
        let (sequence, body) = &mut self.own;
        let is_next = matches!(
            header.kind,
            SERVER_HELLO | CERTIFICATE | SERVER_KEY_EXCHANGE | CERTIFICATE_REQUEST | SERVER_HELLO_DONE
        ) && header.sequence == *sequence
            && usize::try_from(header.offset) == Ok(body.len());
        if !is_next {
            return;
        }
        body.extend_from_slice(fragment);
        if usize::try_from(header.length) == Ok(body.len()) {
            self.transcript.extend(handshake_message(header.kind, *sequence, body));
            *sequence = sequence.wrapping_add(1);
            body.clear();
        }
    }

    /// Keeps a message, or a piece of one. Returns `true` if it is worth another look at what is there.
    pub(super) fn add(&mut self, header: HandshakeHeader, fragment: &[u8]) -> bool {
        let place = KINDS.iter().position(|kind| *kind == header.kind).and_then(|place| u16::try_from(place).ok());
        let is_in_place =
            place.is_some_and(|place| header.sequence == self.hello_sequence.wrapping_add(1).wrapping_add(place));
        if !is_in_place || (fragment.is_empty() && header.length != 0) {
            return false;
        }
        let piece =
            FlightPiece { kind: header.kind, length: header.length, offset: header.offset, bytes: fragment.into() };
        let known = self.pieces.iter().position(|other| *other == piece);
        if let Some(known) = known {
            self.pieces.remove(known);
        } else {
            self.held += piece.bytes.len();
        }
        self.pieces.push_back(piece);
        while self.pieces.len() > PIECES_MAX || self.held > HELD_MAX {
            let Some(oldest) = self.pieces.pop_front() else { break };
            self.held -= oldest.bytes.len();
        }
        known.is_none()
    }

    /// Keeps a record under keys, or the ChangeCipherSpec before it, until its turn comes.
    pub(super) fn hold(&mut self, record: &[u8]) {
        if self.protected.len() < PROTECTED_MAX {
            self.protected.push(record.into());
        }
    }

    /// Looks for messages that belong together. Returns the records for `dimpl` once there are some.
    pub(super) fn choose(
        &mut self,
        verifier: &dyn SignatureVerifier,
        expected: &ExpectedPeer,
    ) -> Option<Vec<Box<[u8]>>> {
        let [certificates, exchanges, verifies] = KINDS.map(|kind| self.versions(kind));
        for certificate in &certificates {
            let Some(leaf) = leaf(certificate) else {
                self.unexpected.get_or_insert_with(|| vec![certificate.clone()]);
                continue;
            };
            for (exchange, verify) in exchanges.iter().flat_map(|one| verifies.iter().map(move |two| (one, two))) {
                if !self.fits(verifier, leaf, [certificate, exchange, verify]) {
                    continue;
                }
                let messages = [certificate, exchange, verify].map(Vec::clone).to_vec();
                if expected.accepts(leaf) {
                    return Some(self.take(&messages));
                }
                self.unexpected = Some(messages);
            }
        }
        None
    }

    /// Returns what is not as expected, so that the peer and the user learn why this fails.
    pub(super) fn choose_unexpected(&mut self) -> Option<Vec<Box<[u8]>>> {
        let messages = self.unexpected.take()?;
        Some(self.take(&messages))
    }

    fn take(&mut self, messages: &[Vec<u8>]) -> Vec<Box<[u8]>> {
        self.is_chosen = true;
        self.pieces = VecDeque::new();
        self.held = 0;
        let first = self.hello_sequence.wrapping_add(1);
        let mut records: Vec<_> = (first..)
            .zip(KINDS.iter().zip(messages))
            .map(|(sequence, (kind, body))| plaintext_record(&handshake_message(*kind, sequence, body)))
            .collect();
        records.append(&mut self.protected);
        records
    }

    /// True if the signature is one by the certificate's key, over all that comes before it.
    fn fits(&mut self, verifier: &dyn SignatureVerifier, leaf: &[u8], messages: [&Vec<u8>; 3]) -> bool {
        let [certificate, exchange, verify] = messages;
        let Some((&[hash, signature, l0, l1], rest)) = verify.split_first_chunk::<4>() else { return false };
        let hash = match hash {
            4 => HashAlgorithm::SHA256,
            5 => HashAlgorithm::SHA384,
            _ => return false,
        };
        let is_whole = rest.len() == usize::from(u16::from_be_bytes([l0, l1]));
        if signature != 3 || !is_whole || self.verifications >= VERIFICATIONS_MAX {
            return false;
        }
        self.verifications += 1;
        let mut signed = self.transcript.clone();
        let first = self.hello_sequence.wrapping_add(1);
        signed.extend(handshake_message(CERTIFICATE, first, certificate));
        signed.extend(handshake_message(CLIENT_KEY_EXCHANGE, first.wrapping_add(1), exchange));
        verifier.verify_signature(leaf, &signed, rest, hash, SignatureAlgorithm::ECDSA).is_ok()
    }

    /// Returns the whole messages of a kind, the newest first.
    fn versions(&self, kind: u8) -> Vec<Vec<u8>> {
        let (mut versions, mut cut) = (Vec::new(), Vec::new());
        for piece in self.pieces.iter().rev().filter(|piece| piece.kind == kind) {
            if piece.offset == 0 && piece.end() == piece.length {
                versions.push(piece.bytes.to_vec());
            } else if !cut.contains(&piece.length) {
                cut.push(piece.length);
                versions.extend(self.put_together(kind, piece.length));
            }
        }
        versions.truncate(VERSIONS_MAX);
        versions
    }

    /// Reassembles a message from its pieces, the newest wherever there are several.
    fn put_together(&self, kind: u8, length: u32) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        let mut at = 0;
        while at < length {
            let piece =
                self.pieces.iter().rev().find(|piece| {
                    piece.kind == kind && piece.length == length && piece.offset <= at && at < piece.end()
                })?;
            let skipped = usize::try_from(at - piece.offset).ok()?;
            body.extend_from_slice(piece.bytes.get(skipped..)?);
            at = piece.end();
        }
        Some(body)
    }
}

/// Returns the peer's own certificate in a Certificate message: the first (RFC 5246 §7.4.2).
fn leaf(message: &[u8]) -> Option<&[u8]> {
    let (&[_, _, _, l0, l1, l2], rest) = message.split_first_chunk::<6>()?;
    rest.get(..usize::try_from(u32::from_be_bytes([0, l0, l1, l2])).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: u8, sequence: u16, length: u32, offset: u32, fragment_length: u32) -> HandshakeHeader {
        HandshakeHeader { kind, length, sequence, offset, fragment_length }
    }

    #[test]
    fn k20_what_is_held_of_a_flight_is_bounded_and_the_newest_stays() {
        let mut flight = ClientFlight::new(0, &[7; 50]);
        for round in 0..5000_u32 {
            let [.., byte] = round.to_be_bytes();
            let bytes = vec![byte; 1 + (round as usize * 7919) % 1000];
            let len = u32::try_from(bytes.len()).unwrap();
            flight.add(header(CERTIFICATE, 1, 9000, round % 3000, len), &bytes);
            let held: usize = flight.pieces.iter().map(|piece| piece.bytes.len()).sum();
            assert!(held == flight.held && held <= HELD_MAX && flight.pieces.len() <= PIECES_MAX);
            flight.hold(&bytes);
            assert!(flight.protected.len() <= PROTECTED_MAX);
        }
        assert!(flight.add(header(CERTIFICATE, 1, 9, 0, 5), b"first"));
        assert!(flight.add(header(CERTIFICATE, 1, 9, 3, 6), b"stlast"));
        assert_eq!(flight.versions(CERTIFICATE).first().map(Vec::as_slice), Some(&b"firstlast"[..]));
        assert!(!flight.add(header(CERTIFICATE, 1, 9, 0, 5), b"first"), "nothing new");
        assert!(!flight.add(header(CERTIFICATE, 2, 9, 0, 9), b"firstlast"), "not its place");
        assert!(!flight.add(header(SERVER_HELLO, 1, 9, 0, 9), b"firstlast"), "not a client's");
    }

    #[test]
    fn k20_of_several_pieces_for_one_place_the_newest_counts() {
        let mut flight = ClientFlight::new(0, &[7; 50]);
        let whole = header(CLIENT_KEY_EXCHANGE, 2, 4, 0, 4);
        for bytes in [b"peer", b"fals", b"peer"] {
            flight.add(whole, bytes);
        }
        assert_eq!(flight.versions(CLIENT_KEY_EXCHANGE), [b"peer", b"fals"]);
        flight.add(header(CERTIFICATE_VERIFY, 3, 4, 0, 2), b"pe");
        flight.add(header(CERTIFICATE_VERIFY, 3, 4, 0, 2), b"fa");
        flight.add(header(CERTIFICATE_VERIFY, 3, 4, 2, 2), b"er");
        assert_eq!(flight.versions(CERTIFICATE_VERIFY), [b"faer"]);
        flight.add(header(CERTIFICATE_VERIFY, 3, 4, 0, 2), b"pe");
        assert_eq!(flight.versions(CERTIFICATE_VERIFY), [b"peer"], "sent again");
    }
}
