//! The event loop: packets, timers, acts and scripted blows, one at a time, in the order of virtual time.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::clock::{Clock, Nanos, START};
use crate::foreign::Foreign;
use crate::invariants;
use crate::model::Model;
use crate::network::{Arrival, Network, NodeId};
use crate::node::{Node, Routed};
use crate::observer::{Contents, Observer, Situation};
use crate::options::{Options, Topology};
use crate::outgoing::Promise;
use crate::packet::{Data, Packet, kind, seal};
use crate::prng::Prng;
use crate::session::{Session, Turn};
use crate::trace::Trace;

/// I01: things that may happen without time passing.
const STEPS_AT_ONCE_MAX: u32 = 5_000;
/// I01: time-outs of one instant.
const TIMEOUTS_AT_ONCE_MAX: u32 = 1_000;

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) options: Options,
    clock: Clock,
    pub(crate) now: Nanos,
    pub(crate) network: Network,
    pub(crate) nodes: Vec<Node>,
    /// Associations of ends that behave as other stacks do, by their node and their peer.
    foreign: BTreeMap<(NodeId, NodeId), Foreign>,
    pub(crate) model: Model,
    pub(crate) trace: Trace,
    prng: Prng,
    pub(crate) script: BTreeMap<(Nanos, usize), Blow>,
    buf: Vec<u8>,
    steps_at_once: u32,
    timeouts_at_once: u32,
    /// Nothing but heartbeats may be sent (I41).
    pub(crate) quiet: bool,
    /// Chaos is over.
    pub(crate) healed: bool,
    pub(crate) steps: u64,
}

/// Event that happens to a node at a given time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Blow {
    Dial(NodeId),
    /// The process dies with all its state.
    Kill(NodeId),
    /// A NAT gives the node another address, or its packets take another path.
    Rebind(NodeId),
}

/// Packets of an association, and their contents.
type Sent = Vec<(Bytes, Contents)>;

#[derive(Debug)]
enum Next {
    Blow,
    Arrival,
    Timeout(NodeId, NodeId),
    Act(NodeId, NodeId),
    Foreign(NodeId, NodeId),
}

impl World {
    pub(crate) fn new(options: Options, trace: Trace) -> Self {
        let mut prng = Prng::new(options.seed ^ 0x005e_ed0f_7e57);
        let clock = Clock::new();
        let mut network = Network::new(prng.fork());
        let clients = options.topology.clients();
        for client in 1..=clients {
            network.connect(0, client, options.links[0].clone());
            network.connect(client, 0, options.links[1].clone());
        }
        let now = START;
        let nodes = (0..=clients).map(|id| Node::new(id, &options, clock, now, prng.fork(), trace.clone())).collect();
        let packet = [0, 1].map(|node| options.mtu_max_of(node)).into_iter().max().unwrap_or(0);
        let probe = options.config.iter().map(|config| config.mtu_max).max().unwrap_or(0);
        let room = (options.max_datagrams * packet).max(probe);
        let may_refuse = options.channels_are_few();
        let model = Model { hostile: options.hostile, may_refuse, ..Model::default() };
        let mut world = Self {
            options,
            clock,
            now,
            network,
            nodes,
            foreign: BTreeMap::new(),
            model,
            trace,
            prng,
            script: BTreeMap::new(),
            buf: Vec::with_capacity(room),
            steps_at_once: 0,
            timeouts_at_once: 0,
            quiet: false,
            healed: false,
            steps: 0,
        };
        world.start();
        world
    }

