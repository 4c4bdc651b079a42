//! As much of ICE as one public port needs (RFC 8445).
//!
//! Who is asked is *lite* (§2.5): it answers checks, remembers the addresses that passed one, and sends to the pair
//! that the other end nominates. Who asks, a Rust client with a ticket, is a small controlling agent that checks a
//! handful of addresses, nominates the first one that answers, and keeps asking for consent (RFC 7675).

mod answer;
mod controlling;
mod credentials;
mod lite;

pub(crate) use answer::{CheckRefusal, accept, check, refuse};
pub(crate) use controlling::{ControllingAgent, IceFailure};
pub(crate) use credentials::{Credentials, CredentialsError, is_pwd};
pub(crate) use lite::{Checked, ConsentError, LiteAgent};

use std::time::Duration;

/// Longest time for which one answered check allows sending (RFC 7675 §5.1).
pub(crate) const CONSENT_TIMEOUT: Duration = Duration::from_secs(30);

/// Time to wait for the first check before giving up: as long as the seven transmissions of a check take (RFC 8863 §4).
pub(crate) const FIRST_CHECK_TIMEOUT: Duration = Duration::from_millis(39_500);
