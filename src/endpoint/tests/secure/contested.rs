//! A peer with signalling that has not connected, and that checks in the name of somebody else's address.

use std::net::SocketAddr;
use std::time::Duration;

use super::ways::{credentials, dial_by_answer, offer};
use crate::endpoint::tests::soon;
use crate::endpoint::{Endpoint, WayIn};
use crate::net::Route;
use crate::webrtc::stun::{Class, Key, StunWriter, TransactionId, Username};
use crate::webrtc::{Identity, Ticket};

fn bind() -> Endpoint {
    let identity = Identity::generate().expect("an identity");
    Endpoint::builder().bind("127.0.0.1:0").identity(identity).accept_direct().build().expect("a port on loopback")
}

/// Returns a check with the credentials of this answer.
fn check(answer: &str) -> Vec<u8> {
    let value = |name: &str| answer.lines().find_map(|line| line.strip_prefix(name)).expect("a line").trim();
    let mut check = Vec::new();
    let username = Username { to: value("a=ice-ufrag:"), from: "forger" };
    let writer = StunWriter::new(&mut check, Class::Request, TransactionId([9; 12])).username(username).priority(1);
    writer.controlling(2).use_candidate().finish(Some(&Key::new(value("a=ice-pwd:"))));
    check
}

/// Sends the check from the socket of `victim` every few milliseconds, as somebody does who forges its address.
async fn forge(victim: &Endpoint, server: SocketAddr, check: &[u8]) {
    loop {
        victim.core.socket.send_answer(Route { remote: server, local: None }, check);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn address_is_held(server: &Endpoint) {
    while server.stats().secure.checks_answered < 3 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k22_a_forged_check_keeps_no_address_from_a_newcomer_who_is_there() {
    for is_direct in [true, false] {
        let (server, forger, newcomer) = (bind(), bind(), bind());
        let answer = server.answer(&offer(&forger, &credentials(&forger))).expect("an answer");
        let check = check(&answer.sdp);
        let attempt = async {
            soon(address_is_held(&server)).await;
            if is_direct {
                let ticket = Ticket::new([server.local_address()], server.identity().expect("one").fingerprint());
                newcomer.connect(ticket.expect("a ticket")).await.expect("connected");
                assert_eq!(server.accept().await.expect("an association").way(), WayIn::Direct);
            } else {
                let local = credentials(&newcomer);
                let own = server.answer(&offer(&newcomer, &local)).expect("an answer");
                let near = dial_by_answer(&newcomer, local, &own.sdp, &server);
                let (near, far) = tokio::join!(near.connected(), own.association.connected());
                near.and(far).expect("connected");
            }
        };
        let attempt = tokio::time::timeout(Duration::from_secs(2), attempt);
        tokio::select! {
            result = attempt => result.unwrap_or_else(|_| panic!("direct: {is_direct}: not connected")),
            () = forge(&newcomer, server.local_address(), &check) => {}
        }
        assert!(!answer.association.was_connected(), "direct: {is_direct}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k22_a_forged_check_does_not_keep_this_end_from_dialling() {
    let (server, forger, newcomer) = (bind(), bind(), bind());
    let answer = server.answer(&offer(&forger, &credentials(&forger))).expect("an answer");
    let check = check(&answer.sdp);
    let attempt = async {
        soon(address_is_held(&server)).await;
        let ticket = Ticket::new([newcomer.local_address()], newcomer.identity().expect("one").fingerprint());
        server.connect(ticket.expect("a ticket")).await.expect("connected");
    };
    let attempt = tokio::time::timeout(Duration::from_secs(2), attempt);
    tokio::select! {
        result = attempt => result.expect("connected"),
        () = forge(&newcomer, server.local_address(), &check) => {}
    }
    assert!(!answer.association.was_connected());
}
