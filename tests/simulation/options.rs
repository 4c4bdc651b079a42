//! Everything that a run depends on, drawn from its seed. Each feature is on in some runs only (swarm testing), so that
//! none hides what another would show; the whole set is printed with a failure.

use std::time::Duration;

use narrowboat_sctp::{AssociationConfig, CongestionControl, StreamScheduler, Valid, Validate};

use crate::clock::{MILLISECOND, Nanos, SECOND, START};
use crate::faults::{FaultOptions, GilbertElliott};
use crate::foreign::Manner;
use crate::network::LinkOptions;
use crate::packet::kind;
use crate::pipe::PipeOptions;
use crate::prng::{Ppm, Prng};

const PERCENT: Ppm = 10_000;

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    pub(crate) topology: Topology,
    /// Configuration of node 0, then of all others.
    pub(crate) config: [AssociationConfig; 2],
    /// Largest message that either side announces to take.
    pub(crate) message_size_max: usize,
    /// Time that a closing channel waits for its reader or its peer.
    pub(crate) close_timeout: Duration,
    /// From node 0 to the others, and back.
    pub(crate) links: [LinkOptions; 2],
    pub(crate) app: [AppOptions; 2],
    /// Datagrams asked of `poll_transmit` at once.
    pub(crate) max_datagrams: usize,
    pub(crate) chaos: Nanos,
    /// Idle time before the end, in which nothing but heartbeats may move.
    pub(crate) idle: Nanos,
    pub(crate) teardown: Teardown,
    /// Timers are polled up to this much too late.
    pub(crate) late: Nanos,
    /// Chance of a `handle_timeout` that nobody asked for, at each step.
    pub(crate) early_timeouts: Ppm,
    /// Chance of a packet from an attacker who knows addresses and ports only, at each step.
    pub(crate) off_path: Ppm,
    /// Spans in which a node's process is stopped; its packets wait, or are lost if too many.
    pub(crate) pauses: Vec<(usize, Nanos, Nanos)>,
    /// A client loses all state at this time, and dials again after the second.
    pub(crate) restart: Option<(Nanos, Nanos)>,
    /// From this time on the first client is seen at another address, until the network heals; two associations without
    /// addresses go by another path.
    pub(crate) rebind: Option<Nanos>,
    /// The first TSNs lie just before the wrap.
    pub(crate) near_wrap: bool,
    /// Channels at most, of both ends together.
    pub(crate) channels_max: usize,
    /// Associations that the accepting end has room for, and INITs that it answers in a second.
    pub(crate) associations_max: usize,
    pub(crate) inits_per_second_max: u32,
    /// An attacker on the path alters packets behind the checksum: errors in contents are then not the code's fault.
    pub(crate) hostile: bool,
    /// Way of reading datagrams.
    pub(crate) reading: Reading,
    /// The end that behaves as another stack does, if one does: node 0, or all others.
    pub(crate) foreign: Option<(usize, Manner)>,
    /// True if packets travel in records that nobody can change, so that they may leave without a checksum.
    pub(crate) over_dtls: bool,
    /// True if signalling has carried the INITs of a bare pair (SNAP), so that there is no handshake.
    pub(crate) snap: bool,
}

/// A program reads its socket some time after the first datagram has arrived, and then several datagrams at once.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) delay: Nanos,
    pub(crate) batch_max: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Topology {
    /// Two associations without endpoints, under DTLS for example; both dial if `collision`.
    Bare { collision: bool },
    /// Node 0 accepts, the others dial it.
    Endpoints { clients: usize },
}

/// End of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Teardown {
    /// All channels are closed first, then this side shuts down.
    CloseThenShutdown(usize),
    /// Shut down with channels open.
    Shutdown(usize),
    ShutdownBoth,
    Abort(usize),
    /// This side falls silent for good.
    Vanish(usize),
}

