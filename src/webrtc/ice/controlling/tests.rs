//! The controlling agent against a clock and answers made by hand, and against the lite agent.

use super::super::{CONSENT_TIMEOUT, LiteAgent};
use super::*;

fn local() -> Credentials {
    Credentials::new("mine", "mypasswordmypasswordmy").expect("valid")
}

fn remote() -> Credentials {
    Credentials::new("ours", "ourpasswordourpassword").expect("valid")
}

fn address(number: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], number))
}

fn agent(now: Instant, addresses: &[SocketAddr]) -> ControllingAgent {
    ControllingAgent::new(now, local(), remote(), addresses, CONSENT_TIMEOUT, [1; 32])
}

/// Returns an agent whose first check, to `address(1)`, was answered at once.
fn answered(now: Instant) -> ControllingAgent {
    let mut agent = agent(now, &[address(1)]);
    let first = due(&mut agent, now);
    answer(&mut agent, now, address(1), &success(first[0].1, PWD)).expect("taken");
    agent
}

/// Returns the checks that are due now: destination, transaction, and true if the check nominates.
fn due(agent: &mut ControllingAgent, now: Instant) -> Vec<(SocketAddr, TransactionId, bool)> {
    let mut sent = Vec::new();
    let mut out = Vec::new();
    while let Some(to) = agent.poll_transmit(now, &mut out) {
        let message = StunMessage::parse(&out).expect("a message");
        assert_eq!(message.ice_username(), Some(Username { to: "ours", from: "mine" }));
        assert!(Key::new("ourpasswordourpassword").has_signed(&message));
        assert!(message.priority.is_some() && message.controlling.is_some());
        sent.push((to, message.transaction_id, message.use_candidate));
        out.clear();
    }
    sent
}

fn success(id: TransactionId, pwd: &str) -> Vec<u8> {
    let mut out = Vec::new();
    StunWriter::new(&mut out, Class::Success, id).xor_mapped_address(address(99)).finish(Some(&Key::new(pwd)));
    out
}

fn error(id: TransactionId, code: u16, pwd: Option<&str>) -> Vec<u8> {
    let mut out = Vec::new();
    StunWriter::new(&mut out, Class::Error, id).error_code(code).finish(pwd.map(Key::new).as_ref());
    out
}

fn answer(
    agent: &mut ControllingAgent,
    now: Instant,
    source: SocketAddr,
    datagram: &[u8],
) -> Result<CheckOutcome, ResponseError> {
    agent.handle_response(now, source, &StunMessage::parse(datagram).expect("a message"))
}

const PWD: &str = "ourpasswordourpassword";

#[test]
fn an_unanswered_check_is_sent_seven_times_with_doubling_waits_and_given_up_after_39_and_a_half_seconds() {
    let start = Instant::now();
    let mut agent = agent(start, &[address(1)]);
    let mut at = Vec::new();
    let mut ids = Vec::new();
    let failure = loop {
        let now = agent.poll_timeout().expect("a deadline");
        if let Err(failure) = agent.handle_timeout(now) {
            assert_eq!(now - start, Duration::from_millis(39_500));
            break failure;
        }
        for (_, id, nominates) in due(&mut agent, now) {
            at.push((now - start).as_millis());
            ids.push(id);
            assert!(!nominates);
        }
    };
    assert_eq!(at, [0, 500, 1_500, 3_500, 7_500, 15_500, 31_500]);
    assert!(ids.iter().all(|id| *id == ids[0]), "a retransmission is the same transaction");
    assert_eq!(failure, IceFailure::NoAnswer);
    assert_eq!(agent.poll_timeout(), None);
    assert_eq!(agent.handle_timeout(start + Duration::from_secs(100)), Err(IceFailure::NoAnswer));
}

