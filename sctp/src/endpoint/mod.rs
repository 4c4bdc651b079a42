//! Many associations on one UDP socket (RFC 6951), without I/O: which datagram belongs to which, and what is answered
//! while there is none (RFC 9260 §5.1, §8.4).

mod rate_limit;
mod source;
mod table;

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use self::rate_limit::RateLimit;
pub use self::source::{AddressCounts, SaltedHasher, Source, give_back_memory};
pub use self::table::AssociationHandle;
use self::table::{AssociationTable, PeerAssociation};
use crate::association::Association;
use crate::association::negotiate::{self, InitRefusal, LocalInit};
use crate::config::AssociationConfig;
use crate::cookie::CookieKeys;
use crate::memory::MemoryBudget;
use crate::out_of_the_blue;
use crate::serial::Tsn;
use crate::stats::{PacketDropReason, PacketDrops};
use crate::time::Instant;
use crate::valid::Valid;
use crate::wire::{Cause, ChunkType, Chunks, Init, PacketHeader, RawChunk, is_checksum_valid};

/// Limits of an endpoint. Every value is valid.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointConfig {
    /// Of each association.
    pub association: Valid<AssociationConfig>,
    /// True if peers may open associations. Default true.
    pub accept: bool,
    /// Associations at most, those that were dialled included. Default 65,536.
    pub associations_max: usize,
    /// Of those, from one IP address. Default 4,096: many users may share an address behind a NAT.
    pub associations_per_address_max: usize,
    /// INITs answered in a second, at most. Default 50,000. The limit is shared out equally by source (IPv4 address,
    /// IPv6 prefix of 64 bits). A source that needs more than its share competes with others for a fiftieth of the
    /// limit, of which up to ten seconds are saved up. So one host gets a burst of 10,000 answers, then 1,000 in a
    /// second, and takes none of what others need. An INIT beyond the limit is dropped and counted; its sender
    /// retransmits it.
    ///
    /// No share helps against sources that are invented anew for each packet: newcomers get in only while the limit is
    /// above such a flood, which is why it is so high. A COOKIE ECHO with a good cookie needs no answer of this limit.
    pub inits_per_second_max: u32,
    /// Packets that belong to no association and are answered in a second, at most: those of RFC 9260 §8.4, and cookies
    /// that are too old or for which there is no room. Default 5,000, shared out in the same way: one host gets a burst
    /// of 1,000, then 100 in a second.
    pub out_of_the_blue_per_second_max: u32,
    /// Bytes that all associations together may hold; see [`MemoryBudget`]. When they are used up, an INIT is answered
    /// with an ABORT "Out of Resource". Default: no limit.
    pub memory_max: usize,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self {
            association: Valid::default(),
            accept: true,
            associations_max: 65_536,
            associations_per_address_max: 4096,
            inits_per_second_max: 50_000,
            out_of_the_blue_per_second_max: 5000,
            memory_max: usize::MAX,
        }
    }
}

/// Result of processing a datagram.
#[derive(Debug)]
#[must_use]
pub enum DatagramEvent {
    /// Hand it to this association.
    Existing(AssociationHandle, Bytes),
    /// A peer has completed a handshake: a new association. It has taken the datagram in already.
    New(AssociationHandle, Box<Association>),
    /// An answer was appended to `answer`; send it to where the datagram came from.
    Answer,
    /// Dropped, and counted.
    Dropped,
}

/// Reason why no association could be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssociateError {
    /// `associations_max` is reached.
    #[error("the endpoint has as many associations as its configuration allows")]
    TooManyAssociations,
    /// `memory_max` is used up.
    #[error("the endpoint's associations hold as much memory as its configuration allows")]
    OutOfMemory,
    /// There is one to this address and port already.
    #[error("there is an association with {0} already")]
    AlreadyConnected(SocketAddr),
}

