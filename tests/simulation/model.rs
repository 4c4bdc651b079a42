//! Expected results: every channel of a conversation, every message accepted on it, and the fate of each. Invariants
//! I18 to I22 are checked here, at each delivery and, for messages that must have arrived, once the run has settled.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use narrowboat_dcep::{AbandonReason, ChannelOptions, Reliability};
use narrowboat_sctp::{SendPolicy, WaitingMax};

use crate::clock::Nanos;
use crate::payload::{TOKEN_LEN, Token};
use crate::streams::Control;

/// One end of a conversation: 0 is the node with the lower number.
pub(crate) type Side = usize;

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) channels: Vec<ChannelModel>,
    /// Pairs whose association one end has lost: the only ones on which a restart may be seen.
    pub(crate) lost: BTreeSet<(usize, usize)>,
    /// Pairs of which an end has asked the other for a reset. No channel is opened there any more: the request may
    /// arrive when its stream serves the next one.
    pub(crate) asked: BTreeSet<(usize, usize)>,
    /// Contents are altered on the way: errors in delivered data are not the code's fault.
    pub(crate) hostile: bool,
    /// An end may refuse a channel for want of room.
    pub(crate) may_refuse: bool,
}

/// A channel: one generation of a stream id.
#[derive(Debug)]
pub(crate) struct ChannelModel {
    pub(crate) uid: u32,
    pub(crate) options: ChannelOptions,
    /// The pair of nodes that it connects.
    pub(crate) pair: (usize, usize),
    pub(crate) opener: Side,
    /// By the side that sends.
    pub(crate) lanes: [Lane; 2],
    pub(crate) ends: [End; 2],
    /// An end of a byte stream was cut: its channel was closed or let go of, and not its directions ended.
    pub(crate) is_cut: bool,
    /// An end has asked the other to reset its side of the stream.
    pub(crate) is_asked: bool,
}

/// Latency budgets of channels that have one.
pub(crate) const LATENCY_BUDGETS: [Duration; 4] =
    [Duration::from_millis(5), Duration::from_millis(60), Duration::from_millis(400), Duration::from_secs(3)];

/// Bounds of what waits on channels that have one.
pub(crate) const WAITING_MAXIMA: [WaitingMax; 5] = [
    WaitingMax::Messages(0),
    WaitingMax::Messages(1),
    WaitingMax::Messages(10),
    WaitingMax::Bytes(3_000),
    WaitingMax::Bytes(100_000),
];

/// One direction of a channel.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    pub(crate) sent: Vec<Sent>,
    /// Number of the first message that an ordered lane may still deliver.
    next: usize,
    pub(crate) delivered: usize,
}

#[derive(Debug)]
pub(crate) struct Sent {
    len: usize,
    text: bool,
    pub(crate) accepted_at: Nanos,
    delivered: bool,
    /// Payload of the message, if it ends a direction of a byte stream.
    control: Option<Bytes>,
}

/// Actions of one side on a channel, and events that it has seen there.
#[derive(Debug, Default)]
pub(crate) struct End {
    pub(crate) known: bool,
    pub(crate) opened: bool,
    /// Called `close`, or let go of the channel.
    pub(crate) closed_locally: bool,
    pub(crate) closed_at: Nanos,
    /// The peer's reset came first.
    pub(crate) closed_by_peer: bool,
    pub(crate) closed: bool,
    /// Closed with an error, or with the association under it.
    pub(crate) failed: bool,
    /// Let go of with unread messages.
    pub(crate) deaf: bool,
    /// The end was told that data was discarded unsent.
    pub(crate) lossy: bool,
    /// Messages of this side of which the end was told that they were abandoned.
    pub(crate) abandoned: u64,
}

impl Model {
    pub(crate) fn add(&mut self, pair: (usize, usize), opener: Side, options: ChannelOptions) -> u32 {
        let uid = self.next_uid();
        self.channels.push(ChannelModel {
            uid,
            options,
            pair,
            opener,
            lanes: Default::default(),
            ends: Default::default(),
            is_cut: false,
            is_asked: false,
        });
        uid
    }

