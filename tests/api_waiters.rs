//! Every kind of waiter, and every event at either end: each event wakes the waiters that it concerns.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
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
    /// Another channel, with room in its send buffer.
    noted: DataChannel,
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
        let noted = pair.a.create_channel("noted").unwrap();
        let mut waiting = Self { pair, near, far, noted, tasks: BTreeMap::new() };
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
        let noted = self.noted.clone();
        self.spawn("receipt", async move { _ = noted.send_with_receipt(numbered(3, 1000)).await.unwrap().await });
        let noted = self.noted.clone();
        self.spawn("receipt.sent", async move {
            _ = noted.send_with_receipt(numbered(4, 1000)).await.unwrap().sent().await;
        });
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
const RECEIPTS: &[&str] = &["receipt", "receipt.sent"];
const ASSOCIATION: &[&str] = &["accept_channel", "association.closed", "wait_idle", "receipt", "receipt.sent"];

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
        // Its own direction ends when the peer has read the data in flight, so the peer has to read.
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
            all(&[SENDERS, RECEIPTS, &["buffered_amount_low", "next_event"]]),
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

/// The tasks that wait for an association and a channel to begin: the peer has not answered yet.
async fn beginning() -> (Begun, BTreeMap<&'static str, JoinHandle<()>>) {
    let mut config = narrowboat::Config::default();
    config.association.rto_initial = config.association.rto_min;
    let client = narrowboat::Endpoint::builder().bind("127.0.0.1:0").config(config).build().unwrap();
    let silent = [(); 2].map(|()| std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
    let [address, other] = silent.each_ref().map(|socket| socket.local_addr().unwrap());
    let association = client.dial(address).unwrap();
    let channel = association.create_channel("begun").unwrap();
    let mut tasks = BTreeMap::new();
    let connecting = client.clone();
    tasks.insert("connect", tokio::spawn(async move { drop(connecting.connect(other).await) }));
    let waits = association.clone();
    tasks.insert("connected", tokio::spawn(async move { drop(waits.connected().await) }));
    let waits = association.clone();
    tasks.insert("open_channel", tokio::spawn(async move { drop(waits.open_channel("another").await) }));
    let waits = channel.clone();
    tasks.insert("opened", tokio::spawn(async move { drop(waits.opened().await) }));
    (Begun { client, association, channel, silent: Some(silent), servers: Vec::new() }, tasks)
}

struct Begun {
    client: narrowboat::Endpoint,
    association: narrowboat::Association,
    channel: DataChannel,
    /// Sockets that never answer.
    silent: Option<[std::net::UdpSocket; 2]>,
    servers: Vec<narrowboat::Endpoint>,
}

impl Begun {
    /// Services are started at the addresses that have not answered.
    fn answer(&mut self) {
        let addresses = self.silent.take().unwrap().map(|socket| socket.local_addr().unwrap());
        self.servers = addresses.map(|address| narrowboat::Endpoint::bind(address).unwrap()).into();
    }
}

/// The tasks that wait for an end that has begun at this end, while the peer does not read.
async fn ending() -> (Waiting, BTreeMap<&'static str, JoinHandle<()>>) {
    let mut waiting = Waiting::new().await;
    std::mem::take(&mut waiting.tasks).values().for_each(JoinHandle::abort);
    let mut tasks = BTreeMap::new();
    let near = waiting.near.clone();
    tasks.insert("close", tokio::spawn(async move { drop(near.close().await) }));
    let mut near = waiting.near.clone();
    tasks.insert("Sink.close", tokio::spawn(async move { drop(SinkExt::close(&mut near).await) }));
    let mut near = waiting.near.clone().into_byte_stream();
    tasks.insert("AsyncWrite.shutdown", tokio::spawn(async move { drop(near.shutdown().await) }));
    let a = waiting.pair.a.clone();
    tasks.insert("shutdown", tokio::spawn(async move { drop(a.shutdown().await) }));
    (waiting, tasks)
}

const BEGINNING: &[&str] = &["connect", "connected", "open_channel", "opened"];
const ENDING: &[&str] = &["close", "Sink.close", "AsyncWrite.shutdown", "shutdown"];

async fn all_end(event: &str, tasks: &BTreeMap<&'static str, JoinHandle<()>>, must_end: &[&str]) {
    let missing = || must_end.iter().copied().filter(|name| !tasks[name].is_finished()).collect::<Vec<_>>();
    let woken = tokio::time::timeout(Duration::from_secs(10), async {
        while !missing().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    assert!(woken.await.is_ok(), "{event}: these sleep through it: {:?}", missing());
    tasks.values().for_each(JoinHandle::abort);
}

async fn none_has_ended(tasks: &BTreeMap<&'static str, JoinHandle<()>>) {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    let early: Vec<_> = tasks.iter().filter(|(_, task)| task.is_finished()).map(|(name, _)| name).collect();
    assert!(early.is_empty(), "nothing has happened, and these have ended: {early:?}");
}

#[tokio::test]
async fn whoever_waits_for_a_beginning_is_woken_by_it_and_by_what_prevents_it() {
    type Act = fn(&mut Begun);
    let events: [(&str, Act, &[&str]); 5] = [
        ("the peers answer", Begun::answer, BEGINNING),
        ("this end aborts the association", |begun| begun.association.abort(""), &BEGINNING[1..]),
        ("this end aborts the endpoint", |begun| begun.client.abort(""), BEGINNING),
        ("this end closes the endpoint", |begun| begun.client.close(), &["connect"]),
        ("this end closes the channel", |begun| drop(begun.channel.close()), &["opened"]),
    ];
    for (event, act, must_end) in events {
        let (mut begun, tasks) = beginning().await;
        none_has_ended(&tasks).await;
        act(&mut begun);
        all_end(event, &tasks, must_end).await;
    }
}

#[tokio::test]
async fn whoever_waits_for_an_end_that_has_begun_is_woken_by_it_and_by_every_other_end() {
    type Act = fn(&Waiting);
    let events: [(&str, Act, &[&str]); 5] = [
        ("this end aborts the association", |w| w.pair.a.abort(""), ENDING),
        ("this end aborts the endpoint", |w| w.pair.client.abort(""), ENDING),
        ("the peer aborts the association", |w| w.pair.b.abort(""), ENDING),
        ("the peer aborts its endpoint", |w| w.pair.server.abort(""), ENDING),
        (
            "the peer reads",
            |w| {
                let far = w.far.clone();
                tokio::spawn(async move { while far.recv().await.is_some() {} });
            },
            ENDING,
        ),
    ];
    for (event, act, must_end) in events {
        let (waiting, tasks) = ending().await;
        none_has_ended(&tasks).await;
        act(&waiting);
        all_end(event, &tasks, must_end).await;
    }
}

/// Coverage of each way to wait in the public API: by a waiter of this file, or not, for a reason.
const COVERED: &[(&str, Result<&str, &str>)] = &[
    ("handle/mod.rs: fn accept_channel", Ok("accept_channel")),
    ("handle/mod.rs: fn closed", Ok("association.closed")),
    ("handle/mod.rs: fn connected", Ok("connected")),
    ("handle/mod.rs: fn open_channel", Ok("open_channel")),
    ("handle/mod.rs: Future for ShuttingDown", Ok("shutdown")),
    ("handle/mod.rs: fn open_byte_stream", Err("it calls `open_channel`")),
    ("channel/byte_stream/halves.rs: AsyncBufRead for ByteReadHalf", Err("AsyncRead calls it")),
    ("channel/byte_stream/halves.rs: AsyncRead for ByteReadHalf", Err("the stream's calls it")),
    ("channel/byte_stream/halves.rs: AsyncWrite for ByteWriteHalf", Err("the stream's calls it")),
    ("channel/byte_stream/mod.rs: AsyncBufRead for ByteStream", Err("AsyncRead calls it")),
    ("channel/byte_stream/mod.rs: AsyncRead for ByteStream", Ok("AsyncRead")),
    ("channel/byte_stream/mod.rs: AsyncWrite for ByteStream", Ok("AsyncWrite")),
    ("channel/close_future.rs: Future for Closing", Ok("close")),
    ("channel/mod.rs: fn buffered_amount_low", Ok("buffered_amount_low")),
    ("channel/mod.rs: fn closed", Ok("channel.closed")),
    ("channel/mod.rs: fn next_event", Ok("next_event")),
    ("channel/mod.rs: fn opened", Ok("opened")),
    ("channel/mod.rs: fn recv", Ok("recv")),
    ("channel/mod.rs: fn send", Ok("send")),
    ("channel/mod.rs: fn send_with_receipt", Err("it waits as `send` does")),
    ("channel/receipt.rs: Future for Receipt", Ok("receipt")),
    ("channel/receipt.rs: fn sent", Ok("receipt.sent")),
    ("channel/sink.rs: Sink<Message> for DataChannel", Ok("Sink")),
    ("channel/sink.rs: Sink<Message> for SendHalf", Err("it calls the channel's")),
    ("channel/sink.rs: Stream for DataChannel", Ok("Stream")),
    ("channel/sink.rs: Stream for RecvHalf", Err("it calls the channel's")),
    ("channel/split.rs: fn recv", Err("it calls the channel's")),
    ("channel/split.rs: fn send", Err("it calls the channel's")),
    ("channel/split.rs: fn send_with_receipt", Err("it calls the channel's")),
    ("endpoint/incoming.rs: Future for Accepting", Err("it waits for `connected`")),
    ("endpoint/mod.rs: fn accept", Ok("accept")),
    ("endpoint/mod.rs: fn connect", Ok("connect")),
    ("endpoint/mod.rs: fn wait_idle", Ok("wait_idle")),
];

/// The ways to wait that the sources of the library have.
fn public_waits() -> Vec<String> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut found) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
            if path.is_dir() {
                // The command is not part of the library, and no type below has a public way to wait.
                if name != "bin" {
                    folders.push(path);
                }
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for line in text.lines() {
                if let Some(signature) =
                    line.strip_prefix("    pub async fn ").or_else(|| line.strip_prefix("pub async fn "))
                {
                    found.push(format!("{name}: fn {}", signature.split(['(', '<']).next().unwrap()));
                }
                let traits = ["Future", "Stream", "Sink", "AsyncRead", "AsyncBufRead", "AsyncWrite"];
                if let Some(implementation) = line.strip_prefix("impl ").and_then(|line| line.strip_suffix(" {"))
                    && traits.contains(&implementation.split(['<', ' ']).next().unwrap())
                {
                    found.push(format!("{name}: {implementation}"));
                }
            }
        }
    }
    found.sort();
    found
}

#[test]
fn every_way_to_wait_is_in_a_table_of_events_and_ends_with_its_runtime() {
    let mut listed: Vec<_> = COVERED.iter().map(|(wait, _)| (*wait).to_owned()).collect();
    listed.sort();
    assert_eq!(public_waits(), listed, "a way to wait is new or gone: enter it, and the waiter that covers it");
    let ends: Vec<&str> = events().into_iter().flat_map(|(_, _, must_end)| must_end).collect();
    let covers = COVERED.iter().filter_map(|(_, covered)| covered.ok()).chain(["Sink.close", "AsyncWrite.shutdown"]);
    for waiter in covers {
        let is_ended = [&ends[..], BEGINNING, ENDING].concat().contains(&waiter);
        assert!(is_ended, "no event of a table ends {waiter}");
        let runtime = include_str!("api_runtime.rs");
        assert!(runtime.contains(&format!("waits!(\"{waiter}\"")), "api_runtime.rs does not have {waiter}");
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
