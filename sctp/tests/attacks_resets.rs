//! Stream reset, as requester and responder (RFC 6525). Each test bears the id of its row in the list of attacks.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::unwrap_used, reason = "a test may fail this way")]

mod pair;
mod victim;

use narrowboat_sctp::testing::wire::{
    ChunkType as C, ForwardTsn, Reconfig, ReconfigParameter, ReconfigWriter, ResetResult,
};
use narrowboat_sctp::{
    AssociationConfig, AssociationEvent, CloseReason, PacketDropReason, RequestSn, SendMessageError, SendOptions, Ssn,
    State, StreamId, Streams, Tsn, Violation,
};
use pair::{Pair, Verdict};
use victim::{DataChunk, MS, PEER_TSN, SECOND, Sent, Victim, chunk, data, data_chunk, packet, sack};

/// The peer's request to reset its own side, `number` requests after the first, with its last TSN so far.
fn request(number: u32, last_tsn: u32, streams: &[u16]) -> Vec<u8> {
    chunk(|out| {
        let mut writer = ReconfigWriter::begin(out);
        let sn = RequestSn(PEER_TSN.wrapping_add(number));
        writer.push_outgoing_reset(sn, RequestSn(0), Tsn(last_tsn), streams.iter().copied().map(StreamId));
        writer.finish();
    })
}

/// Returns the peer's response to one of the victim's requests.
fn answer(request: RequestSn, result: ResetResult) -> Vec<u8> {
    chunk(|out| {
        let mut writer = ReconfigWriter::begin(out);
        writer.push_response(request, result, None);
        writer.finish();
    })
}

/// Answers in what the victim has sent.
fn answers(sent: &[Sent]) -> Vec<(RequestSn, ResetResult)> {
    let mut answers = Vec::new();
    for chunk in sent.iter().filter(|chunk| chunk.kind == C::RE_CONFIG) {
        for parameter in Reconfig::decode(&chunk.value).unwrap().parameters() {
            if let ReconfigParameter::Response { response, result, .. } = parameter {
                answers.push((response, result));
            }
        }
    }
    answers
}

/// Requests in what the victim has sent.
fn requests(sent: &[Sent]) -> Vec<(RequestSn, Vec<u16>)> {
    let mut requests = Vec::new();
    for chunk in sent.iter().filter(|chunk| chunk.kind == C::RE_CONFIG) {
        for parameter in Reconfig::decode(&chunk.value).unwrap().parameters() {
            if let ReconfigParameter::OutgoingReset { request, streams, .. } = parameter {
                requests.push((request, streams.iter().map(|stream| stream.0).collect()));
            }
        }
    }
    requests
}

fn incoming(victim: &Victim) -> Vec<&Streams> {
    let mut told = Vec::new();
    for event in &victim.events {
        if let AssociationEvent::IncomingStreamsReset(streams) = event {
            told.push(streams);
        }
    }
    told
}

fn outgoing(victim: &Victim) -> Vec<u16> {
    let performed = |event: &AssociationEvent| match event {
        AssociationEvent::OutgoingStreamReset(stream) => Some(stream.0),
        _ => None,
    };
    victim.events.iter().filter_map(performed).collect()
}

/// A victim that has sent on a stream, had it acknowledged, and asked for the reset; and the number of its request.
fn asking(stream: u16) -> (Victim, RequestSn) {
    let mut victim = Victim::in_state(State::Established);
    victim.message(StreamId(stream), b"x");
    let acked = victim.tsn;
    victim.send(&[sack(acked, 1 << 20, &[])]);
    victim.association.reset_streams(victim.now, &[StreamId(stream)]).unwrap();
    let sent = victim.poll();
    let (number, streams) = requests(&sent).remove(0);
    assert_eq!(streams, [stream]);
    victim.events.clear();
    (victim, number)
}

