//! Links of several rates, delays, queues and losses, on a virtual clock: this project with each of its controllers,
//! beside the other Rust stacks. Prints one table of medians, and draws each run's course.
//!
//! ```text
//! cargo bench --bench links -- [--quick] [--seeds N] [--only NAME]… [--svg FOLDER] [WORD]…
//! ```
//!
//! A word selects the rows whose name contains it. `--quick` takes one seed and shorter transfers.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a table on standard output is the point")]
#![expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a benchmark may stop on a bug of its own"
)]

mod contender;
mod net;
mod rows;
mod run;
mod svg;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::contender::Contender;
use crate::rows::{Outcome, Row};

/// The choices of the command line.
struct Plan {
    seeds: u64,
    time: Duration,
    contenders: Vec<Contender>,
    folder: Option<PathBuf>,
    words: Vec<String>,
}

impl Plan {
    fn read(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut plan =
            Self { seeds: 5, time: Duration::from_secs(30), contenders: Vec::new(), folder: None, words: Vec::new() };
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            match argument.as_str() {
                // Cargo passes it.
                "--bench" => {}
                "--quick" => (plan.seeds, plan.time) = (1, Duration::from_secs(10)),
                "--seeds" => plan.seeds = value()?.parse().map_err(|_| "--seeds needs a number")?,
                "--svg" => plan.folder = Some(value()?.into()),
                "--only" => {
                    let name = value()?;
                    let found = Contender::ALL.into_iter().find(|contender| contender.name() == name);
                    plan.contenders.push(found.ok_or_else(|| format!("no contender {name}"))?);
                }
                word => plan.words.push(word.to_owned()),
            }
        }
        if plan.contenders.is_empty() {
            plan.contenders = Contender::ALL.to_vec();
        }
        Ok(plan)
    }

    fn has_row(&self, row: &Row) -> bool {
        self.words.is_empty() || self.words.iter().any(|word| row.name.contains(word.as_str()))
    }

    /// Time of the machine for a run: ours is measured to the end.
    fn wall(contender: Contender) -> Duration {
        Duration::from_secs(if contender.is_ours() { 600 } else { 20 })
    }
}

fn main() -> ExitCode {
    let plan = match Plan::read(std::env::args().skip(1)) {
        Ok(plan) => plan,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    // A stack that panics gets a note in the table.
    std::panic::set_hook(Box::new(|_| {}));
    let mut notes = Vec::new();
    let names: Vec<&str> = plan.contenders.iter().map(|contender| contender.name()).collect();
    println!("{:<50} {:<8} {}", "medians", "unit", names.map_columns());
    for row in rows::all(plan.time).iter().filter(|row| plan.has_row(row)) {
        let cells = plan.contenders.iter().map(|contender| cell(&plan, row, *contender, &mut notes));
        let cells: Vec<String> = cells.collect();
        println!("{:<50} {:<8} {}", row.name, row.unit, cells.map_columns());
    }
    for (number, note) in notes.iter().enumerate() {
        println!("[{}] {note}", number + 1);
    }
    ExitCode::SUCCESS
}

/// Columns of one width.
trait Columns {
    fn map_columns(&self) -> String;
}

impl<S: AsRef<str>> Columns for Vec<S> {
    fn map_columns(&self) -> String {
        self.iter().map(|text| format!("{:>11}", text.as_ref())).collect()
    }
}

fn cell(plan: &Plan, row: &Row, contender: Contender, notes: &mut Vec<String>) -> String {
    if row.is_ours_only && !contender.is_ours() {
        return "-".into();
    }
    let mut values = Vec::new();
    for seed in 1..=plan.seeds {
        let measured = catch_unwind(AssertUnwindSafe(|| (row.measure)(contender, seed, Plan::wall(contender))));
        match measured.unwrap_or_else(|panic| Err(format!("panicked: {}", text(&*panic)))) {
            Ok(outcome) => {
                values.push(outcome.value);
                if seed == 1 {
                    draw(plan, row, contender, &outcome);
                }
            }
            Err(error) => {
                let note = format!("{}: {error}", contender.name());
                let number = notes.iter().position(|other| *other == note).unwrap_or_else(|| {
                    notes.push(note);
                    notes.len() - 1
                });
                return format!("[{}]", number + 1);
            }
        }
    }
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).map_or_else(|| "-".into(), |median| format!("{median:.2}"))
}

/// Returns the message of a panic.
fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message").to_owned()
}

fn draw(plan: &Plan, row: &Row, contender: Contender, outcome: &Outcome) {
    let Some(folder) = &plan.folder else { return };
    let is_plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = format!("{}-{}", row.name, contender.name()).chars().map(is_plain).collect();
    let title = format!("{}: {}", row.name, contender.name());
    let file = folder.join(format!("{name}.svg"));
    let written = std::fs::create_dir_all(folder).and_then(|()| svg::write(&file, &title, &outcome.samples));
    if let Err(error) = written {
        eprintln!("{}: {error}", file.display());
    }
}
