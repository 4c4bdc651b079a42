//! Turns: which senders may send at the same time.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Files that arrive at the same time, over all senders.
const FILES_MAX: usize = 64;
/// Of those, from one sender, so that eight senders are needed to make another one wait.
const FILES_PER_SENDER_MAX: usize = 8;
/// Senders that are remembered before those that have gone are looked for.
const SENDERS_MIN: usize = 64;

/// Turns of files. A sender is an IPv4 address, or 64 bits of an IPv6 address, which is what one host may have. Files
/// of one sender wait for one another; they take no turn of others meanwhile.
pub(crate) struct Turns {
    all: Arc<Semaphore>,
    senders: Mutex<Senders>,
}

struct Senders {
    turns: HashMap<IpAddr, Weak<Semaphore>>,
    /// Number of entries at which those of senders that have gone are removed.
    sweep_at: usize,
}

/// A turn of one sender, and one of all. Dropping it lets the next file begin.
pub(crate) struct Turn {
    _of_all: OwnedSemaphorePermit,
    _of_sender: SenderTurn,
}

/// A turn among the files of one sender.
pub(crate) struct SenderTurn(#[expect(dead_code, reason = "it is held")] Option<OwnedSemaphorePermit>);

impl Turns {
    pub(crate) fn new() -> Self {
        let senders = Senders { turns: HashMap::new(), sweep_at: SENDERS_MIN };
        Self { all: Arc::new(Semaphore::new(FILES_MAX)), senders: Mutex::new(senders) }
    }

    /// Waits for a turn among the files of this sender.
    pub(crate) async fn of_sender(&self, sender: IpAddr) -> SenderTurn {
        let turns = self.senders.lock().unwrap_or_else(PoisonError::into_inner).turns_of(host(sender));
        // Nobody closes the semaphores.
        SenderTurn(turns.acquire_owned().await.ok())
    }

    /// Waits for a turn among the files of all.
    pub(crate) async fn of_all(&self, of_sender: SenderTurn) -> Option<Turn> {
        let of_all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Turn { _of_all: of_all, _of_sender: of_sender })
    }
}

impl Senders {
    fn turns_of(&mut self, sender: IpAddr) -> Arc<Semaphore> {
        if let Some(turns) = self.turns.get(&sender).and_then(Weak::upgrade) {
            return turns;
        }
        if self.turns.len() >= self.sweep_at {
            self.turns.retain(|_, turns| turns.strong_count() > 0);
            self.sweep_at = (2 * self.turns.len()).max(SENDERS_MIN);
        }
        let turns = Arc::new(Semaphore::new(FILES_PER_SENDER_MAX));
        self.turns.insert(sender, Arc::downgrade(&turns));
        turns
    }
}

/// Returns the address that stands for the host: the whole IPv4 address, or the prefix of an IPv6 address.
fn host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn take(turns: &Turns, sender: &str) -> Turn {
        let of_sender = turns.of_sender(sender.parse().unwrap()).await;
        turns.of_all(of_sender).await.unwrap()
    }

    async fn waits(turns: &Turns, sender: &str) -> bool {
        tokio::time::timeout(Duration::from_millis(1), take(turns, sender)).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn one_sender_holds_up_itself_alone() {
        let turns = Turns::new();
        let mut held = Vec::new();
        for _ in 0..FILES_PER_SENDER_MAX {
            held.push(take(&turns, "192.0.2.1").await);
        }
        assert!(waits(&turns, "192.0.2.1").await);
        assert!(waits(&turns, "::ffff:192.0.2.1").await, "the same address");
        assert!(!waits(&turns, "192.0.2.2").await);
        held.pop();
        assert!(!waits(&turns, "192.0.2.1").await);
    }

    #[tokio::test(start_paused = true)]
    async fn the_addresses_of_one_ipv6_host_are_one_sender() {
        let turns = Turns::new();
        let mut held = Vec::new();
        for n in 0..FILES_PER_SENDER_MAX {
            held.push(take(&turns, &format!("2001:db8::{n}")).await);
        }
        assert!(waits(&turns, "2001:db8::ffff").await);
        assert!(!waits(&turns, "2001:db8:0:1::").await);
    }

    #[tokio::test(start_paused = true)]
    async fn senders_that_have_gone_are_forgotten() {
        let turns = Turns::new();
        for n in 0..10_000_u32 {
            drop(take(&turns, &std::net::Ipv4Addr::from_bits(n).to_string()).await);
        }
        assert!(turns.senders.lock().unwrap().turns.len() <= SENDERS_MIN);
    }
}
