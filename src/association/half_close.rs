//! Half close of a byte stream: the frames that the ends exchange, and the state of one end. No I/O.
//!
//! A data channel closes both directions at once, so the end of one direction has to travel inside the channel
//! ([`BYTE_STREAM_PROTOCOL`](narrowboat_dcep::BYTE_STREAM_PROTOCOL)). Each frame is a message of its own:
//!
//! | message | meaning |
//! | --- | --- |
//! | binary | bytes of the stream |
//! | binary, empty | the sender has ended its direction (FIN) |
//! | text `stop N` | the sender reads no more; it has read N bytes |
//! | text `reset N` | as `stop N`, and it writes no more either, without having been asked to end its direction |
//!
//! An empty binary message has a PPID of its own (RFC 8831 §6.6), and a byte stream never contains one, because it has
//! no bytes. So data needs no header and no copy, and a page sends and recognizes the FIN without any parsing.
//!
//! A direction is over for both ends when its FIN was read, or when its reader has stopped. The channel is closed when
//! both directions are over.

use bytes::Bytes;
use narrowboat_dcep::Message;

use crate::error::ByteStreamError;

/// A message of the channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Frame {
    Data(Bytes),
    Fin,
    /// The peer has read this many bytes, and reads no more.
    Stop(u64),
    /// As `Stop`, and the peer writes no more.
    Reset(u64),
    /// A text that is neither.
    Unknown,
}

impl Frame {
    pub(crate) fn decode(message: Message) -> Self {
        match message {
            Message::Binary(bytes) if bytes.is_empty() => Self::Fin,
            Message::Binary(bytes) => Self::Data(bytes),
            Message::Text(text) => Self::decode_text(&text),
        }
    }

    pub(crate) fn decode_text(text: &str) -> Self {
        let count = |digits: &str| digits.parse().ok();
        match text.split_once(' ') {
            Some(("stop", digits)) => count(digits).map_or(Self::Unknown, Self::Stop),
            Some(("reset", digits)) => count(digits).map_or(Self::Unknown, Self::Reset),
            _ => Self::Unknown,
        }
    }

    /// Encodes the frame as a message.
    pub(crate) fn encode(&self) -> Message {
        match self {
            Self::Data(bytes) => Message::Binary(bytes.clone()),
            Self::Fin => Message::Binary(Bytes::new()),
            Self::Stop(count) => format!("stop {count}").into(),
            Self::Reset(count) => format!("reset {count}").into(),
            Self::Unknown => String::new().into(),
        }
    }
}

/// The direction in which this end reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum ReadState {
    #[default]
    Open,
    /// The FIN was read, and all before it.
    Finished,
    /// The reading half was dropped before that.
    Stopped,
    /// No more can be read, for this reason.
    Failed(ByteStreamError),
}

/// One end of a byte stream that can be half closed.
#[derive(Debug, Default)]
pub(crate) struct HalfClose {
    /// Reading and writing halves of the application.
    pub(crate) readers: usize,
    pub(crate) writers: usize,
    incoming: ReadState,
    is_fin_sent: bool,
    /// Bytes that the peer had read when it stopped reading.
    stopped_at: Option<u64>,
    /// Bytes taken from the channel, and accepted by it.
    received: u64,
    written: u64,
    /// Unread messages that were looked through for what concerns the writer.
    scanned: usize,
}

impl HalfClose {
    /// Returns how reading has ended, once it has: with the peer's FIN, or with an error.
    pub(crate) fn read_end(&self) -> Option<Result<(), ByteStreamError>> {
        match self.incoming {
            ReadState::Open => None,
            ReadState::Finished | ReadState::Stopped => Some(Ok(())),
            ReadState::Failed(error) => Some(Err(error)),
        }
    }

    /// Returns why nothing more can be written, if that is so.
    pub(crate) fn write_error(&self) -> Option<ByteStreamError> {
        match self.stopped_at {
            Some(_) => Some(ByteStreamError::Stopped),
            None => self.is_fin_sent.then_some(ByteStreamError::ShutDown),
        }
    }

    /// Returns true if the peer has stopped reading before it had read all that was written.
    pub(crate) fn has_lost_bytes(&self) -> bool {
        self.stopped_at.is_some_and(|read| read < self.written)
    }

