//! The scenarios that are measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use narrowboat::{Association, Bytes, ChannelOptions, DataChannel, Endpoint, SocketStats};

use crate::process::{Mark, Usage};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Several endless transfers at once, each on an association of its own from a socket of its own to one socket.
pub(crate) struct Flow {
    senders: Vec<Endpoint>,
    associations: Vec<Association>,
    receiver: Endpoint,
    received: Vec<Arc<Received>>,
}

/// Data that one association has received.
#[derive(Debug, Default)]
struct Received {
    bytes: AtomicU64,
    messages: AtomicU64,
}

/// Results of a stretch of time.
pub(crate) struct Outcome {
    usage: Usage,
    bytes: Vec<u64>,
    messages: u64,
    datagrams: u64,
    send_calls: u64,
    datagrams_received: u64,
    receive_calls: u64,
    chunks: u64,
    repeated: u64,
}

impl Flow {
    /// Starts one transfer, over DTLS.
    pub(crate) async fn start_secure(message: usize) -> Result<Self> {
        let bind = || -> Result<Endpoint> {
            Ok(Endpoint::builder()
                .bind("127.0.0.1:0")
                .identity(narrowboat::Identity::generate()?)
                .accept_direct()
                .build()?)
        };
        let (sender, receiver) = (bind()?, bind()?);
        let ticket = receiver.ticket()?;
        let accept = async { Result::Ok(receiver.accept().await.ok_or("the endpoint was closed")?.await?) };
        let connect = async { Result::Ok(sender.connect(&ticket).await?) };
        let (out, into) = futures_util::future::join(connect, accept).await;
        let (association, out, into) = open(out?, into?).await?;
        tokio::spawn(send(out, Bytes::from(vec![7; message])));
        let received = Arc::new(Received::default());
        tokio::spawn(receive(into, Arc::clone(&received)));
        Ok(Self { senders: vec![sender], associations: vec![association], receiver, received: vec![received] })
    }

    /// Starts this number of transfers.
    pub(crate) async fn start(flows: usize, message: usize) -> Result<Self> {
        let receiver = Endpoint::bind("127.0.0.1:0")?;
        let (mut senders, mut associations, mut received) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..flows {
            let sender = Endpoint::bind("127.0.0.1:0")?;
            let (association, out, into) = channels(&sender, &receiver).await?;
            tokio::spawn(send(out, Bytes::from(vec![7; message])));
            let counters = Arc::new(Received::default());
            tokio::spawn(receive(into, Arc::clone(&counters)));
            senders.push(sender);
            associations.push(association);
            received.push(counters);
        }
        Ok(Self { senders, associations, receiver, received })
    }

    /// Returns the address of the receiving end.
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.receiver.local_address()
    }

    /// Checks that the receiving end has refused so far.
    pub(crate) fn checks_refused(&self) -> u64 {
        self.receiver.stats().secure.checks_refused
    }

    /// Looks on for a while.
    pub(crate) async fn measure(&self, time: Duration) -> Result<Outcome> {
        let sent = || {
            self.senders
                .iter()
                .map(|sender| sender.stats().socket)
                .fold((0, 0), |sum, stats| (sum.0 + stats.datagrams_sent, sum.1 + stats.send_calls))
        };
        let bytes = || self.received.iter().map(|flow| flow.bytes.load(Ordering::Relaxed)).collect::<Vec<u64>>();
        let messages = || self.received.iter().map(|flow| flow.messages.load(Ordering::Relaxed)).sum::<u64>();
        let chunks = || {
            let stats = self.associations.iter().map(Association::stats);
            stats.fold((0, 0), |sum, stats| (sum.0 + stats.data_chunks_sent, sum.1 + stats.data_chunks_retransmitted))
        };
        let chunks_before = chunks();
        let (bytes_before, messages_before) = (bytes(), messages());
        let (sent_before, received_before): (_, SocketStats) = (sent(), self.receiver.stats().socket);
        let mark = Mark::now()?;
        tokio::time::sleep(time).await;
        let usage = mark.elapsed()?;
        let (sent, received, chunks) = (sent(), self.receiver.stats().socket, chunks());
        Ok(Outcome {
            usage,
            bytes: bytes().into_iter().zip(bytes_before).map(|(now, before)| now - before).collect(),
            messages: messages() - messages_before,
            datagrams: sent.0 - sent_before.0,
            send_calls: sent.1 - sent_before.1,
            datagrams_received: received.datagrams_received - received_before.datagrams_received,
            receive_calls: received.receive_calls - received_before.receive_calls,
            chunks: chunks.0 - chunks_before.0,
            repeated: chunks.1 - chunks_before.1,
        })
    }
}

