//! Options that only an endpoint with an identity needs.

use std::net::SocketAddr;

use super::part::SecurePart;
use crate::config::Config;
use crate::endpoint::incoming::Ways;
use crate::error::BindError;
use crate::webrtc::{Identity, direct::Prefixes, dtls::Versions};

/// Options that only an endpoint with an identity needs.
#[derive(Debug, Default)]
pub(in crate::endpoint) struct SecureOptions {
    pub(super) identity: Option<Identity>,
    pub(super) advertised: Vec<SocketAddr>,
    pub(super) prefixes: Prefixes,
    pub(super) versions: Versions,
}

impl SecureOptions {
    /// Checks that the ways in fit the identity, or that there is none.
    pub(in crate::endpoint) fn check(&self, ways: Ways) -> Result<(), BindError> {
        match (&self.identity, ways) {
            (Some(_), Ways { plain: true, .. }) => Err(BindError::PlainWithIdentity),
            (None, Ways { direct: true, .. }) => Err(BindError::IdentityNeeded),
            _ => Ok(()),
        }
    }

    /// Makes the secure part of an endpoint; `None` without an identity.
    pub(in crate::endpoint) fn part(self, ways: Ways, config: &Config) -> Result<Option<SecurePart>, BindError> {
        let Self { identity, advertised, mut prefixes, versions } = self;
        let Some(identity) = identity else { return Ok(None) };
        prefixes.is_closed = !ways.direct;
        SecurePart::new(identity, advertised, prefixes, versions, config).map(Some)
    }
}
