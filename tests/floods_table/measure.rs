//! One line of the table.

use std::net::UdpSocket;
use std::time::Duration;

use narrowboat::{Bytes, ChannelOptions, Identity};

use crate::Result;
use crate::flooder::encode;
use crate::newcomers::{Goal, Phase, come};
use crate::process::Child;

/// Until windows are open and buffers have their size.
const WARM_UP: Duration = Duration::from_secs(1);
/// Before the flood, and after it again.
const QUIET: Duration = Duration::from_secs(2);
/// Newcomers who begin in this time are counted; the flood goes on as long as the last of them may take.
const COUNTED: Duration = Duration::from_secs(5);
pub(crate) const SOON: Duration = Duration::from_secs(2);
/// Peers that send all the time, as fast as they can.
const ESTABLISHED: usize = 2;
const MESSAGE_LEN: usize = 64 << 10;

pub(crate) struct Outcome {
    /// Datagrams of the flood a second.
    pub(crate) rate: f64,
    /// Bytes of those who are connected for a second of the service's processor time: without the flood, with it.
    pub(crate) goodput: [f64; 2],
    /// How long newcomers took, in order; those who gave up are not among them.
    pub(crate) taken: Vec<Duration>,
    pub(crate) newcomers: usize,
    /// Resident memory of the service when the flood begins and when it ends, in KiB.
    pub(crate) resident: [u64; 2],
}

/// What the service has done, and used.
struct Mark {
    bytes: u64,
    cpu: f64,
}

impl Mark {
    fn take(service: &mut Child) -> Result<Self> {
        Ok(Self { bytes: service.ask("bytes")?, cpu: service.cpu()? })
    }

    /// Bytes and seconds between two marks.
    fn until(&self, later: &Self) -> (f64, f64) {
        ((later.bytes - self.bytes) as f64, later.cpu - self.cpu)
    }
}

pub(crate) async fn measure(is_secure: bool, sources: u8, datagrams: &[Vec<u8>]) -> Result<Outcome> {
    let mut service = Child::start(["service", if is_secure { "secure" } else { "plain" }])?;
    let (goal, address) = (service.line()?, service.line()?);
    let goal = match is_secure {
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
    let mut flooder = Child::start(arguments.chain(datagrams.iter().map(|datagram| encode(datagram))))?;
    let unread = elsewhere.local_addr()?.to_string();
    flooder.ask(&unread)?;
    let phase = Phase::new();
    let newcomers = tokio::spawn(come(goal, phase.clone()));
    tokio::time::sleep(WARM_UP).await;

    let start = Mark::take(&mut service)?;
    tokio::time::sleep(QUIET).await;
    let before = service.resident()?;
    let (begun, sent) = (tokio::time::Instant::now(), flooder.ask(&address)?);
    phase.set(Phase::WATCHED);
    let flooded = Mark::take(&mut service)?;
    tokio::time::sleep(COUNTED).await;
    phase.set(Phase::UNWATCHED);
    tokio::time::sleep(SOON).await;
    let rate = (flooder.ask(&unread)? - sent) as f64 / begun.elapsed().as_secs_f64();
    let over = Mark::take(&mut service)?;
    let after = service.resident()?;
    tokio::time::sleep(QUIET).await;
    let end = Mark::take(&mut service)?;
    phase.set(Phase::OVER);
    let all = newcomers.await?;

    let ((bytes, cpu), (more, also)) = (start.until(&flooded), over.until(&end));
    let (with, used) = flooded.until(&over);
    let newcomers = all.len();
    let mut taken: Vec<Duration> = all.into_iter().flatten().collect();
    taken.sort();
    Ok(Outcome {
        rate,
        goodput: [(bytes + more) / (cpu + also), with / used],
        taken,
        newcomers,
        resident: [before, after],
    })
}
