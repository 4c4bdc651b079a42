//! How a channel is opened.

use std::time::Duration;

use narrowboat_sctp::Reliability;

/// How a channel is to be opened: W3C `RTCDataChannelInit` and the label.
///
/// A `&str` is a channel with that label, reliable and ordered:
///
/// ```
/// # use narrowboat::ChannelOptions;
/// let chat = ChannelOptions::from("chat");
/// let ticks = ChannelOptions::new("ticks").unordered().max_retransmits(0);
/// assert!(chat.ordered && !ticks.ordered);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ChannelOptions {
    /// A name that both ends see, not necessarily unique; at most 65,535 bytes.
    pub label: String,
    /// What is spoken on the channel; at most 65,535 bytes. Empty by default.
    pub protocol: String,
    /// Whether messages arrive in the order in which they were sent. Default true.
    pub ordered: bool,
    /// How hard each message is tried (RFC 3758). Default [`Reliability::Reliable`].
    pub reliability: Reliability,
    /// Weight among the association's channels (RFC 8831 §6.4): 128 is below normal, 256 normal and the default, 512 high,
    /// 1024 extra high. The peer gets the value, unless the channel is negotiated. It has no effect on the order in which
    /// this end sends yet: channels with something to send take turns, a message each.
    pub priority: u16,
    /// `Some(id)`: the other end makes the channel too, with this id (0 to 65,534), and nothing is exchanged for it.
    /// `None`, the default: the other end is told, and finds the channel in
    /// [`accept_channel`](crate::Association::accept_channel).
    pub negotiated: Option<u16>,
}

impl ChannelOptions {
    /// A reliable, ordered channel with this label.
    #[must_use]
    pub fn new(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            protocol: String::new(),
            ordered: true,
            reliability: Reliability::Reliable,
            priority: 256,
            negotiated: None,
        }
    }

    /// Names what is spoken on the channel.
    #[must_use]
    pub fn protocol(mut self, protocol: impl Into<String>) -> Self {
        self.protocol = protocol.into();
        self
    }

    /// Opens the channel for a [`ByteStream`](crate::ByteStream) that can be half closed: sets the protocol to
    /// [`ByteStream::PROTOCOL`](crate::ByteStream::PROTOCOL), and the channel to ordered and reliable.
    #[must_use]
    pub fn byte_stream(mut self) -> Self {
        self.ordered = true;
        self.reliability = Reliability::Reliable;
        self.protocol(crate::ByteStream::PROTOCOL)
    }

    /// Messages are delivered as they arrive, so that a lost one does not hold up those behind it.
    #[must_use]
    pub fn unordered(mut self) -> Self {
        self.ordered = false;
        self
    }

    /// A message is given up after this many retransmissions; 0 sends it once. The last one before a close may be sent once
    /// more, so that the close does not wait for an acknowledgement that the peer delays. Takes the place of a
    /// [`max_packet_life_time`](Self::max_packet_life_time): a channel has one or the other.
    #[must_use]
    pub fn max_retransmits(mut self, count: u32) -> Self {
        self.reliability = Reliability::MaxRetransmits(count);
        self
    }

    /// A message is given up this long after it was handed to `send`; the time that it waits for its turn counts. Takes the
    /// place of [`max_retransmits`](Self::max_retransmits).
    #[must_use]
    pub fn max_packet_life_time(mut self, time: Duration) -> Self {
        self.reliability = Reliability::MaxLifetime(time);
        self
    }

    /// Sets the weight; see [`priority`](Self#structfield.priority).
    #[must_use]
    pub fn priority(mut self, priority: u16) -> Self {
        self.priority = priority;
        self
    }

    /// Both ends make the channel, with this id.
    #[must_use]
    pub fn negotiated(mut self, id: u16) -> Self {
        self.negotiated = Some(id);
        self
    }

    pub(crate) fn into_core(self) -> narrowboat_dcep::ChannelOptions {
        narrowboat_dcep::ChannelOptions {
            label: self.label,
            protocol: self.protocol,
            ordered: self.ordered,
            reliability: self.reliability,
            priority: self.priority,
            negotiated: self.negotiated,
        }
    }

    pub(crate) fn from_core(options: &narrowboat_dcep::ChannelOptions) -> Self {
        let narrowboat_dcep::ChannelOptions { label, protocol, ordered, reliability, priority, negotiated } =
            options.clone();
        Self { label, protocol, ordered, reliability, priority, negotiated }
    }
}

impl Default for ChannelOptions {
    /// A reliable, ordered channel without a label.
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
