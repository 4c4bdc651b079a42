//! Filter in front of the DTLS implementation. The filter lets in everything that is authenticated or that a handshake
//! cannot do without, and nothing that a stranger could send to end an association or to fill its queues.

use super::client_hello::{is_client_hello, is_plausible_client_hello, is_plausible_server_hello};
use super::record::{
    ACK, ALERT, CERTIFICATE, CERTIFICATE_REQUEST, CERTIFICATE_VERIFY, CHANGE_CIPHER_SPEC, CLIENT_HELLO,
    CLIENT_KEY_EXCHANGE, HANDSHAKE, HELLO_VERIFY_REQUEST, HandshakeHeader, RECORD_HEADER_LEN, Record, Records,
    SERVER_HELLO, SERVER_HELLO_DONE, SERVER_KEY_EXCHANGE,
};
use super::{SetupRole, Version};

/// Bytes of a datagram of a handshake at most. No path of the Internet carries much more than 1,500 in one piece;
/// together with [`QUEUE_MAX`] it bounds what a handshake may hold.
pub(super) const DATAGRAM_LEN_MAX: usize = 2048;

/// Bytes of a datagram at most after the handshake: the longest record (RFC 6347 §4.1, RFC 9147 §4). Nothing holds it
/// back, so it bounds no memory.
const CONNECTED_LEN_MAX: usize = RECORD_HEADER_LEN + (1 << 14) + 256;

/// Datagrams that the implementation may hold at most while a handshake waits for one that is missing. The largest
/// flight, with a long certificate chain, is a quarter of it.
pub(super) const QUEUE_MAX: usize = 32;

/// Bytes of a handshake message at most. A certificate as browsers make them has 300, a ClientHello with a post-quantum
/// key share 1,500.
const MESSAGE_LEN_MAX: u32 = 16_384;

/// Pieces of a server's messages taken in from what is in the clear during a handshake. The implementation holds them
/// until it has use for them, and gives up when its queue is full: with the few whole messages that a step may send
/// they stay below [`QUEUE_MAX`].
const PIECES_MAX: u32 = 20;

/// Hellos of one client that an attempt takes in at most: the first, and those with a cookie.
const HELLOS_MAX: u32 = 16;

/// Plaintext handshake records taken in after the handshake. The peer sends some if it did not hear that it is done; a
/// stranger could make us answer for ever.
const LATE_HANDSHAKES_MAX: u32 = 16;

/// Phase of an association, which decides what may come in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum HandshakePhase {
    /// Passive, without a whole ClientHello.
    AwaitsClientHello,
    /// Active, without an answer to the ClientHello.
    AwaitsServerHello,
    /// The version is known.
    Handshaking(SetupRole, Version),
    Connected,
}

/// Reason why a datagram was not taken in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RecordRefusal {
    /// Its headers do not add up, or it is too long.
    Malformed,
    /// It is in the clear, and says what counts only when it is authenticated.
    Unauthenticated,
    /// It is not what this phase waits for.
    Unexpected,
}

/// Filter for the records of an association, with counts of the records that were let in.
#[derive(Debug, Default)]
pub(super) struct RecordFilter {
    late_handshakes: u32,
    pieces: u32,
    hellos: u32,
    /// The last alert that came in the clear. Its sender has not proved to be the peer, so the alert ends nothing; but
    /// if the handshake times out, the alert may say why.
    pub(super) plaintext_alert: Option<u8>,
}

impl RecordFilter {
    /// Checks whether a datagram may be taken in.
    pub(super) fn check(&mut self, phase: HandshakePhase, datagram: &[u8]) -> Result<(), RecordRefusal> {
        let len_max = if phase == HandshakePhase::Connected { CONNECTED_LEN_MAX } else { DATAGRAM_LEN_MAX };
        if datagram.is_empty() || datagram.len() > len_max {
            return Err(RecordRefusal::Malformed);
        }
        let mut is_first = true;
        for record in Records::new(datagram) {
            match record.map_err(|_| RecordRefusal::Malformed)? {
                Record::Classic { kind, epoch: 0, fragment } => {
                    self.check_plaintext(phase, is_first, kind, fragment)?;
                }
                // A client has no keys yet; a server's flight begins with its hello.
                _ if phase == HandshakePhase::AwaitsClientHello
                    || (is_first && phase == HandshakePhase::AwaitsServerHello) =>
                {
                    return Err(RecordRefusal::Unexpected);
                }
                Record::Classic { .. } | Record::Unified => {}
            }
            is_first = false;
        }
        let is_server =
            matches!(phase, HandshakePhase::AwaitsClientHello | HandshakePhase::Handshaking(SetupRole::Passive, _));
        if is_server && is_client_hello(datagram) && !is_plausible_client_hello(datagram) {
            return Err(RecordRefusal::Unexpected);
        }
        Ok(())
    }

    /// True if the implementation may get another whole hello. Pieces that never become one do not count.
    pub(super) fn takes_hello(&mut self) -> bool {
        self.hellos = self.hellos.saturating_add(1);
        self.hellos <= HELLOS_MAX
    }

