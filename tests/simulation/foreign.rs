//! Ends that behave as other stacks do: packets that one of our own ends sends and receives are changed on their way.
//! The eavesdropper beside that end sees the packets as the end itself does; the one at the far end sees a foreign
//! peer.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::clock::{MILLISECOND, Nanos};
use crate::packet::{Chunk, Data, Packet, Reconfig, kind, seal};
use crate::prng::{Ppm, Prng};

/// PPID of DATA_CHANNEL_ACK, and the type that is its first byte (RFC 8832 §8.1).
const DCEP: u32 = 50;
const DATA_CHANNEL_ACK: u8 = 2;

/// Result of a stream reset that goes on (RFC 6525 §4.4).
const IN_PROGRESS: u32 = 6;

const I_BIT: u8 = 8;

/// Differences between an end and ours. Differences that need no change of packets are in its configuration (see
/// [`Options`]).
///
/// [`Options`]: crate::options::Options
#[derive(Clone, Debug, Default)]
pub(crate) struct Manner {
    /// Each SACK leaves so much later, alone; newer ones take the place of those that wait.
    pub(crate) sack_delay: Nanos,
    /// It reports no gaps, so that the peer learns of a loss by its time-out only.
    pub(crate) reports_no_gaps: bool,
    /// It does not look at the gaps that are reported, so that it sends again after a time-out only.
    pub(crate) reads_no_gaps: bool,
    /// DATA_CHANNEL_ACK has three bytes of zeros behind its type.
    pub(crate) pads_ack: bool,
    /// It allots stream ids of the parity that is the peer's.
    pub(crate) takes_our_parity: bool,
    /// Number of times that it answers a reset "in progress" before it performs the reset.
    pub(crate) in_progress: u32,
    /// It never asks for a SACK at once.
    pub(crate) has_no_i_bit: bool,
    /// Chance that a SACK offers less of the window than there is.
    pub(crate) window_jumps: Ppm,
}

impl Manner {
    pub(crate) fn draw(prng: &mut Prng) -> Self {
        Self {
            sack_delay: if prng.chance(250_000) { 200 * MILLISECOND } else { 0 },
            reports_no_gaps: prng.chance(250_000),
            reads_no_gaps: prng.chance(250_000),
            pads_ack: prng.chance(400_000),
            takes_our_parity: prng.chance(150_000),
            in_progress: if prng.chance(250_000) { prng.range(1..=3) as u32 } else { 0 },
            has_no_i_bit: prng.chance(300_000),
            window_jumps: if prng.chance(250_000) { prng.pick(&[10_000, 300_000]) } else { 0 },
        }
    }
}

/// One association of a foreign end.
#[derive(Debug)]
pub(crate) struct Foreign {
    manner: Manner,
    prng: Prng,
    /// Verification Tag of the packets that it sends.
    tag: u32,
    /// A SACK that waits, and when it leaves.
    held: Option<(Nanos, Vec<u8>)>,
    /// Number of times that each reset was deferred.
    put_off: BTreeMap<u32, u32>,
}

impl Foreign {
    pub(crate) fn new(manner: Manner, seed: u64) -> Self {
        Self { manner, prng: Prng::new(seed), tag: 0, held: None, put_off: BTreeMap::new() }
    }

    /// Returns the packet that leaves now in place of this one. `healed`: nothing may be hidden by chance any more.
    pub(crate) fn on_sent(&mut self, now: Nanos, bytes: &Bytes, healed: bool) -> Option<Bytes> {
        let Ok(packet) = Packet::parse(bytes) else { return Some(bytes.clone()) };
        if packet.tag != self.tag {
            (self.tag, self.held) = (packet.tag, None);
            self.put_off.clear();
        }
        let mut chunks = Chunks::new(packet.tag);
        for chunk in &packet.chunks {
            match chunk.kind {
                kind::SACK => {
                    let sack = self.sack(chunk, healed);
                    match self.manner.sack_delay {
                        0 => chunks.push(kind::SACK, 0, &sack),
                        delay => {
                            let at = self.held.as_ref().map_or(now + delay, |&(at, _)| at);
                            self.held = Some((at, sack));
                        }
                    }
                }
                kind::DATA | kind::I_DATA => {
                    let flags = if self.manner.has_no_i_bit { chunk.flags & !I_BIT } else { chunk.flags };
                    let is_ack = |data: &Data<'_>| data.ppid == DCEP && data.payload == [DATA_CHANNEL_ACK];
                    let is_padded = self.manner.pads_ack && chunk.data().is_ok_and(|data| is_ack(&data));
                    let padding: &[u8] = if is_padded { &[0; 3] } else { &[] };
                    chunks.push(chunk.kind, flags, &[chunk.body, padding].concat());
                }
                kind::ABORT => {
                    self.held = None;
                    chunks.push(chunk.kind, chunk.flags, chunk.body);
                }
                _ => chunks.push(chunk.kind, chunk.flags, chunk.body),
            }
        }
        chunks.into_packet()
    }

