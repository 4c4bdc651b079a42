//! Channels as streams and sinks of messages.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_sink::Sink;
use narrowboat_dcep::Message;

use super::{DataChannel, RecvHalf, SendHalf};
use crate::error::{ChannelError, SendError, TrySendError};

/// As [`DataChannel::recv`].
impl Stream for DataChannel {
    type Item = Result<Message, ChannelError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_recv(cx)
    }
}

/// As [`DataChannel::send`]. A sink accepts a message after it was ready, although others may have filled the channel
/// since: it then keeps that one message itself, until it is polled again. Flushing says that the channel has accepted
/// everything, not that it has arrived. Closing it closes the channel, and waits for that.
impl Sink<Message> for DataChannel {
    type Error = SendError;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.poll_flush(cx)
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), Self::Error> {
        let this = self.get_mut();
        match this.try_send(message) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(message)) => {
                this.sink_message = Some(message);
                Ok(())
            }
            Err(TrySendError::Refused(error)) => Err(error),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let this = self.get_mut();
        if let Some(message) = this.sink_message.take() {
            let sent = this.poll_send(cx, || message.clone());
            if sent.is_pending() {
                this.sink_message = Some(message);
            }
            return sent;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        ready!(self.as_mut().poll_flush(cx))?;
        let this = self.get_mut();
        drop(this.close());
        this.poll_closed(cx).map_err(SendError::from)
    }
}

/// As the channel's.
impl Stream for RecvHalf {
    type Item = Result<Message, ChannelError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().channel.poll_recv(cx)
    }
}

/// As the channel's.
impl Sink<Message> for SendHalf {
    type Error = SendError;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Pin::new(&mut self.get_mut().channel).poll_ready(cx)
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), Self::Error> {
        Pin::new(&mut self.get_mut().channel).start_send(message)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Pin::new(&mut self.get_mut().channel).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Pin::new(&mut self.get_mut().channel).poll_close(cx)
    }
}
