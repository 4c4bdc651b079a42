//! A page in any browser drops files onto this service, over a data channel and one UDP port.
//!
//! ```text
//! cargo run --release --example drop [DIRECTORY [PORT]] [--host NAME] [--token TOKEN] [--max-size SIZE]
//! ```
//!
//! Serves the page over plain HTTP, on `PORT`, or on 8080 if that is free; files go to `DIRECTORY`, or `downloads`. The
//! page connects by itself, without signalling: the ticket that it fetches holds the addresses and the certificate's
//! hash.
//!
//! The page is there under this machine's addresses and `localhost`; `--host` adds a name. Without `--token`, anyone
//! who can open the page may send files; with it, only those who have the whole address of the page, which ends with
//! the token.
#![expect(clippy::let_underscore_must_use, reason = "nobody is left to tell when output or a last datagram fails")]

mod host;
#[path = "../../src/bin/narrowboat/file/name.rs"]
mod name;
#[path = "../../src/bin/narrowboat/file/pace.rs"]
mod pace;
#[path = "../../src/bin/narrowboat/file/partial.rs"]
mod partial;
#[path = "../../src/bin/narrowboat/printer.rs"]
mod printer;
mod relay;
#[path = "../../src/bin/narrowboat/report.rs"]
mod report;
#[path = "../../src/bin/narrowboat/file/room.rs"]
mod room;
mod service;
#[path = "../../src/bin/narrowboat/text.rs"]
mod text;
#[path = "../../src/bin/narrowboat/file/turns.rs"]
mod turns;
#[path = "../../src/bin/narrowboat/file/writer.rs"]
mod writer;

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::routing::get;
use narrowboat::{Endpoint, Identity, Ticket};
use tokio::net::TcpListener;

use host::Hosts;
use relay::Relay;
use service::{Service, digest};
use turns::Turns;

/// Error of this program: one sentence.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

const HTTP_PORT: u16 = 8080;

/// Largest message: a block of a file, as the page is told.
const MESSAGE_SIZE_MAX: usize = 256 << 10;
/// Channels of a browser. Each file is one.
const CHANNELS_MAX: usize = 64;

/// Arguments of the command line.
#[derive(Default)]
pub(crate) struct Arguments {
    pub(crate) into: Option<PathBuf>,
    pub(crate) port: Option<u16>,
    pub(crate) hosts: Vec<String>,
    pub(crate) token: Option<String>,
    pub(crate) size_max: Option<u64>,
}

impl Arguments {
    pub(crate) fn read(mut words: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut arguments = Self::default();
        while let Some(word) = words.next() {
            if !word.starts_with("--") {
                if arguments.into.is_none() {
                    arguments.into = Some(word.into());
                } else {
                    arguments.port = Some(word.parse().map_err(|_| format!("{word:?} is not a port"))?);
                }
                continue;
            }
            let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
            match word.as_str() {
                "--host" => arguments.hosts.push(value),
                "--token" => arguments.token = Some(value),
                "--max-size" => {
                    let size = room::parse_size(&value);
                    arguments.size_max = Some(size.ok_or_else(|| format!("{value:?} is not a size, like 500M"))?);
                }
                _ => return Err(format!("{word} is not an option: use --host, --token or --max-size").into()),
            }
        }
        Ok(arguments)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Arguments::read(std::env::args().skip(1)) {
        Ok(arguments) => run(arguments).await,
        Err(failure) => Err(failure),
    };
    let status = match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report::print(&failure.to_string());
            ExitCode::FAILURE
        }
    };
    report::flush();
    status
}

/// The service, until the process ends.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let into = arguments.into.unwrap_or_else(|| "downloads".into());
    std::fs::create_dir_all(&into).map_err(|error| format!("cannot make the directory {}: {error}", into.display()))?;
    partial::sweep(&into);

    // The endpoint is behind a relay that loses datagrams on request, so the relay's addresses are the ones that
    // browsers are told. Without it the endpoint would be bound to 0.0.0.0, and find its addresses by itself.
    let addresses = addresses()?;
    let inside = addresses.first().copied().unwrap_or_else(|| Ipv4Addr::LOCALHOST.into());
    let relay = Relay::bind(inside).await?;
    let mut builder = Endpoint::builder().bind((inside, 0)).identity(Identity::generate()?).accept_direct();
    builder = builder.max_message_size(MESSAGE_SIZE_MAX).max_channels(CHANNELS_MAX);
    for address in &addresses {
        builder = builder.advertise(SocketAddr::new(*address, relay.port()?));
    }
    let endpoint = builder.build()?;
    tokio::spawn(Arc::clone(&relay).run(endpoint.local_address()));

    let listener = listen(arguments.port).await?;
    let port = listener.local_addr()?.port();
    let hosts = Hosts::new(arguments.hosts);
    tokio::spawn(axum::serve(listener, hosts.guard(page(&endpoint.ticket()?))).into_future());
    greet(&addresses, port, relay.port()?, arguments.token.as_deref());

    let service = Arc::new(Service {
        started: Instant::now(),
        into,
        size_max: arguments.size_max.unwrap_or(u64::MAX),
        token: arguments.token.as_deref().map(digest),
        turns: Turns::new(),
        relay,
    });
    while let Some(incoming) = endpoint.accept().await {
        let service = Arc::clone(&service);
        tokio::spawn(async move {
            match incoming.await {
                Ok(association) => service.serve(association).await,
                Err(error) => report::print(&format!("a browser did not connect: {error}")),
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

/// Prints the address of the page. The program goes on if nobody reads its output.
fn greet(addresses: &[IpAddr], http: u16, udp: u16, token: Option<&str>) {
    let token = token.map(|token| format!("#{}", encoded(token))).unwrap_or_default();
    let mut text = format!("On this machine:  http://127.0.0.1:{http}/{token}\n");
    if let Some(lan) = addresses.iter().find(|address| !address.is_loopback()) {
        let url = format!("http://{lan}:{http}/{token}");
        text += &format!("On the network:   {url}\n");
        if let Ok(code) = qrcode::QrCode::new(&url) {
            text += &code.render::<qrcode::render::unicode::Dense1x2>().build();
        }
    } else {
        text += "This machine has no other address, and Firefox never uses 127.0.0.1: take another browser.";
    }
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{text}\nFiles and ticks come over UDP port {udp}. Ctrl-C ends the service.\n");
}

/// A token as the end of an address.
fn encoded(token: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encode = |byte: u8| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    token.bytes().map(encode).collect()
}
