//! The rows of the table: links and what is sent over them.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use narrowboat_peers::{Fate, Reliability, SendOptions, UDP_OVERHEAD};

use crate::contender::{Choices, Contender, UserData};
use crate::run::{Load, Path, Run, Sample, Ticks, percentile};

/// One measurement of one contender, with the samples of its course.
pub(crate) struct Outcome {
    pub(crate) value: f64,
    pub(crate) samples: Vec<Sample>,
}

/// A row: a name, a unit, the bound of this project, and the measurement.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    /// True if there is one figure for ours alone: others have no such setting.
    pub(crate) is_ours_only: bool,
    pub(crate) measure: Box<dyn Fn(Contender, u64, Duration) -> Result<Outcome, String>>,
}

const MIB: u64 = 1 << 20;

fn row(
    name: impl Into<String>,
    unit: &'static str,
    measure: impl Fn(Contender, u64, Duration) -> Result<Outcome, String> + 'static,
) -> Row {
    Row { name: name.into(), unit, is_ours_only: false, measure: Box::new(measure) }
}

fn bulk(size: usize) -> Load {
    Load { bulk: Some(size), ..Load::default() }
}

fn start(contender: Contender, seed: u64, path: Path, load: Load, wall: Duration) -> Result<Run, String> {
    let mut run = Run::new(path, seed);
    run.limit(wall);
    run.add(contender, Choices::default(), path, load, seed)?;
    Ok(run)
}

