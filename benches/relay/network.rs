//! A network between two ends: delay, and random loss.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{LineWriter, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use socket2::SockRef;
use tokio::net::UdpSocket;

use crate::{Input, Result};

/// More than a window of datagrams, so that the relay loses only what it is told to lose.
const SOCKET_BUFFER: usize = 4 << 20;
/// Datagrams taken from a socket before others get their turn.
const TURN_MAX: usize = 64;

/// One direction: what is on its way, and how it is lost.
struct Direction {
    name: &'static str,
    under_way: VecDeque<(Instant, Vec<u8>)>,
    delay: Duration,
    loss_permille: u32,
    rng: StdRng,
}

impl Direction {
    /// Only DTLS is lost (RFC 7983), so that every run begins alike.
    fn push(&mut self, now: Instant, datagram: &[u8], log: &mut Log) {
        let is_dtls = datagram.first().is_some_and(|first| (20..64).contains(first));
        let is_lost = is_dtls && self.rng.next_u32() % 1000 < self.loss_permille;
        log.note(now, self.name, datagram, is_lost);
        if !is_lost {
            self.under_way.push_back((now + self.delay, datagram.to_vec()));
        }
    }

    fn pop(&mut self, now: Instant) -> Option<Vec<u8>> {
        let is_due = self.under_way.front().is_some_and(|(at, _)| *at <= now);
        if is_due { self.under_way.pop_front().map(|(_, datagram)| datagram) } else { None }
    }

    fn deadline(&self) -> Option<Instant> {
        self.under_way.front().map(|(at, _)| *at)
    }
}

/// Every datagram in a line: milliseconds, direction, bytes, first byte, and `lost` if it was. What is in a record of DTLS
/// shows in its length: SACKs are short and grow by four bytes for each gap.
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

/// Forwards between whoever sends to it first and the receiver, until it is ended.
pub(crate) async fn relay(address: &str, [loss, rtt, seed]: [&str; 3], log: Option<&str>) -> Result<()> {
    let loss_permille = (loss.parse::<f64>()? * 10.0).round().to_string().parse()?;
    let delay = Duration::from_secs_f64(rtt.parse::<f64>()? / 2000.0);
    let seed: u64 = seed.parse()?;
    let mut log = Log { begun: now(), file: log.map(File::create).transpose()?.map(LineWriter::new) };
    let (near, far) = (bind(address).await?, bind(address).await?);
    println!("{}", near.local_addr()?.port());
    let target: SocketAddr = Input::new().expect("the receiver's address").await?.parse()?;
    let mut sender = None;
    let direction = |name, seed| {
        let rng = StdRng::seed_from_u64(seed);
        Direction { name, under_way: VecDeque::new(), delay, loss_permille, rng }
    };
    let mut there = direction("there", 2 * seed);
    let mut back = direction("back", 2 * seed + 1);
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
            ready = far.readable() => ready?,
            () = alarm => {}
        }
        for _ in 0..TURN_MAX {
            let Ok((len, from)) = near.try_recv_from(&mut buffer) else { break };
            sender = Some(from);
            there.push(now(), buffer.get(..len).unwrap_or_default(), &mut log);
        }
        for _ in 0..TURN_MAX {
            // A datagram that nobody took is none of the relay's concern.
            let Ok((len, _)) = far.try_recv_from(&mut buffer) else { break };
            back.push(now(), buffer.get(..len).unwrap_or_default(), &mut log);
        }
        while let Some(datagram) = there.pop(now()) {
            let _ = far.send_to(&datagram, target).await;
        }
        while let Some(datagram) = back.pop(now()) {
            if let Some(sender) = sender {
                let _ = near.send_to(&datagram, sender).await;
            }
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
