//! Streams that are to be used and do not exist yet, and the request for them.

use std::collections::BTreeMap;

use bytes::Bytes;
use narrowboat_sctp::time::Instant;
use narrowboat_sctp::{StreamId, StreamRequest};

use crate::event::ChannelId;
use crate::message::Message;

/// A stream that is awaited, and the messages that wait for it.
#[derive(Debug, Default)]
pub(super) struct AwaitedStream {
    /// The channel of the stream. `None` if only the peer has used the stream, and waits for its reset.
    pub(super) channel: Option<ChannelId>,
    /// DATA_CHANNEL_OPEN or DATA_CHANNEL_ACK.
    pub(super) control: Option<Bytes>,
    /// Messages that were sent beyond the limits, and when. They follow `control`.
    messages: Vec<(Instant, Message)>,
    bytes: usize,
}

impl AwaitedStream {
    pub(super) fn new(channel: Option<ChannelId>, control: Option<Bytes>) -> Self {
        Self { channel, control, ..Self::default() }
    }

    pub(super) fn push(&mut self, now: Instant, message: Message) {
        self.bytes += message.len();
        self.messages.push((now, message));
    }

    pub(super) fn take_messages(&mut self) -> Vec<(Instant, Message)> {
        self.bytes = 0;
        std::mem::take(&mut self.messages)
    }

    pub(super) fn has_messages(&self) -> bool {
        !self.messages.is_empty()
    }

    /// Returns the bytes of the messages.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// A request that the peer has not answered yet.
#[derive(Clone, Copy, Debug)]
struct Asked {
    request: StreamRequest,
    /// Number of streams in the direction of the request once it is granted.
    streams: u16,
}

/// The streams that are awaited. One request is under way at a time; it names as many streams as all of them need.
#[derive(Debug, Default)]
pub(super) struct AwaitedStreams {
    streams: BTreeMap<StreamId, AwaitedStream>,
    asked: Option<Asked>,
    /// Time at which to ask a peer again that was busy.
    retry_at: Option<Instant>,
    /// True if the peer has refused streams for all of the channels. It is then asked for the lowest stream alone.
    asks_for_lowest: bool,
}

impl AwaitedStreams {
    pub(super) fn insert(&mut self, stream: StreamId, awaited: AwaitedStream) {
        self.streams.insert(stream, awaited);
    }

    pub(super) fn contains(&self, stream: StreamId) -> bool {
        self.streams.contains_key(&stream)
    }

    pub(super) fn entry(&self, stream: StreamId) -> Option<&AwaitedStream> {
        self.streams.get(&stream)
    }

    pub(super) fn entry_mut(&mut self, stream: StreamId) -> Option<&mut AwaitedStream> {
        self.streams.get_mut(&stream)
    }

