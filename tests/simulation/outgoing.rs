//! One direction of an association as its sender puts it on the wire: I07, I08, I12, I13, I15, I33 for every DATA and
//! FORWARD-TSN sent, against every SACK received.

use std::collections::{BTreeMap, BTreeSet};

use narrowboat_dcep::Reliability;

use crate::clock::{Nanos, nanos};
use crate::packet::{Data, ForwardTsn, MessageName};
use crate::trace::fingerprint;

/// PPID of DATA_CHANNEL_OPEN and DATA_CHANNEL_ACK (RFC 8832 §8.1).
const DCEP: u32 = 50;

/// TSNs are counted from the first one, so that the wrap is the parser's concern only.
pub(crate) type Offset = i64;

#[derive(Debug)]
pub(crate) struct Outgoing {
    initial: u32,
    next: Offset,
    cumulative: Offset,
    chunks: BTreeMap<Offset, Sent>,
    /// True if user data is sent as I-DATA, so that messages of several streams may be begun at a time.
    interleaves: bool,
    /// Messages that are being fragmented, by stream.
    open: BTreeMap<u16, Open>,
    /// TSNs that stand for the unsent rest of abandoned messages, of which it is not known yet which ones they are.
    placeholders: usize,
    streams: BTreeMap<u16, Stream>,
}

/// A message of which a part was sent.
#[derive(Clone, Debug)]
struct Open {
    first: Sent,
    next_fsn: u32,
}

#[derive(Clone, Debug)]
struct Sent {
    fingerprint: u64,
    message: MessageName,
    ppid: u32,
    /// Chunk header and padding included.
    wire_len: usize,
    transmissions: u32,
    gap_acked: bool,
    abandoned: bool,
    promise: Promise,
}

/// Promise to the application about a message.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Promise {
    /// `None` if the message belongs to no channel, as when the channel was let go of.
    pub(crate) reliability: Option<Reliability>,
    /// Time at which the message was accepted, if known.
    pub(crate) accepted_at: Option<Nanos>,
}

/// Information in an acknowledgement.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Learned {
    /// It is the first to acknowledge something that was sent only once, so that it measures the round trip (Karn).
    pub(crate) measures: bool,
    /// It acknowledges something that was not acknowledged before.
    pub(crate) is_new: bool,
    /// It is older than another one, or acknowledges a TSN that was never sent.
    pub(crate) is_old: bool,
    /// Bytes that it acknowledges for the first time, chunk headers and padding included, whether they counted as in
    /// flight or as lost.
    pub(crate) bytes: usize,
}

#[derive(Debug, Default)]
struct Stream {
    /// SSN or MID of the next message, ordered and unordered.
    next_number: [u32; 2],
    /// A reset was asked for and not answered.
    resetting: bool,
    /// The peer has reset its side.
    peer_has_reset: bool,
    opens_sent: u32,
    acks_sent: u32,
    opens_heard: u32,
    /// Something came since the last OPEN was sent.
    heard: bool,
}

impl Outgoing {
    pub(crate) fn new(initial: u32, interleaves: bool) -> Self {
        let (chunks, open, streams) = Default::default();
        Self { initial, next: 0, cumulative: -1, chunks, interleaves, open, placeholders: 0, streams }
    }

    /// Returns the bytes of the chunks sent, headers and padding included, and neither acknowledged nor abandoned.
    pub(crate) fn outstanding_bytes(&self) -> usize {
        self.outstanding().map(|(_, sent)| sent.wire_len).sum()
    }

    pub(crate) fn has_outstanding(&self) -> bool {
        self.outstanding().next().is_some()
    }

    /// Returns the last TSN assigned, and the last TSN acknowledged cumulatively.
    pub(crate) fn progress(&self) -> (Offset, Offset) {
        (self.next - 1, self.cumulative)
    }

    /// Returns `true` if nothing else is outstanding.
    pub(crate) fn is_alone(&self, tsn: u32) -> bool {
        let offset = self.offset(tsn);
        self.outstanding().all(|(&other, _)| other == offset)
    }

    pub(crate) fn last_assigned(&self) -> u32 {
        self.initial.wrapping_add(self.next as u32).wrapping_sub(1)
    }