    /// The number that the next channel gets, for its label.
    pub(crate) fn next_uid(&self) -> u32 {
        self.channels.len() as u32
    }

    pub(crate) fn channel(&mut self, uid: u32) -> &mut ChannelModel {
        &mut self.channels[uid as usize]
    }

    /// The association under these channels has ended: nothing more is owed on either side.
    pub(crate) fn on_association_lost(&mut self, pair: (usize, usize)) {
        self.lost.insert(pair);
        for channel in self.channels.iter_mut().filter(|channel| channel.pair == pair) {
            for end in &mut channel.ends {
                // One that was let go of may have been closing still.
                end.failed |= end.known && (!end.closed || end.deaf);
            }
        }
    }

    /// The process of one side has died: its unread messages are gone, too.
    pub(crate) fn on_killed(&mut self, pair: (usize, usize), side: Side) {
        self.on_association_lost(pair);
        for channel in self.channels.iter_mut().filter(|channel| channel.pair == pair) {
            channel.ends[side].deaf = true;
        }
    }

    /// This side has seen the peer restart: channels that it had let go of end with the rest.
    pub(crate) fn on_restarted(&mut self, pair: (usize, usize), side: Side) {
        for channel in self.channels.iter_mut().filter(|channel| channel.pair == pair) {
            let end = &mut channel.ends[side];
            end.failed |= end.known && end.deaf;
        }
    }

    /// Returns `true` if this side has let go of a channel on this negotiated stream, and so does not know when the
    /// channel ends.
    pub(crate) fn is_forgotten(&self, side: Side, pair: (usize, usize), stream: Option<u16>) -> bool {
        let mut rivals = self.channels.iter().filter(|channel| channel.pair == pair);
        rivals.any(|channel| channel.options.negotiated == stream && channel.ends[side].deaf)
    }

    /// I19 at the end: accepted messages have been delivered, unless something excuses it.
    pub(crate) fn check_delivered(&self) {
        for channel in &self.channels {
            for side in 0..2 {
                let missing = self.missing(channel, side);
                assert!(
                    missing == 0,
                    "I19: channel {} lost {missing} messages of side {side}, the first is number {:?}: {:?} {:?}",
                    channel.uid,
                    channel.lanes[side].sent.iter().position(|sent| !sent.delivered),
                    channel.options,
                    channel.ends,
                );
            }
        }
    }

    /// Returns the number of messages that are still owed. A channel that was closed before its refusal arrived ends as
    /// if it had been accepted: a reset without an ACK before it may also come from an end that had no room to send
    /// one.
    fn missing(&self, channel: &ChannelModel, side: Side) -> usize {
        let (ours, theirs) = (&channel.ends[side], &channel.ends[1 - side]);
        let was_refused = self.may_refuse && ours.closed_locally && !theirs.known;
        if was_refused { 0 } else { channel.missing(side) }
    }

    /// Bytes of control messages that one end may have queued at once, at most: an OPEN for each channel (RFC 8832
    /// §5.1), and two short messages for each byte stream.
    pub(crate) fn control_bytes_max(&self) -> usize {
        let of = |channel: &ChannelModel| 12 + channel.options.label.len() + channel.options.protocol.len() + 2 * 32;
        let is_open = |channel: &&ChannelModel| channel.ends.iter().any(|end| !end.closed);
        self.channels.iter().filter(is_open).map(of).sum()
    }

    /// Returns `true` if all that is owed has been delivered.
    pub(crate) fn is_settled(&self) -> bool {
        self.channels.iter().all(|channel| self.missing(channel, 0) == 0 && self.missing(channel, 1) == 0)
    }
}

fn has_latency_budget(policy: &SendPolicy) -> bool {
    LATENCY_BUDGETS.iter().any(|budget| policy.latency_budget(*budget) == *policy)
}

