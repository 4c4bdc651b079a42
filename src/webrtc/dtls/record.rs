//! DTLS records and handshake messages as an onlooker sees them: headers only (RFC 6347 §4.1, §4.2.2, RFC 9147 §4,
//! §5.2).

/// `change_cipher_spec`.
pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
/// `alert`.
pub(super) const ALERT: u8 = 21;
/// `handshake`.
pub(super) const HANDSHAKE: u8 = 22;
/// `ack` (RFC 9147 §7).
pub(super) const ACK: u8 = 26;

/// `client_hello`.
pub(super) const CLIENT_HELLO: u8 = 1;
/// `server_hello`; a HelloRetryRequest is one too.
pub(super) const SERVER_HELLO: u8 = 2;
/// The random of a ServerHello that is a HelloRetryRequest (RFC 8446 §4.1.3): SHA-256 of `HelloRetryRequest`.
const RETRY_RANDOM: [u8; 32] = [
    0xCF, 0x21, 0xAD, 0x74, 0xE5, 0x9A, 0x61, 0x11, 0xBE, 0x1D, 0x8C, 0x02, 0x1E, 0x65, 0xB8, 0x91, 0xC2, 0xA2, 0x11,
    0x16, 0x7A, 0xBB, 0x8C, 0x5E, 0x07, 0x9E, 0x09, 0xE2, 0xC8, 0xA8, 0x33, 0x9C,
];

/// `hello_verify_request` (RFC 6347 §4.2.1).
pub(super) const HELLO_VERIFY_REQUEST: u8 = 3;
/// `certificate`.
pub(super) const CERTIFICATE: u8 = 11;
/// `server_key_exchange`.
pub(super) const SERVER_KEY_EXCHANGE: u8 = 12;
/// `certificate_request`.
pub(super) const CERTIFICATE_REQUEST: u8 = 13;
/// `server_hello_done`.
pub(super) const SERVER_HELLO_DONE: u8 = 14;
/// `certificate_verify`.
pub(super) const CERTIFICATE_VERIFY: u8 = 15;
/// `client_key_exchange`.
pub(super) const CLIENT_KEY_EXCHANGE: u8 = 16;

/// Bytes of the header of DTLS 1.2.
pub(super) const RECORD_HEADER_LEN: usize = 13;

/// A record's header, and what is in the record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Record<'a> {
    /// With the header of DTLS 1.2, which DTLS 1.3 uses in the clear (epoch 0) alone.
    Classic { kind: u8, epoch: u16, fragment: &'a [u8] },
    /// With the unified header of DTLS 1.3 (RFC 9147 §4): encrypted.
    Unified,
}

/// The records of a datagram, one after another. Ends after an error.
#[derive(Clone, Debug)]
pub(super) struct Records<'a> {
    rest: &'a [u8],
}

/// The headers do not add up to the datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Malformed;

impl<'a> Records<'a> {
    pub(super) fn new(datagram: &'a [u8]) -> Self {
        Self { rest: datagram }
    }

    /// Returns the next record, and all its bytes.
    pub(super) fn next_with_bytes(&mut self) -> Option<(Record<'a>, &'a [u8])> {
        let before = self.rest;
        let record = self.next()?.ok()?;
        Some((record, before.get(..before.len() - self.rest.len())?))
    }

