//! How a channel is to be (W3C RTCDataChannelInit, RFC 8831 §6.4).

use std::time::Duration;

use narrowboat_sctp::{Reliability, StreamId};

use crate::open;

/// How a channel is to be opened. The same at both ends: DATA_CHANNEL_OPEN carries it, or for a negotiated channel
/// the applications agree on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelOptions {
    /// What the channel is called; 65,535 bytes at most. Need not be unique.
    pub label: String,
    /// The subprotocol spoken on it, or nothing; 65,535 bytes at most.
    pub protocol: String,
    /// Whether messages are delivered in the order in which they were sent.
    pub ordered: bool,
    /// How hard the association tries to deliver a message. A lifetime is carried in whole milliseconds of 32 bits: it
    /// is rounded up, and cut at the greatest. `MaxRetransmits(0)` sends once.
    pub reliability: Reliability,
    /// Weight among the channels (RFC 8831 §6.4): 128 is below normal, 256 normal and the default, 512 high, 1,024 extra
    /// high. DATA_CHANNEL_OPEN carries the value to the peer. It has no effect on the order in which this end sends yet:
    /// channels with something to send take turns, a message each.
    pub priority: u16,
    /// `Some(id)`: both ends make the channel with this id, and no DCEP message is exchanged.
    pub negotiated: Option<StreamId>,
}

impl ChannelOptions {
    /// A reliable, ordered channel of normal priority.
    #[must_use]
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), ..Self::default() }
    }

    /// As they will read at the other end.
    pub(crate) fn normalized(mut self) -> Self {
        if let Reliability::MaxLifetime(lifetime) = self.reliability {
            let milliseconds = u64::from(open::milliseconds(lifetime));
            self.reliability = Reliability::MaxLifetime(Duration::from_millis(milliseconds));
        }
        self
    }

    /// Bytes of the two texts.
    pub(crate) fn text_len(&self) -> usize {
        self.label.len() + self.protocol.len()
    }
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self {
            label: String::new(),
            protocol: String::new(),
            ordered: true,
            reliability: Reliability::Reliable,
            priority: 256,
            negotiated: None,
        }
    }
}
