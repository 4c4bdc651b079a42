//! A chat for browsers, beside what else an axum server does: a page sends its offer with one POST, then talks over a
//! data channel.
//!
//! ```text
//! cargo run --example chat --features axum [PORT]
//! ```
#![expect(clippy::let_underscore_must_use, reason = "nobody is left to tell when output or a last datagram fails")]

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use narrowboat::error::TrySendError;
use narrowboat::{Bytes, Endpoint, Identity, Incoming, Message};
use tokio::net::TcpListener;
use tokio::sync::broadcast::{Sender, channel, error::RecvError};
use tokio::time::{MissedTickBehavior, interval};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Messages that a slow page may be behind the others before it misses some.
const BEHIND_MAX: usize = 256;
/// Interval between signs of life to a page, which are empty messages. A page that misses several knows that the
/// service is gone; a browser alone takes a quarter of a minute to find out.
const SIGN_INTERVAL: Duration = Duration::from_secs(1);
/// Longest message of a page, in bytes.
const MESSAGE_SIZE_MAX: usize = 64 << 10;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let port = std::env::args().nth(1).map_or(Ok(8080), |port| port.parse())?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?;
    print(&format!("Open http://127.0.0.1:{}/ in two browsers.", listener.local_addr()?.port()));
    serve(listener).await
}

/// Serves the page and its channels, until the process ends.
pub(crate) async fn serve(listener: TcpListener) -> Result<(), Failure> {
    // Channels have a UDP port of their own. A service keeps its identity in a file; pages come for the current one.
    let endpoint = Endpoint::builder()
        .bind("0.0.0.0:0")
        .identity(Identity::generate()?)
        .max_message_size(MESSAGE_SIZE_MAX)
        .build()?;
    let app = Router::new()
        .route("/", get(|| async { Html(include_str!("page.html")) }))
        .nest("/channels", narrowboat::signalling(endpoint.clone()));
    // With the addresses of clients, a client that posts offers without end does not keep others out.
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(axum::serve(listener, app).into_future());

    let (room, _) = channel(BEHIND_MAX);
    while let Some(incoming) = endpoint.accept().await {
        let room = room.clone();
        tokio::spawn(async move {
            let address = incoming.remote_address();
            match talk(incoming, &room).await {
                Ok(()) => print(&format!("{address} has left")),
                Err(error) => print(&format!("{address} is gone: {error}")),
            }
        });
    }
    Ok(())
}

/// Passes what one page says to all, and what all say to the page. A page that reads slowly holds up nobody.
async fn talk(incoming: Incoming, room: &Sender<Message>) -> Result<(), narrowboat::Error> {
    let association = incoming.await?;
    let Some(channel) = association.accept_channel().await else { return Ok(()) };
    let mut said = room.subscribe();
    let mut signs = interval(SIGN_INTERVAL);
    signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = channel.recv() => match message {
                // Fails if nobody listens, which cannot be: this page does.
                Some(message) => drop(room.send(message?)),
                None => return Ok(()),
            },
            message = said.recv() => match message {
                Ok(message) => channel.send(message).await?,
                Err(RecvError::Lagged(count)) => channel.send(format!("({count} messages were missed)")).await?,
                Err(RecvError::Closed) => return Ok(()),
            },
            _ = signs.tick() => match channel.try_send(Bytes::new()) {
                // A full buffer is a sign of life itself.
                Ok(()) | Err(TrySendError::Full(_)) => {}
                Err(TrySendError::Refused(error)) => return Err(error.into()),
                Err(_) => return Ok(()),
            },
        }
    }
}

/// Prints a line; characters that a terminal acts on are escaped, because reasons are the peers'. A line that nobody
/// reads is left out.
fn print(line: &str) {
    let _ = writeln!(std::io::stdout(), "{}", line.escape_debug());
}
