//! Dialling to all kinds of targets: each case has an outcome that a user expects, in a time that a user accepts.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::unwrap_used, reason = "a test may fail this way")]

mod api;

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use api::soon;
use narrowboat::error::{CloseReason, ConnectError};
use narrowboat::{Config, Endpoint};

fn bind() -> Endpoint {
    Endpoint::bind("127.0.0.1:0").unwrap()
}

fn wildcard() -> Endpoint {
    Endpoint::bind("0.0.0.0:0").unwrap()
}

#[tokio::test]
async fn an_address_at_which_nobody_can_be_is_refused_at_once() {
    let any = wildcard();
    let port = any.local_address().port();
    type Expected = fn(&ConnectError) -> bool;
    let rows: [(String, Expected); 9] = [
        ("0.0.0.0:4433".into(), |e| matches!(e, ConnectError::Unspecified(_))),
        ("[::]:4433".into(), |e| matches!(e, ConnectError::Unspecified(_))),
        ("[::ffff:0.0.0.0]:4433".into(), |e| matches!(e, ConnectError::Unspecified(_))),
        ("127.0.0.1:0".into(), |e| matches!(e, ConnectError::NoPeer(_))),
        ("224.0.0.1:4433".into(), |e| matches!(e, ConnectError::NoPeer(_))),
        ("[ff02::1]:4433".into(), |e| matches!(e, ConnectError::NoPeer(_))),
        ("[fe80::1]:4433".into(), |e| matches!(e, ConnectError::ScopeNeeded(_))),
        (format!("127.0.0.1:{port}"), |e| matches!(e, ConnectError::Itself(_))),
        ("127.0.0.1:99999".into(), |e| matches!(e, ConnectError::Address { .. })),
    ];
    for (target, expected) in rows {
        let started = Instant::now();
        let error = soon(any.connect(target.as_str())).await.unwrap_err();
        assert!(expected(&error), "{target}: {error}");
        assert!(started.elapsed() < Duration::from_secs(5), "{target} took {:?}", started.elapsed());
    }
    // An interface by its name is understood; on loopback there is no such neighbour.
    let error = soon(any.connect("[fe80::1%lo]:4433")).await.unwrap_err();
    assert!(!matches!(error, ConnectError::Address { .. }), "{error}");
    let one = bind();
    assert!(matches!(one.dial(one.local_address()), Err(ConnectError::Itself(_))));
}

#[tokio::test]
async fn the_next_address_is_tried_after_a_quarter_of_a_second() {
    let (client, server) = (wildcard(), bind());
    let silent: Vec<UdpSocket> = (0..3).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    let mut addresses: Vec<SocketAddr> = silent.iter().map(|socket| socket.local_addr().unwrap()).collect();
    addresses.push(server.local_address());
    let started = Instant::now();
    let (association, incoming) =
        soon(async { tokio::join!(client.connect(addresses.as_slice()), server.accept()) }).await;
    assert_eq!(association.unwrap().remote_address(), server.local_address());
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(700) && took < Duration::from_secs(5), "it took {took:?}");
    drop(incoming);
    // The other attempts were abandoned.
    soon(client.wait_idle()).await;
    // One that fails is not waited for.
    let unreachable: SocketAddr = "240.0.0.1:9".parse().unwrap();
    let loopback = bind();
    let started = Instant::now();
    let targets = [unreachable, server.local_address()];
    let (association, _incoming) =
        soon(async { tokio::join!(loopback.connect(targets.as_slice()), server.accept()) }).await;
    association.unwrap();
    assert!(started.elapsed() < Duration::from_millis(240), "it took {:?}", started.elapsed());
}

#[tokio::test]
async fn two_ends_that_dial_each_other_at_once_have_one_association() {
    for _ in 0..20 {
        let (one, other) = (bind(), bind());
        let (there, here) =
            soon(async { tokio::join!(one.connect(other.local_address()), other.connect(one.local_address())) }).await;
        let (there, here) = (there.unwrap(), here.unwrap());
        assert_eq!((one.stats().associations, other.stats().associations), (1, 1));
        soon(there.shutdown()).await.unwrap();
        assert_eq!(soon(here.closed()).await, CloseReason::Shutdown);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_peer_can_be_dialled_right_after_an_abort() {
    let (client, server) = (bind(), bind());
    let address = server.local_address();
    let serving = server.clone();
    tokio::spawn(async move {
        while let Some(incoming) = serving.accept().await {
            tokio::spawn(async move {
                let association = incoming.await?;
                association.closed().await;
                Ok::<_, ConnectError>(())
            });
        }
    });
    for round in 0..50 {
        let started = Instant::now();
        let association = soon(client.connect(address)).await.unwrap_or_else(|error| panic!("round {round}: {error}"));
        association.abort("again");
        if round % 2 == 0 {
            soon(association.closed()).await;
        }
        assert!(started.elapsed() < Duration::from_secs(5), "round {round} took {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn a_second_association_with_one_address_is_refused_with_the_reason() {
    let (client, server) = (bind(), bind());
    let _first = client.dial(server.local_address()).unwrap();
    let error = client.dial(server.local_address()).unwrap_err();
    assert!(matches!(error, ConnectError::AlreadyConnected(_)), "{error}");
    assert!(error.to_string().contains("could not be told from those of a second one"), "{error}");
}

#[tokio::test]
async fn a_service_that_is_full_for_an_address_says_so() {
    let config = Config { associations_per_address_max: 1, ..Config::default() };
    let server = Endpoint::builder().bind("127.0.0.1:0").config(config).accept_plain().build().unwrap();
    let (first, second) = (bind(), bind());
    let _kept = soon(first.connect(server.local_address())).await.unwrap();
    let error = soon(second.connect(server.local_address())).await.unwrap_err();
    assert!(error.to_string().contains("it is full, in total or for this address; try again later"), "{error}");
}
