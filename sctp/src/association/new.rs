//! An association before its handshake.

use std::collections::VecDeque;

use rand::Rng;
use rand::rngs::StdRng;

use super::control_queue::ControlQueue;
use super::handshake::Handshake;
use super::timer::TimerTable;
use super::zero_checksum::ZeroChecksum;
use super::{Association, State};
use crate::config::AssociationConfig;
use crate::cookie::{BoundKeys, CookieKeys};
use crate::memory::Lease;
use crate::path::Path;
use crate::send::Sender;
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
            control_queue: ControlQueue::default(),
            config,
            cookies: BoundKeys { keys, address: address.into() },
            rng,
            state: State::Closed,
            handshake,
            zero_checksum: ZeroChecksum::default(),
            timers: TimerTable::default(),
            path,
            tcb: None,
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

    /// Draws a Verification Tag: any number but 0 (RFC 9260 §5.3.1).
    pub(super) fn draw_nonzero(&mut self) -> u32 {
        self.rng.next_u32().max(1)
    }
}
