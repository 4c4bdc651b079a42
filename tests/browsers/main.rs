//! Real browsers, unmodified and headless, against a service of ours over loopback: Chromium by its DevTools protocol,
//! Firefox by WebDriver BiDi, neither with a driver binary.
//!
//! ```text
//! cargo test --release --test browsers -- --nocapture
//! cargo test --release --test browsers -- closing      # only cases with this in their name
//! ```
//!
//! Ends with a table, case × browser. Nothing is skipped: a browser that is missing is an error.

#![expect(
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "a test program: it panics when something is wrong, and prints what it has found"
)]

mod browser;
mod closing;
mod end;
mod namespace;
mod page;
mod remote;
mod suite;
mod web;

use std::process::ExitCode;
use std::sync::Arc;

use browser::{Browser, Kind};
use suite::{Case, SIGNALLED, Setting, Way, case};

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Failure>;

const PAGE: &str = concat!(
    "<!doctype html><meta charset=utf-8><title>narrowboat</title><link rel=icon href='data:,'><script>",
    include_str!("../../examples/drop/connect.js"),
    "</script><script>",
    include_str!("page.js"),
    "</script>"
);

fn cases() -> Vec<Case> {
    vec![case!("how browsers close among themselves", SIGNALLED, closing::baseline)]
}

fn main() -> Result<ExitCode> {
    let network = namespace::enter();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        for kind in Kind::ALL {
            println!("{}", kind.version()?);
        }
        println!("on {network}\n");
        let passed = suite().await?;
        Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// Runs the cases whose names contain an argument of the command line; all of them if there is none.
async fn suite() -> Result<bool> {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let mut cases = cases();
    cases.retain(|case| wanted.is_empty() || wanted.iter().any(|word| case.name.contains(word.as_str())));
    if cases.is_empty() {
        return Err(format!("no case is called {wanted:?}").into());
    }
    let url = format!("http://{}", web::serve(PAGE.to_owned()).await?);
    let (chromium, firefox) =
        tokio::try_join!(Browser::launch(Kind::Chromium, &[]), Browser::launch(Kind::Firefox, &[]))?;
    let (chromium, firefox) = (Arc::new(chromium), Arc::new(firefox));
    let mut columns = Vec::new();
    for (browser, other) in [(&chromium, &firefox), (&firefox, &chromium)] {
        for way in [Way::Signalled, Way::Direct] {
            columns.push(Setting { browser: Arc::clone(browser), other: Arc::clone(other), way, url: url.clone() });
        }
    }
    Ok(suite::run(&cases, &columns).await)
}
