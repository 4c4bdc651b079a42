//! The task that receives for an endpoint.

use std::future::{Future, pending, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
#[cfg(feature = "webrtc")]
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};
use std::vec::Drain;

#[cfg(test)]
use super::fault::EndpointFault;
use super::table::{EndpointShared, RoutedBatch, begins_association};
#[cfg(feature = "webrtc")]
use crate::association::Shared;
use crate::association::now;
use crate::net::Datagram;
#[cfg(feature = "webrtc")]
use crate::net::{BatchEffects, Input};
use crate::socket::{Arrived, ReceiveBatch, ReceiveFailure};
#[cfg(feature = "webrtc")]
use crate::webrtc::demux::Protocol;
#[cfg(feature = "webrtc")]
use crate::webrtc::{Admitted, DirectListener, Stranger};

/// Datagrams after which other tasks get their turn, the drivers that acknowledge them among them.
const DATAGRAMS_PER_TURN_MAX: usize = 128;
/// Failures in a row, each about one datagram, after which the receiver pauses.
const FAILURES_IN_A_ROW_MAX: u32 = 128;
/// How long to wait after the system could not give a datagram, so that a broken socket does not take a whole core.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// How long receiving may fail without a single datagram before the socket is given up: longer than a machine is short of
/// memory, shorter than anybody waits.
const FAILING_MAX: Duration = Duration::from_secs(30);

/// Runs the receiver. When it goes, with its runtime or for another reason, nobody waits for what would have come.
///
/// What the receiver hands over is contained where it is handled. A panic of the receiver itself ends the endpoint, as a
/// socket that fails does, so that nobody waits for ever.
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
        if let Some(error) = &self.failure {
            tracing::error!(%error, "the endpoint cannot receive any more");
        }
        self.core.on_receiver_gone(self.failure.as_ref());
    }
}

