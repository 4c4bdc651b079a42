//! The receiver as a whole, fed with chunks. Tests named after rows of the table of attacks prove those rows.

#![expect(clippy::cast_possible_truncation, reason = "numbers in tests are small, or meant to wrap")]

mod interleaving;
mod interleaving_limits;
mod model;
mod ordering;
mod reassembling;
mod resets;
mod sacks;
mod skipping;
mod windows;

use super::cost::{FRAGMENT_OVERHEAD, MESSAGE_OVERHEAD, UNREAD_OVERHEAD};
use super::*;
use crate::message::Ppid;
use crate::serial::{Fsn, Mid};
use crate::time::Duration;
use crate::wire::{DataChunk, IDataChunk};

const STREAMS: u16 = 16;

/// Packet headers around one payload: common header and DATA header.
const HEADERS: usize = 28;

fn config() -> AssociationConfig {
    AssociationConfig::default()
}

fn small_window(window: u32) -> AssociationConfig {
    AssociationConfig { receive_window: window, receive_message_size_max: window as usize, ..config() }
}

/// Returns a receiver whose first TSN is 1.
fn receiver() -> Receiver {
    Receiver::new(Tsn(1), &config(), STREAMS, false)
}

/// Returns a DATA chunk header; `flags` are of the letters B, E, U, I.
fn data(tsn: u32, stream: u16, ssn: u16, flags: &str) -> DataChunk {
    DataChunk {
        tsn: Tsn(tsn),
        stream: StreamId(stream),
        ssn: Ssn(ssn),
        ppid: Ppid(51),
        unordered: flags.contains('U'),
        beginning: flags.contains('B'),
        ending: flags.contains('E'),
        immediate: flags.contains('I'),
    }
}

/// Returns a receiver of I-DATA whose first TSN is 1.
fn interleaving() -> Receiver {
    interleaving_with(&config())
}

fn interleaving_with(config: &AssociationConfig) -> Receiver {
    Receiver::new(Tsn(1), config, STREAMS, true)
}

/// Returns an I-DATA chunk header; `flags` are of the letters B, E, U, I. The PPID is that of [`data`] if it begins its
/// message.
fn i_data(tsn: u32, stream: u16, mid: u32, fsn: u32, flags: &str) -> IDataChunk {
    let beginning = flags.contains('B');
    IDataChunk {
        tsn: Tsn(tsn),
        stream: StreamId(stream),
        mid: Mid(mid),
        ppid: Ppid(if beginning { 51 } else { 0 }),
        fsn: Fsn(fsn),
        unordered: flags.contains('U'),
        beginning,
        ending: flags.contains('E'),
        immediate: flags.contains('I'),
    }
}

/// Returns an entry of an I-FORWARD-TSN.
fn skipped(stream: u16, unordered: bool, mid: u32) -> SkippedMessage {
    SkippedMessage { stream: StreamId(stream), unordered, mid: Mid(mid) }
}

impl Receiver {
    /// Takes a chunk alone in its packet.
    fn take(&mut self, chunk: impl Into<FragmentHeader>, payload: &[u8]) -> Result<ArrivedChunk, Violation> {
        let result = self.on_data(chunk, Bytes::copy_from_slice(payload), payload.len() + HEADERS);
        if result.is_ok() {
            self.check_consistency();
        }
        result
    }

    /// Takes a chunk that must be new.
    #[track_caller]
    fn take_new(&mut self, chunk: impl Into<FragmentHeader> + Copy + std::fmt::Debug, payload: &[u8]) {
        assert_eq!(self.take(chunk, payload), Ok(ArrivedChunk::New), "{chunk:?}");
    }

    /// Returns everything that can be polled, as "stream:payload" and "reset". The application reads at once.
    fn read(&mut self) -> Vec<String> {
        let mut events = Vec::new();
        while let Some(event) = self.poll() {
            match event {
                ReceiverEvent::Message(message) => {
                    let bytes = message.payload.into_bytes();
                    events.push(format!("{}:{}", message.stream, String::from_utf8_lossy(&bytes)));
                    self.release(message.credit);
                }
                ReceiverEvent::Reset(Streams::All) => events.push("reset all".into()),
                ReceiverEvent::Reset(Streams::List(list)) => {
                    let numbers: Vec<u16> = list.iter().map(|stream| stream.0).collect();
                    events.push(format!("reset {numbers:?}"));
                }
            }
        }
        self.check_consistency();
        events
    }

    /// Returns the gap blocks as pairs.
    fn gaps(&self) -> Vec<(u16, u16)> {
        self.sack_parts(1200).2.map(|block| (block.start, block.end)).collect()
    }

    fn duplicates(&self) -> Vec<u32> {
        self.sack_parts(1200).3.map(|tsn| tsn.0).collect()
    }

    fn charged(&self) -> usize {
        self.held().total()
    }

    fn forward(&mut self, new_cumulative: u32, streams: &[(u16, u16)]) -> Forwarded {
        let forwarded =
            self.on_forward_tsn(Tsn(new_cumulative), streams.iter().map(|&(stream, ssn)| (StreamId(stream), Ssn(ssn))));
        self.check_consistency();
        forwarded
    }

    fn forward_messages(&mut self, new_cumulative: u32, messages: &[SkippedMessage]) -> Forwarded {
        let forwarded = self.on_i_forward_tsn(Tsn(new_cumulative), messages.iter().copied());
        self.check_consistency();
        forwarded
    }
}

fn at(milliseconds: u64) -> Instant {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *START.get_or_init(crate::testing::some_time) + Duration::from_millis(milliseconds)
}
