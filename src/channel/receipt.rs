//! The receipt of a message.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use narrowboat_sctp::{AbandonReason, ReceiptId, ReceiptStatus};

use crate::association::{Shared, WaitFuture};
use crate::waiters::{Interest, WaitKey, WaiterKey};

/// Receipt of a message, which reports its progress; see
/// [`DataChannel::send_with_receipt`](crate::DataChannel::send_with_receipt).
///
/// It is a future that resolves when the peer has acknowledged the message, or the message was abandoned: its lifetime
/// or latency budget was over, it was lost and may not be retransmitted, newer messages took its place, its channel was
/// closed, or the association ended. Every receipt ends.
///
/// An acknowledged message is in the memory of the peer, and so is everything that was sent before it on any channel
/// and was not abandoned (RFC 9260 §6.2.1, RFC 3758 §3.5). A lost packet of any channel before it delays the receipt.
/// The peer's application may not have read it: only an answer of the application tells that. An abandoned message that
/// was [sent](Self::sent) may have arrived all the same.
///
/// Dropping a receipt does nothing to its message, and keeps nothing. A receipt may outlive every handle of its channel
/// and of its association.
///
/// # Cancel safety
///
/// The receipt can be awaited by reference, as often as needed: `(&mut receipt).await`.
pub struct Receipt {
    shared: Arc<Shared>,
    id: ReceiptId,
    key: WaiterKey,
}

impl Receipt {
    /// Creates the receipt of a message whose entry exists.
    pub(crate) fn new(shared: Arc<Shared>, id: ReceiptId) -> Self {
        Self { shared, id, key: WaiterKey::default() }
    }

    /// Returns the progress of the message.
    #[must_use]
    pub fn status(&self) -> ReceiptStatus {
        self.shared.read(|inner| inner.tasks.receipts.status(self.id))
    }

    /// Waits until all of the message was sent at least once.
    ///
    /// # Errors
    ///
    /// The reason for which it was abandoned before.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, nothing changes.
    pub async fn sent(&self) -> Result<(), AbandonReason> {
        let id = self.id;
        WaitFuture::new(&self.shared, wait_key(id)).wait(|inner, _| inner.tasks.receipts.poll_sent(id)).await
    }
}

fn wait_key(id: ReceiptId) -> WaitKey {
    WaitKey { channel: None, interest: Interest::Receipt(id) }
}

impl Future for Receipt {
    type Output = Result<(), AbandonReason>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { shared, id, key } = self.get_mut();
        shared.poll(cx, wait_key(*id), key, |inner, _| inner.tasks.receipts.poll_acknowledged(*id))
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        // Its wakers are dropped after the lock.
        drop(self.shared.command(|inner, _| inner.forget_receipt(self.id)));
    }
}
