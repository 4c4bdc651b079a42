//! Bulk, small messages and large windows: processor time and allocations of both ends on a clean path.

use std::time::{Duration, Instant};

use narrowboat_peers::{LinkConfig, Settings, Stack};

use crate::measure::{Cost, Summary};
use crate::plan::{Plan, guard};
use crate::table::{Cell, MEASURE, Row};
use crate::transfer::{Cut, Load, Transfer};
use crate::verdict::Verdict;

/// One way; far above the time that a stack needs for a window, so that windows fill.
const DELAY: Duration = Duration::from_millis(5);

const BULK_MESSAGE: usize = 64 << 10;
const SMALL_MESSAGE: usize = 64;

const WINDOWS: [u32; 4] = [256 << 10, 1 << 20, 4 << 20, 16 << 20];

/// Largest ratio of a packet's cost to its cost with a smaller window at which the cost counts as flat.
const FLAT: f64 = 1.25;

/// A load and the window that it is sent through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    /// Bytes in a message.
    pub(crate) message: usize,
    /// Receive window, in bytes.
    pub(crate) window: u32,
}

/// 64 KiB messages, 1 MiB window.
pub(crate) const BULK: Case = Case { message: BULK_MESSAGE, window: 1 << 20 };

/// 64-byte messages, 1 MiB window.
pub(crate) const SMALL: Case = Case { message: SMALL_MESSAGE, window: 1 << 20 };

impl Case {
    /// Two connected ends whose window has had time to open.
    pub(crate) fn start(self, stack: Stack, wall_max: Duration) -> Result<(Transfer, Option<Cut>), String> {
        let settings = Settings {
            receive_window: self.window,
            send_buffer: 4 * self.window as usize + (1 << 20),
            ..Settings::default()
        };
        let load = Load { message: self.message, backlog: 2 * self.window as usize + self.message };
        let mut transfer = Transfer::new(stack, &settings, LinkConfig::clean(DELAY), load, 1)?;
        let goal = 8 * u64::from(self.window);
        let cut = transfer.run(wall_max, |transfer| transfer.received() >= goal)?;
        Ok((transfer, cut))
    }
}

/// All measurements of one stack in one case.
#[derive(Default)]
struct Series {
    costs: Vec<Cost>,
    note: Option<String>,
    failure: Option<String>,
}

impl Series {
    /// A stack that takes a second for a round is measured a few times only: its figure is far from the others'.
    fn is_enough(&self) -> bool {
        self.costs.len() >= 3 && self.costs.iter().all(|cost| cost.cpu >= Duration::from_secs(1))
    }

    fn cell(&self, value: impl Fn(&Cost) -> f64, decimals: usize) -> Cell {
        match &self.failure {
            Some(reason) => Cell::Failed(reason.clone()),
            None => Cell::measured(self.costs.iter().map(value), decimals, self.note.clone()),
        }
    }
}

/// Transfers of one stack that take turns, so that the bytes under way are those of all of them.
struct Group {
    case: Case,
    transfers: Vec<Transfer>,
    series: Series,
}

impl Group {
    fn start(plan: &Plan, case: Case, count: usize, stack: Stack) -> Self {
        let mut group = Self { case, transfers: Vec::new(), series: Series::default() };
        let wall_max = plan.wall_max / count as u32;
        for _ in 0..count {
            match guard(|| case.start(stack, wall_max)) {
                Ok((transfer, cut)) => {
                    if cut == Some(Cut) {
                        let note = "measured before its window was open: the warm-up took too long";
                        group.series.note = Some(note.into());
                    }
                    group.transfers.push(transfer);
                }
                Err(reason) => group.series.failure = Some(reason),
            }
        }
        group
    }

