//! ClientHellos that come in pieces. Browsers offer a post-quantum key share, so theirs has 1.4 KB and arrives in two
//! datagrams, in any order, from somebody who has proved nothing yet. Here they wait until all is there: raw, at a
//! fraction of what a half-begun handshake would hold.

use super::record::{CLIENT_HELLO, HANDSHAKE, HELLO_VERIFY_REQUEST, HandshakeHeader, Record, Records, SERVER_HELLO};

/// Bytes of a ClientHello at most. Browsers' have 1,500; a larger post-quantum key share would add 400.
const HELLO_LEN_MAX: u32 = 4096;

/// Datagrams of one hello at most: pieces of 256 bytes.
const PIECES_MAX: usize = 16;

/// Bytes held at most, with what each piece costs beside its own.
pub(super) const HELD_MAX: usize = 5120;

/// Cost of a piece beside its bytes.
const PIECE_OVERHEAD: usize = size_of::<HelloPiece>();

/// The pieces of ClientHellos so far, in the order in which they came. The oldest make room.
#[derive(Debug, Default)]
pub(super) struct ClientHelloReassembly {
    pieces: Vec<HelloPiece>,
    held: usize,
}

#[derive(Debug)]
struct HelloPiece {
    /// Sequence number and length of the message.
    message: (u16, u32),
    start: u32,
    bytes: Box<[u8]>,
}

impl HelloPiece {
    fn end(&self) -> u32 {
        self.start + u32::try_from(self.bytes.len()).unwrap_or_default()
    }
}

impl ClientHelloReassembly {
    /// Takes in a datagram that [`is_client_hello`]. Returns the sequence number and the body of the hello once it is
    /// whole. Where there are several pieces, of which one may be forged, the newest counts: the peer sends all of its
    /// own again.
    pub(super) fn add(&mut self, datagram: &[u8]) -> Option<(u16, Vec<u8>)> {
        let Record::Classic { fragment, .. } = Records::new(datagram).next()?.ok()? else { return None };
        let (header, rest) = HandshakeHeader::split(fragment).filter(|(header, _)| header.length <= HELLO_LEN_MAX)?;
        let bytes = fragment.get(HandshakeHeader::LEN..fragment.len() - rest.len())?;
        let message = (header.sequence, header.length);
        if header.offset == 0 && bytes.len() == header.length as usize {
            *self = Self::default();
            return Some((header.sequence, bytes.to_vec()));
        }
        let is_known =
            |piece: &HelloPiece| piece.message == message && piece.start == header.offset && *piece.bytes == *bytes;
        if let Some(known) = self.pieces.iter().position(is_known) {
            // The newest from now on. What was not whole before is not whole now.
            self.pieces.get_mut(known..).unwrap_or_default().rotate_left(1);
            return None;
        }
        self.held += bytes.len() + PIECE_OVERHEAD;
        self.pieces.push(HelloPiece { message, start: header.offset, bytes: bytes.into() });
        while self.pieces.len() > PIECES_MAX || self.held > HELD_MAX {
            self.remove(0);
        }
        let whole = self.put_together(message)?;
        *self = Self::default();
        Some((header.sequence, whole))
    }

    fn put_together(&self, message: (u16, u32)) -> Option<Vec<u8>> {
        let (mut whole, mut at) = (Vec::new(), 0);
        while at < message.1 {
            let mut newest = self.pieces.iter().rev();
            let piece = newest.find(|piece| piece.message == message && piece.start <= at && at < piece.end())?;
            whole.extend_from_slice(piece.bytes.get(usize::try_from(at - piece.start).ok()?..)?);
            at = piece.end();
        }
        Some(whole)
    }

    fn remove(&mut self, index: usize) {
        let piece = self.pieces.remove(index);
        self.held -= piece.bytes.len() + PIECE_OVERHEAD;
    }
}

/// True if a datagram begins with a ClientHello, or with a piece of one.
pub(super) fn is_client_hello(datagram: &[u8]) -> bool {
    first_header(datagram).is_some_and(|header| header.kind == CLIENT_HELLO)
}

/// True if a datagram begins with a ServerHello or a HelloVerifyRequest, or with a piece of one.
pub(super) fn is_server_answer(datagram: &[u8]) -> bool {
    first_header(datagram).is_some_and(|header| matches!(header.kind, SERVER_HELLO | HELLO_VERIFY_REQUEST))
}

/// Bytes of a ClientHello at least: version, random, four lengths, one cipher suite, one compression method.
const HELLO_LEN_MIN: u32 = 42;

/// True if a datagram is a ClientHello, or a piece of one, that a client could have sent: its headers add up, and so
/// does what is there of the body. A stranger's datagram counts for something only then.
pub(crate) fn is_plausible_client_hello(datagram: &[u8]) -> bool {
    let mut records = Records::new(datagram);
    let Some(Ok(Record::Classic { kind: HANDSHAKE, epoch: 0, fragment })) = records.next() else { return false };
    let Some((header, rest)) = HandshakeHeader::split(fragment) else { return false };
    let is_piece = header.kind == CLIENT_HELLO
        && (HELLO_LEN_MIN..=HELLO_LEN_MAX).contains(&header.length)
        && header.fragment_length > 0
        && header.sequence <= 1
        && rest.is_empty()
        && records.all(|record| matches!(record, Ok(Record::Classic { kind: HANDSHAKE, epoch: 0, .. })));
    if !is_piece || header.offset != 0 {
        return is_piece;
    }
    let body = fragment.get(HandshakeHeader::LEN..).unwrap_or_default();
    begins_client_hello(body).unwrap_or(header.fragment_length < header.length)
}

