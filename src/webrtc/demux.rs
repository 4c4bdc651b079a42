//! Which protocol a datagram belongs to, by its first byte (RFC 7983 §7).

/// The protocols that share a browser's five-tuple.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    /// 0 to 3: STUN (RFC 8489).
    Stun,
    /// 20 to 63: a DTLS record (RFC 6347, RFC 9147).
    Dtls,
}

impl Protocol {
    /// Tells by the first byte; `None` is a datagram to drop and count: empty, ZRTP, TURN channels, RTP and the rest,
    /// none of which a data channel uses.
    pub(crate) fn of(datagram: &[u8]) -> Option<Self> {
        match datagram.first()? {
            0..=3 => Some(Self::Stun),
            20..=63 => Some(Self::Dtls),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k10_a_first_byte_that_is_neither_stun_nor_dtls_belongs_to_nothing() {
        for byte in 0..=u8::MAX {
            let expected = match byte {
                0..=3 => Some(Protocol::Stun),
                20..=63 => Some(Protocol::Dtls),
                _ => None,
            };
            assert_eq!(Protocol::of(&[byte, 0, 0]), expected, "first byte {byte}");
        }
        assert_eq!(Protocol::of(&[]), None);
    }
}
