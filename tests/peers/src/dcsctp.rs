//! `dcsctp`: Google's port of the stack in Chromium.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use ::dcsctp::api::{
    DcSctpSocket, Message as SocketMessage, Options, PpId, SendError, SendOptions as SocketSendOptions, SocketEvent,
    SocketTime, StreamId as SocketStreamId, ZERO_CHECKSUM_ALTERNATE_ERROR_DETECTION_METHOD_LOWER_LAYER_DTLS,
};
use bytes::Bytes;

use crate::peer::{
    Event, Message, OfferedExtensions, Payload, Peer, Refusal, Reliability, SendOptions, Settings, StreamId,
};

const PPID_BINARY: PpId = PpId(53);

/// One end made of a `dcsctp` socket.
pub struct Dcsctp {
    socket: Box<dyn DcSctpSocket>,
    /// The zero of the socket's clock.
    epoch: Instant,
    events: VecDeque<Event>,
    datagrams: VecDeque<Vec<u8>>,
}

impl Dcsctp {
    /// A closed socket.
    #[must_use]
    pub fn new(now: Instant, settings: &Settings) -> Self {
        Self::with_options(now, &Self::options(settings))
    }

    /// A closed socket whose packets travel over DTLS, or over something that a test takes for it.
    #[must_use]
    pub fn over_dtls(now: Instant, settings: &Settings, zero_checksum: bool) -> Self {
        let mut options = Self::options(settings);
        if zero_checksum {
            options.zero_checksum_alternate_error_detection_method =
                ZERO_CHECKSUM_ALTERNATE_ERROR_DETECTION_METHOD_LOWER_LAYER_DTLS;
        }
        Self::with_options(now, &options)
    }

    fn options(settings: &Settings) -> Options {
        Options {
            mtu: settings.mtu,
            max_message_size: settings.message_size_max,
            max_receiver_window_buffer_size: settings.receive_window as usize,
            max_send_buffer_size: settings.send_buffer,
            per_stream_send_queue_limit: settings.send_buffer,
            ..Options::default()
        }
    }

    /// A closed socket that offers these extensions. It takes its packets for DTLS records if it is to offer packets
    /// without a checksum.
    #[must_use]
    pub fn with_extensions(now: Instant, settings: &Settings, offered: OfferedExtensions) -> Self {
        let mut options = Options {
            enable_message_interleaving: offered.message_interleaving && offered.partial_reliability,
            enable_partial_reliability: offered.partial_reliability,
            ..Self::options(settings)
        };
        if offered.zero_checksum {
            options.zero_checksum_alternate_error_detection_method =
                ZERO_CHECKSUM_ALTERNATE_ERROR_DETECTION_METHOD_LOWER_LAYER_DTLS;
        }
        Self::with_options(now, &options)
    }

    /// A closed socket with options of its own.
    #[must_use]
    pub fn with_options(now: Instant, options: &Options) -> Self {
        let socket = ::dcsctp::new_socket("dcsctp", options);
        Self { socket, epoch: now, events: VecDeque::new(), datagrams: VecDeque::new() }
    }

    /// The socket itself.
    pub fn socket(&mut self) -> &mut dyn DcSctpSocket {
        self.socket.as_mut()
    }

    fn advance(&mut self, now: Instant) {
        self.socket.advance_time(SocketTime::zero() + now.duration_since(self.epoch));
    }

    /// The socket has one queue for datagrams and news; here they part.
    fn drain(&mut self) {
        while let Some(event) = self.socket.poll_event() {
            match event {
                SocketEvent::SendPacket(datagram) => self.datagrams.push_back(datagram),
                SocketEvent::OnConnected() => self.events.push_back(Event::Connected),
                SocketEvent::OnClosed() => {
                    self.events.push_back(Event::Closed { graceful: true, reason: "closed".into() });
                }
                SocketEvent::OnAborted(kind, text) => {
                    self.events.push_back(Event::Closed { graceful: false, reason: format!("{kind:?}: {text}") });
                }
                SocketEvent::OnIncomingStreamReset(streams) => {
                    self.events.extend(streams.into_iter().map(|stream| Event::IncomingStreamsReset(stream.0)));
                }
                SocketEvent::OnStreamsResetPerformed(streams) => {
                    let reset = |stream: SocketStreamId| Event::OutgoingReset { stream: stream.0, error: None };
                    self.events.extend(streams.into_iter().map(reset));
                }
                SocketEvent::OnStreamsResetFailed(streams) => {
                    let failed = |stream: SocketStreamId| Event::OutgoingReset {
                        stream: stream.0,
                        error: Some("the socket says that it failed".into()),
                    };
                    self.events.extend(streams.into_iter().map(failed));
                }
                _ => {}
            }
        }
    }
}

impl Peer for Dcsctp {
    fn connect(&mut self, now: Instant) {
        self.advance(now);
        self.socket.connect();
    }

    fn send(&mut self, now: Instant, stream: StreamId, payload: &Bytes, options: SendOptions) -> Result<(), Refusal> {
        self.advance(now);
        let (lifetime, max_retransmissions) = match options.reliability {
            Reliability::Reliable => (None, None),
            Reliability::MaxRetransmits(times) => (None, Some(times)),
            Reliability::MaxLifetime(lifetime) => (Some(lifetime), None),
        };
        let options =
            SocketSendOptions { unordered: options.unordered, lifetime, max_retransmissions, ..Default::default() };
        let message = SocketMessage::new(SocketStreamId(stream), PPID_BINARY, payload.to_vec());
        self.socket.send(message, &options).map_err(|error| match error {
            SendError::ResourceExhaustion => Refusal::Full,
            other => Refusal::failed(other),
        })
    }

    fn reset(&mut self, now: Instant, stream: StreamId) -> Result<(), Refusal> {
        self.advance(now);
        self.socket.reset_streams(&[SocketStreamId(stream)]).map_err(Refusal::failed)
    }

    fn shutdown(&mut self, now: Instant) {
        self.advance(now);
        self.socket.shutdown();
    }

    fn abort(&mut self, now: Instant) {
        self.advance(now);
        self.socket.close();
    }

    fn handle_datagram(&mut self, now: Instant, datagram: Bytes) {
        self.advance(now);
        self.socket.handle_input(&datagram);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
    }

    fn poll_event(&mut self, _now: Instant) -> Option<Event> {
        // Messages first: a reset is reported once everything before it has been reassembled, and the socket keeps the
        // messages apart from its news.
        if let Some(message) = self.socket.get_next_message() {
            let stream = message.stream_id.0;
            return Some(Event::Message(Message { stream, payload: Payload::Whole(message.payload) }));
        }
        if self.events.is_empty() {
            self.drain();
        }
        self.events.pop_front()
    }

    fn poll_transmit(&mut self, _now: Instant, _room: &mut Vec<u8>, wire: &mut dyn FnMut(&[u8])) {
        self.drain();
        for datagram in self.datagrams.drain(..) {
            wire(&datagram);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let deadline = self.socket.poll_timeout();
        (deadline != SocketTime::infinite_future()).then(|| self.epoch + since_zero(deadline))
    }
}

fn since_zero(time: SocketTime) -> Duration {
    time - SocketTime::zero()
}
