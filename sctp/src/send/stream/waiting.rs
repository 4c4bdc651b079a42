//! Messages that wait too long: lifetimes, latency budgets, and bounds of what waits (RFC 3758 §4.1, RFC 7496 §3.1).
//!
//! The rules apply to messages that were not begun. They are checked when a message has its turn, when a new one needs
//! its place, and by a timer, so that an expired message goes at its time even if nothing can be sent.

use super::super::freshness::{Freshness, RateSeen};
use super::super::notices::{AbandonedMessage, Notices};
use super::super::queued::{Limit, MessageHeader, NextMessage, QueuedMessage};
use super::{Left, OutgoingStream, StreamQueues, shrink_waiting};
use crate::cost_counter;
use crate::message::{AbandonReason, StreamId};
use crate::send_policy::{SendPolicy, WaitingMax};
use crate::time::{Duration, Instant};

/// Time after which messages of one stream are searched again whose deadlines are not in the order of the queue.
const SEARCH_INTERVAL: Duration = Duration::from_millis(10);

impl OutgoingStream {
    fn policy(&self) -> &SendPolicy {
        self.freshness.as_ref().map_or(&SendPolicy::DEFAULT, |freshness| &freshness.policy)
    }

    /// Returns true if a message may have a deadline before that of one in front of it.
    fn is_unsorted(&self) -> bool {
        self.freshness.as_ref().is_some_and(|freshness| freshness.is_unsorted)
    }

    fn expires_at(&self) -> Option<Instant> {
        self.freshness.as_ref()?.expires_at
    }

    /// Returns the index of the first message that was not begun and that the stream's policy may drop.
    fn oldest_droppable(&self) -> Option<usize> {
        self.messages.iter().position(|message| !message.is_begun() && !message.is_exempt)
    }

    /// Returns the time after which a message is not begun any more.
    fn deadline(&self, message: &QueuedMessage) -> Option<(Instant, AbandonReason)> {
        let lifetime = match message.header.limit {
            Limit::Until(at) => Some((at, AbandonReason::Lifetime)),
            Limit::Never | Limit::Retransmits(_) | Limit::Discarded(_) | Limit::Priority(_) => None,
        };
        let budget = self.policy().latency_budget.filter(|_| !message.is_exempt);
        let budget = budget.and_then(|budget| message.queued_at.checked_add(budget));
        let budget = budget.map(|at| (at, AbandonReason::LatencyBudget));
        match (lifetime, budget) {
            (Some(lifetime), Some(budget)) => Some(if budget.0 < lifetime.0 { budget } else { lifetime }),
            (lifetime, budget) => lifetime.or(budget),
        }
    }

    /// Returns the reason for which the message, the first of its stream, is dropped instead of begun. `streams`: how
    /// many share the rate; `sharers`: how many do while the message is sent.
    pub(super) fn drop_reason(
        &self,
        message: &QueuedMessage,
        now: Instant,
        rate: impl Fn() -> RateSeen,
        streams: usize,
        sharers: usize,
    ) -> Option<AbandonReason> {
        // Most messages; nothing more is computed for them.
        if matches!(message.header.limit, Limit::Never) && self.freshness.is_none() {
            return None;
        }
        let rate = rate();
        let time_for_rest = || rate.time_for(message.rest.len().saturating_mul(sharers));
        if let Some((deadline, reason)) = self.deadline(message) {
            let mut needed = time_for_rest();
            if reason == AbandonReason::LatencyBudget {
                let left = deadline.saturating_duration_since(message.queued_at).saturating_sub(needed);
                needed += hold_back_time(message, left, rate);
            }
            return (deadline < now + needed).then_some(reason);
        }
        // The last message is sent, however old: it is the latest state.
        let has_backlog = self.messages.len() > 1 && self.policy().bounds_backlog;
        if !has_backlog || !matches!(message.header.limit, Limit::Retransmits(_)) {
            return None;
        }
        // The end counts, too; but a large message may take longer than all of the time, and is begun while it is new.
        let rest = time_for_rest().min(SendPolicy::BACKLOG_TIME / 2);
        let rest = rest + hold_back_time(message, SendPolicy::BACKLOG_TIME - rest, rate);
        let is_old = now.saturating_duration_since(message.queued_at) + rest > SendPolicy::BACKLOG_TIME;
        let share = || rate.bytes_in(SendPolicy::BACKLOG_TIME / u32::try_from(streams.max(1)).unwrap_or(u32::MAX));
        let is_droppable = is_old && share().is_some_and(|bytes| self.buffered > bytes);
        is_droppable.then_some(AbandonReason::Backlog)
    }
}

/// Returns the part of `time`, two thirds at most, that a message leaves to the peer. The peer holds an ordered message
/// back until it knows that one before is lost for good: a round trip and a reordering window until the loss is found,
/// and half a round trip until the FORWARD-TSN has come, where the message itself takes half of one.
fn hold_back_time(message: &QueuedMessage, time: Duration, rate: RateSeen) -> Duration {
    let is_held_back = !message.header.unordered && matches!(message.header.limit, Limit::Retransmits(_));
    let round_trip = rate.srtt.filter(|_| is_held_back).unwrap_or_default();
    (round_trip + round_trip / 4).min(time / 3 * 2)
}

