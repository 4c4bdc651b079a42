//! The sender when messages interleave (RFC 8260): I-DATA and I-FORWARD-TSN.

use super::super::freshness::RateSeen;
use super::super::notices::Notices;
use super::super::stream::StreamQueues;
use super::*;
use crate::serial::Mid;
use crate::wire::{ChunkType, IDataChunk, IForwardTsn, SkippedMessage};

/// Bytes of user data in a full packet.
const I_FULL: usize = 1200 - PACKET_HEADER_LEN - IDataChunk::HEADER_LEN;

fn interleaving() -> World {
    let mut world = World::measured();
    world.sender.on_established(1 << 20, true, DataFormat::IData, &world.path);
    world
}

/// Chunks of a packet.
#[derive(Default)]
struct Packet {
    data: Vec<(IDataChunk, usize)>,
    skips: Vec<(u64, Vec<SkippedMessage>)>,
}

impl World {
    /// Writes one packet and returns its chunks, none of which may be DATA or FORWARD-TSN.
    fn interleaved_packet(&mut self) -> Packet {
        let mut bytes = vec![0; PACKET_HEADER_LEN];
        let room = PacketRoom { end: self.path.mtu(), floor_end: self.path.mtu_floor(), may_exceed_mtu: true };
        self.sender.write(self.now, room, &self.path, &mut bytes);
        self.sender.check_consistency(&self.path);
        assert!(bytes.len() <= self.path.mtu());
        let mut packet = Packet::default();
        for chunk in Chunks::new(&bytes).map(Result::unwrap) {
            let value = chunk.value_in(&bytes);
            match chunk.kind {
                ChunkType::I_DATA => {
                    let header = IDataChunk::decode(chunk.flags, value).unwrap();
                    packet.data.push((header, value.len() + 4 - IDataChunk::HEADER_LEN));
                }
                ChunkType::I_FORWARD_TSN => {
                    let skip = IForwardTsn::decode(value).unwrap();
                    let new = self.first.unwrap_near(skip.new_cumulative_tsn).distance_from(self.first);
                    packet.skips.push((new, skip.streams().collect()));
                }
                other => panic!("{other:?}"),
            }
        }
        packet
    }

    /// Writes packets until none may leave, and returns their I-DATA.
    fn interleaved_packets(&mut self) -> Vec<(IDataChunk, usize)> {
        let packets = std::iter::repeat_with(|| self.interleaved_packet().data);
        packets.take_while(|data| !data.is_empty()).flatten().collect()
    }
}

/// Returns (stream, MID, FSN, B, E) of each chunk.
fn places(chunks: &[(IDataChunk, usize)]) -> Vec<(u16, u32, u32, bool, bool)> {
    chunks.iter().map(|(c, _)| (c.stream.0, c.mid.0, c.fsn.0, c.beginning, c.ending)).collect()
}

#[test]
fn a_small_message_waits_for_one_packet_of_a_large_one() {
    let mut world = interleaving();
    world.push(1, 100 * I_FULL);
    assert_eq!(places(&world.interleaved_packet().data), [(1, 0, 0, true, false)]);
    world.push(2, 64);
    let behind = [world.interleaved_packet(), world.interleaved_packet()].map(|packet| places(&packet.data));
    assert!(behind.concat().contains(&(2, 0, 0, true, true)), "{behind:?}");
}

#[test]
fn messages_of_several_streams_are_begun_at_once_and_each_stream_has_one_at_a_time() {
    let mut world = interleaving();
    for stream in [1, 2] {
        world.push(stream, 2 * I_FULL);
        world.push(stream, 10);
    }
    let sent = world.interleaved_packets();
    for stream in [1, 2] {
        let of_stream = places(&sent).into_iter().filter(|chunk| chunk.0 == stream);
        let expected = [(stream, 0, 0, true, false), (stream, 0, 1, false, true), (stream, 1, 0, true, true)];
        assert_eq!(of_stream.collect::<Vec<_>>(), expected);
    }
    let first_end = sent.iter().position(|(chunk, _)| chunk.ending).unwrap();
    assert_eq!(sent[..first_end].iter().filter(|(chunk, _)| chunk.beginning).count(), 2, "both are begun first");
    assert!(sent.iter().all(|(chunk, _)| chunk.ppid == Ppid(if chunk.beginning { 53 } else { 0 })));
}

