//! Negotiation by INIT and INIT ACK (RFC 9260 §5.1), without any state: shared by associations and by the endpoint,
//! which answers an INIT before there is an association.

use super::zero_checksum::METHOD_DTLS;
use crate::config::AssociationConfig;
use crate::cookie::{Binding, Cookie, CookieKeys};
use crate::error::Violation;
use crate::recv::INITIAL_WINDOW;
use crate::send::DataFormat;
use crate::serial::Tsn;
use crate::time::{Duration, Instant};
use crate::wire::{
    Cause, ChunkType, Extensions, Init, PacketHeader, PacketWriter, encode_abort, encode_error, encode_unrecognized,
};

/// Least window that an end may announce (RFC 9260 §3.3.2).
const A_RWND_MIN: u32 = 1500;

/// Returns the extensions that this end offers.
pub(crate) fn offered_extensions(config: &AssociationConfig) -> Extensions {
    let mut extensions = Extensions::NONE;
    if config.stream_reset {
        extensions = extensions.union(Extensions::RE_CONFIG);
    }
    if config.partial_reliability {
        extensions = extensions.union(Extensions::FORWARD_TSN);
        // Only both chunks together: dcSCTP takes one without the other for no interleaving at all, and would send DATA
        // to an end that expects I-DATA.
        if config.message_interleaving {
            extensions = extensions.union(Extensions::I_DATA).union(Extensions::I_FORWARD_TSN);
        }
    }
    extensions
}

/// Returns the INIT of this end.
pub(crate) fn local_init(config: &AssociationConfig, tag: u32, initial_tsn: Tsn) -> Init<'static> {
    let (outbound, inbound) = (config.outbound_streams, config.inbound_streams);
    let mut init = Init::new(tag, config.receive_window.min(INITIAL_WINDOW), outbound, inbound, initial_tsn);
    init.extensions = offered_extensions(config);
    init
}

/// Reason why an INIT or INIT ACK cannot be accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum InitRefusal {
    /// Nothing can be answered (RFC 9260 §3.3.2: Initiate Tag 0).
    Silent,
    /// To be answered with an ABORT for this violation.
    Abort(Violation),
}

/// Checks what every INIT and INIT ACK must have (RFC 9260 §3.3.2, §3.3.3, erratum 7148).
pub(crate) fn check(init: &Init<'_>) -> Result<(), InitRefusal> {
    if init.initiate_tag == 0 {
        return Err(InitRefusal::Silent);
    }
    if init.has_host_name {
        return Err(InitRefusal::Abort(Violation::HostNameAddress));
    }
    if init.a_rwnd < A_RWND_MIN || init.outbound_streams == 0 || init.inbound_streams == 0 {
        return Err(InitRefusal::Abort(Violation::BadHandshake));
    }
    Ok(())
}

/// Values that two INITs have agreed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Negotiated {
    pub(crate) outbound_streams: u16,
    pub(crate) inbound_streams: u16,
    pub(crate) extensions: Extensions,
    /// True if the peer has announced that it accepts packets over DTLS without a checksum (RFC 9653 §5.1).
    pub(crate) peer_accepts_zero_checksum: bool,
}

impl Negotiated {
    pub(crate) fn from_init(config: &AssociationConfig, init: &Init<'_>) -> Self {
        Self {
            // §5.1.1: nobody sends on more streams than the other takes.
            outbound_streams: config.outbound_streams.min(init.inbound_streams),
            inbound_streams: config.inbound_streams.min(init.outbound_streams),
            extensions: offered_extensions(config).intersect(init.extensions),
            peer_accepts_zero_checksum: init.zero_checksum == Some(METHOD_DTLS),
        }
    }

    pub(crate) fn from_cookie(cookie: &Cookie) -> Self {
        Self {
            outbound_streams: cookie.outbound_streams,
            inbound_streams: cookie.inbound_streams,
            extensions: cookie.extensions,
            peer_accepts_zero_checksum: cookie.peer_accepts_zero_checksum,
        }
    }

    pub(crate) fn has_stream_reset(self) -> bool {
        self.extensions.contains(Extensions::RE_CONFIG)
    }

    /// Returns true if messages interleave: user data is in I-DATA chunks (RFC 8260 §2.2.1).
    pub(crate) fn has_interleaving(self) -> bool {
        self.extensions.contains(Extensions::I_DATA)
    }

