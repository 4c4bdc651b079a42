//! The way of packets from an association to the socket: as they are, or through the secure transport.

use std::io;
use std::time::Instant;

use super::shared::Shared;
use super::transport::Transport;
#[cfg(feature = "webrtc")]
use crate::socket::Route;
use crate::socket::Socket;

/// Sends for a driver, for one of its turns.
pub(super) struct Carrier<'a> {
    shared: &'a Shared,
    socket: &'a Socket,
    #[cfg(feature = "webrtc")]
    records: Vec<u8>,
    #[cfg(feature = "webrtc")]
    outgoing: Vec<(Route, Vec<u8>)>,
}

impl<'a> Carrier<'a> {
    pub(super) fn new(shared: &'a Shared, socket: &'a Socket) -> Self {
        Self {
            shared,
            socket,
            #[cfg(feature = "webrtc")]
            records: Vec::new(),
            #[cfg(feature = "webrtc")]
            outgoing: Vec::new(),
        }
    }

    /// Lets the transport do what is due there. Returns when to come back for it.
    pub(super) async fn turn(&mut self) -> Option<Instant> {
        match &self.shared.transport {
            Transport::Plain(_) => None,
            #[cfg(feature = "webrtc")]
            Transport::Secure(secure) => {
                let deadline = self.shared.turn_secure(secure, &mut self.outgoing);
                self.send_outgoing().await;
                deadline
            }
        }
    }

    /// Sends packets of `segment_size` bytes, the last one perhaps shorter. Fails if there is no way to the peer.
    pub(super) async fn send(&mut self, packets: &[u8], segment_size: usize) -> io::Result<()> {
        match &self.shared.transport {
            Transport::Plain(route) => self.socket.send(*route, packets, segment_size).await,
            #[cfg(feature = "webrtc")]
            Transport::Secure(secure) => {
                if self.records.capacity() == 0 {
                    self.records = self.socket.take_buffer();
                }
                self.records.clear();
                match secure.seal(packets, segment_size, &mut self.records) {
                    Some((route, record_size)) => self.socket.send(route, &self.records, record_size).await,
                    None => Ok(()),
                }
            }
        }
    }

    /// Ends the transport.
    pub(super) async fn close(&mut self) {
        match &self.shared.transport {
            Transport::Plain(_) => {}
            #[cfg(feature = "webrtc")]
            Transport::Secure(secure) => {
                secure.close(&mut self.outgoing);
                self.send_outgoing().await;
            }
        }
    }

    pub(super) fn put_buffer(self) {
        #[cfg(feature = "webrtc")]
        if self.records.capacity() > 0 {
            self.socket.put_buffer(self.records);
        }
    }

    /// Sends what is the transport's own. What the system refuses is counted, and comes again in time.
    #[cfg(feature = "webrtc")]
    async fn send_outgoing(&mut self) {
        for (route, datagram) in self.outgoing.drain(..) {
            if let Err(error) = self.socket.send(route, &datagram, datagram.len()).await
                && self.shared.secure().is_some_and(|secure| secure.on_unreachable(route.remote))
            {
                self.shared.on_unreachable(&error);
            }
        }
    }
}