    fn start(&mut self) {
        match self.options.topology {
            Topology::Bare { .. } if self.options.snap => {
                [0, 1].iter().for_each(|&node| self.nodes[node].start_bare(self.now, 1 - node, &self.options, false));
                let inits = [0, 1].map(|node| self.nodes[node].sessions[&(1 - node)].signalled_init());
                for node in [0, 1] {
                    let (ours, theirs) = (&inits[node], &inits[1 - node]);
                    self.turn(node, 1 - node, |session, turn| session.connect_as_signalled(turn, ours, theirs));
                }
            }
            Topology::Bare { collision } => {
                for (node, peer, dial) in [(0, 1, collision), (1, 0, true)] {
                    self.nodes[node].start_bare(self.now, peer, &self.options, dial);
                    self.turn(node, peer, |_, _| {});
                }
            }
            Topology::Endpoints { clients } => {
                for client in 1..=clients {
                    let at = self.now + self.prng.below(self.options.chaos / 4 + 1);
                    self.schedule(at, Blow::Dial(client));
                }
            }
        }
        if let Some((at, downtime)) = self.options.restart {
            self.schedule(at, Blow::Kill(1));
            self.schedule(at + downtime, Blow::Dial(1));
        }
        if let Some(at) = self.options.rebind {
            self.schedule(at, Blow::Rebind(1));
        }
    }

    pub(crate) fn schedule(&mut self, at: Nanos, blow: Blow) {
        self.script.insert((at, self.script.len() + 1000 * self.steps as usize), blow);
    }

    /// Runs until then.
    pub(crate) fn run_until(&mut self, until: Nanos) {
        while self.step(until) {}
    }

    /// Does the next thing that is due by `until`; if there is none, lets the time pass and says so.
    pub(crate) fn step(&mut self, until: Nanos) -> bool {
        let next = self.next();
        let Some((at, next)) = next.filter(|&(at, _)| at <= until) else {
            self.now = self.now.max(until);
            return false;
        };
        self.pass_to(at);
        match next {
            Next::Blow => self.strike(),
            Next::Arrival => {
                let arrival = self.network.arrive(self.now).expect("seen a moment ago");
                self.arrive(arrival);
            }
            Next::Timeout(node, peer) => {
                self.timeouts_at_once += 1;
                assert!(self.timeouts_at_once <= TIMEOUTS_AT_ONCE_MAX, "I01: time-outs without end at one instant");
                self.turn(node, peer, |session, turn| session.on_timeout(turn));
            }
            Next::Act(node, peer) => self.turn(node, peer, |session, turn| session.act(turn)),
            Next::Foreign(node, peer) => {
                let packet = self.foreign.get_mut(&(node, peer)).and_then(Foreign::take_due);
                packet.into_iter().for_each(|packet| self.network.send(self.now, node, peer, &packet, &self.trace));
            }
        }
        if !self.healed {
            self.disturb();
        }
        true
    }

    /// Returns the next event and its time. A stopped process does nothing before it goes on.
    fn next(&mut self) -> Option<(Nanos, Next)> {
        let mut best: Option<(Nanos, Next)> = None;
        let mut offer = |at: Nanos, next: Next| {
            if best.as_ref().is_none_or(|&(earliest, _)| at < earliest) {
                best = Some((at, next));
            }
        };
        if let Some((&(at, _), _)) = self.script.first_key_value() {
            offer(at, Next::Blow);
        }
        if let Some(at) = self.network.next_arrival() {
            offer(at.max(self.now), Next::Arrival);
        }
        for (&(node, peer), foreign) in &self.foreign {
            if let Some(at) = foreign.next_at() {
                offer(at.max(self.now), Next::Foreign(node, peer));
            }
        }
        let late = if self.healed { 0 } else { self.options.late };
        for node in &mut self.nodes {
            let awake = awake_from(&self.options, self.healed, node.id, self.now);
            for (&peer, session) in &mut node.sessions {
                if let Some(deadline) = session.stack.poll_timeout() {
                    let wake = match session.wake_at {
                        Some((known, wake)) if known == deadline => wake,
                        _ => deadline + self.prng.below(late + 1),
                    };
                    session.wake_at = Some((deadline, wake));
                    offer(wake.max(self.now).max(awake), Next::Timeout(node.id, peer));
                }
                if let Some(at) = session.app.next_at {
                    offer(at.max(self.now).max(awake), Next::Act(node.id, peer));
                }
            }
        }
        best
    }

