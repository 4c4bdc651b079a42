//! Handshakes of both versions and roles, whatever the network does.

use super::super::record::{CLIENT_HELLO, HANDSHAKE, HandshakeHeader, Record, Records};
use super::super::{DtlsEvent, DtlsFailure, Version, Versions};
use super::link::{ACTIVE, Link, PASSIVE, adjusted, expecting, fingerprint, parameters};
use dimpl::NamedGroup;

const VERSIONS: [(Versions, Versions, Version); 5] = [
    (Versions::Both, Versions::Both, Version::Dtls13),
    (Versions::Both, Versions::Only12, Version::Dtls12),
    (Versions::Both, Versions::Only13, Version::Dtls13),
    (Versions::Only12, Versions::Both, Version::Dtls12),
    (Versions::Only13, Versions::Both, Version::Dtls13),
];

/// Cuts a ClientHello that fits one datagram into fragments of `len` bytes, each in a datagram of its own: what
/// browsers do, whose hello has 1.4 KB. `None` if the datagram is not a ClientHello.
fn fragments(datagram: &[u8], len: usize) -> Option<Vec<Vec<u8>>> {
    let Some(Ok(Record::Classic { kind: HANDSHAKE, epoch: 0, fragment })) = Records::new(datagram).next() else {
        return None;
    };
    let (header, _) = HandshakeHeader::split(fragment).filter(|(header, _)| header.kind == CLIENT_HELLO)?;
    let body = &fragment[12..];
    let mut out = Vec::new();
    for (index, part) in body.chunks(len).enumerate() {
        let mut record = datagram[..11].to_vec();
        // Sequence numbers of records of their own.
        record[9] = u8::try_from(index).unwrap();
        record.extend(u16::try_from(part.len() + 12).unwrap().to_be_bytes());
        record.push(header.kind);
        record.extend(&header.length.to_be_bytes()[1..]);
        record.extend(header.sequence.to_be_bytes());
        record.extend(&u32::try_from(index * len).unwrap().to_be_bytes()[1..]);
        record.extend(&u32::try_from(part.len()).unwrap().to_be_bytes()[1..]);
        record.extend(part);
        out.push(record);
    }
    Some(out)
}

/// Change to the pieces of a hello on their way.
type Order = fn(Vec<Vec<u8>>) -> Vec<Vec<u8>>;

/// Returns a link whose active end has a hello of 1.4 KB, which is cut in two; the datagrams go through `order`.
fn with_fragmented_hello(versions: Versions, order: Order) -> Link {
    let active = adjusted(ACTIVE, versions, |builder| builder.mtu(1450));
    let parameters = [parameters(PASSIVE, Versions::Both), active];
    let mut link = Link::with(&parameters, expecting(ACTIVE), expecting(PASSIVE), false);
    link.fate = Box::new(move |from, datagram| match fragments(datagram, 1100) {
        Some(parts) if from == ACTIVE => order(parts),
        _ => vec![datagram.to_vec()],
    });
    link
}

#[test]
fn both_ends_agree_on_the_highest_version_and_know_each_other() {
    for (passive, active, version) in VERSIONS {
        let mut link = Link::new(passive, active);
        link.connect();
        assert_eq!(
            link.events,
            [[DtlsEvent::Connected(version)], [DtlsEvent::Connected(version)]],
            "{passive:?} {active:?}"
        );
        assert_eq!(link.ends[PASSIVE].peer_fingerprint(), Some(&fingerprint(ACTIVE)));
        assert_eq!(link.ends[ACTIVE].peer_fingerprint(), Some(&fingerprint(PASSIVE)));
        assert_eq!(link.ends.each_ref().map(|end| end.poll_timeout()), [None, None], "nothing is left to wait for");
    }
}

#[test]
fn no_handshake_datagram_is_longer_than_every_path_carries() {
    for (passive, active, _) in VERSIONS {
        let mut link = Link::new(passive, active);
        link.connect();
        let longest = link.sent.iter().flatten().map(Vec::len).max().unwrap();
        assert!(longest <= 1172, "{passive:?} {active:?}: {longest}");
    }
}

#[test]
fn ends_without_a_version_in_common_fail() {
    let mut link = Link::new(Versions::Only13, Versions::Only12);
    link.run();
    assert!(matches!(link.events[PASSIVE][..], [DtlsEvent::Failed(_)]), "{:?}", link.events);
    assert!(matches!(link.events[ACTIVE][..], [DtlsEvent::Failed(DtlsFailure::TimedOut { .. })]), "{:?}", link.events);
}

