//! An association and its channels under one lock, shared by the handles, the receive loop and the driver.
//!
//! A handle locks the state, calls it, and wakes the driver. There is no command channel, so a call has taken effect
//! when it returns, and a dropped future has done all of its work or none. No code of the application runs under the
//! lock: its wakers are collected, and woken or dropped after it.

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;

use crate::net::TransportFailure;
use bytes::Bytes;
use narrowboat_dcep::{ChannelId, Role};
use narrowboat_sctp::{AssociationHandle, LowerLayerLimits, Transmit};
use tokio::sync::Notify;
use tokio::task::coop;
use tracing::Span;

use super::inner::Inner;
use super::transport::Transport;
use crate::config::ChannelLimits;
use crate::log::EventLimit;
use crate::net::{BatchEffects, Input};
use crate::socket::{SEND_SIZE_MAX, SendFailure};
use crate::waiters::{Interest, WaitKey, WaiterKey};

/// Returns the time that every layer below is told: that of tokio, so that a paused clock pauses the protocol too.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Wakes the tasks whose wakers were collected under a lock, after it.
pub(crate) fn wake(wakers: &mut Vec<Waker>) {
    wakers.drain(..).for_each(Waker::wake);
}

/// One association, as handles, receive loop and driver share it.
#[derive(Debug)]
pub(crate) struct Shared {
    inner: Mutex<Inner>,
    /// Wakes the driver: there may be something to send, or an earlier deadline.
    pub(crate) work: Notify,
    /// Transport of the packets.
    pub(crate) transport: Transport,
    /// Number of the association in the log. No other association of the endpoint has it.
    number: u64,
    /// Span of everything that the association does, whichever task does it. Disabled below the level of debugging.
    pub(crate) span: Span,
    /// True once the association has ended. Readable without the lock.
    has_ended: AtomicBool,
    /// Place at which a test wants a panic.
    #[cfg(test)]
    pub(crate) fault: Mutex<Option<AssociationFault>>,
}

/// Place at which a test wants a panic.
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

/// Result of a step of the driver.
#[derive(Debug)]
pub(crate) struct DriverStep {
    /// Datagrams to send.
    pub(crate) transmit: Option<Transmit>,
    /// True if the association is established, or was before it ended.
    pub(crate) was_connected: bool,
    /// True if events followed the last poll for datagrams, so that another step is needed.
    pub(crate) has_more: bool,
    /// Time of the next step, unless there is work before.
    pub(crate) deadline: Option<Instant>,
    /// True if the association has ended: nothing follows these datagrams.
    pub(crate) is_closed: bool,
}

impl Shared {
    /// Creates the state of a new association; `endpoint` is the span of its endpoint.
    pub(crate) fn new(
        handle: AssociationHandle,
        endpoint: &Span,
        mut sctp: narrowboat_sctp::Association,
        role: Role,
        transport: Transport,
        limits: &ChannelLimits,
    ) -> Arc<Self> {
        if let Transport::Plain(route) = &transport {
            let overhead = route.headers_len();
            sctp.set_lower_layer_limits(LowerLayerLimits { mtu: None, packet_max: SEND_SIZE_MAX, overhead });
        }
        let inner = Inner::new(sctp, role, limits);
        let number = handle.0;
        let span = tracing::debug_span!(
            parent: endpoint,
            "association",
            association = number,
            remote_address = %transport.remote_address(),
            ?role
        );
        Arc::new(Self {
            number,
            span,
            inner: Mutex::new(inner),
            work: Notify::new(),
            transport,
            has_ended: AtomicBool::new(false),
            #[cfg(test)]
            fault: Mutex::new(None),
        })
    }

    /// Returns the number of the association in the log.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Returns the peer's address and port, as applications write them.
    pub(crate) fn remote_address(&self) -> SocketAddr {
        self.transport.remote_address()
    }

