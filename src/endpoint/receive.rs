//! The task that receives for an endpoint.

use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
#[cfg(feature = "webrtc")]
use std::task::Waker;
use std::time::{Duration, Instant};

use super::table::{Core, Routed};
use crate::association::now;
#[cfg(feature = "webrtc")]
use crate::association::{Input, Shared};
use crate::socket::{Datagram, ReceiveBatch};
#[cfg(feature = "webrtc")]
use crate::webrtc::Lobby;
#[cfg(feature = "webrtc")]
use crate::webrtc::demux::Protocol;

/// Datagrams after which other tasks get their turn, the drivers that acknowledge them among them.
const DATAGRAMS_PER_TURN_MAX: usize = 128;
/// How long to wait after the system could not give a datagram, so that a broken socket does not take a whole core.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// Receives until nobody can use the endpoint any more.
///
/// One turn is: a batch from the system; each datagram to its own memory; all of them routed under the endpoint's lock;
/// then, association by association, handed over under that association's lock; then strangers, who need none. No two locks are
/// held at once, and answers are sent and tasks woken after them.
pub(super) async fn receive(core: Arc<Core>) {
    let is_wildcard = core.socket.local_address().ip().is_unspecified();
    let mut batch = ReceiveBatch::new();
    let mut datagrams: Vec<Datagram> = Vec::new();
    let mut routed = Routed::default();
    let mut wakers = Vec::new();
    let mut since_yield = 0;
    #[cfg(feature = "webrtc")]
    let mut lobby = core.lobby();
    while !core.is_unused() {
        #[cfg(feature = "webrtc")]
        let deadline = lobby.as_ref().and_then(Lobby::poll_timeout);
        #[cfg(not(feature = "webrtc"))]
        let deadline = None;
        let Some(received) = next_batch(&core, &mut batch, deadline).await else {
            #[cfg(feature = "webrtc")]
            if let Some(lobby) = &mut lobby {
                lobby.handle_timeout(now(), &mut routed.findings.answers);
                routed.findings.answers.send(&core.socket);
            }
            continue;
        };
        if let Err(error) = received {
            tracing::debug!(%error, "receiving failed");
            tokio::time::sleep(ERROR_PAUSE).await;
            continue;
        }
        batch.take(is_wildcard, &mut datagrams);
        core.socket.count_received(&datagrams);
        since_yield += datagrams.len();

        core.route(now(), &mut datagrams, &mut routed);
        start_made(&core, &mut routed);
        let mut arrived = routed.inputs.drain(..);
        for (shared, count) in routed.runs.drain(..) {
            shared.receive(arrived.by_ref().take(count), &mut wakers, &mut routed.findings);
        }
        drop(arrived);
        #[cfg(feature = "webrtc")]
        {
            if let Some(lobby) = &mut lobby {
                receive_strangers(&core, lobby, &mut routed, &mut wakers);
            }
            core.note(&mut routed.findings);
        }
        // Only now, so that what a peer sends when it has the answer finds its way.
        routed.findings.answers.send(&core.socket);

        if since_yield >= DATAGRAMS_PER_TURN_MAX {
            since_yield = 0;
            tokio::task::yield_now().await;
        }
    }
}

/// Hands over what came from nobody known. A peer that is admitted is known for the rest of the batch, too.
#[cfg(feature = "webrtc")]
fn receive_strangers(core: &Arc<Core>, lobby: &mut Lobby, routed: &mut Routed, wakers: &mut Vec<Waker>) {
    let mut admitted = Vec::new();
    for (datagram, has_room) in routed.strangers.drain(..) {
        let findings = &mut routed.findings;
        let remote = datagram.route.remote;
        if let Some((_, shared)) = admitted.iter().find(|(address, _)| *address == remote) {
            let shared: &Arc<Shared> = shared;
            let input = match Protocol::of(&datagram.bytes) {
                Some(Protocol::Stun) => Input::Stun(datagram),
                _ => Input::Datagram(datagram),
            };
            shared.receive(std::iter::once(input), wakers, findings);
        } else if let Some(arrived) = lobby.handle(now(), &datagram, has_room, &mut findings.answers)
            && let Some(shared) = core.admit(arrived, wakers, findings)
        {
            admitted.push((remote, shared));
        }
    }
}

/// The next batch; `None` when it is time to see whether anyone still needs the endpoint, or at the deadline.
async fn next_batch(core: &Core, batch: &mut ReceiveBatch, deadline: Option<Instant>) -> Option<std::io::Result<()>> {
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
fn start_made(core: &Arc<Core>, routed: &mut Routed) {
    for (handle, shared) in routed.made.drain(..) {
        tracing::debug!(remote = %shared.remote_address(), "association made by the peer");
        core.spawn_driver(handle, shared);
    }
    for incoming in routed.refused.drain(..) {
        core.count_refused();
        incoming.refuse();
    }
}
