//! Memory that a peer can make an association hold, counted by the allocator. Each test bears the id of its row in the
//! list of attacks.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test may fail this way"
)]

mod victim;

use std::collections::VecDeque;

use bytes::Bytes;
use narrowboat_sctp::testing::wire::ChunkType;
use narrowboat_sctp::{
    AssociationConfig, AssociationEvent, Ppid, ReceivedMessage, Reliability, SendMessageError, SendOptions, Ssn, State,
    StreamId, Tsn,
};
use victim::{DataChunk, MS, PEER_TSN, SECOND, Victim, chunk, chunks_of, packet, peer_init_with, raw, sack};

const KIB: i64 = 1024;
/// Bytes that an allocator may need for a block beside its payload.
const BLOCK_OVERHEAD: i64 = 32;
const RELIABLE: SendOptions = SendOptions {
    unordered: false,
    reliability: Reliability::Reliable,
    acknowledge_immediately: false,
    exceeds_limits: false,
    ignores_policy: false,
};

/// An association whose heap is counted from the time when it was established on.
struct Counted {
    victim: Victim,
    config: AssociationConfig,
    held: i64,
    /// Blocks of memory that are held.
    blocks: i64,
    /// Most that was held after any call.
    peak: i64,
    /// Chunks that it has sent first, and those of them that were acknowledged.
    sent: u32,
    buffer: Vec<u8>,
    unread: VecDeque<ReceivedMessage>,
}

impl Counted {
    fn new(config: AssociationConfig) -> Self {
        // The peer takes as many streams as there can be.
        let mut victim = Victim::with_config(State::CookieWait, config.clone());
        let ack = peer_init_with(|init| {
            init.cookie = Some(b"cookie");
            (init.outbound_streams, init.inbound_streams) = (u16::MAX, u16::MAX);
        });
        victim.send(&[chunk(|out| ack.encode(ChunkType::INIT_ACK, &[], out))]);
        victim.send(&[raw(ChunkType::COOKIE_ACK, 0, &[])]);
        assert_eq!(victim.association.state(), State::Established);
        victim.events.clear();
        let buffer = Vec::with_capacity(1 << 20);
        Self { victim, config, held: 0, blocks: 0, peak: 0, sent: 0, buffer, unread: VecDeque::new() }
    }

    /// Runs code that belongs to the association, with what it allocates.
    fn count<T>(&mut self, code: impl FnOnce(&mut Self) -> T) -> T {
        let mut result = None;
        let info = allocation_counter::measure(|| result = Some(code(self)));
        self.held += info.bytes_current;
        self.blocks += info.count_current;
        self.peak = self.peak.max(self.held);
        result.unwrap()
    }

    fn send(&mut self, stream: StreamId, len: usize, options: SendOptions) -> Result<(), SendMessageError> {
        self.count(|own| {
            let payload = Bytes::from(vec![7; len]);
            own.victim.association.send(own.victim.now, stream, Ppid(53), payload, options)
        })
    }

    /// Sends messages until there is no room, and returns how many there was room for.
    fn fill(&mut self, streams: u16, len: usize, options: SendOptions) -> usize {
        let mut count = 0;
        for stream in 0..streams {
            while self.send(StreamId(stream), len, options).is_ok() {
                count += 1;
            }
        }
        count
    }

    fn deliver(&mut self, chunks: &[Vec<u8>]) {
        let datagram = packet(self.victim.tag, chunks);
        self.count(|own| {
            let datagram = Bytes::copy_from_slice(&datagram);
            own.victim.association.handle_datagram(own.victim.now, datagram);
        });
    }

    /// Delivers a SACK of the peer for the first `acked` chunks that were sent.
    fn acknowledge(&mut self, acked: u32, a_rwnd: u32, blocks: &[(u16, u16)]) {
        let point = Tsn(self.victim.tsn.0.wrapping_add(acked).wrapping_sub(1));
        self.deliver(&[sack(point, a_rwnd, blocks)]);
    }

    /// Takes events and packets; messages stay unread.
    fn poll(&mut self) {
        while let Some(event) = self.count(|own| own.victim.association.poll_event()) {
            match event {
                AssociationEvent::Message(message) => {
                    // Outside of `count`: the queue is the test's.
                    self.unread.push_back(message);
                }
                event => self.count(|_| drop(event)),
            }
        }
        self.transmit();
    }

