//! Real browsers, unmodified and headless, against a service of ours over loopback: Chromium by its DevTools protocol,
//! Firefox by WebDriver BiDi, neither with a driver binary.
//!
//! ```text
//! cargo test --release --features axum --test browsers -- --nocapture
//! cargo test --release --test browsers -- closing firefox      # only cases and columns with this in their name
//! ```
//!
//! The feature `axum` adds the case of its routes. The case "browsers among themselves" runs only if it is named:
//! nothing of ours takes part in it, and a channel that a page closes right after the OPEN never ends at times.
//!
//! Ends with a table, case × browser. Nothing is skipped: a browser that is missing is an error.

#![expect(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::let_underscore_must_use,
    clippy::or_fun_call,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test program: it panics when something is wrong, and prints what it has found"
)]

mod browser;
mod bulk;
mod bundle;
mod channels;
mod chat;
#[path = "../../examples/chat/main.rs"]
#[expect(dead_code, reason = "its `main` is for the example alone")]
mod chat_example;
mod child;
mod closing;
mod drop;
#[path = "../../examples/drop/main.rs"]
#[expect(dead_code, unused_imports, reason = "its `main` and its unit tests are not for this program")]
mod drop_example;
mod end;
mod interleaving;
mod link;
mod many;
mod mdn;
mod messages;
mod namespace;
mod page;
mod pages;
mod remote;
mod renegotiation;
mod scratch;
mod secure;
mod streams;
mod suite;
mod web;

use std::process::ExitCode;
use std::sync::Arc;

use browser::{Browser, Kind};
use suite::{BOTH, Case, DIRECT, SIGNALLED, Setting, Way, case};

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Failure>;

const PAGE: &str = concat!(
    "<!doctype html><meta charset=utf-8><title>narrowboat</title><link rel=icon href='data:,'><script>",
    include_str!("../../examples/drop/connect.js"),
    "</script><script>",
    include_str!("page.js"),
    "</script>"
);

