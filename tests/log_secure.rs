//! Events of ICE and DTLS in the log, over real sockets on loopback; and secrets, which are in none.
#![cfg(feature = "webrtc")]
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::let_underscore_must_use, reason = "some results make no difference to a test")]

mod log;
mod secure;

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64ct::{Base64, Encoding};
use log::{Log, is_of, runtime};
use narrowboat::{Config, Endpoint, Identity, Ticket};
use secure::relay::Relay;
use secure::{Pair, bind, builder, soon};
use tracing::Level;

#[test]
fn the_steps_of_ice_and_dtls_are_reported_with_their_fields() {
    let (log, _guard) = Log::install(Level::DEBUG);
    runtime().block_on(async {
        let pair = Pair::new().await;
        let (client, server) = (&pair.client, &pair.server);
        let (client_address, server_address) = (client.local_address().to_string(), server.local_address().to_string());
        let print = |endpoint: &Endpoint| endpoint.identity().unwrap().fingerprint().to_string();

        let selected = log.find("ICE address selected", is_of(client)).await;
        assert_eq!((selected.level, selected.field("remote_address")), (Level::DEBUG, server_address.as_str()));
        assert_eq!(selected.span_names(), ["endpoint", "association"]);
        let hello = log.find("ClientHello", is_of(server)).await;
        assert_eq!(hello.span_field("stranger", "remote_address"), client_address);
        assert_eq!(hello.field("message_seq"), "0");
        for (end, peer, role) in [(client, server, "Active"), (server, client, "Passive")] {
            let attempt = log.find("DTLS handshake attempt", is_of(end)).await;
            assert_eq!((attempt.field("role"), attempt.field("attempt")), (role, "1"));
            log.find("DTLS flight", is_of(end)).await.field("len").parse::<usize>().unwrap();
            let shown = log.find("DTLS certificate", is_of(end)).await;
            assert_eq!(shown.field("is_expected"), "true");
            assert!(print(peer).contains(shown.field("fingerprint")), "{shown:?} is not {}", print(peer));
            assert_eq!(log.find("DTLS connected", is_of(end)).await.field("version"), "Dtls13");
            let established = log.find("association established", is_of(end)).await;
            assert_eq!(established.field("remote_address"), peer.local_address().to_string());
        }
        // The first check after the handshake comes from an address that has none yet.
        let check = log.find("ICE check", |event| is_of(server)(event) && event.field("is_new") == "true").await;
        assert_eq!(check.span_field("association", "remote_address"), client_address);

        let (near, _far) = pair.channel("news").await;
        let opened = log.find("channel opened", is_of(server)).await;
        assert_eq!((opened.field("label"), opened.span_names().len()), ("news", 3));
        soon(near.close()).await.unwrap();
        log.find("channel closed", is_of(client)).await;
        soon(pair.a.shutdown()).await.unwrap();
        for end in [client, server] {
            let ended = log.find("association ended", is_of(end)).await;
            assert_eq!(ended.field("reason"), "the association was shut down");
        }
    });
}

#[test]
fn a_wrong_certificate_is_reported_with_its_fingerprint() {
    let (log, _guard) = Log::install(Level::DEBUG);
    runtime().block_on(async {
        let (client, server) = (bind(), bind());
        let other = Identity::generate().unwrap();
        let ticket = Ticket::new([server.local_address()], other.fingerprint()).unwrap();
        soon(client.connect(&ticket)).await.unwrap_err();
        let shown = log.find("DTLS certificate", is_of(&client)).await;
        assert_eq!(shown.field("is_expected"), "false");
        let print = server.identity().unwrap().fingerprint().to_string();
        assert!(print.contains(shown.field("fingerprint")), "{shown:?} is not {print}");
        let failed = log.find("DTLS failed", is_of(&client)).await;
        assert!(failed.field("failure").contains("another fingerprint"), "{failed:?}");
        let ended = log.find("association ended", is_of(&client)).await;
        assert_eq!((ended.level, ended.field("was_established")), (Level::INFO, "false"));
        assert!(ended.field("reason").contains("certificate"), "{ended:?}");
        let refused = log.find("a peer has refused this endpoint: it may have an old ticket", is_of(&server)).await;
        assert_eq!(refused.span_field("stranger", "remote_address"), client.local_address().to_string());
    });
}

