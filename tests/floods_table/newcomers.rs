//! Newcomers that want to connect while the flood lasts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use narrowboat::{Association, Endpoint, Identity, Ticket};
use tokio::task::JoinSet;

use crate::Result;

/// Time between two of them.
const INTERVAL: Duration = Duration::from_millis(40);
/// Nobody waits longer.
const PATIENCE: Duration = Duration::from_secs(8);

/// The service to connect to, and the client's identity.
#[derive(Clone)]
pub(crate) enum Goal {
    Plain(SocketAddr),
    Secure(Box<(Ticket, Identity)>),
}

impl Goal {
    /// Connects from a port of this address.
    pub(crate) async fn connect(&self, from: SocketAddr) -> Result<(Endpoint, Association)> {
        let builder = Endpoint::builder().bind(from);
        let (endpoint, association) = match self {
            Self::Plain(address) => {
                let endpoint = builder.build()?;
                (endpoint.clone(), endpoint.connect(*address).await?)
            }
            Self::Secure(goal) => {
                let (ticket, identity) = &**goal;
                let endpoint = builder.identity(identity.clone()).build()?;
                (endpoint.clone(), endpoint.connect(ticket).await?)
            }
        };
        Ok((endpoint, association))
    }
}

/// Phase of the newcomers.
pub(crate) struct Phase(AtomicU8);

impl Phase {
    /// They come, and nobody looks at them.
    pub(crate) const UNWATCHED: u8 = 0;
    pub(crate) const WATCHED: u8 = 1;
    /// Nobody comes any more.
    pub(crate) const OVER: u8 = 2;

    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU8::new(Self::UNWATCHED)))
    }

    pub(crate) fn set(&self, phase: u8) {
        self.0.store(phase, Ordering::Relaxed);
    }
}

/// Newcomers that connect one after another, each from an address of its own. Returns the time that each took that
/// began while the flood was watched, `None` for those that gave up.
pub(crate) async fn come(goal: Goal, phase: Arc<Phase>) -> Vec<Option<Duration>> {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut watched = JoinSet::new();
    let addresses =
        (0..=u8::MAX).flat_map(|high| (1..=250).map(move |low| SocketAddr::from(([127, 99, high, low], 0))));
    for address in addresses {
        ticks.tick().await;
        let visit = visit(goal.clone(), address);
        match phase.0.load(Ordering::Relaxed) {
            Phase::OVER => break,
            Phase::WATCHED => drop(watched.spawn(visit)),
            _ => drop(tokio::spawn(visit)),
        }
    }
    watched.join_all().await
}

async fn visit(goal: Goal, from: SocketAddr) -> Option<Duration> {
    let begun = Instant::now();
    let (_endpoint, association) = tokio::time::timeout(PATIENCE, goal.connect(from)).await.ok()?.ok()?;
    let taken = begun.elapsed();
    association.abort("only a visit");
    Some(taken)
}
