//! The application on one end of an association: opens, sends, reads, closes at random, and checks the promises of the
//! data channels (I14, I21, I32, I34).

use narrowboat_dcep::{
    ChannelError, ChannelId, ChannelOptions, ChannelSendError, ChannelsEvent, OpenError, ReadyState, Reliability,
};
use narrowboat_sctp::{CloseReason, SendPolicy, State, StreamId};

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clock::{Nanos, nanos};
use crate::model::{ChannelModel, End, LATENCY_BUDGETS, Model, Side, WAITING_MAXIMA};
use crate::options::AppOptions;
use crate::prng::Prng;
use crate::stack::Stack;
use crate::streams::{Control, StreamEnd};
use crate::trace::Trace;

/// Stream ids of negotiated channels, out of the way of those that DCEP allots.
const NEGOTIATED: std::ops::Range<u16> = 20_000..20_004;

#[derive(Debug)]
pub(crate) struct App {
    side: Side,
    pub(crate) pair: (usize, usize),
    options: AppOptions,
    message_size_max: usize,
    prng: Prng,
    pub(crate) channels: Vec<AppChannel>,
    /// Time of the application's next act, as long as it acts.
    pub(crate) next_at: Option<Nanos>,
    pub(crate) connected: bool,
    pub(crate) ended: Option<CloseReason>,
    pub(crate) shutting_down: bool,
    /// Resets may fail, so a channel may end with an error.
    lenient: bool,
    /// The peer has made a negotiated channel, and its id was still in use here.
    has_to_join: bool,
    /// A byte stream has come after the network had healed.
    has_to_end: bool,
    /// Channels that were let go of: of their later events only a failure matters.
    forgotten: BTreeMap<ChannelId, u32>,
    trace: Trace,
}

#[derive(Debug)]
pub(crate) struct AppChannel {
    pub(crate) id: ChannelId,
    pub(crate) uid: u32,
    reader: Reader,
    /// `send` has failed for want of room, and `Writable` has not followed since.
    pub(crate) full: bool,
    threshold: usize,
    /// The buffered amount has been above the threshold since the last event.
    armed: bool,
    state: ReadyState,
    stream: Option<Box<StreamEnd>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reader {
    /// Reads all available messages.
    Prompt,
    /// Reads one message each time the application acts.
    Slow,
    /// Reads nothing until the network has healed.
    Stopped,
}

impl App {
    pub(crate) fn new(
        side: Side,
        pair: (usize, usize),
        options: AppOptions,
        message_size_max: usize,
        lenient: bool,
        prng: Prng,
        trace: Trace,
    ) -> Self {
        Self {
            side,
            pair,
            options,
            message_size_max,
            prng,
            channels: Vec::new(),
            next_at: None,
            connected: false,
            ended: None,
            shutting_down: false,
            lenient,
            has_to_join: false,
            has_to_end: false,
            forgotten: BTreeMap::new(),
            trace,
        }
    }

    /// Returns `true` if the application adds streams to the association, for which messages may wait.
    pub(crate) fn adds_streams(&self) -> bool {
        self.options.adds > 0
    }

    pub(crate) fn start(&mut self, now: Nanos) {
        self.next_at = Some(now + self.prng.below(2 * self.options.pace + 1));
    }

    /// The network has healed: no new ideas, and everything is read.
    pub(crate) fn settle(&mut self, now: Nanos, stack: &mut Stack, model: &mut Model) {
        self.next_at = None;
        for channel in &mut self.channels {
            channel.reader = Reader::Prompt;
        }
        self.join_negotiated(now, stack, model, true);
        self.read(now, stack, model);
        for index in 0..self.channels.len() {
            self.end_writing(now, stack, model, index, true);
        }
        self.read(now, stack, model);
    }

    /// One act of free will.
    pub(crate) fn act(&mut self, now: Nanos, stack: &mut Stack, model: &mut Model) {
        self.next_at = Some(now + 1 + self.prng.below(2 * self.options.pace + 1));
        if self.ended.is_some() || (!self.connected && !self.options.eager) {
            return;
        }
        self.read_slowly(now, stack, model);
        if !self.shutting_down && self.options.shutdown_at.is_some_and(|at| now >= at) && self.connected {
            return self.shutdown(now, stack);
        }
        if self.options.abort_at.is_some_and(|at| now >= at) {
            return stack.abort("the simulation wants it so");
        }
        self.join_negotiated(now, stack, model, false);
        if self.options.adds > 0 && self.connected && self.prng.chance(self.options.adds) {
            self.add_streams(now, stack);
        }
        if self.options.asks > 0 && self.connected && self.prng.chance(self.options.asks) {
            self.ask_for_reset(now, stack, model);
        }
        let may_open = self.options.opens > 0 && !model.asked.contains(&self.pair);
        let open = if self.channels.len() < self.options.live_max && may_open { 4 } else { 0 };
        let AppOptions { sends, closes, forgets, .. } = self.options;
        let choice = self.prng.below(open + sends + closes + forgets + 1);
        if choice < open {
            self.open(now, stack, model);
            return;
        }
        let Some(channel) = self.pick(stack, model) else { return };
        match choice - open {
            n if n < sends => self.send(now, stack, model, channel),
            n if n < sends + closes => self.end_or_close(now, stack, model, channel),
            n if n < sends + closes + forgets => self.forget(now, stack, model, channel),
            _ => self.change_settings(stack, channel),
        }
    }

