//! Heap that an association holds when nothing happens.

use std::time::{Duration, Instant};

use bytes::Bytes;
use narrowboat_peers::{End, Event, LinkConfig, Pair, Peer, Role, SendOptions, Settings, Stack};

use crate::measure::{Gauge, Summary};
use crate::plan::{Plan, guard};
use crate::table::{Cell, MEASURE, Row};
use crate::verdict::Verdict;

/// Pairs that the mean is taken of.
const PAIRS: u64 = 32;

/// Bytes that each end sends in the second measurement, and the size of their messages.
const TRAFFIC: usize = 1 << 20;
const MESSAGE: usize = 16 << 10;

/// Bytes that this project promises at most.
const IDLE_MAX: f64 = 16.0 * 1024.0;

/// Virtual time after which everything has been acknowledged.
const QUIET: Duration = Duration::from_secs(5);

/// Two ends that are connected and, with traffic, have had and lost all that they had to do.
fn settle(stack: Stack, with_traffic: bool, payload: &Bytes, seed: u64) -> Result<[Box<dyn Peer>; 2], String> {
    let now = Instant::now();
    let settings = Settings::default();
    let peers = [Role::Client, Role::Server].map(|role| stack.peer(now, &settings, seed ^ (role as u64) << 32));
    let mut pair = Pair::new(now, peers, LinkConfig::clean(Duration::from_millis(1)), seed);
    pair.establish()?;
    let mut expected = 0;
    if with_traffic {
        for end in End::BOTH {
            for _ in 0..TRAFFIC / MESSAGE {
                pair.send(end, 0, payload, SendOptions::default()).map_err(|refusal| format!("send: {refusal:?}"))?;
                expected += 1;
            }
        }
    }
    let until = pair.now() + QUIET;
    loop {
        for end in End::BOTH {
            while let Some(event) = pair.poll_event(end) {
                match event {
                    Event::Message(_) => expected -= 1,
                    Event::Closed { reason, .. } => return Err(format!("the association ended: {reason}")),
                    _ => {}
                }
            }
        }
        if !pair.advance(until) {
            break;
        }
    }
    if expected == 0 { Ok(pair.into_peers()) } else { Err(format!("{expected} messages did not arrive")) }
}

/// Mean bytes of heap of one end.
fn bytes_held(stack: Stack, with_traffic: bool) -> Result<f64, String> {
    let payload = Bytes::from(vec![1; MESSAGE]);
    // The first clone of a payload allocates its reference count, which belongs to neither end.
    let _counted = payload.clone();
    let mut kept = Vec::with_capacity(2 * PAIRS as usize);
    let mut result = Ok(());
    let gauge = Gauge::run(|| {
        for seed in 0..PAIRS {
            match settle(stack, with_traffic, &payload, seed) {
                Ok(peers) => kept.extend(peers),
                Err(reason) => {
                    result = Err(reason);
                    return;
                }
            }
        }
    });
    result.map(|()| gauge.bytes_held as f64 / (2 * PAIRS) as f64)
}

/// Heap of an association that has just been made, and of one that has carried something.
pub(crate) fn idle(plan: &Plan) -> (Vec<Row>, Vec<Verdict>) {
    let mut rows = Vec::new();
    let mut verdicts = Vec::new();
    for (with_traffic, title) in [(false, "idle association, new"), (true, "idle association, after 1 MiB each way")] {
        let (mut cells, mut bytes_of) = (Vec::new(), [None; 2]);
        for &stack in &plan.stacks {
            let held = guard(|| bytes_held(stack, with_traffic));
            for (place, wanted) in bytes_of.iter_mut().zip([Stack::Narrowboat, MEASURE]) {
                *place = place.or_else(|| held.as_ref().ok().copied().filter(|_| stack == wanted));
            }
            if stack == Stack::Narrowboat
                && let Ok(bytes) = held
            {
                verdicts.push(Verdict::new(
                    format!("{title}: {bytes:.0} bytes of heap"),
                    bytes <= IDLE_MAX,
                    "at most 16384",
                ));
            }
            cells.push(held.map_or_else(Cell::Failed, |bytes| Cell::plain(format!("{bytes:.0}"))));
        }
        let ratio = match bytes_of {
            [Some(ours), Some(theirs)] => Summary::of([ours / theirs]),
            _ => None,
        };
        rows.push(Row { title: title.into(), unit: "bytes of heap", cells, ratio });
    }
    (rows, verdicts)
}
