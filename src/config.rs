//! Limits of an endpoint, all in one place.

use std::time::Duration;

use narrowboat_dcep::ChannelsConfig;
use narrowboat_sctp::{AssociationConfig, ConfigError, EndpointConfig, Valid, Validate};

use crate::memory::default_memory_max;

/// Longest DATA_CHANNEL_OPEN: label and protocol of 65,535 bytes each (RFC 8832 §5.1). A peer may always send one,
/// however small the messages that this end takes.
const OPEN_SIZE_MAX: usize = 12 + 2 * 65_535;

/// Firefox checks every 4 to 6 s: an answered check may be lost.
const CONSENT_TIMEOUT_MIN: Duration = Duration::from_secs(10);
/// RFC 7675 §5.1.
const CONSENT_TIMEOUT_MAX: Duration = Duration::from_secs(30);

/// Limits of an endpoint, its associations and their channels. Every limit has a default and a reason; the ranges are
/// checked when the endpoint is created.
///
/// ```
/// # use narrowboat::Config;
/// let mut config = Config { associations_max: 100, ..Config::default() };
/// config.channels.message_size_max = 256 << 10;
/// config.validate()?;
/// # Ok::<_, narrowboat::error::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Each association: windows, buffers, timers, retransmissions. Its `receive_message_size_max` is raised so far
    /// that a message that is too large for [`channels`](Self::channels) costs its channel, not the association.
    pub association: AssociationConfig,
    /// The channels of each association: their number, the size of their messages, the time that a close may take.
    pub channels: ChannelsConfig,
    /// Time without an answer after which a peer is given up; 10 to 30 s. Default `None`:
    /// [`idle_timeout`](narrowboat_sctp::AssociationConfig::idle_timeout) decides.
    ///
    /// - Over DTLS this is the lifetime of consent (RFC 7675 §5.1). If it is not set, it is the idle time-out, but at
    ///   least 10 s and at most 30 s, so 30 s by default. Consent is renewed by the checks that a browser makes,
    ///   Chromium every 2.7 s and Firefox every 4 to 6 s, or by the answers to those of a client of this crate. With
    ///   10 s, one lost check of Firefox may end an association; with 13 s, two in a row do.
    /// - Over plain UDP a peer is given up after the shorter of this time and the idle time-out.
    ///
    /// A page that ends its connection, or is left, is noticed at once; this limit is for peers that vanish. A short
    /// time ends associations in outages that they would have survived.
    pub consent_timeout: Option<Duration>,
    /// Largest datagram with a DTLS record to search for, in bytes; 576 to 16,421. Default 2,048, because the
    /// connection of a Chromium that gets a larger one is said to end. Between endpoints of this crate it may be 9,000
    /// on a network of jumbo frames. A value below `AssociationConfig::mtu` counts as that, and `mtu_max` there is a
    /// limit, too.
    pub dtls_mtu_max: usize,
    /// Associations at the same time. Default 65,536.
    pub associations_max: usize,
    /// Of those, from one IP address. Default 1,024: a NAT with many users passes, one host cannot take the whole
    /// table.
    pub associations_per_address_max: usize,
    /// INITs over plain UDP that are answered in a second, at most (RFC 9260 §5.1). Default 50,000. INITs beyond the
    /// limit are dropped and counted, and come again. The limit is shared out equally by source (IPv4 address, IPv6
    /// prefix of 64 bits); a source that needs more than its share, such as a NAT, competes for a fiftieth of the
    /// limit, of which up to ten seconds are saved up. So a host that floods gets a burst of 10,000 answers, then 1,000
    /// in a second, and does not keep others from connecting. Behind a proxy all clients are one source. Against a
    /// flood whose sources are invented anew for each packet, newcomers get in only if the limit is above the flood's
    /// rate. Each answer costs a system call: a lower limit leaves more of the processor to established associations.
    pub inits_per_second_max: u32,
    /// Packets of unknown associations that are answered in a second, at most (RFC 9260 §8.4). Default 5,000, shared
    /// out in the same way and apart from the handshakes: one host gets a burst of 1,000 answers, then 100 in a second.
    /// A sender that gets no answer finds out by its time-outs.
    pub out_of_the_blue_per_second_max: u32,
    /// Bytes that all associations together may hold: what has arrived and was not read, what was sent and not
    /// acknowledged, and 24 KiB for each. When they are used up, `connect` fails, a peer's INIT is answered with an
    /// ABORT "Out of Resource", `send` waits, and receive windows close until something is read; nothing is ended. The
    /// windows of new peers are small and grow with use, and a quarter is kept for associations that hold less than 1
    /// MiB. Default a quarter of the memory of the machine or container, 1 GiB where the system does not say; at least
    /// 1 MiB.
    pub memory_max: usize,
    /// Associations that peers have opened and [`Endpoint::accept`](crate::Endpoint::accept) has not returned yet. One
    /// more is refused with an ABORT. Default 1,024.
    pub accept_queue_max: usize,
    /// Bytes that the system is asked to keep for the socket's arriving datagrams; it may grant less (Linux:
    /// `net.core.rmem_max`). 64 KiB to 1 GiB. Default 4 MiB: 3,640 datagrams of 1,200 bytes in Linux, or 35 ms at 1
    /// Gbit/s, which covers a task that waits for its turn. To survive 100 ms without a turn, or a sender that puts
    /// 12.5 MB on such a path at once, it takes 12 MiB. Receive windows bound what arrives for each association, not
    /// what all of them send at once.
    pub socket_receive_buffer: usize,
    /// The same for leaving datagrams (Linux: `net.core.wmem_max`). Default 4 MiB: packets are paced, so a full buffer
    /// means that the interface is slower than the path, and the driver waits.
    pub socket_send_buffer: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            association: AssociationConfig::default(),
            channels: ChannelsConfig::default(),
            consent_timeout: None,
            dtls_mtu_max: 2048,
            associations_max: 65_536,
            associations_per_address_max: 1024,
            inits_per_second_max: 50_000,
            out_of_the_blue_per_second_max: 5000,
            memory_max: default_memory_max(),
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
        ConfigError::check(self.associations_max != 0, "associations_max", self.associations_max, "1 or more")?;
        let per_address = self.associations_per_address_max;
        ConfigError::check(per_address != 0, "associations_per_address_max", per_address, "1 or more")?;
        for (rate, field) in [
            (self.inits_per_second_max, "inits_per_second_max"),
            (self.out_of_the_blue_per_second_max, "out_of_the_blue_per_second_max"),
        ] {
            ConfigError::check(rate != 0, field, rate, "1 or more")?;
        }
        if let Some(timeout) = self.consent_timeout {
            let is_valid = (CONSENT_TIMEOUT_MIN..=CONSENT_TIMEOUT_MAX).contains(&timeout);
            ConfigError::check(is_valid, "consent_timeout", timeout, "10 to 30 s, or None")?;
        }
        let mtu_max = self.dtls_mtu_max;
        ConfigError::check((576..=16_421).contains(&mtu_max), "dtls_mtu_max", mtu_max, "576 to 16421 bytes")?;
        ConfigError::check(self.memory_max >= 1 << 20, "memory_max", self.memory_max, "1 MiB or more")?;
        ConfigError::check(self.accept_queue_max != 0, "accept_queue_max", self.accept_queue_max, "1 or more")?;
        for (size, field) in
            [(self.socket_receive_buffer, "socket_receive_buffer"), (self.socket_send_buffer, "socket_send_buffer")]
        {
            ConfigError::check((65_536..=1 << 30).contains(&size), field, size, "64 KiB to 1 GiB")?;
        }
        self.channels.validate()?;
        self.association().validate()
    }

    /// Returns the limits of the association layer.
    pub(crate) fn association(&self) -> AssociationConfig {
        let association = &self.association;
        AssociationConfig {
            receive_message_size_max: association
                .receive_message_size_max
                .max(self.channels.message_size_max.saturating_add(1).min(1 << 30))
                .max(OPEN_SIZE_MAX),
            ..association.clone()
        }
    }

    /// Returns the lifetime of consent over DTLS.
    pub(crate) fn consent(&self) -> Duration {
        let from_idle = self.association.idle_timeout.clamp(CONSENT_TIMEOUT_MIN, CONSENT_TIMEOUT_MAX);
        self.consent_timeout.unwrap_or(from_idle)
    }

    /// Returns the limits of an endpoint over plain UDP.
    pub(crate) fn endpoint(&self, accept: bool) -> Result<EndpointConfig, ConfigError> {
        Ok(EndpointConfig {
            association: Valid::new(AssociationConfig {
                idle_timeout: self.consent_timeout.unwrap_or(Duration::MAX).min(self.association.idle_timeout),
                ..self.association()
            })?,
            accept,
            associations_max: self.associations_max,
            associations_per_address_max: self.associations_per_address_max,
            inits_per_second_max: self.inits_per_second_max,
            out_of_the_blue_per_second_max: self.out_of_the_blue_per_second_max,
            memory_max: self.memory_max,
        })
    }

    /// Returns the limits of the channels of one association.
    pub(crate) fn channel_limits(&self) -> Result<ChannelLimits, ConfigError> {
        let channels = Valid::new(self.channels.clone())?;
        Ok(ChannelLimits { channels, local_send_size_max: self.association.send_message_size_max })
    }
}

