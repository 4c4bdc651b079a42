//! Messages with a lifetime on a link that is too slow for them (RFC 3758, RFC 7496 §3.1).

mod pair;

use std::time::Duration;

use narrowboat_sctp::{AssociationConfig, Ppid, Reliability, SendMessageError, SendOptions, StreamId};
use pair::{MS, Pair};

/// Bytes a second: 2 Mbit/s.
const RATE: u64 = 250_000;
const TIME: Duration = Duration::from_secs(10);

/// Outcome of messages of `len` bytes that are offered at a rate of `megabits`.
struct Outcome {
    /// Whole messages that arrived, in percent of the link.
    share: u64,
    forward_tsns: usize,
}

fn run(len: usize, megabits: u64, unordered: bool, message_interleaving: bool) -> Outcome {
    let mut pair = Pair::connected(AssociationConfig { message_interleaving, ..AssociationConfig::default() });
    pair.one_way = 20 * MS;
    // A queue of 200 ms.
    pair.bottleneck = Some((RATE, 50_000));
    let options = SendOptions { reliability: Reliability::MaxLifetime(100 * MS), unordered, ..SendOptions::default() };
    let interval = Duration::from_nanos(len as u64 * 8_000 / megabits);
    let (begun, mut next) = (pair.now, pair.now);
    while pair.now < begun + TIME {
        while next <= pair.now {
            let sent = pair.ends[0].send(pair.now, StreamId(1), Ppid(53), vec![7; len].into(), options);
            assert!(matches!(sent, Ok(()) | Err(SendMessageError::Full)));
            next += interval;
        }
        pair.run_for(next - pair.now);
    }
    let received = (pair.received[1].len() * len) as u64;
    Outcome { share: received * 100 / (RATE * TIME.as_secs()), forward_tsns: pair.sent(0, pair.skip_kind()).len() }
}

/// A peer answers a FORWARD-TSN with a SACK, and a SACK that lags behind brings a FORWARD-TSN: the two circle.
#[test]
fn messages_with_a_lifetime_arrive_whole_and_forward_tsns_do_not_circle() {
    let cases = [(1_160, 10, false), (1_200, 3, false), (1_200, 10, true), (12_500, 3, true), (12_500, 10, false)];
    for ((len, megabits, unordered), message_interleaving) in
        cases.into_iter().flat_map(|case| [(case, false), (case, true)])
    {
        let Outcome { share, forward_tsns } = run(len, megabits, unordered, message_interleaving);
        let what =
            format!("{len} bytes, {megabits} Mbit/s, unordered {unordered}, interleaving {message_interleaving}");
        println!("{what}: {share} % of the link, {forward_tsns} packets with FORWARD-TSN");
        assert!(share >= 80, "{what}: {share} % of the link in whole messages");
        let round_trips = TIME.as_millis() / 40;
        assert!(
            forward_tsns as u128 <= round_trips,
            "{what}: {forward_tsns} FORWARD-TSNs in {round_trips} round trips"
        );
    }
}
