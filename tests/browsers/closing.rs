//! How a channel ends, with each end as the one that acts (A): the order of events and states on both sides.
//!
//! Between two pages first: so browsers end channels among themselves. Then between a page and ours, where ours does what
//! the W3C text says (§6.2.4) and bears where a browser differs.

use crate::Result;
use crate::browser::Kind;
use crate::end::End;
use crate::page::Page;
use crate::suite::Setting;

/// What A does to a channel "x" that is open at both ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Row {
    ClosesIdle,
    BothClose,
    QueuesThenCloses,
    QueuesThenPeerCloses,
    ClosesInsideOpen,
    EndsTheConnection,
    SendsBeforeThePeerHasMadeIt,
}

impl Row {
    pub const ALL: [Self; 7] = [
        Self::ClosesIdle,
        Self::BothClose,
        Self::QueuesThenCloses,
        Self::QueuesThenPeerCloses,
        Self::ClosesInsideOpen,
        Self::EndsTheConnection,
        Self::SendsBeforeThePeerHasMadeIt,
    ];

    /// Does it, and waits until both ends have seen the end.
    pub async fn act(self, a: &End, b: &End) -> Result<()> {
        match self {
            Self::ClosesIdle => a.close("x").await?,
            Self::BothClose => {
                let (a, b) = tokio::join!(a.close("x"), b.close("x"));
                a.and(b)?;
            }
            Self::QueuesThenCloses => a.send_blocks("x", blocks(a), true).await?,
            Self::QueuesThenPeerCloses => {
                a.send_blocks("x", blocks(a), false).await?;
                b.close("x").await?;
            }
            Self::ClosesInsideOpen => {
                a.create_and_close_when_open("y").await?;
                a.closed("y").await?;
                return b.closed("y").await;
            }
            Self::EndsTheConnection => {
                a.disconnect().await?;
                return b.closed("x").await;
            }
            Self::SendsBeforeThePeerHasMadeIt => {
                a.create("z", Some(100)).await?;
                a.opened("z").await?;
                a.send_blocks("z", 1, false).await?;
                // What comes later on another channel says that the first message has been there.
                a.send_blocks("x", 1, false).await?;
                b.until_received("x", BLOCK).await?;
                b.create("z", Some(100)).await?;
                return b.opened("z").await;
            }
        }
        a.closed("x").await?;
        b.closed("x").await
    }

    /// The channel to look at.
    pub fn label(self) -> &'static str {
        match self {
            Self::ClosesInsideOpen => "y",
            Self::SendsBeforeThePeerHasMadeIt => "z",
            _ => "x",
        }
    }

    /// What A and B see, if they are pages. What is in brackets is seen in some browsers only, or at some times only.
    fn seen_by_pages(self) -> [&'static str; 2] {
        match self {
            Self::ClosesIdle | Self::ClosesInsideOpen => ["open close() close", "given open [closing] close"],
            // Whose close is first is a race: each end may have been told of the other's before its own.
            Self::BothClose => {
                ["open [closing] [close()] close [close()]", "given open [closing] [close()] close [close()]"]
            }
            Self::QueuesThenCloses => ["open close() [bufferedamountlow] close", "given open [closing] close"],
            Self::QueuesThenPeerCloses => ["open [closing] [bufferedamountlow] close", "given open close() close"],
            Self::EndsTheConnection => ["open [closing] [close]", "given open [closing] [error] close"],
            Self::SendsBeforeThePeerHasMadeIt => ["open [bufferedamountlow]", "open"],
        }
    }

    /// Checks what both have seen, and what B has received.
    pub async fn check(self, a: &End, b: &End) -> Result<()> {
        let sides = [("A", a), ("B", b)];
        for ((side, end), pattern) in sides.into_iter().zip(self.seen_by_pages()) {
            let events = end.events(self.label()).await?;
            if !matches(pattern, &events) {
                return Err(format!("{self:?}: {side} has seen: {events:?}; expected: {pattern}").into());
            }
        }
        let (received, queued) = (b.received("x").await?, blocks(a) as u64 * BLOCK);
        if self == Self::QueuesThenCloses && received != queued {
            return Err(format!("{self:?}: {received} of {queued} bytes were delivered").into());
        }
        Ok(())
    }
}

const BLOCK: u64 = 65_536;

/// As much as is to be waiting when a channel is closed: 4 MiB. Firefox 140 loses what does not fit into usrsctp's buffer of
/// 1 MiB, and never ends the channel, whoever is at the other end.
fn blocks(end: &End) -> usize {
    if matches!(end, End::Page(page) if page.kind == Kind::Firefox) { 12 } else { 64 }
}

/// Whether the events are those of the pattern, in its order, each in the state that belongs to it.
fn matches(pattern: &str, events: &str) -> bool {
    let mut events = events.split(", ").filter(|event| !event.is_empty()).peekable();
    for word in pattern.split(' ') {
        let name = word.trim_matches(['[', ']']);
        let is_it = |event: &&str| {
            event.split(' ').next() == Some(name)
                && match name {
                    "open" | "given" => event.ends_with("(open)"),
                    "closing" => event.ends_with("(closing)"),
                    "close" => event.ends_with("(closed)"),
                    _ => true,
                }
        };
        if events.next_if(is_it).is_none() && !word.starts_with('[') {
            return false;
        }
    }
    events.next().is_none()
}

/// Two pages of this browser, and one of each: only what browsers do among themselves, to compare with.
pub async fn baseline(setting: Setting) -> Result<()> {
    // An origin of its own, which may know the addresses that a browser needs to be found by another.
    let port = setting.url.rsplit(':').next().unwrap_or_default();
    let url = format!("http://localhost:{port}");
    for other in [&setting.browser, &setting.other] {
        for browser in [&setting.browser, other] {
            browser.reveal_addresses(&url).await?;
        }
        for row in Row::ALL {
            let (a, b) = (setting.browser.open(&url).await?, other.open(&url).await?);
            connect(&a, &b).await?;
            let (a, b) = (End::Page(a), End::Page(b));
            row.act(&a, &b).await?;
            row.check(&a, &b).await?;
            a.leave().await?;
            b.leave().await?;
        }
    }
    Ok(())
}

/// Connects two pages; channel "x" is open at both.
async fn connect(a: &Page, b: &Page) -> Result<()> {
    a.eval("newPeer(); create('x')").await?;
    b.eval("newPeer()").await?;
    a.call("makeOffer", &[]).await?;
    let offer = a.call("gathered", &[]).await?;
    b.call("makeAnswer", &[offer]).await?;
    let answer = b.call("gathered", &[]).await?;
    a.call("takeAnswer", &[answer]).await?;
    a.eval("return untilEvent('x', 'open')").await?;
    b.eval("return untilEvent('x', 'given')").await.map(drop)
}
