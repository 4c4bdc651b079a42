//! Associations that share one bottleneck, on a virtual clock. A link in each direction serves all of them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use narrowboat_peers::{Event, Fate, Link, LinkConfig, Message, Peer, Refusal, SendOptions, StreamId};

/// Index of the end that sends.
pub(crate) const SENDER: usize = 0;
/// Index of the end that receives.
pub(crate) const RECEIVER: usize = 1;

/// Largest SCTP packet that Ethernet carries in UDP and IPv4.
const ETHERNET: usize = 1472;

struct End {
    peer: Box<dyn Peer>,
    is_touched: bool,
    deadline: Option<Instant>,
}

/// Decides over the datagrams of a direction, by number and length.
pub(crate) type Filter = Box<dyn FnMut(Instant, &[u8]) -> Fate>;

/// Associations, each from a sender to a receiver, whose datagrams share the same two links.
pub(crate) struct Net {
    now: Instant,
    flows: Vec<[End; 2]>,
    /// From the senders to the receivers, and back.
    links: [Link; 2],
    /// Flow of each datagram under way, in the order of arrival: these links keep the order.
    owners: [VecDeque<usize>; 2],
    filters: [Option<Filter>; 2],
    room: Vec<u8>,
}

impl Net {
    pub(crate) fn new(now: Instant, path: LinkConfig, seed: u64) -> Self {
        assert!(path.reorder == 0.0 && path.duplicate == 0.0, "the order of datagrams tells their flows");
        let links = [1, 2].map(|direction| Link::new(now, path, seed * 2 + direction));
        Self {
            now,
            flows: Vec::new(),
            links,
            owners: [VecDeque::new(), VecDeque::new()],
            filters: [None, None],
            room: Vec::new(),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// Adds an association and connects it, from the next turn on.
    pub(crate) fn add(&mut self, peers: [Box<dyn Peer>; 2]) {
        let mut ends = peers.map(|peer| End { peer, is_touched: true, deadline: None });
        ends[SENDER].peer.connect(self.now);
        self.flows.push(ends);
    }

    /// Decides over the datagrams from the senders.
    pub(crate) fn set_filter(&mut self, filter: Filter) {
        self.filters[SENDER] = Some(filter);
    }

    pub(crate) fn queueing_delay(&self) -> Duration {
        self.links[SENDER].queueing_delay(self.now)
    }

    pub(crate) fn congestion_window(&self, flow: usize) -> Option<usize> {
        self.flows[flow][SENDER].peer.congestion_window()
    }

    /// Passes a message to an end of a flow. Returns `false` if its buffer is full.
    pub(crate) fn send(
        &mut self,
        flow: usize,
        index: usize,
        stream: StreamId,
        message: &Bytes,
        options: SendOptions,
    ) -> Result<bool, String> {
        let end = &mut self.flows[flow][index];
        end.is_touched = true;
        match end.peer.send(self.now, stream, message, options) {
            Ok(()) => Ok(true),
            Err(Refusal::Full) => Ok(false),
            Err(Refusal::Failed(error)) => Err(format!("send failed: {error}")),
        }
    }

    /// Returns the next message of an end, and whether the association has connected since the last call.
    pub(crate) fn poll(&mut self, flow: usize, index: usize) -> Result<(Option<Message>, bool), String> {
        let end = &mut self.flows[flow][index];
        let mut is_connected = false;
        while let Some(event) = end.peer.poll_event(self.now) {
            end.is_touched = true;
            match event {
                Event::Message(message) => return Ok((Some(message), is_connected)),
                Event::Connected => is_connected = true,
                Event::Closed { reason, .. } => return Err(format!("the association ended: {reason}")),
                _ => {}
            }
        }
        Ok((None, is_connected))
    }

    /// Sends what is due, then moves the clock to the next datagram or timer, not beyond `until`.
    pub(crate) fn advance(&mut self, until: Instant) {
        for flow in 0..self.flows.len() {
            for index in [SENDER, RECEIVER] {
                self.flush(flow, index);
            }
        }
        let timers = self.flows.iter().flatten().filter_map(|end| end.deadline);
        let arrivals = self.links.iter().filter_map(Link::next_arrival);
        let next = timers.chain(arrivals).min().map_or(until, |next| next.min(until));
        self.now = self.now.max(next);
        let now = self.now;
        for direction in [SENDER, RECEIVER] {
            while let Some(datagram) = self.links[direction].receive(now) {
                let Some(flow) = self.owners[direction].pop_front() else { break };
                let end = &mut self.flows[flow][1 - direction];
                end.peer.handle_datagram(now, datagram);
                end.is_touched = true;
            }
        }
        for end in self.flows.iter_mut().flatten() {
            if end.deadline.is_some_and(|deadline| deadline <= now) {
                end.peer.handle_timeout(now);
                end.is_touched = true;
            }
        }
    }

    fn flush(&mut self, flow: usize, index: usize) {
        let Self { now, flows, links, owners, filters, room } = self;
        let end = &mut flows[flow][index];
        if !std::mem::take(&mut end.is_touched) {
            return;
        }
        let (link, owners, filter) = (&mut links[index], &mut owners[index], &mut filters[index]);
        room.clear();
        end.peer.poll_transmit(*now, room, &mut |datagram| {
            let is_too_large = datagram.len() > ETHERNET;
            if is_too_large || filter.as_mut().is_some_and(|filter| filter(*now, datagram) == Fate::Drop) {
                return;
            }
            let before = link.dropped;
            link.send(*now, datagram);
            if link.dropped == before {
                owners.push_back(flow);
            }
        });
        end.deadline = end.peer.poll_timeout();
    }
}