    fn pass_to(&mut self, at: Nanos) {
        self.steps += 1;
        if at > self.now {
            self.now = at;
            (self.steps_at_once, self.timeouts_at_once) = (0, 0);
        }
        self.steps_at_once += 1;
        assert!(self.steps_at_once <= STEPS_AT_ONCE_MAX, "I01: steps without end at one instant");
    }

    fn strike(&mut self) {
        let Some((_, blow)) = self.script.pop_first() else { return };
        self.trace.note(self.now, &[5], || format!("{blow:?}"));
        match blow {
            // Nobody dials from an address that is his for a while only; see `reconnect`.
            Blow::Dial(client) if self.network.is_moved(client) => {}
            Blow::Dial(client) => {
                if self.nodes[client].endpoint.is_none() {
                    self.nodes[client] =
                        Node::new(client, &self.options, self.clock, self.now, self.prng.fork(), self.trace.clone());
                }
                if self.nodes[client].sessions.contains_key(&0) {
                    return;
                }
                self.nodes[client].dial(self.now, 0, &self.options);
                self.turn(client, 0, |_, _| {});
            }
            Blow::Kill(client) => {
                self.nodes[client].kill();
                self.model.on_killed((0, client), 1);
            }
            Blow::Rebind(client) => self.rebind(client),
        }
    }

    /// Over plain UDP an association keeps its address, so the one that moves is lost. Under DTLS the transport has
    /// shown that the peer is at the new place, and the association goes on there.
    fn rebind(&mut self, client: NodeId) {
        if matches!(self.options.topology, Topology::Bare { .. }) {
            self.network.shorten(0, client);
            for (node, peer) in [(0, client), (client, 0)] {
                self.turn(node, peer, |session, turn| session.on_path_changed(turn));
            }
        } else if self.nodes[client].sessions.get(&0).is_some_and(|session| session.app.connected) {
            self.network.rebind(client);
        }
    }

    /// A datagram has come to a node, which takes it in with those that follow it at once, or somewhat later.
    fn arrive(&mut self, arrival: Arrival) {
        let Arrival { to, from, .. } = arrival;
        let reads_at = *self.nodes[to].reads_at.get_or_insert(self.now + self.options.reading.delay);
        let awake = awake_from(&self.options, self.healed, to, self.now).max(reads_at);
        if awake > self.now {
            self.network.inject(awake, from, to, arrival.packet);
            return;
        }
        self.nodes[to].reads_at = None;
        let mut next = Some(arrival);
        let mut touched = BTreeSet::new();
        for _ in 0..self.options.reading.batch_max {
            let Some(arrival) = next.take().or_else(|| self.network.arrive_at(self.now, to)) else { break };
            self.take_in(arrival, &mut touched);
        }
        self.conclude(to, &mut touched);
        self.nodes[to].check(&self.options);
    }

    /// Handles a datagram. `touched`: associations that have handled datagrams and were not polled for packets yet.
    fn take_in(&mut self, arrival: Arrival, touched: &mut BTreeSet<NodeId>) {
        let Arrival { to, from, packet, .. } = arrival;
        self.trace.note(self.now, &[6, to as u64, from as u64], || {
            format!("{from}->{to} arrives {}", Packet::words(&packet))
        });
        if self.nodes[to].endpoint.is_none() && !matches!(self.options.topology, Topology::Bare { .. }) {
            return;
        }
        let Some(packet) = self.translate(to, from, packet) else { return };
        let node = &mut self.nodes[to];
        let observer = node.observers.get_mut(&from).filter(|observer| observer.may_batch(&packet));
        let is_beside = match observer {
            Some(observer) if self.options.reading.batch_max > 1 && node.sessions.contains_key(&from) => {
                observer.begin_batch();
                true
            }
            _ => {
                self.conclude(to, touched);
                false
            }
        };
        self.overhear(to, from, &packet);
        match self.nodes[to].route(self.now, from, &packet, &self.options) {
            Routed::Bare => drop(self.input(to, from, |session, turn| session.on_datagram(turn, &packet, None))),
            Routed::Existing(datagram) => {
                drop(self.input(to, from, |session, turn| session.on_datagram(turn, &packet, Some(datagram))));
            }
            Routed::New => {}
            Routed::Answer(answer) => return self.answer(to, from, answer),
            Routed::Nothing => return,
        }
        touched.insert(from);
        if !is_beside {
            self.conclude(to, touched);
        }
    }

