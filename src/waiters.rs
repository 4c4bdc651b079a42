//! Tasks that wait for an event.
//!
//! Every waiter of a kind is woken, and polls again under the lock. So no wake-up is lost when the task that got it is
//! dropped before it ran, and a budget that many tasks share starves none of them.

use std::task::Waker;

use narrowboat_dcep::ChannelId;
use narrowboat_sctp::ReceiptId;

/// An event that a task waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Interest {
    /// Room to send on a channel.
    Send,
    /// A message on a channel.
    Receive,
    /// A channel's buffered amount to fall.
    Low,
    /// An event of a channel, a change of its state among them.
    Life,
    /// A channel that the peer opens, or an association that a peer opens.
    Accept,
    /// The association to be established, or to end; an endpoint to be idle.
    Progress,
    /// Progress of the message with this receipt.
    Receipt(ReceiptId),
}

/// The channel that a task waits on, or without one the association or a receipt, and the event that it waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitKey {
    pub(crate) channel: Option<ChannelId>,
    pub(crate) interest: Interest,
}

/// Key of a waiter, kept by its future or handle. Zero until it first waits.
#[derive(Debug, Default)]
pub(crate) struct WaiterKey(u64);

#[derive(Debug)]
struct Waiter {
    key: u64,
    interest: Interest,
    waker: Waker,
}

/// The waiting tasks, in the order in which they were registered.
///
/// Wakers are returned for waking and for dropping, never woken or dropped in here: both may run code of the
/// application, which must not happen under a lock that the application's next call takes.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    keys: u64,
    waiting: Vec<Waiter>,
}

impl Waiters {
    /// Registers a task, or updates its waker. Returns the waker that this replaces.
    #[must_use = "drop it after the lock"]
    pub(crate) fn register(&mut self, key: &mut WaiterKey, interest: Interest, waker: &Waker) -> Option<Waker> {
        if key.0 == 0 {
            self.keys += 1;
            key.0 = self.keys;
        } else if let Some(waiter) = self.waiting.iter_mut().find(|waiter| waiter.key == key.0) {
            waiter.interest = interest;
            let same = waiter.waker.will_wake(waker);
            return (!same).then(|| std::mem::replace(&mut waiter.waker, waker.clone()));
        }
        self.waiting.push(Waiter { key: key.0, interest, waker: waker.clone() });
        None
    }

    /// Removes a task that does not wait any more. Returns its waker.
    #[must_use = "drop it after the lock"]
    pub(crate) fn remove(&mut self, key: &WaiterKey) -> Option<Waker> {
        let at = self.waiting.iter().position(|waiter| waiter.key == key.0)?;
        Some(self.waiting.remove(at).waker)
    }

    /// Moves the wakers of all tasks that wait for `interest` to `wakers`.
    pub(crate) fn wake(&mut self, interest: Interest, wakers: &mut Vec<Waker>) {
        if self.waiting.iter().any(|waiter| waiter.interest == interest) {
            wakers.extend(self.waiting.extract_if(.., |waiter| waiter.interest == interest).map(|waiter| waiter.waker));
        }
    }

    /// Moves every waker to `wakers`.
    pub(crate) fn wake_all(&mut self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.waiting.drain(..).map(|waiter| waiter.waker));
    }

    /// Returns `true` if no task waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

impl WaiterKey {
    /// Returns `true` if a task has ever waited with this key, and may have to be removed.
    pub(crate) fn is_used(&self) -> bool {
        self.0 != 0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[test]
    fn everyone_who_waits_for_a_thing_is_woken_in_order_and_nobody_else() {
        let (mut waiters, mut wakers) = (Waiters::default(), Vec::new());
        let mut keys = [(); 4].map(|()| WaiterKey::default());
        for (key, interest) in keys.iter_mut().zip([Interest::Send, Interest::Receive, Interest::Send, Interest::Low]) {
            assert!(waiters.register(key, interest, Waker::noop()).is_none());
            // Polled again without having been woken: still one entry. `will_wake` may fail to recognise a waker, so it
            // may be replaced by itself.
            drop(waiters.register(key, interest, Waker::noop()));
        }
        waiters.wake(Interest::Send, &mut wakers);
        assert_eq!((wakers.len(), waiters.waiting.len()), (2, 2));
        assert!(waiters.remove(&keys[1]).is_some());
        assert!(waiters.remove(&keys[1]).is_none());
        waiters.wake_all(&mut wakers);
        assert_eq!((wakers.len(), waiters.is_empty()), (3, true));
    }

    #[test]
    fn the_waker_of_the_last_poll_is_the_one_that_is_woken() {
        struct Count(AtomicUsize);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let counts = [(); 2].map(|()| Arc::new(Count(AtomicUsize::new(0))));
        let [first, second] = counts.each_ref().map(|count| Waker::from(Arc::clone(count)));
        let (mut waiters, mut wakers, mut key) = (Waiters::default(), Vec::new(), WaiterKey::default());
        assert!(waiters.register(&mut key, Interest::Low, &first).is_none());
        assert!(waiters.register(&mut key, Interest::Low, &second).is_some());
        waiters.wake(Interest::Low, &mut wakers);
        wakers.drain(..).for_each(Waker::wake);
        assert_eq!(counts.map(|count| count.0.load(Ordering::Relaxed)), [0, 1]);
        // Woken, and polled again: it waits again under its key.
        assert!(waiters.register(&mut key, Interest::Low, &first).is_none());
        assert!(waiters.remove(&key).is_some());
    }
}
