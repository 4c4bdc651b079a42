//! Packets that are written and wait for the next poll.
//!
//! An answer belongs to the packet that it answers. It is written before the next packet is taken in, so the peer sees
//! the same answers however many datagrams the socket reads at once.

/// Packets that wait, at most. A receiver reads up to 128 datagrams between two polls, and each gets one answer.
pub(super) const PACKETS_MAX: usize = 128;

/// Bytes that wait, at most, but for the packet that crosses the line: 128 SACKs with 57 Gap Ack Blocks each.
const BYTES_MAX: usize = 32 << 10;

/// Bytes of the length in front of each packet.
const LEN_BYTES: usize = size_of::<u32>();

/// Whole packets in one buffer, each behind its length.
#[derive(Debug, Default)]
pub(super) struct PacketQueue {
    bytes: Vec<u8>,
    /// Bytes of `bytes` that were taken.
    taken: usize,
    count: usize,
}

impl PacketQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// True if another packet may be queued.
    pub(super) fn has_room(&self) -> bool {
        self.count < PACKETS_MAX && self.bytes.len() < BYTES_MAX
    }

    /// Queues what `write` appends to the buffer. Returns its length; nothing is queued if that is 0.
    pub(super) fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; LEN_BYTES]);
        write(&mut self.bytes);
        let len = self.bytes.len().saturating_sub(start + LEN_BYTES);
        let Ok(prefix) = u32::try_from(len) else { return self.undo(start) };
        if len == 0 {
            return self.undo(start);
        }
        if let Some(slot) = self.bytes.get_mut(start..start + LEN_BYTES) {
            slot.copy_from_slice(&prefix.to_be_bytes());
        }
        self.count += 1;
        len
    }

    fn undo(&mut self, start: usize) -> usize {
        self.bytes.truncate(start);
        0
    }

    /// Returns the length of the first packet.
    fn first_len(&self) -> Option<usize> {
        let prefix = self.bytes.get(self.taken..)?.first_chunk::<LEN_BYTES>()?;
        usize::try_from(u32::from_be_bytes(*prefix)).ok()
    }

    /// Moves up to `max` packets to `out`, which are equal in length but for the last, which may be shorter. Returns
    /// the length of the first.
    pub(super) fn pop_equal(&mut self, max: usize, out: &mut Vec<u8>) -> usize {
        let segment_size = self.first_len().unwrap_or_default();
        for _ in 0..max {
            let Some(len) = self.first_len().filter(|len| *len <= segment_size) else { break };
            let start = self.taken + LEN_BYTES;
            out.extend_from_slice(self.bytes.get(start..start + len).unwrap_or_default());
            self.taken = start + len;
            self.count -= 1;
            if len < segment_size {
                break;
            }
        }
        if self.count == 0 {
            // An idle association holds no buffer. One allocation for each batch of answers is the price.
            *self = Self::default();
        }
        segment_size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(queue: &mut PacketQueue, len: usize, fill: u8) {
        assert_eq!(queue.push_with(|bytes| bytes.resize(bytes.len() + len, fill)), len);
    }

    #[test]
    fn packets_leave_in_order_in_batches_of_one_length() {
        let mut queue = PacketQueue::default();
        for (fill, len) in [28, 28, 28, 32, 32, 28, 28].into_iter().enumerate() {
            push(&mut queue, len, u8::try_from(fill).unwrap());
        }
        let mut batches = Vec::new();
        let mut out = Vec::new();
        while !queue.is_empty() {
            let start = out.len();
            let segment_size = queue.pop_equal(2, &mut out);
            batches.push((segment_size, out.len() - start));
        }
        // A shorter packet ends its batch.
        assert_eq!(batches, [(28, 56), (28, 28), (32, 64), (28, 56)]);
        let fills: Vec<u8> = out.chunk_by(|a, b| a == b).filter_map(|run| run.first().copied()).collect();
        assert_eq!(fills, [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!((queue.bytes.len(), queue.taken, queue.count), (0, 0, 0));
    }

    #[test]
    fn a_shorter_packet_is_the_last_of_its_batch() {
        let mut queue = PacketQueue::default();
        [40, 40, 28, 40].into_iter().for_each(|len| push(&mut queue, len, 1));
        let mut out = Vec::new();
        assert_eq!((queue.pop_equal(10, &mut out), out.len()), (40, 108));
        assert_eq!((queue.pop_equal(10, &mut out), out.len()), (40, 148));
        assert!(queue.is_empty());
    }

    #[test]
    fn the_queue_is_bounded_in_packets_and_in_bytes_and_gives_its_room_back() {
        for len in [28, 1200] {
            let mut queue = PacketQueue::default();
            while queue.has_room() {
                push(&mut queue, len, 7);
            }
            assert!(queue.count <= PACKETS_MAX && queue.bytes.len() <= BYTES_MAX + len + LEN_BYTES);
            assert!(queue.count == PACKETS_MAX || queue.bytes.len() >= BYTES_MAX);
            let mut out = Vec::new();
            while !queue.is_empty() {
                queue.pop_equal(usize::MAX, &mut out);
            }
            assert_eq!(queue.bytes.capacity(), 0);
        }
    }

    #[test]
    fn nothing_written_is_nothing_queued() {
        let mut queue = PacketQueue::default();
        assert_eq!(queue.push_with(|_| {}), 0);
        assert!(queue.is_empty() && queue.bytes.is_empty());
        assert_eq!(queue.pop_equal(8, &mut Vec::new()), 0);
    }
}
