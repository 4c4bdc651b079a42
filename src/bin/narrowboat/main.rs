//! The command `narrowboat`: files, echoes and terminals over data channels.
#![expect(clippy::let_underscore_must_use, reason = "nobody is left to tell when output or a last datagram fails")]

mod address;
mod arguments;
mod connect;
mod echo;
mod file;
mod interrupt;
mod network;
mod printer;
mod receive;
mod report;
mod send;
mod source;
mod stdio;
mod stream;
mod text;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use arguments::{Arguments, Command};
use interrupt::Interrupts;

/// Error of the command: one sentence for the user.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let status = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let status = runtime.block_on(run_until_interrupted(arguments.command));
            // A read of the terminal cannot be cancelled, and must not keep the process.
            runtime.shutdown_timeout(Duration::from_millis(200));
            status
        }
        Err(error) => failed(&error.into()),
    };
    report::flush();
    status
}

async fn run_until_interrupted(command: Command) -> ExitCode {
    let mut interrupts = Interrupts::new();
    // On a thread of its own, so that whatever blocks there does not hold up a signal.
    let mut run = tokio::spawn(run(command));
    match until_interrupted(&mut run, async || interrupts.next().await, network::abort("interrupted")).await {
        Ok(Ok(Ok(()))) => ExitCode::SUCCESS,
        Ok(Ok(Err(failure))) => failed(&failure),
        Ok(Err(error)) => failed(&error.into()),
        Err(status) => {
            run.abort();
            report::print("narrowboat: interrupted");
            ExitCode::from(status)
        }
    }
}

/// Waits for the end of `run`. The first interrupt ends that with its status, once `goodbye` is done: the task is kept
/// until the peer has been told, because its channels would be closed otherwise, as if all were well. A second
/// interrupt does not wait for that.
async fn until_interrupted<T>(
    run: impl Future<Output = T>,
    mut interrupt: impl AsyncFnMut() -> u8,
    goodbye: impl Future<Output = ()>,
) -> Result<T, u8> {
    let status = tokio::select! {
        outcome = run => return Ok(outcome),
        status = interrupt() => status,
    };
    tokio::select! {
        () = goodbye => {}
        _ = interrupt() => {}
    }
    Err(status)
}

/// Prints why the command ends, and returns the status.
fn failed(failure: &Failure) -> ExitCode {
    report::print(&format!("narrowboat: {failure}"));
    ExitCode::FAILURE
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Receive(receive) => receive::run(receive).await,
        Command::Send(send) => send::run(send).await,
        Command::Echo(echo) => echo::run(echo).await,
        Command::Connect(connect) => connect::run(connect).await,
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::sync::mpsc;
    use tokio::time::{Instant, sleep, timeout};

    use super::*;

    /// Interrupts at these times, in seconds, and when and how the command ends that never ends by itself.
    async fn interrupted_at(times: &'static [u64], goodbye: impl Future<Output = ()>) -> Option<(u64, Result<(), u8>)> {
        let (send, mut receive) = mpsc::unbounded_channel();
        let start = Instant::now();
        tokio::spawn(async move {
            for (status, at) in (130..).zip(times) {
                tokio::time::sleep_until(start + Duration::from_secs(*at)).await;
                let _ = send.send(status);
            }
            pending::<()>().await;
        });
        let interrupt = async || receive.recv().await.unwrap_or_default();
        let ended = timeout(Duration::from_secs(100), until_interrupted(pending(), interrupt, goodbye)).await;
        Some((start.elapsed().as_secs(), ended.ok()?))
    }

    #[tokio::test(start_paused = true)]
    async fn the_second_interrupt_does_not_wait_for_the_peer_to_be_told() {
        let slow = || sleep(Duration::from_secs(5));
        assert_eq!(interrupted_at(&[1], slow()).await, Some((5, Err(130))), "the first one waits for the goodbye");
        assert_eq!(interrupted_at(&[1, 2], slow()).await, Some((2, Err(130))), "the status is that of the first");
        assert_eq!(interrupted_at(&[1, 9], slow()).await, Some((5, Err(130))));
        assert_eq!(interrupted_at(&[1, 1], pending()).await, Some((1, Err(130))));
        assert_eq!(interrupted_at(&[1], pending()).await, None, "nobody has interrupted again");
        assert_eq!(interrupted_at(&[], slow()).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_that_ends_is_not_interrupted() {
        let ended = until_interrupted(async { 7 }, async || pending().await, pending()).await;
        assert_eq!(ended, Ok(7));
    }
}
