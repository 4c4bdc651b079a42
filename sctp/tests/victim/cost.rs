//! Cost of work, in steps of the loops whose length a peer can choose. A time would depend on the machine.

/// Steps that the work takes. They are counted in builds with debug assertions, and are 0 in others.
pub(crate) fn steps(work: impl FnOnce()) -> u64 {
    let before = narrowboat_sctp::steps();
    work();
    narrowboat_sctp::steps() - before
}
