//! Limits of an endpoint, all in one place.

use std::sync::Arc;

use narrowboat_sctp::ConfigError;

/// Longest DATA_CHANNEL_OPEN: label and protocol of 65,535 bytes each (RFC 8832 §5.1). A peer may always send one,
/// however small the messages that this end takes.
const OPEN_SIZE_MAX: usize = 12 + 2 * 65_535;

/// What an endpoint, its associations and their channels may use. Every limit has a default and a reason; the ranges
/// are checked when the endpoint is made.
///
/// ```
/// # use narrowboat::Config;
/// let config = Config { message_size_max: 256 << 10, associations_max: 100, ..Config::default() };
/// config.validate()?;
/// # Ok::<_, narrowboat::error::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Each association: windows, buffers, timers, retransmissions. Its `receive_message_size_max` is taken from
    /// [`message_size_max`](Self::message_size_max).
    pub association: narrowboat_sctp::Config,
    /// Largest message that this end takes, in bytes; 1 byte to 1 GiB - 1. Default 64 MiB. A message is delivered
    /// whole, so this is also what one message may make this end hold. A peer that sends a larger one is aborted (RFC
    /// 8831 §6.6).
    pub message_size_max: usize,
    /// Largest message that the peer takes, in bytes; `send` refuses larger ones. 0 is no limit. Default 64 MiB, what
    /// another narrowboat takes by default: plain UDP has no signalling in which a peer could say otherwise.
    pub peer_message_size_max: usize,
    /// Channels of one association at the same time, those that the peer opens included. Default 65,535, as many as
    /// there are stream ids; a channel costs memory only while it exists.
    pub channels_max: usize,
    /// Whether peers may open associations to this endpoint. Default true.
    pub accept: bool,
    /// Associations at the same time. Default 65,536.
    pub associations_max: usize,
    /// Of those, from one IP address. Default 1,024: a NAT with many users passes, one host cannot take the whole
    /// table.
    pub associations_per_address_max: usize,
    /// Handshakes and packets of unknown associations that are answered each second. Default 10,000: a flood with
    /// forged sources costs a bounded share of one core and of the uplink.
    pub answers_per_second_max: u32,
    /// Associations that peers have made and [`Endpoint::accept`](crate::Endpoint::accept) has not taken yet. One more
    /// is refused with an ABORT. Default 1,024.
    pub accept_queue_max: usize,
    /// Bytes that the system is asked to keep for the socket's arriving datagrams; it may grant less (Linux:
    /// `net.core.rmem_max`). Default 4 MiB, 30 ms at 1 Gbit/s.
    pub socket_receive_buffer: usize,
    /// The same for leaving datagrams (Linux: `net.core.wmem_max`). Default 4 MiB.
    pub socket_send_buffer: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            association: narrowboat_sctp::Config::default(),
            message_size_max: 64 << 20,
            peer_message_size_max: 64 << 20,
            channels_max: 65_535,
            accept: true,
            associations_max: 65_536,
            associations_per_address_max: 1024,
            answers_per_second_max: 10_000,
            accept_queue_max: 1024,
            socket_receive_buffer: 4 << 20,
            socket_send_buffer: 4 << 20,
        }
    }
}

impl Config {
    /// Checks every range.
    ///
    /// # Errors
    ///
    /// The first field that is outside its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        fn check(
            ok: bool,
            field: &'static str,
            value: impl ToString,
            range: &'static str,
        ) -> Result<(), ConfigError> {
            if ok { Ok(()) } else { Err(ConfigError { field, value: value.to_string(), range }) }
        }
        let size = self.message_size_max;
        check((1..1 << 30).contains(&size), "message_size_max", size, "1 byte to 1 GiB - 1")?;
        let size = self.peer_message_size_max;
        check(size < 1 << 30, "peer_message_size_max", size, "0 (no limit) to 1 GiB - 1")?;
        check((1..=65_535).contains(&self.channels_max), "channels_max", self.channels_max, "1 to 65535")?;
        check(self.associations_max != 0, "associations_max", self.associations_max, "1 or more")?;
        let per_address = self.associations_per_address_max;
        check(per_address != 0, "associations_per_address_max", per_address, "1 or more")?;
        check(self.answers_per_second_max != 0, "answers_per_second_max", self.answers_per_second_max, "1 or more")?;
        check(self.accept_queue_max != 0, "accept_queue_max", self.accept_queue_max, "1 or more")?;
        for (size, field) in [
            (self.socket_receive_buffer, "socket_receive_buffer"),
            (self.socket_send_buffer, "socket_send_buffer"),
        ] {
            check((65_536..=1 << 30).contains(&size), field, size, "64 KiB to 1 GiB")?;
        }
        self.association().validate()
    }

    /// What the association layer is given.
    pub(crate) fn association(&self) -> narrowboat_sctp::Config {
        narrowboat_sctp::Config {
            receive_message_size_max: self.message_size_max.max(OPEN_SIZE_MAX),
            ..self.association.clone()
        }
    }

    pub(crate) fn endpoint(&self) -> narrowboat_sctp::EndpointConfig {
        narrowboat_sctp::EndpointConfig {
            association: Arc::new(self.association()),
            accept: self.accept,
            associations_max: self.associations_max,
            associations_per_address_max: self.associations_per_address_max,
            answers_per_second_max: self.answers_per_second_max,
        }
    }

    pub(crate) fn channels(&self) -> narrowboat_dcep::Config {
        narrowboat_dcep::Config {
            channels_max: self.channels_max,
            peer_message_size_max: self.peer_message_size_max,
            message_size_max: self.message_size_max,
        }
    }

    /// Largest message that may be sent.
    pub(crate) fn send_size_max(&self) -> usize {
        let local = self.association.send_message_size_max;
        if self.peer_message_size_max == 0 { local } else { local.min(self.peer_message_size_max) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_every_range_has_two_sides() {
        Config::default().validate().unwrap();
        let refused: [(&str, fn(&mut Config)); 11] = [
            ("message_size_max", |c| c.message_size_max = 0),
            ("message_size_max", |c| c.message_size_max = 1 << 30),
            ("peer_message_size_max", |c| c.peer_message_size_max = 1 << 30),
            ("channels_max", |c| c.channels_max = 65_536),
            ("associations_max", |c| c.associations_max = 0),
            ("associations_per_address_max", |c| c.associations_per_address_max = 0),
            ("answers_per_second_max", |c| c.answers_per_second_max = 0),
            ("accept_queue_max", |c| c.accept_queue_max = 0),
            ("socket_receive_buffer", |c| c.socket_receive_buffer = 65_535),
            ("socket_send_buffer", |c| c.socket_send_buffer = (1 << 30) + 1),
            ("mtu", |c| c.association.mtu = 0),
        ];
        for (field, set) in refused {
            let mut config = Config::default();
            set(&mut config);
            assert_eq!(config.validate().unwrap_err().field, field);
        }
        Config { message_size_max: 1, ..Config::default() }.validate().unwrap();
    }
}
