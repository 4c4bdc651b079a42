//! Code that the tests of the async API share: two ends on loopback.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test program uses its part")]

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use narrowboat::{Association, Bytes, Config, DataChannel, Endpoint};

/// Two endpoints with one association, seen from both.
pub struct Pair {
    pub client: Endpoint,
    pub server: Endpoint,
    pub a: Association,
    pub b: Association,
}

impl Pair {
    pub async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub async fn with(config: Config) -> Self {
        let bind = || {
            Endpoint::builder()
                .bind("127.0.0.1:0")
                .config(config.clone())
                .accept_plain()
                .build()
                .expect("a port on loopback")
        };
        let (client, server) = (bind(), bind());
        let (a, incoming) = tokio::join!(client.connect(server.local_address()), server.accept());
        let b = incoming.expect("the endpoint accepts").await.expect("a handshake on loopback");
        Self { client, server, a: a.expect("a handshake on loopback"), b }
    }

    /// A channel, seen from both ends.
    pub async fn channel(&self, label: &str) -> (DataChannel, DataChannel) {
        let near = self.a.create_channel(label).expect("a free id");
        let far = self.b.accept_channel().await.expect("a channel of the peer");
        assert_eq!(far.label(), label);
        (near, far)
    }
}

/// Small buffers, so that a channel is soon full.
pub fn small() -> Config {
    let mut config = Config::default();
    config.association.receive_window = 16 << 10;
    config.association.stream_send_buffer = 12 << 10;
    config.association.send_buffer = 48 << 10;
    config
}

/// Ends a test that hangs, as a lost wake-up would make it.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it should have happened by now")
}

/// Polls a future once, and drops it.
pub fn poll_once<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Message number `n`, of some length.
pub fn numbered(n: u32, len: usize) -> Bytes {
    n.to_be_bytes().into_iter().chain(std::iter::repeat(n.to_be_bytes()[3])).take(len.max(4)).collect()
}

pub fn number(message: &narrowboat::Message) -> u32 {
    u32::from_be_bytes(*message.as_bytes().first_chunk().expect("a message of `numbered`"))
}

/// Polls a future, and drops it when it has been pending more than `polls` times.
pub async fn drop_after<T>(polls: u32, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut pending = 0;
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending if pending == polls => Poll::Ready(None),
        Poll::Pending => {
            pending += 1;
            Poll::Pending
        }
    })
    .await
}
