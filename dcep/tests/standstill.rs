//! Ends that do not read, windows that are closed, a peer that starts again: nothing waits for ever without a reason.

#![expect(clippy::disallowed_methods, reason = "the zero of a clock that only the pair moves")]

mod pair;

use std::time::Duration;

use narrowboat_dcep::{ChannelDropReason, ChannelError, ChannelId, ChannelOptions, ChannelsEvent, DataChannels, Role};
use narrowboat_sctp::{Association, CookieKeys, Valid};
use pair::{A, B, Fate, Pair, Setup, negotiated, texts};

const WINDOW: u32 = 100_000;

fn small_windows() -> Pair {
    Pair::connected_with(Setup::default().sctp(|config| config.receive_window = WINDOW))
}

fn fill(pair: &mut Pair, ends: &[(pair::Side, ChannelId)]) {
    for (side, id) in ends {
        for _ in 0..50 {
            pair.send(*side, *id, vec![0; 10_000]);
        }
    }
    pair.run();
}

#[test]
fn both_ends_closing_with_full_windows_that_nobody_reads_come_to_an_end() {
    let mut pair = small_windows();
    let (a, b) = pair.channel();
    fill(&mut pair, &[(A, a), (B, b)]);
    pair.close(A, a);
    pair.close(B, b);
    pair.run_for(Duration::from_secs(25));
    assert_eq!([pair.closed(A, a), pair.closed(B, b)], [None, None], "each waits for the other to read");
    assert!(pair[A].channels.unread(a) > 0);
    pair.run_for(Duration::from_secs(60));
    assert_eq!([pair.closed(A, a), pair.closed(B, b)], [Some(None), Some(None)]);
    for side in [A, B] {
        let drops = &pair[side].channels.stats().drops;
        assert!(drops.count(ChannelDropReason::UnreadAfterClose) > 0);
        let thrown_away = drops.count(ChannelDropReason::UnreadAfterClose) + drops.count(ChannelDropReason::AfterClose);
        assert_eq!(thrown_away, 50, "every message has a fate");
    }
    pair.forget_all(&[(A, a), (B, b)]);
    pair.assert_nothing_left();
    pair.assert_windows_are_whole(WINDOW as usize);
}

#[test]
fn messages_that_keep_coming_after_close_put_off_the_discard_of_unread_ones() {
    let mut pair = small_windows();
    let (a, b) = pair.channel();
    // The peer does not read, so this end's reset waits, and the peer goes on sending.
    fill(&mut pair, &[(A, a)]);
    pair.close(A, a);
    for _ in 0..8 {
        pair.run_for(Duration::from_secs(10));
        pair.send(B, b, "still here");
    }
    pair.run_for(Duration::from_secs(10));
    let discarded = |pair: &Pair| pair[A].channels.stats().drops.count(ChannelDropReason::UnreadAfterClose);
    assert_eq!((pair[A].channels.unread(a), discarded(&pair)), (8, 0));
    pair.run_for(Duration::from_secs(60));
    assert_eq!((pair[A].channels.unread(a), discarded(&pair)), (0, 8));
}

#[test]
fn a_slow_reader_loses_nothing_after_close_however_long_it_takes() {
    let mut pair = small_windows();
    let (a, b) = pair.channel();
    fill(&mut pair, &[(A, a)]);
    pair.close(A, a);
    let mut received = 0;
    // Longer than any time-out, all in all and at a stretch.
    pair.run_for(Duration::from_secs(100));
    while pair.closed(B, b).is_none() {
        received += pair.recv_all(B, b).len();
        pair.run_for(Duration::from_secs(20));
    }
    received += pair.recv_all(B, b).len();
    assert_eq!(received, 50);
    assert_eq!([pair.closed(A, a), pair.closed(B, b)], [Some(None), Some(None)]);
}

#[test]
fn who_closes_may_read_slowly_too() {
    let mut pair = small_windows();
    let (a, b) = pair.channel();
    fill(&mut pair, &[(A, a), (B, b)]);
    pair.close(A, a);
    let (mut at_a, mut at_b) = (0, 0);
    for _ in 0..60 {
        pair.run_for(Duration::from_secs(5));
        at_a += usize::from(pair.recv(A, a).is_some());
        at_b += pair.recv_all(B, b).len();
    }
    assert_eq!(at_b, 50);
    let Some(error) = pair.closed(B, b) else { panic!("B is closed") };
    // Messages that B had not sent when the close arrived are discarded there; those that it had sent were read here.
    match error {
        Some(ChannelError::PeerClosed { discarded }) => assert_eq!(at_a, 50 - discarded.div_ceil(10_000)),
        other => assert_eq!((other, at_a), (None, 50)),
    }
    assert_eq!(pair.closed(A, a), Some(None));
    assert_eq!(pair[A].channels.stats().drops.total(), 0);
}

