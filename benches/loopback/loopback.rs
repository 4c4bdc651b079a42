//! Real sockets on loopback, both ends in this process: what a byte, a packet and a quiet association cost with the
//! system's part in it. Prints one table.
//!
//! ```text
//! cargo bench --bench loopback -- [--quick] [SCENARIO]…
//! ```
//!
//! Scenarios: `one many small echo idle secure flood`, all by default. `secure` fails if the secure path costs more
//! than one and a half times what the plain path and DTLS cost apart, `flood` if a flood of forged checks takes more
//! than a twentieth of the goodput of those who are connected. Needs Linux, whose `/proc` tells processor time and
//! context switches.
#![expect(clippy::expect_used, reason = "a benchmark ends by panicking")]
#![expect(clippy::let_underscore_must_use, reason = "nobody is left to tell when output or a last datagram fails")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a table on standard output is the point")]

mod dtls;
mod flood;
mod process;
mod scenario;
mod secure;
#[expect(dead_code, reason = "the bench sends forged checks only")]
#[path = "../../tests/secure/stun.rs"]
mod stun;

use std::process::ExitCode;
use std::time::Duration;

use crate::process::Usage;
use crate::scenario::{Flow, Outcome, Result};

/// Messages of a bulk transfer.
const BULK: usize = 64 << 10;
/// Small messages.
const SMALL: usize = 100;
/// Associations that run at once, all on one socket at the receiving end.
const MANY: usize = 32;

const NAMES: &[&str] = &["one", "many", "small", "echo", "idle", "secure", "flood"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let is_quick = arguments.iter().any(|argument| argument == "--quick");
    let wanted: Vec<&str> = arguments.iter().map(String::as_str).filter(|argument| *argument != "--quick").collect();
    if let Some(unknown) = wanted.iter().find(|name| !NAMES.contains(name)) {
        return Err(format!("no scenario {unknown}; there are {}", NAMES.join(", ")).into());
    }
    let (rounds, time) = if is_quick { (1, Duration::from_millis(500)) } else { (5, Duration::from_secs(2)) };
    println!(
        "{:<34} {:>9} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "", "Gbit/s", "CPU-s", "user", "datagrams", "datagrams", "sent", "switches", "least/most"
    );
    println!(
        "{:<34} {:>9} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "median of rounds", "", "a GiB", "a GiB", "a send", "a receive", "again %", "a datagr.", "of a flow"
    );
    for &name in NAMES.iter().filter(|name| wanted.is_empty() || wanted.contains(name)) {
        // Each scenario on its own: nothing of the one before is left running.
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        match name {
            "one" => bulk(&runtime, "1 association, 64 KiB messages", 1, BULK, rounds, time)?,
            "many" => bulk(&runtime, "32 associations, 64 KiB messages", MANY, BULK, rounds, time)?,
            "small" => bulk(&runtime, "1 association, 100 B messages", 1, SMALL, rounds, time)?,
            "echo" => echo(&runtime, time)?,
            "secure" => secure::compare(rounds, time)?,
            "flood" => flood::compare(&runtime, rounds, time)?,
            _ => idle(&runtime, time)?,
        }
    }
    Ok(())
}

/// A line of the table: everything as fast as it goes, for some rounds.
fn bulk(
    runtime: &tokio::runtime::Runtime,
    title: &str,
    flows: usize,
    message: usize,
    rounds: usize,
    time: Duration,
) -> Result<()> {
    let mut outcomes = runtime.block_on(async {
        let flow = Flow::start(flows, message).await?;
        // Windows open, buffers find their size.
        flow.measure(time / 4).await?;
        let mut outcomes = Vec::new();
        for _ in 0..rounds {
            outcomes.push(flow.measure(time).await?);
        }
        Result::Ok(outcomes)
    })?;
    outcomes.sort_by(|a, b| a.gigabits().total_cmp(&b.gigabits()));
    let Some(outcome) = outcomes.get(outcomes.len() / 2) else { return Ok(()) };
    line(title, outcome);
    if let (Some(least), Some(most)) = (outcomes.first(), outcomes.last()) {
        let [low, high] = [least, most].map(Outcome::gigabits);
        println!("{:<34} {low:>4.2} to {high:.2} over {} rounds, {}", "", outcomes.len(), outcome.messages());
    }
    Ok(())
}

fn line(title: &str, outcome: &Outcome) {
    println!(
        "{title:<34} {:>9.2} {:>8.2} {:>9.2} {:>9.1} {:>9.1} {:>9.2} {:>9.3} {:>9.2}",
        outcome.gigabits(),
        outcome.cpu_seconds_a_gib(),
        outcome.user_seconds_a_gib(),
        outcome.datagrams_a_send(),
        outcome.datagrams_a_receive(),
        outcome.repeated(),
        outcome.switches_a_datagram(),
        outcome.fairness(),
    );
}

/// One message there and one back, again and again: the cost of waking up.
fn echo(runtime: &tokio::runtime::Runtime, time: Duration) -> Result<()> {
    let (round_trips, usage) = runtime.block_on(scenario::echo(SMALL, time))?;
    let each = usage.wall.as_secs_f64() * 1e6 / round_trips as f64;
    let cpu = usage.cpu().as_secs_f64() * 1e6 / round_trips as f64;
    let switches = usage.switches as f64 / round_trips as f64;
    println!("request and response, 100 B each: {each:.1} µs, {cpu:.1} µs of CPU, {switches:.1} context switches");
    Ok(())
}

/// Associations that nobody uses: there must be nothing to do.
fn idle(runtime: &tokio::runtime::Runtime, time: Duration) -> Result<()> {
    let usage: Usage = runtime.block_on(scenario::idle(MANY, time * 2))?;
    let share = usage.cpu().as_secs_f64() / usage.wall.as_secs_f64() * 100.0;
    let switches = usage.switches as f64 / usage.wall.as_secs_f64() / MANY as f64;
    println!(
        "{MANY} idle associations: {share:.2} % of a core, {switches:.2} context switches a second and association"
    );
    Ok(())
}