    /// Asks the peer to reset its side of a channel that this end has opened, which closes the channel at both ends.
    fn ask_for_reset(&mut self, now: Nanos, stack: &mut Stack, model: &mut Model) {
        let Some(index) = self.pick(stack, model) else { return };
        let AppChannel { id, uid, .. } = self.channels[index];
        let record = model.channel(uid);
        let is_open = record.ends.iter().all(|end| end.opened) && record.opener == self.side;
        if let Some(stream) = stack.stream(id).filter(|_| is_open) {
            let (side, result) = (self.side, stack.request_incoming_reset(stream));
            self.trace.note(now, &[12, u64::from(uid)], || {
                format!("side {side} asks for the reset of channel {uid}: {result:?}")
            });
            record.is_asked |= result.is_ok();
            record.is_cut |= result.is_ok();
            if result.is_ok() {
                model.asked.insert(self.pair);
            }
        }
    }

    fn add_streams(&mut self, now: Nanos, stack: &mut Stack) {
        let [outgoing, incoming] = [0, 1].map(|_| self.prng.below(8) as u16);
        let (side, result) = (self.side, stack.add_streams(outgoing, incoming));
        self.trace.note(now, &[11, u64::from(outgoing), u64::from(incoming)], || {
            format!("side {side} adds {outgoing} and {incoming} streams: {result:?}")
        });
    }

    pub(crate) fn shutdown(&mut self, now: Nanos, stack: &mut Stack) {
        self.shutting_down = true;
        stack.shutdown(now);
    }

    /// Opens a reliable channel, sends one message on it: the probe of the liveness phase.
    pub(crate) fn probe(&mut self, now: Nanos, stack: &mut Stack, model: &mut Model) -> Option<u32> {
        let uid = self.open_as(now, stack, model, Reliability::Reliable, true, None)?;
        let channel = self.channels.len() - 1;
        self.send_sized(now, stack, model, channel, 2_000);
        Some(uid)
    }

    /// Sends something: on a new channel, or on one that is open if there is no room for a new one.
    pub(crate) fn speak(&mut self, now: Nanos, stack: &mut Stack, model: &mut Model) {
        if self.probe(now, stack, model).is_none()
            && let Some(channel) = self.pick(stack, model)
        {
            self.send_sized(now, stack, model, channel, 20);
        }
    }

    pub(crate) fn close_all(&mut self, now: Nanos, stack: &mut Stack, model: &mut Model) {
        for channel in 0..self.channels.len() {
            self.cut(model, channel);
            self.close(now, stack, model, channel);
        }
    }

