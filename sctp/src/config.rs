//! Limits of an association, and the protocol parameters of RFC 9260 §16.

use std::num::NonZeroU16;
use std::sync::Arc;

use crate::time::Duration;
use crate::valid::{ConfigError, Valid, Validate};

/// Limits and protocol parameters of an association. Every field has a default that suits data channels; the doc of
/// each says why. Associations take a [`Valid`] one.
///
/// Write `AssociationConfig { mtu: 1400, ..AssociationConfig::default() }`: later versions may add fields.
#[derive(Clone, Debug, PartialEq)]
pub struct AssociationConfig {
    /// SCTP port of this end. Default 5000, what WebRTC uses everywhere (RFC 8841 §5).
    pub local_port: u16,
    /// SCTP port of the peer. Default 5000.
    pub remote_port: u16,
    /// Largest SCTP packet to start with, common header included, in bytes; 576 to 65,487. Default 1,172: with the 28
    /// bytes of UDP and IPv4 these are the 1,200 that may be sent before the path is known (RFC 8831 §5), and with the
    /// 48 bytes of UDP and IPv6 less than each path carries.
    pub mtu: usize,
    /// Largest SCTP packet to search for, in bytes; at most 65,487. A value below `mtu` counts as `mtu`. Default
    /// 65,487, so that the search finds the sizes of Ethernet, of jumbo frames and of a loopback interface.
    pub mtu_max: usize,
    /// Least size that packets may fall to if the path does not carry `mtu`, in bytes; 512 to `mtu`. Default `None`:
    /// that is `mtu`. Each fragment of a message fits a packet of this size, because fragments that were sent cannot be
    /// cut again (RFC 9260 §6.9). So a smaller one costs 16 or 20 bytes and some work for each fragment more. Messages
    /// that are never retransmitted are cut to the size that the path is known to carry.
    pub mtu_min: Option<usize>,
    /// Search for larger packets than `mtu` by probes, and fall back if the path stops to carry them (RFC 8899).
    /// Default true. Probes leave only while full packets do, and take a sixteenth of the traffic at most. They need
    /// datagrams that the network does not fragment, and an owner that asks for as many datagrams at a time as fit
    /// [`path_mtu`](crate::Association::path_mtu). Without the search no packet is larger than `mtu`, but for a message
    /// that was cut before [`set_path_mtu`](crate::Association::set_path_mtu).
    pub path_mtu_discovery: bool,
    /// Streams that this end would like to send on. Default 65,535, so that every data-channel id may be used; memory
    /// is only held for streams in use.
    pub outbound_streams: u16,
    /// Streams that the peer may send on. Default 65,535.
    pub inbound_streams: u16,
    /// Largest receive window: bytes that the peer may have unread here. The window begins with 256 KiB, and grows to
    /// four times what the path brings and the application reads in a round trip; after ten seconds without data it
    /// begins again. For an application that has not begun to read it grows to 1 MiB. So an idle peer and a slow reader
    /// cost little, and the default fills 1 Gbit/s at 100 ms (12.5 MB) with a queue of as much.
    ///
    /// An association holds at most a quarter more than this for the peer, all overheads included, or 25 KiB if that is
    /// more: a packet full of one-byte messages. The quarter is there for overheads however small the window is at the
    /// time, so 65,000 messages of a byte may wait to be read by default. Each costs 128 bytes beside its payload.
    ///
    /// All associations of an endpoint share a [`MemoryBudget`](crate::MemoryBudget). While half of it is in use,
    /// windows grow no more, and a quarter of the present window is there for overheads. At least 4,096 bytes and at
    /// least `mtu`, at most 1 GiB. Default 32 MiB.
    pub receive_window: u32,
    /// Largest message that is taken from the peer, in bytes. Default 64 MiB + 1. A larger one aborts the association
    /// (RFC 8831 §6.6), as does one that could never fit: messages above the receive window are delivered whole only
    /// because the window is kept open for the message in reassembly. While messages interleave (RFC 8260), unfinished
    /// messages may take as much together: 1.5 times this and the receive window, or 64 messages of this size, up to 16
    /// MiB, if that is more. A peer that begins more, and ends none, aborts the association, too.
    pub receive_message_size_max: usize,
    /// Largest send buffer, in bytes of memory. `send` reports that it is full once twice what is outstanding is in
    /// use, but at least a third of this or 16 MiB, and at most this. So a fast path has the buffer that fills it, and
    /// a slow one no long queue. It counts the messages of all streams that wait and the chunks that the peer has not
    /// acknowledged, or not skipped if they were abandoned. Each chunk counts with its payload and 352 bytes, so a
    /// message of a byte counts 353; each stream in use counts 256 bytes, and as much again once a message was
    /// abandoned on it, all of them seven eighths of the buffer at most. A receipt counts 384 bytes, and a message with
    /// a drop priority 160 more. The message that crosses the line is still accepted. `buffered_amount` counts the
    /// payload of what waits, as W3C defines it. 1 byte to 1 GiB. Default 48 MiB: a receive window of 32 MiB in full
    /// packets with their overhead, and 4 MiB that wait.
    pub send_buffer: usize,
    /// Bound for the messages that wait on one stream, so that a stream that does not move leaves room to the others.
    /// Each message counts with its payload and 352 bytes. Default 4 MiB.
    pub stream_send_buffer: usize,
    /// Largest message that `send` accepts, in bytes. Default 1 GiB; the data-channel layer lowers it to what the
    /// peer announced.
    pub send_message_size_max: usize,
    /// First retransmission time-out (RFC 9260 §16). Default 1 s.
    pub rto_initial: Duration,
    /// Least retransmission time-out. Default 400 ms, above the 200 ms that a peer may delay a SACK; RFC 9260 suggests
    /// 1 s, which real-time users feel and browsers do not keep.
    pub rto_min: Duration,
    /// Greatest retransmission time-out. Default 10 s: after an outage a connection is back within that time. RFC 9260
    /// suggests 60 s.
    pub rto_max: Duration,
    /// Longest delay of an acknowledgement that waits for a second packet; at most 500 ms (RFC 9260 §6.2). Default 20
    /// ms: long enough to travel with the answer to a request, short enough not to slow the start of a transfer.
    pub sack_delay_max: Duration,
    /// Time after which a peer that answers nothing is given up, idle or busy; 1 s to 24 h.
    /// Default 60 s: a change of the network, or a tunnel, takes less.
    ///
    /// The time counts from the last answer of the peer, and the peer has at least two thirds of it to answer. An idle
    /// peer is asked by HEARTBEATs at most a third of the time apart, so an idle association and a busy one end at the
    /// same moment. Without HEARTBEATs an idle peer is not asked, and the time begins when something is sent to it. A
    /// peer that answers is never given up, even if its window stays closed. Data of the peer is no answer: it does not
    /// show that the peer receives anything. Time in which this machine was suspended does not count. The peer is sent
    /// an ABORT.
    ///
    /// An outage of two fifths of this time is survived in any case, and with the defaults one of half a minute.
    ///
    /// RFC 9260 §8.1 counts time-outs in a row instead. Ten of them take 72 s with the default limits of the time-out
    /// and 6 min with those of the RFC; idle associations add intervals. Here `rto_min` and `rto_max` only decide how
    /// often a silent peer is asked: with the defaults after 0.4, 0.8, 1.6, 3.2 and 6.4 s, then each 10 s, and at least
    /// each quarter of this time.
    pub idle_timeout: Duration,
    /// Time-outs in a row after which the peer is given up even before `idle_timeout` (Association.Max.Retrans, RFC
    /// 9260 §8.1); 1 to 100. Default `None`: the time alone decides.
    pub association_max_retransmits: Option<u32>,
    /// Retransmissions of INIT and of COOKIE ECHO (Max.Init.Retransmits), and replacements of a cookie that has expired
    /// on its way. Default 8.
    pub init_max_retransmits: u32,
    /// Idle time after which the peer is asked for a sign of life by a HEARTBEAT (HB.interval), but a third of
    /// `idle_timeout` at most. Each wait is longer or shorter at random, so that the peers of a service do not ask all
    /// at the same time (RFC 9260 §8.3). `None` never asks: an idle peer that has vanished is then noticed when
    /// something is sent to it. Default 15 s; RFC 9260 suggests 30 s, NAT bindings often last 30 s.
    pub heartbeat_interval: Option<Duration>,
    /// Lifetime of a State Cookie (Valid.Cookie.Life). Default 60 s.
    pub cookie_lifetime: Duration,
    /// Most packets with new or retransmitted data that are sent in answer to one input (RFC 9260 §6.1, Max.Burst).
    /// Default 128: larger than the RFC's 4, because peers that read in batches acknowledge up to 64 packets at once,
    /// and in slow start each of them makes room for two.
    pub max_burst: u32,
    /// Congestion control algorithm. Default [`CongestionControl::Cubic`]: it makes better use of links with a short
    /// queue or an occasional random loss, and the TCP and QUIC traffic on the same link uses it too.
    pub congestion_control: CongestionControl,
    /// Order in which streams send (RFC 8260 §3). Default [`StreamScheduler::WeightedFairQueueing`], as RFC 8831 §6.4
    /// demands for data channels.
    pub stream_scheduler: StreamScheduler,
    /// Longest time that a graceful shutdown may last without progress (T5-shutdown-guard, RFC 9260 §9.2): without an
    /// acknowledgement of the data of this end, and after that without new data of the peer. Default 30 s: longer than
    /// any outage of RTO.Max, and short enough for an application that waits for the end of the association.
    pub shutdown_guard: Duration,
    /// Longest time that a peer may go on sending its queued data after this end's SHUTDOWN, even with progress; never
    /// less than `shutdown_guard`. Default 5 min, for 16 MiB at 0.5 Mbit/s. The association with a peer that sends for
    /// ever is aborted then.
    pub shutdown_max: Duration,
    /// Least number of refusals of a stream reset by the peer before the association is aborted. Default 10.
    pub reset_attempts_max: u32,
    /// Time for which the peer may refuse a stream reset before the association is aborted. Default 30 s. "In progress"
    /// counts as a refusal once the peer has acknowledged everything that it could wait for. A request without an
    /// answer is retransmitted for as long as the association lasts (RFC 6525 §5.1.1), which
    /// `idle_timeout` limits.
    pub reset_timeout: Duration,
    /// Offer and accept FORWARD-TSN (RFC 3758). Default true. For tests against peers without it.
    pub partial_reliability: bool,
    /// Offer and accept message interleaving (RFC 8260): with a peer that offers it, too, a message of any size holds
    /// up the other streams for no more than a packet. Each chunk then takes 4 bytes more. Offered only together with
    /// `partial_reliability`. Default true.
    pub message_interleaving: bool,
    /// Offer and accept RE-CONFIG (RFC 6525). Default true. For tests against peers without it.
    pub stream_reset: bool,
    /// Leave out the checksum of packets that travel over DTLS, if the peer accepts that, and accept such packets
    /// (RFC 9653). DTLS detects every change that CRC32c detects, so the checksum costs time and protects nothing. It
    /// has no effect over plain UDP. Default true; false for a peer that offers this extension and cannot do it.
    pub zero_checksum: bool,
}

