//! A panic while one association is served ends that association only; and what the system's errors mean for one.

mod faults;
mod locks;
#[cfg(feature = "webrtc")]
mod secure;

use std::future::Future;
use std::io;
use std::time::Duration;

use super::{Endpoint, EndpointBuilder};
use crate::association::AssociationFault;
use crate::channel::DataChannel;
use crate::error::{ChannelError, CloseReason, ConnectError, TransportFailure};
use crate::handle::Association;

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.unwrap()
}

struct Peer {
    client: Endpoint,
    a: Association,
    near: DataChannel,
    far: DataChannel,
    b: Association,
}

/// Connects by the server's ticket if it has an identity.
async fn connect(client: &Endpoint, server: &Endpoint) -> Result<Association, ConnectError> {
    #[cfg(feature = "webrtc")]
    if server.identity().is_some() {
        return client.connect(server.ticket().unwrap()).await;
    }
    client.connect(server.local_address()).await
}

async fn peer(server: &Endpoint, builder: EndpointBuilder) -> Peer {
    let client = builder.build().unwrap();
    let accepted = async { server.accept().await.unwrap().await.unwrap() };
    let (a, b) = soon(async { tokio::join!(connect(&client, server), accepted) }).await;
    let a = a.unwrap();
    let near = a.create_channel("contained").unwrap();
    let far = soon(b.accept_channel()).await.unwrap();
    Peer { client, a, near, far, b }
}

async fn a_panic_ends_one_association(builder: impl Fn() -> EndpointBuilder, fault: AssociationFault) {
    let server = builder().build().unwrap();
    let (victim, other) = (peer(&server, builder()).await, peer(&server, builder()).await);
    let reader = {
        let far = victim.far.clone();
        tokio::spawn(async move { far.recv().await })
    };
    tokio::task::yield_now().await;
    victim.b.inject(fault);
    if fault == AssociationFault::Command {
        let far = victim.far.clone();
        assert!(tokio::spawn(async move { far.try_send("panics") }).await.unwrap_err().is_panic());
    }
    victim.near.send("the peer's bytes").await.unwrap();
    let reason = soon(victim.b.closed()).await;
    assert!(matches!(reason, CloseReason::Transport(TransportFailure::Broken(_))), "{fault:?}: {reason}");
    assert_eq!(soon(reader).await.unwrap(), Some(Err(ChannelError::Association(reason.clone()))));
    assert_eq!(soon(victim.far.closed()).await, Err(ChannelError::Association(reason)));
    assert!(victim.far.send("late").await.is_err());
    // The peer is told at once.
    assert!(soon(victim.near.closed()).await.is_err(), "{fault:?}");
    drop(victim);
    other.near.send("goes on").await.unwrap();
    assert_eq!(soon(other.far.recv()).await.unwrap().unwrap().as_text(), Some("goes on"));
    let third = peer(&server, builder()).await;
    third.near.send("comes in").await.unwrap();
    assert_eq!(soon(third.far.recv()).await.unwrap().unwrap().as_text(), Some("comes in"));
}

#[tokio::test]
async fn l08_a_panic_ends_one_association_only_over_plain_udp() {
    for fault in [AssociationFault::Receive, AssociationFault::DriverStep, AssociationFault::Command] {
        a_panic_ends_one_association(|| Endpoint::builder().bind("127.0.0.1:0").accept_plain(), fault).await;
    }
}

/// Outcome for an association when the system refuses one of its datagrams.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    /// It goes on, and `network_error` says why nothing is sent.
    GoesOn,
    /// There is no way to the peer.
    NoRoute,
    /// It ends with advice about the size of datagrams.
    TooLarge,
}

/// Reports an error of sending on the only association of an endpoint, and says what came of it.
async fn refuse_datagram(endpoint: &Endpoint, association: &Association, code: i32) -> Outcome {
    let error = io::Error::from_raw_os_error(code);
    for shared in endpoint.core.routes().associations() {
        shared.on_send_failure(&error);
    }
    if association.network_error().is_none() {
        panic!("error {code} is not told");
    }
    let ended = tokio::time::timeout(Duration::from_millis(50), association.closed()).await;
    if ended.is_err() {
        return Outcome::GoesOn;
    }
    match association.connected().await {
        Err(ConnectError::NoRoute { why, .. }) if why == error.to_string() => Outcome::NoRoute,
        Err(ConnectError::Closed { reason, .. }) if reason.to_string().contains("lower association.mtu") => {
            Outcome::TooLarge
        }
        other => panic!("error {code}: {other:?}"),
    }
}

/// The numbers are Linux's: EPERM, EACCES, EINVAL, EMSGSIZE, EADDRNOTAVAIL, ENETDOWN, ENETUNREACH, ENOBUFS,
/// ECONNREFUSED, EHOSTUNREACH, ENOMEM, EIO.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn each_error_on_sending_is_told_while_dialling_and_later() {
    use Outcome::{GoesOn, NoRoute, TooLarge};
    let rows = [
        (1, NoRoute, GoesOn),
        (13, NoRoute, GoesOn),
        (22, NoRoute, GoesOn),
        (90, TooLarge, GoesOn),
        (99, NoRoute, GoesOn),
        (100, NoRoute, GoesOn),
        (101, NoRoute, GoesOn),
        (105, GoesOn, GoesOn),
        (111, NoRoute, GoesOn),
        (113, NoRoute, GoesOn),
        (12, GoesOn, GoesOn),
        (5, GoesOn, GoesOn),
    ];
    let bind = || Endpoint::bind("127.0.0.1:0").unwrap();
    for (code, dialling, established) in rows {
        let (client, silent) = (bind(), std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
        let association = client.dial(silent.local_addr().unwrap()).unwrap();
        assert_eq!(refuse_datagram(&client, &association, code).await, dialling, "error {code} while dialling");
        let (client, server) = (bind(), bind());
        let connected = soon(async { tokio::join!(client.connect(server.local_address()), server.accept()) }).await;
        let association = connected.0.unwrap();
        assert_eq!(refuse_datagram(&client, &association, code).await, established, "error {code} later");
    }
}
