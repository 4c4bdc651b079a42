//! Our answers and offers.

use std::fmt::Write;
use std::net::SocketAddr;

use super::description::{Offer, Section};
use super::setup::Setup;
use super::{MAX_MESSAGE_SIZE_ANY, attribute};
use crate::webrtc::Fingerprint;
use crate::webrtc::dtls::Role;
use crate::webrtc::ice::Credentials;

/// What the section in our offers is called.
pub(super) const MID: &str = "0";

/// What we say about ourselves.
#[derive(Clone, Debug)]
pub(crate) struct Local<'a> {
    /// Our ICE credentials.
    pub(crate) credentials: &'a Credentials,
    /// Our certificate's hash.
    pub(crate) fingerprint: Fingerprint,
    /// Where we can be reached, the preferred address first.
    pub(crate) addresses: &'a [SocketAddr],
    /// Our SCTP port.
    pub(crate) sctp_port: u16,
    /// The largest message that we take, in bytes.
    pub(crate) max_message_size: u64,
    /// Our INIT chunk, if it is not to be sent (draft-hancke-tsvwg-snap).
    pub(crate) sctp_init: Option<&'a [u8]>,
    /// Randomness, for the names of the session and of the DTLS association.
    pub(crate) nonce: [u8; 16],
}

/// Writes the answer: data channels as offered, all other sections rejected (RFC 3264 §6, RFC 8829 §5.3.1).
pub(crate) fn answer(offer: &Offer, role: Role, local: &Local<'_>) -> String {
    let mid = offer.sections.get(offer.data).and_then(|section| section.mid.as_deref());
    let mut sdp = session(local, mid.filter(|_| offer.is_bundled));
    for (index, section) in offer.sections.iter().enumerate() {
        if index == offer.data {
            data(&mut sdp, mid, Setup::word(role), offer.has_tls_id, local);
        } else {
            rejected(&mut sdp, section);
        }
    }
    sdp
}

/// Writes an offer of data channels; the answerer chooses who begins the DTLS handshake.
pub(crate) fn offer(local: &Local<'_>) -> String {
    let mut sdp = session(local, Some(MID));
    data(&mut sdp, Some(MID), "actpass", true, local);
    sdp
}

/// The lines before the first section (RFC 8829 §5.2.1), with the group if there is one.
fn session(local: &Local<'_>, bundled: Option<&str>) -> String {
    // A number that fits into 63 bits (RFC 8829 §5.2.1).
    let id = u128::from_be_bytes(local.nonce) >> 65;
    let mut sdp = String::with_capacity(1_024);
    line(&mut sdp, "v=", "0");
    line(&mut sdp, "o=", &format!("- {id} 1 IN IP4 127.0.0.1"));
    line(&mut sdp, "s=", "-");
    line(&mut sdp, "t=", "0 0");
    line(&mut sdp, "a=", "ice-lite");
    line(&mut sdp, "a=", "ice-options:ice2"); // RFC 8445 §10
    if let Some(mid) = bundled {
        line(&mut sdp, "a=", &format!("group:BUNDLE {mid}"));
    }
    sdp
}

/// The section for data channels (RFC 8841 §5, RFC 8839 §4, RFC 8842 §5).
fn data(sdp: &mut String, mid: Option<&str>, setup: &str, has_tls_id: bool, local: &Local<'_>) {
    // The default candidate is for who does not know ICE, which is nobody; IPv4, if there is a choice.
    let default = local.addresses.iter().find(|address| address.is_ipv4()).or(local.addresses.first());
    let (port, version, ip) = default.map_or((9, 4, "0.0.0.0".to_owned()), |address| {
        (address.port(), if address.is_ipv4() { 4 } else { 6 }, address.ip().to_string())
    });
    let mut attribute = |text: &str| line(sdp, "", text);
    attribute(&format!("m=application {port} UDP/DTLS/SCTP webrtc-datachannel"));
    attribute(&format!("c=IN IP{version} {ip}"));
    if let Some(mid) = mid {
        attribute(&format!("a=mid:{mid}"));
    }
    attribute(&format!("a=ice-ufrag:{}", local.credentials.ufrag()));
    attribute(&format!("a=ice-pwd:{}", local.credentials.pwd()));
    attribute(&format!("a=fingerprint:{}", local.fingerprint));
    attribute(&format!("a=setup:{setup}"));
    if has_tls_id {
        attribute(&format!("a=tls-id:{:032x}", u128::from_be_bytes(local.nonce)));
    }
    attribute(&format!("a=sctp-port:{}", local.sctp_port));
    let size = if local.max_message_size == MAX_MESSAGE_SIZE_ANY { 0 } else { local.max_message_size };
    attribute(&format!("a=max-message-size:{size}"));
    if let Some(init) = local.sctp_init {
        attribute(&format!("a=sctp-init:{}", attribute::write_sctp_init(init)));
    }
    for (index, address) in local.addresses.iter().enumerate() {
        attribute(&candidate(index, *address));
    }
    attribute("a=end-of-candidates");
}

/// A host candidate of the only component (RFC 8839 §5.1): a foundation of its own, and a priority that falls from one
/// to the next (RFC 8445 §5.1.2.1).
fn candidate(index: usize, address: SocketAddr) -> String {
    let preference = u32::from(u16::MAX).saturating_sub(u32::try_from(index).unwrap_or(u32::MAX));
    let priority = (126 << 24) | (preference << 8) | 255;
    format!("a=candidate:{} 1 udp {priority} {} {} typ host", index + 1, address.ip(), address.port())
}

/// A section that we do not take: the same with port 0, and not in the group.
fn rejected(sdp: &mut String, section: &Section) {
    let Section { media, protocol, formats, mid } = section;
    line(sdp, "m=", &format!("{media} 0 {protocol} {formats}"));
    line(sdp, "c=", "IN IP4 0.0.0.0");
    if let Some(mid) = mid {
        line(sdp, "a=", &format!("mid:{mid}"));
    }
    line(sdp, "a=", "inactive");
}

fn line(sdp: &mut String, kind: &str, value: &str) {
    let _ = write!(sdp, "{kind}{value}\r\n"); // Writing to a String does not fail.
}