    /// Returns true if the peer reads no more.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped_at.is_some()
    }

    pub(crate) fn is_fin_sent(&self) -> bool {
        self.is_fin_sent
    }

    /// Returns true if nothing more is read here.
    pub(crate) fn is_incoming_over(&self) -> bool {
        self.incoming != ReadState::Open
    }

    /// Returns true if no byte travels in either direction any more: the channel is of no more use.
    pub(crate) fn is_over(&self) -> bool {
        self.is_incoming_over() && (self.is_fin_sent || self.stopped_at.is_some())
    }

    /// Returns true if what arrives is to be discarded: nobody reads it as bytes, nor as messages.
    pub(crate) fn discards(&self) -> bool {
        self.is_incoming_over() && self.readers + self.writers > 0
    }

    /// Takes a frame in, and returns the bytes for the reader.
    pub(crate) fn on_frame(&mut self, frame: Frame) -> Option<Bytes> {
        self.on_popped();
        self.on_control(&frame);
        match (frame, self.incoming) {
            (Frame::Data(bytes), ReadState::Open) => {
                self.received += bytes.len() as u64;
                return Some(bytes);
            }
            (Frame::Fin, ReadState::Open) => self.incoming = ReadState::Finished,
            (Frame::Reset(_), ReadState::Open) => {
                let lost = ReadState::Failed(ByteStreamError::Reset);
                self.incoming = if self.has_lost_bytes() { lost } else { ReadState::Finished };
            }
            (Frame::Unknown, ReadState::Open) => self.incoming = ReadState::Failed(ByteStreamError::Text),
            // After its end a direction has no bytes, and a reader that was dropped wants none.
            _ => {}
        }
        None
    }

    /// Takes in what a frame says to the writer.
    fn on_control(&mut self, frame: &Frame) {
        if let Frame::Stop(read) | Frame::Reset(read) = frame {
            // The first one counts: the peer cannot have read more since.
            self.stopped_at.get_or_insert(*read);
        }
    }

    /// Returns the number of unread messages that were scanned already.
    pub(crate) fn scanned(&self) -> usize {
        self.scanned
    }

    /// Scans one more unread message. The writer learns from it that the peer has stopped, even if the reader has left
    /// earlier messages unread.
    pub(crate) fn on_scanned(&mut self, text: Option<&str>) {
        self.scanned += 1;
        if let Some(text) = text {
            self.on_control(&Frame::decode_text(text));
        }
    }

    /// Notes that the first unread message was taken from the channel.
    pub(crate) fn on_popped(&mut self) {
        self.scanned = self.scanned.saturating_sub(1);
    }

    pub(crate) fn on_written(&mut self, len: usize) {
        self.written += len as u64;
    }

    pub(crate) fn on_fin_sent(&mut self) {
        self.is_fin_sent = true;
    }

    /// Handles the drop of the last reading half. `unread` bytes were taken from the channel and not read; `frames` are
    /// what is left in the channel. Returns what the peer must be told, if anything: it is nothing if all up to the
    /// peer's FIN was read.
    pub(crate) fn on_reader_dropped(&mut self, unread: usize, frames: impl Iterator<Item = Frame>) -> Option<Frame> {
        if self.incoming != ReadState::Open {
            return None;
        }
        self.received = self.received.saturating_sub(unread as u64);
        self.incoming = ReadState::Stopped;
        let (mut is_finished, mut has_unread) = (false, unread > 0);
        for frame in frames {
            is_finished |= matches!(frame, Frame::Fin | Frame::Reset(_));
            has_unread |= matches!(frame, Frame::Data(_));
            self.on_frame(frame);
        }
        if is_finished && !has_unread {
            self.incoming = ReadState::Finished;
            return None;
        }
        Some(Frame::Stop(self.received))
    }

    /// Handles the drop of the last writing half. Returns what the peer must be told, if anything. As with TCP,
    /// dropping the writer ends its direction; but an end that was dropped as a whole before it had read all has not
    /// ended in good order.
    pub(crate) fn on_writer_dropped(&mut self) -> Option<Frame> {
        if self.is_fin_sent || self.stopped_at.is_some() {
            return None;
        }
        self.is_fin_sent = true;
        Some(if self.incoming == ReadState::Stopped { Frame::Reset(self.received) } else { Frame::Fin })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(len: usize) -> Frame {
        Frame::Data(Bytes::from(vec![1; len]))
    }

    #[test]
    fn a_frame_is_read_as_it_was_written_and_any_other_text_is_none() {
        for frame in [data(1), Frame::Fin, Frame::Stop(0), Frame::Stop(u64::MAX), Frame::Reset(7)] {
            assert_eq!(Frame::decode(frame.encode()), frame);
        }
        for text in
            ["", "stop", "stop ", "stop x", "stop -1", "stop 1 2", "reset 18446744073709551616", "STOP 1", " stop 1"]
        {
            assert_eq!(Frame::decode_text(text), Frame::Unknown, "{text:?}");
        }
    }

    /// Each order of the events that end a direction, and when the channel is of no more use.
    #[test]
    fn a_stream_is_over_when_both_directions_are() {
        type Step = fn(&mut HalfClose);
        let ends_incoming: [(&str, Step); 4] = [
            ("FIN read", |half| drop(half.on_frame(Frame::Fin))),
            ("peer resets", |half| drop(half.on_frame(Frame::Reset(0)))),
            ("nonsense", |half| drop(half.on_frame(Frame::Unknown))),
            ("reader dropped", |half| drop(half.on_reader_dropped(0, std::iter::empty()))),
        ];
        let ends_outgoing: [(&str, Step); 4] = [
            ("FIN sent", HalfClose::on_fin_sent),
            ("writer dropped", |half| drop(half.on_writer_dropped())),
            ("peer stops", |half| drop(half.on_frame(Frame::Stop(0)))),
            ("peer's stop seen", |half| half.on_scanned(Some("stop 0"))),
        ];
        for (first, incoming) in ends_incoming {
            for (second, outgoing) in ends_outgoing {
                for is_incoming_first in [true, false] {
                    let mut half = HalfClose::default();
                    let (one, other) = if is_incoming_first { (incoming, outgoing) } else { (outgoing, incoming) };
                    assert!(!half.is_over());
                    one(&mut half);
                    assert_eq!(half.is_over(), is_incoming_first && first == "peer resets", "{first}, {second}");
                    other(&mut half);
                    assert!(half.is_over(), "{first}, {second}");
                    half.on_frame(data(5));
                    half.on_frame(Frame::Fin);
                    assert!(half.is_over() && half.read_end().is_some(), "{first}, {second}");
                }
            }
        }
    }

    #[test]
    fn j18_a_reset_is_an_error_only_if_something_was_not_read() {
        for (read, written, expected) in
            [(10, 10, Ok(())), (9, 10, Err(ByteStreamError::Reset)), (11, 10, Ok(())), (0, 0, Ok(()))]
        {
            let mut half = HalfClose::default();
            half.on_written(written);
            half.on_frame(data(3));
            half.on_frame(Frame::Stop(read));
            assert_eq!(half.read_end(), None, "the peer may still write");
            half.on_frame(Frame::Reset(read));
            assert_eq!(half.read_end(), Some(expected), "{read} of {written}");
            assert_eq!(half.has_lost_bytes(), expected.is_err());
            assert_eq!(half.write_error(), Some(ByteStreamError::Stopped));
        }
    }

    /// A dropped reader, what it leaves unread, and the frame that the peer gets.
    #[test]
    fn a_dropped_reader_tells_the_peer_what_it_has_read() {
        let cases: [(usize, Vec<Frame>, Option<Frame>, Frame); 6] = [
            (0, vec![], Some(Frame::Stop(100)), Frame::Reset(100)),
            (30, vec![], Some(Frame::Stop(70)), Frame::Reset(70)),
            (0, vec![data(50)], Some(Frame::Stop(100)), Frame::Reset(100)),
            (0, vec![data(50), Frame::Fin], Some(Frame::Stop(100)), Frame::Reset(100)),
            // All was read, but for the end, which was not asked for.
            (0, vec![Frame::Fin], None, Frame::Fin),
            (30, vec![Frame::Fin], Some(Frame::Stop(70)), Frame::Reset(70)),
        ];
        for (unread, left, of_reader, of_writer) in cases {
            let mut half = HalfClose::default();
            assert!(half.on_frame(data(100)).is_some());
            assert_eq!(half.on_reader_dropped(unread, left.clone().into_iter()), of_reader, "{left:?}");
            assert_eq!(half.on_writer_dropped(), Some(of_writer), "{left:?}");
            assert_eq!(half.on_writer_dropped(), None, "told once");
        }
        let mut half = HalfClose::default();
        half.on_frame(Frame::Fin);
        assert_eq!(half.on_reader_dropped(0, std::iter::empty()), None);
        assert_eq!(half.on_writer_dropped(), Some(Frame::Fin));
    }

    #[test]
    fn each_unread_message_is_scanned_once() {
        let mut half = HalfClose::default();
        for text in [None, Some("stop 4"), None] {
            half.on_scanned(text);
        }
        assert_eq!((half.scanned(), half.write_error()), (3, Some(ByteStreamError::Stopped)));
        half.on_frame(data(1));
        half.on_frame(Frame::Stop(4));
        assert_eq!(half.scanned(), 1);
        half.on_frame(data(1));
        half.on_frame(data(1));
        assert_eq!(half.scanned(), 0, "what comes later was not scanned");
    }
}
