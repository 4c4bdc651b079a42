//! Places in the table of pending handshakes, and which peers make room.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::super::{AdmissionConfig, AdmissionStats, Budget, PendingHandshakes};

const CONFIG: AdmissionConfig = AdmissionConfig {
    peers_max: 8,
    per_source_max: 3,
    lifetime: Duration::from_secs(10),
    unproved_max: 5,
    unproved_per_second_max: 100,
    per_source_and_second_max: 1000,
};

fn table() -> (Instant, PendingHandshakes<u32>) {
    let now = Instant::now();
    (now, PendingHandshakes::new(now, CONFIG, 7))
}

fn host(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], port))
}

/// Returns the addresses in the table, in the order in which they are to be evicted.
fn present(table: &mut PendingHandshakes<u32>) -> Vec<u32> {
    let far = Instant::now() + Duration::from_secs(1_000_000);
    std::iter::from_fn(|| table.expire(far)).map(|(_, value)| value).collect()
}

#[test]
fn k09_a_peer_without_a_proof_pushes_out_nobody_and_one_with_a_proof_always_enters() {
    let (now, mut table) = table();
    for n in 0..12_u8 {
        assert_eq!(table.insert(now, host(n, 1), || n.into()).is_some(), n < 5);
    }
    assert_eq!(table.stats(), AdmissionStats { refused: 7, ..AdmissionStats::default() });
    for n in 20..30_u8 {
        assert!(table.insert_proved(now, host(n, 1), || n.into()).is_some());
        assert!(table.len() <= 8);
    }
    assert_eq!(present(&mut table), (22..30).collect::<Vec<_>>());
}

#[test]
fn k09_in_a_full_table_the_source_with_the_most_peers_loses_its_oldest() {
    let (now, mut table) = table();
    for (host_number, port) in [(1, 1), (2, 1), (2, 2), (3, 1), (2, 3), (4, 1), (4, 2), (5, 1)] {
        table.insert_proved(now, host(host_number, port), || u32::from(host_number) * 10 + u32::from(port));
    }
    table.insert_proved(now, host(6, 1), || 61);
    table.insert_proved(now, host(7, 1), || 71);
    // Host 4 had two first, then host 2, which has lost one.
    table.insert_proved(now, host(8, 1), || 81);
    assert_eq!(present(&mut table), [11, 31, 23, 42, 51, 61, 71, 81]);
}

#[test]
fn a_proof_that_comes_late_changes_only_that() {
    let (now, mut table) = table();
    for n in 0..5_u8 {
        table.insert(now, host(n, 1), || n.into());
    }
    assert!(!table.is_proved(host(3, 1)) && table.insert(now, host(9, 1), || 9).is_none());
    let value = table.insert_proved(now, host(3, 1), || panic!("it is there")).map(|peer| peer.value);
    assert_eq!(value, Some(3));
    assert!(table.is_proved(host(3, 1)));
    assert!(table.insert(now, host(9, 1), || 9).is_some(), "one without a proof less");
}

#[test]
fn k09_a_source_uses_up_its_own_quota_and_nobody_elses() {
    let now = Instant::now();
    let config = AdmissionConfig { unproved_max: 8, per_source_and_second_max: 4, ..CONFIG };
    let mut table = PendingHandshakes::new(now, config, 7);
    for port in 0..5000 {
        assert_eq!(table.insert(now, host(1, port), || 0).is_some(), port < 4);
    }
    for port in 5000..10_000 {
        assert!(table.insert_proved(now, host(1, port), || 0).is_none());
    }
    assert!(!table.asks_for_proof(now), "one source alone makes no load");
    assert!(table.insert(now, host(2, 1), || 0).is_some());
    assert!(table.insert(now + Duration::from_secs(1), host(1, 1), || 0).is_some());
}

#[test]
fn a_source_with_its_share_pushes_out_its_own() {
    let (now, mut table) = table();
    table.insert(now, host(1, 1), || 0);
    for port in 1..=5 {
        table.insert(now, host(2, port), || port.into());
    }
    assert_eq!(present(&mut table), [0, 3, 4, 5]);
}

