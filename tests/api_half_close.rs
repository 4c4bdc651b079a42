//! Half close of byte streams: each end and direction, in each order, with and without data under way, and the results
//! that each end sees.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::let_underscore_must_use, reason = "some results make no difference to a test")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test may fail this way"
)]

mod api;

use std::io::ErrorKind;
use std::pin::Pin;
use std::task::Poll;

use api::{Pair, poll_once, small, soon};
use narrowboat::error::{ByteStreamError, Error};
use narrowboat::{Association, ByteStream, ChannelOptions, DataChannel, Message, ReadyState};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 % 251) as u8).collect()
}

/// Result of reading: the number of bytes, which are those of `pattern`, and how the stream ends.
type Read = (usize, Result<(), ErrorKind>);

async fn read_to_end(mut stream: impl AsyncRead + Unpin) -> Read {
    let mut received = Vec::new();
    let end = soon(stream.read_to_end(&mut received)).await.map(|_| ()).map_err(|error| error.kind());
    assert!(received == pattern(received.len()), "bytes are missing or change places");
    // The end is repeated, and never becomes another one.
    let again = stream.read(&mut [0; 8]).await.map(|len| assert_eq!(len, 0)).map_err(|error| error.kind());
    assert_eq!(again, end);
    (received.len(), end)
}

/// Writes until the channel is full, and returns how much it has taken.
fn fill(stream: &mut ByteStream) -> usize {
    let bytes = pattern(1 << 20);
    let mut written = 0;
    while let Poll::Ready(len) = poll_once(stream.write(&bytes[written..written + 1000])) {
        written += len.unwrap();
    }
    written
}