    pub(crate) fn on_event(&mut self, now: Nanos, stack: &mut Stack, model: &mut Model, event: &ChannelsEvent) {
        assert!(self.ended.is_none(), "I23: {event:?} after the end");
        if let Some(&uid) = subject(event).and_then(|id| self.forgotten.get(&id)) {
            let failed = matches!(event, ChannelsEvent::Closed(_, Some(_)));
            model.channel(uid).ends[self.side].failed |= failed;
            return;
        }
        match event {
            ChannelsEvent::Connected => {
                assert!(!self.connected, "I23: connected twice");
                self.connected = true;
            }
            ChannelsEvent::Incoming(id) => self.on_incoming(stack, model, *id),
            ChannelsEvent::Open(id) => {
                let end = self.end(model, *id, "Open");
                assert!(!end.opened && !end.closed && !end.closed_by_peer, "I34: Open came late or twice");
                end.opened = true;
            }
            ChannelsEvent::Readable(id) => {
                let end = self.end(model, *id, "Readable");
                assert!(end.opened || end.closed_locally, "I34: a message before Open");
            }
            ChannelsEvent::Writable(id) => {
                self.end(model, *id, "Writable");
                self.channel(*id).full = false;
            }
            ChannelsEvent::BufferedAmountLow(id) => {
                self.end(model, *id, "BufferedAmountLow");
                let channel = self.channel(*id);
                assert!(channel.armed, "I14: BufferedAmountLow without having been above the threshold");
                channel.armed = stack.buffered_amount(*id) > channel.threshold;
            }
            ChannelsEvent::Closing(id) => {
                let end = self.end(model, *id, "Closing");
                assert!(!end.closed_by_peer && !end.closed_locally && !end.closed, "I34: Closing came late or twice");
                end.closed_by_peer = true;
            }
            ChannelsEvent::Abandoned { channel, messages, reason, unsent, .. } => {
                let end = self.end(model, *channel, "Abandoned");
                end.abandoned += messages;
                let is_ending = end.closed_by_peer || end.closed_locally;
                let uid = self.channel(*channel).uid;
                model.channel(uid).check_abandoned(self.side, *reason, *unsent, is_ending);
            }
            ChannelsEvent::Closed(id, error) => self.on_closed(stack, model, *id, error.as_ref()),
            ChannelsEvent::Restarted => {
                assert!(
                    model.hostile || model.lost.contains(&self.pair),
                    "I37: a restart, but the peer has lost nothing"
                );
                let open = self.channels.iter().find(|channel| !model.channel(channel.uid).ends[self.side].closed);
                assert!(open.is_none(), "I37: {open:?} outlives a restart");
                model.on_restarted(self.pair, self.side);
                // Requests made of the old association are gone with it.
                self.shutting_down = false;
            }
            ChannelsEvent::AssociationClosed(reason) => {
                self.ended = Some(reason.clone());
                self.next_at = None;
                let open = self.channels.iter().find(|channel| !model.channel(channel.uid).ends[self.side].closed);
                assert!(open.is_none(), "I34: the association ended before {open:?}");
            }
            other => panic!("the model knows no {other:?}"),
        }
        self.read(now, stack, model);
    }

    /// Checks the state of the channels, whenever nothing is left to poll.
    pub(crate) fn check(&mut self, stack: &Stack, model: &mut Model, is_client: bool) {
        let mut streams = BTreeSet::new();
        for channel in &mut self.channels {
            let state = stack.ready_state(channel.id).expect("I35: a channel that was not forgotten is known");
            assert!(
                order(state) >= order(channel.state),
                "I34: {:?} went from {:?} to {state:?}",
                channel,
                channel.state
            );
            channel.state = state;
            let uid = channel.uid;
            let ChannelModel { ends, options, opener, .. } = model.channel(uid);
            let end = &ends[self.side];
            assert_eq!(state == ReadyState::Closed, end.closed, "I34: {state:?} without its event on channel {uid}");
            if state == ReadyState::Closed {
                continue;
            }
            if let Some(stream) = stack.stream(channel.id) {
                assert!(streams.insert(stream), "I32: two live channels have stream {stream}");
                let ours = options.negotiated.is_none() && *opener == self.side;
                assert!(!ours || (stream % 2 == 0) == is_client, "I32: stream {stream} has the peer's parity");
            }
            let buffered = stack.buffered_amount(channel.id);
            // An empty message is a byte on the wire: the association's own queue decides when the event comes.
            let waiting =
                stack.stream(channel.id).map_or(0, |stream| stack.association().buffered_amount(StreamId(stream)));
            let low = channel.armed && buffered.max(waiting) <= channel.threshold;
            assert!(!low || state != ReadyState::Open, "I14: no BufferedAmountLow at {buffered}: {channel:?}");
        }
    }

    /// Returns `true` if nothing is under way that should still end.
    pub(crate) fn is_settled(&self, stack: &Stack) -> bool {
        self.ended.is_some()
            || (self.connected
                && (!self.has_to_join || self.lenient)
                && self.channels.iter().all(|channel| {
                    !channel.full
                        && matches!(stack.ready_state(channel.id), Some(ReadyState::Open))
                        && stack.buffered_amount(channel.id) == 0
                        && stack
                            .stream(channel.id)
                            .is_some_and(|stream| stack.association().is_drained(StreamId(stream)))
                }))
    }

    /// I44 once all has settled: both directions of every byte stream have ended, so its channel is closed. An end that
    /// has closed the channel may have forgotten it, and is not waited for.
    pub(crate) fn check_streams(&self, model: &Model) {
        for channel in self.channels.iter().filter(|channel| channel.stream.is_some()) {
            let record = &model.channels[channel.uid as usize];
            let is_excused = record.ends.iter().any(|end| end.failed || end.closed_locally);
            assert!(is_excused, "I44: the byte stream on channel {} has not ended: {channel:?}", channel.uid);
        }
    }

