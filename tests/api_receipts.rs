//! Receipts of messages: sent, acknowledged, or abandoned and why; and what a channel tells about dropped messages.
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod api;

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use api::{Pair, drop_after, numbered, poll_once, small, soon};
use narrowboat::error::TrySendError;
use narrowboat::{
    AbandonReason, ChannelEvent, ChannelOptions, DataChannel, Endpoint, ReadyState, ReceiptStatus, SendPolicy,
    WaitingMax,
};

/// Sends until the buffers of both ends have been full for a while: nothing more leaves until the peer reads.
async fn fill(channel: &DataChannel) {
    let mut refused = 0;
    while refused < 30 {
        match channel.try_send(vec![0; 1_000]) {
            Ok(()) => refused = 0,
            Err(TrySendError::Full(_)) => {
                refused += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_receipt_resolves_when_the_peer_has_acknowledged_the_message() {
    let pair = Pair::new().await;
    let (near, far) = pair.channel("receipts").await;
    let mut receipt = near.send_with_receipt("message").await.unwrap();
    soon(receipt.sent()).await.unwrap();
    assert_eq!(soon(&mut receipt).await, Ok(()));
    assert_eq!(receipt.status(), ReceiptStatus::Acknowledged);
    assert_eq!(soon(&mut receipt).await, Ok(()), "as often as it is asked");
    assert!(soon(far.recv()).await.is_some());
    // The halves have them too.
    let (sender, _receiver) = near.split();
    assert_eq!(soon(soon(sender.send_with_receipt("half")).await.unwrap()).await, Ok(()));
    assert_eq!(soon(sender.try_send_with_receipt("at once").unwrap()).await, Ok(()));
}

#[tokio::test]
async fn several_tasks_wait_for_one_receipt_and_a_dropped_wait_harms_none() {
    let pair = Pair::with(small()).await;
    let (near, far) = pair.channel("receipts").await;
    fill(&near).await;
    near.set_send_policy(SendPolicy::new().drop_oldest(WaitingMax::Bytes(usize::MAX)));
    let receipt = Arc::new(soon(near.send_with_receipt("last")).await.unwrap());
    assert_eq!(receipt.status(), ReceiptStatus::Queued);
    assert!(poll_once(receipt.sent()).is_pending());
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let receipt = Arc::clone(&receipt);
            tokio::spawn(async move { receipt.sent().await })
        })
        .collect();
    tokio::task::yield_now().await;
    let reader = tokio::spawn(async move { while far.recv().await.is_some() {} });
    for task in waiting {
        assert_eq!(soon(task).await.unwrap(), Ok(()));
    }
    drop(near);
    soon(reader).await.unwrap();
}

#[tokio::test]
async fn h10_a_send_with_a_receipt_that_is_dropped_has_queued_nothing() {
    let pair = Pair::with(small()).await;
    let (near, far) = pair.channel("cancel").await;
    let mut dropped = 0;
    let send = async {
        let mut receipts = Vec::new();
        for n in 0..200 {
            let mut polls = 0;
            receipts.push(loop {
                match drop_after(polls % 3, near.send_with_receipt(numbered(n, 1000))).await {
                    Some(receipt) => break receipt.unwrap(),
                    None => dropped += 1,
                }
                polls += 1;
                tokio::task::yield_now().await;
            });
            // Every second receipt is dropped at once.
            if n % 2 == 0 {
                receipts.pop();
            }
        }
        for receipt in receipts {
            assert_eq!(receipt.await, Ok(()));
        }
    };
    let receive = async {
        for n in 0..200 {
            assert_eq!(api::number(&far.recv().await.unwrap().unwrap()), n);
        }
    };
    soon(async { tokio::join!(send, receive) }).await;
    assert!(dropped > 10, "the channel was hardly ever full");
}

#[tokio::test]
async fn a_channel_tells_what_it_dropped_and_why() {
    let pair = Pair::with(small()).await;
    let (near, far) = pair.channel("state").await;
    assert_eq!(soon(near.next_event()).await, Some(ChannelEvent::Open));
    fill(&near).await;
    let before = near.stats();
    assert_eq!(before.abandoned.total().messages(), 0);
    near.set_send_policy(SendPolicy::new().drop_oldest(WaitingMax::Messages(1)));
    // It drops all that waits but for the message that was begun, if there is one.
    let old = near.send_with_receipt("old").await.unwrap();
    let new = near.send_with_receipt("new").await.unwrap();
    assert_eq!(soon(old).await, Err(AbandonReason::Displaced));
    assert_eq!(new.status(), ReceiptStatus::Queued);
    let displaced = near.stats().abandoned.count(AbandonReason::Displaced);
    assert!(displaced.unsent >= 1 && displaced.sent == 0 && displaced.bytes >= 3, "{displaced:?}");
    assert_eq!(near.stats().messages_sent, before.messages_sent + 2);
    let event = loop {
        let event = soon(near.next_event()).await.unwrap();
        if event != ChannelEvent::BufferedAmountLow {
            break event;
        }
    };
    let (messages, bytes) = (displaced.unsent, displaced.bytes);
    assert_eq!(event, ChannelEvent::Abandoned { messages, bytes }, "several are one event");
    assert!(poll_once(near.next_event()).is_pending() || near.stats().abandoned.total().messages() == messages);
    // The text of a reason says what happened.
    assert_eq!(AbandonReason::Displaced.to_string(), "newer messages took the place of the message in the send queue");
    let reader = tokio::spawn(async move {
        let mut last = None;
        while let Some(message) = far.recv().await {
            last = Some(message.unwrap());
            if last.as_ref().is_some_and(|message| message.as_bytes() == b"new") {
                break;
            }
        }
        last.unwrap()
    });
    assert_eq!(soon(new).await, Ok(()));
    assert_eq!(soon(reader).await.unwrap().as_bytes(), b"new");
}

#[tokio::test]
async fn a_latency_budget_ends_a_receipt_though_nothing_moves() {
    let pair = Pair::with(small()).await;
    let (near, _far) = pair.channel("budget").await;
    fill(&near).await;
    near.set_send_policy(SendPolicy::new().latency_budget(Duration::from_millis(50)));
    let late = soon(near.send_with_receipt("late")).await.unwrap();
    assert_eq!(soon(late).await, Err(AbandonReason::LatencyBudget));
}

#[tokio::test]
async fn every_end_of_a_channel_and_of_an_association_ends_receipts() {
    // This end closes, and delivers first.
    let pair = Pair::new().await;
    let (near, far) = pair.channel("close").await;
    let receipt = near.send_with_receipt(vec![0; 100_000]).await.unwrap();
    let closing = near.close();
    let reader = tokio::spawn(async move { while far.recv().await.is_some() {} });
    assert_eq!(soon(receipt).await, Ok(()));
    soon(closing).await.unwrap();
    soon(reader).await.unwrap();
    assert_eq!(near.ready_state(), ReadyState::Closed);

    // The peer closes, and takes no more.
    let pair = Pair::with(small()).await;
    let (near, far) = pair.channel("peer").await;
    fill(&near).await;
    near.set_send_policy(SendPolicy::new().drop_oldest(WaitingMax::Messages(1)));
    let receipt = near.send_with_receipt("unsent").await.unwrap();
    drop(far);
    assert_eq!(soon(receipt).await, Err(AbandonReason::Discarded));

    // A close that is cut short.
    let pair = Pair::with(small()).await;
    let (near, far) = pair.channel("cut short").await;
    fill(&near).await;
    near.set_send_policy(SendPolicy::new().drop_oldest(WaitingMax::Messages(1)));
    let receipt = near.send_with_receipt("unsent").await.unwrap();
    drop(near.close());
    assert_eq!(receipt.status(), ReceiptStatus::Queued);
    near.discard_unsent();
    assert_eq!(soon(receipt).await, Err(AbandonReason::Discarded));
    drop(far);

    // Either end aborts; receipts outlive all handles.
    for aborts_here in [true, false] {
        let pair = Pair::with(small()).await;
        let (near, far) = pair.channel("abort").await;
        fill(&near).await;
        near.set_send_policy(SendPolicy::new().drop_oldest(WaitingMax::Messages(1)));
        let receipt = near.send_with_receipt("unsent").await.unwrap();
        let Pair { a, b, client, server } = pair;
        if aborts_here {
            a.abort("enough");
        } else {
            b.abort("enough");
        }
        drop((near, far, a, b));
        assert_eq!(soon(receipt).await, Err(AbandonReason::AssociationEnded), "aborts here: {aborts_here}");
        drop((client, server));
    }
}

#[test]
fn a_receipt_ends_with_the_runtime_of_its_association() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let mut kept = None;
    first.block_on(async {
        let pair = Pair::with(small()).await;
        let (near, far) = pair.channel("runtime").await;
        fill(&near).await;
        near.set_send_policy(SendPolicy::new().drop_oldest(WaitingMax::Messages(1)));
        let receipt = near.send_with_receipt("unsent").await.unwrap();
        assert!(matches!(poll_once(receipt.sent()), Poll::Pending));
        // The handles stay alive beyond the runtime.
        std::mem::forget((near, far));
        kept = Some(receipt);
    });
    drop(first);
    let receipt = kept.expect("set above");
    let result = runtime().block_on(async { soon(receipt).await });
    assert_eq!(result, Err(AbandonReason::AssociationEnded));
}

/// State that is fresh or not sent: the newest state replaces the one that waits.
#[tokio::test]
async fn a_channel_opened_with_a_policy_sends_its_newest_state() {
    let (service, client) = (Endpoint::bind("127.0.0.1:0").unwrap(), Endpoint::bind("127.0.0.1:0").unwrap());
    // Nothing leaves before the association is up.
    let (association, incoming) = tokio::join!(client.connect(service.local_address()), service.accept());
    let (association, peer) = (association.unwrap(), incoming.unwrap().await.unwrap());
    let latest = ChannelOptions::new("state").unordered().max_retransmits(0).drop_oldest(WaitingMax::Messages(1));
    let state = association.create_channel(latest).unwrap();
    let receipts = [state.send_with_receipt("1").await.unwrap(), state.send_with_receipt("2").await.unwrap()];
    let far = soon(peer.accept_channel()).await.unwrap();
    let mut ends = Vec::new();
    for receipt in receipts {
        ends.push(soon(receipt).await);
    }
    assert_eq!(ends.last(), Some(&Ok(())));
    let mut arrived = Vec::new();
    for _ in 0..ends.iter().filter(|end| end.is_ok()).count() {
        arrived.push(soon(far.recv()).await.unwrap().unwrap());
    }
    assert_eq!(arrived.last().map(|message| message.as_bytes()), Some(&b"2"[..]));
}
