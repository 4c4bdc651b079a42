//! Our end: an `Endpoint` without I/O over a blocking UDP socket, with one association and a network that can be made
//! worse.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use narrowboat_sctp::testing::Random;
use narrowboat_sctp::{
    Association, AssociationConfig, AssociationEvent, AssociationHandle, CloseReason, Credit, DatagramEvent, Endpoint,
    EndpointConfig, Ppid, SendMessageError, SendOptions, State, StreamId, Valid,
};

/// Faults that datagrams meet on their way, in both directions, in thousandths.
#[derive(Clone, Copy, Default)]
pub(crate) struct Faults {
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) overtaken: u64,
}

/// A message that arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) stream: u16,
    pub(crate) ppid: u32,
    pub(crate) unordered: bool,
    pub(crate) bytes: Bytes,
}

/// Our end of an association.
pub(crate) struct Ours {
    socket: UdpSocket,
    endpoint: Endpoint,
    association: Option<(AssociationHandle, Association)>,
    /// Everything that happened but messages, oldest first.
    pub(crate) events: Vec<AssociationEvent>,
    /// Messages that arrived, oldest first.
    pub(crate) messages: VecDeque<Received>,
    /// Reason for the end of the last association.
    pub(crate) closed: Option<CloseReason>,
    /// Faults of the network from now on.
    pub(crate) faults: Faults,
    /// True if messages stay unread, so that the receive window closes.
    pub(crate) stopped_reading: bool,
    unread: Vec<Credit>,
    held_back: [Option<(SocketAddr, Vec<u8>)>; 2],
    dice: Random,
    /// The last packets, as they came and went.
    pub(crate) packets: VecDeque<String>,
    start: Instant,
}

