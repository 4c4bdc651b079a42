//! The state that the handles of an endpoint, its receive loop and its associations' drivers share. It has two locks,
//! of which nobody holds both: one for the routes of datagrams, one for the accept queue.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use narrowboat_dcep::Role;
use narrowboat_sctp::{AssociationHandle, Valid};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tracing::{Instrument, Span};

use super::accept_queue::AcceptQueue;
use super::batch::RoutedBatch;
#[cfg(test)]
use super::fault::EndpointFault;
use super::incoming::Ways;
use super::port_check::PortChecks;
use super::routes::{DatagramRouter, RouteResult, RouteTable};
use super::secure::SecurePart;
use super::seed::draw_seed;
use super::{Incoming, WayIn};
use crate::association::{Shared, Transport, drive_contained, leave, now, wake};
use crate::config::{ChannelLimits, Config};
use crate::error::{BindError, ConnectError};
use crate::log::EventLimit;
use crate::net::{Datagram, Input, Route, RouteTarget};
use crate::socket::Socket;
use crate::waiters::{Interest, WaiterKey};

/// An endpoint, as its handles, its receive loop and its associations' drivers see it.
#[derive(Debug)]
pub(crate) struct EndpointShared {
    pub(crate) socket: Socket,
    pub(crate) config: Valid<Config>,
    pub(super) channel_limits: ChannelLimits,
    pub(crate) ways: Ways,
    /// Parts for associations over DTLS, if the endpoint has an identity.
    pub(crate) secure: Option<SecurePart>,
    pub(super) runtime: Handle,
    pub(super) port_checks: PortChecks,
    routes: Mutex<RouteTable>,
    accept_queue: Mutex<AcceptQueue>,
    /// Number of handles of the application.
    handles: AtomicUsize,
    /// Number of associations, which the table of routes keeps.
    associations: Arc<AtomicUsize>,
    /// Tells the receive loop to see whether anyone still needs it.
    pub(crate) liveness_check: Notify,
    /// Span of everything that the endpoint does. Disabled below the level of debugging.
    pub(crate) span: Span,
    refused: AtomicU64,
    /// Place where a test injects a panic.
    #[cfg(test)]
    pub(crate) fault: Mutex<Option<EndpointFault>>,
}

impl EndpointShared {
    /// Creates an endpoint with one handle. It speaks DTLS if there is a secure part, and plain UDP if not.
    pub(super) fn new(
        socket: Socket,
        config: Valid<Config>,
        ways: Ways,
        runtime: Handle,
        secure: Option<SecurePart>,
    ) -> Result<Self, BindError> {
        let router = match &secure {
            Some(part) => DatagramRouter::Secure(part.server(&config, draw_seed()?)),
            None => DatagramRouter::Plain(Box::new(narrowboat_sctp::Endpoint::new(
                now(),
                config.endpoint(ways.plain)?,
                draw_seed()?,
            ))),
        };
        let associations = Arc::<AtomicUsize>::default();
        let routes = RouteTable::new(router, Arc::clone(&associations));
        let span = tracing::debug_span!("endpoint", local_address = %socket.local_address());
        Ok(Self {
            span,
            socket,
            channel_limits: config.channel_limits()?,
            config,
            ways,
            secure,
            runtime,
            port_checks: PortChecks::default(),
            routes: Mutex::new(routes),
            accept_queue: Mutex::default(),
            handles: AtomicUsize::new(1),
            associations,
            liveness_check: Notify::new(),
            refused: AtomicU64::new(0),
            #[cfg(test)]
            fault: Mutex::new(None),
        })
    }

    #[cfg(test)]
    pub(crate) fn inject(&self, place: EndpointFault) {
        let mut fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        if fault.take_if(|fault| *fault == place).is_some() {
            drop(fault);
            panic!("a test wants a panic: {place:?}");
        }
    }

    /// Starts an association over plain UDP.
    pub(super) fn connect(self: &Arc<Self>, remote: SocketAddr) -> Result<Arc<Shared>, ConnectError> {
        let mut routes = self.routes();
        if routes.is_closed() {
            return Err(ConnectError::EndpointClosed);
        }
        let (handle, association) = routes.dial(now(), remote)?;
        let transport = Transport::Plain(Route { remote, local: None });
        let shared = Shared::new(handle, &self.span, association, Role::Client, transport, &self.channel_limits);
        shared.read(|inner| inner.setup.has_open_role = true);
        routes.insert(handle, Arc::clone(&shared));
        drop(routes);
        self.spawn_driver(handle, Arc::clone(&shared));
        self.check_ports(&shared, &[remote]);
        Ok(shared)
    }

