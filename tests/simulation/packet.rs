//! A second parser of SCTP packets, written apart from the one under test, so that a mistake must be made twice to stay
//! unseen. It is strict: packets of our own code must be perfect (RFC 9260 §3).

/// Chunk types (RFC 9260 §3.2, RFC 3758, RFC 4820, RFC 6525, RFC 8260).
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const INIT: u8 = 1;
    pub(crate) const INIT_ACK: u8 = 2;
    pub(crate) const SACK: u8 = 3;
    pub(crate) const HEARTBEAT: u8 = 4;
    pub(crate) const HEARTBEAT_ACK: u8 = 5;
    pub(crate) const ABORT: u8 = 6;
    pub(crate) const SHUTDOWN: u8 = 7;
    pub(crate) const SHUTDOWN_ACK: u8 = 8;
    pub(crate) const ERROR: u8 = 9;
    pub(crate) const COOKIE_ECHO: u8 = 10;
    pub(crate) const COOKIE_ACK: u8 = 11;
    pub(crate) const SHUTDOWN_COMPLETE: u8 = 14;
    pub(crate) const I_DATA: u8 = 64;
    pub(crate) const RE_CONFIG: u8 = 130;
    pub(crate) const PAD: u8 = 132;
    pub(crate) const FORWARD_TSN: u8 = 192;
    pub(crate) const I_FORWARD_TSN: u8 = 194;
    /// Types that are drawn. Older seeds draw what they did before, so there are no others.
    pub(crate) const DRAWN: [u8; 16] = [
        DATA,
        INIT,
        INIT_ACK,
        SACK,
        HEARTBEAT,
        HEARTBEAT_ACK,
        ABORT,
        SHUTDOWN,
        SHUTDOWN_ACK,
        ERROR,
        COOKIE_ECHO,
        COOKIE_ACK,
        SHUTDOWN_COMPLETE,
        RE_CONFIG,
        PAD,
        FORWARD_TSN,
    ];

    /// Returns true if our own code sends chunks of this type.
    pub(crate) fn is_known(kind: u8) -> bool {
        DRAWN.contains(&kind) || kind == I_DATA || kind == I_FORWARD_TSN
    }

    /// Returns true if the chunk carries user data.
    pub(crate) fn is_data(kind: u8) -> bool {
        kind == DATA || kind == I_DATA
    }

    /// Returns true if the chunk skips messages.
    pub(crate) fn is_skip(kind: u8) -> bool {
        kind == FORWARD_TSN || kind == I_FORWARD_TSN
    }
}

/// Parameters of INIT and INIT ACK (RFC 9260 §3.3.3, RFC 5061 §4.2.7).
const STATE_COOKIE: u16 = 7;
const SUPPORTED_EXTENSIONS: u16 = 0x8008;

/// A packet whose chunks tile it exactly.
#[derive(Debug)]
pub(crate) struct Packet<'a> {
    pub(crate) tag: u32,
    pub(crate) crc_is_right: bool,
    /// True if the packet has no checksum, which counts as right (RFC 9653).
    pub(crate) omits_checksum: bool,
    /// A sender has to fill padding with zeros (RFC 9260 §3.2).
    pub(crate) is_padded_with_zeros: bool,
    pub(crate) chunks: Vec<Chunk<'a>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunk<'a> {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) body: &'a [u8],
}

/// DATA or I-DATA.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Data<'a> {
    pub(crate) tsn: u32,
    pub(crate) message: MessageName,
    /// Number of the fragment in its message; `None` if the chunk is DATA.
    pub(crate) fsn: Option<u32>,
    /// 0 in the later fragments of a message that is sent as I-DATA.
    pub(crate) ppid: u32,
    pub(crate) beginning: bool,
    pub(crate) end: bool,
    /// It asks for a SACK at once (RFC 7053).
    pub(crate) immediate: bool,
    pub(crate) payload: &'a [u8],
}

