//! Row K09 of `tests/attacks.toml`: memory that a flood of hellos takes, and bytes that it is answered with.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Admitted, DirectListener, Stranger, context};
use crate::net::{Answers, Datagram, Route};
use crate::webrtc::admission::AdmissionConfig;
use crate::webrtc::dtls::tests::link::{ACTIVE, adjusted, parameters};
use crate::webrtc::dtls::{Dtls, ExpectedPeer, SetupRole, Version, Versions};

/// Bytes that one whole hello makes us hold at most: the handshake's state, keys and flight. Ten kilobytes were
/// measured.
const HANDSHAKE_BYTES_MAX: usize = 24 * 1024;

/// A direct listener with a small table, and what it has received, sent and admitted.
struct Server {
    now: Instant,
    listener: DirectListener,
    answers: Answers,
    received: usize,
    sent: usize,
    admitted: Vec<Admitted>,
}

impl Server {
    fn new(peers_max: usize) -> Self {
        let config = AdmissionConfig {
            peers_max,
            per_source_max: peers_max / 4,
            unproved_max: peers_max / 2,
            unproved_per_second_max: u32::MAX,
            ..AdmissionConfig::default()
        };
        let now = Instant::now();
        let listener = DirectListener::with(now, context(now), config, 1);
        Self { now, listener, answers: Answers::default(), received: 0, sent: 0, admitted: Vec::new() }
    }

    /// Hands over a datagram; returns the answers, each with its address.
    fn handle(&mut self, address: SocketAddr, datagram: &[u8]) -> Vec<(SocketAddr, Vec<u8>)> {
        self.received += datagram.len();
        let route = Route { remote: address, local: None };
        let datagram = Datagram { route, bytes: Bytes::copy_from_slice(datagram) };
        let stranger = Stranger { datagram, is_contested: false, has_room: true };
        self.admitted.extend(self.listener.handle(self.now, &stranger, &mut self.answers));
        self.take_answers()
    }

    /// Moves the clock and fires what is due.
    fn wait(&mut self, time: Duration) -> Vec<(SocketAddr, Vec<u8>)> {
        self.now += time;
        if self.listener.poll_timeout().is_some_and(|at| at <= self.now) {
            self.listener.handle_timeout(self.now, &mut self.answers);
        }
        self.take_answers()
    }

    fn take_answers(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        let answers = std::mem::take(&mut self.answers).take();
        self.sent += answers.iter().map(|(_, answer)| answer.len()).sum::<usize>();
        answers.into_iter().map(|(route, answer)| (route.remote, answer)).collect()
    }
}

fn spoofed(n: u32) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(0x0A00_0000 + n)), 5000)
}

/// Returns the hello of a client as browsers send it, or a shorter one that fits a datagram.
fn hello(len: usize) -> Vec<u8> {
    let parameters = adjusted(ACTIVE, Versions::Both, |builder| builder.mtu(len));
    let mut client = Dtls::new(Instant::now(), parameters, SetupRole::Active, ExpectedPeer::Anyone, false);
    client.poll_transmit().expect("a hello")
}

/// Returns the first piece of a hello, in a datagram of its own.
fn first_half(hello: &[u8]) -> Vec<u8> {
    let half = (hello.len() - 25) / 2;
    let mut piece = hello[..25 + half].to_vec();
    piece[11..13].copy_from_slice(&u16::try_from(12 + half).unwrap().to_be_bytes());
    piece[22..25].copy_from_slice(&u32::try_from(half).unwrap().to_be_bytes()[1..]);
    piece
}

#[test]
fn k09_halved_hellos_from_spoofed_sources_grow_nothing_beyond_the_table() {
    let mut server = Server::new(256);
    let half = first_half(&hello(1450));
    let mut flood = |from: u32, to: u32| {
        allocation_counter::measure(|| {
            for n in from..to {
                assert!(server.handle(spoofed(n), &half).is_empty(), "half a hello is answered by nothing");
            }
        })
        .bytes_current
    };
    let filled = flood(0, 128);
    assert!(filled > 0 && filled <= 128 * 1536, "{filled} bytes for 128 halves of {}", half.len());
    assert_eq!(flood(128, 20_000), 0, "what may be without a proof grows no more");
    assert_eq!(server.listener.handshakes.len(), 128);
    let stats = server.listener.handshakes.stats();
    assert_eq!((stats.displaced, stats.refused), (0, 20_000 - 128), "strangers push out nobody");
}

