//! An association before its handshake.

use std::collections::VecDeque;

use rand::Rng;
use rand::rngs::StdRng;

use super::control_queue::ControlQueue;
use super::handshake::Handshake;
use super::timer::TimerTable;
use super::{Association, State};
use crate::config::AssociationConfig;
use crate::cookie::CookieKeys;
use crate::memory::Lease;
use crate::path::Path;
use crate::reset::{OwnRequests, PeerRequests};
use crate::send::Sender;
use crate::serial::{RequestSn, Tsn};
use crate::stats::AssociationStats;
use crate::valid::Valid;

impl Association {
    pub(super) fn before_handshake(
        config: Valid<AssociationConfig>,
        keys: CookieKeys,
        address: &[u8],
        mut rng: StdRng,
    ) -> Self {
        let handshake = Handshake::new(&mut rng);
        let path = Path::new(&config);
        let initial_tsn = handshake.local_initial_tsn;
        Self {
            sender: Sender::new(&config, &path, initial_tsn),
            outgoing_reset: Self::new_outgoing_reset(&config, initial_tsn),
            incoming_reset: PeerRequests::new(RequestSn(0)),
            outbox: ControlQueue::default(),
            config,
            keys,
            address: address.into(),
            rng,
            state: State::Closed,
            handshake,
            agreed: None,
            timers: TimerTable::default(),
            path,
            receiver: None,
            events: VecDeque::new(),
            closing: None,
            is_over: false,
            is_shutdown_wanted: false,
            unused_resets_left: usize::MAX,
            peer_queue: None,
            burst_left: 0,
            memory: Lease::default(),
            stats: AssociationStats::default(),
            until_recount: 0,
        }
    }

    /// The first request has the number of the first TSN (RFC 6525 §4.1).
    pub(super) fn new_outgoing_reset(config: &AssociationConfig, initial_tsn: Tsn) -> OwnRequests {
        OwnRequests::new(RequestSn(initial_tsn.0), config.reset_attempts_max, config.reset_timeout)
    }

    /// A Verification Tag: any number but 0 (RFC 9260 §5.3.1).
    pub(super) fn draw_nonzero(&mut self) -> u32 {
        self.rng.next_u32().max(1)
    }
}
