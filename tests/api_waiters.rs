//! Every kind of waiter, and everything that happens at either end: what must wake it wakes it.

#![expect(clippy::unwrap_used, reason = "a test may fail this way")]

mod api;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use api::{Pair, numbered, poll_once, small, soon};
use futures_util::{SinkExt, StreamExt};
use narrowboat::{ChannelEvent, DataChannel, Message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

/// The tasks that wait at the near end, while the far end does not read and the near send buffer is full.
struct Waiting {
    pair: Pair,
    near: DataChannel,
    far: DataChannel,
    tasks: BTreeMap<&'static str, JoinHandle<()>>,
}

impl Waiting {
    async fn new() -> Self {
        let pair = Pair::with(small()).await;
        let (near, far) = pair.channel("waiters").await;
        soon(far.opened()).await.unwrap();
        soon(async {
            while near.try_send(numbered(0, 1000)).is_ok() || pair.a.stats().peer_rwnd > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        while let Poll::Ready(event) = poll_once(near.next_event()) {
            assert!(matches!(event, Some(ChannelEvent::Open | ChannelEvent::BufferedAmountLow)), "{event:?}");
        }
        let mut waiting = Self { pair, near, far, tasks: BTreeMap::new() };
        waiting.spawn_senders();
        waiting.spawn_readers();
        waiting.spawn_others();
        // Everybody is waiting by now.
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        let early = waiting.ended();
        assert!(early.is_empty(), "nothing has happened, and these have ended: {early:?}");
        waiting
    }

    fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.insert(name, tokio::spawn(task));
    }

    fn spawn_senders(&mut self) {
        let near = self.near.clone();
        self.spawn("send", async move { drop(near.send(numbered(1, 1000)).await) });
        let mut near = self.near.clone();
        self.spawn("Sink", async move { drop(SinkExt::send(&mut near, Message::from(numbered(2, 1000))).await) });
        let mut near = self.near.clone().into_byte_stream();
        self.spawn("AsyncWrite", async move { drop(near.write(&[3; 1000]).await) });
        let near = self.near.clone();
        self.spawn("buffered_amount_low", async move { near.buffered_amount_low().await });
    }

    fn spawn_readers(&mut self) {
        let near = self.near.clone();
        self.spawn("recv", async move { drop(near.recv().await) });
        let mut near = self.near.clone();
        self.spawn("Stream", async move { drop(near.next().await) });
        let mut near = self.near.clone().into_byte_stream();
        self.spawn("AsyncRead", async move { drop(near.read(&mut [0; 10]).await) });
    }

    fn spawn_others(&mut self) {
        let near = self.near.clone();
        self.spawn("channel.closed", async move { drop(near.closed().await) });
        let near = self.near.clone();
        self.spawn("next_event", async move { drop(near.next_event().await) });
        let a = self.pair.a.clone();
        self.spawn("accept_channel", async move { drop(a.accept_channel().await) });
        let a = self.pair.a.clone();
        self.spawn("association.closed", async move { drop(a.closed().await) });
        let client = self.pair.client.clone();
        self.spawn("accept", async move { drop(client.accept().await) });
        let client = self.pair.client.clone();
        self.spawn("wait_idle", async move { client.wait_idle().await });
    }

    fn ended(&self) -> Vec<&'static str> {
        self.tasks.iter().filter(|(_, task)| task.is_finished()).map(|(name, _)| *name).collect()
    }
}

type Act = for<'a> fn(&'a mut Waiting) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// The waiters that an event must end, in words of one column each.
const SENDERS: &[&str] = &["send", "Sink", "AsyncWrite"];
const READERS: &[&str] = &["recv", "Stream", "AsyncRead"];
const CHANNEL: &[&str] = &[
    "send",
    "Sink",
    "AsyncWrite",
    "buffered_amount_low",
    "recv",
    "Stream",
    "AsyncRead",
    "channel.closed",
    "next_event",
];
const ASSOCIATION: &[&str] = &["accept_channel", "association.closed", "wait_idle"];

