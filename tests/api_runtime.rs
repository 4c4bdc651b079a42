//! A program that ends, and handles whose runtime is gone: the peer learns of it at once, and nobody waits for ever.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::let_underscore_must_use, reason = "some results make no difference to a test")]
#![expect(clippy::unwrap_used, reason = "a test may fail this way")]

mod api;

use std::time::{Duration, Instant};

use api::{Pair, number, numbered, soon};
use futures_util::{SinkExt, StreamExt};
use narrowboat::error::{CloseReason, ConnectError};
use narrowboat::{Endpoint, Identity};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn runtime(is_multi_thread: bool) -> tokio::runtime::Runtime {
    let mut builder = if is_multi_thread {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    builder.enable_all().build().unwrap()
}

fn bind(is_secure: bool) -> Endpoint {
    let builder = Endpoint::builder().bind("127.0.0.1:0");
    if is_secure {
        builder.identity(Identity::generate().unwrap()).accept_direct().build()
    } else {
        builder.accept_plain().build()
    }
    .unwrap()
}

/// Messages that fit into the congestion window arrive, and the ABORT behind them.
#[tokio::test]
async fn a_program_that_returns_right_after_send_tells_its_peer_at_once() {
    for (is_secure, is_multi_thread) in [(false, false), (false, true), (true, false), (true, true)] {
        let server = bind(is_secure);
        let address = server.local_address();
        let ticket = is_secure.then(|| server.ticket().unwrap());
        let process = std::thread::spawn(move || {
            runtime(is_multi_thread).block_on(async {
                let client = bind(is_secure);
                let association = match ticket {
                    Some(ticket) => client.connect(ticket).await.unwrap(),
                    None => client.connect(address).await.unwrap(),
                };
                let channel = association.open_channel("last words").await.unwrap();
                for n in 0..50 {
                    channel.send(numbered(n, 100)).await.unwrap();
                }
            });
            Instant::now()
        });
        let b = soon(server.accept()).await.unwrap().await.unwrap();
        let far = soon(b.accept_channel()).await.unwrap();
        let mut received = 0;
        let error = loop {
            match soon(far.recv()).await.unwrap() {
                Ok(message) => {
                    assert_eq!(number(&message), received);
                    received += 1;
                }
                Err(error) => break error,
            }
        };
        assert_eq!(received, 50, "{error}");
        let reason = soon(b.closed()).await;
        let text = "the program ended without shutting the association down";
        assert!(matches!(&reason, CloseReason::PeerAbort { text: said, .. } if said == text), "{reason}");
        let ended = process.join().unwrap();
        assert!(ended.elapsed() < Duration::from_secs(2), "the peer has waited for {:?}", ended.elapsed());
    }
}

#[tokio::test]
async fn an_abort_leaves_though_its_program_returns_right_after() {
    let server = bind(false);
    let address = server.local_address();
    let process = std::thread::spawn(move || {
        runtime(false).block_on(async {
            bind(false).connect(address).await.unwrap().abort("enough");
        });
    });
    let b = soon(server.accept()).await.unwrap().await.unwrap();
    let reason = soon(b.closed()).await;
    assert!(matches!(&reason, CloseReason::PeerAbort { text, .. } if text == "enough"), "{reason}");
    process.join().unwrap();
}

/// Each task waits in the runtime of the test, for something in a runtime that is gone.
#[tokio::test]
async fn every_future_ends_when_the_runtime_of_its_endpoint_is_gone() {
    let elsewhere = runtime(true);
    let full = async || {
        let pair = Pair::with(api::small()).await;
        let (near, far) = pair.channel("orphan").await;
        while near.try_send(numbered(0, 1000)).is_ok() || pair.a.stats().peer_rwnd > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        (pair, near, far)
    };
    let both = elsewhere.spawn(async move { (full().await, full().await) });
    // One goes on, the other one is being closed.
    let ((pair, near, _far), (ending, leaving, _other_far)) = both.await.unwrap();
    let (address, other) = (pair.server.local_address(), bind(false));
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent_too = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dialled = pair.client.dial(silent.local_addr().unwrap()).unwrap();
    let unopened = dialled.create_channel("unopened").unwrap();
    while let std::task::Poll::Ready(Some(_)) = api::poll_once(near.next_event()) {}
    let mut tasks = tokio::task::JoinSet::new();
    macro_rules! waits {
        ($name:literal, mut $handle:ident, $future:expr) => {{
            let mut $handle = $handle.clone();
            tasks.spawn(async move {
                let _ = $future.await;
                $name
            });
        }};
        ($name:literal, $handle:ident, $future:expr) => {{
            let $handle = $handle.clone();
            tasks.spawn(async move {
                let _ = $future.await;
                $name
            });
        }};
    }
    let (a, client) = (&pair.a, &pair.client);
    let noted = a.create_channel("noted").unwrap();
    waits!("receipt", noted, async { noted.send_with_receipt(numbered(1, 1000)).await.unwrap().await });
    waits!("receipt.sent", noted, async { noted.send_with_receipt(numbered(1, 1000)).await.unwrap().sent().await });
    waits!("send", near, near.send(numbered(1, 1000)));
    waits!("Sink", mut near, SinkExt::send(&mut near, narrowboat::Message::from(numbered(1, 1000))));
    waits!("AsyncWrite", near, async { near.into_byte_stream().write(&[3; 1000]).await });
    waits!("recv", near, near.recv());
    waits!("Stream", mut near, near.next());
    waits!("AsyncRead", near, async { near.into_byte_stream().read(&mut [0; 10]).await });
    waits!("buffered_amount_low", near, near.buffered_amount_low());
    waits!("channel.closed", near, near.closed());
    waits!("next_event", near, near.next_event());
    waits!("accept_channel", a, a.accept_channel());
    waits!("association.closed", a, a.closed());
    waits!("accept", client, client.accept());
    waits!("wait_idle", client, client.wait_idle());
    waits!("connect", client, client.connect(silent_too));
    waits!("connected", dialled, dialled.connected());
    waits!("opened", unopened, unopened.opened());
    waits!("open_channel", dialled, dialled.open_channel("never"));
    let a = &ending.a;
    waits!("close", leaving, leaving.close());
    waits!("Sink.close", mut leaving, SinkExt::close(&mut leaving));
    waits!("AsyncWrite.shutdown", leaving, async { leaving.into_byte_stream().shutdown().await });
    waits!("shutdown", a, a.shutdown());
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert_eq!(tasks.try_join_next().map(Result::unwrap), None, "it has ended before anything has happened");
    elsewhere.shutdown_background();
    soon(async { while tasks.join_next().await.is_some() {} }).await;
    // Later calls end at once, too.
    assert!(soon(pair.client.accept()).await.is_none());
    soon(pair.client.wait_idle()).await;
    assert!(matches!(soon(pair.client.connect(address)).await, Err(ConnectError::EndpointClosed)));
    assert!(soon(pair.a.connected()).await.is_err());
    assert!(pair.a.create_channel("late").is_err());
    while soon(near.next_event()).await.is_some() {}
    assert!(soon(near.send("late")).await.is_err());
    drop(other);
}