    /// Polls for the results of the datagrams that were handled.
    fn conclude(&mut self, node: NodeId, touched: &mut BTreeSet<NodeId>) {
        for peer in std::mem::take(touched) {
            self.turn(node, peer, |_, _| {});
        }
    }

    /// Returns a packet as the foreign end that receives it sees it.
    fn translate(&mut self, node: NodeId, peer: NodeId, packet: Bytes) -> Option<Bytes> {
        let Some(foreign) = self.foreign_end(node, peer) else { return Some(packet) };
        let (seen, answer) = foreign.on_arrival(&packet);
        if let Some(answer) = answer {
            self.network.send(self.now, node, peer, &answer, &self.trace);
        }
        seen
    }

    fn foreign_end(&mut self, node: NodeId, peer: NodeId) -> Option<&mut Foreign> {
        let manner = self.options.manner_of(node)?;
        let seed = self.options.seed ^ (node * 1_000 + peer) as u64;
        Some(self.foreign.entry((node, peer)).or_insert_with(|| Foreign::new(manner.clone(), seed)))
    }

    /// A packet leaves a node.
    fn send(&mut self, node: NodeId, peer: NodeId, packet: &Bytes) {
        let (now, healed) = (self.now, self.healed);
        let packet = match self.foreign_end(node, peer) {
            Some(foreign) => foreign.on_sent(now, packet, healed),
            None => Some(packet.clone()),
        };
        if let Some(packet) = packet {
            self.network.send(self.now, node, peer, &packet, &self.trace);
        }
    }

    /// The eavesdropper sees a packet before the node does.
    fn overhear(&mut self, to: NodeId, from: NodeId, packet: &Bytes) {
        let node = &mut self.nodes[to];
        let form_only = self.options.hostile;
        let observer = node.observers.entry(from).or_insert_with(|| Observer::new(form_only));
        let promise = |_: &Data<'_>| Promise::default();
        match node.sessions.get(&from) {
            Some(session) => {
                let stats = session.stack.stats();
                let situation = session.situation(self.now, None, &self.options, &stats, &promise);
                observer.on_arrival(packet, &situation);
            }
            None => observer.on_arrival(packet, &stranger(self.now, &self.options, to, &promise)),
        }
    }

    fn answer(&mut self, node: NodeId, to: NodeId, answer: Vec<u8>) {
        let form_only = self.options.hostile;
        let observer = self.nodes[node].observers.entry(to).or_insert_with(|| Observer::new(form_only));
        observer.on_sent(&answer, &stranger(self.now, &self.options, node, &|_| Promise::default()));
        assert!(!self.quiet, "I41: an answer out of the blue at rest: {}", Packet::words(&answer));
        self.send(node, to, &Bytes::from(answer));
    }

