//! Rows K07, K08 and K09 of `tests/attacks.toml`, but for what comes while a handshake lasts.

use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use sha2::{Digest, Sha384, Sha512};

use super::super::{Dtls, DtlsDrops, DtlsEvent, DtlsFailure, ExpectedPeer, SetupRole, Version, Versions};
use super::identity::identity;
use super::link::{ACTIVE, Link, PASSIVE, expecting, fingerprint, parameters};
use crate::webrtc::CertificateHash;

pub(super) const BOTH: [(Versions, Version); 2] =
    [(Versions::Only12, Version::Dtls12), (Versions::Both, Version::Dtls13)];

pub(super) fn link(versions: Versions, passive_expects: ExpectedPeer, active_expects: ExpectedPeer) -> Link {
    let parameters = [parameters(PASSIVE, Versions::Both), parameters(ACTIVE, versions)];
    Link::with(&parameters, passive_expects, active_expects, false)
}

/// Returns a record in the clear, as anybody could send it.
pub(super) fn plaintext(kind: u8, epoch: u16, fragment: &[u8]) -> Vec<u8> {
    numbered(kind, epoch, 256, fragment)
}

/// Returns the same with a record number, of which 48 bits are sent.
fn numbered(kind: u8, epoch: u16, number: u64, fragment: &[u8]) -> Vec<u8> {
    let mut record = vec![kind, 0xFE, 0xFD];
    record.extend(epoch.to_be_bytes());
    record.extend(&number.to_be_bytes()[2..]);
    record.extend(u16::try_from(fragment.len()).unwrap().to_be_bytes());
    record.extend(fragment);
    record
}

#[test]
fn k07_another_certificate_than_announced_ends_the_association_before_a_packet_is_taken() {
    for (versions, version) in BOTH {
        // The passive end is told to expect somebody else.
        let mut link = link(versions, expecting(PASSIVE), expecting(PASSIVE));
        link.run_until(|link| !link.events[ACTIVE].is_empty() || !link.events[PASSIVE].is_empty());
        // In 1.3 a client is done before its certificate has been looked at; nothing that it says is heard.
        let has_sent = link.ends[ACTIVE].version().is_some();
        if has_sent {
            link.send(ACTIVE, b"too early");
        }
        link.run();
        let failure = DtlsFailure::WrongCertificate { presented: fingerprint(ACTIVE) };
        assert_eq!(link.events[PASSIVE], [DtlsEvent::Failed(failure)], "{version:?}");
        assert!(link.ends[PASSIVE].is_over() && link.ends[PASSIVE].version().is_none());
        assert_eq!(has_sent, version == Version::Dtls13);

        // The active end is told to expect somebody else.
        let mut link = self::link(versions, expecting(ACTIVE), expecting(ACTIVE));
        link.run();
        let failure = DtlsFailure::WrongCertificate { presented: fingerprint(PASSIVE) };
        assert_eq!(link.events[ACTIVE], [DtlsEvent::Failed(failure)], "{version:?}");
        assert!(
            matches!(link.events[PASSIVE][..], [DtlsEvent::Connected(_), DtlsEvent::PeerClosed]),
            "{:?}",
            link.events
        );
    }
}

#[test]
fn k07_a_certificate_is_known_by_a_hash_of_each_function() {
    let certificate = identity(ACTIVE).certificate;
    let sha_384 = CertificateHash::Sha384(Sha384::digest(&certificate).into());
    let sha_512 = CertificateHash::Sha512(Sha512::digest(&certificate).into());
    for hash in [sha_384, sha_512] {
        let mut link = link(Versions::Both, ExpectedPeer::Fingerprints(vec![hash]), expecting(PASSIVE));
        link.connect();
        assert_eq!(link.ends[PASSIVE].peer_fingerprint(), Some(&fingerprint(ACTIVE)));
    }
    let wrong = CertificateHash::Sha512([0; 64]);
    let mut link = link(Versions::Both, ExpectedPeer::Fingerprints(vec![wrong]), expecting(PASSIVE));
    link.run();
    let failure = DtlsFailure::WrongCertificate { presented: fingerprint(ACTIVE) };
    assert_eq!(link.events[PASSIVE], [DtlsEvent::Failed(failure)]);
}