/// Actions of the application of one side.
#[derive(Clone, Debug)]
pub(crate) struct AppOptions {
    /// Mean time between two acts.
    pub(crate) pace: Nanos,
    pub(crate) opens: u32,
    pub(crate) live_max: usize,
    pub(crate) bytes: u64,
    pub(crate) message_max: u64,
    pub(crate) negotiated: bool,
    pub(crate) partial: bool,
    pub(crate) unordered: bool,
    /// Relative weights of the acts.
    pub(crate) sends: u64,
    pub(crate) closes: u64,
    pub(crate) forgets: u64,
    /// Chance that a channel is read slowly, and that it is not read at all until the network heals.
    pub(crate) slow: Ppm,
    pub(crate) stopped: Ppm,
    /// Acts before the association is up.
    pub(crate) eager: bool,
    pub(crate) shutdown_at: Option<Nanos>,
    pub(crate) abort_at: Option<Nanos>,
    /// Chance that a channel that is reliable and ordered carries a byte stream with half close.
    pub(crate) streams: Ppm,
    /// Chance that an act adds streams to the association.
    pub(crate) adds: Ppm,
    /// Chance that an act asks the peer to reset its side of a stream.
    pub(crate) asks: Ppm,
    /// Chance that a channel has a policy for messages that wait.
    pub(crate) policies: Ppm,
}

impl Options {
    pub(crate) fn draw(seed: u64) -> Self {
        let prng = &mut Prng::new(seed);
        let chaos = prng.log_range(500 * MILLISECOND..=20 * SECOND);
        let topology = match prng.below(4) {
            0 => Topology::Bare { collision: true },
            1 => Topology::Bare { collision: false },
            _ => Topology::Endpoints { clients: if prng.chance(25 * PERCENT) { 3 } else { 1 } },
        };
        let is_bare = matches!(topology, Topology::Bare { .. });
        let hostile = prng.chance(5 * PERCENT);
        let pipe = pipe(prng);
        let links = [0, 1].map(|_| LinkOptions {
            pipe: PipeOptions { queue: pipe.queue, ..pipe.clone() },
            faults: faults(prng, chaos, hostile),
            spoof: if !is_bare && prng.chance(10 * PERCENT) { PERCENT } else { 0 },
        });
        let config = [config(prng), config(prng)];
        let budget = if pipe.rate == 0 { 1 << 20 } else { (pipe.rate / 8 * 10).min(1 << 20) };
        let budget = prng.log_range(1_000..=budget.max(2_000)) / topology.clients() as u64;
        let app = [app(prng, chaos, budget), app(prng, chaos, budget)];
        let restart = (!is_bare && prng.chance(15 * PERCENT))
            .then(|| (START + prng.below(chaos), prng.log_range(MILLISECOND..=10 * SECOND)));
        // Without RE-CONFIG no end learns of a refusal, and the refusal of a negotiated channel is never reported.
        let can_refuse = config.iter().all(|config| config.stream_reset) && app.iter().all(|app| !app.negotiated);
        let idle = if prng.chance(15 * PERCENT) { 600 * SECOND } else { 0 };
        let teardown = teardown(prng);
        let late = if prng.chance(20 * PERCENT) { prng.log_range(1000..=300 * MILLISECOND) } else { 0 };
        Self {
            seed,
            topology,
            message_size_max: prng.pick(&[300 << 10, 300 << 10, 1 << 20, 4000]),
            close_timeout: Duration::from_secs(if prng.chance(10 * PERCENT) { prng.range(1..=10) } else { 30 }),
            config,
            links,
            app,
            max_datagrams: prng.pick(&[1, 1, 2, 10, 64]),
            chaos,
            idle,
            teardown,
            late,
            early_timeouts: if prng.chance(20 * PERCENT) { 2 * PERCENT } else { 0 },
            off_path: if prng.chance(15 * PERCENT) { 2 * PERCENT } else { 0 },
            pauses: pauses(prng, chaos),
            restart,
            rebind: prng.chance(10 * PERCENT).then(|| START + prng.below(chaos)),
            near_wrap: prng.chance(20 * PERCENT),
            channels_max: if can_refuse && prng.chance(20 * PERCENT) { prng.range(1..=6) as usize } else { 100 },
            associations_max: if prng.chance(15 * PERCENT) { prng.range(1..=2) as usize } else { 10 },
            inits_per_second_max: if prng.chance(10 * PERCENT) { prng.range(4..=20) as u32 } else { 1_000 },
            hostile,
            reading: Reading { delay: 0, batch_max: 1 },
            foreign: None,
            over_dtls: false,
            snap: false,
        }
    }

