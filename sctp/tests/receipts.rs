//! Receipts: what becomes of a message, for those who ask.
#![expect(clippy::unwrap_used, reason = "a test may fail this way")]

mod pair;

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use narrowboat_sctp::ReceiptStatus::{Abandoned, Acknowledged, Sent};
use narrowboat_sctp::{
    AbandonReason, Association, AssociationConfig, AssociationEvent, CookieKeys, LowerLayerError, LowerLayerErrorKind,
    Ppid, ReceiptId, ReceiptStatus, Reliability, SendMessageError, SendOptions, SendPolicy, StreamId, Valid,
    WaitingMax,
};
use pair::{MS, Pair, Verdict};

const STREAM: StreamId = StreamId(1);
const RELIABLE: SendOptions = SendOptions {
    unordered: false,
    reliability: Reliability::Reliable,
    acknowledge_immediately: false,
    exceeds_limits: false,
    ignores_policy: false,
};
const ONCE: SendOptions = SendOptions { reliability: Reliability::MaxRetransmits(0), ..RELIABLE };

fn lifetime(time: Duration) -> SendOptions {
    SendOptions { reliability: Reliability::MaxLifetime(time), ..RELIABLE }
}

/// Sends a message with a receipt, and nothing else yet.
fn send(pair: &mut Pair, payload: impl Into<Bytes>, options: SendOptions) -> ReceiptId {
    pair.ends[0].send_with_receipt(pair.now, STREAM, Ppid(53), payload.into(), options).unwrap()
}

/// Returns the statuses that were reported, and forgets all events.
fn statuses(pair: &mut Pair) -> Vec<(ReceiptId, ReceiptStatus)> {
    pair.take_events(0);
    let receipt = |event| match event {
        AssociationEvent::Receipt { id, status } => Some((id, status)),
        _ => None,
    };
    std::mem::take(&mut pair.events[0]).into_iter().filter_map(receipt).collect()
}

/// Creates a pair whose first end cannot send new data: the peer's window is full.
fn closed_window(config: &AssociationConfig) -> Pair {
    let mut pair = Pair::connected(AssociationConfig { receive_window: 20_000, ..config.clone() });
    pair.reads = [false; 2];
    for _ in 0..30 {
        pair.send(0, StreamId(0), vec![0; 1_000]);
    }
    pair.run_for(2_000 * MS);
    pair.events[0].clear();
    pair
}

#[test]
fn a_message_is_sent_with_its_last_chunk_and_acknowledged_with_all_that_came_before() {
    for message_interleaving in [false, true] {
        let mut pair = Pair::connected(AssociationConfig { message_interleaving, ..AssociationConfig::default() });
        // Larger than the first window.
        let large = send(&mut pair, vec![1; 40_000], RELIABLE);
        pair.flush();
        assert_eq!(statuses(&mut pair), [], "some of it waits");
        let first = loop {
            pair.run_for(MS);
            let first = statuses(&mut pair);
            if !first.is_empty() {
                break first;
            }
            assert!(pair.elapsed() < 1_000 * MS);
        };
        assert_eq!(first, [(large, Sent)]);
        let small = send(&mut pair, "small", RELIABLE);
        pair.run_for(1_000 * MS);
        let expected = [(large, Acknowledged), (small, Sent), (small, Acknowledged)];
        let mut reported = statuses(&mut pair);
        reported.sort_by_key(|(id, _)| *id);
        assert_eq!(reported, expected);
        // A message behind a lost one is acknowledged when that has arrived.
        let mut lost = 0;
        pair.rule = Box::new(move |packet| {
            let is_first = packet.from == 0 && std::mem::replace(&mut lost, 1) == 0;
            if is_first { Verdict::Drop } else { Verdict::Pass }
        });
        let first = send(&mut pair, vec![1; 1_000], RELIABLE);
        pair.flush();
        let second = send(&mut pair, vec![1; 1_000], RELIABLE);
        pair.flush();
        assert_eq!(statuses(&mut pair), [(first, Sent), (second, Sent)]);
        pair.run_for(21 * MS);
        assert_eq!(statuses(&mut pair), [], "a gap report may be taken back");
        pair.run_for(1_000 * MS);
        assert_eq!(statuses(&mut pair), [(first, Acknowledged), (second, Acknowledged)]);
    }
}

