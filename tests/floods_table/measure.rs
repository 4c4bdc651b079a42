//! One line of the table.

use std::net::UdpSocket;
use std::time::Duration;

use narrowboat::{Bytes, ChannelOptions, Identity};

use crate::Result;
use crate::flooder::encode;
use crate::newcomers::{Goal, Phase, come};
use crate::process::Child;

/// Until windows are open and buffers have their size.
const WARM_UP: Duration = Duration::from_secs(2);
pub(crate) const SOON: Duration = Duration::from_secs(2);
/// Length of a window of the goodput comparison. Windows with the flood and without alternate and are short, so that
/// other work of the machine affects both alike.
const WINDOW: Duration = Duration::from_millis(400);
/// Duration of the measurement of a line.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    /// Newcomers who begin in this time are counted; the flood goes on as long as the last of them may take.
    counted: Duration,
    /// Windows to compare goodput in, a multiple of four.
    windows: usize,
}

impl Extent {
    pub(crate) const FULL: Self = Self { counted: Duration::from_secs(5), windows: 20 };
    pub(crate) const QUICK: Self = Self { counted: Duration::from_secs(2), windows: 8 };
}

/// Peers that send all the time, as fast as they can.
const ESTABLISHED: usize = 2;
const MESSAGE_LEN: usize = 64 << 10;

/// A flood of a service.
pub(crate) struct Flood {
    pub(crate) name: &'static str,
    /// True if the service has an identity.
    pub(crate) is_secure: bool,
    /// True if it goes to a socket of the service that only receives and drops.
    pub(crate) is_dropped: bool,
    pub(crate) datagrams: Vec<Vec<u8>>,
}

pub(crate) struct Outcome {
    /// Datagrams of the flood a second.
    pub(crate) rate: f64,
    /// Goodput for a second of the service's processor time with the flood divided by that without, in each four
    /// windows, from the least.
    pub(crate) left: Vec<f64>,
    /// The same for all windows together.
    pub(crate) left_in_all: f64,
    /// Processor time of the service for a datagram of the flood, in microseconds.
    pub(crate) cost: f64,
    /// Cores that the service uses without the flood: on a busy machine it gets less, and the flood weighs more.
    pub(crate) cores: f64,
    /// Times that newcomers took, in order; those who gave up are not among them.
    pub(crate) taken: Vec<Duration>,
    pub(crate) newcomers: usize,
    /// Resident memory of the service in KiB: before the flood, after it, and after all the floods of the windows,
    /// which are a second one of the same kind.
    pub(crate) resident: [u64; 3],
}

/// Bytes received by the service, and processor time used, at one time.
struct Mark {
    bytes: u64,
    cpu: Duration,
}

impl Mark {
    fn take(service: &mut Child) -> Result<Self> {
        Ok(Self { bytes: service.ask("bytes")?, cpu: service.cpu()? })
    }
}

/// Between marks.
#[derive(Default)]
struct Spent {
    bytes: u64,
    cpu: Duration,
}

impl Spent {
    fn between(from: &Mark, to: &Mark) -> Self {
        Self { bytes: to.bytes - from.bytes, cpu: to.cpu - from.cpu }
    }

    fn add(&mut self, other: &Self) {
        self.bytes += other.bytes;
        self.cpu += other.cpu;
    }

    /// Bytes for a second of processor time.
    fn goodput(&self) -> f64 {
        self.bytes as f64 / self.cpu.as_secs_f64()
    }
}

