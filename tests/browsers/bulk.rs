//! Much data: both ways at once, and past a reader that has stopped.

use std::time::{Duration, Instant};

use narrowboat::{Config, DataChannel};

use crate::Result;
use crate::link::Link;
use crate::suite::Setting;

const BLOCK: usize = 65_536;
const BLOCKS: usize = 1024;
const PAUSE: Duration = Duration::from_secs(10);
const WINDOW: u32 = 2 << 20;

pub async fn both_ways_at_once(setting: Setting) -> Result<()> {
    let link = Link::new(&setting).await?;
    let down = link.ours.open_channel("down").await?;
    link.page.eval("return untilEvent('down', 'given')").await?;
    let theirs = format!("await Promise.all([sendNumbered('x', {BLOCKS}), receiveNumbered('down', {BLOCKS})])");
    let began = Instant::now();
    let (theirs, sent, received) =
        tokio::join!(link.page.eval(&theirs), send_numbered(&down, BLOCKS), receive_numbered(&link.x, 0..BLOCKS));
    theirs?;
    sent?;
    received?;
    let rate = (BLOCKS * BLOCK * 8) as f64 / began.elapsed().as_secs_f64() / 1e6;
    println!("    {rate:.0} Mbit/s each way");
    link.leave().await
}

/// One reader stops for 10 s with less than the receive window waiting for it: another channel goes on at full speed.
pub async fn a_stopped_reader(setting: Setting) -> Result<()> {
    const WAITING: usize = 8;
    let link = Link::new(&setting).await?;
    link.page.eval("create('other'); return untilEvent('other', 'open')").await?;
    let other = link.ours.accept_channel().await.ok_or("the association ended")?;
    link.page.eval(&format!("return sendNumbered('x', {WAITING})")).await?;
    link.page.eval("running = true; (async () => { while (running) await sendNumbered('other', 64) })()").await?;
    let began = Instant::now();
    let mut slices = [0_u64; 5];
    while began.elapsed() < PAUSE {
        let message = tokio::time::timeout(PAUSE, other.recv()).await?.ok_or("closed")??;
        let slice = (began.elapsed().as_millis() / 2000) as usize;
        slices[slice.min(4)] += message.len() as u64;
    }
    println!("    MiB in each 2 s beside a stopped reader: {:?}", slices.map(|bytes| bytes >> 20));
    let least = slices.iter().min().unwrap();
    assert!(least * 4 >= slices[0], "the other channel slows down: {slices:?} bytes in each 2 s");
    link.page.eval("running = false").await?;
    receive_numbered(&link.x, 0..WAITING).await?;
    link.leave().await
}

/// The same with more than the window: one window serves all channels, so the other waits until the first is read
/// again, and nothing is lost.
pub async fn a_stopped_reader_with_more_than_the_window(setting: Setting) -> Result<()> {
    const WAITING: usize = WINDOW as usize / BLOCK * 2;
    let mut config = Config::default();
    config.association.receive_window = WINDOW;
    let link = Link::with(&setting, config).await?;
    link.page.eval("create('other'); return untilEvent('other', 'open')").await?;
    let other = link.ours.accept_channel().await.ok_or("the association ended")?;
    link.page.eval(&format!("sending = sendNumbered('x', {WAITING})")).await?;
    // The window is closed when no more comes.
    let mut before = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = link.ours.stats().bytes_received;
        if now == before && now > 0 {
            break;
        }
        before = now;
    }
    link.page.eval("channels.other.send(new Uint8Array(65536)); return untilEvent('other', 'open')").await?;
    let early = tokio::time::timeout(Duration::from_secs(2), other.recv()).await;
    assert!(early.is_err(), "a message got past a closed window");
    receive_numbered(&link.x, 0..WAITING).await?;
    assert_eq!(other.recv().await.ok_or("closed")??.len(), BLOCK);
    link.page.eval("return sending").await?;
    link.leave().await
}

async fn send_numbered(channel: &DataChannel, blocks: usize) -> Result<()> {
    for n in 0..blocks {
        let mut block = vec![0; BLOCK];
        block[..4].copy_from_slice(&(n as u32).to_be_bytes());
        channel.send(block).await?;
    }
    Ok(())
}

async fn receive_numbered(channel: &DataChannel, blocks: std::ops::Range<usize>) -> Result<()> {
    for n in blocks {
        let message = channel.recv().await.ok_or("closed")??;
        let number = u32::from_be_bytes(message.as_bytes()[..4].try_into()?) as usize;
        if number != n || message.len() != BLOCK {
            return Err(format!("block {number} of {} bytes, not {n}", message.len()).into());
        }
    }
    Ok(())
}
