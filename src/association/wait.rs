//! The future of a task that waits on an association or a channel.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Instant;

use super::inner::Inner;
use super::shared::Shared;
use crate::waiters::{Interest, WaitKey, WaiterKey};

/// Key of the tasks that wait until an association is established, or has ended.
pub(crate) const PROGRESS: WaitKey = WaitKey { channel: None, interest: Interest::Progress };

/// A task that waits on the association or a channel. Dropping it ends the wait.
#[derive(Debug)]
pub(crate) struct WaitFuture<'a> {
    shared: &'a Shared,
    wait_key: WaitKey,
    key: WaiterKey,
}

impl<'a> WaitFuture<'a> {
    pub(crate) fn new(shared: &'a Shared, wait_key: WaitKey) -> Self {
        Self { shared, wait_key, key: WaiterKey::default() }
    }

    /// Polls an attempt now, and again after each event that it waits for, until it is ready.
    pub(crate) async fn wait<R>(&mut self, mut attempt: impl FnMut(&mut Inner, Instant) -> Poll<R>) -> R {
        poll_fn(|cx| self.shared.poll(cx, self.wait_key, &mut self.key, &mut attempt)).await
    }
}

impl Drop for WaitFuture<'_> {
    fn drop(&mut self) {
        self.shared.stop_waiting(self.wait_key, &self.key);
    }
}
