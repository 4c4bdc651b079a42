//! An association before its handshake.

use std::collections::VecDeque;
use std::sync::Arc;

use rand::Rng;
use rand::rngs::StdRng;

use super::handshake::Handshake;
use super::outbox::Outbox;
use super::timer::TimerTable;
use super::{Association, State};
use crate::config::Config;
use crate::cookie::CookieKeys;
use crate::memory::Lease;
use crate::path::Path;
use crate::reset::{IncomingReset, OutgoingReset};
use crate::send::Sender;
use crate::serial::{RequestSn, Tsn};
use crate::stats::Stats;

impl Association {
    pub(super) fn before_handshake(config: Arc<Config>, keys: CookieKeys, address: &[u8], mut rng: StdRng) -> Self {
        let handshake = Handshake::new(&mut rng);
        let path = Path::new(&config);
        let initial_tsn = handshake.local_initial_tsn;
        Self {
            sender: Sender::new(&config, path.mtu, initial_tsn),
            outgoing_reset: Self::new_outgoing_reset(&config, initial_tsn),
            incoming_reset: IncomingReset::new(RequestSn(0)),
            outbox: Outbox::default(),
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
            stats: Stats::default(),
            until_recount: 0,
        }
    }

    /// The first request has the number of the first TSN (RFC 6525 §4.1).
    pub(super) fn new_outgoing_reset(config: &Config, initial_tsn: Tsn) -> OutgoingReset {
        OutgoingReset::new(RequestSn(initial_tsn.0), config.reset_attempts_max, config.reset_timeout)
    }

    /// A Verification Tag: any number but 0 (RFC 9260 §5.3.1).
    pub(super) fn draw_nonzero(&mut self) -> u32 {
        self.rng.next_u32().max(1)
    }
}
