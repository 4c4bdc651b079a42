//! Contents of a packet, decoded without the crate under test.

use bytes::Bytes;

use super::Side;

const DATA: u8 = 0;
const I_DATA: u8 = 64;
pub(crate) const SACK: u8 = 3;
pub(crate) const ERROR: u8 = 9;
pub(crate) const COOKIE_ECHO: u8 = 10;
pub(crate) const RE_CONFIG: u8 = 130;
pub(crate) const FORWARD_TSN: u8 = 192;

/// Parameters of RE-CONFIG.
const OUTGOING_RESET: u16 = 13;
const RESPONSE: u16 = 16;

#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) from: Side,
    pub(crate) bytes: Bytes,
}

impl Packet {
    /// Chunk type and the chunk's bytes, padding excluded.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = (u8, &[u8])> {
        let mut rest = self.bytes.get(12..).unwrap_or_default();
        std::iter::from_fn(move || {
            let len = usize::from(u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]));
            let (kind, chunk) = (rest[0], rest.get(..len)?);
            rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
            Some((kind, chunk))
        })
    }

    pub(crate) fn has(&self, kind: u8) -> bool {
        self.chunks().any(|chunk| chunk.0 == kind)
    }

    /// Returns true if user data is in the packet, in chunks of either type.
    pub(crate) fn has_data(&self) -> bool {
        self.chunks().any(|chunk| is_data(chunk.0))
    }

    /// Stream, PPID, whether unordered, and payload of each DATA chunk, or I-DATA chunk that begins a message.
    pub(crate) fn data(&self) -> Vec<(u16, u32, bool, &[u8])> {
        self.chunks()
            .filter(|chunk| is_data(chunk.0))
            .map(|(kind, chunk)| {
                let (ppid_at, payload_at) = if kind == I_DATA { (16, 20) } else { (12, 16) };
                let stream = u16::from_be_bytes([chunk[8], chunk[9]]);
                let ppid = u32::from_be_bytes(chunk[ppid_at..ppid_at + 4].try_into().unwrap());
                (stream, ppid, chunk[1] & 4 != 0, &chunk[payload_at..])
            })
            .collect()
    }

    /// The window that a SACK advertises.
    pub(crate) fn a_rwnd(&self) -> Option<usize> {
        let sack = self.chunks().find(|chunk| chunk.0 == SACK)?.1;
        Some(u32::from_be_bytes([sack[8], sack[9], sack[10], sack[11]]) as usize)
    }

    /// Streams that a reset request names.
    pub(crate) fn resets(&self) -> Vec<u16> {
        self.parameters(OUTGOING_RESET)
            .flat_map(|value| {
                value.get(12..).unwrap_or_default().chunks(2).map(|id| u16::from_be_bytes([id[0], id[1]]))
            })
            .collect()
    }

    pub(crate) fn has_reset_request(&self) -> bool {
        self.parameters(OUTGOING_RESET).next().is_some()
    }

    /// Numbers of reset requests.
    pub(crate) fn reset_request_numbers(&self) -> Vec<u32> {
        self.parameters(OUTGOING_RESET)
            .map(|value| u32::from_be_bytes([value[0], value[1], value[2], value[3]]))
            .collect()
    }

    /// Results of reset answers.
    pub(crate) fn reset_results(&self) -> Vec<u32> {
        self.parameters(RESPONSE).map(|value| u32::from_be_bytes([value[4], value[5], value[6], value[7]])).collect()
    }

    pub(crate) fn has_reset_answer(&self) -> bool {
        self.parameters(RESPONSE).next().is_some()
    }

    /// The same packet with the results of reset answers replaced.
    pub(crate) fn with_reset_result(&self, result: u32) -> Bytes {
        let mut bytes = self.bytes.to_vec();
        let start = self.bytes.as_ptr() as usize;
        let values: Vec<usize> = self.parameters(RESPONSE).map(|value| value.as_ptr() as usize - start).collect();
        for value in values {
            bytes[value + 4..value + 8].copy_from_slice(&result.to_be_bytes());
        }
        with_checksum(bytes)
    }

    /// The same packet with each reset request naming these streams instead; none is all of them.
    pub(crate) fn with_reset_streams(&self, streams: &[u16]) -> Bytes {
        let mut bytes = self.bytes[..12].to_vec();
        for (kind, chunk) in self.chunks() {
            if kind == RE_CONFIG && chunk[4..6] == OUTGOING_RESET.to_be_bytes() {
                let len = u16::try_from(16 + 2 * streams.len()).unwrap();
                bytes.extend([RE_CONFIG, 0]);
                bytes.extend((len + 4).to_be_bytes());
                bytes.extend(OUTGOING_RESET.to_be_bytes());
                bytes.extend(len.to_be_bytes());
                bytes.extend(&chunk[8..20]);
                bytes.extend(streams.iter().flat_map(|stream| stream.to_be_bytes()));
            } else {
                bytes.extend(chunk);
            }
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        with_checksum(bytes)
    }

    /// The same packet without user data; `None` if nothing else is in it.
    pub(crate) fn without_data(&self) -> Option<Bytes> {
        self.without_chunks(is_data)
    }

    /// The same packet without its chunks of a kind; `None` if nothing else is in it.
    pub(crate) fn without(&self, kind: u8) -> Option<Bytes> {
        self.without_chunks(|other| other == kind)
    }

    fn without_chunks(&self, is_taken: impl Fn(u8) -> bool) -> Option<Bytes> {
        let mut bytes = self.bytes[..12].to_vec();
        for (_, chunk) in self.chunks().filter(|chunk| !is_taken(chunk.0)) {
            bytes.extend(chunk);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        (bytes.len() > 12).then(|| with_checksum(bytes))
    }

    fn parameters(&self, kind: u16) -> impl Iterator<Item = &[u8]> {
        self.chunks().filter(|chunk| chunk.0 == RE_CONFIG).flat_map(move |(_, chunk)| {
            let mut rest = &chunk[4..];
            std::iter::from_fn(move || {
                let found = u16::from_be_bytes([*rest.first()?, *rest.get(1)?]);
                let len = usize::from(u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]));
                let value = rest.get(4..len)?;
                rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
                Some((found, value))
            })
            .filter(move |parameter| parameter.0 == kind)
            .map(|parameter| parameter.1)
        })
    }
}

/// Returns true for the chunk types of user data.
fn is_data(kind: u8) -> bool {
    matches!(kind, DATA | I_DATA)
}

/// Writes the checksum of a packet that was changed (RFC 9260 appendix A), slowly and by itself.
fn with_checksum(mut bytes: Vec<u8>) -> Bytes {
    bytes[8..12].fill(0);
    let mut crc = u32::MAX;
    for byte in &bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    bytes[8..12].copy_from_slice(&(!crc).to_le_bytes());
    bytes.into()
}
