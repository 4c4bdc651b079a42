//! Answers to Binding requests (RFC 8489 §6.3.1, §9.1.3; RFC 8445 §7.3).

use std::net::SocketAddr;

use crate::webrtc::stun::{Class, Key, StunMessage, StunWriter};

/// Reason why a check failed. Each is answered with its error code, in at most 1.5 times the request's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub(crate) enum CheckRefusal {
    /// No USERNAME or no MESSAGE-INTEGRITY.
    #[error("no user name or no integrity")]
    BadRequest,
    /// Nobody here has that user name, or the integrity is not that of its password.
    #[error("unknown user name or wrong integrity")]
    Unauthenticated,
    /// Attributes that must be understood, and are not.
    #[error("unknown attributes")]
    UnknownAttributes,
    /// The peer says that it is controlled; so are we, and being lite we stay so (RFC 8445 §6.1.1).
    #[error("role conflict")]
    RoleConflict,
    /// There is nothing wrong with the check, but this end wants no datagrams from there any more (RFC 7675 §5.2).
    #[error("consent revoked")]
    Forbidden,
    /// There is nothing wrong with the check, but this end has no room for another peer, or takes none any more.
    #[error("no room for another peer")]
    NoRoom,
}

impl CheckRefusal {
    /// Returns the number in ERROR-CODE (RFC 8489 §14.8, RFC 8445 §16.2).
    pub(crate) const fn code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::UnknownAttributes => 420,
            Self::RoleConflict => 487,
            // "The server has suffered a temporary error. The client should try again."
            Self::NoRoom => 500,
        }
    }

    /// True if the peer has proved that it knows the password, so that the answer can be signed with it.
    const fn is_authenticated(self) -> bool {
        matches!(self, Self::UnknownAttributes | Self::RoleConflict | Self::Forbidden | Self::NoRoom)
    }
}

/// Checks whether the owner of this key, a controlled agent, accepts a request. The caller has found the key by the
/// user name.
///
/// A request without PRIORITY or without a role is accepted: checks of consent need neither, and a lite agent uses
/// neither.
pub(crate) fn check(request: &StunMessage<'_>, key: &Key) -> Result<(), CheckRefusal> {
    authenticate(request, key)?;
    if request.controlled.is_some() { Err(CheckRefusal::RoleConflict) } else { Ok(()) }
}

/// Checks like [`check`], where the key's owner is the controlling agent.
pub(super) fn check_as_controlling(request: &StunMessage<'_>, key: &Key) -> Result<(), CheckRefusal> {
    authenticate(request, key)?;
    if request.controlling.is_some() { Err(CheckRefusal::RoleConflict) } else { Ok(()) }
}

/// Checks the parts of a request that do not depend on the role.
fn authenticate(request: &StunMessage<'_>, key: &Key) -> Result<(), CheckRefusal> {
    if request.username.is_none() || !request.has_integrity() {
        return Err(CheckRefusal::BadRequest);
    }
    if !key.has_signed(request) {
        return Err(CheckRefusal::Unauthenticated);
    }
    if !request.unknown_attributes().is_empty() {
        return Err(CheckRefusal::UnknownAttributes);
    }
    Ok(())
}

/// Appends the success response: where the request came from.
pub(crate) fn accept(request: &StunMessage<'_>, source: SocketAddr, key: &Key, out: &mut Vec<u8>) {
    StunWriter::new(out, Class::Success, request.transaction_id).xor_mapped_address(source).finish(Some(key));
}