    /// Takes packets; events stay where they are.
    fn transmit(&mut self) {
        loop {
            let now = self.victim.now;
            let mut buffer = std::mem::take(&mut self.buffer);
            let transmit = self.count(|own| own.victim.association.poll_transmit(now, 64, &mut buffer));
            if let Some(transmit) = transmit {
                for datagram in buffer.chunks(transmit.segment_size) {
                    let datagram = Bytes::copy_from_slice(datagram);
                    for data in chunks_of(&datagram).iter().filter(|chunk| chunk.kind == ChunkType::DATA) {
                        let tsn = u32::from_be_bytes(data.value[..4].try_into().unwrap());
                        self.sent = self.sent.max(tsn.wrapping_sub(self.victim.tsn.0) + 1);
                    }
                }
            }
            buffer.clear();
            self.buffer = buffer;
            if transmit.is_none() {
                return;
            }
        }
    }

    /// Lets time pass.
    fn pass(&mut self, time: std::time::Duration) {
        let end = self.victim.now + time;
        while let Some(deadline) = self.victim.association.poll_timeout().filter(|deadline| *deadline <= end) {
            self.victim.now = self.victim.now.max(deadline);
            self.count(|own| own.victim.association.handle_timeout(own.victim.now));
            self.poll();
        }
        self.victim.now = end;
    }

    #[track_caller]
    fn assert_bounded(&self, what: &str) {
        let caps = i64::from(self.config.receive_window) + self.config.send_buffer as i64;
        assert!(self.held <= caps + 64 * KIB, "{what}: {} bytes held, the caps are {caps}", self.held);
    }

    /// Asserts that all memory held is charged, and that the charge is at most the window and a quarter more for
    /// overheads.
    #[track_caller]
    fn assert_charged(&self, what: &str) {
        let charged = self.victim.association.memory_charged() as i64;
        let max = i64::from(self.config.receive_window) * 5 / 4;
        assert!(charged <= max + 4 * KIB, "{what}: {charged} bytes are charged, may be {max}");
        let held = self.held + self.blocks * BLOCK_OVERHEAD;
        assert!(held <= charged + 64 * KIB, "{what}: {held} bytes held, {charged} charged");
    }

    #[track_caller]
    fn assert_receive_window(&self, what: &str) {
        let max = 2 * i64::from(self.config.receive_window);
        let held = self.held + self.blocks * BLOCK_OVERHEAD;
        assert!(held <= max + 64 * KIB, "{what}: {held} bytes held, twice the window is {max}");
    }

    #[track_caller]
    fn assert_send_buffer(&self, what: &str) {
        let cap = self.config.send_buffer as i64;
        assert!(self.held <= cap + 64 * KIB, "{what}: {} bytes held, the send buffer is {cap}", self.held);
    }
}

fn small() -> AssociationConfig {
    AssociationConfig {
        send_buffer: 4 << 20,
        stream_send_buffer: 1 << 20,
        receive_window: 1 << 20,
        ..AssociationConfig::default()
    }
}

#[test]
fn e20_messages_of_a_byte_that_fill_the_send_buffer() {
    for (streams, config) in [(1, small()), (4, small()), (64, small())] {
        let mut counted = Counted::new(config);
        counted.acknowledge(0, 0, &[]);
        let count = counted.fill(streams, 1, RELIABLE);
        assert!(count > 2_000, "{count} accepted");
        counted.assert_send_buffer(&format!("{count} messages on {streams} streams"));
        // All of them leave, and nothing is acknowledged.
        for round in 0..40 {
            counted.acknowledge(0, 1 << 30, &[]);
            counted.pass(50 * MS);
            counted.poll();
            counted.assert_send_buffer(&format!("round {round}, {} sent", counted.sent));
            if round % 2 == 0 {
                counted.acknowledge(counted.sent, 1 << 30, &[]);
                counted.poll();
                counted.fill(streams, 1, RELIABLE);
                counted.assert_send_buffer(&format!("round {round}, filled again"));
            }
        }
        assert!(counted.peak > 512 << 10, "{} bytes: the buffer was used", counted.peak);
    }
}

