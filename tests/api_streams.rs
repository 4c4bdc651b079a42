//! Channels as streams and sinks of messages, as streams of bytes, and in halves.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test may fail this way")]

mod api;

use api::{Pair, numbered, poll_once, small, soon};
use futures_util::{SinkExt, StreamExt};
use narrowboat::error::{SendError, TrySendError};
use narrowboat::{ChannelOptions, Message, ReadyState, SendPolicy, WaitingMax};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 % 251) as u8).collect()
}

#[tokio::test]
async fn a_sink_feeds_a_stream_and_closing_the_one_ends_the_other() {
    let pair = Pair::with(small()).await;
    let (mut near, mut far) = pair.channel("messages").await;
    let messages: Vec<Message> = (0..200).map(|n| numbered(n, 1000).into()).collect();
    let (sent, received) = soon(async {
        tokio::join!(
            async {
                for message in &messages {
                    near.feed(message.clone()).await.unwrap();
                }
                near.flush().await.unwrap();
                near.close().await
            },
            far.by_ref().map(Result::unwrap).collect::<Vec<_>>()
        )
    })
    .await;
    // The inherent method was meant above; the sink's own way to the same end finds it done.
    sent.unwrap();
    SinkExt::<Message>::close(&mut near).await.unwrap();
    assert_eq!(received, messages);
    assert!(far.next().await.is_none(), "and stays ended");
    assert_eq!(near.feed("late".into()).await, Err(SendError::NotOpen(ReadyState::Closed)));
}

#[tokio::test]
async fn a_message_that_the_sink_kept_is_sent_before_it_closes() {
    let pair = Pair::with(small()).await;
    let (mut near, far) = pair.channel("kept").await;
    let mut sent = 0;
    while near.try_send(numbered(sent, 1000)).is_ok() {
        sent += 1;
    }
    // Accepted although the channel is full, as a sink has to once it was ready.
    near.start_send_unpin(numbered(sent, 1000).into()).unwrap();
    let reader = tokio::spawn(async move { far.map(Result::unwrap).count().await });
    soon(SinkExt::<Message>::close(&mut near)).await.unwrap();
    assert_eq!(soon(reader).await.unwrap(), sent as usize + 1);
}

#[tokio::test]
async fn the_halves_work_in_two_tasks_and_the_last_one_closes() {
    let pair = Pair::with(small()).await;
    let (near, far) = pair.channel("halves").await;
    let (near_send, near_receive) = near.split();
    let (far_send, far_receive) = far.split();
    let echo = tokio::spawn(far_receive.forward_to(far_send));
    let count = tokio::spawn(async move {
        for n in 0..300 {
            assert_eq!(near_receive.recv().await.unwrap().unwrap(), Message::Binary(numbered(n, 900)));
        }
        near_receive
    });
    for n in 0..300 {
        soon(near_send.send(numbered(n, 900))).await.unwrap();
    }
    let near_receive = soon(count).await.unwrap();
    drop(near_send);
    assert_eq!(near_receive.channel().ready_state(), ReadyState::Open);
    drop(near_receive);
    soon(echo).await.unwrap();
}

trait ForwardTo {
    async fn forward_to(self, to: narrowboat::SendHalf);
}

