//! Counters of an association. Plain numbers that only grow, but for the gauges at the end.

use crate::message::AbandonReason;
use crate::time::Duration;
use crate::wire::Init;

crate::drop_reasons! {
    /// Reason for which something from the peer was dropped. Nothing is dropped without being counted.
    pub enum PacketDropReason;
    /// Number of drops for each [`PacketDropReason`].
    pub struct PacketDrops;

    /// Shorter than a common header and one chunk header, or with a zero port.
    BadPacket,
    /// The CRC32c does not match.
    BadChecksum,
    /// Not for this association's ports.
    WrongPorts,
    /// The Verification Tag does not match (RFC 9260 §8.5).
    WrongTag,
    /// A chunk whose length is impossible: it and the rest of the packet are ignored.
    BadChunkLength,
    /// A chunk whose contents do not parse or contradict themselves.
    Malformed,
    /// A chunk of unknown type (RFC 9260 §3.2).
    UnknownChunk,
    /// An optional parameter of an INIT or INIT ACK whose value has the wrong length. The rest of the chunk is used.
    MalformedParameter,
    /// A parameter of an INIT or INIT ACK of unknown type (RFC 9260 §3.2.1). The rest of the chunk is used, up to a
    /// parameter that ends it.
    UnknownParameter,
    /// A chunk that has no meaning in this state.
    UnexpectedChunk,
    /// A State Cookie that this end did not make, or made for someone else.
    BadCookie,
    /// A State Cookie that is too old.
    StaleCookie,
    /// A chunk that has been received before.
    Duplicate,
    /// DATA beyond what the window can ever hold, or when the window is full.
    WindowOverrun,
    /// DATA received out of sequence and discarded again to make room for DATA before it (RFC 9260 §6.2).
    Reneged,
    /// DATA on a stream that does not exist.
    BadStream,
    /// A SACK older than one already seen, or one whose gap blocks contradict themselves.
    BadSack,
    /// A HEARTBEAT ACK that answers nothing that was asked.
    BadHeartbeatAck,
    /// A RE-CONFIG request or answer out of sequence.
    BadReconfig,
    /// A FORWARD-TSN that points backwards or beyond the window.
    BadForwardTsn,
    /// More answers were due than one packet may carry.
    AnswerLimit,
    /// No association, no answer (RFC 9260 §8.4).
    OutOfTheBlue,
    /// A limit on associations or on handshakes was reached.
    LimitReached,
    /// The association is closed.
    Closed,
}

impl PacketDrops {
    /// Counts the parameters of an INIT or INIT ACK that are not used.
    pub(crate) fn add_parameters(&mut self, init: &Init<'_>) {
        self.add_times(PacketDropReason::MalformedParameter, init.malformed_parameters.into());
        self.add_times(PacketDropReason::UnknownParameter, init.unknown_parameters.into());
    }
}

/// Number of messages that were abandoned for one reason, or for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AbandonCount {
    /// Messages of which nothing was sent (RFC 7496 §4.3, `sprstat_abandoned_unsent`).
    pub unsent: u64,
    /// Messages of which at least a part was sent (`sprstat_abandoned_sent`).
    pub sent: u64,
    /// Bytes in these messages, whatever was sent of them.
    pub bytes: u64,
}

impl AbandonCount {
    /// Returns the number of messages, sent or not.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.unsent + self.sent
    }
}

/// Messages that were abandoned, by the rule that they fell under (RFC 7496 §4.3, §4.4). Those that the application
/// discarded before any of them was sent are not counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AbandonStats(
    // Most channels and associations abandon nothing.
    Option<Box<[AbandonCount; AbandonReason::ALL.len()]>>,
);

impl AbandonStats {
    /// Returns the number for one reason.
    #[must_use]
    pub fn count(&self, reason: AbandonReason) -> AbandonCount {
        self.0.as_ref().and_then(|counts| counts.get(reason as usize)).copied().unwrap_or_default()
    }

    /// Returns the number for all reasons together.
    #[must_use]
    pub fn total(&self) -> AbandonCount {
        self.0.iter().flat_map(|counts| counts.iter()).fold(AbandonCount::default(), |total, count| AbandonCount {
            unsent: total.unsent + count.unsent,
            sent: total.sent + count.sent,
            bytes: total.bytes + count.bytes,
        })
    }

    /// Counts messages of `bytes` bytes together, as an
    /// [`AssociationEvent::Abandoned`](crate::AssociationEvent::Abandoned) reports them. For the layer of channels.
    #[doc(hidden)]
    pub fn add(&mut self, reason: AbandonReason, unsent: bool, messages: u64, bytes: usize) {
        if let Some(count) = self.0.get_or_insert_default().get_mut(reason as usize) {
            *(if unsent { &mut count.unsent } else { &mut count.sent }) += messages;
            count.bytes += bytes as u64;
        }
    }
}

