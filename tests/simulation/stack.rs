//! The code under test as one object: an association with its data channels, on virtual time, its heap accounted for.

use bytes::Bytes;
use narrowboat_dcep::{
    ByteString, ChannelId, ChannelOptions, ChannelSendError, ChannelsConfig, ChannelsEvent, DataChannels, Message,
    OpenError, ReadyState, Role,
};
use narrowboat_sctp::{Association, AssociationStats, ResetError, SignalledInit, State, StreamId, Transmit, Valid};

use crate::alloc::{Gauge, uncharged};
use crate::clock::{Clock, Nanos};
use crate::streams::Control;

#[derive(Debug)]
pub(crate) struct Stack {
    association: Association,
    channels: DataChannels,
    clock: Clock,
    gauge: Gauge,
}

impl Stack {
    pub(crate) fn new(
        association: Association,
        config: ChannelsConfig,
        role: Role,
        clock: Clock,
        gauge: Gauge,
    ) -> Self {
        let channels = gauge.charge(|| {
            let config = Valid::new(config).expect("limits of the simulation are in range");
            DataChannels::new(config, role)
        });
        Self { association, channels, clock, gauge }
    }

    pub(crate) fn state(&self) -> State {
        self.association.state()
    }

    pub(crate) fn stats(&self) -> AssociationStats {
        self.association.stats()
    }

    pub(crate) fn association(&self) -> &Association {
        &self.association
    }

    pub(crate) fn ready_state(&self, id: ChannelId) -> Option<ReadyState> {
        self.channels.ready_state(id)
    }

    pub(crate) fn channel_options(&self, id: ChannelId) -> Option<&ChannelOptions> {
        self.channels.options(id)
    }

    pub(crate) fn stream(&self, id: ChannelId) -> Option<u16> {
        self.channels.stream(id).map(|stream| stream.0)
    }

    pub(crate) fn buffered_amount(&self, id: ChannelId) -> usize {
        self.channels.buffered_amount(&self.association, id)
    }

    pub(crate) fn is_readable(&self, id: ChannelId) -> bool {
        self.channels.is_readable(id)
    }

    pub(crate) fn unread(&self, id: ChannelId) -> usize {
        self.channels.unread(id)
    }

    pub(crate) fn connect(&mut self, now: Nanos) {
        let now = self.clock.instant(now);
        self.gauge.charge(|| self.association.connect(now));
    }

    pub(crate) fn connect_as_signalled(&mut self, now: Nanos, init: &[u8]) {
        let now = self.clock.instant(now);
        let init = SignalledInit::parse(init).expect("I04: an INIT of ours");
        let connected = self.gauge.charge(|| self.association.connect_as_signalled(now, &init));
        connected.expect("I23: an association that has not begun");
    }

    pub(crate) fn open(&mut self, now: Nanos, options: &ChannelOptions) -> Result<ChannelId, OpenError> {
        let now = self.clock.instant(now);
        self.gauge.charge(|| self.channels.open(now, &mut self.association, options.clone()))
    }

    /// `payload` is made where it is charged, because the association keeps it.
    pub(crate) fn send(
        &mut self,
        now: Nanos,
        id: ChannelId,
        text: bool,
        payload: impl FnOnce() -> Bytes,
    ) -> Result<(), ChannelSendError> {
        let now = self.clock.instant(now);
        self.gauge.charge(|| {
            let payload = payload();
            let message = match text {
                true => Message::Text(ByteString::try_from(payload).expect("texts of the simulation are UTF-8")),
                false => Message::Binary(payload),
            };
            self.channels.send(now, &mut self.association, id, message)
        })
    }

    /// Sends the message that ends a direction of a byte stream. It needs no room.
    pub(crate) fn send_control(
        &mut self,
        now: Nanos,
        id: ChannelId,
        control: &Control,
    ) -> Result<(), ChannelSendError> {
        let now = self.clock.instant(now);
        self.gauge.charge(|| {
            let payload = Bytes::copy_from_slice(&control.payload);
            let message = match control.is_text {
                true => Message::Text(ByteString::try_from(payload).expect("texts of the simulation are UTF-8")),
                false => Message::Binary(payload),
            };
            self.channels.send_beyond_limits(now, &mut self.association, id, message)
        })
    }

