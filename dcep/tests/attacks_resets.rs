//! A peer that asks for stream resets without end, with channels on top (RFC 6525 §5.2, RFC 8831 §6.7). Each test bears
//! the id of its row in the list of attacks.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail this way")]
#![expect(clippy::disallowed_methods, reason = "the zero of a clock that only the pair moves")]

mod pair;

use bytes::Bytes;
use narrowboat_dcep::ChannelsEvent;
use narrowboat_sctp::testing::wire::{self, ChunkType, DataChunk, PacketHeader, ReconfigWriter, ResetResult, Sack};
use narrowboat_sctp::{Ppid, RequestSn, Ssn, StreamId, Tsn};
use pair::packet::RE_CONFIG;
use pair::{A, B, Fate, Packet, Pair};

/// DATA_CHANNEL_OPEN for a reliable channel with the label "x".
const OPEN: &[u8] = &[3, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, b'x'];

/// Bytes that an allocator may need for a block beside its payload.
const BLOCK_OVERHEAD: i64 = 32;

/// Channels that A may have.
const CHANNELS_MAX: i64 = 300;

/// Results of reset requests (RFC 6525 §4.4).
const PERFORMED: u32 = 1;
const DENIED: u32 = 2;
const ERROR_IN_PROGRESS: u32 = 4;
const IN_PROGRESS: u32 = 6;

/// A's end, and a peer in B's place that sends what a test makes up.
struct Attack {
    pair: Pair,
    header: PacketHeader,
    /// The peer's next TSN and its next request.
    tsn: u32,
    request: u32,
    /// A's next TSN.
    acked: u32,
    /// Memory of A's end since the attack began, and the most that it was.
    held: i64,
    peak: i64,
    buffer: Vec<u8>,
    /// Results of requests, as A gives them.
    results: Vec<u32>,
    /// A's own requests, which are to be answered.
    asked: Vec<RequestSn>,
}

impl Attack {
    fn new() -> Self {
        let channels_max = usize::try_from(CHANNELS_MAX).unwrap();
        // The peer sends DATA.
        let setup = pair::Setup::default().sctp(|config| config.message_interleaving = false);
        let mut pair = Pair::new(setup.channels(|config| config.channels_max = channels_max));
        pair.log = Some(Vec::new());
        pair.connect();
        pair.run();
        pair.clear_events();
        let log = pair.log.take().unwrap();
        // INIT and INIT ACK: chunk header, tag, window, streams, TSN.
        let initial = |kind: u8| {
            let chunks =
                log.iter().find_map(|packet| packet.chunks().find(|chunk| chunk.0 == kind).map(|chunk| chunk.1));
            u32::from_be_bytes(chunks.unwrap()[16..20].try_into().unwrap())
        };
        let (acked, tsn) = (initial(ChunkType::INIT.0), initial(ChunkType::INIT_ACK.0));
        let from_b = log.iter().rfind(|packet| packet.from == B).unwrap();
        let header = PacketHeader::decode(&from_b.bytes).unwrap();
        pair.network(|_| Fate::Drop);
        let buffer = Vec::with_capacity(1 << 20);
        Self { pair, header, tsn, request: tsn, acked, held: 0, peak: 0, buffer, results: vec![], asked: vec![] }
    }

    fn deliver(&mut self, chunks: &[Vec<u8>]) {
        let mut datagram = Vec::new();
        self.header.encode(&mut datagram);
        datagram.extend(chunks.concat());
        wire::seal(&mut datagram);
        let now = self.pair.now;
        let end = &mut self.pair[A];
        let mut sent = Vec::new();
        let mut more = Some(datagram);
        loop {
            let buffer = &mut self.buffer;
            let mut transmit = None;
            let arriving = more.take();
            let info = allocation_counter::measure(|| {
                if let Some(datagram) = &arriving {
                    end.association.handle_datagram(now, Bytes::copy_from_slice(datagram));
                }
                while let Some(event) = end.channels.poll_event(now, &mut end.association) {
                    // The application lets go of a channel when it has ended.
                    if let ChannelsEvent::Closing(id) | ChannelsEvent::Closed(id, _) = event {
                        end.channels.forget(now, &mut end.association, id);
                    }
                }
                transmit = end.association.poll_transmit(now, 64, buffer);
            });
            self.held += info.bytes_current + BLOCK_OVERHEAD * info.count_current;
            self.peak = self.peak.max(self.held);
            let Some(transmit) = transmit else { break };
            sent.extend(buffer.chunks(transmit.segment_size).map(Bytes::copy_from_slice));
            buffer.clear();
        }
        for bytes in sent {
            let packet = Packet { from: A, bytes };
            self.results.extend(packet.reset_results());
            let requests = packet.chunks().filter(|chunk| chunk.0 == RE_CONFIG && chunk.1[4..6] == [0, 13]);
            self.asked.extend(requests.map(|chunk| RequestSn(u32::from_be_bytes(chunk.1[8..12].try_into().unwrap()))));
            for (_, chunk) in packet.chunks().filter(|chunk| chunk.0 == ChunkType::DATA.0) {
                let next = u32::from_be_bytes(chunk[4..8].try_into().unwrap()).wrapping_add(1);
                self.acked = if next.wrapping_sub(self.acked) < 1 << 31 { next } else { self.acked };
            }
        }
    }

    /// The next request for these streams, whose last TSN is so many beyond what was sent.
    fn request(&mut self, beyond: u32, streams: &[u16]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = ReconfigWriter::begin(&mut out);
        let last = Tsn(self.tsn.wrapping_sub(1).wrapping_add(beyond));
        writer.push_outgoing_reset(RequestSn(self.request), RequestSn(0), last, streams.iter().copied().map(StreamId));
        writer.finish();
        self.request = self.request.wrapping_add(1);
        out
    }

