//! One association of a node: the stack, its application, and the checks at every step of theirs.

use narrowboat_dcep::{ChannelsEvent, Reliability};
use narrowboat_sctp::{AssociationHandle, AssociationStats, CloseReason, CongestionControl, PacketDropReason, State};

use crate::app::App;
use crate::clock::{Nanos, nanos};
use crate::invariants;
use crate::model::Model;
use crate::observer::{Contents, Observer, Situation};
use crate::options::Options;
use crate::outgoing::{Offset, Promise};
use crate::packet::{Data, Packet};
use crate::payload::Token;
use crate::stack::Stack;
use crate::trace::Trace;

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) stack: Stack,
    pub(crate) app: App,
    /// Its name in the endpoint, if there is one.
    pub(crate) handle: Option<AssociationHandle>,
    pub(crate) is_client: bool,
    /// Number of its node, for the configuration.
    pub(crate) node: usize,
    pub(crate) state: State,
    /// Time at which the owner will see the deadline that it waits for: later than the deadline if polls are late.
    pub(crate) wake_at: Option<(Nanos, Nanos)>,
    /// Time at which the peer last showed that it is there, and T3 expirations since (I29).
    lived_at: Nanos,
    expirations: u64,
    /// The last TSN sent when the congestion window was last cut for a loss: until it is acknowledged, or T3 expires,
    /// another loss does not cut the window again.
    cut_at: Option<Offset>,
    /// The largest congestion window before a cut that was not undone.
    cwnd_before_cut: usize,
    /// A timer has expired that may have been the one that probes for a lost tail.
    has_probed: bool,
    /// Packets that went in since packets were last taken out.
    taken_in: u32,
}

/// Values that the parts of a turn have in common.
pub(crate) struct Turn<'a> {
    pub(crate) now: Nanos,
    pub(crate) model: &'a mut Model,
    pub(crate) observer: &'a mut Observer,
    pub(crate) options: &'a Options,
    pub(crate) trace: &'a Trace,
    /// Buffer in which packets are written; its room was reserved before.
    pub(crate) buf: &'a mut Vec<u8>,
    pub(crate) sent: Vec<(bytes::Bytes, Contents)>,
    /// Permission to send one packet of new data although cwnd is full: a timer has expired, so the packet probes for a
    /// lost tail (RFC 8985 §7.3).
    pub(crate) may_exceed: bool,
    pub(crate) timed_out: bool,
}

impl Session {
    pub(crate) fn new(stack: Stack, app: App, handle: Option<AssociationHandle>, is_client: bool, node: usize) -> Self {
        let state = stack.state();
        Self {
            stack,
            app,
            handle,
            is_client,
            node,
            state,
            wake_at: None,
            lived_at: 0,
            expirations: 0,
            cut_at: None,
            cwnd_before_cut: 0,
            has_probed: false,
            taken_in: 0,
        }
    }

    /// A packet goes in.
    pub(crate) fn on_datagram(&mut self, turn: &mut Turn<'_>, packet: &[u8], routed: Option<bytes::Bytes>) {
        self.taken_in += 1;
        let stats = self.stack.stats();
        let srtt = stats.srtt;
        let before = invariants::is_void(turn.observer, packet).then(|| invariants::Snapshot::whole(&self.stack));
        match routed {
            Some(datagram) => self.stack.handle_routed(turn.now, datagram),
            None => self.stack.handle_datagram(turn.now, packet),
        }
        let after = self.stack.stats().srtt;
        let is_measured = turn.observer.measures || turn.observer.form_only;
        assert!(after.is_none() || after == srtt || is_measured, "I11: a round-trip time out of nothing: {after:?}");
        if let Some(before) = before {
            invariants::check_void(&before, &self.stack, packet);
        } else if turn.observer.lives {
            self.expirations = 0;
        }
        self.check_congestion(turn, &stats, turn.observer.acked_bytes);
        if turn.observer.moves {
            self.lived_at = turn.now;
        }
        turn.observer.on_taken_in(self.refusals());
        self.check_transition(turn);
    }

    pub(crate) fn on_timeout(&mut self, turn: &mut Turn<'_>) {
        let deadline = self.stack.poll_timeout();
        let early = deadline.is_none_or(|at| at > turn.now);
        let before = early.then(|| invariants::Snapshot::outside(&self.stack));
        let unread = self.app.unread(&self.stack);
        let stats = self.stack.stats();
        self.stack.handle_timeout(turn.now);
        self.expirations += self.stack.stats().t3_expirations - stats.t3_expirations;
        self.has_probed |= self.stack.stats().t3_expirations == stats.t3_expirations;
        self.check_congestion(turn, &stats, 0);
        let most = turn.options.config_of(self.node).association_max_retransmits;
        let is_up = self.stack.state() != State::Closed && !turn.observer.form_only;
        let expired = self.expirations;
        let is_within = most.is_none_or(|most| expired <= u64::from(most));
        assert!(!is_up || is_within, "I29: {expired} time-outs without an answer, and still up");
        self.app.on_unread_thrown_away(turn.now, &self.stack, turn.model, &unread, turn.options.close_timeout);
        (turn.may_exceed, turn.timed_out) = (!early, true);
        if let Some(before) = before {
            invariants::check_early_timeout(&before, &self.stack, turn.now);
        }
        self.check_transition(turn);
    }

