//! An association on a secure transport. The two have a lock each, so that nobody who calls the association waits while
//! packets are encrypted or decrypted. Neither lock is taken while the other is held: packets are written under the
//! association's, then sealed under the transport's.

use std::task::Waker;
use std::time::Instant;

use narrowboat_dcep::{DataChannels, Role};
use narrowboat_sctp::SignalledInit;

use super::inner::Inner;
use super::secure_transport::SecureTransport;
use super::shared::{Shared, now, wake};
use super::transport::Transport;
use crate::config::ChannelLimits;
use crate::net::{BatchEffects, Input, Route, SessionProgress, TransportFailure};

impl Shared {
    /// Returns the secure transport; `None` over plain UDP.
    pub(crate) fn secure(&self) -> Option<&SecureTransport> {
        match &self.transport {
            Transport::Plain(_) => None,
            Transport::Secure(secure) => Some(secure),
        }
    }

    /// Hands over what arrived, in order: decrypted under the transport's lock, taken in under the association's.
    pub(super) fn receive_secure(
        &self,
        secure: &SecureTransport,
        inputs: impl Iterator<Item = Input>,
        wakers: &mut Vec<Waker>,
        effects: &mut BatchEffects,
    ) {
        let now = now();
        let mut packets = Vec::new();
        let progress = secure.receive(now, inputs, &mut packets, effects);
        if progress.is_connected {
            effects.connected.push(secure.handle());
        }
        let mut inner = self.lock();
        if inner.life.is_failed() {
            return;
        }
        on_connected(&mut inner, now, &progress);
        for packet in packets {
            inner.handle_packet(now, packet);
        }
        let has_moved = inner.sctp.take_path_validated();
        if has_moved {
            inner.sctp.on_path_changed(now);
        }
        let mut probe = Vec::new();
        if progress.wants_probe && !has_moved {
            inner.validate_path(&mut probe);
        }
        on_failure(&mut inner, progress.failure);
        inner.process_events(now, wakers);
        drop(inner);
        if has_moved {
            secure.confirm_nominated();
        }
        if !probe.is_empty() {
            secure.send_probe(&probe);
        }
        self.work.notify_one();
        wake(wakers);
    }

    /// Runs the driver's step below the association: moves datagrams of the transport itself to `outgoing`. Returns the
    /// time of the next step.
    pub(super) fn turn_secure(
        &self,
        secure: &SecureTransport,
        outgoing: &mut Vec<(Route, Vec<u8>)>,
    ) -> Option<Instant> {
        let now = now();
        let (progress, deadline) = secure.turn(now, outgoing);
        if progress.is_connected || progress.failure.is_some() {
            let mut wakers = Vec::new();
            let mut inner = self.lock();
            if !inner.life.is_failed() {
                on_connected(&mut inner, now, &progress);
                on_failure(&mut inner, progress.failure);
            }
            inner.process_events(now, &mut wakers);
            drop(inner);
            wake(&mut wakers);
        }
        deadline
    }

    /// Replaces the association by one that fits the peer's description: `role` is that of this end, `limits` has the
    /// sizes that the peer accepts. Nobody has used the association yet.
    pub(crate) fn set_description(
        &self,
        sctp: narrowboat_sctp::Association,
        role: Role,
        limits: &ChannelLimits,
        signalled_init: Option<SignalledInit>,
    ) {
        self.read(|inner| {
            if !inner.life.is_closed() {
                inner.sctp = sctp;
                inner.channels = DataChannels::new(limits.channels.clone(), role);
                inner.setup.send_size_max = limits.send_size_max();
                inner.setup.signalled_init = signalled_init;
            }
        });
    }
}

/// Starts the SCTP handshake. Both ends send INIT (RFC 8261 has no client), so an INIT collision is expected. With a
/// signalled INIT neither end sends one.
fn on_connected(inner: &mut Inner, now: Instant, progress: &SessionProgress) {
    if !progress.is_connected {
        return;
    }
    if let Some(init) = inner.setup.signalled_init.take()
        && inner.sctp.connect_as_signalled(now, &init).is_ok()
    {
        return;
    }
    inner.sctp.connect(now);
}

fn on_failure(inner: &mut Inner, failure: Option<TransportFailure>) {
    if let Some(failure) = failure {
        inner.sctp.transport_failed(failure.into());
    }
}
