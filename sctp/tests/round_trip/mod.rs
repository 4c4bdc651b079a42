//! Reads all that can be found in a datagram, writes it, reads that, and compares. Shared by the tests of the codec and
//! by the fuzz target `packet`.
#![allow(dead_code, reason = "each test file and fuzz target uses its own part of it")]
#![expect(clippy::indexing_slicing, reason = "a test may fail this way")]

use narrowboat_sctp::testing::wire::{
    self, CHUNK_HEADER_LEN, CHUNK_LEN_MAX, Cause, Causes, ChunkType, Chunks, DataChunk, ForwardTsn, IDataChunk,
    IForwardTsn, Init, PACKET_HEADER_LEN, PacketHeader, Parameters, Reconfig, ReconfigParameter, ReconfigWriter, Sack,
    Shutdown,
};

/// The chunk as this implementation writes it, and, if they were asked for, words that are equal only for equal
/// meanings.
pub(crate) struct Reading {
    meaning: String,
    pub(crate) encoded: Vec<u8>,
}

/// Says what a chunk means, or nothing.
#[derive(Clone, Copy)]
struct Teller(bool);

impl Teller {
    fn tell(self, words: impl FnOnce() -> String) -> String {
        if self.0 { words() } else { String::new() }
    }
}

/// Checks the header, the checksum and every chunk of any bytes at all.
pub(crate) fn check_datagram(datagram: &[u8]) {
    check_header(datagram);
    let mut chunks = Chunks::new(datagram);
    let mut end = PACKET_HEADER_LEN;
    while let Some(chunk) = chunks.next() {
        let Ok(chunk) = chunk else {
            assert!(chunks.next().is_none(), "nothing follows a chunk whose length is impossible");
            return;
        };
        assert!(chunk.start >= end && chunk.start - end < 4, "only padding is between chunks");
        assert_eq!(chunk.value.start, chunk.start + CHUNK_HEADER_LEN);
        assert!(chunk.value.start <= chunk.value.end && chunk.value.end <= datagram.len());
        assert_eq!(chunk.whole_in(datagram).len(), CHUNK_HEADER_LEN + chunk.value_in(datagram).len());
        end = chunk.value.end;
        check_value(chunk.kind, chunk.flags, chunk.value_in(datagram));
    }
    assert!(datagram.len().saturating_sub(end) < CHUNK_HEADER_LEN + 3, "nothing but padding is left over");
}

/// Checks one chunk whose type and flags are the first two bytes.
pub(crate) fn check_chunk(chunk: &[u8]) {
    if let Some((&[kind, flags], value)) = chunk.split_first_chunk() {
        check_value(ChunkType(kind), flags, value);
    }
}

/// Checks one chunk's value.
pub(crate) fn check_value(kind: ChunkType, flags: u8, value: &[u8]) {
    if value.len() > CHUNK_LEN_MAX - 100 {
        // Longer than any UDP datagram can carry; it is only read.
        let _ = read(kind, flags, value);
        return;
    }
    let Some(reading) = read(kind, flags, value) else { return };
    let again = only_chunk(&reading.encoded);
    if again == (kind, flags, value) {
        // The same bytes have the same meaning. Words cost more than the codec, which a fuzzer cares for.
        return;
    }
    let first = read_and_tell(kind, flags, value, Teller(true)).expect("read a moment ago");
    let (kind, flags, value) = again;
    let second = read_and_tell(kind, flags, value, Teller(true)).expect("what is written can be read");
    assert_eq!(first.meaning, second.meaning);
    assert_eq!(first.encoded, second.encoded);
}

/// Takes apart what was written, which is one chunk.
pub(crate) fn only_chunk(encoded: &[u8]) -> (ChunkType, u8, &[u8]) {
    let (&[kind, flags, high, low], _) = encoded.split_first_chunk().expect("a chunk has a header");
    let len = usize::from(u16::from_be_bytes([high, low]));
    assert_eq!(encoded.len(), wire::padded(len));
    assert!(encoded[len..].iter().all(|&byte| byte == 0), "padding is zero");
    (ChunkType(kind), flags, &encoded[CHUNK_HEADER_LEN..len])
}

/// Reads a chunk's value by the decoder of its type; `None` if it does not decode.
pub(crate) fn read(kind: ChunkType, flags: u8, value: &[u8]) -> Option<Reading> {
    read_and_tell(kind, flags, value, Teller(false))
}