/// Receives until nobody can use the endpoint any more. Fails if the socket cannot be used any more.
///
/// One turn is: a batch from the system; each datagram to its own memory, unless its first byte says that nobody wants it; all
/// of them routed under the endpoint's lock; then, association by association, handed over under that association's lock; then
/// strangers, who need none. No two locks are held at once, and answers are sent and tasks woken after them.
async fn receive(core: &Arc<EndpointShared>) -> io::Result<()> {
    let is_wildcard = core.socket.local_address().ip().is_unspecified();
    let mut batch = ReceiveBatch::new();
    let mut datagrams: Vec<Datagram> = Vec::new();
    let mut routed = RoutedBatch::default();
    let mut wakers = Vec::new();
    let mut since_yield = 0;
    let mut failures = Failures::default();
    #[cfg(feature = "webrtc")]
    let mut direct_listener = core.direct_listener();
    while !core.is_unused() {
        #[cfg(feature = "webrtc")]
        let deadline = direct_listener.as_ref().and_then(DirectListener::poll_timeout);
        #[cfg(not(feature = "webrtc"))]
        let deadline = None;
        let Some(received) = next_batch(core, &mut batch, deadline).await else {
            #[cfg(feature = "webrtc")]
            on_direct_listener_timeout(core, &mut direct_listener, &mut routed);
            continue;
        };
        if let Err(error) = received {
            failures.on_failure(error).await?;
            continue;
        }
        failures = Failures::default();
        let arrived = batch.take(is_wildcard, |datagram| is_wanted(core, datagram), &mut datagrams);
        count(core, arrived);
        since_yield += arrived.datagrams;

        #[cfg(test)]
        core.inject(EndpointFault::ReceiveLoop);
        while !datagrams.is_empty() {
            route(core, &mut datagrams, &mut routed);
            start_made(core, &mut routed);
            hand_over(&mut routed, &mut wakers);
        }
        #[cfg(feature = "webrtc")]
        {
            if let Some(direct_listener) = &mut direct_listener {
                sort_strangers(core, direct_listener, &mut routed);
                receive_strangers(core, direct_listener, &mut routed, &mut wakers);
            }
            note(core, &mut routed.effects);
        }
        // Only now, so that what a peer sends when it has the answer finds its way.
        core.socket.send_answers(&mut routed.effects.answers);

        if since_yield >= DATAGRAMS_PER_TURN_MAX {
            since_yield = 0;
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

/// True if a datagram may be for somebody here: over DTLS its first byte says so, over plain UDP only all of it does.
#[cfg(feature = "webrtc")]
fn is_wanted(core: &EndpointShared, datagram: &[u8]) -> bool {
    core.secure.is_none() || Protocol::of(datagram).is_some()
}

#[cfg(not(feature = "webrtc"))]
fn is_wanted(_: &EndpointShared, _: &[u8]) -> bool {
    true
}

/// Counts what has arrived, and what was dropped of it for its first byte.
fn count(core: &EndpointShared, arrived: Arrived) {
    core.socket.count_received(arrived);
    #[cfg(feature = "webrtc")]
    if let Some(part) = core.secure.as_ref().filter(|_| arrived.unwanted > 0) {
        part.context.counters.unknown_protocol.fetch_add(arrived.unwanted as u64, Ordering::Relaxed);
    }
}

/// How many datagrams may be sorted before the first of them is handed over: all, but for an INIT behind another packet of
/// its sender. That packet may end the association, and the INIT begin the next one.
fn first_to_wait(batch: &[Datagram]) -> usize {
    let is_init = |datagram: &Datagram| datagram.bytes.get(12) == Some(&1) && begins_association(datagram);
    let follows = |(index, init): (usize, &Datagram)| {
        let before = batch.get(..index).unwrap_or_default();
        before.iter().any(|datagram| datagram.route.remote == init.route.remote && !is_init(datagram)).then_some(index)
    };
    let mut inits = batch.iter().enumerate().filter(|(_, datagram)| is_init(datagram));
    inits.find_map(follows).unwrap_or(batch.len())
}

/// Sorts datagrams by whom they are for, up to one that has to wait.
fn route(core: &EndpointShared, datagrams: &mut Vec<Datagram>, routed: &mut RoutedBatch) {
    let end = first_to_wait(datagrams);
    sort(datagrams.drain(..end), |batch| {
        // A panic may have left a part of one.
        routed.effects.answers.discard_unfinished();
        core.route(now(), batch, routed);
    });
}

/// Sorts datagrams. A panic costs the datagram that has caused it: the receiver serves everybody else, too. `rest` goes on
/// with those that are left then.
fn sort(mut batch: Drain<'_, Datagram>, mut rest: impl FnMut(&mut Drain<'_, Datagram>)) {
    loop {
        let left = batch.len();
        if catch_unwind(AssertUnwindSafe(|| rest(&mut batch))).is_ok() {
            return;
        }
        tracing::error!("a fault has lost a datagram: please report it");
        if batch.len() == left && batch.next().is_none() {
            return;
        }
    }
}

/// Adds to the strangers what is theirs among the datagrams from addresses of known peers: of peers that have dialled this
/// end while it dials them, and of newcomers who have begun a handshake.
#[cfg(feature = "webrtc")]
fn sort_strangers(core: &EndpointShared, direct_listener: &mut DirectListener, routed: &mut RoutedBatch) {
    let RoutedBatch { strangers, newcomers, effects, .. } = routed;
    sort(effects.crossed.drain(..), |batch| core.sort_crossed(batch, strangers));
    sort(newcomers.drain(..), |batch| {
        for datagram in batch {
            #[cfg(test)]
            core.inject(EndpointFault::Newcomer);
            if direct_listener.has_begun(datagram.route.remote) {
                strangers.push(Stranger { datagram, is_contested: false, has_room: true });
            }
        }
    });
}

/// Acts on what a batch has brought. A panic loses it, and ends the associations that were about to be accepted: nobody
/// would hear of them otherwise.
#[cfg(feature = "webrtc")]
fn note(core: &EndpointShared, effects: &mut BatchEffects) {
    let connected = effects.connected.clone();
    if catch_unwind(AssertUnwindSafe(|| core.note(effects))).is_err() {
        tracing::error!("a fault has lost what a batch of datagrams has brought: please report it");
        effects.forget();
        connected.into_iter().for_each(|handle| core.fail(handle));
    }
}

/// Hands over to each association what came for it.
fn hand_over(routed: &mut RoutedBatch, wakers: &mut Vec<Waker>) {
    let RoutedBatch { inputs, runs, effects, .. } = routed;
    let mut arrived = inputs.drain(..);
    for (shared, count) in runs.drain(..) {
        let mut run = arrived.by_ref().take(count);
        if shared.contain(|| shared.receive(run.by_ref(), wakers, effects)).is_none() {
            effects.answers.discard_unfinished();
        }
        // What a panic has left is not the next one's.
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

/// Lets the direct listener do what is due.
#[cfg(feature = "webrtc")]
fn on_direct_listener_timeout(
    core: &EndpointShared,
    direct_listener: &mut Option<DirectListener>,
    routed: &mut RoutedBatch,
) {
    let Some(waiting) = direct_listener else { return };
    let answers = &mut routed.effects.answers;
    let handle_timeout = || {
        #[cfg(test)]
        core.inject(EndpointFault::LobbyTimeout);
        waiting.handle_timeout(now(), answers);
    };
    if catch_unwind(AssertUnwindSafe(handle_timeout)).is_err() {
        tracing::error!("a fault has ended the handshakes of new peers: please report it");
        answers.discard_unfinished();
        // They begin again.
        *direct_listener = core.direct_listener();
    }
    core.socket.send_answers(answers);
}

/// Hands over what came from nobody known. A peer that is admitted is known for the rest of the batch, too.
#[cfg(feature = "webrtc")]
fn receive_strangers(
    core: &Arc<EndpointShared>,
    direct_listener: &mut DirectListener,
    routed: &mut RoutedBatch,
    wakers: &mut Vec<Waker>,
) {
    let mut admitted = Vec::new();
    for stranger in routed.strangers.drain(..) {
        let effects = &mut routed.effects;
        let remote = stranger.datagram.route.remote;
        if let Some((_, shared)) = admitted.iter().find(|(address, _)| *address == remote) {
            let shared: &Arc<Shared> = shared;
            let input = Input::new(stranger.datagram);
            shared.contain(|| shared.receive(std::iter::once(input), wakers, effects));
        } else if let Some(arrived) = receive_stranger(core, direct_listener, &stranger, effects)
            && let Some(shared) = core.admit_contained(arrived, wakers, effects)
        {
            admitted.push((remote, shared));
        }
    }
}

/// Hands over one datagram of somebody unknown. A panic ends the handshake of that peer, and nothing else.
#[cfg(feature = "webrtc")]
fn receive_stranger(
    core: &EndpointShared,
    direct_listener: &mut DirectListener,
    stranger: &Stranger,
    effects: &mut BatchEffects,
) -> Option<Admitted> {
    let answers = &mut effects.answers;
    let handle = || {
        #[cfg(test)]
        core.inject(EndpointFault::DirectListener);
        #[cfg(not(test))]
        let _ = core;
        direct_listener.handle(now(), stranger, answers)
    };
    catch_unwind(AssertUnwindSafe(handle)).unwrap_or_else(|_| {
        let remote = stranger.datagram.route.remote;
        tracing::error!(%remote, "a fault has ended the handshake of a new peer: please report it");
        direct_listener.forget(remote);
        effects.answers.discard_unfinished();
        None
    })
}

/// The next batch; `None` when it is time to see whether anyone still needs the endpoint, or at the deadline.
async fn next_batch(
    core: &EndpointShared,
    batch: &mut ReceiveBatch,
    deadline: Option<Instant>,
) -> Option<io::Result<()>> {
    let mut look = pin!(core.look.notified());
    let mut received = pin!(core.socket.receive(batch));
    let mut alarm = pin!(async {
        match deadline {
            Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
            None => pending().await,
        }
    });
    poll_fn(|cx| {
        if look.as_mut().poll(cx).is_ready() || alarm.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        received.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Gives each new association its driver, and refuses those that there is no room for.
fn start_made(core: &Arc<EndpointShared>, routed: &mut RoutedBatch) {
    for (handle, shared) in routed.made.drain(..) {
        tracing::debug!(remote = %shared.remote_address(), "association made by the peer");
        core.spawn_driver(handle, shared);
    }
    for incoming in routed.refused.drain(..) {
        core.count_refused();
        let refuse = || {
            #[cfg(test)]
            core.inject(EndpointFault::Refuse);
            incoming.refuse();
        };
        if catch_unwind(AssertUnwindSafe(refuse)).is_err() {
            tracing::error!("a fault has ended an association that was being refused: please report it");
        }
    }
}