/// Returns all rows. `time` is that of the long transfers.
pub(crate) fn all(time: Duration) -> Vec<Row> {
    let mut rows = Vec::new();
    for loss in [0.0, 0.1, 1.0, 5.0] {
        rows.push(row(format!("32 MiB, 100 Mbit/s, 50 ms, {loss} % loss"), "s", move |contender, seed, wall| {
            upload(contender, seed, wall, loss)
        }));
    }
    for megabits in [100.0, 1000.0] {
        for round_trip in [10, 50, 100, 200] {
            let name = format!("share of {megabits} Mbit/s, {round_trip} ms");
            rows.push(row(name, "%", move |contender, seed, wall| {
                share(contender, seed, wall, Path::new(megabits, round_trip), time)
            }));
        }
    }
    for other in [Contender::ALL[0], Contender::ALL[2]] {
        let name = format!("share beside {}, 50 Mbit/s, 40 ms", other.name());
        let measure = move |contender, seed, wall| beside(contender, other, seed, wall, time * 2);
        rows.push(Row { is_ours_only: true, ..row(name, "%", measure) });
    }
    rows.push(row("share beside the same, 50 Mbit/s, 40 ms", "%", move |contender, seed, wall| {
        beside(contender, contender, seed, wall, time * 2)
    }));
    rows.push(row("queue added, 100 Mbit/s, 50 ms, 4 BDP, p95", "BDP", move |contender, seed, wall| {
        queue_added(contender, seed, wall, time)
    }));
    for (name, chunks, share) in
        [("p50", UserData::IData, 0.5), ("p95", UserData::IData, 0.95), ("DATA, p95", UserData::Data, 0.95)]
    {
        let name = format!("ping beside bulk, 10 Mbit/s, 40 ms, {name}");
        let measure = move |contender, seed, wall| ping(contender, chunks, seed, wall, time, share);
        // Others have their defaults, so their figures are the same.
        rows.push(Row { is_ours_only: chunks == UserData::Data, ..row(name, "ms", measure) });
    }
    rows.push(row("state at 5 times the link, age p99", "ms", move |contender, seed, wall| {
        fresh(contender, seed, wall, time, |run, _| {
            let mut ages: Vec<Duration> = run.flows[0].ages.iter().map(|(_, age)| *age).collect();
            percentile(&mut ages, 0.99).map_or(f64::INFINITY, milliseconds)
        })
    }));
    rows.push(row("state at 5 times the link, use of it", "%", move |contender, seed, wall| {
        fresh(contender, seed, wall, time, |run, path| {
            let bits = run.flows[0].tick_bytes as f64 * 8.0;
            bits / run.elapsed().as_secs_f64() / (path.megabits * 1e4)
        })
    }));
    rows.push(row("last packet of a burst lost, 50 ms", "ms", last_packet_lost));
    for size in [1280, 1200] {
        let name = format!("black hole above {size}, 90 % again after");
        rows.push(row(name, "s", move |contender, seed, wall| black_hole(contender, seed, wall, size)));
    }
    rows.push(row("window 32 KiB, 64 KiB messages, pause of 3 min", "s after", paused_reader));
    rows
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Seconds from the first byte to the last, after the handshake.
fn upload(contender: Contender, seed: u64, wall: Duration, percent: f64) -> Result<Outcome, String> {
    let path = Path { loss: percent / 100.0, ..Path::new(100.0, 50) };
    let load = Load { total: Some(32 * MIB), ..bulk(64 << 10) };
    let mut run = start(contender, seed, path, load, wall)?;
    run.run(Duration::from_secs(600), |run| run.flows[0].done_at.is_some())?;
    let time = run.flows[0].time().ok_or("not done after 600 s")?;
    Ok(Outcome { value: time.as_secs_f64(), samples: run.samples })
}

fn share(contender: Contender, seed: u64, wall: Duration, path: Path, time: Duration) -> Result<Outcome, String> {
    let mut run = start(contender, seed, path, bulk(64 << 10), wall)?;
    run.run(time, |_| false)?;
    let bits = run.flows[0].received as f64 * 8.0;
    Ok(Outcome { value: bits / time.as_secs_f64() / (path.megabits * 1e4), samples: run.samples })
}

/// The share of a flow in what two of them receive after the first third of the time.
fn beside(
    contender: Contender,
    other: Contender,
    seed: u64,
    wall: Duration,
    time: Duration,
) -> Result<Outcome, String> {
    let path = Path::new(50.0, 40);
    let mut run = start(contender, seed, path, bulk(64 << 10), wall * 2)?;
    run.add(other, Choices::default(), path, bulk(64 << 10), seed + 100)?;
    run.run(time / 3, |_| false)?;
    let before = [run.flows[0].received, run.flows[1].received];
    run.run(time, |_| false)?;
    let [first, second] = [0, 1].map(|flow| (run.flows[flow].received - before[flow]) as f64);
    Ok(Outcome { value: 100.0 * first / (first + second), samples: run.samples })
}

fn queue_added(contender: Contender, seed: u64, wall: Duration, time: Duration) -> Result<Outcome, String> {
    let path = Path { queue: 4.0, ..Path::new(100.0, 50) };
    let mut run = start(contender, seed, path, bulk(64 << 10), wall)?;
    run.run(time, |_| false)?;
    let settled = run.samples.iter().skip(50);
    let mut delays: Vec<Duration> = settled.map(|sample| sample.queue).collect();
    let delay = percentile(&mut delays, 0.95).ok_or("no samples")?;
    Ok(Outcome { value: delay.as_secs_f64() / path.round_trip.as_secs_f64(), samples: run.samples })
}

/// Time of a ping there and back. The queue in front of the link is 40 ms long.
fn ping(
    contender: Contender,
    chunks: UserData,
    seed: u64,
    wall: Duration,
    time: Duration,
    share: f64,
) -> Result<Outcome, String> {
    let ticks = Ticks { every: Duration::from_millis(20), size: 64, options: SendOptions::default(), is_echoed: true };
    let load = Load { ticks: Some(ticks), ..bulk(256 << 10) };
    let path = Path::new(10.0, 40);
    let mut run = Run::new(path, seed);
    run.limit(wall);
    run.add(contender, Choices { chunks, ..Choices::default() }, path, load, seed)?;
    run.run(time, |_| false)?;
    let settled = run.started + Duration::from_secs(2);
    let ages = run.flows[0].ages.iter().filter(|(at, _)| *at >= settled);
    let mut ages: Vec<Duration> = ages.map(|(_, age)| *age).collect();
    let age = percentile(&mut ages, share).ok_or("no ping arrived")?;
    Ok(Outcome { value: milliseconds(age), samples: run.samples })
}

/// State at 60 Hz, 1,200 bytes each, over a link of a fifth of that.
fn fresh(
    contender: Contender,
    seed: u64,
    wall: Duration,
    time: Duration,
    value: impl Fn(&Run, Path) -> f64,
) -> Result<Outcome, String> {
    let options = SendOptions { unordered: true, reliability: Reliability::MaxRetransmits(0) };
    let ticks = Ticks { every: Duration::from_nanos(1_000_000_000 / 60), size: 1_200, options, is_echoed: false };
    let path = Path { queue: 2.0, ..Path::new(60.0 * 1_200.0 * 8.0 / 5.0 / 1e6, 50) };
    let mut run = start(contender, seed, path, Load { ticks: Some(ticks), ..Load::default() }, wall)?;
    run.run(time, |_| false)?;
    Ok(Outcome { value: value(&run, path), samples: run.samples })
}

/// Time until a message of ten packets has arrived whose last packet is lost once.
fn last_packet_lost(contender: Contender, seed: u64, wall: Duration) -> Result<Outcome, String> {
    const SIZE: u64 = 11_000;
    let load = Load { total: Some(SIZE), ..bulk(SIZE as usize) };
    let mut run = start(contender, seed, Path::new(100.0, 50), load, wall)?;
    let mut left = SIZE as usize;
    run.net.set_filter(Box::new(move |_, datagram| {
        // The datagram that brings the rest of the message. Handshake packets are shorter than this counts.
        let payload = datagram.len().saturating_sub(28);
        let is_data = datagram.get(12).is_some_and(|kind| [0, 64].contains(kind));
        let is_last = is_data && left > 0 && payload >= left;
        if is_data {
            left = left.saturating_sub(payload);
        }
        if is_last { Fate::Drop } else { Fate::Pass }
    }));
    run.run(Duration::from_secs(1), |run| run.elapsed() >= Duration::from_millis(200))?;
    run.run(Duration::from_secs(30), |run| run.flows[0].done_at.is_some())?;
    let time = run.flows[0].time().ok_or("not done after 30 s")?;
    Ok(Outcome { value: milliseconds(time), samples: run.samples })
}

/// Seconds from the time at which the path takes no datagrams above a size until the link is used to nine tenths.
fn black_hole(contender: Contender, seed: u64, wall: Duration, size: usize) -> Result<Outcome, String> {
    let path = Path::new(100.0, 50);
    let mut run = start(contender, seed, path, bulk(64 << 10), wall)?;
    let hole_at = run.started + Duration::from_secs(4);
    let largest: Rc<Cell<usize>> = Rc::default();
    let seen = Rc::clone(&largest);
    run.net.set_filter(Box::new(move |now: Instant, datagram| {
        let len = datagram.len() + UDP_OVERHEAD;
        if now < hole_at {
            seen.set(seen.get().max(len));
        }
        if now >= hole_at && len > size { Fate::Drop } else { Fate::Pass }
    }));
    run.run(Duration::from_secs(24), |_| false)?;
    if largest.get() <= size {
        return Err(format!("no datagram was larger: {} bytes at IP", largest.get()));
    }
    let after: Vec<&Sample> = run.samples.iter().filter(|sample| sample.at >= Duration::from_secs(4)).collect();
    let is_full = |window: &[&Sample]| {
        window.iter().map(|sample| sample.goodput).sum::<f64>() / window.len() as f64
            >= path.megabits * 1e6 * 0.9 * 0.94
    };
    let hit = after.iter().position(|sample| sample.goodput < path.megabits * 1e6 / 2.0);
    let Some(hit) = hit else { return Ok(Outcome { value: 0.0, samples: run.samples }) };
    let again = after[hit..].windows(5).position(is_full).ok_or("not within 20 s")?;
    Ok(Outcome { value: (hit + again) as f64 / 10.0, samples: run.samples })
}

/// Seconds from the end of the reader's pause until the next 8 MiB have arrived, with a small window.
fn paused_reader(contender: Contender, seed: u64, wall: Duration) -> Result<Outcome, String> {
    let path = Path::new(100.0, 2);
    let mut run = Run::new(path, seed);
    run.limit(wall);
    let choices = Choices { window: Some(32 << 10), ..Choices::default() };
    run.add(contender, choices, path, bulk(64 << 10), seed)?;
    run.run(Duration::from_secs(2), |_| false)?;
    run.flows[0].is_reading = false;
    run.run(Duration::from_secs(182), |_| false)?;
    run.flows[0].is_reading = true;
    let goal = run.flows[0].received + 8 * MIB;
    run.run(Duration::from_secs(300), |run| run.flows[0].received >= goal)?;
    if run.flows[0].received < goal {
        return Err("stuck after the pause".into());
    }
    Ok(Outcome { value: run.elapsed().as_secs_f64() - 182.0, samples: run.samples })
}
