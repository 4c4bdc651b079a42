//! Closing through the async API: either end, at various times, and the fate of the messages under way.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod api;

use api::{Pair, number, numbered, poll_once, small, soon};
use narrowboat::error::{ChannelError, CloseReason, ConnectError, SendError, TryRecvError};
use narrowboat::{ChannelEvent, Endpoint, Message, ReadyState};

#[tokio::test]
async fn a_close_is_begun_though_its_future_is_dropped() {
    let pair = Pair::new().await;
    let (near, far) = pair.channel("dropped").await;
    drop(near.close());
    assert_eq!(near.ready_state(), ReadyState::Closing);
    assert_eq!(near.send("late").await, Err(SendError::NotOpen(ReadyState::Closing)));
    soon(near.closed()).await.unwrap();
    soon(far.closed()).await.unwrap();
    assert_eq!(near.send("late").await, Err(SendError::NotOpen(ReadyState::Closed)));
}

#[tokio::test]
async fn the_last_handle_closes_and_not_the_first() {
    let pair = Pair::new().await;
    let (near, far) = pair.channel("handles").await;
    let other = near.clone();
    let (send, receive) = near.split();
    drop(send);
    drop(other);
    receive.channel().send("still open").await.unwrap();
    assert_eq!(soon(far.recv()).await.unwrap().unwrap(), Message::from("still open"));
    drop(receive);
    assert_eq!(soon(far.recv()).await, None);
    soon(far.closed()).await.unwrap();
}

#[tokio::test]
async fn what_was_accepted_is_delivered_before_the_close() {
    let pair = Pair::with(small()).await;
    let (near, far) = pair.channel("queued").await;
    let mut sent = 0;
    while near.try_send(numbered(sent, 1000)).is_ok() {
        sent += 1;
    }
    let closing = near.close();
    drop(near);
    for n in 0..sent {
        assert_eq!(number(&soon(far.recv()).await.unwrap().unwrap()), n);
    }
    assert_eq!(soon(far.recv()).await, None);
    soon(closing).await.unwrap();
}

#[tokio::test]
async fn what_arrived_before_the_end_can_be_read_after_it() {
    let pair = Pair::new().await;
    let (near, far) = pair.channel("unread").await;
    for n in 0..3 {
        far.send(numbered(n, 10)).await.unwrap();
    }
    soon(far.close()).await.unwrap();
    soon(near.closed()).await.unwrap();
    for n in 0..3 {
        assert_eq!(number(&near.recv().await.unwrap().unwrap()), n);
    }
    assert_eq!(near.recv().await, None);
    assert_eq!(near.try_recv(), Err(TryRecvError::Closed));
}

#[tokio::test]
async fn both_ends_close_at_once() {
    let pair = Pair::new().await;
    let (near, far) = pair.channel("both").await;
    let (near_closing, far_closing) = (near.close(), far.close());
    soon(near_closing).await.unwrap();
    soon(far_closing).await.unwrap();
    for channel in [near, far] {
        assert_eq!(channel.next_event().await, Some(ChannelEvent::Open));
        assert_eq!(channel.next_event().await, Some(ChannelEvent::Close));
        assert_eq!(channel.next_event().await, None);
    }
}

#[tokio::test]
async fn a_close_outlives_every_handle() {
    let pair = Pair::new().await;
    let (near, far) = pair.channel("outlived").await;
    let closing = near.close();
    let shutting_down = pair.a.shutdown();
    let Pair { client, server: _server, a, b } = pair;
    drop((near, a, client));
    soon(closing).await.unwrap();
    soon(shutting_down).await.unwrap();
    soon(far.closed()).await.unwrap();
    assert_eq!(soon(b.closed()).await, CloseReason::Shutdown);
}

#[tokio::test]
async fn dropping_every_handle_delivers_everything_and_shuts_down() {
    let pair = Pair::with(small()).await;
    let (near, far) = pair.channel("dropped").await;
    let mut sent = 0;
    while near.try_send(numbered(sent, 1000)).is_ok() {
        sent += 1;
    }
    let Pair { client, server, a, b } = pair;
    drop((near, a));
    for n in 0..sent {
        assert_eq!(number(&soon(far.recv()).await.unwrap().unwrap()), n);
    }
    assert_eq!(soon(far.recv()).await, None);
    assert_eq!(soon(b.closed()).await, CloseReason::Shutdown);
    soon(client.wait_idle()).await;
    soon(server.wait_idle()).await;
    assert!(b.accept_channel().await.is_none());
    assert!(b.create_channel("late").is_err());
}

