//! The way of packets from an association to the socket: as they are, or through the secure transport.

use std::io;
use std::time::Instant;

use super::shared::Shared;
use super::shared::now;
use super::transport::Transport;
use crate::net::{Route, SealedBatch};
use crate::socket::SendFailure;
use crate::socket::Socket;

/// Sends for a driver, for one of its turns.
pub(super) struct PacketSender<'a> {
    shared: &'a Shared,
    socket: &'a Socket,
    records: Vec<u8>,
    outgoing: Vec<(Route, Vec<u8>)>,
}

impl<'a> PacketSender<'a> {
    pub(super) fn new(shared: &'a Shared, socket: &'a Socket) -> Self {
        Self { shared, socket, records: Vec::new(), outgoing: Vec::new() }
    }

    /// Lets the transport do what is due there. Returns when to come back for it.
    pub(super) async fn step(&mut self) -> Option<Instant> {
        match &self.shared.transport {
            Transport::Plain(_) => None,
            Transport::Secure(secure) => {
                let deadline = self.shared.turn_secure(secure, &mut self.outgoing);
                self.send_outgoing().await;
                deadline
            }
        }
    }

    /// Sends packets of `segment_size` bytes, the last one perhaps shorter. Fails if the system refuses them.
    pub(super) async fn send(&mut self, packets: &[u8], segment_size: usize) -> io::Result<()> {
        match &self.shared.transport {
            Transport::Plain(route) => self.socket.send(*route, packets, segment_size).await,
            Transport::Secure(secure) => {
                if self.records.capacity() == 0 {
                    self.records = self.socket.take_buffer();
                }
                self.records.clear();
                match secure.seal(packets, segment_size, &mut self.records) {
                    Some(SealedBatch { route, record_size, new_limits }) => {
                        if let Some(limits) = new_limits {
                            self.shared.set_lower_layer_limits(limits);
                        }
                        let sent = self.socket.send(route, &self.records, record_size).await;
                        if let Err(error) = &sent {
                            secure.on_send_failure(now(), route, error);
                        }
                        sent
                    }
                    None => Ok(()),
                }
            }
        }
    }

    /// Sends like [`send`](Self::send), but without waiting: drops datagrams that the system does not accept at once.
    pub(super) fn send_now(&mut self, packets: &[u8], segment_size: usize) {
        match &self.shared.transport {
            Transport::Plain(route) => self.socket.send_now(*route, packets, segment_size),
            Transport::Secure(secure) => {
                self.records.clear();
                if let Some(sealed) = secure.seal(packets, segment_size, &mut self.records) {
                    self.socket.send_now(sealed.route, &self.records, sealed.record_size);
                }
            }
        }
    }

    /// Closes like [`close`](Self::close), but without waiting.
    pub(super) fn close_now(&mut self) {
        match &self.shared.transport {
            Transport::Plain(_) => {}
            Transport::Secure(secure) => {
                secure.close(&mut self.outgoing);
                for (route, datagram) in self.outgoing.drain(..) {
                    self.socket.send_now(route, &datagram, datagram.len());
                }
            }
        }
    }

    /// Ends the transport.
    pub(super) async fn close(&mut self) {
        match &self.shared.transport {
            Transport::Plain(_) => {}
            Transport::Secure(secure) => {
                secure.close(&mut self.outgoing);
                self.send_outgoing().await;
            }
        }
    }

    pub(super) fn put_buffer(self) {
        if self.records.capacity() > 0 {
            self.socket.put_buffer(self.records);
        }
    }

    /// Sends what is the transport's own. What the system refuses is counted, and comes again in time.
    async fn send_outgoing(&mut self) {
        for (route, datagram) in self.outgoing.drain(..) {
            if let Err(error) = self.socket.send(route, &datagram, datagram.len()).await
                && let Some(secure) = self.shared.secure()
            {
                secure.on_send_failure(now(), route, &error);
                let failure = SendFailure::of(&error);
                // A flight that is too large is so for each address; another error is about one.
                if failure == SendFailure::TooLarge || (failure.ends_attempt() && secure.on_unreachable(route.remote)) {
                    self.shared.on_send_failure(&error);
                }
            }
        }
    }
}
