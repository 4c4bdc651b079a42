//! Goodput over simulated links with a drop-tail queue of one bandwidth-delay product.

use std::time::Duration;

use narrowboat_peers::{LinkConfig, Settings, Stack};

use crate::plan::{Plan, guard};
use crate::table::{Cell, Row};
use crate::transfer::{Cut, Load, Transfer};
use crate::verdict::Verdict;

const RATES: [u64; 3] = [20_000_000, 100_000_000, 1_000_000_000];
const ROUND_TRIPS: [u64; 4] = [10, 50, 100, 200];
const MESSAGE: usize = 16 << 10;

/// Windows are 2.5 bandwidth-delay products.
const WINDOW: (u64, u64) = (5, 2);

/// Goodput that this project promises up to a round trip of 100 ms, as shares of the link.
const MEAN_MIN: f64 = 0.85;
const WORST_MIN: f64 = 0.50;
const PROMISED_ROUND_TRIP: u64 = 100;

/// Seconds of a window that is looked at by itself.
const SPAN: usize = 5;

/// Goodput of a transfer, as shares of the link.
struct Outcome {
    mean: f64,
    /// The least of any five seconds after the first five.
    worst: Option<f64>,
    /// Virtual time after which it was cut short.
    cut: Option<Duration>,
}

fn transfer(plan: &Plan, stack: Stack, rate: u64, round_trip: u64) -> Result<Outcome, String> {
    let product = rate / 8 * round_trip / 1000;
    let window = product * WINDOW.0 / WINDOW.1;
    let settings = Settings {
        receive_window: u32::try_from(window).map_err(|error| error.to_string())?,
        send_buffer: 4 * usize::try_from(window).map_err(|error| error.to_string())? + (1 << 20),
        ..Settings::default()
    };
    let path = LinkConfig {
        rate: Some(rate),
        queue: usize::try_from(product).map_err(|error| error.to_string())?,
        ..LinkConfig::clean(Duration::from_millis(round_trip) / 2)
    };
    let load = Load { message: MESSAGE, backlog: settings.receive_window as usize * 2 + MESSAGE };
    let mut transfer = Transfer::new(stack, &settings, path, load, 1)?;
    let started = transfer.now();
    let wall = std::time::Instant::now();
    let mut seconds = Vec::new();
    let mut cut = None;
    while transfer.now() - started < plan.goodput_time && cut.is_none() {
        let end = started + Duration::from_secs(seconds.len() as u64 + 1);
        let from = transfer.received();
        let left = plan.goodput_wall_max(stack).saturating_sub(wall.elapsed());
        let stopped = transfer.run(left, |transfer| transfer.now() >= end)?;
        seconds.push((transfer.received() - from) as f64 * 8.0);
        cut = stopped.map(|Cut| transfer.now() - started);
    }
    let time = transfer.now() - started;
    let whole = if cut.is_some() { &seconds[..seconds.len() - 1] } else { &seconds[..] };
    let worst = whole
        .get(SPAN..)
        .unwrap_or_default()
        .windows(SPAN)
        .map(|span| span.iter().sum::<f64>() / SPAN as f64 / rate as f64)
        .min_by(f64::total_cmp);
    Ok(Outcome { mean: seconds.iter().sum::<f64>() / time.as_secs_f64() / rate as f64, worst, cut })
}

impl Outcome {
    fn cell(&self) -> Cell {
        let mut text = format!("{:.0}", self.mean * 100.0);
        if let Some(worst) = self.worst {
            text += &format!(" ({:.0})", worst * 100.0);
        }
        if let Some(at) = self.cut {
            text += &format!(" to {:.0} s", at.as_secs_f64());
        }
        let note =
            self.cut.map(|_| "needed more processor time than there is for a line: the share until it was stopped");
        Cell::Plain { text, note: note.map(str::to_owned) }
    }
}

/// Goodput over each link.
pub(crate) fn goodput(plan: &Plan) -> (Vec<Row>, Vec<Verdict>) {
    let (mut rows, mut verdicts) = (Vec::new(), Vec::new());
    for rate in RATES {
        for round_trip in ROUND_TRIPS {
            let name = format!("goodput {} Mbit/s, {round_trip} ms", rate / 1_000_000);
            let mut cells = Vec::new();
            for &stack in &plan.stacks {
                let outcome = guard(|| transfer(plan, stack, rate, round_trip));
                if stack == Stack::Narrowboat
                    && round_trip <= PROMISED_ROUND_TRIP
                    && let Ok(outcome) = &outcome
                {
                    verdicts.push(verdict(&name, outcome));
                }
                cells.push(outcome.map_or_else(Cell::Failed, |outcome| outcome.cell()));
            }
            rows.push(Row { title: name, unit: "% of link (worst 5 s)", cells, ratio: None });
        }
    }
    (rows, verdicts)
}

fn verdict(name: &str, outcome: &Outcome) -> Verdict {
    let worst = outcome.worst.unwrap_or(outcome.mean);
    let text = format!("{name}: {:.1} % of the link, {:.1} % in its worst 5 s", outcome.mean * 100.0, worst * 100.0);
    Verdict::new(text, outcome.mean >= MEAN_MIN && worst >= WORST_MIN, "at least 85 % and 50 %")
}
