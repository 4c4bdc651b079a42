//! A stream that is reset after its last message has left: the request waits for the acknowledgement of that message,
//! and the peer delays it.

#![expect(clippy::unwrap_used, reason = "a test may fail this way")]

mod pair;

use std::time::Duration;

use narrowboat_sctp::{AssociationConfig, AssociationEvent, Reliability, SendOptions, StreamId};
use pair::{MS, Pair, Verdict};

const RELIABILITIES: [Reliability; 4] = [
    Reliability::Reliable,
    Reliability::MaxRetransmits(0),
    Reliability::MaxRetransmits(1),
    Reliability::MaxLifetime(Duration::ZERO),
];

/// The peer delays its SACKs by 200 ms, and its first quick ones are used up.
fn pair_with_slow_sacks() -> Pair {
    let slow = AssociationConfig { sack_delay_max: 200 * MS, ..AssociationConfig::default() };
    let mut pair = Pair::with_configs([AssociationConfig::default(), slow], 1);
    pair.connect();
    for _ in 0..40 {
        pair.send(0, StreamId(0), "a message");
        pair.run_for(300 * MS);
    }
    pair.trace.clear();
    pair.received[1].clear();
    pair
}

/// The time from the reset being wanted until it is done.
fn reset(pair: &mut Pair, stream: u16) -> Duration {
    let start = pair.now;
    pair.ends[0].reset_streams(pair.now, &[StreamId(stream)]).unwrap();
    let is_done =
        |pair: &Pair| pair.events[0].iter().any(|event| matches!(event, AssociationEvent::OutgoingStreamReset(_)));
    pair.run_until(Duration::from_secs(5), is_done);
    pair.now - start
}

#[test]
fn a_reset_waits_for_no_delayed_sack_whatever_the_reliability() {
    for reliability in RELIABILITIES {
        for wait in [Duration::ZERO, MS, 15 * MS, 60 * MS] {
            for has_neighbour in [false, true] {
                let mut pair = pair_with_slow_sacks();
                let rtt = 2 * pair.one_way;
                let options = SendOptions { reliability, ..SendOptions::default() };
                let now = pair.now;
                pair.ends[0].send(now, StreamId(1), narrowboat_sctp::Ppid(53), "the last".into(), options).unwrap();
                if has_neighbour {
                    // On another stream, in the same packet.
                    pair.ends[0].send(now, StreamId(2), narrowboat_sctp::Ppid(53), "goes on".into(), options).unwrap();
                }
                pair.flush();
                pair.run_for(wait);
                let took = reset(&mut pair, 1);
                let what = format!("{reliability:?}, asked after {wait:?}, neighbour: {has_neighbour}");
                assert!(took <= 2 * rtt, "{what}: {took:?}");
                assert_eq!(pair.received[1].len(), 1 + usize::from(has_neighbour), "{what}");
                assert!(pair.sent(0, pair.data_kind()).len() <= 2, "{what}");
            }
        }
    }
}

/// The message itself is lost: what asks for its acknowledgement brings it, if it may still arrive.
#[test]
fn a_reset_behind_a_lost_message_waits_for_no_timer() {
    for reliability in RELIABILITIES {
        let mut pair = pair_with_slow_sacks();
        let rtt = 2 * pair.one_way;
        pair.rule = Box::new(|_| Verdict::Drop);
        pair.send_with(0, StreamId(1), "the last", SendOptions { reliability, ..SendOptions::default() });
        pair.rule = Box::new(|_| Verdict::Pass);
        pair.run_for(MS);
        let took = reset(&mut pair, 1);
        assert!(took <= 2 * rtt, "{reliability:?}: {took:?}");
        let is_late = matches!(reliability, Reliability::MaxLifetime(_));
        assert_eq!(pair.received[1].len(), usize::from(!is_late), "{reliability:?}");
    }
}
