//! This project's association.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use narrowboat_sctp::{
    Association, AssociationConfig, AssociationEvent, CloseReason, CookieKeys, Ppid, SendMessageError, Streams, Valid,
    Validate,
};

use crate::peer::{
    Event, Message, OfferedExtensions, Payload, Peer, Refusal, Reliability, SendOptions, Settings, StreamId,
};

const PPID_BINARY: Ppid = Ppid(53);

/// Datagrams asked for at a time: as many as one UDP send with segmentation offload accepts.
const DATAGRAMS_MAX: usize = 54;

/// One end made of an `Association`.
pub struct Narrowboat {
    /// The association itself.
    pub association: Association,
    /// Streams of resets that are yet to be reported one by one.
    incoming_resets: VecDeque<StreamId>,
}

impl Narrowboat {
    /// A closed association.
    #[must_use]
    pub fn new(now: Instant, settings: &Settings, seed: [u8; 32]) -> Self {
        Self::with_config(now, valid(config(settings)), seed)
    }

    /// A closed association with a configuration of its own.
    #[must_use]
    pub fn with_config(now: Instant, config: Valid<AssociationConfig>, seed: [u8; 32]) -> Self {
        let association = Association::new(config, CookieKeys::new(now, seed), &[], seed);
        Self { association, incoming_resets: VecDeque::new() }
    }

    /// A closed association that offers these extensions. It takes its packets for DTLS records if it is to offer
    /// packets without a checksum.
    #[must_use]
    pub fn with_extensions(now: Instant, settings: &Settings, offered: OfferedExtensions, seed: [u8; 32]) -> Self {
        let config = valid(AssociationConfig {
            message_interleaving: offered.message_interleaving,
            partial_reliability: offered.partial_reliability,
            stream_reset: offered.stream_reset,
            zero_checksum: offered.zero_checksum,
            ..config(settings)
        });
        let association = Association::new_over_dtls(config, CookieKeys::new(now, seed), &[], seed);
        Self { association, incoming_resets: VecDeque::new() }
    }

    /// A closed association that searches for packets of up to `mtu_max` bytes (RFC 8899).
    #[must_use]
    pub fn searching(now: Instant, settings: &Settings, mtu_max: usize, seed: [u8; 32]) -> Self {
        Self::with_config(now, valid(AssociationConfig { mtu_max, ..config(settings) }), seed)
    }

    /// A closed association whose packets travel over DTLS, or over something that a test takes for it.
    #[must_use]
    pub fn over_dtls(now: Instant, settings: &Settings, zero_checksum: bool, seed: [u8; 32]) -> Self {
        let config = valid(AssociationConfig { zero_checksum, ..config(settings) });
        let association = Association::new_over_dtls(config, CookieKeys::new(now, seed), &[], seed);
        Self { association, incoming_resets: VecDeque::new() }
    }
}

#[expect(clippy::expect_used, reason = "settings out of range are a fault of the test that has chosen them")]
pub(crate) fn valid<C: Validate>(config: C) -> Valid<C> {
    Valid::new(config).expect("settings are within the ranges")
}

/// The settings in this project's words.
pub(crate) fn config(settings: &Settings) -> AssociationConfig {
    AssociationConfig {
        mtu: settings.mtu,
        // None of the others searches.
        mtu_max: settings.mtu,
        receive_window: settings.receive_window,
        receive_message_size_max: settings.message_size_max,
        send_message_size_max: settings.message_size_max,
        send_buffer: settings.send_buffer,
        stream_send_buffer: settings.send_buffer,
        ..AssociationConfig::default()
    }
}

pub(crate) fn closed(reason: &CloseReason) -> Event {
    Event::Closed { graceful: *reason == CloseReason::Shutdown, reason: reason.to_string() }
}

/// Writes all that an association has to say to the wire.
pub(crate) fn transmit(association: &mut Association, now: Instant, room: &mut Vec<u8>, wire: &mut dyn FnMut(&[u8])) {
    loop {
        room.clear();
        let Some(transmit) = association.poll_transmit(now, DATAGRAMS_MAX, room) else { return };
        room.chunks(transmit.segment_size).for_each(&mut *wire);
    }
}

impl Peer for Narrowboat {
    fn connect(&mut self, now: Instant) {
        self.association.connect(now);
    }

    fn send(&mut self, now: Instant, stream: StreamId, payload: &Bytes, options: SendOptions) -> Result<(), Refusal> {
        let options = narrowboat_sctp::SendOptions {
            unordered: options.unordered,
            reliability: match options.reliability {
                Reliability::Reliable => narrowboat_sctp::Reliability::Reliable,
                Reliability::MaxRetransmits(times) => narrowboat_sctp::Reliability::MaxRetransmits(u32::from(times)),
                Reliability::MaxLifetime(lifetime) => narrowboat_sctp::Reliability::MaxLifetime(lifetime),
            },
            ..Default::default()
        };
        self.association.send(now, stream.into(), PPID_BINARY, payload.clone(), options).map_err(|error| match error {
            SendMessageError::Full => Refusal::Full,
            other => Refusal::failed(other),
        })
    }

    fn reset(&mut self, now: Instant, stream: StreamId) -> Result<(), Refusal> {
        self.association.reset_streams(now, &[stream.into()]).map_err(Refusal::failed)
    }

    fn shutdown(&mut self, now: Instant) {
        self.association.shutdown(now);
    }

    fn abort(&mut self, _: Instant) {
        self.association.abort("told to");
    }

    fn handle_datagram(&mut self, now: Instant, datagram: Bytes) {
        self.association.handle_datagram(now, datagram);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.association.handle_timeout(now);
    }

    fn poll_event(&mut self, _: Instant) -> Option<Event> {
        loop {
            if let Some(stream) = self.incoming_resets.pop_front() {
                return Some(Event::IncomingStreamsReset(stream));
            }
            return Some(match self.association.poll_event()? {
                AssociationEvent::Connected => Event::Connected,
                AssociationEvent::Message(message) => {
                    self.association.release(message.credit);
                    Event::Message(Message { stream: message.stream.0, payload: Payload::Narrowboat(message.payload) })
                }
                AssociationEvent::IncomingStreamsReset(Streams::List(streams)) => {
                    self.incoming_resets.extend(streams.into_iter().map(|stream| stream.0));
                    continue;
                }
                AssociationEvent::OutgoingStreamReset(stream) => Event::OutgoingReset { stream: stream.0, error: None },
                AssociationEvent::Closed(reason) => closed(&reason),
                _ => continue,
            });
        }
    }

    fn poll_transmit(&mut self, now: Instant, room: &mut Vec<u8>, wire: &mut dyn FnMut(&[u8])) {
        transmit(&mut self.association, now, room, wire);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.association.poll_timeout()
    }

    fn congestion_window(&self) -> Option<usize> {
        Some(self.association.stats().cwnd)
    }
}
