//! Attack H10: futures dropped at every point where they wait. Nothing is lost, nothing happens twice, nothing is left
//! behind.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod api;

use std::future::{Future, IntoFuture};
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use api::{Pair, drop_after, number, numbered, poll_once, small, soon};
use narrowboat::{ChannelEvent, Endpoint, Message, ReadyState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const MESSAGES: u32 = 300;

#[tokio::test]
async fn h10_a_message_is_neither_lost_nor_doubled_when_send_and_recv_are_dropped() {
    let pair = Pair::with(small()).await;
    let (near, far) = pair.channel("cancel").await;
    let mut dropped = 0;
    let send = async {
        for n in 0..MESSAGES {
            let mut polls = 0;
            while drop_after(polls % 3, near.send(numbered(n, 1000))).await.transpose().unwrap().is_none() {
                dropped += 1;
                polls += 1;
                tokio::task::yield_now().await;
            }
        }
    };
    let receive = async {
        for n in 0..MESSAGES {
            let mut polls = 0;
            let message = loop {
                match drop_after(polls % 3, far.recv()).await {
                    Some(message) => break message.unwrap().unwrap(),
                    None => polls += 1,
                }
                tokio::task::yield_now().await;
            };
            assert_eq!(number(&message), n);
        }
    };
    soon(async { tokio::join!(send, receive) }).await;
    assert!(dropped > 10, "the channel was hardly ever full");
    drop(near);
    assert_eq!(soon(far.recv()).await, None);
}

#[tokio::test]
async fn h10_bytes_are_neither_lost_nor_doubled_when_read_and_write_are_dropped() {
    let pair = Pair::with(small()).await;
    let (near, far) = pair.channel("cancel").await;
    let (mut near, mut far) = (near.into_byte_stream(), far.into_byte_stream());
    let bytes: Vec<u8> = (0..300_000_u32).map(|i| (i * 7 % 253) as u8).collect();
    let write = async {
        let (mut rest, mut polls) = (&bytes[..], 0);
        while !rest.is_empty() {
            polls += 1;
            if let Some(written) = drop_after(polls % 3, near.write(&rest[..rest.len().min(5000)])).await {
                rest = &rest[written.unwrap()..];
            }
            tokio::task::yield_now().await;
        }
    };
    let read = async {
        let (mut read, mut polls, mut buffer) = (Vec::new(), 0, [0; 3000]);
        while read.len() < bytes.len() {
            polls += 1;
            if let Some(count) = drop_after(polls % 3, far.read(&mut buffer)).await {
                read.extend_from_slice(&buffer[..count.unwrap()]);
            }
            tokio::task::yield_now().await;
        }
        read
    };
    let ((), read) = soon(async { tokio::join!(write, read) }).await;
    assert!(read == bytes);
}

#[tokio::test]
async fn h10_a_connect_that_is_dropped_leaves_no_association() {
    let server = Endpoint::bind("127.0.0.1:0").unwrap();
    for polls in 0..6 {
        let client = Endpoint::bind("127.0.0.1:0").unwrap();
        match soon(drop_after(polls, client.connect(server.local_address()))).await {
            Some(association) => drop(association.unwrap()),
            None => assert!(polls < 5, "connecting takes more polls than were tried"),
        }
        soon(client.wait_idle()).await;
        assert_eq!(client.stats().associations, 0);
    }
    // Associations created before the drop are over; the server may learn of that late.
    while let Some(Some(incoming)) = drop_after(0, server.accept()).await {
        drop(incoming);
    }
    soon(server.wait_idle()).await;
}

#[tokio::test]
async fn h10_what_is_accepted_goes_to_the_next_who_asks() {
    let (client, server) = (Endpoint::bind("127.0.0.1:0").unwrap(), Endpoint::bind("127.0.0.1:0").unwrap());
    assert!(poll_once(server.accept()).is_pending());
    let a = soon(client.connect(server.local_address())).await.unwrap();
    let b = soon(server.accept()).await.unwrap().await.unwrap();
    assert!(poll_once(b.accept_channel()).is_pending());
    let near = a.create_channel("accepted").unwrap();
    assert_eq!(soon(b.accept_channel()).await.unwrap().label(), near.label());
}

#[tokio::test]
async fn h10_an_accept_that_is_dropped_refuses_the_association() {
    let (client, server) = (Endpoint::bind("127.0.0.1:0").unwrap(), Endpoint::bind("127.0.0.1:0").unwrap());
    let (a, incoming) = soon(async { tokio::join!(client.connect(server.local_address()), server.accept()) }).await;
    drop(incoming.unwrap().into_future());
    soon(a.unwrap().closed()).await;
    soon(server.wait_idle()).await;
}

#[tokio::test]
async fn h10_waiting_for_a_channel_changes_nothing_about_it() {
    let pair = Pair::with(small()).await;
    let (near, far) = pair.channel("waits").await;
    while near.try_send(numbered(0, 1000)).is_ok() {}
    soon(near.next_event()).await;
    for _ in 0..100 {
        assert!(poll_once(near.closed()).is_pending());
        assert!(poll_once(near.buffered_amount_low()).is_pending());
        assert!(poll_once(near.next_event()).is_pending());
        assert!(poll_once(near.recv()).is_pending());
        assert!(poll_once(pair.a.closed()).is_pending());
        assert!(poll_once(pair.client.wait_idle()).is_pending());
    }
    assert_eq!(near.ready_state(), ReadyState::Open);
    far.send("still here").await.unwrap();
    assert_eq!(soon(near.recv()).await.unwrap().unwrap(), Message::from("still here"));
    // A close and a shutdown happen whether their futures are polled, dropped half-way, or never looked at.
    let mut closing = near.close();
    assert!(poll_once(&mut closing).is_pending());
    drop(closing);
    while let Some(message) = soon(far.recv()).await {
        message.unwrap();
    }
    soon(near.closed()).await.unwrap();
    assert!(matches!(soon(near.next_event()).await, Some(ChannelEvent::BufferedAmountLow | ChannelEvent::Close)));
    assert!(poll_once(pair.a.shutdown()).is_pending());
    soon(pair.b.closed()).await;
}

#[tokio::test]
async fn h10_a_channel_that_nobody_waited_to_open_is_closed() {
    let (client, server) = (Endpoint::bind("127.0.0.1:0").unwrap(), Endpoint::bind("127.0.0.1:0").unwrap());
    let a = client.dial(server.local_address()).unwrap();
    assert!(poll_once(a.open_channel("nobody")).is_pending());
    let b = soon(server.accept()).await.unwrap().await.unwrap();
    let wanted = soon(a.open_channel("wanted")).await.unwrap();
    let first = soon(b.accept_channel()).await.unwrap();
    // It may have gone out before it was closed; then it comes closed.
    if first.label() == "nobody" {
        soon(first.closed()).await.unwrap();
        assert_eq!(soon(b.accept_channel()).await.unwrap().label(), wanted.label());
    }
}

#[tokio::test]
async fn h10_a_future_that_is_dropped_leaves_no_waker_behind() {
    struct Nothing;
    impl Wake for Nothing {
        fn wake(self: Arc<Self>) {}
    }
    let pair = Pair::with(small()).await;
    let (near, _far) = pair.channel("wakers").await;
    while near.try_send(numbered(0, 1000)).is_ok() {}
    soon(near.next_event()).await;
    let count = Arc::new(Nothing);
    let waker = Waker::from(Arc::clone(&count));
    macro_rules! poll_and_drop {
        ($($future:expr),*) => {$({
            let mut future = Box::pin($future);
            assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending(), stringify!($future));
            assert!(Arc::strong_count(&count) > 2, "{} has left no waker", stringify!($future));
            drop(future);
            assert_eq!(Arc::strong_count(&count), 2, "{} leaks", stringify!($future));
        })*};
    }
    poll_and_drop!(
        near.send("x"),
        near.recv(),
        near.closed(),
        near.next_event(),
        near.buffered_amount_low(),
        pair.a.closed(),
        pair.a.accept_channel(),
        pair.client.wait_idle(),
        pair.server.accept(),
        near.close(),
        pair.a.shutdown()
    );
}
