//! The last message of a channel, which does not wait for room.

#![expect(clippy::disallowed_methods, reason = "the zero of a clock that only the pair moves")]

mod pair;

use narrowboat_dcep::{ChannelId, ChannelOptions, ChannelSendError, ChannelsEvent, Message, ReadyState, UnreadMessage};
use pair::{A, B, Fate, Pair, Setup};

/// A pair whose send buffers are full at A, until the network is healed.
fn full() -> (Pair, [ChannelId; 2]) {
    let setup = Setup::default().sctp(|config| (config.send_buffer, config.stream_send_buffer) = (20_000, 20_000));
    let mut pair = Pair::connected_with(setup);
    let (a, b) = pair.channel();
    pair.clear_events();
    pair.network(|packet| if packet.has_data() { Fate::Drop } else { Fate::Deliver });
    while pair.try_send(A, a, vec![0; 1000]).is_ok() {}
    (pair, [a, b])
}

fn send_beyond_limits(pair: &mut Pair, id: ChannelId, message: &str) -> Result<(), ChannelSendError> {
    let (now, end) = (pair.now, &mut pair[A]);
    let result = end.channels.send_beyond_limits(now, &mut end.association, id, Message::from(message));
    pair.turn(A);
    result
}

#[test]
fn a_last_message_is_accepted_on_a_full_channel_and_comes_last() {
    let (mut pair, [a, b]) = full();
    assert_eq!(send_beyond_limits(&mut pair, a, "end"), Ok(()));
    assert_eq!(pair.try_send(A, a, "x"), Err(ChannelSendError::Full));
    pair.close(A, a);
    assert_eq!(send_beyond_limits(&mut pair, a, "late"), Err(ChannelSendError::NotOpen(ReadyState::Closing)));
    pair.heal();
    pair.run();
    let messages = pair.recv_all(B, b);
    assert_eq!(messages.last(), Some(&Message::from("end")));
    assert!(messages.len() > 10);
    assert_eq!((pair.closed(A, a), pair.closed(B, b)), (Some(None), Some(None)));
}

/// The peer would never hear of the channel else: one that is closed before its DATA_CHANNEL_OPEN has left is taken
/// back.
#[test]
fn a_last_message_takes_the_open_before_it_along() {
    let (mut pair, _) = full();
    let late = [0, 1, 2].map(|_| pair.open(A, ChannelOptions::new("late")));
    assert_eq!(send_beyond_limits(&mut pair, late[1], ""), Ok(()));
    assert_eq!(pair.state(A, late[1]), Some(ReadyState::Open));
    assert!(pair.take_events(A).contains(&ChannelsEvent::Open(late[1])));
    pair.forget(A, late[1]);
    pair.forget(A, late[0]);
    pair.heal();
    pair.run();
    let incoming: Vec<ChannelId> = pair[B]
        .events
        .iter()
        .filter_map(|event| if let ChannelsEvent::Incoming(id) = event { Some(*id) } else { None })
        .collect();
    let [ended, open] = incoming[..] else { panic!("not two channels: {incoming:?}") };
    assert!(matches!(pair[B].channels.peek(ended, 0), Some(UnreadMessage::Text(""))));
    assert!(pair[B].channels.peek(ended, 1).is_none());
    assert_eq!(pair.recv_all(B, ended), [Message::from("")]);
    assert_eq!(pair.closed(B, ended), Some(None));
    assert_eq!((pair.state(B, open), pair.closed(B, open)), (Some(ReadyState::Open), None));
    assert!(pair[B].channels.is_reset_by_peer(ended) && !pair[B].channels.is_reset_by_peer(open));
}
