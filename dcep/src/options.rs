//! Options of a channel (W3C `RTCDataChannelInit`, RFC 8831 §6.4).

use narrowboat_sctp::time::Duration;
use narrowboat_sctp::{Reliability, SendPolicy, WaitingMax};

/// Subprotocol of a channel that carries a byte stream whose directions end separately. Both ends recognize such a
/// channel by this name.
pub const BYTE_STREAM_PROTOCOL: &str = "narrowboat.stream.v1";

/// Normal priority, for a channel or stream on which none was set (RFC 8831 §6.4).
pub(crate) const NORMAL_PRIORITY: u16 = 256;

/// Options of a channel: W3C `RTCDataChannelInit`, and the label.
///
/// DATA_CHANNEL_OPEN carries them to the peer; for a negotiated channel the applications of both ends agree on them. A
/// `&str` is a reliable, ordered channel with that label:
///
/// ```
/// # use narrowboat_dcep::ChannelOptions;
/// let chat = ChannelOptions::from("chat");
/// let ticks = ChannelOptions::new("ticks").unordered().max_retransmits(0);
/// assert!(chat.ordered && !ticks.ordered);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ChannelOptions {
    /// Name that both ends see, not necessarily unique; at most 65,535 bytes.
    pub label: String,
    /// Name of the subprotocol; at most 65,535 bytes. Empty by default.
    pub protocol: String,
    /// True if messages are delivered in the order in which they were sent. Default true.
    pub ordered: bool,
    /// Reliability: how often, or for how long, a lost message is retransmitted (RFC 3758). Default
    /// [`Reliability::Reliable`]. A lifetime is carried in whole milliseconds of 32 bits: it is rounded up, and cut at
    /// the greatest. [`Reliability::Priority`] holds at this end only.
    pub reliability: Reliability,
    /// Weight among the association's channels (RFC 8831 §6.4): 128 is below normal, 256 normal and the default, 512
    /// high, 1024 extra high. Other values are allowed; 0 means that none was given, as in all that Firefox opens, and
    /// counts as normal. While several channels have something to send, a channel with twice the weight sends twice as
    /// many bytes; none is starved. Another
    /// [`stream_scheduler`](narrowboat_sctp::AssociationConfig::stream_scheduler) may use the value in another way, or
    /// not at all. DATA_CHANNEL_OPEN carries it to the peer, which sends with the same weight.
    /// [`set_priority`](crate::DataChannels::set_priority) changes it later, at one end.
    pub priority: u16,
    /// `Some(id)`: both ends create the channel with this stream id (0 to 65,534), and no DCEP message is exchanged.
    /// `None`, the default: DATA_CHANNEL_OPEN tells the peer, which accepts the channel.
    pub negotiated: Option<u16>,
    /// Policy for messages that wait to be sent: they are dropped before they cost anything if they are too old, or too
    /// many. It holds at this end only, and the peer is not told. Default [`SendPolicy::default`], which bounds the
    /// backlog of a channel with `max_retransmits`.
    pub send_policy: SendPolicy,
}