/// Returns the cases in the order of the table. `BOTH` ways if the question is the same in both.
fn cases() -> Vec<Case> {
    vec![
        case!("browsers among themselves: who sees what when a channel ends", SIGNALLED, closing::baseline).survey(),
        case!("MDN's example: the page closes after the first message", BOTH, mdn::the_page_closes),
        case!("MDN's example: we close instead", BOTH, mdn::we_close),
        case!("closing: every row, each end as the one that acts", BOTH, closing::with_ours),
        case!("closing: before there is a connection", BOTH, closing::before_negotiation),
        case!("closing: ours, before there is a connection", SIGNALLED, closing::ours_before_negotiation),
        case!("channels: all types, read back", BOTH, channels::types_read_back),
        case!("channels: labels and protocols, empty to 65,535 bytes", BOTH, channels::labels_and_protocols),
        case!("messages: texts, bytes, and empty ones", BOTH, messages::texts_bytes_and_empty_ones),
        case!("messages: sizes from 1 byte to 256 KiB", BOTH, messages::sizes),
        case!("messages: the largest, and one byte more", BOTH, messages::largest_and_one_more),
        case!("streams: the page ends its direction first", BOTH, streams::the_page_ends_first),
        case!("streams: we end our direction first", BOTH, streams::ours_ends_first),
        case!("many: 1,024 channels at once, half ours, and no more", BOTH, many::a_thousand_at_once),
        case!("many: 1,000 open/close cycles from each side", BOTH, many::a_thousand_cycles),
        case!("many: 100 channels closed from both sides at once", BOTH, many::closed_from_both_sides_at_once),
        case!("bulk: 64 MiB each way at once", BOTH, bulk::both_ways_at_once),
        case!("bulk: a reader stopped for 10 s beside another", BOTH, bulk::a_stopped_reader),
        case!(
            "bulk: a stopped reader with more than the window",
            BOTH,
            bulk::a_stopped_reader_with_more_than_the_window
        ),
        case!("pages: 50 at once on one port", BOTH, pages::fifty_at_once_on_one_port),
        case!("pages: reloaded in the middle", BOTH, pages::reloaded_in_the_middle),
        case!("pages: a browser is killed", BOTH, pages::killed).idle(),
        case!("pages: our process is killed, and comes back", BOTH, pages::the_service_comes_back).idle(),
        case!("the drop example: files, their hashes, the channel's life", DIRECT, drop::files_arrive),
        case!("the drop example: what loss does", DIRECT, drop::loss_shows),
        case!("the drop example: the service is killed, and comes back", DIRECT, drop::the_page_connects_again),
        case!("the drop example: a file that cannot be written", DIRECT, drop::a_refused_file_says_why),
        case!("the drop example: who may send, and how much", DIRECT, drop::who_may_send),
        case!("offers with media: every bundle policy, before and after data", SIGNALLED, bundle::offers_with_media),
        case!("another offer: what changes nothing, and new media", SIGNALLED, renegotiation::offers_again),
        case!("another offer: a restart of ICE is refused", SIGNALLED, renegotiation::restarts_ice),
        case!("another offer: after the association's end", SIGNALLED, renegotiation::offers_after_the_end),
        case!("another offer: of the page that answered ours", SIGNALLED, renegotiation::offers_after_an_answer),
        case!("secure: an RSA certificate of the page", SIGNALLED, secure::an_rsa_certificate),
        case!("secure: DTLS 1.2, and 1.3", BOTH, secure::both_versions),
        case!("secure: ClientHello whole, and fragmented", DIRECT, secure::whole_and_fragmented_hellos),
        case!("secure: both roles", SIGNALLED, secure::both_roles),
        case!("secure: we offer", SIGNALLED, secure::we_offer),
        case!("secure: a wrong certificate hash of ours", BOTH, secure::a_wrong_hash),
        case!("secure: a wrong certificate hash of the browser", SIGNALLED, secure::a_wrong_hash_of_the_browser),
        case!("secure: SNAP, the handshake of SCTP in offer and answer", BOTH, secure::snap).only(Kind::Chromium),
        case!("interleaving: a ping beside bulk, on and off", BOTH, interleaving::a_ping_beside_bulk),
        case!("the chat example: two browsers talk, by the axum routes", SIGNALLED, chat::two_browsers_talk),
        case!("the chat example: the service is killed, and comes back", SIGNALLED, chat::a_killed_service_is_noticed),
    ]
}

fn main() -> Result<ExitCode> {
    let network = if is_service() { "" } else { namespace::enter() };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        if child::is_service() {
            child::serve().await?;
        }
        if drop::is_service() {
            drop::serve().await?;
        }
        if chat::is_service() {
            chat::serve().await?;
        }
        for kind in Kind::ALL {
            println!("{}", kind.version()?);
        }
        println!("on {network}\n");
        let passed = suite().await?;
        Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// True in a process that is the service of a case.
fn is_service() -> bool {
    if chat::is_service() {
        return true;
    }
    child::is_service() || drop::is_service()
}

/// Runs the cases and columns whose names contain an argument of the command line; all of them if none does.
async fn suite() -> Result<bool> {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let mut cases = cases();
    choose(&mut cases, &wanted, |case| case.name.to_owned());
    cases.retain(|case| !case.is_survey || wanted.iter().any(|word| case.name.contains(word.as_str())));
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
    choose(&mut columns, &wanted, |setting| format!("{:?}", setting.kind()).to_lowercase());
    choose(&mut columns, &wanted, |setting| format!("{:?}", setting.way).to_lowercase());
    Ok(suite::run(&cases, &columns).await)
}

/// Keeps the selected cases; all cases, if the words select something else.
fn choose<T>(from: &mut Vec<T>, wanted: &[String], name: impl Fn(&T) -> String) {
    let is_wanted = |of: &T| wanted.iter().any(|word| name(of).contains(word.as_str()));
    if from.iter().any(is_wanted) {
        from.retain(is_wanted);
    }
}
