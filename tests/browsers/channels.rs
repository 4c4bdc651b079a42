//! Options of a channel, as both ends see them: RFC 8832's six types, labels, protocols, ids.

use std::time::Duration;

use narrowboat::{ChannelOptions, DataChannel, Reliability};
use serde_json::{Value, json};

use crate::Result;
use crate::link::Link;
use crate::suite::Setting;

/// The six types (RFC 8832 §5.1), and zero retransmissions, which is not "no limit".
fn types() -> Vec<ChannelOptions> {
    let lifetime = Duration::from_millis(1500);
    let mut types = Vec::new();
    for (index, reliability) in [
        Reliability::Reliable,
        Reliability::MaxRetransmits(0),
        Reliability::MaxRetransmits(7),
        Reliability::MaxLifetime(lifetime),
    ]
    .into_iter()
    .enumerate()
    {
        for ordered in [true, false] {
            let mut options = ChannelOptions::new(format!("type {index} {ordered}")).protocol("p");
            (options.reliability, options.ordered) = (reliability, ordered);
            types.push(options);
        }
    }
    types
}

/// Empty, the longest that there can be, of three-byte characters up to the last byte, and of four-byte ones.
fn names() -> [String; 4] {
    [String::new(), "n".repeat(65_535), "€".repeat(21_845), "🛶 narrowboat 🧑‍🔧".to_owned()]
}

pub async fn types_read_back(setting: Setting) -> Result<()> {
    let link = Link::new(&setting).await?;
    for options in types() {
        let ours = link.ours.open_channel(options.clone()).await?;
        let label = options.label.as_str();
        link.page.eval(&format!("return untilEvent('{label}', 'given')")).await?;
        assert_eq!(described(&link, label).await?, expected(&ours), "the browser, of ours");

        let mut init = init(&options);
        let label = format!("page's {label}");
        init["protocol"] = json!(options.protocol);
        link.page.call("create", &[json!(label), init]).await?;
        let theirs = link.ours.accept_channel().await.ok_or("the association ended")?;
        assert_eq!((theirs.label(), theirs.protocol()), (label.as_str(), options.protocol.as_str()));
        assert_eq!((theirs.reliability(), theirs.ordered()), (options.reliability, options.ordered));
        link.page.eval(&format!("return untilEvent(\"{label}\", 'open')")).await?;
        assert_eq!(described(&link, &label).await?, expected(&theirs), "the browser, of its own");
    }
    link.leave().await
}

pub async fn labels_and_protocols(setting: Setting) -> Result<()> {
    let link = Link::new(&setting).await?;
    for name in names() {
        for (label, protocol) in [(&name, ""), (&name, name.as_str())] {
            let ours = link.ours.open_channel(ChannelOptions::new(label.as_str()).protocol(protocol)).await?;
            let arguments = [json!(label)];
            link.page.eval(&format!("return untilEvent({}, 'given')", arguments[0])).await?;
            assert_eq!(described(&link, label).await?, expected(&ours));
            ours.close().await?;
            link.page.eval(&format!("await untilEvent({0}, 'close'); forget({0})", arguments[0])).await?;

            link.page.call("create", &[json!(label), json!({ "protocol": protocol })]).await?;
            let theirs = link.ours.accept_channel().await.ok_or("the association ended")?;
            assert!(theirs.label() == label && theirs.protocol() == protocol, "label or protocol differ");
            theirs.close().await?;
            link.page.eval(&format!("await untilEvent({0}, 'close'); forget({0})", arguments[0])).await?;
        }
    }
    link.leave().await
}

fn init(options: &ChannelOptions) -> Value {
    match options.reliability {
        Reliability::MaxRetransmits(count) => json!({ "ordered": options.ordered, "maxRetransmits": count }),
        Reliability::MaxLifetime(time) => {
            json!({ "ordered": options.ordered, "maxPacketLifeTime": time.as_millis() as u64 })
        }
        _ => json!({ "ordered": options.ordered }),
    }
}

/// W3C's attributes of an open channel.
fn expected(channel: &DataChannel) -> Value {
    let (mut retransmits, mut lifetime) = (Value::Null, Value::Null);
    match channel.reliability() {
        Reliability::MaxRetransmits(count) => retransmits = count.into(),
        Reliability::MaxLifetime(time) => lifetime = (time.as_millis() as u64).into(),
        _ => {}
    }
    json!({
        "id": channel.id(), "label": channel.label(), "protocol": channel.protocol(), "ordered": channel.ordered(),
        "maxRetransmits": retransmits, "maxPacketLifeTime": lifetime, "negotiated": false, "readyState": "open",
    })
}

async fn described(link: &Link, label: &str) -> Result<Value> {
    link.page.call("describe", &[json!(label)]).await
}
