//! The recount of the queues.

use super::StreamQueues;

impl StreamQueues {
    /// Returns how much was counted.
    pub(crate) fn check_consistency(&self) -> usize {
        let (mut total, mut counted) = (0, self.streams.len());
        let mut charged = 0;
        #[expect(clippy::iter_over_hash_type, reason = "a check in any order")]
        for (id, stream) in &self.streams {
            let buffered: usize = stream.messages.iter().map(|message| message.rest.len()).sum();
            assert_eq!(buffered, stream.buffered, "buffered amount of stream {id}");
            let charge: usize = stream.messages.iter().map(|message| message.charge(self.totals.chunk_max)).sum();
            charged += charge;
            let begun = stream.messages.iter().skip(1).filter(|message| message.is_begun()).count();
            assert_eq!(begun, 0, "only the first message of a stream may be half sent");
            assert!(stream.messages.iter().all(|message| !message.rest.is_empty()));
            total += buffered;
            counted += stream.messages.len();
        }
        assert_eq!(total, self.totals.buffered, "buffered amount of all streams");
        assert_eq!(charged, self.totals.charge, "charge of all streams");
        self.check_deadlines();
        let active = self.streams.iter().filter(|(_, stream)| !stream.messages.is_empty());
        self.scheduler.check_consistency(active.map(|(id, stream)| (*id, &stream.turn)));
        let waiting = self.streams.values().flat_map(|stream| &stream.messages);
        let prioritized = waiting.filter(|message| message.prioritized().is_some()).count();
        assert_eq!(prioritized, self.priorities.len(), "messages with a priority");
        counted
    }
}