impl ChannelOptions {
    /// Returns the options of a reliable, ordered channel of normal priority with this label.
    #[must_use]
    pub fn new(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            protocol: String::new(),
            ordered: true,
            reliability: Reliability::Reliable,
            priority: NORMAL_PRIORITY,
            negotiated: None,
            send_policy: SendPolicy::default(),
        }
    }

    /// Sets the name of the subprotocol.
    #[must_use]
    pub fn protocol(mut self, protocol: impl Into<String>) -> Self {
        self.protocol = protocol.into();
        self
    }

    /// Opens the channel for a byte stream whose directions end separately: sets the protocol to
    /// [`BYTE_STREAM_PROTOCOL`], the channel to ordered and reliable, and the policy to one that drops nothing.
    #[must_use]
    pub fn byte_stream(mut self) -> Self {
        self.ordered = true;
        self.send_policy = SendPolicy::default();
        self.reliability = Reliability::Reliable;
        self.protocol(BYTE_STREAM_PROTOCOL)
    }

    /// Delivers messages as they arrive, so that a lost one does not hold up those behind it.
    #[must_use]
    pub fn unordered(mut self) -> Self {
        self.ordered = false;
        self
    }

    /// Sets [`reliability`](Self#structfield.reliability).
    #[must_use]
    pub fn reliability(mut self, reliability: Reliability) -> Self {
        self.reliability = reliability;
        self
    }

    /// Abandons a message after this many retransmissions; 0 sends it once. The last one before a close may be sent
    /// once more, so that the close does not wait for an acknowledgement that the peer delays. Replaces a
    /// [`max_packet_life_time`](Self::max_packet_life_time): a channel has one or the other.
    #[must_use]
    pub fn max_retransmits(self, count: u32) -> Self {
        self.reliability(Reliability::MaxRetransmits(count))
    }

    /// Abandons a message this long after it was passed to `send`; the time that it waits in the send queue counts.
    /// Replaces [`max_retransmits`](Self::max_retransmits).
    #[must_use]
    pub fn max_packet_life_time(self, time: Duration) -> Self {
        self.reliability(Reliability::MaxLifetime(time))
    }

    /// Abandons messages that wait if the association's send buffer, or the channel's part of it, is full and another
    /// message needs the place: one with a smaller number here, or one of a channel without this option (RFC 7496 §3.2,
    /// Priority Policy). 0 is the highest priority. What was begun is sent and retransmitted. The peer sees a reliable
    /// channel. Not to be confused with the weight, [`priority`](Self::priority). Replaces
    /// [`max_retransmits`](Self::max_retransmits) and [`max_packet_life_time`](Self::max_packet_life_time).
    #[must_use]
    pub fn drop_priority(self, priority: u32) -> Self {
        self.reliability(Reliability::Priority(priority))
    }

    /// Sets [`send_policy`](Self#structfield.send_policy).
    #[must_use]
    pub fn send_policy(mut self, policy: SendPolicy) -> Self {
        self.send_policy = policy;
        self
    }

    /// Drops messages that cannot leave within this time after `send`: see [`SendPolicy::latency_budget`]. Keeps what
    /// [`drop_oldest`](Self::drop_oldest) has set.
    #[must_use]
    pub fn latency_budget(mut self, budget: Duration) -> Self {
        self.send_policy = self.send_policy.latency_budget(budget);
        self
    }

    /// Drops the oldest messages that wait when there are more than this, instead of refusing a new one: see
    /// [`SendPolicy::drop_oldest`]. Keeps what [`latency_budget`](Self::latency_budget) has set.
    #[must_use]
    pub fn drop_oldest(mut self, max: WaitingMax) -> Self {
        self.send_policy = self.send_policy.drop_oldest(max);
        self
    }

    /// Returns the weight of the channel's stream.
    pub(crate) fn weight(&self) -> u16 {
        if self.priority == 0 { NORMAL_PRIORITY } else { self.priority }
    }

    /// Sets the weight; see [`priority`](Self#structfield.priority).
    #[must_use]
    pub fn priority(mut self, priority: u16) -> Self {
        self.priority = priority;
        self
    }

    /// Returns options of a channel that both ends create, with this stream id.
    #[must_use]
    pub fn negotiated(mut self, id: u16) -> Self {
        self.negotiated = Some(id);
        self
    }

    /// Returns the options as the peer decodes them.
    pub(crate) fn normalized(mut self) -> Self {
        if let Reliability::MaxLifetime(lifetime) = self.reliability {
            let milliseconds = u64::from(milliseconds(lifetime));
            self.reliability = Reliability::MaxLifetime(Duration::from_millis(milliseconds));
        }
        self
    }

    /// Returns the length of label and protocol together, in bytes.
    pub(crate) fn text_len(&self) -> usize {
        self.label.len() + self.protocol.len()
    }
}

impl Default for ChannelOptions {
    /// Creates a reliable, ordered channel without a label.
    fn default() -> Self {
        Self::new(String::new())
    }
}

impl From<&str> for ChannelOptions {
    fn from(label: &str) -> Self {
        Self::new(label)
    }
}

impl From<String> for ChannelOptions {
    fn from(label: String) -> Self {
        Self::new(label)
    }
}

/// Converts a lifetime to the milliseconds of DATA_CHANNEL_OPEN, rounded up so that a short one does not become none,
/// 2³²−1 at most.
pub(crate) fn milliseconds(lifetime: Duration) -> u32 {
    u32::try_from(lifetime.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_rounded_up_and_capped() {
        assert_eq!(milliseconds(Duration::ZERO), 0);
        assert_eq!(milliseconds(Duration::from_nanos(1)), 1);
        assert_eq!(milliseconds(Duration::from_millis(5)), 5);
        assert_eq!(milliseconds(Duration::from_micros(5_001)), 6);
        assert_eq!(milliseconds(Duration::MAX), u32::MAX);
    }

    #[test]
    fn each_setter_changes_its_option_and_a_byte_stream_is_ordered_and_reliable() {
        let options = ChannelOptions::new("l").protocol("p").unordered().max_retransmits(3).priority(512).negotiated(7);
        let expected = ChannelOptions {
            label: "l".into(),
            protocol: "p".into(),
            ordered: false,
            reliability: Reliability::MaxRetransmits(3),
            priority: 512,
            negotiated: Some(7),
            send_policy: SendPolicy::default(),
        };
        assert_eq!(options, expected);
        let lifetime = Duration::from_millis(5);
        let timed = options.clone().max_packet_life_time(lifetime);
        assert_eq!(timed.reliability, Reliability::MaxLifetime(lifetime));
        let stream = options.byte_stream();
        assert!(stream.ordered && stream.reliability == Reliability::Reliable && stream.priority == 512);
        assert_eq!(stream.protocol, BYTE_STREAM_PROTOCOL);
    }
}