/// Writes the next byte until that fails.
async fn write_error(stream: &mut (impl AsyncWrite + Unpin)) -> ErrorKind {
    soon(async {
        loop {
            if let Err(error) = stream.write(&[0]).await {
                return error.kind();
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// Two ends of a byte stream, each of which has written as much as the table says, and has read nothing.
struct Ends {
    pair: Pair,
    near: ByteStream,
    far: ByteStream,
    /// Bytes under way to the far end, and to the near end.
    to_far: usize,
    to_near: usize,
}

impl Ends {
    async fn new(options: ChannelOptions, (has_to_far, has_to_near): (bool, bool)) -> Self {
        let pair = Pair::with(small()).await;
        let near = pair.a.create_channel(options).unwrap();
        let far = pair.b.accept_channel().await.unwrap();
        near.opened().await.unwrap();
        let (mut near, mut far) = (near.into_byte_stream(), far.into_byte_stream());
        let mut under_way = [0; 2];
        // Each direction is filled: the channel with as much as it accepts, the window of the peer with its part of
        // that.
        for ((stream, association), (has_any, bytes)) in [(&mut near, &pair.a), (&mut far, &pair.b)]
            .into_iter()
            .zip([has_to_far, has_to_near].iter().zip(&mut under_way))
        {
            if *has_any {
                *bytes = fill_window(stream, association).await;
            }
        }
        let [to_far, to_near] = under_way;
        Self { pair, near, far, to_far, to_near }
    }

    fn half_closed() -> ChannelOptions {
        ChannelOptions::new("stream").byte_stream()
    }

    /// Both ends see the channel closed in good order.
    async fn are_closed(near: &DataChannel, far: &DataChannel) {
        soon(near.closed()).await.unwrap();
        soon(far.closed()).await.unwrap();
    }
}

async fn fill_window(stream: &mut ByteStream, association: &Association) -> usize {
    let bytes = pattern(1 << 20);
    let mut written = 0;
    soon(async {
        loop {
            if let Poll::Ready(len) = poll_once(stream.write(&bytes[written..written + 1000])) {
                written += len.unwrap();
            } else if association.stats().peer_rwnd == 0 {
                return;
            } else {
                tokio::task::yield_now().await;
            }
        }
    })
    .await;
    written
}

const UNDER_WAY: [(bool, bool); 4] = [(false, false), (true, false), (false, true), (true, true)];

/// Reads to the end, writes an answer, shuts down.
async fn answer(stream: &mut ByteStream, written: usize) -> Read {
    let read = read_to_end(&mut *stream).await;
    let bytes = pattern(written + 60_000);
    soon(stream.write_all(&bytes[written..])).await.unwrap();
    soon(stream.shutdown()).await.unwrap();
    read
}

#[tokio::test]
async fn the_end_that_shuts_down_first_reads_on_until_the_other_has_ended() {
    for under_way in UNDER_WAY {
        for is_near_first in [true, false] {
            let Ends { pair: _pair, mut near, mut far, mut to_far, mut to_near } =
                Ends::new(Ends::half_closed(), under_way).await;
            if !is_near_first {
                (near, far, to_far, to_near) = (far, near, to_near, to_far);
            }
            // The end of a direction does not wait for room, nor for the peer.
            soon(near.shutdown()).await.unwrap();
            assert_eq!(near.write(b"late").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
            let (far_read, near_read) =
                soon(async { tokio::join!(answer(&mut far, to_near), read_to_end(&mut near)) }).await;
            assert_eq!(far_read, (to_far, Ok(())), "{under_way:?}");
            assert_eq!(near_read, (to_near + 60_000, Ok(())), "{under_way:?}");
            // The last one to shut down has waited until the channel was closed.
            assert_eq!(far.channel().ready_state(), ReadyState::Closed);
            soon(near.shutdown()).await.unwrap();
            Ends::are_closed(near.channel(), far.channel()).await;
        }
    }
}

#[tokio::test]
async fn both_ends_shut_down_at_once_and_each_reads_all() {
    for under_way in UNDER_WAY {
        let Ends { pair: _pair, mut near, mut far, to_far, to_near } = Ends::new(Ends::half_closed(), under_way).await;
        let (one, other) = soon(async { tokio::join!(near.shutdown(), far.shutdown()) }).await;
        one.unwrap();
        other.unwrap();
        assert_eq!(near.channel().ready_state(), ReadyState::Open, "nobody has read the other's end");
        let (near_read, far_read) = tokio::join!(read_to_end(&mut near), read_to_end(&mut far));
        assert_eq!((near_read, far_read), ((to_near, Ok(())), (to_far, Ok(()))), "{under_way:?}");
        Ends::are_closed(near.channel(), far.channel()).await;
    }
}

#[tokio::test]
async fn a_dropped_writing_half_is_a_shutdown() {
    for under_way in UNDER_WAY {
        let Ends { pair: _pair, near, mut far, to_far, to_near } = Ends::new(Ends::half_closed(), under_way).await;
        let (mut near, write) = near.into_split();
        drop(write);
        let (far_read, near_read) =
            soon(async { tokio::join!(answer(&mut far, to_near), read_to_end(&mut near)) }).await;
        assert_eq!((far_read, near_read), ((to_far, Ok(())), (to_near + 60_000, Ok(()))), "{under_way:?}");
        Ends::are_closed(near.channel(), far.channel()).await;
    }
}

#[tokio::test]
async fn a_dropped_reading_half_breaks_the_peers_pipe_and_the_other_direction_goes_on() {
    for under_way in UNDER_WAY {
        let Ends { pair: _pair, near, far, to_far, .. } = Ends::new(Ends::half_closed(), under_way).await;
        let (read, mut near) = near.into_split();
        drop(read);
        let (mut far_read, mut far_write) = far.into_split();
        let write = async {
            near.write_all(&pattern(to_far + 60_000)[to_far..]).await.unwrap();
            near.shutdown().await.unwrap();
        };
        let ((), error, read) =
            soon(async { tokio::join!(write, write_error(&mut far_write), read_to_end(&mut far_read)) }).await;
        assert_eq!(error, ErrorKind::BrokenPipe, "{under_way:?}");
        assert_eq!(read, (to_far + 60_000, Ok(())), "{under_way:?}");
        assert_eq!(soon(far_write.shutdown()).await.unwrap_err().kind(), ErrorKind::BrokenPipe, "bytes were lost");
        Ends::are_closed(near.channel(), far_read.channel()).await;
    }
}

/// The news is behind bytes that the application has not read.
#[tokio::test]
async fn a_writer_that_does_not_read_learns_that_nobody_reads_it() {
    let pair = Pair::new().await;
    let mut near = pair.a.open_byte_stream("log").await.unwrap();
    let mut far = pair.b.accept_channel().await.unwrap().into_byte_stream();
    near.write_all(&pattern(1000)).await.unwrap();
    let (read, _write) = near.into_split();
    drop(read);
    assert_eq!(write_error(&mut far).await, ErrorKind::BrokenPipe);
    let mut greeting = vec![0; 1000];
    soon(far.read_exact(&mut greeting)).await.unwrap();
    assert!(greeting == pattern(1000));
}

#[tokio::test]
async fn a_dropped_stream_resets_the_peers_reads_if_it_had_not_read_all() {
    for under_way in UNDER_WAY {
        for is_far_shut in [false, true] {
            let Ends { pair: _pair, near, mut far, to_far, to_near } = Ends::new(Ends::half_closed(), under_way).await;
            if is_far_shut {
                soon(far.shutdown()).await.unwrap();
            }
            drop(near);
            let expected = if to_near > 0 { Err(ErrorKind::ConnectionReset) } else { Ok(()) };
            assert_eq!(read_to_end(&mut far).await, (to_far, expected), "{under_way:?}, shut: {is_far_shut}");
            if is_far_shut {
                let shut = soon(far.shutdown()).await.map_err(|error| error.kind());
                assert_eq!(shut.is_err(), to_near > 0, "{under_way:?}: {shut:?}");
            } else {
                assert_eq!(write_error(&mut far).await, ErrorKind::BrokenPipe, "{under_way:?}");
            }
            assert!(far.channel().ready_state() != ReadyState::Open);
        }
    }
}

#[tokio::test]
async fn a_stream_that_is_dropped_when_all_was_read_ends_in_good_order() {
    let pair = Pair::new().await;
    for is_end_read in [true, false] {
        let near = pair.a.open_byte_stream("request").await.unwrap();
        let mut far = pair.b.accept_channel().await.unwrap().into_byte_stream();
        let mut near = near;
        near.write_all(&pattern(1000)).await.unwrap();
        if is_end_read {
            near.shutdown().await.unwrap();
        }
        let mut request = vec![0; 1000];
        soon(far.read_exact(&mut request)).await.unwrap();
        if is_end_read {
            assert_eq!(soon(far.read(&mut [0])).await.unwrap(), 0);
        }
        far.write_all(&pattern(5000)).await.unwrap();
        drop(far);
        assert_eq!(read_to_end(&mut near).await, (5000, Ok(())), "the end was read: {is_end_read}");
    }
}

#[tokio::test]
async fn an_abort_is_a_reset_for_the_peer_and_an_abort_for_this_end() {
    for under_way in UNDER_WAY {
        let Ends { pair, mut near, mut far, to_far, to_near } = Ends::new(Ends::half_closed(), under_way).await;
        pair.a.abort("enough");
        let (read, end) = read_to_end(&mut far).await;
        assert!(read <= to_far && end == Err(ErrorKind::ConnectionReset), "{under_way:?}: {end:?}");
        let (read, end) = read_to_end(&mut near).await;
        assert!(read <= to_near && end == Err(ErrorKind::ConnectionAborted), "{under_way:?}: {end:?}");
        assert_eq!(write_error(&mut far).await, ErrorKind::ConnectionReset);
        assert_eq!(far.shutdown().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(write_error(&mut near).await, ErrorKind::ConnectionAborted);
    }
}

#[tokio::test]
async fn an_abort_after_the_end_of_a_direction_takes_nothing_back() {
    let pair = Pair::new().await;
    let mut near = pair.a.open_byte_stream("whole").await.unwrap();
    let mut far = pair.b.accept_channel().await.unwrap().into_byte_stream();
    near.write_all(&pattern(3000)).await.unwrap();
    near.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut far).await, (3000, Ok(())));
    pair.a.abort("enough");
    soon(pair.b.closed()).await;
    assert_eq!(read_to_end(&mut far).await.1, Ok(()));
    assert_eq!(write_error(&mut far).await, ErrorKind::ConnectionReset);
}

/// All accepted bytes are delivered, but neither end has reported that it was done.
#[tokio::test]
async fn the_end_of_an_association_is_not_the_end_of_a_stream() {
    for under_way in UNDER_WAY {
        let Ends { pair, mut near, mut far, to_far, to_near } = Ends::new(Ends::half_closed(), under_way).await;
        let shutting_down = pair.a.shutdown();
        let (near_read, far_read) = tokio::join!(read_to_end(&mut near), read_to_end(&mut far));
        assert_eq!(near_read, (to_near, Err(ErrorKind::ConnectionAborted)), "{under_way:?}");
        assert_eq!(far_read, (to_far, Err(ErrorKind::ConnectionReset)), "{under_way:?}");
        soon(shutting_down).await.unwrap();
        assert_eq!(far.shutdown().await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}

#[tokio::test]
async fn a_channel_that_is_closed_in_the_middle_of_a_stream_is_not_its_end() {
    for under_way in UNDER_WAY {
        let Ends { pair: _pair, near, mut far, to_far, .. } = Ends::new(Ends::half_closed(), under_way).await;
        // This end behaves as a page or an application that does not speak the protocol.
        let (near, _) = near.into_channel();
        drop(near.close());
        let (read, end) = read_to_end(&mut far).await;
        assert_eq!((read, end), (to_far, Err(ErrorKind::ConnectionReset)), "{under_way:?}");
        let error = write_error(&mut far).await;
        assert_eq!(error, ErrorKind::BrokenPipe, "{under_way:?}");
    }
}

/// Without the protocol the whole channel closes: each end gets all that was delivered, and an error wherever something
/// may be missing.
#[tokio::test]
async fn a_stream_without_half_close_ends_with_an_error_where_something_may_be_missing() {
    let others = [
        ChannelOptions::new("plain"),
        ChannelOptions::new("other").protocol("narrowboat.file.v1"),
        // The end of a direction could overtake its bytes, or be abandoned.
        ChannelOptions::new("unordered").byte_stream().unordered(),
        ChannelOptions::new("unreliable").byte_stream().max_retransmits(0),
    ];
    for options in others {
        for under_way in UNDER_WAY {
            let is_ordered = options.ordered && options.reliability == narrowboat::Reliability::Reliable;
            if !is_ordered && under_way != (false, false) {
                continue;
            }
            let Ends { pair: _pair, mut near, mut far, to_far, to_near } = Ends::new(options.clone(), under_way).await;
            assert!(!near.has_half_close() && !far.has_half_close());
            let shut = tokio::spawn(shut_down(near.channel().clone()));
            // Bytes that the far end cannot send while nobody reads here are discarded when the far end learns of the
            // close.
            let far_read = read_to_end(&mut far).await;
            let near_read = read_to_end(&mut near).await;
            soon(shut).await.unwrap().unwrap();
            let near_ends = near_read.0 <= to_near && near_read.1 == Err(ErrorKind::ConnectionAborted);
            assert!(near_ends, "{under_way:?}: {near_read:?}");
            let expected = if to_near > 0 { Err(ErrorKind::ConnectionReset) } else { Ok(()) };
            assert_eq!(far_read, (to_far, expected), "{under_way:?}");
            let error = near.read(&mut [0]).await.unwrap_err();
            assert!(error.to_string().contains("ChannelOptions::byte_stream"), "{error}");
            let inner = error.into_inner().unwrap();
            let inner = inner.downcast_ref::<Error>();
            assert!(matches!(inner, Some(Error::ByteStream(ByteStreamError::ClosedHere))), "{inner:?}");
        }
    }
}

/// Shuts a stream down through another handle of its channel.
async fn shut_down(channel: DataChannel) -> std::io::Result<()> {
    channel.into_byte_stream().shutdown().await
}

/// The last bytes are in flight, and nobody knows whether they were read.
#[tokio::test]
async fn a_peer_that_closes_before_it_has_received_all_is_an_error_without_half_close() {
    let pair = Pair::with(small()).await;
    let (near, far) = pair.channel("plain").await;
    let mut near = near.into_byte_stream();
    soon(far.opened()).await.unwrap();
    fill_window(&mut near, &pair.a).await;
    drop(far.close());
    let error = soon(near.read(&mut [0])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
}

/// All that the peer has read is acknowledged before the close, even if the SACK would have been delayed.
#[tokio::test]
async fn a_peer_that_has_read_all_and_closes_is_the_end_without_half_close() {
    let pair = Pair::new().await;
    for round in 0..50 {
        let (near, far) = pair.channel("plain").await;
        let (mut near, mut far) = (near.into_byte_stream(), far.into_byte_stream());
        near.write_all(&pattern(1000 + round)).await.unwrap();
        let mut request = vec![0; 1000 + round];
        soon(far.read_exact(&mut request)).await.unwrap();
        far.write_all(&pattern(10)).await.unwrap();
        drop(far);
        assert_eq!(read_to_end(&mut near).await, (10, Ok(())), "round {round}");
    }
}

#[tokio::test]
async fn j18_text_on_a_byte_stream_is_an_error_and_no_bytes() {
    let pair = Pair::new().await;
    for text in ["hello", "", "stop", "stop x", "reset -1"] {
        let near = pair.a.open_channel(ChannelOptions::new("text").byte_stream()).await.unwrap();
        let mut far = pair.b.accept_channel().await.unwrap().into_byte_stream();
        near.send(text).await.unwrap();
        near.send(Message::from(pattern(3))).await.unwrap();
        let error = soon(far.read(&mut [0; 8])).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{text:?}: {error}");
    }
}

/// A page sends and gets plain messages: an empty binary one is the end of a direction, and the service closes the
/// channel.
#[tokio::test]
async fn a_peer_without_a_library_ends_its_direction_with_an_empty_message() {
    let pair = Pair::new().await;
    let page = pair.a.open_channel(ChannelOptions::new("page").byte_stream()).await.unwrap();
    let mut service = pair.b.accept_channel().await.unwrap().into_byte_stream();
    assert!(service.has_half_close());
    page.send(pattern(500)).await.unwrap();
    page.send(Vec::new()).await.unwrap();
    assert_eq!(read_to_end(&mut service).await, (500, Ok(())));
    service.write_all(&pattern(700)).await.unwrap();
    let (shut, ()) = soon(async {
        tokio::join!(service.shutdown(), async {
            assert_eq!(page.recv().await.unwrap().unwrap(), Message::from(pattern(700)));
            assert_eq!(page.recv().await.unwrap().unwrap(), Message::Binary(narrowboat::Bytes::new()));
            assert_eq!(page.recv().await, None);
        })
    })
    .await;
    shut.unwrap();
    soon(page.closed()).await.unwrap();
}

/// Bytes after the end of a direction are discarded, and do not keep the window closed.
#[tokio::test]
async fn j18_what_a_peer_sends_after_its_end_is_discarded() {
    let pair = Pair::with(small()).await;
    let near = pair.a.open_channel(ChannelOptions::new("late").byte_stream()).await.unwrap();
    let mut far = pair.b.accept_channel().await.unwrap().into_byte_stream();
    near.send(Vec::new()).await.unwrap();
    assert_eq!(read_to_end(&mut far).await, (0, Ok(())));
    soon(async {
        for _ in 0..100 {
            near.send(pattern(1000)).await.unwrap();
        }
        near.send("stop 0").await.unwrap();
    })
    .await;
    assert_eq!(write_error(&mut far).await, ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn a_stream_can_become_a_channel_again_and_nothing_is_shut_down() {
    let pair = Pair::new().await;
    let mut near = pair.a.open_byte_stream("handed on").await.unwrap();
    let far = pair.b.accept_channel().await.unwrap().into_byte_stream();
    near.write_all(b"hello").await.unwrap();
    let mut far = far;
    let mut first = [0; 2];
    soon(far.read_exact(&mut first)).await.unwrap();
    let (channel, unread) = far.into_channel();
    assert_eq!((&first, unread.as_ref()), (b"he", &b"llo"[..]));
    let mut far = channel.into_byte_stream();
    far.write_all(&pattern(9)).await.unwrap();
    far.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut near).await, (9, Ok(())));
}

/// A stream that is dropped before there was room for the OPEN of its channel.
#[tokio::test]
async fn a_shutdown_does_not_wait_for_room_behind_other_channels() {
    let pair = Pair::with(small()).await;
    let mut full = Vec::new();
    for n in 0..8 {
        let mut stream = pair.a.create_channel(format!("full {n}").as_str()).unwrap().into_byte_stream();
        fill(&mut stream);
        full.push(stream);
    }
    let mut near = pair.a.create_channel(ChannelOptions::new("last").byte_stream()).unwrap().into_byte_stream();
    soon(near.shutdown()).await.unwrap();
    let readers = tokio::spawn({
        let b = pair.b.clone();
        async move {
            loop {
                let channel = b.accept_channel().await.unwrap();
                if channel.label() == "last" {
                    return channel;
                }
                tokio::spawn(async move { while channel.recv().await.is_some() {} });
            }
        }
    });
    let mut far = soon(readers).await.unwrap().into_byte_stream();
    assert_eq!(read_to_end(&mut far).await, (0, Ok(())));
    soon(far.shutdown()).await.unwrap();
    assert_eq!(read_to_end(&mut near).await, (0, Ok(())));
}

/// An application whose connection is carried by a stream, and the task that carries it.
struct Carried {
    application: DuplexStream,
    copy: tokio::task::JoinHandle<Result<(u64, u64), ErrorKind>>,
}

fn carry(mut stream: ByteStream) -> Carried {
    let (application, mut inner) = tokio::io::duplex(4096);
    let copy =
        tokio::spawn(async move { copy_bidirectional(&mut inner, &mut stream).await.map_err(|error| error.kind()) });
    Carried { application, copy }
}

/// Writes so much, ends, and reads to the end.
async fn talk(application: &mut DuplexStream, len: usize, is_answer: bool) -> Read {
    if is_answer {
        let read = read_to_end(&mut *application).await;
        application.write_all(&pattern(len)).await.unwrap();
        application.shutdown().await.unwrap();
        return read;
    }
    let (mut read, mut write) = tokio::io::split(application);
    let send = async {
        write.write_all(&pattern(len)).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let ((), read) = tokio::join!(send, read_to_end(&mut read));
    read
}

type Ended = Result<(u64, u64), ErrorKind>;

#[tokio::test]
async fn copy_bidirectional_carries_every_order_of_ends() {
    const LEN: usize = 200_000;
    for (has_to_far, has_to_near) in UNDER_WAY {
        let (to_far, to_near) = (usize::from(has_to_far) * LEN, usize::from(has_to_near) * LEN);
        for who_answers in ["far", "near", "nobody"] {
            let pair = Pair::with(small()).await;
            let near = pair.a.open_byte_stream("tunnel").await.unwrap();
            let far = pair.b.accept_channel().await.unwrap().into_byte_stream();
            let (mut near, mut far) = (carry(near), carry(far));
            let (near_read, far_read) = soon(async {
                tokio::join!(
                    talk(&mut near.application, to_far, who_answers == "near"),
                    talk(&mut far.application, to_near, who_answers == "far")
                )
            })
            .await;
            assert_eq!((near_read, far_read), ((to_near, Ok(())), (to_far, Ok(()))), "{who_answers} answers");
            let (near, far) = (soon(near.copy).await.unwrap(), soon(far.copy).await.unwrap());
            assert_eq!(near, Ok((to_far as u64, to_near as u64)), "{who_answers} answers");
            assert_eq!(far, Ok((to_near as u64, to_far as u64)), "{who_answers} answers");
        }
    }
}

type Act = fn(&Pair, &mut Option<Carried>);

/// Events that end a tunnel in the middle of a transfer in both directions, and the results of both copies.
#[tokio::test]
async fn copy_bidirectional_says_when_a_stream_did_not_end_in_good_order() {
    let drop_application: Act = |_, near| {
        let Carried { application, copy } = near.take().unwrap();
        drop(application);
        let (application, _) = tokio::io::duplex(1);
        *near = Some(Carried { application, copy });
    };
    let drop_stream: Act = |_, near| near.as_ref().unwrap().copy.abort();
    let cases: [(&str, ChannelOptions, Act, ErrorKind); 5] = [
        ("the application is gone", Ends::half_closed(), drop_application, ErrorKind::BrokenPipe),
        ("the stream is dropped", Ends::half_closed(), drop_stream, ErrorKind::BrokenPipe),
        ("abort", Ends::half_closed(), |pair, _| pair.a.abort("enough"), ErrorKind::ConnectionReset),
        ("the association ends", Ends::half_closed(), |pair, _| drop(pair.a.shutdown()), ErrorKind::BrokenPipe),
        ("without half close", ChannelOptions::new("plain"), drop_application, ErrorKind::BrokenPipe),
    ];
    for (name, options, act, expected) in cases {
        let pair = Pair::with(small()).await;
        let near = pair.a.open_channel(options).await.unwrap().into_byte_stream();
        let far = pair.b.accept_channel().await.unwrap().into_byte_stream();
        let (mut near, mut far) = (Some(carry(near)), carry(far));
        let bytes = pattern(3_000);
        near.as_mut().unwrap().application.write_all(&bytes).await.unwrap();
        far.application.write_all(&bytes).await.unwrap();
        act(&pair, &mut near);
        // The far application writes on until its tunnel breaks.
        let ended: Ended = soon(async {
            let (mut read, mut write) = tokio::io::split(&mut far.application);
            let feed = async { while write.write_all(&bytes).await.is_ok() {} };
            let drain = async { while matches!(read.read(&mut [0; 999]).await, Ok(1..)) {} };
            tokio::join!(feed, drain);
            far.copy.await.unwrap()
        })
        .await;
        let error = ended.expect_err(name);
        let is_expected = error == expected || error == ErrorKind::ConnectionReset;
        assert!(is_expected, "{name}: {error:?} instead of {expected:?}");
    }
}

/// The answer that a half-closed request waits for is not lost in silence by a tunnel without half close.
#[tokio::test]
async fn a_tunnel_without_half_close_fails_instead_of_losing_the_answer() {
    let pair = Pair::new().await;
    let (near, far) = pair.channel("plain").await;
    let (mut near, mut far) = (carry(near.into_byte_stream()), carry(far.into_byte_stream()));
    let answer = async {
        let read = read_to_end(&mut far.application).await;
        // Nobody takes it any more.
        let _ = far.application.write_all(&pattern(100_000)).await;
        read
    };
    let (_, far_read) = soon(async { tokio::join!(talk(&mut near.application, 1000, false), answer) }).await;
    assert_eq!(far_read, (1000, Ok(())));
    assert_eq!(soon(near.copy).await.unwrap(), Err(ErrorKind::ConnectionAborted));
}

/// TCP, a stream, TCP: a client that sends a mebibyte and shuts down gets a mebibyte back, through two proxies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_carries_a_request_that_ends_before_its_answer_begins() {
    const LEN: usize = 1 << 20;
    let pair = Pair::new().await;
    let (front, back) =
        (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let (front_address, back_address) = (front.local_addr().unwrap(), back.local_addr().unwrap());
    let a = pair.a.clone();
    let near = tokio::spawn(async move {
        let mut tcp = front.accept().await.unwrap().0;
        let mut stream = a.open_byte_stream("tcp").await.unwrap();
        copy_bidirectional(&mut tcp, &mut stream).await.unwrap()
    });
    let b = pair.b.clone();
    let far = tokio::spawn(async move {
        let mut stream = b.accept_channel().await.unwrap().into_byte_stream();
        let mut tcp = TcpStream::connect(back_address).await.unwrap();
        copy_bidirectional(&mut stream, &mut tcp).await.unwrap()
    });
    let server = tokio::spawn(async move {
        let mut tcp = back.accept().await.unwrap().0;
        let read = read_to_end(&mut tcp).await;
        tcp.write_all(&pattern(LEN)).await.unwrap();
        tcp.shutdown().await.unwrap();
        read
    });
    let mut client = TcpStream::connect(front_address).await.unwrap();
    client.write_all(&pattern(LEN)).await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut client).await, (LEN, Ok(())));
    assert_eq!(soon(server).await.unwrap(), (LEN, Ok(())));
    assert_eq!(soon(near).await.unwrap(), (LEN as u64, LEN as u64));
    assert_eq!(soon(far).await.unwrap(), (LEN as u64, LEN as u64));
}

/// tokio's own split shares one stream, which is dropped as a whole.
#[tokio::test]
async fn the_halves_of_tokio_share_one_stream() {
    let pair = Pair::new().await;
    let near = pair.a.open_byte_stream("split").await.unwrap();
    let mut far = pair.b.accept_channel().await.unwrap().into_byte_stream();
    let (mut read, mut write) = tokio::io::split(near);
    write.write_all(&pattern(10)).await.unwrap();
    write.shutdown().await.unwrap();
    drop(write);
    assert_eq!(answer(&mut far, 0).await, (10, Ok(())));
    assert_eq!(read_to_end(Pin::new(&mut read)).await, (60_000, Ok(())));
}
