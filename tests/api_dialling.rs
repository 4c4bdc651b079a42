//! Dialling by one end or both, at various times and addresses, over plain UDP and with tickets: each case has one
//! outcome at both ends, in a time that a user accepts.
#![expect(clippy::let_underscore_must_use, reason = "some results make no difference to a test")]
#![expect(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic, reason = "a test may fail this way")]

mod secure;

use std::future::Future;
use std::net::{SocketAddr, UdpSocket};
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use narrowboat::error::{CloseReason, ConnectError, TransportFailure};
use narrowboat::{Association, Endpoint, Identity, Ticket};
use secure::relay::{Direction, Relay};
use secure::soon;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Plain,
    Ticket,
}

use Way::Plain;

const WAYS: [Way; 2] = [Plain, Way::Ticket];

impl Way {
    fn bind(self) -> Endpoint {
        self.bind_to("127.0.0.1:0".parse().unwrap(), &Identity::generate().unwrap()).unwrap()
    }

    fn bind_to(self, address: SocketAddr, identity: &Identity) -> Option<Endpoint> {
        let builder = Endpoint::builder().bind(address);
        match self {
            Plain => builder.accept_plain().build().ok(),
            Way::Ticket => builder.identity(identity.clone()).accept_direct().build().ok(),
        }
    }

    /// The text by which somebody is dialled at an address.
    fn at(self, address: SocketAddr, identity: &Identity) -> String {
        match self {
            Plain => address.to_string(),
            Way::Ticket => Ticket::new([address], identity.fingerprint()).unwrap().to_string(),
        }
    }

    /// The text by which an unknown peer is dialled.
    fn stranger(self, address: SocketAddr) -> String {
        self.at(address, &Identity::generate().unwrap())
    }
}

/// The text by which an endpoint is dialled.
fn target(endpoint: &Endpoint) -> String {
    match endpoint.identity() {
        Some(identity) => Way::Ticket.at(endpoint.local_address(), identity),
        None => endpoint.local_address().to_string(),
    }
}

/// A port of this machine at which nobody listens.
fn closed_port() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn reason(error: &ConnectError) -> &CloseReason {
    match error {
        ConnectError::Closed { reason, .. } => reason,
        other => panic!("{other}"),
    }
}

/// Connects two ends, and returns the association as each sees it.
async fn connect(client: &Endpoint, server: &Endpoint, target: &str) -> (Association, Association) {
    let accepted = async { server.accept().await.unwrap().await.unwrap() };
    let (near, far) = soon(async { tokio::join!(client.connect(target), accepted) }).await;
    (near.unwrap(), far)
}

/// Each end receives the other's messages on a channel of its own.
async fn exchange(one: &Association, other: &Association) {
    for (from, to) in [(one, other), (other, one)] {
        let near = from.create_channel("label").unwrap();
        near.send("message").await.unwrap();
        let Some(far) = soon(to.accept_channel()).await else { panic!("{to:?}: {}", to.closed().await) };
        assert_eq!(soon(far.recv()).await.unwrap().unwrap().as_text(), Some("message"));
        soon(near.close()).await.unwrap();
    }
}

/// Fails if something took longer than its user would wait.
fn at_most(limit: Duration, started: Instant, what: &str) {
    let took = started.elapsed();
    assert!(took < limit, "{what} took {took:?}");
}