    /// Returns `true` if the association has ended. Its last packet may still have to be sent.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed)
    }

    /// Reads the state, without a change that others have to know of.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&mut Inner) -> R) -> R {
        look(&mut self.lock())
    }

    /// Changes the state, then handles the events that follow.
    pub(crate) fn command<R>(&self, act: impl FnOnce(&mut Inner, Instant) -> R) -> R {
        let _entered = self.span.enter();
        let now = now();
        let mut wakers = Vec::new();
        let mut inner = self.lock();
        #[cfg(test)]
        self.inject(AssociationFault::Command);
        let result = act(&mut inner, now);
        inner.process_events(now, &mut wakers);
        self.has_ended.store(inner.life.is_closed(), Ordering::Relaxed);
        self.unlock(inner);
        wake(&mut wakers);
        result
    }

    /// Changes the state as [`command`](Self::command) does, for a call on a channel.
    pub(crate) fn command_channel<R>(&self, id: ChannelId, act: impl FnOnce(&mut Inner, Instant) -> R) -> R {
        self.command(|inner, now| {
            let _channel = inner.enter_channel(id);
            act(inner, now)
        })
    }

    /// Polls an attempt, and registers the task as waiting if the attempt is pending.
    pub(crate) fn poll<R>(
        &self,
        cx: &mut Context<'_>,
        wait_key: WaitKey,
        key: &mut WaiterKey,
        attempt: impl FnOnce(&mut Inner, Instant) -> Poll<R>,
    ) -> Poll<R> {
        // A task whose attempts always succeed still yields to others.
        let budget = ready!(coop::poll_proceed(cx));
        let _entered = self.span.enter();
        let now = now();
        let mut wakers = Vec::new();
        let mut inner = self.lock();
        let outcome = {
            let _channel = wait_key.channel.and_then(|id| inner.enter_channel(id));
            attempt(&mut inner, now)
        };
        let replaced = match &outcome {
            Poll::Ready(_) => {
                inner.process_events(now, &mut wakers);
                None
            }
            Poll::Pending => {
                inner.waiters(wait_key).and_then(|waiters| waiters.register(key, wait_key.interest, cx.waker()))
            }
        };
        self.unlock(inner);
        drop(replaced);
        wake(&mut wakers);
        if outcome.is_ready() {
            budget.made_progress();
        }
        outcome
    }

    /// Removes a task that does not wait any more.
    pub(crate) fn unregister(&self, channel: Option<ChannelId>, key: &WaiterKey) {
        self.stop_waiting(WaitKey { channel, interest: Interest::Progress }, key);
    }

    /// Removes a task that does not wait any more on what `wait_key` names.
    pub(crate) fn stop_waiting(&self, wait_key: WaitKey, key: &WaiterKey) {
        if key.is_used() {
            drop(self.read(|inner| inner.waiters(wait_key).and_then(|waiters| waiters.remove(key))));
        }
    }

    /// Handles datagrams that have arrived, in order.
    pub(crate) fn receive(
        &self,
        inputs: impl Iterator<Item = Input>,
        wakers: &mut Vec<Waker>,
        effects: &mut BatchEffects,
    ) {
        let _entered = self.span.enter();
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
        inner.process_events(now, wakers);
        self.has_ended.store(inner.life.is_closed(), Ordering::Relaxed);
        self.unlock(inner);
        wake(wakers);
    }

    /// Runs one step of the driver: handles time-outs, then events, then appends as many packets to `buffer` as one
    /// call may send.
    pub(crate) fn step(&self, buffer: &mut Vec<u8>) -> DriverStep {
        let now = now();
        let mut wakers = Vec::new();
        let mut inner = self.lock();
        #[cfg(test)]
        self.inject(AssociationFault::DriverStep);
        inner.on_sent(&mut wakers);
        let is_suspect = inner.handle_timeout(now);
        inner.process_events(now, &mut wakers);
        // The size of packets changes while the association lives.
        let datagram_len = inner.sctp.path_mtu() + self.transport.overhead_max();
        let transmit = inner.poll_transmit(now, (SEND_SIZE_MAX / datagram_len).max(1), buffer);
        inner.on_written(transmit.is_none(), &mut wakers);
        // Sending makes room; the application can fill it while the system takes the datagrams.
        let has_more = inner.process_events(now, &mut wakers) || is_suspect;
        self.has_ended.store(inner.life.is_closed(), Ordering::Relaxed);
        let step = DriverStep {
            transmit,
            was_connected: inner.life.was_connected(),
            has_more,
            deadline: inner.deadline(),
            is_closed: inner.life.is_closed(),
        };
        // The driver polls again or waits for the deadline, so that its own changes need not wake it.
        inner.has_work = false;
        drop(inner);
        wake(&mut wakers);
        if is_suspect {
            self.check_path(now);
        }
        step
    }

    /// Checks the path to the peer, by the transport.
    fn check_path(&self, now: Instant) {
        match &self.transport {
            Transport::Plain(_) => {}
            Transport::Secure(secure) => secure.check_at_once(now),
        }
    }

    /// Sets the sizes of packets that the transport takes.
    pub(super) fn set_lower_layer_limits(&self, limits: LowerLayerLimits) {
        self.command(|inner, _| inner.sctp.set_lower_layer_limits(limits));
    }

    /// Handles the refusal of packets of `len` bytes as too large for the network interface. Returns `false` if there
    /// are no smaller ones.
    pub(crate) fn on_packet_too_large(&self, len: usize) -> bool {
        self.command(|inner, now| inner.sctp.on_packet_too_large(now, len))
    }

    /// Handles the refusal of a datagram by the system. A lasting error ends an attempt to connect, because a caller
    /// waits for the result; on an established association it is recorded, and may pass: another route or interface may
    /// take larger datagrams again.
    pub(crate) fn on_send_failure(&self, error: &io::Error) {
        static WARNINGS: EventLimit = EventLimit::new();
        let failure = SendFailure::of(error);
        self.command(|inner, now| {
            if inner.life.is_closed() {
                return;
            }
            if inner.network.refused.is_none()
                && let Some(suppressed) = WARNINGS.permit(now)
            {
                let association = self.number;
                tracing::warn!(association, %error, suppressed, "the system refuses the datagrams of an association");
            }
            let text = match failure {
                SendFailure::TooLarge => {
                    format!("a datagram is larger than the network interface takes ({error}): lower association.mtu")
                }
                _ => error.to_string(),
            };
            inner.network.refused = Some(text.clone());
            if inner.life.was_connected() {
                return;
            }
            if failure == SendFailure::TooLarge {
                inner.on_transport_failed(TransportFailure::Broken(text));
            } else if failure.ends_attempt() {
                inner.network.unreachable = Some(error.to_string());
                inner.sctp.abort("");
            }
        });
    }

    /// Handles the report of the system that the port at this address is closed. It ends an attempt to connect if no
    /// other address is left and no packet has arrived.
    pub(crate) fn on_port_closed(&self, remote: SocketAddr) {
        let is_last = match &self.transport {
            Transport::Plain(_) => true,
            Transport::Secure(secure) => secure.on_unreachable(remote),
        };
        self.command(|inner, _| {
            if is_last && !inner.life.was_connected() && inner.sctp.stats().packets_accepted == 0 {
                inner.on_transport_failed(TransportFailure::PortClosed);
            }
        });
    }

    /// Clears the error of a refused datagram, as the system accepts datagrams again.
    pub(crate) fn on_sent_again(&self) {
        self.read(|inner| inner.network.refused = None);
    }

    /// Ends the association, as the endpoint cannot receive any more.
    pub(crate) fn on_socket_failed(&self, error: &io::Error) {
        let text = format!("the endpoint cannot receive any more ({error}): make another one");
        self.command(|inner, _| inner.on_transport_failed(TransportFailure::Broken(text)));
    }

    /// Runs code that handles data of the peer. A panic ends this association only, and returns `None`.
    pub(crate) fn contain<R>(&self, run: impl FnOnce() -> R) -> Option<R> {
        catch_unwind(AssertUnwindSafe(run)).map_err(|_| self.on_panic()).ok()
    }

    #[cfg(test)]
    fn inject(&self, wait_key: AssociationFault) {
        let mut fault = self.fault.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if fault.take_if(|fault| *fault == wait_key).is_some() {
            drop(fault);
            panic!("a test wants a panic: {wait_key:?}");
        }
    }

    /// Ends the association after a panic.
    pub(crate) fn on_panic(&self) {
        let _entered = self.span.enter();
        let (association, remote_address) = (self.number, self.remote_address());
        tracing::error!(association, %remote_address, "a fault has ended an association: please report it");
        let mut wakers = Vec::new();
        let mut inner = self.lock();
        inner.fail();
        inner.process_events(now(), &mut wakers);
        drop(inner);
        self.work.notify_one();
        wake(&mut wakers);
    }

    /// Handles the end of the driver: the association has ended and its last datagram has left, or its runtime is shut
    /// down. In the second case it is aborted, so that no task waits for ever.
    pub(crate) fn on_driver_gone(&self) {
        let mut wakers = Vec::new();
        self.command(|inner, _| {
            if !inner.life.is_closed() {
                inner.abort("its runtime was shut down");
            }
        });
        self.read(|inner| inner.finish(&mut wakers));
        self.report_end();
        wake(&mut wakers);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| {
            // A call has panicked and left an unknown state.
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