    /// I09: the congestion window grows at most by the bytes acknowledged; a loss cuts it, once an episode; T3 leaves a
    /// packet of it, unless a window was probed. A cut that was needless may be undone. `acked`: bytes that the input
    /// acknowledged for the first time.
    fn check_congestion(&mut self, turn: &Turn<'_>, before: &AssociationStats, acked: usize) {
        let after = self.stack.stats();
        let Some(flows) = turn.observer.flows().filter(|_| !turn.observer.form_only) else { return };
        if self.stack.state() == State::Closed {
            return;
        }
        // A model follows the rates and round-trip times that it has seen, not each acknowledgement and each loss.
        if turn.options.config_of(self.node).congestion_control == CongestionControl::Bbr {
            return;
        }
        let mtu = before.mtu.max(after.mtu);
        let (sent, acknowledged) = flows.outgoing.progress();
        let is_reno = turn.options.config_of(self.node).congestion_control == CongestionControl::NewReno;
        // CUBIC carries fractions of a byte over; NewReno grows by a packet at once.
        let growth = if is_reno { acked.max(mtu) } else { acked + 1 };
        let is_undone = after.congestion_events_undone > before.congestion_events_undone;
        let unreduced = if is_undone { std::mem::take(&mut self.cwnd_before_cut) } else { 0 };
        if is_undone {
            self.cut_at = None;
        }
        let grown = before.cwnd.max(unreduced) + if acked > 0 { growth } else { 0 };
        let is_cut = after.congestion_events > before.congestion_events;
        if !turn.observer.begins && !is_cut {
            let (from, to) = (before.cwnd, after.cwnd);
            // A packet can always leave, whatever its size.
            let is_raised = after.mtu > before.mtu && to <= after.mtu;
            assert!(to <= grown || is_raised, "I09: {from} to {to} bytes for {acked} acknowledged");
            let is_repaired = self.cut_at.is_none_or(|cut_at| acknowledged >= cut_at);
            assert!(is_repaired || to <= from || is_raised, "I09: {from} to {to} bytes while a loss is repaired");
        }
        if is_cut || after.t3_expirations > before.t3_expirations {
            self.cwnd_before_cut = self.cwnd_before_cut.max(grown);
        }
        if after.t3_expirations > before.t3_expirations {
            self.cut_at = None;
            let collapsed = after.cwnd <= mtu || before.peer_rwnd == 0;
            assert!(collapsed, "I09: T3 leaves a congestion window of {} bytes", after.cwnd);
        }
        if is_cut {
            turn.trace.note(turn.now, &[11], || {
                let (node, from, to) = (self.node, before.cwnd, after.cwnd);
                format!("node {node}: cwnd {from} -> {to} for a loss, {acknowledged} of {sent} acknowledged")
            });
            let is_news = self.cut_at.take().is_none_or(|cut_at| acknowledged >= cut_at);
            assert!(is_news, "I09: a second cut for the losses of one window");
            // The window grows by the bytes that the same SACK acknowledges before it is cut (RFC 9260 §7.2.4, note).
            let most = if is_reno { grown / 2 } else { grown * 7 / 10 };
            assert!(after.cwnd <= most.max(4 * mtu), "I09: {} to {} bytes by a loss", before.cwnd, after.cwnd);
            // A lost tail that a probe has repaired costs a cut, and leaves nothing to repair.
            let is_repairing = after.flight_size < flows.outgoing.outstanding_bytes();
            let has_probed = std::mem::take(&mut self.has_probed);
            self.cut_at = (is_repairing && !has_probed).then_some(sent);
        }
    }

    pub(crate) fn signalled_init(&self) -> bytes::Bytes {
        self.stack.association().signalled_init().expect("I23: an association that has not begun")
    }

    pub(crate) fn connect_as_signalled(&mut self, turn: &mut Turn<'_>, ours: &[u8], theirs: &[u8]) {
        self.stack.connect_as_signalled(turn.now, theirs);
        turn.observer.agree_as_signalled(ours, theirs, turn.options.config_of(self.node).receive_window);
        self.check_transition(turn);
    }