#[test]
fn k07_anyone_is_taken_where_nobody_was_announced_and_is_known_by_the_fingerprint() {
    for (versions, version) in BOTH {
        let mut link = link(versions, ExpectedPeer::Anyone, expecting(PASSIVE));
        link.connect();
        assert_eq!(link.events[PASSIVE], [DtlsEvent::Connected(version)]);
        assert_eq!(link.ends[PASSIVE].peer_fingerprint(), Some(&fingerprint(ACTIVE)));
    }
}

/// Returns the record with another number: that of a record in the clear or of DTLS 1.2, or the 16 bits that DTLS 1.3
/// sends.
fn renumbered(datagram: &[u8], number: u64) -> Vec<u8> {
    let mut copy = datagram.to_vec();
    let is_unified = datagram[0] >> 5 == 1;
    let (at, len) = if is_unified { (1, 2) } else { (5, 6) };
    copy[at..at + len].copy_from_slice(&number.to_be_bytes()[8 - len..]);
    copy
}

/// Returns forgeries for an end that is connected, none with a record number that was seen before: the numbers that the
/// peer uses next, and some that are far ahead. A repeated number would be dropped before anything else is looked at.
fn fresh_forgeries() -> Vec<Vec<u8>> {
    let numbers = (0..400).chain((1 << 20)..(1 << 20) + 400);
    let mut kinds = Vec::new();
    for epoch in 0..4 {
        for level in 1..=2 {
            for description in [0, 20, 40, 42, 80, 116] {
                kinds.push((21, epoch, vec![level, description]));
            }
        }
        for kind in [20, 21, 22, 23, 24, 25, 26, 0, 255] {
            for fragment in [&b"not for the application, and long enough to be looked at with a key"[..], &[]] {
                kinds.push((kind, epoch, fragment.to_vec()));
            }
        }
    }
    // Each kind gets near numbers and far ones.
    numbers
        .zip(kinds.iter().cycle())
        .map(|(number, (kind, epoch, fragment))| numbered(*kind, *epoch, number, fragment))
        .collect()
}

fn dropped(link: &Link, at: usize) -> u64 {
    let DtlsDrops { malformed, unauthenticated, unexpected, ineffective } = link.ends[at].drops();
    malformed + unauthenticated + unexpected + ineffective
}

/// Returns a link that is connected, and over which each end has sent a packet.
fn in_use(versions: Versions) -> Link {
    let mut link = link(versions, expecting(ACTIVE), expecting(PASSIVE));
    link.connect();
    link.send(ACTIVE, b"once");
    link.send(PASSIVE, b"once");
    link.run();
    link
}

