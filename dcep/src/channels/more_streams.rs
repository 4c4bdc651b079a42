//! Channels beyond the streams that the handshake has left: the peer is asked for more (RFC 6525 §5.1.5, §5.1.6).
//!
//! The peer may use a stream before this end can: an end that has granted streams does not know if its answer has
//! arrived. What has to be sent on such a stream waits, too.

use bytes::Bytes;
use narrowboat_sctp::time::Duration;
use narrowboat_sctp::{CloseReason, ResetResult, SendOptions, StreamId, StreamRequest};

use super::ChannelsPhase;
use super::awaited_streams::AwaitedStream;
use super::context::ChannelsContext;
use crate::channel::{Channel, Origin};
use crate::error::ChannelError;
use crate::event::ChannelId;
use crate::ready_state::ReadyState;

/// Time that a channel waits for its stream. A peer that answers needs a round trip or two; one that never does is
/// asked again by the association for as long as that lasts.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Time until a peer that has another request under way is asked again.
const BUSY_WAIT: Duration = Duration::from_millis(200);

impl ChannelsContext<'_> {
    /// Returns true if the peer can be asked for this stream.
    pub(super) fn can_ask_for(&self, stream: StreamId) -> bool {
        if self.state.phase != ChannelsPhase::Up || stream == StreamId::MAX {
            return false;
        }
        let (outgoing, incoming) = self.missing(stream.0.saturating_add(1));
        self.association.check_add_streams(outgoing, incoming).is_ok()
    }

    /// Lets a channel wait for its stream, and asks for it. The DCEP message waits, too.
    pub(super) fn await_stream(&mut self, id: ChannelId, control: Option<Bytes>) {
        let Some(stream) = self.state.channels.channel(id).map(|channel| channel.stream) else { return };
        self.state.streams.awaited.insert(stream, AwaitedStream::new(Some(id), control));
        self.state.streams.set_deadline(stream, self.now + WAIT_MAX);
        self.ask_for_streams();
    }

    /// Lets the reset of a stream wait that this end cannot send on yet. Returns false if the stream exists, or if the
    /// peer cannot be asked for it.
    pub(super) fn defer_reset(&mut self, stream: StreamId) -> bool {
        if self.state.streams.awaited.contains(stream) {
            return true;
        }
        if stream.is_below(self.association.outbound_streams()) {
            return false;
        }
        let can_ask = self.can_ask_for(stream);
        if can_ask {
            let channel = self.state.streams.owner_of(stream);
            self.state.streams.awaited.insert(stream, AwaitedStream::new(channel, None));
            self.ask_for_streams();
        }
        can_ask
    }

    /// Handles streams that were added. Channels that have waited for them open.
    pub(super) fn on_streams_added(&mut self) {
        let (outbound, inbound) = (self.association.outbound_streams(), self.association.inbound_streams());
        self.state.streams.awaited.on_added(outbound, inbound);
        let mut has_opened = false;
        while let Some((stream, awaited)) = self.state.streams.awaited.pop_below(outbound.min(inbound)) {
            self.state.streams.clear_deadline(stream);
            match awaited.channel {
                Some(id) => self.open_awaited(id, stream, awaited),
                None => self.start_reset(stream),
            }
            has_opened = true;
        }
        self.ask_for_streams();
        if has_opened {
            // Applications that were told that there is no room may send now.
            self.on_writable();
        }
    }

    /// Handles a refusal of the peer.
    pub(super) fn on_request_refused(&mut self, request: StreamRequest, result: ResetResult) {
        if !self.state.streams.awaited.on_refused(request) {
            return;
        }
        if result == ResetResult::ErrorInProgress {
            return self.state.streams.awaited.retry_at(self.now + BUSY_WAIT);
        }
        // A peer that does not grant all of them may grant some.
        if self.state.streams.awaited.ask_for_lowest() {
            return self.ask_for_streams();
        }
        let streams: Vec<StreamId> = self.state.streams.awaited.iter().map(|(stream, _)| stream).collect();
        streams.into_iter().for_each(|stream| self.give_up_stream(stream));
    }

    /// Asks a peer again that was busy, if it is time.
    pub(super) fn retry_request(&mut self) {
        if self.state.streams.awaited.take_retry(self.now) {
            self.ask_for_streams();
        }
    }

    /// Ends a channel whose stream has not come to exist in time. The next channel asks the peer again.
    pub(super) fn on_stream_overdue(&mut self, stream: StreamId) {
        self.state.streams.awaited.forget_request();
        self.give_up_stream(stream);
        self.ask_for_streams();
    }

    /// Ends a channel whose stream does not come to exist.
    fn give_up_stream(&mut self, stream: StreamId) {
        let streams = self.stream_limit();
        tracing::debug!(stream_id = %stream, streams, "stream not granted");
        self.end_awaiting(stream, Some(ChannelError::NoSuchStream { stream: stream.0, streams }));
    }

    /// Ends the wait for a stream, and the channel that has waited.
    pub(super) fn end_awaiting(&mut self, stream: StreamId, error: Option<ChannelError>) {
        let Some(channel) = self.state.streams.awaited.entry(stream).map(|awaited| awaited.channel) else { return };
        let is_unheard = channel.is_some_and(|id| self.is_unheard(id));
        if let Some(id) = channel {
            self.discard_unsent(id);
        }
        self.state.streams.awaited.remove(stream);
        self.release_unused_stream(stream);
        if !is_unheard {
            // No reset can tell the peer.
            self.association.report_invalid_stream(stream);
        }
        if let Some(id) = channel {
            self.finish(id, error);
        }
    }

    /// Returns true if the channel waits for its stream, and the peer cannot know of it.
    pub(super) fn is_unheard(&self, id: ChannelId) -> bool {
        let is_unheard = |channel: &Channel| {
            let is_ours = channel.origin == Origin::Local || channel.may_be_alone();
            is_ours && self.state.streams.awaited.contains(channel.stream)
        };
        self.state.channels.channel(id).is_some_and(is_unheard)
    }

    /// Asks for streams that are awaited, unless the peer was asked already: first to send on more, then that the peer
    /// does. So each request is for what is missing at that time, as the peer may add streams, too.
    fn ask_for_streams(&mut self) {
        let Some(streams) = self.state.streams.awaited.streams_to_ask_for() else { return };
        let (request, counts) = match self.missing(streams) {
            (0, incoming) => (StreamRequest::AddIncoming, (0, incoming)),
            (outgoing, _) => (StreamRequest::AddOutgoing, (outgoing, 0)),
        };
        match self.association.add_streams(counts.0, counts.1) {
            Ok(()) => {
                tracing::debug!(?request, streams, "streams requested for channels");
                self.state.streams.awaited.on_asked(request, streams);
            }
            // An earlier request has no answer yet, or the association is shutting down.
            Err(error) => {
                tracing::debug!(%error, "streams not requested");
                self.state.streams.awaited.retry_at(self.now + BUSY_WAIT);
            }
        }
    }

    /// Returns the numbers of outgoing and incoming streams that are missing to have this many.
    fn missing(&self, streams: u16) -> (u16, u16) {
        let missing = |present: u16| streams.saturating_sub(present);
        (missing(self.association.outbound_streams()), missing(self.association.inbound_streams()))
    }

    /// Opens a channel whose stream has come to exist: sends its DCEP message, and what waits behind it. Closes one
    /// that is closing.
    fn open_awaited(&mut self, id: ChannelId, stream: StreamId, mut awaited: AwaitedStream) {
        let Some(channel) = self.state.channels.channel(id) else { return };
        let is_closing = channel.state() == ReadyState::Closing;
        if is_closing && !channel.is_closed_locally() {
            return self.start_reset(stream);
        }
        self.association.set_stream_priority(stream, channel.options.weight());
        self.association.set_send_policy(stream, channel.options.send_policy);
        self.association.set_buffered_amount_low_threshold(stream, channel.sending.low_threshold());
        let messages = awaited.take_messages();
        if let Some(control) = awaited.control
            && self.send_control(id, control, SendOptions::default()).is_err()
        {
            // The association is shutting down, and Closed follows.
            return self.discard_awaited(id, &messages, || ChannelError::Association(CloseReason::Shutdown));
        }
        if !messages.is_empty() {
            // They exceed the limits of the buffer, for which DATA_CHANNEL_OPEN may have to wait.
            self.force_control(id);
        }
        self.send_awaited(id, messages);
        self.announce(id);
        if is_closing {
            self.start_reset_if_possible(id);
            self.watch(stream);
        }
    }
}