impl Default for AssociationConfig {
    fn default() -> Self {
        Self {
            local_port: 5000,
            remote_port: 5000,
            mtu: 1172,
            mtu_max: 65_487,
            mtu_min: None,
            path_mtu_discovery: true,
            outbound_streams: 65_535,
            inbound_streams: 65_535,
            receive_window: 32 << 20,
            receive_message_size_max: (64 << 20) + 1,
            send_buffer: 48 << 20,
            stream_send_buffer: 4 << 20,
            send_message_size_max: 1 << 30,
            rto_initial: Duration::from_secs(1),
            rto_min: Duration::from_millis(400),
            rto_max: Duration::from_secs(10),
            sack_delay_max: Duration::from_millis(20),
            idle_timeout: Duration::from_secs(60),
            association_max_retransmits: None,
            init_max_retransmits: 8,
            heartbeat_interval: Some(Duration::from_secs(15)),
            cookie_lifetime: Duration::from_secs(60),
            max_burst: 128,
            congestion_control: CongestionControl::Cubic,
            stream_scheduler: StreamScheduler::WeightedFairQueueing,
            shutdown_guard: Duration::from_secs(30),
            shutdown_max: Duration::from_secs(300),
            reset_attempts_max: 10,
            reset_timeout: Duration::from_secs(30),
            partial_reliability: true,
            message_interleaving: true,
            stream_reset: true,
            zero_checksum: true,
        }
    }
}

