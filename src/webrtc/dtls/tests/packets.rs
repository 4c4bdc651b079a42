//! Packets through an established DTLS association.

use super::super::{DtlsEvent, DtlsFailure, SealError, Version, Versions};
use super::link::{ACTIVE, Link, PASSIVE, adjusted, expecting, limited, parameters};

fn connected(version: Version) -> Link {
    let versions = if version == Version::Dtls12 { Versions::Only12 } else { Versions::Both };
    let mut link = Link::new(Versions::Both, versions);
    link.connect();
    link
}

#[test]
fn packets_arrive_as_they_were_both_ways_and_an_empty_one_not_at_all() {
    for version in [Version::Dtls12, Version::Dtls13] {
        let mut link = connected(version);
        let packets: Vec<Vec<u8>> = [1, 12, 1163, 1178, 9000, 16_384].map(|len: usize| vec![9; len]).to_vec();
        for packet in &packets {
            link.send(PASSIVE, packet);
            link.send(ACTIVE, packet);
        }
        link.send(ACTIVE, &[]);
        link.run();
        assert!(link.packets(ACTIVE) == packets && link.packets(PASSIVE) == packets, "{version:?}");
    }
}

#[test]
fn packets_of_one_length_become_datagrams_of_one_length_one_after_another() {
    for version in [Version::Dtls12, Version::Dtls13] {
        let mut link = connected(version);
        let len = version.packet_len_max(1200);
        let mut out = vec![9; 5];
        for byte in 0..50 {
            link.ends[PASSIVE].send(&vec![byte; len], &mut out).unwrap();
        }
        assert_eq!(link.ends[PASSIVE].poll_transmit(), None, "nothing beside the caller's buffer");
        assert_eq!(out.len(), 5 + 50 * 1200, "{version:?}: {len} bytes fill a datagram of 1,200");
        for datagram in out[5..].chunks(1200) {
            link.ends[ACTIVE].handle_datagram(link.now, datagram);
        }
        link.flush();
        let expected: Vec<_> = (0..50).map(|byte| vec![byte; len]).collect();
        assert_eq!(link.packets(ACTIVE), expected);
    }
}

#[test]
fn a_packet_owns_memory_of_its_own_size() {
    for version in [Version::Dtls12, Version::Dtls13] {
        let mut link = connected(version);
        // So that dimpl has its buffers.
        link.send(ACTIVE, &[7; 1100]);
        link.run();
        let mut datagram = Vec::new();
        link.ends[ACTIVE].send(&[7; 1100], &mut datagram).unwrap();
        let info = allocation_counter::measure(|| link.ends[PASSIVE].handle_datagram(link.now, &datagram));
        let Some(DtlsEvent::Packet(packet)) = link.ends[PASSIVE].poll_event() else { panic!("no packet") };
        assert_eq!(packet.len(), 1100);
        // The record's buffer is dimpl's and used again; what stays is the packet, and the queue that it waits in.
        assert!(info.bytes_current <= 1100 + 512, "{version:?}: {} bytes are held", info.bytes_current);
    }
}

#[test]
fn packets_before_the_handshake_and_after_the_end_are_refused() {
    let mut link = Link::new(Versions::Both, Versions::Both);
    let mut out = vec![1];
    assert_eq!(link.ends[PASSIVE].send(&[1], &mut out), Err(SealError::NotConnected));
    link.connect();
    assert_eq!(link.ends[PASSIVE].send(&vec![0; 16_385], &mut out), Err(SealError::TooLong(16_385)));
    link.ends[PASSIVE].send(&vec![0; 16_384], &mut out).unwrap();
    out.truncate(1);
    link.ends[PASSIVE].close();
    assert_eq!(link.ends[PASSIVE].send(&[1], &mut out), Err(SealError::Closed));
    assert_eq!(out, [1]);
}

#[test]
fn both_ends_learn_that_one_has_closed() {
    for version in [Version::Dtls12, Version::Dtls13] {
        for closing in [PASSIVE, ACTIVE] {
            let mut link = connected(version);
            link.send(closing, b"last");
            link.ends[closing].close();
            link.run();
            let other = 1 - closing;
            let expected = [DtlsEvent::Connected(version), DtlsEvent::Packet("last".into()), DtlsEvent::PeerClosed];
            assert_eq!(link.events[other], expected);
            assert_eq!(link.events[closing], [DtlsEvent::Connected(version)]);
            assert!(link.ends.iter().all(|end| end.is_over() && end.poll_timeout().is_none()));
        }
    }
}

#[test]
fn keys_change_under_way_and_no_packet_is_lost() {
    let parameters = [
        adjusted(PASSIVE, Versions::Both, |builder| builder.aead_encryption_limit(16)),
        parameters(ACTIVE, Versions::Both),
    ];
    let mut link = Link::with(&parameters, expecting(ACTIVE), expecting(PASSIVE), false);
    link.connect();
    for byte in 0..200 {
        link.send(PASSIVE, &[byte]);
        link.send(ACTIVE, &[byte]);
        link.step();
    }
    link.run();
    let expected: Vec<_> = (0..200).map(|byte| vec![byte]).collect();
    assert_eq!(link.packets(ACTIVE), expected);
    assert_eq!(link.packets(PASSIVE), expected);
}

/// Nothing else tells how many changes of keys an association has seen, and no peer of ours can be made to do more.
#[test]
fn k16_a_peer_that_changes_keys_for_ever_is_ended_and_one_that_does_within_reason_is_not() {
    for hostile in [PASSIVE, ACTIVE] {
        let mut parameters = [limited(PASSIVE, u64::MAX, 100), limited(ACTIVE, u64::MAX, 100)];
        parameters[hostile] = adjusted(hostile, Versions::Both, |builder| builder.aead_encryption_limit(1));
        let mut link = Link::with(&parameters, expecting(ACTIVE), expecting(PASSIVE), false);
        link.connect();
        let victim = 1 - hostile;
        let mut sent = 0;
        while !link.ends[victim].is_over() && !link.ends[hostile].is_over() {
            assert!(sent < 1000, "changes of keys are not counted");
            link.send(victim, b"x");
            link.send(hostile, b"x");
            link.run();
            sent += 1;
        }
        assert!(sent >= 50, "{sent} packets are within reason");
        assert_eq!(link.events[victim].last(), Some(&DtlsEvent::Failed(DtlsFailure::KeyChanges)));
        assert_eq!(link.events[hostile].last(), Some(&DtlsEvent::PeerClosed), "it is told");
    }
}

#[test]
fn k17_drawn_nonces_are_counted_and_end_an_association_of_dtls_1_2_in_good_time() {
    for (versions, is_limited) in [(Versions::Only12, true), (Versions::Both, false)] {
        let parameters = [limited(PASSIVE, 1000, u32::MAX), parameters(ACTIVE, versions)];
        let mut link = Link::with(&parameters, expecting(ACTIVE), expecting(PASSIVE), false);
        link.connect();
        for number in 0..1000_u32 {
            assert!(!link.ends[PASSIVE].is_over(), "{number} records");
            link.send(PASSIVE, &number.to_be_bytes());
        }
        link.run();
        assert_eq!(link.packets(ACTIVE).len(), 1000);
        assert_eq!(link.ends[PASSIVE].is_over(), is_limited, "{versions:?}");
        if is_limited {
            assert_eq!(link.events[PASSIVE].last(), Some(&DtlsEvent::Failed(DtlsFailure::RecordsExhausted)));
            assert_eq!(link.events[ACTIVE].last(), Some(&DtlsEvent::PeerClosed), "the peer is told");
        }
    }
}