/// A message as its chunks name it: the stream, the U bit, and the SSN or MID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MessageName {
    pub(crate) stream: u16,
    pub(crate) unordered: bool,
    pub(crate) number: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Init {
    pub(crate) tag: u32,
    pub(crate) a_rwnd: u32,
    pub(crate) outbound: u16,
    pub(crate) inbound: u16,
    pub(crate) tsn: u32,
    /// It lists I-DATA among the chunk types that the sender takes (RFC 8260 §2.2.1).
    pub(crate) interleaves: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Sack {
    pub(crate) cumulative: u32,
    pub(crate) a_rwnd: u32,
    /// Offsets from `cumulative`, both ends included.
    pub(crate) gaps: Vec<(u16, u16)>,
    pub(crate) duplicates: Vec<u32>,
}

/// FORWARD-TSN or I-FORWARD-TSN.
#[derive(Clone, Debug)]
pub(crate) struct ForwardTsn {
    pub(crate) cumulative: u32,
    /// The last message of each stream that is skipped.
    pub(crate) skipped: Vec<MessageName>,
}

/// Parameters of RE-CONFIG (RFC 6525 §4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reconfig {
    Outgoing {
        request: u32,
        response: u32,
        last_tsn: u32,
        streams: Vec<u16>,
    },
    Incoming {
        request: u32,
        streams: Vec<u16>,
    },
    Response {
        request: u32,
        result: u32,
    },
    /// A request for more streams of its sender, or of its recipient.
    Add {
        request: u32,
        is_outgoing: bool,
        count: u16,
    },
    Other(u16),
}

impl<'a> Packet<'a> {
    /// Reads a packet as a receiver does: padding may hold anything (RFC 9260 §3.2).
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        if bytes.len() < 16 {
            return Err(format!("{} bytes hold no chunk", bytes.len()));
        }
        let crc = u32::from_le_bytes(bytes[8..12].try_into().unwrap());
        let (tag, crc_is_right) = (u32_at(bytes, 4), crc == 0 || crc == checksum(bytes));
        let omits_checksum = crc == 0 && checksum(bytes) != 0;
        let mut packet = Packet { tag, crc_is_right, omits_checksum, is_padded_with_zeros: true, chunks: Vec::new() };
        let mut rest = &bytes[12..];
        while !rest.is_empty() {
            if rest.len() < 4 {
                return Err(format!("{} stray bytes after the last chunk", rest.len()));
            }
            let len = usize::from(u16_at(rest, 2));
            if len < 4 || len > rest.len() {
                return Err(format!("a chunk of type {} claims {len} of {} bytes", rest[0], rest.len()));
            }
            let padded = len.next_multiple_of(4);
            if padded > rest.len() {
                return Err(format!("a chunk of type {} lacks its padding", rest[0]));
            }
            packet.is_padded_with_zeros &= rest[len..padded].iter().all(|&byte| byte == 0);
            packet.chunks.push(Chunk { kind: rest[0], flags: rest[1], body: &rest[4..len] });
            rest = &rest[padded..];
        }
        Ok(packet)
    }

    pub(crate) fn has(&self, kind: u8) -> bool {
        self.chunks.iter().any(|chunk| chunk.kind == kind)
    }

    /// True for a HEARTBEAT that padding makes larger (RFC 8899).
    pub(crate) fn is_probe(&self) -> bool {
        matches!(self.chunks[..], [first, last] if first.kind == kind::HEARTBEAT && last.kind == kind::PAD)
    }

    /// Returns true if user data is in the packet.
    pub(crate) fn has_data(&self) -> bool {
        self.chunks.iter().any(|chunk| kind::is_data(chunk.kind))
    }

    /// Describes the packet in a few words, for the trace.
    pub(crate) fn words(bytes: &'a [u8]) -> String {
        match Self::parse(bytes) {
            Err(reason) => format!("unreadable: {reason}"),
            Ok(packet) => {
                let chunks: Vec<_> = packet.chunks.iter().map(Chunk::words).collect();
                let crc = if packet.crc_is_right { "" } else { " bad CRC" };
                format!("{} B tag {:08x}{crc} [{}]", bytes.len(), packet.tag, chunks.join(", "))
            }
        }
    }
}

