//! Ways in: each is closed unless the builder, or the call that answers an offer, has asked for it; `Incoming` names
//! it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::config::Config;
use crate::endpoint::tests::soon;
use crate::endpoint::{Endpoint, WayIn};
use crate::error::SignalError;
use crate::handle::Association;
use crate::webrtc::direct::ClientCredentials;
use crate::webrtc::dtls::ExpectedPeer;
use crate::webrtc::ice::Credentials;
use crate::webrtc::{CertificateHash, Identity, Ticket};

/// Options with which a server is built.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Built {
    /// Without identity, and without a way in.
    Nothing,
    Plain,
    /// With an identity, and without a way in but answers.
    Identity,
    Direct,
}

/// Way in which a client tries to connect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Attempt {
    /// Over plain UDP.
    Plain,
    /// With a ticket that names the server's address and certificate.
    Ticket,
    /// By an offer that `answer_for_accept` has answered.
    AnsweredOffer,
    /// By an offer that `answer` has answered: the caller has the association, so that `accept` does not return it.
    AnsweredToTheCaller,
    /// With credentials that the server has given to nobody.
    Forged,
}

fn server(built: Built) -> Endpoint {
    let builder = Endpoint::builder().bind("127.0.0.1:0");
    let identity = || Identity::generate().expect("an identity");
    match built {
        Built::Nothing => builder,
        Built::Plain => builder.accept_plain(),
        Built::Identity => builder.identity(identity()),
        Built::Direct => builder.identity(identity()).accept_direct(),
    }
    .build()
    .expect("a port on loopback")
}

fn client(attempt: Attempt) -> Endpoint {
    let mut config = Config::default();
    // An INIT that nobody answers is soon repeated.
    config.association.rto_initial = config.association.rto_min;
    let builder = Endpoint::builder().bind("127.0.0.1:0").config(config);
    match attempt {
        Attempt::Plain => builder,
        _ => builder.identity(Identity::generate().expect("an identity")),
    }
    .build()
    .expect("a port on loopback")
}

/// Dials as a client that checks a peer which it knows by signalling, as browsers do.
pub(super) fn dial_by_answer(client: &Endpoint, local: Credentials, answer: &str, server: &Endpoint) -> Association {
    let value = |name: &str| {
        let line = answer.lines().find_map(|line| line.strip_prefix(name));
        line.expect("a line of the answer").trim().to_owned()
    };
    let remote = Credentials::new(&value("a=ice-ufrag:"), &value("a=ice-pwd:")).expect("credentials");
    let hash = CertificateHash::Sha256(server.identity().expect("an identity").fingerprint().to_bytes());
    let expected = ExpectedPeer::Fingerprints(vec![hash]);
    let credentials = ClientCredentials { local, remote };
    let shared = client.core.connect_secure(&[server.local_address()], credentials, expected).expect("dialled");
    Association::new(Arc::clone(&shared))
}

/// Returns the offer of a client with these credentials.
pub(super) fn offer(client: &Endpoint, local: &Credentials) -> String {
    let fingerprint = client.identity().expect("an identity").fingerprint();
    format!(
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
         m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\n\
         a=fingerprint:{fingerprint}\r\na=setup:actpass\r\na=mid:0\r\na=sctp-port:5000\r\n",
        local.ufrag(),
        local.pwd(),
    )
}

pub(super) fn credentials(endpoint: &Endpoint) -> Credentials {
    Credentials::generate(endpoint.core.routes().server().expect("an identity").rng())
}

