//! One association, in one of ten states or with messages that interleave, against a peer that sends anything: packets
//! with the right tag whose chunks are near what is expected, commands of the application, and time between them.
#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may fail this way")]

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use narrowboat_sctp::testing::wire::{
    ChunkType, ForwardTsn, GapBlock, IDataChunk, IForwardTsn, Init, ReconfigWriter, ResetResult, Sack, SkippedMessage,
};
use narrowboat_sctp::{
    AssociationConfig, AssociationEvent, Fsn, Mid, Ppid, Reliability, RequestSn, SendOptions, Ssn, State, StreamId, Tsn,
};

use super::Input;
use crate::victim::{self, DataChunk, MS, PEER_COOKIE, PEER_TSN, SECOND, Victim, chunk, packet, raw};

const STATES: [State; 8] = [
    State::Closed,
    State::CookieWait,
    State::CookieEchoed,
    State::Established,
    State::ShutdownPending,
    State::ShutdownSent,
    State::ShutdownReceived,
    State::ShutdownAckSent,
];
const STREAMS: u16 = 6;
/// From this first byte on, the peer has agreed upon I-DATA.
const INTERLEAVING: u8 = 200;
/// Steps of a script at most.
const STEPS_MAX: usize = 64;

/// The first byte says in which state to begin, each further step begins with a byte that says what to do.
pub(crate) fn run(script: &[u8]) {
    let mut input = Input::new(script);
    let mut world = World::new(input.byte());
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            break;
        }
        world.step(&mut input);
    }
    // The association ends after any behaviour of the peer.
    world.victim.association.abort("the end of the script");
    world.poll();
    assert_eq!(world.victim.association.poll_timeout(), None, "a timer runs after the end");
}

struct World {
    victim: Victim,
    /// The TSN that the peer would send next, and its next request.
    tsn: Tsn,
    /// Messages that were not read yet.
    unread: VecDeque<AssociationEvent>,
    cookie: Vec<u8>,
}

impl World {
    fn new(start: u8) -> Self {
        let config = AssociationConfig {
            inbound_streams: STREAMS,
            outbound_streams: STREAMS,
            receive_window: 8192,
            send_buffer: 16_384,
            stream_send_buffer: 8192,
            ..AssociationConfig::default()
        };
        let mut world = Self {
            victim: Victim::new(AssociationConfig::default()),
            tsn: Tsn(PEER_TSN),
            unread: VecDeque::new(),
            cookie: Vec::new(),
        };
        world.victim = match start % 10 {
            _ if start >= INTERLEAVING => Victim::interleaving(&config),
            8 => Victim::over(),
            9 => {
                // Data under way in both directions, and a reset that waits for what is missing.
                let mut victim = Victim::with_config(State::Established, config);
                for stream in 0..STREAMS {
                    victim.message(StreamId(stream), &[7; 700]);
                }
                victim.send(&[
                    data(Tsn(PEER_TSN + 1), 1, 0, 3, b"second"),
                    reconfig(|writer| {
                        let streams = [1, 2].map(StreamId).into_iter();
                        writer.push_outgoing_reset(RequestSn(PEER_TSN), RequestSn(0), Tsn(PEER_TSN + 2), streams);
                    }),
                ]);
                victim
            }
            state => Victim::with_config(STATES[usize::from(state)], config),
        };
        world.poll();
        world
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() % 16 {
            0..=6 => self.deliver(input),
            7 => {
                let len = usize::from(input.byte());
                let packet = packet(self.victim.tag, &[input.bytes(len).to_vec()]);
                self.victim.association.handle_datagram(self.victim.now, packet);
            }
            8 | 9 => self.pass(input),
            10 | 11 => self.send(input),
            12 => self.read(usize::from(input.byte() % 8)),
            13 => {
                let streams =
                    [u16::from(input.byte()) % (STREAMS + 1), u16::from(input.byte()) % STREAMS].map(StreamId);
                let _ = self.victim.association.reset_streams(self.victim.now, &streams);
            }
            14 => self.command(input),
            _ => {
                let (tag, near) = (self.victim.tag, input.near());
                let chunks = self.chunks(input);
                let packet = packet(tag.wrapping_add(near), &chunks);
                self.victim.association.handle_datagram(self.victim.now, packet);
            }
        }
        self.poll();
    }

