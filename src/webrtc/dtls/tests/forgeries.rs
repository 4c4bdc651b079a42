//! Rows K09 and K20 of `tests/attacks.toml`: what comes in the peer's name while a handshake lasts.

use std::collections::HashSet;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::super::record::{HANDSHAKE, HandshakeHeader, Record, Records, piece_of_message};
use super::super::{DtlsEvent, DtlsFailure, Version, Versions};
use super::attacks::{BOTH, link, plaintext, unfinished_after};
use super::link::{ACTIVE, Link, PASSIVE, expecting, fingerprint};

/// Changes to the datagrams that an end sends. Gets the number of the datagram among all, its sender and its bytes;
/// returns the datagrams that arrive instead.
type Meddler = Box<dyn FnMut(usize, usize, &[u8]) -> Vec<Vec<u8>>>;

/// Runs a handshake that is meddled with. Both ends must be connected in the end, with each other.
fn completes(what: &str, versions: Versions, version: Version, mut meddle: Meddler) -> Link {
    let mut link = link(versions, expecting(ACTIVE), expecting(PASSIVE));
    let mut count = 0;
    link.fate = Box::new(move |from, datagram| {
        count += 1;
        meddle(count - 1, from, datagram)
    });
    let is_up = |link: &Link| link.ends.iter().all(|end| end.version().is_some());
    link.run_until(|link| is_up(link) || link.ends.iter().any(|end| end.is_over()));
    for at in [PASSIVE, ACTIVE] {
        assert_eq!(link.events[at], [DtlsEvent::Connected(version)], "{version:?}, {what}: end {at}");
        assert_eq!(link.ends[at].peer_fingerprint(), Some(&fingerprint(1 - at)));
    }
    link.fate = Box::new(|_, datagram| vec![datagram.to_vec()]);
    link.send(ACTIVE, b"there");
    link.send(PASSIVE, b"back");
    link.run();
    assert_eq!(link.packets(PASSIVE), [b"there"], "{version:?}, {what}");
    assert_eq!(link.packets(ACTIVE), [b"back"], "{version:?}, {what}");
    link
}

/// Returns a handshake message, or the first piece of one, in the clear.
fn forged(kind: u8, sequence: u16, offset: u32, len: u32, claimed: u32) -> Vec<u8> {
    let header = HandshakeHeader { kind, length: claimed, sequence, offset, fragment_length: len };
    plaintext(HANDSHAKE, 0, &piece_of_message(header, &vec![7; len as usize]))
}

const KINDS: [u8; 13] = [0, 1, 2, 3, 4, 8, 11, 12, 13, 14, 15, 16, 20];

/// Runs a handshake to which, after so many datagrams to one end, these are added for it.
fn with_forgeries(
    what: &str,
    (versions, version): (Versions, Version),
    victim: usize,
    after: usize,
    forgeries: &[Vec<u8>],
) {
    let (mut count, forgeries) = (0, forgeries.to_vec());
    let what = format!("{what} to {victim} after {after}");
    completes(
        &what,
        versions,
        version,
        Box::new(move |_, from, datagram| {
            let mut out = Vec::new();
            if from != victim {
                if count == after {
                    out.extend(forgeries.iter().cloned());
                }
                count += 1;
            }
            out.push(datagram.to_vec());
            out
        }),
    );
}

#[test]
fn k20_forged_handshake_messages_that_no_peer_could_send_change_nothing() {
    for both in BOTH {
        for victim in [PASSIVE, ACTIVE] {
            for after in 0..2 {
                for kind in KINDS {
                    // With the number 9 no message has its place, whatever the version.
                    let far: Vec<_> = (0..40).map(|n| forged(kind, 9, n, 1, 300)).collect();
                    let whole = vec![forged(kind, 9, 0, 60, 60)];
                    for forgeries in [far, whole] {
                        with_forgeries(&format!("kind {kind}"), both, victim, after, &forgeries);
                    }
                }
            }
        }
    }
}

#[test]
fn k20_pieces_of_the_message_that_is_awaited_end_no_handshake() {
    for both in BOTH {
        for victim in [PASSIVE, ACTIVE] {
            for after in 0..2 {
                for (kind, sequence) in
                    [(11, 1), (16, 2), (15, 3), (12, 2), (13, 3), (14, 4), (1, 0), (1, 1), (2, 0), (2, 1)]
                {
                    for count in [1, 40] {
                        let pieces: Vec<_> = (0..count).map(|n| forged(kind, sequence, n, 1, 300)).collect();
                        with_forgeries(&format!("{count} pieces of kind {kind}"), both, victim, after, &pieces);
                    }
                    let whole = [forged(kind, sequence, 0, 90, 90)];
                    with_forgeries(&format!("a message of kind {kind}"), both, victim, after, &whole);
                }
            }
        }
    }
}