    fn check_plaintext(
        &mut self,
        phase: HandshakePhase,
        is_first: bool,
        kind: u8,
        fragment: &[u8],
    ) -> Result<(), RecordRefusal> {
        match kind {
            HANDSHAKE => self.check_handshake(phase, is_first, fragment),
            CHANGE_CIPHER_SPEC if phase == HandshakePhase::Connected => Ok(()),
            CHANGE_CIPHER_SPEC if matches!(phase, HandshakePhase::Handshaking(_, Version::Dtls12)) => Ok(()),
            // Acknowledges nothing while it is in the clear, but what comes behind it may be of use.
            ACK if matches!(phase, HandshakePhase::Handshaking(_, Version::Dtls13)) => Ok(()),
            ALERT if phase != HandshakePhase::Connected => {
                if let &[_, description] = fragment {
                    self.plaintext_alert = Some(description);
                }
                Err(RecordRefusal::Unauthenticated)
            }
            CHANGE_CIPHER_SPEC => Err(RecordRefusal::Unexpected),
            _ => Err(RecordRefusal::Unauthenticated),
        }
    }

    fn check_handshake(
        &mut self,
        phase: HandshakePhase,
        mut is_first: bool,
        fragment: &[u8],
    ) -> Result<(), RecordRefusal> {
        let (mut is_awaited, mut is_small, mut pieces) = (true, true, 0);
        let is_answer = matches!(fragment.first(), Some(&(SERVER_HELLO | HELLO_VERIFY_REQUEST)));
        let awaits_answer = phase == HandshakePhase::AwaitsServerHello && is_first;
        let is_client =
            matches!(phase, HandshakePhase::AwaitsServerHello | HandshakePhase::Handshaking(SetupRole::Active, _));
        if (awaits_answer || (is_client && is_answer)) && !is_plausible_server_hello(fragment) {
            return Err(RecordRefusal::Unexpected);
        }
        HandshakeHeader::all(fragment, |header, _| {
            is_awaited &= match phase {
                HandshakePhase::AwaitsClientHello => header.kind == CLIENT_HELLO,
                // The rest of the server's flight may follow in the same datagram.
                HandshakePhase::AwaitsServerHello => {
                    !is_first || matches!(header.kind, SERVER_HELLO | HELLO_VERIFY_REQUEST)
                }
                HandshakePhase::Handshaking(role, version) => may_send(role, version, header.kind, header.sequence),
                HandshakePhase::Connected => true,
            };
            pieces += u32::from(header.fragment_length < header.length);
            is_small &= header.length <= MESSAGE_LEN_MAX;
            is_first = false;
        })
        .ok_or(RecordRefusal::Malformed)?;
        if !is_small || fragment.is_empty() {
            return Err(RecordRefusal::Malformed);
        }
        if !is_awaited {
            return Err(RecordRefusal::Unexpected);
        }
        // Those of a client wait elsewhere.
        for _ in 0..if matches!(phase, HandshakePhase::Handshaking(SetupRole::Active, _)) { pieces } else { 0 } {
            self.count_piece()?;
        }
        if phase == HandshakePhase::Connected {
            self.late_handshakes = self.late_handshakes.saturating_add(1);
            if self.late_handshakes > LATE_HANDSHAKES_MAX {
                return Err(RecordRefusal::Unauthenticated);
            }
        }
        Ok(())
    }

    fn count_piece(&mut self) -> Result<(), RecordRefusal> {
        self.pieces = self.pieces.saturating_add(1);
        if self.pieces > PIECES_MAX { Err(RecordRefusal::Unauthenticated) } else { Ok(()) }
    }
}

/// True if the peer of an end in this role may send this message with this number in the clear (RFC 6347 §4.2.4 figure
/// 1, RFC 9147 §5.7). Each message has one place; it is one further on if the first hello was asked for a cookie, and
/// one less if no certificate is asked for. In DTLS 1.3 only hellos are in the clear.
fn may_send(role: SetupRole, version: Version, kind: u8, sequence: u16) -> bool {
    let places = match (role, version, kind) {
        (SetupRole::Passive, _, CLIENT_HELLO) | (SetupRole::Active, _, SERVER_HELLO) => 0..=1,
        (SetupRole::Active, _, HELLO_VERIFY_REQUEST) => 0..=0,
        (_, Version::Dtls13, _) => return false,
        (_, _, CERTIFICATE) => 1..=2,
        (SetupRole::Passive, _, CLIENT_KEY_EXCHANGE) => 1..=3,
        (SetupRole::Passive, _, CERTIFICATE_VERIFY) => 3..=4,
        (SetupRole::Active, _, SERVER_KEY_EXCHANGE) => 2..=3,
        (SetupRole::Active, _, CERTIFICATE_REQUEST) => 3..=4,
        (SetupRole::Active, _, SERVER_HELLO_DONE) => 3..=5,
        _ => return false,
    };
    places.contains(&sequence)
}