impl<'a> Chunk<'a> {
    pub(crate) fn data(&self) -> Result<Data<'a>, String> {
        let is_interleaved = self.kind == kind::I_DATA;
        let header_len = if is_interleaved { 16 } else { 12 };
        if self.body.len() <= header_len {
            return Err("DATA without user data".into());
        }
        let beginning = self.flags & 2 != 0;
        // The first fragment of a message has the PPID in I-DATA, and the others have the FSN in its place.
        let (number, last_word) = match is_interleaved {
            true => (u32_at(self.body, 8), u32_at(self.body, 12)),
            false => (u32::from(u16_at(self.body, 6)), u32_at(self.body, 8)),
        };
        Ok(Data {
            tsn: u32_at(self.body, 0),
            message: MessageName { stream: u16_at(self.body, 4), unordered: self.flags & 4 != 0, number },
            fsn: is_interleaved.then_some(if beginning { 0 } else { last_word }),
            ppid: if is_interleaved && !beginning { 0 } else { last_word },
            beginning,
            end: self.flags & 1 != 0,
            immediate: self.flags & 8 != 0,
            payload: &self.body[header_len..],
        })
    }

    /// Header and padding included.
    pub(crate) fn wire_len(&self) -> usize {
        (4 + self.body.len()).next_multiple_of(4)
    }

    /// INIT and INIT ACK.
    pub(crate) fn init(&self) -> Result<Init, String> {
        let body = self.body;
        if body.len() < 16 {
            return Err("a short INIT".into());
        }
        Ok(Init {
            tag: u32_at(body, 0),
            a_rwnd: u32_at(body, 4),
            outbound: u16_at(body, 8),
            inbound: u16_at(body, 10),
            tsn: u32_at(body, 12),
            interleaves: self
                .parameter_of_init(SUPPORTED_EXTENSIONS)
                .is_some_and(|types| types.contains(&kind::I_DATA)),
        })
    }

    /// The State Cookie of an INIT ACK.
    pub(crate) fn state_cookie(&self) -> Option<&'a [u8]> {
        self.parameter_of_init(STATE_COOKIE)
    }

    fn parameter_of_init(&self, kind: u16) -> Option<&'a [u8]> {
        parameters(self.body.get(16..)?).ok()?.into_iter().find(|&(other, _)| other == kind).map(|(_, value)| value)
    }

    pub(crate) fn sack(&self) -> Result<Sack, String> {
        let body = self.body;
        if body.len() < 12 {
            return Err("a short SACK".into());
        }
        let (gaps, duplicates) = (usize::from(u16_at(body, 8)), usize::from(u16_at(body, 10)));
        if body.len() != 12 + 4 * (gaps + duplicates) {
            return Err(format!("a SACK of {} bytes with {gaps} blocks and {duplicates} duplicates", body.len()));
        }
        Ok(Sack {
            cumulative: u32_at(body, 0),
            a_rwnd: u32_at(body, 4),
            gaps: (0..gaps).map(|i| (u16_at(body, 12 + 4 * i), u16_at(body, 14 + 4 * i))).collect(),
            duplicates: (gaps..gaps + duplicates).map(|i| u32_at(body, 12 + 4 * i)).collect(),
        })
    }

    pub(crate) fn shutdown(&self) -> Result<u32, String> {
        if self.body.len() == 4 { Ok(u32_at(self.body, 0)) } else { Err("a SHUTDOWN of wrong length".into()) }
    }

    pub(crate) fn forward_tsn(&self) -> Result<ForwardTsn, String> {
        let entry_len = if self.kind == kind::I_FORWARD_TSN { 8 } else { 4 };
        if self.body.len() % entry_len != 4 % entry_len || self.body.is_empty() {
            return Err("a FORWARD-TSN of odd length".into());
        }
        let entries = &self.body[4..];
        let skipped = match self.kind {
            kind::I_FORWARD_TSN => entries
                .chunks_exact(8)
                .map(|entry| MessageName {
                    stream: u16_at(entry, 0),
                    unordered: entry[3] & 1 != 0,
                    number: u32_at(entry, 4),
                })
                .collect(),
            _ => entries
                .chunks_exact(4)
                .map(|entry| MessageName {
                    stream: u16_at(entry, 0),
                    unordered: false,
                    number: u16_at(entry, 2).into(),
                })
                .collect(),
        };
        Ok(ForwardTsn { cumulative: u32_at(self.body, 0), skipped })
    }

    pub(crate) fn reconfig(&self) -> Result<Vec<Reconfig>, String> {
        let list = |bytes: &[u8]| bytes.chunks_exact(2).map(|pair| u16_at(pair, 0)).collect();
        let parsed: Vec<_> = parameters(self.body)?
            .into_iter()
            .map(|(kind, value)| match kind {
                13 if value.len() >= 12 => Reconfig::Outgoing {
                    request: u32_at(value, 0),
                    response: u32_at(value, 4),
                    last_tsn: u32_at(value, 8),
                    streams: list(&value[12..]),
                },
                14 if value.len() >= 4 => Reconfig::Incoming { request: u32_at(value, 0), streams: list(&value[4..]) },
                16 if value.len() == 8 || value.len() == 16 => {
                    Reconfig::Response { request: u32_at(value, 0), result: u32_at(value, 4) }
                }
                17 | 18 if value.len() == 8 => {
                    Reconfig::Add { request: u32_at(value, 0), is_outgoing: kind == 17, count: u16_at(value, 4) }
                }
                kind => Reconfig::Other(kind),
            })
            .collect();
        // RFC 6525 §3.1: one or two parameters.
        if (1..=2).contains(&parsed.len()) { Ok(parsed) } else { Err("RE-CONFIG without one or two parameters".into()) }
    }

    fn words(&self) -> String {
        let or = |words: Result<String, String>| words.unwrap_or_else(|reason| reason);
        match self.kind {
            kind::DATA | kind::I_DATA => or(self.data().map(|d| {
                let flag = |on, letter| if on { letter } else { "" };
                let flags = [flag(d.message.unordered, "U"), flag(d.beginning, "B"), flag(d.end, "E")].concat();
                let (stream, number) = (d.message.stream, d.message.number);
                let number = d.fsn.map_or_else(|| format!("ssn{number}"), |fsn| format!("mid{number} fsn{fsn}"));
                format!("DATA {} s{stream} {number} ppid{} {flags} {}B", d.tsn, d.ppid, d.payload.len())
            })),
            kind::INIT => or(self.init().map(|i| format!("INIT tag {:08x} tsn {}", i.tag, i.tsn))),
            kind::INIT_ACK => or(self.init().map(|i| format!("INIT-ACK tag {:08x} tsn {}", i.tag, i.tsn))),
            kind::SACK => or(self.sack().map(|s| format!("SACK {} rwnd {} {:?}", s.cumulative, s.a_rwnd, s.gaps))),
            kind::HEARTBEAT => "HEARTBEAT".into(),
            kind::PAD => format!("PAD {}B", self.body.len()),
            kind::HEARTBEAT_ACK => "HEARTBEAT-ACK".into(),
            kind::ABORT => format!("ABORT T{} {:?}", self.flags & 1, self.body),
            kind::SHUTDOWN => or(self.shutdown().map(|tsn| format!("SHUTDOWN {tsn}"))),
            kind::SHUTDOWN_ACK => "SHUTDOWN-ACK".into(),
            kind::ERROR => "ERROR".into(),
            kind::COOKIE_ECHO => "COOKIE-ECHO".into(),
            kind::COOKIE_ACK => "COOKIE-ACK".into(),
            kind::SHUTDOWN_COMPLETE => format!("SHUTDOWN-COMPLETE T{}", self.flags & 1),
            kind::RE_CONFIG => or(self.reconfig().map(|r| format!("RE-CONFIG {r:?}"))),
            kind::FORWARD_TSN | kind::I_FORWARD_TSN => {
                or(self.forward_tsn().map(|f| format!("FORWARD-TSN {} {:?}", f.cumulative, f.skipped)))
            }
            other => format!("type {other}"),
        }
    }
}