    /// The channel that now owns a stream id, if one does.
    pub(crate) fn owner_of(&self, stack: &Stack, stream: u16) -> Option<u32> {
        let owns = |channel: &&AppChannel| stack.stream(channel.id) == Some(stream);
        // The last one: earlier ones on the same id are closed, and wait for their last messages to be read.
        self.channels.iter().rev().find(owns).map(|channel| channel.uid)
    }

    pub(crate) fn read(&mut self, now: Nanos, stack: &mut Stack, model: &mut Model) {
        if std::mem::take(&mut self.has_to_join) {
            self.join_negotiated(now, stack, model, true);
        }
        for index in 0..self.channels.len() {
            while self.channels[index].reader == Reader::Prompt && self.read_one(now, stack, model, index) {}
        }
        if std::mem::take(&mut self.has_to_end) {
            for index in 0..self.channels.len() {
                self.end_writing(now, stack, model, index, true);
            }
        }
        self.bury(now, stack, model);
    }

    fn read_slowly(&mut self, now: Nanos, stack: &mut Stack, model: &mut Model) {
        for index in 0..self.channels.len() {
            if self.channels[index].reader == Reader::Slow {
                self.read_one(now, stack, model, index);
            }
        }
        self.bury(now, stack, model);
    }

    fn read_one(&mut self, now: Nanos, stack: &mut Stack, model: &mut Model, index: usize) -> bool {
        let AppChannel { id, uid, .. } = self.channels[index];
        let mut stream = self.channels[index].stream.take();
        let readable = stack.is_readable(id);
        let peer = 1 - self.side;
        let hostile = model.hostile;
        let channel = model.channel(uid);
        let read = stack.recv(now, id, |payload, text| {
            if !hostile {
                channel.on_delivered(peer, payload, text);
                if let Some(stream) = &mut stream {
                    stream.on_message(payload, text);
                }
            }
        });
        self.channels[index].stream = stream;
        assert_eq!(read, readable, "I34: is_readable is wrong about channel {uid}");
        let end = &channel.ends[self.side];
        assert!(!read || end.opened || end.closed_locally, "I34: a message before the channel was open");
        self.close_if_over(now, stack, model, index);
        read
    }

    /// Lets go of channels that are closed and read.
    fn bury(&mut self, now: Nanos, stack: &mut Stack, model: &mut Model) {
        let side = self.side;
        let ends_with_association = self.shutting_down || self.ended.is_some() || stack.state() != State::Established;
        self.channels.retain(|channel| {
            let record = model.channel(channel.uid);
            let end = &record.ends[side];
            let done = end.closed && !stack.is_readable(channel.id);
            if done {
                let is_excused = record.is_cut || record.ends.iter().any(|end| end.failed || end.deaf);
                let has_ended = channel.stream.as_ref().is_none_or(|stream| stream.has_ended());
                assert!(
                    has_ended || is_excused || ends_with_association,
                    "I44: channel {} closes a stream",
                    channel.uid
                );
                stack.forget(now, channel.id);
                assert_eq!(stack.ready_state(channel.id), None, "I35: a channel outlived its end");
            }
            !done
        });
    }

    /// Returns the number of messages that wait to be read on each channel.
    pub(crate) fn unread(&self, stack: &Stack) -> Vec<usize> {
        self.channels.iter().map(|channel| stack.unread(channel.id)).collect()
    }

    /// Returns a lower bound of the bytes of user data: the exact number for channels that are ordered and reliable.
    pub(crate) fn unread_bytes(&self, stack: &Stack, model: &Model) -> usize {
        let of = |channel: &AppChannel| {
            let unread = stack.unread(channel.id);
            let record = &model.channels[channel.uid as usize];
            // An empty message is a byte on the wire.
            if model.hostile { unread } else { record.bytes_to_come(1 - self.side, unread).max(unread) }
        };
        self.channels.iter().map(of).sum()
    }

    /// Returns `true` if every message that is received whole can be read at once: none waits for a negotiated channel
    /// that is yet to be created, or for the next use of a stream that is being closed.
    pub(crate) fn is_plain(&self, stack: &Stack, model: &Model) -> bool {
        let is_open = |channel: &AppChannel| stack.ready_state(channel.id) == Some(ReadyState::Open);
        self.connected
            && self.forgotten.is_empty()
            && self.channels.iter().all(is_open)
            && model.channels.iter().all(|channel| channel.options.negotiated.is_none())
    }

    /// Returns `true` if everything is read as it arrives.
    pub(crate) fn is_prompt(&self) -> bool {
        self.next_at.is_none() && self.connected
    }

