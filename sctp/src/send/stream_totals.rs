//! Sums over the queues of all streams, and the notices that follow from their changes.

use super::notices::Notices;
use super::outgoing_stream::OutgoingStream;
use crate::event::AssociationEvent;
use crate::message::StreamId;

/// Bytes of messages that have left a queue, and what they were charged with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Left {
    pub(super) bytes: usize,
    pub(super) charge: usize,
}

/// Sums over all streams, and limits.
#[derive(Debug, Default)]
pub(super) struct StreamTotals {
    pub(super) buffered: usize,
    pub(super) charge: usize,
    /// Charge of a stream from which on it refuses messages.
    pub(super) stream_max: usize,
    /// Most bytes of a message in one chunk, for charging: how many chunks a message will be sent in.
    pub(super) chunk_max: usize,
    /// True if there is room on a stream that has refused a message.
    pub(super) has_room: bool,
    /// Streams under reset whose queue has run empty, until someone asks.
    pub(super) drained: Vec<StreamId>,
}

impl StreamTotals {
    /// Keeps the sums, and reports a crossing of the threshold (W3C `bufferedamountlow`).
    #[inline]
    pub(super) fn on_left_queue(
        &mut self,
        stream: StreamId,
        queue: &mut OutgoingStream,
        Left { bytes, charge }: Left,
        notices: &mut Notices,
    ) {
        let was_above = queue.buffered > queue.low_threshold;
        queue.buffered -= bytes;
        self.buffered -= bytes;
        self.charge -= charge;
        if queue.was_refused && queue.charge() < self.stream_max {
            queue.was_refused = false;
            self.has_room = true;
        }
        if was_above && queue.buffered <= queue.low_threshold {
            notices.push(AssociationEvent::BufferedAmountLow(stream));
        }
        if queue.is_resetting && bytes > 0 && queue.messages.is_empty() {
            self.drained.push(stream);
        }
    }
}
