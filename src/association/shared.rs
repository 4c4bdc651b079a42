//! An association and its channels under one lock, shared by handles, the receiver and the driver.
//!
//! Handles lock, call the core, and tell the driver: there is no command channel, so a call has happened when it
//! returns, and a future that is dropped has either done all of its work or none. Nothing of the application runs under
//! the lock: its wakers are collected, and woken (or dropped) after it.

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use bytes::Bytes;
use narrowboat_dcep::{ChannelId, Role};
use narrowboat_sctp::{Transmit, TransportFailure};
use tokio::sync::Notify;
use tokio::task::coop;

use super::inner::Inner;
use super::transport::Transport;
use crate::config::ChannelLimits;
use crate::net::{BatchEffects, Input};
use crate::socket::SendFailure;
use crate::waiters::{Interest, WaiterKey};

/// The time that every layer below is told: tokio's, so that a paused clock pauses the protocol too.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Wakes what was collected under a lock, after it.
pub(crate) fn wake(wakers: &mut Vec<Waker>) {
    wakers.drain(..).for_each(Waker::wake);
}

/// One association, as everyone who has to do with it sees it.
#[derive(Debug)]
pub(crate) struct Shared {
    inner: Mutex<Inner>,
    /// Tells the driver that there may be something to send, or an earlier deadline.
    pub(crate) work: Notify,
    /// What carries the packets.
    pub(crate) transport: Transport,
    /// True once the association has ended, for whoever does not hold the lock.
    has_ended: AtomicBool,
    /// Where a test wants a panic.
    #[cfg(test)]
    pub(crate) fault: Mutex<Option<AssociationFault>>,
}

/// Where a test wants a panic.
#[cfg(test)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AssociationFault {
    /// While a packet is taken in, before the lock.
    Receive,
    /// In the driver, under the lock.
    DriverStep,
    /// In a call of the application, under the lock.
    Command,
}

/// What a task waits on: a channel or the association, and what for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitKey {
    pub(crate) channel: Option<ChannelId>,
    pub(crate) interest: Interest,
}

/// What the driver has to do next.
#[derive(Debug)]
pub(crate) struct DriverStep {
    /// Datagrams to send.
    pub(crate) transmit: Option<Transmit>,
    /// Whether something happened after the last look for datagrams, so that it takes another one.
    pub(crate) has_more: bool,
    /// When to come back at the latest.
    pub(crate) deadline: Option<Instant>,
    /// Whether the association has ended, so that nothing follows what is to be sent now.
    pub(crate) is_closed: bool,
}

impl Shared {
    pub(crate) fn new(
        core: narrowboat_sctp::Association,
        role: Role,
        transport: Transport,
        limits: &ChannelLimits,
    ) -> Arc<Self> {
        let inner = Inner::new(core, role, limits);
        Arc::new(Self {
            inner: Mutex::new(inner),
            work: Notify::new(),
            transport,
            has_ended: AtomicBool::new(false),
            #[cfg(test)]
            fault: Mutex::new(None),
        })
    }

    /// The peer's address and port, as applications write them.
    pub(crate) fn remote_address(&self) -> SocketAddr {
        self.transport.remote_address()
    }

