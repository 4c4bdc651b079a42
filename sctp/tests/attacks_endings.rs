//! Shutdown, abort, clocks and restarts (RFC 9260 §9). Each test bears the id of its row in the list of attacks.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test may fail this way")]

mod pair;
mod victim;

use std::net::SocketAddr;
use std::time::Duration;

use narrowboat_sctp::testing::wire::{Cause, ChunkType as C};
use narrowboat_sctp::{
    AssociationConfig, AssociationEvent, CloseReason, PacketDropReason, Ppid, SendOptions, State, StreamId, Tsn,
    Violation,
};
use pair::{Pair, Verdict};
use victim::service::Service;
use victim::{MS, PEER_TAG, SECOND, Victim, cookie_echo, data, init, kinds, packet, peer_init, raw, sack, shutdown};

fn reasons(pair: &Pair, end: usize) -> Vec<&CloseReason> {
    let mut told = Vec::new();
    for event in &pair.events[end] {
        if let AssociationEvent::Closed(reason) = event {
            told.push(reason);
        }
    }
    told
}

#[test]
fn h01_shutdown_from_one_end_or_both_with_every_loss() {
    for both in [false, true] {
        for messages in [0, 3] {
            for verdict in [Verdict::Drop, Verdict::Delay(45 * MS), Verdict::Repeat(15 * MS)] {
                for mask in 0..=u8::MAX {
                    // Time enough for time-outs that double eight times; the guard is H02's.
                    let config = AssociationConfig { shutdown_guard: 300 * SECOND, ..AssociationConfig::default() };
                    let mut pair = Pair::connected(config);
                    let mut number = 0;
                    pair.rule = Box::new(move |_| {
                        number += 1;
                        if number <= 8 && mask >> (number - 1) & 1 == 1 { verdict } else { Verdict::Pass }
                    });
                    for number in 0..messages {
                        for end in 0..2 {
                            pair.send(end, StreamId(1), vec![number; 2000]);
                        }
                    }
                    pair.ends[0].shutdown(pair.now);
                    if both {
                        pair.ends[1].shutdown(pair.now);
                    }
                    pair.run_for(120 * SECOND);
                    let what = format!("both {both}, {messages} messages, {verdict:?} {mask:#010b}");
                    for end in 0..2 {
                        assert_eq!(reasons(&pair, end), [&CloseReason::Shutdown], "{what}, end {end}");
                        assert_eq!(pair.received[end].len(), usize::from(messages), "{what}, end {end}");
                        assert_eq!(pair.ends[end].poll_timeout(), None, "{what}");
                    }
                }
            }
        }
    }
}

#[test]
fn h02_a_peer_that_never_finishes_the_shutdown() {
    let AssociationConfig { shutdown_guard: guard, shutdown_max: max, .. } = AssociationConfig::default();
    // It sends new data for ever, or the same, and never a SHUTDOWN ACK.
    for (is_new, limit) in [(true, max), (false, guard)] {
        let mut victim = Victim::in_state(State::ShutdownSent);
        let start = victim.now;
        let (mut number, mut last) = (0, Vec::new());
        while !victim.association.is_over() {
            assert!(victim.now - start < limit + SECOND, "still {:?}", victim.association.state());
            victim.send(&[data(number, b"more")]);
            number += u32::from(is_new);
            last = victim.pass(200 * MS);
            victim.messages();
        }
        assert_eq!(kinds(&last), [C::ABORT]);
        assert_eq!(victim.closed(), Some(CloseReason::ShutdownTimedOut));
        assert!(victim.now - start >= limit, "not before its time");
    }
    // It acknowledges nothing, or says nothing at all.
    for state in [State::ShutdownPending, State::ShutdownSent, State::ShutdownReceived, State::ShutdownAckSent] {
        let mut victim = Victim::in_state(state);
        let start = victim.now;
        while !victim.association.is_over() {
            assert!(victim.now - start <= guard, "{state:?}: still {:?}", victim.association.state());
            victim.pass(SECOND);
        }
        let reason = victim.closed().unwrap();
        assert!(
            matches!(reason, CloseReason::ShutdownTimedOut | CloseReason::PeerUnreachable),
            "{state:?}: {reason:?}"
        );
        assert_eq!(victim.association.poll_timeout(), None);
    }
}

