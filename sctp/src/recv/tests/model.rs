//! Random histories against a model that is too simple to be wrong: it knows every message that the sender made, and
//! after each step works out from the whole set of received TSNs what has to have been delivered.

use std::collections::{BTreeSet, VecDeque};

use super::*;
use crate::testing::Random;

const MESSAGES: usize = 40;
const RUNS: u64 = 3000;

/// Bytes that a receiver with little room may hold.
const MEMORY: usize = 7100 * 5 / 4;

/// A message of the sender; TSNs count from 0 here.
#[derive(Debug)]
struct Sent {
    stream: StreamId,
    /// SSN, or MID.
    number: u32,
    unordered: bool,
    generation: usize,
    /// Of each fragment. Without interleaving, they follow each other.
    tsns: Vec<u64>,
    filler: u64,
    abandoned: bool,
    skipped: bool,
    delivered: bool,
}

impl Sent {
    /// Returns the bytes of one fragment, as the receiver should see them.
    fn fragment(&self, id: usize, n: u64) -> Vec<u8> {
        let mut bytes = vec![id as u8, n as u8];
        bytes.resize(2 + (self.filler * (n + 1) % 97) as usize, id as u8);
        bytes
    }

    fn payload(&self, id: usize) -> Vec<u8> {
        (0..self.tsns.len() as u64).flat_map(|n| self.fragment(id, n)).collect()
    }
}

#[derive(PartialEq, Eq, Debug)]
enum Expected {
    Message(usize),
    Reset,
}

