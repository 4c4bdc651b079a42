//! Locks of an endpoint: datagrams of an existing association need none that accepting needs.

use std::sync::mpsc;
use std::thread;

use super::{Peer, peer, soon};
use crate::endpoint::{Endpoint, EndpointBuilder};

/// Holds the lock of the accept queue until the sender that it returns is dropped.
fn hold_accept_queue(endpoint: &Endpoint) -> mpsc::Sender<()> {
    let (is_held, held) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let core = std::sync::Arc::clone(&endpoint.core);
    thread::spawn(move || {
        let _queue = core.accept_queue();
        is_held.send(()).unwrap();
        released.recv().unwrap_err();
    });
    held.recv().unwrap();
    release
}

async fn messages_pass_while_the_accept_queue_is_locked(builder: impl Fn() -> EndpointBuilder) {
    let server = builder().build().unwrap();
    let Peer { client, a, near, far, b } = peer(&server, builder()).await;
    let held = [hold_accept_queue(&server), hold_accept_queue(&client)];
    for number in 0..100_u32 {
        near.send(number.to_string()).await.unwrap();
        let message = soon(far.recv()).await.unwrap().unwrap();
        assert_eq!(message.as_text(), Some(number.to_string().as_str()));
    }
    assert_eq!(server.stats().associations, 1, "nor do statistics wait");
    // A channel is opened and closed, too.
    let channel = soon(a.open_channel("another")).await.unwrap();
    let other = soon(b.accept_channel()).await.unwrap();
    assert_eq!(other.label(), "another");
    soon(async { tokio::join!(channel.close(), other.close()) }).await.0.unwrap();
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_over_plain_udp_pass_while_the_accept_queue_is_locked() {
    messages_pass_while_the_accept_queue_is_locked(|| Endpoint::builder().bind("127.0.0.1:0").accept_plain()).await;
}

#[cfg(feature = "webrtc")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_over_dtls_pass_while_the_accept_queue_is_locked() {
    messages_pass_while_the_accept_queue_is_locked(|| {
        let identity = crate::webrtc::Identity::generate().unwrap();
        Endpoint::builder().bind("127.0.0.1:0").identity(identity).accept_direct()
    })
    .await;
}
