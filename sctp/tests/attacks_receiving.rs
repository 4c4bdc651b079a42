//! Cost for the receiver when a peer makes it work for nothing (RFC 9260 §6.2, RFC 3758 §3.6). Each test bears the id
//! of its row in the list of attacks.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod victim;

use narrowboat_sctp::testing::wire::{ChunkType as C, ForwardTsn};
use narrowboat_sctp::{AssociationConfig, Ppid, Ssn, State, StreamId, Tsn};
use victim::cost::steps;
use victim::{DataChunk, PEER_TSN, Victim, chunk, packet};

/// A byte with the I bit: an unordered message, or a part of one. `number` counts TSNs from the peer's first.
fn byte(number: u32, flags: &str) -> Vec<u8> {
    let header = DataChunk {
        tsn: Tsn(PEER_TSN + number),
        stream: StreamId(1),
        ssn: Ssn(0),
        ppid: Ppid(53),
        unordered: true,
        beginning: flags.contains('B'),
        ending: flags.contains('E'),
        immediate: true,
    };
    chunk(|out| header.encode(b"x", out))
}

/// Cost of packets.
#[derive(Default, Debug)]
struct Cost {
    packets: u64,
    /// Bytes of the packets.
    bytes: u64,
    steps: u64,
    /// Most steps that a packet took, with its answer.
    steps_max: u64,
}

impl Cost {
    /// Hands in a packet, reads messages, and sends what is due: one SACK at most.
    fn deliver(&mut self, victim: &mut Victim, is_read: bool, chunks: &[Vec<u8>]) {
        let datagram = packet(victim.tag, chunks);
        self.packets += 1;
        self.bytes += datagram.len() as u64;
        let now = victim.now;
        let mut buffer = Vec::new();
        let mut sent = None;
        let taken = steps(|| {
            victim.association.handle_datagram(now, datagram);
            if is_read {
                while let Some(event) = victim.association.poll_event() {
                    if let narrowboat_sctp::AssociationEvent::Message(message) = event {
                        victim.association.release(message.credit);
                    }
                }
            }
            sent = victim.association.poll_transmit(now, 64, &mut buffer);
        });
        let segment = sent.map_or(0, |transmit| transmit.segment_size);
        assert_eq!(buffer.len(), segment, "one packet answers one packet");
        let sacks = if segment == 0 { 0 } else { victim::chunks_of(&buffer.into()).iter().filter(is_sack).count() };
        assert!(sacks <= 1, "{sacks} SACKs for a packet");
        assert!(victim.association.poll_transmit(now, 64, &mut Vec::new()).is_none(), "nothing follows");
        assert_eq!(victim.association.state(), State::Established);
        self.steps += taken;
        self.steps_max = self.steps_max.max(taken);
    }

    #[track_caller]
    fn assert_within(&self, per_byte: u64, per_packet: u64, what: &str) {
        assert_eq!(self.steps > 0, cfg!(debug_assertions), "{what}: {self:?}");
        assert!(self.steps <= per_byte * self.bytes, "{what}: {self:?}");
        assert!(self.steps_max <= per_packet, "{what}: {self:?}");
    }
}

fn is_sack(sent: &&victim::Sent) -> bool {
    sent.kind == C::SACK
}

/// Gap Ack Blocks of a SACK that fills a packet. They are counted, then written.
const BLOCKS: u64 = 293;

/// Ranges of TSNs that the receiver remembers above the Cumulative TSN Ack Point.
const RANGES: u32 = 2048;

