//! The queues of the streams.

use super::super::freshness::RateSeen;
use super::super::notices::Notices;
use super::super::queued::NextMessage;
use super::super::stream::StreamQueues;
use super::*;
use crate::config::StreamScheduler;

struct Queues {
    queues: StreamQueues,
    notices: Notices,
    tsn: UnwrappedTsn,
}

impl Queues {
    fn new() -> Self {
        let (queues, notices) =
            (StreamQueues::new(1 << 20, 1000).with_scheduler(StreamScheduler::RoundRobin), Notices::default());
        Self { queues, notices, tsn: UnwrappedTsn::first(Tsn(5)) }
    }

    fn push(&mut self, stream: u16, len: usize) {
        self.queues.push(some_time(), StreamId(stream), Ppid(53), vec![7; len].into(), SendOptions::default());
        self.queues.check_consistency();
    }

    fn peek(&mut self) -> Option<NextMessage> {
        self.queues.peek(some_time(), RateSeen::default, &mut self.notices)
    }

    /// Returns the length of the next fragment for a packet with `room`, and whether it begins and ends its message.
    fn cut(&mut self, room: usize) -> Option<(u16, usize, bool, bool)> {
        self.peek()?;
        let tsn = self.tsn;
        let fragment = self.queues.cut(tsn, room, 1000, &mut self.notices)?;
        self.tsn = tsn.next();
        self.queues.check_consistency();
        Some((fragment.message.stream.0, fragment.payload.len(), fragment.place.beginning, fragment.place.ending))
    }
}

#[test]
fn streams_from_an_id_on_include_that_id() {
    let mut queues = Queues::new();
    for stream in [5, 0, 3] {
        queues.push(stream, 10);
    }
    assert_eq!(queues.queues.streams_from(StreamId(0)), [0, 3, 5].map(StreamId));
    assert_eq!(queues.queues.streams_from(StreamId(3)), [3, 5].map(StreamId));
    assert_eq!(queues.queues.streams_from(StreamId(6)), [] as [StreamId; 0]);
}

#[test]
fn a_message_that_fits_a_packet_is_never_cut_and_a_longer_one_fills_the_packet_that_it_starts_in() {
    let mut queues = Queues::new();
    queues.push(1, 1000);
    assert_eq!(queues.cut(999), None, "it goes whole into the next packet");
    assert_eq!(queues.cut(1000), Some((1, 1000, true, true)));
    queues.push(1, 1001);
    assert_eq!(queues.cut(191), None, "too small a piece");
    assert_eq!(queues.cut(195), Some((1, 192, true, false)), "a multiple of four");
    assert_eq!(queues.cut(1000), Some((1, 809, false, true)));
}

#[test]
fn streams_take_turns_by_message() {
    let mut queues = Queues::new();
    for (stream, len) in [(1, 1500), (1, 10), (2, 20)] {
        queues.push(stream, len);
    }
    let cuts: Vec<_> = std::iter::from_fn(|| queues.cut(1000)).collect();
    assert_eq!(cuts, [(1, 1000, true, false), (1, 500, false, true), (2, 20, true, true), (1, 10, true, true)]);
}

#[test]
fn the_rest_of_a_message_is_found_by_its_key_and_by_no_other() {
    let mut queues = Queues::new();
    queues.push(1, 1500);
    queues.push(1, 10);
    let other = {
        queues.queues.push(some_time(), StreamId(2), Ppid(53), vec![7; 5].into(), SendOptions::default());
        queues.peek()
    };
    let begun = other.unwrap();
    queues.cut(1000);
    assert!(queues.queues.drop_rest(StreamId(2), begun.key, &mut queues.notices).is_none(), "another stream");
    let header = queues.queues.drop_rest(StreamId(1), begun.key, &mut queues.notices);
    assert_eq!(header.map(|header| header.len), Some(1500));
    assert!(queues.queues.drop_rest(StreamId(1), begun.key, &mut queues.notices).is_none(), "once");
    queues.queues.check_consistency();
    assert_eq!(queues.queues.buffered(), 15);
}

#[test]
fn a_message_that_was_begun_knows_its_last_fragment() {
    let mut queues = Queues::new();
    queues.push(1, 3000);
    assert_eq!(queues.peek().map(|next| (next.is_begun, next.last_tsn)), Some((false, UnwrappedTsn::BEFORE_ALL)));
    queues.cut(1000);
    let last = queues.tsn.prev();
    assert_eq!(queues.peek().map(|next| (next.is_begun, next.last_tsn, next.left)), Some((true, last, 2000)));
    let (dropped, begun) = queues.queues.drop_unsent(StreamId(1), &mut queues.notices);
    assert_eq!((dropped, begun.map(|begun| begun.last_tsn)), (0, Some(last)));
}

#[test]
fn a_stream_is_drained_when_its_last_chunk_is_acknowledged() {
    let mut queues = Queues::new();
    assert_eq!(queues.queues.drains_at(StreamId(1)), Some(UnwrappedTsn::BEFORE_ALL), "nothing was ever sent");
    queues.push(1, 10);
    assert_eq!(queues.queues.drains_at(StreamId(1)), None, "a message waits");
    queues.queues.begin_reset(StreamId(1));
    queues.cut(1000);
    let last = queues.tsn.prev();
    assert_eq!(queues.queues.drains_at(StreamId(1)), Some(last));
    assert_eq!(queues.queues.poll_drained(), Some((StreamId(1), last)));
    assert_eq!(queues.queues.poll_drained(), None, "told once");
}

#[test]
fn a_crossing_of_the_threshold_is_told_once() {
    let mut queues = Queues::new();
    queues.push(1, 600);
    queues.push(1, 600);
    queues.queues.set_low_threshold(StreamId(1), 700);
    queues.cut(1000);
    queues.cut(1000);
    let low = std::iter::from_fn(|| queues.notices.pop())
        .filter(|notice| matches!(notice, AssociationEvent::BufferedAmountLow(StreamId(1))));
    assert_eq!(low.count(), 1);
}

#[test]
fn default_settings_make_no_entry_of_a_stream_and_leave_none() {
    let mut queues = StreamQueues::new(1 << 20, 1_000);
    queues.set_low_threshold(StreamId(3), 0);
    assert_eq!(queues.streams_from(StreamId(0)), []);
    queues.set_low_threshold(StreamId(3), 1);
    assert_eq!(queues.streams_from(StreamId(0)), [StreamId(3)]);
    queues.finish_reset(StreamId(3));
    assert_eq!(queues.streams_from(StreamId(0)), []);
    queues.set_priority(StreamId(3), 256);
    assert_eq!(queues.streams_from(StreamId(0)), []);
    queues.set_priority(StreamId(3), 1);
    queues.set_low_threshold(StreamId(3), 1);
    queues.set_priority(StreamId(3), 256);
    assert_eq!(queues.streams_from(StreamId(0)), [StreamId(3)]);
    queues.set_low_threshold(StreamId(3), 0);
    assert_eq!(queues.streams_from(StreamId(0)), []);
}
