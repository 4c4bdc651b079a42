//! DTLS and the negotiation before SCTP: versions, the two forms of a ClientHello, both roles, fingerprints, SNAP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use narrowboat::DtlsVersion;
use serde_json::json;
use tokio::net::UdpSocket;

use crate::browser::Kind;
use crate::link::{Link, service, text, ticket};
use crate::suite::{Setting, Way};
use crate::{Failure, Result};

/// Each version, as ours insists on it.
pub async fn both_versions(setting: Setting) -> Result<()> {
    for version in [DtlsVersion::Dtls12, DtlsVersion::Dtls13] {
        let link = Link::on(&setting, service().only_dtls(version).build()?).await?;
        assert_eq!(link.ours.security().map(|security| security.version), Some(version));
        works(&link).await?;
        link.leave().await?;
    }
    Ok(())
}

/// With the key share of a post-quantum group a ClientHello takes two datagrams; without, one.
pub async fn whole_and_fragmented_hellos(setting: Setting) -> Result<()> {
    let forms: [&[&str]; 2] = match setting.kind() {
        Kind::Chromium => [&["--disable-features=WebRtcPqcForDtls"], &["--enable-features=WebRtcPqcForDtls"]],
        Kind::Firefox => [
            &["media.webrtc.enable_pq_hybrid_kex=false", "media.peerconnection.dtls.version.max=771"],
            &["media.webrtc.enable_pq_hybrid_kex=true"],
        ],
    };
    for (form, settings) in ["whole", "fragmented"].into_iter().zip(forms) {
        let setting = setting.launch(settings).await?;
        let endpoint = service().build()?;
        let relay = Relay::start(endpoint.local_address()).await?;
        let page = setting.page().await?;
        page.eval("newPeer(); create('x')").await?;
        let mut ticket = ticket(&endpoint.ticket()?);
        ticket["candidates"] = json!([{ "ip": relay.address.ip(), "port": relay.address.port() }]);
        page.eval(&format!("return connectDirect(pc, {ticket})")).await?;
        let ours = endpoint.accept().await.ok_or("the endpoint is closed")?.await?;
        let x = ours.accept_channel().await.ok_or("the association ended")?;
        works(&Link { page, endpoint, ours, x }).await?;
        let is_fragmented = relay.is_fragmented.load(Ordering::Relaxed);
        let len = relay.hello_len.load(Ordering::Relaxed);
        println!("    to be {form}: {len} bytes, {}", if is_fragmented { "fragmented" } else { "whole" });
        assert_eq!(is_fragmented, len > HELLO_LEN_MAX, "a ClientHello of {len} bytes, that was to be {form}");
        // Some versions of Firefox do not know the group; with those, both hellos are short.
        let may_be_whole = form == "whole" || setting.kind() == Kind::Firefox;
        assert!(if is_fragmented { form == "fragmented" } else { may_be_whole }, "{len} bytes, that was to be {form}");
    }
    Ok(())
}

/// The browser lets the answer choose (`actpass`): we are the server. It insists on being the server: we are the
/// client.
pub async fn both_roles(setting: Setting) -> Result<()> {
    for (setup, is_client) in [("actpass", false), ("active", false), ("passive", true)] {
        let (page, endpoint) = (setting.page().await?, service().build()?);
        page.eval("newPeer(); create('x')").await?;
        let offer = text(&page.call("makeOffer", &[]).await?).replace("a=setup:actpass", &format!("a=setup:{setup}"));
        let answer = endpoint.answer(&offer)?;
        page.call("takeAnswer", &[answer.sdp.into()]).await?;
        let ours = answer.association;
        let x = ours.accept_channel().await.ok_or("the association ended")?;
        let link = Link { page, endpoint, ours, x };
        works(&link).await?;
        // The client of DTLS has the even ids (RFC 8832 §6).
        assert_eq!(link.ours.open_channel("ours").await?.id() % 2 == 0, is_client, "{setup}");
        assert_eq!(link.x.id() % 2 == 1, is_client, "{setup}");
        link.leave().await?;
    }
    Ok(())
}

/// We offer, the page answers.
pub async fn we_offer(setting: Setting) -> Result<()> {
    let link = Link::by_our_offer(&setting).await?;
    works(&link).await?;
    link.leave().await
}

