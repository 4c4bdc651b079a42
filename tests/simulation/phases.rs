//! A run: chaos, then the network heals, then everything must finish (I39, I40), rest (I41), end, and leave nothing
//! (I43).

use crate::clock::{Nanos, SECOND, START, nanos};
use crate::invariants::detection_bound;
use crate::network::NodeId;
use crate::node::Node;
use crate::options::{Options, Teardown, Topology};
use crate::trace::Trace;
use crate::world::{Blow, World};

/// G6: an association at rest.
const IDLE_BYTES_MAX: i64 = 16 << 10;

/// Bytes that the receive window counts for a message of one fragment beside its payload.
const MESSAGE_OVERHEAD: u64 = 352;

/// Result of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) hash: u64,
    pub(crate) packets: u64,
    pub(crate) channels: usize,
    pub(crate) delivered: usize,
    pub(crate) virtual_time: Nanos,
}

pub(crate) fn run(options: Options, trace: &Trace) -> Outcome {
    let mut world = World::new(options, trace.clone());
    world.run_until(START + world.options.chaos);
    world.heal();
    if world.options.hostile {
        // Contents were altered: nobody owes anything. That nothing broke, and that nothing is kept, is the test.
        world.run_until(world.now + 10 * SECOND);
    } else {
        world.settle("after the network healed");
        world.check_streams();
        world.model.check_delivered();
        world.reconnect();
        world.probe();
        world.rest();
        world.tear_down();
        world.model.check_delivered();
    }
    world.leave_nothing();
    Outcome {
        hash: world.trace.hash(),
        packets: world.network.packets,
        channels: world.model.channels.len(),
        delivered: world.model.channels.iter().flat_map(|c| &c.lanes).map(|lane| lane.delivered).sum(),
        virtual_time: world.now,
    }
}

impl World {
    pub(crate) fn heal(&mut self) {
        self.trace.note(self.now, &[7], || "the network heals".into());
        self.network.heal();
        self.healed = true;
        for (node, peer) in self.ends() {
            self.turn(node, peer, |session, turn| session.app.settle(turn.now, &mut session.stack, turn.model));
        }
    }

    /// Runs until everything that was begun has ended, or the time for it is over.
    pub(crate) fn settle(&mut self, when: &str) {
        let bound = self.now + self.settling_bound();
        while !self.is_settled() {
            self.excuse_unconnected();
            let within = self.step(bound);
            assert!(within || self.is_settled(), "I39: not everything has ended in time {when}: {}", self.unsettled());
        }
    }

    /// I39: how long it may take until all is done, from any state, on a network without faults.
    fn settling_bound(&self) -> Nanos {
        let link = &self.options.links[0].pipe;
        let rto = self.options.config.iter().map(|config| nanos(config.rto_max)).max().unwrap_or(0);
        let sack_delay = self.options.config.iter().map(|config| nanos(config.sack_delay_max)).max().unwrap_or(0);
        let window = self.options.config.iter().map(|config| u64::from(config.receive_window)).min().unwrap_or(1);
        let sessions = self.nodes.iter().flat_map(|node| node.sessions.values());
        let bytes: u64 = sessions
            .map(|session| session.stack.stats())
            .map(|stats| (stats.buffered_amount + stats.flight_size) as u64)
            .sum();
        let rate = self.options.links.iter().filter_map(|link| link.faults.cliff.map(|(_, rate)| rate));
        let rate = rate.chain([link.rate]).filter(|&rate| rate != 0).min().unwrap_or(u64::MAX);
        let manner = self.options.foreign.as_ref().map(|(_, manner)| manner.clone()).unwrap_or_default();
        let sack_delay = sack_delay.max(manner.sack_delay);
        let reading = 2 * self.options.reading.delay;
        let round_trip = 2 * link.delay + reading + 2 * sack_delay + link.queue.saturating_mul(16 * SECOND) / rate;
        let serial = (u128::from(bytes) * 4 * 8 * u128::from(SECOND) / u128::from(rate)) as Nanos;
        // Small windows: each moves at most half a window in a round trip, and a message costs more of it than its
        // bytes.
        let messages: usize = self.model.channels.iter().map(|channel| channel.missing(0) + channel.missing(1)).sum();
        let charged = bytes + messages as u64 * MESSAGE_OVERHEAD;
        let windows = 2 * charged / window.min(64 << 10) * round_trip;
        // A queue that has no room for the least window (two packets) loses one of them each time.
        let mtu = [0, 1].map(|node| self.options.mtu_max_of(node) as u64).into_iter().max().unwrap_or(0);
        let is_short = link.queue < 2 * (mtu + link.overhead);
        let singly = if is_short { bytes / mtu.max(1) * round_trip } else { 0 };
        // If one end abandons a reset, the other waits for as long as it would for an application that does not read.
        let patience = if self.options.resets_may_fail() { nanos(self.options.close_timeout) } else { 0 };
        (3 + u64::from(manner.in_progress)) * rto + serial + windows + singly + 60 * round_trip + patience + 10 * SECOND
    }