#[test]
fn ordered_and_unordered_messages_are_counted_apart_and_wrap_after_32_bits() {
    let mut world = interleaving();
    world.sender.queue.streams.set_next_mids(StreamId(1), Mid(u32::MAX));
    for unordered in [false, true, true, false, true] {
        world.push_with(1, 10, SendOptions { unordered, ..SendOptions::default() });
    }
    world.push(2, 10);
    let sent = world.interleaved_packets();
    let numbers: Vec<_> = sent.iter().map(|(chunk, _)| (chunk.stream.0, chunk.unordered, chunk.mid.0)).collect();
    let of_stream = |stream| numbers.iter().filter(move |chunk| chunk.0 == stream).map(|chunk| (chunk.1, chunk.2));
    let expected = [(false, u32::MAX), (true, u32::MAX), (true, 0), (false, 0), (true, 1)];
    assert_eq!(of_stream(1).collect::<Vec<_>>(), expected);
    assert_eq!(of_stream(2).collect::<Vec<_>>(), [(false, 0)]);
}

#[test]
fn a_reset_of_the_stream_sets_both_counters_to_zero() {
    let mut world = interleaving();
    for unordered in [false, true, false, true] {
        world.push_with(1, 10, SendOptions { unordered, ..SendOptions::default() });
    }
    assert_eq!(world.interleaved_packets().last().map(|(chunk, _)| chunk.mid), Some(Mid(1)));
    world.sack(4, &[]);
    world.sender.begin_reset(StreamId(1));
    world.sender.finish_reset(StreamId(1));
    for unordered in [false, true] {
        world.push_with(1, 10, SendOptions { unordered, ..SendOptions::default() });
    }
    assert!(world.interleaved_packets().iter().all(|(chunk, _)| chunk.mid == Mid(0)));
}

#[test]
fn a_retransmission_has_the_numbers_of_the_first_transmission() {
    let mut world = interleaving();
    world.push(1, 4 * I_FULL);
    world.push(2, 2 * I_FULL);
    let sent = world.interleaved_packets();
    world.now += 100 * MS;
    world.sack(0, &[(3, 6)]);
    let again = world.interleaved_packets();
    assert_eq!(again.len(), 2);
    assert_eq!(again, sent[..2]);
}

/// The bound on outstanding ordered messages is DATA's, whose numbers have 16 bits.
#[test]
fn more_ordered_messages_than_an_ssn_counts_may_be_outstanding() {
    for (format, expected) in [(DataFormat::Data, 32_768), (DataFormat::IData, 70_000)] {
        let (mut queues, mut notices) = (StreamQueues::new(1 << 30, 1000), Notices::default());
        queues.set_format(format);
        for _ in 0..70_000 {
            queues.push(some_time(), StreamId(1), Ppid(53), Bytes::from_static(b"x"), SendOptions::default());
        }
        let mut tsn = UnwrappedTsn::first(Tsn(5));
        let mut last = None;
        while queues.peek(some_time(), RateSeen::default, &mut notices).is_some() {
            last = queues.cut(tsn, 1000, 1000, &mut notices).map(|fragment| fragment.message.mid);
            tsn = tsn.next();
        }
        assert_eq!(tsn, UnwrappedTsn::first(Tsn(5)).add(expected), "{format:?}");
        assert_eq!(last.map(|mid| u64::from(mid.0) + 1), Some(expected));
    }
}

