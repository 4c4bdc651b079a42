//! One direction of an association as its sender puts it on the wire: I07, I08, I12, I13, I15, I33 for every DATA and
//! FORWARD-TSN sent, against every SACK received.

use std::collections::BTreeMap;

use narrowboat_dcep::Reliability;

use crate::clock::{Nanos, nanos};
use crate::packet::{Data, ForwardTsn};
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
    /// The message that is being fragmented.
    open: Option<Offset>,
    streams: BTreeMap<u16, Stream>,
}

#[derive(Clone, Debug)]
struct Sent {
    fingerprint: u64,
    stream: u16,
    ssn: u16,
    ppid: u32,
    unordered: bool,
    len: usize,
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
    next_ssn: u16,
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
    pub(crate) fn new(initial: u32) -> Self {
        Self { initial, next: 0, cumulative: -1, chunks: BTreeMap::new(), open: None, streams: BTreeMap::new() }
    }

    /// Returns the bytes of the chunks sent, headers and padding included, and neither acknowledged nor abandoned.
    pub(crate) fn outstanding_bytes(&self) -> usize {
        self.outstanding().map(|(_, sent)| sent.wire_len()).sum()
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
        if offset == self.next + 1 && data.beginning {
            self.assume_placeholder();
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
        let (stream, ssn) = (data.stream, data.ssn);
        let mut promise = if data.ppid == DCEP {
            Promise { reliability: Some(Reliability::Reliable), accepted_at: None }
        } else if data.beginning {
            promise()
        } else {
            Promise::default()
        };
        let state = self.streams.entry(stream).or_default();
        assert!(!state.resetting, "I30: new DATA on stream {stream}, whose reset is not answered");
        if let Some(first) = self.open.map(|open| &self.chunks[&open]) {
            if data.beginning {
                panic!("I13: a message begins within another one: {first:?}");
            }
            let same = (first.stream, first.ppid, first.unordered) == (stream, data.ppid, data.unordered);
            assert!(same && (first.unordered || first.ssn == ssn), "I13: fragments of two messages are mixed");
            promise = first.promise;
        } else {
            assert!(data.beginning, "I13: TSN {} continues no message", data.tsn);
        }
        if data.beginning && !data.unordered {
            assert_eq!(ssn, state.next_ssn, "I13: stream {stream} went on with the wrong SSN");
            state.next_ssn = ssn.wrapping_add(1);
        }
        if data.beginning {
            state.on_message(data);
        }
        self.open = if data.end { None } else { self.open.or(Some(offset)) };
        check_promise(now, data, 1, promise);
        let sent = Sent {
            fingerprint: fingerprint_of(data),
            stream,
            ssn,
            ppid: data.ppid,
            unordered: data.unordered,
            len: data.payload.len(),
            transmissions: 1,
            gap_acked: false,
            abandoned: false,
            promise,
        };
        self.chunks.insert(offset, sent);
    }

    /// A TSN is skipped: it stands for the unsent rest of an abandoned message, so that the peer learns of it (RFC 3758
    /// §3.5 A5).
    fn assume_placeholder(&mut self) {
        let Some(open) = self.open.take() else { return };
        let mut sent = self.chunks[&open].clone();
        self.check_abandonable(&sent);
        (sent.len, sent.abandoned, sent.gap_acked) = (0, true, false);
        self.chunks.insert(self.next, sent);
        self.next += 1;
    }

    /// I12, I33: checks that a message may be abandoned. Any message may once the peer has closed the channel: it reads
    /// no more.
    fn check_abandonable(&self, sent: &Sent) {
        let closed = self.streams.get(&sent.stream).is_some_and(|stream| stream.peer_has_reset);
        let reliable = matches!(sent.promise.reliability, Some(Reliability::Reliable));
        assert!(!reliable || closed, "I12: a reliable message is given up: {sent:?}");
        assert!(sent.ppid != DCEP || closed, "I33: a DCEP message is given up");
    }

    pub(crate) fn on_forward_tsn(&mut self, forward: &ForwardTsn) {
        let to = self.offset(forward.cumulative);
        if to == self.next {
            self.assume_placeholder();
        }
        assert!(to >= self.cumulative, "I12: FORWARD-TSN points behind the cumulative TSN ack");
        assert!(to < self.next, "I12: FORWARD-TSN points beyond what was sent");
        let mut skipped = BTreeMap::new();
        for (_, sent) in self.chunks.range(self.cumulative + 1..=to).filter(|(_, sent)| !sent.gap_acked) {
            self.check_abandonable(sent);
            if !sent.unordered {
                skipped.insert(sent.stream, sent.ssn);
            }
        }
        for (_, sent) in self.chunks.range_mut(self.cumulative + 1..=to) {
            sent.abandoned |= !sent.gap_acked;
        }
        for &(stream, ssn) in &forward.streams {
            let known = self.streams.get(&stream);
            let used = known.is_some_and(|state| state.next_ssn.wrapping_sub(ssn).wrapping_sub(1) < 1 << 15);
            assert!(used, "I12: FORWARD-TSN skips SSN {ssn} of stream {stream}, which was never used");
        }
        for (stream, ssn) in skipped {
            let listed = forward.streams.iter().any(|&(s, n)| s == stream && n.wrapping_sub(ssn) < 1 << 15);
            assert!(listed, "I12: FORWARD-TSN skips SSN {ssn} of stream {stream} without saying so");
        }
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
            learned.bytes += if sent.gap_acked { 0 } else { sent.wire_len() };
        }
        self.cumulative = cumulative;
        self.chunks = self.chunks.split_off(&(cumulative + 1).min(self.open.unwrap_or(Offset::MAX)));
        let Some(gaps) = gaps else { return learned };
        for (&offset, sent) in &mut self.chunks {
            let covered = |&(start, end): &(u16, u16)| {
                (cumulative + i64::from(start)..=cumulative + i64::from(end)).contains(&offset)
            };
            let is_covered = gaps.iter().any(covered);
            learned.measures |= is_covered && is_sample(sent);
            let is_first = is_covered && !sent.gap_acked;
            learned.is_new |= is_first;
            learned.bytes += if is_first { sent.wire_len() } else { 0 };
            sent.gap_acked = is_covered;
        }
        learned
    }

