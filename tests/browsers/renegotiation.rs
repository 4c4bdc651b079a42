//! More offers on a connection that was answered before: nothing is ever `connected` while messages vanish.

use narrowboat::error::SignalError;
use narrowboat::{DataChannel, Endpoint};

use crate::link::{Link, text};
use crate::page::Page;
use crate::suite::Setting;
use crate::{Failure, Result};

/// An offer that changes nothing, then one with a medium, then another channel.
pub async fn offers_again(setting: Setting) -> Result<()> {
    let link = Link::new(&setting).await?;
    echo(&link.page, &link.x).await?;
    for change in ["", "pc.addTransceiver('audio')", "", "pc.addTransceiver('video')"] {
        link.page.eval(change).await?;
        again(&link.page, &link.endpoint).await.map_err(|error| Failure::from(format!("after {change:?}: {error}")))?;
        echo(&link.page, &link.x).await?;
    }
    assert_eq!(link.endpoint.stats().associations, 1);
    link.page.eval("create('y'); return untilEvent('y', 'open')").await?;
    link.leave().await
}

/// Offers, and takes the answer, which is for the same association.
async fn again(page: &Page, endpoint: &Endpoint) -> Result<()> {
    let offer = text(&page.call("makeOffer", &[]).await?);
    let answer = endpoint.answer(&offer)?;
    assert!(!answer.is_new, "another association");
    page.call("takeAnswer", &[answer.sdp.into()]).await.map(drop)
}

/// The page restarts ICE: that is refused in words, and the connection goes on, before and after the page rolls back.
pub async fn restarts_ice(setting: Setting) -> Result<()> {
    let link = Link::new(&setting).await?;
    echo(&link.page, &link.x).await?;
    link.page.eval("pc.restartIce()").await?;
    let offer = text(&link.page.call("makeOffer", &[]).await?);
    let refused = link.endpoint.answer(&offer).err();
    assert!(matches!(refused, Some(SignalError::Restart)), "{refused:?}");
    assert_eq!(link.endpoint.stats().associations, 1);
    echo(&link.page, &link.x).await?;
    link.page.eval("return pc.setLocalDescription({ type: 'rollback' })").await?;
    for _ in 0..3 {
        echo(&link.page, &link.x).await?;
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    }
    link.leave().await
}

/// The association has ended, and the page offers again on the same connection, with and without a restart.
pub async fn offers_after_the_end(setting: Setting) -> Result<()> {
    let link = Link::new(&setting).await?;
    echo(&link.page, &link.x).await?;
    link.ours.abort("the end");
    link.ours.closed().await;
    link.endpoint.wait_idle().await;
    link.page.eval("return untilEvent('x', 'close')").await?;
    for change in ["", "pc.restartIce()"] {
        let body = format!(
            "{change}; if (pc.signalingState !== 'stable') await pc.setLocalDescription({{ type: 'rollback' }})"
        );
        link.page.eval(&body).await?;
        let offer = text(&link.page.call("makeOffer", &[]).await?);
        let refused = link.endpoint.answer(&offer).err();
        assert!(matches!(refused, Some(SignalError::SessionEnded)), "{change:?}: {refused:?}");
    }
    assert_eq!(link.endpoint.stats().associations, 0);
    link.leave().await
}

/// Ours was the first offer; the page makes the next one.
pub async fn offers_after_an_answer(setting: Setting) -> Result<()> {
    let link = Link::by_our_offer(&setting).await?;
    echo(&link.page, &link.x).await?;
    for change in ["", "pc.addTransceiver('audio')"] {
        link.page.eval(change).await?;
        again(&link.page, &link.endpoint).await.map_err(|error| Failure::from(format!("after {change:?}: {error}")))?;
        echo(&link.page, &link.x).await?;
    }
    link.leave().await
}

/// A message there and back, within five seconds.
async fn echo(page: &Page, x: &DataChannel) -> Result<()> {
    let both = async {
        page.eval("delete received.x").await?;
        x.send("there").await?;
        page.eval("await untilCount('x', 1); channels.x.send('and back')").await?;
        assert_eq!(x.recv().await.ok_or("closed")??.as_text(), Some("and back"));
        Ok(())
    };
    let late = |_| Failure::from("a message does not arrive within 5 s");
    tokio::time::timeout(std::time::Duration::from_secs(5), both).await.map_err(late)?
}
