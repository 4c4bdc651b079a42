//! An association in any state of its life, and a peer that sends it whatever a test makes up.
#![allow(dead_code, reason = "each test file uses its own part of it")]
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test may fail this way")]

pub(crate) mod cost;
pub(crate) mod service;

use std::time::{Duration, Instant};

use bytes::Bytes;
pub(crate) use narrowboat_sctp::testing::wire::DataChunk;
use narrowboat_sctp::testing::wire::{
    self, Cause, Causes, ChunkType, Chunks, Extensions, GapBlock, Init, PacketHeader, Sack, Shutdown,
};
use narrowboat_sctp::{
    Association, AssociationConfig, AssociationEvent, AssociationStats, CloseReason, CookieKeys, PacketDropReason,
    Ppid, SendOptions, Ssn, State, StreamId, Tsn, Valid,
};

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);
/// Verification Tag of the peer.
pub(crate) const PEER_TAG: u32 = 0x7065_6572;
/// The TSN of the peer's first DATA.
pub(crate) const PEER_TSN: u32 = 1000;
/// The port of both ends.
pub(crate) const PORT: u16 = 5000;
/// State Cookie of the peer.
pub(crate) const PEER_COOKIE: &[u8] = b"the peer's cookie";

/// The association under attack.
pub(crate) struct Victim {
    pub(crate) association: Association,
    pub(crate) now: Instant,
    /// Its tag, which packets for it carry.
    pub(crate) tag: u32,
    /// The TSN of its first DATA.
    pub(crate) tsn: Tsn,
    pub(crate) events: Vec<AssociationEvent>,
}

/// A chunk that the victim has sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Sent {
    pub(crate) tag: u32,
    pub(crate) kind: ChunkType,
    pub(crate) flags: u8,
    pub(crate) value: Bytes,
}

impl Sent {
    /// Codes of the error causes in an ABORT or ERROR.
    pub(crate) fn causes(&self) -> Vec<u16> {
        assert!(matches!(self.kind, ChunkType::ABORT | ChunkType::ERROR), "{self:?}");
        Causes::new(&self.value).map(|cause| cause.unwrap().code()).collect()
    }
}

/// All that an attack must not change, but for the counters of what came in and was dropped.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Standing {
    state: State,
    is_over: bool,
    stats: AssociationStats,
    streams: [u16; 2],
    timeout: Option<Instant>,
}

impl Victim {
    /// In CLOSED, waiting for an INIT.
    pub(crate) fn new(config: AssociationConfig) -> Self {
        Self::seeded(config, [2; 32])
    }

