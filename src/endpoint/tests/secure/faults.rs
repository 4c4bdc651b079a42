//! Panics outside of any association at an endpoint with an identity.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::endpoint::fault::EndpointFault;
use crate::endpoint::tests::faults::{
    an_end_is_told, ends, goes_on, has_panicked, inject, the_endpoint_ends, the_endpoint_goes_on,
};
use crate::endpoint::tests::{peer, soon};
use crate::endpoint::{Endpoint, EndpointBuilder};
use crate::net::Route;
use crate::webrtc::dtls::tests::link::{ACTIVE, parameters};
use crate::webrtc::dtls::{Dtls, ExpectedPeer, SetupRole, Versions};

pub(super) fn direct() -> EndpointBuilder {
    Endpoint::builder().bind("127.0.0.1:0").identity(crate::webrtc::Identity::generate().unwrap()).accept_direct()
}

#[tokio::test]
async fn l08_a_panic_in_router_lobby_or_accept_queue_costs_one_newcomer_over_dtls() {
    let faults = [
        EndpointFault::Route,
        EndpointFault::Queue,
        EndpointFault::DirectListener,
        EndpointFault::Admit,
        EndpointFault::Note,
    ];
    the_endpoint_goes_on(direct, &faults).await;
}

/// Somebody sends a hello from the address of a peer that is connected, then another record of a handshake.
#[tokio::test]
async fn l08_a_panic_over_a_newcomer_at_a_known_address_costs_one_datagram() {
    let server = direct().build().unwrap();
    let living = peer(&server, direct()).await;
    let now = Instant::now();
    let mut newcomer =
        Dtls::new(now, parameters(ACTIVE, Versions::Only12), SetupRole::Active, ExpectedPeer::Anyone, false);
    let route = Route { remote: server.local_address(), local: None };
    while let Some(hello) = newcomer.poll_transmit() {
        living.client.core.socket.send_answer(route, &hello);
    }
    inject(&server, EndpointFault::Newcomer);
    let change_of_ciphers = [20, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 1];
    living.client.core.socket.send_answer(route, &change_of_ciphers);
    has_panicked(&server).await;
    goes_on(&living).await;
    let next = peer(&server, direct()).await;
    goes_on(&next).await;
    ends(&server, [next, living]).await;
}

/// Two ends dial each other, and the one whose hello loses panics over the other's. The hello is repeated.
#[tokio::test]
async fn l08_a_panic_over_the_hello_of_a_peer_that_is_dialled_costs_one_datagram() {
    let (one, other) = (direct().build().unwrap(), direct().build().unwrap());
    let living = [peer(&one, direct()).await, peer(&other, direct()).await];
    let mut has_happened = false;
    // Which hello loses is drawn; a hello that comes before this end's own is of no account.
    for _ in 0..20 {
        inject(&one, EndpointFault::Crossed);
        inject(&other, EndpointFault::Crossed);
        let (there, back) = (one.dial(other.ticket().unwrap()).unwrap(), other.dial(one.ticket().unwrap()).unwrap());
        let (up, up_back) = soon(async { tokio::join!(there.connected(), back.connected()) }).await;
        up.unwrap();
        up_back.unwrap();
        let near = there.create_channel("crossed").unwrap();
        near.send("goes on").await.unwrap();
        let far = soon(back.accept_channel()).await.unwrap();
        assert_eq!(soon(far.recv()).await.unwrap().unwrap().as_text(), Some("goes on"));
        soon(there.shutdown()).await.unwrap();
        soon(back.closed()).await;
        let is_left =
            |endpoint: &Endpoint| endpoint.core.fault.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        has_happened = !is_left(&one) || !is_left(&other);
        if has_happened {
            break;
        }
        soon(async {
            while one.stats().associations + other.stats().associations > 2 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }
    assert!(has_happened, "the hellos of two ends that dial each other have not crossed");
    for (peer, server) in living.into_iter().zip([&one, &other]) {
        goes_on(&peer).await;
        let next = crate::endpoint::tests::peer(server, direct()).await;
        goes_on(&next).await;
        ends(server, [next, peer]).await;
    }
}

#[tokio::test]
async fn l08_a_panic_while_an_association_is_taken_out_of_the_table_is_waited_for_by_nobody_over_dtls() {
    an_end_is_told(direct).await;
}

#[tokio::test]
async fn l08_a_panic_of_the_receiver_ends_the_endpoint_with_an_error_for_everybody_over_dtls() {
    the_endpoint_ends(direct).await;
}

/// The direct listener has timers while somebody has begun a handshake.
#[tokio::test]
async fn l08_a_panic_in_the_timers_of_the_lobby_ends_handshakes_that_have_begun_and_nothing_else() {
    let server = direct().build().unwrap();
    let living = peer(&server, direct()).await;
    let now = Instant::now();
    let mut stranger =
        Dtls::new(now, parameters(ACTIVE, Versions::Only12), SetupRole::Active, ExpectedPeer::Anyone, false);
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    inject(&server, EndpointFault::DirectListenerTimeout);
    while let Some(hello) = stranger.poll_transmit() {
        socket.send_to(&hello, server.local_address()).await.unwrap();
    }
    has_panicked(&server).await;
    goes_on(&living).await;
    let next = peer(&server, direct()).await;
    goes_on(&next).await;
    ends(&server, [living, next]).await;
}
