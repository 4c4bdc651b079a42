//! Peers that this end has answered and that are not connected yet, by the source that has asked for the answer.

use std::collections::{BTreeSet, HashMap};

use narrowboat_sctp::{AssociationHandle, Source};

/// Peers of a source that are looked at for one that has not checked. Who checks is soon connected and not here any
/// more, so that many old ones with a check are a flood's, and any of them may go.
const LOOKED_AT_MAX: usize = 16;

/// The peers of each source. To enter one or to take one out costs a look-up in the map and one in the set.
#[derive(Debug, Default)]
pub(super) struct AnsweredPeers {
    /// Oldest first: handles are given out in order. Those whose source is not known are one source, `None`.
    by_source: HashMap<Option<Source>, BTreeSet<AssociationHandle>>,
}

impl AnsweredPeers {
    pub(super) fn insert(&mut self, source: Option<Source>, handle: AssociationHandle) {
        self.by_source.entry(source).or_default().insert(handle);
    }

    pub(super) fn remove(&mut self, source: Option<Source>, handle: AssociationHandle) {
        let Some(peers) = self.by_source.get_mut(&source) else { return };
        peers.remove(&handle);
        if peers.is_empty() {
            self.by_source.remove(&source);
        }
    }

    /// Returns the peer that makes room for a new one of this source: one of the same source if none has more, or else
    /// one of a source that has most. Of the 16 oldest of a source it is the first that has not checked, or else the
    /// oldest.
    ///
    /// Looks at every source once, and at 16 peers of those that have most.
    pub(super) fn displaceable(
        &self,
        source: Option<Source>,
        has_checked: impl Fn(AssociationHandle) -> bool,
    ) -> Option<AssociationHandle> {
        let oldest = |peers: &BTreeSet<AssociationHandle>| {
            let unchecked = peers.iter().take(LOOKED_AT_MAX).find(|handle| !has_checked(**handle));
            let unchecked = unchecked.map(|handle| (false, *handle));
            unchecked.or_else(|| peers.first().map(|handle| (true, *handle)))
        };
        let most = self.by_source.values().map(BTreeSet::len).max()?;
        if let Some(own) = self.by_source.get(&source).filter(|own| own.len() == most) {
            return oldest(own).map(|(_, handle)| handle);
        }
        let largest = self.by_source.values().filter(|peers| peers.len() == most);
        largest.filter_map(oldest).min().map(|(_, handle)| handle)
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (Option<Source>, AssociationHandle)> {
        self.by_source.iter().flat_map(|(source, peers)| peers.iter().map(|handle| (*source, *handle)))
    }
}
