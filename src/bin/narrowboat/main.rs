//! The command `narrowboat`: files, echoes and terminals over data channels.

mod arguments;
mod connect;
mod echo;
mod file;
mod network;
mod receive;
mod report;
mod send;

use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use arguments::{Arguments, Command};

/// What every part of the command may fail with: one sentence for whoever typed it.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report::failure(&error.into()),
    };
    let outcome = runtime.block_on(async {
        // Kept until the peer has been told: its channels would be closed else, as if all were well.
        let mut run = pin!(run(arguments.command));
        tokio::select! {
            outcome = &mut run => outcome,
            () = interrupt() => {
                network::abort("interrupted").await;
                Err("interrupted".into())
            }
        }
    });
    // A read of the terminal cannot be cancelled, and must not keep the process.
    runtime.shutdown_timeout(Duration::from_millis(200));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report::failure(&failure),
    }
}

/// Waits for Ctrl-C, or what a system sends that wants the process to end.
async fn interrupt() {
    #[cfg(unix)]
    if let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        return;
    }
    let _ = tokio::signal::ctrl_c().await;
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Receive(receive) => receive::run(receive).await,
        Command::Send(send) => send::run(send).await,
        Command::Echo(echo) => echo::run(echo).await,
        Command::Connect(connect) => connect::run(connect).await,
    }
}
