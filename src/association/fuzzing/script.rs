//! Runs a script: both applications, and the network between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use narrowboat_dcep::{ChannelId, ChannelOptions, Message};

use super::model::Model;
use super::pair::EndPair;
use crate::waiters::{Interest, WaitKey, WaiterKey};

const STEPS_MAX: usize = 64;
const WRITE_SIZE: usize = 1000;
/// Rounds of 300 ms in which everything has to end once the network is well.
const ROUNDS_MAX: usize = 400;

/// A task that waits, or would.
#[derive(Debug, Default)]
struct Task {
    key: WaiterKey,
    flag: Arc<Flag>,
    /// True if it was pending when it was polled last.
    is_pending: bool,
    is_done: bool,
}

#[derive(Debug, Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The byte stream of one end.
#[derive(Default)]
struct StreamEnd {
    id: Option<ChannelId>,
    has_reader: bool,
    has_writer: bool,
    /// Taken from the channel by the reader, and not read.
    unread: usize,
    /// Taken from the channel without a reader.
    drained: usize,
    reading: Task,
    /// Shutting down. Writing waits with the same key, as the two do in a writing half.
    writing: Task,
}

struct World {
    pair: EndPair,
    model: Model,
    streams: [StreamEnd; 2],
    /// A channel beside the stream: what is lost on it holds the Cumulative TSN Ack back.
    other: ChannelId,
    /// The same at the other end.
    far_other: Option<ChannelId>,
    /// The end that closes first, if the stream has no half close.
    first: usize,
}

pub(super) fn run(script: &[u8]) {
    let [kind, operations @ ..] = script else { return };
    let Some(mut world) = World::new(*kind) else { return };
    for operation in operations.chunks_exact(2).take(STEPS_MAX) {
        if let [what, how] = operation {
            world.operate(*what, *how);
            world.accept();
        }
    }
    world.heal();
}

impl World {
    fn new(kind: u8) -> Option<Self> {
        let has_half_close = kind & 1 == 0;
        let mut pair = EndPair::new(if kind & 2 == 0 { 4096 } else { 64 << 10 });
        let now = pair.now;
        let other = pair.end(0).open(now, ChannelOptions::new("other")).ok()?.id;
        if kind & 4 == 0 {
            pair.exchange(2);
        }
        let options = ChannelOptions::new("stream");
        let options = if has_half_close { options.byte_stream() } else { options };
        let id = pair.end(0).open(now, options).ok()?.id;
        let model = Model { ends: Default::default(), has_half_close };
        let mut world = Self {
            pair,
            model,
            streams: Default::default(),
            other,
            far_other: None,
            first: usize::from(kind >> 3 & 1),
        };
        world.hold(0, id);
        world.pair.drive(0);
        Some(world)
    }

    /// Makes a stream of a channel that is held once, as `ByteStream` does: each half has a handle. A stream without
    /// half close is held once more, so that only the script closes the channel.
    fn hold(&mut self, end: usize, id: ChannelId) {
        let has_half_close = self.model.has_half_close;
        let inner = self.pair.end(end);
        inner.hold_channel(id);
        if has_half_close {
            inner.hold_byte_stream(id);
        } else {
            inner.hold_channel(id);
        }
        let stream = self.stream(end);
        (stream.id, stream.has_reader, stream.has_writer) = (Some(id), true, true);
    }

    /// Accepts, at the far end, the channels that the near end has opened.
    fn accept(&mut self) {
        while let Poll::Ready(Some(opened)) = self.pair.end(1).poll_incoming() {
            if opened.options.label == "stream" {
                self.hold(1, opened.id);
            } else {
                self.far_other = Some(opened.id);
            }
        }
    }

    fn stream(&mut self, end: usize) -> &mut StreamEnd {
        let [first, second] = &mut self.streams;
        if end == 0 { first } else { second }
    }