#[tokio::test]
async fn an_abort_is_one_error_after_the_messages_that_came_before_it() {
    let pair = Pair::new().await;
    let (near, far) = pair.channel("aborted").await;
    near.send("before").await.unwrap();
    // The first message is here, the second may be lost with the association.
    while far.ready_state() == ReadyState::Open && pair.b.stats().messages_received < 2 {
        tokio::task::yield_now().await;
    }
    pair.a.abort("enough");
    let reason = soon(pair.b.closed()).await;
    assert!(matches!(&reason, CloseReason::PeerAbort { text, .. } if text == "enough"), "{reason}");
    assert_eq!(soon(far.recv()).await.unwrap().unwrap(), Message::from("before"));
    assert_eq!(far.recv().await, Some(Err(ChannelError::Association(reason.clone()))));
    assert_eq!(far.recv().await, None);
    assert_eq!(far.closed().await, Err(ChannelError::Association(reason.clone())));
    assert_eq!(far.send("late").await, Err(SendError::Failed(ChannelError::Association(reason.clone()))));
    assert_eq!(soon(near.closed()).await, Err(ChannelError::Association(CloseReason::LocalAbort)));
    assert_eq!(soon(pair.a.shutdown()).await, Err(CloseReason::LocalAbort));
    let mut events = Vec::new();
    while let Some(event) = far.next_event().await {
        events.push(event);
    }
    let error = ChannelError::Association(reason);
    assert_eq!(events, [ChannelEvent::Open, ChannelEvent::Error(error), ChannelEvent::Close]);
    soon(pair.client.wait_idle()).await;
    soon(pair.server.wait_idle()).await;
}

#[tokio::test]
async fn a_peer_that_does_not_read_cannot_hold_up_a_close_for_ever() {
    let pair = Pair::with(small()).await;
    let (near, far) = pair.channel("unread").await;
    for n in 0..24 {
        soon(near.send(numbered(n, 1000))).await.unwrap();
    }
    let mut closing = near.close();
    assert!(poll_once(&mut closing).is_pending());
    assert!(near.discard_unsent() > 0);
    assert_eq!(soon(closing).await, Ok(()));
    assert_eq!(near.ready_state(), ReadyState::Closed);
    drop(far);
}

#[tokio::test]
async fn ids_are_reused_and_each_channel_has_its_own_end() {
    let pair = Pair::new().await;
    let mut ids = std::collections::BTreeSet::new();
    for n in 0..200_u32 {
        let (near, far) = pair.channel(&n.to_string()).await;
        ids.insert(near.id());
        near.send(numbered(n, 4)).await.unwrap();
        assert_eq!(number(&soon(far.recv()).await.unwrap().unwrap()), n);
        let (one, other) = tokio::join!(soon(near.close()), soon(far.closed()));
        one.unwrap();
        other.unwrap();
    }
    assert!(ids.len() < 200, "no id was used again");
}

/// An application that has awaited the end of the association may exit: the last datagram, SHUTDOWN COMPLETE or ABORT,
/// has been sent.
#[tokio::test]
async fn an_association_has_ended_for_the_peer_too_when_its_runtime_ends_right_after() {
    for is_graceful in [true, false] {
        let server = Endpoint::bind("127.0.0.1:0").unwrap();
        let address = server.local_address();
        let process = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let association = Endpoint::bind("127.0.0.1:0").unwrap().connect(address).await.unwrap();
                if is_graceful {
                    association.shutdown().await.unwrap();
                } else {
                    association.abort("enough");
                    association.closed().await;
                }
            });
        });
        let b = soon(server.accept()).await.unwrap().await.unwrap();
        let reason = soon(b.closed()).await;
        assert_eq!(reason == CloseReason::Shutdown, is_graceful, "{reason}");
        process.join().unwrap();
    }
}

