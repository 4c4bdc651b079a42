//! An echo service and its client, encrypted: the beginning of most services.
//!
//! ```text
//! cargo run --example echo                         the service; it prints its ticket
//! cargo run --example echo -- TICKET "Ship ahoy"   the client
//! ```
#![expect(clippy::let_underscore_must_use, reason = "nobody is left to tell when output or a last datagram fails")]

#[path = "../src/bin/narrowboat/text.rs"]
mod text;

use std::io::Write;
use std::process::ExitCode;

use narrowboat::{Association, DataChannel, Endpoint, Identity};

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let outcome = match arguments.next() {
        Some(ticket) => client(&ticket, &arguments.next().unwrap_or_else(|| "Ship ahoy".to_owned())).await,
        None => service().await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // Every error is a sentence that says what to do.
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{}", text::printable(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}

async fn service() -> Result<(), narrowboat::Error> {
    // The file keeps the ticket good after a restart, if the port stays too.
    let identity = Identity::load_or_create("echo-identity.pem")?;
    let endpoint = Endpoint::builder().bind("0.0.0.0:4433").identity(identity).accept_direct().build()?;
    print(&endpoint.ticket()?.to_string());
    while let Some(incoming) = endpoint.accept().await {
        // Each peer has a task of its own, and its handshake is awaited there: nobody holds up the next.
        tokio::spawn(async move {
            let address = incoming.remote_address();
            match incoming.await {
                Ok(association) => serve(&association).await,
                Err(error) => print(&format!("{address} did not connect: {error}")),
            }
        });
    }
    Ok(())
}

async fn serve(association: &Association) {
    while let Some(channel) = association.accept_channel().await {
        // And so has each channel.
        tokio::spawn(async move {
            if let Err(error) = echo(&channel).await {
                print(&format!("channel {:?} has ended: {error}", channel.label()));
            }
        });
    }
    print(&format!("{}: {}", association.remote_address(), association.closed().await));
}

/// Until the peer closes the channel.
async fn echo(channel: &DataChannel) -> Result<(), narrowboat::Error> {
    while let Some(message) = channel.recv().await {
        channel.send(message?).await?; // waits while the peer does not read, and so reads no more from it meanwhile
    }
    Ok(())
}

async fn client(ticket: &str, text: &str) -> Result<(), narrowboat::Error> {
    let endpoint = Endpoint::builder().identity(Identity::generate()?).build()?;
    let association = endpoint.connect(ticket).await?; // refused if the certificate is not the ticket's
    let channel = association.open_channel("echo").await?;
    channel.send(text).await?;
    if let Some(answer) = channel.recv().await {
        print(&String::from_utf8_lossy(answer?.as_bytes()));
    }
    channel.close().await?;
    association.shutdown().await?; // the service hears it before this process is gone
    Ok(())
}

/// Prints a line, without characters that a terminal acts on: peers have chosen a part of the line. A line that nobody
/// reads is left out.
fn print(line: &str) {
    let _ = writeln!(std::io::stdout(), "{}", text::printable(line));
}
