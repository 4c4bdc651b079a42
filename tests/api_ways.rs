//! Ways in: none is open that was not asked for, and `Incoming` tells which one a peer took.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::let_underscore_must_use, reason = "some results make no difference to a test")]

mod secure;

use narrowboat::error::{BindError, CloseReason, ConnectError, SignalError};
use narrowboat::{Endpoint, Identity, Ticket, WayIn};
use secure::{bind, builder, soon};

fn identity() -> Identity {
    Identity::generate().expect("an identity")
}

/// Otherwise authentication in front of the answers would protect nothing: anyone who has seen an answer knows the
/// hash.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_was_not_asked_to_takes_nobody_with_a_ticket() {
    let server = Endpoint::builder().bind("127.0.0.1:0").identity(identity()).build().unwrap();
    assert!(matches!(server.ticket(), Err(SignalError::DirectNotAccepted)));
    let ticket = Ticket::new([server.local_address()], server.identity().unwrap().fingerprint()).unwrap();
    let error = soon(bind().connect(ticket)).await.unwrap_err();
    let ConnectError::Closed { reason: CloseReason::Transport(_), .. } = &error else { panic!("{error}") };
    assert!(error.to_string().contains("does not take connections by ticket"), "{error}");
    assert_eq!(server.stats().associations, 0);
}

#[tokio::test]
async fn an_endpoint_that_was_not_asked_to_takes_nobody_over_plain_udp() {
    let server = Endpoint::builder().bind("127.0.0.1:0").build().unwrap();
    let client = Endpoint::builder().bind("127.0.0.1:0").build().unwrap();
    assert!(soon(client.connect(server.local_address())).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn incoming_tells_which_way_a_peer_came() {
    let (client, server) = (bind(), builder().build().unwrap());
    let ticket = server.ticket().unwrap();
    let (association, incoming) = soon(async { tokio::join!(client.connect(ticket), server.accept()) }).await;
    assert_eq!(incoming.unwrap().way(), WayIn::Direct);
    drop(association);
    let (client, server) = (
        Endpoint::bind("127.0.0.1:0").unwrap(),
        Endpoint::builder().bind("127.0.0.1:0").accept_plain().build().unwrap(),
    );
    let connecting = client.connect(server.local_address());
    let (association, incoming) = soon(async { tokio::join!(connecting, server.accept()) }).await;
    assert_eq!(incoming.unwrap().way(), WayIn::Plain);
    drop(association);
}

#[tokio::test]
async fn a_way_that_does_not_fit_the_endpoint_is_one_clear_sentence() {
    let plain = Endpoint::builder().bind("127.0.0.1:0").identity(identity()).accept_plain().build();
    assert!(matches!(plain, Err(BindError::PlainWithIdentity)));
    let direct = Endpoint::builder().bind("127.0.0.1:0").accept_direct().build();
    assert!(matches!(direct, Err(BindError::IdentityNeeded)));
}
