//! Browsers, and Rust services that want encryption: SCTP over DTLS over ICE over UDP (RFC 8261), without I/O.
//!
//! As below this crate, time and randomness are arguments here; sockets and tasks are the endpoint's.
//!
//! | module | owns |
//! | --- | --- |
//! | `demux` | the protocol that a datagram belongs to (RFC 7983) |
//! | `stun` | STUN messages (RFC 8489) |
//! | `ice` | ICE-lite for the end that is asked, a small controlling agent for the end that asks (RFC 8445, RFC 7675) |
//! | `dtls` | one DTLS association: trust in the peer, the filter of records (RFC 8261, RFC 8842) |
//! | `direct` | the way in without signalling: credentials that travel inside the user name |
//! | `identity`, `fingerprint` | the key and the certificate that peers know this endpoint by |
//! | `certificate_hash` | the hash by which a description names the peer's certificate (RFC 8122) |
//! | `sdp` | offers and answers of data channels (RFC 8841, RFC 8829) |
//! | `ticket` | the data that a client needs to connect without signalling |
//! | `admission` | peers that have begun a handshake and proved nothing yet: a table of fixed size |
//! | `reachability` | proof that a peer receives at its address, from a check of ours |
//! | `revocation` | peers whose association no longer exists, and the revocation of their consent (RFC 7675 §5.2) |
//! | `direct_listener` | the way in without signalling, until a peer has proved itself |
//! | `router` | the recipient of a datagram |
//! | `server` | the peers of an endpoint: the association of each datagram, new sessions, sessions of signalling |
//! | `session` | the transport of one association: its agent and its DTLS |

pub(crate) mod admission;
mod answered;
mod certificate_hash;
pub(crate) mod demux;
pub(crate) mod direct;
mod direct_listener;
pub(crate) mod dtls;
mod fingerprint;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub(crate) mod ice;
mod identity;
mod reachability;
mod revocation;
mod router;
pub(crate) mod sdp;
mod security;
mod server;
mod session;
mod stats;
pub(crate) mod stun;
mod ticket;

pub(crate) use certificate_hash::{CertificateHash, CertificateHashError};
pub(crate) use direct_listener::{Admitted, DirectListener};
pub use fingerprint::{Fingerprint, FingerprintError};
pub use identity::{Identity, IdentityError, PemError};
pub(crate) use reachability::Reachability;
pub use sdp::{SdpError, SdpProblem};
pub use security::{DtlsVersion, RecordDrops, Security};
pub(crate) use server::sessions::{LocalParameters, SessionConflict, SessionKey, TransportKey};
pub(crate) use server::{
    DialRefusal, ExpectRefusal, ExpectedFor, ExpectedSession, NewPeer, PeerLimits, RoomRefusal, Server,
};
pub(crate) use session::{Context, DatagramSizes, SecureSession};
pub(crate) use stats::SecureCounters;
pub use stats::SecureStats;
pub use ticket::{Ticket, TicketError};

/// Most bytes by which a datagram with a record is larger than the packet in it.
pub(crate) const RECORD_OVERHEAD_MAX: usize = dtls::Version::Dtls12.overhead();
