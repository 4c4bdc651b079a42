//! A panic while one association is served ends that association only.

use std::future::Future;
use std::time::Duration;

use super::{Endpoint, EndpointBuilder};
use crate::association::{Association, Fault};
use crate::channel::DataChannel;
use crate::error::{ChannelError, CloseReason, TransportFailure};

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.unwrap()
}

struct Peer {
    near: DataChannel,
    far: DataChannel,
    b: Association,
}

async fn peer(server: &Endpoint, builder: EndpointBuilder) -> Peer {
    let client = builder.build().unwrap();
    let accepted = async { server.accept().await.unwrap().await.unwrap() };
    #[cfg(feature = "webrtc")]
    let is_secure = server.identity().is_some();
    #[cfg(not(feature = "webrtc"))]
    let is_secure = false;
    let connected = async {
        #[cfg(feature = "webrtc")]
        if is_secure {
            return client.connect(server.ticket().unwrap()).await;
        }
        client.connect(server.local_address()).await
    };
    let (a, b) = soon(async { tokio::join!(connected, accepted) }).await;
    let near = a.unwrap().create_channel("contained").unwrap();
    let far = soon(b.accept_channel()).await.unwrap();
    let _ = is_secure;
    Peer { near, far, b }
}

async fn a_panic_ends_one_association(builder: impl Fn() -> EndpointBuilder, fault: Fault) {
    let server = builder().build().unwrap();
    let (victim, other) = (peer(&server, builder()).await, peer(&server, builder()).await);
    let reader = {
        let far = victim.far.clone();
        tokio::spawn(async move { far.recv().await })
    };
    tokio::task::yield_now().await;
    victim.b.inject(fault);
    if fault == Fault::Command {
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
    for fault in [Fault::Receive, Fault::Turn, Fault::Command] {
        a_panic_ends_one_association(|| Endpoint::builder().bind("127.0.0.1:0").accept_plain(), fault).await;
    }
}

#[cfg(feature = "webrtc")]
#[tokio::test]
async fn l08_a_panic_ends_one_association_only_over_dtls() {
    let builder = || {
        Endpoint::builder().bind("127.0.0.1:0").identity(crate::webrtc::Identity::generate().unwrap()).accept_direct()
    };
    for fault in [Fault::Receive, Fault::Turn, Fault::Command] {
        a_panic_ends_one_association(builder, fault).await;
    }
}