#[test]
fn h03_a_shutdown_that_acknowledges_nonsense() {
    for state in [State::Established, State::ShutdownPending, State::ShutdownSent, State::ShutdownReceived] {
        let mut victim = Victim::in_state(state);
        // Where the state has data on its way, that is one chunk.
        let sent = u32::from(victim.association.stats().flight_size > 0);
        for ahead in [sent, sent + 1, 1 << 30] {
            let mut victim = Victim::in_state(state);
            let bogus = Tsn(victim.tsn.0.wrapping_add(ahead));
            let answer = victim.send(&[shutdown(bogus)]);
            assert_eq!((kinds(&answer), answer[0].causes()), (vec![C::ABORT], vec![13]), "{state:?}, {ahead} ahead");
            assert_eq!(victim.closed(), Some(CloseReason::PeerViolation(Violation::AckOfUnsentTsn)));
        }
        // One that is old says nothing about what was sent.
        let before = victim.association.stats().flight_size;
        victim.send(&[shutdown(Tsn(victim.tsn.0.wrapping_sub(1000)))]);
        assert_eq!(victim.association.stats().flight_size, before, "{state:?}");
        for cut in [&[][..], &[0; 3], &[0; 5]] {
            let mut victim = Victim::in_state(state);
            let datagram = packet(victim.tag, &[raw(C::SHUTDOWN, 0, cut)]);
            victim.assert_drops(datagram, PacketDropReason::Malformed, &format!("{} bytes in {state:?}", cut.len()));
        }
    }
}

#[test]
fn h04_init_and_cookie_echo_after_shutdown_ack() {
    let mut victim = Victim::in_state(State::ShutdownAckSent);
    let sent = victim.deliver(packet(0, &[init(&peer_init())]));
    assert_eq!((kinds(&sent), sent[0].tag), (vec![C::SHUTDOWN_ACK], PEER_TAG));
    assert_eq!(victim.association.state(), State::ShutdownAckSent);
    // With a cookie from before, SHUTDOWN ACK goes with an ERROR: `b20_a_restart_while_shutting_down_is_refused`.
    let forged = packet(victim.tag, &[cookie_echo(&[7; 56])]);
    victim.assert_drops(forged, PacketDropReason::BadCookie, "a forged cookie");
}

#[test]
fn h05_shutdown_during_the_handshake() {
    for state in [State::CookieWait, State::CookieEchoed] {
        let mut victim = Victim::in_state(state);
        let datagram = packet(victim.tag, &[shutdown(victim.tsn)]);
        victim.assert_drops(datagram, PacketDropReason::UnexpectedChunk, &format!("{state:?}"));
    }
}

