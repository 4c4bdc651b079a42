//! Byte streams over a network that loses chosen packets; and the corpus of the fuzz target `byte_streams`, replayed
//! without a fuzzer, with scripts that look random.

use std::task::Poll;
use std::time::Duration;

use narrowboat_dcep::{ChannelId, ChannelOptions, Message};
use narrowboat_sctp::testing::Random;

use super::byte_streams;
use super::pair::EndPair;
use crate::association::Inner;
use crate::error::Error;
use crate::fuzz_replay::replay;

#[test]
fn the_corpus_of_byte_streams_passes_what_the_fuzz_target_checks() {
    replay("byte_streams", 5, byte_streams);
}

/// Scripts that look random, and are the same in every run. SCRIPTS sets their number.
#[test]
fn drawn_scripts_of_byte_streams_pass_what_the_fuzz_target_checks() {
    let count = std::env::var("SCRIPTS").ok().and_then(|count| count.parse().ok()).unwrap_or(300_u64);
    for seed in 1..=count {
        let mut random = Random(seed);
        println!("seed {seed}");
        let len = 2 * usize::from(random.u8() % 64) + 1;
        byte_streams(&(0..len).map(|_| random.u8()).collect::<Vec<u8>>());
    }
}

/// Two ends with a channel for a stream and another one beside it.
struct Ends {
    pair: EndPair,
    beside: ChannelId,
    near: ChannelId,
    far: ChannelId,
}

impl Ends {
    fn new(options: ChannelOptions) -> Self {
        let mut pair = EndPair::new(64 << 10);
        let now = pair.now;
        let beside = pair.end(0).open(now, ChannelOptions::new("beside")).unwrap().id;
        let near = pair.end(0).open(now, options).unwrap().id;
        pair.exchange(4);
        let Poll::Ready(Some(_)) = pair.end(1).poll_incoming() else { panic!("no channel came") };
        let Poll::Ready(Some(far)) = pair.end(1).poll_incoming() else { panic!("no second channel came") };
        let mut ends = Self { pair, beside, near, far: far.id };
        for (end, id) in [(0, near), (1, far.id)] {
            if far.options == ChannelOptions::new("stream").byte_stream() {
                ends.pair.end(end).hold_channel(id);
                ends.pair.end(end).hold_byte_stream(id);
            }
        }
        ends
    }

    fn end(&mut self, end: usize) -> &mut Inner {
        self.pair.end(end)
    }

    fn read(&mut self, end: usize) -> Poll<Result<Option<usize>, Error>> {
        let (now, id) = (self.pair.now, if end == 0 { self.near } else { self.far });
        self.end(end).poll_read_bytes(now, id).map_ok(|bytes| bytes.map(|bytes| bytes.len()))
    }

    /// Runs this case: the packet that carries a message on the other channel is lost, one that carries 500 bytes of
    /// the stream arrives, and the far end reads them and closes the channel.
    fn close_after_loss(&mut self) {
        let (now, beside, near, far) = (self.pair.now, self.beside, self.near, self.far);
        let message = || Message::Binary(vec![1; 100].into());
        assert!(self.end(0).poll_send(now, beside, message).is_ready());
        self.pair.drive(0);
        assert_eq!(self.pair.wire(0).drain(..).count(), 1);
        assert!(self.end(0).poll_write_bytes(now, near, &[2; 500]).is_ready());
        self.pair.drive(0);
        self.pair.deliver(0, 0);
        assert!(matches!(self.read(1), Poll::Ready(Ok(Some(500)))));
        self.end(1).close_channel(now, far);
        self.pair.drive(1);
        while !self.pair.wire(1).is_empty() {
            self.pair.deliver(1, 0);
        }
        assert!(self.end(0).channels.is_reset_by_peer(near));
    }
}

/// The peer's SACK cannot acknowledge the bytes, because something on another channel is missing. The answer to the
/// reset of this end proves their delivery.
#[test]
fn a_loss_on_another_channel_does_not_make_a_delivered_stream_undelivered() {
    let mut ends = Ends::new(ChannelOptions::new("stream"));
    ends.close_after_loss();
    assert!(ends.read(0).is_pending(), "nobody knows yet that the bytes have arrived");
    for _ in 0..10 {
        ends.pair.pass(Duration::from_millis(500));
        ends.pair.exchange(4);
    }
    assert!(matches!(ends.read(0), Poll::Ready(Ok(None))), "{:?}", ends.read(0));
}

/// The association ends before the peer can prove the delivery.
#[test]
fn a_stream_whose_delivery_is_unknown_when_the_association_fails_ends_with_its_error() {
    let mut ends = Ends::new(ChannelOptions::new("stream"));
    ends.close_after_loss();
    ends.end(1).abort("enough");
    ends.pair.exchange(4);
    assert!(matches!(ends.read(0), Poll::Ready(Err(Error::Channel(_)))), "{:?}", ends.read(0));
}

#[test]
fn the_end_of_a_stream_stays_what_it_was_when_the_association_fails_later() {
    for options in [ChannelOptions::new("stream"), ChannelOptions::new("stream").byte_stream()] {
        let mut ends = Ends::new(options);
        let (now, far) = (ends.pair.now, ends.far);
        ends.end(1).close_channel(now, far);
        ends.pair.exchange(4);
        let before = format!("{:?}", ends.read(0));
        assert!(before.starts_with("Ready"), "{before}");
        ends.end(0).abort("enough");
        ends.pair.exchange(4);
        assert_eq!(format!("{:?}", ends.read(0)), before);
    }
}

/// Both ends stop reading, so the channel is closed. Nothing was written, so nothing is lost.
#[test]
fn a_shutdown_succeeds_when_the_peer_reads_no_more_and_nothing_is_lost() {
    for written in [0, 10] {
        let mut ends = Ends::new(ChannelOptions::new("stream").byte_stream());
        let (now, near, far) = (ends.pair.now, ends.near, ends.far);
        if written > 0 {
            assert!(ends.end(0).poll_write_bytes(now, near, &vec![3; written]).is_ready());
        }
        ends.end(0).drop_reader(now, near, 0);
        ends.end(1).drop_reader(now, far, 0);
        ends.pair.exchange(6);
        let shut_down = ends.end(0).poll_shutdown_bytes(now, near);
        assert!(
            matches!(&shut_down, Poll::Ready(result) if result.is_ok() == (written == 0)),
            "{written}: {shut_down:?}"
        );
    }
}
