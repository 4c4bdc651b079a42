//! Limits of the channels of one association, and the role of an end.

use narrowboat_sctp::time::Duration;
use narrowboat_sctp::{ConfigError, StreamId, Validate};

/// Upper bound of [`peer_message_size_max`](ChannelsConfig::peer_message_size_max): 1 GiB, which is all that an
/// association sends.
pub const PEER_MESSAGE_SIZE_MAX: usize = 1 << 30;

/// Role of an end, which decides the stream ids that it opens channels on (RFC 8832 §6). The two ends must differ.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Even ids: the DTLS client, or the end that connected.
    Client,
    /// Odd ids.
    Server,
}

impl Role {
    /// Returns the role of the other end.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    /// Returns `true` if the end with this role opens channels on this stream.
    #[must_use]
    pub fn owns(self, stream: StreamId) -> bool {
        stream.0.is_multiple_of(2) == (self == Self::Client)
    }
}

/// Limits of the channels of one association. Every field has a default; the doc of each says why.
/// [`DataChannels`](crate::DataChannels) take a [`Valid`](narrowboat_sctp::Valid) one.
///
/// Write `ChannelsConfig { channels_max: 100, ..ChannelsConfig::default() }`: later versions may add fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelsConfig {
    /// Maximum number of channels of both ends together, including closed ones that the application has not released. A
    /// channel of the peer above it is refused. Default 4,096, which a peer can make a service hold in some 2 MiB;
    /// 65,535 at most, the number of stream ids.
    pub channels_max: usize,
    /// Largest message that the peer accepts (`a=max-message-size`, RFC 8841 §6), in bytes; 0 means no limit,
    /// [`PEER_MESSAGE_SIZE_MAX`] is the largest. Default 64 MiB, what this crate accepts by default.
    pub peer_message_size_max: usize,
    /// Largest message that this end accepts, in bytes; a larger one closes its channel. The association's
    /// `receive_message_size_max`, which ends the association, should be above it. Default 64 MiB.
    pub message_size_max: usize,
    /// Maximum sum of the label and protocol bytes of the peer's channels, as one can have 131,070. A channel above it
    /// is refused. Default 1 MiB.
    pub peer_label_bytes_max: usize,
    /// Maximum bytes, as charged to the receive window, that are held on streams without a channel until the
    /// application creates a negotiated one. The stream of a message above it is reset. It should be well below the
    /// receive window. Default 64 KiB.
    pub unclaimed_bytes_max: usize,
    /// Time after which the unread messages of a channel that was closed here are discarded, if nothing happens on the
    /// channel and the peer has not reset its side: they may hold the receive window closed that the peer needs to
    /// finish. Default 30 s, range 1 to 600 s. The time does not bound the closing procedure, which ends when both ends
    /// have reset the stream, or with the association.
    pub close_timeout: Duration,
}

impl Validate for ChannelsConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        let value = self.channels_max;
        ConfigError::check((1..=65_535).contains(&value), "channels_max", value, "1 to 65535")?;
        let value = self.peer_message_size_max;
        let is_valid = value <= PEER_MESSAGE_SIZE_MAX;
        ConfigError::check(is_valid, "peer_message_size_max", value, "0 (no limit) to 1 GiB")?;
        let value = self.message_size_max;
        ConfigError::check((1..=1 << 30).contains(&value), "message_size_max", value, "1 byte to 1 GiB")?;
        let value = self.peer_label_bytes_max;
        ConfigError::check(value <= 1 << 30, "peer_label_bytes_max", value, "0 to 1 GiB")?;
        let value = self.unclaimed_bytes_max;
        ConfigError::check(value <= 1 << 30, "unclaimed_bytes_max", value, "0 to 1 GiB")?;
        let value = self.close_timeout;
        let range = Duration::from_secs(1)..=Duration::from_secs(600);
        ConfigError::check(range.contains(&value), "close_timeout", value, "1 to 600 s")
    }
}

impl Default for ChannelsConfig {
    fn default() -> Self {
        Self {
            channels_max: 4_096,
            peer_message_size_max: 64 << 20,
            message_size_max: 64 << 20,
            peer_label_bytes_max: 1 << 20,
            unclaimed_bytes_max: 64 << 10,
            close_timeout: Duration::from_secs(30),
        }
    }
}

#[cfg(test)]
mod tests {
    use narrowboat_sctp::Valid;

    use super::*;

    type Set = fn(&mut ChannelsConfig);

    #[test]
    fn the_defaults_are_valid_and_ranges_have_two_sides() {
        assert_eq!(*Valid::<ChannelsConfig>::default(), ChannelsConfig::default());
        let refused: [(&str, Set); 6] = [
            ("peer_message_size_max", |c| c.peer_message_size_max = PEER_MESSAGE_SIZE_MAX + 1),
            ("channels_max", |c| c.channels_max = 0),
            ("channels_max", |c| c.channels_max = 65_536),
            ("message_size_max", |c| c.message_size_max = 0),
            ("close_timeout", |c| c.close_timeout = Duration::from_millis(999)),
            ("close_timeout", |c| c.close_timeout = Duration::from_secs(601)),
        ];
        for (field, set) in refused {
            let mut config = ChannelsConfig::default();
            set(&mut config);
            assert_eq!(Valid::new(config).unwrap_err().field, field);
        }
        let allowed: [Set; 3] =
            [|c| c.channels_max = 65_535, |c| c.peer_message_size_max = 0, |c| c.unclaimed_bytes_max = 0];
        for set in allowed {
            let mut config = ChannelsConfig::default();
            set(&mut config);
            Valid::new(config).unwrap();
        }
    }

    #[test]
    fn each_id_belongs_to_one_role() {
        assert!(Role::Client.owns(StreamId(0)) && Role::Client.owns(StreamId(65_534)));
        assert!(Role::Server.owns(StreamId(1)) && Role::Server.owns(StreamId(65_533)));
        for id in 0..=u16::MAX {
            assert_ne!(Role::Client.owns(StreamId(id)), Role::Client.opposite().owns(StreamId(id)));
        }
    }
}
