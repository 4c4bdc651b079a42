//! The events of channels in the log: those of `ARCHITECTURE.md`, "Events in the log", with their levels and fields.

#![expect(clippy::disallowed_methods, reason = "the zero of a clock that only the pair moves")]

#[path = "../../sctp/tests/captured/mod.rs"]
mod captured;
mod pair;

use captured::{Log, Logged, only, with_message};
use narrowboat_dcep::{ChannelOptions, Message};
use pair::{A, B, Pair, Setup};
use tracing::Level;

/// Events of this crate, without those of the association below.
fn of_channels(events: Vec<Logged>) -> Vec<Logged> {
    events.into_iter().filter(|event| event.target.starts_with("narrowboat_dcep")).collect()
}

fn messages(events: &[Logged]) -> Vec<&str> {
    events.iter().map(|event| event.message.as_str()).collect()
}

#[test]
fn the_life_of_a_channel_is_reported_by_both_ends() {
    let mut pair = Pair::connected();
    let log = Log::capture(Level::DEBUG);
    let (a, b) = pair.channel_with(ChannelOptions::new("x"));
    pair.run();
    let events = of_channels(log.take());
    assert_eq!(
        messages(&events),
        [
            "channel created",
            "ready state changed",
            "channel created", // by the other end
            "ready state changed",
            "DATA_CHANNEL_ACK received",
        ]
    );
    let stream = pair.stream(A, a).to_string();
    assert!(events.iter().all(|event| event.level == Level::DEBUG && event.field("stream_id") == stream));
    assert_eq!((events[0].field("origin"), events[2].field("origin")), ("Local", "Peer"));
    assert_eq!((events[0].field("ordered"), events[0].field("reliability")), ("true", "Reliable"));
    assert_eq!((events[0].number("channel"), events[2].number("channel")), (a.0, b.0));

    pair.close(A, a);
    pair.run();
    let events = of_channels(log.take());
    assert_eq!(messages(&events), ["ready state changed"; 4]);
    let states: Vec<&str> = events.iter().map(|event| event.field("ready_state")).collect();
    assert_eq!(states, ["Closing", "Closing", "Closed", "Closed"]);
    assert_eq!((events[0].field("cause"), events[1].field("cause")), ("Application", "Peer"));
    assert!(events.iter().all(|event| event.field("stream_id") == stream && !event.fields.contains_key("error")));
}

#[test]
fn a_refused_channel_is_reported_with_the_reason_at_debug_alone() {
    let mut setup = Setup::default();
    setup.channels[1].channels_max = 1;
    let mut pair = Pair::connected_with(setup);
    pair.channel();
    let log = Log::capture(Level::DEBUG);
    pair.open(A, ChannelOptions::new("refused"));
    pair.run();
    let events = of_channels(log.take());
    let stream = only(&events, "stream refused").field("stream_id");
    assert_eq!(only(&events, "DATA_CHANNEL_OPEN above the limits").field("stream_id"), stream);
    let dropped = with_message(&events, "dropped")[0];
    assert_eq!((dropped.field("reason"), dropped.number("times")), ("LimitReached", 1));
    let closed =
        with_message(&events, "ready state changed").into_iter().find(|event| event.field("ready_state") == "Closed");
    let closed = closed.unwrap();
    assert!(closed.field("error").contains("refused"), "{closed:?}");
    assert!(events.iter().all(|event| event.level == Level::DEBUG));
}

#[test]
fn messages_emit_no_event() {
    let mut pair = Pair::connected();
    let (a, b) = pair.channel();
    let log = Log::capture(Level::DEBUG);
    for number in 0..100 {
        pair.send(A, a, format!("message {number}"));
        pair.send(B, b, Message::Binary(vec![7; 1000].into()));
    }
    pair.run();
    assert_eq!(pair.recv_all(B, b).len(), 100);
    assert_eq!(messages(&of_channels(log.take())), [""; 0]);
}
