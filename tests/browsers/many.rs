//! Many channels: at once, one after another, and closed from both sides.

use std::collections::HashSet;

use narrowboat::error::OpenError;
use narrowboat::{Association, ChannelOptions, Config, Message};
use serde_json::json;

use crate::Result;
use crate::link::Link;
use crate::suite::Setting;

/// Streams that our end agrees to: all of them can be in use within the time of a case.
const STREAMS: u16 = 1024;
/// No association has a stream with this id (RFC 8832 §6), so asking for it returns the number of streams.
const NO_STREAM: u16 = 65_535;
const CYCLES: usize = 1000;
const CLOSED_AT_ONCE: usize = 100;

/// All ids in use at once, half of them by each end: an end has the ids of one parity. Our end agrees to 1,024 streams,
/// and the browser may agree to fewer. One more channel is refused where it is made, and harms none of the others.
pub async fn a_thousand_at_once(setting: Setting) -> Result<()> {
    let mut config = Config::default();
    (config.association.outbound_streams, config.association.inbound_streams) = (STREAMS, STREAMS);
    let link = Link::with(&setting, config).await?;
    let beyond = link.ours.create_channel(ChannelOptions::new("beyond").negotiated(NO_STREAM));
    let Err(OpenError::InvalidId { streams, .. }) = beyond else {
        return Err("stream 65,535 was taken, which no channel can have".into());
    };
    let each = usize::from(streams / 2);
    let told = link.page.eval("return pc.sctp.maxChannels").await?;
    println!("    {streams} streams; the browser says {told}");
    // Firefox 153 does not tell its page.
    assert!(told.is_null() || told == json!(streams), "{streams} streams, and the browser tells its page {told}");
    // Channel "x" is one of the page's.
    let body = format!(
        "pc.addEventListener('datachannel', ({{ channel }}) => channel.onreceive = (data) => channel.send(data));
         for (let n = 1; n < {each}; n++) {{
           const channel = create(`theirs ${{n}}`);
           channel.addEventListener('open', () => channel.send(channel.label));
         }}"
    );
    link.page.eval(&body).await?;
    let mut channels = Vec::new();
    for n in 0..each {
        let channel = link.ours.create_channel(format!("ours {n}"))?;
        channel.send(channel.label()).await?;
        channels.push(channel);
    }
    for _ in 1..each {
        channels.push(link.ours.accept_channel().await.ok_or("the association ended")?);
    }
    let ids: HashSet<u16> = channels.iter().chain([&link.x]).map(|channel| channel.id()).collect();
    assert_eq!(ids.len(), 2 * each, "ids");
    for channel in &channels {
        let message = channel.recv().await.ok_or("closed")??;
        assert_eq!(message.as_text(), Some(channel.label()));
        if channel.label().starts_with("theirs") {
            channel.send(message).await?;
        }
    }
    let echoed = "Object.keys(received).filter((label) => received[label].last[0] === label).length";
    link.page.eval(&format!("return until(() => {echoed} === {})", 2 * each - 1)).await?;
    // A browser that has agreed to fewer streams than we take is asked for more.
    match link.ours.create_channel("one more of ours") {
        Err(OpenError::NoFreeId) => assert_eq!(streams, STREAMS),
        Ok(more) => {
            assert!(streams < STREAMS, "{streams}");
            let opened = more.opened().await;
            println!("    one more channel of ours, of a browser that is asked for its stream: {opened:?}");
            channels.extend(opened.is_ok().then_some(more));
        }
        Err(error) => return Err(error.into()),
    }
    // W3C's text (§6.1) has it refused at once. Firefox 153 makes a channel that is never open.
    let refused = "let more;
         try { more = pc.createDataChannel('one more') } catch (error) { return error.name }
         for (const event of ['error', 'close', 'open']) more.addEventListener(event, () => note('one more', event));
         await Promise.race([untilEvent('one more', 'close'), new Promise((resolve) => setTimeout(resolve, 2000))]);
         return more.readyState";
    let refused = link.page.eval(refused).await?;
    println!("    one more channel of the page: {refused}");
    assert!([json!("OperationError"), json!("connecting"), json!("closed")].contains(&refused), "{refused}");
    // An id that is free again is as good as any.
    channels.swap_remove(0).close().await?;
    let again = link.ours.open_channel("again").await?;
    link.page.eval("return untilEvent('again', 'given')").await?;
    channels.push(again);
    for channel in &channels {
        drop(channel.close());
    }
    for channel in channels {
        channel.closed().await?;
    }
    let open = "Object.values(channels).filter((channel) => channel.readyState !== 'closed').length";
    link.page.eval(&format!("return until(() => {open} === 1)")).await?;
    link.leave().await
}