    /// Like [`draw`](Self::draw), with kinds of trouble that were added later. Both draw the same for a seed for ever;
    /// a later addition gets a function of its own.
    pub(crate) fn draw_all(seed: u64) -> Self {
        let mut options = Self::draw(seed);
        let prng = &mut Prng::new(seed ^ 0x6f75_7461_6765);
        if prng.chance(30 * PERCENT) {
            options.add_outage(prng);
        }
        for config in &mut options.config {
            if prng.chance(20 * PERCENT) {
                config.congestion_control = CongestionControl::NewReno;
            }
        }
        options
    }

    /// Like [`draw_all`](Self::draw_all), with batches of datagrams and ends that behave as other stacks do.
    pub(crate) fn draw_whole(seed: u64) -> Self {
        let mut options = Self::draw_all(seed);
        let prng = &mut Prng::new(seed ^ 0x666f_7265_6967_6e00);
        if prng.chance(60 * PERCENT) {
            let delay = prng.log_range(1_000..=20 * MILLISECOND);
            options.reading = Reading { delay, batch_max: prng.log_range(2..=128) as usize };
        }
        if prng.chance(50 * PERCENT) && !options.hostile {
            options.add_foreigner(prng);
        }
        options
    }

    /// Like [`draw_whole`](Self::draw_whole), with byte streams on some of the channels.
    pub(crate) fn draw_streams(seed: u64) -> Self {
        let mut options = Self::draw_whole(seed);
        let prng = &mut Prng::new(seed ^ 0x7374_7265_616d_7300);
        if prng.chance(40 * PERCENT) && !options.hostile {
            let streams = prng.log_range(100_000..=1_000_000) as Ppm;
            options.app.iter_mut().for_each(|app| app.streams = streams);
        }
        options
    }

    /// Like [`draw_streams`](Self::draw_streams), with extensions of the protocol and the schedulers of the streams.
    pub(crate) fn draw_extensions(seed: u64) -> Self {
        let mut options = Self::draw_streams(seed);
        let prng = &mut Prng::new(seed ^ 0x6578_7465_6e73_696f);
        for config in &mut options.config {
            config.stream_scheduler = prng.pick(&[
                StreamScheduler::FirstComeFirstServed,
                StreamScheduler::RoundRobin,
                StreamScheduler::RoundRobinPerPacket,
                StreamScheduler::Priority,
                StreamScheduler::FairCapacity,
                StreamScheduler::WeightedFairQueueing,
                StreamScheduler::WeightedFairQueueing,
            ]);
        }
        if prng.chance(75 * PERCENT) {
            options.config.iter_mut().for_each(|config| config.message_interleaving = !prng.chance(10 * PERCENT));
            options.links.iter_mut().for_each(LinkOptions::drop_interleaved);
        }
        options
    }

    /// Like [`draw_extensions`](Self::draw_extensions), with associations that begin with few streams, and add
    /// some, and with requests to reset incoming streams.
    pub(crate) fn draw_more(seed: u64) -> Self {
        let mut options = Self::draw_extensions(seed);
        let prng = &mut Prng::new(seed ^ 0x6d6f_7265_0000_0000);
        if prng.chance(20 * PERCENT) && !options.hostile {
            for config in &mut options.config {
                if prng.chance(70 * PERCENT) {
                    config.outbound_streams = prng.range(2..=12) as u16;
                    config.inbound_streams = prng.pick(&[65_535, 65_535, 12, 30]);
                }
            }
            // An end that must not open channels stays so.
            for app in options.app.iter_mut().filter(|app| app.opens > 0) {
                app.adds = sometimes(prng, 60 * PERCENT, |prng| prng.log_range(10_000..=300_000) as Ppm);
                (app.opens, app.live_max) = (app.opens.max(20), app.live_max.max(12));
            }
        }
        if prng.chance(20 * PERCENT) && !options.hostile {
            options.app.iter_mut().for_each(|app| app.asks = prng.log_range(10_000..=100_000) as Ppm);
        }
        options
    }

