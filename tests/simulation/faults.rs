//! Faults of a hostile network on one link.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::clock::Nanos;
use crate::packet::{Packet, seal};
use crate::prng::{Ppm, Prng};

/// Loss in bursts: a chain of two states, one of which loses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GilbertElliott {
    pub(crate) to_bad: Ppm,
    pub(crate) to_good: Ppm,
    pub(crate) loss_in_bad: Ppm,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FaultOptions {
    pub(crate) loss: Ppm,
    pub(crate) bursts: Option<GilbertElliott>,
    /// The first packets of the link.
    pub(crate) drop_first: u64,
    /// These packets of the link, counted from 0.
    pub(crate) drop_nth: BTreeSet<u64>,
    /// This packet of the link and all after it.
    pub(crate) drop_from: Option<u64>,
    /// Packets that contain a chunk of this type, at this chance.
    pub(crate) drop_kind: Option<(u8, Ppm)>,
    pub(crate) duplicate: Ppm,
    /// Extra delay that overtakes nothing.
    pub(crate) jitter: Nanos,
    /// Held back so long that later packets overtake.
    pub(crate) reorder: Ppm,
    pub(crate) reorder_by: Nanos,
    /// Bits flipped; the checksum tells.
    pub(crate) corrupt: Ppm,
    /// Bits flipped, and the checksum made right again: no checksum tells.
    pub(crate) forge: Ppm,
    pub(crate) truncate: Ppm,
    /// Any earlier packet of the link again.
    pub(crate) replay: Ppm,
    /// Nothing passes in these spans of time.
    pub(crate) blackholes: Vec<(Nanos, Nanos)>,
    /// Larger packets vanish.
    pub(crate) mtu: Option<usize>,
    /// From then on, the link has this rate.
    pub(crate) cliff: Option<(Nanos, u64)>,
    /// From then on, the link carries no larger packets than this.
    pub(crate) mtu_cliff: Option<(Nanos, usize)>,
}

/// Fate of one packet: copies, each with its extra delay and whether it stays in order.
pub(crate) type Fate = Vec<(Bytes, Nanos, bool)>;

#[derive(Debug)]
pub(crate) struct Faults {
    pub(crate) options: FaultOptions,
    prng: Prng,
    in_burst: bool,
    count: u64,
    history: Vec<Bytes>,
}

impl Faults {
    pub(crate) fn new(options: FaultOptions, prng: Prng) -> Self {
        Self { options, prng, in_burst: false, count: 0, history: Vec::new() }
    }

    pub(crate) fn apply(&mut self, now: Nanos, packet: &Bytes) -> Fate {
        let number = self.count;
        self.count += 1;
        self.history.push(packet.clone());
        let mut fate = Fate::new();
        if self.prng.chance(self.options.replay) {
            let earlier = self.prng.below(self.history.len() as u64) as usize;
            fate.push((self.history[earlier].clone(), self.prng.below(self.options.reorder_by + 1), false));
        }
        if self.is_lost(now, number, packet) {
            return fate;
        }
        let copies = 1 + u32::from(self.prng.chance(self.options.duplicate));
        for _ in 0..copies {
            let altered = self.alter(packet);
            let jitter = self.prng.below(self.options.jitter + 1);
            if self.prng.chance(self.options.reorder) {
                fate.push((altered, self.prng.below(self.options.reorder_by + 1), false));
            } else {
                fate.push((altered, jitter, true));
            }
        }
        fate
    }

    fn is_lost(&mut self, now: Nanos, number: u64, packet: &Bytes) -> bool {
        let options = &self.options;
        if let Some(bursts) = &options.bursts {
            let change = if self.in_burst { bursts.to_good } else { bursts.to_bad };
            self.in_burst ^= self.prng.chance(change);
        }
        let burst = options.bursts.as_ref().filter(|_| self.in_burst).map_or(0, |bursts| bursts.loss_in_bad);
        let kind = options.drop_kind.is_some_and(|(kind, chance)| {
            Packet::parse(packet).is_ok_and(|packet| packet.has(kind)) && self.prng.chance(chance)
        });
        kind || self.prng.chance(options.loss)
            || self.prng.chance(burst)
            || number < options.drop_first
            || options.drop_nth.contains(&number)
            || options.drop_from.is_some_and(|from| number >= from)
            || options.mtu.is_some_and(|mtu| packet.len() > mtu)
            || options.blackholes.iter().any(|&(from, to)| (from..to).contains(&now))
    }

    fn alter(&mut self, packet: &Bytes) -> Bytes {
        let forge = self.prng.chance(self.options.forge);
        if !forge && !self.prng.chance(self.options.corrupt) && !self.prng.chance(self.options.truncate) {
            return packet.clone();
        }
        let mut bytes = packet.to_vec();
        if self.prng.chance(self.options.truncate) {
            bytes.truncate(self.prng.below(bytes.len() as u64) as usize);
        }
        for _ in 0..self.prng.range(1..=3) {
            if !bytes.is_empty() {
                let bit = self.prng.below(8 * bytes.len() as u64);
                bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
            }
        }
        if forge && bytes.len() >= 12 {
            seal(&mut bytes);
        }
        bytes.into()
    }
}
