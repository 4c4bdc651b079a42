//! Endpoints: many associations on one socket, limits, refusals, and all that the network may send to a socket.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::let_underscore_must_use, reason = "some results make no difference to a test")]

mod api;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use api::{Pair, numbered, soon};
use narrowboat::error::{BindError, CloseReason, ConnectError};
use narrowboat::{Config, Endpoint, Message, PacketDropReason};

fn bind() -> Endpoint {
    Endpoint::bind("127.0.0.1:0").expect("a port on loopback")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_socket_serves_many_peers_and_dials_others() {
    let server = bind();
    let serving = server.clone();
    let echo = tokio::spawn(async move {
        while let Some(incoming) = serving.accept().await {
            tokio::spawn(async move {
                let association = incoming.await.unwrap();
                while let Some(channel) = association.accept_channel().await {
                    while let Some(Ok(message)) = channel.recv().await {
                        channel.send(message).await.unwrap();
                    }
                }
            });
        }
    });
    let mut clients = tokio::task::JoinSet::new();
    for n in 0..50 {
        let address = server.local_address();
        clients.spawn(async move {
            let client = bind();
            let channel = client.connect(address).await.unwrap().create_channel("echo").unwrap();
            for message in [numbered(n, 5), numbered(n, 50_000)] {
                channel.send(message.clone()).await.unwrap();
                assert_eq!(channel.recv().await.unwrap().unwrap(), Message::Binary(message));
            }
            channel.close().await.unwrap();
        });
    }
    let other = bind();
    let (association, incoming) = tokio::join!(server.connect(other.local_address()), other.accept());
    assert_eq!(association.unwrap().remote_address(), other.local_address());
    drop(incoming);
    soon(clients.join_all()).await;
    soon(server.wait_idle()).await;
    server.close();
    soon(echo).await.unwrap();
    assert_eq!(server.stats().associations, 0);
}

#[tokio::test]
async fn more_associations_than_the_queue_holds_are_refused_and_counted() {
    let server = Endpoint::builder()
        .bind("127.0.0.1:0")
        .accept_plain()
        .config(Config { accept_queue_max: 2, ..Config::default() })
        .build()
        .unwrap();
    let clients: Vec<_> = (0..4).map(|_| bind()).collect();
    let mut refused = 0;
    let mut kept = Vec::new();
    for client in &clients {
        let association = client.dial(server.local_address()).unwrap();
        match soon(association.connected()).await {
            Ok(()) => {}
            Err(ConnectError::Closed { .. }) => {}
            Err(other) => panic!("{other}"),
        }
        kept.push(association);
    }
    for association in &kept[2..] {
        assert!(matches!(soon(association.closed()).await, CloseReason::PeerAbort { .. }));
        refused += 1;
    }
    assert_eq!(server.stats().refused, refused);
    for _ in 0..2 {
        soon(server.accept()).await.unwrap().await.unwrap();
    }
}

#[tokio::test]
async fn an_association_that_is_refused_is_aborted() {
    let (client, server) = (bind(), bind());
    let (association, incoming) =
        soon(async { tokio::join!(client.connect(server.local_address()), server.accept()) }).await;
    incoming.unwrap().refuse();
    let reason = soon(association.unwrap().closed()).await;
    assert!(matches!(&reason, CloseReason::PeerAbort { text, .. } if text == "refused"), "{reason}");
}

#[tokio::test]
async fn an_endpoint_that_does_not_accept_has_no_incoming() {
    let server = Endpoint::builder().bind("127.0.0.1:0").build().unwrap();
    let client = bind();
    let outcome = soon(client.connect(server.local_address())).await;
    assert!(matches!(outcome, Err(ConnectError::Closed { reason: CloseReason::PeerAbort { .. }, .. })), "{outcome:?}");
}

#[tokio::test]
async fn closing_an_endpoint_ends_everything_in_order() {
    let pair = Pair::new().await;
    let (near, far) = pair.channel("last words").await;
    near.send("last words").await.unwrap();
    pair.client.close();
    assert_eq!(soon(far.recv()).await.unwrap().unwrap(), Message::from("last words"));
    assert_eq!(soon(pair.b.closed()).await, CloseReason::Shutdown);
    assert_eq!(soon(far.recv()).await, None);
    soon(pair.client.wait_idle()).await;
    assert!(pair.client.accept().await.is_none());
    assert!(matches!(pair.client.dial(pair.server.local_address()), Err(ConnectError::EndpointClosed)));
}

#[tokio::test]
async fn aborting_an_endpoint_ends_everything_at_once() {
    let pair = Pair::new().await;
    pair.client.abort("power cut");
    let reason = soon(pair.b.closed()).await;
    assert!(matches!(&reason, CloseReason::PeerAbort { text, .. } if text == "power cut"), "{reason}");
    soon(pair.client.wait_idle()).await;
}

#[tokio::test]
async fn the_port_is_free_again_when_the_last_association_has_ended() {
    let Pair { client, server, a, b } = Pair::new().await;
    let address = server.local_address();
    drop(server);
    assert!(matches!(Endpoint::bind(address), Err(BindError::PortTaken(taken)) if taken == address));
    // The association goes on without its endpoint's handle.
    let channel = a.create_channel("goes on").unwrap();
    assert_eq!(soon(b.accept_channel()).await.unwrap().label(), "goes on");
    drop((a, b, channel));
    soon(client.wait_idle()).await;
    soon(async {
        while Endpoint::bind(address).is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_bound_or_reached_is_one_clear_sentence() {
    assert!(matches!(Endpoint::bind("192.0.2.1:0"), Err(BindError::NotLocal(_))));
    assert!(matches!(Endpoint::bind("boat"), Err(BindError::Address(_))));
    let config = Config { accept_queue_max: 0, ..Config::default() };
    assert!(
        matches!(Endpoint::builder().config(config).build(), Err(BindError::Config(error)) if error.field == "accept_queue_max")
    );
    assert!(std::thread::spawn(|| matches!(Endpoint::bind("127.0.0.1:0"), Err(BindError::NoRuntime))).join().unwrap());

    let (client, server) = (bind(), bind());
    assert!(matches!(client.connect("boat").await, Err(ConnectError::Address { .. })));
    assert!(matches!(client.connect("[::1]:9").await, Err(ConnectError::AddressFamily(_))));
    // The system refuses broadcast at once, unless the program has asked for permission.
    let error = soon(client.connect("255.255.255.255:9")).await.unwrap_err();
    assert!(matches!(error, ConnectError::NoRoute { .. }), "{error}");
    assert!(client.stats().socket.send_errors_unreachable > 0);
    let _first = client.dial(server.local_address()).unwrap();
    assert!(matches!(client.dial(server.local_address()), Err(ConnectError::AlreadyConnected(_))));

    let full = Endpoint::builder().bind("127.0.0.1:0").max_associations(1).build().unwrap();
    let _first = full.dial(server.local_address()).unwrap();
    assert!(matches!(full.dial(client.local_address()), Err(ConnectError::TooManyAssociations)));
}

#[tokio::test]
async fn an_ipv6_endpoint_reaches_ipv4_peers() {
    // A machine without IPv6 has nothing to show here.
    let Ok(client) = Endpoint::bind("[::]:0") else { return };
    let server = bind();
    let (association, incoming) =
        soon(async { tokio::join!(client.connect(server.local_address()), server.accept()) }).await;
    let association = association.unwrap();
    assert_eq!(association.remote_address(), server.local_address());
    assert_eq!(incoming.unwrap().remote_address().ip(), Ipv4Addr::LOCALHOST);
}

/// The answers come from the address that the peer has written to, for all bound addresses.
#[tokio::test]
async fn a_wildcard_endpoint_answers_from_the_address_it_was_asked_at() {
    let server = Endpoint::bind("0.0.0.0:0").unwrap();
    let client = bind();
    let address = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), server.local_address().port()));
    let (association, incoming) = soon(async { tokio::join!(client.connect(address), server.accept()) }).await;
    assert_eq!(association.unwrap().remote_address(), address);
    drop(incoming);
}

#[tokio::test]
async fn i03_garbage_of_every_size_is_counted_and_harms_nobody() {
    let pair = Pair::new().await;
    let (near, far) = pair.channel("survivor").await;
    let noise = UdpSocket::bind("127.0.0.1:0").unwrap();
    // Receive offload joins neighbours of equal size; datagrams of other sizes end a batch.
    let sizes = [0, 1, 11, 12, 16, 1200, 1200, 1200, 700, 1473, 9000, 65_507, 1200, 1200, 3];
    for size in sizes {
        noise.send_to(&vec![0x5a; size], pair.server.local_address()).unwrap();
    }
    soon(async {
        while pair.server.stats().drops.total() < sizes.len() as u64 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let drops = pair.server.stats().drops;
    assert_eq!(drops.total(), sizes.len() as u64);
    let (too_short, others) = sizes.iter().partition::<Vec<usize>, _>(|size| **size < 16);
    assert_eq!(drops.count(PacketDropReason::BadPacket), too_short.len() as u64);
    assert_eq!(drops.count(PacketDropReason::WrongPorts), others.len() as u64);
    near.send("unharmed").await.unwrap();
    assert_eq!(soon(far.recv()).await.unwrap().unwrap(), Message::from("unharmed"));
    assert_eq!(pair.server.stats().associations, 1);
}

#[tokio::test]
async fn i03_an_endpoint_survives_a_peer_that_nobody_is_at() {
    let client = bind();
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let association = client.dial(nobody).unwrap();
    soon(async {
        while client.stats().socket.datagrams_sent == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let server = bind();
    soon(client.connect(server.local_address())).await.unwrap();
    drop(association);
    soon(client.wait_idle()).await;
}

#[tokio::test]
async fn i03_packets_of_every_allowed_size_pass() {
    for mtu in [576, 1200, 1473, 9000, 65_487] {
        let mut config = Config::default();
        config.association.mtu = mtu;
        let pair = Pair::with(config).await;
        let (near, far) = pair.channel("mtu").await;
        let message = numbered(1, 500_000);
        near.send(message.clone()).await.unwrap();
        assert_eq!(soon(far.recv()).await.unwrap().unwrap(), Message::Binary(message), "mtu {mtu}");
    }
}

#[tokio::test]
async fn h09_a_peer_that_comes_back_without_its_memory_is_noticed_at_once() {
    let (client, server) = (bind(), bind());
    let address = server.local_address();
    let elsewhere = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let accepted = elsewhere.spawn(async move { server.accept().await.unwrap().await.unwrap() });
    let association = soon(client.connect(address)).await.unwrap();
    let channel = association.create_channel("old").unwrap();
    soon(channel.opened()).await.unwrap();
    drop(soon(accepted).await.unwrap());
    elsewhere.shutdown_background();

    let server = soon(async {
        loop {
            match Endpoint::bind(address) {
                Ok(server) => return server,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    })
    .await;
    let _ = channel.send("hello?").await;
    soon(association.closed()).await;
    soon(client.wait_idle()).await;
    let (again, incoming) = soon(async { tokio::join!(client.connect(address), server.accept()) }).await;
    again.unwrap();
    drop(incoming);
}