#[test]
fn g02_unknown_streams_too_many_none_at_all_and_the_same_twice() {
    use ResetResult::{Performed, WrongSsn};
    let first = RequestSn(PEER_TSN);
    let all: Vec<u16> = (0..32_000).collect();
    let cases: [(&str, &[u16], ResetResult, Option<usize>); 7] = [
        ("a stream never used", &[5], Performed, Some(1)),
        ("the last stream there is", &[99], Performed, Some(1)),
        ("a stream that there is not", &[100], WrongSsn, None),
        ("one that there is not among those that there are", &[1, 2, 65_535, 3], WrongSsn, None),
        ("32,000 streams, of which there are a hundred", &all, WrongSsn, None),
        ("the same one three times", &[7, 7, 7], Performed, Some(3)),
        ("none, which is all", &[], Performed, None),
    ];
    for (what, streams, result, listed) in cases {
        let mut victim = Victim::in_state(State::Established);
        let sent = victim.send(&[request(0, PEER_TSN - 1, streams)]);
        assert_eq!(answers(&sent), [(first, result)], "{what}");
        let told = incoming(&victim);
        assert_eq!(told.len(), usize::from(result == Performed), "{what}: {told:?}");
        match (told.first(), listed) {
            (Some(Streams::List(list)), Some(count)) => assert_eq!(list.len(), count, "{what}"),
            (Some(Streams::All), None) | (None, None) => {}
            other => panic!("{what}: {other:?}"),
        }
        assert_eq!(victim.association.state(), State::Established, "{what}");
    }
    // All streams begin again at SSN 0.
    let mut victim = Victim::in_state(State::Established);
    victim.send(&[data(0, b"one"), data(1, b"two")]);
    victim.send(&[request(0, PEER_TSN + 1, &[])]);
    victim.events.clear();
    let again = victim::DataChunk { tsn: Tsn(PEER_TSN + 2), ..victim::data_chunk(0, narrowboat_sctp::Ssn(0)) };
    victim.send(&[chunk(|out| again.encode(b"three", out))]);
    assert_eq!(victim.messages(), [b"three"]);
}

#[test]
fn g05_a_peer_that_answers_in_progress_for_ever() {
    // Everything is acknowledged, so there is nothing that the peer could wait for: it refuses.
    let (mut victim, number) = asking(1);
    let start = victim.now;
    let (mut asked, mut aborts) = (0, 0);
    victim.send(&[answer(number, ResetResult::InProgress)]);
    while victim.closed().is_none() {
        assert!(victim.now - start < 120 * SECOND, "it never ends");
        let sent = victim.pass(100 * MS);
        for (again, streams) in requests(&sent) {
            assert_eq!((again, streams), (number, vec![1]), "the same request again");
            asked += 1;
            let sent = victim.send(&[answer(number, ResetResult::InProgress)]);
            aborts += sent.iter().filter(|chunk| chunk.kind == C::ABORT).count();
        }
    }
    assert_eq!(asked, 9, "ten answers with the first");
    assert_eq!(aborts, 1, "the peer is told");
    assert_eq!(victim.closed(), Some(CloseReason::ResetRefused(ResetResult::InProgress)));
    assert!(victim.now - start >= AssociationConfig::default().reset_timeout);

    // A peer that lacks data may say so for as long as it likes.
    let mut victim = Victim::in_state(State::Established);
    victim.message(StreamId(2), b"x");
    victim.association.reset_streams(victim.now, &[StreamId(1)]).unwrap();
    let (number, _) = requests(&victim.poll()).remove(0);
    for _ in 0..600 {
        victim.send(&[answer(number, ResetResult::InProgress)]);
        victim.pass(SECOND);
    }
    assert_eq!(victim.association.state(), State::Established);
    assert!(victim.association.is_resetting(StreamId(1)));
}