#[test]
fn addresses_are_tried_fifty_milliseconds_apart_and_the_first_that_answers_is_nominated() {
    let start = Instant::now();
    let mut agent = agent(start, &[address(1), address(2), address(1), address(3)]);
    let mut first = due(&mut agent, start);
    assert_eq!(first.len(), 1);
    assert!(due(&mut agent, start + Duration::from_millis(49)).is_empty());
    first.extend(due(&mut agent, start + Duration::from_millis(100)));
    assert_eq!(first.iter().map(|sent| sent.0).collect::<Vec<_>>(), [address(1), address(2), address(3)]);
    let now = start + Duration::from_millis(110);
    assert!(agent.asks(address(3)) && agent.selected().is_none());
    let outcome = answer(&mut agent, now, address(2), &success(first[1].1, PWD));
    assert_eq!(outcome, Ok(CheckOutcome::Selected(address(2))));
    assert_eq!(agent.selected(), Some(address(2)));
    assert!(!agent.asks(address(3)));
    let nominating = due(&mut agent, now);
    assert_eq!(nominating.len(), 1);
    assert_eq!((nominating[0].0, nominating[0].2), (address(2), true));
    assert_ne!(nominating[0].1, first[1].1, "a new transaction");
    // It is repeated until answered, however long.
    let again = due(&mut agent, now + Duration::from_millis(500));
    assert_eq!(again.len(), 1);
    assert_eq!(answer(&mut agent, now, address(2), &success(nominating[0].1, PWD)), Ok(CheckOutcome::Consent));
}

#[test]
fn consent_is_asked_for_every_four_to_six_seconds_and_ends_thirty_seconds_after_the_last_answer() {
    let start = Instant::now();
    let mut agent = answered(start);
    agent.on_connected(start);
    let mut now = start;
    let mut last = start;
    let mut waits = Vec::new();
    for _ in 0..200 {
        for (_, id, nominates) in due(&mut agent, now) {
            assert!(nominates, "a NAT that moved us is followed");
            answer(&mut agent, now, address(1), &success(id, PWD)).expect("taken");
            waits.push((now - last).as_secs_f64());
            last = now;
        }
        now = agent.poll_timeout().expect("a deadline");
        assert_eq!(agent.handle_timeout(now), Ok(()));
    }
    let waits = &waits[1..];
    assert!(waits.iter().all(|wait| (4.0..=6.0).contains(wait)), "{waits:?}");
    assert!(waits.iter().any(|wait| *wait < 4.4) && waits.iter().any(|wait| *wait > 5.6), "they vary");
    // From here on nobody answers.
    let mut sent = 0;
    let failed_at = loop {
        now = agent.poll_timeout().expect("a deadline");
        if let Err(failure) = agent.handle_timeout(now) {
            assert_eq!(failure, IceFailure::ConsentExpired);
            break now;
        }
        sent += due(&mut agent, now).len();
    };
    assert_eq!(failed_at - last, Duration::from_secs(30));
    assert!((5..=7).contains(&sent), "{sent} checks in 30 seconds");
    assert!(due(&mut agent, failed_at).is_empty(), "nothing is sent any more");
}

#[test]
fn consent_ends_with_the_third_revocation_in_a_row_that_is_signed_and_none_of_them_lengthens_it() {
    let start = Instant::now();
    let mut agent = answered(start);
    let mut now = start;
    let mut next = |agent: &mut ControllingAgent| {
        now = agent.poll_timeout().expect("a deadline");
        assert_eq!(agent.handle_timeout(now), Ok(()));
        (now, due(agent, now).first().expect("a check").1)
    };
    // A sender that cannot sign revokes nothing; an answer between begins the count again.
    for code in [403, 403, 0, 401, 403, 403] {
        let (now, id) = next(&mut agent);
        let forged = answer(&mut agent, now, address(1), &error(id, 403, Some("anotherpasswordanother")));
        assert_eq!(forged, Err(ResponseError::Integrity));
        assert_eq!(answer(&mut agent, now, address(1), &error(id, 403, None)), Err(ResponseError::Integrity));
        match code {
            0 => assert_eq!(answer(&mut agent, now, address(1), &success(id, PWD)), Ok(CheckOutcome::Consent)),
            401 => {
                assert_eq!(answer(&mut agent, now, address(1), &error(id, 401, None)), Ok(CheckOutcome::Refused(401)));
            }
            code => {
                let outcome = answer(&mut agent, now, address(1), &error(id, code, Some(PWD)));
                assert_eq!(outcome, Ok(CheckOutcome::Refused(code)));
                assert_eq!(agent.poll_timeout(), Some(now + Duration::from_millis(500)), "asked again soon");
            }
        }
    }
    let (now, id) = next(&mut agent);
    answer(&mut agent, now, address(1), &error(id, 403, Some(PWD))).expect("taken");
    assert_eq!(agent.poll_timeout(), Some(now));
    assert_eq!(agent.handle_timeout(now), Err(IceFailure::ConsentRevoked));
    assert!(due(&mut agent, now).is_empty(), "nothing is sent any more");
}

