//! A channel in two halves.

use narrowboat_dcep::Message;

use super::{Closing, DataChannel, Receipt};
use crate::error::{ChannelError, SendError, TryRecvError, TrySendError};

/// The half of a channel that sends; see [`DataChannel::split`].
#[derive(Debug)]
pub struct SendHalf {
    pub(super) channel: DataChannel,
}

impl SendHalf {
    pub(super) fn new(channel: DataChannel) -> Self {
        Self { channel }
    }

    /// Sends a message; see [`DataChannel::send`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// As there: the whole message or nothing.
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        self.channel.send(message).await
    }

    /// Sends a message and returns its receipt; see [`DataChannel::send_with_receipt`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// As there: the whole message or nothing.
    pub async fn send_with_receipt(&self, message: impl Into<Message>) -> Result<Receipt, SendError> {
        self.channel.send_with_receipt(message).await
    }

    /// Sends a message without waiting; see [`DataChannel::try_send`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), TrySendError> {
        self.channel.try_send(message)
    }

    /// Sends a message without waiting and returns its receipt; see [`DataChannel::try_send_with_receipt`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_send_with_receipt(&self, message: impl Into<Message>) -> Result<Receipt, TrySendError> {
        self.channel.try_send_with_receipt(message)
    }

    /// Closes the whole channel; see [`DataChannel::close`].
    pub fn close(&self) -> Closing {
        self.channel.close()
    }

    /// Returns the channel itself, for everything else.
    #[must_use]
    pub fn channel(&self) -> &DataChannel {
        &self.channel
    }
}

/// The half of a channel that receives; see [`DataChannel::split`].
#[derive(Debug)]
pub struct RecvHalf {
    pub(super) channel: DataChannel,
}

impl RecvHalf {
    pub(super) fn new(channel: DataChannel) -> Self {
        Self { channel }
    }

    /// Receives a message; see [`DataChannel::recv`].
    ///
    /// # Cancel safety
    ///
    /// A dropped future has taken no message.
    pub async fn recv(&self) -> Option<Result<Message, ChannelError>> {
        self.channel.recv().await
    }

    /// Receives a message without waiting; see [`DataChannel::try_recv`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_recv(&self) -> Result<Message, TryRecvError> {
        self.channel.try_recv()
    }

    /// Returns the channel itself, for everything else.
    #[must_use]
    pub fn channel(&self) -> &DataChannel {
        &self.channel
    }
}
