//! Memory that the async API holds: nothing grows with what is over. The allocator counts for each thread, and each
//! runtime here is one.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test may fail this way")]

mod api;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use allocation_counter::measure;
use api::{Pair, number, numbered};
use narrowboat::{Association, Bytes, Config, Endpoint, ReadyState};
use tokio::runtime::{Builder, Runtime};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Bytes that `future` leaves allocated.
fn kept<T>(runtime: &Runtime, future: impl Future<Output = T>) -> (i64, T) {
    let mut result = None;
    let info = measure(|| result = Some(runtime.block_on(future)));
    (info.bytes_current, result.unwrap())
}

/// One channel after the other: opened, used both ways, closed by one end and then by the other.
async fn cycles(pair: &Pair, count: u32) {
    for n in 0..count {
        let (near, far) = pair.channel("cycle").await;
        let (first, second) = if n % 2 == 0 { (near, far) } else { (far, near) };
        second.send(numbered(n, 2000)).await.unwrap();
        assert_eq!(number(&first.recv().await.unwrap().unwrap()), n);
        first.send(numbered(n, 4)).await.unwrap();
        first.close().await.unwrap();
        assert_eq!(number(&second.recv().await.unwrap().unwrap()), n);
        assert_eq!(second.recv().await, None);
        second.closed().await.unwrap();
    }
}

/// A megabyte each way.
async fn bulk(pair: &Pair) {
    let (near, far) = pair.channel("bulk").await;
    for (from, to) in [(&near, &far), (&far, &near)] {
        let (sent, received) = tokio::join!(from.send(numbered(0, 1 << 20)), to.recv());
        sent.unwrap();
        assert_eq!(number(&received.unwrap().unwrap()), 0);
    }
    near.close().await.unwrap();
    far.closed().await.unwrap();
}

/// Ten thousand, where the code is fast; without optimisation, enough to use each table's room many times.
#[test]
fn ten_thousand_channels_one_after_the_other_leave_nothing_behind() {
    const CYCLES: u32 = if cfg!(debug_assertions) { 1_000 } else { 10_000 };
    let runtime = runtime();
    let pair = runtime.block_on(Pair::new());
    // Memory that tables and queues keep for their next use has its full size after a while. The buffer for packets,
    // which all associations of an endpoint share, has it once many packets have left in one batch; the search for the
    // packet size of the path needs some of it, and comes at any time.
    runtime.block_on(bulk(&pair));
    let (warm, ()) = kept(&runtime, cycles(&pair, CYCLES / 10));
    let begun = Instant::now();
    let (grown, ()) = kept(&runtime, cycles(&pair, CYCLES));
    println!("{CYCLES} cycles in {:?} keep {grown} bytes, the first ones {warm}", begun.elapsed());
    assert!(grown <= 4096, "{CYCLES} more cycles keep {grown} bytes, the first ones {warm}");
}

/// Both ends are in one process, so the result is the memory of the two of them, divided by two.
#[test]
fn an_idle_association_holds_at_most_13_kib_at_each_end() {
    const COUNT: usize = 64;
    // Virtual time passes when nothing is left to do, so a slow machine changes nothing.
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let bind = || Endpoint::bind("127.0.0.1:0").unwrap();
    let (client, servers) = runtime.block_on(async { (bind(), (0..COUNT).map(|_| bind()).collect::<Vec<_>>()) });
    let use_and_rest = async || {
        let mut ends: Vec<(Association, Association)> = Vec::with_capacity(COUNT);
        for server in &servers {
            let (a, incoming) = tokio::join!(client.connect(server.local_address()), server.accept());
            let (a, b) = (a.unwrap(), incoming.unwrap().await.unwrap());
            // The association has been busy before: memory used then must be free again.
            let near = a.create_channel("bulk").unwrap();
            let far = b.accept_channel().await.unwrap();
            let bulk = Bytes::from(vec![7; 1 << 20]);
            let (sent, received) = tokio::join!(near.send(bulk.clone()), far.recv());
            sent.unwrap();
            assert_eq!(received.unwrap().unwrap().len(), bulk.len());
            near.close().await.unwrap();
            ends.push((a, b));
        }
        // Delayed SACKs are sent, and memory kept for a transfer is freed.
        tokio::time::sleep(Duration::from_millis(300)).await;
        ends
    };
    // Memory that the endpoints hold for all their associations is allocated after this.
    runtime.block_on(async {
        for (a, _b) in use_and_rest().await {
            a.shutdown().await.unwrap();
        }
    });
    let (bytes, ends) = kept(&runtime, use_and_rest());
    let each = bytes / (2 * ends.len() as i64);
    println!("an idle association holds {each} bytes at each end");
    assert!(each <= 13 << 10, "{each} bytes at each end");
}

/// All 65,534 of them, where the code is fast.
#[test]
fn every_id_is_in_use_at_once_and_each_channel_carries_a_message() {
    const EACH: u32 = if cfg!(debug_assertions) { 2_000 } else { 32_767 };
    let runtime = runtime();
    let mut config = Config::default();
    config.channels.channels_max = 65_535;
    // Each end has a message unread on every channel, and one window for them all, which counts the cost of each
    // message.
    config.association.receive_window = 16 << 20;
    let pair = runtime.block_on(Pair::with(config));
    let begun = Instant::now();
    let open = async |from: &Association, to: &Association| {
        let mut channels = Vec::with_capacity(EACH as usize);
        for n in 0..EACH {
            let near = from.create_channel("").unwrap();
            near.send(numbered(n, 4)).await.unwrap();
            channels.push((near, to.accept_channel().await.unwrap()));
        }
        channels
    };
    let all = async { [open(&pair.a, &pair.b).await, open(&pair.b, &pair.a).await].into_iter().flatten().collect() };
    let (bytes, channels): (_, Vec<_>) = kept(&runtime, all);
    println!(
        "{} channels in {:?}, {} bytes for both ends of each",
        channels.len(),
        begun.elapsed(),
        bytes as usize / channels.len()
    );
    assert_eq!(channels.len(), 2 * EACH as usize);
    runtime.block_on(async {
        let ids: BTreeSet<u16> = channels.iter().map(|(near, _)| near.id()).collect();
        assert_eq!(ids.len(), channels.len());
        for (n, (near, far)) in channels.iter().enumerate() {
            assert_eq!((near.id(), near.ready_state()), (far.id(), ReadyState::Open));
            assert_eq!(number(&far.recv().await.unwrap().unwrap()), n as u32 % EACH);
        }
        let begun = Instant::now();
        let closings: Vec<_> = channels.iter().map(|(near, _)| near.close()).collect();
        for closing in closings {
            closing.await.unwrap();
        }
        for (_, far) in &channels {
            far.closed().await.unwrap();
        }
        println!("closed in {:?}", begun.elapsed());
    });
    drop(channels);
    let near = pair.a.create_channel("again").unwrap();
    assert_eq!(near.id(), 0, "ids are free again");
}