#[test]
fn h06_abort_in_mid_transfer_and_beside_data() {
    let abort = victim::chunk(|out| {
        narrowboat_sctp::testing::wire::encode_abort(&[Cause::UserInitiatedAbort(b"enough")], false, out);
    });
    for behind in [false, true] {
        let kept = allocation_counter::measure(|| {
            let mut victim = Victim::in_state(State::Established);
            for stream in 1..20 {
                victim.message(StreamId(stream), &[7; 50_000]);
            }
            // Half a message of the peer's, and its SACKs.
            let half = victim::DataChunk { ending: false, ..victim::data_chunk(0, narrowboat_sctp::Ssn(0)) };
            victim.send(&[victim::chunk(|out| half.encode(&[7; 1000], out))]);
            victim.events.clear();
            let chunks = if behind { vec![abort.clone(), data(1, b"ignored")] } else { vec![abort.clone()] };
            assert_eq!(victim.send(&chunks), [], "an ABORT has no answer");
            let reason = CloseReason::PeerAbort { cause: Some(12), text: "enough".into() };
            assert_eq!(victim.closed(), Some(reason));
            assert_eq!(victim.messages(), Vec::<Vec<u8>>::new());
            let stats = victim.association.stats();
            assert_eq!((stats.flight_size, stats.buffered_amount), (0, 0));
            assert_eq!((victim.association.poll_timeout(), victim.pass(600 * SECOND)), (None, vec![]));
        });
        assert_eq!(kept.bytes_current, 0, "bytes left of it all");
    }
    // An ABORT that does not parse is none (§3.3.7).
    let mut victim = Victim::in_state(State::Established);
    let datagram = packet(victim.tag, &[raw(C::ABORT, 0, &[0, 12, 0, 3])]);
    victim.assert_drops(datagram, PacketDropReason::Malformed, "a cause of three bytes");
}

#[test]
fn h07_the_application_lets_go_in_each_state() {
    for state in State::ALL {
        for pending in [false, true] {
            let what = format!("{state:?}, something pending: {pending}");
            let kept = allocation_counter::measure(|| {
                let mut victim = Victim::in_state(state);
                if pending {
                    if state.can_accept_messages() {
                        let payload = vec![7; 300_000].into();
                        victim
                            .association
                            .send(victim.now, StreamId(1), Ppid(53), payload, SendOptions::default())
                            .unwrap();
                    }
                    // Handed in, and never read.
                    let unread = packet(victim.tag, &[data(0, b"unread"), data(2, b"after a gap")]);
                    victim.association.handle_datagram(victim.now, unread);
                }
                victim.association.abort("gone");
                let sent = victim.poll();
                let aborts = sent.iter().filter(|sent| sent.kind == C::ABORT).count();
                let is_known = !matches!(state, State::Closed | State::CookieWait);
                assert_eq!(aborts, usize::from(is_known), "{what}: the peer is told");
                assert!(sent.iter().filter(|sent| sent.kind == C::ABORT).all(|sent| sent.tag == PEER_TAG));
                assert_eq!(victim.closed(), Some(CloseReason::LocalAbort), "{what}");
                assert_eq!((victim.association.poll_timeout(), victim.pass(600 * SECOND)), (None, vec![]), "{what}");
            });
            assert_eq!(kept.bytes_current, 0, "{what}: bytes left");
            // Just dropped, without a word.
            let kept = allocation_counter::measure(|| drop(Victim::in_state(state)));
            assert_eq!(kept.bytes_current, 0, "{what}: bytes left");
        }
    }
}

#[test]
fn h08_clocks_that_jump_stand_still_and_come_late() {
    let hour = Duration::from_secs(3600);
    for state in State::ALL {
        for (what, jumps) in [
            ("an hour ahead", vec![hour]),
            ("half a minute late, again and again", vec![30 * SECOND; 20]),
            ("the same time, many times", vec![Duration::ZERO; 50]),
            ("a microsecond at a time", vec![Duration::from_micros(1); 200]),
        ] {
            let mut victim = Victim::in_state(state);
            let mut sent = 0;
            for jump in jumps {
                victim.now += jump;
                victim.association.handle_timeout(victim.now);
                sent += victim.poll().len();
                let next = victim.association.poll_timeout();
                assert!(next.is_none_or(|next| next > victim.now), "{what} in {state:?}: a timer does not move on");
            }
            // However late, each timer fires once for each time that it is asked.
            assert!(sent <= 3 * 20, "{what} in {state:?}: {sent} chunks");
            victim.closed();
        }
        // Back: nothing fires early, nothing panics, and it goes on when time is where it was.
        let mut victim = Victim::in_state(state);
        let here = victim.now;
        victim.now += hour;
        let there = victim.now;
        for now in [here, there - hour, here + MS] {
            let before = victim.standing();
            victim.now = now;
            victim.association.handle_timeout(now);
            if victim.association.poll_timeout().is_none_or(|next| next > now) {
                assert_eq!((victim.poll(), victim.standing()), (vec![], before), "{state:?}");
            }
            victim.send(&[
                raw(C::HEARTBEAT, 0, &[0, 1, 0, 8, 1, 2, 3, 4]),
                sack(Tsn(victim.tsn.0.wrapping_sub(1)), 9999, &[]),
            ]);
        }
        let srtt = victim.association.stats().srtt;
        assert!(srtt.is_none_or(|srtt| srtt < SECOND), "{state:?}: {srtt:?}");
    }
}

