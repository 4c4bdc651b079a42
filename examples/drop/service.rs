//! The service's side of a browser's channels.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use narrowboat::{Association, Bytes, ChannelEvent, DataChannel, Message};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::Failure;
use super::name::safe_name;
use super::pace::Pace;
use super::relay::Relay;
use super::report;
use super::turns::{Turn, Turns};
use super::writer::FileWriter;

/// Longest time that a browser may take to name a file. It has no turn in that time.
const HEADER_TIME_MAX: Duration = Duration::from_secs(10);
/// Longest time that a browser may take to close the channel after the last byte.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(10);
/// Delay of the answer to a wrong token, so that guessing takes long.
const WRONG_TOKEN_TIME: Duration = Duration::from_secs(1);
/// Interval between two reports of progress to the page.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// Between two ticks: 60 Hz.
const TICK: Duration = Duration::from_nanos(1_000_000_000 / 60);

/// State that all browsers share.
pub(crate) struct Service {
    pub(crate) started: Instant,
    pub(crate) into: PathBuf,
    /// Largest file, in bytes.
    pub(crate) size_max: u64,
    /// [Digest](digest) of the token that a browser must have; none if any may send.
    pub(crate) token: Option<[u8; 32]>,
    pub(crate) turns: Turns,
    pub(crate) relay: Arc<Relay>,
}

/// A file that a browser has named and may send.
struct Admitted {
    name: String,
    size: u64,
    _turn: Turn,
}

impl Service {
    /// Serves one browser until it is gone.
    pub(crate) async fn serve(self: Arc<Self>, association: Association) {
        let browser = self.relay.browser(association.remote_address());
        let control = Arc::new(OnceLock::new());
        report::print(&format!("{browser}: connected"));
        while let Some(channel) = association.accept_channel().await {
            let (service, association, control) = (Arc::clone(&self), association.clone(), Arc::clone(&control));
            tokio::spawn(async move {
                match channel.label() {
                    "control" => service.control(&association, channel, &control).await,
                    "file" => service.file(browser.ip(), channel, control.get()).await,
                    "ticks-reliable" | "ticks-newest" => service.tick(&channel).await,
                    // Nothing that this service knows: dropping the handle closes it.
                    _ => {}
                }
            });
        }
        report::print(&format!("{browser}: {}", association.closed().await));
    }

    async fn control(&self, association: &Association, channel: DataChannel, control: &OnceLock<DataChannel>) {
        let channel = control.get_or_init(|| channel);
        while let Some(Ok(message)) = channel.recv().await {
            let Ok(message) = serde_json::from_slice::<Value>(message.as_bytes()) else { continue };
            if let Some(ping) = message.get("ping") {
                let pong = json!({ "pong": ping, "now": self.now() });
                let _ = channel.send(pong.to_string()).await;
            }
            // Repeated with every ping, because the browser's address, by which the relay knows it, may have changed.
            if let Some(share) = message.get("loss").and_then(Value::as_f64) {
                self.relay.set_loss(association.remote_address(), share);
            }
        }
    }

    /// Sends the time, 60 times a second. What does not fit is left out: a late tick is of no use.
    async fn tick(&self, channel: &DataChannel) {
        let mut interval = tokio::time::interval(TICK);
        loop {
            interval.tick().await;
            let now = Bytes::copy_from_slice(&self.now().to_be_bytes());
            match channel.try_send(now) {
                Ok(()) | Err(narrowboat::error::TrySendError::Full(_)) => {}
                Err(_) => return,
            }
        }
    }

    async fn file(&self, browser: IpAddr, channel: DataChannel, control: Option<&DataChannel>) {
        let life = tokio::spawn(watch(channel.clone(), Instant::now()));
        let id = channel.id();
        if let Err(failure) = self.receive(browser, &channel).await {
            report::print(&format!("{browser}: not received: {failure}"));
            let _ = channel.try_send(json!({ "failed": failure.to_string() }).to_string());
        }
        channel.close();
        drop(channel);
        if let (Ok(states), Some(control)) = (life.await, control) {
            report::print(&format!("  the channel: {}", drawn(&states)));
            let _ = control.send(json!({ "life": id, "states": states }).to_string()).await;
        }
    }