#[test]
fn d16_a_byte_in_each_packet_with_the_i_bit_costs_the_same_whatever_came_before() {
    // In sequence, and read at once.
    let (mut victim, mut cost) = (Victim::in_state(State::Established), Cost::default());
    (0..20_000).for_each(|n| cost.deliver(&mut victim, true, &[byte(n, "BE")]));
    assert_eq!(victim.association.stats().data_chunks_received, 20_000);
    cost.assert_within(1, 4, "in sequence");

    // Many in a packet are answered once.
    let (mut victim, mut cost) = (Victim::in_state(State::Established), Cost::default());
    for n in 0..500 {
        let chunks: Vec<_> = (0..58).map(|chunk| byte(58 * n + chunk, "BE")).collect();
        cost.deliver(&mut victim, true, &chunks);
    }
    cost.assert_within(1, 120, "58 in a packet");

    // The same again and again.
    let mut cost = Cost::default();
    (0..5_000).for_each(|_| cost.deliver(&mut victim, true, &[byte(7, "BE")]));
    cost.assert_within(1, 4, "duplicates");

    // Nobody reads, and the window is full.
    let config = AssociationConfig { receive_window: 64 << 10, ..AssociationConfig::default() };
    let (mut victim, mut cost) = (Victim::with_config(State::Established, config), Cost::default());
    (0..20_000).for_each(|n| cost.deliver(&mut victim, false, &[byte(n, "BE")]));
    assert!(victim.association.stats().data_chunks_received < 1_000, "the window was never full");
    cost.assert_within(1, 4, "unread");
}

#[test]
fn d16_a_byte_behind_each_of_many_gaps_costs_what_a_full_sack_and_a_full_list_of_gaps_cost() {
    let (mut victim, mut cost) = (Victim::in_state(State::Established), Cost::default());
    // More gaps than are remembered, from above, so that each is put before all others, and from below.
    (1..4_000).for_each(|n| cost.deliver(&mut victim, true, &[byte(2 * n, "BE")]));
    (1..4_000).rev().for_each(|n| cost.deliver(&mut victim, true, &[byte(60_000 + 2 * n, "BE")]));
    let taken = victim.association.stats().data_chunks_received;
    assert_eq!(taken, u64::from(RANGES), "ranges that are remembered");
    // The middle ones grow together, and make room for others.
    for n in 1..RANGES {
        let middle = if n % 2 == 0 { RANGES + n } else { RANGES - n };
        cost.deliver(&mut victim, true, &[byte(middle | 1, "BE")]);
        cost.deliver(&mut victim, true, &[byte(60_000 + 2 * n, "BE")]);
    }
    assert!(victim.association.stats().data_chunks_received > taken + 1_000);
    cost.assert_within(40, 2 * BLOCKS + u64::from(RANGES / 2) + 16, "gaps");
}

fn forward(to: u32, streams: &[(u16, u16)]) -> Vec<u8> {
    let streams: Vec<_> = streams.iter().map(|&(stream, ssn)| (StreamId(stream), Ssn(ssn))).collect();
    chunk(|out| ForwardTsn::encode(Tsn(PEER_TSN + to), streams.into_iter(), out))
}

/// Returns the cost of a FORWARD-TSN across `distance` TSNs. Spread evenly among them are `stored` beginnings of
/// messages, and as many whole messages that wait for the one before them.
fn cost_of_jump(distance: u32, stored: u16) -> u64 {
    let mut victim = Victim::in_state(State::Established);
    for n in 0..stored {
        let at = 1 + u32::from(n) * (distance / u32::from(stored));
        let waiting = chunk(|out| victim::data_chunk(at + 2, Ssn(2 * n + 1)).encode(b"x", out));
        victim.association.handle_datagram(victim.now, packet(victim.tag, &[byte(at, "B"), waiting]));
    }
    assert_eq!(victim.association.stats().data_chunks_received, 2 * u64::from(stored));
    let datagram = packet(victim.tag, &[forward(distance, &[(1, 2 * stored)])]);
    let cost = steps(|| victim.association.handle_datagram(victim.now, datagram));
    victim.poll();
    assert_eq!(victim.messages().len(), usize::from(stored));
    cost
}

#[test]
fn f04_a_jump_costs_what_is_stored_and_not_its_distance() {
    for stored in [0, 1, 500] {
        let costs = [2_000, 20_000, 100_000, 240_000].map(|distance| cost_of_jump(distance, stored));
        assert_eq!(costs[0] > 0, cfg!(debug_assertions));
        assert!(costs.iter().all(|cost| *cost == costs[0]), "{stored} stored: {costs:?}");
        assert!(costs[0] <= 8 + 8 * u64::from(stored), "{stored} stored: {costs:?}");
    }
}
