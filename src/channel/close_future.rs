//! The future of a channel's close.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use narrowboat_dcep::ChannelId;

use crate::association::Shared;
use crate::error::ChannelError;
use crate::waiters::{Interest, WaitKey, WaiterKey};

/// Resolves when both directions of a closing channel are reset; see [`DataChannel::close`](crate::DataChannel::close).
/// It may be dropped, and may outlive every handle of the channel and of its association.
pub struct Closing {
    shared: Arc<Shared>,
    id: ChannelId,
    key: WaiterKey,
}

impl Closing {
    pub(crate) fn new(shared: Arc<Shared>, id: ChannelId) -> Self {
        shared.read(|inner| inner.hold_reference(id));
        Self { shared, id, key: WaiterKey::default() }
    }
}

impl Future for Closing {
    type Output = Result<(), ChannelError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { shared, id, key } = self.get_mut();
        let wait_key = WaitKey { channel: Some(*id), interest: Interest::Life };
        shared.poll(cx, wait_key, key, |inner, _| inner.poll_end(*id))
    }
}

impl fmt::Debug for Closing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Closing")
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.shared.unregister(Some(self.id), &self.key);
        self.shared.command(|inner, _| inner.release_reference(self.id));
    }
}