    /// Returns whether it was sent for the first time.
    pub(crate) fn on_data(&mut self, now: Nanos, data: &Data<'_>, promise: impl FnOnce() -> Promise) -> bool {
        let offset = self.offset(data.tsn);
        if self.interleaves || data.beginning {
            self.assume_placeholders(offset);
        }
        assert!(offset <= self.next, "I07: TSN {} leaves a gap after {}", data.tsn, self.last_assigned());
        assert!(offset - self.cumulative < 1 << 31, "I07: the span of TSNs is too large");
        if offset == self.next {
            self.on_new(now, data, promise);
            return true;
        }
        assert!(offset > self.cumulative, "I08: TSN {} was acknowledged, and is sent again", data.tsn);
        let sent = self.chunks.get_mut(&offset).expect("kept until acknowledged");
        assert!(!sent.gap_acked, "I08: TSN {} is reported as received, and is sent again", data.tsn);
        assert!(!sent.abandoned, "I12: TSN {} was given up, and is sent again", data.tsn);
        assert_eq!(sent.fingerprint, fingerprint_of(data), "I13: TSN {} changed between transmissions", data.tsn);
        sent.transmissions += 1;
        check_promise(now, data, sent.transmissions, sent.promise);
        false
    }

    fn on_new(&mut self, now: Nanos, data: &Data<'_>, promise: impl FnOnce() -> Promise) {
        let offset = self.next;
        self.next += 1;
        let stream = data.message.stream;
        let mut promise = if data.ppid == DCEP {
            Promise { reliability: Some(Reliability::Reliable), accepted_at: None }
        } else if data.beginning {
            promise()
        } else {
            Promise::default()
        };
        let state = self.streams.entry(stream).or_default();
        assert!(!state.resetting, "I30: new DATA on stream {stream}, whose reset is not answered");
        if data.beginning {
            state.on_message(data, self.interleaves);
            self.end_abandoned(stream);
            let open = self.open.values().find(|open| !self.interleaves || open.first.message.stream == stream);
            assert!(open.is_none(), "I13: a message begins within another one: {open:?}");
        } else {
            promise = self.on_continued(data);
        }
        check_promise(now, data, 1, promise);
        let header_len = if self.interleaves { 20 } else { 16 };
        let sent = Sent {
            fingerprint: fingerprint_of(data),
            message: data.message,
            ppid: data.ppid,
            wire_len: (header_len + data.payload.len()).next_multiple_of(4),
            transmissions: 1,
            gap_acked: false,
            abandoned: false,
            promise,
        };
        if data.end {
            self.open.remove(&stream);
        } else if data.beginning {
            self.open.insert(stream, Open { first: sent.clone(), next_fsn: 1 });
        }
        self.chunks.insert(offset, sent);
    }

    /// A fragment follows others of its message. Returns the promise about the message.
    fn on_continued(&mut self, data: &Data<'_>) -> Promise {
        let open = self.open.get_mut(&data.message.stream);
        let open = open.unwrap_or_else(|| panic!("I13: TSN {} continues no message", data.tsn));
        let same = match data.fsn {
            // DATA has no number for unordered messages.
            None => open.first.ppid == data.ppid && open.first.message.unordered == data.message.unordered,
            Some(fsn) => open.first.message == data.message && open.next_fsn == fsn,
        };
        let is_numbered = !data.message.unordered;
        assert!(
            same && (!is_numbered || open.first.message == data.message),
            "I13: fragments of two messages are mixed: {open:?}, {data:?}"
        );
        open.next_fsn += 1;
        open.first.promise
    }

    /// TSNs before this one are skipped: each stands for the unsent rest of an abandoned message, so that the peer
    /// learns of it (RFC 3758 §3.5 A5). If messages interleave, the packets that follow tell which messages these are.
    fn assume_placeholders(&mut self, to: Offset) {
        while self.next < to && self.open.len() > self.placeholders {
            if !self.interleaves {
                let (_, open) = self.open.pop_first().expect("one at least");
                self.check_abandonable(&open.first);
                let sent = Sent { wire_len: 0, abandoned: true, gap_acked: false, ..open.first };
                self.chunks.insert(self.next, sent);
            } else {
                self.placeholders += 1;
            }
            self.next += 1;
        }
    }

    /// The message that was begun on this stream, if any was, is not continued: one of the placeholders is its rest.
    fn end_abandoned(&mut self, stream: u16) {
        if self.placeholders > 0
            && let Some(open) = self.open.remove(&stream)
        {
            self.check_abandonable(&open.first);
            self.placeholders -= 1;
        }
    }

    /// I12, I33: checks that a message may be abandoned. Any message may once the peer has closed the channel: it reads
    /// no more.
    fn check_abandonable(&self, sent: &Sent) {
        let closed = self.streams.get(&sent.message.stream).is_some_and(|stream| stream.peer_has_reset);
        let reliable = matches!(sent.promise.reliability, Some(Reliability::Reliable));
        assert!(!reliable || closed, "I12: a reliable message is given up: {sent:?}");
        assert!(sent.ppid != DCEP || closed, "I33: a DCEP message is given up");
    }