impl Validate for Config {
    fn validate(&self) -> Result<(), ConfigError> {
        Self::validate(self)
    }
}

/// Limits of the channels of one association: those of the endpoint, and what the peer says.
#[derive(Clone, Debug)]
pub(crate) struct ChannelLimits {
    pub(crate) channels: Valid<ChannelsConfig>,
    local_send_size_max: usize,
}

impl ChannelLimits {
    /// Lowers the limit to the largest message that the peer takes; 0 is no limit.
    pub(crate) fn for_peer(&self, message_size_max: usize) -> Self {
        let peer = message_size_max.min(narrowboat_dcep::PEER_MESSAGE_SIZE_MAX);
        let limited = self.channels.with(|channels| {
            let max = &mut channels.peer_message_size_max;
            *max = match (*max, peer) {
                (0, limit) | (limit, 0) => limit,
                (local, peer) => local.min(peer),
            };
        });
        // A value below the limit is in range, so that there is no error to return.
        debug_assert!(limited.is_ok(), "{limited:?}");
        Self { channels: limited.unwrap_or_else(|_| self.channels.clone()), ..self.clone() }
    }

    /// Returns the largest message that may be sent.
    pub(crate) fn send_size_max(&self) -> usize {
        match self.channels.peer_message_size_max {
            0 => self.local_send_size_max,
            peer => self.local_send_size_max.min(peer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_every_range_has_two_sides() {
        Config::default().validate().unwrap();
        type Spoil = fn(&mut Config);
        let refused: [(&str, Spoil); 14] = [
            ("message_size_max", |c| c.channels.message_size_max = 0),
            ("associations_max", |c| c.associations_max = 0),
            ("associations_per_address_max", |c| c.associations_per_address_max = 0),
            ("inits_per_second_max", |c| c.inits_per_second_max = 0),
            ("out_of_the_blue_per_second_max", |c| c.out_of_the_blue_per_second_max = 0),
            ("consent_timeout", |c| c.consent_timeout = Some(Duration::from_millis(9999))),
            ("consent_timeout", |c| c.consent_timeout = Some(Duration::from_millis(30_001))),
            ("dtls_mtu_max", |c| c.dtls_mtu_max = 575),
            ("dtls_mtu_max", |c| c.dtls_mtu_max = 16_422),
            ("memory_max", |c| c.memory_max = (1 << 20) - 1),
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
    }

    #[test]
    fn a_message_above_the_channels_limit_is_below_the_associations() {
        for size in [1, 64 << 20, (1 << 30) - 1] {
            let mut config = Config::default();
            config.channels.message_size_max = size;
            config.validate().unwrap();
            assert!(config.association().receive_message_size_max > size);
        }
    }

    #[test]
    fn one_idle_timeout_is_the_limit_of_both_kinds_unless_consent_is_set() {
        let second = Duration::from_secs(1);
        for (consent, idle, plain, secure) in [
            (None, 60, 60, 30),
            (None, 20, 20, 20),
            (None, 5, 5, 10),
            (Some(15 * second), 60, 15, 15),
            (Some(15 * second), 5, 5, 15),
        ] {
            let mut config = Config { consent_timeout: consent, ..Config::default() };
            config.association.idle_timeout = idle * second;
            config.validate().unwrap();
            assert_eq!(config.endpoint(true).unwrap().association.idle_timeout, plain * second);
            assert_eq!(config.consent(), secure * second);
        }
        assert_eq!(Config::default().association.idle_timeout, 60 * second);
    }
}
