//! What the channels of one association may use.

use std::time::Duration;

use narrowboat_sctp::{ConfigError, StreamId};

/// Which stream ids this end opens channels on (RFC 8832 §6). The two ends must differ.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Even ids: the DTLS client, or the end that dialled.
    Client,
    /// Odd ids.
    Server,
}

impl Role {
    /// The other end's.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    /// Whether the end with this role opens channels on that stream.
    #[must_use]
    pub fn owns(self, stream: StreamId) -> bool {
        stream.is_multiple_of(2) == (self == Self::Client)
    }
}

/// Limits of the channels of one association. Every field has a default; the doc of each says why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelsConfig {
    /// Channels at most, of both ends together, closed ones that the application has not let go of included. The peer's
    /// are refused above it. Default 4,096, some 2 MiB: what a peer can make a service hold. 65,535 is all that there
    /// can be.
    pub channels_max: usize,
    /// Largest message that the peer takes (`a=max-message-size`, RFC 8841 §6), in bytes; 0 is no limit. Default 64
    /// MiB, what this crate takes by default.
    pub peer_message_size_max: usize,
    /// Largest message that this end takes, in bytes; a larger one closes its channel. The association's
    /// `receive_message_size_max`, which ends the association, should be above it. Default 64 MiB.
    pub message_size_max: usize,
    /// Bytes of labels and protocols of the peer's channels at most, as one can have 131,070. Channels are refused
    /// above it. Default 1 MiB.
    pub peer_label_bytes_max: usize,
    /// Bytes, as charged to the receive window, that may be held on streams without a channel until the application
    /// makes a negotiated one; the stream whose message goes above it is reset. Keep it well below the receive window.
    /// Default 64 KiB.
    pub unclaimed_bytes_max: usize,
    /// Time for which a channel that was closed here keeps messages that the application does not read, while nothing
    /// happens on it and the peer has not reset its side. They are discarded then, because they may hold the receive window
    /// closed that the peer needs to finish. Default 30 s. It does not bound the closing procedure, which ends when both
    /// ends have reset the stream, or with the association.
    pub close_timeout: Duration,
}

impl ChannelsConfig {
    /// The first field that is outside its range.
    ///
    /// # Errors
    ///
    /// Names the field and its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let value = self.channels_max;
        ConfigError::check((1..=65_535).contains(&value), "channels_max", value, "1 to 65535")?;
        let value = self.peer_message_size_max;
        ConfigError::check(value <= 1 << 30, "peer_message_size_max", value, "0 (no limit) to 1 GiB")?;
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
    use super::*;

    type Set = fn(&mut ChannelsConfig);

    #[test]
    fn the_defaults_are_valid_and_ranges_have_two_sides() {
        ChannelsConfig::default().validate().unwrap();
        let refused: [(&str, Set); 5] = [
            ("channels_max", |c| c.channels_max = 0),
            ("channels_max", |c| c.channels_max = 65_536),
            ("message_size_max", |c| c.message_size_max = 0),
            ("close_timeout", |c| c.close_timeout = Duration::from_millis(999)),
            ("close_timeout", |c| c.close_timeout = Duration::from_secs(601)),
        ];
        for (field, set) in refused {
            let mut config = ChannelsConfig::default();
            set(&mut config);
            assert_eq!(config.validate().unwrap_err().field, field);
        }
        let allowed: [Set; 3] =
            [|c| c.channels_max = 65_535, |c| c.peer_message_size_max = 0, |c| c.unclaimed_bytes_max = 0];
        for set in allowed {
            let mut config = ChannelsConfig::default();
            set(&mut config);
            config.validate().unwrap();
        }
    }

    #[test]
    fn each_id_belongs_to_one_role() {
        assert!(Role::Client.owns(0) && Role::Client.owns(65_534));
        assert!(Role::Server.owns(1) && Role::Server.owns(65_533));
        for id in 0..=u16::MAX {
            assert_ne!(Role::Client.owns(id), Role::Client.opposite().owns(id));
        }
    }
}