    pub(crate) fn on_forward_tsn(&mut self, forward: &ForwardTsn) {
        let to = self.offset(forward.cumulative);
        self.assume_placeholders(to + 1);
        assert!(to >= self.cumulative, "I12: FORWARD-TSN points behind the cumulative TSN ack");
        assert!(to < self.next, "I12: FORWARD-TSN points beyond what was sent");
        let mut skipped = BTreeSet::new();
        for (_, sent) in self.chunks.range(self.cumulative + 1..=to).filter(|(_, sent)| !sent.gap_acked) {
            self.check_abandonable(sent);
            if self.interleaves || !sent.message.unordered {
                skipped.insert(sent.message);
            }
        }
        for (&offset, sent) in self.chunks.range_mut(self.cumulative + 1..) {
            // The rest of a message that is skipped is not sent again, either.
            let is_skipped = offset <= to || skipped.contains(&sent.message) && self.interleaves;
            sent.abandoned |= is_skipped && !sent.gap_acked;
        }
        for last in &forward.skipped {
            let known = self.streams.get(&last.stream).map(|state| state.next_number[usize::from(last.unordered)]);
            let used = known.is_some_and(|next| self.distance(last.number.wrapping_add(1), next) < 1 << 31);
            assert!(used, "I12: FORWARD-TSN skips {last:?}, which was never used");
            if self.open.get(&last.stream).is_some_and(|open| open.first.message == *last) {
                self.end_abandoned(last.stream);
            }
        }
        for message in skipped {
            let names = |last: &&MessageName| (last.stream, last.unordered) == (message.stream, message.unordered);
            // A stream is named again after a message that has arrived; the last entry has the highest number.
            let last = forward.skipped.iter().rfind(names);
            let listed = last.is_some_and(|last| self.distance(message.number, last.number) < 1 << 31);
            assert!(listed, "I12: FORWARD-TSN skips {message:?} without saying so");
        }
    }

    /// Returns how far one SSN or MID lies before another one; half of all and more if it lies behind it. The unit of
    /// an SSN is 2¹⁶.
    fn distance(&self, from: u32, to: u32) -> u32 {
        to.wrapping_sub(from) << if self.interleaves { 0 } else { 16 }
    }

    /// Handles a SACK, or with no blocks a SHUTDOWN.
    pub(crate) fn on_ack(&mut self, cumulative: u32, gaps: Option<&[(u16, u16)]>) -> Learned {
        let cumulative = self.offset(cumulative);
        if cumulative < self.cumulative || cumulative >= self.next {
            return Learned { is_old: true, ..Learned::default() };
        }
        let mut learned = Learned { is_new: cumulative > self.cumulative, ..Learned::default() };
        let is_sample = |sent: &Sent| sent.transmissions == 1 && !sent.gap_acked && !sent.abandoned;
        for (_, sent) in self.chunks.range(self.cumulative + 1..cumulative + 1) {
            learned.measures |= is_sample(sent);
            learned.bytes += if sent.gap_acked { 0 } else { sent.wire_len };
        }
        self.cumulative = cumulative;
        self.chunks = self.chunks.split_off(&(cumulative + 1));
        let Some(gaps) = gaps else { return learned };
        for (&offset, sent) in &mut self.chunks {
            let covered = |&(start, end): &(u16, u16)| {
                (cumulative + i64::from(start)..=cumulative + i64::from(end)).contains(&offset)
            };
            let is_covered = gaps.iter().any(covered);
            learned.measures |= is_covered && is_sample(sent);
            let is_first = is_covered && !sent.gap_acked;
            learned.is_new |= is_first;
            learned.bytes += if is_first { sent.wire_len } else { 0 };
            sent.gap_acked = is_covered;
        }
        learned
    }

    /// The peer has sent something on the stream; `opens` if it was an OPEN.
    pub(crate) fn on_heard(&mut self, data: &Data<'_>) {
        let state = self.streams.entry(data.message.stream).or_default();
        state.heard = true;
        if data.ppid == DCEP && data.payload[0] == 3 {
            state.opens_heard += 1;
        }
    }

    pub(crate) fn on_peer_reset(&mut self, streams: &[u16]) {
        for stream in streams {
            self.streams.entry(*stream).or_default().peer_has_reset = true;
        }
    }

