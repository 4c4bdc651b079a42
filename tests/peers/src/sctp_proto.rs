//! `sctp-proto`: the stack of str0m.

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use ::sctp_proto::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event as AssociationEvent,
    Payload as Transmit, PayloadProtocolIdentifier, ReliabilityType, ServerConfig, StreamEvent, TransportConfig,
};
use bytes::Bytes;

use crate::peer::{Event, Message, Payload, Peer, Refusal, Reliability, SendOptions, Settings, StreamId};

const REMOTE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), 5000);

/// Common header and DATA chunk header, which the crate adds to its largest payload.
const HEADERS: usize = 12 + 16;

/// One end made of an `sctp-proto` endpoint and its only association.
pub struct SctpProto {
    endpoint: Endpoint,
    transport: Arc<TransportConfig>,
    association: Option<(AssociationHandle, Association)>,
    /// Options that each stream is set to, as the crate keeps reliability by stream and not by message.
    options: HashMap<StreamId, SendOptions>,
    readable: VecDeque<StreamId>,
    events: VecDeque<Event>,
}

impl SctpProto {
    /// An endpoint that connects or answers.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        let mut config = EndpointConfig::new();
        config.max_payload_size(number((settings.mtu - HEADERS) & !3));
        let transport = Arc::new(
            TransportConfig::default()
                .with_max_receive_buffer_size(settings.receive_window)
                .with_max_send_message_size(number(settings.message_size_max))
                .with_max_receive_message_size(number(settings.message_size_max)),
        );
        let mut server = ServerConfig::new();
        server.transport = Arc::clone(&transport);
        Self {
            endpoint: Endpoint::new(Arc::new(config), Some(Arc::new(server))),
            transport,
            association: None,
            options: HashMap::new(),
            readable: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    fn association(&mut self) -> Result<&mut Association, Refusal> {
        self.association
            .as_mut()
            .map(|(_, association)| association)
            .ok_or_else(|| Refusal::Failed("no association".into()))
    }

    /// Sorts the association's events: messages of readable streams are read when polled for.
    fn drain(&mut self) {
        let Some((_, association)) = &mut self.association else { return };
        while let Some(event) = association.poll() {
            match event {
                AssociationEvent::Connected => self.events.push_back(Event::Connected),
                AssociationEvent::HandshakeFailed { reason } | AssociationEvent::AssociationLost { reason } => {
                    self.events.push_back(Event::Closed { graceful: false, reason: reason.to_string() });
                }
                AssociationEvent::Stream(StreamEvent::Readable { id }) => self.readable.push_back(id),
                AssociationEvent::Stream(StreamEvent::Finished { id }) => {
                    self.options.remove(&id);
                    self.events.push_back(Event::IncomingStreamsReset(id));
                }
                AssociationEvent::Stream(StreamEvent::ResetComplete { id }) => {
                    self.events.push_back(Event::OutgoingReset { stream: id, error: None });
                }
                AssociationEvent::Stream(StreamEvent::ResetFailed { id, reason }) => {
                    self.events.push_back(Event::OutgoingReset { stream: id, error: Some(format!("{reason:?}")) });
                }
                _ => {}
            }
        }
        while association.poll_endpoint_event().is_some() {}
    }

    fn read(&mut self) -> Option<Message> {
        let (_, association) = self.association.as_mut()?;
        while let Some(&stream) = self.readable.front() {
            match association.stream(stream).and_then(|mut stream| stream.read()) {
                Ok(Some(chunks)) => return Some(Message { stream, payload: Payload::SctpProto(chunks) }),
                Ok(None) | Err(_) => {
                    self.readable.pop_front();
                }
            }
        }
        None
    }
}

impl Peer for SctpProto {
    fn connect(&mut self, _now: Instant) {
        let mut client = ClientConfig::new();
        client.transport = Arc::clone(&self.transport);
        match self.endpoint.connect(client, REMOTE) {
            Ok(association) => self.association = Some(association),
            Err(error) => self.events.push_back(Event::Closed { graceful: false, reason: error.to_string() }),
        }
    }

