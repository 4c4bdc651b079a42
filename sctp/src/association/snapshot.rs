//! The state of an association as text, for tests that compare two states.

use super::Association;
use super::control_queue::ControlQueue;

impl Association {
    /// Returns the state that a packet without meaning must not change, as text. Counters are left out, and so are
    /// packets to send once the association is over, because it answers out-of-the-blue packets then (RFC 9260 §8.4).
    #[doc(hidden)]
    #[must_use]
    pub fn state_without_counters(&self) -> String {
        // Every field is named, so that a new one is not forgotten.
        let Self {
            config: _,
            cookies,
            rng,
            state,
            handshake,
            zero_checksum,
            timers,
            path,
            sender,
            tcb,
            control_queue,
            events,
            closing,
            is_over,
            is_shutdown_wanted,
            unused_resets_left,
            peer_queue,
            burst_left: _,
            stats: _,
            memory,
            until_recount: _,
        } = self;
        let ControlQueue {
            packets,
            init,
            cookie_echo,
            cookie_ack,
            shutdown,
            shutdown_ack,
            heartbeat,
            heartbeat_ack,
            reconfig_responses,
            errors,
        } = control_queue;
        let packets = (!is_over).then_some(packets);
        let control_queue = (init, cookie_echo, cookie_ack, shutdown, shutdown_ack, heartbeat, heartbeat_ack);
        let control_queue = (control_queue, reconfig_responses, errors, packets);
        let limits = (unused_resets_left, peer_queue, memory);
        let end = (closing, is_over, is_shutdown_wanted);
        let before = (cookies, rng, handshake, zero_checksum);
        format!(
            "{state:?} {before:?} {timers:?} {path:?} {sender:?} {tcb:?} {control_queue:?} {events:?} {end:?} {limits:?}"
        )
    }
}