/// Congestion control. Slow start with HyStart++ (RFC 9406), loss detection and pacing are the same with all of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum CongestionControl {
    /// RFC 9438: a loss takes three tenths of the window, and it grows back with time, whatever the round trip.
    #[default]
    Cubic,
    /// RFC 9260 §7.2: a loss takes half of the window, and it grows by a packet each round trip.
    NewReno,
    /// A model of the path, of the kind of `BBRv3` (draft-ietf-ccwg-bbr): packets leave at the rate that the path was
    /// seen to deliver, and hardly more is in flight than it holds without a queue. Random loss below a tenth does not
    /// slow it down.
    ///
    /// Choose it for interactive traffic beside bulk on one association, which is then not delayed by the bulk's queue
    /// in the network, and for paths that lose packets at random, such as radio links. Choose another one where the
    /// bandwidth changes within a second, or where many flows share a queue of a few packets. It paces by timers of
    /// about a millisecond.
    Bbr,
}

/// Order in which the streams of this end send (RFC 8260 §3). The peer does not learn it.
///
/// A stream may have its turn at the end of another's message, and between any two chunks if messages interleave. Bytes
/// count with the headers of their chunks. See
/// [`set_stream_priority`](crate::Association::set_stream_priority) for the priority of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum StreamScheduler {
    /// §3.1: messages leave in the order in which they were accepted.
    FirstComeFirstServed,
    /// §3.2: streams take turns, a message each, or a chunk each if messages interleave.
    RoundRobin,
    /// §3.3: streams take turns, a packet each, and no packet has chunks of two streams. So a lost packet holds up one
    /// stream only; but small messages on many streams need as many packets.
    RoundRobinPerPacket,
    /// §3.4: the stream with the highest priority sends; those of equal priority take turns. A stream waits for as long
    /// as one with a higher priority has something to send.
    Priority,
    /// §3.5: streams get the same number of bytes.
    FairCapacity,
    /// §3.6: streams get bytes in proportion to their priorities.
    #[default]
    WeightedFairQueueing,
}

