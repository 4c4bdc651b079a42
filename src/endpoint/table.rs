//! State that the handles of an endpoint and its receiver share: the socket, and the table of associations under one
//! lock.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use narrowboat_dcep::Role;
use narrowboat_sctp::{AssociationHandle, Valid};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tracing::{Instrument, Span};

use super::builder::{Ways, draw_seed};
#[cfg(test)]
use super::fault::EndpointFault;
use super::port_check::SOCKETS_MAX;
use super::router::{DatagramRouter, RouteResult};
use super::secure::{SecurePart, SecureTable};
use super::{Incoming, WayIn};
use crate::association::{Shared, Transport, drive_contained, leave, now, wake};
use crate::config::{ChannelLimits, Config};
use crate::error::{BindError, ConnectError};
use crate::net::{Answers, BatchEffects, Datagram, Input, Route, Stranger};
use crate::socket::Socket;
use crate::waiters::{Interest, WaiterKey, Waiters};

/// An endpoint, as its handles, its receiver and its associations' drivers see it.
#[derive(Debug)]
pub(crate) struct EndpointShared {
    pub(crate) socket: Socket,
    pub(crate) config: Valid<Config>,
    pub(super) channel_limits: ChannelLimits,
    pub(crate) ways: Ways,
    /// Parts for associations over DTLS, if the endpoint has an identity.
    pub(crate) secure: Option<SecurePart>,
    pub(super) runtime: Handle,
    /// Sockets that may be opened to find closed ports.
    pub(super) port_checks: Arc<Semaphore>,
    table: Mutex<EndpointTable>,
    /// Tells the receiver to see whether anyone still needs it.
    pub(crate) look: Notify,
    /// Span of everything that the endpoint does. Disabled below the level of debugging.
    pub(crate) span: Span,
    refused: AtomicU64,
    /// Place where a test injects a panic.
    #[cfg(test)]
    pub(crate) fault: Mutex<Option<EndpointFault>>,
}

/// State that the lock protects.
#[derive(Debug)]
pub(crate) struct EndpointTable {
    pub(super) router: DatagramRouter,
    pub(super) associations: HashMap<AssociationHandle, Arc<Shared>>,
    pub(super) incoming: VecDeque<Incoming>,
    pub(super) waiters: Waiters,
    handles: usize,
    pub(super) is_closed: bool,
    pub(super) secure: SecureTable,
}

/// A batch of datagrams, sorted by their recipients. Kept by the receiver, to be used again.
#[derive(Debug, Default)]
pub(crate) struct RoutedBatch {
    /// Inputs for known associations, in the order in which they arrived.
    pub(crate) inputs: Vec<Input>,
    /// Recipients of the inputs, in order: an association, and the number of consecutive inputs that are for it.
    pub(crate) runs: Vec<(Arc<Shared>, usize)>,
    /// Datagrams of peers that are not known.
    pub(crate) strangers: Vec<Stranger>,
    /// Datagrams from the address of a known peer that may be the peer's, or belong to a handshake that a newcomer has
    /// begun from that address.
    pub(crate) newcomers: Vec<Datagram>,
    /// Stateless answers, and what is to be done after the batch.
    pub(crate) effects: BatchEffects,
    /// Associations that a peer has just made.
    pub(crate) made: Vec<(AssociationHandle, Arc<Shared>)>,
    /// Of those, the ones that there is no room for; to be dropped after the lock.
    pub(crate) refused: Vec<Incoming>,
}

impl EndpointShared {
    /// Creates an endpoint with one handle, for plain UDP.
    pub(crate) fn plain(
        socket: Socket,
        config: Valid<Config>,
        ways: Ways,
        runtime: Handle,
    ) -> Result<Arc<Self>, BindError> {
        let endpoint = narrowboat_sctp::Endpoint::new(now(), config.endpoint(ways.plain)?, draw_seed()?);
        Ok(Arc::new(Self {
            secure: None,
            ..Self::new(socket, config, ways, runtime, DatagramRouter::Plain(Box::new(endpoint)))?
        }))
    }

