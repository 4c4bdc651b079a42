//! Code that the tests of the secure transport share: two ends on loopback.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test program uses its part")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

pub mod hello;
pub mod relay;
pub mod stun;

use std::future::Future;
use std::time::Duration;

use narrowboat::{Association, Bytes, DataChannel, Endpoint, EndpointBuilder, Identity, Ticket};

/// An endpoint on loopback with an identity of its own.
pub fn builder() -> EndpointBuilder {
    Endpoint::builder().bind("127.0.0.1:0").identity(Identity::generate().unwrap()).accept_direct()
}

pub fn bind() -> Endpoint {
    builder().build().unwrap()
}

/// Two endpoints with one association, seen from both. `a` has connected with the ticket of `b`.
pub struct Pair {
    pub client: Endpoint,
    pub server: Endpoint,
    pub a: Association,
    pub b: Association,
}

impl Pair {
    pub async fn new() -> Self {
        Self::of(bind(), bind()).await
    }

    pub async fn of(client: Endpoint, server: Endpoint) -> Self {
        let ticket = server.ticket().unwrap();
        Self::by(client, server, &ticket).await
    }

    pub async fn by(client: Endpoint, server: Endpoint, ticket: &Ticket) -> Self {
        let accepted = async { server.accept().await.unwrap().await.unwrap() };
        let (a, b) = soon(async { tokio::join!(client.connect(ticket), accepted) }).await;
        Self { client, server, a: a.unwrap(), b }
    }

    /// A channel, seen from both ends.
    pub async fn channel(&self, label: &str) -> (DataChannel, DataChannel) {
        let near = self.a.create_channel(label).unwrap();
        let far = soon(self.b.accept_channel()).await.unwrap();
        assert_eq!(far.label(), label);
        (near, far)
    }
}

/// Ends a test that hangs. Handshakes take the arithmetic of four signatures, and other tests run beside.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    within(60, future).await
}

pub async fn within<T>(seconds: u64, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(seconds), future).await.expect("it should have happened by now")
}

/// Bytes that differ from place to place.
pub fn pattern(len: usize, seed: u32) -> Bytes {
    (0..len).map(|at| (at as u32).wrapping_mul(2_654_435_761).wrapping_add(seed).to_be_bytes()[0]).collect()
}

/// Sends `total` bytes in messages of `size`, and compares the bytes received with those sent.
pub async fn transfer(near: &DataChannel, far: &DataChannel, total: usize, size: usize) {
    let message = pattern(size, total as u32);
    let count = total / size;
    let send = async {
        for _ in 0..count {
            near.send(message.clone()).await.unwrap();
        }
    };
    let receive = async {
        for number in 0..count {
            let received = far.recv().await.expect("a message").expect("no error");
            assert!(received.as_bytes() == message, "message {number} of {count}");
        }
    };
    tokio::join!(send, receive);
}