#[test]
fn e12_a_window_of_four_gigabytes() {
    for len in [1, 100, 1_100, 10_000] {
        let config = AssociationConfig { send_buffer: 1 << 20, stream_send_buffer: 512 << 10, ..small() };
        let mut counted = Counted::new(config);
        let mut acked = 0;
        for round in 0..40 {
            counted.fill(4, len, RELIABLE);
            counted.poll();
            counted.pass(20 * MS);
            counted.assert_send_buffer(&format!("{len} bytes, round {round}, {} sent", counted.sent));
            acked = (acked + counted.sent) / 2;
            counted.acknowledge(acked, u32::MAX, &[]);
            counted.poll();
        }
        let stats = counted.victim.association.stats();
        assert!(stats.flight_size > 0);
        assert!(counted.peak > 300 << 10, "{} bytes: the buffer was used", counted.peak);
    }
}

/// A service that sends back what it receives, and waits for room when there is none.
#[test]
fn e21_an_echo_service_whose_peer_closes_its_window() {
    let mut counted = Counted::new(small());
    counted.acknowledge(0, 0, &[]);
    let mut tsn = 0_u32;
    for round in 0..1_500 {
        let stream = round % 4;
        let chunks: Vec<Vec<u8>> = (0..50_u16)
            .map(|_| {
                tsn += 1;
                let data = DataChunk {
                    tsn: Tsn(PEER_TSN + tsn - 1),
                    stream: StreamId(stream),
                    ssn: Ssn(0),
                    ppid: Ppid(53),
                    unordered: true,
                    beginning: true,
                    ending: true,
                    immediate: false,
                };
                chunk(|out| data.encode(&[7], out))
            })
            .collect();
        counted.deliver(&chunks);
        counted.acknowledge(counted.sent, 0, &[]);
        counted.poll();
        while let Some(message) = counted.unread.front() {
            if counted.send(message.stream, message.payload.len(), RELIABLE).is_err() {
                break;
            }
            counted.count(|own| {
                if let Some(message) = own.unread.pop_front() {
                    own.victim.association.release(message.credit);
                }
            });
        }
        counted.poll();
        counted.pass(MS);
        counted.assert_bounded(&format!("after {tsn} messages"));
        assert_eq!(counted.victim.association.state(), State::Established);
    }
    assert!(!counted.unread.is_empty(), "the service waits for room");
}

/// A peer that acknowledges by gap reports alone, and ignores every FORWARD-TSN.
#[test]
fn f11_what_is_given_up_counts_as_long_as_the_peer_keeps_it_outstanding() {
    let mut counted = Counted::new(small());
    let options = SendOptions { reliability: Reliability::MaxRetransmits(0), unordered: true, ..RELIABLE };
    let mut accepted = 0;
    let mut refused = 0;
    for round in 0_u32.. {
        for _ in 0..16 {
            match counted.send(StreamId(1), 1, options) {
                Ok(()) => accepted += 1,
                Err(SendMessageError::Full) => refused += 1,
                Err(error) => panic!("{error}"),
            }
        }
        // It stays full: nothing that is given up makes room, however long the peer goes on.
        if refused > 4_000 {
            break;
        }
        assert!(round < 4_000, "{accepted} accepted: the buffer has no end");
        counted.poll();
        counted.pass(5 * MS);
        // The first is missing for ever, and every other one of those behind it.
        let last = counted.sent.min(60_000);
        let from = last.saturating_sub(200).max(2);
        let blocks: Vec<(u16, u16)> =
            (from..=last).filter(|offset| offset % 2 == 0).map(|offset| (offset as u16, offset as u16)).collect();
        counted.acknowledge(0, 1 << 30, &blocks);
        counted.poll();
        if round % 100 == 0 {
            counted.assert_send_buffer(&format!("{accepted} accepted, {} sent", counted.sent));
        }
    }
    counted.assert_send_buffer("in the end");
    // Each is charged 353 bytes until it is acknowledged or skipped.
    let fit = small().send_buffer / 353;
    assert!(accepted <= fit + fit / 100 && accepted > fit / 2, "{accepted} accepted of {fit} that fit");
    assert_eq!(counted.send(StreamId(1), 1, options), Err(SendMessageError::Full));
    // The peer moves on, and there is room again.
    counted.acknowledge(counted.sent, 1 << 30, &[]);
    counted.poll();
    assert_eq!(counted.send(StreamId(1), 1, options), Ok(()));
    counted.pass(SECOND);
    assert!(counted.held < 64 * KIB, "{} bytes held", counted.held);
}