    /// Waits until the browser has named a file, may send it, and has a turn.
    async fn admit(&self, browser: IpAddr, channel: &DataChannel) -> Result<Admitted, Failure> {
        let header = tokio::time::timeout(HEADER_TIME_MAX, channel.recv()).await;
        let Some(header) = header.map_err(|_| "no file was named in time: drop it again")? else {
            return Err("the browser closed the channel before it named a file".into());
        };
        let header: Value = serde_json::from_slice(header?.as_bytes())?;
        let name = header.get("name").and_then(Value::as_str).ok_or("a file without a name")?;
        let size = header.get("size").and_then(Value::as_u64).ok_or("a file without a size")?;
        let turn = self.turns.of_sender(browser).await;
        if let Some(token) = &self.token {
            let theirs = header.get("token").and_then(Value::as_str).unwrap_or_default();
            if !bool::from(digest(theirs).ct_eq(token)) {
                tokio::time::sleep(WRONG_TOKEN_TIME).await;
                return Err("this service asks for a token: open the page by the whole address that it prints".into());
            }
        }
        if size > self.size_max {
            return Err(
                format!("the file is above the limit of {}: drop a smaller one", report::size(self.size_max)).into()
            );
        }
        let turn = self.turns.of_all(turn).await.ok_or("the service receives no more files")?;
        Ok(Admitted { name: safe_name(name), size, _turn: turn })
    }

    /// Receives a file, reports the bytes that arrived, and waits for the browser to close the channel.
    async fn receive(&self, browser: IpAddr, channel: &DataChannel) -> Result<(), Failure> {
        let file = self.admit(browser, channel).await?;
        let begun = Instant::now();
        let bar = report::bar(&file.name, file.size);
        let mut writer = FileWriter::start(self.into.clone(), file.size).await?;
        let (mut pace, mut received, mut told) = (Pace::new(), 0, Instant::now());
        while received < file.size {
            let message = match pace.wait(channel.recv()).await? {
                Some(message) => message?,
                None => return Err("the browser closed the channel before the file was whole".into()),
            };
            let Message::Binary(bytes) = message else { return Err("text in the middle of a file".into()) };
            received += bytes.len() as u64;
            if received > file.size {
                return Err("more bytes than the browser had said".into());
            }
            pace.on_bytes(bytes.len());
            bar.set_position(received);
            pace.pause(writer.write(bytes)).await?;
            if told.elapsed() >= PROGRESS_INTERVAL {
                told = Instant::now();
                // A browser that does not read it needs none.
                let _ = channel.try_send(json!({ "received": received }).to_string());
            }
        }
        let written = writer.finish().await?;
        let sha256 = written.hash.clone();
        let saved = written.keep(file.name.clone()).await?;
        drop((bar, file));
        // The name alone: where it is on this machine is not the browser's business.
        let name = saved.file_name().unwrap_or_default().to_string_lossy();
        channel.send(json!({ "sha256": sha256, "saved": name }).to_string()).await?;
        report::print_lines([
            &format!("{browser}: {}: {}", saved.display(), report::rate(received, begun.elapsed())),
            &format!("  SHA-256 {sha256}"),
        ]);
        let closed = async { while channel.recv().await.is_some() {} };
        let _ = tokio::time::timeout(CLOSE_TIME_MAX, closed).await;
        Ok(())
    }

    /// This service's clock, in milliseconds.
    fn now(&self) -> f64 {
        self.started.elapsed().as_secs_f64() * 1e3
    }
}

/// Digest of a token. A comparison of digests does not even reveal the token's length.
pub(crate) fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// The states of a channel, each with the milliseconds since it was accepted.
async fn watch(channel: DataChannel, accepted: Instant) -> Vec<(&'static str, f64)> {
    let mut states = Vec::new();
    while let Some(event) = channel.next_event().await {
        let state = match event {
            ChannelEvent::Open => "open",
            ChannelEvent::Closing => "closing",
            ChannelEvent::Error(_) => "error",
            ChannelEvent::Close => "closed",
            _ => continue,
        };
        states.push((state, accepted.elapsed().as_secs_f64() * 1e3));
    }
    states
}

fn drawn(states: &[(&str, f64)]) -> String {
    let states: Vec<_> = states.iter().map(|(state, at)| format!("{state} ({at:.0} ms)")).collect();
    states.join(" → ")
}