#[test]
fn a_network_of_64_bits_is_one_source_and_a_mapped_address_is_its_ipv4_host() {
    let (now, mut table) = table();
    let inside = |n: u16| SocketAddr::from(([0x2001, 0xDB8, 0, 1, n, n, n, n], 1));
    for n in 0..5 {
        table.insert_proved(now, inside(n), || n.into());
    }
    assert_eq!(table.len(), 3);
    table.insert_proved(now, SocketAddr::from(([0x2001, 0xDB8, 0, 2, 0, 0, 0, 1], 1)), || 9);
    assert_eq!(table.len(), 4, "another network");
    for port in 0..3 {
        table.insert_proved(now, host(1, port), || 0);
    }
    table.insert_proved(now, "[::ffff:10.0.0.1]:9".parse().unwrap(), || 10);
    assert_eq!(table.len(), 7);
}

#[test]
fn who_takes_too_long_leaves_and_the_deadline_is_the_oldest_ones() {
    let (now, mut table) = table();
    assert_eq!(table.poll_timeout(), None);
    table.insert(now, host(1, 1), || 1);
    table.insert(now + Duration::from_secs(4), host(2, 1), || 2);
    let end = now + Duration::from_secs(10);
    let mut sweep = |now| {
        let mut seen = Vec::new();
        table.sweep(now, |_, peer| seen.push(peer.value));
        (seen, table.poll_timeout())
    };
    assert_eq!(sweep(now), (vec![], Some(now + Duration::from_millis(250))), "not yet");
    assert_eq!(sweep(now + Duration::from_secs(5)), (vec![1, 2], Some(now + Duration::from_millis(5250))));
    assert_eq!(sweep(end - Duration::from_millis(1)), (vec![1, 2], Some(end)));
    assert_eq!(table.expire(end - Duration::from_nanos(1)), None);
    assert_eq!(table.expire(end), Some((host(1, 1), 1)));
    assert_eq!(table.expire(end), None);
    table.sweep(end + Duration::from_secs(4), |_, _| {});
    assert_eq!(table.poll_timeout(), Some(end + Duration::from_secs(4)));
    assert_eq!(table.remove(host(2, 1)), Some(2), "has proved itself");
    assert_eq!((table.poll_timeout(), table.len()), (None, 0));
    assert_eq!(table.stats(), AdmissionStats { expired: 1, ..AdmissionStats::default() });
}

#[test]
fn a_peer_that_begins_anew_takes_its_own_place() {
    let (now, mut table) = table();
    table.insert(now, host(1, 1), || 1).unwrap().budget.on_received(100);
    let again = table.insert(now, host(1, 1), || 2).unwrap();
    assert_eq!((again.value, again.budget), (2, Budget::default()));
    assert_eq!((table.len(), table.stats()), (1, AdmissionStats::default()));
}

#[test]
fn a_proof_is_asked_for_when_half_of_the_places_without_are_taken_or_hellos_come_fast() {
    let (now, mut table) = table();
    for n in 0..2 {
        table.insert(now, host(n, 1), || 0);
        assert!(!table.asks_for_proof(now), "{} of 5", n + 1);
    }
    table.insert(now, host(9, 1), || 0);
    assert!(table.asks_for_proof(now));
    present(&mut table);
    assert!(!table.asks_for_proof(now));
    for _ in 0..50 {
        table.insert(now, host(1, 1), || 0);
    }
    assert!(table.asks_for_proof(now));
    assert!(table.asks_for_proof(now + Duration::from_millis(1900)), "the second after a busy one is still wary");
    assert!(!table.asks_for_proof(now + Duration::from_millis(4000)));
}

#[test]
fn k09_without_a_proof_so_many_enter_in_a_second_and_with_one_any_number() {
    let (now, mut table) = table();
    for n in 0..100 {
        assert!(table.insert(now, host(n, 1), || 0).is_some());
        table.remove(host(n, 1));
    }
    assert!(table.insert(now, host(200, 2), || panic!("made for nothing")).is_none());
    assert_eq!(table.stats().refused, 1);
    assert!(table.insert_proved(now, host(200, 2), || 0).is_some());
    assert!(table.insert(now + Duration::from_secs(1), host(201, 1), || 0).is_some());
}

#[test]
fn three_bytes_may_be_sent_for_each_that_came() {
    let mut budget = Budget::default();
    assert!(budget.allows(0) && !budget.allows(1));
    budget.on_received(100);
    assert!(budget.allows(300) && !budget.allows(301));
    budget.on_sent(299);
    assert!(budget.allows(1) && !budget.allows(2));
    budget.on_received(usize::MAX);
    budget.on_received(usize::MAX);
    assert!(budget.allows(usize::MAX));
}