/// The browser gets another hash than that of our certificate: it refuses us, and we learn the reason. In direct mode
/// the refusal happens before there is an association, so it is counted.
pub async fn a_wrong_hash(setting: Setting) -> Result<()> {
    let (page, endpoint, other) = (setting.page().await?, service().build()?, service().build()?);
    page.eval("newPeer(); create('x')").await?;
    let (right, wrong) = (ticket(&endpoint.ticket()?), ticket(&other.ticket()?));
    let (right, wrong) = (text(&right["fingerprint"]), text(&wrong["fingerprint"]));
    assert_ne!(right, wrong);
    match setting.way {
        Way::Signalled => {
            let offer = text(&page.call("makeOffer", &[]).await?);
            let answer = endpoint.answer(&offer)?;
            page.call("takeAnswer", &[answer.sdp.replace(&right, &wrong).into()]).await?;
            let failure = soon(answer.association.connected()).await?.err();
            let failure = failure.ok_or("the browser has taken a certificate with another hash")?.to_string();
            println!("    {failure}");
            assert!(failure.contains("certificate"), "the reason is not said: {failure}");
        }
        Way::Direct => {
            let mut ticket = ticket(&endpoint.ticket()?);
            ticket["fingerprint"] = wrong.into();
            page.eval(&format!("return connectDirect(pc, {ticket})")).await?;
            let refused = async {
                while endpoint.stats().secure.refused_by_peers == 0 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            soon(refused).await?;
            assert_eq!(endpoint.stats().associations, 0);
        }
    }
    page.eval("return until(() => ['failed', 'closed'].includes(pc.connectionState), 40_000)").await?;
    assert_eq!(page.eval("return happened('x', 'open')").await?, json!(false));
    page.close().await
}

/// A page may choose a certificate with an RSA key, which is not supported: both ends end, and ours reports the reason.
pub async fn an_rsa_certificate(setting: Setting) -> Result<()> {
    let (page, endpoint) = (setting.page().await?, service().build()?);
    let body = "const rsa = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', modulusLength: 2048,
                              publicExponent: new Uint8Array([1, 0, 1]) };
                newPeer({ certificates: [await RTCPeerConnection.generateCertificate(rsa)] }); create('x')";
    page.eval(body).await?;
    let offer = text(&page.call("makeOffer", &[]).await?);
    let answer = endpoint.answer(&offer)?;
    page.call("takeAnswer", &[answer.sdp.into()]).await?;
    let failure =
        soon(answer.association.connected()).await?.err().ok_or("a peer with an RSA certificate was taken")?;
    println!("    {failure}");
    let failure = failure.to_string();
    assert!(failure.contains("RSA") && failure.contains("ECDSA"), "the reason is not said: {failure}");
    page.close().await
}

/// The browser is not the one whose fingerprint was in the offer: we refuse it, before one byte of SCTP.
pub async fn a_wrong_hash_of_the_browser(setting: Setting) -> Result<()> {
    let (page, endpoint) = (setting.page().await?, service().build()?);
    page.eval("newPeer(); create('x')").await?;
    let offer = text(&page.call("makeOffer", &[]).await?);
    let answer = endpoint.answer(&with_another_fingerprint(&offer))?;
    page.call("takeAnswer", &[answer.sdp.into()]).await?;
    let failure = soon(answer.association.connected())
        .await?
        .err()
        .ok_or("a peer with another certificate was taken")?
        .to_string();
    println!("    {failure}");
    assert!(failure.contains("certificate"), "the reason is not said: {failure}");
    page.eval("return until(() => channels.x.readyState !== 'connecting' || pc.connectionState === 'failed', 40_000)")
        .await?;
    assert_eq!(page.eval("return happened('x', 'open')").await?, json!(false));
    page.close().await
}

/// SCTP's handshake in offer and answer (SNAP), switched on in Chromium: our answer goes along, and so does the page's
/// answer to our offer; the first packet is DATA. In direct mode nobody answers the offer, and the handshake is as
/// ever.
pub async fn snap(setting: Setting) -> Result<()> {
    let setting = setting.launch(&["--force-fieldtrials=WebRTC-Sctp-Snap/Enabled/"]).await?;
    let (page, endpoint) = (setting.page().await?, service().build()?);
    page.eval("newPeer(); create('x')").await?;
    let ours = match setting.way {
        Way::Signalled => {
            let offer = text(&page.call("makeOffer", &[]).await?);
            assert!(offer.contains(SIGNALLED_INIT), "no SNAP in the offer: {offer}");
            let answer = endpoint.answer(&offer)?;
            assert!(answer.sdp.contains(SIGNALLED_INIT), "no SNAP in the answer: {}", answer.sdp);
            page.call("takeAnswer", &[answer.sdp.into()]).await?;
            answer.association
        }
        Way::Direct => crate::link::connect(&page, &endpoint, setting.way).await?,
    };
    let x = soon(ours.accept_channel()).await?.ok_or("the association ended")?;
    // INIT, INIT ACK, COOKIE ECHO and COOKIE ACK, in at least three packets of the browser's, or none of them.
    let packets = ours.stats().packets_received;
    println!("    {packets} packets until the first channel");
    assert_eq!(packets < 3, setting.way == Way::Signalled, "{packets} packets until the first channel");
    let link = Link { page, endpoint, ours, x };
    works(&link).await?;
    link.leave().await?;
    if setting.way == Way::Signalled { snap_by_our_offer(&setting).await } else { Ok(()) }
}