    fn send(&mut self, _now: Instant, id: StreamId, payload: &Bytes, options: SendOptions) -> Result<(), Refusal> {
        let before = self.options.insert(id, options);
        let association = self.association()?;
        let mut stream = match association.stream(id) {
            Ok(stream) => stream,
            Err(_) => association.open_stream(id, PayloadProtocolIdentifier::Binary).map_err(Refusal::failed)?,
        };
        if before.unwrap_or_default() != options {
            let (reliability, value) = match options.reliability {
                Reliability::Reliable => (ReliabilityType::Reliable, 0),
                Reliability::MaxRetransmits(times) => (ReliabilityType::Rexmit, u32::from(times)),
                Reliability::MaxLifetime(lifetime) => {
                    (ReliabilityType::Timed, u32::try_from(lifetime.as_millis()).unwrap_or(u32::MAX))
                }
            };
            stream.set_reliability_params(options.unordered, reliability, value).map_err(Refusal::failed)?;
        }
        // The one way in that does not copy the payload. It takes the stream's default PPID, which a stream that the
        // peer opened need not have.
        stream.set_default_payload_type(PayloadProtocolIdentifier::Binary).map_err(Refusal::failed)?;
        stream.write_chunks(&mut [payload.clone()]).map(|_| ()).map_err(Refusal::failed)
    }

    fn reset(&mut self, _now: Instant, stream: StreamId) -> Result<(), Refusal> {
        match self.association()?.stream(stream) {
            Ok(mut stream) => stream.close().map_err(Refusal::failed),
            Err(_) => Ok(()),
        }
    }

    fn shutdown(&mut self, _now: Instant) {
        if let Err(Refusal::Failed(reason)) =
            self.association().and_then(|association| association.shutdown().map_err(Refusal::failed))
        {
            self.events.push_back(Event::Closed { graceful: false, reason });
        }
    }

    fn abort(&mut self, _now: Instant) {
        if let Err(Refusal::Failed(reason)) =
            self.association().and_then(|association| association.close().map_err(Refusal::failed))
        {
            self.events.push_back(Event::Closed { graceful: false, reason });
        }
    }

    fn handle_datagram(&mut self, now: Instant, datagram: Bytes) {
        match self.endpoint.handle(now, REMOTE, None, None, datagram) {
            Some((_, DatagramEvent::AssociationEvent(event))) => {
                if let Some((_, association)) = &mut self.association {
                    association.handle_event(event);
                }
            }
            Some((handle, DatagramEvent::NewAssociation(association))) if self.association.is_none() => {
                self.association = Some((handle, association));
            }
            _ => {}
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Some((_, association)) = &mut self.association {
            association.handle_timeout(now);
        }
    }

    fn poll_event(&mut self, _now: Instant) -> Option<Event> {
        if let Some(message) = self.read() {
            return Some(Event::Message(message));
        }
        if self.events.is_empty() {
            self.drain();
            if let Some(message) = self.read() {
                return Some(Event::Message(message));
            }
        }
        self.events.pop_front()
    }

    fn poll_transmit(&mut self, now: Instant, _room: &mut Vec<u8>, wire: &mut dyn FnMut(&[u8])) {
        while let Some(transmit) = self.endpoint.poll_transmit() {
            if let Transmit::RawEncode(datagrams) = transmit.payload {
                datagrams.iter().for_each(|datagram| wire(datagram));
            }
        }
        let Some((_, association)) = &mut self.association else { return };
        while let Some(transmit) = association.poll_transmit(now) {
            if let Transmit::RawEncode(datagrams) = transmit.payload {
                datagrams.iter().for_each(|datagram| wire(datagram));
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.association.as_ref().and_then(|(_, association)| association.poll_timeout())
    }
}
