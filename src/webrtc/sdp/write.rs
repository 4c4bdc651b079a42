//! Our answers and offers.

use std::fmt::Write;
use std::net::SocketAddr;

use super::description::OfferDescription;
use super::section::{Form, Section, Tagged};
use super::setup::Setup;
use super::{MAX_MESSAGE_SIZE_ANY, MID, attribute};
use crate::webrtc::Fingerprint;
use crate::webrtc::dtls::SetupRole;
use crate::webrtc::ice::Credentials;

/// Protocol in the `m=` line of data channels over UDP (RFC 8841 §4).
const PROTOCOL: &str = "UDP/DTLS/SCTP";
const FORMAT: &str = "webrtc-datachannel";

/// Parameters of this end in its descriptions.
#[derive(Clone, Debug)]
pub(crate) struct Local<'a> {
    /// Our ICE credentials.
    pub(crate) credentials: &'a Credentials,
    /// Our certificate's hash.
    pub(crate) fingerprint: Fingerprint,
    /// Our addresses, the preferred one first.
    pub(crate) addresses: &'a [SocketAddr],
    /// Our SCTP port.
    pub(crate) sctp_port: u16,
    /// The largest message that we take, in bytes.
    pub(crate) max_message_size: u64,
    /// Our INIT chunk, if it is not to be sent (draft-hancke-tsvwg-snap).
    pub(crate) sctp_init: Option<&'a [u8]>,
    /// Randomness, for the names of the session and of the DTLS association. The same for all descriptions of one
    /// association.
    pub(crate) nonce: [u8; 16],
    /// Counts the descriptions of one association, from 1 (RFC 8829 §5.2.2).
    pub(crate) version: u64,
}

/// Writes the answer: data channels as offered, all other sections rejected (RFC 3264 §6, RFC 8829 §5.3.1), but for the
/// one whose transport the data channels share: rejecting that one would leave the group without (RFC 9143 §7.3.3).
pub(crate) fn answer(offer: &OfferDescription, role: SetupRole, local: &Local<'_>) -> String {
    let mid_of = |index: usize| offer.sections.get(index).and_then(|section| section.mid.as_deref());
    let mid = mid_of(offer.data);
    let tagged = offer.tagged.as_ref().and_then(|tagged| mid_of(tagged.index));
    let group: Vec<&str> = [tagged, mid.filter(|_| offer.is_bundled)].into_iter().flatten().collect();
    let mut sdp = session(local, &group);
    let transport = SdpTransport { setup: Setup::word(role), has_tls_id: offer.tls_id.is_some(), local };
    for (index, section) in offer.sections.iter().enumerate() {
        match &offer.tagged {
            _ if index == offer.data => data(&mut sdp, section, offer.form, &transport),
            Some(tagged) if index == tagged.index => idle(&mut sdp, section, tagged, &transport),
            _ => rejected(&mut sdp, section),
        }
    }
    sdp
}

/// Writes an offer of data channels; the answerer chooses who begins the DTLS handshake.
pub(crate) fn offer(local: &Local<'_>) -> String {
    let mut sdp = session(local, &[MID]);
    let section = Section {
        media: "application".to_owned(),
        protocol: PROTOCOL.to_owned(),
        formats: FORMAT.to_owned(),
        mid: Some(MID.to_owned()),
    };
    data(&mut sdp, &section, Form::Current, &SdpTransport { setup: "actpass", has_tls_id: true, local });
    sdp
}

/// Returns the lines before the first section (RFC 8829 §5.2.1), with the group if it has members.
fn session(local: &Local<'_>, group: &[&str]) -> String {
    // A number that fits into 63 bits (RFC 8829 §5.2.1).
    let id = u128::from_be_bytes(local.nonce) >> 65;
    let mut sdp = String::with_capacity(1_024);
    line(&mut sdp, "v=", "0");
    line(&mut sdp, "o=", &format!("- {id} {} IN IP4 127.0.0.1", local.version));
    line(&mut sdp, "s=", "-");
    line(&mut sdp, "t=", "0 0");
    line(&mut sdp, "a=", "ice-lite");
    line(&mut sdp, "a=", "ice-options:ice2"); // RFC 8445 §10
    if !group.is_empty() {
        line(&mut sdp, "a=", &format!("group:BUNDLE {}", group.join(" ")));
    }
    sdp
}

