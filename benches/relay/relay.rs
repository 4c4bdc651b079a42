//! The programs of `tests/relay` that are written in Rust:
//!
//! ```text
//! relay ADDRESS LOSS_PERCENT RTT_MS SEED [LOG]   prints its port, reads the receiver's address, forwards
//! receive BYTES SECONDS                          reads an offer, prints an answer, then what came, and in how many ms
//! browser chromium|firefox BYTES                 for each empty line: prints an offer, reads an answer, uploads
//! ```
//!
//! Descriptions are JSON texts of one line.
#![expect(clippy::expect_used, reason = "a benchmark ends by panicking")]
#![expect(clippy::let_underscore_must_use, reason = "nobody is left to tell when output or a last datagram fails")]
#![expect(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "it talks to a script, and shares files with a test program"
)]

#[path = "../../tests/browsers/browser.rs"]
#[expect(dead_code, reason = "not all of it is for uploads")]
mod browser;
mod network;
#[path = "../../tests/browsers/page.rs"]
#[expect(dead_code, reason = "not all of it is for uploads")]
mod page;
mod receiver;
#[path = "../../tests/browsers/remote.rs"]
mod remote;
#[path = "../../tests/browsers/scratch.rs"]
mod scratch;
mod upload;
#[path = "../../tests/browsers/web.rs"]
mod web;

use std::process::ExitCode;

use browser::Kind;
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Failure>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        ["relay", address, loss, rtt, seed] => network::relay(address, [loss, rtt, seed], None).await,
        ["relay", address, loss, rtt, seed, log] => network::relay(address, [loss, rtt, seed], Some(log)).await,
        ["receive", bytes, seconds] => receiver::receive(bytes, seconds).await,
        ["browser", "chromium", bytes] => upload::from(Kind::Chromium, bytes).await,
        ["browser", "firefox", bytes] => upload::from(Kind::Firefox, bytes).await,
        _ => {
            println!("tests/relay runs this");
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The lines of standard input.
struct Input(Lines<BufReader<Stdin>>);

impl Input {
    fn new() -> Self {
        Self(BufReader::new(tokio::io::stdin()).lines())
    }

    /// The next line; `None` at the end.
    async fn line(&mut self) -> Result<Option<String>> {
        Ok(self.0.next_line().await?)
    }

    /// The next line, which is needed.
    async fn expect(&mut self, what: &str) -> Result<String> {
        self.line().await?.ok_or_else(|| format!("the input has ended before {what}").into())
    }
}