impl Validate for AssociationConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        let second = Duration::from_secs(1);
        ConfigError::check(self.local_port != 0, "local_port", self.local_port, "1 to 65535")?;
        ConfigError::check(self.remote_port != 0, "remote_port", self.remote_port, "1 to 65535")?;
        ConfigError::check((576..=65_487).contains(&self.mtu), "mtu", self.mtu, "576 to 65487 bytes")?;
        let mtu_max = self.mtu_max;
        ConfigError::check((576..=65_487).contains(&mtu_max), "mtu_max", mtu_max, "576 to 65487 bytes")?;
        if let Some(mtu_min) = self.mtu_min {
            ConfigError::check((512..=self.mtu).contains(&mtu_min), "mtu_min", mtu_min, "512 bytes to mtu")?;
        }
        ConfigError::check(self.outbound_streams != 0, "outbound_streams", self.outbound_streams, "1 to 65535")?;
        ConfigError::check(self.inbound_streams != 0, "inbound_streams", self.inbound_streams, "1 to 65535")?;
        let window = self.receive_window;
        let fits = window >= 4096 && window as usize >= self.mtu && window <= 1 << 30;
        ConfigError::check(fits, "receive_window", window, "4096 bytes (and at least mtu) to 1 GiB")?;
        for (size, field) in [
            (self.receive_message_size_max, "receive_message_size_max"),
            (self.send_message_size_max, "send_message_size_max"),
            (self.send_buffer, "send_buffer"),
            (self.stream_send_buffer, "stream_send_buffer"),
        ] {
            ConfigError::check((1..=1 << 30).contains(&size), field, size, "1 byte to 1 GiB")?;
        }
        let rto = self.rto_min >= Duration::from_millis(10) && self.rto_min <= self.rto_initial;
        ConfigError::check(rto, "rto_min", self.rto_min, "10 ms to rto_initial")?;
        let rto = self.rto_initial <= self.rto_max && self.rto_max <= 120 * second;
        ConfigError::check(rto, "rto_max", self.rto_max, "rto_initial to 120 s")?;
        let delay = self.sack_delay_max;
        ConfigError::check(delay <= second / 2, "sack_delay_max", delay, "0 to 500 ms (RFC 9260 §6.2)")?;
        let timeout = self.idle_timeout;
        let is_valid = (second..=86_400 * second).contains(&timeout);
        ConfigError::check(is_valid, "idle_timeout", timeout, "1 s to 24 h")?;
        if let Some(retransmits) = self.association_max_retransmits {
            let is_valid = (1..=100).contains(&retransmits);
            ConfigError::check(is_valid, "association_max_retransmits", retransmits, "1 to 100, or None")?;
        }
        let retransmits = self.init_max_retransmits;
        ConfigError::check((1..=100).contains(&retransmits), "init_max_retransmits", retransmits, "1 to 100")?;
        if let Some(interval) = self.heartbeat_interval {
            ConfigError::check(interval >= second / 10, "heartbeat_interval", interval, "100 ms or more, or None")?;
        }
        let lifetime = self.cookie_lifetime;
        ConfigError::check((second..=600 * second).contains(&lifetime), "cookie_lifetime", lifetime, "1 to 600 s")?;
        ConfigError::check((4..=1024).contains(&self.max_burst), "max_burst", self.max_burst, "4 to 1024 packets")?;
        let guard = self.shutdown_guard;
        ConfigError::check((second..=600 * second).contains(&guard), "shutdown_guard", guard, "1 to 600 s")?;
        let max = self.shutdown_max;
        ConfigError::check((second..=3600 * second).contains(&max), "shutdown_max", max, "1 s to 1 h")?;
        let attempts = self.reset_attempts_max;
        ConfigError::check((1..=100).contains(&attempts), "reset_attempts_max", attempts, "1 to 100")?;
        let timeout = self.reset_timeout;
        ConfigError::check((second..=600 * second).contains(&timeout), "reset_timeout", timeout, "1 to 600 s")
    }
}