    /// Like [`draw_more`](Self::draw_more), with searches for the size of packets, on links that carry packets up to a
    /// size, and some a smaller size from some time on.
    pub(crate) fn draw_sizes(seed: u64) -> Self {
        let mut options = Self::draw_more(seed);
        options.add_sizes(&mut Prng::new(seed ^ 0x7061_7468_206d_7475));
        options
    }

    /// Most ends search for larger packets, on links that carry packets up to a size, and some a smaller size from some
    /// time on.
    fn add_sizes(&mut self, prng: &mut Prng) {
        for config in &mut self.config {
            config.path_mtu_discovery = prng.chance(70 * PERCENT);
            config.mtu_max = prng.pick(&[1252, 1472, 9000, 65_487]);
            config.mtu_min = prng.chance(30 * PERCENT).then(|| prng.range(576..=config.mtu as u64) as usize);
        }
        let largest = self.config.iter().map(|config| config.mtu).max().unwrap_or(0);
        let floors = [0, 1].map(|side| self.mtu_floor_of(side));
        for (link, floor) in self.links.iter_mut().zip(floors) {
            link.pipe.mtu = prng.pick(&[1252, 1472, 1472, 1472, 2000, 9000]).max(largest);
            if prng.chance(40 * PERCENT) {
                let mtu = prng.pick(&[floor, floor, floor + 100, 1252, 1472]).max(floor).min(link.pipe.mtu);
                link.faults.mtu_cliff = Some((START + prng.below(self.chaos), mtu));
            }
        }
    }

    /// Returns the least size that packets of a node may fall to.
    pub(crate) fn mtu_floor_of(&self, node: usize) -> usize {
        let config = self.config_of(node);
        let min = config.mtu_min.filter(|_| config.path_mtu_discovery).unwrap_or(config.mtu);
        min & !3
    }

    /// Returns the largest packet that a node may send, but for probes.
    pub(crate) fn mtu_max_of(&self, node: usize) -> usize {
        let config = self.config_of(node);
        let carried = config.mtu_max.min(self.links[node.min(1)].pipe.mtu);
        if config.path_mtu_discovery { config.mtu.max(carried) } else { config.mtu }
    }

    /// Like [`draw_sizes`](Self::draw_sizes), with times of many lengths until a silent peer is given up.
    pub(crate) fn draw_idle(seed: u64) -> Self {
        let mut options = Self::draw_sizes(seed);
        let prng = &mut Prng::new(seed ^ 0x6964_6c65_0000_0000);
        for config in &mut options.config {
            if prng.chance(15 * PERCENT) {
                config.idle_timeout = Duration::from_secs(prng.pick(&[1, 5, 20, 300]));
            }
        }
        options
    }

    /// Like [`draw_idle`](Self::draw_idle), with policies for messages that wait, model-based congestion control, and
    /// packets without checksums.
    pub(crate) fn draw_policies(seed: u64) -> Self {
        let mut options = Self::draw_idle(seed);
        let prng = &mut Prng::new(seed ^ 0x706f_6c69_6369_6573);
        for config in &mut options.config {
            if prng.chance(25 * PERCENT) {
                config.congestion_control = CongestionControl::Bbr;
            }
        }
        if prng.chance(50 * PERCENT) && !options.hostile {
            let policies = prng.log_range(100_000..=1_000_000) as Ppm;
            options.app.iter_mut().for_each(|app| app.policies = policies);
        }
        if prng.chance(30 * PERCENT) && matches!(options.topology, Topology::Bare { .. }) && !options.hostile {
            options.over_dtls = true;
            options.config.iter_mut().for_each(|config| config.zero_checksum = prng.chance(80 * PERCENT));
            // DTLS discards what an attacker or the path has changed.
            options.off_path = 0;
            for link in &mut options.links {
                (link.faults.corrupt, link.faults.truncate) = (0, 0);
            }
        }
        let is_plain_pair = matches!(options.topology, Topology::Bare { .. }) && options.foreign.is_none();
        options.snap = prng.chance(20 * PERCENT) && is_plain_pair && !options.hostile;
        options
    }

