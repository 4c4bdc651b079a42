//! Message interleaving (RFC 8260): the browser's handshake says if it takes I-DATA. A ping beside a large message
//! shows which chunks are in use: as I-DATA it overtakes the message, as DATA it waits for its end.

use std::time::Duration;

use narrowboat::DataChannel;
use serde_json::json;

use crate::Result;
use crate::browser::Kind;
use crate::link::{Link, pattern};
use crate::secure::works;
use crate::suite::Setting;

/// Large messages, one after the other. On a busy machine some of them have left before their ping is sent, and a ping
/// overtakes a message of which a packet was lost, whatever the chunks. A third tells the two apart.
const ROUNDS: usize = 20;

/// The first version of Firefox that is known to offer I-DATA.
const FIREFOX_WITH_I_DATA: u32 = 153;

pub async fn a_ping_beside_bulk(setting: Setting) -> Result<()> {
    let firefox = (firefox_version(setting.kind())? >= FIREFOX_WITH_I_DATA).then_some(true);
    // The settings of the browser, and the answer if it is known.
    let forms: [(&str, Option<bool>); 2] = match setting.kind() {
        Kind::Chromium => [
            ("--force-fieldtrials=WebRTC-DataChannelMessageInterleaving/Enabled/", Some(true)),
            ("--force-fieldtrials=WebRTC-DataChannelMessageInterleaving/Disabled/", Some(false)),
        ],
        // With dcSCTP, and with usrsctp.
        Kind::Firefox => [
            ("media.peerconnection.sctp.use_dcsctp=true", firefox),
            ("media.peerconnection.sctp.use_dcsctp=false", firefox),
        ],
    };
    for (form, expected) in forms {
        let setting = setting.launch(&[form]).await?;
        let link = Link::new(&setting).await?;
        let interleaves = link.ours.stats().extensions.message_interleaving;
        let overtaken = pings_beside_bulk(&link).await?;
        let chunks = if interleaves { "I-DATA" } else { "DATA" };
        println!("    {form}: {chunks}, {overtaken} of {ROUNDS} messages are overtaken by a ping");
        assert!(expected.is_none_or(|expected| expected == interleaves), "{form}: {chunks}");
        assert_eq!(
            overtaken > ROUNDS / 3,
            interleaves,
            "{overtaken} of {ROUNDS} messages are overtaken, sent as {chunks}"
        );
        works(&link).await?;
        crate::messages::sizes_on(&link).await?;
        link.leave().await?;
    }
    Ok(())
}

/// Sends large messages, and a ping while each of them is being sent. Returns how many pings arrive first.
async fn pings_beside_bulk(link: &Link) -> Result<usize> {
    let bulk = link.ours.open_channel("bulk").await?;
    let listen = "await untilEvent('bulk', 'given'); order = [];
                  for (const label of ['bulk', 'x']) channels[label].onreceive = () => order.push(label)";
    link.page.eval(listen).await?;
    let payload = pattern(256 << 10);
    for round in 1..=ROUNDS {
        bulk.send(payload.clone()).await?;
        until_begun(&bulk, payload.len()).await?;
        ping(&link.x).await?;
        link.page.eval(&format!("return until(() => order.length >= {})", 2 * round)).await?;
    }
    let firsts = "return order.filter((label, index) => index % 2 === 0 && label === 'x').length";
    let overtaken = link.page.eval(firsts).await?.as_u64().ok_or("no number")?;
    link.page.eval("for (const label of ['bulk', 'x']) channels[label].onreceive = null; delete received.x").await?;
    assert_eq!(link.page.eval("return received.bulk.count").await?, json!(ROUNDS));
    Ok(usize::try_from(overtaken)?)
}

/// Waits until a part of the message that waits on the channel has left.
async fn until_begun(channel: &DataChannel, len: usize) -> Result<()> {
    let begun = async {
        while channel.buffered_amount() >= len {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(40), begun).await.map_err(|_| "nothing leaves within 40 s".into())
}

async fn ping(channel: &DataChannel) -> Result<()> {
    Ok(channel.send("ping").await?)
}

/// Returns the major version of Firefox; 0 for another browser.
fn firefox_version(kind: Kind) -> Result<u32> {
    let version = kind.version()?;
    let number = version.strip_prefix("Mozilla Firefox ").and_then(|version| version.split('.').next());
    Ok(number.map_or(Ok(0), str::parse)?)
}
