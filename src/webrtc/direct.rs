//! Direct mode: a browser connects without signalling, because its first check says all that an offer would.
//!
//! The page makes its own offer and leaves it as it is. The answer it builds itself, from the ticket's address and
//! certificate hash, with `a=ice-ufrag` and `a=ice-pwd` both set to a prefix followed by the browser's *own* ICE
//! password:
//!
//! ```text
//! USERNAME of the check = narrowboat+1/<client's password> : <client's fragment>
//!                         '------- server's fragment ----'
//!                         '--- and server's password ----'
//! ```
//!
//! So the server can answer any check from the check's contents, and keeps nothing. On the other hand, the sender of a
//! check has chosen its password too, so a check proves only that its sender is able to make checks. The DTLS handshake
//! proves that the client can receive at its address, and the certificate hash proves the server's identity. Nobody
//! knows the client's identity, as with HTTPS.
//!
//! The prefix keeps one protocol's traffic from being taken for another's. Ours is `narrowboat+1/`; that of libp2p's
//! `webrtc-direct` (version 2) does the same thing, and is accepted if asked for.

use std::net::SocketAddr;

use rand::Rng;

use crate::webrtc::ice::{self, CheckRefusal, Credentials, is_pwd};
use crate::webrtc::stun::{Key, StunMessage, Username};

/// Prefix of our fragments, in ice-chars.
pub(crate) const PREFIX: &str = "narrowboat+1/";

/// Prefix of the fragments of libp2p's `webrtc-direct`.
pub(crate) const PREFIX_LIBP2P: &str = "libp2p+webrtc+v2/";

/// Fragments that a server accepts for direct mode.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Prefixes {
    /// libp2p's too.
    pub(crate) libp2p: bool,
    /// None at all: direct mode was not asked for.
    pub(crate) is_closed: bool,
}

/// The two ends of a direct association as the user name of a check names them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DirectName<'a> {
    /// The server's fragment, and its password too.
    pub(crate) server: &'a str,
    /// The client's fragment.
    pub(crate) client_ufrag: &'a str,
    /// The client's password.
    pub(crate) client_pwd: &'a str,
}

impl<'a> DirectName<'a> {
    /// Reads a user name whose fragments are valid already. `None` if the prefix is unknown, or what follows is no
    /// password (22 to 256 ice-chars, prefix included).
    pub(crate) fn parse(username: Username<'a>, prefixes: Prefixes) -> Option<Self> {
        if prefixes.is_closed {
            return None;
        }
        let Username { to: server, from: client_ufrag } = username;
        let libp2p = || server.strip_prefix(PREFIX_LIBP2P).filter(|_| prefixes.libp2p);
        let client_pwd = server.strip_prefix(PREFIX).or_else(libp2p)?;
        is_pwd(client_pwd).then_some(Self { server, client_ufrag, client_pwd })
    }

    /// Returns the credentials of the server in this association.
    pub(crate) fn server_credentials(&self) -> Credentials {
        Credentials::from_valid(self.server, self.server)
    }

    /// Reads the fragment of a server, which says what the client's password is; the client's fragment is not in it.
    pub(crate) fn of_server(server: &'a str, prefixes: Prefixes) -> Option<Self> {
        Self::parse(Username { to: server, from: "" }, prefixes)
    }

    /// Returns the credentials of the client.
    #[cfg(test)]
    pub(crate) fn client_credentials(&self) -> Credentials {
        Credentials::from_valid(self.client_ufrag, self.client_pwd)
    }
}

