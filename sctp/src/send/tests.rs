//! The sender as a whole, without an association: which chunks it writes after which SACKs and time-outs.

#![expect(clippy::cast_possible_truncation, reason = "numbers in tests are small")]

mod abandoning;
mod interleaving;
mod losses;
mod outstanding;
mod rack;
mod sacks;
mod sizes;
mod streams;

use super::*;
use crate::message::Reliability;
use crate::testing::some_time;
use crate::time::Duration;
use crate::wire::{Chunks, DataChunk, GapBlock, PACKET_HEADER_LEN, Sack};

const MS: Duration = Duration::from_millis(1);

/// Bytes of a packet in these tests.
const MTU: usize = 1200;

/// Bytes of user data in a full packet.
const FULL: usize = MTU - PACKET_HEADER_LEN - DataChunk::HEADER_LEN;

/// A sender of an established association, whose TSNs wrap after the second.
struct World {
    sender: Sender,
    path: Path,
    now: Instant,
    first: UnwrappedTsn,
}

/// A DATA chunk in a packet. Numbers count from the initial TSN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Written {
    number: u64,
    stream: StreamId,
    len: usize,
}

impl World {
    fn new() -> Self {
        Self::with_config(&AssociationConfig::default())
    }

    fn with_config(config: &AssociationConfig) -> Self {
        let config = AssociationConfig { mtu: MTU, ..config.clone() };
        let (path, initial) = (Path::new(&config), Tsn(u32::MAX - 1));
        let mut sender = Sender::new(&config, &path, initial);
        sender.on_established(1 << 20, true, DataFormat::Data, &path);
        Self { sender, path, now: some_time(), first: UnwrappedTsn::first(initial) }
    }

    /// Creates a world whose path has a round-trip time of 100 ms.
    fn measured() -> Self {
        let mut world = Self::new();
        world.path.rto.on_sample(100 * MS);
        world
    }

    fn push(&mut self, stream: u16, len: usize) {
        self.push_with(stream, len, SendOptions::default());
    }

    fn push_with(&mut self, stream: u16, len: usize, options: SendOptions) {
        self.sender.push(self.now, StreamId(stream), Ppid(53), vec![7; len].into(), options).unwrap();
    }

    /// Writes one packet, the first of a batch or not. Returns its length and its DATA chunks.
    fn packet_in_batch(&mut self, is_first: bool) -> (usize, Vec<Written>) {
        let mut packet = vec![0; PACKET_HEADER_LEN];
        let room = PacketRoom { end: self.path.mtu(), floor_end: self.path.mtu_floor(), may_exceed_mtu: is_first };
        self.sender.write(self.now, room, &self.path, &mut packet);
        self.sender.check_consistency(&self.path);
        let chunks = Chunks::new(&packet).map(Result::unwrap);
        let data = chunks.filter(|chunk| chunk.kind == crate::wire::ChunkType::DATA).map(|chunk| {
            let header = DataChunk::decode(chunk.flags, chunk.value_in(&packet)).unwrap();
            let number = self.first.unwrap_near(header.tsn).distance_from(self.first);
            Written { number, stream: header.stream, len: chunk.value.len() - (DataChunk::HEADER_LEN - 4) }
        });
        let data = data.collect();
        (packet.len(), data)
    }

    /// Writes one packet and returns its DATA chunks.
    fn packet(&mut self) -> Vec<Written> {
        self.packet_in_batch(true).1
    }

    /// Writes packets until none may leave, and returns the numbers of the chunks in each.
    fn packets(&mut self) -> Vec<Vec<u64>> {
        let mut packets = Vec::new();
        loop {
            let packet = self.packet();
            if packet.is_empty() {
                return packets;
            }
            packets.push(packet.iter().map(|chunk| chunk.number).collect());
        }
    }

    /// Sends what the congestion window takes, however long the pacer spreads it. Returns the number of packets.
    fn paced_packets(&mut self) -> u64 {
        let mut count = 0;
        loop {
            count += self.packets().len() as u64;
            let Some(at) = self.sender.paced_until() else { return count };
            self.now = self.now.max(at);
        }
    }

    /// Handles a SACK of all chunks below the number `acked`, with gap blocks as offsets, and a window.
    fn sack_with(&mut self, acked: u64, blocks: &[(u16, u16)], a_rwnd: u32, duplicates: &[u64]) -> SackOutcome {
        let mut chunk = Vec::new();
        let blocks = blocks.iter().map(|(start, end)| GapBlock { start: *start, end: *end });
        let duplicates = duplicates.iter().map(|number| self.first.add(*number).wrap());
        Sack::encode(self.first.add(acked).prev().wrap(), a_rwnd, blocks, duplicates, &mut chunk);
        let outcome = self.sender.on_sack(self.now, &Sack::decode(&chunk[4..]).unwrap(), &self.path).unwrap();
        if let SackOutcome::Accepted { rtt: Some(rtt), .. } = outcome {
            self.path.rto.on_sample(rtt);
        }
        self.sender.check_consistency(&self.path);
        outcome
    }

    fn sack(&mut self, acked: u64, blocks: &[(u16, u16)]) -> SackOutcome {
        self.sack_with(acked, blocks, 1 << 20, &[])
    }

    /// Returns the time from now to the next probe.
    fn probe_wait(&self) -> Option<Duration> {
        let at = self.sender.probe_deadline(self.now, &self.path)?;
        Some(at.saturating_duration_since(self.now))
    }

    /// Returns the lengths of the messages that were abandoned since the last call.
    fn abandoned(&mut self) -> Vec<usize> {
        std::iter::from_fn(|| self.sender.poll_notice())
            .filter_map(|notice| match notice {
                AssociationEvent::Abandoned { bytes, .. } => Some(bytes),
                _ => None,
            })
            .collect()
    }
}

fn once() -> SendOptions {
    SendOptions { reliability: Reliability::MaxRetransmits(0), ..SendOptions::default() }
}
