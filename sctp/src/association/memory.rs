//! Share of one association in the memory budget of many.

use super::Association;
use super::tcb::Tcb;
use crate::event::AssociationEvent;
use crate::memory::GUARANTEED;
use crate::time::Instant;

impl Association {
    pub(super) fn charged_for_receiving(&self) -> usize {
        self.tcb.as_ref().map_or(0, |tcb| tcb.receiver.memory_charged())
    }

    pub(super) fn charged_for_sending(&self) -> usize {
        self.sender.charged()
    }

    /// Returns the bytes charged beyond the base, which is charged from the beginning.
    fn charged_beside_base(&self) -> usize {
        self.charged_for_receiving().saturating_sub(GUARANTEED) + self.charged_for_sending()
    }

    /// Pays for what is used.
    pub(super) fn cover_memory(&mut self) {
        self.memory.cover(self.charged_beside_base());
    }

    /// Gives back what an idle association does not use. Called when a timer fires, so not for each packet.
    pub(super) fn trim_memory(&mut self, now: Instant) {
        self.sender.trim_memory(now);
        if let Some(tcb) = &mut self.tcb {
            tcb.receiver.trim_memory();
        }
        self.memory.trim(self.charged_beside_base());
    }

    /// Returns the next event in the queue. The queue gives back its memory once it is empty.
    pub(super) fn take_event(&mut self) -> Option<AssociationEvent> {
        let event = self.events.pop_front()?;
        if self.events.is_empty() {
            self.events.shrink_to(4);
        }
        Some(event)
    }

    /// Tells the receiver how much it may hold. The receiver offers the peer no larger window, and drops chunks beyond
    /// it.
    #[inline]
    pub(super) fn limit_memory(&mut self) {
        if let Some(reachable) = self.memory.reachable() {
            self.limit_receiver(reachable);
        }
    }

    fn limit_receiver(&mut self, reachable: usize) {
        let room = reachable.saturating_sub(self.charged_for_sending());
        if let Some(Tcb { receiver, .. }) = self.tcb.as_deref_mut() {
            // Memory that is in use is not released for other associations.
            let bytes = (GUARANTEED + room).max(receiver.memory_charged());
            receiver.set_memory(bytes, self.memory.may_grow());
        }
    }

    /// True if the shared memory does not allow another message of `message_len` bytes. One message is always accepted:
    /// the application holds its bytes already, and its acknowledgement tells the application that there is room.
    pub(super) fn is_out_of_memory(&self, message_len: usize) -> bool {
        !self.sender.is_drained()
            && self.memory.reachable().is_some_and(|reachable| self.charged_beside_base() + message_len > reachable)
    }
}
