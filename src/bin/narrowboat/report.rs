//! What the command says, all of it to standard error: the output belongs to what is received.

use std::process::ExitCode;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use crate::Failure;

/// Says one line, above the progress bars.
pub(crate) fn say(bars: &MultiProgress, line: &str) {
    bars.suspend(|| print(line));
}

/// Says one line where there are no bars.
#[expect(clippy::print_stderr, reason = "a command talks to whoever typed it")]
pub(crate) fn print(line: &str) {
    eprintln!("{line}");
}

/// Says why it ends, and makes the status of it.
pub(crate) fn failure(failure: &Failure) -> ExitCode {
    print(&format!("narrowboat: {failure}"));
    ExitCode::FAILURE
}

/// Text of a peer's, without what a terminal would act on.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(500).collect()
}

/// Bytes as people read them.
pub(crate) fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

/// A bar with progress, rate and the time left. It is only drawn on a terminal.
pub(crate) fn bar(bars: &MultiProgress, name: &str, len: u64) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{prefix} {wide_bar} {bytes}/{total_bytes} {binary_bytes_per_sec} {time_left}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar()).with_key("time_left", time_left);
    bars.add(ProgressBar::new(len).with_style(style).with_prefix(name.to_owned()))
}

/// "12.3 MiB in 0.4 s, 30.1 MiB/s".
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
