//! What may reach the DTLS implementation. It is told everything that is authenticated or that a handshake cannot do
//! without, and nothing that a stranger could send to end an association or to fill its queues.

use super::record::{
    ACK, ALERT, CHANGE_CIPHER_SPEC, CLIENT_HELLO, HANDSHAKE, HELLO_VERIFY_REQUEST, HandshakeHeader, Record, Records,
    SERVER_HELLO,
};

/// Bytes of a datagram at most. No path of the Internet carries much more than 1,500 in one piece; together with
/// [`QUEUE_MAX`] it bounds what a handshake may hold.
pub(super) const DATAGRAM_LEN_MAX: usize = 2048;

/// Datagrams that the implementation may hold at most while a handshake waits for one that is missing. The largest
/// flight, with a long certificate chain, is a quarter of it.
pub(super) const QUEUE_MAX: usize = 32;

/// Bytes of a handshake message at most. A certificate as browsers make them has 300, a ClientHello with a post-quantum
/// key share 1,500.
const MESSAGE_LEN_MAX: u32 = 16_384;

/// Plaintext handshake records taken in after the handshake. The peer sends some if it did not hear that it is done; a
/// stranger could make us answer for ever.
const LATE_HANDSHAKES_MAX: u32 = 16;

/// How far an association is, for what may come in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Passive, without a whole ClientHello.
    AwaitsClientHello,
    /// Active, without an answer to the ClientHello.
    AwaitsServerHello,
    Handshaking,
    Connected,
}

/// Why a datagram was not taken in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// Its headers do not add up, or it is too long.
    Malformed,
    /// It is in the clear, and says what counts only when it is authenticated.
    Unauthenticated,
    /// It is not what this phase waits for.
    Unexpected,
}

/// What was let in and what was not.
#[derive(Debug, Default)]
pub(super) struct Gate {
    late_handshakes: u32,
    hello_datagrams: usize,
    /// The last alert that came in the clear. Whoever sent it has not proved to be the peer, so it ends nothing; but if
    /// the handshake times out, it may say why.
    pub(super) plaintext_alert: Option<u8>,
}

impl Gate {
    /// Whether a datagram may be taken in.
    pub(super) fn check(&mut self, phase: Phase, datagram: &[u8]) -> Result<(), Refusal> {
        if datagram.is_empty() || datagram.len() > DATAGRAM_LEN_MAX {
            return Err(Refusal::Malformed);
        }
        let mut is_first = true;
        for record in Records::new(datagram) {
            match record.map_err(|_| Refusal::Malformed)? {
                Record::Classic { kind, epoch: 0, fragment } => {
                    self.check_plaintext(phase, is_first, kind, fragment)?
                }
                // A client has no keys yet; a server's flight begins with its hello.
                _ if phase == Phase::AwaitsClientHello || (is_first && phase == Phase::AwaitsServerHello) => {
                    return Err(Refusal::Unexpected);
                }
                Record::Classic { .. } | Record::Unified => {}
            }
            is_first = false;
        }
        if phase == Phase::AwaitsClientHello {
            self.hello_datagrams += 1;
            if self.hello_datagrams > QUEUE_MAX {
                return Err(Refusal::Unexpected);
            }
        }
        Ok(())
    }

    fn check_plaintext(&mut self, phase: Phase, is_first: bool, kind: u8, fragment: &[u8]) -> Result<(), Refusal> {
        match kind {
            HANDSHAKE => self.check_handshake(phase, is_first, fragment),
            CHANGE_CIPHER_SPEC if matches!(phase, Phase::Handshaking | Phase::Connected) => Ok(()),
            ACK if phase == Phase::Handshaking => Ok(()),
            ALERT if phase != Phase::Connected => {
                if let &[_, description] = fragment {
                    self.plaintext_alert = Some(description);
                }
                Err(Refusal::Unauthenticated)
            }
            CHANGE_CIPHER_SPEC => Err(Refusal::Unexpected),
            _ => Err(Refusal::Unauthenticated),
        }
    }

    fn check_handshake(&mut self, phase: Phase, mut is_first: bool, fragment: &[u8]) -> Result<(), Refusal> {
        let (mut is_awaited, mut is_small) = (true, true);
        HandshakeHeader::all(fragment, |header| {
            is_awaited &= match phase {
                Phase::AwaitsClientHello => header.kind == CLIENT_HELLO,
                // The rest of the server's flight may follow in the same datagram.
                Phase::AwaitsServerHello => !is_first || matches!(header.kind, SERVER_HELLO | HELLO_VERIFY_REQUEST),
                Phase::Handshaking | Phase::Connected => true,
            };
            is_small &= header.length <= MESSAGE_LEN_MAX;
            is_first = false;
        })
        .ok_or(Refusal::Malformed)?;
        if !is_small || fragment.is_empty() {
            return Err(Refusal::Malformed);
        }
        if !is_awaited {
            return Err(Refusal::Unexpected);
        }
        if phase == Phase::Connected {
            self.late_handshakes = self.late_handshakes.saturating_add(1);
            if self.late_handshakes > LATE_HANDSHAKES_MAX {
                return Err(Refusal::Unauthenticated);
            }
        }
        Ok(())
    }
}