#[test]
fn a_request_that_nobody_answers_is_repeated_for_as_long_as_the_association_lasts() {
    let (mut victim, number) = asking(1);
    for round in 0..600 {
        // Anything shows that the peer is there, but for an answer.
        victim.message(StreamId(2), b"x");
        let acked = victim.tsn.add(round + 1);
        victim.send(&[sack(acked, 1 << 20, &[])]);
        let sent = victim.pass(SECOND);
        assert!(requests(&sent).iter().all(|request| *request == (number, vec![1])), "{round}");
    }
    let sent = victim.pass(11 * SECOND);
    assert!(!requests(&sent).is_empty());
    assert!(victim.association.is_resetting(StreamId(1)));
    victim.send(&[answer(number, ResetResult::Performed)]);
    assert_eq!(outgoing(&victim), [1]);
    assert!(!victim.association.is_resetting(StreamId(1)));
}

#[test]
fn a_request_that_is_never_answered_counts_against_the_peer() {
    let config = AssociationConfig {
        heartbeat_interval: None,
        association_max_retransmits: Some(3),
        ..AssociationConfig::default()
    };
    let mut victim = Victim::with_config(State::Established, config);
    victim.association.reset_streams(victim.now, &[StreamId(1)]).unwrap();
    victim.poll();
    let sent = victim.pass(100 * SECOND);
    assert_eq!(requests(&sent).len(), 3, "as often as anything else is repeated");
    assert_eq!(victim.closed(), Some(CloseReason::PeerUnreachable));
}

#[test]
fn g06_both_ends_reset_a_stream_at_once() {
    // Any of the first six packets lost, delayed or repeated.
    for verdict in [Verdict::Pass, Verdict::Drop, Verdict::Delay(35 * MS), Verdict::Repeat(5 * MS)] {
        for mask in 0..64_u32 {
            let mut pair = Pair::connected(AssociationConfig::default());
            for end in 0..2 {
                pair.send(end, StreamId(1), "x");
            }
            pair.run_for(SECOND);
            let mut number = 0;
            pair.rule = Box::new(move |_| {
                number += 1;
                if number <= 6 && mask >> (number - 1) & 1 == 1 { verdict } else { Verdict::Pass }
            });
            for end in 0..2 {
                pair.ends[end].reset_streams(pair.now, &[StreamId(1)]).unwrap();
            }
            pair.run_for(40 * SECOND);
            for end in 0..2 {
                let of = |wanted: fn(&AssociationEvent) -> bool| {
                    pair.events[end].iter().filter(|event| wanted(event)).count()
                };
                let performed = of(|event| matches!(event, AssociationEvent::OutgoingStreamReset(StreamId(1))));
                let heard = of(
                    |event| matches!(event, AssociationEvent::IncomingStreamsReset(streams) if streams.contains(StreamId(1))),
                );
                assert_eq!((performed, heard), (1, 1), "{verdict:?} {mask:#08b}, end {end}: {:?}", pair.events[end]);
            }
            for end in 0..2 {
                pair.send(end, StreamId(1), "again");
            }
            pair.run_for(SECOND);
            assert!(pair.received.iter().all(|received| received.len() == 2), "{verdict:?} {mask:#08b}");
        }
    }
}

#[test]
fn g07_an_answer_to_nothing_with_a_wrong_number_or_twice() {
    let results = [ResetResult::Performed, ResetResult::NothingToDo, ResetResult::InProgress, ResetResult::Denied];
    for result in results {
        let mut victim = Victim::in_state(State::Established);
        let number = RequestSn(victim.tsn.0);
        let datagram = packet(victim.tag, &[answer(number, result)]);
        victim.assert_drops(datagram, PacketDropReason::BadReconfig, &format!("{result:?} to nothing"));

        let (mut victim, number) = asking(1);
        for wrong in [1, u32::MAX, 1 << 31, 1000] {
            let datagram = packet(victim.tag, &[answer(RequestSn(number.0.wrapping_add(wrong)), result)]);
            victim.assert_drops(datagram, PacketDropReason::BadReconfig, &format!("{result:?}, {wrong} off"));
        }
        assert!(victim.association.is_resetting(StreamId(1)));
    }
    let (mut victim, number) = asking(1);
    victim.send(&[answer(number, ResetResult::Performed)]);
    assert_eq!(outgoing(&victim), [1]);
    victim.events.clear();
    for result in results {
        let datagram = packet(victim.tag, &[answer(number, result)]);
        victim.assert_drops(datagram, PacketDropReason::BadReconfig, &format!("{result:?} after the end"));
    }
}