    /// Checks that a time-out has discarded only messages that were left unread long after the reader had closed the
    /// channel.
    pub(crate) fn on_unread_thrown_away(
        &mut self,
        now: Nanos,
        stack: &Stack,
        model: &mut Model,
        before: &[usize],
        close_timeout: Duration,
    ) {
        for (channel, &before) in self.channels.iter().zip(before) {
            if stack.unread(channel.id) == before {
                continue;
            }
            let end = &mut model.channel(channel.uid).ends[self.side];
            let late = end.closed_locally && now >= end.closed_at + nanos(close_timeout);
            assert!(late, "I19: messages of channel {} are thrown away unread", channel.uid);
            end.deaf = true;
        }
    }

    fn open(&mut self, now: Nanos, stack: &mut Stack, model: &mut Model) {
        self.options.opens -= 1;
        let reliability = match self.prng.below(4) {
            0 if self.options.partial => Reliability::MaxRetransmits(self.prng.pick(&[0, 1, 5])),
            1 if self.options.partial => {
                Reliability::MaxLifetime(Duration::from_millis(self.prng.log_range(1..=2_000)))
            }
            _ => Reliability::Reliable,
        };
        let ordered = !self.options.unordered || self.prng.coin();
        let negotiated = (self.options.negotiated && self.connected && self.prng.coin())
            .then(|| NEGOTIATED.start + self.prng.below(NEGOTIATED.len() as u64) as u16)
            .filter(|&stream| stream < stack.association().outbound_streams())
            .filter(|&stream| stream < stack.association().inbound_streams())
            .filter(|&stream| {
                let mut rivals = model
                    .channels
                    .iter()
                    .filter(|channel| channel.pair == self.pair && channel.options.negotiated == Some(stream));
                rivals.all(|channel| channel.ends.iter().all(|end| end.closed || end.failed))
            });
        self.open_as(now, stack, model, reliability, ordered, negotiated);
    }

    fn open_as(
        &mut self,
        now: Nanos,
        stack: &mut Stack,
        model: &mut Model,
        reliability: Reliability,
        ordered: bool,
        negotiated: Option<u16>,
    ) -> Option<u32> {
        let padding = if self.prng.chance(100_000) { self.prng.log_range(1..=3_000) as usize } else { 0 };
        let mut options = ChannelOptions::new(format!("{}|{}", model.next_uid(), "é".repeat(padding)))
            .protocol(self.prng.pick(&["", "chat", "a protocol"]))
            .reliability(reliability)
            .priority(self.prng.pick(&[128, 256, 1024]));
        let can_stream = ordered && reliability == Reliability::Reliable && negotiated.is_none();
        if self.options.streams > 0 && can_stream && self.next_at.is_some() && self.prng.chance(self.options.streams) {
            options.protocol = narrowboat::ByteStream::PROTOCOL.into();
        }
        if self.options.policies > 0
            && options.protocol != narrowboat::ByteStream::PROTOCOL
            && self.prng.chance(self.options.policies)
        {
            self.draw_policy(&mut options);
        }
        options.ordered = ordered;
        options.negotiated = negotiated;
        let result = stack.open(now, &options);
        let (side, uid) = (self.side, model.next_uid());
        self.trace.note(now, &[10, u64::from(uid)], || {
            let ChannelOptions { ordered, reliability, negotiated, send_policy, .. } = &options;
            let kind = format!("ordered {ordered}, {reliability:?}, negotiated {negotiated:?}, {send_policy:?}");
            format!("side {side} opens channel {uid}, {kind}: {result:?}")
        });
        match result {
            Ok(id) => {
                let uid = model.add(self.pair, self.side, options);
                self.adopt(model, id, uid);
                Some(uid)
            }
            Err(error) => {
                let ended = self.shutting_down || !matches!(stack.state(), State::Established);
                let allowed = match error {
                    OpenError::Closed => ended,
                    OpenError::NoFreeId | OpenError::TooManyChannels(_) => true,
                    // Without RE-CONFIG an id serves one channel only.
                    OpenError::NoIdLeft | OpenError::IdRetired(_) => self.lenient,
                    // A reset that failed, or one that nobody watches, leaves the id in use.
                    OpenError::IdInUse(stream) => {
                        let is_uncertain = |channel: &ChannelModel| {
                            channel.options.negotiated == Some(stream)
                                && channel.ends.iter().any(|end| end.failed || end.deaf)
                        };
                        // So does a reset that is done over because the answer to it was altered.
                        model.hostile || model.channels.iter().any(is_uncertain)
                    }
                    _ => false,
                };
                assert!(allowed, "I39: open said {error:?} in {:?}", stack.state());
                None
            }
        }
    }

