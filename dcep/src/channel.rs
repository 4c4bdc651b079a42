//! One channel: its state, its inbox, and its send queue.

mod inbox;
mod sending;

use narrowboat_sctp::{SendOptions, StreamId};

pub(crate) use inbox::{ChannelInbox, Content, InboundMessage};
pub(crate) use sending::ChannelSending;

use crate::error::ChannelError;
use crate::options::ChannelOptions;
use crate::ready_state::ReadyState;
use crate::stats::ChannelStats;

/// Origin of a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// Opened here, with DATA_CHANNEL_OPEN.
    Local,
    /// Opened by the peer, with DATA_CHANNEL_OPEN.
    Peer,
    /// Created by the applications of both ends.
    Negotiated,
}

/// Cause for which a channel starts to close.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum CloseCause {
    /// The application closed it: accepted messages are sent, and arriving ones are delivered.
    Application,
    /// The peer reset its side: no message arrives any more, and unsent ones are discarded.
    Peer,
    /// The peer violated the protocol: unsent messages and arriving ones are discarded.
    Violation(ChannelError),
}

/// One channel. The resets of its stream are tracked in [`Stream`](crate::stream::Stream).
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) options: ChannelOptions,
    pub(crate) stream: StreamId,
    pub(crate) origin: Origin,
    state: ReadyState,
    /// True if a message has arrived from the peer, which then knows of the channel (RFC 8832 §6).
    is_confirmed_by_peer: bool,
    pub(crate) sending: ChannelSending,
    pub(crate) inbox: ChannelInbox,
    pub(crate) ending: ChannelEnding,
}

/// The end of a channel: the actions that led to it, and its error.
#[derive(Debug, Default)]
pub(crate) struct ChannelEnding {
    /// True if the application closed the channel before the peer did.
    is_closed_locally: bool,
    /// True if the peer has reset its direction.
    pub(crate) is_reset_by_peer: bool,
    /// True if the application has released the channel.
    pub(crate) is_released: bool,
    error: Option<ChannelError>,
}

impl Channel {
    pub(crate) fn new(origin: Origin, options: ChannelOptions, stream: StreamId) -> Self {
        Self {
            options,
            stream,
            origin,
            state: ReadyState::Connecting,
            is_confirmed_by_peer: origin == Origin::Peer,
            sending: ChannelSending::default(),
            inbox: ChannelInbox::default(),
            ending: ChannelEnding::default(),
        }
    }

    /// Returns the counters of both directions.
    pub(crate) fn stats(&self) -> ChannelStats {
        let (sent, received) = (&self.sending.counters, &self.inbox.counters);
        ChannelStats {
            messages_sent: sent.messages,
            bytes_sent: sent.bytes,
            messages_received: received.messages,
            bytes_received: received.bytes,
            abandoned: sent.abandoned.clone(),
        }
    }

    pub(crate) fn state(&self) -> ReadyState {
        self.state
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state == ReadyState::Closed
    }

    pub(crate) fn is_closed_locally(&self) -> bool {
        self.ending.is_closed_locally
    }

    /// Returns the error that the channel will end with, if it is known already.
    pub(crate) fn error(&self) -> Option<&ChannelError> {
        self.ending.error.as_ref()
    }

    /// Returns `true` if the peer has not answered DATA_CHANNEL_OPEN yet.
    pub(crate) fn awaits_ack(&self) -> bool {
        self.origin == Origin::Local && !self.is_confirmed_by_peer
    }

    /// Returns the options of the next message. Until the first message of the peer, a channel that was opened here
    /// sends in order, so that no message overtakes DATA_CHANNEL_OPEN (RFC 8832 §6).
    pub(crate) fn send_options(&self) -> SendOptions {
        SendOptions {
            unordered: !self.options.ordered && !self.awaits_ack(),
            reliability: self.options.reliability,
            ..SendOptions::default()
        }
    }

    /// Returns `true` if `send` may queue a message.
    pub(crate) fn can_send(&self) -> bool {
        matches!(self.state, ReadyState::Connecting | ReadyState::Open)
    }

    /// Returns `true` for a negotiated channel whose peer has sent nothing, and may not have created its end.
    pub(crate) fn may_be_alone(&self) -> bool {
        self.origin == Origin::Negotiated && !self.is_confirmed_by_peer
    }

    /// Handles the arrival of a message of the peer.
    pub(crate) fn on_confirmed_by_peer(&mut self) {
        self.is_confirmed_by_peer = true;
    }

    /// Changes the state from connecting to open. Returns `false` if the channel is in another state, which stays.
    pub(crate) fn on_open(&mut self) -> bool {
        let connecting = self.state == ReadyState::Connecting;
        if connecting {
            tracing::debug!(stream_id = %self.stream, ready_state = ?ReadyState::Open, "ready state changed");
            self.state = ReadyState::Open;
        }
        connecting
    }

