//! Matrix of closing: closing end × work under way × treatment of the resets by the network and the peer. Each
//! combination has one defined end.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may fail this way")]
#![expect(clippy::disallowed_methods, reason = "the zero of a clock that only the pair moves")]

mod pair;

use std::time::{Duration, Instant};

use narrowboat_dcep::{ChannelError, ChannelId, ChannelsEvent, Message, Reliability};
use narrowboat_sctp::CloseReason;
use pair::{A, B, Fate, Packet, Pair, Setup, Side, partially_reliable};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Closer {
    Local,
    Remote,
    Both,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Load {
    Idle,
    /// A has messages waiting that fill several windows.
    Queued,
    /// B's application has not read what A sent.
    Unread,
    /// A has sent the beginning of a long message.
    HalfSent,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fault {
    None,
    /// The first three packets with a request of each end.
    RequestLost,
    /// The first three packets with an answer of each end.
    AnswerLost,
    /// Every packet with a request or an answer arrives twice.
    Duplicated,
    /// Requests and answers are late, so that data sent after them comes first.
    Reordered,
    /// Every second packet is late.
    AllReordered,
    /// Every answer says "denied".
    Refused,
    /// Every answer says "in progress" for ten seconds.
    InProgress,
    /// Nothing gets through from the close on.
    Outage,
    /// One packet in five is lost, whatever it is.
    Lossy,
}

const CLOSERS: [Closer; 3] = [Closer::Local, Closer::Remote, Closer::Both];
const LOADS: [Load; 4] = [Load::Idle, Load::Queued, Load::Unread, Load::HalfSent];

const WINDOW: u32 = 300_000;

/// RFC 6525 §4.4.
const DENIED: u32 = 2;
const IN_PROGRESS: u32 = 6;

fn network(fault: Fault, start: Instant, now: impl Fn() -> Instant + 'static) -> impl FnMut(&Packet) -> Fate {
    let (mut requests, mut answers, mut count) = ([0, 0], [0, 0], 0u64);
    let late = Duration::from_millis(250);
    move |packet| {
        count += 1;
        let (request, answer) = (packet.has_reset_request(), packet.has_reset_answer());
        let from = packet.from as usize;
        requests[from] += usize::from(request);
        answers[from] += usize::from(answer);
        match fault {
            Fault::RequestLost if request && requests[from] <= 3 => Fate::Drop,
            Fault::AnswerLost if answer && answers[from] <= 3 => Fate::Drop,
            Fault::Duplicated if request || answer => Fate::Duplicate,
            Fault::Reordered if request || answer => Fate::Delay(late),
            Fault::AllReordered if count.is_multiple_of(2) => Fate::Delay(late / 5),
            Fault::Refused if answer => Fate::Replace(packet.with_reset_result(DENIED)),
            Fault::InProgress if answer && now() < start + Duration::from_secs(10) => {
                Fate::Replace(packet.with_reset_result(IN_PROGRESS))
            }
            // A fixed, uneven pattern.
            Fault::Lossy if (count * count + count / 3).is_multiple_of(5) => Fate::Drop,
            _ => Fate::Deliver,
        }
    }
}

struct Case {
    pair: Pair,
    a: ChannelId,
    b: ChannelId,
    sent: Vec<Message>,
    received: Vec<Message>,
}

impl Case {
    fn new(load: Load, fault: Fault) -> Self {
        let mut pair = Pair::connected_with(Setup::default().sctp(|config| config.receive_window = WINDOW));
        let (a, b) = pair.channel();
        let clock = pair.clock();
        let start = pair.now;
        pair.network(network(fault, start, move || clock.get()));
        let sent: Vec<Message> = match load {
            Load::Idle => vec![],
            Load::Queued => (0..100u8).map(|index| vec![index; 10_000].into()).collect(),
            Load::Unread => (0..20).map(|index| format!("unread {index}").into()).collect(),
            Load::HalfSent => vec![vec![1; 1_000_000].into()],
        };
        for message in &sent {
            pair.send(A, a, message.clone());
        }
        match load {
            Load::Unread => pair.run_until(Duration::from_secs(60), |pair| pair[B].channels.unread(b) == 20),
            Load::HalfSent => pair.run_for(Duration::from_millis(25)),
            Load::Idle | Load::Queued => {}
        }
        pair.clear_events();
        Self { pair, a, b, sent, received: Vec::new() }
    }

    fn close(&mut self, closer: Closer) {
        if closer != Closer::Remote {
            self.pair.close(A, self.a);
        }
        if closer != Closer::Local {
            self.pair.close(B, self.b);
        }
    }

    /// Until both ends are closed; B reads as it goes.
    fn finish(&mut self, name: &str) {
        let limit = self.pair.now + Duration::from_secs(120);
        while self.pair.closed(A, self.a).is_none() || self.pair.closed(B, self.b).is_none() {
            assert!(self.pair.step(limit), "{name}: A {:?}, B {:?}", self.pair[A].events, self.pair[B].events);
            self.received.extend(self.pair.recv_all(B, self.b));
        }
        self.received.extend(self.pair.recv_all(B, self.b));
    }

    /// One `Closed`, the last event of its channel.
    fn check_events(&self, name: &str) {
        for (side, id) in [(A, self.a), (B, self.b)] {
            let of_channel = |event: &&ChannelsEvent| {
                !matches!(
                    event,
                    ChannelsEvent::Connected
                        | ChannelsEvent::BufferedAmountLow(_)
                        | ChannelsEvent::AssociationClosed(_)
                )
            };
            let events: Vec<_> = self.pair[side].events.iter().filter(of_channel).collect();
            let closed =
                events.iter().filter(|event| matches!(event, ChannelsEvent::Closed(of, _) if *of == id)).count();
            assert_eq!(closed, 1, "{name}: {side:?} {events:?}");
            assert!(matches!(events.last(), Some(ChannelsEvent::Closed(..))), "{name}: {side:?} {events:?}");
            let closing = events.iter().filter(|event| matches!(event, ChannelsEvent::Closing(_))).count();
            assert!(closing <= 1, "{name}: {side:?} {events:?}");
        }
    }
}

fn run(closer: Closer, load: Load, fault: Fault) {
    let name = format!("{closer:?}, {load:?}, {fault:?}");
    let mut case = Case::new(load, fault);
    if fault == Fault::Outage {
        case.pair.network(|_| Fate::Drop);
    }
    case.close(closer);
    case.finish(&name);
    case.check_events(&name);

    // Messages accepted before close() are delivered; what the peer's close cut off is a beginning, and an error says
    // so.
    assert_eq!(case.received, case.sent[..case.received.len()], "{name}");
    let is_whole = case.received.len() == case.sent.len();
    if fault != Fault::Outage && (closer != Closer::Remote || matches!(load, Load::Idle | Load::Unread)) {
        assert!(is_whole, "{name}: {} of {}", case.received.len(), case.sent.len());
    }
    let (at_a, at_b) = (case.pair.closed(A, case.a).unwrap(), case.pair.closed(B, case.b).unwrap());
    let cut = matches!(at_a, Some(ChannelError::PeerClosed { discarded }) if discarded > 0);
    match fault {
        // Neither end says that the channel is closed before the other agrees: the association ends, at both.
        Fault::Refused | Fault::Outage => {
            for (side, error) in [(A, at_a), (B, at_b)] {
                let expected = matches!(error, Some(ChannelError::Association(_)));
                let cut_first = side == A && matches!(error, Some(ChannelError::PeerClosed { .. }));
                assert!(expected || cut_first, "{name}: {side:?} {error:?}");
                let end = case.pair[side].events.iter().find_map(|event| match event {
                    ChannelsEvent::AssociationClosed(reason) => Some(reason),
                    _ => None,
                });
                let is_expected = match (fault, end) {
                    (_, Some(CloseReason::PeerAbort { .. })) => true,
                    (Fault::Refused, end) => matches!(end, Some(CloseReason::ResetRefused(_))),
                    (_, end) => matches!(end, Some(CloseReason::PeerUnreachable)),
                };
                assert!(is_expected, "{name}: {side:?} {end:?}");
            }
            return;
        }
        _ => {
            assert!(at_a.is_none() || cut, "{name}: {at_a:?}");
            assert_eq!(at_a.is_none(), is_whole, "{name}: an error says that something was thrown away");
            assert_eq!(at_b, None, "{name}");
        }
    }

    case.pair.heal();
    case.pair.run();
    case.pair.forget_all(&[(A, case.a), (B, case.b)]);
    case.pair.assert_nothing_left();
    // The association is well in every case.
    case.pair.assert_windows_are_whole(WINDOW as usize);
    let (a, b) = case.pair.channel();
    case.pair.send(A, a, "next");
    case.pair.run();
    assert_eq!(case.pair.recv(B, b), Some("next".into()), "{name}");
}

fn run_all(fault: Fault) {
    for closer in CLOSERS {
        for load in LOADS {
            run(closer, load, fault);
        }
    }
}

#[test]
fn without_faults() {
    run_all(Fault::None);
}

#[test]
fn requests_are_lost() {
    run_all(Fault::RequestLost);
}

#[test]
fn answers_are_lost() {
    run_all(Fault::AnswerLost);
}

#[test]
fn requests_and_answers_come_twice() {
    run_all(Fault::Duplicated);
}

#[test]
fn resets_come_after_what_was_sent_later() {
    run_all(Fault::Reordered);
}

#[test]
fn everything_is_reordered() {
    run_all(Fault::AllReordered);
}

#[test]
fn resets_are_refused() {
    run_all(Fault::Refused);
}

#[test]
fn resets_are_in_progress_for_long() {
    run_all(Fault::InProgress);
}

#[test]
fn an_outage_begins_with_the_close_and_does_not_end() {
    run_all(Fault::Outage);
}

#[test]
fn a_fifth_of_all_packets_is_lost() {
    run_all(Fault::Lossy);
}

#[test]
fn partially_reliable_channels_close_whatever_is_lost() {
    for (closer, reliability) in CLOSERS.into_iter().flat_map(|closer| {
        [
            Reliability::MaxRetransmits(0),
            Reliability::MaxRetransmits(2),
            Reliability::MaxLifetime(Duration::from_millis(80)),
        ]
        .map(|reliability| (closer, reliability))
    }) {
        let mut pair = Pair::connected();
        let (a, b) = pair.channel_with(partially_reliable(reliability));
        let (clock, start) = (pair.clock(), pair.now);
        pair.network(network(Fault::Lossy, start, move || clock.get()));
        for index in 0..50u8 {
            pair.send(A, a, vec![index; 3_000]);
        }
        let close = |pair: &mut Pair, side: Side, id| pair.close(side, id);
        if closer != Closer::Remote {
            close(&mut pair, A, a);
        }
        if closer != Closer::Local {
            close(&mut pair, B, b);
        }
        pair.run_for(Duration::from_secs(60));
        let ends = [pair.closed(A, a), pair.closed(B, b)];
        let cut = closer == Closer::Remote && matches!(ends[0], Some(Some(ChannelError::PeerClosed { .. })));
        assert!(ends[0] == Some(None) || cut, "{closer:?} {reliability:?} {ends:?}");
        assert_eq!(ends[1], Some(None), "{closer:?} {reliability:?}");
        pair.forget_all(&[(A, a), (B, b)]);
        pair.assert_nothing_left();
    }
}