impl Valid<AssociationConfig> {
    /// Returns the same configuration with another [`remote_port`](AssociationConfig::remote_port).
    #[must_use]
    pub fn with_remote_port(&self, port: NonZeroU16) -> Self {
        if self.remote_port == port.get() {
            return self.clone();
        }
        let config = AssociationConfig { remote_port: port.get(), ..AssociationConfig::clone(self) };
        debug_assert_eq!(config.validate(), Ok(()), "any port but 0 is valid");
        Self(Arc::new(config))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_every_range_has_two_sides() {
        AssociationConfig::default().validate().unwrap();
        type Spoil = fn(&mut AssociationConfig);
        let refused: [(&str, Spoil); 18] = [
            ("local_port", |c| c.local_port = 0),
            ("mtu", |c| c.mtu = 575),
            ("mtu", |c| c.mtu = 65_488),
            ("mtu_max", |c| c.mtu_max = 575),
            ("mtu_max", |c| c.mtu_max = 65_488),
            ("mtu_min", |c| c.mtu_min = Some(511)),
            ("mtu_min", |c| c.mtu_min = Some(c.mtu + 1)),
            ("receive_window", |c| c.receive_window = 4095),
            ("send_buffer", |c| c.send_buffer = 0),
            ("rto_min", |c| c.rto_min = Duration::from_secs(2)),
            ("sack_delay_max", |c| c.sack_delay_max = Duration::from_millis(501)),
            ("heartbeat_interval", |c| c.heartbeat_interval = Some(Duration::ZERO)),
            ("idle_timeout", |c| c.idle_timeout = Duration::from_millis(999)),
            ("idle_timeout", |c| c.idle_timeout = Duration::from_millis(86_400_001)),
            ("association_max_retransmits", |c| c.association_max_retransmits = Some(0)),
            ("association_max_retransmits", |c| c.association_max_retransmits = Some(101)),
            ("max_burst", |c| c.max_burst = 3),
            ("shutdown_max", |c| c.shutdown_max = Duration::ZERO),
        ];
        for (field, set) in refused {
            let mut config = AssociationConfig::default();
            set(&mut config);
            assert_eq!(config.validate().unwrap_err().field, field);
        }
    }
}