    /// Creates an endpoint with one handle, for DTLS.
    pub(crate) fn secure(
        socket: Socket,
        config: Valid<Config>,
        ways: Ways,
        runtime: Handle,
        secure: SecurePart,
    ) -> Result<Arc<Self>, BindError> {
        let router = secure.router();
        Ok(Arc::new(Self { secure: Some(secure), ..Self::new(socket, config, ways, runtime, router)? }))
    }

    fn new(
        socket: Socket,
        config: Valid<Config>,
        ways: Ways,
        runtime: Handle,
        router: DatagramRouter,
    ) -> Result<Self, BindError> {
        let table = EndpointTable {
            router,
            associations: HashMap::new(),
            incoming: VecDeque::new(),
            waiters: Waiters::default(),
            handles: 1,
            is_closed: false,
            secure: SecureTable::new(draw_seed()?),
        };
        let span = tracing::debug_span!("endpoint", local_address = %socket.local_address());
        Ok(Self {
            span,
            socket,
            channel_limits: config.channel_limits()?,
            config,
            ways,
            secure: None,
            runtime,
            port_checks: Arc::new(Semaphore::new(SOCKETS_MAX)),
            table: Mutex::new(table),
            look: Notify::new(),
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

    /// Starts an association.
    pub(crate) fn connect(self: &Arc<Self>, remote: SocketAddr) -> Result<Arc<Shared>, ConnectError> {
        let mut table = self.lock();
        if table.is_closed {
            return Err(ConnectError::EndpointClosed);
        }
        let mut dialled = table.dial(remote);
        if matches!(dialled, Err(ConnectError::AlreadyConnected(_))) && table.make_way(remote) {
            dialled = table.dial(remote);
        }
        let (handle, association) = dialled?;
        let shared = Shared::new(
            handle,
            &self.span,
            association,
            Role::Client,
            Transport::Plain(Route { remote, local: None }),
            &self.channel_limits,
        );
        shared.read(|inner| inner.setup.has_open_role = true);
        table.associations.insert(handle, Arc::clone(&shared));
        drop(table);
        self.spawn_driver(handle, Arc::clone(&shared));
        self.check_ports(&shared, &[remote]);
        Ok(shared)
    }

    /// Sorts a batch by its recipients, and creates the associations that it opens.
    pub(crate) fn route(&self, now: Instant, batch: &mut impl Iterator<Item = Datagram>, routed: &mut RoutedBatch) {
        let mut table = self.lock();
        let mut last = None;
        for datagram in batch {
            #[cfg(test)]
            self.inject(EndpointFault::Route);
            let verdict = table.route(now, datagram, &mut routed.effects.answers);
            let verdict = match verdict {
                RouteResult::ExistingOrNewcomer(handle, datagram) => {
                    routed.newcomers.push(datagram.clone());
                    RouteResult::Existing(handle, Input::new(datagram))
                }
                verdict => verdict,
            };
            match verdict {
                RouteResult::Existing(handle, input) => {
                    match routed.runs.last_mut() {
                        Some((_, count)) if last == Some(handle) => *count += 1,
                        _ => {
                            let Some(shared) = table.associations.get(&handle) else { continue };
                            routed.runs.push((Arc::clone(shared), 1));
                            last = Some(handle);
                        }
                    }
                    routed.inputs.push(input);
                }
                RouteResult::New(handle, association, route) => {
                    let (span, transport) = (&self.span, Transport::Plain(route));
                    let shared = Shared::new(handle, span, *association, Role::Server, transport, &self.channel_limits);
                    table.associations.insert(handle, Arc::clone(&shared));
                    // Before anything else may fail: it has to have a driver to end.
                    routed.made.push((handle, Arc::clone(&shared)));
                    routed.refused.extend(self.queue(&mut table, shared, WayIn::Plain));
                }
                RouteResult::ExistingOrNewcomer(..) => {}
                RouteResult::Stranger(mut stranger) => {
                    stranger.has_room = self.has_room(&table, stranger.datagram.route.remote.ip());
                    routed.strangers.push(stranger);
                }
                RouteResult::Done => {}
            }
        }
        if routed.made.is_empty() {
            return;
        }
        let mut wakers = Vec::new();
        table.waiters.wake(Interest::Accept, &mut wakers);
        drop(table);
        wake(&mut wakers);
    }

    /// Starts the task that runs an association, and forgets the association when it ends.
    pub(crate) fn spawn_driver(self: &Arc<Self>, handle: AssociationHandle, shared: Arc<Shared>) {
        let span = shared.span.clone();
        let entry = Entry { core: Arc::clone(self), handle, shared, is_done: false };
        let run = async move {
            drive_contained(&entry.shared, &entry.core.socket, entry.core.config.association.mtu).await;
            entry.finish();
        };
        self.runtime.spawn(run.instrument(span));
    }

    /// Returns the next association that a peer has opened; `Ready(None)` when there will be no more.
    pub(crate) fn poll_incoming(&self, cx: &mut Context<'_>, key: &mut WaiterKey) -> Poll<Option<Incoming>> {
        let mut table = self.lock();
        if let Some(incoming) = table.incoming.pop_front() {
            return Poll::Ready(Some(incoming));
        }
        if table.is_closed {
            return Poll::Ready(None);
        }
        let replaced = table.waiters.register(key, Interest::Accept, cx.waker());
        drop(table);
        drop(replaced);
        Poll::Pending
    }

    pub(crate) fn poll_idle(&self, cx: &mut Context<'_>, key: &mut WaiterKey) -> Poll<()> {
        let mut table = self.lock();
        if table.associations.is_empty() {
            return Poll::Ready(());
        }
        let replaced = table.waiters.register(key, Interest::Progress, cx.waker());
        drop(table);
        drop(replaced);
        Poll::Pending
    }

    pub(crate) fn unregister(&self, key: &WaiterKey) {
        if key.is_used() {
            let removed = self.lock().waiters.remove(key);
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

    pub(crate) fn hold(&self) {
        self.lock().handles += 1;
    }

    /// Drops a handle. After the last one nobody can accept; associations go on until their own handles are gone.
    pub(crate) fn release(&self) {
        let is_last = {
            let mut table = self.lock();
            table.handles -= 1;
            table.handles == 0
        };
        if is_last {
            self.stop_accepting();
            self.look.notify_one();
        }
    }

    /// True if nobody can use the endpoint any more.
    pub(crate) fn is_unused(&self) -> bool {
        let table = self.lock();
        table.handles == 0 && table.associations.is_empty()
    }

    pub(crate) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> super::EndpointStats {
        let table = self.lock();
        super::EndpointStats {
            associations: table.associations.len(),
            refused: self.refused.load(Ordering::Relaxed),
            drops: table.router.drops(),
            #[cfg(feature = "webrtc")]
            secure: self.secure.as_ref().map(|part| part.context.counters.stats()).unwrap_or_default(),
            socket: self.socket.stats(),
        }
    }

    /// Refuses every association that waits to be accepted, and returns the existing associations.
    fn stop_accepting(&self) -> Vec<Arc<Shared>> {
        let mut wakers = Vec::new();
        let mut table = self.lock();
        table.is_closed = true;
        table.router.stop_accepting();
        let refused = std::mem::take(&mut table.incoming);
        let associations = table.associations.values().cloned().collect();
        table.waiters.wake(Interest::Accept, &mut wakers);
        drop(table);
        drop(refused);
        wake(&mut wakers);
        associations
    }

    /// Removes an association from the table. If the router panics, tasks that wait for the removal are woken all the
    /// same.
    pub(super) fn remove(&self, handle: AssociationHandle) {
        let mut wakers = Vec::new();
        let mut table = self.lock();
        let removed = table.associations.remove(&handle);
        if table.associations.is_empty() {
            table.waiters.wake(Interest::Progress, &mut wakers);
            self.look.notify_one();
        }
        let forget = || {
            #[cfg(test)]
            self.inject(EndpointFault::Remove);
            table.forget_signalled(handle);
            table.router.remove(handle);
        };
        if catch_unwind(AssertUnwindSafe(forget)).is_err() {
            tracing::error!("a fault has kept the address of an association that has ended: please report it");
        }
        drop(table);
        drop(removed);
        wake(&mut wakers);
    }

    /// Puts an association of a peer into the accept queue, or returns the association if there is no room.
    #[must_use = "it is to be refused, after the lock"]
    pub(super) fn queue(&self, table: &mut EndpointTable, shared: Arc<Shared>, way: WayIn) -> Option<Incoming> {
        // After a panic it is dropped, which ends the association.
        let incoming = Incoming::new(shared, way);
        #[cfg(test)]
        self.inject(EndpointFault::Queue);
        if table.is_closed || table.incoming.len() >= self.config.accept_queue_max {
            return Some(incoming);
        }
        table.incoming.push_back(incoming);
        None
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, EndpointTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// True if the first chunk of a packet is INIT without a tag, or COOKIE ECHO (RFC 9260 §5.1).
pub(super) fn begins_association(datagram: &Datagram) -> bool {
    matches!(datagram.bytes.get(4..13), Some([0, 0, 0, 0, _, _, _, _, 1] | [_, _, _, _, _, _, _, _, 10]))
}

impl EndpointTable {
    /// Says what becomes of a datagram. An association over plain UDP that has ended makes way for the next one with
    /// its peer, though its driver may not be done; its own last packet is the answer to anything else.
    fn route(&mut self, now: Instant, datagram: Datagram, answers: &mut Answers) -> RouteResult {
        let verdict = self.router.route(now, datagram, answers);
        let RouteResult::Existing(handle, input) = verdict else { return verdict };
        let is_plain = matches!(self.router, DatagramRouter::Plain(_));
        if is_plain
            && begins_association(&input.datagram)
            && self.associations.get(&handle).is_some_and(|shared| shared.has_ended())
        {
            self.router.remove(handle);
            return self.router.route(now, input.datagram, answers);
        }
        RouteResult::Existing(handle, input)
    }

    fn dial(&mut self, remote: SocketAddr) -> Result<(AssociationHandle, narrowboat_sctp::Association), ConnectError> {
        let DatagramRouter::Plain(endpoint) = &mut self.router else { return Err(ConnectError::TicketNeeded(remote)) };
        endpoint.connect(now(), remote).map_err(|error| match error {
            narrowboat_sctp::AssociateError::TooManyAssociations => ConnectError::TooManyAssociations,
            narrowboat_sctp::AssociateError::OutOfMemory => ConnectError::OutOfMemory,
            narrowboat_sctp::AssociateError::AlreadyConnected(_) => ConnectError::AlreadyConnected(remote),
        })
    }

    /// Lets go of associations over plain UDP with this peer that have ended. Returns true if there is one. There may
    /// be several: one that has made way before is in the table until its driver is done.
    fn make_way(&mut self, remote: SocketAddr) -> bool {
        let has_ended = |shared: &Shared| {
            matches!(shared.transport, Transport::Plain(route) if route.remote == remote) && shared.has_ended()
        };
        let (associations, router) = (&self.associations, &mut self.router);
        let ended = associations.iter().filter(|(_, shared)| has_ended(shared));
        ended.map(|(handle, _)| router.remove(*handle)).count() > 0
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
            self.shared.contain(|| leave(&self.shared, &self.core.socket, self.core.config.association.mtu));
        }
        self.core.remove(self.handle);
        self.shared.on_driver_gone();
    }
}