    /// Draws a policy for messages that wait, and a priority in place of full reliability.
    fn draw_policy(&mut self, options: &mut ChannelOptions) {
        if options.reliability == Reliability::Reliable && self.prng.coin() {
            options.reliability = Reliability::Priority(self.prng.pick(&[0, 1, 7]));
        }
        let mut policy = SendPolicy::new();
        if self.prng.coin() {
            policy = policy.latency_budget(self.prng.pick(&LATENCY_BUDGETS));
        }
        if self.prng.coin() {
            policy = policy.drop_oldest(self.prng.pick(&WAITING_MAXIMA));
        }
        options.send_policy = policy;
    }

    /// Makes this end of negotiated channels that the other side has made.
    fn join_negotiated(&mut self, now: Nanos, stack: &mut Stack, model: &mut Model, all: bool) {
        if self.ended.is_some() || self.shutting_down || stack.state() != State::Established {
            return;
        }
        for uid in 0..model.next_uid() {
            let ChannelModel { pair, options, ends, .. } = model.channel(uid);
            let pending = options.negotiated.is_some() && *pair == self.pair && !ends[self.side].known;
            if !pending || ends[1 - self.side].failed || (!all && self.prng.coin()) {
                continue;
            }
            let (options, stream) = (options.clone(), options.negotiated);
            match stack.open(now, &options) {
                Ok(id) => self.adopt(model, id, uid),
                // A channel that nobody watches any more is still closing on this end; the other end is done with it.
                Err(OpenError::IdInUse(_)) if model.is_forgotten(self.side, self.pair, stream) => {
                    self.has_to_join = true;
                }
                Err(error) => panic!("I32: negotiated channel: {error:?}"),
            }
        }
    }

    fn adopt(&mut self, model: &mut Model, id: ChannelId, uid: u32) {
        assert!(self.channels.iter().all(|channel| channel.id != id), "I32: {id:?} names two channels");
        model.channel(uid).ends[self.side].known = true;
        let reader = match () {
            () if self.next_at.is_none() => Reader::Prompt,
            () if self.prng.chance(self.options.slow) => Reader::Slow,
            () if self.prng.chance(self.options.stopped) => Reader::Stopped,
            () => Reader::Prompt,
        };
        let state = ReadyState::Connecting;
        let stream = StreamEnd::of(&model.channel(uid).options).filter(|_| !model.hostile).map(Box::new);
        self.channels.push(AppChannel { id, uid, reader, full: false, threshold: 0, armed: false, state, stream });
        if self.next_at.is_none() {
            // It came after the network had healed, and is ended at once.
            self.has_to_end = true;
        }
    }

    /// A channel that may be sent on, and closed.
    fn pick(&mut self, stack: &Stack, model: &mut Model) -> Option<usize> {
        let usable = |index: &usize| {
            let channel = &self.channels[*index];
            let ChannelModel { options, ends, .. } = model.channel(channel.uid);
            let is_made = options.negotiated.is_none() || ends.iter().all(|end| end.known);
            is_made && matches!(stack.ready_state(channel.id), Some(ReadyState::Connecting | ReadyState::Open))
        };
        let usable: Vec<_> = (0..self.channels.len()).filter(usable).collect();
        (!usable.is_empty()).then(|| self.prng.pick(&usable))
    }

    fn send(&mut self, now: Nanos, stack: &mut Stack, model: &mut Model, channel: usize) {
        let max = self.options.message_max.min(self.options.bytes);
        let len = match self.prng.below(10) {
            0 => 0,
            1 => self.prng.range(1..=15),
            2..5 => self.prng.range(16..=200),
            5 => 1_100 * self.prng.range(1..=3) + self.prng.below(150),
            6..9 => self.prng.log_range(200..=16_384),
            _ => self.prng.log_range(16_384..=300 << 10),
        };
        let len = if self.prng.chance(5_000) { self.message_size_max as u64 + 1 } else { len.min(max) };
        self.send_sized(now, stack, model, channel, len as usize);
    }