    /// One measurement, unless there are enough: each transfer in its turn gets a quarter of its window across, until
    /// that was two windows for each and took long enough to be measured.
    fn measure(&mut self, plan: &Plan) {
        if self.series.failure.is_some() || self.series.is_enough() {
            return;
        }
        let portion = u64::from(self.case.window) / 4;
        let rounds_min = 2 * u64::from(self.case.window) / portion;
        let started = Instant::now();
        let mut sum = Cost::default();
        let mut rounds = 0;
        while (rounds < rounds_min || started.elapsed() < plan.slice) && started.elapsed() < plan.wall_max {
            for transfer in &mut self.transfers {
                let goal = transfer.received() + portion;
                let left = plan.wall_max.saturating_sub(started.elapsed());
                match guard(|| transfer.measure(left, |transfer| transfer.received() >= goal)) {
                    Ok((cost, _)) => sum += cost,
                    Err(reason) => return self.series.failure = Some(reason),
                }
            }
            rounds += 1;
        }
        self.series.costs.push(sum);
    }

    fn finish(mut self) -> Series {
        let window = self.case.window;
        let flight = self.transfers.iter().map(Transfer::flight_max).min().unwrap_or(0);
        if self.series.failure.is_none() && self.series.note.is_none() && flight < window as usize / 2 {
            let (flight, window) = (flight >> 10, window >> 10);
            self.series.note = Some(format!("never had more than {flight} KiB of its {window} KiB window under way"));
        }
        self.series
    }
}

/// Measures the stacks in turns, and each of them in all cases, so that other work of the machine affects all alike.
/// Each case has the number of transfers that share the measurement; the series are in the order of cases, then stacks.
fn interleave(plan: &Plan, cases: &[(Case, usize)]) -> Vec<Vec<Series>> {
    let start = |&(case, count): &(Case, usize)| -> Vec<Group> {
        plan.stacks.iter().map(|&stack| Group::start(plan, case, count, stack)).collect()
    };
    let mut running: Vec<Vec<Group>> = cases.iter().map(start).collect();
    for _ in 0..plan.rounds {
        for group in running.iter_mut().flatten() {
            group.measure(plan);
        }
    }
    running.into_iter().map(|groups| groups.into_iter().map(Group::finish).collect()).collect()
}

/// The same for a single case and one transfer.
fn interleave_one(plan: &Plan, case: Case) -> Vec<Series> {
    interleave(plan, &[(case, 1)]).pop().unwrap_or_default()
}

/// A line of costs, of which less is better.
fn row(
    plan: &Plan,
    title: impl Into<String>,
    unit: &'static str,
    series: &[Series],
    value: impl Fn(&Cost) -> f64 + Copy,
    decimals: usize,
) -> Row {
    let cells = series.iter().map(|series| series.cell(value, decimals)).collect();
    Row { title: title.into(), unit, cells, ratio: ratio(plan, series, MEASURE, value) }
}

/// The ratio of this project's cost to another's in the same rounds.
fn ratio(plan: &Plan, series: &[Series], to: Stack, value: impl Fn(&Cost) -> f64) -> Option<Summary> {
    let costs = |stack| plan.column(stack).and_then(|column| series.get(column)).map(|series| &series.costs);
    let (ours, theirs) = (costs(Stack::Narrowboat)?, costs(to)?);
    Summary::of(ours.iter().zip(theirs).map(|(ours, theirs)| value(ours) / value(theirs)))
}

/// 64 KiB messages.
pub(crate) fn bulk(plan: &Plan) -> (Vec<Row>, Vec<Verdict>) {
    let series = interleave_one(plan, BULK);
    let rows = vec![
        Row {
            ratio: None,
            ..row(plan, "bulk, 64 KiB messages, 1 MiB window", "Gbit/s a core", &series, Cost::gigabits_a_core, 2)
        },
        row(plan, "bulk", "ns a packet", &series, Cost::nanoseconds_a_packet, 0),
        row(plan, "bulk", "allocations a packet", &series, Cost::allocations_a_packet, 2),
    ];
    let mut verdicts = Vec::new();
    for peer in [Stack::RtcSctp, Stack::SctpProto, Stack::Dcsctp] {
        if let Some(Summary { median, spread }) = ratio(plan, &series, peer, Cost::nanoseconds_a_packet) {
            let text = format!("bulk: cost a packet is {median:.2} (±{:.0}%) of {peer}'s", spread * 100.0);
            verdicts.push(Verdict::new(text, median <= 1.0, "at most 1.00"));
        }
    }
    if let Some(cell) = plan.column(Stack::Narrowboat).and_then(|column| series.get(column))
        && let Some(Summary { median, .. }) = Summary::of(cell.costs.iter().map(Cost::allocations_a_packet))
    {
        let text = format!("bulk: {median:.3} allocations a packet");
        verdicts.push(Verdict::new(text, median <= 1.0, "at most 1"));
    }
    (rows, verdicts)
}

