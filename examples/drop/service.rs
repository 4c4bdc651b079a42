//! What the service does with a browser's channels.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use narrowboat::{Association, Bytes, ChannelEvent, DataChannel, Message};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Failure;
use super::name::safe_name;
use super::partial::Partial;
use super::relay::Relay;

/// How often the page is told how much has arrived.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// Between two ticks: 60 Hz.
const TICK: Duration = Duration::from_nanos(1_000_000_000 / 60);

/// What all browsers share.
pub(crate) struct Service {
    pub(crate) started: Instant,
    pub(crate) into: PathBuf,
    pub(crate) relay: Arc<Relay>,
    pub(crate) progress: MultiProgress,
}

impl Service {
    /// Serves one browser until it is gone.
    pub(crate) async fn serve(self: Arc<Self>, association: Association) {
        let browser = association.remote_address();
        let control = Arc::new(OnceLock::new());
        self.say(&format!("{browser}: connected"));
        while let Some(channel) = association.accept_channel().await {
            let (service, association, control) = (Arc::clone(&self), association.clone(), Arc::clone(&control));
            tokio::spawn(async move {
                match channel.label() {
                    "control" => service.control(&association, channel, &control).await,
                    "file" => service.file(channel, control.get()).await,
                    "ticks-reliable" | "ticks-newest" => service.tick(&channel).await,
                    // Nothing that this service knows: dropping the handle closes it.
                    _ => {}
                }
            });
        }
        self.say(&format!("{browser}: {}", association.closed().await));
    }

    async fn control(&self, association: &Association, channel: DataChannel, control: &OnceLock<DataChannel>) {
        let channel = control.get_or_init(|| channel);
        while let Some(Ok(message)) = channel.recv().await {
            let Ok(message) = serde_json::from_slice::<Value>(message.as_bytes()) else { continue };
            if let Some(ping) = message.get("ping") {
                let pong = json!({ "pong": ping, "now": self.now() });
                let _ = channel.send(pong.to_string()).await;
            }
            // With every ping: the browser's address, which is what the relay knows it by, may have changed.
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

    async fn file(&self, channel: DataChannel, control: Option<&DataChannel>) {
        let life = tokio::spawn(watch(channel.clone(), Instant::now()));
        let id = channel.id();
        let bar = self.progress.add(ProgressBar::no_length());
        match self.receive(&channel, &bar).await {
            Ok(text) => {
                bar.finish_and_clear();
                self.say(&text);
            }
            Err(error) => {
                bar.abandon();
                self.say(&format!("not received: {error}"));
                let _ = channel.send(json!({ "failed": error.to_string() }).to_string()).await;
                channel.close();
            }
        }
        drop(channel);
        if let (Ok(states), Some(control)) = (life.await, control) {
            self.say(&format!("  the channel: {}", drawn(&states)));
            let _ = control.send(json!({ "life": id, "states": states }).to_string()).await;
        }
    }

    /// Receives a file, says what came, and waits for the browser to close the channel.
    async fn receive(&self, channel: &DataChannel, bar: &ProgressBar) -> Result<String, Failure> {
        let header = match channel.recv().await {
            Some(message) => message?,
            None => return Err("the browser closed the channel before it named a file".into()),
        };
        let header: Value = serde_json::from_slice(header.as_bytes())?;
        let name = header.get("name").and_then(Value::as_str).ok_or("a file without a name")?;
        let size = header.get("size").and_then(Value::as_u64).ok_or("a file without a size")?;
        bar.set_length(size);
        bar.set_style(style());
        bar.set_message(name.to_owned());
        let begun = Instant::now();
        let (mut file, mut hash, mut received) = (Partial::create(&self.into)?, Sha256::new(), 0);
        let mut told = Instant::now();
        while received < size {
            let message = match channel.recv().await {
                Some(message) => message?,
                None => return Err("the browser closed the channel before the file was whole".into()),
            };
            let Message::Binary(bytes) = message else { return Err("text in the middle of a file".into()) };
            received += bytes.len() as u64;
            if received > size {
                return Err("more bytes than the browser had said".into());
            }
            hash.update(&bytes);
            tokio::task::block_in_place(|| file.write(&bytes))?;
            bar.set_position(received);
            if told.elapsed() >= PROGRESS_INTERVAL {
                told = Instant::now();
                channel.send(json!({ "received": received }).to_string()).await?;
            }
        }
        let saved = tokio::task::block_in_place(|| file.keep(&safe_name(name)))?;
        let sha256: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        channel.send(json!({ "sha256": sha256, "saved": saved.display().to_string() }).to_string()).await?;
        let seconds = begun.elapsed().as_secs_f64();
        while channel.recv().await.is_some() {}
        let rate = size as f64 / seconds / 1e6;
        Ok(format!("{}: {size} bytes in {seconds:.1} s, {rate:.1} MB/s\n  SHA-256 {sha256}", saved.display()))
    }

    /// This service's clock, in milliseconds.
    fn now(&self) -> f64 {
        self.started.elapsed().as_secs_f64() * 1e3
    }

    pub(crate) fn say(&self, text: &str) {
        self.progress.suspend(|| println!("{text}"));
    }
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

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{msg:20!} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
