//! Overhead that the send buffer counts, beside the bytes of the messages.
//!
//! Without the overhead a buffer of 16 MiB could be filled with sixteen million messages of a byte, which take eighty
//! times as much memory. A charge does not change while a message moves from its queue to the ring of outstanding
//! chunks, so it is enough to check it when the message is accepted.

use std::collections::VecDeque;

/// Bytes charged for each chunk that a message will be sent in, from the acceptance of the message until the peer has
/// acknowledged the chunk or skipped it. Covers the greater of two: a slot in its stream's queue; or a slot in the ring
/// and one in a log of transmissions, an entry in the set of lost chunks and half a range of gap reports. A queue's
/// capacity may be twice its use.
pub(super) const CHUNK_OVERHEAD: usize = 352;

/// Bytes charged for each stream in use: an entry in a table of which half may be empty, and the first slots of its
/// queue.
pub(super) const STREAM_OVERHEAD: usize = 256;

/// Capacity below which nothing is given back.
const CAPACITY_KEPT: usize = 64;

/// Returns the most chunks that `bytes` are sent in, if one takes `chunk_max`. The first may be a small one that fills
/// a packet.
pub(super) fn chunks(bytes: usize, chunk_max: usize) -> usize {
    if bytes <= chunk_max { 1 } else { bytes / chunk_max + 2 }
}

/// Adds an item to a queue whose capacity grows by half.
pub(super) fn push_back<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() == queue.capacity() {
        queue.reserve_exact((queue.len() / 2).max(1));
    }
    queue.push_back(item);
}

/// Gives back what a queue holds in excess of twice its use. Called after each removal, it costs a constant on average.
pub(super) fn shrink<T>(queue: &mut VecDeque<T>) {
    if queue.capacity() > CAPACITY_KEPT && queue.len() < queue.capacity() / 2 {
        queue.shrink_to((queue.len() / 2 * 3).max(CAPACITY_KEPT));
    }
}

#[cfg(test)]
mod tests {
    use super::super::outstanding::Chunk;
    use super::super::queued::QueuedMessage;
    use super::super::rack::Transmission;
    use super::*;

    #[test]
    fn the_overhead_covers_what_a_chunk_holds() {
        let outstanding = 2 * (size_of::<Chunk>() + size_of::<Transmission>()) + 24 + size_of::<(u64, u64)>();
        let queued = 2 * size_of::<QueuedMessage>();
        assert!(outstanding.max(queued) <= CHUNK_OVERHEAD, "{outstanding} and {queued} bytes");
    }

    #[test]
    fn a_queue_never_has_more_than_twice_the_capacity_that_it_uses() {
        let mut queue = VecDeque::new();
        let mut random = crate::testing::Random(1);
        let mut moved = 0;
        for step in 0..400_000_u64 {
            let before = queue.capacity();
            // It grows and shrinks by turns, and hovers in between.
            let is_push = random.percent(if step / 50_000 % 2 == 0 { 70 } else { 35 });
            if is_push {
                push_back(&mut queue, step);
            } else {
                queue.pop_front();
                shrink(&mut queue);
            }
            if queue.capacity() != before {
                moved += queue.len();
            }
            assert!(queue.capacity() <= (2 * queue.len() + 1).max(CAPACITY_KEPT * 3 / 2), "{}", queue.capacity());
        }
        assert!(moved < 4 * 400_000, "{moved} items were moved");
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