#[test]
fn k09_pieces_of_hellos_that_never_end_hold_five_kilobytes_a_peer_at_most() {
    let mut server = Server::new(64);
    let mut piece = first_half(&hello(1450));
    // A message of 4,096 bytes, of which the first is never sent.
    piece[14..17].copy_from_slice(&[0, 0x10, 0]);
    let info = allocation_counter::measure(|| {
        for round in 0..40_u32 {
            let offset = (1 + round * 97).to_be_bytes();
            piece[19..22].copy_from_slice(&offset[1..]);
            for n in 0..64 {
                assert!(server.handle(spoofed(n), &piece).is_empty());
            }
        }
    });
    assert!(info.bytes_current <= 64 * 6 * 1024, "{} bytes for 64 peers", info.bytes_current);
}

#[test]
fn k09_whole_hellos_from_spoofed_sources_grow_nothing_beyond_the_table_and_are_answered_by_three_times_their_bytes() {
    for len in [400, 1200] {
        let mut server = Server::new(32);
        let hello = hello(len);
        let mut flood = |from: u32, to: u32| {
            allocation_counter::measure(|| {
                for n in from..to {
                    let before = server.sent;
                    for _ in 0..3 {
                        server.handle(spoofed(n), &hello);
                    }
                    assert!(server.sent - before <= 9 * hello.len());
                }
            })
            .bytes_current
        };
        let filled = flood(0, 16);
        let most = 16 * i64::try_from(HANDSHAKE_BYTES_MAX).unwrap();
        assert!(filled <= most, "{filled} bytes for 16 hellos of {len}");
        let more = flood(16, 200);
        assert!(filled + more <= most, "{more} bytes more for 184 more hellos of {len}");
        assert!(server.sent <= 3 * server.received);
        assert!(server.listener.handshakes.asks_for_proof(server.now));
    }
}

#[test]
fn k09_one_source_cannot_push_out_the_others() {
    let mut server = Server::new(32);
    let half = first_half(&hello(1450));
    server.handle(spoofed(9), &half);
    for port in 1..5000 {
        server.handle(SocketAddr::from(([203, 0, 113, 7], port)), &half);
    }
    assert!(server.listener.handshakes.peer(spoofed(9)).is_some());
    assert_eq!(server.listener.handshakes.len(), 1 + 32 / 4);
}

#[test]
fn a_hello_that_is_not_worth_a_flight_is_asked_for_a_cookie_at_once() {
    let mut server = Server::new(64);
    let address = SocketAddr::from(([192, 0, 2, 1], 40_000));
    let parameters = parameters(ACTIVE, Versions::Only12);
    let mut client = Dtls::new(server.now, parameters, SetupRole::Active, ExpectedPeer::Anyone, false);
    for round_trip in 0..3 {
        let flight: Vec<_> = std::iter::from_fn(|| client.poll_transmit()).collect();
        let answers: Vec<_> = flight.iter().flat_map(|datagram| server.handle(address, datagram)).collect();
        assert!(!answers.is_empty(), "round trip {round_trip}");
        let peer = server.listener.handshakes.peer(address);
        let is_proved = peer.map(|peer| peer.value.is_address_proved());
        assert_eq!(is_proved, [Some(false), Some(true), None][round_trip], "round trip {round_trip}");
        for (_, answer) in answers {
            client.handle_datagram(server.now, &answer);
        }
    }
    assert_eq!(client.version(), Some(Version::Dtls12));
    assert_eq!(server.admitted.len(), 1);
}

#[test]
fn an_honest_peer_gets_in_past_a_flood_though_every_third_datagram_is_lost() {
    for versions in [Versions::Both, Versions::Only12] {
        let mut server = Server::new(64);
        let half = first_half(&hello(1450));
        let address = SocketAddr::from(([192, 0, 2, 1], 40_000));
        let mut client =
            Dtls::new(server.now, parameters(ACTIVE, versions), SetupRole::Active, ExpectedPeer::Anyone, false);
        let mut count = 0;
        let mut is_lost = || {
            count += 1;
            count % 3 == 0
        };
        let mut strangers = 0..;
        while server.admitted.is_empty() {
            // The table is new in 3.2 s: who was there before has gone.
            let stranger = strangers.next().unwrap_or_default();
            assert!(stranger < 200, "{versions:?}: not in after ten seconds");
            let mut answers = server.wait(Duration::from_millis(50));
            answers.extend(server.handle(spoofed(stranger), &half));
            if client.poll_timeout().is_some_and(|at| at <= server.now) {
                client.handle_timeout(server.now);
            }
            while let Some(datagram) = client.poll_transmit() {
                if !is_lost() {
                    answers.extend(server.handle(address, &datagram));
                }
            }
            for (_, answer) in answers.iter().filter(|(to, _)| *to == address) {
                if !is_lost() {
                    client.handle_datagram(server.now, answer);
                }
            }
        }
        assert_eq!(server.admitted.iter().map(|peer| peer.route.remote).collect::<Vec<_>>(), [address]);
        assert!(server.listener.handshakes.peer(address).is_none(), "who has proved itself leaves the table");
    }
}
