//! Malformed packets, as far as the codec alone meets them. Each test bears the id of its row in the list of attacks.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::let_underscore_must_use, reason = "some results make no difference to a test")]
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test may fail this way")]

mod round_trip;

use std::path::Path;

use narrowboat_sctp::testing::wire::{
    self, CAUSE_TEXT_MAX, Cause, Causes, ChunkType, Chunks, DataChunk, DecodeError, ForwardTsn, GapBlock, IDataChunk,
    IForwardTsn, Init, PACKET_HEADER_LEN, PacketHeader, ParameterType, Parameters, Reconfig, ReconfigWriter,
    ResetResult, Sack, Shutdown, SkippedMessage,
};
use narrowboat_sctp::{Fsn, Mid, Ppid, RequestSn, Ssn, StreamId, Tsn};

/// The types that RFC 9260 and its extensions define, and some that nobody does.
const TYPES: [u8; 25] =
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 64, 128, 130, 132, 192, 193, 194, 0x7E, 0xFE];

#[test]
fn a02_wrong_checksum() {
    for packet in corpus() {
        let is_intact = wire::is_checksum_valid(&packet);
        let mut packet = packet;
        if !is_intact {
            packet[8..12].fill(0);
            wire::seal(&mut packet);
        }
        assert!(wire::is_checksum_valid(&packet));
        for bit in 0..packet.len() * 8 {
            packet[bit / 8] ^= 1 << (bit % 8);
            assert!(!wire::is_checksum_valid(&packet), "bit {bit}");
            packet[bit / 8] ^= 1 << (bit % 8);
        }
    }
    for len in 0..PACKET_HEADER_LEN {
        assert!(!wire::is_checksum_valid(&vec![0; len]));
    }
}

#[test]
fn a04_zero_length_chunk() {
    let before = valid_chunks().remove(0).encoded;
    for kind in TYPES {
        for len in 0..4 {
            for bytes_behind in [0, 1, 4, 1000] {
                let mut datagram = packet(&[&before, &[kind, 0, 0, len]]);
                datagram.resize(datagram.len() + bytes_behind, 0);
                let mut chunks = Chunks::new(&datagram);
                assert!(chunks.next().unwrap().is_ok(), "what comes before it still counts");
                assert_eq!(chunks.next(), Some(Err(DecodeError::BadLength)), "type {kind}, length {len}");
                assert_eq!(chunks.next(), None, "and what comes after it does not");
                assert_eq!(chunks.next(), None);
                round_trip::check_datagram(&datagram);
            }
        }
    }
}

#[test]
fn a05_chunk_longer_than_the_datagram() {
    let before = valid_chunks().remove(0).encoded;
    for chunk in valid_chunks() {
        let len = u16::from_be_bytes([chunk.encoded[2], chunk.encoded[3]]);
        for beyond in [1, 2, 3, 4, 1000, u16::MAX - len] {
            // Without its padding, so that one byte beyond is one too many.
            let mut bad = chunk.encoded[..len.into()].to_vec();
            bad[2..4].copy_from_slice(&len.saturating_add(beyond).to_be_bytes());
            let datagram = packet(&[&before, &bad]);
            let chunks: Vec<_> = Chunks::new(&datagram).collect();
            assert_eq!(chunks.len(), 2, "{:?} {beyond} beyond", chunk.kind);
            assert_eq!(chunks[0].as_ref().unwrap().whole_in(&datagram).len(), 21);
            assert_eq!(chunks[1], Err(DecodeError::BadLength));
            round_trip::check_datagram(&datagram);
        }
    }
}

#[test]
fn a06_padding_of_every_kind() {
    for last in valid_chunks() {
        let len = usize::from(u16::from_be_bytes([last.encoded[2], last.encoded[3]]));
        // A DATA chunk of 21 bytes in front, its three bytes of padding not zero.
        let mut first = valid_chunks().remove(0).encoded;
        first[21..].fill(0xAA);
        for behind in 0..=3 + last.encoded.len() - len {
            let mut bytes = last.encoded[..len].to_vec();
            bytes.extend(vec![0xFF; behind]);
            let datagram = packet(&[&first, &bytes]);
            let chunks: Vec<_> = Chunks::new(&datagram).map(Result::unwrap).collect();
            assert_eq!(chunks.len(), 2, "{:?} with {behind} bytes behind it", last.kind);
            assert_eq!(chunks[0].value_in(&datagram)[12..], *b"fives");
            assert_eq!(chunks[1].kind, last.kind);
            assert_eq!(chunks[1].value_in(&datagram), last.value());
            round_trip::check_datagram(&datagram);
        }
    }
}