#[test]
fn a_check_follows_the_handshake_at_once_whatever_is_answered_meanwhile() {
    let start = Instant::now();
    let mut agent = answered(start);
    let nominating = due(&mut agent, start);
    agent.on_connected(start);
    answer(&mut agent, start, address(1), &success(nominating[0].1, PWD)).expect("taken");
    assert_eq!(agent.poll_timeout(), Some(start));
    assert_eq!(due(&mut agent, start).len(), 1);
    assert!(agent.poll_timeout().is_some_and(|at| at >= start + Duration::from_secs(4)), "then at leisure");
}

#[test]
fn checks_come_every_second_during_the_handshake() {
    let start = Instant::now();
    let mut agent = answered(start);
    for second in 0..5 {
        let now = start + Duration::from_secs(second);
        let sent = due(&mut agent, now);
        assert_eq!(sent.len(), 1, "second {second}");
        answer(&mut agent, now, address(1), &success(sent[0].1, PWD)).expect("taken");
    }
}

#[test]
fn a_check_follows_the_first_packet_and_is_repeated_until_it_is_answered_whatever_was_answered_before() {
    let start = Instant::now();
    let mut agent = answered(start);
    agent.on_connected(start);
    // This one overtakes the end of the handshake: its answer says nothing.
    let early = due(&mut agent, start)[0].1;
    agent.on_first_packet(start);
    assert!(answer(&mut agent, start, address(1), &success(early, PWD)).is_err());
    let mut ids = Vec::new();
    for milliseconds in [0, 500, 1500, 3500] {
        let now = start + Duration::from_millis(milliseconds);
        assert!(due(&mut agent, now - Duration::from_millis(1)).is_empty());
        ids.extend(due(&mut agent, now).iter().map(|sent| sent.1));
    }
    assert_eq!(ids.len(), 4);
    let now = start + Duration::from_millis(3600);
    answer(&mut agent, now, address(1), &success(ids[3], PWD)).expect("taken");
    assert!(agent.poll_timeout().is_some_and(|at| at >= now + Duration::from_secs(4)), "then at leisure");
}

#[test]
fn a_question_of_the_peer_is_answered_if_it_is_right_and_comes_from_where_the_peer_is() {
    let start = Instant::now();
    let agent = agent(start, &[address(1)]);
    let question = |to: &str, pwd: &str, is_controlling: bool| {
        let mut out = Vec::new();
        let username = Username { to, from: "ours" };
        let writer = StunWriter::new(&mut out, Class::Request, TransactionId([9; 12])).username(username);
        let writer = if is_controlling { writer.controlling(1) } else { writer.controlled(1) };
        writer.finish(Some(&Key::new(pwd)));
        out
    };
    let ask = |source, datagram: &[u8]| {
        let mut out = Vec::new();
        let verdict = agent.handle_request(source, &StunMessage::parse(datagram).expect("a message"), &mut out);
        let answer = StunMessage::parse(&out).expect("an answer");
        assert_eq!(answer.transaction_id, TransactionId([9; 12]));
        assert_eq!(answer.error_code, verdict.err().map(CheckRefusal::code));
        assert!(out.len() * 2 <= datagram.len() * 3);
        (verdict, Key::new("mypasswordmypasswordmy").has_signed(&answer))
    };
    let right = question("mine", "mypasswordmypasswordmy", false);
    assert_eq!(ask(address(1), &right), (Ok(()), true));
    assert_eq!(ask(address(2), &right).0, Err(CheckRefusal::Unauthenticated), "from elsewhere");
    let conflict = question("mine", "mypasswordmypasswordmy", true);
    assert_eq!(ask(address(1), &conflict), (Err(CheckRefusal::RoleConflict), true));
    for (to, pwd) in [("mine", "x"), ("other", "mypasswordmypasswordmy")] {
        assert_eq!(ask(address(1), &question(to, pwd, false)), (Err(CheckRefusal::Unauthenticated), false));
    }
}