#[test]
fn a_closing_channel_can_give_up_what_the_peer_does_not_read() {
    let mut pair = small_windows();
    let (a, b) = pair.channel();
    fill(&mut pair, &[(A, a)]);
    let now = pair.now;
    let end = &mut pair[A];
    assert_eq!(end.channels.discard_unsent(now, &mut end.association, a), 0, "an open channel gives up nothing");
    pair.close(A, a);
    let waiting = pair.buffered_amount(A, a);
    assert!(waiting > 200_000);
    let end = &mut pair[A];
    let discarded = end.channels.discard_unsent(now, &mut end.association, a);
    pair.turn(A);
    // The last message has gone out whole, and the closed window has refused it.
    assert_eq!(discarded, waiting + 1_100);
    pair.run();
    assert_eq!([pair.closed(A, a), pair.closed(B, b)], [Some(None), Some(None)]);
    assert_eq!(pair.buffered_amount(A, a), discarded);
}

#[test]
fn a_probe_of_the_closed_window_does_not_keep_a_channel_from_closing() {
    let mut pair = small_windows();
    let (a, b) = pair.channel();
    while pair.buffered_amount(A, a) == 0 {
        pair.send(A, a, vec![0; 1_000]);
        pair.run();
    }
    // The first message of the queue has gone out whole, and is refused.
    pair.run_for(Duration::from_secs(20));
    let queued = pair.buffered_amount(A, a);
    pair.close(A, a);
    let (now, end) = (pair.now, &mut pair[A]);
    let discarded = end.channels.discard_unsent(now, &mut end.association, a);
    assert_eq!(discarded, queued + 1_000);
    pair.turn(A);
    pair.run();
    assert_eq!([pair.closed(A, a), pair.closed(B, b)], [Some(None), Some(None)]);
    assert!(pair.recv_all(B, b).iter().all(|message| message.len() == 1_000));
}

/// Messages so small that what they cost the peer closes its window while many more are on their way.
#[test]
fn what_a_full_peer_refuses_does_not_keep_a_channel_from_closing() {
    let mut pair = small_windows();
    let (a, b) = pair.channel();
    for _ in 0..2_000 {
        pair.send(A, a, vec![0; 100]);
    }
    pair.run_for(Duration::from_millis(60));
    pair.close(A, a);
    let (now, end) = (pair.now, &mut pair[A]);
    end.channels.discard_unsent(now, &mut end.association, a);
    pair.turn(A);
    pair.run_for(Duration::from_secs(5));
    assert_eq!([pair.closed(A, a), pair.closed(B, b)], [Some(None), Some(None)]);
    let received = pair.recv_all(B, b).len();
    assert!((100..2_000).contains(&received), "{received}");
}

#[test]
fn one_channel_that_nobody_reads_is_let_go_of_and_the_others_move_on() {
    let mut pair = small_windows();
    let (a, b) = pair.channel();
    fill(&mut pair, &[(A, a)]);
    let (c, d) = (pair.open(A, negotiated(8)), pair.open(B, negotiated(8)));
    pair.send(A, c, "waits for the window");
    pair.run();
    assert_eq!(pair.recv(B, d), None);
    pair.forget(B, b);
    pair.run();
    assert_eq!(texts(&pair.recv_all(B, d)), ["waits for the window"]);
    assert!(matches!(pair.closed(A, a), Some(Some(ChannelError::PeerClosed { .. }))));
    assert_eq!(pair.closed(B, b), Some(None));
}

#[test]
fn a_peer_that_restarts_closes_every_channel_and_new_ones_work() {
    let mut pair = small_windows();
    let (a, b) = pair.channel();
    let closing = pair.open(A, ChannelOptions::new("closing"));
    pair.send(B, b, "before the restart");
    pair.run();
    // Something of everything: unclaimed data, a reset under way, messages waiting.
    let stray = pair.open(B, negotiated(20));
    pair.send(B, stray, "unclaimed");
    pair.run();
    pair.network(|packet| if packet.has(pair::packet::RE_CONFIG) { Fate::Drop } else { Fate::Deliver });
    pair.close(A, closing);
    pair.run_for(Duration::from_millis(100));
    pair.send(A, a, vec![0; 50_000]);
    pair.clear_events();

    let now = pair.now;
    let config =
        Valid::new(narrowboat_sctp::AssociationConfig { receive_window: WINDOW, ..Default::default() }).unwrap();
    pair[B].association = Association::new(config, CookieKeys::new(now, [8; 32]), &[], [99; 32]);
    pair[B].channels = DataChannels::new(Valid::default(), Role::Server);
    pair.lose_what_is_on_the_way();
    pair.heal();
    pair[B].association.connect(now);
    pair.turn(B);
    pair.run();
    let restarted = Some(ChannelError::PeerRestarted);
    let expected = [
        ChannelsEvent::Closed(a, restarted.clone()),
        ChannelsEvent::Closed(closing, restarted),
        ChannelsEvent::Restarted,
    ];
    assert_eq!(pair.take_events(A), expected);
    assert_eq!(pair.take_events(B), [ChannelsEvent::Connected]);
    assert_eq!(pair[A].channels.streams_in_use(), 0);
    assert_eq!(texts(&pair.recv_all(A, a)), ["before the restart"]);
    pair.forget_all(&[(A, a), (A, closing)]);
    let (next, at_b) = pair.channel();
    assert_eq!(pair.stream(A, next), 0, "all ids are new");
    pair.send(A, next, "after");
    pair.run();
    assert_eq!(texts(&pair.recv_all(B, at_b)), ["after"]);
    pair.assert_windows_are_whole(WINDOW as usize);
}
