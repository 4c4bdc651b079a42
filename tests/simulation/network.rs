//! The links between nodes, and the packets on their way.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use bytes::Bytes;

use crate::clock::Nanos;
use crate::faults::{FaultOptions, Faults};
use crate::packet::Packet;
use crate::pipe::{Pipe, PipeOptions};
use crate::prng::{Ppm, Prng};
use crate::trace::{Trace, fingerprint};

/// A node's number; its address is made of it.
pub(crate) type NodeId = usize;

/// Added to the number of a node that is seen at another address.
const MOVED: NodeId = 200;

/// A packet that has come through.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Arrival {
    pub(crate) at: Nanos,
    /// Keeps arrivals of one instant in the order in which they were sent.
    sequence: u64,
    pub(crate) to: NodeId,
    /// The node that the source address names; a spoofer lies.
    pub(crate) from: NodeId,
    pub(crate) packet: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LinkOptions {
    pub(crate) pipe: PipeOptions,
    pub(crate) faults: FaultOptions,
    /// Packets that arrive with another node's source address.
    pub(crate) spoof: Ppm,
}

#[derive(Debug)]
struct Link {
    pipe: Pipe,
    faults: Faults,
    spoof: Ppm,
}

#[derive(Debug)]
pub(crate) struct Network {
    links: BTreeMap<(NodeId, NodeId), Link>,
    under_way: BinaryHeap<Reverse<Arrival>>,
    sequence: u64,
    prng: Prng,
    /// Nodes that a NAT shows at another address. Nothing comes through to the old one.
    moved: BTreeSet<NodeId>,
    pub(crate) packets: u64,
}

impl Network {
    pub(crate) fn new(prng: Prng) -> Self {
        let (links, under_way) = (BTreeMap::new(), BinaryHeap::new());
        Self { links, under_way, sequence: 0, prng, moved: BTreeSet::new(), packets: 0 }
    }

    pub(crate) fn connect(&mut self, from: NodeId, to: NodeId, options: LinkOptions) {
        let faults = Faults::new(options.faults, self.prng.fork());
        self.links.insert((from, to), Link { pipe: Pipe::new(options.pipe), faults, spoof: options.spoof });
    }

    pub(crate) fn send(&mut self, now: Nanos, from: NodeId, to: NodeId, packet: &Bytes, trace: &Trace) {
        self.packets += 1;
        let to = match to.checked_sub(MOVED) {
            Some(node) if self.moved.contains(&node) => node,
            None if !self.moved.contains(&to) => to,
            _ => NodeId::MAX,
        };
        let Some(link) = self.links.get_mut(&(from, to)) else {
            trace
                .note(now, &[1, from as u64, to as u64], || format!("{from}->{to} nowhere: {}", Packet::words(packet)));
            return;
        };
        if let Some((_, rate)) = link.faults.options.cliff.filter(|&(at, _)| now >= at) {
            link.pipe.options.rate = rate;
        }
        if let Some((_, mtu)) = link.faults.options.mtu_cliff.filter(|&(at, _)| now >= at) {
            link.pipe.options.mtu = mtu;
        }
        let fate = link.faults.apply(now, packet);
        let mut passed = 0;
        for (packet, extra, in_order) in fate {
            let Some(at) = link.pipe.enter(now, packet.len(), extra, in_order) else { continue };
            passed += 1;
            let spoofed = self.prng.chance(link.spoof);
            let moved = if self.moved.contains(&from) { MOVED } else { 0 };
            let from = if spoofed { from + 100 } else { from + moved };
            self.sequence += 1;
            self.under_way.push(Reverse(Arrival { at, sequence: self.sequence, to, from, packet }));
        }
        trace.note(now, &[2, from as u64, to as u64, passed, fingerprint(packet)], || {
            let fate = if passed == 0 { " LOST" } else { "" };
            format!("{from}->{to}{fate} {}", Packet::words(packet))
        });
    }

    /// Delivers a packet to a node, from any source and of any origin.
    pub(crate) fn inject(&mut self, at: Nanos, from: NodeId, to: NodeId, packet: Bytes) {
        self.sequence += 1;
        self.under_way.push(Reverse(Arrival { at, sequence: self.sequence, to, from, packet }));
    }

    pub(crate) fn next_arrival(&self) -> Option<Nanos> {
        self.under_way.peek().map(|Reverse(arrival)| arrival.at)
    }

    pub(crate) fn arrive(&mut self, now: Nanos) -> Option<Arrival> {
        if self.next_arrival()? > now {
            return None;
        }
        self.under_way.pop().map(|Reverse(arrival)| arrival)
    }

    /// The next packet for this node, if nothing comes before it.
    pub(crate) fn arrive_at(&mut self, now: Nanos, node: NodeId) -> Option<Arrival> {
        let Reverse(next) = self.under_way.peek()?;
        if next.to == node && next.at <= now { self.arrive(now) } else { None }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// From now on packets of this node come from another address, and only packets sent to that address reach it.
    pub(crate) fn rebind(&mut self, node: NodeId) {
        self.moved.insert(node);
    }

    pub(crate) fn is_moved(&self, node: NodeId) -> bool {
        self.moved.contains(&node)
    }

    /// From now on packets between the two take a path that is half as long.
    pub(crate) fn shorten(&mut self, a: NodeId, b: NodeId) {
        for ends in [(a, b), (b, a)] {
            if let Some(link) = self.links.get_mut(&ends) {
                link.pipe.options.delay /= 2;
            }
        }
    }

    /// Ends all faults; delay, rate and MTU stay.
    pub(crate) fn heal(&mut self) {
        self.moved.clear();
        for link in self.links.values_mut() {
            let cliff = link.faults.options.mtu_cliff;
            link.pipe.options.mtu = cliff.map_or(link.pipe.options.mtu, |(_, mtu)| mtu);
            link.faults.options = FaultOptions::default();
            link.spoof = 0;
        }
    }

    /// The faults of one direction, for a scenario to change in mid-run.
    pub(crate) fn faults(&mut self, from: NodeId, to: NodeId) -> &mut Faults {
        &mut self.links.get_mut(&(from, to)).expect("the link was made").faults
    }
}