#[test]
fn a07_known_chunk_one_byte_short_or_long() {
    use DecodeError::{BadLength, TooShort};
    // Results of the decoder for a value without its last byte, and for one with a byte more.
    let expected = |chunk: &Sample| match (chunk.kind, chunk.name) {
        (ChunkType::DATA | ChunkType::I_DATA, "no payload") => (Err(TooShort), Ok(())),
        (ChunkType::DATA | ChunkType::I_DATA | ChunkType::COOKIE_ECHO | ChunkType::PAD, _) => (Ok(()), Ok(())),
        (ChunkType::INIT | ChunkType::INIT_ACK, "no parameters") => (Err(TooShort), Err(BadLength)),
        (ChunkType::SHUTDOWN, _) => (Err(TooShort), Err(BadLength)),
        (ChunkType::FORWARD_TSN | ChunkType::I_FORWARD_TSN, "no streams") => (Err(TooShort), Err(BadLength)),
        // A parameter with one byte of padding: that byte may be there.
        (_, "odd parameter") => (Err(BadLength), Ok(())),
        _ => (Err(BadLength), Err(BadLength)),
    };
    let mut seen = Vec::new();
    for chunk in valid_chunks() {
        if chunk.value().is_empty() {
            continue;
        }
        let decodes = |value: &[u8]| decode(chunk.kind, value);
        let value = chunk.value();
        let longer = [value, &[0]].concat();
        assert_eq!(decodes(value), Ok(()), "{:?}, {}", chunk.kind, chunk.name);
        let (short, long) = expected(&chunk);
        assert_eq!(decodes(&value[..value.len() - 1]), short, "{:?}, {}, one byte short", chunk.kind, chunk.name);
        assert_eq!(decodes(&longer), long, "{:?}, {}, one byte long", chunk.kind, chunk.name);
        seen.push(chunk.kind);
    }
    seen.dedup();
    assert_eq!(seen.len(), 15, "all types that have a value: {seen:?}");
    for chunk in valid_chunks() {
        // The length field alone off by one, with the same bytes there; and the chunk cut at every byte.
        for change in [1, 0xFFFF] {
            let mut datagram = packet(&[&chunk.encoded, &valid_chunks()[0].encoded]);
            let len = u16::from_be_bytes([datagram[14], datagram[15]]).wrapping_add(change);
            datagram[14..16].copy_from_slice(&len.to_be_bytes());
            round_trip::check_datagram(&datagram);
        }
        for len in 0..chunk.value().len() {
            round_trip::check_value(chunk.kind, 0xFF, &chunk.value()[..len]);
        }
    }
}

#[test]
fn a08_parameter_length_out_of_bounds() {
    // Parameters that each walker accepts in front of the bad one.
    let walkers: [(ChunkType, &[u8]); 6] = [
        (ChunkType::INIT, &[0, 0, 0, 1, 0, 0, 16, 0, 0, 1, 0, 1, 0, 0, 0, 9]),
        (ChunkType::INIT_ACK, &[0, 0, 0, 1, 0, 0, 16, 0, 0, 1, 0, 1, 0, 0, 0, 9, 0, 7, 0, 4]),
        (ChunkType::HEARTBEAT, &[]),
        (ChunkType::ABORT, &[0, 4, 0, 4]),
        (ChunkType::ERROR, &[0, 10, 0, 4]),
        (ChunkType::RE_CONFIG, &[0, 15, 0, 8, 0, 0, 0, 1]),
    ];
    let bad: [&[u8]; 10] = [
        &[0x80, 5, 0, 0],
        &[0x80, 5, 0, 1],
        &[0x80, 5, 0, 2],
        &[0x80, 5, 0, 3],
        &[0x80, 5, 0, 5],
        &[0x80, 5, 0, 9, 1, 2, 3, 4],
        &[0x80, 5, 0xFF, 0xFF, 1, 2, 3, 4],
        &[0x80],
        &[0x80, 5],
        &[0x80, 5, 0],
    ];
    for (kind, front) in walkers {
        for bad in bad {
            let value = [front, bad].concat();
            assert_eq!(decode(kind, &value), Err(DecodeError::BadLength), "{kind:?} with {bad:?}");
            round_trip::check_value(kind, 0, &value);
            assert_eq!(Parameters::new(bad).collect::<Vec<_>>(), [Err(DecodeError::BadLength)]);
        }
    }
}

