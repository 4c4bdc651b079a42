//! One end of a connection, a page's or ours: its actions and the events that it has seen, in the same words.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use narrowboat::{Association, ChannelEvent, ChannelOptions, DataChannel};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::Result;
use crate::page::Page;

/// Longest time that a step of a browser may take on a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(60);

pub enum End {
    Page(Page),
    Ours(Ours),
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Page(page) => write!(f, "{:?}", page.kind),
            Self::Ours(_) => write!(f, "ours"),
        }
    }
}

/// Our end, with all that happens to its channels written down.
#[derive(Clone)]
pub struct Ours {
    pub association: Association,
    channels: Arc<Mutex<HashMap<String, Watched>>>,
    /// Changes whenever something has happened.
    change: Arc<watch::Sender<u64>>,
}

#[derive(Clone)]
struct Watched {
    channel: DataChannel,
    events: Vec<String>,
    received: u64,
}

impl End {
    pub async fn create(&self, label: &str, negotiated: Option<u16>) -> Result<()> {
        match self {
            Self::Page(page) => {
                let init = negotiated.map_or(json!({}), |id| json!({ "negotiated": true, "id": id }));
                page.eval(&format!("create('{label}', {init})")).await.map(drop)
            }
            Self::Ours(ours) => ours.create(label, negotiated),
        }
    }

    /// Waits until the channel is open here, created by either end.
    pub async fn opened(&self, label: &str) -> Result<()> {
        match self {
            Self::Page(page) => {
                let body = format!("return until(() => happened('{label}', 'open') || happened('{label}', 'given'))");
                page.eval(&body).await.map(drop)
            }
            Self::Ours(ours) => {
                ours.until(label, |watched| watched.events.iter().any(|event| event.starts_with("open"))).await
            }
        }
    }

    /// Waits for the end of the channel.
    pub async fn closed(&self, label: &str) -> Result<()> {
        match self {
            Self::Page(page) => page.eval(&format!("return untilEvent('{label}', 'close')")).await.map(drop),
            Self::Ours(ours) => {
                ours.until(label, |watched| watched.events.iter().any(|event| event.starts_with("close ("))).await
            }
        }
    }

    pub async fn close(&self, label: &str) -> Result<()> {
        match self {
            Self::Page(page) => page.eval(&format!("close('{label}')")).await.map(drop),
            Self::Ours(ours) => {
                ours.close(label);
                Ok(())
            }
        }
    }

    /// Queues blocks of 64 KiB at once, and does the next thing before one of them can have left: closes, or nothing.
    pub async fn send_blocks(&self, label: &str, blocks: usize, then_close: bool) -> Result<()> {
        match self {
            Self::Page(page) => {
                let close = if then_close { format!("close('{label}')") } else { String::new() };
                let block = "new Uint8Array(65536)";
                let body = format!("for (let n = 0; n < {blocks}; n++) channels['{label}'].send({block}); {close}");
                page.eval(&body).await.map(drop)
            }
            Self::Ours(ours) => {
                let channel = ours.channel(label);
                for _ in 0..blocks {
                    channel.try_send(vec![0_u8; 65_536])?;
                }
                if then_close {
                    ours.close(label);
                }
                Ok(())
            }
        }
    }

    pub async fn send_text(&self, label: &str, text: &str) -> Result<()> {
        match self {
            Self::Page(page) => page.eval(&format!("channels['{label}'].send('{text}')")).await.map(drop),
            Self::Ours(ours) => Ok(ours.channel(label).send(text).await?),
        }
    }

    /// Makes a channel that is closed as soon as it is open, before the peer can have answered.
    pub async fn create_and_close_when_open(&self, label: &str) -> Result<()> {
        match self {
            Self::Page(page) => {
                let body = format!("create('{label}').addEventListener('open', () => close('{label}'))");
                page.eval(&body).await.map(drop)
            }
            Self::Ours(ours) => {
                ours.create(label, None)?;
                ours.channel(label).opened().await?;
                ours.close(label);
                Ok(())
            }
        }
    }

    pub async fn received(&self, label: &str) -> Result<u64> {
        match self {
            Self::Page(page) => {
                let bytes = page.eval(&format!("return received['{label}']?.bytes ?? 0")).await?;
                Ok(bytes.as_u64().unwrap_or_default())
            }
            Self::Ours(ours) => Ok(ours.channels.lock().unwrap().get(label).map_or(0, |watched| watched.received)),
        }
    }

    pub async fn until_received(&self, label: &str, bytes: u64) -> Result<()> {
        match self {
            Self::Page(page) => page.eval(&format!("return untilBytes('{label}', {bytes})")).await.map(drop),
            Self::Ours(ours) => ours.until(label, |watched| watched.received >= bytes).await,
        }
    }