/// We offer SNAP, and the page answers with it.
async fn snap_by_our_offer(setting: &Setting) -> Result<()> {
    let (page, endpoint) = (setting.page().await?, service().build()?);
    page.eval("newPeer()").await?;
    let offer = endpoint.offer()?;
    assert!(offer.sdp().contains(SIGNALLED_INIT), "no SNAP in our offer: {}", offer.sdp());
    let answer = text(&page.call("makeAnswer", &[offer.sdp().into()]).await?);
    assert!(answer.contains(SIGNALLED_INIT), "no SNAP in the page's answer: {answer}");
    let ours = offer.accept_answer(&answer)?;
    let x = ours.open_channel("x").await?;
    soon(ours.connected()).await??;
    // Nothing of the browser is needed to be connected.
    let packets = ours.stats().packets_received;
    println!("    {packets} packets until we are connected by our offer");
    assert!(packets < 3, "{packets} packets until we are connected");
    page.eval("return untilEvent('x', 'given')").await?;
    let link = Link { page, endpoint, ours, x };
    works(&link).await?;
    link.leave().await
}

/// A message there and back.
pub async fn works(link: &Link) -> Result<()> {
    link.x.send("there").await?;
    link.page.eval("await untilCount('x', 1); channels.x.send('and back')").await?;
    assert_eq!(soon(link.x.recv()).await?.ok_or("closed")??.as_text(), Some("and back"));
    Ok(())
}

async fn soon<T>(future: impl IntoFuture<Output = T>) -> Result<T> {
    let late = |_| Failure::from("nothing within 40 s");
    tokio::time::timeout(Duration::from_secs(40), future.into_future()).await.map_err(late)
}

/// The same offer with every digit of the fingerprint turned into another.
fn with_another_fingerprint(offer: &str) -> String {
    let line = |line: &str| match line.split_once("a=fingerprint:sha-256 ") {
        Some(("", digits)) => {
            let other = |digit: char| match digit {
                ':' | '\r' => digit,
                '0' => 'F',
                _ => '0',
            };
            format!("a=fingerprint:sha-256 {}\n", digits.chars().map(other).collect::<String>())
        }
        _ => format!("{line}\n"),
    };
    offer.split_terminator('\n').map(line).collect()
}

/// The line of a description that carries SCTP's INIT.
const SIGNALLED_INIT: &str = "\r\na=sctp-init:";

/// Longest ClientHello that browsers send in one datagram: theirs have at most 1,200 bytes.
const HELLO_LEN_MAX: usize = 1_200 - 25;

/// Passes on datagrams between a browser and a service, and looks at the browser's ClientHello.
struct Relay {
    address: SocketAddr,
    /// True if it came in parts.
    is_fragmented: Arc<AtomicBool>,
    /// Its length in bytes, without headers.
    hello_len: Arc<AtomicUsize>,
}

impl Relay {
    async fn start(service: SocketAddr) -> Result<Self> {
        let (front, back) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
        back.connect(service).await?;
        let relay = Self { address: front.local_addr()?, is_fragmented: Arc::default(), hello_len: Arc::default() };
        let (is_fragmented, hello_len) = (Arc::clone(&relay.is_fragmented), Arc::clone(&relay.hello_len));
        tokio::spawn(async move {
            let (mut inbound, mut outbound) = ([0; 2048], [0; 2048]);
            let mut browser = None;
            loop {
                tokio::select! {
                    Ok((len, from)) = front.recv_from(&mut inbound) => {
                        browser = Some(from);
                        // A record of the handshake (22), in it a ClientHello (1): the length of all, and of this part.
                        if inbound[0] == 22 && inbound[13] == 1 {
                            is_fragmented.fetch_or(inbound[14..17] != inbound[22..25], Ordering::Relaxed);
                            let len = u32::from_be_bytes([0, inbound[14], inbound[15], inbound[16]]);
                            hello_len.fetch_max(len as usize, Ordering::Relaxed);
                        }
                        let _ = back.send(&inbound[..len]).await;
                    }
                    Ok(len) = back.recv(&mut outbound) => {
                        if let Some(browser) = browser {
                            let _ = front.send_to(&outbound[..len], browser).await;
                        }
                    }
                }
            }
        });
        Ok(relay)
    }
}