    /// The next message.
    fn message(&mut self, stream: u16, ssn: u16, ppid: u32, payload: &[u8]) -> Vec<u8> {
        let chunk = DataChunk {
            tsn: Tsn(self.tsn),
            stream: StreamId(stream),
            ssn: Ssn(ssn),
            ppid: Ppid(ppid),
            unordered: false,
            beginning: true,
            ending: true,
            immediate: false,
        };
        self.tsn = self.tsn.wrapping_add(1);
        let mut out = Vec::new();
        chunk.encode(payload, &mut out);
        out
    }

    /// Acknowledges all that A has sent.
    fn acknowledge(&mut self) {
        let mut out = Vec::new();
        let (blocks, duplicates) = (std::iter::empty(), std::iter::empty());
        Sack::encode(Tsn(self.acked.wrapping_sub(1)), 1 << 20, blocks, duplicates, &mut out);
        self.deliver(&[out]);
    }

    /// Answers A's own requests.
    fn answer(&mut self, result: ResetResult) {
        while let Some(request) = self.asked.pop() {
            self.asked.clear();
            let mut out = Vec::new();
            let mut writer = ReconfigWriter::begin(&mut out);
            writer.push_response(request, result, None);
            writer.finish();
            self.deliver(&[out]);
            if result == ResetResult::InProgress {
                self.asked.clear();
            }
        }
    }

    fn count(&self, result: u32) -> usize {
        self.results.iter().filter(|given| **given == result).count()
    }

    #[track_caller]
    fn assert_holds(&self, max: i64, what: &str) {
        assert!(self.peak <= max, "{what}: {} bytes were held", self.peak);
    }
}

/// So many streams from the `n`th list of them on: other ones each time.
fn streams(n: u32, count: u16) -> Vec<u16> {
    let first = (n * 769) % 60_000;
    (0..count).map(|index| u16::try_from(first).unwrap() + 8 * index % 5_000).collect()
}

#[test]
fn g08_ten_thousand_requests_for_ever_other_streams_are_refused_and_nothing_is_kept() {
    // Behind one that waits for data that never comes.
    let mut attack = Attack::new();
    let first = attack.request(10, &streams(0, 200));
    attack.deliver(&[first]);
    assert_eq!(attack.results, [IN_PROGRESS]);
    for n in 1..10_001 {
        let request = attack.request(10, &streams(n, 200));
        attack.deliver(&[request]);
    }
    assert_eq!((attack.count(ERROR_IN_PROGRESS), attack.results.len()), (10_000, 10_001));
    attack.assert_holds(16 << 10, "behind a deferred one");

    // Each for other streams, none of which was ever used.
    let mut attack = Attack::new();
    for n in 0..10_000 {
        let request = attack.request(0, &streams(n, 20));
        attack.deliver(&[request]);
        attack.answer(ResetResult::InProgress);
    }
    let performed = attack.count(PERFORMED);
    assert!((10..40).contains(&performed) && attack.count(DENIED) == 10_000 - performed, "{performed}");
    assert!(!attack.pair[A].association.is_over());
    assert!(attack.pair[A].channels.streams_in_use() <= 256);
    attack.assert_holds(128 << 10, "unused streams");
}

/// Opens up to `count` channels on ever other streams, has a reset of each performed, at once or when what it waits for
/// has come, and answers A's own reset like this. Ends when the association does.
fn open_and_reset(count: u32, is_deferred: bool, answer: Option<ResetResult>) -> Attack {
    let mut attack = Attack::new();
    for n in 0..count {
        if attack.pair[A].association.is_over() {
            break;
        }
        let stream = 2 * u16::try_from(n % 15_000).unwrap() + 1;
        let open = attack.message(stream, 0, 50, OPEN);
        attack.deliver(&[open]);
        let request = attack.request(u32::from(is_deferred), &[stream, stream, 2, 4, 6]);
        let message = attack.message(stream, 1, 51, b"last");
        for chunk in if is_deferred { [request, message] } else { [message, request] } {
            attack.deliver(&[chunk]);
        }
        attack.acknowledge();
        match answer {
            Some(result) => attack.answer(result),
            None => attack.asked.clear(),
        }
    }
    attack
}

#[test]
fn g08_ten_thousand_channels_opened_and_reset_leave_nothing() {
    for is_deferred in [false, true] {
        let attack = open_and_reset(10_000, is_deferred, Some(ResetResult::Performed));
        let expected = if is_deferred { [10_000, 10_000] } else { [0, 10_000] };
        assert_eq!([IN_PROGRESS, PERFORMED].map(|result| attack.count(result)), expected);
        assert_eq!(attack.results.len(), expected[0] + expected[1]);
        let channels = &attack.pair[A].channels;
        assert_eq!((channels.len(), channels.streams_in_use()), (0, 0));
        attack.assert_holds(64 << 10, "channels that are closed at both ends");
    }
}

/// A stream whose reset the peer never answers stays in use. The association ends when there are some hundreds of
/// them more than there may be channels.
#[test]
fn g08_channels_whose_resets_the_peer_never_answers_are_bounded_and_end_the_association() {
    for is_deferred in [false, true] {
        for answer in [None, Some(ResetResult::InProgress)] {
            let attack = open_and_reset(10_000, is_deferred, answer);
            assert!(attack.pair[A].association.is_over());
            let opened = i64::try_from(attack.count(PERFORMED)).unwrap();
            assert!((CHANNELS_MAX..=CHANNELS_MAX + 1_000).contains(&opened), "{opened} were opened");
            attack.assert_holds(1_024 * opened + (64 << 10), "channels that stay half closed");
        }
    }
}