    fn send_sized(&mut self, now: Nanos, stack: &mut Stack, model: &mut Model, index: usize, len: usize) {
        let channel = &mut self.channels[index];
        let text = self.prng.coin() && channel.stream.is_none();
        let len = if channel.stream.is_some() { len.max(1) } else { len };
        if channel.stream.as_ref().is_some_and(|stream| !stream.can_write()) {
            return;
        }
        let record = model.channel(channel.uid);
        let token = record.next_token(self.side, len);
        let result = stack.send(now, channel.id, text, || token.payload());
        let (side, id, uid) = (self.side, channel.id, channel.uid);
        self.trace.note(now, &[8, u64::from(uid), len as u64], || {
            format!("side {side} sends {len} B, number {} of channel {uid} {id:?}: {result:?}", token.index)
        });
        match result {
            Ok(()) => {
                assert!(len <= self.message_size_max, "a message above the peer's limit was accepted");
                record.on_accepted(self.side, len, text, now);
                if let Some(stream) = &mut channel.stream {
                    stream.on_written(len);
                }
                self.options.bytes = self.options.bytes.saturating_sub(len as u64);
                channel.armed |= stack.buffered_amount(channel.id) > channel.threshold;
            }
            Err(error) => {
                let established = stack.state() == State::Established && !self.shutting_down;
                match error {
                    ChannelSendError::Full => channel.full = true,
                    ChannelSendError::TooLarge { .. } => {
                        assert!(len > self.message_size_max, "{error}, of {len} bytes");
                    }
                    ChannelSendError::AssociationClosed if !established => {}
                    // The stream is being reset at the peer's request, and the event that says so is still to come.
                    ChannelSendError::NotOpen(ReadyState::Closing) if record.is_asked => {}
                    _ => panic!("I19: send said {error:?} in {:?}", stack.state()),
                }
            }
        }
    }

    fn close(&mut self, now: Nanos, stack: &mut Stack, model: &mut Model, index: usize) {
        let AppChannel { id, uid, .. } = self.channels[index];
        self.mark_closed(now, model, uid);
        stack.close(now, id);
        let state = stack.ready_state(id);
        let gone = matches!(state, Some(ReadyState::Closing | ReadyState::Closed));
        assert!(gone, "I34: {state:?} after close of channel {uid}");
    }

    /// Ends a direction of a byte stream, or closes the channel.
    fn end_or_close(&mut self, now: Nanos, stack: &mut Stack, model: &mut Model, index: usize) {
        let choice = if self.channels[index].stream.is_some() { self.prng.below(8) } else { 8 };
        match choice {
            0..4 => self.end_writing(now, stack, model, index, true),
            4 => self.end_writing(now, stack, model, index, false),
            5 | 6 => {
                // Messages that have arrived are read from the channel first, and all that arrive later are discarded.
                while self.read_one(now, stack, model, index) {}
                self.channels[index].reader = Reader::Prompt;
                let control = self.channels[index].stream.as_mut().and_then(|stream| stream.end_reading());
                self.send_control(now, stack, model, index, control);
            }
            _ => {
                self.cut(model, index);
                self.close(now, stack, model, index);
            }
        }
    }

    fn end_writing(&mut self, now: Nanos, stack: &mut Stack, model: &mut Model, index: usize, is_shutdown: bool) {
        let control = self.channels[index].stream.as_mut().and_then(|stream| stream.end_writing(is_shutdown));
        self.send_control(now, stack, model, index, control);
    }

    fn send_control(
        &mut self,
        now: Nanos,
        stack: &mut Stack,
        model: &mut Model,
        index: usize,
        control: Option<Control>,
    ) {
        let channel = &mut self.channels[index];
        if let Some(control) = control
            && stack.send_control(now, channel.id, &control).is_ok()
        {
            model.channel(channel.uid).on_control_accepted(self.side, &control, now);
            channel.armed |= stack.buffered_amount(channel.id) > channel.threshold;
        }
        self.close_if_over(now, stack, model, index);
    }

    /// Closes the channel of a byte stream whose directions have ended.
    fn close_if_over(&mut self, now: Nanos, stack: &mut Stack, model: &mut Model, index: usize) {
        let channel = &self.channels[index];
        let is_over = channel.stream.as_ref().is_some_and(|stream| stream.is_over());
        if is_over && matches!(stack.ready_state(channel.id), Some(ReadyState::Connecting | ReadyState::Open)) {
            self.close(now, stack, model, index);
        }
    }

    fn cut(&self, model: &mut Model, index: usize) {
        model.channel(self.channels[index].uid).is_cut = true;
    }

    /// Drops the handle, unread messages included.
    fn forget(&mut self, now: Nanos, stack: &mut Stack, model: &mut Model, index: usize) {
        self.cut(model, index);
        let AppChannel { id, uid, .. } = self.channels.remove(index);
        self.forgotten.insert(id, uid);
        self.mark_closed(now, model, uid);
        let end = &mut model.channel(uid).ends[self.side];
        (end.deaf, end.closed, end.opened) = (true, true, true);
        stack.forget(now, id);
    }

