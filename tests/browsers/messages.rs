//! Messages of all kinds and sizes, both ways.

use narrowboat::error::SendError;
use narrowboat::{Bytes, Config, Message};
use serde_json::json;

use crate::Result;
use crate::link::{Link, pattern};
use crate::suite::Setting;

const SIZES: [usize; 11] = [
    1,
    2,
    (16 << 10) - 1,
    16 << 10,
    (16 << 10) + 1,
    (64 << 10) - 1,
    64 << 10,
    (64 << 10) + 1,
    (256 << 10) - 1,
    200_000,
    256 << 10,
];

const TEXTS: [&str; 5] = ["", "a", "häuser", "€€€", "🛶\u{0}🧑‍🔧\n"];

pub async fn texts_bytes_and_empty_ones(setting: Setting) -> Result<()> {
    let link = Link::new(&setting).await?;
    let messages = TEXTS.into_iter().map(Message::from).chain([Bytes::new().into(), pattern(3).into(), vec![0].into()]);
    let messages: Vec<Message> = messages.collect();
    for message in &messages {
        link.x.send(message.clone()).await?;
    }
    link.page.eval(&format!("return untilCount('x', {})", messages.len())).await?;
    let seen = "received.x.last.map((data) => typeof data === 'string' ? data : [...new Uint8Array(data)])";
    let value = |message: &Message| message.as_text().map_or(json!(message.as_bytes()), |text| json!(text));
    let expected: Vec<_> = messages.iter().map(value).collect();
    assert_eq!(link.page.eval(&format!("return {seen}")).await?, json!(expected));

    // All of them back, as they came.
    link.page.eval("for (const data of received.x.last) channels.x.send(data)").await?;
    for message in messages {
        assert_eq!(link.x.recv().await.ok_or("closed")??, message);
    }
    link.leave().await
}

pub async fn sizes(setting: Setting) -> Result<()> {
    let link = Link::new(&setting).await?;
    // In direct mode no description has named the limit of the browser; the default is one that both browsers accept.
    let theirs = link.ours.max_message_size();
    assert!(theirs >= 256 << 10, "we may send no more than {theirs} bytes");
    sizes_on(&link).await?;
    link.leave().await
}

/// Each size both ways, on a link whose page has received nothing else.
pub async fn sizes_on(link: &Link) -> Result<()> {
    link.page.eval("delete received.x").await?;
    for size in SIZES {
        link.x.send(pattern(size)).await?;
        let check = format!(
            "await untilCount('x', 1); const data = new Uint8Array(received.x.last[0]); delete received.x;
             const other = pattern({size}); return data.length === {size} && data.every((byte, n) => byte === other[n])"
        );
        assert_eq!(link.page.eval(&check).await?, json!(true), "{size} bytes of ours");

        link.page.eval(&format!("channels.x.send(pattern({size}))")).await?;
        let message = link.x.recv().await.ok_or("closed")??;
        assert!(message == Message::from(pattern(size)), "{size} bytes of the page's, of which {} came", message.len());
    }
    Ok(())
}

/// Largest message that our end takes in this case. Firefox 153 takes one of 16 MiB for sending and never sends it, to
/// another Firefox either.
const LARGEST: usize = 8 << 20;

/// The largest that the other end takes arrives; one byte more is refused where it is sent, and reaches nobody.
pub async fn largest_and_one_more(setting: Setting) -> Result<()> {
    let mut config = Config::default();
    config.channels.message_size_max = LARGEST;
    let link = Link::with(&setting, config).await?;
    let ours = link.page.eval("return pc.sctp.maxMessageSize").await?.as_u64().ok_or("no size")? as usize;
    println!("    the page's largest: {ours} bytes");
    link.page.eval(&format!("channels.x.send(pattern({ours}))")).await?;
    assert!(link.x.recv().await.ok_or("closed")?? == Message::from(pattern(ours)), "the page's largest");
    // Chromium 148 does not throw at once, as W3C wants it (§6.2, `send`, step 4), but fails the channel.
    let body = format!(
        "const y = create('y');
         await untilEvent('y', 'open');
         try {{ y.send(new Uint8Array({ours} + 1)) }} catch (error) {{ return error.name }}
         await untilEvent('y', 'close');
         return log.find(({{ who, what }}) => who === 'y' && what.startsWith('error')).what.split(' ')[1]"
    );
    println!("    the page's, of one byte more");
    let refused = link.page.eval(&body).await?;
    assert!([json!("TypeError"), json!("OperationError")].contains(&refused), "one byte more: {refused}");
    let y = link.ours.accept_channel().await.ok_or("the association ended")?;
    drop(y.close());
    assert!(y.recv().await.is_none(), "what the browser has refused has come");

    let theirs = link.ours.max_message_size();
    let len = theirs + 1;
    let refused = link.x.send(vec![0; len]).await;
    assert_eq!(refused, Err(SendError::TooLarge { len, max: theirs }));
    let largest = theirs.min(16 << 20);
    println!("    our largest: {largest} bytes");
    link.x.send(pattern(largest)).await?;
    let check = format!(
        "await untilCount('x', 1); const data = new Uint8Array(received.x.last[0]), other = pattern({largest});
         return data.length === {largest} && data.every((byte, n) => byte === other[n])"
    );
    assert_eq!(link.page.eval(&check).await?, json!(true), "ours of {largest} bytes");
    link.leave().await
}