/// Answers a check that belongs to no association yet, from what is in it alone: appends the response to `out`, at most
/// 1.5 times the request, and says who asks. Nothing is kept. Of a check that is right, `refuses` says why it is to be
/// refused all the same.
pub(crate) fn answer<'a>(
    request: &StunMessage<'a>,
    source: SocketAddr,
    prefixes: Prefixes,
    refuses: impl FnOnce(&DirectName<'a>) -> Option<CheckRefusal>,
    out: &mut Vec<u8>,
) -> Result<DirectName<'a>, CheckRefusal> {
    let name = request.ice_username().and_then(|username| DirectName::parse(username, prefixes));
    let Some(name) = name else {
        let is_complete = request.username.is_some() && request.has_integrity();
        let refusal = if is_complete { CheckRefusal::Unauthenticated } else { CheckRefusal::BadRequest };
        ice::refuse(request, refusal, None, out);
        return Err(refusal);
    };
    let key = Key::new(name.server);
    let verdict = ice::check(request, &key);
    match verdict.and_then(|()| refuses(&name).map_or(Ok(()), Err)) {
        Ok(()) => ice::accept(request, source, &key, out),
        Err(refusal) => {
            ice::refuse(request, refusal, Some(&key), out);
            return Err(refusal);
        }
    }
    Ok(name)
}

/// The credentials of a Rust client that connects with a ticket: its own, and the server's that follow from them.
#[derive(Clone, Debug)]
pub(crate) struct ClientCredentials {
    /// The client's.
    pub(crate) local: Credentials,
    /// The server's.
    pub(crate) remote: Credentials,
}