#[test]
fn a13_nested_parameters() {
    // Each parameter is the value of the one around it, as deep as a chunk has room for.
    let mut nested = Vec::new();
    let mut depth = 0;
    while nested.len() < 60_000 {
        depth += 1;
        let len = u16::try_from(nested.len() + 4).unwrap();
        nested.splice(..0, [0xC0, 0x42].into_iter().chain(len.to_be_bytes()));
    }
    assert_eq!(depth, 15_000);
    let mut init = vec![0, 0, 0, 1, 0, 0, 16, 0, 0, 1, 0, 1, 0, 0, 0, 9];
    init.extend_from_slice(&nested);
    let init = Init::decode(&init).unwrap();
    let reports: Vec<_> = init.unrecognized().collect();
    assert_eq!(reports, [&nested[..]], "one parameter, the outermost");

    // An error cause that holds a chunk that holds a cause, and so on.
    for first in [6, 8, 11, 13] {
        let mut nested = nested.clone();
        nested[..2].copy_from_slice(&[0, first]);
        assert_eq!(Causes::new(&nested).count(), 1);
        round_trip::check_value(ChunkType::ERROR, 0, &nested);
    }

    // A report of a report of a report.
    let mut reported = Vec::new();
    for _ in 0..1000 {
        let mut outer = Vec::new();
        wire::encode_unrecognized(&reported, &mut outer);
        reported = outer;
    }
    assert_eq!(reported.len(), 4000);
    let parameters: Vec<_> = Parameters::new(&reported).map(Result::unwrap).collect();
    assert_eq!(parameters.len(), 1);
    assert_eq!((parameters[0].kind, parameters[0].value.len()), (ParameterType::UNRECOGNIZED, 3996));
}

#[test]
fn a14_chunks_keep_to_their_own_length() {
    let mut datagram = packet(&[]);
    ForwardTsn::encode(Tsn(9), std::iter::empty(), &mut datagram);
    wire::encode_abort(&[], false, &mut datagram);
    wire::encode_error(&[Cause::StaleCookie(1)], &mut datagram);
    Shutdown { cumulative_tsn_ack: Tsn(7) }.encode(&mut datagram);
    DATA.encode(b"fives", &mut datagram);
    let chunks: Vec<_> = Chunks::new(&datagram).map(Result::unwrap).collect();
    let values: Vec<_> = chunks.iter().map(|chunk| (chunk.kind, chunk.value_in(&datagram))).collect();
    let [(forward, skipped), (abort, none), (error, causes), (shutdown, ack), (data, payload)] = values[..] else {
        panic!("{chunks:?}")
    };
    assert_eq!(
        [forward, abort, error, shutdown, data],
        [ChunkType::FORWARD_TSN, ChunkType::ABORT, ChunkType::ERROR, ChunkType::SHUTDOWN, ChunkType::DATA]
    );
    let skipped = ForwardTsn::decode(skipped).unwrap();
    assert_eq!((skipped.new_cumulative_tsn, skipped.streams().len()), (Tsn(9), 0), "the ABORT is not a stream");
    assert_eq!(Causes::new(none).count(), 0, "the ERROR is not a cause");
    assert!(Causes::new(causes).eq([Ok(Cause::StaleCookie(1))]));
    assert_eq!(Shutdown::decode(ack), Ok(Shutdown { cumulative_tsn_ack: Tsn(7) }));
    assert_eq!((DataChunk::decode(chunks[4].flags, payload), &payload[12..]), (Ok(DATA), &b"fives"[..]));
    round_trip::check_datagram(&datagram);
}

#[test]
fn a17_sack_counts_beyond_the_chunk() {
    for blocks in [0, 1, 2, 255, 16_380, u16::MAX] {
        for duplicates in [0, 1, 2, 255, 16_380, u16::MAX] {
            for entries in 0..5 {
                let mut value = vec![0, 0, 0, 9, 0, 1, 0, 0];
                value.extend(u16::to_be_bytes(blocks));
                value.extend(u16::to_be_bytes(duplicates));
                value.extend(vec![1; entries * 4]);
                let fits = usize::from(blocks) + usize::from(duplicates) == entries;
                assert_eq!(Sack::decode(&value).is_ok(), fits, "{blocks} blocks, {duplicates} duplicates");
                round_trip::check_value(ChunkType::SACK, 0, &value);
            }
        }
    }
}