    /// Ends an attempt to connect when the system says that nobody listens at any of these addresses.
    pub(super) fn check_ports(&self, shared: &Arc<Shared>, remotes: &[SocketAddr]) {
        self.port_checks.start(&self.runtime, self.socket.local_address(), shared, remotes);
    }

    /// Sorts a batch by its recipients, and creates the associations that it opens.
    pub(super) fn route(&self, now: Instant, batch: &mut impl Iterator<Item = Datagram>, routed: &mut RoutedBatch) {
        let mut routes = self.routes();
        for datagram in batch {
            #[cfg(test)]
            self.inject(EndpointFault::Route);
            match routes.route(now, datagram, &mut routed.effects.answers) {
                RouteResult::New(handle, association, route) => {
                    let (span, transport) = (&self.span, Transport::Plain(route));
                    let shared = Shared::new(handle, span, *association, Role::Server, transport, &self.channel_limits);
                    routes.insert(handle, Arc::clone(&shared));
                    routed.made.push((handle, shared));
                }
                RouteResult::Target(RouteTarget::Peer(handle, input)) => {
                    routed.push(handle, input, || routes.get(handle));
                }
                RouteResult::Target(RouteTarget::PeerOrNewcomer(handle, datagram)) => {
                    routed.newcomers.push(datagram.clone());
                    routed.push(handle, Input::new(datagram), || routes.get(handle));
                }
                RouteResult::Target(RouteTarget::Stranger(stranger)) => routed.strangers.push(stranger),
                RouteResult::Target(RouteTarget::Nobody) => {}
            }
        }
    }

    /// Puts an association of a peer into the accept queue, and refuses it if there is no room. After a panic the
    /// association ends.
    pub(super) fn enqueue(&self, shared: Arc<Shared>, way: WayIn) {
        let incoming = Incoming::new(shared, way);
        let mut wakers = Vec::new();
        let (refused, is_closed) = {
            let mut queue = self.accept_queue();
            #[cfg(test)]
            self.inject(EndpointFault::Queue);
            let refused = queue.push(incoming, self.config.accept_queue_max);
            queue.waiters.wake(Interest::Accept, &mut wakers);
            (refused, queue.is_closed())
        };
        wake(&mut wakers);
        if let Some(incoming) = refused {
            self.count_refused(is_closed);
            #[cfg(test)]
            self.inject(EndpointFault::Refuse);
            incoming.refuse();
        }
    }

    /// Counts an association that is refused, and reports it.
    fn count_refused(&self, is_closed: bool) {
        static WARNINGS: EventLimit = EventLimit::new();
        self.refused.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(reason = if is_closed { "closed" } else { "accept_queue_max" }, "association refused");
        if let Some(suppressed) = (!is_closed).then(|| WARNINGS.permit(now())).flatten() {
            let local_address = self.socket.local_address();
            tracing::warn!(%local_address, suppressed, "the accept queue is full: associations of peers are refused");
        }
    }

    /// Starts the task that runs an association, and forgets the association when it ends.
    pub(super) fn spawn_driver(self: &Arc<Self>, handle: AssociationHandle, shared: Arc<Shared>) {
        let span = shared.span.clone();
        let entry = Entry { core: Arc::clone(self), handle, shared, is_done: false };
        let run = async move {
            drive_contained(&entry.shared, &entry.core.socket).await;
            entry.finish();
        };
        self.runtime.spawn(run.instrument(span));
    }

    /// Returns the next association that a peer has opened; `Ready(None)` when there will be no more.
    pub(super) fn poll_incoming(&self, cx: &mut Context<'_>, key: &mut WaiterKey) -> Poll<Option<Incoming>> {
        let mut queue = self.accept_queue();
        if let Some(incoming) = queue.pop() {
            return Poll::Ready(Some(incoming));
        }
        if queue.is_closed() {
            return Poll::Ready(None);
        }
        let replaced = queue.waiters.register(key, Interest::Accept, cx.waker());
        drop(queue);
        drop(replaced);
        Poll::Pending
    }