    pub(crate) fn on_path_changed(&mut self, turn: &Turn<'_>) {
        self.stack.on_path_changed(turn.now);
        // The transport has shown that the peer is there, and counts of the old path are forgotten.
        (self.expirations, self.lived_at) = (0, turn.now);
        self.check_transition(turn);
    }

    pub(crate) fn act(&mut self, turn: &mut Turn<'_>) {
        self.app.act(turn.now, &mut self.stack, turn.model);
        self.check_transition(turn);
    }

    /// Polls everything that there is to poll after an input, and holds the result to the invariants.
    pub(crate) fn finish(&mut self, turn: &mut Turn<'_>) {
        loop {
            let mut moved = false;
            while let Some(event) = self.stack.poll_event(turn.now) {
                moved = true;
                self.on_event(turn, &event);
            }
            self.app.read(turn.now, &mut self.stack, turn.model);
            let transmitted = self.transmit(turn);
            self.check_transition(turn);
            // Writing finds messages that have expired meanwhile, so there may be events even if nothing was written.
            if !moved && !transmitted && !self.poll_once(turn) {
                break;
            }
        }
        let deadline = self.stack.poll_timeout();
        let in_future = deadline.is_none_or(|at| at > turn.now);
        assert!(in_future || !turn.timed_out, "I01: the next timeout is not in the future");
        self.taken_in = 0;
        turn.observer.end_batch(self.takes_data());
        self.app.check(&self.stack, turn.model, self.is_client);
        invariants::check_step(self, turn);
    }

    fn poll_once(&mut self, turn: &mut Turn<'_>) -> bool {
        let event = self.stack.poll_event(turn.now);
        event.inspect(|event| self.on_event(turn, event)).is_some()
    }

    fn on_event(&mut self, turn: &mut Turn<'_>, event: &ChannelsEvent) {
        turn.trace.note(turn.now, &[3, self.node as u64], || format!("node {}: {event:?}", self.node));
        if let ChannelsEvent::AssociationClosed(reason) = event
            && *reason != CloseReason::Shutdown
        {
            turn.model.on_association_lost(self.app.pair);
        }
        if let ChannelsEvent::Restarted = event {
            self.cut_at = None;
        }
        if let ChannelsEvent::AssociationClosed(CloseReason::PeerUnreachable) = event {
            // DATA, RE-CONFIG and HEARTBEAT may each count once in a time-out, the latter two's having begun before.
            let config = turn.options.config_of(self.node);
            let counted =
                config.association_max_retransmits.map(|max| nanos(config.rto_min) * u64::from((max - 1) / 3));
            let silence = nanos(config.idle_timeout) * 2 / 3;
            let least = counted.map_or(silence, |counted| counted.min(silence));
            assert!(turn.now >= self.lived_at + least, "I29: given up after {} ns", turn.now - self.lived_at);
        }
        self.app.on_event(turn.now, &mut self.stack, turn.model, event);
        self.check_transition(turn);
    }

    fn transmit(&mut self, turn: &mut Turn<'_>) -> bool {
        let config = turn.options.config_of(self.node);
        let (mut bursts, mut control) = (0, 0);
        let mut moved = false;
        let state = self.stack.state();
        loop {
            let before = self.stack.stats();
            turn.buf.clear();
            let Some(transmit) = self.stack.poll_transmit(turn.now, turn.options.max_datagrams, turn.buf) else {
                break;
            };
            moved = true;
            assert_eq!(transmit.len, turn.buf.len(), "I04: Transmit tells another length than was written");
            assert!(transmit.segment_size > 0, "I04: an empty transmit");
            let packets = turn.buf.len().div_ceil(transmit.segment_size);
            assert!(packets <= turn.options.max_datagrams, "I04: {packets} datagrams at once");
            let mut written = Vec::new();
            for packet in turn.buf.chunks(transmit.segment_size) {
                let contents = self.observe_sent(turn.now, turn.model, turn.observer, turn.options, &before, packet);
                turn.sent.push((bytes::Bytes::copy_from_slice(packet), contents));
                written.push(contents);
                bursts += u32::from(contents.new_data > 0);
                // Messages are found to have expired while packets are written, so a FORWARD TSN, and the reset of a
                // stream that waited for them, may each leave in a packet of its own.
                let is_answer =
                    !contents.has_data && !contents.only_forward_tsn && !contents.only_reset && !contents.is_probe;
                control += u32::from(is_answer);
            }
            invariants::check_window(&before, &self.stack.stats(), &written, &mut turn.may_exceed);
        }
        assert!(bursts <= config.max_burst, "I09: {bursts} packets of new data in one burst");
        let words = || -> Vec<_> { turn.sent.iter().map(|(packet, _)| Packet::words(packet)).collect() };
        // Such a find may also be the last thing that a shutdown waited for, which goes on in a packet of its own.
        let goes_on = matches!(
            (state, self.stack.state()),
            (State::ShutdownPending, State::ShutdownSent) | (State::ShutdownReceived, State::ShutdownAckSent)
        );
        let inputs = self.taken_in.max(1);
        let few = control <= inputs + u32::from(goes_on) || turn.observer.form_only;
        assert!(few, "I05: {control} packets without DATA after {inputs} inputs: {:#?}", words());
        moved
    }