#[test]
fn an_answer_to_an_earlier_check_of_consent_counts_once() {
    let start = Instant::now();
    let mut agent = answered(start);
    let early = due(&mut agent, start)[0].1;
    let later = start + Duration::from_secs(10);
    assert_eq!(due(&mut agent, later).len(), 1);
    assert_eq!(answer(&mut agent, later, address(1), &success(early, PWD)), Ok(CheckOutcome::Consent));
    let again = answer(&mut agent, later, address(1), &success(early, PWD));
    assert_eq!(again, Err(ResponseError::UnknownTransaction), "a recorded answer is worth nothing");
}

#[test]
fn a_response_with_wrong_transaction_source_or_integrity_is_ignored() {
    let start = Instant::now();
    let mut agent = agent(start, &[address(1)]);
    let unsent =
        agent.handle_response(start, address(1), &StunMessage::parse(&success(TransactionId([0; 12]), PWD)).unwrap());
    assert_eq!(unsent, Err(ResponseError::UnknownTransaction));
    let id = due(&mut agent, start)[0].1;
    let mut other = id;
    other.0[11] ^= 1;
    assert_eq!(answer(&mut agent, start, address(1), &success(other, PWD)), Err(ResponseError::UnknownTransaction));
    assert_eq!(answer(&mut agent, start, address(2), &success(id, PWD)), Err(ResponseError::WrongSource));
    assert_eq!(answer(&mut agent, start, address(1), &success(id, "x")), Err(ResponseError::Integrity));
    let mut unsigned = Vec::new();
    StunWriter::new(&mut unsigned, Class::Success, id).xor_mapped_address(address(9)).finish(None);
    assert_eq!(answer(&mut agent, start, address(1), &unsigned), Err(ResponseError::Integrity));
    let mut empty = Vec::new();
    StunWriter::new(&mut empty, Class::Success, id).finish(Some(&Key::new(PWD)));
    assert_eq!(answer(&mut agent, start, address(1), &empty), Err(ResponseError::Malformed));
    let mut request = Vec::new();
    StunWriter::new(&mut request, Class::Request, id).finish(Some(&Key::new(PWD)));
    assert_eq!(answer(&mut agent, start, address(1), &request), Err(ResponseError::NotAResponse));
    assert_eq!(agent.selected(), None);
    assert_eq!(agent.handle_timeout(start + Duration::from_secs(1)), Ok(()));
    // The right one is still taken, and without it the reason would have been the integrity.
    assert!(answer(&mut agent, start, address(1), &success(id, PWD)).is_ok());
}

#[test]
fn responses_that_are_not_signed_are_the_reason_when_nothing_better_comes() {
    let start = Instant::now();
    let mut agent = agent(start, &[address(1)]);
    let id = due(&mut agent, start)[0].1;
    assert!(answer(&mut agent, start, address(1), &success(id, "x")).is_err());
    let failure = loop {
        let now = agent.poll_timeout().expect("a deadline");
        match agent.handle_timeout(now) {
            Ok(()) => drop(due(&mut agent, now)),
            Err(failure) => break failure,
        }
    };
    assert_eq!(failure, IceFailure::Integrity);
}

