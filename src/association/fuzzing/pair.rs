//! Two ends of an association without sockets, tasks and clocks: packets wait in two queues until a test delivers them.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::Bytes;
use narrowboat_dcep::Role;
use narrowboat_sctp::{Association, CookieKeys, Valid};

use super::super::inner::Inner;
use crate::association::wake;
use crate::config::Config;

const SECOND: Duration = Duration::from_secs(1);

/// Packets under way in one direction, at most.
const WIRE_MAX: usize = 200;

/// Both ends, and what is under way.
pub(super) struct EndPair {
    pub(super) now: Instant,
    pub(super) ends: [Inner; 2],
    /// Packets of each end that have not arrived.
    pub(super) wire: [VecDeque<Bytes>; 2],
}

/// Returns a configuration with time-outs that no script reaches, so that only the script ends anything.
fn config(window: u32) -> Config {
    let mut config = Config::default();
    config.association.receive_window = window;
    config.association.send_buffer = 16 << 10;
    config.association.stream_send_buffer = 8 << 10;
    config.association.idle_timeout = 600 * SECOND;
    config.association.init_max_retransmits = 100;
    config.association.heartbeat_interval = Some(5 * SECOND);
    config.association.rto_max = 2 * SECOND;
    config.association.reset_timeout = 600 * SECOND;
    config.channels.close_timeout = 600 * SECOND;
    config
}

impl EndPair {
    /// Creates two ends of an established association.
    pub(super) fn new(window: u32) -> Self {
        let now = Instant::now();
        let config = config(window);
        let limits = config.channel_limits().unwrap_or_else(|error| unreachable!("{error}"));
        let association = Valid::new(config.association).unwrap_or_else(|error| unreachable!("{error}"));
        let ends = [Role::Client, Role::Server].map(|role| {
            let seed = [role as u8 + 1; 32];
            let association = Association::new(association.clone(), CookieKeys::new(now, seed), &[], seed);
            let mut end = Inner::new(association, role, &limits);
            end.hold_association();
            end
        });
        let mut pair = Self { now, ends, wire: Default::default() };
        pair.end(0).sctp.connect(now);
        pair.exchange(6);
        assert!(pair.ends.iter().all(|end| end.life.was_connected()), "the handshake");
        pair
    }

    pub(super) fn end(&mut self, end: usize) -> &mut Inner {
        let [first, second] = &mut self.ends;
        if end == 0 { first } else { second }
    }

    pub(super) fn wire(&mut self, from: usize) -> &mut VecDeque<Bytes> {
        let [first, second] = &mut self.wire;
        if from == 0 { first } else { second }
    }

    /// Processes timers, events and packets as a driver does, until nothing is left.
    pub(super) fn drive(&mut self, end: usize) {
        let now = self.now;
        let mut wakers: Vec<Waker> = Vec::new();
        loop {
            let (mut buffer, inner) = (Vec::new(), self.end(end));
            inner.on_sent(&mut wakers);
            inner.handle_timeout(now);
            inner.process_events(now, &mut wakers);
            let transmit = inner.poll_transmit(now, 8, &mut buffer);
            inner.on_written(transmit.is_none(), &mut wakers);
            let has_more = inner.process_events(now, &mut wakers);
            if transmit.is_none() && !has_more && inner.life.is_closed() {
                inner.finish(&mut wakers);
            }
            wake(&mut wakers);
            match transmit {
                Some(transmit) => {
                    let packets = buffer.chunks(transmit.segment_size).map(Bytes::copy_from_slice);
                    let wire = self.wire(end);
                    wire.extend(packets);
                    wire.truncate(WIRE_MAX);
                }
                None if !has_more => return,
                None => {}
            }
        }
    }

    /// Delivers packet number `nth` of those in flight from an end.
    pub(super) fn deliver(&mut self, from: usize, nth: usize) {
        let Some(packet) = self.wire(from).remove(nth) else { return };
        let (now, to) = (self.now, 1 - from);
        self.end(to).handle_packet(now, packet);
        self.drive(to);
    }

    /// Delivers all packets in flight, for that many rounds.
    pub(super) fn exchange(&mut self, rounds: usize) {
        for _ in 0..rounds {
            for end in 0..2 {
                self.drive(end);
                for _ in 0..self.wire(end).len() {
                    self.deliver(end, 0);
                }
            }
        }
    }

    /// Lets time pass; timers expire meanwhile.
    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        for _ in 0..100 {
            let due = self.ends.iter().filter_map(Inner::deadline).min().filter(|deadline| *deadline <= until);
            let Some(due) = due else { break };
            self.now = due.max(self.now);
            (0..2).for_each(|end| self.drive(end));
        }
        self.now = until;
        (0..2).for_each(|end| self.drive(end));
    }
}