/// Returns `true` if the body of a ClientHello is well-formed (RFC 6347 §4.2.1, RFC 9147 §5.3); `None` if the body is
/// cut off before that can be told.
fn begins_client_hello(body: &[u8]) -> Option<bool> {
    let (&[major, minor], rest) = body.split_first_chunk::<2>()?;
    if major != 0xFE || !matches!(minor, 0xFD | 0xFF) {
        return Some(false);
    }
    let rest = rest.get(32..)?;
    let (session_id_len, rest) = split_prefixed::<1>(rest)?;
    let (_, rest) = split_prefixed::<1>(rest)?;
    let (suites_len, rest) = split_prefixed::<2>(rest)?;
    let (methods_len, rest) = split_prefixed::<1>(rest)?;
    let is_right = session_id_len <= 32 && suites_len >= 2 && suites_len % 2 == 0 && methods_len >= 1;
    if !is_right || rest.is_empty() {
        return Some(is_right);
    }
    let (_, rest) = split_prefixed::<2>(rest)?;
    Some(rest.is_empty())
}

/// True if a handshake record could begin the answer to a ClientHello: a HelloVerifyRequest or a ServerHello that a
/// client of DTLS 1.2 or 1.3 could take, or the first piece of one.
pub(super) fn is_plausible_server_hello(fragment: &[u8]) -> bool {
    let Some((header, _)) = HandshakeHeader::split(fragment) else { return false };
    let len = usize::try_from(header.fragment_length).unwrap_or_default();
    let body = fragment.get(HandshakeHeader::LEN..).and_then(|body| body.get(..len)).unwrap_or_default();
    let is_piece = header.offset != 0 || header.fragment_length < header.length;
    match header.kind {
        SERVER_HELLO | HELLO_VERIFY_REQUEST if header.sequence > 1 => false,
        SERVER_HELLO if header.offset == 0 => begins_server_hello(body).unwrap_or(is_piece),
        SERVER_HELLO => true,
        // Server version, and a cookie of at most 255 bytes.
        HELLO_VERIFY_REQUEST => header.sequence == 0 && (3..=258).contains(&header.length),
        _ => false,
    }
}

/// Returns `true` if the body of a ServerHello is well-formed (RFC 5246 §7.4.1.3, RFC 8446 §4.1.3); `None` if the body
/// is cut off before that can be told.
fn begins_server_hello(body: &[u8]) -> Option<bool> {
    let (version, rest) = body.split_first_chunk::<2>()?;
    let rest = rest.get(32..)?;
    let (session_id_len, rest) = split_prefixed::<1>(rest)?;
    let (&[suite, _, compression], rest) = rest.split_first_chunk::<3>()?;
    // RFC 8446 §B.4 for 1.3; suites of elliptic curves, with ChaCha20-Poly1305 or others, for 1.2.
    let is_right =
        *version == [0xFE, 0xFD] && session_id_len <= 32 && compression == 0 && matches!(suite, 0x13 | 0xC0 | 0xCC);
    if !is_right || rest.is_empty() {
        return Some(is_right);
    }
    let (_, rest) = split_prefixed::<2>(rest)?;
    Some(rest.is_empty())
}

/// Splits off a length of `N` bytes. Returns the length, and the bytes after it.
fn split_prefixed<const N: usize>(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<N>()?;
    let len = len.iter().fold(0, |len, byte| len << 8 | usize::from(*byte));
    Some((len, rest.get(len..)?))
}