struct History {
    random: Random,
    receiver: Receiver,
    initial: u32,
    streams: u16,
    is_roomy: bool,
    /// The sender mixes messages of several streams, in I-DATA.
    interleaving: bool,
    sent: Vec<Sent>,
    next: u64,
    /// Of each stream: the next SSN, or MIDs of ordered and of unordered messages, and how often it was reset by the
    /// sender and, in the model, by the receiver.
    numbers: Vec<[u32; 2]>,
    generations: Vec<usize>,
    performed: Vec<usize>,
    /// The reset under way and its last TSN.
    reset: Option<(Vec<StreamId>, u64)>,
    /// TSNs that the receiver has, from its SACK; all below `cumulative` too.
    received: BTreeSet<u64>,
    cumulative: u64,
    expected: Vec<VecDeque<Expected>>,
    /// The last event of each stream was a reset.
    was_reset: Vec<bool>,
    lent: Vec<Credit>,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let is_roomy = random.percent(50);
        let interleaving = random.percent(60);
        let streams = 1 + random.below(5) as u16;
        let config = if is_roomy { config() } else { small_window(4096 + random.below(3000) as u32) };
        let initial = 1u32.wrapping_sub(random.below(80) as u32);
        let mut receiver = Receiver::new(Tsn(initial), &config, streams, interleaving);
        if !is_roomy {
            receiver.set_memory(MEMORY - random.below(3800) as usize, true);
        }
        let per_stream = usize::from(streams);
        let mut numbers = vec![[0; 2]; per_stream];
        if interleaving {
            for (stream, numbers) in (0..).zip(&mut numbers) {
                *numbers = [0u32.wrapping_sub(random.below(4) as u32); 2];
                receiver.assembler.i_data().mids_mut().begin_at(StreamId(stream), Mid(numbers[0]));
            }
        }
        Self {
            random,
            receiver,
            initial,
            streams,
            is_roomy,
            interleaving,
            sent: Vec::new(),
            next: 0,
            numbers,
            generations: vec![0; per_stream],
            performed: vec![0; per_stream],
            reset: None,
            received: BTreeSet::new(),
            cumulative: 0,
            expected: std::iter::repeat_with(VecDeque::new).take(per_stream).collect(),
            was_reset: vec![false; per_stream],
            lent: Vec::new(),
        }
    }

    fn run(mut self) {
        for _ in 0..200 {
            match self.random.below(100) {
                0..25 => self.send(),
                25..28 => self.reset(),
                28..33 => self.abandon(),
                33..40 => self.forward(),
                40..52 => self.read_some(),
                52..60 => self.deliver_again(),
                _ => self.deliver_one(),
            }
        }
        // The faults are over: the sender repeats what is missing from the lowest up, and the application reads.
        let mut rounds = 0;
        while self.cumulative < self.next {
            for tsn in self.cumulative..self.next {
                if !self.received.contains(&tsn) && self.sent.iter().any(|m| m.tsns.contains(&tsn) && !m.abandoned) {
                    self.deliver(tsn);
                }
                self.read_all();
            }
            self.forward();
            self.read_all();
            rounds += 1;
            assert!(rounds < 10, "no progress at {} of {}", self.cumulative, self.next);
        }
        self.read_all();
        assert_eq!(self.receiver.charged(), 0);
        assert_eq!(self.receiver.deferred(), None);
        assert!(self.sent.iter().all(|m| m.delivered || m.abandoned || !m.stream.is_below(self.streams)));
    }

    /// Sends a message, or one on each of several streams at once, whose fragments mix.
    fn send(&mut self) {
        let count = if self.interleaving { 1 + self.random.below(3).min(u64::from(self.streams) - 1) } else { 1 };
        let first_stream = self.random.below(u64::from(self.streams)) as u16;
        let first_id = self.sent.len();
        for n in 0..count as u16 {
            if self.sent.len() == MESSAGES {
                break;
            }
            let stream = (first_stream + n) % self.streams;
            self.begin(stream);
        }
        let mut left: Vec<_> = (first_id..self.sent.len()).collect();
        while !left.is_empty() {
            let at = self.random.below(left.len() as u64) as usize;
            let tsns = &mut self.sent[left[at]].tsns;
            // A fragment without TSN is the highest number there is.
            let fragment = tsns.iter_mut().find(|tsn| **tsn == u64::MAX).unwrap();
            *fragment = self.next;
            self.next += 1;
            if tsns.last() != Some(&u64::MAX) {
                left.swap_remove(at);
            }
        }
    }

    /// Makes a message that has no TSNs yet.
    fn begin(&mut self, stream: u16) {
        let stream = if self.random.percent(3) { self.streams + stream } else { stream };
        let unordered = self.random.percent(30);
        let at = usize::from(stream);
        // DATA has numbers for ordered messages only.
        let kind = usize::from(unordered && self.interleaving);
        let number = self.numbers.get(at).map_or(7, |numbers| numbers[kind]);
        if let Some(numbers) = self.numbers.get_mut(at)
            && (self.interleaving || !unordered)
        {
            numbers[kind] = number.wrapping_add(1);
        }
        self.sent.push(Sent {
            stream: StreamId(stream),
            number,
            unordered,
            generation: self.generations.get(at).copied().unwrap_or(0),
            tsns: vec![u64::MAX; (1 + self.random.below(5) * self.random.below(2)) as usize],
            filler: self.random.below(97),
            abandoned: false,
            skipped: false,
            delivered: false,
        });
    }

    /// Resets streams whose sender goes on with their next use at once, which it should not: then its messages have to
    /// wait. With I-DATA they are not taken before.
    fn reset(&mut self) {
        if self.reset.is_some() || self.next == 0 {
            return;
        }
        let all = self.random.percent(20);
        let list: Vec<_> = (0..self.streams).filter(|_| all || self.random.percent(40)).map(StreamId).collect();
        if list.is_empty() {
            return;
        }
        for &stream in &list {
            self.numbers[usize::from(stream.0)] = [0; 2];
            self.generations[usize::from(stream.0)] += 1;
        }
        let streams = if all { Streams::All } else { Streams::List(list.clone()) };
        let last = self.next - 1;
        let progress = self.receiver.reset_streams(streams.clone(), self.tsn(last));
        assert_eq!(progress == ResetProgress::Performed, last < self.cumulative, "{progress:?}");
        if progress == ResetProgress::Deferred {
            assert_eq!(self.receiver.reset_streams(streams, self.tsn(last)), ResetProgress::Deferred);
        }
        self.reset = Some((list, last));
        self.settle(&[], false);
    }

    /// Gives a message up, unless it was acknowledged or belongs to a use of its stream that the receiver does not know
    /// yet.
    fn abandon(&mut self) {
        if self.sent.is_empty() {
            return;
        }
        let id = self.random.below(self.sent.len() as u64) as usize;
        let message = &mut self.sent[id];
        let known = self.performed.get(usize::from(message.stream.0)).is_none_or(|at| *at == message.generation);
        let acked = message.tsns.iter().all(|tsn| *tsn < self.cumulative || self.received.contains(tsn));
        message.abandoned |= known && !acked;
    }

    fn forward(&mut self) {
        let mut to = self.cumulative;
        let mut entries: Vec<SkippedMessage> = Vec::new();
        let mut skipped = Vec::new();
        while let Some((id, message)) = self.sent.iter().enumerate().find(|(_, message)| message.tsns.contains(&to))
            && (message.abandoned || (self.interleaving && self.received.contains(&to)))
            && !(self.interleaving && self.random.percent(5))
        {
            to += 1;
            if !message.abandoned {
                continue;
            }
            // One that came whole all the same is delivered.
            if !message.tsns.iter().all(|tsn| *tsn < self.cumulative || self.received.contains(tsn)) {
                skipped.push(id);
            }
            if self.interleaving || !message.unordered {
                entries.retain(|e| (e.stream, e.unordered) != (message.stream, message.unordered));
                let (stream, unordered, mid) = (message.stream, message.unordered, Mid(message.number));
                entries.push(SkippedMessage { stream, unordered, mid });
            }
        }
        if self.random.percent(20) {
            let stream = StreamId(self.random.below(9) as u16);
            let mid = Mid(self.random.below(1 << 32) as u32 | 1024);
            entries.push(SkippedMessage { stream, unordered: self.random.percent(50), mid });
        }
        let tsn = self.tsn(to).prev();
        let forwarded = if self.interleaving {
            self.receiver.on_i_forward_tsn(tsn, entries.into_iter())
        } else {
            let entries = entries.iter().map(|entry| (entry.stream, Ssn(entry.mid.0 as u16)));
            self.receiver.on_forward_tsn(tsn, entries)
        };
        assert_eq!(forwarded, if to == self.cumulative { Forwarded::Old } else { Forwarded::Advanced });
        self.receiver.on_packet_end(at(0));
        for id in skipped {
            self.sent[id].skipped = true;
        }
        let skipped: Vec<_> = (self.cumulative..to).collect();
        self.settle(&skipped, false);
    }

    /// Delivers a missing chunk, more often one of the first.
    fn deliver_one(&mut self) {
        let end = self.next.min(self.cumulative + 40);
        let missing: Vec<_> = (self.cumulative..end).filter(|tsn| !self.received.contains(tsn)).collect();
        if !missing.is_empty() {
            let bound = 1 + self.random.below(missing.len() as u64);
            let tsn = missing[self.random.below(bound) as usize];
            self.deliver(tsn);
        }
    }

    fn deliver_again(&mut self) {
        let received: Vec<_> = (0..self.cumulative).chain(self.received.iter().copied()).collect();
        if !received.is_empty() {
            let tsn = received[self.random.below(received.len() as u64) as usize];
            self.deliver(tsn);
        }
    }

    fn deliver(&mut self, tsn: u64) {
        let (id, message) = self.sent.iter().enumerate().find(|(_, m)| m.tsns.contains(&tsn)).unwrap();
        let n = message.tsns.iter().position(|of| *of == tsn).unwrap();
        let (beginning, ending) = (n == 0, n + 1 == message.tsns.len());
        let (stream, unordered, immediate) = (message.stream, message.unordered, false);
        let ppid = Ppid(id as u32);
        let chunk: FragmentHeader = if self.interleaving {
            let (mid, fsn) = (Mid(message.number), Fsn(n as u32));
            let ppid = if beginning { ppid } else { Ppid(0) };
            IDataChunk { tsn: self.tsn(tsn), stream, mid, ppid, fsn, unordered, beginning, ending, immediate }.into()
        } else {
            let ssn = Ssn(message.number as u16);
            DataChunk { tsn: self.tsn(tsn), stream, ssn, ppid, unordered, beginning, ending, immediate }.into()
        };
        let payload = Bytes::from(message.fragment(id, n as u64));
        let is_old = tsn < self.cumulative || self.received.contains(&tsn);
        let is_bad = !message.stream.is_below(self.streams);
        let performed = self.performed.get(usize::from(stream.0)).copied().unwrap_or(0);
        let is_early = self.interleaving && message.generation > performed;
        let received = self.receiver.on_data(chunk, payload, 100).unwrap();
        self.receiver.on_packet_end(at(0));
        match received {
            ArrivedChunk::Duplicate => assert!(is_old),
            ArrivedChunk::BadStream => assert!(is_bad && !is_old),
            ArrivedChunk::New => assert!(!is_bad && !is_old && !is_early),
            ArrivedChunk::Dropped => assert!((is_early || !self.is_roomy) && !is_old),
        }
        let is_new = matches!(received, ArrivedChunk::New | ArrivedChunk::BadStream);
        self.settle(if is_new { std::slice::from_ref(&tsn) } else { &[] }, true);
    }

    /// Compares the SACK after a step that should have added these TSNs, and finds the messages that should have been
    /// delivered.
    fn settle(&mut self, added: &[u64], may_evict: bool) {
        let mut should: BTreeSet<u64> = self.received.iter().chain(added).copied().collect();
        let (cumulative, a_rwnd, gaps, _) = self.receiver.sack_parts(usize::MAX);
        let cumulative = u64::from(cumulative.next().distance_from(Tsn(self.initial)));
        let mut received = BTreeSet::new();
        for gap in gaps {
            received.extend((cumulative + u64::from(gap.start) - 1)..(cumulative + u64::from(gap.end)));
        }
        let mut end = self.cumulative;
        while should.remove(&end) {
            end += 1;
        }
        if self.is_roomy || !may_evict {
            assert_eq!(cumulative, end, "the Cumulative TSN Ack");
            assert_eq!(received, should, "the Gap Ack Blocks");
        } else {
            // The chunk that has just arrived is not the one that is evicted for it.
            assert!(added.iter().all(|tsn| *tsn < cumulative || received.contains(tsn)));
            assert!((self.cumulative..=end).contains(&cumulative));
            assert!(received.iter().all(|tsn| *tsn < end || should.contains(tsn)), "{received:?} of {should:?}");
        }
        if self.is_roomy {
            let charged = u32::try_from(self.receiver.charged()).unwrap();
            assert!(a_rwnd >= INITIAL_WINDOW.saturating_sub(charged));
        } else {
            // A message in sequence may exceed the limit, and then it is whole.
            let message = 5 * (97 + FRAGMENT_OVERHEAD) + MESSAGE_OVERHEAD;
            assert!(self.receiver.charged() <= MEMORY + message);
        }
        (self.received, self.cumulative) = (received, cumulative);
        self.expect_from_streams();
        if let Some((list, _)) = self.reset.take_if(|(_, last)| *last < self.cumulative) {
            for &stream in &list {
                self.performed[usize::from(stream.0)] += 1;
                self.expected[usize::from(stream.0)].push_back(Expected::Reset);
            }
            self.expect_from_streams();
        }
    }

    fn expect_from_streams(&mut self) {
        for stream in 0..self.streams {
            let at = usize::from(stream);
            let mut is_blocked = false;
            for (id, message) in self.sent.iter_mut().enumerate() {
                if message.stream != StreamId(stream) || message.generation != self.performed[at] || message.delivered {
                    continue;
                }
                let skipped = message.skipped;
                let is_whole =
                    !skipped && message.tsns.iter().all(|tsn| *tsn < self.cumulative || self.received.contains(tsn));
                if is_whole && (message.unordered || !is_blocked) {
                    message.delivered = true;
                    self.expected[at].push_back(Expected::Message(id));
                }
                is_blocked |= !message.unordered && !is_whole && !skipped;
            }
        }
    }

    fn read_some(&mut self) {
        if self.random.percent(50) {
            if let Some(credit) = self.lent.pop() {
                self.receiver.release(credit);
            }
        } else if !self.read_one() {
            self.expect_nothing();
        }
    }

    fn read_all(&mut self) {
        while self.read_one() {}
        self.expect_nothing();
        for credit in self.lent.drain(..) {
            self.receiver.release(credit);
        }
    }

    fn read_one(&mut self) -> bool {
        match self.receiver.poll() {
            Some(ReceiverEvent::Message(message)) => {
                let id = message.ppid.0 as usize;
                self.was_reset[usize::from(message.stream.0)] = false;
                let queue = &mut self.expected[usize::from(message.stream.0)];
                // Within one step, unordered messages have no order among the others.
                let position = queue.iter().position(|expected| *expected == Expected::Message(id)).unwrap();
                let overtaken = queue.iter().take(position);
                let is_ordered =
                    |expected: &Expected| !matches!(*expected, Expected::Message(id) if self.sent[id].unordered);
                assert!(self.sent[id].unordered || !overtaken.into_iter().any(is_ordered), "out of order");
                queue.remove(position);
                assert_eq!(message.payload.into_bytes(), self.sent[id].payload(id));
                assert_eq!(message.unordered, self.sent[id].unordered);
                self.lent.push(message.credit);
            }
            Some(ReceiverEvent::Reset(streams)) => {
                for stream in (0..self.streams).filter(|&stream| streams.contains(StreamId(stream))) {
                    // Two resets of a stream come as one if there was no message, on any stream, in between.
                    let queue = &mut self.expected[usize::from(stream)];
                    let mut resets = 0;
                    while queue.front() == Some(&Expected::Reset) {
                        queue.pop_front();
                        resets += 1;
                    }
                    assert!(resets > 0 || self.was_reset[usize::from(stream)]);
                    self.was_reset[usize::from(stream)] = true;
                }
            }
            None => return false,
        }
        true
    }

    fn expect_nothing(&self) {
        assert!(self.expected.iter().all(VecDeque::is_empty), "not delivered: {:?}", self.expected);
    }

    fn tsn(&self, tsn: u64) -> Tsn {
        Tsn(self.initial.wrapping_add(tsn as u32))
    }
}

#[test]
fn random_histories_agree_with_the_model() {
    struct OnPanic(u64);
    impl Drop for OnPanic {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("seed {}", self.0);
            }
        }
    }
    for seed in 0..RUNS {
        let _print = OnPanic(seed);
        History::new(seed).run();
    }
}
