//! Outages around the closing of a channel over real sockets: a relay between two endpoints drops everything for a
//! while, in one direction or both, from some datagram after `close` on. Both ends close or neither does, and both
//! report the same. Time-outs are short, so that seconds stand for the minutes of `outage`, which tries every step in
//! virtual time.
//!
//! `cargo test --test outage_sockets -- --nocapture` prints the table.
#![expect(clippy::let_underscore_must_use, reason = "some results make no difference to a test")]
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a test fails by panicking, with a table")]

mod secure;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use narrowboat::error::{ChannelError, OpenError};
use narrowboat::{Association, ChannelOptions, Config, DataChannel, Endpoint, Identity, Ticket};
use secure::relay::{Direction, Relay};
use secure::within;

const MS: Duration = Duration::from_millis(1);
/// Nothing is given up after this long.
const SHORT: Duration = Duration::from_millis(400);
/// The association may end or not.
const MIDDLE: Duration = Duration::from_millis(4500);
/// An end that waits for an answer gives up.
const LONG: Duration = Duration::from_secs(9);
/// For an end to notice that the other is gone, on a machine with other things to do.
const PATIENCE: u64 = 60;
const STREAM: u16 = 6;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Transport {
    Plain,
    Dtls,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Closer {
    Client,
    Server,
    Both,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    transport: Transport,
    closer: Closer,
    /// The direction that is cut; `None` for both.
    cut: Option<Direction>,
    /// Datagrams that get through after `close`, before the outage begins.
    step: usize,
    outage: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Verdict {
    /// Both ends have closed, and the id was used again.
    Closed,
    /// The association has ended at both ends.
    Ended,
}

/// Two endpoints, and the network between them.
struct Pair {
    case: Case,
    relay: Relay,
    associations: [Association; 2],
    channels: [DataChannel; 2],
    /// They end their associations when they are dropped.
    _endpoints: [Endpoint; 2],
}

fn config() -> Config {
    let mut config = Config::default();
    config.association.rto_initial = 200 * MS;
    config.association.rto_min = 100 * MS;
    config.association.rto_max = 500 * MS;
    config.association.heartbeat_interval = Some(500 * MS);
    config.association.idle_timeout = 6000 * MS;
    config
}

fn endpoint(transport: Transport) -> Endpoint {
    let builder = Endpoint::builder().bind("127.0.0.1:0").config(config());
    match transport {
        Transport::Plain => builder.accept_plain(),
        Transport::Dtls => builder.identity(Identity::generate().unwrap()).accept_direct(),
    }
    .build()
    .unwrap()
}

fn channel(association: &Association) -> DataChannel {
    association.create_channel(ChannelOptions::new("negotiated").negotiated(STREAM)).unwrap()
}

impl Pair {
    async fn new(case: Case) -> Self {
        let endpoints = [endpoint(case.transport), endpoint(case.transport)];
        let [client, server] = &endpoints;
        let relay = Relay::to(server.local_address()).await;
        let accepted = async { server.accept().await.unwrap().await.unwrap() };
        let connected = async {
            match case.transport {
                Transport::Plain => client.connect(relay.address).await,
                Transport::Dtls => {
                    let fingerprint = server.identity().unwrap().fingerprint();
                    client.connect(&Ticket::new([relay.address], fingerprint).unwrap()).await
                }
            }
        };
        let (a, b) = within(PATIENCE, async { tokio::join!(connected, accepted) }).await;
        let associations = [a.unwrap(), b];
        let channels = associations.each_ref().map(channel);
        let pair = Self { case, relay, associations, channels, _endpoints: endpoints };
        assert!(pair.exchange(&pair.channels).await, "{case:?}");
        pair
    }

    /// A message each way. `false` if the association ends before they have come.
    async fn exchange(&self, channels: &[DataChannel; 2]) -> bool {
        let [near, far] = channels;
        let both = async {
            for (from, to) in [(near, far), (far, near)] {
                if from.send("a message").await.is_err() || !matches!(to.recv().await, Some(Ok(_))) {
                    return false;
                }
            }
            true
        };
        within(PATIENCE, both).await
    }

    /// Closes during an outage. Returns how it ended, which must be the same at both ends.
    async fn run(self) -> (Case, Verdict) {
        let case = self.case;
        let mut passed = 0;
        let mut cut_since = None;
        self.relay.rule(move |direction, _| {
            if passed == case.step {
                cut_since.get_or_insert_with(Instant::now);
            }
            passed += 1;
            let is_out = cut_since.is_some_and(|since| since.elapsed() < case.outage);
            !is_out || case.cut.is_some_and(|cut| cut != direction)
        });
        let [near, far] = &self.channels;
        if case.closer != Closer::Server {
            drop(near.close());
        }
        if case.closer != Closer::Client {
            drop(far.close());
        }
        let ends = join_all(self.channels.iter().map(|channel| within(PATIENCE, channel.closed()))).await;
        let verdict = self.verdict(&ends).await;
        (case, verdict)
    }

    async fn verdict(&self, ends: &[Result<(), ChannelError>]) -> Verdict {
        let case = self.case;
        let is_allowed = |end: &Result<(), ChannelError>| matches!(end, Ok(()) | Err(ChannelError::Association(_)));
        assert!(ends.iter().all(is_allowed), "{case:?}: {ends:?}");
        // The outage may have begun after both had closed, and go on.
        self.relay.rule(|_, _| true);
        if ends.iter().all(Result::is_ok) && self.use_id_again().await {
            return Verdict::Closed;
        }
        // If one end has lost the association, so has the other.
        join_all(self.associations.iter().map(|association| within(PATIENCE, association.closed()))).await;
        Verdict::Ended
    }

    /// `false` if the association has ended.
    async fn use_id_again(&self) -> bool {
        let options = || ChannelOptions::new("negotiated").negotiated(STREAM);
        let again = self.associations.each_ref().map(|association| association.create_channel(options()));
        match again {
            [Ok(near), Ok(far)] => self.exchange(&[near, far]).await,
            again => {
                let is_allowed = |end: &Result<_, OpenError>| matches!(end, Ok(_) | Err(OpenError::Closed));
                assert!(again.iter().all(is_allowed), "{:?}: {again:?}", self.case);
                false
            }
        }
    }
}

/// Seconds of outage, and how many cases ended in each way.
type Table = BTreeMap<Duration, BTreeMap<Verdict, usize>>;

async fn table(transport: Transport) -> Table {
    let mut pairs = Vec::new();
    for closer in [Closer::Client, Closer::Server, Closer::Both] {
        for cut in [None, Some(Direction::ToServer), Some(Direction::ToClient)] {
            for step in [0, 1, 2, 4] {
                for outage in [SHORT, MIDDLE, LONG] {
                    // One handshake at a time, and all outages at once.
                    pairs.push(Pair::new(Case { transport, closer, cut, step, outage }).await);
                }
            }
        }
    }
    let mut table = Table::new();
    for (case, verdict) in join_all(pairs.into_iter().map(Pair::run)).await {
        *table.entry(case.outage).or_default().entry(verdict).or_default() += 1;
    }
    for (outage, verdicts) in &table {
        println!("{transport:?}: {outage:?} {verdicts:?}");
    }
    table
}

fn check(transport: Transport) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let table = runtime.block_on(table(transport));
    let count = |outage, verdict| table.get(&outage).and_then(|row| row.get(&verdict)).copied().unwrap_or_default();
    assert_eq!(count(SHORT, Verdict::Ended), 0, "{transport:?}: a short outage ended associations");
    assert!(count(LONG, Verdict::Ended) > 0, "{transport:?}: no outage was long enough to try the end");
}

#[test]
fn sockets_of_plain_udp_close_at_both_ends_or_at_neither() {
    check(Transport::Plain);
}

#[test]
fn sockets_of_dtls_close_at_both_ends_or_at_neither() {
    check(Transport::Dtls);
}