    fn command(&mut self, input: &mut Input<'_>) {
        let (now, stream) = (self.victim.now, u16::from(input.byte()) % STREAMS);
        let association = &mut self.victim.association;
        match input.byte() % 8 {
            0 => association.connect(now),
            1 => association.shutdown(now),
            2 => association.abort("enough"),
            3 => association.on_path_changed(now),
            4 => drop(association.discard_unsent(now, StreamId(stream))),
            5 => drop(association.abandon_stream(now, StreamId(stream))),
            6 => {
                let setting = input.word();
                association.set_buffered_amount_low_threshold(StreamId(stream), setting.into());
                association.set_stream_priority(StreamId(stream), setting);
            }
            _ => {
                let mut buffer = Vec::new();
                association.validate_path(&mut buffer);
                association.take_path_validated();
            }
        }
    }

    /// Time passes, and timers fire when they are due, or once for nothing.
    fn pass(&mut self, input: &mut Input<'_>) {
        let time = match input.byte() {
            0 => Duration::ZERO,
            short @ 1..=127 => u32::from(short) * 4 * MS,
            long => u32::from(long - 127) * SECOND,
        };
        let end = self.victim.now + time;
        for _ in 0..200 {
            let due = self.victim.association.poll_timeout().filter(|due| *due <= end);
            let Some(due) = due else { break };
            self.victim.now = self.victim.now.max(due);
            self.victim.association.handle_timeout(self.victim.now);
            self.poll();
            let next = self.victim.association.poll_timeout();
            assert!(next.is_none_or(|next| next > self.victim.now), "a timer must move on");
        }
        self.victim.now = self.victim.now.max(end);
        self.victim.association.handle_timeout(self.victim.now);
    }

    fn send(&mut self, input: &mut Input<'_>) {
        let kind = input.byte();
        let reliability = match kind & 3 {
            1 => Reliability::MaxRetransmits(u32::from(kind >> 6)),
            2 => Reliability::MaxLifetime(u32::from(kind >> 4) * 50 * MS),
            _ => Reliability::Reliable,
        };
        let options = SendOptions {
            unordered: kind & 4 != 0,
            reliability,
            acknowledge_immediately: kind & 8 != 0,
            ..SendOptions::default()
        };
        let (stream, len) = (u16::from(input.byte()) % (STREAMS + 1), usize::from(input.word()) % 5000);
        let payload = Bytes::from(vec![kind; len]);
        let _ = self.victim.association.send(self.victim.now, StreamId(stream), Ppid(53), payload, options);
    }

    fn read(&mut self, count: usize) {
        for event in self.unread.drain(..count.min(self.unread.len())) {
            if let AssociationEvent::Message(message) = event {
                self.victim.association.release(message.credit);
            }
        }
    }

    fn deliver(&mut self, input: &mut Input<'_>) {
        let chunks = self.chunks(input);
        let packet = packet(self.victim.tag, &chunks);
        self.victim.association.handle_datagram(self.victim.now, packet);
    }

    fn chunks(&mut self, input: &mut Input<'_>) -> Vec<Vec<u8>> {
        let count = 1 + input.byte() % 4;
        (0..count).map(|_| self.chunk(input)).collect()
    }

