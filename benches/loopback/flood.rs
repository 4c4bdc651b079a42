//! Goodput that connected peers keep while strangers send ten thousand unsigned checks a second.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use narrowboat::{Endpoint, Identity};

use crate::BULK;
use crate::process::Mark;
use crate::scenario::{Flow, Outcome, Result};
use crate::stun::forged_check;

/// Checks a second.
const RATE: f64 = 10_000.0;

/// Share of the goodput that must remain.
const GOODPUT_MIN: f64 = 0.95;

/// Windows of each kind in a round.
const WINDOWS: u32 = 8;

/// Compares a transfer that takes the whole processor, with a flood and without, in short windows by turns, so that
/// other work of the machine affects both alike.
///
/// The flood comes from this machine too, and its own cost is not measured: in the windows without, it goes to a socket
/// that nobody reads.
pub(crate) fn compare(runtime: &tokio::runtime::Runtime, rounds: usize, time: Duration) -> Result<()> {
    let window = time / WINDOWS;
    let (quiet, flooded, refused) = runtime.block_on(async {
        let flow = Flow::start_secure(BULK).await?;
        flow.measure(time / 2).await?;
        let sink = UdpSocket::bind("127.0.0.1:0")?;
        let (idle, victim) = (sink.local_addr()?, flow.address());
        let flood = Flood::start(idle)?;
        let (mut quiet, mut flooded) = (Vec::new(), Vec::new());
        let refused = flow.checks_refused();
        for number in 0..rounds * WINDOWS as usize {
            // Neither kind is always the first.
            for is_flooded in if number % 2 == 0 { [false, true] } else { [true, false] } {
                flood.aim(if is_flooded { victim } else { idle });
                let outcome = flow.measure(window).await?;
                if is_flooded { &mut flooded } else { &mut quiet }.push(outcome);
            }
        }
        Result::Ok((quiet, flooded, flow.checks_refused() - refused))
    })?;
    let rate = refused as f64 / flooded.iter().map(Outcome::seconds).sum::<f64>();
    let goodput = [&quiet, &flooded].map(|outcomes| median(outcomes.iter().map(Outcome::gigabits).collect()));
    // Only the processor limits the transfer, so the goodput is the data that a second of the processor carries,
    // independent of the share of the processor that others take meanwhile.
    let cost = [&quiet, &flooded].map(|outcomes| {
        let seconds =
            outcomes.iter().map(|outcome| outcome.cpu_seconds_a_gib() * outcome.gigabits() * outcome.seconds());
        seconds.sum::<f64>() / outcomes.iter().map(|outcome| outcome.gigabits() * outcome.seconds()).sum::<f64>()
    });
    let left = cost[0] / cost[1];
    println!(
        "{rate:.0} forged checks a second: {:.1} % of the goodput of a processor are left ({:.2} instead of {:.2} CPU-s a GiB); \
         {:.2} of {:.2} Gbit/s, medians of {} windows each",
        left * 100.0,
        cost[1],
        cost[0],
        goodput[1],
        goodput[0],
        quiet.len()
    );
    println!(
        "{:.1} µs of CPU a forged check, to an endpoint with nothing else to do",
        runtime.block_on(alone(time))? * 1e6
    );
    if rate < RATE * 0.9 {
        return Err(format!("only {rate:.0} checks a second have come").into());
    }
    if left < GOODPUT_MIN {
        return Err(format!("a flood takes more than {:.0} % of the goodput", (1.0 - GOODPUT_MIN) * 100.0).into());
    }
    Ok(())
}

/// Measures the cost of one forged check: processor seconds beyond those of a flood that nobody reads.
async fn alone(time: Duration) -> Result<f64> {
    let endpoint = Endpoint::builder().bind("127.0.0.1:0").identity(Identity::generate()?).accept_direct().build()?;
    let sink = UdpSocket::bind("127.0.0.1:0")?;
    let flood = Flood::start(sink.local_addr()?)?;
    let mut cpu = [0.0; 2];
    let refused = endpoint.stats().secure.checks_refused;
    for target in [sink.local_addr()?, endpoint.local_address()].into_iter().cycle().take(2 * WINDOWS as usize) {
        flood.aim(target);
        let mark = Mark::now()?;
        tokio::time::sleep(time / WINDOWS).await;
        let spent = mark.elapsed()?.cpu().as_secs_f64();
        let [unread, read] = &mut cpu;
        *if target == endpoint.local_address() { read } else { unread } += spent;
    }
    let [unread, read] = cpu;
    Ok((read - unread) / (endpoint.stats().secure.checks_refused - refused) as f64)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A thread that sends forged checks at a steady rate until it is dropped.
struct Flood {
    target: Arc<Mutex<SocketAddr>>,
    is_over: Arc<AtomicBool>,
}

impl Flood {
    fn start(target: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let flood = Self { target: Arc::new(Mutex::new(target)), is_over: Arc::default() };
        let (target, is_over) = (Arc::clone(&flood.target), Arc::clone(&flood.is_over));
        // The name is one that must be checked by its signature before it is refused.
        let check = forged_check("narrowboat+1/aaaaaaaaaaaaaaaaaaaaaaaa:bbbb");
        thread::spawn(move || {
            let (started, mut sent) = (Instant::now(), 0.0);
            while !is_over.load(Ordering::Relaxed) {
                let to = *target.lock().unwrap_or_else(PoisonError::into_inner);
                while sent < started.elapsed().as_secs_f64() * RATE {
                    let _ = socket.send_to(&check, to);
                    sent += 1.0;
                }
                thread::sleep(Duration::from_millis(2));
            }
        });
        Ok(flood)
    }

    fn aim(&self, target: SocketAddr) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}
