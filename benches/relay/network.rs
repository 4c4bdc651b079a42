//! A network between two ends: delay, and random loss.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{LineWriter, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use socket2::SockRef;
use tokio::net::UdpSocket;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::{Input, Result};

/// More than a window of datagrams, so that the relay loses only what it is told to lose.
const SOCKET_BUFFER: usize = 4 << 20;
/// Datagrams taken from a socket before others get their turn.
const TURN_MAX: usize = 64;

/// One direction: datagrams under way, their recipients, and the losses.
struct Direction<T> {
    name: &'static str,
    under_way: VecDeque<(Instant, T, Vec<u8>)>,
    delay: Duration,
    loss_permille: u32,
    rng: StdRng,
}

impl<T> Direction<T> {
    fn new(name: &'static str, seed: u64, loss_permille: u32, delay: Duration) -> Self {
        Self { name, under_way: VecDeque::new(), delay, loss_permille, rng: StdRng::seed_from_u64(seed) }
    }

    /// Only DTLS is lost (RFC 7983), so that every run begins alike.
    fn push(&mut self, now: Instant, whom: T, datagram: Vec<u8>, log: &mut Log) {
        let is_dtls = datagram.first().is_some_and(|first| (20..64).contains(first));
        let is_lost = is_dtls && self.rng.next_u32() % 1000 < self.loss_permille;
        log.note(now, self.name, &datagram, is_lost);
        if !is_lost {
            self.under_way.push_back((now + self.delay, whom, datagram));
        }
    }

    fn pop(&mut self, now: Instant) -> Option<(T, Vec<u8>)> {
        let is_due = self.under_way.front().is_some_and(|(at, ..)| *at <= now);
        if is_due { self.under_way.pop_front().map(|(_, whom, datagram)| (whom, datagram)) } else { None }
    }

    fn deadline(&self) -> Option<Instant> {
        self.under_way.front().map(|(at, ..)| *at)
    }
}

/// Every datagram in a line: milliseconds, direction, bytes, first byte, and `lost` if it was. What is in a record of
/// DTLS shows in its length: SACKs are short and grow by four bytes for each gap.
struct Log {
    begun: Instant,
    file: Option<LineWriter<File>>,
}

impl Log {
    fn note(&mut self, now: Instant, direction: &str, datagram: &[u8], is_lost: bool) {
        let Some(file) = &mut self.file else { return };
        let milliseconds = now.saturating_duration_since(self.begun).as_secs_f64() * 1e3;
        let first = datagram.first().copied().unwrap_or_default();
        let fate = if is_lost { " lost" } else { "" };
        // A log that cannot be written is missed by its reader.
        let _ = writeln!(file, "{milliseconds:.3} {direction} {} {first}{fate}", datagram.len());
    }
}

/// Forwards from every sender to the receiver, and back. To the receiver each source has a port of its own, as behind a
/// NAT: an ICE agent checks from several at once.
pub(crate) async fn relay(address: &str, [loss, rtt, seed]: [&str; 3], log: Option<&str>) -> Result<()> {
    let loss_permille = (loss.parse::<f64>()? * 10.0).round().to_string().parse()?;
    let delay = Duration::from_secs_f64(rtt.parse::<f64>()? / 2000.0);
    let seed: u64 = seed.parse()?;
    let mut log = Log { begun: now(), file: log.map(File::create).transpose()?.map(LineWriter::new) };
    let near = bind(address).await?;
    println!("{}", near.local_addr()?.port());
    let target: SocketAddr = Input::new().expect("the receiver's address").await?.parse()?;
    let mut sources: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let (answered, mut answers) = unbounded_channel();
    let mut there = Direction::new("there", 2 * seed, loss_permille, delay);
    let mut back = Direction::new("back", 2 * seed + 1, loss_permille, delay);
    let mut buffer = vec![0; 65_536];
    loop {
        let deadline = [there.deadline(), back.deadline()].into_iter().flatten().min();
        let alarm = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ready = near.readable() => ready?,
            Some((source, datagram)) = answers.recv() => back.push(now(), source, datagram, &mut log),
            () = alarm => {}
        }
        for _ in 0..TURN_MAX {
            let Ok((len, source)) = near.try_recv_from(&mut buffer) else { break };
            let far = match sources.entry(source) {
                Entry::Occupied(entry) => Arc::clone(entry.get()),
                Entry::Vacant(entry) => {
                    let far = Arc::clone(entry.insert(Arc::new(bind(address).await?)));
                    tokio::spawn(take_answers(Arc::clone(&far), source, answered.clone()));
                    far
                }
            };
            there.push(now(), far, buffer.get(..len).unwrap_or_default().to_vec(), &mut log);
        }
        while let Ok((source, datagram)) = answers.try_recv() {
            back.push(now(), source, datagram, &mut log);
        }
        while let Some((far, datagram)) = there.pop(now()) {
            let _ = far.send_to(&datagram, target).await;
        }
        while let Some((source, datagram)) = back.pop(now()) {
            let _ = near.send_to(&datagram, source).await;
        }
    }
}

/// Receives the receiver's datagrams to the port of a source.
async fn take_answers(far: Arc<UdpSocket>, source: SocketAddr, answered: UnboundedSender<(SocketAddr, Vec<u8>)>) {
    let mut buffer = vec![0; 65_536];
    loop {
        // A receive error (ICMP: nobody took a datagram) does not concern the relay.
        let Ok((len, _)) = far.recv_from(&mut buffer).await else { continue };
        if answered.send((source, buffer.get(..len).unwrap_or_default().to_vec())).is_err() {
            return;
        }
    }
}

async fn bind(address: &str) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(format!("{address}:0")).await?;
    SockRef::from(&socket).set_recv_buffer_size(SOCKET_BUFFER)?;
    Ok(socket)
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