    fn chunk(&mut self, input: &mut Input<'_>) -> Vec<u8> {
        match input.byte() % 16 {
            0..=4 => self.data(input),
            5..=7 => self.sack(input),
            8 | 9 => self.reconfig(input),
            10 => {
                let to = Tsn(self.tsn.0.wrapping_add(input.near()));
                let streams: Vec<_> = (0..input.byte() % 4).map(|_| (input.byte(), input.byte())).collect();
                if self.interleaves() {
                    return i_forward_tsn(to, &streams);
                }
                let streams =
                    streams.iter().map(|(stream, ssn)| (StreamId(u16::from(*stream) % 8), Ssn((*ssn).into())));
                chunk(|out| ForwardTsn::encode(to, streams, out))
            }
            11 => victim::shutdown(Tsn(self.victim.tsn.0.wrapping_add(input.near()))),
            12 => {
                let ack = victim::peer_init_with(|init| {
                    init.cookie = Some(PEER_COOKIE);
                    init.outbound_streams = input.byte().into();
                });
                let kind = if input.byte() & 1 == 0 { ChunkType::INIT } else { ChunkType::INIT_ACK };
                chunk(|out| ack.encode(kind, &[], out))
            }
            13 => {
                let kinds = [
                    ChunkType::COOKIE_ACK,
                    ChunkType::SHUTDOWN_ACK,
                    ChunkType::SHUTDOWN_COMPLETE,
                    ChunkType::COOKIE_ECHO,
                    ChunkType::HEARTBEAT,
                    ChunkType::HEARTBEAT_ACK,
                    ChunkType::ERROR,
                    ChunkType::ABORT,
                ];
                let kind = kinds[usize::from(input.byte()) % kinds.len()];
                let flags = input.byte();
                if kind == ChunkType::COOKIE_ECHO && flags & 2 == 0 {
                    return victim::cookie_echo(&self.cookie);
                }
                let len = usize::from(input.byte() % 64);
                raw(kind, flags & 1, input.bytes(len))
            }
            _ => {
                let (kind, flags, len) = (input.byte(), input.byte(), usize::from(input.byte()));
                raw(ChunkType(kind), flags, input.bytes(len))
            }
        }
    }

    fn data(&mut self, input: &mut Input<'_>) -> Vec<u8> {
        let how = input.byte();
        // Half of them in order.
        let tsn = if how & 1 == 0 { self.tsn } else { Tsn(self.tsn.0.wrapping_add(input.near())) };
        if how & 1 == 0 {
            self.tsn = self.tsn.next();
        }
        let place = input.byte();
        let (stream, ssn) = (u16::from(place % 8), u16::from(place >> 3) % 8);
        let payload = vec![how; 1 + usize::from(input.byte()) * 4];
        if self.interleaves() {
            // Half of the later fragments follow the first one.
            let fsn = if how & 128 == 0 { input.byte().into() } else { 1 };
            return i_data(tsn, (stream, ssn.into(), fsn), how >> 1, &payload);
        }
        data(tsn, stream, ssn, how >> 1, &payload)
    }

    /// True if the handshake has decided for I-DATA. Both types are written as raw chunks, too.
    fn interleaves(&self) -> bool {
        self.victim.association.peer_supports_message_interleaving()
    }

    fn sack(&mut self, input: &mut Input<'_>) -> Vec<u8> {
        let cumulative = Tsn(self.victim.tsn.0.wrapping_add(input.near()));
        let a_rwnd = match input.byte() {
            0 => 0,
            small @ 1..=99 => u32::from(small) * 20,
            _ => 1 << 20,
        };
        let mut end = 1u16;
        let blocks: Vec<GapBlock> = (0..input.byte() % 4)
            .map(|_| {
                let start = end.wrapping_add(u16::from(input.byte() % 8));
                end = start.wrapping_add(u16::from(input.byte() % 4));
                GapBlock { start, end }
            })
            .collect();
        let duplicates = vec![cumulative; usize::from(input.byte() % 3)];
        chunk(|out| Sack::encode(cumulative, a_rwnd, blocks.into_iter(), duplicates.into_iter(), out))
    }

