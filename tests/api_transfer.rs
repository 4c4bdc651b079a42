//! The async API over loopback: channels open, carry messages both ways, and close.
#![expect(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test fails by panicking")]

use std::time::Duration;

use narrowboat::{
    Association, Bytes, ChannelDropReason, ChannelOptions, Endpoint, Message, ReadyState, Reliability, SendPolicy,
    WaitingMax,
};

/// Two associated endpoints: the one that dialled, and the one that accepted.
async fn pair() -> (Association, Association) {
    let server = Endpoint::bind("127.0.0.1:0").unwrap();
    let client = Endpoint::bind("127.0.0.1:0").unwrap();
    let (dialled, incoming) = tokio::join!(client.connect(server.local_address()), server.accept());
    let incoming = incoming.unwrap();
    assert_eq!(incoming.remote_address(), client.local_address());
    (dialled.unwrap(), incoming.await.unwrap())
}

#[tokio::test]
async fn a_channel_lives_from_connecting_to_closed_at_both_ends() {
    let (a, b) = pair().await;
    let options = ChannelOptions::new("chat").protocol("v1").unordered().max_retransmits(0).priority(512);
    let near = a.open_channel(options).await.unwrap();
    assert_eq!(near.ready_state(), ReadyState::Open);
    let far = b.accept_channel().await.unwrap();
    assert_eq!((far.label(), far.protocol(), far.ordered(), far.negotiated()), ("chat", "v1", false, false));
    assert_eq!((far.reliability(), far.id()), (Reliability::MaxRetransmits(0), near.id()));

    near.send("häuser").await.unwrap();
    assert_eq!(far.recv().await.unwrap().unwrap(), Message::from("häuser"));
    far.send(Bytes::new()).await.unwrap();
    assert_eq!(near.recv().await.unwrap().unwrap(), Message::Binary(Bytes::new()));

    let closing = near.close();
    assert_eq!(near.ready_state(), ReadyState::Closing);
    closing.await.unwrap();
    assert_eq!(near.ready_state(), ReadyState::Closed);
    assert_eq!(near.recv().await, None);
    assert_eq!(far.recv().await, None);
    far.closed().await.unwrap();
}

#[tokio::test]
async fn a_policy_keeps_the_latest_of_the_messages_that_wait() {
    let (a, b) = pair().await;
    let near = a.open_channel("state").await.unwrap();
    let far = b.accept_channel().await.unwrap();
    near.send("first").await.unwrap();
    assert_eq!(far.recv().await.unwrap().unwrap(), Message::from("first"));
    near.set_send_policy(SendPolicy::new().drop_oldest(WaitingMax::Messages(2)));
    // The driver does not run in between, for there is one thread.
    for number in ["1", "2", "3", "4"] {
        near.try_send(number).unwrap();
    }
    for number in ["3", "4"] {
        assert_eq!(far.recv().await.unwrap().unwrap(), Message::from(number));
    }
    assert_eq!(a.channel_stats().messages_abandoned, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_every_size_arrive_both_ways_at_once() {
    let (a, b) = pair().await;
    let near = a.create_channel("bulk").unwrap();
    let far = b.accept_channel().await.unwrap();
    let sizes = [0, 1, 1000, 1200, 65_535, 65_536, 1 << 20, 64 << 20];
    let message = |size: usize| Bytes::from((0..size).map(|i| (i * 31 % 251) as u8).collect::<Vec<_>>());
    let one_way = async |from: &narrowboat::DataChannel, to: &narrowboat::DataChannel| {
        tokio::join!(
            async {
                for size in sizes {
                    from.send(message(size)).await.unwrap();
                }
            },
            async {
                for size in sizes {
                    assert_eq!(to.recv().await.unwrap().unwrap(), Message::Binary(message(size)));
                }
            }
        )
    };
    tokio::join!(one_way(&near, &far), one_way(&far, &near));
    tokio::time::timeout(Duration::from_secs(10), near.close()).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_counters_of_channels_can_be_read_at_both_ends() {
    let (a, b) = pair().await;
    assert_eq!(a.channel_stats(), narrowboat::ChannelsStats::default());
    let near = a.open_channel("counted").await.unwrap();
    let far = b.accept_channel().await.unwrap();
    for text in ["one", "", "three"] {
        near.send(text).await.unwrap();
    }
    assert_eq!(far.recv().await.unwrap().unwrap(), Message::from("one"));
    let all_have_come = async {
        while b.channel_stats().messages_received < 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), all_have_come).await.unwrap();
    // Nobody reads the other two any more.
    drop(far);
    near.closed().await.unwrap();
    let (sent, received) = (a.channel_stats(), b.channel_stats());
    assert_eq!((sent.channels_opened, sent.channels_accepted, sent.channels_closed), (1, 0, 1));
    assert_eq!((received.channels_opened, received.channels_accepted), (0, 1));
    assert_eq!((sent.messages_sent, sent.bytes_sent, sent.channels_failed), (3, 8, 0));
    assert_eq!((received.messages_received, received.bytes_received), (3, 8));
    assert_eq!((received.drops.count(ChannelDropReason::AfterClose), received.drops.total()), (2, 2));
    assert_eq!(sent.drops.total(), 0);
}

/// Both channels always have something to send, and a small receive window lets little out at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_share_by_priority_which_can_be_changed_while_they_live() {
    let mut config = narrowboat::Config::default();
    config.association.receive_window = 8 << 10;
    let bind = || Endpoint::builder().bind("127.0.0.1:0").config(config.clone()).accept_plain().build().unwrap();
    let (server, client) = (bind(), bind());
    let (a, incoming) = tokio::join!(client.connect(server.local_address()), server.accept());
    let (a, b) = (a.unwrap(), incoming.unwrap().await.unwrap());
    let mut channels = Vec::new();
    for priority in [128, 1024] {
        let near = a.open_channel(ChannelOptions::new("").priority(priority)).await.unwrap();
        let far = b.accept_channel().await.unwrap();
        assert_eq!((near.priority(), far.priority()), (priority, priority));
        channels.push((near, far));
    }
    for order in [[0, 1], [1, 0]] {
        let [(light, light_far), (heavy, heavy_far)] = order.map(|index| &channels[index]);
        light.set_priority(128);
        heavy.set_priority(1024);
        assert_eq!((heavy.priority(), light.priority()), (1024, 128));
        let message = Bytes::from(vec![7; 1000]);
        for _ in 0..1_000 {
            light.send(message.clone()).await.unwrap();
            heavy.send(message.clone()).await.unwrap();
        }
        let read = async |channel: &narrowboat::DataChannel| {
            for _ in 0..1_000 {
                channel.recv().await.unwrap().unwrap();
            }
        };
        let lights = std::sync::atomic::AtomicUsize::new(0);
        let at_the_end_of_heavy = tokio::join!(
            async {
                for _ in 0..1_000 {
                    light_far.recv().await.unwrap().unwrap();
                    lights.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            },
            async {
                read(heavy_far).await;
                lights.load(std::sync::atomic::Ordering::Relaxed)
            }
        )
        .1;
        assert!(at_the_end_of_heavy < 400, "{at_the_end_of_heavy} messages of the light channel");
    }
}