    fn is_settled(&self) -> bool {
        let pairs_settled = (1..self.nodes.len()).all(|client| self.is_pair_settled(client));
        pairs_settled && self.model.is_settled()
    }

    /// Excuses messages that one end has handed to an association that the other has abandoned before it was
    /// established, or to a process that has died and is not back.
    fn excuse_unconnected(&mut self) {
        for client in 1..self.nodes.len() {
            let ends = [self.nodes[0].sessions.get(&client), self.nodes[client].sessions.get(&0)];
            if let [Some(a), Some(b)] = ends
                && (a.app.ended.is_some() && !b.app.connected || b.app.ended.is_some() && !a.app.connected)
            {
                self.model.on_association_lost((0, client));
            }
            if let [Some(_), None] = ends
                && self.nodes[client].endpoint.is_none()
            {
                self.model.on_association_lost((0, client));
            }
        }
    }

    fn is_pair_settled(&self, client: NodeId) -> bool {
        let ends = [self.nodes[0].sessions.get(&client), self.nodes[client].sessions.get(&0)];
        let is_over = |session: &crate::session::Session| session.app.ended.is_some();
        match ends {
            [Some(a), Some(b)] => {
                let over = is_over(a) || is_over(b);
                let settled = |session: &crate::session::Session| {
                    session.app.is_settled(&session.stack) && !session.app.shutting_down
                };
                over || (settled(a) && settled(b))
            }
            // The peer has ended, and its end may be lost: nothing is owed. An end that neither sends nor probes does
            // not find out, as RFC 9260 §8.3 specifies.
            [None, Some(session)] => {
                is_over(session) || (session.app.connected && self.options.config[1].heartbeat_interval.is_none())
            }
            [None, None] => true,
            [_, None] => true,
        }
    }

    fn unsettled(&self) -> String {
        let mut words = String::new();
        for node in &self.nodes {
            for (peer, session) in &node.sessions {
                let stats = session.stack.stats();
                words += &format!("\n  node {} with {peer}: {:?}, {stats:?}", node.id, session.state);
                for channel in &session.app.channels {
                    let (state, stream) = (session.stack.ready_state(channel.id), session.stack.stream(channel.id));
                    let buffered = session.stack.buffered_amount(channel.id);
                    words += &format!("\n    {channel:?} {state:?} stream {stream:?}, {buffered} bytes buffered");
                }
            }
        }
        for channel in &self.model.channels {
            let missing = [channel.missing(0), channel.missing(1)];
            if missing != [0, 0] {
                words += &format!("\n  channel {}: {missing:?} missing, {:?}", channel.uid, channel.ends);
                words += &format!("\n    {:?}", channel.lanes.each_ref().map(|lane| lane.undelivered()));
            }
        }
        words
    }

    fn ends(&self) -> Vec<(NodeId, NodeId)> {
        self.nodes.iter().flat_map(|node| node.sessions.keys().map(|&peer| (node.id, peer))).collect()
    }

    /// Creates the associations again that died in the chaos.
    fn reconnect(&mut self) {
        if matches!(self.options.topology, Topology::Bare { .. }) {
            return;
        }
        // Nodes that were to come back later do so now.
        self.script.clear();
        for client in 1..self.nodes.len() {
            if !self.nodes[client].sessions.contains_key(&0) {
                self.model.on_association_lost((0, client));
                self.schedule(self.now, Blow::Dial(client));
            }
        }
        self.step(self.now);
        self.settle("after dialling again");
    }

    /// Each end that is up opens a channel, sends a message through, and closes the channel.
    fn probe(&mut self) {
        for (node, peer) in self.live() {
            self.turn(node, peer, |session, turn| {
                if turn.options.leaves_ids_to_peer(session.node) {
                    return;
                }
                let uid = session.app.probe(turn.now, &mut session.stack, turn.model);
                let few = turn.options.streams_are_few() || turn.options.channels_are_few();
                assert!(uid.is_some() || few, "I39: no channel can be opened");
            });
        }
        self.settle("after a message was sent on a new channel");
    }

    /// I41.
    fn rest(&mut self) {
        if self.options.idle == 0 {
            return;
        }
        let longest = self.settling_bound();
        self.run_until(self.now + longest.min(20 * SECOND));
        // An end whose peer has ended, without an endpoint that reports it, goes on probing and retransmitting for a
        // while.
        let sessions = self.nodes.iter().flat_map(|node| node.sessions.values());
        if sessions.filter(|session| session.app.ended.is_none()).count() > self.live().len() {
            return;
        }
        self.quiet = true;
        let before = self.network.packets;
        self.run_until(self.now + self.options.idle);
        self.quiet = false;
        // Each end asks once an interval, and is answered.
        let asked = |&(node, _): &(NodeId, NodeId)| {
            let config = self.options.config_of(node);
            let interval = config.heartbeat_interval.map(|interval| interval.min(config.idle_timeout / 4));
            interval.map_or(0, |interval| self.options.idle / nanos(interval) + 1)
        };
        let (sent, most) = (self.network.packets - before, 2 * self.ends().iter().map(asked).sum::<u64>());
        assert!(sent <= most, "I41: {sent} heartbeats and answers at rest, where {most} are due");
    }