/// The checksum that belongs into a packet, its own field taken as zero.
pub(crate) fn checksum(packet: &[u8]) -> u32 {
    let step = |crc: u32, byte: u8| (crc >> 8) ^ CRC32C[usize::from(crc as u8 ^ byte)];
    let crc = packet[..8].iter().chain(&[0; 4]).chain(&packet[12..]).fold(u32::MAX, |crc, &byte| step(crc, byte));
    !crc
}

/// Puts the right checksum into a packet that was tampered with.
pub(crate) fn seal(packet: &mut [u8]) {
    let crc = checksum(packet);
    packet[8..12].copy_from_slice(&crc.to_le_bytes());
}

/// The Castagnoli polynomial, reflected.
const CRC32C: [u32; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let (mut crc, mut bit) = (i as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

fn parameters(mut bytes: &[u8]) -> Result<Vec<(u16, &[u8])>, String> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let len = if bytes.len() < 4 { 0 } else { usize::from(u16_at(bytes, 2)) };
        if len < 4 || len > bytes.len() {
            return Err(format!("a parameter claims {len} of {} bytes", bytes.len()));
        }
        found.push((u16_at(bytes, 0), &bytes[4..len]));
        bytes = &bytes[len.next_multiple_of(4).min(bytes.len())..];
    }
    Ok(found)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}