#[test]
fn k08_records_that_are_forged_with_fresh_numbers_change_nothing_and_use_up_no_number() {
    for (versions, version) in BOTH {
        let mut link = in_use(versions);
        let (before, recorded) = (link.events.clone(), link.sent.clone());
        for to in [PASSIVE, ACTIVE] {
            let (count, unauthenticated) = (dropped(&link, to), link.ends[to].drops().unauthenticated);
            let forgeries = fresh_forgeries();
            for forgery in &forgeries {
                link.ends[to].handle_datagram(link.now, forgery);
            }
            assert_eq!(dropped(&link, to) - count, forgeries.len() as u64, "{version:?}: each is dropped");
            // Those in the clear do not get as far as the implementation of DTLS.
            let is_alert_or_data = |forgery: &&Vec<u8>| matches!(forgery[..5], [21 | 23, _, _, 0, 0]);
            let in_the_clear = forgeries.iter().filter(is_alert_or_data).count() as u64;
            let refused = link.ends[to].drops().unauthenticated - unauthenticated;
            assert!(in_the_clear > 100 && refused >= in_the_clear, "{version:?}: {refused} of {in_the_clear}");
            // Records of the peer, under the numbers that it uses next and far ahead.
            let genuine = recorded[1 - to].last().unwrap();
            let count = dropped(&link, to);
            for number in (0..400).chain(1 << 14..(1 << 14) + 400) {
                let copy = renumbered(genuine, number);
                if copy != *genuine {
                    link.ends[to].handle_datagram(link.now, &copy);
                }
            }
            assert!(dropped(&link, to) - count >= 799, "{version:?}: each is dropped");
        }
        link.flush();
        assert_eq!(link.events, before, "{version:?}");
        assert_eq!([0, 1].map(|end| link.sent[end].len()), [0, 1].map(|end| recorded[end].len()), "{version:?}");
        // Every number that was forged is still the peer's.
        for number in 0..500_u32 {
            link.send(ACTIVE, &number.to_be_bytes());
            link.send(PASSIVE, &number.to_be_bytes());
        }
        link.run();
        for at in [PASSIVE, ACTIVE] {
            let packets = link.packets(at);
            assert!(
                packets[1..].iter().cloned().eq((0..500_u32).map(|number| number.to_be_bytes().to_vec())),
                "{version:?}"
            );
        }
    }
}

/// All that the peer has sent, handshake included, once more: as it was, and cut short, and damaged.
#[test]
fn k08_what_the_peer_has_sent_changes_nothing_when_it_comes_again() {
    for (versions, version) in BOTH {
        let mut link = in_use(versions);
        let (before, recorded) = (link.events.clone(), link.sent.clone());
        for to in [PASSIVE, ACTIVE] {
            for round in 0..3 {
                for datagram in &recorded[1 - to] {
                    link.ends[to].handle_datagram(link.now, datagram);
                    link.ends[to].handle_datagram(link.now, &renumbered(datagram, 1000 + round));
                }
            }
            // A record of ours, with one bit flipped, or cut short.
            let genuine = recorded[1 - to].last().unwrap();
            let count = dropped(&link, to);
            for at in 0..genuine.len() {
                let mut flipped = genuine.clone();
                flipped[at] ^= 1;
                link.ends[to].handle_datagram(link.now, &flipped);
                link.ends[to].handle_datagram(link.now, &genuine[..at]);
            }
            assert_eq!(dropped(&link, to) - count, 2 * genuine.len() as u64, "{version:?}: each is dropped");
        }
        link.run();
        assert_eq!(link.events, before, "{version:?}");
        link.send(ACTIVE, b"still there");
        link.send(PASSIVE, b"still here");
        link.run();
        assert_eq!(link.packets(PASSIVE), [&b"once"[..], b"still there"], "{version:?}");
        assert_eq!(link.packets(ACTIVE), [&b"once"[..], b"still here"], "{version:?}");
    }
}

/// Returns the failure of a passive end whose answers get lost and that receives this datagram after the hello.
pub(super) fn unfinished_after(versions: Versions, datagram: &[u8]) -> DtlsFailure {
    let mut link = link(versions, expecting(ACTIVE), expecting(PASSIVE));
    link.fate = Box::new(|from, datagram| if from == ACTIVE { vec![datagram.to_vec()] } else { vec![] });
    link.step();
    link.step();
    link.ends[PASSIVE].handle_datagram(link.now, datagram);
    link.run();
    let [DtlsEvent::Failed(failure)] = &link.events[PASSIVE][..] else { panic!("{:?}", link.events) };
    failure.clone()
}

