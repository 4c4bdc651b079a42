//! The parts of `tests/relay` that have to be fast: a relay with loss and delay, and this project's receiver.
//!
//! ```text
//! relay ADDRESS LOSS_PERCENT RTT_MS    prints its port, reads the receiver's address, forwards
//! receive BYTES                        reads an offer (JSON text), prints the answer, then the milliseconds that BYTES took
//! ```
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it talks to a script")]

use std::collections::VecDeque;
use std::io::{self, BufRead};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use narrowboat::{Endpoint, Identity};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::net::UdpSocket;

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        ["relay", address, loss, rtt] => relay(address, loss, rtt).await,
        ["receive", bytes] => receive(bytes).await,
        _ => {
            println!("tests/relay runs this");
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn line() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

/// One direction: what is on its way, and how it is lost.
struct Direction {
    under_way: VecDeque<(Instant, Vec<u8>)>,
    delay: Duration,
    loss_permille: u32,
    rng: StdRng,
}

impl Direction {
    fn new(seed: u64, loss_permille: u32, delay: Duration) -> Self {
        Self { under_way: VecDeque::new(), delay, loss_permille, rng: StdRng::seed_from_u64(seed) }
    }

    /// Only DTLS is lost (RFC 7983), so that every run begins alike.
    fn push(&mut self, now: Instant, datagram: &[u8]) {
        let is_dtls = datagram.first().is_some_and(|first| (20..64).contains(first));
        if !(is_dtls && self.rng.next_u32() % 1000 < self.loss_permille) {
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

/// Forwards between whoever sends to it first and the receiver, until it is ended.
async fn relay(address: &str, loss: &str, rtt: &str) -> Result<(), Failure> {
    let loss_permille = (loss.parse::<f64>()? * 10.0).round().to_string().parse()?;
    let delay = Duration::from_secs_f64(rtt.parse::<f64>()? / 2000.0);
    let near = UdpSocket::bind(format!("{address}:0")).await?;
    let far = UdpSocket::bind(format!("{address}:0")).await?;
    println!("{}", near.local_addr()?.port());
    let target: SocketAddr = line()?.parse()?;
    let mut sender = None;
    let mut there = Direction::new(1, loss_permille, delay);
    let mut back = Direction::new(2, loss_permille, delay);
    let (mut from_near, mut from_far) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        let deadline = [there.deadline(), back.deadline()].into_iter().flatten().min();
        let alarm = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            received = near.recv_from(&mut from_near) => {
                let (len, from) = received?;
                sender = Some(from);
                there.push(now(), from_near.get(..len).unwrap_or_default());
            }
            // A datagram that nobody took is none of the relay's concern.
            Ok((len, _)) = far.recv_from(&mut from_far) => back.push(now(), from_far.get(..len).unwrap_or_default()),
            () = alarm => {}
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

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Takes one channel, and reads until so many bytes have come.
async fn receive(bytes: &str) -> Result<(), Failure> {
    let bytes: usize = bytes.parse()?;
    let endpoint = Endpoint::builder().bind("0.0.0.0:0").identity(Identity::generate()?).build()?;
    let offer: String = serde_json::from_str(&line()?)?;
    let answer = endpoint.answer(&offer)?;
    println!("{}", serde_json::to_string(&answer.sdp)?);
    let channel = answer.association.accept_channel().await.ok_or("no channel came")?;
    let begun = Instant::now();
    let mut received = 0;
    while received < bytes {
        received += channel.recv().await.ok_or("the channel ended early")??.as_bytes().len();
    }
    println!("{}", begun.elapsed().as_secs_f64() * 1000.0);
    channel.send("done").await?;
    // The sender goes when it has heard it.
    let _ = tokio::time::timeout(Duration::from_secs(2), answer.association.closed()).await;
    Ok(())
}