/// State of a congestion controller. `Cubic` and `NewReno` have the first two, and `Bbr` has the others (RFC 9260 §7.2;
/// draft-ietf-ccwg-bbr).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CongestionState {
    /// The window doubles each round trip.
    #[default]
    SlowStart,
    /// The window grows slowly above the slow start threshold.
    CongestionAvoidance,
    /// The rate doubles each round trip, until the path delivers no more.
    Startup,
    /// The queue that Startup has built drains.
    Drain,
    /// Less than the estimated bandwidth is sent: the queue of the last probe drains.
    ProbeBwDown,
    /// The estimated bandwidth is sent.
    ProbeBwCruise,
    /// The path fills before a probe.
    ProbeBwRefill,
    /// More than the estimated bandwidth is sent: a probe.
    ProbeBwUp,
    /// Other flows keep the queue filled: nothing is probed, and the window follows losses as theirs do.
    Compete,
    /// Little is in flight, so that the round-trip time without a queue is seen.
    ProbeRtt,
}

/// The congestion controller: its state, and what follows from it beside the congestion window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CongestionStats {
    /// State of the controller.
    pub state: CongestionState,
    /// Bandwidth that the controller counts on, in bytes per second. `None` if it has no model, or no sample yet.
    pub bandwidth: Option<u64>,
    /// Least round-trip time: of the last ten seconds with `Bbr`, of the association otherwise. `None` if none was
    /// measured.
    pub min_rtt: Option<Duration>,
    /// Rate at which packets leave, in bytes per second. `None` if they are not paced.
    pub pacing_rate: Option<u64>,
    /// Slow start threshold, in bytes. `None` before the first loss, and with `Bbr`.
    pub ssthresh: Option<usize>,
}

/// Extensions that an association uses: those that both ends have offered in the handshake. None before the handshake
/// is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExtensionsInUse {
    /// True if messages interleave (RFC 8260): user data is I-DATA in both directions, and a message of any size holds
    /// up no other stream.
    pub message_interleaving: bool,
    /// True if messages can be abandoned that were begun (RFC 3758).
    pub partial_reliability: bool,
    /// True if streams can be reset (RFC 6525), and channels closed by it.
    pub stream_reset: bool,
    /// True if packets leave without a checksum (RFC 9653): they travel over DTLS, and the peer accepts that.
    pub zero_checksum_sent: bool,
    /// True if packets of the peer may come without a checksum (RFC 9653): they travel over DTLS, and the peer was told
    /// so.
    pub zero_checksum_accepted: bool,
}

/// Counters and current state of an association.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AssociationStats {
    /// Packets handed to `handle_datagram`.
    pub packets_received: u64,
    /// Of those, the ones that passed length, checksum, port and tag checks.
    pub packets_accepted: u64,
    /// Packets written by `poll_transmit`.
    pub packets_sent: u64,
    /// Bytes of those packets.
    pub bytes_sent: u64,
    /// Bytes handed to `handle_datagram`.
    pub bytes_received: u64,
    /// DATA chunks sent for the first time.
    pub data_chunks_sent: u64,
    /// DATA chunks sent again.
    pub data_chunks_retransmitted: u64,
    /// DATA chunks that arrived for the first time.
    pub data_chunks_received: u64,
    /// Times that loss detection shrank the congestion window.
    pub congestion_events: u64,
    /// Times that a reduction of the congestion window, by a loss or by T3, was undone because nothing had been lost.
    pub congestion_events_undone: u64,
    /// Times that the retransmission timer T3 expired.
    pub t3_expirations: u64,
    /// Retransmissions that the peer reported as duplicates.
    pub spurious_retransmissions: u64,
    /// Messages accepted by `send`.
    pub messages_sent: u64,
    /// Messages delivered.
    pub messages_received: u64,
    /// Probes of larger packets that were sent (RFC 8899).
    pub mtu_probes_sent: u64,
    /// Of those, probes that were not answered in time, or that the system refused as too large.
    pub mtu_probes_lost: u64,
    /// Times that packets became smaller because the path did not carry them (RFC 8899 §4.3).
    pub mtu_black_holes: u64,
    /// Messages that were abandoned, by reason (RFC 7496 §4.4).
    pub abandoned: AbandonStats,
    /// Extensions in use.
    pub extensions: ExtensionsInUse,
    /// Packets, chunks and parameters that were dropped, by reason.
    pub drops: PacketDrops,
    /// Smoothed round-trip time, once measured.
    pub srtt: Option<Duration>,
    /// Retransmission time-out.
    pub rto: Duration,
    /// Largest SCTP packet now, in bytes: as configured at first, then what path MTU discovery has found.
    pub mtu: usize,
    /// Congestion window, in bytes.
    pub cwnd: usize,
    /// The rest of the congestion controller's state.
    pub congestion: CongestionStats,
    /// Bytes sent and not yet acknowledged or counted as lost.
    pub flight_size: usize,
    /// The peer's receive window, less the bytes in flight.
    pub peer_rwnd: usize,
    /// Bytes accepted by `send` and not yet sent.
    pub buffered_amount: usize,
}