    fn add_foreigner(&mut self, prng: &mut Prng) {
        let (side, manner) = (prng.below(2) as usize, Manner::draw(prng));
        let config = &mut self.config[side];
        match prng.below(4) {
            // A SACK for each packet.
            0 => config.sack_delay_max = Duration::ZERO,
            1 => config.sack_delay_max = Duration::from_millis(200),
            _ => {}
        }
        if prng.chance(20 * PERCENT) {
            config.mtu = 576;
        }
        if manner.takes_our_parity {
            // Two ends that open channels with the same id at once break both channels.
            self.app[1 - side].opens = 0;
        }
        self.foreign = Some((side, manner));
    }

    /// The manner of a node that behaves as another stack does.
    pub(crate) fn manner_of(&self, node: usize) -> Option<&Manner> {
        self.foreign.as_ref().filter(|(side, _)| *side == node.min(1)).map(|(_, manner)| manner)
    }

    /// True if this node leaves it to its peer to open channels.
    pub(crate) fn leaves_ids_to_peer(&self, node: usize) -> bool {
        self.manner_of(1 - node.min(1)).is_some_and(|manner| manner.takes_our_parity)
    }

    /// The network is away for up to 100 s, in one direction or both, from any moment on. Time-outs are those that
    /// users have, so that the outage is compared with them.
    fn add_outage(&mut self, prng: &mut Prng) {
        let from = START + prng.below(self.chaos);
        let outage = (from, from + prng.below(100 * SECOND + 1));
        let direction = prng.below(3);
        for (index, link) in self.links.iter_mut().enumerate() {
            if direction != index as u64 {
                link.faults.blackholes.push(outage);
            }
        }
        let defaults = AssociationConfig::default();
        for config in &mut self.config {
            config.reset_timeout = defaults.reset_timeout;
            if prng.coin() {
                config.association_max_retransmits = defaults.association_max_retransmits;
                config.idle_timeout = defaults.idle_timeout;
                (config.rto_min, config.rto_max) = (defaults.rto_min, defaults.rto_max);
                config.rto_initial = defaults.rto_initial;
            }
        }
        self.close_timeout = narrowboat_dcep::ChannelsConfig::default().close_timeout;
        // It ends before the network heals in most runs, so that there is life after it.
        if prng.chance(70 * PERCENT) {
            self.chaos = self.chaos.max(outage.1 - START + SECOND);
        }
    }

    pub(crate) fn config_of(&self, node: usize) -> &AssociationConfig {
        &self.config[node.min(1)]
    }

    /// The same, for an association or an endpoint.
    pub(crate) fn valid_config_of(&self, node: usize) -> Valid<AssociationConfig> {
        Valid::new(self.config_of(node).clone()).expect("drawn from the allowed ranges")
    }

    /// True if a channel may end at one end alone: only if an end does not know resets.
    pub(crate) fn resets_may_fail(&self) -> bool {
        self.config.iter().any(|config| !config.stream_reset)
    }

    /// Returns `true` if a channel may be refused for want of room.
    pub(crate) fn channels_are_few(&self) -> bool {
        self.channels_max < 100
    }

    /// Returns `true` if a stream id may be out of the peer's range.
    pub(crate) fn streams_are_few(&self) -> bool {
        self.config.iter().any(|config| config.outbound_streams.min(config.inbound_streams) < 1_000)
    }
}

