//! This project as the receiver.

use std::time::Duration;

use narrowboat::{DataChannel, Endpoint, Identity};
use tokio::time::Instant;

use crate::{Input, Result};

/// Longest wait for the end of the sender.
const LEAVING_MAX: Duration = Duration::from_secs(2);

/// Accepts one channel, and reads until `bytes` bytes have arrived or `seconds` seconds have passed since the channel
/// was opened.
pub(crate) async fn receive(bytes: &str, seconds: &str) -> Result<()> {
    let (bytes, longest) = (bytes.parse()?, Duration::from_secs_f64(seconds.parse()?));
    let endpoint = Endpoint::builder().bind("0.0.0.0:0").identity(Identity::generate()?).build()?;
    let offer: String = serde_json::from_str(&Input::new().expect("the offer").await?)?;
    let answer = endpoint.answer(&offer)?;
    println!("{}", serde_json::to_string(&answer.sdp)?);
    let channel = answer.association.accept_channel().await.ok_or("no channel came")?;
    let begun = Instant::now();
    let mut received = 0;
    // Too little in time is an outcome, too.
    if let Ok(read) = tokio::time::timeout_at(begun + longest, read(&channel, bytes, &mut received)).await {
        read?;
    }
    println!("{received} {}", begun.elapsed().as_secs_f64() * 1000.0);
    channel.send("done").await?;
    // The sender goes when it has heard it.
    let _ = tokio::time::timeout(LEAVING_MAX, answer.association.closed()).await;
    Ok(())
}

async fn read(channel: &DataChannel, bytes: usize, received: &mut usize) -> Result<()> {
    while *received < bytes {
        *received += channel.recv().await.ok_or("the channel ended early")??.as_bytes().len();
    }
    Ok(())
}
