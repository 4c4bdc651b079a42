//! Reading a message (RFC 8489 §5, §6.3, §14).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::username::Username;
use super::{ATTRIBUTE_HEADER_LEN, FINGERPRINT_LEN, FINGERPRINT_XOR, HEADER_LEN, MAC_LEN, MAGIC_COOKIE, attribute};

/// The longest message that is looked at. A check with the longest user name has less than 700 bytes, and none may
/// exceed the path's MTU (RFC 8489 §6.1); the limit bounds what one datagram of a flood costs.
pub(crate) const MESSAGE_LEN_MAX: usize = 1_500;

/// Unknown attributes that are named in an answer, at most; one is enough for the peer.
const UNKNOWN_MAX: usize = 8;

/// Ties a response to its request (RFC 8489 §5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct TransactionId(pub(crate) [u8; 12]);

/// Class of a message (RFC 8489 §5). The method is always Binding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Class {
    /// Wants a response.
    Request,
    /// Wants none: a keepalive.
    Indication,
    /// The request was fine.
    Success,
    /// The request was not; ERROR-CODE says why.
    Error,
}

impl Class {
    /// Returns the class of what may be a Binding message, by its first two bytes.
    pub(crate) fn of(datagram: &[u8]) -> Option<Self> {
        Self::of_binding(u16::from_be_bytes(*datagram.first_chunk()?))
    }

    fn of_binding(kind: u16) -> Option<Self> {
        [Self::Request, Self::Indication, Self::Success, Self::Error].into_iter().find(|class| class.binding() == kind)
    }

    /// Returns the message type of a Binding message of this class.
    pub(super) const fn binding(self) -> u16 {
        match self {
            Self::Request => 0x0001,
            Self::Indication => 0x0011,
            Self::Success => 0x0101,
            Self::Error => 0x0111,
        }
    }
}

/// Reason why a datagram is not a STUN message that we accept. All are dropped without an answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub(crate) enum ParseError {
    /// Shorter than a header, or above [`MESSAGE_LEN_MAX`], or the length field says otherwise.
    #[error("wrong length")]
    Length,
    /// No magic cookie.
    #[error("no magic cookie")]
    MagicCookie,
    /// FINGERPRINT, which ICE demands (RFC 8445 §7.3), is not the last attribute.
    #[error("no FINGERPRINT")]
    NoFingerprint,
    /// FINGERPRINT is not the message's.
    #[error("wrong FINGERPRINT")]
    Fingerprint,
    /// A method other than Binding.
    #[error("another method than Binding")]
    Method,
    /// An attribute runs beyond the end, or MESSAGE-INTEGRITY has not the length of a MAC.
    #[error("malformed attribute")]
    Attribute,
}

/// A Binding message with the right FINGERPRINT. Attributes that nobody has signed are not to be trusted: see
/// [`Key::has_signed`](super::Key::has_signed).
#[derive(Clone, Debug)]
pub(crate) struct StunMessage<'a> {
    /// Request, indication or response.
    pub(crate) class: Class,
    /// Ties a response to its request.
    pub(crate) transaction_id: TransactionId,
    /// USERNAME, as it is.
    pub(crate) username: Option<&'a [u8]>,
    /// PRIORITY (RFC 8445 §7.1.1).
    pub(crate) priority: Option<u32>,
    /// True if USE-CANDIDATE is present (RFC 8445 §7.1.2).
    pub(crate) use_candidate: bool,
    /// The tiebreaker in ICE-CONTROLLING: the sender decides about pairs (RFC 8445 §7.1.3).
    pub(crate) controlling: Option<u64>,
    /// The tiebreaker in ICE-CONTROLLED: the sender believes that we decide.
    pub(crate) controlled: Option<u64>,
    /// XOR-MAPPED-ADDRESS: where the request came from.
    pub(crate) xor_mapped_address: Option<SocketAddr>,
    /// The number in ERROR-CODE, 300 to 699.
    pub(crate) error_code: Option<u16>,
    /// True if an attribute was ignored because its value cannot be one of its type.
    pub(crate) has_malformed_attribute: bool,
    unknown: Unknown,
    /// The bytes before MESSAGE-INTEGRITY, and its value.
    integrity: Option<(&'a [u8], &'a [u8])>,
}