fn has_waiting_max(policy: &SendPolicy) -> bool {
    WAITING_MAXIMA.iter().any(|max| policy.drop_oldest(*max) == *policy)
}

impl Lane {
    /// Number and length of the messages that have not come.
    pub(crate) fn undelivered(&self) -> Vec<(usize, usize)> {
        let missing = self.sent.iter().enumerate().filter(|(_, sent)| !sent.delivered);
        missing.map(|(index, sent)| (index, sent.len)).collect()
    }
}

impl ChannelModel {
    /// Returns `true` if every message of `side` is to arrive.
    pub(crate) fn is_reliable(&self, side: Side) -> bool {
        let drops = self.policies_of(side).is_some_and(|policy| {
            let has_priority = matches!(self.options.reliability, Reliability::Priority(_));
            has_priority || has_latency_budget(policy) || has_waiting_max(policy)
        });
        !drops && matches!(self.options.reliability, Reliability::Reliable | Reliability::Priority(_))
    }

    /// Returns the options that the peer of the opener sees.
    pub(crate) fn options_of_peer(&self) -> ChannelOptions {
        let mut options = self.options.clone().send_policy(SendPolicy::default());
        if matches!(options.reliability, Reliability::Priority(_)) {
            options.reliability = Reliability::Reliable;
        }
        options
    }

    /// Returns the policy for messages of `side` that wait, if its end has one other than the default. The peer is not
    /// told of it.
    fn policies_of(&self, side: Side) -> Option<&SendPolicy> {
        let is_known = side == self.opener || self.options.negotiated.is_some();
        Some(&self.options.send_policy).filter(|policy| is_known && **policy != SendPolicy::default())
    }

    /// Returns the time after its acceptance until which a message of `side` may be begun.
    pub(crate) fn latency_budget(&self, side: Side) -> Option<Duration> {
        let policy = self.policies_of(side)?;
        LATENCY_BUDGETS.into_iter().find(|budget| policy.latency_budget(*budget) == *policy)
    }

    pub(crate) fn next_token(&self, side: Side, len: usize) -> Token {
        Token { uid: self.uid, side, index: self.lanes[side].sent.len(), len }
    }

    pub(crate) fn on_accepted(&mut self, side: Side, len: usize, text: bool, now: Nanos) {
        self.lanes[side].sent.push(Sent { len, text, accepted_at: now, delivered: false, control: None });
    }

    /// A message was accepted that ends a direction of a byte stream.
    pub(crate) fn on_control_accepted(&mut self, side: Side, control: &Control, now: Nanos) {
        let (payload, text) = (control.payload.clone(), control.is_text);
        let sent = Sent { len: payload.len(), text, accepted_at: now, delivered: false, control: Some(payload) };
        self.lanes[side].sent.push(sent);
    }

