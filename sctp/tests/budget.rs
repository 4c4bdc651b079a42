//! Memory that the associations of an endpoint share.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::unwrap_used, reason = "a test may fail this way")]

mod victim;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use narrowboat_sctp::testing::wire::{ChunkType, DataChunk, Init, ReconfigWriter, Sack};
use narrowboat_sctp::{
    AssociateError, AssociationConfig, AssociationEvent, AssociationHandle, EndpointConfig, MemoryBudget,
    PacketDropReason, Ppid, RequestSn, SendMessageError, SendOptions, Ssn, State, StreamId, Tsn,
};

use crate::victim::service::{Offer, Service};
use crate::victim::{
    MS, PEER_TSN, SECOND, Sent, Victim, chunk, cookie_echo, data, data_chunk, init, kinds, packet, peer_init,
    peer_init_with, sack,
};

/// Bytes that an association is charged from its beginning.
const BASE: usize = 24 << 10;

fn peer(n: usize) -> SocketAddr {
    let [.., high, low] = n.to_be_bytes();
    SocketAddr::from(([10, 0, high, low], 9899))
}

fn service(memory_max: usize) -> Service {
    Service::with_config(EndpointConfig { memory_max, ..Default::default() })
}

fn last_window(sent: &[Sent]) -> u32 {
    let sack = sent.iter().rfind(|chunk| chunk.kind == ChunkType::SACK).unwrap();
    Sack::decode(&sack.value).unwrap().a_rwnd
}

/// Bytes that the associations say they hold.
fn charged(service: &Service) -> usize {
    service.associations.values().map(|association| association.memory_charged()).sum()
}

#[test]
fn k12_peers_are_refused_with_a_reason_when_the_memory_of_all_is_used_up() {
    let mut service = service(100 * BASE);
    let early = service.offer(peer(9999));
    for n in 0..100 {
        service.establish(peer(n));
    }
    assert_eq!(service.endpoint.memory().used(), 100 * BASE);
    let refused = |sent: &[Sent]| {
        assert_eq!((kinds(sent), sent[0].causes()), (vec![ChunkType::ABORT], vec![4]), "Out of Resource");
    };
    let kept = allocation_counter::measure(|| refused(&service.send(peer(500), 0, &[init(&peer_init())])));
    assert_eq!(kept.bytes_current, 0, "refused before anything is kept");
    refused(&service.send(peer(9999), early.tag, &[cookie_echo(&early.cookie)]));
    assert_eq!(service.endpoint.connect(service.now, peer(501)).unwrap_err(), AssociateError::OutOfMemory);
    assert_eq!(service.endpoint.len(), 100);
    // One that ends makes room for another.
    let handle = *service.associations.keys().next().unwrap();
    service.associations.get_mut(&handle).unwrap().abort("room for another");
    service.poll_one(handle);
    service.establish(peer(500));
}

/// Unread messages to every association in turn, as if nobody ever heard of windows.
fn overrun(service: &mut Service, peers: &[(AssociationHandle, Offer)], messages: u32) {
    for number in 0..messages {
        for (index, (_, offer)) in peers.iter().enumerate() {
            // Half of them leave a gap, so that nothing can be delivered.
            let at = if index % 2 == 0 { number } else { number + 1 };
            service.send(peer(index), offer.tag, &[data(at, &[7; 1100])]);
        }
    }
}

#[test]
fn k12_what_peers_send_and_nobody_reads_stays_within_the_memory_of_all() {
    const MAX: usize = 4 << 20;
    let mut service = service(MAX);
    let peers: Vec<_> = (0..20).map(|n| service.establish(peer(n))).collect();
    let kept = allocation_counter::measure(|| overrun(&mut service, &peers, 1000));
    // 22 MB were sent. Events stay in the service's list.
    assert!(charged(&service) + 20 * BASE / 3 <= MAX + (64 << 10), "{} charged", charged(&service));
    assert!(service.endpoint.memory().used() <= MAX + 20 * (64 << 10), "{}", service.endpoint.memory().used());
    let heap = usize::try_from(kept.bytes_current).unwrap();
    assert!(heap <= MAX + MAX / 4, "{heap} bytes of heap for {MAX} bytes of budget");
    // Nobody was ended by it, and everybody holds something.
    for (handle, _) in &peers {
        let association = &service.associations[handle];
        assert_eq!(association.state(), State::Established);
        assert!(association.memory_charged() >= 8 << 10, "{}", association.memory_charged());
        assert!(association.stats().drops.count(PacketDropReason::WindowOverrun) > 0);
    }
    // Reading makes room, for the others as well.
    for (handle, event) in std::mem::take(&mut service.events) {
        if let AssociationEvent::Message(message) = event {
            service.associations.get_mut(&handle).unwrap().release(message.credit);
        }
    }
    for handle in peers.iter().map(|peer| peer.0) {
        service.poll_one(handle);
    }
    let sent = service.send(peer(1), peers[1].1.tag, &[data(0, b"the gap")]);
    assert!(last_window(&sent) > 100_000, "{}", last_window(&sent));
}

