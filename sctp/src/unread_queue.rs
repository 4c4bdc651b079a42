//! A queue for messages that wait to be read, whose memory is in proportion to its length at all times.
//!
//! A ring that doubles has up to three places for each message while it grows, and keeps those of a burst while it
//! shrinks: memory that nobody is charged for, or that everybody is charged for in advance. This queue grows by blocks
//! of a fixed size, and frees a block with the last message in it. Nothing is ever moved but the first few messages.

use std::collections::VecDeque;

/// Places in a block. A queue keeps as many while it is empty, so that a trickle of messages allocates nothing.
const BLOCK: usize = 16;

/// A first-in, first-out queue.
#[derive(Debug)]
pub struct UnreadQueue<T> {
    /// The oldest elements. The block is a ring: a queue that stays short uses no other.
    first: VecDeque<T>,
    /// The other blocks. All are full but the last, and none is empty.
    rest: VecDeque<VecDeque<T>>,
    len: usize,
}

impl<T> Default for UnreadQueue<T> {
    fn default() -> Self {
        Self { first: VecDeque::new(), rest: VecDeque::new(), len: 0 }
    }
}

impl<T> UnreadQueue<T> {
    /// Returns the number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns `true` if there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends an element.
    #[inline]
    pub fn push_back(&mut self, element: T) {
        self.len += 1;
        match self.rest.back_mut() {
            None if self.first.len() < BLOCK => {
                if self.first.capacity() == 0 {
                    // Thousands of channels may have a message each.
                    self.first.reserve_exact(1);
                }
                self.first.push_back(element);
            }
            Some(last) if last.len() < BLOCK => last.push_back(element),
            _ => self.begin_block(element),
        }
    }

    fn begin_block(&mut self, element: T) {
        let mut block = VecDeque::with_capacity(BLOCK);
        block.push_back(element);
        self.rest.push_back(block);
    }

    /// Removes the oldest element.
    #[inline]
    pub fn pop_front(&mut self) -> Option<T> {
        let element = self.first.pop_front()?;
        self.len -= 1;
        if self.first.is_empty()
            && let Some(next) = self.rest.pop_front()
        {
            self.first = next;
            if self.rest.len() * 4 < self.rest.capacity() {
                self.rest.shrink_to(self.rest.len() * 2);
            }
        }
        Some(element)
    }

    /// Returns the newest element.
    pub fn back_mut(&mut self) -> Option<&mut T> {
        self.rest.back_mut().unwrap_or(&mut self.first).back_mut()
    }

    /// Returns the element that is `at` places behind the oldest.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<&T> {
        let Some(behind) = at.checked_sub(self.first.len()) else { return self.first.get(at) };
        self.rest.get(behind / BLOCK)?.get(behind % BLOCK)
    }

    /// Returns the elements, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(self.rest.iter().flatten())
    }

    /// Removes all elements, the oldest first, and gives back all memory.
    pub fn drain(&mut self) -> impl Iterator<Item = T> + use<T> {
        let Self { first, rest, .. } = std::mem::take(self);
        first.into_iter().chain(rest.into_iter().flatten())
    }

    /// Gives back the block that an empty queue keeps.
    pub fn trim(&mut self) {
        if self.is_empty() {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(queue: &UnreadQueue<u32>) -> usize {
        queue.first.capacity() + queue.rest.iter().map(VecDeque::capacity).sum::<usize>()
    }

    #[test]
    fn elements_leave_in_the_order_in_which_they_came_however_long_the_queue() {
        let (mut queue, mut model) = (UnreadQueue::default(), VecDeque::new());
        let mut next = 0;
        for round in 0..400_u32 {
            // More come than leave, then the other way round.
            let (come, leave) = if round < 200 { (round % 40, round % 23) } else { (round % 23, round % 40) };
            for _ in 0..come {
                queue.push_back(next);
                model.push_back(next);
                next += 1;
            }
            assert_eq!(queue.back_mut().copied(), model.back().copied());
            for _ in 0..leave {
                assert_eq!(queue.pop_front(), model.pop_front());
            }
            assert_eq!((queue.len(), queue.is_empty()), (model.len(), model.is_empty()));
            assert!(queue.iter().eq(&model));
            for at in [0, 1, 15, 16, 17, 100, model.len().saturating_sub(1), model.len()] {
                assert_eq!(queue.get(at), model.get(at), "{at} of {}", model.len());
            }
        }
        assert!(queue.drain().eq(model));
        assert!(queue.is_empty());
    }

    #[test]
    fn memory_is_in_proportion_to_the_length_while_the_queue_grows_and_while_it_shrinks() {
        let mut queue = UnreadQueue::default();
        for n in 1..=1000 {
            queue.push_back(0);
            assert!(places(&queue) <= (n + BLOCK).min(2 * n), "{} places for {n}", places(&queue));
        }
        assert!(queue.rest.capacity() <= 128);
        for n in (0..1000).rev() {
            queue.pop_front();
            assert!(places(&queue) <= n + 2 * BLOCK, "{} places for {n}", places(&queue));
            assert!(queue.rest.capacity() <= 4 * n.div_ceil(BLOCK), "{} blocks for {n}", queue.rest.capacity());
        }
        queue.trim();
        assert_eq!(places(&queue), 0);
    }
}