/// The associations of one UDP socket, by peer. It owns the table, not the associations.
///
/// Nothing is allocated for a peer before its State Cookie has come back and proved where it is: an INIT costs two
/// hashes and one answer that is smaller than three INITs.
///
/// Peers are told apart by UDP address *and* port: behind a NAT, many of them have the same IP address and the same
/// SCTP ports.
#[derive(Debug)]
pub struct Endpoint {
    config: EndpointConfig,
    keys: CookieKeys,
    rng: StdRng,
    table: AssociationTable,
    inits: RateLimit,
    out_of_the_blue: RateLimit,
    memory: MemoryBudget,
    drops: PacketDrops,
}

impl Endpoint {
    /// Creates an endpoint without associations. `seed` must come from a secure source of randomness: cookie keys and
    /// tags are drawn from it.
    #[must_use]
    pub fn new(now: Instant, config: EndpointConfig, seed: [u8; 32]) -> Self {
        let mut rng = StdRng::from_seed(seed);
        let keys = CookieKeys::new(now, draw(&mut rng));
        // One secret serves all three tables: none of them shows it to a peer.
        let secret = rng.next_u64();
        let table = AssociationTable::new(secret);
        let inits = RateLimit::new(now, config.inits_per_second_max, secret);
        let out_of_the_blue = RateLimit::new(now, config.out_of_the_blue_per_second_max, secret);
        let memory = MemoryBudget::new(config.memory_max);
        Self { config, keys, rng, table, inits, out_of_the_blue, memory, drops: PacketDrops::default() }
    }

    /// Starts an association with the peer at `remote`; it has an INIT to transmit.
    ///
    /// # Errors
    ///
    /// See [`AssociateError`].
    pub fn connect(
        &mut self,
        now: Instant,
        remote: SocketAddr,
    ) -> Result<(AssociationHandle, Association), AssociateError> {
        if self.table.len() >= self.config.associations_max {
            return Err(AssociateError::TooManyAssociations);
        }
        if !self.memory.has_room() {
            return Err(AssociateError::OutOfMemory);
        }
        let peer = PeerAssociation { address: remote, sctp_port: self.config.association.remote_port };
        let handle = self.table.insert(peer).ok_or(AssociateError::AlreadyConnected(remote))?;
        let mut association = self.association(&peer, self.config.association.clone());
        association.set_memory_budget(&self.memory);
        association.connect(now);
        Ok((handle, association))
    }