    /// Reads a record with the header of DTLS 1.2 (RFC 6347 §4.1), which DTLS 1.3 uses for records in the clear:
    ///
    /// ```text
    /// 0      1       3       5          11       13
    /// +------+-------+-------+----------+--------+---
    /// | kind |version| epoch | sequence | length | fragment
    /// +------+-------+-------+----------+--------+---
    /// ```
    fn classic(&mut self) -> Option<Record<'a>> {
        let (&[kind, _, _, e0, e1, _, _, _, _, _, _, l0, l1], rest) = self.rest.split_first_chunk::<13>()?;
        let (fragment, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([l0, l1])))?;
        self.rest = rest;
        Some(Record::Classic { kind, epoch: u16::from_be_bytes([e0, e1]), fragment })
    }

    /// Reads a record with the unified header of DTLS 1.3 (RFC 9147 §4):
    ///
    /// ```text
    /// 0 0 1 C S L E E   then a connection id (C), 1 or 2 bytes of sequence number (S), 0 or 2 of length (L)
    /// ```
    fn unified(&mut self, flags: u8) -> Option<Record<'a>> {
        // No connection id was negotiated.
        if flags & 0x10 != 0 {
            return None;
        }
        let sequence_len = if flags & 0x08 == 0 { 1 } else { 2 };
        let rest = self.rest.get(1 + sequence_len..)?;
        self.rest = if flags & 0x04 == 0 {
            // Without a length the record reaches to the end of the datagram.
            &[]
        } else {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            rest.get(usize::from(u16::from_be_bytes(*length))..)?
        };
        Some(Record::Unified)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let &first = self.rest.first()?;
        let record = if first >> 5 == 1 { self.unified(first) } else { self.classic() };
        if record.is_none() {
            self.rest = &[];
        }
        Some(record.ok_or(Malformed))
    }
}

/// The header of a handshake message, or of a fragment of one (RFC 6347 §4.2.2).
///
/// ```text
/// 0      1        4          6        9                 12
/// +------+--------+----------+--------+-----------------+---
/// | kind | length | sequence | offset | fragment length | fragment
/// +------+--------+----------+--------+-----------------+---
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct HandshakeHeader {
    pub(super) kind: u8,
    /// Of the whole message, in bytes.
    pub(super) length: u32,
    pub(super) sequence: u16,
    pub(super) offset: u32,
    pub(super) fragment_length: u32,
}

impl HandshakeHeader {
    /// Bytes of the header.
    pub(super) const LEN: usize = 12;

    /// Reads the header at the start of `bytes`, and returns it with what follows the fragment.
    pub(super) fn split(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (&[kind, n0, n1, n2, s0, s1, o0, o1, o2, f0, f1, f2], rest) = bytes.split_first_chunk::<12>()?;
        let u24 = |high, middle, low| u32::from_be_bytes([0, high, middle, low]);
        let header = Self {
            kind,
            length: u24(n0, n1, n2),
            sequence: u16::from_be_bytes([s0, s1]),
            offset: u24(o0, o1, o2),
            fragment_length: u24(f0, f1, f2),
        };
        if header.offset + header.fragment_length > header.length {
            return None;
        }
        let rest = rest.get(usize::try_from(header.fragment_length).ok()?..)?;
        Some((header, rest))
    }

    /// Returns the headers in a plaintext record, each with its part of the message; `None` if they do not add up to
    /// it.
    pub(super) fn all(mut record: &[u8], mut each: impl FnMut(Self, &[u8])) -> Option<()> {
        while !record.is_empty() {
            let (header, rest) = Self::split(record)?;
            each(header, record.get(Self::LEN..record.len() - rest.len())?);
            record = rest;
        }
        Some(())
    }

    fn write(self, out: &mut Vec<u8>) {
        let u24 = |value: u32| value.to_be_bytes().into_iter().skip(1);
        out.push(self.kind);
        out.extend(u24(self.length));
        out.extend(self.sequence.to_be_bytes());
        out.extend(u24(self.offset));
        out.extend(u24(self.fragment_length));
    }
}

/// Encodes a handshake message in one piece.
pub(super) fn handshake_message(kind: u8, sequence: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or_default();
    piece_of_message(HandshakeHeader { kind, length, sequence, offset: 0, fragment_length: length }, body)
}

/// Encodes a handshake message, or a piece of one.
pub(super) fn piece_of_message(header: HandshakeHeader, fragment: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(HandshakeHeader::LEN + fragment.len());
    header.write(&mut message);
    message.extend_from_slice(fragment);
    message
}

/// Encodes a record in the clear that carries a handshake message. DTLS 1.2 asks for no order of record numbers before
/// there are keys, so it is 0.
pub(super) fn plaintext_record(message: &[u8]) -> Box<[u8]> {
    let mut record = vec![HANDSHAKE, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 0];
    record.extend(u16::try_from(message.len()).unwrap_or_default().to_be_bytes());
    record.extend_from_slice(message);
    record.into()
}