#[test]
fn a19_cause_with_a_bad_length_or_a_long_text() {
    for bad in [&[0, 12, 0, 3][..], &[0, 12, 0, 0], &[0, 12, 0, 9, 1, 2, 3, 4], &[0, 12, 255, 255], &[0, 9, 0, 4]] {
        for front in [&[][..], &[0, 4, 0, 4]] {
            let value = [front, bad].concat();
            let causes: Result<Vec<_>, _> = Causes::new(&value).collect();
            assert!(causes.is_err(), "{value:?}");
        }
    }
    let text = vec![b'x'; 65_500];
    let mut datagram = packet(&[]);
    wire::encode_abort(&[Cause::UserInitiatedAbort(&text)], false, &mut datagram);
    let chunk = Chunks::new(&datagram).next().unwrap().unwrap();
    let causes: Vec<_> = Causes::new(chunk.value_in(&datagram)).map(Result::unwrap).collect();
    assert_eq!(causes, [Cause::UserInitiatedAbort(&text)]);
    assert_eq!(causes[0].text(), "x".repeat(CAUSE_TEXT_MAX));
    // Longer than a chunk can be: cut, and still well formed.
    let text = vec![b'x'; 200_000];
    let mut datagram = packet(&[]);
    wire::encode_abort(&[Cause::ProtocolViolation(&text), Cause::OutOfResource], false, &mut datagram);
    let chunk = Chunks::new(&datagram).next().unwrap().unwrap();
    assert_eq!(Causes::new(chunk.value_in(&datagram)).map(Result::unwrap).count(), 1);
    round_trip::check_datagram(&datagram);
}

#[test]
fn a20_encoding_and_decoding_are_inverse() {
    for chunk in valid_chunks() {
        let (kind, flags, value) = round_trip::only_chunk(&chunk.encoded);
        assert_eq!(kind, chunk.kind);
        round_trip::check_value(kind, flags, value);
        if let Some(reading) = round_trip::read(kind, flags, value) {
            assert_eq!(reading.encoded, chunk.encoded, "{:?}, {}", chunk.kind, chunk.name);
        }
    }
    // Chunks of browsers mean the same after they were written here; but for the order of parameters, in the same
    // bytes.
    let mut same = 0;
    for packet in corpus() {
        for chunk in Chunks::new(&packet).flatten() {
            let value = chunk.value_in(&packet);
            round_trip::check_value(chunk.kind, chunk.flags, value);
            let whole = chunk.whole_in(&packet);
            same += usize::from(
                round_trip::read(chunk.kind, chunk.flags, value)
                    .is_some_and(|reading| reading.encoded[..].starts_with(whole)),
            );
        }
    }
    assert!(same >= 30, "only {same} chunks came out byte for byte");
}

/// A valid chunk.
struct Sample {
    kind: ChunkType,
    name: &'static str,
    encoded: Vec<u8>,
}

impl Sample {
    fn value(&self) -> &[u8] {
        round_trip::only_chunk(&self.encoded).2
    }
}

const DATA: DataChunk = DataChunk {
    tsn: Tsn(8),
    stream: StreamId(2),
    ssn: Ssn(3),
    ppid: Ppid(51),
    unordered: false,
    beginning: true,
    ending: true,
    immediate: true,
};