    /// Says what to do with a datagram. Costs the same however many associations there are.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        datagram: Bytes,
        answer: &mut Vec<u8>,
    ) -> DatagramEvent {
        let Ok(header) = PacketHeader::decode(&datagram) else {
            return self.drop_datagram(PacketDropReason::BadPacket);
        };
        if header.destination_port != self.config.association.local_port {
            return self.drop_datagram(PacketDropReason::WrongPorts);
        }
        let peer = PeerAssociation { address: remote, sctp_port: header.source_port };
        if let Some(handle) = self.table.find(&peer) {
            return DatagramEvent::Existing(handle, datagram);
        }
        // §8.4 rule 1.
        if !is_unicast(remote) {
            return self.drop_datagram(PacketDropReason::OutOfTheBlue);
        }
        if !is_checksum_valid(&datagram) {
            return self.drop_datagram(PacketDropReason::BadChecksum);
        }
        match Chunks::new(&datagram).next() {
            Some(Ok(chunk)) if chunk.kind == ChunkType::INIT => {
                self.on_init(now, &peer, &header, &chunk, &datagram, answer)
            }
            Some(Ok(chunk)) if chunk.kind == ChunkType::COOKIE_ECHO => {
                self.on_cookie_echo(now, &peer, &header, &chunk, datagram, answer)
            }
            Some(Ok(_)) => self.on_out_of_the_blue(now, &peer, &header, &datagram, answer),
            Some(Err(_)) | None => self.drop_datagram(PacketDropReason::BadChunkLength),
        }
    }

    /// Answers a packet that belongs to no association (RFC 9260 §8.4). Only packets that have an answer count against
    /// the limit.
    fn on_out_of_the_blue(
        &mut self,
        now: Instant,
        peer: &PeerAssociation,
        header: &PacketHeader,
        datagram: &[u8],
        answer: &mut Vec<u8>,
    ) -> DatagramEvent {
        let Some(leave) = self.out_of_the_blue.look_up(now, peer.address.ip()) else {
            return self.drop_datagram(PacketDropReason::LimitReached);
        };
        if !out_of_the_blue::answer(header, datagram, answer) {
            return self.drop_datagram(PacketDropReason::OutOfTheBlue);
        }
        self.out_of_the_blue.take(&leave);
        self.drops.add(PacketDropReason::OutOfTheBlue);
        DatagramEvent::Answer
    }

    /// Takes no more associations of peers: who begins one is answered with an ABORT (RFC 9260 §8.4 rule 3 with §5.1).
    pub fn stop_accepting(&mut self) {
        self.config.accept = false;
    }

    /// Forgets an association that is over, so that its peer may come again.
    pub fn remove(&mut self, handle: AssociationHandle) {
        self.table.remove(handle);
    }

    /// Returns the UDP address of an association's peer.
    #[must_use]
    pub fn remote_address(&self, handle: AssociationHandle) -> Option<SocketAddr> {
        self.table.peer(handle).map(|peer| peer.address)
    }

    /// Returns the number of associations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Returns `true` if there is no association.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.len() == 0
    }

    /// Returns the memory that the associations share.
    #[must_use]
    pub fn memory(&self) -> &MemoryBudget {
        &self.memory
    }

    /// Returns the counts of packets that were dropped before they reached an association, by reason.
    #[must_use]
    pub fn drops(&self) -> &PacketDrops {
        &self.drops
    }

    /// Answers an INIT (RFC 9260 §5.1 B). Nothing is stored: the cookie in the answer holds all that is remembered.
    fn on_init(
        &mut self,
        now: Instant,
        peer: &PeerAssociation,
        header: &PacketHeader,
        chunk: &RawChunk,
        datagram: &[u8],
        answer: &mut Vec<u8>,
    ) -> DatagramEvent {
        // §8.5.1 A
        if header.verification_tag != 0 {
            return self.drop_datagram(PacketDropReason::WrongTag);
        }
        let Some(leave) = self.inits.look_up(now, peer.address.ip()) else {
            return self.drop_datagram(PacketDropReason::LimitReached);
        };
        if Chunks::new(datagram).nth(1).is_some() {
            return self.drop_datagram(PacketDropReason::UnexpectedChunk);
        }
        let Ok(init) = Init::decode(chunk.value_in(datagram)) else {
            return self.drop_datagram(PacketDropReason::Malformed);
        };
        let checked = negotiate::check(&init);
        if checked == Err(InitRefusal::Silent) {
            return self.drop_datagram(PacketDropReason::Malformed);
        }
        self.inits.take(&leave);
        self.drops.add_parameters(&init);
        let config = self.config_for(peer);
        let refusal = match checked {
            Err(InitRefusal::Silent) => None,
            Err(InitRefusal::Abort(violation)) => Some((PacketDropReason::Malformed, Some(violation.cause()))),
            // §8.4 rule 3 with §5.1: an end that takes no associations says so.
            Ok(()) if !self.config.accept => Some((PacketDropReason::OutOfTheBlue, None)),
            Ok(()) if !self.has_room(peer) => Some((PacketDropReason::LimitReached, Some(Cause::OutOfResource))),
            Ok(()) => None,
        };
        if let Some((reason, cause)) = refusal {
            self.drops.add(reason);
            negotiate::write_abort(&config, init.initiate_tag, cause, false, answer);
            return DatagramEvent::Answer;
        }
        let local = LocalInit {
            tag: self.rng.next_u32().max(1),
            initial_tsn: Tsn(self.rng.next_u32()),
            tie_tags: (0, 0),
            has_begun: false,
            // The layer below is UDP: the checksum is needed.
            zero_checksum: None,
        };
        negotiate::write_init_ack(now, &config, &self.keys, &peer.binding(), &init, local, answer);
        DatagramEvent::Answer
    }

    /// Handles a COOKIE ECHO (RFC 9260 §5.1.5). The cookie is checked before anything is allocated.
    fn on_cookie_echo(
        &mut self,
        now: Instant,
        peer: &PeerAssociation,
        header: &PacketHeader,
        chunk: &RawChunk,
        datagram: Bytes,
        answer: &mut Vec<u8>,
    ) -> DatagramEvent {
        let config = self.config_for(peer);
        let (lifetime, address) = (config.cookie_lifetime, peer.binding());
        let binding = negotiate::binding(&config, &address);
        let Some(opened) = self.keys.open(now, lifetime, chunk.value_in(&datagram), binding) else {
            return self.drop_datagram(PacketDropReason::BadCookie);
        };
        if header.verification_tag != opened.cookie.local_tag {
            return self.drop_datagram(PacketDropReason::WrongTag);
        }
        // The peer has proved where it is, so a cookie that makes an association needs no leave.
        let is_refused = opened.staleness.is_some() || !self.config.accept || !self.has_room(peer);
        if is_refused {
            let Some(leave) = self.out_of_the_blue.look_up(now, peer.address.ip()) else {
                return self.drop_datagram(PacketDropReason::LimitReached);
            };
            self.out_of_the_blue.take(&leave);
        }
        if let Some(staleness) = opened.staleness {
            self.drops.add(PacketDropReason::StaleCookie);
            negotiate::write_stale_cookie(&config, opened.cookie.peer_tag, staleness, answer);
            return DatagramEvent::Answer;
        }
        if is_refused {
            self.drops.add(PacketDropReason::LimitReached);
            negotiate::write_abort(&config, opened.cookie.peer_tag, Some(Cause::OutOfResource), false, answer);
            return DatagramEvent::Answer;
        }
        let mut association = self.association(peer, config);
        association.set_memory_budget(&self.memory);
        association.handle_datagram(now, datagram);
        if !association.state().is_up() {
            // The packet itself has ended it: the association may have a word to say, and is not kept.
            self.drops.add(PacketDropReason::Closed);
            return match association.poll_transmit(now, 1, answer) {
                Some(_) => DatagramEvent::Answer,
                None => DatagramEvent::Dropped,
            };
        }
        match self.table.insert(*peer) {
            Some(handle) => DatagramEvent::New(handle, Box::new(association)),
            None => DatagramEvent::Dropped,
        }
    }

    fn has_room(&self, peer: &PeerAssociation) -> bool {
        self.memory.has_room()
            && self.table.len() < self.config.associations_max
            && self.table.count_at(peer.address.ip()) < self.config.associations_per_address_max
    }

    /// Returns the configuration for a peer, which may use another SCTP port than the configured one.
    fn config_for(&self, peer: &PeerAssociation) -> Valid<AssociationConfig> {
        let config = &self.config.association;
        // Packets without a source port are dropped before.
        NonZeroU16::new(peer.sctp_port).map_or_else(|| config.clone(), |port| config.with_remote_port(port))
    }

    fn association(&mut self, peer: &PeerAssociation, config: Valid<AssociationConfig>) -> Association {
        Association::new(config, self.keys.clone(), &peer.binding(), draw(&mut self.rng))
    }

    fn drop_datagram(&mut self, reason: PacketDropReason) -> DatagramEvent {
        self.drops.add(reason);
        DatagramEvent::Dropped
    }

    /// Recounts the table.
    #[doc(hidden)]
    pub fn check_consistency(&self) {
        self.table.check_consistency();
    }
}

/// Returns `true` if the address is one of a single host.
fn is_unicast(address: SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    !(ip.is_multicast() || ip.is_unspecified() || is_broadcast) && address.port() != 0
}

fn draw(rng: &mut StdRng) -> [u8; 32] {
    let mut bytes = [0; 32];
    rng.fill_bytes(&mut bytes);
    bytes
}