#[test]
fn messages_without_a_receipt_are_not_reported() {
    let mut pair = Pair::connected(AssociationConfig::default());
    pair.send(0, STREAM, "none");
    let asked = send(&mut pair, "asked", RELIABLE);
    pair.send(0, STREAM, "none");
    pair.run_for(1_000 * MS);
    assert_eq!(statuses(&mut pair), [(asked, Sent), (asked, Acknowledged)]);
    assert_eq!(pair.ends[0].memory_charged(), {
        let mut other = Pair::connected(AssociationConfig::default());
        (0..3).for_each(|_| other.send(0, STREAM, "none"));
        other.run_for(1_000 * MS);
        other.ends[0].memory_charged()
    });
}

#[test]
fn a_message_that_is_dropped_in_its_queue_ends_with_the_rule() {
    let mut pair = closed_window(&AssociationConfig::default());
    let expired = send(&mut pair, "lifetime", lifetime(100 * MS));
    pair.run_for(200 * MS);
    assert_eq!(statuses(&mut pair), [(expired, Abandoned(AbandonReason::Lifetime))]);

    pair.ends[0].set_send_policy(STREAM, SendPolicy::new().latency_budget(100 * MS));
    let late = send(&mut pair, "budget", RELIABLE);
    pair.run_for(200 * MS);
    assert_eq!(statuses(&mut pair), [(late, Abandoned(AbandonReason::LatencyBudget))]);

    pair.ends[0].set_send_policy(STREAM, SendPolicy::new().drop_oldest(WaitingMax::Messages(1)));
    let old = send(&mut pair, "old", RELIABLE);
    let new = send(&mut pair, "new", RELIABLE);
    assert_eq!(statuses(&mut pair), [(old, Abandoned(AbandonReason::Displaced))]);
    pair.ends[0].discard_unsent(pair.now, STREAM);
    assert_eq!(statuses(&mut pair), [(new, Abandoned(AbandonReason::Discarded))]);
}

#[test]
fn a_message_behind_a_backlog_ends_with_the_default_policy() {
    let mut pair = Pair::connected(AssociationConfig::default());
    pair.bottleneck = Some((20_000, 10_000));
    let receipts: Vec<_> = (0..200).map(|_| send(&mut pair, vec![0; 1_000], ONCE)).collect();
    pair.run_for(20_000 * MS);
    let reported = statuses(&mut pair);
    let ends: Vec<_> = reported.iter().filter(|(_, status)| status.is_final()).collect();
    assert_eq!(ends.len(), receipts.len());
    assert!(ends.iter().any(|(_, status)| *status == Abandoned(AbandonReason::Backlog)));
    assert!(ends.iter().any(|(_, status)| *status == Acknowledged));
}

#[test]
fn a_message_that_was_sent_and_lost_ends_with_its_limit() {
    for (options, reason) in [(ONCE, AbandonReason::Retransmits), (lifetime(200 * MS), AbandonReason::Lifetime)] {
        let mut pair = Pair::connected(AssociationConfig::default());
        pair.rule = Box::new(|packet| if packet.has_user_data() { Verdict::Drop } else { Verdict::Pass });
        let receipt = send(&mut pair, vec![0; 3_000], options);
        pair.run_for(5_000 * MS);
        assert_eq!(statuses(&mut pair), [(receipt, Sent), (receipt, Abandoned(reason))]);
    }
}