/// At least one of each type; the first is a DATA chunk of 21 bytes.
fn valid_chunks() -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut add = |kind, name, encode: &dyn Fn(&mut Vec<u8>)| {
        let mut encoded = Vec::new();
        encode(&mut encoded);
        samples.push(Sample { kind, name, encoded });
    };
    add(ChunkType::DATA, "payload", &|out| DATA.encode(b"fives", out));
    add(ChunkType::DATA, "no payload", &|out| DATA.encode(b"", out));
    let mut init = Init::new(1, 70_000, 2, 3, Tsn(4));
    add(ChunkType::INIT, "no parameters", &|out| init.encode(ChunkType::INIT, &[], out));
    init.zero_checksum = Some(1);
    add(ChunkType::INIT, "parameters", &|out| init.encode(ChunkType::INIT, &[], out));
    init.cookie = Some(b"cookies");
    init.zero_checksum = None;
    add(ChunkType::INIT_ACK, "odd parameter", &|out| init.encode(ChunkType::INIT_ACK, &[], out));
    let block = |start, end| GapBlock { start, end };
    add(ChunkType::SACK, "blocks", &|out| {
        Sack::encode(Tsn(1), 2, [block(2, 3), block(5, 5)].into_iter(), [Tsn(1)].into_iter(), out);
    });
    for kind in [ChunkType::HEARTBEAT, ChunkType::HEARTBEAT_ACK] {
        add(kind, "info", &|out| wire::encode_heartbeat(kind, b"when", out));
        add(kind, "odd parameter", &|out| wire::encode_heartbeat(kind, b"whenwas", out));
    }
    add(ChunkType::ABORT, "text", &|out| wire::encode_abort(&[Cause::UserInitiatedAbort(b"text")], true, out));
    add(ChunkType::ABORT, "empty", &|out| wire::encode_abort(&[], false, out));
    add(ChunkType::SHUTDOWN, "ack", &|out| Shutdown { cumulative_tsn_ack: Tsn(7) }.encode(out));
    add(ChunkType::SHUTDOWN_ACK, "empty", &wire::encode_shutdown_ack);
    add(ChunkType::ERROR, "cause", &|out| wire::encode_error(&[Cause::NoUserData(Tsn(7))], out));
    add(ChunkType::COOKIE_ECHO, "cookie", &|out| wire::encode_cookie_echo(b"cookie", out));
    add(ChunkType::COOKIE_ACK, "empty", &wire::encode_cookie_ack);
    add(ChunkType::SHUTDOWN_COMPLETE, "empty", &|out| wire::encode_shutdown_complete(true, out));
    let i_data = IDataChunk {
        tsn: Tsn(8),
        stream: StreamId(2),
        mid: Mid(3),
        ppid: Ppid(0),
        fsn: Fsn(4),
        unordered: true,
        beginning: false,
        ending: true,
        immediate: false,
    };
    add(ChunkType::I_DATA, "payload", &|out| i_data.encode(b"sixsix", out));
    add(ChunkType::I_DATA, "no payload", &|out| i_data.encode(b"", out));
    add(ChunkType::RE_CONFIG, "response", &|out| {
        let mut writer = ReconfigWriter::begin(out);
        writer.push_response(RequestSn(1), ResetResult::InProgress, None);
        writer.finish();
    });
    add(ChunkType::RE_CONFIG, "two parameters", &|out| {
        let mut writer = ReconfigWriter::begin(out);
        writer.push_outgoing_reset(RequestSn(1), RequestSn(2), Tsn(3), [4].map(StreamId).into_iter());
        writer.push_incoming_reset(RequestSn(2), [5, 6].map(StreamId).into_iter());
        writer.finish();
    });
    add(ChunkType::PAD, "zeros", &|out| wire::encode_pad(9, out));
    add(ChunkType::FORWARD_TSN, "no streams", &|out| ForwardTsn::encode(Tsn(1), std::iter::empty(), out));
    add(ChunkType::FORWARD_TSN, "streams", &|out| ForwardTsn::encode(Tsn(1), [(StreamId(2), Ssn(3))].into_iter(), out));
    let skipped = SkippedMessage { stream: StreamId(2), unordered: true, mid: Mid(3) };
    add(ChunkType::I_FORWARD_TSN, "streams", &|out| IForwardTsn::encode(Tsn(1), [skipped].into_iter(), out));
    samples
}

/// Decodes a value as a chunk of this type; if the value is a list, decodes all of it.
fn decode(kind: ChunkType, value: &[u8]) -> Result<(), DecodeError> {
    match kind {
        ChunkType::DATA => DataChunk::decode(0, value).map(drop),
        ChunkType::INIT | ChunkType::INIT_ACK => Init::decode(value).map(drop),
        ChunkType::SACK => Sack::decode(value).map(drop),
        ChunkType::HEARTBEAT | ChunkType::HEARTBEAT_ACK => wire::decode_heartbeat(value).map(drop),
        ChunkType::ABORT | ChunkType::ERROR => Causes::new(value).try_for_each(|cause| cause.map(drop)),
        ChunkType::SHUTDOWN => Shutdown::decode(value).map(drop),
        ChunkType::I_DATA => IDataChunk::decode(0, value).map(drop),
        ChunkType::RE_CONFIG => Reconfig::decode(value).map(drop),
        ChunkType::FORWARD_TSN => ForwardTsn::decode(value).map(drop),
        ChunkType::I_FORWARD_TSN => IForwardTsn::decode(value).map(drop),
        ChunkType::PAD | ChunkType::COOKIE_ECHO => Ok(()),
        other => panic!("no decoder for {other:?}"),
    }
}

/// A common header and these chunks, unsealed.
fn packet(chunks: &[&[u8]]) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketHeader { source_port: 5000, destination_port: 5000, verification_tag: 7 }.encode(&mut packet);
    chunks.iter().for_each(|chunk| packet.extend_from_slice(chunk));
    packet
}

/// The packets that the fuzz target starts from: some of browsers, some made for rare chunks.
fn corpus() -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/packet");
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let packets: Vec<_> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    assert!(packets.len() >= 30, "only {} packets", packets.len());
    packets.into_iter().filter(|packet| packet.len() >= PACKET_HEADER_LEN && packet.len() <= 2048).collect()
}