#[test]
fn a_peer_that_goes_silent_and_datagrams_of_strangers_are_reported_with_the_reason() {
    let (log, _guard) = Log::install(Level::DEBUG);
    runtime().block_on(async {
        let mut config = Config::default();
        config.association.association_max_retransmits = Some(2);
        (config.association.rto_min, config.association.rto_initial, config.association.rto_max) =
            (Duration::from_millis(20), Duration::from_millis(50), Duration::from_millis(100));
        let client = builder().config(config).build().unwrap();
        let server = bind();
        let relay = Relay::to(server.local_address()).await;
        let ticket = Ticket::new([relay.address], server.identity().unwrap().fingerprint()).unwrap();
        let pair = Pair::by(client, server, &ticket).await;
        let (near, _far) = pair.channel("news").await;
        relay.rule(|_, _| false);
        near.send("hello").await.unwrap();
        soon(pair.a.closed()).await;
        let ended = log.find("association ended", is_of(&pair.client)).await;
        assert_eq!((ended.level, ended.field("was_established")), (Level::WARN, "true"));
        assert!(ended.field("reason").starts_with("the peer became unreachable"), "{ended:?}");
        let closed = log.find("channel closed", is_of(&pair.client)).await;
        assert!(closed.field("error").contains("unreachable"), "{closed:?}");

        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        for (datagram, reason) in
            [(&[0; 20][..], "bad_stun"), (&[23, 254, 253, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0][..], "stray_dtls")]
        {
            stranger.send_to(datagram, pair.server.local_address()).unwrap();
            let dropped = log.find("dropped", |event| event.field("reason") == reason).await;
            assert_eq!(dropped.level, Level::DEBUG);
            assert!(is_of(&pair.server)(&dropped), "{dropped:?}");
        }
    });
}

/// Everything is logged, and the secrets of both ways in are searched for.
#[test]
fn no_password_and_no_key_is_in_the_log() {
    let (log, _guard) = Log::install(Level::TRACE);
    runtime().block_on(async {
        let (offerer, answerer) = (bind(), bind());
        let offer = offerer.offer().unwrap();
        let mut secrets = passwords(offer.sdp());
        // The peer of this answer never connects. A full agent would not say that it is lite.
        let answer = answerer.answer(&offer.sdp().replace("a=ice-lite\r\n", "")).unwrap();
        secrets.extend(passwords(&answer.sdp));
        drop((offer, answer));

        // The user name of a check by ticket has the passwords of both ends in it.
        let (client, server) = (bind(), bind());
        let relay = Relay::to(server.local_address()).await;
        let names = Arc::new(Mutex::new(BTreeSet::new()));
        let seen = Arc::clone(&names);
        relay.rule(move |_, datagram| {
            seen.lock().unwrap().extend(user_names(datagram));
            true
        });
        let ticket = Ticket::new([relay.address], server.identity().unwrap().fingerprint()).unwrap();
        let pair = Pair::by(client, server, &ticket).await;
        let (near, far) = pair.channel("news").await;
        near.send("a text that nobody else may read").await.unwrap();
        soon(far.recv()).await.unwrap().unwrap();
        secrets.push("a text that nobody else may read".to_owned());
        for endpoint in [&offerer, &answerer, &pair.client, &pair.server] {
            secrets.extend(private_key(&endpoint.identity().unwrap().to_pem().unwrap()));
        }
        soon(pair.a.shutdown()).await.unwrap();
        let names = names.lock().unwrap().clone();
        assert!(!names.is_empty(), "the client has checked");
        secrets.extend(names);
        let text = log.text();
        assert!(text.len() > 4000 && secrets.len() >= 12, "{} bytes, {} secrets", text.len(), secrets.len());
        for secret in secrets {
            assert!(secret.len() >= 8 && !text.contains(&secret), "`{secret}` is in the log");
        }
    });
}

/// A private key as lines of PEM, in hexadecimal, and as Rust prints bytes.
fn private_key(pem: &str) -> Vec<String> {
    let (_, rest) = pem.split_once("-----BEGIN PRIVATE KEY-----").unwrap();
    let (text, _) = rest.split_once("-----END PRIVATE KEY-----").unwrap();
    let bytes = Base64::decode_vec(&text.split_whitespace().collect::<String>()).unwrap();
    // The scalar is in there, behind what all keys have in common.
    let scalar = &bytes[36..68];
    let printed = format!("{scalar:?}");
    let mut found: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
    found.push(scalar.iter().map(|byte| format!("{byte:02x}")).collect());
    found.push(scalar.iter().map(|byte| format!("{byte:02X}")).collect());
    found.push(printed[1..printed.len() - 1].to_owned());
    found
}

/// The two halves of the USERNAME in a STUN message (RFC 8489 §14.3).
fn user_names(datagram: &[u8]) -> Vec<String> {
    let mut attributes = if datagram.first() == Some(&0) { &datagram[20..] } else { &[] };
    while let [0, kind, high, low, rest @ ..] = attributes {
        let len = usize::from(*high) << 8 | usize::from(*low);
        if *kind == 6 {
            return String::from_utf8_lossy(&rest[..len]).split(':').map(str::to_owned).collect();
        }
        attributes = &rest[len.next_multiple_of(4)..];
    }
    Vec::new()
}

/// The ICE passwords of a description.
fn passwords(sdp: &str) -> Vec<String> {
    let found: Vec<_> = sdp.lines().filter_map(|line| line.strip_prefix("a=ice-pwd:").map(str::to_owned)).collect();
    assert!(!found.is_empty(), "{sdp}");
    found
}