    /// A message of `side` has come out at the other end: I18, I19's "at most once", I20, I21.
    pub(crate) fn on_delivered(&mut self, side: Side, payload: &[u8], text: bool) {
        let uid = self.uid;
        let ordered = self.options.ordered;
        let reliable = self.is_reliable(side);
        let lane = &mut self.lanes[side];
        let next = lane.sent.get_mut(lane.next);
        if let Some(sent) = next.filter(|sent| sent.control.as_deref() == Some(payload) && sent.text == text) {
            assert!(!std::mem::replace(&mut sent.delivered, true), "I44: the end of a direction came twice");
            lane.delivered += 1;
            lane.next += 1;
            return;
        }
        let index = match Token::claimed_by(payload) {
            Some(token) => {
                assert_eq!((token.uid, token.side), (uid, side), "I21: a message of another channel or direction");
                assert_eq!(token.len, payload.len(), "I22: a part of a message, or more than one");
                token.index
            }
            None => {
                assert!(payload.len() < TOKEN_LEN, "I18: a payload without token on channel {uid}");
                let from = if ordered { lane.next } else { 0 };
                let same = |&index: &usize| {
                    let sent = &lane.sent[index];
                    !sent.delivered
                        && (sent.len, sent.text) == (payload.len(), text)
                        && Token { uid, side, index, len: sent.len }.payload() == payload
                };
                let found = (from..lane.sent.len()).find(same);
                found.unwrap_or_else(|| panic!("I18: nobody sent {payload:?} on channel {uid}, or it came before"))
            }
        };
        let sent = lane.sent.get_mut(index).unwrap_or_else(|| panic!("I18: message {index} was never sent"));
        assert!(!sent.delivered, "I19: message {index} of channel {uid} was delivered twice");
        assert_eq!(
            (sent.len, sent.text),
            (payload.len(), text),
            "I18: message {index} of channel {uid} changed its kind"
        );
        assert!(Token { uid, side, index, len: sent.len }.payload() == payload, "I18: message {index} has wrong bytes");
        sent.delivered = true;
        lane.delivered += 1;
        if ordered {
            assert!(index >= lane.next, "I20: message {index} of channel {uid} after message {}", lane.next);
            assert!(!reliable || index == lane.next, "I20: message {} of channel {uid} was left out", lane.next);
            lane.next = index + 1;
        }
    }

    /// Bytes of the next `count` messages that `side` has sent, if it is known which ones come next.
    pub(crate) fn bytes_to_come(&self, side: Side, count: usize) -> usize {
        let lane = &self.lanes[side];
        let is_certain = self.options.ordered && self.is_reliable(side);
        if is_certain { lane.sent.iter().skip(lane.next).take(count).map(|sent| sent.len).sum() } else { 0 }
    }

    /// I15: messages are abandoned under the rule of their channel, and each of them once.
    pub(crate) fn check_abandoned(&self, side: Side, reason: AbandonReason, unsent: bool, is_ending: bool) {
        let policy = self.policies_of(side);
        let fits = match reason {
            AbandonReason::Lifetime => matches!(self.options.reliability, Reliability::MaxLifetime(_)),
            AbandonReason::Backlog => {
                let is_limited = matches!(self.options.reliability, Reliability::MaxRetransmits(_));
                unsent && is_limited && policy.is_none()
            }
            AbandonReason::Retransmits => !unsent && matches!(self.options.reliability, Reliability::MaxRetransmits(_)),
            AbandonReason::Discarded => !unsent && is_ending,
            AbandonReason::LatencyBudget => unsent && policy.is_some_and(has_latency_budget),
            AbandonReason::Displaced => unsent && policy.is_some_and(has_waiting_max),
            AbandonReason::Priority => {
                unsent && policy.is_some() && matches!(self.options.reliability, Reliability::Priority(_))
            }
            _ => false,
        };
        let Self { uid, options, .. } = self;
        assert!(fits, "I15: channel {uid} abandons by {reason:?}, unsent: {unsent}, ending: {is_ending}: {options:?}");
        let (abandoned, sent) = (self.ends[side].abandoned, self.lanes[side].sent.len());
        assert!(abandoned <= sent as u64, "I15: channel {uid} has abandoned {abandoned} of {sent} messages");
    }

    /// Messages of `side` that should have come and have not.
    pub(crate) fn missing(&self, side: Side) -> usize {
        let (ours, theirs) = (&self.ends[side], &self.ends[1 - side]);
        let excused = ours.failed
            || theirs.failed
            || theirs.deaf
            || ours.lossy
            // The channel was let go of here and closed there: nobody was left who could be told of discarded data.
            || (ours.deaf && theirs.closed_locally)
            // A peer that has closed the channel discards what arrives, as both ends do after a reset that was asked
            // for, and an application that has let go of it is not told what is abandoned.
            || (!self.is_reliable(side) && (ours.deaf || theirs.closed_locally || self.is_asked));
        let missing = self.lanes[side].sent.len() - self.lanes[side].delivered;
        if excused { 0 } else { missing.saturating_sub(ours.abandoned as usize) }
    }
}