fn first_header(datagram: &[u8]) -> Option<HandshakeHeader> {
    match Records::new(datagram).next()?.ok()? {
        Record::Classic { kind: HANDSHAKE, epoch: 0, fragment } => Some(HandshakeHeader::split(fragment)?.0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(sequence: u16, length: u32, offset: u32, len: u32) -> Vec<u8> {
        let mut message = vec![CLIENT_HELLO];
        message.extend(&length.to_be_bytes()[1..]);
        message.extend(sequence.to_be_bytes());
        message.extend(&offset.to_be_bytes()[1..]);
        message.extend(&len.to_be_bytes()[1..]);
        message.extend(vec![7; len as usize]);
        let mut datagram = vec![HANDSHAKE, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0];
        datagram.extend(u16::try_from(message.len()).unwrap().to_be_bytes());
        datagram.extend(message);
        datagram
    }

    fn add_all(parts: &[(u32, u32)]) -> Option<(u16, Vec<u8>)> {
        let mut pieces = ClientHelloReassembly::default();
        let (last, first) = parts.split_last().unwrap();
        for &(offset, len) in first {
            assert_eq!(pieces.add(&piece(0, 1400, offset, len)), None, "{offset} {parts:?}");
        }
        pieces.add(&piece(0, 1400, last.0, last.1))
    }

    #[test]
    fn a_hello_is_whole_when_its_pieces_cover_it_in_any_order_doubled_or_overlapping() {
        let orders: [&[(u32, u32)]; 5] = [
            &[(0, 1400)],
            &[(0, 1100), (1100, 300)],
            &[(1100, 300), (1100, 300), (0, 1100)],
            &[(700, 700), (0, 300), (0, 600), (500, 300)],
            &[(1399, 1), (0, 1400)],
        ];
        for parts in orders {
            assert_eq!(add_all(parts), Some((0, vec![7; 1400])), "{parts:?}");
        }
        assert_eq!(add_all(&[(0, 1100), (1101, 299)]), None, "a byte is missing");
    }

    #[test]
    fn k09_only_what_a_client_could_have_sent_counts_as_a_hello() {
        let mut body = vec![0xFE, 0xFD];
        body.extend([7; 32]);
        body.extend([0, 0, 0, 2, 0xC0, 0x2B, 1, 0]);
        let hello = |body: &[u8], len: usize| {
            let whole = u32::try_from(body.len()).unwrap();
            let mut datagram = piece(0, whole, 0, u32::try_from(len).unwrap());
            datagram[25..].copy_from_slice(&body[..len]);
            datagram
        };
        let mut with_extensions = body.clone();
        with_extensions.extend([0, 4, 0, 23, 0, 0]);
        for body in [&body, &with_extensions] {
            for len in 1..=body.len() {
                assert!(is_plausible_client_hello(&hello(body, len)), "{len} of {}", body.len());
            }
        }
        assert!(is_plausible_client_hello(&piece(0, 1400, 700, 700)), "the second piece of a hello");
        let short = [22, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1];
        assert!(!is_plausible_client_hello(&short), "fourteen bytes");
        assert!(!is_plausible_client_hello(&piece(0, 41, 0, 41)), "shorter than any hello");
        assert!(!is_plausible_client_hello(&piece(0, 1400, 700, 0)), "a piece of nothing");
        for (at, byte) in [(0, 3), (1, 0xFC), (34, 33), (37, 3), (37, 0), (40, 0), (43, 200)] {
            let mut wrong = with_extensions.clone();
            wrong[at] = byte;
            assert!(!is_plausible_client_hello(&hello(&wrong, wrong.len())), "byte {at}");
        }
        let mut trailing = hello(&body, body.len());
        trailing.push(1);
        assert!(!is_plausible_client_hello(&trailing), "a byte too many");
    }

    #[test]
    fn k09_pieces_of_other_hellos_are_kept_apart_and_the_newest_of_several_counts() {
        let mut pieces = ClientHelloReassembly::default();
        assert_eq!(pieces.add(&piece(0, 1400, 0, 1100)), None);
        assert_eq!(pieces.add(&piece(1, 1400, 1100, 300)), None, "of the second hello");
        assert_eq!(pieces.add(&piece(0, 1300, 1100, 200)), None, "of a shorter one");
        let mut forged = piece(0, 1400, 0, 700);
        forged[25..].fill(9);
        assert_eq!(pieces.add(&forged), None);
        assert_eq!(pieces.add(&piece(0, 1400, 0, 1100)), None, "again");
        assert_eq!(pieces.add(&piece(0, 1400, 1100, 300)), Some((0, vec![7; 1400])));
        assert_eq!(pieces.held, 0, "nothing is kept of a hello that was handed on");
    }

    #[test]
    fn k09_a_piece_that_is_repeated_allocates_nothing_and_becomes_the_newest() {
        let mut pieces = ClientHelloReassembly::default();
        let (first, second) = (piece(0, 1400, 0, 700), piece(0, 1400, 600, 700));
        assert_eq!((pieces.add(&first), pieces.add(&second)), (None, None));
        let used = allocation_counter::measure(|| assert_eq!(pieces.add(&first), None));
        assert_eq!(used.count_total, 0);
        assert_eq!(pieces.pieces.iter().map(|piece| piece.start).collect::<Vec<_>>(), [600, 0]);
    }

    #[test]
    fn what_is_held_is_bounded_by_bytes_and_by_pieces() {
        for len in [1, 30, 256, 1100] {
            let mut pieces = ClientHelloReassembly::default();
            for round in 0..10_000 {
                // Never the first byte.
                let start = 1 + (round * 7919) % (HELLO_LEN_MAX - len - 1);
                assert_eq!(pieces.add(&piece(0, HELLO_LEN_MAX, start, len)), None);
                let held: usize = pieces.pieces.iter().map(|piece| piece.bytes.len() + PIECE_OVERHEAD).sum();
                assert_eq!(held, pieces.held);
                assert!(held <= HELD_MAX && pieces.pieces.len() <= PIECES_MAX);
            }
        }
        let mut pieces = ClientHelloReassembly::default();
        assert_eq!(pieces.add(&piece(0, HELLO_LEN_MAX + 1, 0, 1000)), None);
        assert_eq!(pieces.held, 0, "longer than any hello");
    }
}
