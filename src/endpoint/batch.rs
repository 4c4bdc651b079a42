//! A batch of datagrams on its way through the receive loop.

use std::sync::Arc;

use narrowboat_sctp::AssociationHandle;

use crate::association::Shared;
use crate::net::{BatchEffects, Datagram, Input, Stranger};

/// A batch of datagrams, sorted by their recipients. Kept by the receive loop, to be used again.
#[derive(Debug, Default)]
pub(super) struct RoutedBatch {
    /// Inputs for known associations, in the order in which they arrived.
    pub(super) inputs: Vec<Input>,
    /// Recipients of the inputs, in order: an association, and the number of consecutive inputs that are for it.
    pub(super) runs: Vec<(Arc<Shared>, usize)>,
    /// Association of the last run.
    last: Option<AssociationHandle>,
    /// Datagrams of peers that are not known.
    pub(super) strangers: Vec<Stranger>,
    /// Datagrams from the address of a known peer that may be the peer's, or belong to a handshake that a newcomer has
    /// begun from that address.
    pub(super) newcomers: Vec<Datagram>,
    /// Stateless answers, and what is to be done after the batch.
    pub(super) effects: BatchEffects,
    /// Associations that a peer has just made.
    pub(super) made: Vec<(AssociationHandle, Arc<Shared>)>,
}

impl RoutedBatch {
    /// Appends an input for an association. `find` returns the association of a handle; without one the input is
    /// dropped.
    pub(super) fn push<'a>(
        &mut self,
        handle: AssociationHandle,
        input: Input,
        find: impl FnOnce() -> Option<&'a Arc<Shared>>,
    ) {
        match self.runs.last_mut() {
            Some((_, count)) if self.last == Some(handle) => *count += 1,
            _ => {
                let Some(shared) = find() else { return };
                self.runs.push((Arc::clone(shared), 1));
                self.last = Some(handle);
            }
        }
        self.inputs.push(input);
    }
}