    pub(crate) fn on_reset_requested(&mut self, last_tsn: u32, streams: &[u16]) {
        self.assume_placeholders(self.offset(last_tsn) + 1);
        assert_eq!(last_tsn, self.last_assigned(), "I30: the last TSN of the reset of {streams:?} is wrong");
        for stream in streams {
            self.end_abandoned(*stream);
            self.streams.entry(*stream).or_default().resetting = true;
            let waiting = self.outstanding().find(|(_, sent)| sent.message.stream == *stream);
            assert!(waiting.is_none(), "I30: stream {stream} is reset with {waiting:?} not acknowledged");
        }
    }

    pub(crate) fn on_reset_answered(&mut self, streams: &[u16], performed: bool) {
        for stream in streams {
            let state = self.streams.entry(*stream).or_default();
            state.resetting = false;
            if performed {
                state.next_number = [0; 2];
                (state.opens_sent, state.heard, state.peer_has_reset) = (0, false, false);
            }
        }
    }

    fn outstanding(&self) -> impl Iterator<Item = (&Offset, &Sent)> {
        let from = self.cumulative + 1;
        self.chunks.range(from..).filter(|(_, sent)| !sent.gap_acked && !sent.abandoned)
    }

    fn offset(&self, tsn: u32) -> Offset {
        let base = self.cumulative.max(0);
        let near = self.initial.wrapping_add(base as u32);
        base + i64::from(tsn.wrapping_sub(near) as i32)
    }
}

impl Stream {
    /// I13, I33: number and contents of the first fragment of a message.
    fn on_message(&mut self, data: &Data<'_>, interleaves: bool) {
        let MessageName { stream, unordered, number } = data.message;
        if interleaves || !unordered {
            let next = &mut self.next_number[usize::from(unordered)];
            assert_eq!(number, *next, "I13: stream {stream} went on with the wrong number: {data:?}");
            *next = if interleaves { number.wrapping_add(1) } else { (number as u16).wrapping_add(1).into() };
        }
        if data.ppid == DCEP {
            assert!(!unordered, "I33: a DCEP message was sent unordered");
            match data.payload[0] {
                3 => {
                    self.opens_sent += 1;
                    self.heard = false;
                    assert_eq!(self.opens_sent, 1, "I32: stream {stream} was opened again before it was reset");
                }
                2 => {
                    self.acks_sent += 1;
                    assert!(self.acks_sent <= self.opens_heard, "I33: more ACKs than OPENs on stream {stream}");
                }
                kind => panic!("I33: DCEP message of type {kind}"),
            }
            return;
        }
        assert!([51, 53, 56, 57].contains(&data.ppid), "I33: PPID {}", data.ppid);
        let early = self.opens_sent > 0 && !self.heard && unordered;
        assert!(!early, "I33: unordered data on stream {stream} could overtake its OPEN");
    }
}

/// I15: how often, and how late, a partially reliable message may be sent.
fn check_promise(now: Nanos, data: &Data<'_>, transmissions: u32, promise: Promise) {
    match promise.reliability {
        Some(Reliability::MaxRetransmits(max)) => {
            // The last chunk of a stream that is closed goes once more, so that it is acknowledged at once. No message
            // of the stream waits for it.
            let most = max.saturating_add(1 + u32::from(data.immediate));
            assert!(transmissions <= most, "I15: TSN {} was sent {transmissions} times", data.tsn);
        }
        Some(Reliability::MaxLifetime(lifetime)) => {
            // A message that was begun in time may be finished (RFC 9260 §11.1.5), but no part of it is retransmitted.
            let is_finishing = transmissions == 1 && !data.beginning;
            let late = !is_finishing && promise.accepted_at.is_some_and(|at| now > at + nanos(lifetime));
            assert!(!late, "I15: TSN {} was sent after its lifetime of {lifetime:?}", data.tsn);
        }
        Some(Reliability::Reliable | Reliability::Priority(_)) | None => {}
    }
}

/// Hashes the fields that may not change when a chunk is retransmitted; the I bit may.
fn fingerprint_of(data: &Data<'_>) -> u64 {
    let MessageName { stream, unordered, number } = data.message;
    let flags = u64::from(unordered) << 2 | u64::from(data.beginning) << 1 | u64::from(data.end);
    let head = u64::from(stream) << 48 | u64::from(number) << 32 | u64::from(data.ppid) << 3 | flags;
    fingerprint(data.payload) ^ head.rotate_left(17) ^ u64::from(data.fsn.unwrap_or_default()).rotate_left(23)
}