impl StreamQueues {
    /// Sets what becomes of messages that wait on a stream.
    pub(crate) fn set_policy(&mut self, stream: StreamId, policy: SendPolicy) {
        if policy == SendPolicy::default() && !self.streams.contains_key(&stream) {
            return;
        }
        self.streams.entry(stream).or_default().freshness.get_or_insert_default().policy = policy;
        self.reschedule(stream, None);
        if let Some(queue) = self.streams.get_mut(&stream) {
            // The default needs no entry.
            queue
                .freshness
                .take_if(|freshness| freshness.expires_at.is_none() && freshness.policy == SendPolicy::DEFAULT);
        }
        self.forget_unused(stream);
    }

    /// Notes the deadline of a message that was pushed last on its stream.
    pub(super) fn on_pushed(&mut self, stream: StreamId) {
        let Some(queue) = self.streams.get_mut(&stream) else { return };
        let mut latest = queue.messages.iter().rev();
        let Some((deadline, _)) = latest.next().and_then(|message| queue.deadline(message)) else { return };
        let previous = latest.next().map(|message| queue.deadline(message).map(|(at, _)| at));
        // A message without a deadline counts as one with a late deadline.
        let is_early = previous.map(|previous| previous.is_none_or(|previous| previous > deadline));
        let freshness = queue.freshness.get_or_insert_default();
        freshness.is_unsorted = is_early.is_some_and(|is_early| freshness.is_unsorted || is_early);
        if freshness.expires_at.is_none_or(|at| deadline < at) {
            self.expiries.set(stream, &mut queue.freshness, Some(deadline));
        }
    }

    /// Removes what is kept about the deadlines of a stream whose entry goes.
    pub(super) fn forget_deadlines(&mut self, stream: StreamId, freshness: &mut Option<Box<Freshness>>) {
        self.expiries.set(stream, freshness, None);
    }