/// Attributes that we would have to understand and do not.
#[derive(Clone, Copy, Default, Debug)]
struct Unknown {
    types: [u16; UNKNOWN_MAX],
    len: usize,
}

impl Unknown {
    fn push(&mut self, kind: u16) {
        if let Some(slot) = self.types.get_mut(self.len) {
            *slot = kind;
            self.len += 1;
        }
    }
}

impl<'a> StunMessage<'a> {
    /// Reads a datagram that is to be one message, cheapest checks first: length, cookie, FINGERPRINT, attributes.
    ///
    /// Comprehension-optional attributes that we do not know are skipped; what follows MESSAGE-INTEGRITY is ignored up
    /// to FINGERPRINT (RFC 8489 §14.5), and so is the second of two attributes of one type (§14). An attribute whose
    /// value cannot be one of its type counts as absent: who needs it says so, and a check needs USERNAME alone.
    pub(crate) fn parse(datagram: &'a [u8]) -> Result<Self, ParseError> {
        let (kind, transaction_id) = header(datagram)?;
        let Some((before_fingerprint, fingerprint)) = datagram.split_last_chunk::<FINGERPRINT_LEN>() else {
            return Err(ParseError::NoFingerprint);
        };
        check_fingerprint(before_fingerprint, *fingerprint)?;
        let class = Class::of_binding(kind).ok_or(ParseError::Method)?;
        let mut message = Self {
            class,
            transaction_id,
            username: None,
            priority: None,
            use_candidate: false,
            controlling: None,
            controlled: None,
            xor_mapped_address: None,
            error_code: None,
            has_malformed_attribute: false,
            unknown: Unknown::default(),
            integrity: None,
        };
        message.read_attributes(before_fingerprint)?;
        Ok(message)
    }

    /// Returns USERNAME as the two fragments that ICE puts there.
    pub(crate) fn ice_username(&self) -> Option<Username<'a>> {
        Username::parse(self.username?)
    }

    /// Returns the first few comprehension-required attributes that are unknown to this implementation.
    pub(crate) fn unknown_attributes(&self) -> &[u16] {
        self.unknown.types.get(..self.unknown.len).unwrap_or_default()
    }

    /// True if a MESSAGE-INTEGRITY is present, valid or not.
    pub(crate) fn has_integrity(&self) -> bool {
        self.integrity.is_some()
    }

    pub(super) fn integrity(&self) -> Option<(&'a [u8], &'a [u8])> {
        self.integrity
    }

    fn read_attributes(&mut self, message: &'a [u8]) -> Result<(), ParseError> {
        let mut rest = message.get(HEADER_LEN..).ok_or(ParseError::Length)?;
        while !rest.is_empty() {
            let at = message.len() - rest.len();
            let (kind, after) = rest.split_first_chunk::<2>().ok_or(ParseError::Attribute)?;
            let (len, after) = after.split_first_chunk::<2>().ok_or(ParseError::Attribute)?;
            let kind = u16::from_be_bytes(*kind);
            let len = usize::from(u16::from_be_bytes(*len));
            let value = after.get(..len).ok_or(ParseError::Attribute)?;
            rest = after.get(len.next_multiple_of(4)..).ok_or(ParseError::Attribute)?;
            if kind == attribute::MESSAGE_INTEGRITY {
                if value.len() != MAC_LEN {
                    return Err(ParseError::Attribute);
                }
                self.integrity = message.get(..at).map(|signed| (signed, value));
                break;
            }
            self.has_malformed_attribute |= self.read_attribute(kind, value).is_none();
        }
        Ok(())
    }

    /// Takes one attribute in; `None` if its value cannot be one of its type.
    fn read_attribute(&mut self, kind: u16, value: &'a [u8]) -> Option<()> {
        match kind {
            attribute::USERNAME => keep_first(&mut self.username, value),
            attribute::PRIORITY => keep_first(&mut self.priority, u32::from_be_bytes(value.try_into().ok()?)),
            attribute::USE_CANDIDATE => self.use_candidate = true,
            attribute::ICE_CONTROLLING => keep_first(&mut self.controlling, u64::from_be_bytes(value.try_into().ok()?)),
            attribute::ICE_CONTROLLED => keep_first(&mut self.controlled, u64::from_be_bytes(value.try_into().ok()?)),
            attribute::XOR_MAPPED_ADDRESS => {
                keep_first(&mut self.xor_mapped_address, xor_address(value, self.transaction_id)?);
            }
            attribute::ERROR_CODE => keep_first(&mut self.error_code, error_code(value)?),
            // Only error responses carry it, and nothing is decided by it.
            attribute::UNKNOWN_ATTRIBUTES => {}
            // The one that counts is the last attribute, and has been checked.
            attribute::FINGERPRINT => return None,
            kind if kind < attribute::COMPREHENSION_OPTIONAL => self.unknown.push(kind),
            _ => {}
        }
        Some(())
    }
}

