//! A page in any browser drops files onto this service, over a data channel and one UDP port.
//!
//! ```text
//! cargo run --release --example drop [DIRECTORY [PORT]]
//! ```
//!
//! Serves the page over plain HTTP, on `PORT`, or on 8080 if that is free; files go to `DIRECTORY`, or `downloads`. The page
//! connects by itself, without signalling: the ticket that it fetches holds the addresses and the certificate's hash.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example tells what happens")]

#[path = "../../src/bin/narrowboat/file/name.rs"]
mod name;
#[path = "../../src/bin/narrowboat/file/partial.rs"]
mod partial;
mod relay;
mod service;
#[path = "../../src/bin/narrowboat/text.rs"]
mod text;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::routing::get;
use indicatif::MultiProgress;
use narrowboat::{Endpoint, Identity, Ticket};
use tokio::net::TcpListener;

use relay::Relay;
use service::Service;

/// What anything here may fail with: one sentence.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

const HTTP_PORT: u16 = 8080;

#[tokio::main]
async fn main() -> ExitCode {
    match start().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn start() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let into = arguments.next().unwrap_or_else(|| "downloads".to_owned());
    let port = arguments.next().map(|port| port.parse().map_err(|_| format!("{port:?} is no port"))).transpose()?;
    run(into.into(), port).await
}

/// The service, until the process ends.
pub(crate) async fn run(into: PathBuf, http_port: Option<u16>) -> Result<(), Failure> {
    std::fs::create_dir_all(&into).map_err(|error| format!("cannot make the directory {}: {error}", into.display()))?;

    // The endpoint is behind a relay that loses datagrams on request, so the relay's addresses are the ones that browsers
    // are told. Without it the endpoint would be bound to 0.0.0.0, and find its addresses by itself.
    let addresses = addresses()?;
    let inside = addresses.first().copied().unwrap_or(Ipv4Addr::LOCALHOST.into());
    let relay = Relay::bind(inside).await?;
    let mut builder = Endpoint::builder().bind((inside, 0)).identity(Identity::generate()?);
    for address in &addresses {
        builder = builder.advertise(SocketAddr::new(*address, relay.port()?));
    }
    let endpoint = builder.build()?;
    tokio::spawn(Arc::clone(&relay).run(endpoint.local_address()));

    let listener = listen(http_port).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(axum::serve(listener, page(&endpoint.ticket()?)).into_future());
    greet(&addresses, port, relay.port()?);

    let progress = MultiProgress::new();
    let service = Arc::new(Service { started: Instant::now(), into, relay, progress });
    while let Some(incoming) = endpoint.accept().await {
        let service = Arc::clone(&service);
        tokio::spawn(async move {
            match incoming.await {
                Ok(association) => service.serve(association).await,
                Err(error) => service.say(&format!("a browser did not connect: {error}")),
            }
        });
    }
    Ok(())
}

/// The IPv4 addresses of this machine, loopback last: a user's Firefox never uses that.
fn addresses() -> Result<Vec<IpAddr>, Failure> {
    let mut addresses: Vec<IpAddr> = if_addrs::get_if_addrs()?
        .into_iter()
        .map(|interface| interface.ip())
        .filter(|address| matches!(address, IpAddr::V4(v4) if !v4.is_link_local()))
        .collect();
    addresses.sort_by_key(IpAddr::is_loopback);
    addresses.dedup();
    Ok(addresses)
}

/// The port that was asked for; or the usual one, or any if that is taken.
async fn listen(asked: Option<u16>) -> Result<TcpListener, Failure> {
    let port = asked.unwrap_or(HTTP_PORT);
    let bind = |port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port));
    match bind(port).await {
        Err(error) if asked.is_none() && error.kind() == std::io::ErrorKind::AddrInUse => Ok(bind(0).await?),
        listener => {
            listener.map_err(|error| format!("cannot serve the page on port {port} ({error}): name another one").into())
        }
    }
}

/// The page and what it loads. Nothing comes from elsewhere.
fn page(ticket: &Ticket) -> Router {
    let candidates: Vec<_> = ticket
        .addresses()
        .iter()
        .map(|address| serde_json::json!({ "ip": address.ip().to_string(), "port": address.port() }))
        .collect();
    let ticket = serde_json::json!({ "candidates": candidates, "fingerprint": ticket.fingerprint().to_string() });
    let files = [
        ("/", "text/html; charset=utf-8", include_str!("page.html").to_owned()),
        ("/page.css", "text/css", include_str!("page.css").to_owned()),
        ("/page.js", "text/javascript", include_str!("page.js").to_owned()),
        ("/plot.js", "text/javascript", include_str!("plot.js").to_owned()),
        ("/sha256.js", "text/javascript", include_str!("sha256.js").to_owned()),
        ("/connect.js", "text/javascript", include_str!("connect.js").to_owned()),
        ("/ticket.json", "application/json", ticket.to_string()),
    ];
    files.into_iter().fold(Router::new(), |router, (path, kind, text)| {
        // Never cached: a restarted service has another certificate.
        let answer = ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-store")], text);
        router.route(path, get(|| async { answer }))
    })
}

fn greet(addresses: &[IpAddr], http: u16, udp: u16) {
    println!("On this machine:  http://127.0.0.1:{http}/");
    if let Some(lan) = addresses.iter().find(|address| !address.is_loopback()) {
        let url = format!("http://{lan}:{http}/");
        println!("On the network:   {url}");
        if let Ok(code) = qrcode::QrCode::new(&url) {
            println!("{}", code.render::<qrcode::render::unicode::Dense1x2>().build());
        }
    } else {
        println!("This machine has no other address, and Firefox never uses 127.0.0.1: take another browser.");
    }
    println!("Files and ticks come over UDP port {udp}. Ctrl-C ends the service.\n");
}