impl ClientCredentials {
    /// Chooses them for one association. The source must be unpredictable.
    pub(crate) fn generate(rng: &mut impl Rng) -> Self {
        let local = Credentials::generate(rng);
        let server = format!("{PREFIX}{}", local.pwd());
        Self { local, remote: Credentials::from_valid(&server, &server) }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::webrtc::stun::{Class, StunWriter, TransactionId};

    const LIBP2P: Prefixes = Prefixes { libp2p: true, is_closed: false };

    fn parse(username: &str, prefixes: Prefixes) -> Option<(String, String)> {
        let name = DirectName::parse(Username::parse(username.as_bytes())?, prefixes)?;
        Some((name.client_pwd.to_owned(), name.client_ufrag.to_owned()))
    }

    #[test]
    fn the_clients_password_is_what_follows_the_prefix() {
        let expected = Some(("6vVQ0Sf26fAsetCtwoo+QJrd".to_owned(), "EJ/U".to_owned()));
        assert_eq!(parse("narrowboat+1/6vVQ0Sf26fAsetCtwoo+QJrd:EJ/U", Prefixes::default()), expected);
        assert_eq!(parse("libp2p+webrtc+v2/6vVQ0Sf26fAsetCtwoo+QJrd:EJ/U", LIBP2P), expected);
        let with_slashes = parse("narrowboat+1/narrowboat+1/aaaaaaaaaaaaaaaaaaaaaa:abcd", LIBP2P);
        assert_eq!(with_slashes.map(|(pwd, _)| pwd).as_deref(), Some("narrowboat+1/aaaaaaaaaaaaaaaaaaaaaa"));
    }

    #[test]
    fn unknown_prefixes_and_what_is_no_password_are_refused() {
        let long = "x".repeat(256 - PREFIX.len());
        assert!(parse(&format!("{PREFIX}{long}:abcd"), LIBP2P).is_some());
        let short = "x".repeat(21);
        for username in [
            "libp2p+webrtc+v2/6vVQ0Sf26fAsetCtwoo+QJrd:EJ/U",
            "libp2p+webrtc+v1/6vVQ0Sf26fAsetCtwoo+QJrd:EJ/U",
            "narrowboat+2/6vVQ0Sf26fAsetCtwoo+QJrd:EJ/U",
            "Narrowboat+1/6vVQ0Sf26fAsetCtwoo+QJrd:EJ/U",
            "narrowboat+16vVQ0Sf26fAsetCtwoo+QJrd:EJ/U",
            "6vVQ0Sf26fAsetCtwoo+QJrd:EJ/U",
            "narrowboat+1/:EJ/U",
            &format!("{PREFIX}{short}:EJ/U"),
            &format!("{PREFIX}{long}x:EJ/U"),
            "narrowboat+1/6vVQ0Sf26fAsetCtwoo+QJrd:abc",
            "narrowboat+1/6vVQ0Sf26fAsetCtwoo+QJrd",
            "narrowboat+1/6vVQ0Sf26fAsetCtwoo QJrd:EJ/U",
        ] {
            assert_eq!(parse(username, Prefixes::default()), None, "{username}");
        }
    }

    fn request(username: Username<'_>, pwd: &str) -> Vec<u8> {
        let mut datagram = Vec::new();
        let writer = StunWriter::new(&mut datagram, Class::Request, TransactionId([5; 12])).username(username);
        writer.priority(1).controlling(2).finish(Some(&Key::new(pwd)));
        datagram
    }

    #[test]
    fn a_check_is_answered_from_what_is_in_it_and_the_answer_is_signed_with_the_servers_password() {
        let client = ClientCredentials::generate(&mut StdRng::seed_from_u64(3));
        let username = Username { to: client.remote.ufrag(), from: client.local.ufrag() };
        let datagram = request(username, client.remote.pwd());
        let source = SocketAddr::from(([192, 0, 2, 7], 7));
        let mut out = Vec::new();
        let message = StunMessage::parse(&datagram).expect("a message");
        let name = answer(&message, source, Prefixes::default(), |_| None, &mut out).expect("accepted");
        assert_eq!(name.client_credentials(), client.local);
        assert_eq!(name.server_credentials(), client.remote);
        let response = StunMessage::parse(&out).expect("a response");
        assert_eq!((response.class, response.xor_mapped_address), (Class::Success, Some(source)));
        assert!(Key::new(client.remote.pwd()).has_signed(&response));
    }

    #[test]
    fn a_consent_is_revoked_by_a_number_that_the_password_has_signed() {
        let server = "narrowboat+1/6vVQ0Sf26fAsetCtwoo+QJrd";
        let datagram = request(Username { to: server, from: "EJ/U" }, server);
        let message = StunMessage::parse(&datagram).expect("a message");
        let mut out = Vec::new();
        let source = SocketAddr::from(([192, 0, 2, 7], 7));
        let refuses = |name: &DirectName<'_>| (name.server == server).then_some(CheckRefusal::Forbidden);
        assert_eq!(answer(&message, source, LIBP2P, refuses, &mut out), Err(CheckRefusal::Forbidden));
        assert!(out.len() * 2 <= datagram.len() * 3, "{} for {}", out.len(), datagram.len());
        let response = StunMessage::parse(&out).expect("a response");
        assert_eq!((response.class, response.error_code), (Class::Error, Some(403)));
        assert!(Key::new(server).has_signed(&response));
    }

    #[test]
    fn k04_a_check_with_an_unknown_name_or_bad_integrity_is_refused_in_few_bytes() {
        let source = SocketAddr::from(([192, 0, 2, 7], 7));
        let server = "narrowboat+1/6vVQ0Sf26fAsetCtwoo+QJrd";
        let unsigned = {
            let mut datagram = Vec::new();
            StunWriter::new(&mut datagram, Class::Request, TransactionId([5; 12])).priority(1).finish(None);
            datagram
        };
        for (datagram, refusal) in [
            (request(Username { to: server, from: "EJ/U" }, "6vVQ0Sf26fAsetCtwoo+QJrd"), CheckRefusal::Unauthenticated),
            (request(Username { to: "EJ/U", from: server }, "EJ/U"), CheckRefusal::Unauthenticated),
            (unsigned, CheckRefusal::BadRequest),
        ] {
            let message = StunMessage::parse(&datagram).expect("a message");
            let mut out = Vec::new();
            assert_eq!(answer(&message, source, LIBP2P, |_| Some(CheckRefusal::Forbidden), &mut out), Err(refusal));
            assert!(out.len() * 2 <= datagram.len() * 3, "{} for {}", out.len(), datagram.len());
            assert_eq!(StunMessage::parse(&out).expect("a response").error_code, Some(refusal.code()));
        }
    }
}
