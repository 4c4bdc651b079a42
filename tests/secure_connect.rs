//! Rust to Rust over DTLS, with a ticket.
#![expect(clippy::let_underscore_must_use, reason = "some results make no difference to a test")]

mod secure;

use std::time::Duration;

use narrowboat::error::{CloseReason, ConnectError, TransportFailure};
use narrowboat::{DtlsVersion, Endpoint, Identity, Ticket};
use secure::{Pair, bind, builder, pattern, soon, transfer};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_is_all_that_a_client_needs() {
    let pair = Pair::new().await;
    let (near, far) = pair.channel("greetings").await;
    near.send("hello").await.unwrap();
    assert_eq!(soon(far.recv()).await.unwrap().unwrap().as_text(), Some("hello"));
    far.send("good day").await.unwrap();
    assert_eq!(soon(near.recv()).await.unwrap().unwrap().as_text(), Some("good day"));
    assert_eq!(pair.a.peer_fingerprint(), Some(pair.server.identity().unwrap().fingerprint()));
    assert_eq!(pair.b.peer_fingerprint(), Some(pair.client.identity().unwrap().fingerprint()));
    assert_eq!(pair.a.security().unwrap().version, DtlsVersion::Dtls13);
    assert_eq!(pair.a.remote_address(), pair.server.local_address());
    assert_eq!(pair.b.remote_address(), pair.client.local_address());
    soon(near.close()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_text_of_a_ticket_and_its_multiaddress_do_as_well() {
    let server = bind();
    let ticket = server.ticket().unwrap();
    for text in [ticket.to_string(), ticket.multiaddrs().next().unwrap()] {
        let client = bind();
        let (association, incoming) = soon(async { tokio::join!(client.connect(&text), server.accept()) }).await;
        association.unwrap().abort("enough");
        drop(incoming);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_mebibytes_pass_both_ways_at_once_in_either_version() {
    for version in [DtlsVersion::Dtls12, DtlsVersion::Dtls13] {
        let pair = Pair::of(bind(), builder().only_dtls(version).build().unwrap()).await;
        assert_eq!(pair.b.security().unwrap().version, version);
        let (up, up_far) = pair.channel("up").await;
        let (down_far, down) = pair.channel("down").await;
        soon(async {
            tokio::join!(transfer(&up, &up_far, 16 << 20, 64 << 10), transfer(&down, &down_far, 16 << 20, 64 << 10))
        })
        .await;
        assert!(pair.client.stats().socket.send_calls < pair.client.stats().socket.datagrams_sent, "batches are kept");
    }
}

/// In DTLS 1.3 the server learns of the refusal with the last message of the handshake, before there is an association.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k07_a_wrong_certificate_is_refused_before_a_packet_is_taken_and_both_ends_know_why() {
    for version in [DtlsVersion::Dtls12, DtlsVersion::Dtls13] {
        let server = builder().only_dtls(version).build().unwrap();
        let wrong = Identity::generate().unwrap().fingerprint();
        let ticket = Ticket::new([server.local_address()], wrong).unwrap();
        let client = bind();
        let error = soon(client.connect(&ticket)).await.unwrap_err();
        let ConnectError::Closed { reason, .. } = &error else { panic!("{error}") };
        assert_eq!(*reason, CloseReason::Transport(TransportFailure::WrongCertificate));
        if version == DtlsVersion::Dtls13 {
            soon(async {
                while server.stats().secure.refused_by_peers == 0 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
            .await;
            assert_eq!(server.stats().associations, 0);
            continue;
        }
        let error = soon(async { server.accept().await.unwrap().await }).await.unwrap_err();
        let ConnectError::Closed { reason, .. } = &error else { panic!("{error}") };
        assert_eq!(*reason, CloseReason::Transport(TransportFailure::RefusedByPeer));
    }
}

#[tokio::test]
async fn what_does_not_fit_the_endpoint_is_one_clear_sentence() {
    let (plain, secure) = (Endpoint::bind("127.0.0.1:0").unwrap(), bind());
    let error = plain.connect(&secure.ticket().unwrap()).await.unwrap_err();
    assert!(matches!(error, ConnectError::IdentityNeeded), "{error}");
    let error = secure.connect(plain.local_address()).await.unwrap_err();
    assert!(matches!(error, ConnectError::TicketNeeded(_)), "{error}");
    assert!(plain.ticket().is_err() && plain.identity().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_above_what_an_undescribed_peer_takes_is_an_error_and_the_channel_lives_on() {
    let pair = Pair::new().await;
    let (near, far) = pair.channel("sizes").await;
    let max = pair.b.max_message_size();
    assert_eq!(max, 262_144);
    let error = far.send(pattern(max + 1, 0)).await.unwrap_err();
    assert_eq!(error, narrowboat::error::SendError::TooLarge { len: max + 1, max });
    far.send(pattern(max, 0)).await.unwrap();
    assert_eq!(soon(near.recv()).await.unwrap().unwrap().as_bytes().len(), max);
}