    fn seeded(config: AssociationConfig, seed: [u8; 32]) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the zero of a clock that only the test moves")]
        let now = Instant::now();
        let keys = CookieKeys::new(now, [1; 32]);
        let association = Association::new(Valid::new(config).unwrap(), keys, b"the peer's address", seed);
        Self { association, now, tag: 0, tsn: Tsn(0), events: Vec::new() }
    }

    pub(crate) fn in_state(state: State) -> Self {
        Self::with_config(state, AssociationConfig::default())
    }

    pub(crate) fn with_config(state: State, config: AssociationConfig) -> Self {
        Self::new(config).brought_to(state)
    }

    /// Another association of the same host: it has the same cookie keys, and other tags.
    pub(crate) fn with_seed(state: State, seed: [u8; 32]) -> Self {
        Self::seeded(AssociationConfig::default(), seed).brought_to(state)
    }

    /// Brought there by packets of a well-behaved peer. Where the state is about data that is under way, stream 1 has
    /// it.
    fn brought_to(self, state: State) -> Self {
        let mut victim = self;
        if state == State::Closed {
            return victim;
        }
        victim.connect();
        if state == State::CookieWait {
            return victim;
        }
        let ack = peer_init_with(|init| init.cookie = Some(PEER_COOKIE));
        victim.send(&[chunk(|out| ack.encode(ChunkType::INIT_ACK, &[], out))]);
        if state == State::CookieEchoed {
            return victim;
        }
        victim.send(&[raw(ChunkType::COOKIE_ACK, 0, &[])]);
        assert!(matches!(victim.events.pop(), Some(AssociationEvent::Connected)));
        if matches!(state, State::ShutdownPending | State::ShutdownReceived) {
            victim.message(StreamId(1), b"under way");
        }
        match state {
            State::ShutdownPending | State::ShutdownSent => victim.association.shutdown(victim.now),
            State::ShutdownReceived | State::ShutdownAckSent => {
                let before = Tsn(victim.tsn.0.wrapping_sub(1));
                victim.send(&[shutdown(before)]);
            }
            _ => {}
        }
        victim.poll();
        assert_eq!(victim.association.state(), state);
        victim.events.clear();
        victim
    }

    /// Established with a peer that offers I-DATA, too.
    pub(crate) fn interleaving(config: &AssociationConfig) -> Self {
        let mut victim = Self::new(AssociationConfig { message_interleaving: true, ..config.clone() });
        victim.connect();
        let ack = peer_init_with(|init| {
            init.cookie = Some(PEER_COOKIE);
            init.extensions = init.extensions.union(Extensions::I_DATA).union(Extensions::I_FORWARD_TSN);
        });
        victim.send(&[chunk(|out| ack.encode(ChunkType::INIT_ACK, &[], out))]);
        victim.send(&[raw(ChunkType::COOKIE_ACK, 0, &[])]);
        assert!(victim.association.peer_supports_message_interleaving());
        victim.events.clear();
        victim
    }

    /// Ended by the peer, and told so.
    pub(crate) fn over() -> Self {
        let mut victim = Self::in_state(State::Established);
        victim.send(&[raw(ChunkType::ABORT, 0, &[])]);
        assert!(victim.association.is_over());
        assert_eq!(victim.closed().unwrap(), CloseReason::PeerAbort { cause: None, text: String::new() });
        victim.events.clear();
        victim
    }

    /// Sends the INIT, and takes the tag and TSN from it.
    pub(crate) fn connect(&mut self) {
        self.association.connect(self.now);
        let sent = self.poll();
        let init = Init::decode(&sent.first().unwrap().value).unwrap();
        self.tag = init.initiate_tag;
        self.tsn = init.initial_tsn;
    }

    /// Queues a message and lets it leave.
    pub(crate) fn message(&mut self, stream: StreamId, payload: &[u8]) -> Vec<Sent> {
        self.message_with(stream, payload, SendOptions::default())
    }

    pub(crate) fn message_with(&mut self, stream: StreamId, payload: &[u8], options: SendOptions) -> Vec<Sent> {
        let payload = Bytes::copy_from_slice(payload);
        self.association.send(self.now, stream, Ppid(53), payload, options).unwrap();
        self.poll()
    }

    /// Hands in a packet with the right ports and tag. Returns what the victim sends thereupon.
    pub(crate) fn send(&mut self, chunks: &[Vec<u8>]) -> Vec<Sent> {
        self.deliver(packet(self.tag, chunks))
    }

    /// Hands in any bytes.
    pub(crate) fn deliver(&mut self, datagram: Bytes) -> Vec<Sent> {
        self.association.handle_datagram(self.now, datagram);
        self.poll()
    }

    /// Hands in any bytes that must be dropped for exactly this reason: nothing changes, and nothing is answered.
    #[track_caller]
    pub(crate) fn assert_drops(&mut self, datagram: Bytes, reason: PacketDropReason, what: &str) {
        let (before, dropped) = (self.standing(), self.drops(reason));
        let total = self.association.stats().drops.total();
        let sent = self.deliver(datagram);
        assert_eq!(sent, [], "{what}: answered");
        assert_eq!(self.standing(), before, "{what}");
        assert!(self.events.is_empty(), "{what}: {:?}", self.events);
        let drops = self.association.stats().drops;
        assert_eq!(drops.count(reason), dropped + 1, "{what}: {drops:?}");
        assert_eq!(drops.total(), total + 1, "{what}: {drops:?}");
    }

    pub(crate) fn standing(&self) -> Standing {
        let mut stats = self.association.stats();
        (stats.packets_received, stats.packets_accepted, stats.bytes_received) = (0, 0, 0);
        stats.drops = Default::default();
        Standing {
            state: self.association.state(),
            is_over: self.association.is_over(),
            streams: [self.association.outbound_streams(), self.association.inbound_streams()],
            timeout: self.association.poll_timeout(),
            stats,
        }
    }

    pub(crate) fn timeout(standing: &Standing) -> Option<Instant> {
        standing.timeout
    }

    pub(crate) fn drops(&self, reason: PacketDropReason) -> u64 {
        self.association.stats().drops.count(reason)
    }

    /// Takes events and packets.
    pub(crate) fn poll(&mut self) -> Vec<Sent> {
        self.poll_packets().iter().flat_map(chunks_of).collect()
    }

    pub(crate) fn poll_packets(&mut self) -> Vec<Bytes> {
        self.poll_events();
        let mut packets = Vec::new();
        let mut buffer = Vec::new();
        while let Some(transmit) = self.association.poll_transmit(self.now, 64, &mut buffer) {
            packets.extend(buffer.chunks(transmit.segment_size).map(Bytes::copy_from_slice));
            buffer.clear();
        }
        // Sending has news, too: that a queue has run low.
        self.poll_events();
        packets
    }

    fn poll_events(&mut self) {
        while let Some(event) = self.association.poll_event() {
            self.events.push(event);
        }
    }

    /// Lets time pass, and fires what is due on the way. Returns what was sent.
    pub(crate) fn pass(&mut self, time: Duration) -> Vec<Sent> {
        self.pass_packets(time).iter().flat_map(chunks_of).collect()
    }

    pub(crate) fn pass_packets(&mut self, time: Duration) -> Vec<Bytes> {
        let end = self.now + time;
        let mut sent = Vec::new();
        while let Some(deadline) = self.association.poll_timeout().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            self.association.handle_timeout(self.now);
            sent.extend(self.poll_packets());
        }
        self.now = end;
        sent
    }

    /// Returns the reason why the association ended, if it has.
    pub(crate) fn closed(&self) -> Option<CloseReason> {
        let mut reasons = self.events.iter().filter_map(|event| match event {
            AssociationEvent::Closed(reason) => Some(reason.clone()),
            _ => None,
        });
        let reason = reasons.next();
        assert!(reasons.next().is_none(), "closed twice");
        assert_eq!(
            reason.is_some(),
            matches!(self.events.last(), Some(AssociationEvent::Closed(_))),
            "something after the end"
        );
        reason
    }

    /// Payloads of the messages among the events, which are taken.
    pub(crate) fn messages(&mut self) -> Vec<Vec<u8>> {
        let is_message = |event: &mut AssociationEvent| matches!(event, AssociationEvent::Message(_));
        let taken: Vec<AssociationEvent> = self.events.extract_if(.., is_message).collect();
        let payload = |event| match event {
            AssociationEvent::Message(message) => {
                self.association.release(message.credit);
                Some(message.payload.into_bytes().to_vec())
            }
            _ => None,
        };
        taken.into_iter().filter_map(payload).collect()
    }
}