#[test]
fn b26_every_stream_in_use_counts_and_is_given_back() {
    let mut counted = Counted::new(AssociationConfig::default());
    let streams = counted.victim.association.outbound_streams();
    let mut used = 0;
    for stream in 0..streams {
        assert_eq!(counted.send(StreamId(stream), 1, RELIABLE), Ok(()), "stream {stream}");
        used += 1;
        counted.poll();
        counted.acknowledge(counted.sent, 1 << 30, &[]);
        counted.poll();
    }
    assert!(counted.held <= 256 * i64::from(used) + 64 * KIB, "{} bytes for {used} streams", counted.held);
}

/// A flood of the peer's data to an association whose application does not read.
struct Flood {
    /// Bytes of each chunk's payload, and of a PAD chunk behind it in its packet.
    payload: usize,
    padding: usize,
    unordered: bool,
    /// True if each chunk begins a message, and true if it ends one.
    parts: [bool; 2],
    /// TSNs from one chunk to the next.
    step: u32,
    streams: u16,
    /// True if the application takes messages from the association, and keeps them unread.
    takes: bool,
}

impl Flood {
    fn chunk(&self, n: u32) -> Vec<u8> {
        let data = DataChunk {
            tsn: Tsn(PEER_TSN.wrapping_add(self.step - 1).wrapping_add(n * self.step)),
            stream: StreamId((n % u32::from(self.streams)) as u16),
            // In sequence if nothing is missing, and otherwise one behind what is expected.
            ssn: Ssn((n / u32::from(self.streams) + self.step - 1) as u16),
            ppid: Ppid(53),
            unordered: self.unordered,
            beginning: self.parts[0],
            ending: self.parts[1],
            immediate: false,
        };
        chunk(|out| data.encode(&vec![7; self.payload], out))
    }

    /// Sends so many chunks, whatever the window says, and returns what the association holds in the end.
    fn run(&self, count: u32, check: impl Fn(&Counted, &str)) -> Counted {
        let mut counted = Counted::new(AssociationConfig { receive_window: 512 << 10, ..small() });
        for n in 0..count {
            let mut chunks = vec![self.chunk(n)];
            if self.padding > 0 {
                chunks.push(raw(ChunkType::PAD, 0, &vec![0; self.padding]));
            }
            counted.deliver(&chunks);
            if self.takes {
                counted.poll();
            } else {
                counted.transmit();
            }
            if n % 64 == 0 || n + 1 == count {
                check(&counted, &format!("{n} chunks of {} bytes", self.payload));
            }
        }
        assert_eq!(counted.victim.association.state(), State::Established);
        let taken = counted.victim.association.stats().data_chunks_received;
        assert!(taken > 300 && taken < u64::from(count), "{taken} of {count} were taken, then the window was full");
        // Messages that the application has taken are in its own memory, but for the payload.
        assert!(self.takes || counted.peak > 128 * KIB, "{} bytes: the window was used", counted.peak);
        counted
    }
}

#[test]
fn d09_small_messages_that_nobody_reads_hold_no_more_than_they_are_charged() {
    for (unordered, step, takes) in [(false, 1, false), (true, 1, false), (false, 1, true), (false, 2, false)] {
        let flood = Flood { payload: 1, padding: 0, unordered, parts: [true; 2], step, streams: 16, takes };
        flood.run(6_000, Counted::assert_charged);
    }
}

/// A payload is a slice of its packet, which stays for as long as the slice.
#[test]
fn d09_messages_in_packets_that_are_much_larger_hold_twice_the_window_at_most() {
    for (payload, count) in [(1, 6_000), (100, 3_000), (400, 1_500), (1_000, 1_000)] {
        for padding in [payload / 3, 3 * payload, 1_100 - payload] {
            let flood =
                Flood { payload, padding, unordered: true, parts: [true; 2], step: 1, streams: 1, takes: false };
            flood.run(count, Counted::assert_receive_window);
        }
    }
}

#[test]
fn d08_messages_begun_and_never_finished_hold_no_more_than_they_are_charged() {
    for (parts, count) in [([true, false], 65_000), ([false, false], 4_000), ([false, true], 4_000)] {
        for (unordered, streams) in [(true, 16), (false, 1)] {
            let flood = Flood { payload: 1, padding: 0, unordered, parts, step: 2, streams, takes: false };
            flood.run(if streams == 1 { 4_000 } else { count }, Counted::assert_charged);
        }
    }
}