/// Dials in both directions before a datagram of either is read, and opens a channel on each association at once: one
/// association comes of it, which both ends have dialled, and each has the other's channel.
async fn cross(way: Way, one: &Endpoint, other: &Endpoint, targets: (&str, &str)) {
    let started = Instant::now();
    let (there, back) = (one.dial(targets.0).unwrap(), other.dial(targets.1).unwrap());
    let mut channels = Vec::new();
    for (association, name) in [(&there, "one"), (&back, "other")] {
        for label in ["first", "second"] {
            let channel = association.create_channel(format!("{label} of {name}").as_str()).unwrap();
            channel.send(name).await.unwrap();
            channels.push(channel);
        }
        // Channels that both ends have negotiated keep their ids.
        let negotiated = narrowboat::ChannelOptions::new("agreed").negotiated(9);
        channels.push(association.create_channel(negotiated).unwrap());
    }
    let (up, up_back) = soon(async { tokio::join!(there.connected(), back.connected()) }).await;
    up.unwrap();
    up_back.unwrap();
    at_most(Duration::from_secs(5), started, "dialling each other");
    for (association, name) in [(&there, "other"), (&back, "one")] {
        for label in ["first", "second"] {
            let channel = soon(association.accept_channel()).await.unwrap();
            assert_eq!(channel.label(), format!("{label} of {name}"), "{way:?}");
            assert_eq!(soon(channel.recv()).await.unwrap().unwrap().as_text(), Some(name));
            channels.push(channel);
        }
    }
    let ids: Vec<u16> = channels.iter().map(narrowboat::DataChannel::id).collect();
    assert_eq!(ids[0] % 2, ids[1] % 2, "{ids:?}");
    assert_ne!(ids[0] % 2, ids[3] % 2, "{ids:?}");
    assert_eq!((ids[2], ids[5]), (9, 9), "{ids:?}");
    channels[2].send("agreed").await.unwrap();
    assert_eq!(soon(channels[5].recv()).await.unwrap().unwrap().as_text(), Some("agreed"));
    assert_eq!((one.stats().associations, other.stats().associations), (1, 1), "{way:?}");
    exchange(&there, &back).await;
    drop(channels);
    soon(there.shutdown()).await.unwrap();
    assert_eq!(soon(back.closed()).await, CloseReason::Shutdown, "{way:?}");
}

#[tokio::test]
async fn two_ends_that_dial_each_other_at_once_have_one_association_and_channels_of_both() {
    for way in WAYS {
        for _ in 0..8 {
            let (one, other) = (way.bind(), way.bind());
            cross(way, &one, &other, (&target(&other), &target(&one))).await;
        }
    }
}

