//! The receiver as a whole, fed with chunks. Tests named after rows of the table of attacks prove those rows.

#![expect(clippy::cast_possible_truncation, reason = "numbers in tests are small, or meant to wrap")]

mod model;
mod ordering;
mod reassembling;
mod resets;
mod sacks;
mod skipping;
mod windows;

use super::window::{FRAGMENT_OVERHEAD, MESSAGE_OVERHEAD};
use super::*;
use crate::message::Ppid;
use crate::time::Duration;

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
    Receiver::new(Tsn(1), &config(), STREAMS)
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

impl Receiver {
    /// Takes a chunk alone in its packet.
    fn take(&mut self, chunk: DataChunk, payload: &[u8]) -> Result<ArrivedChunk, Violation> {
        let result = self.on_data(chunk, Bytes::copy_from_slice(payload), payload.len() + HEADERS);
        if result.is_ok() {
            self.check_consistency();
        }
        result
    }

    /// Takes a chunk that must be new.
    #[track_caller]
    fn take_new(&mut self, chunk: DataChunk, payload: &[u8]) {
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
}

fn at(milliseconds: u64) -> Instant {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *START.get_or_init(crate::testing::some_time) + Duration::from_millis(milliseconds)
}