/// An INIT as browsers send it.
pub(crate) fn peer_init() -> Init<'static> {
    let mut init = Init::new(PEER_TAG, 1 << 20, 100, 100, Tsn(PEER_TSN));
    init.extensions = Extensions::RE_CONFIG.union(Extensions::FORWARD_TSN);
    init
}

pub(crate) fn peer_init_with(change: impl FnOnce(&mut Init<'static>)) -> Init<'static> {
    let mut init = peer_init();
    change(&mut init);
    init
}

/// A packet for the port of the victim.
pub(crate) fn packet(verification_tag: u32, chunks: &[Vec<u8>]) -> Bytes {
    let header = PacketHeader { source_port: PORT, destination_port: PORT, verification_tag };
    packet_with(header, chunks)
}

pub(crate) fn packet_with(header: PacketHeader, chunks: &[Vec<u8>]) -> Bytes {
    let mut out = Vec::new();
    header.encode(&mut out);
    out.extend(chunks.concat());
    wire::seal(&mut out);
    out.into()
}

/// A chunk as one of the codec's functions writes it.
pub(crate) fn chunk(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

/// A chunk of any bytes.
pub(crate) fn raw(kind: ChunkType, flags: u8, value: &[u8]) -> Vec<u8> {
    chunk(|out| {
        let at = wire::begin_chunk(out, kind, flags);
        out.extend_from_slice(value);
        wire::end_chunk(out, at);
    })
}

pub(crate) fn init(init: &Init<'_>) -> Vec<u8> {
    chunk(|out| init.encode(ChunkType::INIT, &[], out))
}

pub(crate) fn cookie_echo(cookie: &[u8]) -> Vec<u8> {
    chunk(|out| wire::encode_cookie_echo(cookie, out))
}

pub(crate) fn shutdown(cumulative_tsn_ack: Tsn) -> Vec<u8> {
    chunk(|out| Shutdown { cumulative_tsn_ack }.encode(out))
}

/// A whole message on stream 1, `number` chunks after the first TSN.
pub(crate) fn data(number: u32, payload: &[u8]) -> Vec<u8> {
    let ssn = Ssn(u16::try_from(number & 0xFFFF).unwrap());
    chunk(|out| data_chunk(number, ssn).encode(payload, out))
}

pub(crate) fn data_chunk(number: u32, ssn: Ssn) -> DataChunk {
    DataChunk {
        tsn: Tsn(PEER_TSN.wrapping_add(number)),
        stream: StreamId(1),
        ssn,
        ppid: Ppid(53),
        unordered: false,
        beginning: true,
        ending: true,
        immediate: false,
    }
}

/// Blocks by first and last offset.
pub(crate) fn sack(cumulative: Tsn, a_rwnd: u32, blocks: &[(u16, u16)]) -> Vec<u8> {
    let blocks: Vec<GapBlock> = blocks.iter().map(|&(start, end)| GapBlock { start, end }).collect();
    chunk(|out| Sack::encode(cumulative, a_rwnd, blocks.into_iter(), std::iter::empty(), out))
}

pub(crate) fn error(causes: &[Cause<'_>]) -> Vec<u8> {
    chunk(|out| wire::encode_error(causes, out))
}

pub(crate) fn chunks_of(packet: &Bytes) -> Vec<Sent> {
    assert!(wire::is_checksum_valid(packet));
    let header = PacketHeader::decode(packet).unwrap();
    let sent = |chunk: wire::RawChunk| Sent {
        tag: header.verification_tag,
        kind: chunk.kind,
        flags: chunk.flags,
        value: packet.slice(chunk.value),
    };
    Chunks::new(packet).map(|chunk| sent(chunk.unwrap())).collect()
}

pub(crate) fn kinds(sent: &[Sent]) -> Vec<ChunkType> {
    sent.iter().map(|chunk| chunk.kind).collect()
}

/// One chunk of every type that is defined, well formed.
pub(crate) fn one_of_each(victim: &Victim) -> Vec<(ChunkType, Vec<u8>)> {
    let bodies: [(ChunkType, &[u8]); 21] = [
        (ChunkType::DATA, &[0, 0, 3, 0xE8, 0, 1, 0, 0, 0, 0, 0, 53, b'x']),
        (ChunkType::INIT, &[]),
        (ChunkType::INIT_ACK, &[]),
        (ChunkType::SACK, &[]),
        (ChunkType::HEARTBEAT, &[0, 1, 0, 8, 1, 2, 3, 4]),
        (ChunkType::HEARTBEAT_ACK, &[0, 1, 0, 12, 1, 2, 3, 4, 5, 6, 7, 8]),
        (ChunkType::ABORT, &[]),
        (ChunkType::SHUTDOWN, &[]),
        (ChunkType::SHUTDOWN_ACK, &[]),
        (ChunkType::ERROR, &[0, 4, 0, 4]),
        (ChunkType::COOKIE_ECHO, PEER_COOKIE),
        (ChunkType::COOKIE_ACK, &[]),
        (ChunkType::SHUTDOWN_COMPLETE, &[]),
        (ChunkType::AUTH, &[0, 0, 0, 1]),
        (ChunkType::I_DATA, &[0, 0, 3, 0xE8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 53, b'x']),
        (ChunkType::ASCONF_ACK, &[0, 0, 0, 1]),
        (ChunkType::RE_CONFIG, &[0, 13, 0, 18, 0, 0, 3, 0xE8, 0, 0, 0, 0, 0, 0, 3, 0xE7, 0, 1]),
        (ChunkType::PAD, &[0, 0, 0, 0]),
        (ChunkType::FORWARD_TSN, &[0, 0, 3, 0xE8]),
        (ChunkType::ASCONF, &[0, 0, 0, 1]),
        (ChunkType::I_FORWARD_TSN, &[0, 0, 3, 0xE8]),
    ];
    let before = Tsn(victim.tsn.0.wrapping_sub(1));
    let encode = |(kind, value): (ChunkType, &[u8])| {
        let encoded = match kind {
            ChunkType::DATA | ChunkType::I_DATA => raw(kind, 3, value),
            ChunkType::INIT => init(&peer_init()),
            ChunkType::INIT_ACK => {
                let ack = peer_init_with(|init| init.cookie = Some(PEER_COOKIE));
                chunk(|out| ack.encode(ChunkType::INIT_ACK, &[], out))
            }
            ChunkType::SACK => sack(before, 1 << 20, &[]),
            ChunkType::SHUTDOWN => shutdown(before),
            _ => raw(kind, 0, value),
        };
        (kind, encoded)
    };
    bodies.into_iter().map(encode).collect()
}