    fn tear_down(&mut self) {
        let teardown = self.options.teardown;
        if let Teardown::CloseThenShutdown(side) = teardown {
            self.on_side(side, |session, turn| session.app.close_all(turn.now, &mut session.stack, turn.model));
            self.settle("after all channels were closed by one side");
            self.on_side(1 - side, |session, turn| session.app.close_all(turn.now, &mut session.stack, turn.model));
            self.settle("after all channels were closed by the other side");
            // The last acknowledgements may still be on their way, and channels that nobody watches be closing.
            self.run_until(self.now + self.settling_bound().min(20 * SECOND));
            // Without RE-CONFIG, ids that were used stay used.
            let forgets = self.options.config.iter().all(|config| config.stream_reset);
            // An end whose peer has ended is not closed with the others.
            let live = self.live();
            let is_idle = |node: &&Node| {
                let is_closed = |(peer, session): (&NodeId, &crate::session::Session)| {
                    session.app.channels.is_empty() && live.contains(&(node.id, *peer))
                };
                forgets && node.sessions.iter().all(is_closed)
            };
            for node in self.nodes.iter().filter(is_idle) {
                let bound = (1 + node.sessions.len() as i64) * IDLE_BYTES_MAX + node.rate_table_bytes();
                let held = node.gauge.held().bytes;
                assert!(held <= bound, "I43: {held} bytes are held at rest by {} associations", node.sessions.len());
            }
        }
        match teardown {
            Teardown::CloseThenShutdown(side) | Teardown::Shutdown(side) => self.shut_down(side),
            Teardown::ShutdownBoth => {
                self.shut_down(0);
                self.shut_down(1);
            }
            Teardown::Abort(side) => {
                self.on_side(side, |session, _| session.stack.abort("the end"));
            }
            Teardown::Vanish(side) => return self.vanish(side),
        }
        self.end_within(self.settling_bound() + 10 * SECOND, &format!("{teardown:?}"));
    }

    fn check_streams(&self) {
        for (node, peer) in self.live() {
            self.nodes[node].sessions[&peer].app.check_streams(&self.model);
        }
    }

    fn shut_down(&mut self, side: usize) {
        self.on_side(side, |session, turn| session.app.shutdown(turn.now, &mut session.stack));
    }

    fn on_side(&mut self, side: usize, input: impl Fn(&mut crate::session::Session, &mut crate::session::Turn<'_>)) {
        for (node, peer) in self.live().into_iter().filter(|&(node, _)| node.min(1) == side) {
            self.turn(node, peer, &input);
        }
    }

    /// Ends that are up, and whose peers are.
    fn live(&self) -> Vec<(NodeId, NodeId)> {
        let up = |node: NodeId, peer: NodeId| {
            self.nodes[node].sessions.get(&peer).is_some_and(|session| session.app.ended.is_none())
        };
        self.ends().into_iter().filter(|&(node, peer)| up(node, peer) && up(peer, node)).collect()
    }

    /// One side falls silent; the other sends something, or else a HEARTBEAT, and so notices.
    fn vanish(&mut self, side: usize) {
        self.on_side(1 - side, |session, turn| session.app.speak(turn.now, &mut session.stack, turn.model));
        for client in 1..self.nodes.len() {
            for (from, to) in [(0, client), (client, 0)] {
                self.network.faults(from, to).options.drop_from = Some(0);
            }
            self.model.on_association_lost((0, client));
        }
        let bound = self.options.config.iter().map(detection_bound).max().unwrap_or(0);
        let heard = |world: &Self| {
            world.live().iter().all(|&(node, peer)| {
                node.min(1) == side || world.nodes[node].sessions[&peer].has_noticed(&world.options)
            })
        };
        let until = self.now + bound;
        while !heard(self) {
            assert!(self.step(until), "I29: a peer that vanished is not noticed: {}", self.unsettled());
        }
    }

    fn end_within(&mut self, bound: Nanos, how: &str) {
        let until = self.now + bound;
        while !self.live().is_empty() {
            assert!(self.step(until), "I39: the end did not come after {how}: {}", self.unsettled());
        }
    }

    /// I43: packets still on their way arrive nowhere, and no node holds anything.
    fn leave_nothing(&mut self) {
        let bare = matches!(self.options.topology, Topology::Bare { .. });
        let until = self.now + 60 * SECOND;
        if self.live().is_empty() && !bare && !self.options.hostile {
            self.run_until(until);
            assert!(self.network.is_empty(), "I43: packets are still under way");
            for node in self.nodes.iter().filter(|node| node.sessions.is_empty()) {
                let held = node.gauge.held().bytes;
                let bound = IDLE_BYTES_MAX + node.rate_table_bytes();
                assert!(held <= bound, "I43: node {} holds {held} bytes for nobody", node.id);
            }
        }
        for node in &mut self.nodes {
            node.kill();
        }
    }
}
