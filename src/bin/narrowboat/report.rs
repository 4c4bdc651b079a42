//! Reports of the command. They go to standard error, because the output is for what is received.
//!
//! [`print`] and [`bar`] are the only ways to the terminal. Both make what they are given [printable], so no text of a
//! peer needs to be made so before.

use std::io::{self, IsTerminal};
use std::sync::LazyLock;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressFinish, ProgressState, ProgressStyle};

use super::printer::{Printer, write_to_stderr};
use super::text::printable;

/// Longest time that the process waits at its end for the reader of its reports.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(1);
/// Interval between two drawings of a bar.
const DRAW_INTERVAL: Duration = Duration::from_millis(100);

/// The bars on the terminal; none if standard error is not one.
static BARS: LazyLock<Option<MultiProgress>> = LazyLock::new(|| io::stderr().is_terminal().then(MultiProgress::new));

static PRINTER: LazyLock<Printer> = LazyLock::new(|| {
    Printer::start(|lines| match &*BARS {
        Some(bars) => bars.suspend(|| write_to_stderr(lines)),
        None => write_to_stderr(lines),
    })
});

/// Prints a line above the progress bars.
pub(crate) fn print(line: &str) {
    PRINTER.print(&printable(line));
}

/// Prints lines that stay together.
pub(crate) fn print_lines<const N: usize>(lines: [&str; N]) {
    PRINTER.print(&lines.map(printable).join("\n"));
}

/// Waits until all is printed, but not for a reader that does not read.
pub(crate) fn flush() {
    PRINTER.flush(FLUSH_TIME_MAX);
}

/// Formats a number of bytes with a unit.
pub(crate) fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

/// Creates a bar with progress, rate and the time left. It is only drawn on a terminal, by a thread of its own, until
/// it is dropped.
pub(crate) fn bar(name: &str, len: u64) -> ProgressBar {
    let Some(bars) = &*BARS else { return ProgressBar::hidden() };
    let style =
        ProgressStyle::with_template("{prefix} {wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} {time_left}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).with_key("time_left", time_left);
    let bar = bars.add(
        ProgressBar::new(len).with_style(style).with_prefix(printable(name)).with_finish(ProgressFinish::AndClear),
    );
    bar.enable_steady_tick(DRAW_INTERVAL);
    bar
}

/// Formats size, time and rate, as "12.3 MiB in 0.4 s, 30.1 MiB/s".
pub(crate) fn rate(bytes: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64().max(1e-6);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "for eyes"
    )]
    let per_second = (bytes as f64 / seconds) as u64;
    format!("{} in {seconds:.1} s, {}/s", size(bytes), size(per_second))
}

fn time_left(state: &ProgressState, out: &mut dyn std::fmt::Write) {
    let seconds = state.eta().as_secs();
    let _ = match seconds {
        0..3600 => write!(out, "{}:{:02} left", seconds / 60, seconds % 60),
        _ => write!(out, "{}:{:02}:{:02} left", seconds / 3600, seconds / 60 % 60, seconds % 60),
    };
}
