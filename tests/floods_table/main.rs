//! Floods of 20,000 datagrams a second, of each kind, from one address and from 250, over real sockets on loopback. Prints
//! one table, line by line, and fails if a goal is missed:
//!
//! `tests/floods [WORD]…`
//!
//! The service, the flood and its peers are three processes of this program, so that only the service's processor time
//! and memory are counted. Where there is no flood, the same datagrams go to a socket that nobody reads. Newcomers come
//! from other addresses than the flood, all the time, whether or not it lasts. Needs Linux.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a table on standard output is the point")]

mod flooder;
mod measure;
mod newcomers;
mod packets;
mod process;
#[path = "../secure/mod.rs"]
mod secure;
mod service;

use std::process::ExitCode;
use std::time::Duration;

use measure::{Outcome, SOON, measure};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What is left of the goodput for a second of the service's processor time, at least.
const GOODPUT_MIN: f64 = 0.95;
/// Share of the newcomers that get in within two seconds, at least.
const INSIDE_MIN: f64 = 0.99;
/// What the memory of the service may grow by, in KiB: some 30 bytes for a datagram of the flood.
const GROWTH_MAX: u64 = 4 << 10;
/// Addresses of a flood from many.
const MANY: u8 = 250;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["service", way] => service::run(*way == "secure"),
        ["flooder", sources, datagrams @ ..] => flooder::run(sources, datagrams),
        words => table(words),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Datagrams that are of no protocol, or of one and damaged.
fn junk() -> Vec<Vec<u8>> {
    (0..16_u8).map(|number| secure::pattern(20 + 37 * usize::from(number), u32::from(number) << 28).to_vec()).collect()
}

/// Every flood: its name, true if it is for an endpoint with an identity, its datagrams.
async fn floods() -> Vec<(&'static str, bool, Vec<Vec<u8>>)> {
    let hello = secure::hello::recorded_hello().await;
    // The name is one that must be checked by its signature before it is refused.
    let check = secure::stun::forged_check("narrowboat+1/aaaaaaaaaaaaaaaaaaaaaaaa:bbbb");
    vec![
        ("plain, INIT", false, vec![packets::init()]),
        ("plain, out of the blue", false, vec![packets::out_of_the_blue()]),
        ("plain, junk", false, junk()),
        ("secure, STUN check", true, vec![check]),
        ("secure, half hello", true, vec![secure::hello::halved(&hello)]),
        ("secure, whole hello", true, vec![hello]),
        ("secure, junk", true, junk()),
    ]
}

fn table(words: &[&str]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    println!(
        "{:<36} {:>9} {:>9} {:>8} {:>8} {:>13} {:>7} {:>7} {:>14}  missed",
        "", "datagrams", "goodput a", "CPU-µs a", "cores", "newcomers in", "median", "worst", "service, MiB"
    );
    println!(
        "{:<36} {:>9} {:>9} {:>8} {:>8} {:>13} {:>7} {:>7} {:>14}",
        "flood", "a second", "CPU-s, %", "datagram", "if quiet", "within 2 s", "ms", "ms", "before, after"
    );
    let mut missed = 0;
    for (name, is_secure, datagrams) in runtime.block_on(floods()) {
        for (sources, from) in [(1, "one source"), (MANY, "many sources")] {
            let title = format!("{name}, {from}");
            if words.iter().all(|word| title.contains(word)) {
                let outcome = runtime.block_on(measure(is_secure, sources, &datagrams))?;
                missed += line(&title, &outcome);
            }
        }
    }
    if missed > 0 {
        return Err(format!("{missed} goals missed").into());
    }
    Ok(())
}

/// Prints a line. Returns how many goals it misses.
fn line(title: &str, outcome: &Outcome) -> usize {
    let [quiet, flooded] = outcome.goodput;
    let left = flooded / quiet;
    let inside = outcome.taken.iter().filter(|taken| **taken <= SOON).count();
    let [before, after] = outcome.resident;
    let milliseconds = |taken: Option<&Duration>| taken.map_or(f64::NAN, |taken| taken.as_secs_f64() * 1e3);
    let worst = match outcome.taken.len() == outcome.newcomers {
        true => format!("{:.0}", milliseconds(outcome.taken.last())),
        false => "never".to_owned(),
    };
    let goals = [
        ("goodput", left >= GOODPUT_MIN),
        ("newcomers", inside as f64 >= INSIDE_MIN * outcome.newcomers as f64),
        ("memory", after <= before + GROWTH_MAX),
    ];
    let missed: Vec<&str> = goals.into_iter().filter(|(_, is_met)| !is_met).map(|(name, _)| name).collect();
    println!(
        "{title:<36} {:>9.0} {:>9.1} {:>8.1} {:>8.2} {:>13} {:>7.1} {worst:>7} {:>14}  {}",
        outcome.rate,
        left * 100.0,
        outcome.cost,
        outcome.cores,
        format!("{inside} of {}", outcome.newcomers),
        milliseconds(outcome.taken.get(outcome.taken.len() / 2)),
        format!("{:.1}, {:.1}", before as f64 / 1024.0, after as f64 / 1024.0),
        missed.join(", "),
    );
    missed.len()
}