#[test]
fn windows_close_while_the_memory_of_all_is_used_up_and_open_again() {
    let budget = MemoryBudget::new(300 << 10);
    let [mut hog, mut other] = [1, 2].map(|n| {
        let mut victim = Victim::with_seed(State::Established, [n; 32]);
        victim.association.set_memory_budget(&budget);
        victim
    });
    for number in 0..400 {
        hog.send(&[data(number, &[7; 1100])]);
    }
    assert!(hog.drops(PacketDropReason::WindowOverrun) > 0);
    assert!(budget.used() >= 300 << 10);
    // The guaranteed bytes are accepted, and no more are promised.
    let sent = (0..8).map(|number| other.send(&[data(number, &[7; 1100])])).next_back().unwrap();
    assert!(last_window(&sent) <= 16 << 10, "{}", last_window(&sent));
    assert_eq!(other.drops(PacketDropReason::WindowOverrun), 0);
    hog.messages();
    hog.association.handle_timeout(hog.now);
    let sent = other.send(&[data(8, &[7; 1100])]);
    assert!(last_window(&sent) > 100_000, "{}", last_window(&sent));
    drop(hog);
    drop(other);
    assert_eq!(budget.used(), 0, "all of it comes back");
}

#[test]
fn send_reports_full_while_the_memory_of_all_is_used_up_and_says_when_to_try_again() {
    let budget = MemoryBudget::new(200 << 10);
    let mut victim = Victim::in_state(State::Established);
    victim.association.set_memory_budget(&budget);
    let send = |victim: &mut Victim| {
        let payload = Bytes::from(vec![7; 10_000]);
        victim.association.send(victim.now, StreamId(1), Ppid(53), payload, SendOptions::default())
    };
    let mut accepted = 0;
    while send(&mut victim).is_ok() {
        accepted += 1;
    }
    assert!((10..=20).contains(&accepted), "{accepted}");
    assert_eq!(send(&mut victim), Err(SendMessageError::Full));
    let last = SendOptions { exceeds_limits: true, ..SendOptions::default() };
    assert_eq!(victim.association.send(victim.now, StreamId(1), Ppid(57), vec![0].into(), last), Ok(()));
    assert_eq!(send(&mut victim), Err(SendMessageError::Full));
    victim.poll();
    victim.events.clear();
    // The peer takes all.
    let mut acknowledged = victim.tsn.0.wrapping_sub(1);
    while victim.association.memory_charged() > 1024 {
        acknowledged = acknowledged.wrapping_add(1);
        victim.now += MS;
        victim.send(&[sack(Tsn(acknowledged), 1 << 20, &[])]);
    }
    let writable = victim.events.iter().filter(|event| matches!(event, AssociationEvent::Writable)).count();
    assert!(writable >= 1, "{:?}", victim.events);
    assert_eq!(send(&mut victim), Ok(()));
    // Another one uses up what is left: an association that has nothing queued may always send something.
    let rest = MemoryBudget::new(BASE);
    let mut poor = Victim::with_seed(State::Established, [9; 32]);
    poor.association.set_memory_budget(&rest);
    assert_eq!(send(&mut poor), Ok(()));
    assert!((0..6).any(|_| send(&mut poor) == Err(SendMessageError::Full)));
}

#[test]
fn a_window_is_small_at_first_and_after_a_pause_and_grows_before_it_is_used_up() {
    let mut victim = Victim::in_state(State::Closed);
    let sent = victim.deliver(packet(0, &[init(&peer_init())]));
    assert_eq!(Init::decode(&sent[0].value).unwrap().a_rwnd, 256 << 10);
    let mut victim = Victim::in_state(State::Established);
    let (mut received, mut window) = (0_u32, 0);
    for number in 0..1000 {
        let sent = victim.send(&[data(number, &[7; 1100])]);
        victim.messages();
        received += 1100;
        if sent.iter().any(|chunk| chunk.kind == ChunkType::SACK) {
            window = last_window(&sent);
            assert!(window >= 3 * received, "{window} when {received} bytes have come: slow start would wait");
        }
    }
    assert!((4 << 20..7 << 20).contains(&window), "{window}: four times what has come, with its overhead");
    victim.pass(20 * SECOND);
    // The bytes that were promised before may still be sent, and are accepted. A slow sender is promised no more.
    let (mut number, mut left) = (1000, window);
    while left > 256 << 10 {
        let sent: Vec<_> = (0..2)
            .flat_map(|_| {
                number += 1;
                victim.send(&[data(number - 1, &[7; 1100])])
            })
            .collect();
        victim.messages();
        victim.pass(5 * MS);
        let before = left;
        left = last_window(&sent);
        assert!(left + 2 * 1100 >= before, "{left} after {before}: no promise is broken");
        assert!(left < before || left == 256 << 10, "{left} after {before}");
    }
    assert!(number > 3000 && left + 2200 >= 256 << 10, "{number} packets, {left}");
    assert_eq!(victim.drops(PacketDropReason::WindowOverrun), 0);
}