#[test]
fn k20_a_nonsensical_server_hello_ends_no_client() {
    for both in BOTH {
        let body = |len: u32| forged(2, 0, 0, len, len);
        let mut wrong_version = body(60);
        wrong_version[25..27].copy_from_slice(&[3, 3]);
        let mut no_suite = body(38);
        no_suite[25..27].copy_from_slice(&[0xFE, 0xFD]);
        no_suite[59..].copy_from_slice(&[0, 0, 0, 0]);
        for forgery in [body(1), body(38), body(60), wrong_version, no_suite, forged(3, 0, 0, 1, 1)] {
            with_forgeries("a hello", both, ACTIVE, 0, &[forgery]);
        }
    }
}

/// Records that are not handshake messages: a ChangeCipherSpec, an ACK, an alert, and records that nobody can decrypt.
#[test]
fn k20_forged_records_of_other_kinds_change_nothing_at_any_step() {
    let acknowledged: Vec<u8> =
        (0..6_u64).flat_map(|n| [(n % 3).to_be_bytes(), (n / 3).to_be_bytes()].concat()).collect();
    let mut acknowledgement = u16::try_from(acknowledged.len()).unwrap().to_be_bytes().to_vec();
    acknowledgement.extend(acknowledged);
    let mut unified = vec![0b0010_1110, 0, 0, 0, 40];
    unified.extend([9; 40]);
    let records = [
        plaintext(20, 0, &[1]),
        plaintext(20, 1, &[1]),
        plaintext(26, 0, &acknowledgement),
        plaintext(21, 0, &[2, 40]),
        plaintext(21, 1, &[9; 40]),
        plaintext(22, 1, &[9; 60]),
        plaintext(23, 1, &[9; 60]),
        unified,
    ];
    for (versions, version) in BOTH {
        for record in &records {
            for count in [1, 30] {
                let forgeries = vec![record.clone(); count];
                completes(
                    &format!("{count} of {:?}", &record[..5]),
                    versions,
                    version,
                    Box::new(move |_, _, datagram| {
                        let mut out = forgeries.clone();
                        out.push(datagram.to_vec());
                        out.extend(forgeries.iter().cloned());
                        out
                    }),
                );
            }
        }
    }
}

/// Of each message in the clear, a piece with another content comes first: from its beginning, and from its middle.
#[test]
fn k20_a_piece_with_another_content_comes_before_each_message() {
    for (versions, version) in BOTH {
        for (at, len) in [(0, 1), (0, 40), (5, 3), (1, 30)] {
            completes(
                &format!("{len} bytes at {at}"),
                versions,
                version,
                Box::new(move |number, _, datagram| {
                    let mut out = Vec::new();
                    for record in Records::new(datagram).flatten().filter(|_| number < 6) {
                        let Record::Classic { kind: HANDSHAKE, epoch: 0, fragment } = record else { continue };
                        let _ = HandshakeHeader::all(fragment, |header, piece| {
                            if let Some(part) = piece.get(at..at + len) {
                                let offset = header.offset + u32::try_from(at).unwrap();
                                let fragment_length = u32::try_from(len).unwrap();
                                let header = HandshakeHeader { offset, fragment_length, ..header };
                                let part: Vec<_> = part.iter().map(|byte| byte ^ 0x55).collect();
                                out.push(plaintext(HANDSHAKE, 0, &piece_of_message(header, &part)));
                            }
                        });
                    }
                    out.push(datagram.to_vec());
                    out
                }),
            );
        }
    }
}

/// Returns the first datagram of a handshake between others.
fn of_another_handshake(versions: Versions, from: usize) -> Vec<u8> {
    let mut other = link(versions, expecting(ACTIVE), expecting(PASSIVE));
    other.connect();
    other.sent[from][0].clone()
}

/// A peer whose certificate is RSA shows none, as anybody can in its name.
#[test]
fn k20_no_certificate_counts_only_when_none_comes_after_it() {
    let nothing = HandshakeHeader { kind: 11, length: 3, sequence: 1, offset: 0, fragment_length: 3 };
    let forgery = plaintext(HANDSHAKE, 0, &piece_of_message(nothing, &[0, 0, 0]));
    with_forgeries("no certificate", BOTH[0], PASSIVE, 1, std::slice::from_ref(&forgery));
    assert_eq!(unfinished_after(Versions::Only12, &forgery), DtlsFailure::NoCertificate);
}

/// Such an answer has nothing wrong about it but that it answers another hello. The client begins again with another
/// random.
#[test]
fn k20_an_answer_to_another_hello_makes_a_client_begin_again() {
    for (versions, version) in BOTH {
        let forgery = of_another_handshake(versions, PASSIVE);
        let link = completes(
            "another server's answer",
            versions,
            version,
            Box::new(move |number, from, datagram| match (number, from) {
                (1, PASSIVE) => vec![forgery.clone(), datagram.to_vec()],
                _ => vec![datagram.to_vec()],
            }),
        );
        // The hellos of both attempts are repeated, in any order.
        let hellos = link.sent[ACTIVE].iter().filter(|sent| sent.get(13) == Some(&1));
        let randoms: HashSet<&[u8]> = hellos.map(|sent| &sent[27..59]).collect();
        assert!(randoms.len() > 1, "{version:?}: no other random");
    }
}