fn read_and_tell(kind: ChunkType, flags: u8, value: &[u8], teller: Teller) -> Option<Reading> {
    let mut encoded = Vec::new();
    let out = &mut encoded;
    let meaning = match kind {
        ChunkType::DATA => {
            let chunk = DataChunk::decode(flags, value).ok()?;
            let payload = &value[12..];
            chunk.encode(payload, out);
            if payload.len() <= DataChunk::PAYLOAD_MAX {
                assert_eq!(out.len(), DataChunk::encoded_len(payload.len()));
            }
            teller.tell(|| format!("{chunk:?} {payload:?}"))
        }
        ChunkType::I_DATA => {
            let chunk = IDataChunk::decode(flags, value).ok()?;
            let payload = &value[16..];
            chunk.encode(payload, out);
            if payload.len() <= IDataChunk::PAYLOAD_MAX {
                assert_eq!(out.len(), IDataChunk::encoded_len(payload.len()));
            }
            teller.tell(|| format!("{chunk:?} {payload:?}"))
        }
        ChunkType::INIT | ChunkType::INIT_ACK => read_init(kind, value, out, teller)?,
        ChunkType::SACK => {
            let sack = Sack::decode(value).ok()?;
            let _ = sack.has_valid_gap_blocks();
            Sack::encode(sack.cumulative_tsn_ack, sack.a_rwnd, sack.gap_blocks(), sack.duplicate_tsns(), out);
            assert_eq!(out.len(), Sack::encoded_len(sack.gap_blocks().len(), sack.duplicate_tsns().len()));
            teller.tell(|| format!("{sack:?}"))
        }
        ChunkType::HEARTBEAT | ChunkType::HEARTBEAT_ACK => {
            let info = wire::decode_heartbeat(value).ok()?;
            wire::encode_heartbeat(kind, info, out);
            teller.tell(|| format!("{info:?}"))
        }
        ChunkType::ABORT | ChunkType::ERROR => {
            let causes = Causes::new(value).collect::<Result<Vec<Cause<'_>>, _>>().ok()?;
            for cause in &causes {
                assert!(cause.text().len() <= wire::CAUSE_TEXT_MAX);
                assert!(cause.clip(10).encoded_len() <= 20);
            }
            if kind == ChunkType::ABORT {
                wire::encode_abort(&causes, flags & wire::T_BIT != 0, out);
            } else {
                wire::encode_error(&causes, out);
            }
            teller.tell(|| format!("{causes:?}"))
        }
        ChunkType::SHUTDOWN => {
            let shutdown = Shutdown::decode(value).ok()?;
            shutdown.encode(out);
            teller.tell(|| format!("{shutdown:?}"))
        }
        ChunkType::COOKIE_ECHO => {
            wire::encode_cookie_echo(value, out);
            teller.tell(|| format!("{value:?}"))
        }
        ChunkType::RE_CONFIG => read_reconfig(value, out, teller)?,
        ChunkType::FORWARD_TSN => {
            let forward = ForwardTsn::decode(value).ok()?;
            ForwardTsn::encode(forward.new_cumulative_tsn, forward.streams(), out);
            assert_eq!(out.len(), ForwardTsn::encoded_len(forward.streams().len()));
            teller.tell(|| format!("{forward:?}"))
        }
        ChunkType::I_FORWARD_TSN => {
            let forward = IForwardTsn::decode(value).ok()?;
            IForwardTsn::encode(forward.new_cumulative_tsn, forward.streams(), out);
            assert_eq!(out.len(), IForwardTsn::encoded_len(forward.streams().len()));
            teller.tell(|| format!("{:?} {:?}", forward.new_cumulative_tsn, forward.streams().collect::<Vec<_>>()))
        }
        _ => {
            // No decoder of its own; it can still be walked as a list of parameters.
            assert!(Parameters::new(value).count() <= value.len() / 4 + 1);
            return None;
        }
    };
    Some(Reading { meaning, encoded })
}

fn check_header(datagram: &[u8]) {
    let _ = wire::is_checksum_valid(datagram);
    if let Ok(header) = PacketHeader::decode(datagram) {
        let mut out = Vec::new();
        header.encode(&mut out);
        assert_eq!(out.len(), PACKET_HEADER_LEN);
        assert_eq!(out[..8], datagram[..8]);
    }
    if datagram.len() >= PACKET_HEADER_LEN {
        let mut packet = datagram.to_vec();
        packet[8..12].fill(0);
        wire::seal(&mut packet);
        assert!(wire::is_checksum_valid(&packet));
        assert_eq!(wire::is_checksum_valid(datagram), packet == datagram);
    }
}

fn read_init(kind: ChunkType, value: &[u8], out: &mut Vec<u8>, teller: Teller) -> Option<String> {
    let init = Init::decode(value).ok()?;
    let mut reports = Vec::new();
    for whole in init.unrecognized() {
        assert!(whole.len() >= 4 && whole.len() <= value.len());
        wire::encode_unrecognized(whole, &mut reports);
    }
    assert_eq!(
        Parameters::new(&reports).filter(|report| report.is_ok()).count(),
        init.unrecognized().count(),
        "each report is a parameter"
    );
    init.encode(kind, &[], out);
    // A host name is noticed and never written; unknown parameters are no part of the meaning.
    Some(teller.tell(|| {
        format!(
            "{} {} {} {} {} {:?} {:?} {:?} {:?}",
            init.initiate_tag,
            init.a_rwnd,
            init.outbound_streams,
            init.inbound_streams,
            init.initial_tsn,
            init.extensions,
            init.cookie,
            init.cookie_preservative,
            init.zero_checksum
        )
    }))
}

fn read_reconfig(value: &[u8], out: &mut Vec<u8>, teller: Teller) -> Option<String> {
    let reconfig = Reconfig::decode(value).ok()?;
    let known: Vec<_> =
        reconfig.parameters().filter(|parameter| !matches!(parameter, ReconfigParameter::Unknown(_))).collect();
    if known.is_empty() {
        return None;
    }
    let mut writer = ReconfigWriter::begin(out);
    known.iter().for_each(|parameter| writer.push_parameter(parameter));
    writer.finish();
    if reconfig.is_allowed_combination() {
        assert!(known.len() == reconfig.parameters().count() && known.len() <= 2);
    }
    Some(teller.tell(|| format!("{known:?}")))
}