#[test]
fn ten_thousand_requests_for_two_streams_are_refused_or_repeated() {
    use ResetResult::{BadSequenceNumber, ErrorInProgress, InProgress};
    // Each new, each for data that never comes: the first waits, and none of the others is kept.
    let mut victim = Victim::in_state(State::Established);
    victim.send(&[request(0, PEER_TSN + 10, &[1])]);
    let flood: Vec<_> = (1..10_001).map(|number| packet(victim.tag, &[request(number, PEER_TSN + 10, &[2])])).collect();
    let mut buffer = Vec::with_capacity(4000);
    let kept = allocation_counter::measure(|| {
        for datagram in flood {
            victim.association.handle_datagram(victim.now, datagram);
            buffer.clear();
            let sent = victim.association.poll_transmit(victim.now, 10, &mut buffer).unwrap();
            assert!(sent.len < 100, "one small answer each");
        }
    });
    assert!(kept.bytes_current <= 0, "{} bytes are kept", kept.bytes_current);
    assert!(victim.events.is_empty() && victim.association.poll_event().is_none());
    // In one packet they get two answers, as many as a chunk may hold.
    let many: Vec<_> = (10_001..11_001).map(|number| request(number, PEER_TSN + 10, &[2])).collect();
    let sent = victim.send(&many);
    let last = [11_000, 11_001].map(|number| (RequestSn(PEER_TSN + number - 1), ErrorInProgress));
    assert_eq!(answers(&sent), last);
    // Out of sequence, ahead and long ago.
    for wrong in [11_002, 20_000, 5, 1 << 31] {
        let sent = victim.send(&[request(wrong, PEER_TSN + 10, &[1])]);
        assert_eq!(answers(&sent), [(RequestSn(PEER_TSN.wrapping_add(wrong)), BadSequenceNumber)]);
    }
    let mut victim = Victim::in_state(State::Established);
    let first = victim.send(&[request(0, PEER_TSN + 1, &[1])]);
    assert_eq!(answers(&first), [(RequestSn(PEER_TSN), InProgress)]);
    // The data that it waits for ends it, without the peer's asking again, once.
    let sent = victim.send(&[data(0, b"x"), data(1, b"y")]);
    assert_eq!(answers(&sent), [(RequestSn(PEER_TSN), ResetResult::Performed)]);
    assert_eq!(incoming(&victim).len(), 1);
    for _ in 0..10_000 {
        let again = victim.send(&[request(0, PEER_TSN + 1, &[1])]);
        assert_eq!(answers(&again), [(RequestSn(PEER_TSN), ResetResult::Performed)]);
    }
    assert_eq!(incoming(&victim).len(), 1);
}

