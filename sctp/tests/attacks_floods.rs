//! Strangers who send as much as they can, and honest peers who want to connect meanwhile. Each test bears the id of
//! its row in the list of attacks.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::let_underscore_must_use, reason = "some results make no difference to a test")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail this way")]

mod victim;

use std::net::SocketAddr;

use bytes::Bytes;
use narrowboat_sctp::testing::wire::{ChunkType, Init};
use narrowboat_sctp::{DatagramEvent, Endpoint, EndpointConfig, PacketDropReason};

use crate::victim::service::Service;
use crate::victim::{SECOND, chunk, cookie_echo, data, init, packet, peer_init, raw};

/// Duration of the flood, in seconds. An honest peer begins every 10 ms, and retransmits its INIT after a second.
const FLOOD_SECONDS: u32 = 4;
const NEWCOMERS: u32 = 100 * (FLOOD_SECONDS - 2);

/// Address of a newcomer, different from all of the flood.
fn newcomer(n: u32) -> SocketAddr {
    let [_, _, high, low] = n.to_be_bytes();
    SocketAddr::from(([198, 18, high, low], 9899))
}

/// The addresses of a flood from so many hosts.
fn flooder(n: u32, hosts: u32) -> SocketAddr {
    let [a, b, c, _] = (n % hosts).wrapping_mul(2_654_435_761).to_be_bytes();
    SocketAddr::from(([100, a, b, c], 9899))
}

/// As many hosts as can be invented.
const INVENTED: u32 = u32::MAX;

/// A handshake, as far as the endpoint answers. Returns true if the association was made.
fn connect(endpoint: &mut Endpoint, now: std::time::Instant, from: SocketAddr, answer: &mut Vec<u8>) -> bool {
    answer.clear();
    match endpoint.handle_datagram(now, from, packet(0, &[init(&peer_init())]), answer) {
        DatagramEvent::Answer => {}
        DatagramEvent::Dropped => return false,
        other => panic!("{other:?}"),
    }
    let sent = victim::chunks_of(&Bytes::copy_from_slice(answer));
    let ack = Init::decode(&sent.first().unwrap().value).unwrap();
    let echo = packet(ack.initiate_tag, &[cookie_echo(ack.cookie.unwrap())]);
    answer.clear();
    let event = endpoint.handle_datagram(now, from, echo, answer);
    assert!(matches!(event, DatagramEvent::New(..)), "a good cookie needs no leave: {event:?}");
    true
}

/// Floods with `per_second` of these packets. Returns how many of [`NEWCOMERS`] got in within two seconds.
fn newcomers_in_flood(service: &mut Service, per_second: u32, flood: impl Fn(u32) -> (SocketAddr, Bytes)) -> u32 {
    let start = service.now;
    let mut answer = Vec::new();
    let mut waiting: Vec<u32> = Vec::new();
    let mut inside = 0;
    for n in 0..per_second * FLOOD_SECONDS {
        let now = start + SECOND * n / per_second;
        let (from, datagram) = flood(n);
        answer.clear();
        let _ = service.endpoint.handle_datagram(now, from, datagram, &mut answer);
        // The newcomer of this hundredth of a second, and those who try again.
        if n % (per_second / 100) == per_second / 300 {
            let tick = n / (per_second / 100);
            let (again, others): (Vec<u32>, Vec<u32>) =
                waiting.iter().partition(|begun| [100, 200].contains(&(tick - **begun)));
            waiting = others;
            for begun in again.into_iter().chain((tick < NEWCOMERS).then_some(tick)) {
                if connect(&mut service.endpoint, now, newcomer(begun), &mut answer) {
                    inside += 1;
                } else if tick - begun < 200 {
                    waiting.push(begun);
                }
            }
        }
    }
    assert_eq!(service.endpoint.len(), usize::try_from(inside).unwrap(), "nothing is kept of the flood");
    inside
}

#[track_caller]
fn check(what: &str, per_second: u32, hosts: u32, datagram: &Bytes) -> Service {
    check_with(EndpointConfig::default(), what, per_second, hosts, datagram)
}

#[track_caller]
fn check_with(config: EndpointConfig, what: &str, per_second: u32, hosts: u32, datagram: &Bytes) -> Service {
    let mut service = Service::with_config(config);
    let inside = newcomers_in_flood(&mut service, per_second, |n| (flooder(n, hosts), datagram.clone()));
    let flood = format!("{per_second} {what} a second from {hosts} hosts");
    assert!(inside * 100 >= NEWCOMERS * 99, "{flood}: {inside} of {NEWCOMERS} got in");
    service
}

