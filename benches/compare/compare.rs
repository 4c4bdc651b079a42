//! This project's association beside the other Rust stacks: same driver, same simulated link, same windows and packets,
//! rounds in turns. Prints one table, and whether what this project promises held.
//!
//! ```text
//! cargo bench --bench compare -- [--quick] [--only STACK]… [SCENARIO]…
//! cargo bench --bench compare -- profile SCENARIO STACK [PACKETS [WINDOW_KIB]]
//! ```
//!
//! Scenarios: `bulk small window channels idle goodput`, all by default. `profile` runs one stack alone, for a
//! profiler: instructions, which other programs on the machine do not disturb, are counted by
//!
//! ```text
//! valgrind --tool=callgrind --toggle-collect='*Transfer*measure*' target/release/deps/compare-… profile bulk ours 6000
//! ```
#![expect(clippy::let_underscore_must_use, reason = "nobody is left to tell when output or a last datagram fails")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a table on standard output is the point")]
#![expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a benchmark may stop on a bug of its own"
)]

mod channels;
mod goodput;
mod idle;
mod measure;
mod plan;
mod table;
mod throughput;
mod transfer;
mod verdict;

use std::process::ExitCode;
use std::time::Duration;

use narrowboat_peers::Stack;

use crate::plan::Plan;
use crate::table::{Row, Table};
use crate::throughput::{BULK, SMALL};
use crate::verdict::Verdict;

type Scenario = fn(&Plan) -> (Vec<Row>, Vec<Verdict>);

const SCENARIOS: [(&str, Scenario); 6] = [
    ("bulk", throughput::bulk),
    ("small", throughput::small),
    ("window", throughput::window),
    ("channels", channels::channels),
    ("idle", idle::idle),
    ("goodput", goodput::goodput),
];

/// Packets of a profile by default.
const PROFILE_PACKETS: u64 = 200_000;

fn main() -> ExitCode {
    // Cargo passes `--bench`, which this program ignores.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let result = match arguments.split_first() {
        Some((first, rest)) if first == "profile" => profile(rest),
        _ => compare(&arguments),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(message) => {
            eprintln!("{message}");
            ExitCode::from(2)
        }
    }
}

fn stack(name: &str) -> Result<Stack, String> {
    let ours = if name == "ours" { Stack::Narrowboat.name() } else { name };
    let known = || Stack::ALL.map(Stack::name).join(", ");
    Stack::ALL
        .into_iter()
        .find(|stack| stack.name() == ours)
        .ok_or_else(|| format!("no stack {name}; there are {}", known()))
}

/// The table; false if a promise did not hold and `--check` was asked for.
fn compare(arguments: &[String]) -> Result<bool, String> {
    let mut plan = if arguments.iter().any(|argument| argument == "--quick") { Plan::quick() } else { Plan::full() };
    let (mut only, mut scenarios, mut checks) = (Vec::new(), Vec::new(), false);
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--quick" => {}
            "--check" => checks = true,
            "--only" => only.push(stack(rest.next().ok_or("--only needs a stack")?)?),
            name => {
                let known = || SCENARIOS.map(|(name, _)| name).join(", ");
                let found = SCENARIOS.into_iter().find(|(other, _)| *other == name);
                scenarios.push(found.ok_or_else(|| format!("no scenario {name}; there are {}", known()))?);
            }
        }
    }
    if !only.is_empty() {
        plan.stacks = only;
    }
    if scenarios.is_empty() {
        scenarios = SCENARIOS.to_vec();
    }
    // A stack that panics gets a note in the table.
    std::panic::set_hook(Box::new(|_| {}));
    let mut table = Table::new(&plan.stacks);
    let mut verdicts = Vec::new();
    for (name, scenario) in scenarios {
        eprintln!("{name} …");
        let (rows, found) = scenario(&plan);
        table.extend(rows);
        verdicts.extend(found);
    }
    println!("{}", table.render());
    for verdict in &verdicts {
        println!("{verdict}");
    }
    Ok(!checks || verdicts.iter().all(Verdict::holds))
}

/// Runs one stack alone, for this number of packets.
fn profile(arguments: &[String]) -> Result<bool, String> {
    let [scenario, name, rest @ ..] = arguments else { return Err("profile needs a scenario and a stack".into()) };
    let case = match scenario.as_str() {
        "bulk" => BULK,
        "small" => SMALL,
        other => return Err(format!("no profile of {other}; there are bulk and small")),
    };
    let packets =
        rest.first().map_or(Ok(PROFILE_PACKETS), |number| number.parse().map_err(|_| "not a number of packets"))?;
    let window = rest.get(1).map(|kib| kib.parse::<u32>().map(|kib| kib << 10).map_err(|_| "not a window in KiB"));
    let case = throughput::Case { window: window.transpose()?.unwrap_or(case.window), ..case };
    let (mut transfer, _) = case.start(stack(name)?, Duration::MAX)?;
    let goal = transfer.packets() + packets;
    let (cost, _) = transfer.measure(Duration::MAX, |transfer| transfer.packets() >= goal)?;
    println!(
        "{name}: {} packets, {:.0} ns and {:.2} allocations each, {:.2} Gbit/s a core",
        cost.packets,
        cost.nanoseconds_a_packet(),
        cost.allocations_a_packet(),
        cost.gigabits_a_core()
    );
    Ok(true)
}