impl Outcome {
    fn gibibytes(&self) -> f64 {
        self.bytes.iter().sum::<u64>() as f64 / (1_u64 << 30) as f64
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.usage.wall.as_secs_f64()
    }

    pub(crate) fn gigabits(&self) -> f64 {
        self.bytes.iter().sum::<u64>() as f64 * 8e-9 / self.usage.wall.as_secs_f64()
    }

    pub(crate) fn messages(&self) -> String {
        format!("{:.0} messages a second", self.messages as f64 / self.usage.wall.as_secs_f64())
    }

    pub(crate) fn cpu_seconds_a_gib(&self) -> f64 {
        self.usage.cpu().as_secs_f64() / self.gibibytes()
    }

    pub(crate) fn user_seconds_a_gib(&self) -> f64 {
        self.usage.user.as_secs_f64() / self.gibibytes()
    }

    pub(crate) fn datagrams_a_send(&self) -> f64 {
        self.datagrams as f64 / self.send_calls.max(1) as f64
    }

    pub(crate) fn datagrams_a_receive(&self) -> f64 {
        self.datagrams_received as f64 / self.receive_calls.max(1) as f64
    }

    /// Returns the share of chunks that were retransmitted, in percent.
    pub(crate) fn repeated(&self) -> f64 {
        self.repeated as f64 * 100.0 / self.chunks.max(1) as f64
    }

    pub(crate) fn switches_a_datagram(&self) -> f64 {
        self.usage.switches as f64 / self.datagrams.max(1) as f64
    }

    /// Returns the goodput of the slowest flow as a share of the fastest flow's.
    pub(crate) fn fairness(&self) -> f64 {
        let least = self.bytes.iter().min().copied().unwrap_or_default();
        let most = self.bytes.iter().max().copied().unwrap_or_default();
        least as f64 / most.max(1) as f64
    }
}

/// A channel from one endpoint to another, both ends of it.
async fn channels(from: &Endpoint, to: &Endpoint) -> Result<(Association, DataChannel, DataChannel)> {
    let (out, into) = associations(from, to).await?;
    open(out, into).await
}

/// A channel between two associations.
async fn open(out: Association, into: Association) -> Result<(Association, DataChannel, DataChannel)> {
    let sending = out.create_channel(ChannelOptions::new("loopback"))?;
    sending.opened().await?;
    let receiving = into.accept_channel().await.ok_or("no channel came")?;
    Ok((out, sending, receiving))
}

async fn associations(from: &Endpoint, to: &Endpoint) -> Result<(Association, Association)> {
    let accept = async { Result::Ok(to.accept().await.ok_or("the endpoint was closed")?.await?) };
    let connect = async { Result::Ok(from.connect(to.local_address()).await?) };
    let (out, into) = futures_util::future::join(connect, accept).await;
    Ok((out?, into?))
}

async fn send(channel: DataChannel, message: Bytes) {
    while channel.send(message.clone()).await.is_ok() {}
}

async fn receive(channel: DataChannel, received: Arc<Received>) {
    while let Some(Ok(message)) = channel.recv().await {
        received.bytes.fetch_add(message.len() as u64, Ordering::Relaxed);
        received.messages.fetch_add(1, Ordering::Relaxed);
    }
}

/// One message there and one back for a while. Returns how often.
pub(crate) async fn echo(message: usize, time: Duration) -> Result<(u64, Usage)> {
    let (near, far) = (Endpoint::bind("127.0.0.1:0")?, Endpoint::bind("127.0.0.1:0")?);
    let (_association, asking, answering) = channels(&near, &far).await?;
    tokio::spawn(async move {
        while let Some(Ok(message)) = answering.recv().await {
            if answering.send(message).await.is_err() {
                return;
            }
        }
    });
    let question = Bytes::from(vec![7; message]);
    let mark = Mark::now()?;
    let end = tokio::time::Instant::now() + time;
    let mut round_trips = 0;
    while tokio::time::Instant::now() < end {
        asking.send(question.clone()).await?;
        asking.recv().await.ok_or("the channel was closed")??;
        round_trips += 1;
    }
    Ok((round_trips, mark.elapsed()?))
}

/// Opens this number of associations with a channel each, and measures while they have nothing to do, once their
/// handshakes are over.
pub(crate) async fn idle(count: usize, time: Duration) -> Result<Usage> {
    let receiver = Endpoint::bind("127.0.0.1:0")?;
    let mut kept = Vec::new();
    for _ in 0..count {
        let sender = Endpoint::bind("127.0.0.1:0")?;
        let channels = channels(&sender, &receiver).await?;
        kept.push((sender, channels));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mark = Mark::now()?;
    tokio::time::sleep(time).await;
    Ok(mark.elapsed()?)
}