#[test]
fn a_refusal_ends_it_at_once_unless_another_address_may_still_answer() {
    let start = Instant::now();
    let mut agent = agent(start, &[address(1), address(2)]);
    let mut sent = due(&mut agent, start);
    sent.extend(due(&mut agent, start + Duration::from_millis(50)));
    let now = start + Duration::from_millis(60);
    assert_eq!(answer(&mut agent, now, address(1), &error(sent[0].1, 487, None)), Err(ResponseError::Integrity));
    assert_eq!(answer(&mut agent, now, address(1), &error(sent[0].1, 401, None)), Ok(CheckOutcome::Refused(401)));
    assert_eq!(agent.handle_timeout(now), Ok(()));
    assert_eq!(answer(&mut agent, now, address(2), &error(sent[1].1, 487, Some(PWD))), Ok(CheckOutcome::Refused(487)));
    assert_eq!(agent.handle_timeout(now), Err(IceFailure::Refused(401)));
}

#[test]
fn without_an_address_it_fails_at_once() {
    let now = Instant::now();
    assert_eq!(agent(now, &[]).handle_timeout(now), Err(IceFailure::NoAnswer));
}

#[test]
fn both_agents_find_each_other_through_a_loss_of_every_second_datagram_and_follow_a_new_port() {
    let start = Instant::now();
    let mut client = agent(start, &[address(1)]);
    let mut server = LiteAgent::new(start, remote(), Duration::from_secs(30), CONSENT_TIMEOUT);
    let (mut now, mut turn, mut port) = (start, 0, 40_000);
    while now < start + Duration::from_secs(300) {
        assert_eq!(client.handle_timeout(now), Ok(()));
        assert_eq!(server.handle_timeout(now), Ok(()));
        if now > start + Duration::from_secs(150) {
            port = 50_000;
        }
        let mut out = Vec::new();
        while let Some(to) = client.poll_transmit(now, &mut out) {
            turn += 1;
            if turn % 2 == 0 {
                let request = StunMessage::parse(&out).expect("a message");
                let mut response = Vec::new();
                server.handle_request(now, address(port), &request, &mut response).expect("accepted");
                client.handle_response(now, to, &StunMessage::parse(&response).expect("a message")).ok();
            }
            out.clear();
        }
        now = client.poll_timeout().expect("a deadline");
    }
    assert_eq!(client.selected(), Some(address(1)));
    assert_eq!(server.selected(), Some(address(50_000)));
}

/// The browser's times are its own; ours leave room for a check that is lost.
#[test]
fn a_short_consent_outlives_one_lost_check_and_ends_after_two() {
    for (seed, seconds) in (0..50).flat_map(|seed| [10, 11, 13, 20, 30].map(|seconds| (seed, seconds))) {
        let (start, consent) = (Instant::now(), Duration::from_secs(seconds));
        let mut agent = ControllingAgent::new(start, local(), remote(), &[address(1)], consent, [seed; 32]);
        let (_, id, _) = due(&mut agent, start).remove(0);
        answer(&mut agent, start, address(1), &success(id, PWD)).expect("an answer");
        agent.on_connected(start);
        let (_, id, _) = due(&mut agent, start).remove(0);
        answer(&mut agent, start, address(1), &success(id, PWD)).expect("an answer");
        let mut now = start;
        // Every second check is lost, and each time the next one comes early enough for its answer.
        for number in 0..20 {
            let next = agent.poll_timeout().expect("a check");
            assert!(number == 0 || next - now >= Duration::from_secs(4), "{:?} (RFC 7675 §5.1)", next - now);
            now = next;
            let (_, id, _) = due(&mut agent, now).remove(0);
            if number % 2 == 1 {
                answer(&mut agent, now + ANSWER_TIME / 2, address(1), &success(id, PWD)).expect("an answer");
            }
            assert_eq!(agent.handle_timeout(now), Ok(()), "{seconds} s, seed {seed}");
        }
        let last = now + ANSWER_TIME / 2;
        let end = loop {
            let at = agent.poll_timeout().expect("a deadline");
            match agent.handle_timeout(at) {
                Ok(()) => drop(due(&mut agent, at)),
                Err(failure) => break (at, failure),
            }
        };
        assert_eq!(end, (last + consent, IceFailure::ConsentExpired));
    }
}