/// Begins the attempt. The second association is the server's end, if its caller has it.
fn dial(attempt: Attempt, client: &Endpoint, server: &Endpoint) -> Result<(Association, Option<Association>), String> {
    let address = server.local_address();
    match attempt {
        Attempt::Plain => client.dial(address).map(|association| (association, None)).map_err(|e| e.to_string()),
        Attempt::Ticket => {
            let identity = server.identity().cloned().unwrap_or_else(|| Identity::generate().expect("an identity"));
            let ticket = Ticket::new([address], identity.fingerprint()).expect("a ticket");
            client.dial(ticket).map(|association| (association, None)).map_err(|e| e.to_string())
        }
        Attempt::AnsweredOffer | Attempt::AnsweredToTheCaller => {
            let local = credentials(client);
            let offer = offer(client, &local);
            let answered = match attempt {
                Attempt::AnsweredOffer => server.answer_for_accept(&offer).map(|sdp| (sdp, None)),
                _ => server.answer(&offer).map(|answer| (answer.sdp, Some(answer.association))),
            };
            match answered {
                Ok((sdp, end)) => Ok((dial_by_answer(client, local, &sdp, server), end)),
                Err(SignalError::IdentityNeeded) => Err("no identity".to_owned()),
                Err(error) => panic!("{attempt:?}: {error}"),
            }
        }
        Attempt::Forged => {
            let forged = ClientCredentials { local: credentials(client), remote: credentials(client) };
            let shared = client.core.connect_secure(&[address], forged, ExpectedPeer::Anyone);
            shared.map(|shared| (Association::new(shared), None)).map_err(|e| e.to_string())
        }
    }
}

/// Waits until the server has handled a datagram of the attempt (the next one has arrived) or has refused the attempt.
async fn server_has_looked(server: &Endpoint, attempt: &Association) {
    let has_ended = || pin!(attempt.closed()).poll(&mut Context::from_waker(Waker::noop())).is_ready();
    let is_over = || server.stats().socket.datagrams_received >= 2 || has_ended();
    while !is_over() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn nothing_gets_in_by_a_way_that_was_not_asked_for_and_incoming_names_the_way() {
    use Attempt::{AnsweredOffer, AnsweredToTheCaller, Forged, Plain, Ticket};
    for (built, open) in [
        (Built::Nothing, vec![]),
        (Built::Plain, vec![(Plain, Some(WayIn::Plain))]),
        (Built::Identity, vec![(AnsweredOffer, Some(WayIn::AnsweredOffer)), (AnsweredToTheCaller, None)]),
        (
            Built::Direct,
            vec![
                (AnsweredOffer, Some(WayIn::AnsweredOffer)),
                (AnsweredToTheCaller, None),
                (Ticket, Some(WayIn::Direct)),
            ],
        ),
    ] {
        for attempt in [Plain, Ticket, AnsweredOffer, AnsweredToTheCaller, Forged] {
            let case = format!("{attempt:?} at an endpoint that was built with {built:?}");
            let (client, server) = (client(attempt), server(built));
            let way = open.iter().find(|(is_open, _)| *is_open == attempt).map(|(_, way)| *way);
            let (near, far) = match dial(attempt, &client, &server) {
                Ok(dialled) => dialled,
                Err(error) => {
                    assert_eq!((error.as_str(), way), ("no identity", None), "{case}");
                    continue;
                }
            };
            match way {
                Some(Some(way)) => {
                    let (connected, incoming) = soon(async { tokio::join!(near.connected(), server.accept()) }).await;
                    connected.unwrap_or_else(|error| panic!("{case}: {error}"));
                    let incoming = incoming.expect("an association");
                    assert_eq!(incoming.way(), way, "{case}");
                    soon(incoming.into_future()).await.unwrap_or_else(|error| panic!("{case}: {error}"));
                }
                Some(None) => {
                    let far = far.expect("the caller has the association");
                    let (near, far) = soon(async { tokio::join!(near.connected(), far.connected()) }).await;
                    near.and(far).unwrap_or_else(|error| panic!("{case}: {error}"));
                }
                None => {
                    soon(server_has_looked(&server, &near)).await;
                    assert!(!near.was_connected(), "{case}");
                    assert_eq!(server.stats().associations, 0, "{case}");
                }
            }
            let waits = pin!(server.accept()).poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(waits, Poll::Pending), "{case}: nobody else comes out of accept");
        }
    }
}