impl Topology {
    pub(crate) fn clients(&self) -> usize {
        match self {
            Self::Bare { .. } => 1,
            Self::Endpoints { clients } => *clients,
        }
    }
}

impl LinkOptions {
    /// Loses I-DATA where DATA was drawn, and I-FORWARD-TSN where FORWARD-TSN was.
    fn drop_interleaved(&mut self) {
        if let Some((kind, _)) = &mut self.faults.drop_kind {
            *kind = match *kind {
                kind::DATA => kind::I_DATA,
                kind::FORWARD_TSN => kind::I_FORWARD_TSN,
                other => other,
            };
        }
    }
}

fn sometimes<T: Default>(prng: &mut Prng, chance: Ppm, draw: impl FnOnce(&mut Prng) -> T) -> T {
    if prng.chance(chance) { draw(prng) } else { T::default() }
}

fn pipe(prng: &mut Prng) -> PipeOptions {
    let delay = if prng.chance(10 * PERCENT) { 0 } else { prng.log_range(50_000..=300 * MILLISECOND) };
    let rate = if prng.chance(30 * PERCENT) { 0 } else { prng.log_range(200_000..=1_000_000_000) };
    PipeOptions { rate, queue: prng.log_range(3_000..=1_000_000), delay, overhead: 28, mtu: usize::MAX }
}

fn faults(prng: &mut Prng, chaos: Nanos, hostile: bool) -> FaultOptions {
    if prng.chance(15 * PERCENT) {
        return FaultOptions::default();
    }
    let rare = |prng: &mut Prng| prng.log_range(100..=150_000) as Ppm;
    let span = |prng: &mut Prng| {
        let from = START + prng.below(chaos);
        (from, from + prng.log_range(MILLISECOND..=8 * SECOND))
    };
    let kind = |prng: &mut Prng| Some((prng.pick(&kind::DRAWN), prng.pick(&[30 * PERCENT, 90 * PERCENT])));
    FaultOptions {
        loss: sometimes(prng, 50 * PERCENT, |prng| prng.log_range(100..=300_000) as Ppm),
        bursts: sometimes(prng, 20 * PERCENT, |prng| {
            let to_good = prng.log_range(20_000..=500_000) as Ppm;
            Some(GilbertElliott { to_bad: rare(prng), to_good, loss_in_bad: prng.pick(&[50 * PERCENT, 100 * PERCENT]) })
        }),
        drop_first: sometimes(prng, 10 * PERCENT, |prng| prng.range(1..=5)),
        drop_nth: Default::default(),
        drop_from: None,
        drop_kind: sometimes(prng, 20 * PERCENT, kind),
        duplicate: sometimes(prng, 30 * PERCENT, rare),
        jitter: sometimes(prng, 40 * PERCENT, |prng| prng.log_range(1000..=100 * MILLISECOND)),
        reorder: sometimes(prng, 40 * PERCENT, rare),
        reorder_by: prng.log_range(10_000..=500 * MILLISECOND),
        corrupt: sometimes(prng, 20 * PERCENT, rare),
        forge: if hostile { rare(prng) } else { 0 },
        truncate: sometimes(prng, 15 * PERCENT, rare),
        replay: sometimes(prng, 25 * PERCENT, rare),
        blackholes: sometimes(prng, 20 * PERCENT, |prng| vec![span(prng)]),
        mtu: sometimes(prng, 10 * PERCENT, |prng| Some(prng.range(400..=1600) as usize)),
        cliff: sometimes(prng, 10 * PERCENT, |prng| {
            Some((START + prng.below(chaos), prng.log_range(200_000..=10_000_000)))
        }),
        mtu_cliff: None,
    }
}