    /// An input to one association.
    fn input(&mut self, node: NodeId, peer: NodeId, input: impl FnOnce(&mut Session, &mut Turn<'_>)) -> Sent {
        let Some(mut session) = self.nodes[node].sessions.remove(&peer) else { return Vec::new() };
        let observer = self.nodes[node].observers.remove(&peer);
        let mut observer = observer.unwrap_or_else(|| Observer::new(self.options.hostile));
        let mut turn = Turn {
            now: self.now,
            model: &mut self.model,
            observer: &mut observer,
            options: &self.options,
            trace: &self.trace,
            buf: &mut self.buf,
            sent: Vec::new(),
            may_exceed: false,
            timed_out: false,
        };
        input(&mut session, &mut turn);
        let sent = std::mem::take(&mut turn.sent);
        self.nodes[node].observers.insert(peer, observer);
        self.nodes[node].sessions.insert(peer, session);
        sent
    }

    /// An input to one association, and everything that follows from it at once.
    pub(crate) fn turn(&mut self, node: NodeId, peer: NodeId, input: impl FnOnce(&mut Session, &mut Turn<'_>)) {
        let sent = self.input(node, peer, |session, turn| {
            input(session, turn);
            session.finish(turn);
        });
        let Some(session) = self.nodes[node].sessions.get_mut(&peer) else { return };
        if session.app.ended.is_some() {
            session.app.settle(self.now, &mut session.stack, &mut self.model);
            assert!(session.app.channels.is_empty(), "I35: channels outlive their association");
            if self.nodes[node].endpoint.is_some() {
                self.nodes[node].retire(peer);
            }
        }
        for (packet, contents) in sent {
            assert!(!self.quiet || contents.only_heartbeat, "I41: at rest, {}", Packet::words(&packet));
            self.send(node, peer, &packet);
        }
        let node = &self.nodes[node];
        let channels = || node.sessions.values().flat_map(|session| &session.app.channels);
        // If an end does not support stream resets, a stream that was used stays in use.
        let is_for_ever = self.options.resets_may_fail();
        let streams = if is_for_ever { self.model.channels.len() } else { channels().count() };
        let names = channels().map(|channel| self.model.channels[channel.uid as usize].options.label.len()).sum();
        invariants::check_heap(node, streams, names, &self.options);
    }

    /// Extra polls, and packets from an attacker who knows only addresses.
    fn disturb(&mut self) {
        if self.prng.chance(self.options.early_timeouts) {
            let node = self.prng.below(self.nodes.len() as u64) as usize;
            let peers: Vec<_> = self.nodes[node].sessions.keys().copied().collect();
            for peer in peers {
                self.turn(node, peer, |session, turn| session.on_timeout(turn));
            }
        }
        if self.prng.chance(self.options.off_path) {
            let to = self.prng.below(self.nodes.len() as u64) as usize;
            let from = if to == 0 { 1 } else { 0 };
            let packet = self.forgery();
            self.network.inject(self.now, from, to, packet);
        }
    }

    /// Ports are right; the tag is a guess; nothing inside makes sense but the form.
    fn forgery(&mut self) -> Bytes {
        let prng = &mut self.prng;
        let mut packet = vec![0x13, 0x88, 0x13, 0x88];
        packet.extend((prng.next() as u32 | 1).to_be_bytes());
        packet.extend([0; 4]);
        for _ in 0..prng.range(1..=3) {
            let kind = prng.pick(&kind::DRAWN);
            let body = 4 * prng.below(12) as usize;
            packet.extend([kind, prng.below(2) as u8]);
            packet.extend((4 + body as u16).to_be_bytes());
            packet.extend((0..body).map(|_| if prng.coin() { 0 } else { prng.next() as u8 }));
        }
        seal(&mut packet);
        packet.into()
    }
}

fn stranger<'a>(
    now: Nanos,
    options: &Options,
    node: NodeId,
    promise: &'a dyn Fn(&Data<'_>) -> Promise,
) -> Situation<'a> {
    let config = options.config_of(node);
    let (mtu, window) = (config.mtu, config.receive_window);
    Situation {
        now,
        mtu,
        mtu_floor: mtu,
        window,
        takes_data: false,
        is_ending: false,
        refusals: 0,
        may_omit_checksum: false,
        unread: 0,
        unread_bytes: 0,
        is_plain: false,
        healed: false,
        promise,
    }
}

/// Returns the time at which a node that is stopped now goes on; `now` or before if it runs.
fn awake_from(options: &Options, healed: bool, node: NodeId, now: Nanos) -> Nanos {
    let stopped = |&&(of, from, to): &&(NodeId, Nanos, Nanos)| of == node.min(1) && (from..to).contains(&now);
    options.pauses.iter().filter(|_| !healed).find(stopped).map_or(0, |&(_, _, to)| to)
}
