//! The task that receives for an endpoint.

use std::future::{Future, pending, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::WayIn;
use super::batch::RoutedBatch;
use super::contained::sort;
#[cfg(test)]
use super::fault::EndpointFault;
use super::routes::begins_association;
use super::secure::Strangers;
use super::shared::EndpointShared;
use crate::association::now;
use crate::net::Datagram;
use crate::socket::{Arrived, ReceiveBatch, ReceiveFailure};

/// Datagrams after which other tasks get their turn, the drivers that acknowledge them among them.
const DATAGRAMS_PER_TURN_MAX: usize = 128;
/// Failures in a row, each about one datagram, after which the receiver pauses.
const FAILURES_IN_A_ROW_MAX: u32 = 128;
/// Pause after the system has failed to return a datagram, so that a broken socket does not occupy a whole core.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// Time for which receiving may fail without a single datagram before the socket is given up: longer than a machine is
/// short of memory, shorter than anybody waits.
const FAILING_MAX: Duration = Duration::from_secs(30);

/// Runs the receiver. When the receiver ends, with its runtime or for another reason, no task goes on waiting for
/// datagrams.
///
/// A panic in a datagram that the receiver hands over is contained where the datagram is handled. A panic of the
/// receiver itself ends the endpoint, as a socket that fails does, so that nobody waits for ever.
pub(super) async fn run(core: Arc<EndpointShared>) {
    let mut receiver = ReceiveLoop { core, failure: None };
    let outcome = {
        let mut receiving = pin!(receive(&receiver.core));
        poll_fn(|cx| {
            let poll = catch_unwind(AssertUnwindSafe(|| receiving.as_mut().poll(cx)));
            poll.unwrap_or_else(|_| Poll::Ready(Err(io::Error::other("a fault in this program: please report it"))))
        })
        .await
    };
    receiver.failure = outcome.err();
}

/// Closes the endpoint when the receiver goes.
struct ReceiveLoop {
    core: Arc<EndpointShared>,
    failure: Option<io::Error>,
}

impl Drop for ReceiveLoop {
    fn drop(&mut self) {
        let local_address = self.core.socket.local_address();
        match &self.failure {
            Some(error) => tracing::error!(%local_address, %error, "the endpoint cannot receive any more"),
            None => tracing::info!(%local_address, "endpoint closed"),
        }
        self.core.on_receiver_gone(self.failure.as_ref());
    }
}

/// Receives until nobody can use the endpoint any more. Fails if the socket cannot be used any more.
///
/// One turn is: a batch from the system; each datagram to its own memory, unless its first byte says that nobody wants
/// it; all of them routed under the lock of the routes; then, association by association, handed over under that
/// association's lock; then strangers, who need none. No two locks are held at once, and answers are sent and tasks
/// woken after them.
async fn receive(core: &Arc<EndpointShared>) -> io::Result<()> {
    let is_wildcard = core.socket.local_address().ip().is_unspecified();
    let mut batch = ReceiveBatch::new();
    let mut datagrams: Vec<Datagram> = Vec::new();
    let mut routed = RoutedBatch::default();
    let mut wakers = Vec::new();
    let mut since_yield = 0;
    let mut failures = Failures::default();
    let mut strangers = Strangers::new(core);
    while !core.is_unused() {
        let deadline = strangers.poll_timeout();
        let Some(received) = next_batch(core, &mut batch, deadline).await else {
            strangers.handle_timeout(core, &mut routed.effects.answers);
            core.socket.send_answers(&mut routed.effects.answers);
            continue;
        };
        if let Err(error) = received {
            failures.on_failure(error).await?;
            continue;
        }
        failures = Failures::default();
        let arrived = batch.take(is_wildcard, |datagram| strangers.is_wanted(datagram), &mut datagrams);
        count(core, arrived);
        since_yield += arrived.datagrams;

        #[cfg(test)]
        core.inject(EndpointFault::ReceiveLoop);
        while !datagrams.is_empty() {
            route(core, &mut datagrams, &mut routed);
            start_made(core, &mut routed);
            hand_over(&mut routed, &mut wakers);
        }
        strangers.handle_batch(core, &mut routed, &mut wakers);
        // Only now, so that what a peer sends when it has the answer finds its way.
        core.socket.send_answers(&mut routed.effects.answers);

        if since_yield >= DATAGRAMS_PER_TURN_MAX {
            since_yield = 0;
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

/// Counts what has arrived, and what was dropped of it for its first byte.
fn count(core: &EndpointShared, arrived: Arrived) {
    core.socket.count_received(arrived);
    if let Some(part) = core.secure.as_ref().filter(|_| arrived.unwanted > 0) {
        part.count_unknown(arrived.unwanted);
    }
}

/// Returns the number of datagrams that may be sorted before the first of them is handed over: all, unless an INIT
/// follows another packet of its sender. That packet may end the association, and the INIT may begin the next one.
fn first_to_wait(batch: &[Datagram]) -> usize {
    let is_init = |datagram: &Datagram| datagram.bytes.get(12) == Some(&1) && begins_association(datagram);
    let follows = |(index, init): (usize, &Datagram)| {
        let before = batch.get(..index).unwrap_or_default();
        before.iter().any(|datagram| datagram.route.remote == init.route.remote && !is_init(datagram)).then_some(index)
    };
    let mut inits = batch.iter().enumerate().filter(|(_, datagram)| is_init(datagram));
    inits.find_map(follows).unwrap_or(batch.len())
}

/// Sorts datagrams by their recipients, up to the first one that has to wait.
fn route(core: &EndpointShared, datagrams: &mut Vec<Datagram>, routed: &mut RoutedBatch) {
    let end = first_to_wait(datagrams);
    sort(datagrams.drain(..end), |batch| {
        // A panic may have left a part of one.
        routed.effects.answers.discard_unfinished();
        core.route(now(), batch, routed);
    });
}

/// Hands the inputs over to their associations.
fn hand_over(routed: &mut RoutedBatch, wakers: &mut Vec<Waker>) {
    let RoutedBatch { inputs, runs, effects, .. } = routed;
    let mut arrived = inputs.drain(..);
    for (shared, count) in runs.drain(..) {
        let mut run = arrived.by_ref().take(count);
        if shared.contain(|| shared.receive(run.by_ref(), wakers, effects)).is_none() {
            effects.answers.discard_unfinished();
        }
        // Datagrams that a panic has left do not go to the next association.
        run.for_each(drop);
    }
}

/// Failures to receive, since the last datagram.
#[derive(Default)]
struct Failures {
    since: Option<Instant>,
    count: u32,
}

impl Failures {
    /// Waits, if that may help. Fails if the socket cannot be used any more.
    async fn on_failure(&mut self, error: io::Error) -> io::Result<()> {
        let since = *self.since.get_or_insert_with(now);
        self.count = self.count.saturating_add(1);
        tracing::debug!(%error, "receiving failed");
        match ReceiveFailure::of(&error) {
            // Each is about another datagram; so many in a row are about something else.
            ReceiveFailure::OneDatagram if self.count < FAILURES_IN_A_ROW_MAX => return Ok(()),
            ReceiveFailure::Final => return Err(error),
            _ if now() >= since + FAILING_MAX => return Err(error),
            ReceiveFailure::OneDatagram | ReceiveFailure::Transient => {}
        }
        tokio::time::sleep(ERROR_PAUSE).await;
        Ok(())
    }
}

/// Waits for the next batch; `None` when it is time to see whether anyone still needs the endpoint, or at the deadline.
async fn next_batch(
    core: &EndpointShared,
    batch: &mut ReceiveBatch,
    deadline: Option<Instant>,
) -> Option<io::Result<()>> {
    let mut liveness_check = pin!(core.liveness_check.notified());
    let mut received = pin!(core.socket.receive(batch));
    let mut alarm = pin!(async {
        match deadline {
            Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
            None => pending().await,
        }
    });
    poll_fn(|cx| {
        if liveness_check.as_mut().poll(cx).is_ready() || alarm.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        received.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Starts the driver of each new association, and puts the association into the accept queue.
fn start_made(core: &Arc<EndpointShared>, routed: &mut RoutedBatch) {
    for (handle, shared) in routed.made.drain(..) {
        tracing::debug!(remote_address = %shared.remote_address(), "association made by the peer");
        // First of all: whatever fails after this, the association has a driver that ends it.
        core.spawn_driver(handle, Arc::clone(&shared));
        if catch_unwind(AssertUnwindSafe(|| core.enqueue(shared, WayIn::Plain))).is_err() {
            tracing::error!("a fault has ended an association that was to be accepted: please report it");
        }
    }
}
