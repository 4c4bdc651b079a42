//! Browsers, and Rust services that want encryption: SCTP over DTLS over ICE over UDP (RFC 8261), without I/O.
//!
//! As below this crate, time and randomness are arguments here; sockets and tasks are the endpoint's.
//!
//! | module | owns |
//! | --- | --- |
//! | `demux` | which protocol a datagram belongs to (RFC 7983) |
//! | `stun` | STUN messages (RFC 8489) |
//! | `ice` | ICE-lite for who is asked, a small controlling agent for who asks (RFC 8445, RFC 7675) |
//! | `dtls` | one DTLS association: whom to trust, what to let in (RFC 8261, RFC 8842) |
//! | `admission` | who has begun a handshake and proved nothing yet |
//! | `direct` | the way in without signalling: credentials that travel inside the user name |
//! | `identity`, `fingerprint` | the key and the certificate that peers know this endpoint by |
//! | `sdp` | offers and answers of data channels (RFC 8841, RFC 8829) |
//! | `ticket` | what a client must know to connect without signalling |

pub(crate) mod admission;
pub(crate) mod demux;
pub(crate) mod direct;
pub(crate) mod dtls;
mod fingerprint;
pub(crate) mod ice;
mod identity;
pub(crate) mod sdp;
pub(crate) mod stun;
mod ticket;

pub use fingerprint::{Fingerprint, FingerprintError};
pub use identity::{Identity, IdentityError, PemError};
pub use sdp::{SdpError, SdpProblem};
pub use ticket::{Ticket, TicketError};
