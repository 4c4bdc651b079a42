//! Floods of 20,000 datagrams a second, of each kind, from one address and from 250, over real sockets on loopback.
//! Prints one table, line by line, and fails if a goal is missed:
//!
//! `tests/floods [--quick] [WORD]…`
//!
//! The service, the flood and its peers are three processes of this program, so that only the service's processor time
//! and memory are counted. Where there is no flood, the same datagrams go to a socket that nobody reads. Newcomers come
//! from other addresses than the flood, all the time, whether or not it lasts. Needs Linux.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a table on standard output is the point")]
#![expect(clippy::let_underscore_must_use, reason = "some results make no difference to a flood")]

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

use measure::{Extent, Flood, Outcome, SOON, measure};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Goodput for a second of the service's processor time with the flood divided by that without, at least.
const GOODPUT_MIN: f64 = 0.95;
/// Share of the newcomers that get in within two seconds, at least.
const INSIDE_MIN: f64 = 0.99;
/// Memory in KiB that the first flood of a kind may add to the service's: some 30 bytes for a datagram of the flood.
const FIRST_GROWTH_MAX: u64 = 4 << 10;
/// Memory in KiB that a second flood may add: none, except for changes of the allocator and the peers' windows.
const SECOND_GROWTH_MAX: u64 = 2 << 10;
/// Addresses of a flood from many.
const MANY: u8 = 250;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["service", way] => service::run(*way == "secure"),
        ["flooder", sources, datagrams @ ..] => flooder::run(sources, datagrams),
        ["datagrams"] => datagrams(),
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

/// Every flood.
async fn floods() -> Vec<Flood> {
    let hello = secure::hello::recorded_hello().await;
    // The name is one that must be checked by its signature before it is refused.
    let check = secure::stun::forged_check("narrowboat+1/aaaaaaaaaaaaaaaaaaaaaaaa:bbbb");
    let flood = |name, is_secure, datagrams| Flood { name, is_secure, is_dropped: false, datagrams };
    let dropped = |name, is_secure| Flood { is_dropped: true, ..flood(name, is_secure, junk()) };
    vec![
        dropped("plain, only received", false),
        flood("plain, INIT", false, vec![packets::init()]),
        flood("plain, out of the blue", false, vec![packets::out_of_the_blue()]),
        flood("plain, junk", false, junk()),
        dropped("secure, only received", true),
        flood("secure, STUN check", true, vec![check]),
        flood("secure, half hello", true, vec![secure::hello::halved(&hello)]),
        flood("secure, whole hello", true, vec![hello]),
        flood("secure, junk", true, junk()),
    ]
}

/// Prints every flood in a line: its name, the way of its service, its datagrams.
fn datagrams() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    for Flood { name, is_secure, datagrams, .. } in runtime.block_on(floods()) {
        let datagrams: Vec<String> = datagrams.iter().map(|datagram| flooder::encode(datagram)).collect();
        println!("{name}|{}|{}", if is_secure { "secure" } else { "plain" }, datagrams.join("|"));
    }
    Ok(())
}

/// Explanation of the columns.
const LEGEND: &str = "\
A service with an endpoint of this project is flooded over loopback: the same datagrams, again and again, from one address or
by turns from 250. Two peers are connected and send messages of 64 KiB as fast as they can; newcomers dial all the time, each
from another address. Service, flood and peers are processes of their own. While there is no flood, the same datagrams go to a
socket that nobody reads. Lines named `only received` have no goals: their flood is the junk, at another socket of the service,
which receives it in the same batches and drops it. No endpoint can spend less.

goodput left   bytes that the service gets from the two peers in a second of its processor time, with the flood divided by
               without, in short windows by turns; in brackets the least and the most of groups of four windows. The goal is
               95 %. Reading a datagram from the socket is part of it.
CPU-µs         processor time of the service for a datagram of the flood, the system's share included
cores          those that the service uses without the flood: the fewer, the more the flood weighs
newcomers in   within 2 s, of those who dialled during the flood; the goal is 99 %
MiB            resident memory of the service before the flood, after it, and after a second one of the same kind; the goal is
               at most 4 more for the first (tables of fixed size fill once) and at most 2 more for the second
";

fn table(words: &[&str]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let extent = if words.contains(&"--quick") { Extent::QUICK } else { Extent::FULL };
    println!("{LEGEND}");
    println!(
        "{:<36} {:>9} {:>20} {:>6} {:>5} {:>12} {:>7} {:>6} {:>17}  missed",
        "flood", "a second", "goodput left, %", "CPU-µs", "cores", "newcomers in", "median", "worst", "MiB"
    );
    let mut missed = 0;
    for flood in runtime.block_on(floods()) {
        for (sources, from) in [(1, "one source"), (MANY, "many sources")] {
            let title = format!("{}, {from}", flood.name);
            if words.iter().all(|word| *word == "--quick" || title.contains(word)) {
                let outcome = runtime.block_on(measure(&flood, sources, extent))?;
                missed += line(&title, &outcome, !flood.is_dropped);
            }
        }
    }
    if missed > 0 {
        return Err(format!("{missed} goals missed").into());
    }
    Ok(())
}

/// Prints a line. Returns how many goals it misses, if it has any.
fn line(title: &str, outcome: &Outcome, has_goals: bool) -> usize {
    let inside = outcome.taken.iter().filter(|taken| **taken <= SOON).count();
    let [before, after, last] = outcome.resident;
    let milliseconds = |taken: Option<&Duration>| taken.map_or(f64::NAN, |taken| taken.as_secs_f64() * 1e3);
    let worst = match outcome.taken.len() == outcome.newcomers {
        true => format!("{:.0} ms", milliseconds(outcome.taken.last())),
        false => "never".to_owned(),
    };
    let goals = [
        ("goodput", outcome.left_in_all >= GOODPUT_MIN),
        ("newcomers", inside as f64 >= INSIDE_MIN * outcome.newcomers as f64),
        ("memory of the first flood", after <= before + FIRST_GROWTH_MAX),
        ("memory of the second", last <= after + SECOND_GROWTH_MAX),
    ];
    let missed: Vec<&str> =
        goals.into_iter().filter(|(_, is_met)| has_goals && !is_met).map(|(name, _)| name).collect();
    let percent = |share: Option<&f64>| share.map_or(f64::NAN, |share| share * 100.0);
    let [least, most] = [outcome.left.first(), outcome.left.last()].map(percent);
    println!(
        "{title:<36} {:>9.0} {:>20} {:>6.1} {:>5.2} {:>12} {:>7} {worst:>6} {:>17}  {}",
        outcome.rate,
        format!("{:.1} ({least:.0}-{most:.0})", outcome.left_in_all * 100.0),
        outcome.cost,
        outcome.cores,
        format!("{inside} of {}", outcome.newcomers),
        format!("{:.1} ms", milliseconds(outcome.taken.get(outcome.taken.len() / 2))),
        [before, after, last].map(|kib| format!("{:.1}", kib as f64 / 1024.0)).join(", "),
        missed.join(", "),
    );
    missed.len()
}
