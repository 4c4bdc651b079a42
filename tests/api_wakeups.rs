//! Many tasks on one channel, and many channels on one budget: everyone gets a turn, nobody sleeps through it.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test may fail this way")]

mod api;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use api::{Pair, number, numbered, small, soon};

const SENDERS: u32 = 40;
const RECEIVERS: u32 = 8;
const MESSAGES: u32 = 25;

async fn many_tasks_share_a_channel() {
    let pair = Pair::with(small()).await;
    let (near, far) = pair.channel("shared").await;
    let received = Arc::new(Mutex::new(BTreeSet::new()));
    let mut receivers = tokio::task::JoinSet::new();
    for _ in 0..RECEIVERS {
        let (far, received) = (far.clone(), Arc::clone(&received));
        receivers.spawn(async move {
            while let Some(message) = far.recv().await {
                assert!(received.lock().unwrap().insert(number(&message.unwrap())), "a message came twice");
            }
        });
    }
    let mut senders = tokio::task::JoinSet::new();
    for sender in 0..SENDERS {
        let near = near.clone();
        senders.spawn(async move {
            for n in 0..MESSAGES {
                near.send(numbered(sender * MESSAGES + n, 900)).await.unwrap();
            }
        });
    }
    soon(senders.join_all()).await;
    soon(near.close()).await.unwrap();
    soon(receivers.join_all()).await;
    assert_eq!(received.lock().unwrap().len() as u32, SENDERS * MESSAGES);
}

#[tokio::test]
async fn many_tasks_share_a_channel_on_one_thread() {
    many_tasks_share_a_channel().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_share_a_channel_on_many_threads() {
    many_tasks_share_a_channel().await;
}

/// The send buffer is shared by all channels; those that found it full are all told when it is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_channels_share_a_budget_and_none_sleeps_through_its_turn() {
    let pair = Pair::with(small()).await;
    let arrived = Arc::new(AtomicU32::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..SENDERS {
        let (near, far) = pair.channel(&n.to_string()).await;
        let arrived = Arc::clone(&arrived);
        tasks.spawn(async move {
            for n in 0..MESSAGES {
                near.send(numbered(n, 3000)).await.unwrap();
            }
            near.close().await.unwrap();
        });
        tasks.spawn(async move {
            while let Some(message) = far.recv().await {
                message.unwrap();
                arrived.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    soon(tasks.join_all()).await;
    assert_eq!(arrived.load(Ordering::Relaxed), SENDERS * MESSAGES);
}

/// Some of the woken tasks are gone before they look. The others must not wait for them.
#[tokio::test]
async fn a_wake_up_is_not_lost_with_the_task_that_got_it() {
    let pair = Pair::with(small()).await;
    let (near, far) = pair.channel("gone").await;
    let mut sent = 0;
    // Full, and only the probe of the closed window is on its way: the peer's reader alone can make room.
    soon(async {
        while near.try_send(numbered(sent, 1000)).map(|()| sent += 1).is_ok() || pair.a.stats().peer_rwnd > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let wait = |n| {
        let near = near.clone();
        tokio::spawn(async move { near.send(numbered(n, 1000)).await.unwrap() })
    };
    let waiting: Vec<_> = (0..20).map(|n| wait(1000 + n)).collect();
    tokio::task::yield_now().await;
    let mut last = None;
    for (n, task) in waiting.into_iter().enumerate() {
        if n % 2 == 0 {
            task.abort();
        } else {
            last = Some(task);
        }
    }
    let reader = tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Some(message) = far.recv().await {
            kept.push(number(&message.unwrap()));
        }
        kept
    });
    soon(last.unwrap()).await.unwrap();
    soon(near.close()).await.unwrap();
    let read = soon(reader).await.unwrap();
    let late: Vec<u32> = read[sent as usize..].to_vec();
    assert_eq!(late, (0..20).filter(|n| n % 2 == 1).map(|n| 1000 + n).collect::<Vec<_>>());
}

/// A task that always finds a message still lets others run.
#[tokio::test]
async fn a_busy_reader_starves_nobody() {
    let pair = Pair::new().await;
    let (near, far) = pair.channel("busy").await;
    for n in 0..2000 {
        near.send(numbered(n, 10)).await.unwrap();
    }
    soon(async {
        while pair.b.stats().messages_received < 2001 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let has_run = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&has_run);
    tokio::spawn(async move { flag.store(true, Ordering::Relaxed) });
    for _ in 0..2000 {
        far.recv().await.unwrap().unwrap();
    }
    assert!(has_run.load(Ordering::Relaxed));
}
