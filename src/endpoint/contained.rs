//! Containment of panics while a batch of datagrams is handled.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::vec::Drain;

use crate::net::Datagram;

/// Sorts datagrams. A panic costs the datagram that has caused it: the receiver serves everybody else, too. `rest` goes
/// on with those that are left then.
pub(super) fn sort(mut batch: Drain<'_, Datagram>, mut rest: impl FnMut(&mut Drain<'_, Datagram>)) {
    loop {
        let left = batch.len();
        if catch_unwind(AssertUnwindSafe(|| rest(&mut batch))).is_ok() {
            return;
        }
        tracing::error!("a fault has lost a datagram: please report it");
        if batch.len() == left && batch.next().is_none() {
            return;
        }
    }
}