    /// Returns true if both ends have offered the chunk that skips messages: I-FORWARD-TSN if messages interleave (RFC
    /// 8260 §2.3.1), FORWARD-TSN otherwise.
    pub(crate) fn has_partial_reliability(self) -> bool {
        let chunk = if self.has_interleaving() { Extensions::I_FORWARD_TSN } else { Extensions::FORWARD_TSN };
        self.extensions.contains(chunk)
    }

    /// Returns the chunk type that user data is sent in.
    pub(crate) fn data_format(self) -> DataFormat {
        if self.has_interleaving() { DataFormat::IData } else { DataFormat::Data }
    }
}

/// Values of this end in an INIT ACK.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalInit {
    pub(crate) tag: u32,
    pub(crate) initial_tsn: Tsn,
    /// (local, peer); zeros if there is no association yet.
    pub(crate) tie_tags: (u32, u32),
    /// True if this end has sent an INIT that is not answered yet, or a COOKIE ECHO.
    pub(crate) has_begun: bool,
    /// Error detection method that replaces the checksum (RFC 9653 §5.1).
    pub(crate) zero_checksum: Option<u32>,
}

/// Writes the packet that answers an INIT that passed [`check`]. All that is remembered of it is in the cookie.
pub(crate) fn write_init_ack(
    now: Instant,
    config: &AssociationConfig,
    keys: &CookieKeys,
    address: &[u8],
    init: &Init<'_>,
    local: LocalInit,
    out: &mut Vec<u8>,
) {
    let agreed = Negotiated::from_init(config, init);
    let cookie = Cookie {
        local_tag: local.tag,
        peer_tag: init.initiate_tag,
        tie_tags: local.tie_tags,
        local_initial_tsn: local.initial_tsn,
        peer_initial_tsn: init.initial_tsn,
        peer_rwnd: init.a_rwnd,
        outbound_streams: agreed.outbound_streams,
        inbound_streams: agreed.inbound_streams,
        extensions: agreed.extensions,
        peer_accepts_zero_checksum: agreed.peer_accepts_zero_checksum,
    };
    let cookie = keys.seal(now, config.cookie_lifetime, &cookie, binding(config, address));
    let mut ack = local_init(config, local.tag, local.initial_tsn);
    // The INIT ACK lists only extensions that the peer offered, which also keeps the answer to a small INIT small.
    ack.extensions = agreed.extensions;
    // §3.3.3: no more outbound streams than the peer takes.
    ack.outbound_streams = agreed.outbound_streams;
    ack.cookie = Some(&cookie);
    ack.zero_checksum = local.zero_checksum;
    ack.is_collision = local.has_begun;
    let mut packet = PacketWriter::begin(&header(config, init.initiate_tag), config.mtu, out);
    ack.encode(ChunkType::INIT_ACK, &[], packet.chunks());
    // §3.2.2: report what was not understood, as far as it fits one packet (§12.4).
    let (room, mut reports) = (packet.room(), Vec::new());
    for parameter in init.unrecognized() {
        let before = reports.len();
        encode_unrecognized(parameter, &mut reports);
        if reports.len() > room {
            reports.truncate(before);
            break;
        }
    }
    if !reports.is_empty() {
        packet.clear();
        ack.encode(ChunkType::INIT_ACK, &reports, packet.chunks());
    }
    packet.finish();
}

/// Writes a packet with an ABORT alone.
pub(crate) fn write_abort(
    config: &AssociationConfig,
    tag: u32,
    cause: Option<Cause<'_>>,
    reflected: bool,
    out: &mut Vec<u8>,
) {
    let mut packet = PacketWriter::begin(&header(config, tag), config.mtu, out);
    let cause = cause.map(|cause| cause.clip(config.mtu / 2));
    encode_abort(cause.as_slice(), reflected, packet.chunks());
    packet.finish();
}

/// Writes a packet that says by how much a cookie was too old (RFC 9260 §5.1.5 step 4).
pub(crate) fn write_stale_cookie(config: &AssociationConfig, tag: u32, staleness: Duration, out: &mut Vec<u8>) {
    let mut packet = PacketWriter::begin(&header(config, tag), config.mtu, out);
    let microseconds = u32::try_from(staleness.as_micros()).unwrap_or(u32::MAX);
    encode_error(&[Cause::StaleCookie(microseconds)], packet.chunks());
    packet.finish();
}

pub(crate) fn header(config: &AssociationConfig, verification_tag: u32) -> PacketHeader {
    PacketHeader { source_port: config.local_port, destination_port: config.remote_port, verification_tag }
}

pub(crate) fn binding<'a>(config: &AssociationConfig, address: &'a [u8]) -> Binding<'a> {
    Binding { local_port: config.local_port, remote_port: config.remote_port, address }
}
