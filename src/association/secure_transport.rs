//! A session of the browser side under its lock.

use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use narrowboat_sctp::AssociationHandle;

use crate::net::{BatchEffects, Input, Route, SealedBatch, SessionProgress};
use crate::socket::SendFailure;
use crate::webrtc::{RECORD_OVERHEAD_MAX, SecureSession};

/// The secure transport of one association, under a lock of its own.
#[derive(Debug)]
pub(crate) struct SecureTransport {
    handle: AssociationHandle,
    session: Mutex<SecureSession>,
}

impl SecureTransport {
    pub(crate) fn new(session: SecureSession) -> Self {
        Self { handle: session.handle, session: Mutex::new(session) }
    }

    /// Returns the name of the association in the router.
    pub(crate) fn handle(&self) -> AssociationHandle {
        self.handle
    }

    /// Locks the session. The association's lock must not be held.
    pub(crate) fn lock(&self) -> MutexGuard<'_, SecureSession> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the address of the peer; before that is known, the address that is tried first.
    pub(crate) fn remote(&self) -> Option<SocketAddr> {
        self.lock().remote()
    }

    /// Returns the most bytes by which a datagram is larger than the packet in it.
    #[expect(clippy::unused_self, reason = "builds without the feature have no transport to ask, but its type")]
    pub(super) fn overhead_max(&self) -> usize {
        RECORD_OVERHEAD_MAX
    }

    /// Lets the session check its path: see [`SecureSession::check_at_once`].
    pub(super) fn check_at_once(&self, now: Instant) {
        self.lock().check_at_once(now);
    }

    /// Sends a packet to the nominated address: see [`SecureSession::send_probe`].
    pub(super) fn send_probe(&self, packet: &[u8]) {
        self.lock().send_probe(packet);
    }

    /// Moves the session: see [`SecureSession::confirm_nominated`].
    pub(super) fn confirm_nominated(&self) {
        self.lock().confirm_nominated();
    }

    /// Ends the session: see [`SecureSession::close`].
    pub(super) fn close(&self, outgoing: &mut Vec<(Route, Vec<u8>)>) {
        self.lock().close(outgoing);
    }

    /// Encrypts packets: see [`SecureSession::seal`].
    pub(super) fn seal(&self, packets: &[u8], segment_size: usize, records: &mut Vec<u8>) -> Option<SealedBatch> {
        self.lock().seal(packets, segment_size, records)
    }

    /// Handles the refusal of a datagram by the system.
    pub(super) fn on_send_failure(&self, now: Instant, refused: Route, error: &io::Error) {
        if refused.local.is_some() && SendFailure::of(error) == SendFailure::Unreachable {
            self.lock().on_source_lost(now, refused);
        }
    }

    /// Handles the report of the system that it has no route to this address. Returns true if no address is left to
    /// try.
    pub(super) fn on_unreachable(&self, remote: SocketAddr) -> bool {
        self.lock().on_unreachable(remote)
    }

    /// Takes in datagrams: see [`SecureSession::receive`].
    pub(super) fn receive(
        &self,
        now: Instant,
        inputs: impl Iterator<Item = Input>,
        packets: &mut Vec<Bytes>,
        effects: &mut BatchEffects,
    ) -> SessionProgress {
        self.lock().receive(now, inputs, packets, effects)
    }

    /// Fires what is due: see [`SecureSession::turn`].
    pub(super) fn turn(
        &self,
        now: Instant,
        outgoing: &mut Vec<(Route, Vec<u8>)>,
    ) -> (SessionProgress, Option<Instant>) {
        self.lock().turn(now, outgoing)
    }
}