/// Before the client's own hello, and between its flights.
#[test]
fn k20_another_clients_hello_keeps_nobody_out() {
    for (versions, version) in BOTH {
        for place in 0..3 {
            let forgeries: Vec<_> = (0..2).map(|_| of_another_handshake(versions, ACTIVE)).collect();
            let mut count = 0;
            completes(
                &format!("another client's hellos, {place}"),
                versions,
                version,
                Box::new(move |_, from, datagram| {
                    let mut out = vec![datagram.to_vec()];
                    if from == ACTIVE {
                        if count == place {
                            out.splice(0..0, forgeries.iter().take(1 + place.min(1)).cloned());
                        }
                        count += 1;
                    }
                    out
                }),
            );
        }
    }
}

/// Each answer costs a signature, and a flight that somebody else may get.
#[test]
fn k09_hellos_in_one_name_are_answered_a_few_times_only() {
    for (versions, _) in BOTH {
        for (is_stranger, most) in [(true, 3), (false, 6)] {
            let mut link = link(versions, expecting(ACTIVE), expecting(PASSIVE));
            if is_stranger {
                link.ends[PASSIVE].answer_few_hellos();
            }
            for _ in 0..12 {
                let hello = of_another_handshake(versions, ACTIVE);
                for _ in 0..3 {
                    link.ends[PASSIVE].handle_datagram(link.now, &hello);
                }
            }
            let answers = std::iter::from_fn(|| link.ends[PASSIVE].poll_transmit()).count();
            assert_eq!(answers, most, "{versions:?}");
            assert_eq!(link.ends[PASSIVE].poll_event(), None, "it still waits for the peer");
        }
    }
}

/// Returns the datagram with a byte changed at or behind `from`; as it is if there is none.
fn damaged(datagram: &[u8], from: usize, rng: &mut StdRng) -> Vec<u8> {
    let mut copy = datagram.to_vec();
    if from < datagram.len() {
        copy[rng.random_range(from..datagram.len())] ^= rng.random_range(1..=255);
    }
    copy
}

/// Returns the offset of the payload of the first record under keys; the datagram's length if there is none.
fn protected_at(datagram: &[u8]) -> usize {
    let mut at = 0;
    while let Some(header) = datagram.get(at..at + 13).filter(|header| header[0] >> 5 == 0) {
        if header[3..5] != [0, 0] {
            return at + 13;
        }
        at += 13 + usize::from(u16::from_be_bytes([header[11], header[12]]));
    }
    (at + 5).min(datagram.len())
}

/// While a part of the peer's flight is missing, what has come is acknowledged, but not without pause.
#[test]
fn k09_a_gap_in_the_peers_flight_is_answered_by_few_datagrams() {
    for seed in 1..40 {
        let mut link = link(Versions::Both, expecting(ACTIVE), expecting(PASSIVE));
        let mut rng = StdRng::seed_from_u64(seed);
        link.fate = Box::new(move |_, datagram| vec![damaged(datagram, protected_at(datagram), &mut rng)]);
        let start = link.now;
        for _ in 0..1000 {
            if !link.step() || link.now - start > Duration::from_secs(1) {
                break;
            }
        }
        assert!(
            link.sent[ACTIVE].len() <= 40,
            "seed {seed}: {} datagrams in {:?}",
            link.sent[ACTIVE].len(),
            link.now - start
        );
    }
}

/// One datagram of the handshake is damaged, in some byte. It comes instead of the peer's, or before it, or after it.
#[test]
fn k09_one_damaged_datagram_at_any_step_ends_no_handshake() {
    for (versions, version) in BOTH {
        for victim in 0..6 {
            for seed in 0..12 {
                for place in 0..3 {
                    let mut rng = StdRng::seed_from_u64(seed);
                    completes(
                        &format!("datagram {victim}, seed {seed}, place {place}"),
                        versions,
                        version,
                        Box::new(move |number, _, datagram| {
                            let whole = datagram.to_vec();
                            if number != victim {
                                return vec![whole];
                            }
                            let damaged = damaged(datagram, 0, &mut rng);
                            match place {
                                0 => vec![damaged],
                                1 => vec![damaged, whole],
                                _ => vec![whole, damaged],
                            }
                        }),
                    );
                }
            }
        }
    }
}

/// A record under keys that is damaged is discarded (RFC 6347 §4.1.2.7, RFC 9147 §4.5.2), on its way or added by
/// others.
#[test]
fn k09_damaged_records_under_keys_end_no_handshake() {
    for (versions, version) in BOTH {
        for seed in 0..40 {
            for copies in 0..2 {
                let mut rng = StdRng::seed_from_u64(seed);
                completes(
                    &format!("seed {seed}, {copies} copies"),
                    versions,
                    version,
                    Box::new(move |number, _, datagram| {
                        let mut out = Vec::new();
                        // Without a copy every other datagram is damaged, for a while.
                        if copies > 0 || (number % 2 == 0 && number < 8) {
                            out.push(damaged(datagram, protected_at(datagram), &mut rng));
                        }
                        if copies > 0 || out.is_empty() {
                            out.push(datagram.to_vec());
                        }
                        out
                    }),
                );
            }
        }
    }
}
