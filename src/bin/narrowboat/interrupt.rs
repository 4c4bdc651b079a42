//! Signals that end the command.

/// Status of a process that Ctrl-C has ended, as shells have it: 128 and the number of the signal.
#[cfg(not(unix))]
const INTERRUPTED: u8 = 128 + 2;

/// Ctrl-C, and what a system sends that wants the process to end, or whose terminal was closed.
pub(crate) struct Interrupts {
    #[cfg(unix)]
    signals: Vec<(u8, tokio::signal::unix::Signal)>,
}

#[cfg(unix)]
impl Interrupts {
    /// Signals are caught from now on.
    pub(crate) fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};

        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let is_wanted = |kind: &SignalKind| *kind != SignalKind::hangup() || !is_hangup_ignored();
        let catch = |kind: SignalKind| Some((128 + u8::try_from(kind.as_raw_value()).ok()?, signal(kind).ok()?));
        Self { signals: kinds.into_iter().filter(is_wanted).filter_map(catch).collect() }
    }

    /// Waits for the next one; returns the status that it gives the process: 128 and the number of the signal, as
    /// shells have it.
    pub(crate) async fn next(&mut self) -> u8 {
        std::future::poll_fn(|cx| {
            for (status, signal) in &mut self.signals {
                if signal.poll_recv(cx).is_ready() {
                    return std::task::Poll::Ready(*status);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

#[cfg(not(unix))]
impl Interrupts {
    pub(crate) fn new() -> Self {
        Self {}
    }

    pub(crate) async fn next(&mut self) -> u8 {
        let _ = tokio::signal::ctrl_c().await;
        INTERRUPTED
    }
}

/// True if the process was started to outlive its terminal, as with nohup: the signal is ignored then, and catching it
/// would undo that.
#[cfg(unix)]
fn is_hangup_ignored() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| is_ignored(&status, 1))
}

/// Reads the mask of ignored signals in Linux' `/proc/self/status`.
#[cfg(unix)]
fn is_ignored(status: &str, signal: u32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 << (signal - 1) != 0)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_mask_is_read() {
        let status =
            "Name:\tnarrowboat\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000002\n";
        assert!(is_ignored(status, 1) && is_ignored(status, 13) && !is_ignored(status, 2));
        assert!(!is_ignored("", 1) && !is_ignored("SigIgn:\tboat\n", 1));
    }
}
