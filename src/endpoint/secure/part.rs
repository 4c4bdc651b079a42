//! The parts that an endpoint with an identity has beyond one for plain UDP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use narrowboat_sctp::{AssociationConfig, AssociationHandle, CookieKeys, MemoryBudget, Valid};

use crate::association::now;
use crate::config::Config;
use crate::endpoint::seed::draw_seed;
use crate::error::BindError;
use crate::webrtc::direct::Prefixes;
use crate::webrtc::dtls::{DtlsParameters, Version, Versions};
use crate::webrtc::{Context, DatagramSizes, Identity, PeerLimits, Reachability, SecureCounters, Server};

/// Parts of an endpoint with an identity.
#[derive(Debug)]
pub(crate) struct SecurePart {
    pub(crate) identity: Identity,
    pub(crate) context: Arc<Context>,
    /// Addresses that peers are told for this endpoint, if not those of its interfaces.
    pub(crate) advertised: Vec<SocketAddr>,
    keys: CookieKeys,
    /// Configuration of associations.
    pub(super) association: Valid<AssociationConfig>,
    /// Memory budget that all associations share.
    memory: MemoryBudget,
}

impl SecurePart {
    pub(crate) fn new(
        identity: Identity,
        advertised: Vec<SocketAddr>,
        prefixes: Prefixes,
        versions: Versions,
        config: &Config,
    ) -> Result<Self, BindError> {
        let association = &config.association;
        let least = association.mtu_min.unwrap_or(association.mtu);
        let parameters = DtlsParameters::new(identity.certificate_der(), identity.key_der(), versions, least)
            .map_err(|error| BindError::Identity(error.to_string()))?;
        let context = Context {
            parameters: Arc::new(parameters),
            prefixes,
            counters: Arc::new(SecureCounters::default()),
            consent_timeout: config.consent(),
            sizes: DatagramSizes { first: association.mtu, max: config.dtls_mtu_max.min(association.mtu_max) },
            reachability: Reachability::new(now(), &draw_seed()?),
        };
        let keys = CookieKeys::new(now(), draw_seed()?);
        let association = Valid::new(below_dtls(config.association()))?;
        let memory = MemoryBudget::new(config.memory_max);
        Ok(Self { identity, context: Arc::new(context), advertised, keys, association, memory })
    }

    /// Counts datagrams that belong to no protocol.
    pub(in crate::endpoint) fn count_unknown(&self, count: usize) {
        self.context.counters.unknown_protocol.fetch_add(count as u64, Ordering::Relaxed);
        tracing::debug!(reason = "unknown_protocol", count, "dropped");
    }

    /// Creates the server of the endpoint's peers.
    pub(in crate::endpoint) fn server(&self, config: &Config, seed: [u8; 32]) -> Box<Server> {
        let limits = PeerLimits {
            peers_max: config.associations_max,
            direct_per_address_max: config.associations_per_address_max,
            memory: self.memory.clone(),
        };
        Box::new(Server::new(Arc::clone(&self.context), limits, seed))
    }

    /// Creates an association with the peer's default port.
    pub(super) fn association(&self, handle: AssociationHandle, seed: [u8; 32]) -> narrowboat_sctp::Association {
        self.association_with(self.association.clone(), handle, seed)
    }

    /// Creates an association that knows no address, and does nothing before it has a transport.
    pub(super) fn association_with(
        &self,
        config: Valid<AssociationConfig>,
        handle: AssociationHandle,
        seed: [u8; 32],
    ) -> narrowboat_sctp::Association {
        // A cookie of one association is worth nothing in another.
        let binding = handle.0.to_be_bytes();
        let mut association = narrowboat_sctp::Association::new_over_dtls(config, self.keys.clone(), &binding, seed);
        association.set_memory_budget(&self.memory);
        association
    }
}

/// Returns the configuration with the sizes less the overhead of a DTLS record, because the configured sizes are those
/// of datagrams. The overhead is not known before the first record, so the largest is assumed.
fn below_dtls(mut config: AssociationConfig) -> AssociationConfig {
    let packet_len = |datagram: usize, least: usize| Version::Dtls12.packet_len_max(datagram).max(least);
    config.mtu = packet_len(config.mtu, 576);
    config.mtu_min = config.mtu_min.map(|min| packet_len(min, 512));
    config
}