    fn operate(&mut self, what: u8, how: u8) {
        let (end, amount) = (usize::from(how & 1), usize::from(how >> 1));
        match what % 16 {
            0 | 1 => drop(self.write(end, 1 + amount * 17)),
            2 => while self.write(end, WRITE_SIZE) {},
            3 => drop(self.read(end, amount * 8)),
            4 => while self.read(end, usize::MAX) {},
            5 => self.shut_down(end),
            6 => self.drop_reader(end),
            7 => self.drop_writer(end),
            8 => (0..1 + amount / 16).for_each(|_| self.pair.deliver(end, 0)),
            9 => self.pair.deliver(end, amount),
            10 => drop(self.pair.wire(end).pop_front()),
            11 => {
                let copy = self.pair.wire(end).back().cloned();
                self.pair.wire(end).extend(copy);
            }
            12 => self.pair.pass(Duration::from_millis(amount as u64 * 20)),
            13 => self.pair.exchange(1 + amount / 32),
            14 if amount % 4 == 0 => self.read_beside(),
            14 => self.send_beside(amount),
            _ => self.cut(end, amount),
        }
        self.pair.drive(end);
    }

    /// Writes so many bytes. Returns true if they were accepted.
    fn write(&mut self, end: usize, len: usize) -> bool {
        let (now, start) = (self.pair.now, self.model.end(end).written);
        let stream = self.stream(end);
        let Some(id) = stream.id.filter(|_| stream.has_writer) else { return false };
        let bytes: Vec<u8> = (start..start + len).map(|at| Model::byte(end, at)).collect();
        let written = self.pair.end(end).poll_write_bytes(now, id, &bytes);
        let Poll::Ready(result) = written else {
            self.wait(end, Interest::Send);
            return false;
        };
        let result = result.map(|()| len);
        self.model.on_written(end, &result);
        result.is_ok()
    }

    /// Reads a message, and leaves all but so many bytes of it in the reader. Returns true if there was one.
    fn read(&mut self, end: usize, len: usize) -> bool {
        let now = self.pair.now;
        let stream = self.stream(end);
        let Some(id) = stream.id.filter(|_| stream.has_reader) else { return false };
        if stream.unread > 0 {
            stream.unread = stream.unread.saturating_sub(len.max(1));
            return true;
        }
        match self.pair.end(end).poll_read_bytes(now, id) {
            Poll::Ready(Ok(Some(bytes))) => {
                self.model.on_bytes(end, &bytes);
                self.stream(end).unread = bytes.len().saturating_sub(len.max(1));
                true
            }
            Poll::Ready(result) => {
                self.model.on_read_end(end, result.map(|_| ()));
                self.stream(end).reading.is_done = true;
                false
            }
            Poll::Pending => {
                self.wait(end, Interest::Receive);
                false
            }
        }
    }

    fn shut_down(&mut self, end: usize) {
        let now = self.pair.now;
        let stream = self.stream(end);
        let Some(id) = stream.id.filter(|_| stream.has_writer) else { return };
        let has_half_close = self.model.has_half_close;
        let result = self.pair.end(end).poll_shutdown_bytes(now, id);
        let here = self.model.end(end);
        // Without half close it closes the channel.
        here.has_closed |= !has_half_close;
        here.is_finished |= has_half_close && !matches!(result, Poll::Ready(Err(_)));
        match result {
            Poll::Ready(result) => {
                self.model.on_shut_down(end, &result);
                self.stream(end).writing.is_done = true;
            }
            Poll::Pending => self.wait(end, Interest::Life),
        }
    }

    fn drop_reader(&mut self, end: usize) {
        let (now, stream) = (self.pair.now, self.stream(end));
        let Some(id) = stream.id.filter(|_| stream.has_reader) else { return };
        stream.has_reader = false;
        let unread = std::mem::take(&mut stream.unread);
        let here = self.model.end(end);
        // Afterwards nothing more is taken in, whoever has ended first.
        here.stopped_at = here.read_end.is_none().then(|| here.read - unread).or(Some(usize::MAX));
        if self.model.has_half_close {
            self.pair.end(end).drop_reader(now, id, unread);
        }
        self.release(end, id, |stream| &mut stream.reading);
    }