#[test]
fn h08_a_clock_that_goes_back_in_mid_transfer() {
    for back in [MS, SECOND, Duration::from_secs(3600)] {
        let mut pair = Pair::connected(AssociationConfig::default());
        for number in 0..20_u8 {
            pair.send(0, StreamId(1), vec![number; 20_000]);
        }
        pair.run_for(15 * MS);
        // Both ends see time go back, and then everything arrives as if nothing had happened.
        let now = pair.now;
        pair.now = now.checked_sub(back).unwrap_or(pair.start);
        for end in 0..2 {
            pair.ends[end].handle_timeout(pair.now);
        }
        pair.send(0, StreamId(1), "sent in the past");
        pair.now = now;
        pair.run_until(60 * SECOND, |pair| pair.received[1].len() == 21);
        let srtt = pair.ends[0].stats().srtt.unwrap();
        assert!(srtt < 2 * SECOND, "{back:?} back: {srtt:?}");
        assert_eq!(pair.ends[0].state(), State::Established);
    }
}

/// Carries datagrams between a client and a server until neither has more to say.
fn exchange(client: &mut Service, server: &mut Service, from_client: Vec<bytes::Bytes>) {
    let (client_at, server_at) = addresses();
    let (mut to_server, mut to_client) = (from_client, Vec::new());
    for _ in 0..100 {
        to_client.extend(to_server.drain(..).flat_map(|packet| server.deliver(client_at, packet)));
        to_server.extend(to_client.drain(..).flat_map(|packet| client.deliver(server_at, packet)));
        if to_server.is_empty() {
            return;
        }
    }
    panic!("they never fall silent");
}

fn addresses() -> (SocketAddr, SocketAddr) {
    ("192.0.2.1:1000".parse().unwrap(), "192.0.2.2:2000".parse().unwrap())
}

fn dial(client: &mut Service, server: &mut Service) {
    let (handle, association) = client.endpoint.connect(client.now, addresses().1).unwrap();
    client.associations.insert(handle, association);
    let packets = client.poll_one(handle);
    exchange(client, server, packets);
    assert!(matches!(client.events.pop(), Some((at, AssociationEvent::Connected)) if at == handle));
}

#[test]
fn h09_a_service_that_is_killed_and_started_again_on_its_port() {
    let (mut client, mut server) = (Service::new(), Service::new());
    dial(&mut client, &mut server);
    // Killed without a word; another process has the port, and knows nothing.
    let mut server = Service::with_seed([9; 32]);
    let start = client.now;
    let handle = *client.associations.keys().next().unwrap();
    let association = client.associations.get_mut(&handle).unwrap();
    association.send(client.now, StreamId(1), Ppid(53), "are you there?".into(), SendOptions::default()).unwrap();
    let packets = client.poll_one(handle);
    exchange(&mut client, &mut server, packets);
    let Some((_, AssociationEvent::Closed(reason))) = client.events.pop() else { panic!("{:?}", client.events) };
    assert!(matches!(reason, CloseReason::PeerAbort { .. }), "the first packet tells: {reason:?}");
    client.events.clear();
    dial(&mut client, &mut server);
    assert!(client.now - start <= 5 * SECOND);

    // A client that has nothing to say learns of it by its next HEARTBEAT.
    let mut server = Service::with_seed([10; 32]);
    let packets: Vec<_> = client.pass(20 * SECOND).into_iter().map(|(_, packet)| packet).collect();
    assert!(!packets.is_empty());
    exchange(&mut client, &mut server, packets);
    assert!(matches!(client.events.pop(), Some((_, AssociationEvent::Closed(CloseReason::PeerAbort { .. })))));
    client.events.clear();

    // And one that is started again itself, from the same port, takes its old place at a server that still has it.
    dial(&mut client, &mut server);
    let mut reborn = Service::with_seed([11; 32]);
    reborn.now = client.now;
    server.events.clear();
    dial(&mut reborn, &mut server);
    assert!(server.events.iter().any(|(_, event)| matches!(event, AssociationEvent::Restarted)), "{:?}", server.events);
    assert_eq!(server.endpoint.len(), 1);
}

