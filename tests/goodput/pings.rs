//! Pings of 64 bytes beside bulk on the same association: the time there and back.
//!
//! Both ends have the default configuration. The queue in the network is the sender's own: a controller by losses fills
//! it, a model leaves most of it empty.

use narrowboat_sctp::{AssociationConfig, CongestionControl};

use crate::clock::{MILLISECOND, Nanos, SECOND};
use crate::world::{Load, Path, World};
use crate::{TIME, median};

const PATH: Path = Path::clean(10, 40);
const ROUND_TRIP: Nanos = PATH.round_trip * MILLISECOND;

const LOAD: Load = Load { bulk_len: 256 << 10, ping_every: Some(20 * MILLISECOND), ping_len: 64 };

/// Bytes of the largest packet at first, with the headers of UDP and IPv4.
const PACKET: u64 = 1_228;

/// Figures of a run.
#[derive(Clone, Copy, Debug)]
struct Figures {
    /// Time within which 95 % of the pings are back.
    ping: Nanos,
    /// Time within which 95 % of the full packets pass the queue in the network.
    queue: Nanos,
    /// Goodput of the bulk, in percent of the link.
    share: u64,
}

fn measure(path: Path, congestion_control: CongestionControl, message_interleaving: bool, seed: u64) -> Figures {
    let config = AssociationConfig { congestion_control, message_interleaving, ..AssociationConfig::default() };
    let mut world = World::new(path, seed);
    world.add_flow(config, 0, LOAD);
    world.run(TIME * SECOND);
    let queue = world.late_wait();
    let mut flow = world.flows.remove(0);
    assert!(flow.echoes.len() as u64 > (TIME - 1) * 48, "{} pings are back", flow.echoes.len());
    flow.echoes.sort_unstable();
    let ping = flow.echoes[flow.echoes.len() * 95 / 100];
    let share = flow.delivered.iter().sum::<u64>() * 8 * 100 / (path.rate() * TIME);
    eprintln!(
        "{path:?}, {congestion_control:?}, interleaving {message_interleaving}: 95 % of the pings are back within {:.1} \
         ms and of the packets pass the queue within {:.1} ms; bulk has {share} % of the link",
        ping as f64 / MILLISECOND as f64,
        queue as f64 / MILLISECOND as f64
    );
    Figures { ping, queue, share }
}

/// Returns the time that so many bytes take on the link.
fn wire_time(bytes: u64) -> Nanos {
    bytes * 8 * SECOND / PATH.rate()
}

#[test]
fn with_interleaving_a_ping_waits_for_the_queue_in_the_network_and_two_packets() {
    for congestion_control in [CongestionControl::Cubic, CongestionControl::NewReno, CongestionControl::Bbr] {
        let Figures { ping, queue, share } = measure(PATH, congestion_control, true, 1);
        assert!(ping <= ROUND_TRIP + queue + wire_time(2 * PACKET), "{congestion_control:?}: {ping} ns");
        assert!(share >= 90, "{congestion_control:?}: {share} %");
    }
}

#[test]
fn with_interleaving_and_a_model_a_ping_takes_at_most_one_and_a_half_round_trips() {
    let Figures { ping, share, .. } = measure(PATH, CongestionControl::Bbr, true, 1);
    assert!(ping <= ROUND_TRIP * 3 / 2, "{ping} ns");
    assert!(share >= 90, "{share} %");
}

/// One packet of a thousand is lost. A ping that is lost is sent again a round trip later, and those behind it wait.
#[test]
fn with_interleaving_losses_of_bulk_do_not_hold_up_pings() {
    let path = Path { loss: 1_000, ..PATH };
    let excess = |congestion_control| {
        median(|seed| {
            let Figures { ping, queue, .. } = measure(path, congestion_control, true, seed);
            ping.saturating_sub(ROUND_TRIP + queue)
        })
    };
    for congestion_control in [CongestionControl::Cubic, CongestionControl::Bbr] {
        let excess = excess(congestion_control);
        assert!(excess <= wire_time(2 * PACKET), "{congestion_control:?}: {excess} ns");
    }
}

/// The fragments of a message have consecutive TSNs (RFC 9260 §6.9), so a ping waits for the end of a message of 256
/// KiB that was begun. It does not wait for another.
#[test]
fn without_interleaving_a_ping_waits_for_one_bulk_message_more() {
    let message = wire_time((256 << 10) * PACKET / (PACKET - 28 - 12 - 16));
    for congestion_control in [CongestionControl::Cubic, CongestionControl::NewReno, CongestionControl::Bbr] {
        let Figures { ping, queue, share } = measure(PATH, congestion_control, false, 1);
        assert!(ping <= ROUND_TRIP + queue + message + wire_time(2 * PACKET), "{congestion_control:?}: {ping} ns");
        assert!(share >= 90, "{congestion_control:?}: {share} %");
    }
}