    /// Changes the state from connecting or open to closing. Returns `false` if the channel is closing or closed
    /// already; then nothing changes.
    pub(crate) fn on_closing(&mut self, cause: CloseCause) -> bool {
        if !self.can_send() {
            return false;
        }
        tracing::debug!(stream_id = %self.stream, ready_state = ?ReadyState::Closing, ?cause, "ready state changed");
        match cause {
            CloseCause::Application => self.ending.is_closed_locally = true,
            // RFC 8832 §6: a reset before the ACK says that the peer does not want the channel.
            CloseCause::Peer if self.awaits_ack() => self.ending.error = Some(ChannelError::Refused),
            CloseCause::Peer => {}
            CloseCause::Violation(error) => {
                self.ending.error = Some(error);
                self.inbox.close();
            }
        }
        self.state = ReadyState::Closing;
        self.sending.awaits_room = false;
        true
    }

    /// Changes any state to closed. Returns the error for the event; `None` if the channel is closed already. The first
    /// error is the one that is reported.
    pub(crate) fn on_closed(&mut self, error: Option<ChannelError>) -> Option<Option<ChannelError>> {
        if self.is_closed() {
            return None;
        }
        self.state = ReadyState::Closed;
        self.sending.awaits_room = false;
        self.sending.control = None;
        let error = self.ending.error.take().or(error);
        let shown = error.as_ref().map(tracing::field::display);
        tracing::debug!(stream_id = %self.stream, ready_state = ?self.state, error = shown, "ready state changed");
        Some(error)
    }

    /// Sets the error that the channel will end with, unless there is one.
    pub(crate) fn set_error(&mut self, error: ChannelError) {
        self.ending.error.get_or_insert(error);
    }

    pub(crate) fn check_consistency(&self) {
        assert!(!self.sending.awaits_room || self.can_send(), "only a channel that may send waits for room");
        assert!(
            self.sending.control.is_none() || self.origin != Origin::Negotiated,
            "a negotiated channel sends no DCEP"
        );
        assert!(self.sending.control.is_none() || !self.is_closed(), "a closed channel sends nothing");
        assert!(
            !self.ending.is_released || (self.inbox.is_closed() && self.inbox.len() == 0),
            "a released channel is not read"
        );
        assert!(self.state != ReadyState::Open || self.ending.error.is_none(), "an open channel has no error");
        assert!(!self.sending.has_discarded() || !self.can_send(), "only a closing channel discards");
        self.sending.check_consistency();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(origin: Origin, state: ReadyState) -> Channel {
        let mut channel =
            Channel::new(origin, ChannelOptions { ordered: false, ..ChannelOptions::default() }, StreamId(0));
        channel.state = state;
        channel
    }

    type Step = (&'static str, fn(&mut Channel) -> bool);

    #[test]
    fn a_channel_only_moves_from_connecting_towards_closed() {
        use ReadyState::{Closed, Closing, Connecting, Open};
        let steps: [Step; 5] = [
            ("open", Channel::on_open),
            ("close", |c| c.on_closing(CloseCause::Application)),
            ("reset", |c| c.on_closing(CloseCause::Peer)),
            ("violation", |c| c.on_closing(CloseCause::Violation(ChannelError::BadText))),
            ("closed", |c| c.on_closed(None).is_some()),
        ];
        let table = [
            (Connecting, [Open, Closing, Closing, Closing, Closed]),
            (Open, [Open, Closing, Closing, Closing, Closed]),
            (Closing, [Closing, Closing, Closing, Closing, Closed]),
            (Closed, [Closed, Closed, Closed, Closed, Closed]),
        ];
        for (before, row) in table {
            for ((name, step), after) in steps.iter().zip(row) {
                let mut channel = channel(Origin::Peer, before);
                assert_eq!(step(&mut channel), before != after, "{name} when {before:?}");
                assert_eq!(channel.state(), after, "{name} when {before:?}");
                channel.check_consistency();
            }
        }
    }

    #[test]
    fn j12_data_is_sent_in_order_until_the_peer_has_been_heard() {
        let mut opener = channel(Origin::Local, ReadyState::Open);
        assert!(!opener.send_options().unordered);
        opener.on_confirmed_by_peer();
        assert!(opener.send_options().unordered);
        assert!(channel(Origin::Peer, ReadyState::Open).send_options().unordered);
        assert!(channel(Origin::Negotiated, ReadyState::Open).send_options().unordered);
    }

    #[test]
    fn a_reset_before_the_ack_is_a_refusal_and_after_it_is_none() {
        for (origin, is_confirmed_by_peer, expected) in [
            (Origin::Local, false, Some(ChannelError::Refused)),
            (Origin::Local, true, None),
            (Origin::Peer, false, None),
            (Origin::Negotiated, false, None),
        ] {
            let mut channel = channel(origin, ReadyState::Open);
            if is_confirmed_by_peer {
                channel.on_confirmed_by_peer();
            }
            channel.on_closing(CloseCause::Peer);
            assert_eq!(channel.on_closed(None), Some(expected));
            assert_eq!(channel.on_closed(None), None, "closed once");
        }
    }

    #[test]
    fn the_first_error_is_the_one_reported() {
        let mut channel = channel(Origin::Peer, ReadyState::Open);
        channel.on_closing(CloseCause::Violation(ChannelError::BadText));
        channel.set_error(ChannelError::PeerClosed { discarded: 1 });
        assert_eq!(channel.on_closed(Some(ChannelError::PeerRestarted)), Some(Some(ChannelError::BadText)));
    }
}