#[test]
fn a_client_hello_in_two_datagrams_is_put_together_in_any_order() {
    let orders: [Order; 4] = [
        |parts| parts,
        |parts| parts.into_iter().rev().collect(),
        |parts| parts.iter().flat_map(|part| [part.clone(), part.clone()]).collect(),
        |parts| parts.iter().rev().chain(&parts).cloned().collect(),
    ];
    for versions in [Versions::Both, Versions::Only13, Versions::Only12] {
        for (index, order) in orders.into_iter().enumerate() {
            let mut link = with_fragmented_hello(versions, order);
            link.connect();
            let hello = &link.sent[ACTIVE][0];
            if versions == Versions::Both {
                assert!(hello.len() > 1400, "a hello of {} bytes", hello.len());
            }
            assert_eq!(link.events[PASSIVE].len(), 1, "{versions:?}, order {index}");
        }
    }
}

#[test]
fn half_a_client_hello_is_completed_by_the_retransmission() {
    for lost in 0..2 {
        let mut link = with_fragmented_hello(Versions::Both, |parts| parts);
        let mut hellos = 0;
        let mut fate = std::mem::replace(&mut link.fate, Box::new(|_, _| vec![]));
        link.fate = Box::new(move |from, datagram| {
            let mut datagrams = fate(from, datagram);
            if datagrams.len() > 1 {
                hellos += 1;
                if hellos == 1 {
                    datagrams.remove(lost);
                }
            }
            datagrams
        });
        link.connect();
    }
}

#[test]
fn a_peer_that_offers_another_group_first_is_asked_again() {
    let passive = adjusted(PASSIVE, Versions::Both, |builder| builder.kx_groups(&[NamedGroup::Secp256r1]));
    let parameters = [passive, parameters(ACTIVE, Versions::Both)];
    let mut link = Link::with(&parameters, expecting(ACTIVE), expecting(PASSIVE), false);
    link.connect();
    assert_eq!(link.events[ACTIVE], [DtlsEvent::Connected(Version::Dtls13)]);
}

#[test]
fn a_cookie_costs_one_round_trip_and_is_asked_for_in_both_versions() {
    for (versions, version) in [(Versions::Only12, Version::Dtls12), (Versions::Both, Version::Dtls13)] {
        let parameters = [parameters(PASSIVE, Versions::Both), parameters(ACTIVE, versions)];
        let mut link = Link::with(&parameters, expecting(ACTIVE), expecting(PASSIVE), true);
        link.step();
        let asked: usize = link.sent[PASSIVE].iter().map(Vec::len).sum();
        assert!((1..200).contains(&asked), "{version:?}: the first answer is {asked} bytes, not a flight");
        link.connect();
        assert_eq!(link.events[ACTIVE], [DtlsEvent::Connected(version)]);
    }
}

#[test]
fn whichever_datagram_is_lost_the_handshake_is_finished() {
    for (passive, active, version) in VERSIONS {
        for asks_for_cookie in [false, true] {
            for lost in 0..14 {
                let parameters = [parameters(PASSIVE, passive), parameters(ACTIVE, active)];
                let mut link = Link::with(&parameters, expecting(ACTIVE), expecting(PASSIVE), asks_for_cookie);
                let mut count = 0;
                link.fate = Box::new(move |_, datagram| {
                    count += 1;
                    if count - 1 == lost { vec![] } else { vec![datagram.to_vec()] }
                });
                let is_up = |link: &Link| link.ends.iter().all(|end| end.version().is_some());
                assert!(link.run_until(is_up), "{version:?} cookie {asks_for_cookie} lost {lost}: {:?}", link.events);
            }
        }
    }
}

#[test]
fn every_third_datagram_lost_and_the_others_doubled_and_out_of_order_do_not_stop_a_handshake() {
    for (passive, active, version) in VERSIONS {
        for phase in 0..3 {
            let mut link = Link::new(passive, active);
            let (mut count, mut held) = (phase, None);
            link.fate = Box::new(move |from, datagram| {
                count += 1;
                if count % 3 == 0 {
                    return vec![];
                }
                // Every other one waits for the next of its direction.
                match held.take() {
                    Some((side, earlier)) if side == from => vec![datagram.to_vec(), earlier, datagram.to_vec()],
                    Some((_, earlier)) => {
                        drop(earlier);
                        vec![datagram.to_vec()]
                    }
                    None => {
                        held = Some((from, datagram.to_vec()));
                        vec![datagram.to_vec(), datagram.to_vec()]
                    }
                }
            });
            let is_up = |link: &Link| link.ends.iter().all(|end| end.version().is_some());
            assert!(link.run_until(is_up), "{version:?} phase {phase}: {:?}", link.events);
        }
    }
}

#[test]
fn a_peer_that_never_answers_ends_the_handshake_after_thirty_seconds() {
    let mut link = Link::new(Versions::Both, Versions::Both);
    link.fate = Box::new(|_, _| vec![]);
    let start = link.now;
    link.run();
    assert_eq!(link.events[ACTIVE], [DtlsEvent::Failed(DtlsFailure::TimedOut { alert: None })]);
    assert_eq!((link.now - start).as_secs(), 30);
    assert!(link.ends[ACTIVE].is_over());
}
