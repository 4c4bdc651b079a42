//! SACKs: which are taken, and what they change.

use super::*;
use crate::error::Violation;

fn three_in_flight() -> World {
    let mut world = World::measured();
    (0..3).for_each(|_| world.push(1, FULL));
    assert_eq!(world.packets(), [[0], [1], [2]]);
    world.now += 100 * MS;
    world
}

#[test]
fn an_old_sack_and_one_whose_gap_blocks_are_wrong_change_nothing() {
    let mut world = three_in_flight();
    world.sack(2, &[]);
    let flight_size = world.sender.flight_size();
    for (acked, blocks) in [(1, &[][..]), (2, &[(1, 2)]), (2, &[(2, 1)]), (2, &[(1, 1), (1, 1)])] {
        let outcome = world.sack(acked, blocks);
        assert!(matches!(outcome, SackOutcome::Dropped), "{acked} {blocks:?}");
        assert_eq!(world.sender.flight_size(), flight_size);
    }
}

#[test]
fn an_acknowledgement_of_an_unsent_tsn_is_a_violation() {
    let mut world = three_in_flight();
    let mut chunk = Vec::new();
    let unsent = world.first.add(3).wrap();
    Sack::encode(unsent, 1 << 20, std::iter::empty(), std::iter::empty(), &mut chunk);
    let result = world.sender.on_sack(world.now, &Sack::decode(&chunk[4..]).unwrap(), &world.path);
    assert!(matches!(result, Err(Violation::AckOfUnsentTsn)));
    let result = world.sender.on_shutdown_ack_point(world.now, unsent, &world.path);
    assert!(matches!(result, Err(Violation::AckOfUnsentTsn)));
}

#[test]
fn a_sack_says_what_is_new_and_measures_the_round_trip() {
    let mut world = three_in_flight();
    let SackOutcome::Accepted { advanced, is_new, rtt, .. } = world.sack(0, &[(2, 2)]) else { panic!("dropped") };
    assert_eq!((advanced, is_new, rtt), (false, true, Some(100 * MS)));
    let SackOutcome::Accepted { advanced, is_new, rtt, .. } = world.sack(0, &[(2, 2)]) else { panic!("dropped") };
    assert_eq!((advanced, is_new, rtt), (false, false, None));
    let SackOutcome::Accepted { advanced, is_new, .. } = world.sack(3, &[]) else { panic!("dropped") };
    assert_eq!((advanced, is_new), (true, true));
    assert!(world.sender.is_drained());
}

#[test]
fn a_retransmission_measures_nothing() {
    let mut world = three_in_flight();
    world.sender.on_t3_timeout(world.now, false, &world.path);
    assert_eq!(world.packets(), [[0]]);
    world.now += 100 * MS;
    let SackOutcome::Accepted { rtt, .. } = world.sack(1, &[]) else { panic!("dropped") };
    assert_eq!(rtt, None, "Karn's rule");
}

#[test]
fn the_last_chunk_of_shutdown_drains_the_sender() {
    let mut world = three_in_flight();
    let point = |number: u64, world: &World| world.first.add(number).wrap();
    let (second, third) = (point(1, &world), point(2, &world));
    assert_eq!(world.sender.on_shutdown_ack_point(world.now, second, &world.path), Ok(true));
    assert_eq!(world.sender.on_shutdown_ack_point(world.now, second, &world.path), Ok(false));
    assert!(!world.sender.is_drained());
    assert_eq!(world.sender.on_shutdown_ack_point(world.now, third, &world.path), Ok(true));
    assert!(world.sender.is_drained());
}

/// RFC 9260 §6.2.1 B, D ii.
#[test]
fn peer_rwnd_is_the_window_less_what_is_in_flight() {
    let mut world = World::measured();
    assert_eq!(world.sender.peer_rwnd(), 1 << 20);
    (0..3).for_each(|_| world.push(1, FULL));
    world.packets();
    assert_eq!(world.sender.peer_rwnd(), (1 << 20) - 3 * FULL);
    world.now += 100 * MS;
    world.sack_with(1, &[], 50_000, &[]);
    assert_eq!(world.sender.peer_rwnd(), 50_000 - 2 * FULL);
}

#[test]
fn gap_reports_that_are_taken_back_are_retransmitted() {
    let mut world = three_in_flight();
    world.sack(0, &[(2, 3)]);
    world.packets();
    world.now += 100 * MS;
    world.sack(1, &[]);
    assert_eq!(world.packets().concat(), [1, 2], "RFC 9260 §6.2.1 D iii");
}