    /// The peer has sent something on the stream; `opens` if it was an OPEN.
    pub(crate) fn on_heard(&mut self, data: &Data<'_>) {
        let state = self.streams.entry(data.stream).or_default();
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
        if self.offset(last_tsn) == self.next {
            self.assume_placeholder();
        }
        assert_eq!(last_tsn, self.last_assigned(), "I30: the last TSN of the reset of {streams:?} is wrong");
        for stream in streams {
            self.streams.entry(*stream).or_default().resetting = true;
            let waiting = self.outstanding().find(|(_, sent)| sent.stream == *stream);
            assert!(waiting.is_none(), "I30: stream {stream} is reset with {waiting:?} not acknowledged");
        }
    }

    pub(crate) fn on_reset_answered(&mut self, streams: &[u16], performed: bool) {
        for stream in streams {
            let state = self.streams.entry(*stream).or_default();
            state.resetting = false;
            if performed {
                state.next_ssn = 0;
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

impl Sent {
    fn wire_len(&self) -> usize {
        (16 + self.len).next_multiple_of(4)
    }
}

impl Stream {
    /// I33: contents of the first fragment of a message.
    fn on_message(&mut self, data: &Data<'_>) {
        let stream = data.stream;
        if data.ppid == DCEP {
            assert!(!data.unordered, "I33: a DCEP message was sent unordered");
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
        let early = self.opens_sent > 0 && !self.heard && data.unordered;
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
        Some(Reliability::Reliable) | None => {}
    }
}

/// Hashes the fields that may not change when a chunk is retransmitted; the I bit may.
fn fingerprint_of(data: &Data<'_>) -> u64 {
    let flags = u64::from(data.unordered) << 2 | u64::from(data.beginning) << 1 | u64::from(data.end);
    let head = u64::from(data.stream) << 48 | u64::from(data.ssn) << 32 | u64::from(data.ppid) << 3 | flags;
    fingerprint(data.payload) ^ head.rotate_left(17)
}
