//! Byte streams with half close on some of the channels (I44). The state machine is the product's; this drives it on
//! the messages of a channel, as `src/association/byte_stream.rs` does.

#[path = "../../src/association/half_close.rs"]
#[expect(dead_code, reason = "what belongs to handles and wakers is not used here")]
mod half_close;

use bytes::Bytes;
use narrowboat_dcep::{ChannelOptions, Message};

use half_close::{Frame, HalfClose};

/// One end of a byte stream.
#[derive(Debug)]
pub(crate) struct StreamEnd {
    half_close: HalfClose,
    has_reader: bool,
    has_writer: bool,
    has_fin: bool,
}

/// A message that ends a direction, and whether it is text.
pub(crate) struct Control {
    pub(crate) payload: Bytes,
    pub(crate) is_text: bool,
}

impl StreamEnd {
    /// The end of a stream, if the channel carries one.
    pub(crate) fn of(options: &ChannelOptions) -> Option<Self> {
        let is_stream = options.protocol == narrowboat::ByteStream::PROTOCOL;
        is_stream.then(|| Self { half_close: HalfClose::default(), has_reader: true, has_writer: true, has_fin: false })
    }

    /// True if bytes may be written.
    pub(crate) fn can_write(&self) -> bool {
        self.has_writer && self.half_close.write_error().is_none()
    }

    pub(crate) fn on_written(&mut self, len: usize) {
        self.half_close.on_written(len);
    }

    /// A message was read.
    pub(crate) fn on_message(&mut self, payload: &[u8], is_text: bool) {
        let frame = Self::frame(payload, is_text);
        if frame == Frame::Fin {
            assert!(!std::mem::replace(&mut self.has_fin, true), "I44: a second FIN");
        }
        assert!(frame != Frame::Unknown, "I44: a text that nobody sends");
        let (is_data, was_over) = (matches!(frame, Frame::Data(_)), self.half_close.is_incoming_over());
        let bytes = self.half_close.on_frame(frame);
        assert_eq!(bytes.is_some(), is_data && !was_over, "I44: bytes after the end, or none before it");
    }

    fn frame(payload: &[u8], is_text: bool) -> Frame {
        match is_text {
            true => Frame::decode_text(std::str::from_utf8(payload).expect("text is UTF-8")),
            false => Frame::decode(Message::Binary(Bytes::copy_from_slice(payload))),
        }
    }

    /// The application shuts down, or drops its writing half.
    pub(crate) fn end_writing(&mut self, is_shutdown: bool) -> Option<Control> {
        if !std::mem::replace(&mut self.has_writer, false) {
            return None;
        }
        if is_shutdown && self.half_close.write_error().is_none() {
            self.half_close.on_fin_sent();
            return Some(Self::control(&Frame::Fin));
        }
        self.half_close.on_writer_dropped().as_ref().map(Self::control)
    }

    /// The application drops its reading half, and all has been taken from the channel that has arrived.
    pub(crate) fn end_reading(&mut self) -> Option<Control> {
        if !std::mem::replace(&mut self.has_reader, false) {
            return None;
        }
        self.half_close.on_reader_dropped(0, std::iter::empty()).as_ref().map(Self::control)
    }

    fn control(frame: &Frame) -> Control {
        match frame.encode() {
            Message::Binary(payload) => Control { payload, is_text: false },
            Message::Text(text) => Control { payload: text.into_bytes(), is_text: true },
        }
    }

    /// True if the channel is of no more use.
    pub(crate) fn is_over(&self) -> bool {
        self.half_close.is_over()
    }

    /// True if reading has ended, with or without an error.
    pub(crate) fn has_ended(&self) -> bool {
        self.half_close.is_incoming_over()
    }
}