    fn drop_writer(&mut self, end: usize) {
        let (now, stream) = (self.pair.now, self.stream(end));
        let Some(id) = stream.id.filter(|_| stream.has_writer) else { return };
        stream.has_writer = false;
        let is_without_reader = !stream.has_reader;
        if self.model.has_half_close {
            let here = self.model.end(end);
            here.is_reset = is_without_reader && !here.is_finished;
            here.is_finished = true;
            self.pair.end(end).drop_writer(now, id);
        }
        self.release(end, id, |stream| &mut stream.writing);
    }

    /// Removes a half with its handle and its waiting task.
    fn release(&mut self, end: usize, id: ChannelId, task: impl Fn(&mut StreamEnd) -> &mut Task) {
        let now = self.pair.now;
        let key = std::mem::take(&mut task(self.stream(end)).key);
        let wait_key = WaitKey { channel: Some(id), interest: Interest::Progress };
        let inner = self.pair.end(end);
        drop(inner.waiters(wait_key).and_then(|waiters| waiters.remove(&key)));
        inner.release_channel(now, id);
        self.pair.drive(end);
    }

    fn send_beside(&mut self, amount: usize) {
        let (now, other) = (self.pair.now, self.other);
        let message = Message::Binary(Bytes::from(vec![9; 1 + amount * 8]));
        // A full buffer or a closed channel takes nothing.
        drop(self.pair.end(0).poll_send(now, other, || message));
        self.pair.drive(0);
    }

    fn read_beside(&mut self) {
        let now = self.pair.now;
        let Some(id) = self.far_other else { return };
        while let Poll::Ready(Some(Ok(_))) = self.pair.end(1).poll_recv(now, id) {}
        self.pair.drive(1);
    }

    /// Ends what is below the stream, or sends what is not of its protocol.
    fn cut(&mut self, end: usize, amount: usize) {
        let now = self.pair.now;
        let Some(id) = self.stream(end).id else { return };
        let written = self.model.end(end).written;
        let message = match amount % 16 {
            0 => {
                self.model.end(end).has_ended_association = true;
                return self.pair.end(end).abort("the script wants it so");
            }
            1 => {
                self.model.end(end).has_ended_association = true;
                return self.pair.end(end).begin_shutdown(now);
            }
            2..=5 => {
                self.model.end(end).has_closed = true;
                return self.pair.end(end).close_channel(now, id);
            }
            // Without half close a text is bytes as any other.
            6..=11 if !self.model.has_half_close => return,
            6 => Message::from(""),
            7 => Message::from("stop and go"),
            8 => Message::from(format!("stop {}", amount * 40)),
            9 => Message::from("stop 18446744073709551615"),
            10 => Message::from(format!("reset {}", amount * 40)),
            11 => Message::from("reset 0"),
            12 | 13 => Message::Binary(Bytes::new()),
            _ => (written..written + amount).map(|at| Model::byte(end, at)).collect::<Vec<u8>>().into(),
        };
        let is_data = matches!(&message, Message::Binary(bytes) if !bytes.is_empty());
        if let Poll::Ready(Ok(())) = self.pair.end(end).poll_send(now, id, || message) {
            let here = self.model.end(end);
            here.breaks_rules = true;
            here.written += if is_data { amount } else { 0 };
        }
    }

