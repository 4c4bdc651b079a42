//! The command `narrowboat`: files, echoes and terminals over data channels on UDP.

mod arguments;
mod connect;
mod echo;
mod file;
mod receive;
mod report;
mod send;

use std::pin::pin;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;

use clap::Parser;
use narrowboat::{Association, Config, Endpoint};

use arguments::{Arguments, Command};

/// What every part of the command may fail with: one sentence for whoever typed it.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How long a peer may take to answer the handshake.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a peer may take to say goodbye.
const GOODBYE_TIME_MAX: Duration = Duration::from_secs(5);

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
                if let Some(endpoint) = ENDPOINT.get() {
                    endpoint.abort("interrupted");
                    let _ = tokio::time::timeout(GOODBYE_TIME_MAX, endpoint.wait_idle()).await;
                }
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

/// The process's endpoint, for the last words of one that is interrupted.
static ENDPOINT: OnceLock<Endpoint> = OnceLock::new();

/// An endpoint with limits for a person who waits: a peer that has vanished is given up after about half a minute.
fn endpoint(listen: &str, accept: bool) -> Result<Endpoint, Failure> {
    let mut config = Config { accept, ..Config::default() };
    config.association.association_max_retransmits = 6;
    config.association.heartbeat_interval = Some(Duration::from_secs(5));
    let endpoint = Endpoint::builder().config(config).bind(listen).build()?;
    let _ = ENDPOINT.set(endpoint.clone());
    Ok(endpoint)
}

/// Opens an association to `address`, from whichever version of IP it is.
async fn dial(address: &str) -> Result<Association, Failure> {
    // A system without IPv6 has no [::].
    let endpoint = endpoint("[::]:0", false).or_else(|_| endpoint("0.0.0.0:0", false))?;
    match tokio::time::timeout(CONNECT_TIME_MAX, endpoint.connect(address)).await {
        Ok(association) => Ok(association?),
        Err(_) => {
            Err(format!("{address} does not answer: check that narrowboat listens there, and that UDP is let through")
                .into())
        }
    }
}

/// Says goodbye, so that the peer hears it before the process is gone.
async fn hang_up(association: &Association) {
    let _ = tokio::time::timeout(GOODBYE_TIME_MAX, association.shutdown()).await;
}