    /// The body of a SACK as this end writes it.
    fn sack(&mut self, chunk: &Chunk<'_>, healed: bool) -> Vec<u8> {
        let sack = chunk.sack().expect("one of our own");
        let a_rwnd = if !healed && self.prng.chance(self.manner.window_jumps) {
            let a_rwnd = u64::from(sack.a_rwnd);
            [0, self.prng.below(a_rwnd.min(3_000) + 1), self.prng.below(a_rwnd + 1)][self.prng.below(3) as usize] as u32
        } else {
            sack.a_rwnd
        };
        let gaps = if self.manner.reports_no_gaps { &[][..] } else { &sack.gaps };
        let mut body = [sack.cumulative, a_rwnd].map(u32::to_be_bytes).concat();
        body.extend([gaps.len() as u16, sack.duplicates.len() as u16].map(u16::to_be_bytes).concat());
        body.extend(gaps.iter().flat_map(|&(start, end)| [start, end].map(u16::to_be_bytes).concat()));
        body.extend(sack.duplicates.iter().flat_map(|tsn| tsn.to_be_bytes()));
        body
    }

    /// Returns the packet as the end sees it, and the answer to the chunks that the end does not see.
    pub(crate) fn on_arrival(&mut self, bytes: &Bytes) -> (Option<Bytes>, Option<Bytes>) {
        let packet = Packet::parse(bytes).ok().filter(|packet| packet.crc_is_right);
        let Some(packet) = packet else { return (Some(bytes.clone()), None) };
        let (mut chunks, mut answer) = (Chunks::new(packet.tag), Chunks::new(self.tag));
        for chunk in &packet.chunks {
            match chunk.kind {
                kind::SACK if self.manner.reads_no_gaps && chunk.sack().is_ok() => {
                    // Neither blocks nor duplicates.
                    let head = chunk.body.get(..8).unwrap_or_default();
                    chunks.push(kind::SACK, chunk.flags, &[head, &[0; 4]].concat());
                }
                kind::RE_CONFIG => self.put_off(chunk, &mut chunks, &mut answer),
                _ => chunks.push(chunk.kind, chunk.flags, chunk.body),
            }
        }
        (chunks.into_packet(), answer.into_packet())
    }

    /// Takes out a request that is to be answered "in progress".
    fn put_off(&mut self, chunk: &Chunk<'_>, chunks: &mut Chunks, answer: &mut Chunks) {
        let parameters = chunk.reconfig().unwrap_or_default();
        let request = parameters.iter().find_map(|parameter| match parameter {
            Reconfig::Outgoing { request, .. } => Some(*request),
            _ => None,
        });
        let Some(request) = request.filter(|_| parameters.len() == 1 && self.tag != 0) else {
            return chunks.push(chunk.kind, chunk.flags, chunk.body);
        };
        let count = self.put_off.entry(request).or_default();
        if *count >= self.manner.in_progress {
            return chunks.push(chunk.kind, chunk.flags, chunk.body);
        }
        *count += 1;
        let mut response = [16u16, 12].map(u16::to_be_bytes).concat();
        response.extend([request, IN_PROGRESS].map(u32::to_be_bytes).concat());
        answer.push(kind::RE_CONFIG, 0, &response);
    }

    /// Returns the time at which a packet leaves by itself.
    pub(crate) fn next_at(&self) -> Option<Nanos> {
        self.held.as_ref().map(|&(at, _)| at)
    }

    /// Returns the packet that has waited for this time.
    pub(crate) fn take_due(&mut self) -> Option<Bytes> {
        let (_, sack) = self.held.take()?;
        let mut chunks = Chunks::new(self.tag);
        chunks.push(kind::SACK, 0, &sack);
        chunks.into_packet()
    }
}

/// A packet that is being written.
#[derive(Debug)]
struct Chunks(Vec<u8>);

impl Chunks {
    const HEADER_LEN: usize = 12;

    fn new(tag: u32) -> Self {
        // The ports of all ends.
        let mut bytes = vec![0x13, 0x88, 0x13, 0x88];
        bytes.extend(tag.to_be_bytes());
        bytes.extend([0; 4]);
        Self(bytes)
    }

    fn push(&mut self, kind: u8, flags: u8, body: &[u8]) {
        self.0.extend([kind, flags]);
        self.0.extend((4 + body.len() as u16).to_be_bytes());
        self.0.extend(body);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// `None` if it has no chunks.
    fn into_packet(mut self) -> Option<Bytes> {
        if self.0.len() == Self::HEADER_LEN {
            return None;
        }
        seal(&mut self.0);
        Some(self.0.into())
    }
}
