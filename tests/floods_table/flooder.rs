//! The program that floods.

use std::io::BufRead;
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::{TryRecvError, channel};
use std::time::{Duration, Instant};

use crate::Result;

/// Datagrams a second.
pub(crate) const RATE: f64 = 20_000.0;
/// Longest time that a flooder runs, even if the program that started it has died.
const LIFETIME: Duration = Duration::from_secs(60);
/// Time that it may be late and still make up for. What it misses beyond that is not sent.
const LATENESS_MAX: Duration = Duration::from_millis(20);

/// Sends these datagrams, in hexadecimal, by turns from `sources` addresses to the address in the last line of its
/// input. Answers each line with the number of datagrams that it has sent so far.
pub(crate) fn run(sources: &str, datagrams: &[&str]) -> Result<()> {
    let sources = sockets(sources.parse()?)?;
    let datagrams = datagrams.iter().map(|text| decode(text)).collect::<Result<Vec<_>>>()?;
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        std::io::stdin().lock().lines().map_while(std::io::Result::ok).try_for_each(|line| sender.send(line))
    });
    let mut target: Option<SocketAddr> = None;
    let (begun, interval) = (Instant::now(), Duration::from_secs(1).div_f64(RATE));
    let (mut next, mut sent) = (begun, 0_u64);
    let mut shots = sources.iter().cycle().zip(datagrams.iter().cycle());
    while begun.elapsed() < LIFETIME {
        match lines.try_recv() {
            Ok(line) => {
                println!("{sent}");
                target = Some(line.parse()?);
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => break,
        }
        let now = Instant::now();
        next = next.max(now.checked_sub(LATENESS_MAX).unwrap_or(now));
        while next <= now
            && let Some(target) = target
            && let Some((source, datagram)) = shots.next()
        {
            sent += u64::from(source.send_to(datagram, target).is_ok());
            next += interval;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Sockets on as many addresses.
fn sockets(count: u8) -> Result<Vec<UdpSocket>> {
    let addresses = (1..=count).map(|host| SocketAddr::from(([127, 77, 0, host], 0)));
    addresses.map(|address| Ok(UdpSocket::bind(address)?)).collect()
}

pub(crate) fn encode(datagram: &[u8]) -> String {
    datagram.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn decode(text: &str) -> Result<Vec<u8>> {
    let digits = |at| text.get(at..at + 2).ok_or("half a byte");
    (0..text.len()).step_by(2).map(|at| Ok(u8::from_str_radix(digits(at)?, 16)?)).collect()
}