    /// True if the association has ended. Its last packet may still have to leave.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed)
    }

    /// Looks at the association.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&mut Inner) -> R) -> R {
        look(&mut self.lock())
    }

    /// Does something to the association, then passes on what came of it.
    pub(crate) fn command<R>(&self, act: impl FnOnce(&mut Inner, Instant) -> R) -> R {
        let now = now();
        let mut wakers = Vec::new();
        let mut inner = self.lock();
        #[cfg(test)]
        self.inject(AssociationFault::Command);
        let result = act(&mut inner, now);
        inner.settle(now, &mut wakers);
        self.has_ended.store(inner.closed.is_some(), Ordering::Relaxed);
        self.unlock(inner);
        wake(&mut wakers);
        result
    }

    /// Tries something, and enters the task among those that wait for it if it cannot be done yet.
    pub(crate) fn poll<R>(
        &self,
        cx: &mut Context<'_>,
        place: WaitKey,
        key: &mut WaiterKey,
        attempt: impl FnOnce(&mut Inner, Instant) -> Poll<R>,
    ) -> Poll<R> {
        // A task that always finds something to do still lets others run.
        let budget = ready!(coop::poll_proceed(cx));
        let now = now();
        let mut wakers = Vec::new();
        let mut inner = self.lock();
        let outcome = attempt(&mut inner, now);
        let replaced = match &outcome {
            Poll::Ready(_) => {
                inner.settle(now, &mut wakers);
                None
            }
            Poll::Pending => inner.waiters(place).and_then(|waiters| waiters.register(key, place.interest, cx.waker())),
        };
        self.unlock(inner);
        drop(replaced);
        wake(&mut wakers);
        if outcome.is_ready() {
            budget.made_progress();
        }
        outcome
    }

    /// Forgets a task that waits no longer.
    pub(crate) fn unregister(&self, channel: Option<ChannelId>, key: &WaiterKey) {
        if key.is_used() {
            let place = WaitKey { channel, interest: Interest::Progress };
            drop(self.read(|inner| inner.waiters(place).and_then(|waiters| waiters.remove(key))));
        }
    }

    /// Hands over what arrived, in order.
    pub(crate) fn receive(
        &self,
        inputs: impl Iterator<Item = Input>,
        wakers: &mut Vec<Waker>,
        effects: &mut BatchEffects,
    ) {
        #[cfg(test)]
        self.inject(AssociationFault::Receive);
        match &self.transport {
            Transport::Plain(_) => {
                self.receive_packets(inputs.map(|input| input.datagram.bytes), wakers);
            }
            Transport::Secure(secure) => self.receive_secure(secure, inputs, wakers, effects),
        }
    }

    fn receive_packets(&self, packets: impl Iterator<Item = Bytes>, wakers: &mut Vec<Waker>) {
        let now = now();
        let mut inner = self.lock();
        for packet in packets {
            inner.handle_packet(now, packet);
        }
        inner.has_work = true;
        inner.settle(now, wakers);
        self.has_ended.store(inner.closed.is_some(), Ordering::Relaxed);
        self.unlock(inner);
        wake(wakers);
    }

    /// One step of the driver: timers, then events, then up to `max_datagrams` datagrams appended to `buffer`.
    pub(crate) fn turn(&self, max_datagrams: usize, buffer: &mut Vec<u8>) -> DriverStep {
        let now = now();
        let mut wakers = Vec::new();
        let mut inner = self.lock();
        #[cfg(test)]
        self.inject(AssociationFault::DriverStep);
        inner.on_sent(&mut wakers);
        let is_suspect = inner.handle_timeout(now);
        inner.settle(now, &mut wakers);
        let transmit = inner.poll_transmit(now, max_datagrams, buffer);
        inner.on_written(transmit.is_none(), &mut wakers);
        // Sending makes room; the application can fill it while the system takes the datagrams.
        let has_more = inner.settle(now, &mut wakers) || is_suspect;
        self.has_ended.store(inner.closed.is_some(), Ordering::Relaxed);
        let turn = DriverStep { transmit, has_more, deadline: inner.deadline(), is_closed: inner.closed.is_some() };
        // This is the driver, about to look again or to wait until the deadline: what it did itself is no news to it.
        inner.has_work = false;
        drop(inner);
        wake(&mut wakers);
        if is_suspect {
            self.check_path(now);
        }
        turn
    }

    /// Whoever carries the packets finds out whether the peer is still where they go.
    fn check_path(&self, now: Instant) {
        match &self.transport {
            Transport::Plain(_) => {}
            Transport::Secure(secure) => secure.check_at_once(now),
        }
    }

    /// The system has refused a datagram. One that is too large ends the association, because it is refused each time that
    /// it is retransmitted. Any other error that is not about to pass ends an attempt to connect, because someone is waiting
    /// for the answer; later it is noted, and may pass.
    pub(crate) fn on_send_failure(&self, error: &io::Error) {
        let failure = SendFailure::of(error);
        self.command(|inner, _| {
            if inner.closed.is_some() {
                return;
            }
            if inner.network_error.is_none() {
                tracing::warn!(%error, "the system refuses the datagrams of an association");
            }
            inner.network_error = Some(error.to_string());
            if failure == SendFailure::TooLarge {
                let text =
                    format!("a datagram is larger than the network interface takes ({error}): lower association.mtu");
                inner.on_transport_failed(TransportFailure::Broken(text));
            } else if !inner.is_connected && failure.ends_attempt() {
                inner.unreachable = Some(error.to_string());
                inner.core.abort("");
            }
        });
    }

    /// The system says that nobody listens at this address. It ends an attempt to connect if no other address is left and
    /// nobody has answered.
    pub(crate) fn on_port_closed(&self, remote: SocketAddr) {
        let is_last = match &self.transport {
            Transport::Plain(_) => true,
            Transport::Secure(secure) => secure.on_unreachable(remote),
        };
        self.command(|inner, _| {
            if is_last && !inner.is_connected && inner.core.stats().packets_accepted == 0 {
                inner.on_transport_failed(TransportFailure::PortClosed);
            }
        });
    }

    /// The system takes datagrams again.
    pub(crate) fn on_sent_again(&self) {
        self.read(|inner| inner.network_error = None);
    }

    /// The endpoint receives nothing any more.
    pub(crate) fn on_socket_failed(&self, error: &io::Error) {
        let text = format!("the endpoint cannot receive any more ({error}): make another one");
        self.command(|inner, _| inner.on_transport_failed(TransportFailure::Broken(text)));
    }

    /// Does something with what a peer has sent. A panic ends this association, and nothing else; `None` says so.
    pub(crate) fn contain<R>(&self, run: impl FnOnce() -> R) -> Option<R> {
        catch_unwind(AssertUnwindSafe(run)).map_err(|_| self.on_panic()).ok()
    }

    #[cfg(test)]
    fn inject(&self, place: AssociationFault) {
        let mut fault = self.fault.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if fault.take_if(|fault| *fault == place).is_some() {
            drop(fault);
            panic!("a test wants a panic: {place:?}");
        }
    }

    /// A panic while this association was served: it ends.
    pub(crate) fn on_panic(&self) {
        tracing::error!(remote = %self.transport.remote_address(), "a fault has ended an association: please report it");
        let mut wakers = Vec::new();
        let mut inner = self.lock();
        inner.fail();
        inner.settle(now(), &mut wakers);
        drop(inner);
        self.work.notify_one();
        wake(&mut wakers);
    }

    /// Nobody drives the association any more: it has ended and its last datagram has left, or its runtime is shut down.
    /// Then it is aborted, so that nobody waits for ever.
    pub(crate) fn on_driver_gone(&self) {
        let mut wakers = Vec::new();
        self.command(|inner, _| {
            if inner.closed.is_none() {
                inner.abort("its runtime was shut down");
            }
        });
        self.read(|inner| inner.finish(&mut wakers));
        wake(&mut wakers);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| {
            // A call has panicked half-way. Nobody knows what state it has left.
            self.inner.clear_poison();
            self.work.notify_one();
            let mut inner = poisoned.into_inner();
            inner.fail();
            inner
        })
    }

    pub(super) fn unlock(&self, mut inner: MutexGuard<'_, Inner>) {
        if std::mem::take(&mut inner.has_work) {
            drop(inner);
            self.work.notify_one();
        }
    }
}