    /// Polls for the end of all associations.
    pub(super) fn poll_idle(&self, cx: &mut Context<'_>, key: &mut WaiterKey) -> Poll<()> {
        let replaced = self.accept_queue().waiters.register(key, Interest::Progress, cx.waker());
        drop(replaced);
        // The last association to end changes the count, then wakes the tasks that wait.
        if self.associations.load(Ordering::Acquire) == 0 { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Removes a task that does not wait any more.
    pub(super) fn unregister(&self, key: &WaiterKey) {
        if key.is_used() {
            let removed = self.accept_queue().waiters.remove(key);
            drop(removed);
        }
    }

    /// Stops accepting and opening associations, and ends the existing ones gracefully.
    pub(crate) fn close(&self) {
        for shared in self.stop_accepting() {
            shared.command(|inner, now| inner.begin_shutdown(now));
        }
    }

    /// Stops accepting and opening associations, and ends the existing ones at once.
    pub(crate) fn abort(&self, reason: &str) {
        for shared in self.stop_accepting() {
            shared.command(|inner, _| inner.abort(reason));
        }
    }

    /// Handles the end of the receiver, with its runtime or because the socket cannot be used any more: nothing is
    /// received any more.
    pub(crate) fn on_receiver_gone(&self, failure: Option<&std::io::Error>) {
        for shared in self.stop_accepting() {
            if let Some(error) = failure {
                shared.on_socket_failed(error);
            }
        }
    }

    /// Counts another handle of the application.
    pub(super) fn hold(&self) {
        self.handles.fetch_add(1, Ordering::Relaxed);
    }

    /// Drops a handle. After the last one nobody can accept; associations go on until their own handles are gone.
    pub(super) fn release(&self) {
        if self.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.stop_accepting();
            self.liveness_check.notify_one();
        }
    }

    /// True if nobody can use the endpoint any more.
    pub(super) fn is_unused(&self) -> bool {
        // In this order: without a handle nobody dials.
        self.handles.load(Ordering::Acquire) == 0 && self.associations.load(Ordering::Acquire) == 0
    }

    pub(super) fn stats(&self) -> super::EndpointStats {
        super::EndpointStats {
            associations: self.associations.load(Ordering::Acquire),
            refused: self.refused.load(Ordering::Relaxed),
            drops: self.routes().drops(),
            #[cfg(feature = "webrtc")]
            secure: self.secure.as_ref().map(|part| part.context.counters.stats()).unwrap_or_default(),
            socket: self.socket.stats(),
        }
    }

    /// Refuses every association that waits to be accepted, and returns the existing associations.
    fn stop_accepting(&self) -> Vec<Arc<Shared>> {
        let mut wakers = Vec::new();
        let associations = {
            let mut routes = self.routes();
            routes.close();
            routes.associations()
        };
        let refused = {
            let mut queue = self.accept_queue();
            queue.waiters.wake(Interest::Accept, &mut wakers);
            queue.close()
        };
        drop(refused);
        wake(&mut wakers);
        associations
    }

    /// Removes an association from the table. If the router panics, tasks that wait for the removal are woken all the
    /// same.
    pub(super) fn remove(&self, handle: AssociationHandle) {
        let mut routes = self.routes();
        let removed = routes.remove(handle);
        let forget = || {
            #[cfg(test)]
            self.inject(EndpointFault::Remove);
            routes.forget(handle);
        };
        if catch_unwind(AssertUnwindSafe(forget)).is_err() {
            tracing::error!("a fault has kept the address of an association that has ended: please report it");
        }
        drop(routes);
        drop(removed);
        if self.associations.load(Ordering::Acquire) == 0 {
            let mut wakers = Vec::new();
            self.accept_queue().waiters.wake(Interest::Progress, &mut wakers);
            self.liveness_check.notify_one();
            wake(&mut wakers);
        }
    }

    /// Locks the routes. Nothing slow may happen under this lock: the receive loop waits for it.
    pub(super) fn routes(&self) -> MutexGuard<'_, RouteTable> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn accept_queue(&self) -> MutexGuard<'_, AcceptQueue> {
        self.accept_queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An association's place in the table. The place is given up when the driver ends, even if the driver ends before it
/// has begun.
struct Entry {
    core: Arc<EndpointShared>,
    handle: AssociationHandle,
    shared: Arc<Shared>,
    /// True if the driver has come to its end; false if its runtime has taken it away.
    is_done: bool,
}

impl Entry {
    fn finish(mut self) {
        self.is_done = true;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.is_done {
            self.shared.contain(|| leave(&self.shared, &self.core.socket));
        }
        self.core.remove(self.handle);
        self.shared.on_driver_gone();
    }
}
