//! Channels whose messages make room for those of others when the send buffer is full (RFC 7496 §3.2).

#![expect(clippy::disallowed_methods, reason = "the zero of a clock that only the pair moves")]

mod pair;

use std::time::Duration;

use narrowboat_dcep::{AbandonReason, ChannelId, ChannelOptions, ChannelSendError, ChannelsEvent, Reliability};
use pair::{A, B, Fate, Pair, Setup};

/// Sends messages of 1,000 bytes until the buffer is full, and returns their number.
fn fill(pair: &mut Pair, channel: ChannelId) -> usize {
    (0..10_000).take_while(|_| pair.try_send(A, channel, vec![7; 1_000]) != Err(ChannelSendError::Full)).count()
}

#[test]
fn a_channel_with_a_lower_priority_makes_room_for_others_and_its_peer_sees_a_reliable_one() {
    let mut pair = Pair::connected_with(Setup::default().sctp(|config| config.send_buffer = 300_000));
    let (telemetry, far) = pair.channel_with(ChannelOptions::new("telemetry").drop_priority(9));
    let (alarms, far_alarms) = pair.channel_with(ChannelOptions::new("alarms").drop_priority(1));
    let (orders, far_orders) = pair.channel();
    let reliability = |side, id| pair[side].channels.options(id).map(|options| options.reliability);
    assert_eq!(reliability(A, telemetry), Some(Reliability::Priority(9)));
    assert_eq!(reliability(B, far), Some(Reliability::Reliable), "the peer is not told");
    pair.network(|packet| if packet.from == A { Fate::Drop } else { Fate::Deliver });
    let sent = fill(&mut pair, telemetry);
    assert!(sent > 100, "{sent} sent");
    pair.send(A, alarms, vec![1; 1_000]);
    assert_eq!(pair.try_send(A, telemetry, vec![7; 1_000]), Err(ChannelSendError::Full));
    pair.send(A, orders, vec![2; 1_000]);
    let events = pair.take_events(A);
    let mut dropped = 0;
    for event in events {
        if let ChannelsEvent::Abandoned { channel, messages, bytes, reason, unsent } = event {
            assert_eq!((channel, reason, unsent), (telemetry, AbandonReason::Priority, true));
            assert_eq!(bytes as u64, messages * 1_000);
            dropped += messages;
        }
    }
    assert!((2..=4).contains(&dropped), "{dropped} dropped for two");
    let stats = pair[A].channels.channel_stats(telemetry).unwrap().abandoned;
    assert_eq!((stats.count(AbandonReason::Priority).unsent, stats.total().messages()), (dropped, dropped));
    pair.heal();
    pair.run_for(Duration::from_secs(60));
    assert_eq!(pair.recv_all(B, far).len() as u64 + dropped, sent as u64, "what was not dropped arrives");
    assert_eq!((pair.recv_all(B, far_alarms).len(), pair.recv_all(B, far_orders).len()), (1, 1));
}