/// A channel is opened, says something, and is closed, again and again, by both ends at the same time. Each end soon
/// needs an id that it has used before.
pub async fn a_thousand_cycles(setting: Setting) -> Result<()> {
    let link = Link::new(&setting).await?;
    let theirs = format!(
        "const ids = new Set();
         for (let n = 0; n < {CYCLES}; n++) {{
           const channel = pc.createDataChannel('theirs');
           const echo = new Promise((resolve, reject) => {{
             channel.onopen = () => channel.send(`${{n}}`);
             channel.onmessage = ({{ data }}) => data === `${{n}}` ? resolve() : reject(new Error(`${{data}}, not ${{n}}`));
             channel.onerror = ({{ error }}) => reject(error);
           }});
           await echo;
           ids.add(channel.id);
           const closed = new Promise((resolve) => channel.onclose = resolve);
           channel.close();
           await closed;
         }}
         return ids.size"
    );
    // The page answers on our channels, and leaves the closing to us.
    link.page.eval("pc.ondatachannel = ({ channel }) => channel.onmessage = ({ data }) => channel.send(data)").await?;
    let echoing = tokio::spawn(echo(link.ours.clone()));
    let (theirs, ours) = tokio::join!(link.page.eval(&theirs), cycle(&link.ours));
    let (theirs, ours) = (theirs?.as_u64().unwrap_or_default() as usize, ours?);
    assert!(
        theirs < CYCLES / 5 && ours < CYCLES / 5,
        "ids are not used again: the page had {theirs} of them, we had {ours}"
    );
    echoing.abort();
    link.leave().await
}

async fn cycle(association: &Association) -> Result<usize> {
    let mut ids = HashSet::new();
    for n in 0..CYCLES {
        let channel = association.open_channel("ours").await?;
        ids.insert(channel.id());
        channel.send(n.to_string()).await?;
        assert_eq!(channel.recv().await.ok_or("closed")??, Message::from(n.to_string()));
        channel.close().await?;
    }
    Ok(ids.len())
}

async fn echo(association: Association) {
    while let Some(channel) = association.accept_channel().await {
        tokio::spawn(async move {
            while let Some(Ok(message)) = channel.recv().await {
                // The page closes when it has received its answer, so there is a reader for the answer.
                channel.send(message).await.unwrap();
            }
            assert_eq!(channel.closed().await, Ok(()));
        });
    }
}

pub async fn closed_from_both_sides_at_once(setting: Setting) -> Result<()> {
    let link = Link::new(&setting).await?;
    let body = format!("for (let n = 0; n < {CLOSED_AT_ONCE}; n++) create(`both ${{n}}`)");
    link.page.eval(&body).await?;
    let mut channels = Vec::new();
    for _ in 0..CLOSED_AT_ONCE {
        channels.push(link.ours.accept_channel().await.ok_or("the association ended")?);
    }
    let open = "Object.values(channels).every((channel) => channel.readyState === 'open')";
    link.page.eval(&format!("return until(() => {open})")).await?;
    let all = "Object.values(channels).filter((channel) => channel.label !== 'x')";
    let body = format!(
        "for (const channel of {all}) channel.close();
         await until(() => {all}.every((channel) => channel.readyState === 'closed'));
         return log.filter(({{ what }}) => what.startsWith('error'))"
    );
    let ours = async {
        for channel in &channels {
            drop(channel.close());
        }
        for channel in &channels {
            channel.closed().await?;
        }
        Ok::<_, crate::Failure>(())
    };
    let (errors, ours) = tokio::join!(link.page.eval(&body), ours);
    ours?;
    assert_eq!(errors?, json!([]));
    // Their ids can be used again at once.
    let again = link.ours.open_channel("again").await?;
    link.page.eval("return untilEvent('again', 'given')").await?;
    again.close().await?;
    link.leave().await
}