fn keep_first<T>(slot: &mut Option<T>, value: T) {
    slot.get_or_insert(value);
}

fn header(datagram: &[u8]) -> Result<(u16, TransactionId), ParseError> {
    let (kind, rest) = datagram.split_first_chunk::<2>().ok_or(ParseError::Length)?;
    let (length, rest) = rest.split_first_chunk::<2>().ok_or(ParseError::Length)?;
    let (cookie, rest) = rest.split_first_chunk::<4>().ok_or(ParseError::Length)?;
    let (transaction_id, attributes) = rest.split_first_chunk::<12>().ok_or(ParseError::Length)?;
    if *cookie != MAGIC_COOKIE {
        return Err(ParseError::MagicCookie);
    }
    let length = usize::from(u16::from_be_bytes(*length));
    if datagram.len() > MESSAGE_LEN_MAX || length != attributes.len() || !length.is_multiple_of(4) {
        return Err(ParseError::Length);
    }
    Ok((u16::from_be_bytes(*kind), TransactionId(*transaction_id)))
}

fn check_fingerprint(before: &[u8], attribute: [u8; FINGERPRINT_LEN]) -> Result<(), ParseError> {
    let [kind_high, kind_low, 0, 4, crc @ ..] = attribute else { return Err(ParseError::NoFingerprint) };
    if u16::from_be_bytes([kind_high, kind_low]) != attribute::FINGERPRINT || before.len() < HEADER_LEN {
        return Err(ParseError::NoFingerprint);
    }
    if crc32fast::hash(before) ^ FINGERPRINT_XOR == u32::from_be_bytes(crc) {
        Ok(())
    } else {
        Err(ParseError::Fingerprint)
    }
}

/// Decodes an XOR address (RFC 8489 §14.2): port and address, combined with the cookie and the transaction id.
fn xor_address(value: &[u8], transaction_id: TransactionId) -> Option<SocketAddr> {
    let ([_, family, port @ ..], address) = value.split_first_chunk::<ATTRIBUTE_HEADER_LEN>()?;
    let ip = match family {
        0x01 => IpAddr::V4(Ipv4Addr::from(xor(address.try_into().ok()?, MAGIC_COOKIE))),
        0x02 => IpAddr::V6(Ipv6Addr::from(xor(address.try_into().ok()?, mask_v6(transaction_id)))),
        _ => return None,
    };
    let [first, second, ..] = MAGIC_COOKIE;
    Some(SocketAddr::new(ip, u16::from_be_bytes(xor(*port, [first, second]))))
}

/// Returns the mask that an IPv6 address is combined with: magic cookie and transaction id.
pub(super) fn mask_v6(transaction_id: TransactionId) -> [u8; 16] {
    let mut mask = [0; 16];
    let bytes = MAGIC_COOKIE.into_iter().chain(transaction_id.0);
    mask.iter_mut().zip(bytes).for_each(|(slot, byte)| *slot = byte);
    mask
}

pub(super) fn xor<const N: usize>(mut bytes: [u8; N], mask: [u8; N]) -> [u8; N] {
    bytes.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    bytes
}

/// Decodes ERROR-CODE (RFC 8489 §14.8): hundreds in three bits, the rest in a byte, then a phrase for humans.
fn error_code(value: &[u8]) -> Option<u16> {
    let ([_, _, class, number], _) = value.split_first_chunk::<4>()?;
    let class = u16::from(class & 7);
    ((3..=6).contains(&class) && *number < 100).then(|| class * 100 + u16::from(*number))
}
