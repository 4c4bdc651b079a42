//! Datagrams over real sockets, and what the system's errors mean.

use super::*;

/// Returns two sockets with buffers of these sizes, and the route from the first to the second.
fn sockets(receive_buffer: usize, send_buffer: usize) -> (Socket, Socket, Route) {
    let bind = || Socket::bind(SocketAddr::from(([127, 0, 0, 1], 0)), receive_buffer, send_buffer).expect("a port");
    let (sender, receiver) = (bind(), bind());
    let route = Route { remote: receiver.local_address(), local: None };
    (sender, receiver, route)
}

/// Receives until so many datagrams have come. Each batch is read into the same memory as the one before.
async fn receive(socket: &Socket, batch: &mut ReceiveBatch, count: usize) -> Vec<Bytes> {
    let mut datagrams = Vec::new();
    while datagrams.len() < count {
        let received = tokio::time::timeout(std::time::Duration::from_secs(20), socket.receive(batch));
        received.await.expect("datagrams within 20 s").expect("a working socket");
        batch.take(false, |_| true, &mut datagrams);
    }
    datagrams.into_iter().map(|datagram| datagram.bytes).collect()
}

#[tokio::test]
async fn a18_a_datagram_has_its_own_bytes_only_however_many_were_read_at_once() {
    let (sender, receiver, route) = sockets(1 << 20, 1 << 20);
    let mut batch = ReceiveBatch::new();
    // Long ones first, so that there are stale bytes behind all that follow.
    let mut sizes = vec![(60_000, 60_000)];
    sizes.extend([
        (1200, 1200),
        (12_000, 1200),
        (11_300, 1200),
        (100, 100),
        (1201, 1200),
        (64 * 28, 28),
        (29, 28),
        (1, 1),
    ]);
    for (round, (len, segment_size)) in sizes.into_iter().enumerate() {
        let fill = u8::try_from(round).unwrap() + 1;
        let contents: Vec<u8> = (0..len).map(|at| if at % segment_size == 0 { fill } else { fill ^ 0x80 }).collect();
        sender.send(route, &contents, segment_size).await.unwrap();
        let expected: Vec<&[u8]> = contents.chunks(segment_size).collect();
        let datagrams = receive(&receiver, &mut batch, expected.len()).await;
        assert!(datagrams == expected, "{len} bytes in datagrams of {segment_size}");
    }
    // An empty one brings nothing of what lies there.
    sender.send_answer(route, &[]);
    assert_eq!(receive(&receiver, &mut batch, 1).await, [Bytes::new()]);
    // Several calls of several lengths in one batch.
    let parts: Vec<(Vec<u8>, usize)> =
        (1..10_u8).map(|n| (vec![n; 100 * usize::from(n)], 40 + usize::from(n))).collect();
    for (contents, segment_size) in &parts {
        sender.send(route, contents, *segment_size).await.unwrap();
    }
    let expected: Vec<&[u8]> = parts.iter().flat_map(|(contents, size)| contents.chunks(*size)).collect();
    assert!(receive(&receiver, &mut batch, expected.len()).await == expected, "lengths are mixed up");
}

