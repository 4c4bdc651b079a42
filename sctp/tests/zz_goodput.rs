mod pair;
use bytes::Bytes;
use narrowboat_sctp::{Config, Event};
use pair::{MS, Pair};
use std::time::Duration;

#[test]
fn zz() {
    for (mbit, rtts) in [(20u64, [10u32, 50, 100, 200]), (100, [10, 50, 100, 200]), (1000, [50, 50, 100, 200])] {
        for rtt in rtts {
            let rate = mbit * 1_000_000 / 8;
            let bdp = (rate as f64 * rtt as f64 / 1000.0) as usize;
            let win = ((bdp as f64 * 2.5) as usize).max(4096);
            let config = Config {
                receive_window: win as u32,
                send_buffer: win.max(1 << 20),
                stream_send_buffer: win.max(1 << 20),
                ..Config::default()
            };
            let mut pair = Pair::connected(config);
            pair.keeps_trace = false;
            pair.one_way = rtt * MS / 2;
            pair.bottleneck = Some((rate, bdp.max(3000)));
            let chunk = Bytes::from(vec![1u8; 65536]);
            let t0 = pair.now;
            let mut got = 0usize;
            let mut marks = vec![];
            let mut next = t0 + Duration::from_secs(5);
            let wall = std::time::Instant::now();
            while pair.now < t0 + Duration::from_secs(30) {
                while pair.ends[0]
                    .send(pair.now, 1, narrowboat_sctp::Ppid(53), chunk.clone(), Default::default())
                    .is_ok()
                {}
                pair.step(t0 + Duration::from_secs(30));
                got += pair.received[1].drain(..).map(|m| m.2.len()).sum::<usize>();
                if pair.now >= next {
                    marks.push(got);
                    next += Duration::from_secs(5);
                }
                pair.events[0].retain(|e| !matches!(e, Event::Writable | Event::BufferedAmountLow(_)));
            }
            let cap = rate as f64 * 30.0;
            let mut prev = 0;
            let w: Vec<String> = marks
                .iter()
                .map(|m| {
                    let d = (m - prev) as f64 / (rate as f64 * 5.0);
                    prev = *m;
                    format!("{:.2}", d)
                })
                .collect();
            let s = pair.ends[0].stats();
            println!(
                "{mbit} Mbit {rtt} ms: {:.3} {:?} rtx {} t3 {} cong {} spur {} wall {:?}",
                got as f64 / cap,
                w,
                s.data_chunks_retransmitted,
                s.t3_expirations,
                s.congestion_events,
                s.spurious_retransmissions,
                wall.elapsed()
            );
        }
    }
}