    /// Removes the messages that wait for a stream. Returns their bytes.
    pub(super) fn discard_messages(&mut self, stream: StreamId) -> usize {
        self.streams.get_mut(&stream).map_or(0, |awaited| {
            let bytes = awaited.bytes();
            awaited.take_messages();
            bytes
        })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (StreamId, &AwaitedStream)> {
        self.streams.iter().map(|(stream, awaited)| (*stream, awaited))
    }

    /// Records that a channel does not wait any more.
    pub(super) fn remove(&mut self, stream: StreamId) -> Option<AwaitedStream> {
        let awaited = self.streams.remove(&stream)?;
        self.asks_for_lowest &= !self.streams.is_empty();
        Some(awaited)
    }

    /// Removes the lowest stream if it is one of the first `streams`.
    pub(super) fn pop_below(&mut self, streams: u16) -> Option<(StreamId, AwaitedStream)> {
        let (stream, _) = self.streams.first_key_value().filter(|(stream, _)| stream.is_below(streams))?;
        let stream = *stream;
        self.remove(stream).map(|awaited| (stream, awaited))
    }

    /// Returns the number of streams to ask for now, those that exist included. `None` if no channel waits, or an
    /// answer is awaited, or it is not time yet.
    pub(super) fn streams_to_ask_for(&self) -> Option<u16> {
        if self.asked.is_some() || self.retry_at.is_some() {
            return None;
        }
        let streams = if self.asks_for_lowest { self.streams.first_key_value() } else { self.streams.last_key_value() };
        streams.map(|(stream, _)| stream.0.saturating_add(1))
    }

    /// Records a request that was sent, after which there are `streams` streams in its direction.
    pub(super) fn on_asked(&mut self, request: StreamRequest, streams: u16) {
        self.asked = Some(Asked { request, streams });
    }

    /// Handles streams that were added in either direction, so that there are that many now. An end may also add
    /// streams that nobody has asked for, so the request is answered only if there are as many as it asks for.
    pub(super) fn on_added(&mut self, outbound: u16, inbound: u16) {
        self.asked.take_if(|asked| match asked.request {
            StreamRequest::AddOutgoing => outbound >= asked.streams,
            _ => inbound >= asked.streams,
        });
    }

    /// Handles the refusal of a request. Returns true if it is the one that channels wait for.
    pub(super) fn on_refused(&mut self, request: StreamRequest) -> bool {
        self.asked.take_if(|asked| asked.request == request).is_some()
    }

    /// Stops waiting for the answer to the request: the peer has had its time. It may also have granted streams that it
    /// has not added since.
    pub(super) fn forget_request(&mut self) {
        self.asked = None;
    }

    /// Asks for the lowest stream alone from now on. Returns false if that has just been refused.
    pub(super) fn ask_for_lowest(&mut self) -> bool {
        let was_several = !self.asks_for_lowest && self.streams.len() > 1;
        self.asks_for_lowest |= was_several;
        was_several
    }

    /// Sets the time at which to ask again.
    pub(super) fn retry_at(&mut self, at: Instant) {
        self.retry_at = (!self.streams.is_empty()).then_some(at);
    }

    /// Returns the time at which to ask again.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Returns true, once, if it is time to ask again.
    pub(super) fn take_retry(&mut self, now: Instant) -> bool {
        self.retry_at.take_if(|at| *at <= now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn awaited(streams: &[u16]) -> AwaitedStreams {
        let mut awaited = AwaitedStreams::default();
        for stream in streams {
            let channel = ChannelId(u64::from(*stream));
            awaited.insert(StreamId(*stream), AwaitedStream::new(Some(channel), None));
        }
        awaited
    }

    #[test]
    fn one_request_is_for_all_that_wait_and_after_a_refusal_for_the_lowest() {
        let mut awaited = awaited(&[4, 8]);
        assert_eq!(awaited.streams_to_ask_for(), Some(9));
        awaited.on_asked(StreamRequest::AddOutgoing, 9);
        assert_eq!(awaited.streams_to_ask_for(), None, "one at a time");
        assert!(!awaited.on_refused(StreamRequest::AddIncoming), "nobody has asked for that");
        assert!(awaited.on_refused(StreamRequest::AddOutgoing) && awaited.ask_for_lowest());
        assert_eq!(awaited.streams_to_ask_for(), Some(5));
        awaited.on_asked(StreamRequest::AddOutgoing, 5);
        awaited.on_added(4, 9);
        assert_eq!(awaited.streams_to_ask_for(), None, "not all of them, and in the other direction");
        awaited.on_added(5, 5);
        assert_eq!(awaited.pop_below(5).map(|(stream, _)| stream), Some(StreamId(4)));
        assert!(awaited.pop_below(5).is_none());
        assert_eq!(awaited.streams_to_ask_for(), Some(9));
        assert!(!awaited.ask_for_lowest(), "the lowest was refused");
        assert!(awaited.remove(StreamId(8)).is_some());
        awaited.insert(StreamId(9), AwaitedStream::default());
        awaited.insert(StreamId(11), AwaitedStream::default());
        assert_eq!(awaited.streams_to_ask_for(), Some(12), "forgotten when nobody waits");
    }

    #[test]
    fn a_peer_that_has_granted_streams_and_added_none_is_asked_again_after_its_time() {
        let mut awaited = awaited(&[4]);
        awaited.on_asked(StreamRequest::AddIncoming, 5);
        assert_eq!(awaited.streams_to_ask_for(), None);
        awaited.forget_request();
        assert_eq!(awaited.streams_to_ask_for(), Some(5));
    }
}
