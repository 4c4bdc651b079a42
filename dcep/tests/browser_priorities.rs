//! Priorities of channels that browsers open (RFC 8831 §6.4, RFC 8832 §5.1).

#![expect(clippy::disallowed_methods, reason = "the zero of a clock that only the pair moves")]

mod pair;

use std::time::Duration;

use narrowboat_dcep::{ChannelId, ChannelOptions, ChannelsEvent};
use pair::{A, B, Pair};

/// DATA_CHANNEL_OPEN of channels with the label "c0", and the priority in it: as Chromium writes it, as Chromium writes
/// it for `priority: "high"`, and as Firefox writes it for any priority.
const OPENS: [(&[u8], u16); 3] = [
    (b"\x03\x00\x01\x00\x00\x00\x00\x00\x00\x02\x00\x00c0", 256),
    (b"\x03\x00\x04\x00\x00\x00\x00\x00\x00\x02\x00\x00c0", 1_024),
    (b"\x03\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00c0", 0),
];

/// B opens the channels of a page, A accepts them and opens one of its own; all have more to send than the link takes.
#[test]
fn the_priority_in_the_data_channel_open_of_a_browser_is_used() {
    let mut pair = Pair::connected();
    pair.log = Some(Vec::new());
    let channels = OPENS.map(|(_, priority)| pair.open(B, ChannelOptions::new("c0").priority(priority)));
    let own = (pair.open(A, ChannelOptions::new("own")), 256);
    pair.run();
    let log = pair.log.take().unwrap();
    let sent = log.iter().filter(|packet| packet.from == B).flat_map(|packet| packet.data());
    let opens: Vec<_> = sent.filter(|data| data.3.first() == Some(&3)).map(|data| data.3.to_vec()).collect();
    assert_eq!(opens, OPENS.map(|(bytes, _)| bytes.to_vec()), "as browsers write them");
    let accepted: Vec<ChannelId> = pair
        .take_events(A)
        .into_iter()
        .filter_map(|event| match event {
            ChannelsEvent::Incoming(id) => Some(id),
            _ => None,
        })
        .collect();
    for (id, (_, priority)) in accepted.iter().zip(OPENS) {
        assert_eq!(pair[A].channels.options(*id).map(|options| options.priority), Some(priority));
    }
    assert_eq!(accepted.len(), channels.len());
    // 0 counts as normal.
    let ends: Vec<(ChannelId, u16)> = accepted.into_iter().zip([256, 1_024, 256]).chain([own]).collect();
    for _ in 0..400 {
        ends.iter().for_each(|(id, _)| pair.send(A, *id, vec![7; 5_000]));
    }
    // The link has no rate; what the windows let out in a round trip is shared.
    let sent = |pair: &Pair, id| 2_000_000 - pair.buffered_amount(A, id);
    // Three megabytes: messages that nobody reads would close the window after one.
    let readers: Vec<ChannelId> = pair
        .take_events(B)
        .into_iter()
        .filter_map(|event| match event {
            ChannelsEvent::Incoming(id) => Some(id),
            _ => None,
        })
        .chain(channels)
        .collect();
    for _ in 0..5_000 {
        pair.run_for(Duration::from_millis(1));
        readers.iter().for_each(|id| drop(pair.recv_all(B, *id)));
        if sent(&pair, ends[1].0) > 1_000_000 {
            break;
        }
    }
    let all: usize = ends.iter().map(|(id, _)| sent(&pair, *id)).sum();
    for (id, weight) in ends {
        let (share, expected) = (sent(&pair, id) as f64 / all as f64, f64::from(weight) / 1_792.0);
        assert!((share / expected - 1.0).abs() < 0.05, "weight {weight}: {share:.3} and not {expected:.3}");
    }
}