#[test]
fn a_message_that_was_begun_and_discarded_is_abandoned_once() {
    let mut pair = Pair::connected(AssociationConfig::default());
    let receipt = send(&mut pair, vec![0; 100_000], RELIABLE);
    pair.flush();
    assert!(pair.ends[0].discard_unsent(pair.now, STREAM) > 0);
    pair.run_for(1_000 * MS);
    assert_eq!(statuses(&mut pair), [(receipt, Abandoned(AbandonReason::Discarded))]);
    // The peer does not read: the message was sent whole and is not acknowledged.
    pair.rule = Box::new(|packet| if packet.has_user_data() { Verdict::Drop } else { Verdict::Pass });
    let receipt = send(&mut pair, vec![0; 1_000], RELIABLE);
    pair.flush();
    pair.ends[0].abandon_stream(pair.now, STREAM);
    pair.run_for(2_000 * MS);
    assert_eq!(statuses(&mut pair), [(receipt, Sent), (receipt, Abandoned(AbandonReason::Discarded))]);
}

/// The end of the association, by which its messages end.
type End = fn(&mut Pair);

#[test]
fn receipts_end_before_the_association_does_however_it_ends() {
    let ends: [(&str, End); 5] = [
        ("abort", |pair| pair.ends[0].abort("enough")),
        ("the peer's abort", |pair| {
            pair.ends[1].abort("enough");
            pair.rule = Box::new(|_| Verdict::Pass);
        }),
        ("transport", |pair| {
            pair.ends[0].transport_failed(LowerLayerError::new(LowerLayerErrorKind::Lost, std::fmt::Error));
        }),
        ("silence", |pair| pair.run_for(600_000 * MS)),
        ("restart", |pair| {
            pair.rule = Box::new(|_| Verdict::Pass);
            let config = Valid::new(AssociationConfig::default()).unwrap();
            pair.ends[1] = Association::new(config, CookieKeys::new(pair.now, [9; 32]), &[], [77; 32]);
            pair.ends[1].connect(pair.now);
        }),
    ];
    for (name, end) in ends {
        let mut pair = Pair::connected(AssociationConfig::default());
        pair.rule = Box::new(|packet| if packet.from == 0 { Verdict::Drop } else { Verdict::Pass });
        let sent = send(&mut pair, "sent", RELIABLE);
        pair.flush();
        let waiting = send(&mut pair, vec![0; 100_000], RELIABLE);
        assert_eq!(statuses(&mut pair), [(sent, Sent)], "{name}");
        end(&mut pair);
        pair.run_for(1_000 * MS);
        pair.take_events(0);
        let last = pair.events[0]
            .iter()
            .position(|event| matches!(event, AssociationEvent::Closed(_) | AssociationEvent::Restarted));
        let last_receipt = pair.events[0].iter().rposition(|event| matches!(event, AssociationEvent::Receipt { .. }));
        assert!(last_receipt < last, "{name}: {:?}", pair.events[0]);
        let ended = Abandoned(AbandonReason::AssociationEnded);
        assert_eq!(statuses(&mut pair), [(sent, ended), (waiting, ended)], "{name}");
        if name == "restart" {
            // A receipt of the new association is not mistaken for one of the old.
            let again = send(&mut pair, "again", RELIABLE);
            assert!(again != sent && again != waiting);
            pair.run_for(1_000 * MS);
            assert_eq!(statuses(&mut pair), [(again, Sent), (again, Acknowledged)]);
        }
    }
}

#[test]
fn a_shutdown_acknowledges_what_was_accepted() {
    let mut pair = Pair::connected(AssociationConfig::default());
    let receipt = send(&mut pair, vec![0; 30_000], RELIABLE);
    pair.ends[0].shutdown(pair.now);
    pair.run_for(2_000 * MS);
    assert!(pair.ends[0].is_over());
    assert_eq!(statuses(&mut pair), [(receipt, Sent), (receipt, Acknowledged)]);
}