    fn observe_sent(
        &self,
        now: Nanos,
        model: &Model,
        observer: &mut Observer,
        options: &Options,
        stats: &AssociationStats,
        packet: &[u8],
    ) -> Contents {
        let promise = |data: &Data<'_>| self.promise(now, model, data);
        observer.on_sent(packet, &self.situation(now, Some(model), options, stats, &promise))
    }

    pub(crate) fn situation<'a>(
        &self,
        now: Nanos,
        model: Option<&Model>,
        options: &Options,
        stats: &AssociationStats,
        promise: &'a dyn Fn(&Data<'_>) -> Promise,
    ) -> Situation<'a> {
        let config = options.config_of(self.node);
        Situation {
            now,
            mtu: stats.mtu,
            mtu_floor: if stats.mtu > config.mtu & !3 { config.mtu & !3 } else { options.mtu_floor_of(self.node) },
            window: config.receive_window,
            takes_data: self.takes_data(),
            is_ending: self.state == State::ShutdownSent,
            refusals: refusals(stats),
            may_omit_checksum: options.over_dtls && options.config_of(1 - self.node.min(1)).zero_checksum,
            unread: self.app.unread(&self.stack).iter().sum(),
            unread_bytes: model.map_or(0, |model| self.app.unread_bytes(&self.stack, model)),
            is_plain: model.is_some_and(|model| self.app.is_plain(&self.stack, model)),
            healed: self.app.is_prompt(),
            promise,
        }
    }

    fn takes_data(&self) -> bool {
        matches!(self.state, State::Established | State::ShutdownPending | State::ShutdownSent)
    }

    /// Things that were refused for want of room, so far.
    fn refusals(&self) -> u64 {
        refusals(&self.stack.stats())
    }

    /// Returns the promise to the application about a message whose first fragment is this.
    fn promise(&self, now: Nanos, model: &Model, data: &Data<'_>) -> Promise {
        let Some(uid) = self.app.owner_of(&self.stack, data.message.stream) else { return Promise::default() };
        let channel = &model.channels[uid as usize];
        let token = Token::claimed_by(data.payload).filter(|token| token.uid == uid);
        let sent = token.as_ref().and_then(|token| channel.lanes[token.side].sent.get(token.index));
        // Messages that wait for their stream are exempt from its policy.
        if let Some((token, sent)) = token.zip(sent).filter(|_| !self.app.adds_streams()) {
            let is_late =
                channel.latency_budget(token.side).is_some_and(|budget| now > sent.accepted_at + nanos(budget));
            assert!(!is_late, "I15: message {} of channel {uid} was begun after its latency budget", token.index);
        }
        if !self.stack.association().peer_supports_partial_reliability() {
            return Promise { reliability: Some(Reliability::Reliable), accepted_at: None };
        }
        // Messages with a priority are reliable once they are begun.
        let reliability = match channel.options.reliability {
            Reliability::Priority(_) => Reliability::Reliable,
            other => other,
        };
        Promise { reliability: Some(reliability), accepted_at: sent.map(|sent| sent.accepted_at) }
    }

    /// True if it knows that its peer has vanished, or cannot know: nothing that it has sent waits for an answer, and
    /// it sends no HEARTBEAT.
    pub(crate) fn has_noticed(&self, options: &Options) -> bool {
        let stats = self.stack.stats();
        let asks = options.config_of(self.node).heartbeat_interval.is_some();
        let waits = stats.buffered_amount + stats.flight_size > 0;
        self.app.ended.is_some() || !asks && !waits
    }

    fn check_transition(&mut self, turn: &Turn<'_>) {
        let state = self.stack.state();
        if state != self.state {
            invariants::check_transition(self.state, state);
            let (node, from) = (self.node, self.state);
            turn.trace
                .note(turn.now, &[4, node as u64, state as u64], || format!("node {node}: {from:?} -> {state:?}"));
            self.state = state;
        }
    }
}

fn refusals(stats: &AssociationStats) -> u64 {
    let reasons = [
        PacketDropReason::WindowOverrun,
        PacketDropReason::Reneged,
        PacketDropReason::BadStream,
        PacketDropReason::BadForwardTsn,
    ];
    reasons.into_iter().map(|reason| stats.drops.count(reason)).sum()
}