/// Writes the section for data channels (RFC 8841 §5, RFC 8839 §4, RFC 8842 §5).
fn data(sdp: &mut String, section: &Section, form: Form, transport: &SdpTransport<'_>) {
    let local = transport.local;
    // The default candidate is for who does not know ICE, which is nobody; IPv4, if there is a choice.
    let default = local.addresses.iter().find(|address| address.is_ipv4()).or_else(|| local.addresses.first());
    let (port, version, ip) = default.map_or_else(
        || (9, 4, "0.0.0.0".to_owned()),
        |address| (address.port(), if address.is_ipv4() { 4 } else { 6 }, address.ip().to_string()),
    );
    match form {
        // UDP, whatever was offered: the default candidate's transport (RFC 8841 §12.2).
        Form::Current => line(sdp, "m=", &format!("application {port} {PROTOCOL} {FORMAT}")),
        Form::Sctpmap(_) => line(sdp, "m=", &format!("application {port} {} {}", section.protocol, local.sctp_port)),
    }
    line(sdp, "c=", &format!("IN IP{version} {ip}"));
    mid(sdp, section);
    transport.write(sdp);
    match form {
        Form::Current => line(sdp, "a=", &format!("sctp-port:{}", local.sctp_port)),
        Form::Sctpmap(_) => line(sdp, "a=", &format!("sctpmap:{} {FORMAT} 65535", local.sctp_port)),
    }
    let size = if local.max_message_size == MAX_MESSAGE_SIZE_ANY { 0 } else { local.max_message_size };
    line(sdp, "a=", &format!("max-message-size:{size}"));
    if let Some(init) = local.sctp_init {
        line(sdp, "a=", &format!("sctp-init:{}", attribute::write_sctp_init(init)));
    }
    candidates(sdp, local.addresses);
}

/// Writes the section whose transport the group uses, accepted with one format and with nothing to send or receive.
/// Browsers refuse to share a transport with RTP that does not take RTCP along.
fn idle(sdp: &mut String, section: &Section, tagged: &Tagged, transport: &SdpTransport<'_>) {
    line(sdp, "m=", &format!("{} 9 {} {}", section.media, section.protocol, tagged.format));
    line(sdp, "c=", "IN IP4 0.0.0.0");
    mid(sdp, section);
    transport.write(sdp);
    tagged.attributes.iter().for_each(|attribute| line(sdp, "a=", attribute));
    if section.protocol.contains("RTP") {
        line(sdp, "a=", "rtcp-mux");
    }
    line(sdp, "a=", "inactive");
    candidates(sdp, transport.local.addresses);
}

/// Attributes of a section for the transport below it.
struct SdpTransport<'a> {
    setup: &'a str,
    has_tls_id: bool,
    local: &'a Local<'a>,
}

impl SdpTransport<'_> {
    fn write(&self, sdp: &mut String) {
        let local = self.local;
        line(sdp, "a=", &format!("ice-ufrag:{}", local.credentials.ufrag()));
        line(sdp, "a=", &format!("ice-pwd:{}", local.credentials.pwd()));
        line(sdp, "a=", &format!("fingerprint:{}", local.fingerprint));
        line(sdp, "a=", &format!("setup:{}", self.setup));
        if self.has_tls_id {
            line(sdp, "a=", &format!("tls-id:{:032x}", u128::from_be_bytes(local.nonce)));
        }
    }
}

fn mid(sdp: &mut String, section: &Section) {
    if let Some(mid) = &section.mid {
        line(sdp, "a=", &format!("mid:{mid}"));
    }
}

/// Writes all candidates of this end.
fn candidates(sdp: &mut String, addresses: &[SocketAddr]) {
    for (index, address) in addresses.iter().enumerate() {
        line(sdp, "a=", &candidate(index, *address));
    }
    line(sdp, "a=", "end-of-candidates");
}

/// Returns a host candidate of the only component (RFC 8839 §5.1): a foundation of its own, and a priority that falls
/// from one to the next (RFC 8445 §5.1.2.1).
fn candidate(index: usize, address: SocketAddr) -> String {
    let preference = u32::from(u16::MAX).saturating_sub(u32::try_from(index).unwrap_or(u32::MAX));
    let priority = (126 << 24) | (preference << 8) | 255;
    format!("candidate:{} 1 udp {priority} {} {} typ host", index + 1, address.ip(), address.port())
}

/// Writes a rejected section: the same with port 0, and not in the group.
fn rejected(sdp: &mut String, section: &Section) {
    line(sdp, "m=", format!("{} 0 {} {}", section.media, section.protocol, section.formats).trim_end());
    line(sdp, "c=", "IN IP4 0.0.0.0");
    mid(sdp, section);
    line(sdp, "a=", "inactive");
}

fn line(sdp: &mut String, kind: &str, value: &str) {
    write!(sdp, "{kind}{value}\r\n").ok(); // Writing to a String does not fail.
}
