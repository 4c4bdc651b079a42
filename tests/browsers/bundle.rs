//! Offers that have media beside data channels: the answer accepts the data channels alone, in every bundle.

use serde_json::json;

use crate::link::{Link, service, text};
use crate::suite::Setting;
use crate::{Failure, Result};

const POLICIES: [&str; 3] = ["balanced", "max-compat", "max-bundle"];
const MEDIA: [&[&str]; 3] = [&["audio"], &["video"], &["audio", "video"]];

/// Every bundle policy with audio, video and both, before and after the data channel.
pub async fn offers_with_media(setting: Setting) -> Result<()> {
    for policy in POLICIES {
        for media in MEDIA {
            for is_before in [true, false] {
                let row = format!("{policy}, {media:?} {} data", if is_before { "before" } else { "after" });
                offer_with_media(&setting, policy, media, is_before)
                    .await
                    .map_err(|error| Failure::from(format!("{row}: {error}")))?;
            }
        }
    }
    Ok(())
}

async fn offer_with_media(setting: &Setting, policy: &str, media: &[&str], is_before: bool) -> Result<()> {
    let (page, endpoint) = (setting.page().await?, service().build()?);
    let media: String = media.iter().map(|kind| format!("pc.addTransceiver('{kind}');")).collect();
    page.eval(&format!("newPeer({{ bundlePolicy: '{policy}' }})")).await?;
    page.eval(&if is_before { format!("{media} create('x')") } else { format!("create('x'); {media}") }).await?;
    let offer = text(&page.call("makeOffer", &[]).await?);
    let answer = endpoint.answer(&offer)?;
    page.call("takeAnswer", &[answer.sdp.into()]).await?;
    let ours = answer.association;
    let connected = tokio::time::timeout(std::time::Duration::from_secs(20), ours.accept_channel()).await;
    let Ok(x) = connected else {
        let state = page.eval("return [pc.iceConnectionState, pc.connectionState]").await?;
        return Err(format!("no channel within 20 s: {state}\n{offer}").into());
    };
    let link = Link { page, endpoint, ours, x: x.ok_or("the association ended")? };
    link.x.send("there").await?;
    link.page.eval("await untilCount('x', 1); channels.x.send('and back')").await?;
    assert_eq!(link.x.recv().await.ok_or("closed")??.as_text(), Some("and back"));
    // No media flows, in either case.
    let directions = "return pc.getTransceivers().map(({ currentDirection }) => currentDirection ?? 'stopped')";
    for direction in link.page.eval(directions).await?.as_array().into_iter().flatten() {
        assert!([json!("inactive"), json!("stopped")].contains(direction), "{direction}");
    }
    link.leave().await
}
