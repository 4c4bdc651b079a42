//! The Transmission Control Block (RFC 9260 §14.2): what both ends have agreed on, and what it takes to talk by it.

use super::Association;
use super::negotiate::Negotiated;
use crate::config::AssociationConfig;
use crate::cookie::Cookie;
use crate::recv::Receiver;
use crate::reset::{OwnRequests, PeerRequests};
use crate::serial::{RequestSn, Tsn, VerificationTag};
use crate::wire::Init;

/// Values of the peer's INIT or INIT ACK.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PeerInit {
    pub(crate) tag: VerificationTag,
    pub(crate) initial_tsn: Tsn,
    /// The Advertised Receiver Window Credit.
    pub(crate) a_rwnd: u32,
    pub(crate) negotiated: Negotiated,
}

impl PeerInit {
    /// Returns `None` for an Initiate Tag of 0.
    pub(super) fn from_init(config: &AssociationConfig, init: &Init<'_>) -> Option<Self> {
        Some(Self {
            tag: VerificationTag::new(init.initiate_tag)?,
            initial_tsn: init.initial_tsn,
            a_rwnd: init.a_rwnd,
            negotiated: Negotiated::from_init(config, init),
        })
    }

    /// Returns the values that a State Cookie of this end has kept.
    pub(super) fn from_cookie(cookie: &Cookie) -> Option<Self> {
        Some(Self {
            tag: VerificationTag::new(cookie.peer_tag)?,
            initial_tsn: cookie.peer_initial_tsn,
            a_rwnd: cookie.peer_rwnd,
            negotiated: Negotiated::from_cookie(cookie),
        })
    }
}

/// State of an association that both ends have agreed on. It exists from the end of the handshake on. An association
/// that is over keeps it, for the messages that were not read yet.
///
/// The sender, the path and the local tag are not here: messages wait in the sender before, the handshake's time-outs
/// are the path's, and the tag is in the first INIT.
#[derive(Debug)]
pub(super) struct Tcb {
    pub(super) peer_tag: VerificationTag,
    pub(super) peer_initial_tsn: Tsn,
    pub(super) negotiated: Negotiated,
    pub(super) receiver: Receiver,
    /// Requests of this end to reset its outgoing streams (RFC 6525 §5.1.2).
    pub(super) own_requests: OwnRequests,
    /// Requests of the peer (RFC 6525 §5.2).
    pub(super) peer_requests: PeerRequests,
}

impl Tcb {
    /// Creates the TCB. The first request of either end has the number of its first TSN (RFC 6525 §4.1).
    fn new(config: &AssociationConfig, local_initial_tsn: Tsn, peer: &PeerInit) -> Self {
        let (attempts, timeout) = (config.reset_attempts_max, config.reset_timeout);
        Self {
            peer_tag: peer.tag,
            peer_initial_tsn: peer.initial_tsn,
            negotiated: peer.negotiated,
            receiver: Receiver::new(
                peer.initial_tsn,
                config,
                peer.negotiated.inbound_streams,
                peer.negotiated.has_interleaving(),
            ),
            own_requests: OwnRequests::new(RequestSn(local_initial_tsn.0), attempts, timeout),
            peer_requests: PeerRequests::new(RequestSn(peer.initial_tsn.0)),
        }
    }

    pub(super) fn check_consistency(&self) {
        self.own_requests.check_consistency();
        self.peer_requests.check_consistency();
        self.receiver.check_consistency();
    }
}

impl Association {
    /// Creates the TCB. After a restart of the peer, messages that had arrived whole stay in the receiver.
    pub(super) fn create_tcb(&mut self, peer: &PeerInit) {
        let mut tcb = Tcb::new(&self.config, self.handshake.local_initial_tsn, peer);
        if let Some(old) = self.tcb.take() {
            tcb.receiver = old.receiver;
            let (streams, interleaving) = (peer.negotiated.inbound_streams, peer.negotiated.has_interleaving());
            tcb.receiver.restart(peer.initial_tsn, &self.config, streams, interleaving);
        }
        self.tcb = Some(Box::new(tcb));
        let (can_abandon, format) = (peer.negotiated.has_partial_reliability(), peer.negotiated.data_format());
        self.sender.on_established(peer.a_rwnd, can_abandon, format, &self.path);
    }

    /// Returns the Verification Tag of the peer, from its INIT ACK on.
    pub(super) fn peer_tag(&self) -> Option<VerificationTag> {
        match &self.tcb {
            Some(tcb) => Some(tcb.peer_tag),
            None => self.handshake.peer.map(|peer| peer.tag),
        }
    }
}

/// Values that both ends have agreed on.
impl Association {
    /// Returns the number of streams that may be sent on: as configured until the handshake is done, then what both
    /// ends agreed on.
    #[must_use]
    pub fn outbound_streams(&self) -> u16 {
        self.negotiated().map_or(self.config.outbound_streams, |agreed| agreed.outbound_streams)
    }

    /// Returns the number of streams that the peer may send on, likewise.
    #[must_use]
    pub fn inbound_streams(&self) -> u16 {
        self.negotiated().map_or(self.config.inbound_streams, |agreed| agreed.inbound_streams)
    }

    /// Returns the size of the largest message that `send` accepts, in bytes.
    #[must_use]
    pub fn send_message_size_max(&self) -> usize {
        self.config.send_message_size_max
    }

    /// Returns `true` if both ends offered RE-CONFIG (RFC 6525); `false` before the handshake is done.
    #[must_use]
    pub fn peer_supports_stream_reset(&self) -> bool {
        self.negotiated().is_some_and(Negotiated::has_stream_reset)
    }

    /// Returns `true` if both ends offered FORWARD-TSN (RFC 3758), or I-FORWARD-TSN if messages interleave; `false`
    /// before the handshake is done.
    #[must_use]
    pub fn peer_supports_partial_reliability(&self) -> bool {
        self.negotiated().is_some_and(Negotiated::has_partial_reliability)
    }

    /// Returns `true` if both ends offered I-DATA (RFC 8260): a message of any size then holds up other streams for no
    /// more than a packet. `false` before the handshake is done.
    #[must_use]
    pub fn peer_supports_message_interleaving(&self) -> bool {
        self.negotiated().is_some_and(Negotiated::has_interleaving)
    }

    fn negotiated(&self) -> Option<Negotiated> {
        self.tcb.as_ref().map(|tcb| tcb.negotiated)
    }
}