/// Appends the error response. `key` is the one that the request was checked with, if there was one; only what it has
/// authenticated is signed (RFC 8489 §9.1.3).
pub(crate) fn refuse(request: &StunMessage<'_>, refusal: CheckRefusal, key: Option<&Key>, out: &mut Vec<u8>) {
    let mut response = StunWriter::new(out, Class::Error, request.transaction_id).error_code(refusal.code());
    if refusal == CheckRefusal::UnknownAttributes {
        response = response.unknown_attributes(request.unknown_attributes());
    }
    response.finish(key.filter(|_| refusal.is_authenticated()));
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit, Mac};
    use sha1::Sha1;

    use super::*;
    use crate::webrtc::stun::{TransactionId, Username};

    const PWD: &str = "ourpasswordourpassword";

    fn source(is_v6: bool) -> SocketAddr {
        if is_v6 { SocketAddr::from(([0x2001; 8], 9)) } else { SocketAddr::from(([192, 0, 2, 1], 9)) }
    }

    /// Returns the result of `check` for a request, and the answer to the request.
    fn answer(request: &[u8], is_v6: bool) -> (Result<(), CheckRefusal>, Vec<u8>) {
        let message = StunMessage::parse(request).expect("a message");
        let (key, mut out) = (Key::new(PWD), Vec::new());
        let verdict = check(&message, &key);
        match verdict {
            Ok(()) => accept(&message, source(is_v6), &key, &mut out),
            Err(refusal) => refuse(&message, refusal, Some(&key), &mut out),
        }
        (verdict, out)
    }

    fn request<'b>(out: &'b mut Vec<u8>) -> StunWriter<'b> {
        StunWriter::new(out, Class::Request, TransactionId([3; 12]))
    }

    const NAME: Username<'_> = Username { to: "abcd", from: "efgh" };

    #[test]
    fn each_kind_of_request_gets_its_number_and_only_what_is_authenticated_is_signed() {
        let mut requests: Vec<(Vec<u8>, Option<u16>)> = Vec::new();
        let mut add = |code, write: &dyn Fn(StunWriter<'_>)| {
            let mut datagram = Vec::new();
            write(request(&mut datagram));
            requests.push((datagram, code));
        };
        let (ours, other) = (Key::new(PWD), Key::new("other"));
        add(Some(400), &|writer| writer.finish(None));
        add(Some(400), &|writer| writer.username(NAME).finish(None));
        add(Some(400), &|writer| writer.priority(1).finish(Some(&ours)));
        add(Some(401), &|writer| writer.username(NAME).finish(Some(&other)));
        add(None, &|writer| writer.username(NAME).finish(Some(&ours)));
        add(None, &|writer| writer.username(NAME).priority(1).controlling(1).use_candidate().finish(Some(&ours)));
        for (datagram, code) in requests {
            let (verdict, answer) = answer(&datagram, false);
            assert_eq!(verdict.err().map(CheckRefusal::code), code);
            let response = StunMessage::parse(&answer).expect("a response");
            assert_eq!((response.error_code, response.transaction_id), (code, TransactionId([3; 12])));
            assert_eq!(response.has_integrity(), code.is_none());
        }
    }

    /// Returns a signed request with one more attribute, by hand, because ours are never like that.
    fn with_attribute(attribute: &[u8]) -> Vec<u8> {
        let mut datagram = Vec::new();
        request(&mut datagram).username(NAME).priority(1).finish(None);
        datagram.truncate(datagram.len() - 8);
        datagram.extend_from_slice(attribute);
        let set_length = |datagram: &mut [u8], more: usize| {
            let length = u16::try_from(datagram.len() + more - 20).expect("short");
            datagram[2..4].copy_from_slice(&length.to_be_bytes());
        };
        set_length(&mut datagram, 24);
        let mac = Hmac::<Sha1>::new_from_slice(PWD.as_bytes()).expect("any key").chain_update(&datagram).finalize();
        datagram.extend_from_slice(&[0, 8, 0, 20]);
        datagram.extend_from_slice(&mac.into_bytes());
        set_length(&mut datagram, 8);
        let crc = crc32fast::hash(&datagram) ^ 0x5354_554E;
        datagram.extend_from_slice(&[0x80, 0x28, 0, 4]);
        datagram.extend_from_slice(&crc.to_be_bytes());
        datagram
    }

    #[test]
    fn a_peer_that_claims_to_be_controlled_is_told_about_the_conflict() {
        let (verdict, answer) = answer(&with_attribute(&[0x80, 0x29, 0, 8, 0, 0, 0, 0, 0, 0, 0, 1]), false);
        assert_eq!(verdict, Err(CheckRefusal::RoleConflict));
        let response = StunMessage::parse(&answer).expect("a response");
        assert_eq!(response.error_code, Some(487));
        assert!(Key::new(PWD).has_signed(&response));
    }

    #[test]
    fn an_attribute_that_must_be_understood_and_is_not_is_named_and_an_optional_one_is_no_matter() {
        assert_eq!(answer(&with_attribute(&[0xC0, 0x57, 0, 4, 0, 1, 0, 50]), false).0, Ok(()));
        let (verdict, answer) = answer(&with_attribute(&[0x7F, 0x01, 0, 0]), false);
        assert_eq!(verdict, Err(CheckRefusal::UnknownAttributes));
        let response = StunMessage::parse(&answer).expect("a response");
        assert_eq!(response.error_code, Some(420));
        assert!(Key::new(PWD).has_signed(&response));
        assert!(answer.windows(8).any(|bytes| bytes == [0, 0x0A, 0, 2, 0x7F, 0x01, 0, 0]));
    }

    #[test]
    fn k04_no_answer_exceeds_one_and_a_half_times_its_request() {
        let mut smallest = Vec::new();
        request(&mut smallest).finish(None);
        let mut unsigned = Vec::new();
        request(&mut unsigned).username(NAME).finish(None);
        let mut signed = Vec::new();
        request(&mut signed).username(NAME).finish(Some(&Key::new(PWD)));
        let unknown: Vec<u8> = (0..8).flat_map(|number| [0x70, number, 0, 0]).collect();
        let requests = [smallest, unsigned, signed, with_attribute(&unknown[..4]), with_attribute(&unknown)];
        for (datagram, is_v6) in requests.iter().flat_map(|datagram| [(datagram, false), (datagram, true)]) {
            let (verdict, answer) = answer(datagram, is_v6);
            assert!(answer.len() * 2 <= datagram.len() * 3, "{verdict:?}: {} for {}", answer.len(), datagram.len());
        }
    }
}