/// Returns the random of a ServerHello that a datagram begins with, if it is there and not that of a HelloRetryRequest.
pub(super) fn server_random(datagram: &[u8]) -> Option<[u8; 32]> {
    let Some(Ok(Record::Classic { kind: HANDSHAKE, epoch: 0, fragment })) = Records::new(datagram).next() else {
        return None;
    };
    let (header, _) = HandshakeHeader::split(fragment)?;
    if header.kind != SERVER_HELLO || header.offset != 0 {
        return None;
    }
    // Header of the message, legacy version, random.
    let random = *fragment.get(14..46)?.first_chunk::<32>()?;
    (random != RETRY_RANDOM).then_some(random)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classic(kind: u8, epoch: u16, fragment: &[u8]) -> Vec<u8> {
        let mut record = vec![kind, 0xFE, 0xFD];
        record.extend(epoch.to_be_bytes());
        record.extend([0; 6]);
        record.extend(u16::try_from(fragment.len()).unwrap().to_be_bytes());
        record.extend(fragment);
        record
    }

    #[test]
    fn records_of_both_shapes_are_told_apart_and_walked() {
        let mut datagram = classic(HANDSHAKE, 0, &[1, 2, 3]);
        datagram.extend([0b0010_1110, 7, 7, 0, 2, 9, 9]);
        datagram.extend(classic(ALERT, 1, &[]));
        datagram.extend([0b0010_0011, 7, 9, 9, 9]);
        let records: Vec<_> = Records::new(&datagram).collect::<Result<_, _>>().unwrap();
        assert_eq!(
            records,
            [
                Record::Classic { kind: HANDSHAKE, epoch: 0, fragment: &[1, 2, 3] },
                Record::Unified,
                Record::Classic { kind: ALERT, epoch: 1, fragment: &[] },
                Record::Unified,
            ]
        );
    }

    #[test]
    fn a_record_cut_short_anywhere_is_malformed_and_ends_the_walk() {
        let mut unified = vec![0b0010_1110, 7, 7, 0, 5];
        unified.extend([9; 5]);
        for whole in [classic(HANDSHAKE, 0, &[1; 5]), unified] {
            assert!(Records::new(&whole).all(|record| record.is_ok()));
            for len in 1..whole.len() {
                let records: Vec<_> = Records::new(&whole[..len]).collect();
                assert_eq!(records, [Err(Malformed)], "{len} of {} bytes", whole.len());
            }
        }
        assert_eq!(Records::new(&[0b0011_0100, 1, 2, 3, 4, 5]).next(), Some(Err(Malformed)), "a connection id");
    }

    #[test]
    fn the_random_of_a_retry_is_the_hash_that_the_rfc_says() {
        let hash: [u8; 32] = <sha2::Sha256 as sha2::Digest>::digest("HelloRetryRequest").into();
        assert_eq!(RETRY_RANDOM, hash);
    }

    #[test]
    fn a_handshake_header_must_fit_its_message_and_its_record() {
        let bytes = |length: u8, offset: u8, fragment: u8| [2, 0, 0, length, 0, 3, 0, 0, offset, 0, 0, fragment, 7, 7];
        let (header, rest) =
            HandshakeHeader::split(&bytes(6, 4, 2)).map(|(header, rest)| (header, rest.len())).unwrap();
        let expected = HandshakeHeader { kind: 2, length: 6, sequence: 3, offset: 4, fragment_length: 2 };
        assert_eq!((header, rest), (expected, 0));
        assert_eq!(HandshakeHeader::split(&bytes(5, 4, 2)), None, "beyond the message");
        assert_eq!(HandshakeHeader::split(&bytes(9, 4, 3)), None, "beyond the record");
        assert_eq!(HandshakeHeader::split(&bytes(6, 4, 2)[..11]), None, "no whole header");
    }
}