/// A peer that hears this end, and is not heard, learns at once that it was given up.
#[test]
fn an_end_that_gives_its_peer_up_says_so_in_one_abort() {
    type Ask = fn(&mut Victim);
    let asks: [(&str, State, Ask); 4] = [
        ("DATA", State::Established, |victim| drop(victim.message(StreamId(1), b"x"))),
        ("HEARTBEAT", State::Established, |_| {}),
        ("RE-CONFIG", State::Established, |victim| {
            victim.association.reset_streams(victim.now, &[StreamId(1)]).unwrap();
        }),
        ("SHUTDOWN", State::ShutdownSent, |_| {}),
    ];
    for (what, state, ask) in asks {
        // The guard would end the shutdown first.
        let mut victim = Victim::with_config(
            state,
            AssociationConfig { shutdown_guard: 600 * SECOND, ..AssociationConfig::default() },
        );
        ask(&mut victim);
        let sent = kinds(&victim.pass(200 * SECOND));
        assert_eq!(sent.iter().filter(|kind| **kind == C::ABORT).count(), 1, "{what}: {sent:?}");
        assert_eq!(sent.last(), Some(&C::ABORT), "{what}");
        assert_eq!(victim.closed(), Some(CloseReason::PeerUnreachable), "{what}");
    }
}

/// The peer's queue takes longer than `shutdown_guard`, and gets shorter all the time.
#[test]
fn a_shutdown_waits_for_a_peer_that_sends_its_queue() {
    let AssociationConfig { shutdown_guard: guard, shutdown_max: max, .. } = AssociationConfig::default();
    let mut victim = Victim::in_state(State::ShutdownSent);
    let start = victim.now;
    for number in 0..18 {
        let sent = victim.send(&[data(number, b"queued")]);
        assert_eq!(kinds(&sent), [C::SACK, C::SHUTDOWN]);
        victim.pass(guard / 2);
    }
    assert!(victim.now - start > 8 * guard && victim.now - start < max);
    let sent = victim.send(&[raw(C::SHUTDOWN_ACK, 0, &[])]);
    assert_eq!(kinds(&sent), [C::SHUTDOWN_COMPLETE]);
    assert_eq!(victim.closed(), Some(CloseReason::Shutdown));
    assert_eq!(victim.messages().len(), 18);
}

/// RFC 9260 §9.2: any packet of the peer clears the count and restarts the timer.
#[test]
fn whatever_comes_from_the_peer_restarts_the_timer_of_a_shutdown() {
    let mut victim = Victim::in_state(State::ShutdownSent);
    for _ in 0..25 {
        victim.send(&[raw(C::ERROR, 0, &[])]);
        assert_eq!(kinds(&victim.pass(300 * MS)), [], "its time-out is 400 ms or more");
    }
    assert_eq!(victim.association.state(), State::ShutdownSent);
    assert_eq!(kinds(&victim.pass(SECOND))[0], C::SHUTDOWN);
}
