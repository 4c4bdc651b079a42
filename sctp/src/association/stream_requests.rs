//! Requests to add streams, and to have the peer reset its side of streams (RFC 6525 §5.1.3, §5.1.5, §5.1.6).

use super::timer::Timer;
use super::{Association, State};
use crate::error::ResetError;
use crate::event::{AssociationEvent, StreamRequest};
use crate::message::StreamId;
use crate::reset::OtherRequest;
use crate::serial::RequestSn;
use crate::time::Instant;
use crate::wire::ResetResult;

/// Streams in one request to reset incoming streams: as many as every peer can read.
const STREAMS_MAX: usize = 240;

impl Association {
    /// Asks the peer to reset its outgoing side of streams; of all if `streams` is empty (RFC 6525 §5.1.3). If the peer
    /// does so, [`AssociationEvent::IncomingStreamsReset`] comes as for its own resets. A refusal is reported as
    /// [`AssociationEvent::RequestRefused`].
    ///
    /// # Errors
    ///
    /// See [`ResetError`]; at most 240 streams fit a request, and eight requests may wait.
    pub fn request_incoming_reset(&mut self, streams: &[StreamId]) -> Result<(), ResetError> {
        self.check_requests()?;
        if let Some(stream) = streams.iter().find(|stream| !stream.is_below(self.inbound_streams())) {
            return Err(ResetError::NoSuchStream(*stream));
        }
        if streams.len() > STREAMS_MAX {
            return Err(ResetError::TooManyRequests);
        }
        let result = self.enqueue_requests([Some(OtherRequest::ResetIncoming(streams.to_vec())), None]);
        self.conclude();
        result
    }

    /// Asks the peer for more streams: `outgoing` more that this end may send on, and `incoming` more that the peer
    /// does (RFC 6525 §5.1.5, §5.1.6). The outcome is [`AssociationEvent::OutgoingStreamsAdded`],
    /// [`AssociationEvent::IncomingStreamsAdded`] or [`AssociationEvent::RequestRefused`]. New streams have the ids
    /// behind those that exist.
    ///
    /// # Errors
    ///
    /// [`ResetError::TooManyStreams`] if there would be more than 65,535, or more incoming ones than
    /// `AssociationConfig::inbound_streams`; for the others see [`ResetError`].
    pub fn add_streams(&mut self, outgoing: u16, incoming: u16) -> Result<(), ResetError> {
        self.check_add_streams(outgoing, incoming)?;
        let requests = [
            (outgoing > 0).then_some(OtherRequest::AddOutgoing(outgoing)),
            (incoming > 0).then_some(OtherRequest::AddIncoming(incoming)),
        ];
        let result = self.enqueue_requests(requests);
        self.conclude();
        result
    }

    /// Checks a request for more streams without sending it.
    ///
    /// # Errors
    ///
    /// As [`add_streams`](Self::add_streams).
    pub fn check_add_streams(&self, outgoing: u16, incoming: u16) -> Result<(), ResetError> {
        self.check_requests()?;
        let has_outgoing = self.outbound_streams().checked_add(outgoing).is_some();
        let incoming_sum = self.inbound_streams().checked_add(incoming);
        if !has_outgoing || incoming_sum.is_none_or(|sum| incoming > 0 && sum > self.config.inbound_streams) {
            return Err(ResetError::TooManyStreams);
        }
        Ok(())
    }

    fn check_requests(&self) -> Result<(), ResetError> {
        if !matches!(self.state, State::Established | State::ShutdownReceived) {
            return Err(ResetError::NotEstablished);
        }
        if self.peer_supports_stream_reset() { Ok(()) } else { Err(ResetError::NotSupported) }
    }

    fn enqueue_requests(&mut self, requests: [Option<OtherRequest>; 2]) -> Result<(), ResetError> {
        let Some(tcb) = &mut self.tcb else { return Err(ResetError::NotEstablished) };
        for request in requests.into_iter().flatten() {
            if !tcb.own_requests.enqueue_other(request) {
                return Err(ResetError::TooManyRequests);
            }
        }
        Ok(())
    }

    /// Handles the peer's request that this end send on more streams (§5.2.6): it asks for them with a request of its
    /// own, one at a time, up to the configured limit.
    pub(super) fn add_streams_for_peer(&mut self, count: u16) -> ResetResult {
        let sum = self.outbound_streams().checked_add(count).filter(|sum| *sum <= self.config.outbound_streams);
        let Some(tcb) = self.tcb.as_mut().filter(|_| sum.is_some()) else { return ResetResult::Denied };
        if count == 0 {
            return ResetResult::NothingToDo;
        }
        let is_asking = tcb.own_requests.unanswered_others().any(|other| matches!(other, OtherRequest::AddOutgoing(_)));
        let is_begun = !is_asking && tcb.own_requests.enqueue_other(OtherRequest::AddOutgoing(count));
        if is_begun { ResetResult::Performed } else { ResetResult::ErrorInProgress }
    }

    /// Handles a request of the peer that may answer one of this end (§5.2.2 E1).
    pub(super) fn on_answered_by_request(&mut self, now: Instant, response: RequestSn) {
        let answered = self.tcb.as_mut().and_then(|tcb| tcb.own_requests.on_answered_by_request(response));
        if let Some(request) = answered {
            self.on_other_answered(now, request, ResetResult::Performed);
        }
    }

    /// Handles the end of a request that reset no outgoing streams (§5.2.7).
    pub(super) fn on_other_answered(&mut self, now: Instant, request: OtherRequest, result: ResetResult) {
        self.path.on_sign_of_life(now);
        self.timers.stop(Timer::Reconfig);
        let is_granted = matches!(result, ResetResult::Performed | ResetResult::NothingToDo);
        if !is_granted {
            let request = match request {
                OtherRequest::ResetIncoming(_) => StreamRequest::IncomingReset,
                OtherRequest::AddOutgoing(_) => StreamRequest::AddOutgoing,
                OtherRequest::AddIncoming(_) => StreamRequest::AddIncoming,
            };
            return self.events.push_back(AssociationEvent::RequestRefused { request, result });
        }
        // H6: these may be used from now on. The peer's side of the other two requests follows with its own request.
        if let (OtherRequest::AddOutgoing(count), Some(tcb)) = (request, &mut self.tcb) {
            let streams = &mut tcb.negotiated.outbound_streams;
            *streams = streams.saturating_add(count);
            self.events.push_back(AssociationEvent::OutgoingStreamsAdded(count));
        }
    }
}
