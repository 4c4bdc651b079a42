//! Carries TCP connections over an encrypted association, each on a byte stream of its own.
//!
//! ```text
//! cargo run --example tunnel -- to 127.0.0.1:80               beside the TCP service; it prints a ticket
//! cargo run --example tunnel -- from 127.0.0.1:8080 TICKET    beside the clients, who connect to that port
//! ```
#![expect(clippy::let_underscore_must_use, reason = "nobody is left to tell when output or a last datagram fails")]

#[path = "../src/bin/narrowboat/text.rs"]
mod text;

use std::io::Write;
use std::process::ExitCode;

use narrowboat::{Association, ByteStream, Endpoint, Identity, Ticket};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        ["to", target] => carry_to(target).await,
        ["from", address, ticket] => carry_from(address, ticket).await,
        _ => Err("usage: tunnel to ADDRESS:PORT | tunnel from ADDRESS:PORT TICKET".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{}", text::printable(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}

/// Anyone who has the ticket reaches the target.
async fn carry_to(target: &str) -> Result<(), Failure> {
    let endpoint = Endpoint::builder().bind("0.0.0.0:0").identity(Identity::generate()?).accept_direct().build()?;
    print(&endpoint.ticket()?.to_string());
    while let Some(incoming) = endpoint.accept().await {
        let target = target.to_owned();
        tokio::spawn(async move {
            match incoming.await {
                Ok(association) => accept_streams(&association, &target).await,
                Err(error) => print(&error.to_string()),
            }
        });
    }
    Ok(())
}

async fn accept_streams(association: &Association, target: &str) {
    while let Some(channel) = association.accept_channel().await {
        let target = target.to_owned();
        tokio::spawn(async move {
            // If nobody listens there, the stream is dropped, and the client's connection ends too.
            match TcpStream::connect(&target).await {
                Ok(tcp) => carry(tcp, channel.into_byte_stream()).await,
                Err(error) => print(&format!("cannot connect to {target} ({error}): see that the service runs there")),
            }
        });
    }
}

async fn carry_from(address: &str, ticket: &str) -> Result<(), Failure> {
    let listener = TcpListener::bind(address).await?;
    let endpoint = Endpoint::builder().identity(Identity::generate()?).build()?;
    let association = endpoint.connect(ticket.parse::<Ticket>()?).await?;
    print(&format!("connect to {}", listener.local_addr()?));
    loop {
        let tcp = tokio::select! {
            accepted = listener.accept() => accepted?.0,
            reason = association.closed() => return Err(reason.into()),
        };
        let stream = association.open_byte_stream("tcp").await?;
        tokio::spawn(carry(tcp, stream));
    }
}

/// Until both directions have ended. The end of one direction is passed on by itself, so a client may shut down its
/// request and wait for the answer.
async fn carry(mut tcp: TcpStream, mut stream: ByteStream) {
    if let Err(error) = copy_bidirectional(&mut tcp, &mut stream).await {
        print(&format!("a connection has ended: {error}"));
    }
}

/// Prints a line, without characters that a terminal acts on: peers have chosen a part of the line.
fn print(line: &str) {
    let _ = writeln!(std::io::stdout(), "{}", text::printable(line));
}