    /// Enters a task among those that wait.
    fn wait(&mut self, end: usize, interest: Interest) {
        let stream = self.stream(end);
        let Some(id) = stream.id else { return };
        let task = if interest == Interest::Receive { &mut stream.reading } else { &mut stream.writing };
        (task.is_pending, task.flag) = (true, Arc::default());
        let waker = Waker::from(Arc::clone(&task.flag));
        let mut key = std::mem::take(&mut task.key);
        let wait_key = WaitKey { channel: Some(id), interest };
        drop(self.pair.end(end).waiters(wait_key).and_then(|waiters| waiters.register(&mut key, interest, &waker)));
        let stream = self.stream(end);
        let task = if interest == Interest::Receive { &mut stream.reading } else { &mut stream.writing };
        task.key = key;
    }

    /// Runs to the end on a network without loss. Each application reads to the end and shuts down, and is polled again
    /// only when it was woken.
    fn heal(&mut self) {
        for stream in &mut self.streams {
            (stream.reading.is_pending, stream.writing.is_pending) = (false, false);
        }
        for round in 0..ROUNDS_MAX {
            for end in 0..2 {
                self.finish(end);
            }
            self.pair.exchange(10);
            self.accept();
            self.read_beside();
            if self.is_over() {
                return self.check_end();
            }
            if round > 2 {
                self.pair.pass(Duration::from_millis(300));
            }
        }
        let is_over = self.is_over();
        assert!(is_over, "an end waits for ever: {}", self.words());
    }

    fn words(&self) -> String {
        let mut words = String::new();
        for (end, (inner, stream)) in self.pair.ends.iter().zip(&self.streams).enumerate() {
            let state = stream.id.map(|id| inner.ready_state(id));
            let (reading, writing) = (&stream.reading, &stream.writing);
            words += &format!(
                "\n  end {end}: {state:?}, reading: {}, {reading:?}, writing: {}, {writing:?}, {:?}, {:?}",
                stream.has_reader,
                stream.has_writer,
                inner.sctp.state(),
                inner.sctp.stats()
            );
        }
        words + &format!("\n  {:?}", self.model.ends)
    }

    fn finish(&mut self, end: usize) {
        let now = self.pair.now;
        let Some(id) = self.stream(end).id else { return };
        let is_awake = |task: &Task| !task.is_done && (!task.is_pending || task.flag.0.load(Ordering::Relaxed));
        if self.stream(end).has_reader && is_awake(&self.stream(end).reading) {
            while self.read(end, usize::MAX) {}
        }
        if !self.model.has_half_close && !self.stream(end).has_reader {
            self.drain(end);
        }
        // Without half close the second end closes when it has read to the end.
        let is_first = end == self.first || self.model.has_half_close;
        let has_read = !self.stream(end).has_reader || self.stream(end).reading.is_done;
        if !is_first && !has_read {
            return;
        }
        if self.stream(end).has_writer && is_awake(&self.stream(end).writing) {
            self.shut_down(end);
        }
        if !self.model.has_half_close || !self.model.is_honest() {
            // Without the protocol, or without keeping to it, an end has to close the channel.
            self.model.end(end).has_closed = true;
            self.pair.end(end).close_channel(now, id);
        }
        self.pair.drive(end);
    }

    fn is_over(&mut self) -> bool {
        (0..2).all(|end| {
            let stream = self.stream(end);
            let is_read = !stream.has_reader || stream.reading.is_done;
            let is_written = !stream.has_writer || stream.writing.is_done;
            let id = stream.id;
            is_read && is_written && id.is_none_or(|id| self.pair.end(end).poll_end(id).is_ready())
        })
    }

    /// Reads messages through another handle of the channel.
    fn drain(&mut self, end: usize) {
        let now = self.pair.now;
        let Some(id) = self.stream(end).id else { return };
        while let Poll::Ready(Some(Ok(message))) = self.pair.end(end).poll_recv(now, id) {
            self.stream(end).drained += message.as_bytes().len();
        }
    }

    fn check_end(&mut self) {
        let arrived = [0, 1].map(|end| {
            if self.model.has_half_close {
                return None;
            }
            self.drain(end);
            Some(self.model.end(end).read + self.stream(end).drained)
        });
        self.model.check_end(arrived);
    }
}
