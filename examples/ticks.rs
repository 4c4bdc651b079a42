//! A game's traffic on one association: the server's state 60 times a second, of which only the newest counts, beside
//! the player's commands, of which each one does.
//!
//! ```text
//! cargo run --example ticks
//! ```
#![expect(clippy::let_underscore_must_use, reason = "nobody is left to tell when output or a last datagram fails")]

#[path = "../src/bin/narrowboat/text.rs"]
mod text;

use std::io::Write;
use std::time::Duration;

use narrowboat::error::TrySendError;
use narrowboat::{Association, Bytes, ChannelOptions, DataChannel, Endpoint, Identity, SendPolicy, WaitingMax};
use tokio::time::{interval, sleep};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// 60 Hz.
const TICK: Duration = Duration::from_nanos(1_000_000_000 / 60);
const GAME: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let server = Endpoint::builder().bind("127.0.0.1:0").identity(Identity::generate()?).accept_direct().build()?;
    let ticket = server.ticket()?;
    let serving = tokio::spawn(async move {
        let association = server.accept().await.ok_or("the endpoint was closed")?.await?;
        serve(&association).await
    });

    let client = Endpoint::builder().identity(Identity::generate()?).build()?;
    let association = client.connect(ticket).await?;
    // Sent once, and handed over as it comes: a tick that is lost is not worth a wait, for the next is on its way.
    let state = association.open_channel(ChannelOptions::new("state").unordered().max_retransmits(0)).await?;
    // Reliable and ordered, the default. More important than the ticks, where both wait for the network.
    let commands = association.open_channel(ChannelOptions::new("commands").priority(512)).await?;
    let watching = tokio::spawn(watch(state));
    for command in ["north", "east", "drop anchor"] {
        commands.send_with_receipt(command).await?.await?;
        print(&format!("the server has received {command:?}"));
        sleep(GAME / 3).await;
    }
    commands.close().await?;
    association.shutdown().await?;
    print(&watching.await?);
    print(&format!("the server has followed {} commands", serving.await??));
    Ok(())
}

/// Follows commands and sends ticks, until the player leaves. Returns the number of commands.
async fn serve(association: &Association) -> Result<usize, Failure> {
    let mut count = 0;
    while let Some(channel) = association.accept_channel().await {
        match channel.label() {
            "state" => drop(tokio::spawn(async move { tick(&channel).await })),
            "commands" => {
                while let Some(command) = channel.recv().await {
                    print(&format!("the player says {}", String::from_utf8_lossy(command?.as_bytes())));
                    count += 1;
                }
            }
            label => print(&format!("nothing is known of a channel {label:?}")),
        }
    }
    Ok(count)
}

/// Sends the state until the player leaves. A state that waits is replaced by the next one, so that a slow path gets
/// fewer states and no old ones.
async fn tick(channel: &DataChannel) {
    channel.set_send_policy(SendPolicy::new().drop_oldest(WaitingMax::Messages(1)));
    let mut interval = interval(TICK);
    for number in 0_u32.. {
        interval.tick().await;
        match channel.try_send(Bytes::copy_from_slice(&number.to_be_bytes())) {
            // Other channels have filled the send buffer: the next state is sent instead.
            Ok(()) | Err(TrySendError::Full(_)) => {}
            Err(_) => break,
        }
    }
    let stats = channel.stats();
    let (sent, dropped) = (stats.messages_sent, stats.abandoned.total().messages());
    print(&format!("the server sent {sent} ticks, of which {dropped} were replaced by newer ones or lost"));
}

/// Keeps the newest state. One that was overtaken is of no use.
async fn watch(channel: DataChannel) -> String {
    let (mut newest, mut shown, mut overtaken) = (None, 0, 0);
    while let Some(Ok(message)) = channel.recv().await {
        let number = message.as_bytes().first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
        if number > newest {
            newest = number;
            shown += 1;
        } else {
            overtaken += 1;
        }
    }
    format!("{shown} ticks were shown, {overtaken} had been overtaken")
}

/// Prints a line, without characters that a terminal acts on: the player has chosen a part of the line. A line that
/// nobody reads is left out.
fn print(line: &str) {
    let _ = writeln!(std::io::stdout(), "{}", text::printable(line));
}
