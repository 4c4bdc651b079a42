//! The life of an association at this layer: from its first handle to its last datagram.

use std::task::Poll;

use crate::error::CloseReason;

/// State of an association that its handles, its driver and the endpoint go by. SCTP has states of its own below
/// (RFC 9260 §4).
#[derive(Debug)]
pub(crate) struct Lifecycle {
    /// Handles of the association and of its channels.
    handles: usize,
    /// True if the association is established, or was before it ended.
    was_connected: bool,
    /// True if the association accepted messages at the last check: it does not after the peer's SHUTDOWN.
    accepts_messages: bool,
    /// True if this end has begun to end the association.
    is_ending: bool,
    /// True if this end has begun to end the association, before it had heard that the peer did.
    is_ended_here: bool,
    /// Reason for which the association has ended.
    closed: Option<CloseReason>,
    /// True if the last datagram has left too, and the endpoint has removed the association.
    is_finished: bool,
    /// The ABORT to be sent after a panic; empty once it is sent. `None` as long as there was no panic.
    last_packet: Option<Vec<u8>>,
}

impl Lifecycle {
    pub(super) fn new() -> Self {
        Self {
            handles: 0,
            was_connected: false,
            accepts_messages: true,
            is_ending: false,
            is_ended_here: false,
            closed: None,
            is_finished: false,
            last_packet: None,
        }
    }

    /// Counts one more handle.
    pub(super) fn hold(&mut self) {
        self.handles += 1;
    }

    /// Counts one handle less. Returns `true` if it was the last one.
    pub(super) fn release(&mut self) -> bool {
        self.handles -= 1;
        self.handles == 0
    }

    pub(super) fn handles(&self) -> usize {
        self.handles
    }

    pub(super) fn on_connected(&mut self) {
        self.was_connected = true;
    }

    /// Returns `true` if the association is established, or was before it ended.
    pub(crate) fn was_connected(&self) -> bool {
        self.was_connected
    }

    /// Returns `true` if the association was established and has not ended.
    pub(crate) fn is_connected(&self) -> bool {
        self.was_connected && self.closed.is_none()
    }

    /// Records that the association accepts messages or does not. Returns `true` if it has just stopped.
    pub(super) fn on_acceptance(&mut self, accepts_messages: bool) -> bool {
        std::mem::replace(&mut self.accepts_messages, accepts_messages) && !accepts_messages
    }

    /// Begins the end of the association by this end. `is_first` if the peer has not begun it before.
    pub(super) fn begin_shutdown(&mut self, is_first: bool) {
        self.is_ending = true;
        self.is_ended_here = is_first;
    }

    /// Begins the end of the association by an ABORT.
    pub(super) fn begin_abort(&mut self) {
        self.is_ending = true;
    }

    /// Returns `true` if this end is ending the association, or the association has ended.
    pub(crate) fn is_ending(&self) -> bool {
        self.is_ending || self.closed.is_some()
    }

    /// Returns `true` if this end began to shut the association down before it had heard that the peer did.
    pub(super) fn is_ended_here(&self) -> bool {
        self.is_ended_here
    }

    pub(super) fn on_closed(&mut self, reason: CloseReason) {
        self.closed = Some(reason);
    }

    /// Returns `true` if the association has ended. Its last datagram may still have to be sent.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// Returns the reason of the end, once the association has ended.
    pub(super) fn reason(&self) -> Option<&CloseReason> {
        self.closed.as_ref()
    }

    /// Records that the last datagram has left.
    pub(super) fn finish(&mut self) {
        self.is_finished = true;
    }

    /// Returns the reason of the end, once the last datagram has left too.
    pub(super) fn poll_finished(&self) -> Poll<CloseReason> {
        self.closed.clone().filter(|_| self.is_finished).map_or(Poll::Pending, Poll::Ready)
    }

    /// Ends the association after a panic. Returns the reason of its end: an earlier one, if it had ended before.
    pub(super) fn fail(&mut self, last_packet: Vec<u8>, reason: CloseReason) -> CloseReason {
        self.is_ending = true;
        self.last_packet = Some(last_packet);
        self.closed.get_or_insert(reason).clone()
    }

    /// Returns `true` if a panic has left the SCTP association in an unknown state: it is not called any more.
    pub(super) fn is_failed(&self) -> bool {
        self.last_packet.is_some()
    }

    /// Returns the ABORT to be sent after a panic, empty once it was taken; `None` if there was no panic.
    pub(super) fn take_last_packet(&mut self) -> Option<Vec<u8>> {
        self.last_packet.as_mut().map(std::mem::take)
    }

    /// Returns the state as a word, for logs.
    pub(crate) fn word(&self) -> &'static str {
        match (&self.closed, self.is_ending, self.was_connected) {
            (Some(_), _, _) => "closed",
            (None, true, _) => "closing",
            (None, false, true) => "connected",
            (None, false, false) => "connecting",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_handle_of_several_is_told_apart() {
        let mut life = Lifecycle::new();
        (0..3).for_each(|_| life.hold());
        assert_eq!([(); 3].map(|()| life.release()), [false, false, true]);
    }

    #[test]
    fn an_association_is_connecting_then_connected_then_closing_then_closed() {
        let mut life = Lifecycle::new();
        assert_eq!((life.word(), life.is_connected(), life.is_ending()), ("connecting", false, false));
        life.on_connected();
        assert_eq!((life.word(), life.is_connected(), life.is_ending()), ("connected", true, false));
        life.begin_shutdown(true);
        assert_eq!((life.word(), life.is_connected(), life.is_ending()), ("closing", true, true));
        assert!(life.is_ended_here());
        life.on_closed(CloseReason::Shutdown);
        assert_eq!((life.word(), life.is_connected(), life.was_connected()), ("closed", false, true));
    }

    #[test]
    fn an_abort_and_a_shutdown_after_that_of_the_peer_are_not_an_end_by_this_end() {
        let mut life = Lifecycle::new();
        life.begin_abort();
        assert!(life.is_ending() && !life.is_ended_here());
        let mut life = Lifecycle::new();
        life.begin_shutdown(false);
        assert!(life.is_ending() && !life.is_ended_here());
    }

    #[test]
    fn the_end_is_returned_when_the_last_datagram_has_left() {
        let mut life = Lifecycle::new();
        life.on_closed(CloseReason::Shutdown);
        assert_eq!(life.poll_finished(), Poll::Pending);
        life.finish();
        assert_eq!(life.poll_finished(), Poll::Ready(CloseReason::Shutdown));
    }

    #[test]
    fn senders_are_woken_once_when_no_message_is_accepted_any_more() {
        let mut life = Lifecycle::new();
        assert_eq!([true, false, false].map(|accepts| life.on_acceptance(accepts)), [false, true, false]);
    }

    #[test]
    fn a_failed_association_has_one_last_packet_and_keeps_its_first_reason() {
        let mut life = Lifecycle::new();
        assert!(!life.is_failed() && life.take_last_packet().is_none());
        life.on_closed(CloseReason::Shutdown);
        assert_eq!(life.fail(vec![1, 2], CloseReason::PeerUnreachable), CloseReason::Shutdown);
        assert!(life.is_failed() && life.is_ending());
        assert_eq!([(); 2].map(|()| life.take_last_packet()), [Some(vec![1, 2]), Some(vec![])]);
    }
}
