use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::super::{Admission, AdmissionConfig, AdmissionStats, Budget};

const CONFIG: AdmissionConfig = AdmissionConfig {
    candidates_max: 8,
    per_source_max: 3,
    lifetime: Duration::from_secs(10),
    hellos_per_second_without_cookie: 100,
    hellos_per_second_max: 1000,
};

fn table() -> (Instant, Admission<u32>) {
    let now = Instant::now();
    (now, Admission::new(now, CONFIG, 7))
}

fn host(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], port))
}

/// Addresses that are there, in the order in which they will be asked for their place.
fn present(table: &mut Admission<u32>) -> Vec<u32> {
    let far = Instant::now() + Duration::from_secs(1_000_000);
    std::iter::from_fn(|| table.expire(far)).map(|(_, value)| value).collect()
}

#[test]
fn the_oldest_makes_room_in_a_full_table() {
    let (now, mut table) = table();
    for n in 0..12_u8 {
        assert!(table.insert(now, host(n, 1), || n.into()).is_some());
        assert!(table.len() <= 8);
    }
    assert_eq!(table.stats(), AdmissionStats { displaced: 4, ..AdmissionStats::default() });
    assert!(table.candidate(host(3, 1)).is_none());
    assert_eq!(table.candidate(host(4, 1)).map(|candidate| candidate.value), Some(4));
    assert_eq!(present(&mut table), (4..12).collect::<Vec<_>>());
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
        table.insert(now, inside(n), || n.into());
    }
    assert_eq!(table.len(), 3);
    table.insert(now, SocketAddr::from(([0x2001, 0xDB8, 0, 2, 0, 0, 0, 1], 1)), || 9);
    assert_eq!(table.len(), 4, "another network");
    for port in 0..3 {
        table.insert(now, host(1, port), || 0);
    }
    table.insert(now, "[::ffff:10.0.0.1]:9".parse().unwrap(), || 10);
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
        table.sweep(now, |_, candidate| seen.push(candidate.value));
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
fn a_cookie_is_asked_for_when_the_table_is_half_full_or_hellos_come_fast() {
    let (now, mut table) = table();
    for n in 0..4 {
        table.insert(now, host(n, 1), || 0);
        assert!(!table.asks_for_cookie(now), "{} of 8", n + 1);
    }
    table.insert(now, host(9, 1), || 0);
    assert!(table.asks_for_cookie(now));
    present(&mut table);
    assert!(!table.asks_for_cookie(now));
    for _ in 0..100 {
        table.insert(now, host(1, 1), || 0);
    }
    assert!(table.asks_for_cookie(now));
    assert!(table.asks_for_cookie(now + Duration::from_millis(1900)), "the second after a busy one is still wary");
    assert!(!table.asks_for_cookie(now + Duration::from_millis(4000)));
}

#[test]
fn hellos_beyond_what_a_second_allows_make_nothing() {
    let (now, mut table) = table();
    for _ in 0..1000 {
        assert!(table.insert(now, host(1, 1), || 0).is_some());
    }
    assert!(table.insert(now, host(2, 1), || panic!("made for nothing")).is_none());
    assert_eq!(table.stats().refused, 1);
    assert!(table.insert(now + Duration::from_secs(1), host(2, 1), || 0).is_some());
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
        let mut model: Vec<(Instant, SocketAddr, u32)> = Vec::new();
        for step in 0..2000_u32 {
            now += Duration::from_millis(rng.random_range(1..2000));
            let address = host(rng.random_range(0..6), rng.random_range(0..4));
            match rng.random_range(0..4) {
                0 => {
                    let at = model.iter().position(|(_, other, _)| *other == address);
                    assert_eq!(table.remove(address), at.map(|at| model.remove(at).2));
                }
                1 => {
                    while let Some((_, value)) = table.expire(now) {
                        assert!(model[0].0 + CONFIG.lifetime <= now);
                        assert_eq!(value, model.remove(0).2);
                    }
                    assert!(model.first().is_none_or(|(at, ..)| *at + CONFIG.lifetime > now));
                }
                _ => {
                    model.retain(|(_, other, _)| *other != address);
                    let of_source = |(_, other, _): &&(Instant, SocketAddr, u32)| other.ip() == address.ip();
                    if model.iter().filter(of_source).count() >= CONFIG.per_source_max {
                        let at = model.iter().position(|entry| of_source(&entry)).unwrap();
                        model.remove(at);
                    } else if model.len() >= CONFIG.candidates_max {
                        model.remove(0);
                    }
                    model.push((now, address, step));
                    table.insert(now, address, || step);
                }
            }
            assert_eq!(table.len(), model.len());
            for (_, address, value) in &model {
                assert_eq!(table.candidate(*address).map(|candidate| candidate.value), Some(*value));
            }
            table.sweep(now, |address, _| assert!(model.iter().any(|(_, other, _)| *other == address)));
            let sweep = table.next_sweep;
            assert_eq!(table.poll_timeout(), model.first().map(|(at, ..)| sweep.min(*at + CONFIG.lifetime)));
        }
    }
}