/// The first datagram of one end is lost, as behind two NATs, so that the other does not see that both have dialled.
#[tokio::test]
async fn the_loss_of_either_first_datagram_changes_nothing_when_both_dial() {
    for way in WAYS {
        for lost in [Direction::ToServer, Direction::ToClient] {
            for _ in 0..4 {
                let identities = [Identity::generate().unwrap(), Identity::generate().unwrap()];
                let other = way.bind_to("127.0.0.1:0".parse().unwrap(), &identities[1]).unwrap();
                let one = way.bind_to("127.0.0.1:0".parse().unwrap(), &identities[0]).unwrap();
                // Both speak through the relay from the start.
                let relay = Relay::to(other.local_address()).await;
                relay.set_client(one.local_address());
                let mut is_first = true;
                relay.rule(move |direction, _| direction != lost || !std::mem::take(&mut is_first));
                let there = way.at(relay.address, &identities[1]);
                let back = way.at(relay.outer(), &identities[0]);
                cross(way, &one, &other, (&there, &back)).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_with_an_association_is_refused_until_that_has_ended() {
    for way in WAYS {
        let (client, server) = (way.bind(), way.bind());
        let (there, back) = (target(&server), target(&client));
        for round in 0..4 {
            let (near, far) = connect(&client, &server, &there).await;
            let refused = [client.dial(&there).unwrap_err(), server.dial(&back).unwrap_err()];
            for error in refused {
                assert!(matches!(error, ConnectError::AlreadyConnected(_)), "{way:?}: {error}");
                assert!(error.to_string().ends_with("open another channel on it, or use another endpoint"), "{error}");
            }
            exchange(&near, &far).await;
            match round {
                0 => drop(near.shutdown()),
                1 => drop(far.shutdown()),
                2 => near.abort("enough"),
                _ => far.abort("enough"),
            }
            soon(async { tokio::join!(near.closed(), far.closed()) }).await;
        }
        let (near, _far) = connect(&server, &client, &back).await;
        assert_eq!(near.remote_address(), client.local_address());
    }
}

/// The first attempt counts, and the second one is refused at once, before the first is answered.
#[tokio::test]
async fn an_address_that_is_being_dialled_is_refused() {
    for way in WAYS {
        let (client, server) = (way.bind(), way.bind());
        let first = client.dial(target(&server)).unwrap();
        let error = client.dial(target(&server)).unwrap_err();
        assert!(matches!(error, ConnectError::AlreadyConnected(_)), "{way:?}: {error}");
        soon(first.connected()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_was_started_again_is_dialled_anew_by_who_gives_the_old_association_up() {
    for way in WAYS {
        for keeps_identity in [true, false] {
            let identity = Identity::generate().unwrap();
            let server = way.bind_to("127.0.0.1:0".parse().unwrap(), &identity).unwrap();
            let address = server.local_address();
            let relay = Relay::to(address).await;
            let target = way.at(relay.address, &identity);
            let client = way.bind();
            let (near, far) = connect(&client, &server, &target).await;
            // The relay is cut, so the peer does not receive the ABORT.
            relay.cut(true);
            server.abort("killed");
            soon(server.wait_idle()).await;
            drop((server, far));
            soon(relay.settle()).await;
            let identity = if keeps_identity { identity } else { Identity::generate().unwrap() };
            let server = soon(async {
                loop {
                    match way.bind_to(address, &identity) {
                        Some(server) => break server,
                        None => tokio::time::sleep(Duration::from_millis(5)).await,
                    }
                }
            })
            .await;
            relay.cut(false);
            let error = client.dial(&target).unwrap_err();
            assert!(matches!(error, ConnectError::AlreadyConnected(_)), "{way:?}: {error}");
            near.abort("it is gone");
            soon(near.closed()).await;
            if way == Way::Ticket && !keeps_identity {
                let error = soon(client.connect(&target)).await.unwrap_err();
                assert_eq!(*reason(&error), CloseReason::Transport(TransportFailure::WrongCertificate));
            } else {
                let (near, far) = connect(&client, &server, &target).await;
                exchange(&near, &far).await;
            }
        }
    }
}

/// The service has not noticed that a client is gone, and another one comes from its address and port.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_was_started_again_is_let_in_from_the_same_port() {
    for way in WAYS {
        let identity = Identity::generate().unwrap();
        let server = way.bind_to("127.0.0.1:0".parse().unwrap(), &identity).unwrap();
        let relay = Relay::to(server.local_address()).await;
        let target = way.at(relay.address, &identity);
        let (gone, client) = (way.bind(), way.bind());
        let (near, far) = connect(&gone, &server, &target).await;
        relay.cut(true);
        near.abort("killed");
        soon(gone.wait_idle()).await;
        soon(relay.settle()).await;
        relay.cut(false);
        let started = Instant::now();
        let near = soon(client.connect(&target)).await.unwrap();
        at_most(Duration::from_secs(5), started, "coming back");
        let far = match way {
            // RFC 9260 §5.2.4 A: the peer has restarted the association, which lives on.
            Plain => far,
            Way::Ticket => soon(async { server.accept().await.unwrap().await.unwrap() }).await,
        };
        exchange(&near, &far).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_nobody_listens_on_is_told_within_seconds() {
    for way in WAYS {
        let (client, address) = (way.bind(), closed_port());
        let started = Instant::now();
        let error = soon(client.connect(way.stranger(address))).await.unwrap_err();
        assert_eq!(*reason(&error), CloseReason::Transport(TransportFailure::PortClosed), "{way:?}");
        let sentence = format!(
            "no association with {address}: nothing listens there: see that the service runs, and that address and port \
             are right"
        );
        assert_eq!(error.to_string(), sentence);
        at_most(Duration::from_secs(5), started, "a closed port");
        soon(client.wait_idle()).await;
    }
}

/// One ICMP error ends nothing: the service may be about to listen.
#[tokio::test(start_paused = true)]
async fn a_service_that_listens_a_moment_later_is_reached() {
    let (client, address) = (Plain.bind(), closed_port());
    let late = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        let server = Endpoint::bind(address).unwrap();
        (server.accept().await.unwrap().await.unwrap(), server)
    };
    let (association, _server) = soon(async { tokio::join!(client.connect(address), late) }).await;
    association.unwrap();
}

/// Of several addresses the closed ones are left out, and the others are waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_port_among_others_ends_nothing() {
    for way in WAYS {
        let (client, server) = (way.bind(), way.bind());
        let addresses = [closed_port(), server.local_address()];
        let started = Instant::now();
        let connected = async {
            match server.identity() {
                Some(identity) => client.connect(Ticket::new(addresses, identity.fingerprint()).unwrap()).await,
                None => client.connect(addresses.as_slice()).await,
            }
        };
        let (association, _incoming) = soon(async { tokio::join!(connected, server.accept()) }).await;
        assert_eq!(association.unwrap().remote_address(), server.local_address());
        at_most(Duration::from_secs(5), started, "the second address");
    }
}

type Expected = fn(&ConnectError) -> bool;

/// Addresses; true if a ticket can hold the address; the error of a connect there. Other tickets are invalid.
const REFUSED: [(&str, bool, Expected); 10] = [
    ("0.0.0.0:9", false, |error| matches!(error, ConnectError::Unspecified(_))),
    ("[::]:9", false, |error| matches!(error, ConnectError::Unspecified(_))),
    ("[::ffff:0.0.0.0]:9", true, |error| matches!(error, ConnectError::Unspecified(_))),
    ("224.0.0.1:9", false, |error| matches!(error, ConnectError::NoPeer(_))),
    ("[ff02::1]:9", false, |error| matches!(error, ConnectError::NoPeer(_))),
    ("127.0.0.1:0", false, |error| matches!(error, ConnectError::NoPeer(_))),
    ("255.255.255.255:9", true, |error| matches!(error, ConnectError::NoRoute { .. })),
    ("127.255.255.255:9", true, |error| matches!(error, ConnectError::NoRoute { .. })),
    ("[::1]:9", true, |error| matches!(error, ConnectError::AddressFamily(_))),
    ("[fe80::1]:9", true, |error| matches!(error, ConnectError::ScopeNeeded(_))),
];

#[tokio::test]
async fn an_address_at_which_no_peer_can_be_is_refused_at_once() {
    let hash = Identity::generate().unwrap().fingerprint();
    for way in WAYS {
        let client = way.bind();
        for (address, is_in_tickets, is_expected) in REFUSED {
            let started = Instant::now();
            let target = match way {
                Plain => address.to_owned(),
                Way::Ticket => format!("narrowboat://{address}/{hash}"),
            };
            let error = soon(client.connect(&target)).await.unwrap_err();
            let is_right = match way {
                Way::Ticket if !is_in_tickets => matches!(error, ConnectError::Ticket(_)),
                _ => is_expected(&error),
            };
            assert!(is_right, "{target}: {error}");
            at_most(Duration::from_secs(2), started, &target);
        }
        let error = client.dial(target(&client)).unwrap_err();
        assert!(matches!(error, ConnectError::Itself(_)), "{way:?}: {error}");
        // The same host, written as an IPv6 address.
        let server = way.bind();
        let mapped = SocketAddr::new("::ffff:127.0.0.1".parse().unwrap(), server.local_address().port());
        let target = match server.identity() {
            Some(identity) => way.at(mapped, identity),
            None => way.stranger(mapped),
        };
        let (near, _far) = connect(&client, &server, &target).await;
        assert_eq!(near.remote_address(), server.local_address(), "{way:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_nobody_says_so_at_once() {
    for way in WAYS {
        let builder = Endpoint::builder().bind("127.0.0.1:0");
        let server = match way {
            Plain => builder.build().unwrap(),
            Way::Ticket => builder.identity(Identity::generate().unwrap()).build().unwrap(),
        };
        is_refused_at_once(way, &server, "does not take connections by ticket").await;
        // The other way round it is welcome.
        let peer = way.bind();
        connect(&server, &peer, &target(&peer)).await;
    }
}

/// The service refuses a newcomer: by an ABORT over plain UDP, with this sentence over DTLS.
async fn is_refused_at_once(way: Way, server: &Endpoint, sentence: &str) {
    let started = Instant::now();
    let error = soon(way.bind().connect(target(server))).await.unwrap_err();
    at_most(Duration::from_secs(5), started, "a refusal");
    match (way, reason(&error)) {
        (Plain, CloseReason::PeerAbort { .. }) => {}
        (Way::Ticket, CloseReason::Transport(TransportFailure::Broken(text))) => {
            assert!(text.contains(sentence), "{text}");
        }
        _ => panic!("{way:?}: {error}"),
    }
}

#[tokio::test]
async fn an_endpoint_that_closes_dials_nobody() {
    for way in WAYS {
        let (client, server) = (way.bind(), way.bind());
        let (_near, _far) = connect(&client, &server, &target(&server)).await;
        let third = way.bind();
        client.close();
        let error = client.dial(target(&third)).unwrap_err();
        assert!(matches!(error, ConnectError::EndpointClosed), "{way:?}: {error}");
    }
}

/// The service still has an association that ends, or as many as it may have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_takes_nobody_more_says_so_at_once() {
    for way in WAYS {
        for is_closing in [true, false] {
            let builder = Endpoint::builder().bind("127.0.0.1:0").max_associations(1);
            let server = match way {
                Plain => builder.accept_plain().build().unwrap(),
                Way::Ticket => builder.identity(Identity::generate().unwrap()).accept_direct().build().unwrap(),
            };
            let client = way.bind();
            let (_near, far) = connect(&client, &server, &target(&server)).await;
            // Unread messages keep the association from ending.
            let channel = far.create_channel("unread").unwrap();
            while channel.try_send(vec![0; 60_000]).is_ok() {}
            if is_closing {
                server.close();
            }
            is_refused_at_once(way, &server, "has no room for another peer, or takes none any more").await;
            assert_eq!((client.stats().associations, server.stats().associations), (1, 1));
        }
    }
}

/// A dial future that is dropped at any point leaves nothing at either end, and the address is free.
#[tokio::test]
async fn a_dial_that_is_dropped_leaves_nothing() {
    for way in WAYS {
        let (client, server) = (way.bind(), way.bind());
        let target = target(&server);
        {
            let mut dialling = pin!(client.connect(&target));
            assert!(dialling.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        soon(client.wait_idle()).await;
        let (near, far) = connect(&client, &server, &target).await;
        exchange(&near, &far).await;
        assert_eq!(server.stats().associations, 1, "{way:?}");
    }
}

/// A function from a datagram to the answer.
type Answer = fn(&[u8]) -> Vec<u8>;

/// An address at which each datagram is answered so.
fn answering(answer: Answer) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    socket.set_nonblocking(true).unwrap();
    let socket = tokio::net::UdpSocket::from_std(socket).unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
            let _ = socket.send_to(&answer(&buffer[..len]), from).await;
        }
    });
    address
}

/// The answers are not from a narrowboat, or there are none. The clock is paused, so that a minute passes at once.
#[tokio::test(start_paused = true)]
async fn who_answers_something_else_does_not_answer() {
    let answers: [(&str, Answer); 4] = [
        ("an echo", <[u8]>::to_vec),
        ("zeros", |datagram| vec![0; datagram.len()]),
        ("text", |_| b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        ("nothing", |_| Vec::new()),
    ];
    for way in WAYS {
        for (name, answer) in answers {
            let client = way.bind();
            let started = tokio::time::Instant::now();
            let error = client.connect(way.stranger(answering(answer))).await.unwrap_err();
            let is_expected = match way {
                Plain => *reason(&error) == CloseReason::HandshakeTimedOut,
                Way::Ticket => *reason(&error) == CloseReason::Transport(TransportFailure::NoAnswer),
            };
            assert!(is_expected, "{way:?}, {name}: {error}");
            assert!(error.to_string().contains("not answer"), "{error}");
            assert!(started.elapsed() < Duration::from_secs(70), "{way:?}, {name}: {:?}", started.elapsed());
            assert_eq!(client.stats().associations, 0);
        }
    }
}