fn config(prng: &mut Prng) -> AssociationConfig {
    let mtu = prng.pick(&[576, 1200, 1200, 1280, 1500, 9000]);
    let mut config = AssociationConfig { mtu, path_mtu_discovery: false, ..AssociationConfig::default() };
    if prng.coin() {
        config.receive_window = prng.log_range(4096.max(mtu as u64)..=1 << 20) as u32;
    }
    if prng.chance(30 * PERCENT) {
        config.send_buffer = prng.log_range(1_000..=100_000) as usize;
    }
    if prng.chance(30 * PERCENT) {
        config.stream_send_buffer = prng.log_range(1_000..=100_000) as usize;
    }
    if prng.chance(30 * PERCENT) {
        config.sack_delay_max = Duration::from_millis(prng.pick(&[0, 5, 200]));
    }
    if prng.chance(30 * PERCENT) {
        config.rto_min = Duration::from_millis(prng.pick(&[50, 200, 1000]));
        config.rto_initial = Duration::from_millis(prng.pick(&[1000, 3000]));
        config.rto_max = Duration::from_millis(prng.pick(&[3000, 10_000, 60_000]));
    }
    if prng.chance(20 * PERCENT) {
        config.max_burst = prng.pick(&[4, 8, 1024]) as u32;
    }
    if prng.chance(20 * PERCENT) {
        config.heartbeat_interval = prng.pick(&[None, Some(Duration::from_millis(300)), Some(Duration::from_secs(30))]);
    }
    if prng.chance(10 * PERCENT) {
        config.association_max_retransmits = Some(prng.range(1..=5) as u32);
    }
    if prng.chance(5 * PERCENT) {
        config.reset_timeout = Duration::from_secs(prng.range(1..=10));
    }
    if prng.chance(15 * PERCENT) {
        config.cookie_lifetime = Duration::from_secs(prng.range(1..=4));
    }
    config.partial_reliability = !prng.chance(10 * PERCENT);
    config.message_interleaving = false;
    config.stream_reset = !prng.chance(5 * PERCENT);
    if prng.chance(10 * PERCENT) {
        (config.outbound_streams, config.inbound_streams) = (prng.range(4..=40) as u16, prng.range(4..=40) as u16);
    }
    config.validate().expect("drawn from the allowed ranges");
    config
}

fn app(prng: &mut Prng, chaos: Nanos, bytes: u64) -> AppOptions {
    let at = |prng: &mut Prng| Some(START + prng.below(chaos));
    AppOptions {
        pace: chaos / prng.log_range(5..=400),
        opens: prng.log_range(1..=60) as u32,
        live_max: prng.range(1..=8) as usize,
        bytes,
        message_max: prng.pick(&[20, 1_000, 10_000, 70_000, 300 << 10]),
        negotiated: prng.chance(30 * PERCENT),
        partial: prng.coin(),
        unordered: prng.coin(),
        sends: prng.range(1..=20),
        closes: prng.below(8),
        forgets: sometimes(prng, 25 * PERCENT, |_| 1),
        slow: sometimes(prng, 30 * PERCENT, |prng| prng.log_range(10_000..=1_000_000) as Ppm),
        stopped: sometimes(prng, 20 * PERCENT, |prng| prng.log_range(10_000..=1_000_000) as Ppm),
        eager: prng.coin(),
        shutdown_at: sometimes(prng, 5 * PERCENT, at),
        abort_at: sometimes(prng, 3 * PERCENT, at),
        streams: 0,
        adds: 0,
        asks: 0,
        policies: 0,
    }
}

fn teardown(prng: &mut Prng) -> Teardown {
    let side = prng.below(2) as usize;
    match prng.below(10) {
        0..4 => Teardown::CloseThenShutdown(side),
        4..6 => Teardown::Shutdown(side),
        6..8 => Teardown::ShutdownBoth,
        8 => Teardown::Abort(side),
        _ => Teardown::Vanish(side),
    }
}

fn pauses(prng: &mut Prng, chaos: Nanos) -> Vec<(usize, Nanos, Nanos)> {
    sometimes(prng, 15 * PERCENT, |prng| {
        let from = START + prng.below(chaos);
        vec![(prng.below(2) as usize, from, from + prng.log_range(10 * MILLISECOND..=5 * SECOND))]
    })
}
