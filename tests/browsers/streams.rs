//! Byte streams with a page: either end ends its direction first, and reads on.

use narrowboat::ByteStream;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::Result;
use crate::link::{Link, pattern};
use crate::suite::Setting;

/// Bytes each way, in messages of the page's size.
const LEN: usize = 300_000;

/// The page's end of a channel, as three lines of JavaScript: bytes, and an empty message for the end of a direction.
const SEND: &str = "const bytes = pattern(300000);
    for (let at = 0; at < bytes.length; at += 16384) channels[label].send(bytes.slice(at, at + 16384));
    channels[label].send(new ArrayBuffer(0));";

async fn read_all(stream: &mut ByteStream) -> Result<()> {
    let mut received = Vec::new();
    stream.read_to_end(&mut received).await?;
    assert!(received == pattern(LEN), "{} bytes", received.len());
    Ok(())
}

async fn send(link: &Link, label: &str) -> Result<Value> {
    link.page.eval(&format!("const label = '{label}'; {SEND}")).await
}

/// Waits until the page has received all, and an empty message behind it.
async fn until_ended(link: &Link, label: &str) -> Result<()> {
    link.page.eval(&format!("return until(() => received.{label}?.last.at(-1)?.byteLength === 0)")).await?;
    assert_eq!(link.page.eval(&format!("return received.{label}.bytes")).await?, json!(LEN));
    Ok(())
}

/// The page opens the stream, and asks; it gets the answer after it has ended its own direction.
pub async fn the_page_ends_first(setting: Setting) -> Result<()> {
    let link = Link::new(&setting).await?;
    link.page.call("create", &[json!("asked"), json!({ "protocol": ByteStream::PROTOCOL })]).await?;
    link.page.eval("return untilEvent('asked', 'open')").await?;
    let mut stream = link.ours.accept_channel().await.ok_or("the association ended")?.into_byte_stream();
    assert!(stream.has_half_close());
    send(&link, "asked").await?;
    read_all(&mut stream).await?;
    stream.write_all(&pattern(LEN)).await?;
    // The last end closes the channel, and waits for that.
    stream.shutdown().await?;
    until_ended(&link, "asked").await?;
    link.page.eval("return untilEvent('asked', 'close')").await?;
    link.leave().await
}

/// Ours opens the stream, and asks.
pub async fn ours_ends_first(setting: Setting) -> Result<()> {
    let link = Link::new(&setting).await?;
    let mut stream = link.ours.open_byte_stream("asking").await?;
    link.page.eval("return untilEvent('asking', 'given')").await?;
    stream.write_all(&pattern(LEN)).await?;
    stream.shutdown().await?;
    until_ended(&link, "asking").await?;
    send(&link, "asking").await?;
    read_all(&mut stream).await?;
    link.page.eval("return untilEvent('asking', 'close')").await?;
    stream.channel().closed().await?;
    // A page that closes the channel in the middle has not ended the stream.
    let mut stream = link.ours.open_byte_stream("cut").await?;
    link.page.eval("return untilEvent('cut', 'given')").await?;
    link.page.eval("channels.cut.send(pattern(1000)); channels.cut.close()").await?;
    let error = stream.read_to_end(&mut Vec::new()).await.expect_err("the page had not ended the stream");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    link.leave().await
}