#[test]
fn k08_alerts_in_the_clear_do_not_end_a_handshake_and_explain_one_that_is_never_finished() {
    for (versions, version) in BOTH {
        let mut link = link(versions, expecting(ACTIVE), expecting(PASSIVE));
        link.fate =
            Box::new(|_, datagram| vec![plaintext(21, 0, &[2, 42]), datagram.to_vec(), plaintext(21, 0, &[2, 0])]);
        link.connect();
        assert_eq!(link.events[PASSIVE], [DtlsEvent::Connected(version)]);

        let failure = unfinished_after(versions, &plaintext(21, 0, &[2, 42]));
        assert!(failure.to_string().contains("bad_certificate"), "{failure}");
        assert!(!failure.to_string().contains("RSA"), "{failure}");
    }
}

#[test]
fn a_peer_that_finds_no_algorithm_in_common_is_said_to_have_an_rsa_certificate_perhaps() {
    for description in [40, 43] {
        let failure = unfinished_after(Versions::Both, &plaintext(21, 0, &[2, description]));
        assert!(failure.to_string().contains("RSA") && failure.to_string().contains("ECDSA"), "{failure}");
    }
}

#[test]
fn k08_a_stranger_cannot_make_us_answer_for_ever() {
    for (versions, version) in BOTH {
        let mut link = link(versions, expecting(ACTIVE), expecting(PASSIVE));
        link.connect();
        let flight = link.sent[ACTIVE].clone();
        let before = link.sent[PASSIVE].len();
        for _ in 0..1000 {
            for datagram in &flight {
                link.ends[PASSIVE].handle_datagram(link.now, datagram);
            }
            link.flush();
        }
        let answers = link.sent[PASSIVE].len() - before;
        assert!(answers <= 64, "{version:?}: {answers} datagrams in answer to {}", 1000 * flight.len());
        assert!(link.ends[PASSIVE].version().is_some());
    }
}

#[test]
fn k09_garbage_instead_of_a_hello_is_dropped_and_keeps_nothing() {
    let now = Instant::now();
    let mut dtls = Dtls::new(now, parameters(PASSIVE, Versions::Both), SetupRole::Passive, ExpectedPeer::Anyone, false);
    let mut rng = StdRng::seed_from_u64(9);
    let mut held = 0;
    for round in 0..2000 {
        let mut datagram = vec![0; 1 + round % 300];
        rng.fill_bytes(&mut datagram);
        datagram[0] = rng.random_range(20..64);
        let info = allocation_counter::measure(|| dtls.handle_datagram(now, &datagram));
        held += info.bytes_current;
    }
    assert_eq!(dtls.poll_event(), None);
    assert_eq!(dtls.poll_transmit(), None);
    assert_eq!(dtls.drops().malformed + dtls.drops().unauthenticated + dtls.drops().unexpected, 2000);
    assert_eq!(held, 0, "bytes kept of garbage");
}

#[test]
fn k09_fragments_of_a_hello_that_never_ends_are_bounded() {
    let now = Instant::now();
    let mut dtls = Dtls::new(now, parameters(PASSIVE, Versions::Both), SetupRole::Passive, ExpectedPeer::Anyone, false);
    let fragment = |offset: u32| {
        let mut body = vec![1, 0, 0x3F, 0xFF, 0, 0];
        body.extend(&offset.to_be_bytes()[1..]);
        body.extend([0, 0, 200]);
        body.extend([0; 200]);
        plaintext(22, 0, &body)
    };
    let info = allocation_counter::measure(|| {
        for offset in 0..5000 {
            dtls.handle_datagram(now, &fragment(offset * 3));
        }
    });
    assert_eq!(dtls.poll_event(), None, "a stranger's fragments end nothing");
    assert!(info.bytes_current < 8 * 1024, "{} bytes held", info.bytes_current);
    // A message that claims to be larger than any hello is not begun.
    let mut huge = fragment(0);
    huge[14] = 0x7F;
    let before = dtls.drops().malformed;
    dtls.handle_datagram(now, &huge);
    assert_eq!(dtls.drops().malformed, before + 1);
}