    fn mark_closed(&self, now: Nanos, model: &mut Model, uid: u32) {
        let side = self.side;
        self.trace.note(now, &[9, u64::from(uid)], || format!("side {side} closes channel {uid}"));
        let end = &mut model.channel(uid).ends[self.side];
        (end.closed_locally, end.closed_at) = (true, now);
    }

    /// Sets the threshold of a channel, and its priority.
    fn change_settings(&mut self, stack: &mut Stack, index: usize) {
        let channel = &mut self.channels[index];
        channel.threshold = self.prng.log_range(1..=20_000) as usize;
        stack.set_buffered_amount_low_threshold(channel.id, channel.threshold);
        channel.armed = stack.buffered_amount(channel.id) > channel.threshold;
        // Not drawn: older seeds draw what they did before.
        let priority = if channel.threshold.is_multiple_of(3) { 0 } else { 64 << (channel.threshold % 5) };
        stack.set_priority(channel.id, priority);
    }

    fn on_incoming(&mut self, stack: &Stack, model: &mut Model, id: ChannelId) {
        let options = stack.channel_options(id).expect("I34: an incoming channel has options").clone();
        if model.hostile {
            // The peer cannot be blamed for the contents of its label.
            let uid = model.add(self.pair, 1 - self.side, options);
            model.channel(uid).ends[self.side].opened = true;
            return self.adopt(model, id, uid);
        }
        let uid = options.label.split('|').next().and_then(|uid| uid.parse().ok());
        let uid: u32 = uid.unwrap_or_else(|| panic!("I34: label {:?} is nobody's", options.label));
        let channel = model.channel(uid);
        // The opener may have changed the priority before it could send DATA_CHANNEL_OPEN.
        let options = options.priority(channel.options.priority);
        assert_eq!(channel.options_of_peer(), options, "I34: the options of channel {uid} differ between its ends");
        assert_eq!((channel.pair, channel.opener), (self.pair, 1 - self.side), "I21: a channel from elsewhere");
        let end = &mut channel.ends[self.side];
        assert!(!end.known, "I34: channel {uid} came twice");
        end.opened = true;
        self.adopt(model, id, uid);
    }

    fn on_closed(&mut self, stack: &Stack, model: &mut Model, id: ChannelId, error: Option<&ChannelError>) {
        let end = self.end(model, id, "Closed");
        assert!(!end.closed, "I34: closed twice");
        end.closed = true;
        end.opened = true;
        let Some(error) = error else { return };
        let uid = self.channel(id).uid;
        // A reset that was asked for discards an answer to DATA_CHANNEL_OPEN that was still waiting.
        let is_asked = model.channel(uid).is_asked && matches!(error, ChannelError::Refused);
        let end = &mut model.channel(uid).ends[self.side];
        if matches!(error, ChannelError::PeerClosed { .. }) {
            assert!(end.closed_by_peer, "I34: {error} without Closing");
            end.lossy = true;
            return;
        }
        end.failed = true;
        let excused = matches!(error, ChannelError::Association(_) | ChannelError::PeerRestarted)
            || is_asked
            || self.lenient
            || stack.state() == State::Closed;
        assert!(excused, "I39: channel {id:?} was closed with {error:?}");
    }

    fn channel(&mut self, id: ChannelId) -> &mut AppChannel {
        self.channels.iter_mut().find(|channel| channel.id == id).expect("looked up before")
    }

    fn end<'a>(&self, model: &'a mut Model, id: ChannelId, what: &str) -> &'a mut End {
        let channel = self.channels.iter().find(|channel| channel.id == id);
        let uid = channel.unwrap_or_else(|| panic!("I34: {what} for {id:?}, which is over or never was")).uid;
        let end = &mut model.channel(uid).ends[self.side];
        assert!(!end.closed, "I34: {what} for channel {uid}, which is closed");
        end
    }
}

/// The channel that an event is about.
fn subject(event: &ChannelsEvent) -> Option<ChannelId> {
    match event {
        ChannelsEvent::Incoming(id)
        | ChannelsEvent::Open(id)
        | ChannelsEvent::Readable(id)
        | ChannelsEvent::Writable(id)
        | ChannelsEvent::Abandoned { channel: id, .. } => Some(*id),
        ChannelsEvent::BufferedAmountLow(id) | ChannelsEvent::Closing(id) | ChannelsEvent::Closed(id, _) => Some(*id),
        ChannelsEvent::Connected | ChannelsEvent::Restarted | ChannelsEvent::AssociationClosed(_) => None,
        other => panic!("the model knows no {other:?}"),
    }
}

fn order(state: ReadyState) -> u8 {
    match state {
        ReadyState::Connecting => 0,
        ReadyState::Open => 1,
        ReadyState::Closing => 2,
        ReadyState::Closed => 3,
    }
}
