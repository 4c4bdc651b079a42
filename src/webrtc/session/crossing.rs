//! Two ends that dial each other at the same time.
//!
//! Each would be the client of one DTLS association and the server of another, and the records of the two could not be
//! told apart: both have the same addresses, and no connection ids. So one handshake goes on. Each end has both
//! ClientHellos, and compares their random numbers: the larger one wins. The winner ignores the other hello. The other
//! end lets the winner's hello into the direct listener, as that of any newcomer, and takes the association over when
//! the handshake is done and the certificate is the one that it has dialled. So a forged hello changes nothing: it
//! never gets that far, and this end's own handshake goes on beside it.

use super::ExpectedPeer;
use crate::webrtc::CertificateHash;
use crate::webrtc::router::is_client_hello;

/// The content type of a handshake record (RFC 9147 §4.1).
const HANDSHAKE: u8 = 22;
/// ServerHello and HelloVerifyRequest (RFC 9147 §5.3): what a server answers a hello with.
const SERVER_HELLOS: [u8; 2] = [2, 3];

type Random = [u8; 32];

/// Recipient of a datagram that has come from the address of a peer that this end dials.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Recipient {
    /// The handshake that this end has begun.
    DtlsSession,
    /// The peer's own handshake, which it has begun at the same time.
    DirectListener,
    /// Nobody.
    Nobody,
}

/// State of the peer's own attempt, as far as an end that dials knows it.
#[derive(Debug)]
pub(super) struct Crossing {
    /// Certificate that the dialled peer must have.
    expected: ExpectedPeer,
    /// The random number of this end's ClientHello, once that has been sent.
    own: Option<Random>,
    /// True if the peer has answered as a server.
    is_answered: bool,
    /// True if the peer has sent a ClientHello with a larger number.
    has_lost: bool,
}

impl Crossing {
    pub(super) fn new(expected: ExpectedPeer) -> Self {
        Self { expected, own: None, is_answered: false, has_lost: false }
    }

    /// Notes that a datagram of this end's handshake leaves.
    pub(super) fn on_sent(&mut self, flight: &[u8]) {
        if self.own.is_none() {
            self.own = client_random(flight);
        }
    }

    /// Returns the recipient of a datagram of the peer, before the handshake is done.
    pub(super) fn recipient(&mut self, datagram: &[u8]) -> Recipient {
        if is_client_hello(datagram) {
            return match self.loses_against(datagram) {
                true => Recipient::DirectListener,
                false => Recipient::Nobody,
            };
        }
        if matches!(datagram, [HANDSHAKE, ..]) && datagram.get(13).is_some_and(|kind| SERVER_HELLOS.contains(kind)) {
            self.is_answered = true;
        }
        if self.has_lost && !self.is_answered { Recipient::DirectListener } else { Recipient::DtlsSession }
    }

    /// True if the peer's ClientHello is to be answered. One that comes before this end's own has left is not: it will
    /// be repeated, and compared then. The end's own number comes back from an echo service.
    fn loses_against(&mut self, hello: &[u8]) -> bool {
        let (Some(own), false) = (self.own, self.is_answered) else { return false };
        // Only the first piece of a hello has the number.
        self.has_lost = client_random(hello).map_or(self.has_lost, |peer| peer > own);
        self.has_lost
    }

    /// True if the certificate with this SHA-256 hash is the one that is dialled.
    pub(super) fn expects(&self, fingerprint: &[u8; 32]) -> bool {
        let hash = CertificateHash::Sha256(*fingerprint);
        matches!(&self.expected, ExpectedPeer::Fingerprints(announced) if announced.contains(&hash))
    }
}

/// Returns the random of a ClientHello, if the datagram begins with its first piece.
fn client_random(datagram: &[u8]) -> Option<Random> {
    /// Record header, handshake header, version.
    const AT: usize = 13 + 12 + 2;
    let is_first_piece = is_client_hello(datagram) && datagram.get(19..22)? == [0, 0, 0];
    if !is_first_piece {
        return None;
    }
    datagram.get(AT..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a datagram with a handshake message of this type, and this byte as its random number.
    fn message(kind: u8, random: u8) -> Vec<u8> {
        let mut datagram = vec![HANDSHAKE, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 46, kind];
        datagram.extend([0; 13]);
        datagram.extend([random; 32]);
        datagram
    }

    fn crossing(own: u8) -> Crossing {
        let mut crossing = Crossing::new(ExpectedPeer::Fingerprints(vec![CertificateHash::Sha256([7; 32])]));
        crossing.on_sent(&message(1, own));
        crossing
    }

    #[test]
    fn of_two_hellos_the_one_with_the_larger_number_is_answered_and_an_echo_is_not() {
        for (own, peer, expected) in
            [(5, 6, Recipient::DirectListener), (6, 5, Recipient::Nobody), (5, 5, Recipient::Nobody)]
        {
            assert_eq!(crossing(own).recipient(&message(1, peer)), expected, "{own} {peer}");
        }
        let mut early = Crossing::new(ExpectedPeer::Anyone);
        assert_eq!(early.recipient(&message(1, 255)), Recipient::Nobody, "there is nothing to compare with");
    }

    #[test]
    fn the_rest_of_the_peers_handshake_goes_where_its_hello_went() {
        let mut crossing = crossing(5);
        assert_eq!(crossing.recipient(&message(16, 0)), Recipient::DtlsSession);
        assert_eq!(crossing.recipient(&message(1, 6)), Recipient::DirectListener);
        let mut second_piece = message(1, 0);
        second_piece[21] = 100;
        for datagram in [second_piece, message(16, 0), vec![0x2f, 1, 2, 3]] {
            assert_eq!(crossing.recipient(&datagram), Recipient::DirectListener);
        }
    }

    #[test]
    fn k21_a_forged_hello_does_not_keep_the_peers_answer_away() {
        let mut crossing = crossing(5);
        assert_eq!(crossing.recipient(&message(1, 255)), Recipient::DirectListener);
        assert_eq!(crossing.recipient(&message(2, 0)), Recipient::DtlsSession);
        assert_eq!(crossing.recipient(&message(11, 0)), Recipient::DtlsSession);
        assert_eq!(crossing.recipient(&message(1, 255)), Recipient::Nobody, "who answers as a server is no client");
    }

    #[test]
    fn the_certificate_is_the_one_that_was_dialled() {
        assert!(crossing(5).expects(&[7; 32]));
        assert!(!crossing(5).expects(&[8; 32]));
        assert!(!Crossing::new(ExpectedPeer::Anyone).expects(&[7; 32]));
    }
}