#[test]
fn g09_requests_to_add_streams_or_to_reset_every_number() {
    type Push = fn(&mut ReconfigWriter<'_>, RequestSn);
    let asks: [(&str, Push); 3] = [
        ("SSN/TSN reset", |writer, request| writer.push_ssn_tsn_reset(request)),
        ("65,535 more streams out", |writer, request| writer.push_add_outgoing(request, u16::MAX)),
        ("65,535 more streams in", |writer, request| writer.push_add_incoming(request, u16::MAX)),
    ];
    for (what, push) in asks {
        let mut victim = Victim::in_state(State::Established);
        victim.send(&[data(0, b"before")]);
        let streams = victim.association.inbound_streams();
        let sent = victim.send(&[chunk(|out| {
            let mut writer = ReconfigWriter::begin(out);
            push(&mut writer, RequestSn(PEER_TSN));
            writer.finish();
        })]);
        assert_eq!(answers(&sent), [(RequestSn(PEER_TSN), ResetResult::Denied)], "{what}");
        assert_eq!(victim.association.inbound_streams(), streams, "{what}");
        assert!(incoming(&victim).is_empty(), "{what}");
        // Numbers go on as before.
        victim.send(&[data(1, b"after")]);
        assert_eq!(victim.messages(), [&b"before"[..], b"after"], "{what}");
    }

    // Up to the limit that is configured the peer gets what it asks for, once for each request.
    let config = AssociationConfig { inbound_streams: 2000, ..AssociationConfig::default() };
    let mut victim = Victim::with_config(State::Established, config);
    let agreed = victim.association.inbound_streams();
    assert!(agreed < 2000, "{agreed}");
    let add = |number: u32, count: u16| {
        chunk(|out| {
            let mut writer = ReconfigWriter::begin(out);
            writer.push_add_outgoing(RequestSn(PEER_TSN + number), count);
            writer.finish();
        })
    };
    let on_the_last = |number: u32| {
        let mut chunk = victim::data_chunk(number, narrowboat_sctp::Ssn(0));
        chunk.stream = StreamId(1999);
        self::chunk(|out| chunk.encode(b"on the last", out))
    };
    for (number, count, result, streams) in [
        (0, 2000 - agreed + 1, ResetResult::Denied, agreed),
        (1, 0, ResetResult::NothingToDo, agreed),
        (2, 2000 - agreed, ResetResult::Performed, 2000),
        (2, 2000 - agreed, ResetResult::Performed, 2000),
        (3, 1, ResetResult::Denied, 2000),
    ] {
        let sent = victim.send(&[add(number, count)]);
        assert_eq!(answers(&sent), [(RequestSn(PEER_TSN + number), result)], "{count} more");
        assert_eq!(victim.association.inbound_streams(), streams, "{count} more");
    }
    victim.send(&[on_the_last(0)]);
    assert_eq!(victim.messages(), [&b"on the last"[..]]);
}

#[test]
fn g12_two_messages_with_one_number_behind_a_deferred_reset_end_the_association() {
    let message = |number: u32| {
        let header = DataChunk { stream: StreamId(2), ..data_chunk(number, Ssn(3)) };
        chunk(|out| header.encode(b"one number", out))
    };
    let forward = chunk(|out| ForwardTsn::encode(Tsn(PEER_TSN + 12), std::iter::empty(), out));
    let nothing_new = chunk(|out| ForwardTsn::encode(Tsn(PEER_TSN), std::iter::empty(), out));
    let before: Vec<Vec<u8>> = (1..12).map(|number| data(number, b"x")).collect();
    for last in [vec![forward], vec![nothing_new], vec![data(0, b"x")]] {
        let mut victim = Victim::in_state(State::Established);
        let sent = victim.send(&[request(0, PEER_TSN + 11, &[2])]);
        assert_eq!(answers(&sent).iter().map(|answer| answer.1).collect::<Vec<_>>(), [ResetResult::InProgress]);
        victim.send(&[message(13)]);
        victim.send(&[message(125)]);
        victim.send(&before);
        assert_eq!(victim.closed(), None);
        let sent = victim.send(&last);
        assert_eq!(sent.last().map(|chunk| chunk.kind), Some(C::ABORT), "{sent:?}");
        assert_eq!(victim.closed(), Some(CloseReason::PeerViolation(Violation::BadFragment)));
    }
}

#[test]
fn g11_a_stream_is_refused_until_its_reset_has_ended() {
    let (mut victim, number) = asking(1);
    let send = |victim: &mut Victim| {
        victim.association.send(
            victim.now,
            StreamId(1),
            narrowboat_sctp::Ppid(53),
            "new".into(),
            SendOptions::default(),
        )
    };
    assert_eq!(send(&mut victim), Err(SendMessageError::Resetting(StreamId(1))));
    victim.send(&[answer(number, ResetResult::InProgress)]);
    assert_eq!(send(&mut victim), Err(SendMessageError::Resetting(StreamId(1))));
    victim.send(&[answer(number, ResetResult::Performed)]);
    assert_eq!(send(&mut victim), Ok(()));
    let sent = victim.poll();
    assert_eq!(sent[0].value[6..8], [0, 0], "SSN 0");
}

/// RFC 6525 §5.2.3: an Incoming SSN Reset Request without streams means all of them, stream 0 included.
#[test]
fn a_request_to_reset_all_streams_of_this_end_includes_the_first() {
    let mut victim = Victim::in_state(State::Established);
    for stream in [0, 5] {
        victim.message(StreamId(stream), b"x");
    }
    let last = Tsn(victim.tsn.0.wrapping_add(1));
    victim.send(&[sack(last, 1 << 20, &[])]);
    let all = chunk(|out| {
        let mut writer = ReconfigWriter::begin(out);
        writer.push_incoming_reset(RequestSn(PEER_TSN), std::iter::empty());
        writer.finish();
    });
    let mut sent = victim.send(&[all]);
    sent.extend(victim.poll());
    let (_, mut streams) = requests(&sent).remove(0);
    streams.sort_unstable();
    assert_eq!(streams, [0, 5]);
}

/// RFC 6525 §5.1.7 D3, D4.
#[test]
fn g09_the_answer_to_a_reset_of_every_number_names_the_next_tsns() {
    let mut victim = Victim::in_state(State::Established);
    victim.send(&[data(0, b"before")]);
    let sent = victim.message(StreamId(0), b"x");
    let own = sent.iter().find(|chunk| chunk.kind == C::DATA).map(|chunk| chunk.value[..4].to_vec()).unwrap();
    let own = u32::from_be_bytes(own.try_into().unwrap()).wrapping_add(1);
    let sent = victim.send(&[chunk(|out| {
        let mut writer = ReconfigWriter::begin(out);
        writer.push_ssn_tsn_reset(RequestSn(PEER_TSN));
        writer.finish();
    })]);
    let answer = sent.iter().find(|chunk| chunk.kind == C::RE_CONFIG).unwrap();
    let answer = Reconfig::decode(&answer.value).unwrap();
    let tsns = answer.parameters().find_map(|parameter| match parameter {
        ReconfigParameter::Response { result: ResetResult::Denied, tsns, .. } => tsns,
        _ => None,
    });
    assert_eq!(tsns, Some((Tsn(own), Tsn(PEER_TSN + 1))));
}

#[test]
fn g14_requests_to_reset_streams_of_this_end_cost_nothing_but_their_answers() {
    let mut victim = Victim::in_state(State::Established);
    victim.message(StreamId(0), b"never acknowledged");
    let mut charged = Vec::new();
    for number in 0..10_000_u32 {
        let sent = victim.send(&[chunk(|out| {
            let mut writer = ReconfigWriter::begin(out);
            let streams = (0..9).map(StreamId);
            writer.push_incoming_reset(RequestSn(PEER_TSN.wrapping_add(number)), streams);
            writer.finish();
        })]);
        let answers = answers(&sent);
        assert_eq!(answers.len(), 1);
        assert!(matches!(answers[0].1, ResetResult::Performed | ResetResult::NothingToDo), "{answers:?}");
        charged.push(victim.association.memory_charged());
    }
    assert_eq!(charged.first(), charged.last());
    assert_eq!(victim.closed(), None);
}

#[test]
fn g15_streams_that_are_added_one_by_one_for_ever_end_at_the_limit() {
    let config = AssociationConfig { inbound_streams: 2000, ..AssociationConfig::default() };
    let mut victim = Victim::with_config(State::Established, config);
    let agreed = victim.association.inbound_streams();
    let charged = victim.association.memory_charged();
    let mut granted = 0;
    for number in 0..10_000_u32 {
        let sent = victim.send(&[chunk(|out| {
            let mut writer = ReconfigWriter::begin(out);
            writer.push_add_outgoing(RequestSn(PEER_TSN.wrapping_add(number)), 1);
            writer.finish();
        })]);
        granted += u16::from(answers(&sent) == [(RequestSn(PEER_TSN.wrapping_add(number)), ResetResult::Performed)]);
    }
    assert_eq!((agreed + granted, victim.association.inbound_streams()), (2000, 2000));
    assert_eq!(victim.association.memory_charged(), charged);
}