fn events() -> Vec<(&'static str, Act, Vec<&'static str>)> {
    let all = |lists: &[&[&'static str]]| lists.concat();
    vec![
        (
            "this end closes the channel",
            |w| Box::pin(async { drop(w.near.close()) }),
            all(&[SENDERS, &["buffered_amount_low"]]),
        ),
        (
            "this end closes the channel and discards what waits",
            |w| {
                Box::pin(async {
                    drop(w.near.close());
                    w.near.discard_unsent();
                })
            },
            all(&[CHANNEL]),
        ),
        (
            "this end raises the threshold of the buffered amount",
            |w| Box::pin(async { w.near.set_buffered_amount_low_threshold(1 << 20) }),
            vec!["buffered_amount_low"],
        ),
        (
            "this end shuts the association down",
            |w| Box::pin(async { drop(w.pair.a.shutdown()) }),
            all(&[SENDERS, &["accept_channel"]]),
        ),
        ("this end aborts the association", |w| Box::pin(async { w.pair.a.abort("") }), all(&[CHANNEL, ASSOCIATION])),
        (
            "this end closes the endpoint",
            |w| Box::pin(async { w.pair.client.close() }),
            all(&[SENDERS, &["accept_channel", "accept"]]),
        ),
        (
            "this end aborts the endpoint",
            |w| Box::pin(async { w.pair.client.abort("") }),
            all(&[CHANNEL, ASSOCIATION, &["accept"]]),
        ),
        // Its own direction ends when the peer has taken what is in flight, for which it has to read.
        (
            "the peer closes the channel",
            |w| Box::pin(async { drop(w.far.close()) }),
            all(&[SENDERS, READERS, &["buffered_amount_low", "next_event"]]),
        ),
        ("the peer aborts", |w| Box::pin(async { w.pair.b.abort("") }), all(&[CHANNEL, ASSOCIATION])),
        ("the peer shuts down", |w| Box::pin(async { drop(w.pair.b.shutdown()) }), all(&[SENDERS])),
        (
            "the peer reads",
            |w| {
                Box::pin(async {
                    let far = w.far.clone();
                    tokio::spawn(async move { while far.recv().await.is_some() {} });
                })
            },
            all(&[SENDERS, &["buffered_amount_low", "next_event"]]),
        ),
        (
            "the peer sends",
            |w| {
                Box::pin(async {
                    for _ in 0..3 {
                        w.far.send("one for each reader").await.unwrap();
                    }
                })
            },
            READERS.to_vec(),
        ),
        (
            "the peer opens a channel",
            |w| Box::pin(async { std::mem::forget(w.pair.b.create_channel("new").unwrap()) }),
            vec!["accept_channel"],
        ),
        (
            "a peer dials",
            |w| {
                Box::pin(async {
                    let address = w.pair.client.local_address();
                    std::mem::forget(w.pair.server.clone());
                    let third = narrowboat::Endpoint::bind("127.0.0.1:0").unwrap();
                    std::mem::forget(third.dial(address).unwrap());
                })
            },
            vec!["accept"],
        ),
    ]
}

async fn everybody_is_woken() {
    for (event, act, must_end) in events() {
        let mut waiting = Waiting::new().await;
        act(&mut waiting).await;
        let missing = |waiting: &Waiting| {
            let ended = waiting.ended();
            must_end.iter().copied().filter(|name| !ended.contains(name)).collect::<Vec<_>>()
        };
        let woken = tokio::time::timeout(Duration::from_secs(5), async {
            while !missing(&waiting).is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        assert!(woken.await.is_ok(), "{event}: these sleep through it: {:?}", missing(&waiting));
        waiting.tasks.values().for_each(JoinHandle::abort);
    }
}

#[tokio::test]
async fn every_waiter_is_woken_by_what_happens_at_either_end_on_one_thread() {
    everybody_is_woken().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_waiter_is_woken_by_what_happens_at_either_end_on_two_threads() {
    everybody_is_woken().await;
}
