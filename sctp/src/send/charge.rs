//! Overhead that the send buffer counts, beside the bytes of the messages.
//!
//! Without the overhead a buffer of 48 MiB could be filled with fifty million messages of a byte, which take eighty
//! times as much memory. A charge does not change while a message moves from its queue to the ring of outstanding
//! chunks, so it is enough to check it when the message is accepted.

use std::collections::VecDeque;

/// Bytes charged for each chunk that a message will be sent in, from the acceptance of the message until the peer has
/// acknowledged the chunk or skipped it. Covers the greater of two: a slot in its stream's queue, whose capacity may be
/// [`WAITING_CAPACITY_MAX`] times its use; or a slot in the ring and one in a log of transmissions, an entry in the set
/// of lost chunks and half a range of gap reports. The capacities of ring and log may be twice their use.
pub(super) const CHUNK_OVERHEAD: usize = 352;

/// Bytes charged for each stream in use: an entry in a table of which half may be empty, and the first slots of its
/// queue.
pub(super) const STREAM_OVERHEAD: usize = 256;

/// Slots of a stream's queue for each message in it, at most. A message that waits has no chunk yet, so its overhead
/// covers more than two, and a queue that fills and drains by turns is moved less often.
const WAITING_CAPACITY_MAX: usize = 3;

/// Capacity below which nothing is given back.
const CAPACITY_KEPT: usize = 64;

/// Returns the most chunks that `bytes` are sent in, if one takes `chunk_max`. The first may be a small one that fills
/// a packet.
pub(super) fn chunks(bytes: usize, chunk_max: usize) -> usize {
    if bytes <= chunk_max { 1 } else { bytes / chunk_max + 2 }
}

/// Adds an item to a queue whose capacity grows by half.
#[inline]
pub(super) fn push_back<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() == queue.capacity() {
        queue.reserve_exact((queue.len() / 2).max(1));
    }
    queue.push_back(item);
}

/// Gives back what a queue holds in excess of twice its use. Called after each removal, it costs a constant on average.
pub(super) fn shrink<T>(queue: &mut VecDeque<T>) {
    shrink_beyond(2, queue);
}

/// Adds a message to the queue of a stream, whose capacity doubles.
pub(super) fn push_waiting<T>(queue: &mut VecDeque<T>, message: T) {
    if queue.len() == queue.capacity() {
        queue.reserve_exact(queue.len().max(1));
    }
    queue.push_back(message);
}

/// Gives back what the queue of a stream holds in excess of [`WAITING_CAPACITY_MAX`] times its use.
pub(super) fn shrink_waiting<T>(queue: &mut VecDeque<T>) {
    shrink_beyond(WAITING_CAPACITY_MAX, queue);
}

#[inline]
fn shrink_beyond<T>(factor: usize, queue: &mut VecDeque<T>) {
    if queue.capacity() > CAPACITY_KEPT && queue.len() < queue.capacity() / factor {
        queue.shrink_to((queue.len() / 2 * 3).max(CAPACITY_KEPT));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::outstanding::Chunk;
    use super::super::queued::{Fragment, Limit, MessageHeader, NextMessage, QueuedMessage};
    use super::super::rack::Transmission;
    use super::*;
    use crate::error::SendMessageError;
    use crate::event::AssociationEvent;
    use crate::message::{Ppid, ReceivedMessage, StreamId};
    use crate::serial::{Fsn, MessageKey, Mid};
    use crate::testing::some_time;

    #[test]
    fn the_overhead_covers_what_a_chunk_holds() {
        let outstanding = 2 * (size_of::<Chunk>() + size_of::<Transmission>()) + 24 + size_of::<(u64, u64)>();
        let queued = WAITING_CAPACITY_MAX * size_of::<QueuedMessage>();
        assert!(outstanding.max(queued) <= CHUNK_OVERHEAD, "{outstanding} and {queued} bytes");
    }

    /// Each of these is moved several times for a message: larger ones cost instructions on the way of every chunk.
    #[test]
    fn what_moves_with_each_message_stays_small() {
        let sizes = [
            ("outstanding chunk", size_of::<Chunk>(), 128),
            ("record of a transmission", size_of::<Transmission>(), 16),
            ("message that waits", size_of::<QueuedMessage>(), 104),
            ("fragment", size_of::<Fragment>(), 96),
            ("message whose turn it is", size_of::<NextMessage>(), 48),
            ("received message", size_of::<ReceivedMessage>(), 88),
            ("event", size_of::<AssociationEvent>(), 88),
            ("error of send", size_of::<SendMessageError>(), 24),
        ];
        for (name, size, max) in sizes {
            assert!(size <= max, "{name}: {size} bytes, above {max}");
        }
    }

    fn waiting_message() -> QueuedMessage {
        let header = MessageHeader {
            key: MessageKey::default(),
            stream: StreamId(0),
            mid: Mid::default(),
            ppid: Ppid(0),
            unordered: false,
            immediate: false,
            limit: Limit::Never,
            len: 1,
        };
        let rest = Bytes::from_static(b"m");
        QueuedMessage { header, rest, next_fsn: Fsn::default(), queued_at: some_time(), is_exempt: false }
    }

    /// Fills and drains a queue by turns. Returns the number of items that were moved for each step, in hundredths.
    fn moved_per_step<T>(
        capacity_max: usize,
        item: impl Fn() -> T,
        push: fn(&mut VecDeque<T>, T),
        shrink: fn(&mut VecDeque<T>),
    ) -> usize {
        let mut queue = VecDeque::new();
        let mut random = crate::testing::Random(1);
        let mut moved = 0;
        for step in 0..400_000_u64 {
            let before = queue.capacity();
            // It grows and shrinks by turns, and hovers in between.
            let is_push = random.percent(if step / 50_000 % 2 == 0 { 70 } else { 35 });
            if is_push {
                push(&mut queue, item());
            } else {
                queue.pop_front();
                shrink(&mut queue);
            }
            if queue.capacity() != before {
                moved += queue.len();
            }
            let bound = (capacity_max * queue.len() + 2).max(CAPACITY_KEPT * 2);
            assert!(queue.capacity() <= bound, "{} for {}", queue.capacity(), queue.len());
        }
        moved / 4_000
    }

    #[test]
    fn a_queue_never_has_more_capacity_than_is_charged_for_and_is_seldom_moved() {
        let of_chunks = moved_per_step(2, || 0_u64, push_back, shrink);
        assert!(of_chunks < 400, "{of_chunks} hundredths for each step");
        let of_messages = moved_per_step(WAITING_CAPACITY_MAX, waiting_message, push_waiting, shrink_waiting);
        assert!(of_messages < 200, "{of_messages} hundredths for each step");
    }

    #[test]
    fn a_message_is_never_cut_into_more_chunks_than_it_is_charged_for() {
        for len in 1..6_000 {
            for first in [200, 256, 999, 1_000] {
                let mut left = len;
                let mut count = 0;
                while left > 0 {
                    left -= left.min(if count == 0 { first } else { 1_000 });
                    count += 1;
                }
                assert!(count <= chunks(len, 1_000) || len <= 1_000, "{len} bytes in {count} chunks");
            }
        }
    }
}