/// 64-byte messages.
pub(crate) fn small(plan: &Plan) -> (Vec<Row>, Vec<Verdict>) {
    let series = interleave_one(plan, SMALL);
    let rows = vec![
        row(plan, "small, 64 B messages, 1 MiB window", "ns a message", &series, Cost::nanoseconds_a_message, 0),
        row(plan, "small", "allocations a message", &series, Cost::allocations_a_message, 2),
    ];
    let mut verdicts = Vec::new();
    if let Some(Summary { median, spread }) = ratio(plan, &series, Stack::RtcSctp, Cost::nanoseconds_a_message) {
        let text = format!("small: cost a message is {median:.2} (±{:.0}%) of rtc-sctp's", spread * 100.0);
        verdicts.push(Verdict::new(text, median <= 1.0, "at most 1.00"));
    }
    (rows, verdicts)
}

/// The cost of a packet at windows from 256 KiB to 16 MiB. In each case as many bytes are in flight, in 64 transfers or
/// in one: the window differs, not the part of the packets' bytes that the processor's caches hold.
pub(crate) fn window(plan: &Plan) -> (Vec<Row>, Vec<Verdict>) {
    let under_way = WINDOWS.into_iter().max().unwrap_or_default();
    let cases = WINDOWS.map(|window| (Case { message: BULK_MESSAGE, window }, (under_way / window) as usize));
    let by_window = interleave(plan, &cases);
    let mut rows: Vec<Row> = WINDOWS
        .iter()
        .zip(&by_window)
        .map(|(window, series)| {
            row(
                plan,
                format!("{} windows of {} KiB", under_way / window, window >> 10),
                "ns a packet",
                series,
                Cost::nanoseconds_a_packet,
                0,
            )
        })
        .collect();
    let growth: Vec<Option<f64>> = (0..plan.stacks.len())
        .map(|column| {
            let medians: Option<Vec<f64>> = by_window
                .iter()
                .map(|series| {
                    let series = series.get(column).filter(|series| series.failure.is_none())?;
                    Summary::of(series.costs.iter().map(Cost::nanoseconds_a_packet)).map(|summary| summary.median)
                })
                .collect();
            let medians = medians?;
            let (mut least, mut growth) = (f64::INFINITY, 0.0_f64);
            for cost in medians {
                growth = growth.max(cost / least);
                least = least.min(cost);
            }
            Some(growth)
        })
        .collect();
    let cell = |ratio: &Option<f64>| match ratio {
        Some(ratio) => Cell::plain(format!("{ratio:.2}")),
        None => Cell::Failed("not measured at every window".into()),
    };
    let cells = growth.iter().map(cell).collect();
    rows.push(Row { title: "window: most to that of a smaller one".into(), unit: "ratio", cells, ratio: None });
    let ours = plan.column(Stack::Narrowboat).and_then(|column| growth.get(column).copied().flatten());
    let verdicts = ours
        .map(|ratio| {
            let text =
                format!("window: a packet costs at most {ratio:.2} of one of a smaller window, 256 KiB to 16 MiB");
            Verdict::new(text, ratio <= FLAT, "at most 1.25")
        })
        .into_iter()
        .collect();
    (rows, verdicts)
}