pub(crate) async fn measure(flood: &Flood, sources: u8, extent: Extent) -> Result<Outcome> {
    let mut service = Child::start(["service", if flood.is_secure { "secure" } else { "plain" }])?;
    let (goal, endpoint, dropping) = (service.line()?, service.line()?, service.line()?);
    let address = if flood.is_dropped { dropping } else { endpoint };
    let goal = match flood.is_secure {
        true => Goal::Secure(Box::new((goal.parse()?, Identity::generate()?))),
        false => Goal::Plain(goal.parse()?),
    };
    let mut established = Vec::new();
    for _ in 0..ESTABLISHED {
        let (endpoint, association) = goal.connect(([127, 0, 0, 1], 0).into()).await?;
        let channel = association.open_channel(ChannelOptions::new("bulk")).await?;
        let message = Bytes::from(vec![7; MESSAGE_LEN]);
        tokio::spawn(async move { while channel.send(message.clone()).await.is_ok() {} });
        established.push((endpoint, association));
    }
    // The flood costs the machine the same when it goes elsewhere.
    let elsewhere = UdpSocket::bind("127.0.0.1:0")?;
    let arguments = ["flooder".to_owned(), sources.to_string()].into_iter();
    let mut flooder = Child::start(arguments.chain(flood.datagrams.iter().map(|datagram| encode(datagram))))?;
    let unread = elsewhere.local_addr()?.to_string();
    flooder.ask(&unread)?;
    let phase = Phase::new();
    let newcomers = tokio::spawn(come(goal, phase.clone()));
    tokio::time::sleep(WARM_UP).await;

    let before = service.resident()?;
    let (begun, sent) = (tokio::time::Instant::now(), flooder.ask(&address)?);
    phase.set(Phase::WATCHED);
    tokio::time::sleep(extent.counted).await;
    phase.set(Phase::UNWATCHED);
    tokio::time::sleep(SOON).await;
    let rate = (flooder.ask(&unread)? - sent) as f64 / begun.elapsed().as_secs_f64();
    let after = service.resident()?;

    let mut windows = Windows::default();
    for number in 0..extent.windows {
        // Without and with, then with and without.
        let is_flooded = [1, 2].contains(&(number % 4));
        let sent = flooder.ask(if is_flooded { &address } else { &unread })?;
        let mark = Mark::take(&mut service)?;
        tokio::time::sleep(WINDOW).await;
        windows.add(is_flooded, &Spent::between(&mark, &Mark::take(&mut service)?));
        if is_flooded {
            windows.datagrams += flooder.ask(&address)? - sent;
        }
    }
    let last = service.resident()?;
    phase.set(Phase::OVER);
    let all = newcomers.await?;
    let newcomers = all.len();
    let mut taken: Vec<Duration> = all.into_iter().flatten().collect();
    taken.sort();
    let [quiet, flooded] = &windows.all;
    let cost = flooded.cpu.as_secs_f64() - flooded.bytes as f64 / quiet.goodput();
    let left_in_all = flooded.goodput() / quiet.goodput();
    Ok(Outcome {
        rate,
        cost: cost * 1e6 / windows.datagrams as f64,
        cores: quiet.cpu.as_secs_f64() / (WINDOW.as_secs_f64() * (extent.windows / 2) as f64),
        left: windows.left(),
        left_in_all,
        taken,
        newcomers,
        resident: [before, after, last],
    })
}

/// Bytes and processor time of windows: without the flood, with it.
#[derive(Default)]
struct Windows {
    all: [Spent; 2],
    /// Four windows each.
    groups: Vec<[Spent; 2]>,
    count: usize,
    /// Datagrams of the flood.
    datagrams: u64,
}

impl Windows {
    fn add(&mut self, is_flooded: bool, spent: &Spent) {
        if self.count.is_multiple_of(4) {
            self.groups.push(Default::default());
        }
        self.count += 1;
        for [quiet, flooded] in self.groups.last_mut().into_iter().chain([&mut self.all]) {
            if is_flooded { flooded } else { quiet }.add(spent);
        }
    }

    /// Goodput with the flood divided by that without, in each four windows, from the least.
    fn left(&self) -> Vec<f64> {
        let mut left: Vec<f64> =
            self.groups.iter().map(|[quiet, flooded]| flooded.goodput() / quiet.goodput()).collect();
        left.sort_by(f64::total_cmp);
        left
    }
}
