//! A page connected to a service of ours, in either way.

use std::time::Duration;

use narrowboat::{Association, Config, DataChannel, Endpoint, EndpointBuilder, Identity, Ticket};
use serde_json::{Value, json};

use crate::Result;
use crate::page::Page;
use crate::suite::{Setting, Way};

/// A connection over loopback takes a tenth of a second; this is for machines that are busy with something else.
const CONNECT_MAX: Duration = Duration::from_secs(30);

/// A page, and our end of its association. Channel "x" was made by the page, and is open at both ends.
pub struct Link {
    pub page: Page,
    pub endpoint: Endpoint,
    pub ours: Association,
    pub x: DataChannel,
}

impl Link {
    pub async fn new(setting: &Setting) -> Result<Self> {
        Self::with(setting, Config::default()).await
    }

    pub async fn with(setting: &Setting, config: Config) -> Result<Self> {
        Self::on(setting, service().config(config).build()?).await
    }

    pub async fn on(setting: &Setting, endpoint: Endpoint) -> Result<Self> {
        let page = setting.page().await?;
        page.eval("newPeer(); create('x')").await?;
        let ours = connect(&page, &endpoint, setting.way).await?;
        page.eval("return untilEvent('x', 'open')").await?;
        let x = ours.accept_channel().await.ok_or("the association ended")?;
        Ok(Self { page, endpoint, ours, x })
    }

    /// Connects a page that answers our offer, and opens a channel from this end.
    pub async fn by_our_offer(setting: &Setting) -> Result<Self> {
        let (page, endpoint) = (setting.page().await?, service().build()?);
        page.eval("newPeer()").await?;
        let offer = endpoint.offer()?;
        let answer = text(&page.call("makeAnswer", &[offer.sdp().into()]).await?);
        let ours = offer.accept_answer(&answer)?;
        let x = ours.open_channel("x").await?;
        page.eval("return untilEvent('x', 'given')").await?;
        Ok(Self { page, endpoint, ours, x })
    }

    pub async fn leave(self) -> Result<()> {
        self.page.close().await
    }
}

/// A service on a loopback port of its own, which knows browsers.
pub fn service() -> EndpointBuilder {
    Endpoint::builder().bind("127.0.0.1:0").identity(Identity::generate().expect("an identity")).accept_direct()
}

/// Connects a page that has made its peer connection, and a channel at least.
pub async fn connect(page: &Page, endpoint: &Endpoint, way: Way) -> Result<Association> {
    match tokio::time::timeout(CONNECT_MAX, try_to_connect(page, endpoint, way)).await {
        Ok(result) => result,
        Err(_) => {
            let page = page.eval("return [pc.iceConnectionState, pc.connectionState, log]").await?;
            Err(format!("not connected within {CONNECT_MAX:?}: {page}; {:?}", endpoint.stats()).into())
        }
    }
}

async fn try_to_connect(page: &Page, endpoint: &Endpoint, way: Way) -> Result<Association> {
    match way {
        Way::Signalled => {
            let offer = text(&page.call("makeOffer", &[]).await?);
            let answer = endpoint.answer(&offer)?;
            page.call("takeAnswer", &[answer.sdp.into()]).await?;
            answer.association.connected().await?;
            Ok(answer.association)
        }
        Way::Direct => {
            page.eval(&format!("await connectDirect(pc, {})", ticket(&endpoint.ticket()?))).await?;
            Ok(endpoint.accept().await.ok_or("the endpoint is closed")?.await?)
        }
    }
}

/// A ticket as `connect.js` takes it.
pub fn ticket(ticket: &Ticket) -> Value {
    let candidate = |address: &std::net::SocketAddr| json!({ "ip": address.ip(), "port": address.port() });
    let candidates: Vec<Value> = ticket.addresses().iter().map(candidate).collect();
    json!({ "candidates": candidates, "fingerprint": ticket.fingerprint().to_string() })
}

/// Bytes that anyone can tell apart from others of another length; `pattern` in page.js makes the same.
pub fn pattern(len: usize) -> Vec<u8> {
    let next = |value: &u8| Some(value.wrapping_mul(5).wrapping_add(3));
    std::iter::successors(Some(len as u8), next).take(len).collect()
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