#[test]
fn a_forgotten_receipt_reports_nothing_more_and_its_message_goes_its_way() {
    let mut pair = closed_window(&AssociationConfig::default());
    pair.send(0, STREAM, "message");
    let before = pair.ends[0].memory_charged();
    pair.send(0, STREAM, "message");
    let without = pair.ends[0].memory_charged() - before;
    let receipt = send(&mut pair, "message", RELIABLE);
    let with = pair.ends[0].memory_charged() - before - without;
    assert!(with > without, "a receipt is charged");
    pair.ends[0].forget_receipt(receipt);
    pair.ends[0].forget_receipt(receipt);
    assert_eq!(pair.ends[0].memory_charged() - before, 2 * without);
    pair.ends[0].discard_unsent(pair.now, STREAM);
    assert_eq!(statuses(&mut pair), []);
    pair.ends[0].forget_receipt(receipt);
}

#[test]
fn receipts_count_against_the_send_buffer() {
    let accepted = |with_receipts: bool| {
        let mut pair = closed_window(&AssociationConfig { send_buffer: 200_000, ..AssociationConfig::default() });
        let mut count = 0;
        loop {
            let (now, payload) = (pair.now, Bytes::from_static(b"x"));
            let result = if with_receipts {
                pair.ends[0].send_with_receipt(now, STREAM, Ppid(53), payload, RELIABLE).map(drop)
            } else {
                pair.ends[0].send(now, STREAM, Ppid(53), payload, RELIABLE)
            };
            match result {
                Ok(()) => count += 1,
                Err(error) => {
                    assert_eq!(error, SendMessageError::Full);
                    assert!(pair.ends[0].memory_charged() < 250_000);
                    return count;
                }
            }
        }
    };
    let (without, with): (usize, usize) = (accepted(false), accepted(true));
    assert!(with * 3 / 2 < without && with > 100, "{with} with receipts, {without} without");
}

/// Every receipt has one end, whatever is lost, and what is acknowledged has arrived.
#[test]
fn each_receipt_ends_once_on_a_path_that_loses_packets() {
    for seed in 1..=6_u64 {
        let message_interleaving = seed % 2 == 0;
        let mut pair = Pair::connected(AssociationConfig { message_interleaving, ..AssociationConfig::default() });
        pair.keeps_trace = false;
        let mut random = seed;
        pair.rule = Box::new(move |_| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            if (random >> 33) % 100 < 15 { Verdict::Drop } else { Verdict::Pass }
        });
        let mut receipts = HashMap::new();
        for index in 0..300_u32 {
            let reliability = match index % 3 {
                0 => Reliability::Reliable,
                1 => Reliability::MaxRetransmits(index % 2),
                _ => Reliability::MaxLifetime(60 * MS),
            };
            let options = SendOptions { unordered: index % 5 == 0, reliability, ..RELIABLE };
            let mut payload = vec![0; 4 + (index as usize * 97) % 4_000];
            payload[..4].copy_from_slice(&index.to_be_bytes());
            let stream = StreamId((index % 4) as u16);
            let id = pair.ends[0].send_with_receipt(pair.now, stream, Ppid(53), payload.into(), options).unwrap();
            assert!(receipts.insert(id, index).is_none());
            pair.run_for(3 * MS);
        }
        pair.run_for(60_000 * MS);
        let arrived: Vec<u32> = pair.received[1]
            .iter()
            .map(|(_, _, payload)| u32::from_be_bytes(payload[..4].try_into().unwrap()))
            .collect();
        let (mut sent, mut ended, mut abandoned) = (HashMap::new(), HashMap::new(), 0);
        for (id, status) in statuses(&mut pair) {
            if status.is_final() {
                assert!(ended.insert(id, status).is_none(), "seed {seed}: {id:?} ended twice");
            } else {
                assert!(!ended.contains_key(&id) && sent.insert(id, ()).is_none(), "seed {seed}: {id:?}");
            }
            match status {
                Acknowledged => assert!(sent.contains_key(&id) && arrived.contains(&receipts[&id]), "seed {seed}"),
                Abandoned(_) => {
                    abandoned += 1;
                    assert!(receipts[&id] % 3 != 0, "seed {seed}: a reliable message was abandoned");
                }
                _ => {}
            }
        }
        assert_eq!(ended.len(), receipts.len(), "seed {seed}");
        assert!(abandoned > 10, "seed {seed}: {abandoned} abandoned");
    }
}
