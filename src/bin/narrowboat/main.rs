//! The command `narrowboat`: files, echoes and terminals over data channels.

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
mod text;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use arguments::{Arguments, Command};
use interrupt::Interrupts;

/// What every part of the command may fail with: one sentence for whoever typed it.
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
    let status = tokio::select! {
        outcome = &mut run => {
            return match outcome {
                Ok(Ok(())) => ExitCode::SUCCESS,
                Ok(Err(failure)) => failed(&failure),
                Err(error) => failed(&error.into()),
            };
        }
        status = interrupts.next() => status,
    };
    // The task is kept until the peer has been told: its channels would be closed otherwise, as if all were well. Who
    // interrupts again does not want to wait for that.
    tokio::select! {
        () = network::abort("interrupted") => {}
        _ = interrupts.next() => {}
    }
    run.abort();
    report::print("narrowboat: interrupted");
    ExitCode::from(status)
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