impl Ours {
    /// An endpoint on a loopback port of the system's choice, or on `port`.
    pub(crate) fn new(config: AssociationConfig, port: u16) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).expect("a UDP port on loopback");
        socket.set_read_timeout(Some(Duration::from_millis(1))).expect("a read timeout");
        let config = EndpointConfig {
            association: Valid::new(config).expect("a valid configuration"),
            accept: true,
            associations_max: 8,
            associations_per_address_max: 8,
            ..EndpointConfig::default()
        };
        // Each endpoint must draw other tags than the one before it on the same port, as real ones do.
        static ENDPOINTS: AtomicU64 = AtomicU64::new(1);
        let seed = ENDPOINTS.fetch_add(1, Ordering::Relaxed);
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..12].copy_from_slice(&std::process::id().to_le_bytes());
        Self {
            socket,
            endpoint: Endpoint::new(Instant::now(), config, bytes),
            association: None,
            events: Vec::new(),
            messages: VecDeque::new(),
            closed: None,
            faults: Faults::default(),
            stopped_reading: false,
            unread: Vec::new(),
            held_back: [None, None],
            dice: Random(seed),
            packets: VecDeque::new(),
            start: Instant::now(),
        }
    }

    /// The UDP port that the peer is told.
    pub(crate) fn port(&self) -> u16 {
        self.socket.local_addr().expect("bound").port()
    }

    /// Sends our INIT.
    pub(crate) fn connect(&mut self, port: u16) {
        let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        self.association = Some(self.endpoint.connect(Instant::now(), remote).expect("no association yet"));
    }

    /// The association, which must be there.
    pub(crate) fn association(&mut self) -> &mut Association {
        &mut self.association.as_mut().expect("there is an association").1
    }

    /// Returns `true` if there is an association and it is established.
    pub(crate) fn is_established(&self) -> bool {
        self.association.as_ref().is_some_and(|(_, association)| association.state() == State::Established)
    }

    /// Bytes that the peer still has room for, as far as is known.
    pub(crate) fn peer_window(&self) -> usize {
        self.association.as_ref().map_or(0, |(_, association)| association.stats().peer_rwnd)
    }

    /// Bytes that the peer has neither acknowledged nor been told to do without.
    pub(crate) fn outstanding(&self) -> usize {
        let stats = self.association.as_ref().map(|(_, association)| association.stats());
        stats.map_or(0, |stats| stats.flight_size + stats.buffered_amount)
    }

    /// Sends a message if there is room for it.
    pub(crate) fn try_send(&mut self, stream: u16, ppid: u32, bytes: &[u8], options: SendOptions) -> bool {
        let message = Bytes::copy_from_slice(bytes);
        match self.association().send(Instant::now(), StreamId(stream), Ppid(ppid), message, options) {
            Ok(()) => true,
            Err(SendMessageError::Full) => false,
            Err(error) => panic!("send on stream {stream}: {error}"),
        }
    }

    /// Sends an ordered, reliable message for which there is room.
    pub(crate) fn send(&mut self, stream: u16, ppid: u32, bytes: &[u8]) {
        assert!(self.try_send(stream, ppid, bytes, SendOptions::default()), "no room for {} bytes", bytes.len());
    }

    /// Starts the outgoing reset of streams.
    pub(crate) fn reset(&mut self, streams: &[u16]) {
        self.association()
            .reset_streams(Instant::now(), &streams.iter().copied().map(StreamId).collect::<Vec<_>>())
            .expect("the peer knows RE-CONFIG");
    }

    /// Returns the number of events that are like this one.
    pub(crate) fn times(&self, like: impl Fn(&AssociationEvent) -> bool) -> usize {
        self.events.iter().filter(|event| like(event)).count()
    }

    /// Returns `true` if the stream's outgoing reset was performed.
    pub(crate) fn has_reset(&self, wanted: u16) -> bool {
        self.times(|e| matches!(e, AssociationEvent::OutgoingStreamReset(stream) if stream.0 == wanted)) > 0
    }

    /// Returns `true` if the peer's reset of the stream has arrived.
    pub(crate) fn was_reset(&self, wanted: u16) -> bool {
        self.times(
            |e| matches!(e, AssociationEvent::IncomingStreamsReset(streams) if streams.contains(StreamId(wanted))),
        ) > 0
    }

    /// Reads the unread messages, and goes on reading.
    pub(crate) fn resume_reading(&mut self) {
        self.stopped_reading = false;
        for credit in std::mem::take(&mut self.unread) {
            self.association().release(credit);
        }
    }

    /// One turn: timers, events, packets to send, packets that have arrived.
    pub(crate) fn turn(&mut self) {
        if let Some((_, association)) = &mut self.association {
            let now = Instant::now();
            if association.poll_timeout().is_some_and(|at| at <= now) {
                association.handle_timeout(now);
            }
        }
        self.flush();
        let mut datagram = vec![0; 1 << 16];
        let mut blocking = true;
        // The first read waits a little, the others read datagrams that are there; then the acknowledgements must be
        // sent.
        for _ in 0..16 {
            match self.socket.recv_from(&mut datagram) {
                Ok((len, from)) => self.arrived(0, from, datagram[..len].to_vec()),
                // A port that nobody holds any more is reported here; SCTP finds out by itself.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                Err(error) => panic!("receive: {error}"),
            }
            if std::mem::take(&mut blocking) {
                self.socket.set_nonblocking(true).expect("non-blocking");
            }
        }
        if !blocking {
            self.socket.set_nonblocking(false).expect("blocking");
        }
        self.flush();
    }

    fn flush(&mut self) {
        self.take_events();
        let Some((handle, association)) = &mut self.association else { return };
        let remote = self.endpoint.remote_address(*handle).expect("the endpoint knows its associations");
        let mut buffer = Vec::new();
        let mut packets = Vec::new();
        while let Some(transmit) = association.poll_transmit(Instant::now(), 16, &mut buffer) {
            assert_eq!(transmit.len, buffer.len(), "poll_transmit says how much it wrote");
            packets.extend(buffer.chunks(transmit.segment_size).map(<[u8]>::to_vec));
            buffer.clear();
        }
        for packet in packets {
            self.leaves(remote, packet);
        }
        self.take_events();
        if self.closed.is_some()
            && let Some((handle, _)) = self.association.take()
        {
            self.endpoint.remove(handle);
            self.unread.clear();
        }
    }

    fn take_events(&mut self) {
        let Some((_, association)) = &mut self.association else { return };
        while let Some(event) = association.poll_event() {
            match event {
                AssociationEvent::Message(message) => {
                    self.messages.push_back(Received {
                        stream: message.stream.0,
                        ppid: message.ppid.0,
                        unordered: message.unordered,
                        bytes: message.payload.into_bytes(),
                    });
                    if self.stopped_reading {
                        self.unread.push(message.credit);
                    } else {
                        association.release(message.credit);
                    }
                }
                AssociationEvent::Closed(reason) => {
                    assert_eq!(self.closed.replace(reason), None, "an association closes once");
                }
                event => self.events.push(event),
            }
        }
    }

    fn arrived(&mut self, direction: usize, from: SocketAddr, datagram: Vec<u8>) {
        for (from, datagram) in self.suffer(direction, from, datagram) {
            let now = Instant::now();
            let mut answer = Vec::new();
            match self.endpoint.handle_datagram(now, from, Bytes::from(datagram), &mut answer) {
                DatagramEvent::Existing(_, datagram) => {
                    self.association().handle_datagram(now, datagram);
                }
                DatagramEvent::New(handle, association) => {
                    assert!(self.association.is_none(), "one association at a time");
                    self.closed = None;
                    self.association = Some((handle, *association));
                }
                DatagramEvent::Answer => self.leaves(from, answer),
                DatagramEvent::Dropped => {}
            }
            self.flush();
        }
    }

    fn leaves(&mut self, to: SocketAddr, datagram: Vec<u8>) {
        for (to, datagram) in self.suffer(1, to, datagram) {
            match self.socket.send_to(&datagram, to) {
                Ok(len) => assert_eq!(len, datagram.len()),
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
                Err(error) => panic!("send: {error}"),
            }
        }
    }

    /// Applies the faults to a datagram: it is lost, delivered, duplicated, or delivered behind the next one.
    fn suffer(&mut self, direction: usize, address: SocketAddr, datagram: Vec<u8>) -> Vec<(SocketAddr, Vec<u8>)> {
        let faults = self.faults;
        let mut out = Vec::new();
        let is_lost = self.roll(faults.lost);
        self.note(direction, &datagram, is_lost);
        if is_lost {
            return out;
        }
        if self.roll(faults.doubled) {
            out.push((address, datagram.clone()));
        }
        if self.roll(faults.overtaken) && self.held_back[direction].is_none() {
            self.held_back[direction] = Some((address, datagram));
            return out;
        }
        out.push((address, datagram));
        out.extend(self.held_back[direction].take());
        out
    }

    /// Logs a packet, to explain a failure of a test: time, direction, and of each chunk its type, flags and first
    /// twelve bytes.
    fn note(&mut self, direction: usize, packet: &[u8], is_lost: bool) {
        const PACKETS_MAX: usize = 60;
        let time = self.start.elapsed().as_millis();
        let mut line = format!("\n{time:6} ms {}{}", ["<", ">"][direction], if is_lost { " (lost)" } else { "" });
        let mut rest = packet.get(12..).unwrap_or_default();
        while let [kind, flags, high, low, ..] = rest {
            let len = usize::from(u16::from_be_bytes([*high, *low])).max(4);
            let value = &rest[4..rest.len().min(len).min(16)];
            line += &format!(" {kind}/{flags:x}:{}", value.iter().map(|b| format!("{b:02x}")).collect::<String>());
            rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
        self.packets.truncate(PACKETS_MAX - 1);
        self.packets.push_front(line);
    }

    /// Returns true that many times in a thousand.
    fn roll(&mut self, thousandths: u64) -> bool {
        self.dice.below(1000) < thousandths
    }
}