#[test]
fn windows_do_not_grow_while_half_of_the_memory_is_in_use() {
    let budget = MemoryBudget::new(16 << 20);
    let mut victim = Victim::in_state(State::Established);
    victim.association.set_memory_budget(&budget);
    let others: Vec<_> = (0..400_u16)
        .map(|n| {
            let [high, low] = n.to_be_bytes();
            let mut seed = [high; 32];
            seed[0] = low;
            let mut other = Victim::with_seed(State::Closed, seed);
            other.association.set_memory_budget(&budget);
            other
        })
        .collect();
    let grown = |victim: &mut Victim, from: u32| {
        let mut window = 0;
        for number in from..from + 2000 {
            let sent = victim.send(&[data(number, &[7; 1100])]);
            victim.messages();
            if sent.iter().any(|chunk| chunk.kind == ChunkType::SACK) {
                window = last_window(&sent);
            }
        }
        window
    };
    assert!(grown(&mut victim, 0) <= 256 << 10);
    drop(others);
    assert!(grown(&mut victim, 2000) >= 2 << 20);
}

#[test]
fn state_of_streams_is_charged() {
    let budget = MemoryBudget::new(64 << 20);
    let mut victim = Victim::in_state(State::Established);
    victim.association.set_memory_budget(&budget);
    for stream in 0..100 {
        let header = DataChunk { stream: StreamId(stream), ..data_chunk(u32::from(stream), Ssn(0)) };
        victim.send(&[chunk(|out| header.encode(b"x", out))]);
    }
    victim.messages();
    let table = victim.association.memory_charged();
    assert!((200..10_000).contains(&table), "{table} bytes for a hundred streams in one page");
}

#[test]
fn b26_65_535_streams_that_a_peer_uses_at_once_cost_two_bytes_each_until_they_are_reset() {
    let config = AssociationConfig { sack_delay_max: Duration::ZERO, ..AssociationConfig::default() };
    let mut service = Service::with_association_config(config);
    let all = peer_init_with(|init| (init.outbound_streams, init.inbound_streams) = (u16::MAX, u16::MAX));
    let offer = service.offer_for(peer(1), &all);
    service.send(peer(1), offer.tag, &[cookie_echo(&offer.cookie)]);
    let handle = *service.associations.keys().next().unwrap();
    service.events.clear();
    let read = |service: &mut Service| {
        for (_, event) in std::mem::take(&mut service.events) {
            if let AssociationEvent::Message(message) = event {
                service.associations.get_mut(&handle).unwrap().release(message.credit);
            }
        }
    };
    let (mut used, mut charged) = (0, 0);
    let kept = allocation_counter::measure(|| {
        for first in (0..u16::MAX).step_by(400) {
            let streams = first..first.saturating_add(400);
            let chunks: Vec<Vec<u8>> = streams
                .map(|stream| {
                    let header = DataChunk { stream: StreamId(stream), ..data_chunk(u32::from(stream), Ssn(0)) };
                    chunk(|out| header.encode(b"x", out))
                })
                .collect();
            used += chunks.len();
            service.send(peer(1), offer.tag, &chunks);
            read(&mut service);
        }
        charged = service.associations[&handle].memory_charged();
    });
    assert_eq!(used, 65_535);
    let kept = usize::try_from(kept.bytes_current).unwrap();
    assert!(kept < 160 << 10, "{kept} bytes for all streams");
    assert!(charged >= 2 * 65_535 && kept <= charged + (16 << 10), "{kept} bytes are charged as {charged}");
    // All streams start again.
    let request = chunk(|out| {
        let mut writer = ReconfigWriter::begin(out);
        writer.push_outgoing_reset(RequestSn(PEER_TSN), RequestSn(0), Tsn(PEER_TSN + 65_534), std::iter::empty());
        writer.finish();
    });
    service.send(peer(1), offer.tag, &[request]);
    read(&mut service);
    let charged = service.associations[&handle].memory_charged();
    assert!(charged < 4096, "{charged} bytes are left");
}
