//! Both ends together.

use std::time::{Duration, Instant};

use narrowboat_sctp::{AssociationConfig, AssociationEvent, SendOptions, State};

use crate::ours::{Faults, Ours};
use crate::peer::{Peer, free_udp_port, message_report, pattern};

/// WebRTC's PPID for binary messages; any number would do here.
pub(crate) const BINARY: u32 = 53;

/// After this time, an awaited event counts as missing.
const DEADLINE: Duration = Duration::from_secs(60);

/// The end that sends the INIT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Dialler {
    Ours,
    Usrsctp,
}

impl Dialler {
    /// Both ways round.
    pub(crate) const EITHER: [Self; 2] = [Self::Ours, Self::Usrsctp];
}

/// Our end and usrsctp's, and the reports of both.
pub(crate) struct Pair {
    pub(crate) ours: Ours,
    pub(crate) peer: Peer,
}

impl Pair {
    /// An established association with ordinary settings.
    pub(crate) fn new(dialler: Dialler) -> Self {
        Self::with(dialler, AssociationConfig::default(), &[])
    }

    /// An established association.
    pub(crate) fn with(dialler: Dialler, config: AssociationConfig, settings: &[&str]) -> Self {
        Self::start(dialler, config, settings, Faults::default())
    }

    /// Creates an association through a bad network. We repeat our INIT and COOKIE ECHO soon: usrsctp takes the time
    /// from its INIT ACK to the cookie as a round trip, and if that was three seconds long, it retransmits nothing for
    /// ten, even beyond its RTO.Max, and aborts the association the third time.
    pub(crate) fn with_faults(dialler: Dialler, faults: Faults) -> Self {
        let config = AssociationConfig {
            rto_initial: Duration::from_millis(100),
            rto_min: Duration::from_millis(100),
            ..AssociationConfig::default()
        };
        Self::start(dialler, config, &[], faults)
    }

    fn start(dialler: Dialler, config: AssociationConfig, settings: &[&str], faults: Faults) -> Self {
        let port = free_udp_port();
        let mut ours = Ours::new(config, 0);
        ours.faults = faults;
        let peer = match dialler {
            Dialler::Ours => Peer::listen(port, settings),
            Dialler::Usrsctp => Peer::connect(port, ours.port(), settings),
        };
        if dialler == Dialler::Ours {
            ours.connect(port);
        }
        let mut pair = Self { ours, peer };
        pair.until("both ends are established", |p| p.ours.is_established() && p.peer.said("up"));
        pair
    }

    /// Lets both ends run until something holds.
    pub(crate) fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            self.peer.listen_in();
            if done(self) {
                return;
            }
            if Instant::now() >= deadline {
                let last = self.peer.reports.iter().rev().take(10).rev();
                let reports: Vec<&String> = last.collect();
                let closed = &self.ours.closed;
                let events: Vec<_> =
                    self.ours.events.iter().filter(|e| !matches!(e, AssociationEvent::BufferedAmountLow(_))).collect();
                let packets: String = self.ours.packets.iter().rev().map(String::as_str).collect();
                panic!(
                    "not within {DEADLINE:?}: {what}\nours: {events:?}, {closed:?}\nusrsctp: {reports:?}\n\
                     last packets: {packets}"
                );
            }
            self.ours.turn();
        }
    }

    /// Sends messages of the pattern, numbered from `first`, as fast as there is room for them.
    pub(crate) fn send(&mut self, stream: u16, len: usize, count: u32, first: u32, options: SendOptions) {
        for index in first..first + count {
            let bytes = pattern(stream, index, len);
            while !self.ours.try_send(stream, BINARY, &bytes, options) {
                self.ours.turn();
                self.peer.listen_in();
            }
        }
    }

    /// Waits until the peer has `count` messages of the pattern, in order, and compares them. Those of the other kind
    /// of order do not count: usrsctp may hand over an unordered message of several fragments long after it
    /// acknowledged them.
    pub(crate) fn peer_has(&mut self, stream: u16, len: usize, count: u32, first: u32, order: &str) {
        let words = format!("message {stream} {BINARY} {order} ");
        let expected: Vec<String> = (first..first + count)
            .map(|index| message_report(stream, BINARY, order, &pattern(stream, index, len)))
            .collect();
        self.until("usrsctp has our messages", |p| p.peer.after(&words).count() >= expected.len());
        let got: Vec<&String> = self.peer.reports.iter().filter(|line| line.starts_with(&words)).collect();
        assert_eq!(got.len(), expected.len(), "messages on stream {stream}: {got:?} are not {expected:?}");
        for (got, expected) in got.iter().zip(&expected) {
            assert!(got.starts_with(expected.as_str()), "{got} is not {expected}");
        }
        self.peer.reports.retain(|line| !line.starts_with(&words));
    }

    /// Waits until we have `count` messages of the pattern on a stream, in order, and compares them.
    pub(crate) fn we_have(&mut self, stream: u16, len: usize, count: u32, first: u32, unordered: bool) {
        let wanted = count as usize;
        self.until("we have usrsctp's messages", |p| {
            p.ours.messages.iter().filter(|m| m.stream == stream).count() >= wanted
        });
        let (mine, others): (Vec<_>, Vec<_>) = self.ours.messages.drain(..).partition(|m| m.stream == stream);
        self.ours.messages = others.into();
        assert_eq!(mine.len(), wanted, "messages on stream {stream}");
        for (index, message) in (first..).zip(mine) {
            assert_eq!((message.ppid, message.unordered), (BINARY, unordered), "message {index}");
            assert!(message.bytes == pattern(stream, index, len), "message {index} of {len} bytes has other bytes");
        }
    }

    /// Returns `true` if our end is in this state.
    pub(crate) fn is(&mut self, state: State) -> bool {
        self.ours.association().state() == state
    }
}