/// Against a list that is searched from end to end.
#[test]
fn the_table_does_what_a_plain_list_does() {
    for seed in 0..50 {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut now, mut table) = table();
        let mut model = Model::default();
        for step in 0..2000_u32 {
            now += Duration::from_millis(rng.random_range(1..2000));
            let address = host(rng.random_range(0..6), rng.random_range(0..4));
            match rng.random_range(0..4) {
                0 => assert_eq!(table.remove(address), model.remove(address)),
                1 => {
                    while let Some((address, value)) = table.expire(now) {
                        assert!(model.peers[0].entered + CONFIG.lifetime <= now);
                        assert_eq!(model.peers[0].address, address);
                        assert_eq!(model.remove(address), Some(value));
                    }
                    assert!(model.peers.first().is_none_or(|peer| peer.entered + CONFIG.lifetime > now));
                }
                2 => {
                    let is_in = table.insert(now, address, || step).is_some();
                    assert_eq!(is_in, model.insert(now, address, step));
                }
                _ => {
                    assert!(table.insert_proved(now, address, || step).is_some());
                    model.insert_proved(now, address, step);
                }
            }
            assert_eq!(table.len(), model.peers.len());
            for peer in &model.peers {
                let found = table.peer(peer.address).map(|found| (found.value, found.is_proved));
                assert_eq!(found, Some((peer.value, peer.is_proved)));
            }
            table.sweep(now, |address, _| assert!(model.peers.iter().any(|peer| peer.address == address)));
            let sweep = table.next_sweep;
            let oldest = model.peers.first().map(|peer| sweep.min(peer.entered + CONFIG.lifetime));
            assert_eq!(table.poll_timeout(), oldest);
        }
    }
}

struct Peer {
    entered: Instant,
    address: SocketAddr,
    value: u32,
    is_proved: bool,
}

/// Peers in the order in which they came, and sources in the order in which their numbers of peers changed.
#[derive(Default)]
struct Model {
    peers: Vec<Peer>,
    sources: Vec<IpAddr>,
}

impl Model {
    fn of(&self, ip: IpAddr) -> usize {
        self.peers.iter().filter(|peer| peer.address.ip() == ip).count()
    }

    fn touch(&mut self, ip: IpAddr) {
        self.sources.retain(|known| *known != ip);
        self.sources.push(ip);
    }

    fn remove(&mut self, address: SocketAddr) -> Option<u32> {
        let at = self.peers.iter().position(|peer| peer.address == address)?;
        let peer = self.peers.remove(at);
        self.touch(address.ip());
        Some(peer.value)
    }

    fn remove_oldest_of(&mut self, ip: IpAddr) {
        let oldest = self.peers.iter().find(|peer| peer.address.ip() == ip).map(|peer| peer.address);
        self.remove(oldest.expect("it has one"));
    }

    fn insert(&mut self, now: Instant, address: SocketAddr, value: u32) -> bool {
        let unproved = self.peers.iter().filter(|peer| !peer.is_proved).count();
        let is_full = unproved >= CONFIG.unproved_max || self.peers.len() >= CONFIG.peers_max;
        let is_there = self.peers.iter().any(|peer| peer.address == address);
        let enters = !is_full || is_there || self.of(address.ip()) >= CONFIG.per_source_max;
        if enters {
            self.enter(now, address, value, false);
        }
        enters
    }

    fn insert_proved(&mut self, now: Instant, address: SocketAddr, value: u32) {
        match self.peers.iter_mut().find(|peer| peer.address == address) {
            Some(peer) => peer.is_proved = true,
            None => self.enter(now, address, value, true),
        }
    }

    fn enter(&mut self, entered: Instant, address: SocketAddr, value: u32, is_proved: bool) {
        self.remove(address);
        if self.of(address.ip()) >= CONFIG.per_source_max {
            self.remove_oldest_of(address.ip());
        } else if self.peers.len() >= CONFIG.peers_max {
            let most = self.sources.iter().map(|ip| self.of(*ip)).max().expect("a full table");
            let largest = *self.sources.iter().find(|ip| self.of(**ip) == most).expect("one has most");
            self.remove_oldest_of(largest);
        }
        self.peers.push(Peer { entered, address, value, is_proved });
        self.touch(address.ip());
    }
}
