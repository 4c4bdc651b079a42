//! This project's association with data channels on top: a stream in use is an open channel, a reset is its close.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use narrowboat_dcep::{
    ChannelId, ChannelOptions, ChannelSendError, ChannelsConfig, ChannelsEvent, DataChannels, Message as ChannelMessage,
};
use narrowboat_sctp::{Association, AssociationConfig, CookieKeys};

use crate::narrowboat::{closed, config, transmit, valid};
use crate::peer::{Event, Message, Payload, Peer, Refusal, Reliability, SendOptions, Settings, StreamId};
use crate::stack::Role;

/// Number of streams, so small that ids are reused.
const STREAMS: u16 = 16;

/// One end made of an `Association` and its `DataChannels`.
pub struct NarrowboatChannels {
    association: Association,
    channels: DataChannels,
    /// The channel on each stream, from its first use to its `closed`.
    by_stream: HashMap<StreamId, ChannelId>,
    by_channel: HashMap<ChannelId, StreamId>,
    readable: VecDeque<ChannelId>,
    events: VecDeque<Event>,
}

impl NarrowboatChannels {
    /// A closed association without channels.
    #[must_use]
    pub fn new(now: Instant, settings: &Settings, role: Role, seed: [u8; 32]) -> Self {
        let limits = ChannelsConfig {
            peer_message_size_max: settings.message_size_max,
            message_size_max: settings.message_size_max,
            ..ChannelsConfig::default()
        };
        let config = AssociationConfig { outbound_streams: STREAMS, inbound_streams: STREAMS, ..config(settings) };
        let role = match role {
            Role::Client => narrowboat_dcep::Role::Client,
            Role::Server => narrowboat_dcep::Role::Server,
        };
        Self {
            association: Association::new(valid(config), CookieKeys::new(now, seed), &[], seed),
            channels: DataChannels::new(valid(limits), role),
            by_stream: HashMap::new(),
            by_channel: HashMap::new(),
            readable: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Returns the channel that the caller knows as this stream; opened if there is none. Channels pick their streams
    /// by themselves: a channel opened here keeps the caller's number at this end, and has its real one at the other.
    fn channel(&mut self, now: Instant, stream: StreamId, options: SendOptions) -> Result<ChannelId, Refusal> {
        if let Some(&id) = self.by_stream.get(&stream) {
            return Ok(id);
        }
        let mut of_channel = ChannelOptions::default();
        of_channel.ordered = !options.unordered;
        of_channel.reliability = match options.reliability {
            Reliability::Reliable => narrowboat_dcep::Reliability::Reliable,
            Reliability::MaxRetransmits(times) => narrowboat_dcep::Reliability::MaxRetransmits(u32::from(times)),
            Reliability::MaxLifetime(lifetime) => narrowboat_dcep::Reliability::MaxLifetime(lifetime),
        };
        let id = self.channels.open(now, &mut self.association, of_channel).map_err(Refusal::failed)?;
        self.by_stream.insert(stream, id);
        self.by_channel.insert(id, stream);
        Ok(id)
    }

    fn read(&mut self, now: Instant) -> Option<Event> {
        while let Some(&id) = self.readable.front() {
            if let Some(message) = self.channels.recv(now, &mut self.association, id) {
                let stream = self.by_channel.get(&id).copied()?;
                return Some(Event::Message(Message { stream, payload: Payload::Channel(message.into_bytes()) }));
            }
            self.readable.pop_front();
        }
        None
    }

    fn on_event(&mut self, now: Instant, event: ChannelsEvent) {
        match event {
            ChannelsEvent::Connected => self.events.push_back(Event::Connected),
            ChannelsEvent::Incoming(id) => {
                if let Some(stream) = self.channels.stream(id) {
                    self.by_stream.insert(stream.0, id);
                    self.by_channel.insert(id, stream.0);
                }
            }
            ChannelsEvent::Readable(id) => self.readable.push_back(id),
            ChannelsEvent::Closing(id) => {
                self.events.extend(self.by_channel.get(&id).map(|&stream| Event::IncomingStreamsReset(stream)));
            }
            // Both directions are over, in either order.
            ChannelsEvent::Closed(id, error) => {
                self.channels.forget(now, &mut self.association, id);
                if let Some(stream) = self.by_channel.remove(&id) {
                    self.by_stream.remove(&stream);
                    self.events.push_back(Event::IncomingStreamsReset(stream));
                    let error = error.map(|error| error.to_string());
                    self.events.push_back(Event::OutgoingReset { stream, error });
                }
            }
            ChannelsEvent::AssociationClosed(reason) => self.events.push_back(closed(&reason)),
            _ => {}
        }
    }
}

impl Peer for NarrowboatChannels {
    fn connect(&mut self, now: Instant) {
        self.association.connect(now);
    }

    fn send(&mut self, now: Instant, stream: StreamId, payload: &Bytes, options: SendOptions) -> Result<(), Refusal> {
        let id = self.channel(now, stream, options)?;
        let message = ChannelMessage::Binary(payload.clone());
        self.channels.send(now, &mut self.association, id, message).map_err(|error| match error {
            ChannelSendError::Full => Refusal::Full,
            other => Refusal::failed(other),
        })
    }

    fn reset(&mut self, now: Instant, stream: StreamId) -> Result<(), Refusal> {
        if let Some(&id) = self.by_stream.get(&stream) {
            self.channels.close(now, &mut self.association, id);
        }
        Ok(())
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

    fn poll_event(&mut self, now: Instant) -> Option<Event> {
        loop {
            if let Some(message) = self.read(now) {
                return Some(message);
            }
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let event = self.channels.poll_event(now, &mut self.association)?;
            self.on_event(now, event);
        }
    }

    fn poll_transmit(&mut self, now: Instant, room: &mut Vec<u8>, wire: &mut dyn FnMut(&[u8])) {
        transmit(&mut self.association, now, room, wire);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.association.poll_timeout()
    }

    fn opens_channels(&self) -> bool {
        true
    }
}