/// The system refuses a call with more than 65,507 bytes, however short its segments are.
#[tokio::test]
async fn more_bytes_than_one_call_may_send_leave_in_several() {
    let (sender, receiver, route) = sockets(4 << 20, 4 << 20);
    let mut batch = ReceiveBatch::new();
    for (len, segment_size) in [(70_000, 1200), (131_100, 32_800), (200_000, 9000), (66_000, 65_507)] {
        let contents: Vec<u8> = (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect();
        sender.send(route, &contents, segment_size).await.unwrap();
        let expected: Vec<&[u8]> = contents.chunks(segment_size).collect();
        let datagrams = receive(&receiver, &mut batch, expected.len()).await;
        assert!(datagrams == expected, "{len} bytes in datagrams of {segment_size}");
    }
    assert_eq!(sender.stats().send_errors_too_large, 0);
}

/// A datagram that is too large is a hint about all of its size, so a shorter one behind it does not hide it.
#[tokio::test]
async fn a_datagram_that_is_too_large_is_told_though_a_shorter_one_follows() {
    let (sender, receiver, route) = sockets(1 << 20, 1 << 20);
    let sent = sender.send(route, &[7; 65_508 + 100], 65_508).await;
    assert_eq!(sent.map_err(|error| SendFailure::of(&error)), Err(SendFailure::TooLarge));
    assert_eq!(receive(&receiver, &mut ReceiveBatch::new(), 1).await, [Bytes::from_static(&[7; 100])]);
    assert_eq!(sender.stats().send_errors_too_large, 1);
}

#[tokio::test]
async fn k10_a_datagram_that_is_not_wanted_is_counted_and_not_copied_wherever_it_is_in_a_batch() {
    let (sender, receiver, route) = sockets(1 << 20, 1 << 20);
    // Some are sent in one call, and may come joined.
    let contents: Vec<u8> = (0..9_u8).flat_map(|number| [number; 30]).collect();
    sender.send(route, &contents, 30).await.unwrap();
    sender.send_answer(route, &[]);
    sender.send(route, &[9; 7], 30).await.unwrap();
    let (mut batch, mut datagrams, mut all) = (ReceiveBatch::new(), Vec::new(), Arrived::default());
    while all.datagrams < 11 {
        let received = tokio::time::timeout(std::time::Duration::from_secs(20), receiver.receive(&mut batch));
        received.await.expect("datagrams within 20 s").expect("a working socket");
        let arrived = batch.take(false, |bytes| bytes.first().is_some_and(|first| first % 3 == 0), &mut datagrams);
        receiver.count_received(arrived);
        all.datagrams += arrived.datagrams;
        all.bytes += arrived.bytes;
        all.unwanted += arrived.unwanted;
    }
    assert_eq!(all, Arrived { datagrams: 11, bytes: 277, unwanted: 7 });
    let taken: Vec<_> = datagrams.iter().map(|datagram| (datagram.bytes[0], datagram.bytes.len())).collect();
    assert_eq!(taken, [(0, 30), (3, 30), (6, 30), (9, 7)]);
    let stats = receiver.stats();
    assert_eq!((stats.datagrams_received, stats.bytes_received), (11, 277));
}

/// The last one wakes the receiver, however full the batch before it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_datagram_that_comes_while_a_batch_is_taken_is_not_missed() {
    let (sender, receiver, route) = sockets(4 << 20, 1 << 20);
    let mut batch = ReceiveBatch::new();
    for round in 0..200 {
        let count = 1 + round % 70;
        let sending = async {
            for _ in 0..count {
                sender.send(route, &[7; 20], 20).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let (_, datagrams) = tokio::join!(sending, receive(&receiver, &mut batch, count));
        assert_eq!(datagrams.len(), count);
    }
    let stats = receiver.stats();
    assert!(stats.receive_errors == 0 && stats.receive_calls > 200, "{stats:?}");
}

/// The numbers are Linux's.
#[cfg(target_os = "linux")]
#[test]
fn each_error_of_the_system_is_transient_or_final_by_its_kind() {
    let send = |code| SendFailure::of(&io::Error::from_raw_os_error(code));
    let (eperm, eacces, einval, emsgsize) = (1, 13, 22, 90);
    let (eaddrnotavail, enetdown, enetunreach, enobufs, econnrefused, ehostunreach) = (99, 100, 101, 105, 111, 113);
    for code in [eperm, eacces, einval, eaddrnotavail, enetdown, enetunreach, ehostunreach] {
        assert_eq!(send(code), SendFailure::Unreachable, "{code}");
        assert!(send(code).ends_attempt());
    }
    let (enomem, eio) = (12, 5);
    for (code, failure, ends_attempt) in [
        (emsgsize, SendFailure::TooLarge, true),
        (econnrefused, SendFailure::Refused, true),
        (enobufs, SendFailure::NoBuffers, false),
        (enomem, SendFailure::NoBuffers, false),
        (eio, SendFailure::Other, false),
    ] {
        assert_eq!((send(code), send(code).ends_attempt()), (failure, ends_attempt), "{code}");
    }
    let receive = |code| ReceiveFailure::of(&io::Error::from_raw_os_error(code));
    let (eintr, ebadf, enotsock, enotconn, econnreset) = (4, 9, 88, 107, 104);
    for code in [econnrefused, econnreset, ehostunreach, enetunreach, eintr, emsgsize] {
        assert_eq!(receive(code), ReceiveFailure::OneDatagram, "{code}");
    }
    for code in [ebadf, enotsock, enotconn] {
        assert_eq!(receive(code), ReceiveFailure::Final, "{code}");
    }
    for code in [enomem, enobufs, enetdown, eio] {
        assert_eq!(receive(code), ReceiveFailure::Transient, "{code}");
    }
}