    fn reconfig(&mut self, input: &mut Input<'_>) -> Vec<u8> {
        let request = RequestSn(PEER_TSN.wrapping_add(input.near()));
        let ours = RequestSn(self.victim.tsn.0.wrapping_add(input.near()));
        let streams: Vec<StreamId> = (0..input.byte() % 4).map(|_| StreamId(u16::from(input.byte()) % 8)).collect();
        let last = Tsn(self.tsn.0.wrapping_add(input.near()));
        let kind = input.byte();
        let streams = streams.into_iter();
        reconfig(|writer| match kind % 6 {
            0 | 1 => writer.push_outgoing_reset(request, ours, last, streams),
            2 => writer.push_incoming_reset(request, streams),
            3 | 4 => writer.push_response(ours, ResetResult::from(u32::from(kind >> 4)), None),
            _ => writer.push_add_outgoing(request, u16::from(kind)),
        })
    }

    /// A cookie of the victim's own comes from its INIT ACK.
    fn poll(&mut self) {
        let before = self.victim.association.path_mtu();
        let packets = self.victim.poll_packets();
        let mtu = self.victim.association.path_mtu().max(before);
        for packet in packets.iter().filter(|packet| packet.len() > mtu) {
            let kinds: Vec<_> = victim::chunks_of(packet).iter().map(|chunk| chunk.kind).collect();
            assert_eq!(kinds, [ChunkType::HEARTBEAT, ChunkType::PAD], "longer than the path and no probe");
        }
        for sent in packets.iter().flat_map(victim::chunks_of).filter(|sent| sent.kind == ChunkType::INIT_ACK) {
            let init = Init::decode(&sent.value).unwrap();
            self.cookie = init.cookie.unwrap().to_vec();
            if self.victim.tag == 0 {
                (self.victim.tag, self.victim.tsn) = (init.initiate_tag, init.initial_tsn);
            }
        }
        self.unread.extend(self.victim.events.drain(..));
    }
}

fn reconfig(write: impl FnOnce(&mut ReconfigWriter<'_>)) -> Vec<u8> {
    chunk(|out| {
        let mut writer = ReconfigWriter::begin(out);
        write(&mut writer);
        writer.finish();
    })
}

/// Returns the bits U, B, E and I of a chunk. A message is whole more often than a fragment.
fn bits(flags: u8) -> [bool; 4] {
    let is_whole = flags & 8 == 0;
    [flags & 4 != 0, is_whole || flags & 1 != 0, is_whole || flags & 2 != 0, flags & 16 != 0]
}

fn data(tsn: Tsn, stream: u16, ssn: u16, flags: u8, payload: &[u8]) -> Vec<u8> {
    let [unordered, beginning, ending, immediate] = bits(flags);
    let header = DataChunk {
        unordered,
        beginning,
        ending,
        immediate,
        tsn,
        stream: StreamId(stream),
        ssn: Ssn(ssn),
        ppid: Ppid(53),
    };
    chunk(|out| header.encode(payload, out))
}

/// An I-DATA chunk of a message, of which stream, MID and FSN are given.
fn i_data(tsn: Tsn, (stream, mid, fsn): (u16, u32, u32), flags: u8, payload: &[u8]) -> Vec<u8> {
    let [unordered, beginning, ending, immediate] = bits(flags);
    let header = IDataChunk {
        unordered,
        beginning,
        ending,
        immediate,
        tsn,
        stream: StreamId(stream),
        mid: Mid(mid),
        ppid: Ppid(53),
        fsn: Fsn(fsn),
    };
    chunk(|out| header.encode(payload, out))
}

/// An I-FORWARD-TSN: each entry is a stream, of which the highest bit is the U bit, and an MID.
fn i_forward_tsn(to: Tsn, streams: &[(u8, u8)]) -> Vec<u8> {
    let skipped = streams.iter().map(|&(stream, mid)| SkippedMessage {
        stream: StreamId(u16::from(stream) % 8),
        unordered: stream & 128 != 0,
        mid: Mid(mid.into()),
    });
    chunk(|out| IForwardTsn::encode(to, skipped, out))
}