    /// Returns the time at which to call [`expire`](Self::expire).
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        // A message may still leave at its very deadline.
        self.expiries.0.first().map(|(at, _)| *at + Duration::from_nanos(1))
    }

    /// Drops messages whose time is over. Returns those that were begun and whose lifetime is over: the caller decides
    /// about them.
    pub(crate) fn expire(&mut self, now: Instant, notices: &mut Notices) -> Vec<NextMessage> {
        let mut begun = Vec::new();
        while let Some((_, stream)) = self.expiries.0.first().copied().filter(|(at, _)| *at < now) {
            cost_counter::step();
            self.drop_expired(stream, now, notices);
            let front =
                self.streams.get(&stream).and_then(|queue| Some((queue.messages.front()?, queue.numbers.last_tsn)));
            begun.extend(
                front
                    .filter(|(message, _)| message.is_begun() && message.header.limit.is_expired(now))
                    .map(|(message, last_tsn)| message.as_next(last_tsn)),
            );
            self.reschedule(stream, Some(now));
        }
        begun
    }

    fn drop_expired(&mut self, stream: StreamId, now: Instant, notices: &mut Notices) {
        let Some(queue) = self.streams.get(&stream) else { return };
        let is_unsorted = queue.is_unsorted();
        let mut index = usize::from(queue.messages.front().is_some_and(QueuedMessage::is_begun));
        while let Some(queue) = self.streams.get(&stream)
            && let Some(message) = queue.messages.get(index)
        {
            cost_counter::step();
            let expired = queue.deadline(message).filter(|(at, _)| *at < now);
            match expired {
                Some((_, reason)) => self.drop_at(stream, index, reason, notices),
                None if is_unsorted => index += 1,
                None => break,
            }
        }
    }

    /// Finds the earliest deadline of the stream after `now`, or of all if that is `None`.
    pub(super) fn reschedule(&mut self, stream: StreamId, now: Option<Instant>) {
        let Some(queue) = self.streams.get_mut(&stream) else { return };
        // The begun message may be behind its deadline: it is finished, or given up by other rules.
        let deadlines = queue.messages.iter().map(|message| queue.deadline(message).map(|(at, _)| at));
        let ahead = |at: &Instant| now.is_none_or(|now| *at >= now);
        let next = match now {
            Some(now) if queue.is_unsorted() => {
                deadlines.flatten().filter(ahead).min().map(|at| at.max(now + SEARCH_INTERVAL))
            }
            Some(_) => deadlines.take(2).flatten().find(ahead),
            None => {
                let queue = &*queue;
                queue.messages.iter().filter_map(|message| queue.deadline(message).map(|(at, _)| at)).min()
            }
        };
        self.expiries.set(stream, &mut queue.freshness, next);
        if let Some(freshness) = queue.freshness.as_mut().filter(|_| now.is_none()) {
            freshness.is_unsorted = true;
        }
    }

    /// Drops what a new message of `len` bytes displaces by the stream's policy.
    pub(crate) fn make_place(&mut self, stream: StreamId, len: usize, notices: &mut Notices) {
        while let Some(queue) = self.streams.get(&stream)
            && let Some(max) = queue.policy().waiting_max
        {
            // Messages at the front that are not dropped do not count.
            let kept = queue.messages.iter().take_while(|message| message.is_begun() || message.is_exempt);
            let (kept, kept_bytes) = kept.fold((0, 0), |(count, sum), message| (count + 1, sum + message.rest.len()));
            let is_over = match max {
                WaitingMax::Bytes(max) => (queue.buffered - kept_bytes).saturating_add(len) > max,
                WaitingMax::Messages(max) => queue.messages.len() - kept >= max.max(1),
            };
            if !is_over || !self.drop_oldest(stream, AbandonReason::Displaced, notices) {
                break;
            }
        }
    }

    /// Drops the message with the lowest priority, if that is lower than `below`; of `stream` only, if it is given.
    /// Returns false if there is none.
    pub(crate) fn drop_lowest(&mut self, stream: Option<StreamId>, below: Option<u32>, notices: &mut Notices) -> bool {
        let lowest = match stream {
            Some(stream) => self.priorities.lowest_on(stream, below),
            None => self.priorities.lowest(below),
        };
        let Some((stream, key)) = lowest else { return false };
        // Messages of a stream wait in the order of their keys.
        let index = self
            .streams
            .get(&stream)
            .and_then(|queue| queue.messages.binary_search_by_key(&key, |message| message.header.key).ok());
        index.map(|index| self.drop_at(stream, index, AbandonReason::Priority, notices)).is_some()
    }

    /// Returns true if dropping messages with a priority lower than `below` makes room on a stream that is full, and in
    /// a send buffer that holds `excess` more than it should.
    pub(crate) fn can_drop_lower(&self, stream: StreamId, below: Option<u32>, excess: Option<usize>) -> bool {
        let charge = self.streams.get(&stream).map_or(0, OutgoingStream::charge);
        let stream_excess = charge.checked_sub(self.totals.stream_max);
        stream_excess.is_none_or(|bytes| self.priorities.have_below_on(stream, below, bytes))
            && excess.is_none_or(|bytes| self.priorities.have_below(below, bytes))
    }

    /// Returns a bound of what the send buffer gains if all messages are dropped that new ones may displace.
    pub(crate) fn displaceable(&self, stream: StreamId) -> usize {
        let queue = self.streams.get(&stream).filter(|queue| queue.policy().waiting_max.is_some());
        queue.map_or(0, |queue| queue.charge())
    }

    /// Drops the oldest message of a stream that was not begun. Returns false if there is none.
    pub(crate) fn drop_oldest(&mut self, stream: StreamId, reason: AbandonReason, notices: &mut Notices) -> bool {
        let oldest = self.streams.get(&stream).and_then(OutgoingStream::oldest_droppable);
        oldest.map(|index| self.drop_at(stream, index, reason, notices)).is_some()
    }

    /// Drops a message that was not begun.
    pub(super) fn drop_at(&mut self, stream: StreamId, index: usize, reason: AbandonReason, notices: &mut Notices) {
        let Some(queue) = self.streams.get_mut(&stream) else { return };
        let Some(message) = queue.messages.remove(index) else { return };
        if let Some(prioritized) = message.prioritized() {
            self.priorities.remove(prioritized);
        }
        shrink_waiting(&mut queue.messages);
        if index == 0 {
            let upcoming = queue.upcoming(self.format, self.totals.chunk_max);
            self.scheduler.on_message_dropped(stream, &mut queue.turn, upcoming);
        }
        let MessageHeader { key, len, .. } = message.header;
        tracing::debug!(stream_id = %stream, len, ?reason, "message abandoned unsent");
        notices.push_abandoned(AbandonedMessage { key, stream, len, reason, unsent: true });
        let left = Left { bytes: message.rest.len(), charge: message.charge(self.totals.chunk_max) };
        self.totals.on_left_queue(stream, queue, left, notices);
    }

    /// Checks the table of deadlines against the queues.
    pub(super) fn check_deadlines(&self) {
        let mut entries = 0;
        #[expect(clippy::iter_over_hash_type, reason = "a check in any order")]
        for (id, queue) in &self.streams {
            let entry = queue.expires_at();
            entries += usize::from(entry.is_some());
            assert!(entry.is_none_or(|at| self.expiries.0.contains(&(at, *id))), "deadline of stream {id}");
            // Later ones are found when the entry's time comes, if the deadlines are in order.
            let waiting = queue.messages.iter().filter(|message| !message.is_begun());
            let first = waiting.filter_map(|message| queue.deadline(message)).next();
            assert!(first.is_none() || entry.is_some(), "no timer for the deadline of stream {id}");
        }
        assert_eq!(entries, self.expiries.0.len(), "deadlines of streams that are gone");
    }
}