    /// Ends the whole connection at once.
    pub async fn disconnect(&self) -> Result<()> {
        match self {
            Self::Page(page) => page.eval("pc.close()").await.map(drop),
            Self::Ours(ours) => {
                ours.association.abort("Close called");
                Ok(())
            }
        }
    }

    /// Is done with: closes the tab.
    pub async fn leave(self) -> Result<()> {
        match self {
            Self::Page(page) => page.close().await,
            Self::Ours(_) => Ok(()),
        }
    }

    /// Returns all events of a channel, `event (state)` each, separated by slashes.
    pub async fn events(&self, label: &str) -> Result<String> {
        let events = match self {
            Self::Page(page) => {
                let events = page.call("events", &[label.into()]).await?;
                events.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            Self::Ours(ours) => {
                ours.channels.lock().unwrap().get(label).map_or(Vec::new(), |watched| watched.events.clone())
            }
        };
        Ok(events.join(" / "))
    }
}

impl Ours {
    /// Watches a channel and every other that the peer opens, and reads from all of them.
    pub fn new(association: Association, channel: DataChannel) -> Self {
        let ours = Self { association, channels: Arc::default(), change: Arc::new(watch::Sender::new(0)) };
        ours.watch(channel);
        let accepting = ours.clone();
        tokio::spawn(async move {
            while let Some(channel) = accepting.association.accept_channel().await {
                accepting.watch(channel);
            }
        });
        ours
    }

    pub fn create(&self, label: &str, negotiated: Option<u16>) -> Result<()> {
        let mut options = ChannelOptions::new(label);
        options.negotiated = negotiated;
        self.watch(self.association.create_channel(options)?);
        Ok(())
    }

    pub fn channel(&self, label: &str) -> DataChannel {
        self.channels.lock().unwrap()[label].channel.clone()
    }

    pub fn close(&self, label: &str) {
        // Under the lock, so that events caused by the call are logged after it.
        if let Some(watched) = self.channels.lock().unwrap().get_mut(label) {
            drop(watched.channel.close());
            watched.events.push(format!("close() ({})", state(&watched.channel)));
        }
        self.change.send_modify(|changes| *changes += 1);
    }

    fn watch(&self, channel: DataChannel) {
        let label = channel.label().to_owned();
        let watched = Watched { channel: channel.clone(), events: Vec::new(), received: 0 };
        self.channels.lock().unwrap().insert(label.clone(), watched);
        let (ours, of_events, to_read) = (self.clone(), label.clone(), channel.clone());
        tokio::spawn(async move {
            while let Some(event) = channel.next_event().await {
                ours.note(&of_events, format!("{} ({})", name(&event), state_after(&event)));
            }
        });
        let ours = self.clone();
        tokio::spawn(async move {
            while let Some(Ok(message)) = to_read.recv().await {
                if let Some(watched) = ours.channels.lock().unwrap().get_mut(&label) {
                    watched.received += message.len() as u64;
                }
                ours.change.send_modify(|changes| *changes += 1);
            }
        });
    }

    fn note(&self, label: &str, event: String) {
        if let Some(watched) = self.channels.lock().unwrap().get_mut(label) {
            watched.events.push(event);
        }
        self.change.send_modify(|changes| *changes += 1);
    }

    async fn until(&self, label: &str, condition: impl Fn(&Watched) -> bool) -> Result<()> {
        let mut change = self.change.subscribe();
        let holds = || self.channels.lock().unwrap().get(label).is_some_and(&condition);
        let wait = async {
            while !holds() {
                change.changed().await?;
            }
            Ok(())
        };
        match tokio::time::timeout(WAIT_MAX, wait).await {
            Ok(result) => result,
            Err(_) => {
                let events = self.channels.lock().unwrap().get(label).map(|watched| watched.events.clone());
                Err(format!("our end of \"{label}\": not what was waited for, but {events:?}").into())
            }
        }
    }
}

fn name(event: &ChannelEvent) -> String {
    match event {
        ChannelEvent::Open => "open".to_owned(),
        ChannelEvent::BufferedAmountLow => "bufferedamountlow".to_owned(),
        ChannelEvent::Abandoned { .. } => "abandoned".to_owned(),
        ChannelEvent::Closing => "closing".to_owned(),
        ChannelEvent::Error(error) => format!("error {error}"),
        ChannelEvent::Close => "close".to_owned(),
        other => format!("{other:?}"),
    }
}

/// Our events are told apart from the states: this is the state in which each finds the channel.
fn state_after(event: &ChannelEvent) -> &'static str {
    match event {
        ChannelEvent::Open | ChannelEvent::BufferedAmountLow => "open",
        ChannelEvent::Closing => "closing",
        _ => "closed",
    }
}

fn state(channel: &DataChannel) -> String {
    format!("{:?}", channel.ready_state()).to_lowercase()
}
