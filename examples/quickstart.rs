//! Two endpoints on loopback; a file sent from one to the other through a data channel; the channel closed by both.
//!
//! ```text
//! cargo run --release --example quickstart [FILE]
//! ```
//!
//! Without a file, 256 MiB of noise are sent.
#![expect(clippy::let_underscore_must_use, reason = "nobody is left to tell when output or a last datagram fails")]

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Instant;

use narrowboat::{Bytes, ChannelOptions, DataChannel, Endpoint};
use sha2::{Digest, Sha256};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result<()> {
    let start = Instant::now();
    let (path, is_noise) = match std::env::args_os().nth(1) {
        Some(path) => (PathBuf::from(path), false),
        None => (noise(&std::env::temp_dir().join(format!("narrowboat-quickstart-{}", std::process::id())))?, true),
    };

    // One end listens. Each end could be on another machine.
    let receiver = Endpoint::bind("127.0.0.1:0")?;
    let address = receiver.local_address();
    let received = tokio::spawn(async move {
        let association = receiver.accept().await.ok_or("the endpoint was closed")?.await?;
        let channel = association.accept_channel().await.ok_or("no channel was opened")?;
        say(start, "receiver", &channel);
        let hash = receive(&channel).await?;
        say(start, "receiver", &channel);
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(hash)
    });

    // The other end dials, and opens a channel.
    let sender = Endpoint::bind("127.0.0.1:0")?;
    let association = sender.connect(address).await?;
    let channel = association.create_channel(ChannelOptions::new("file").protocol("example"))?;
    say(start, "sender  ", &channel);
    channel.opened().await?;
    say(start, "sender  ", &channel);
    let sending = Instant::now();
    let (sent_hash, len) = send(&channel, &path).await?;
    let closing = channel.close();
    say(start, "sender  ", &channel);
    closing.await?;
    say(start, "sender  ", &channel);
    let seconds = sending.elapsed().as_secs_f64();

    let received_hash = received.await??;
    if is_noise {
        std::fs::remove_file(&path)?;
    }
    print(&format!("{len} bytes in {seconds:.2} s, {:.0} MB/s", len as f64 / seconds / 1e6));
    print(&format!("SHA-256 sent      {sent_hash}\nSHA-256 received  {received_hash}"));
    if sent_hash != received_hash {
        return Err("the hashes differ".into());
    }
    print(
        "\nThe same between two machines, encrypted:\n  \
         there  cargo run --release --features cli -- receive --listen 0.0.0.0:4433 --into . --identity identity.pem\n  \
         here   cargo run --release --features cli -- send FILE TICKET    (it prints the ticket)",
    );
    Ok(())
}

/// Sends the file in messages of 64 KiB; waits by itself whenever the channel is full.
async fn send(channel: &DataChannel, path: &PathBuf) -> Result<(String, usize)> {
    let (mut file, mut hash, mut len) = (File::open(path)?, Sha256::new(), 0);
    loop {
        let mut block = Vec::with_capacity(64 << 10);
        if Read::by_ref(&mut file).take(64 << 10).read_to_end(&mut block)? == 0 {
            return Ok((hex(&hash.finalize()), len));
        }
        hash.update(&block);
        len += block.len();
        channel.send(Bytes::from(block)).await?;
    }
}

/// Reads until the sender closes.
async fn receive(channel: &DataChannel) -> Result<String> {
    let mut hash = Sha256::new();
    while let Some(message) = channel.recv().await {
        hash.update(message?.as_bytes());
    }
    Ok(hex(&hash.finalize()))
}

fn say(start: Instant, who: &str, channel: &DataChannel) {
    print(&format!("{:9.3} ms  {who}  {:?}", start.elapsed().as_secs_f64() * 1e3, channel.ready_state()));
}

/// Prints lines. The program goes on if nobody reads them.
fn print(lines: &str) {
    let _ = writeln!(std::io::stdout(), "{lines}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn noise(path: &std::path::Path) -> Result<PathBuf> {
    let mut file = File::create(path)?;
    let mut state = 1_u64;
    for _ in 0..256 {
        let block: Vec<u8> = (0..1 << 17)
            .flat_map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()
            })
            .collect();
        file.write_all(&block)?;
    }
    Ok(path.to_owned())
}
