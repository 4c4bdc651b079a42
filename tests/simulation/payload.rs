//! Payloads that say what they are: any byte that ends up in the wrong message, channel or generation is noticed.

use bytes::{BufMut, Bytes, BytesMut};
use narrowboat_sctp::testing::Random;

/// A message's place in the world.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Token {
    /// The channel; unique in a run, so that each generation of a stream id has its own.
    pub(crate) uid: u32,
    /// The side that sent it.
    pub(crate) side: usize,
    /// Its number among the messages of that side on that channel.
    pub(crate) index: usize,
    pub(crate) len: usize,
}

/// Messages from this length on begin with their token.
pub(crate) const TOKEN_LEN: usize = 16;

impl Token {
    /// The whole payload: printable ASCII, so that it can be text.
    pub(crate) fn payload(self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(self.len);
        if self.len >= TOKEN_LEN {
            bytes.put_u8(b'N');
            for (value, digits) in [(u64::from(self.uid), 4), (self.side as u64, 1), (self.index as u64, 5)] {
                put(&mut bytes, value, digits);
            }
            put(&mut bytes, self.len as u64, 5);
        }
        let mut words = Random((u64::from(self.uid) << 40) ^ ((self.side as u64) << 39) ^ self.index as u64);
        while bytes.len() < self.len {
            // Six bits a byte, from '0' on: SplitMix64 is good enough to make each payload unlike any other.
            let word = (words.u64() & 0x3f3f_3f3f_3f3f_3f3f) + 0x3030_3030_3030_3030;
            let count = (self.len - bytes.len()).min(8);
            bytes.put_slice(&word.to_le_bytes()[..count]);
        }
        bytes.freeze()
    }

    /// Returns the token at the beginning of a payload, if the payload is long enough for a token and has one.
    pub(crate) fn claimed_by(payload: &[u8]) -> Option<Self> {
        let header = payload.get(..TOKEN_LEN)?;
        let number = |from: usize, digits: usize| {
            header[from..from + digits]
                .iter()
                .rev()
                .try_fold(0, |value, &byte| Some(value << 6 | u64::from(byte.checked_sub(b'0').filter(|&d| d < 64)?)))
        };
        let is_token = header[0] == b'N';
        let (uid, side) = (number(1, 4)? as u32, number(5, 1)? as usize);
        is_token.then_some(Self { uid, side, index: number(6, 5)? as usize, len: number(11, 5)? as usize })
    }
}

fn put(bytes: &mut BytesMut, mut value: u64, digits: usize) {
    for _ in 0..digits {
        bytes.put_u8(b'0' + (value & 63) as u8);
        value >>= 6;
    }
}

#[test]
fn a_token_is_read_back_from_its_payload() {
    for len in [16, 17, 1200, 300 << 10] {
        let token = Token { uid: 70_001, side: 1, index: 123_456, len };
        let payload = token.payload();
        assert_eq!((payload.len(), Token::claimed_by(&payload)), (len, Some(token)));
        assert!(std::str::from_utf8(&payload).is_ok());
    }
    assert_eq!(Token { uid: 1, side: 0, index: 0, len: 3 }.payload().len(), 3);
}