#[test]
fn b06_honest_newcomers_get_in_while_a_flood_of_inits_lasts() {
    let datagram = packet(0, &[init(&peer_init())]);
    // Nothing tells a newcomer from hosts that are invented anew for each packet: the limit is above such a flood.
    for (per_second, hosts) in [(20_000, 1), (20_000, 250), (20_000, INVENTED), (60_000, 1), (60_000, 250)] {
        let service = check("INITs", per_second, hosts, &datagram);
        let answered =
            u64::from(per_second * FLOOD_SECONDS) - service.endpoint.drops().count(PacketDropReason::LimitReached);
        // One host gets a fiftieth of the limit and ten seconds of that at first, and each host a share.
        let limit = service_limit();
        let common = limit / 50 * (FLOOD_SECONDS + 10) + NEWCOMERS;
        let max = if hosts == INVENTED { limit * (FLOOD_SECONDS + 1) } else { common + hosts * 10 * FLOOD_SECONDS };
        let max = u64::from(max);
        assert!(
            answered <= max,
            "{answered} of {per_second} a second from {hosts} hosts were answered, at most {max} wanted"
        );
    }
}

fn service_limit() -> u32 {
    EndpointConfig::default().inits_per_second_max
}

/// Times at which an honest peer sends its first INITs, in seconds: after RTO.Initial, then after twice as long (RFC
/// 9260 §16).
const ROUNDS: [u32; 3] = [0, 1, 3];

#[test]
fn b06_ten_thousand_clients_that_come_at_once_are_in_within_few_rounds() {
    type Address = fn(u32) -> SocketAddr;
    // A NAT; as many as an endpoint takes from one address.
    let one_address: Address = |n| SocketAddr::from(([198, 18, 0, 1], 1000 + u16::try_from(n).unwrap()));
    let bursts: [(&str, u32, Address); 2] =
        [("addresses of their own", 10_000, newcomer), ("one address", 4096, one_address)];
    for (what, clients, address) in bursts {
        let mut service = Service::new();
        let (start, mut answer) = (service.now + SECOND, Vec::new());
        let mut waiting: Vec<u32> = (0..clients).collect();
        let left = ROUNDS.map(|at| {
            waiting.retain(|n| !connect(&mut service.endpoint, start + SECOND * at, address(*n), &mut answer));
            waiting.len()
        });
        assert!(waiting.is_empty(), "of {clients} from {what}, so many wait after each round: {left:?}");
    }
}

#[test]
fn c05_honest_newcomers_get_in_while_a_flood_out_of_the_blue_lasts() {
    let datagram = packet(0x0b1e, &[data(0, b"x")]);
    for (per_second, hosts) in [(20_000, 1), (20_000, INVENTED), (60_000, 1), (60_000, INVENTED)] {
        let service = check("stray packets", per_second, hosts, &datagram);
        let dropped = service.endpoint.drops().count(PacketDropReason::LimitReached);
        assert!(dropped > u64::from(per_second), "the flood itself is limited: {dropped}");
    }
}

#[test]
fn b06_c05_packets_without_an_answer_take_nothing_from_anyone() {
    let junk: [(&str, Bytes); 5] = [
        ("ABORT", packet(9, &[raw(ChunkType::ABORT, 0, &[])])),
        ("half an INIT", packet(0, &[raw(ChunkType::INIT, 0, &[0; 15])])),
        ("INIT with tag 0", packet(0, &[init(&Init::new(0, 1 << 20, 1, 1, narrowboat_sctp::Tsn(1)))])),
        ("INIT with a tag", packet(9, &[init(&peer_init())])),
        ("forged cookies", packet(9, &[cookie_echo(&[7; 56])])),
    ];
    for (what, datagram) in junk {
        let service = check(what, 20_000, INVENTED, &datagram);
        assert_eq!(service.endpoint.drops().count(PacketDropReason::LimitReached), 0, "{what}");
    }
}

#[test]
fn b06_old_cookies_are_answered_within_the_limit_of_stray_packets() {
    let mut service = Service::new();
    let offer = service.offer(flooder(1, 1));
    service.now += 100 * SECOND;
    let stale = packet(offer.tag, &[cookie_echo(&offer.cookie), chunk(|_| {})]);
    let inside = newcomers_in_flood(&mut service, 20_000, |_| (flooder(1, 1), stale.clone()));
    assert!(inside * 100 >= NEWCOMERS * 99, "{inside} of {NEWCOMERS} got in");
    let drops = service.endpoint.drops();
    assert!(
        drops.count(PacketDropReason::StaleCookie) > 0 && drops.count(PacketDropReason::LimitReached) > 20_000,
        "{drops:?}"
    );
}