#[tokio::test]
async fn the_peer_can_be_dialled_again_as_soon_as_an_association_has_ended() {
    let (client, server) = (Endpoint::bind("127.0.0.1:0").unwrap(), Endpoint::bind("127.0.0.1:0").unwrap());
    let address = server.local_address();
    for _ in 0..50 {
        let (a, incoming) = soon(async { tokio::join!(client.connect(address), server.accept()) }).await;
        let b = incoming.unwrap().await.unwrap();
        soon(a.unwrap().shutdown()).await.unwrap();
        soon(b.closed()).await;
    }
    let refusing = Endpoint::builder().bind("127.0.0.1:0").build().unwrap();
    for _ in 0..50 {
        let refused = soon(client.connect(refusing.local_address())).await;
        assert!(matches!(refused, Err(ConnectError::Closed { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn handles_of_an_association_whose_runtime_is_gone_do_not_hang() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let elsewhere = runtime();
    // The far end lives on, so that nothing but the end of the runtime closes the channel.
    let (pair, near, _far) = elsewhere
        .spawn(async {
            let pair = Pair::new().await;
            let (near, far) = pair.channel("orphan").await;
            (pair, near, far)
        })
        .await
        .unwrap();
    elsewhere.shutdown_background();
    assert_eq!(soon(pair.a.closed()).await, CloseReason::LocalAbort);
    assert_eq!(soon(near.closed()).await, Err(ChannelError::Association(CloseReason::LocalAbort)));
    assert!(matches!(soon(pair.a.connected()).await, Err(ConnectError::Closed { .. })));
}

/// The answer to the peer's reset has left when `close` resolves: the program may end then, and the peer's `recv` says
/// `None` at once, without waiting for a time-out.
#[tokio::test]
async fn a_channel_has_ended_for_the_peer_too_when_the_runtime_ends_right_after_its_close() {
    for round in 0..20 {
        let server = Endpoint::bind("127.0.0.1:0").unwrap();
        let address = server.local_address();
        let process = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let client = Endpoint::bind("127.0.0.1:0").unwrap();
                let channel = client.connect(address).await.unwrap().open_channel("last").await.unwrap();
                for n in 0..50 {
                    channel.send(numbered(n, 20_000)).await.unwrap();
                }
                channel.close().await.unwrap();
            });
            runtime.shutdown_background();
        });
        let b = soon(server.accept()).await.unwrap().await.unwrap();
        let far = soon(b.accept_channel()).await.unwrap();
        for n in 0..50 {
            assert_eq!(number(&soon(far.recv()).await.unwrap().unwrap()), n);
        }
        assert_eq!(soon(far.recv()).await, None, "round {round}");
        assert_eq!(soon(far.closed()).await, Ok(()), "round {round}");
        process.join().unwrap();
    }
}

/// The reader need not wait until both directions are reset.
#[tokio::test]
async fn recv_says_none_as_soon_as_the_peer_has_closed_though_this_end_has_something_to_send() {
    let pair = Pair::with(small()).await;
    let (near, far) = pair.channel("half").await;
    while near.try_send(numbered(0, 1000)).is_ok() || pair.a.stats().peer_rwnd > 0 {
        tokio::task::yield_now().await;
    }
    // This end drains first, which takes as long as the peer does not read.
    let closing = near.close();
    far.send("last").await.unwrap();
    drop(far.close());
    assert_eq!(soon(near.recv()).await.unwrap().unwrap(), Message::from("last"));
    assert_eq!(soon(near.recv()).await, None);
    assert_eq!(near.recv().await, None);
    assert_eq!(near.ready_state(), ReadyState::Closing);
    while far.recv().await.is_some() {}
    soon(closing).await.unwrap();
}

/// A page's `pc.close()` is an ABORT, and no failure.
#[test]
fn one_call_tells_an_orderly_end_from_a_failure() {
    let abort = |cause, text: &str| CloseReason::PeerAbort { cause, text: text.to_owned() };
    for (reason, is_orderly) in [
        (CloseReason::Shutdown, true),
        (abort(Some(12), "Close called"), true),
        (abort(Some(12), ""), true),
        (CloseReason::Transport(narrowboat::error::TransportFailure::ClosedByPeer), true),
        (abort(Some(12), "too slow"), false),
        (abort(Some(13), ""), false),
        (abort(None, ""), false),
        (CloseReason::LocalAbort, false),
        (CloseReason::PeerUnreachable, false),
        (CloseReason::Transport(narrowboat::error::TransportFailure::ConsentExpired), false),
    ] {
        assert_eq!(reason.is_orderly(), is_orderly, "{reason}");
        assert_eq!(ChannelError::Association(reason).is_orderly(), is_orderly);
    }
    assert!(!ChannelError::PeerRestarted.is_orderly());
}