impl ForwardTo for narrowboat::RecvHalf {
    async fn forward_to(self, to: narrowboat::SendHalf) {
        while let Some(message) = self.recv().await {
            to.send(message.unwrap()).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_pass_both_ways_at_once_and_a_shutdown_delivers_what_was_written() {
    let pair = Pair::new().await;
    let (near, far) = pair.channel("bytes").await;
    let (mut near, mut far) = (near.into_byte_stream(), far.into_byte_stream());
    let bytes = pattern(5_000_001);
    let task = {
        let bytes = bytes.clone();
        tokio::spawn(async move {
            let (mut read, mut write) = tokio::io::split(&mut far);
            let mut received = vec![0; bytes.len()];
            let (sent, got) = tokio::join!(write.write_all(&bytes), read.read_exact(&mut received));
            sent.unwrap();
            got.unwrap();
            assert!(received == bytes);
            // The end of the stream is the other end's shutdown.
            let mut rest = Vec::new();
            assert_eq!(far.read_to_end(&mut rest).await.unwrap(), 3);
            assert_eq!(rest, b"end");
        })
    };
    let mut received = vec![0; bytes.len()];
    {
        let (mut read, mut write) = tokio::io::split(&mut near);
        let (sent, got) = tokio::join!(write.write_all(&bytes), read.read_exact(&mut received));
        sent.unwrap();
        got.unwrap();
    }
    assert!(received == bytes);
    near.write_all(b"end").await.unwrap();
    soon(near.shutdown()).await.unwrap();
    assert_eq!(near.channel().ready_state(), ReadyState::Closed);
    assert_eq!(near.write(b"late").await.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    assert_eq!(near.read(&mut [0; 8]).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionAborted);
    soon(task).await.unwrap();
}

#[tokio::test]
async fn a_byte_stream_drops_nothing_whatever_the_policy_of_its_channel_was() {
    let pair = Pair::with(small()).await;
    let (near, far) = pair.channel("state").await;
    near.set_send_policy(SendPolicy::new().drop_oldest(WaitingMax::Messages(1)));
    let (mut near, mut far) = (near.into_byte_stream(), far.into_byte_stream());
    let bytes = pattern(300_000);
    let mut received = vec![0; bytes.len()];
    let (sent, got) = soon(async { tokio::join!(near.write_all(&bytes), far.read_exact(&mut received)) }).await;
    sent.unwrap();
    got.unwrap();
    assert!(received == bytes);
}

#[tokio::test]
async fn a_shutdown_closes_both_directions_and_what_was_on_its_way_can_be_read() {
    let pair = Pair::new().await;
    let (near, far) = pair.channel("bytes").await;
    let (mut near, mut far) = (near.into_byte_stream(), far.into_byte_stream());
    near.write_all(b"question").await.unwrap();
    far.write_all(b"answer").await.unwrap();
    soon(near.shutdown()).await.unwrap();
    let mut answer = Vec::new();
    // The peer may have had more to send, so this is not the end of its answer.
    let end = near.read_to_end(&mut answer).await.unwrap_err();
    assert_eq!(end.kind(), std::io::ErrorKind::ConnectionAborted);
    let mut question = String::new();
    far.read_to_string(&mut question).await.unwrap();
    assert_eq!((question.as_str(), answer.as_slice()), ("question", &b"answer"[..]));
    assert_eq!(far.write(b"more").await.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe, "there is no half-close");
}

#[tokio::test]
async fn messages_of_any_kind_are_bytes_to_a_byte_stream_and_empty_ones_are_none() {
    let pair = Pair::new().await;
    let (near, far) = pair.channel("mixed").await;
    for message in [Message::from("one\n"), "".into(), vec![].into(), b"two\nthr"[..].into(), "ee".into()] {
        near.send(message).await.unwrap();
    }
    let mut far = far.into_byte_stream();
    let mut line = String::new();
    soon(far.read_line(&mut line)).await.unwrap();
    assert_eq!(line, "one\n");
    soon(far.read_line(&mut line)).await.unwrap();
    assert_eq!(line, "one\ntwo\n");
    let mut three = [0; 3];
    soon(far.read_exact(&mut three)).await.unwrap();
    let (channel, unread) = far.into_channel();
    assert_eq!((&three, unread.as_ref()), (b"thr", &b""[..]));
    assert_eq!(soon(channel.recv()).await.unwrap().unwrap(), Message::from("ee"));
}

#[tokio::test]
async fn a_failed_association_is_an_error_of_the_byte_stream_and_says_why() {
    let pair = Pair::new().await;
    let (near, far) = pair.channel("bytes").await;
    let (mut near, _far) = (near.into_byte_stream(), far);
    pair.b.abort("the boat sank");
    let error = soon(near.read(&mut [0; 8])).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(error.to_string().contains("the boat sank"), "{error}");
    assert_eq!(soon(near.write(b"late")).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_message_above_the_limit_is_an_error_of_its_own_and_the_channel_lives() {
    let mut config = small();
    config.channels.peer_message_size_max = 5000;
    let pair = Pair::with(config).await;
    let (near, far) = pair.channel("limits").await;
    assert_eq!(pair.a.max_message_size(), 5000);
    let too_large = SendError::TooLarge { len: 5001, max: 5000 };
    assert_eq!(near.send(numbered(1, 5001)).await, Err(too_large.clone()));
    assert_eq!(near.try_send(numbered(1, 5001)), Err(TrySendError::Refused(too_large)));
    near.send(numbered(2, 5000)).await.unwrap();
    assert_eq!(soon(far.recv()).await.unwrap().unwrap(), Message::Binary(numbered(2, 5000)));
}

#[tokio::test]
async fn a_message_above_our_own_limit_costs_the_peer_its_channel_and_no_other() {
    let mut config = small();
    config.channels.message_size_max = 5000;
    let pair = Pair::with(config).await;
    let (near, far) = pair.channel("limits").await;
    let (other, other_far) = pair.channel("others").await;
    near.send(numbered(2, 5000)).await.unwrap();
    assert_eq!(soon(far.recv()).await.unwrap().unwrap().len(), 5000);
    near.send(numbered(2, 5001)).await.unwrap();
    assert!(soon(far.recv()).await.transpose().is_err());
    soon(near.closed()).await.unwrap();
    other.send("unharmed").await.unwrap();
    assert_eq!(soon(other_far.recv()).await.unwrap().unwrap(), Message::from("unharmed"));
}

#[tokio::test]
async fn try_send_gives_back_what_finds_no_room() {
    let pair = Pair::with(small()).await;
    let (near, far) = pair.channel("full").await;
    let mut n = 0;
    let back = loop {
        match near.try_send(numbered(n, 1000)) {
            Ok(()) => n += 1,
            Err(TrySendError::Full(message)) => break message,
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(back, Message::Binary(numbered(n, 1000)));
    let mut waiting = Box::pin(near.send(back));
    assert!(poll_once(&mut waiting).is_pending());
    soon(far.recv()).await.unwrap().unwrap();
    let reader = tokio::spawn(async move { while far.recv().await.is_some() {} });
    soon(waiting).await.unwrap();
    drop(near);
    soon(reader).await.unwrap();
}

#[tokio::test]
async fn a_peer_that_vanishes_ends_a_waiting_send_with_the_reason() {
    let mut config = small();
    config.association.rto_min = std::time::Duration::from_millis(20);
    config.association.rto_initial = std::time::Duration::from_millis(20);
    config.association.rto_max = std::time::Duration::from_millis(60);
    config.association.association_max_retransmits = Some(4);
    let elsewhere = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server_config = config.clone();
    let build = move |config| {
        narrowboat::Endpoint::builder().bind("127.0.0.1:0").config(config).accept_plain().build().unwrap()
    };
    let server = elsewhere.spawn(async move { build(server_config) }).await.unwrap();
    let address = server.local_address();
    let accepting = elsewhere.spawn(async move { server.accept().await.unwrap().await.unwrap() });
    let client = build(config);
    let association = soon(client.connect(address)).await.unwrap();
    let channel = association.open_channel(ChannelOptions::new("gone")).await.unwrap();
    let accepted = soon(accepting).await.unwrap();
    // The accepting end is like a stopped process: it does not answer any more. Data sent to it is lost on the way.
    std::mem::forget(accepted);
    freeze(&elsewhere);
    let error = soon(async {
        loop {
            if let Err(error) = channel.send(numbered(0, 1000)).await {
                return error;
            }
        }
    })
    .await;
    assert!(matches!(&error, SendError::Failed(_)) && error.to_string().contains("unreachable"), "{error}");
    let reason = soon(association.closed()).await;
    assert_eq!(reason, narrowboat::error::CloseReason::PeerUnreachable);
    std::mem::forget(elsewhere);
}

/// Blocks a runtime's only thread for good. Returns when it is blocked.
fn freeze(runtime: &tokio::runtime::Runtime) {
    let (is_blocking, blocks) = std::sync::mpsc::channel();
    runtime.spawn(async move {
        is_blocking.send(()).unwrap();
        loop {
            std::thread::park();
        }
    });
    blocks.recv().unwrap();
}