    /// Hands the next message's bytes, and whether they are text, to `reader`. `false` if there is none.
    pub(crate) fn recv(&mut self, now: Nanos, id: ChannelId, reader: impl FnOnce(&[u8], bool)) -> bool {
        let now = self.clock.instant(now);
        self.gauge.charge(|| match self.channels.recv(now, &mut self.association, id) {
            Some(message) => {
                uncharged(|| reader(message.as_bytes(), message.as_text().is_some()));
                true
            }
            None => false,
        })
    }

    pub(crate) fn close(&mut self, now: Nanos, id: ChannelId) {
        let now = self.clock.instant(now);
        self.gauge.charge(|| self.channels.close(now, &mut self.association, id));
    }

    pub(crate) fn forget(&mut self, now: Nanos, id: ChannelId) {
        let now = self.clock.instant(now);
        self.gauge.charge(|| self.channels.forget(now, &mut self.association, id));
    }

    pub(crate) fn set_buffered_amount_low_threshold(&mut self, id: ChannelId, threshold: usize) {
        self.gauge.charge(|| self.channels.set_buffered_amount_low_threshold(&mut self.association, id, threshold));
    }

    pub(crate) fn set_priority(&mut self, id: ChannelId, priority: u16) {
        self.gauge.charge(|| self.channels.set_priority(&mut self.association, id, priority));
    }

    /// Adds streams in both directions, if the peer allows.
    pub(crate) fn add_streams(&mut self, outgoing: u16, incoming: u16) -> Result<(), ResetError> {
        self.gauge.charge(|| self.association.add_streams(outgoing, incoming))
    }

    /// Asks the peer to reset its side of a stream.
    pub(crate) fn request_incoming_reset(&mut self, stream: u16) -> Result<(), ResetError> {
        self.gauge.charge(|| self.association.request_incoming_reset(&[StreamId(stream)]))
    }

    pub(crate) fn shutdown(&mut self, now: Nanos) {
        let now = self.clock.instant(now);
        self.gauge.charge(|| self.association.shutdown(now));
    }

    pub(crate) fn abort(&mut self, reason: &str) {
        self.gauge.charge(|| self.association.abort(reason));
    }

    pub(crate) fn handle_datagram(&mut self, now: Nanos, packet: &[u8]) {
        let now = self.clock.instant(now);
        self.gauge.charge(|| self.association.handle_datagram(now, Bytes::copy_from_slice(packet)));
    }

    /// A datagram that the endpoint has looked at already, and whose bytes are charged.
    pub(crate) fn handle_routed(&mut self, now: Nanos, datagram: Bytes) {
        let now = self.clock.instant(now);
        self.gauge.charge(|| self.association.handle_datagram(now, datagram));
    }

    pub(crate) fn on_path_changed(&mut self, now: Nanos) {
        let now = self.clock.instant(now);
        self.gauge.charge(|| self.association.on_path_changed(now));
    }

    pub(crate) fn handle_timeout(&mut self, now: Nanos) {
        let now = self.clock.instant(now);
        self.gauge.charge(|| {
            self.association.handle_timeout(now);
            self.channels.handle_timeout(now, &mut self.association);
        });
    }

    pub(crate) fn poll_event(&mut self, now: Nanos) -> Option<ChannelsEvent> {
        let now = self.clock.instant(now);
        let event = self.gauge.charge(|| self.channels.poll_event(now, &mut self.association));
        let copy = event.clone();
        self.gauge.charge(|| drop(event));
        copy
    }

    /// `buf` has room enough, so its memory is never charged.
    pub(crate) fn poll_transmit(&mut self, now: Nanos, max_datagrams: usize, buf: &mut Vec<u8>) -> Option<Transmit> {
        let now = self.clock.instant(now);
        let capacity = buf.capacity();
        let transmit = self.gauge.charge(|| self.association.poll_transmit(now, max_datagrams, buf));
        assert_eq!(buf.capacity(), capacity, "I04: more was written than max_datagrams packets of the MTU");
        transmit
    }

    pub(crate) fn poll_timeout(&self) -> Option<Nanos> {
        let deadlines = [self.association.poll_timeout(), self.channels.poll_timeout()];
        deadlines.into_iter().flatten().min().map(|at| self.clock.nanos(at))
    }

    /// The end: gives all memory back.
    pub(crate) fn dispose(self) {
        let Self { association, channels, gauge, .. } = self;
        gauge.charge(|| drop((association, channels)));
    }
}
