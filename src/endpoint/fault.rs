//! Places where the tests of containment inject a panic.

/// Place outside of any association where a test injects a panic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum EndpointFault {
    /// In the receiver's own loop.
    ReceiveLoop,
    /// While a datagram is routed, under the lock of the routes.
    Route,
    /// While an association enters the accept queue, under its lock.
    Queue,
    /// While an association is taken out of the table, under the lock of the routes.
    Remove,
    /// While a stranger's datagram is handled.
    DirectListener,
    /// While the direct listener handles its due timers.
    DirectListenerTimeout,
    /// While a stranger is admitted.
    Admit,
    /// While a datagram is sorted that comes from a peer which this end dials, under the lock of the routes.
    Crossed,
    /// While a datagram is sorted that comes from the address of a known peer, and may be a newcomer's.
    Newcomer,
    /// While an association is refused that has no place in the accept queue.
    Refuse,
    /// While the router hears what a batch has brought.
    Note,
}