#[test]
fn several_begun_messages_are_abandoned_each_with_its_rest() {
    let mut world = interleaving();
    for stream in [1, 2, 3] {
        world.push(stream, 20 * I_FULL);
    }
    // 0: stream 1, 1: stream 2, 2: stream 3, and so on.
    assert_eq!(world.interleaved_packets().len(), 10);
    for stream in [2, 1] {
        assert!(world.sender.discard_unsent(world.now, StreamId(stream)) > 15 * I_FULL);
        world.sender.check_consistency(&world.path);
    }
    assert_eq!(world.abandoned(), [20 * I_FULL; 2]);
    let skipped = |stream| SkippedMessage { stream: StreamId(stream), unordered: false, mid: Mid(0) };
    // It goes with the next chunk that the pacer lets out.
    let packet = world.interleaved_packet();
    assert!(packet.skips.is_empty() && packet.data.is_empty());
    world.now += 25 * MS;
    let packet = world.interleaved_packet();
    assert_eq!(packet.data.len(), 1);
    assert_eq!(packet.skips, [(1, vec![skipped(1), skipped(2)])], "up to the first chunk of stream 3");
    world.now += 100 * MS;
    world.sack(10, &[]);
    // The placeholders of the two rests are 10 and 11.
    let packet = world.interleaved_packet();
    assert_eq!(packet.skips, [(11, vec![skipped(2), skipped(1)])]);
    let rest = world.interleaved_packets();
    assert!(packet.data.iter().chain(&rest).all(|(chunk, _)| chunk.stream == StreamId(3)));
    assert!(rest.len() > 5);
}

#[test]
fn a_skip_names_each_stream_once_for_ordered_and_once_for_unordered_messages() {
    let mut world = interleaving();
    for unordered in [false, true, false, true, true] {
        world.push_with(7, 10, SendOptions { unordered, ..once() });
    }
    world.push_with(8, 10, SendOptions { unordered: true, ..once() });
    assert_eq!(world.interleaved_packets().len(), 6);
    world.now += 1000 * MS;
    world.sender.on_t3_timeout(world.now, false, &world.path);
    let entry = |stream, unordered, mid| SkippedMessage { stream: StreamId(stream), unordered, mid: Mid(mid) };
    let (mut skips, expected) =
        (world.interleaved_packet().skips, [entry(7, false, 1), entry(7, true, 2), entry(8, true, 0)]);
    let (new, mut entries) = skips.pop().unwrap();
    entries.sort_by_key(|entry| (entry.stream, entry.unordered));
    assert_eq!((new, &entries[..]), (5, &expected[..]));
}

#[test]
fn entries_that_do_not_fit_follow_when_the_peer_has_taken_the_first() {
    let mut world = interleaving();
    for stream in 0..300 {
        world.push_with(stream, 1, once());
    }
    let mut sent = 0;
    while sent < 300 {
        sent += world.interleaved_packets().len() as u64;
        if let Some(at) = world.sender.paced_until() {
            world.now = world.now.max(at);
        }
    }
    world.now += 1000 * MS;
    world.sender.on_t3_timeout(world.now, false, &world.path);
    let first = world.interleaved_packet().skips;
    let fits = (1200 - PACKET_HEADER_LEN - IForwardTsn::HEADER_LEN) / 8;
    assert_eq!(first.iter().map(|(new, entries)| (*new, entries.len())).collect::<Vec<_>>(), [(fits as u64 - 1, fits)]);
    world.sack(fits as u64, &[]);
    let second = world.interleaved_packet().skips;
    assert_eq!(
        second.iter().map(|(new, entries)| (*new, entries.len())).collect::<Vec<_>>().first().map(|s| s.1),
        Some(fits)
    );
}

#[test]
fn a_chunk_is_four_bytes_shorter_and_waiting_messages_are_charged_for_that() {
    let mut world = World::measured();
    world.push(1, FULL);
    let before = world.sender.charged();
    world.sender.on_established(1 << 20, true, DataFormat::IData, &world.path);
    world.sender.check_consistency(&world.path);
    assert!(world.sender.charged() > before, "it takes two chunks now");
    assert_eq!(world.interleaved_packets().iter().map(|(_, len)| *len).collect::<Vec<_>>(), [I_FULL, 4]);
}
