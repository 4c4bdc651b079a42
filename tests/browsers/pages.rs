//! Pages that come and go: many at once, reloaded, killed; and a service that is killed and comes back.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use narrowboat::{Association, Endpoint};

use crate::Result;
use crate::child::Child;
use crate::link::{Link, connect, service};
use crate::page::Page;
use crate::scratch::Scratch;
use crate::suite::{Setting, Way};

const PAGES: usize = 50;
/// Consent ends after 30 s without anything from the peer (RFC 7675 §5.1).
const END_MAX: Duration = Duration::from_secs(35);

pub async fn fifty_at_once_on_one_port(setting: Setting) -> Result<()> {
    let endpoint = service().build()?;
    let accepting = endpoint.clone();
    if setting.way == Way::Direct {
        tokio::spawn(async move {
            while let Some(incoming) = accepting.accept().await {
                tokio::spawn(async move { echo(incoming.await.unwrap()).await });
            }
        });
    }
    let pages = try_join_all((0..PAGES).map(|_| open_and_echo(&setting, &endpoint))).await?;
    assert_eq!(endpoint.stats().associations, PAGES, "associations while all pages are there");
    // All of them again, now that all are there.
    let again = "channels.x.send('again'); return untilCount('x', 2)";
    try_join_all(pages.iter().map(|page| page.eval(again))).await?;
    try_join_all(pages.into_iter().map(Page::close)).await.map(drop)
}

async fn open_and_echo(setting: &Setting, endpoint: &Endpoint) -> Result<Page> {
    let page = setting.page().await?;
    page.eval("newPeer(); create('x')").await?;
    match setting.way {
        Way::Signalled => {
            let association = connect(&page, endpoint, setting.way).await?;
            tokio::spawn(echo(association));
        }
        Way::Direct => {
            let ticket = crate::link::ticket(&endpoint.ticket()?);
            page.eval(&format!("return connectDirect(pc, {ticket})")).await?;
        }
    }
    page.eval("await untilEvent('x', 'open'); channels.x.send('hello'); return untilCount('x', 1)").await?;
    Ok(page)
}

/// Sends everything back, on every channel.
pub async fn echo(association: Association) {
    while let Some(channel) = association.accept_channel().await {
        tokio::spawn(async move {
            while let Some(Ok(message)) = channel.recv().await {
                if channel.send(message).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// The page is loaded again while both ends send: our end learns the reason for its end, and the page connects again.
pub async fn reloaded_in_the_middle(setting: Setting) -> Result<()> {
    let link = Link::new(&setting).await?;
    link.page.eval("running = sendNumbered('x', 100_000); return untilEvent('x', 'open')").await?;
    for _ in 0..8 {
        link.x.recv().await.ok_or("closed")??;
        link.x.send(vec![0; 65_536]).await?;
    }
    link.page.reload().await?;
    let reason = tokio::time::timeout(END_MAX, link.ours.closed()).await;
    println!("    our end: {}", reason.map_err(|_| "our end does not notice that the page was reloaded")?);
    // Its handles end too, and say why.
    while let Some(message) = link.x.recv().await {
        drop(message);
    }
    link.page.eval("newPeer(); create('again')").await?;
    let association = connect(&link.page, &link.endpoint, setting.way).await?;
    let channel = association.accept_channel().await.ok_or("the association ended")?;
    channel.send("welcome").await?;
    link.page.eval("return untilCount('again', 1)").await?;
    link.leave().await
}

/// A killed browser sends nothing: our end ends by itself, within 35 s, and reports the reason.
pub async fn killed(setting: Setting) -> Result<()> {
    let setting = setting.launch(&[]).await?;
    let link = Link::new(&setting).await?;
    link.x.send("hello").await?;
    link.page.eval("return untilCount('x', 1)").await?;
    setting.browser.kill();
    let killed = Instant::now();
    let reason = tokio::time::timeout(END_MAX, link.ours.closed()).await.map_err(|_| "no end within 35 s")?;
    println!("    our end, after {:.1} s: {reason}", killed.elapsed().as_secs_f64());
    let error = link.x.closed().await;
    assert!(error.is_err(), "a channel whose peer was killed has ended as if by a close");
    assert_eq!(link.endpoint.stats().associations, 0);
    Ok(())
}

/// Our process is killed and started again with the same identity, on the same port: the page notices, and reconnects,
/// with the same ticket if that is its way.
pub async fn the_service_comes_back(setting: Setting) -> Result<()> {
    let scratch = Scratch::new()?;
    let path = scratch.path().join("identity.pem");
    let mut child = Child::start(&path, 0)?;
    let first = child.ticket.clone();
    let page = setting.page().await?;
    page.eval("newPeer(); create('x')").await?;
    reach(&page, &mut child, setting.way).await?;
    page.eval("await untilEvent('x', 'open'); channels.x.send('hello'); return untilCount('x', 1)").await?;

    let port = child.port();
    drop(child);
    let mut child = Child::start(&path, port)?;
    assert_eq!(child.ticket, first, "the ticket has changed");
    let restarted = Instant::now();
    // By itself: nothing is sent but what browsers send when nobody asks them to. Without signalling that is a
    // HEARTBEAT within 32 s; the record that it is in gives the page away, and one of its next checks is answered with
    // the end.
    page.eval("return until(() => pc.connectionState !== 'connected', 90_000)").await?;
    let state = page.eval("return pc.connectionState").await?;
    println!("    {:?} {:?}, after {:.1} s: {state}", page.kind, setting.way, restarted.elapsed().as_secs_f64());
    page.eval("pc.close(); newPeer(); create('y')").await?;
    reach(&page, &mut child, setting.way).await?;
    page.eval("await untilEvent('y', 'open'); channels.y.send('hello'); return untilCount('y', 1)").await?;
    page.close().await
}

/// Connects the page to the service in the other process.
async fn reach(page: &Page, child: &mut Child, way: Way) -> Result<()> {
    match way {
        Way::Signalled => {
            let offer = page.call("makeOffer", &[]).await?;
            let answer = child.answer(&offer)?;
            page.call("takeAnswer", &[answer]).await.map(drop)
        }
        Way::Direct => page.eval(&format!("return connectDirect(pc, {})", child.ticket)).await.map(drop),
    }
}
