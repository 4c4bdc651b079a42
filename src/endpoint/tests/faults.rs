//! A panic outside of any association: in the receiver, the router, the accept queue, the direct listener and its
//! timers. The endpoint goes on, or it ends for everybody with an error; no future waits for ever.

use std::sync::PoisonError;
use std::time::Duration;

use super::{Peer, connect, peer, soon};
use crate::endpoint::fault::EndpointFault;
use crate::endpoint::{Endpoint, EndpointBuilder};
use crate::error::{ChannelError, CloseReason, ConnectError, TransportFailure};

fn plain() -> EndpointBuilder {
    Endpoint::builder().bind("127.0.0.1:0").accept_plain()
}

pub(super) fn inject(endpoint: &Endpoint, fault: EndpointFault) {
    *endpoint.core.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
}

/// Waits until the panic has happened.
pub(super) async fn has_panicked(endpoint: &Endpoint) {
    soon(async {
        while endpoint.core.fault.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

pub(super) async fn goes_on(peer: &Peer) {
    peer.near.send("goes on").await.unwrap();
    assert_eq!(soon(peer.far.recv()).await.unwrap().unwrap().as_text(), Some("goes on"));
    peer.far.send("and back").await.unwrap();
    assert_eq!(soon(peer.near.recv()).await.unwrap().unwrap().as_text(), Some("and back"));
}

/// Shuts all endpoints down, and checks that nothing is left in the table.
pub(super) async fn ends(server: &Endpoint, peers: impl IntoIterator<Item = Peer>) {
    for peer in peers {
        soon(peer.a.shutdown()).await.unwrap();
        soon(peer.b.closed()).await;
    }
    soon(server.wait_idle()).await;
    assert_eq!(server.stats().associations, 0);
    server.close();
    assert!(soon(server.accept()).await.is_none());
}

/// Dials the server, which panics meanwhile. The attempt fails or succeeds within a bounded time.
async fn dial(server: &Endpoint, builder: EndpointBuilder) {
    drop(soon(connect(&builder.build().unwrap(), server)).await);
}

pub(super) async fn the_endpoint_goes_on(builder: impl Fn() -> EndpointBuilder, faults: &[EndpointFault]) {
    for fault in faults {
        let server = builder().build().unwrap();
        let living = peer(&server, builder()).await;
        inject(&server, *fault);
        let taken = async {
            // A peer that gets in in spite of it is released again, and so is one that was refused half-way.
            while let Some(incoming) = server.accept().await {
                drop(incoming);
            }
        };
        tokio::select! {
            () = taken => panic!("{fault:?}: nobody has closed the endpoint"),
            () = dial(&server, builder()) => {}
        }
        has_panicked(&server).await;
        goes_on(&living).await;
        soon(async {
            while server.stats().associations > 1 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        while let std::task::Poll::Ready(incoming) = poll_once(server.accept()) {
            drop(incoming);
        }
        let next = peer(&server, builder()).await;
        goes_on(&next).await;
        goes_on(&living).await;
        ends(&server, [next, living]).await;
    }
}

fn poll_once<T>(future: impl Future<Output = T>) -> std::task::Poll<T> {
    std::pin::pin!(future).poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}

#[tokio::test]
async fn l08_a_panic_in_router_or_accept_queue_costs_one_datagram_or_one_newcomer() {
    the_endpoint_goes_on(plain, &[EndpointFault::Route, EndpointFault::Queue]).await;
}

/// The accept queue has one place. Who finds it taken is refused, and the panic is that one's.
#[tokio::test]
async fn l08_a_panic_while_a_newcomer_is_refused_ends_that_newcomer_only() {
    let builder = || plain().config(crate::Config { accept_queue_max: 1, ..crate::Config::default() });
    let server = builder().build().unwrap();
    let living = peer(&server, builder()).await;
    let waits = builder().build().unwrap();
    let waiting = soon(waits.connect(server.local_address())).await.unwrap();
    inject(&server, EndpointFault::Refuse);
    let refused = builder().build().unwrap();
    if let Ok(association) = soon(refused.connect(server.local_address())).await {
        soon(association.closed()).await;
    }
    has_panicked(&server).await;
    goes_on(&living).await;
    let accepted = soon(async { server.accept().await.unwrap().await.unwrap() }).await;
    soon(waiting.shutdown()).await.unwrap();
    soon(accepted.closed()).await;
    let next = peer(&server, builder()).await;
    goes_on(&next).await;
    ends(&server, [next, living]).await;
}

pub(super) async fn an_end_is_told(builder: impl Fn() -> EndpointBuilder) {
    let server = builder().build().unwrap();
    let (ending, living) = (peer(&server, builder()).await, peer(&server, builder()).await);
    inject(&server, EndpointFault::Remove);
    soon(ending.a.shutdown()).await.unwrap();
    assert_eq!(soon(ending.b.closed()).await, CloseReason::Shutdown);
    has_panicked(&server).await;
    goes_on(&living).await;
    let next = peer(&server, builder()).await;
    ends(&server, [living, next]).await;
}

#[tokio::test]
async fn l08_a_panic_while_an_association_is_taken_out_of_the_table_is_waited_for_by_nobody() {
    an_end_is_told(plain).await;
}

/// Checks that a panic of the receive loop ends all associations, and that each is told.
pub(super) async fn the_endpoint_ends(builder: impl Fn() -> EndpointBuilder) {
    let server = builder().build().unwrap();
    let living = peer(&server, builder()).await;
    let (far, b, endpoint) = (living.far.clone(), living.b.clone(), server.clone());
    let waiting = tokio::spawn(async move {
        let (message, channel, idle) = tokio::join!(far.recv(), b.accept_channel(), endpoint.accept());
        (message, channel.is_none(), idle.is_none())
    });
    tokio::task::yield_now().await;
    inject(&server, EndpointFault::ReceiveLoop);
    living.near.send("panics").await.unwrap();
    let reason = soon(living.b.closed()).await;
    let CloseReason::Transport(TransportFailure::Broken(text)) = &reason else { panic!("{reason}") };
    assert!(text.contains("a fault in this program"), "{text}");
    let (message, has_no_channel, has_no_peer) = soon(waiting).await.unwrap();
    assert_eq!(message, Some(Err(ChannelError::Association(reason))));
    assert!(has_no_channel && has_no_peer);
    soon(server.wait_idle()).await;
    let error = soon(server.connect(living.client.local_address())).await.unwrap_err();
    assert!(matches!(error, ConnectError::EndpointClosed), "{error}");
    let error = server.dial(living.client.local_address()).unwrap_err();
    assert!(matches!(error, ConnectError::EndpointClosed), "{error}");
    // The peer is told, too.
    soon(living.a.closed()).await;
}

#[tokio::test]
async fn l08_a_panic_of_the_receiver_ends_the_endpoint_with_an_error_for_everybody() {
    the_endpoint_ends(plain).await;
}
