//! Stand-ins for builds without the feature `webrtc`, where no endpoint speaks DTLS.

use std::net::IpAddr;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use narrowboat_sctp::AssociationHandle;

use super::Endpoint;
use super::builder::Ways;
use super::router::{DatagramRouter, RouteResult};
use super::table::{EndpointShared, EndpointTable, RoutedBatch};
use crate::config::Config;
use crate::error::{BindError, ConnectError};
use crate::handle::Association;
use crate::net::{Answers, Datagram};

/// A value that does not exist.
#[derive(Debug)]
pub(crate) enum SecurePart {}

/// A value that does not exist.
#[derive(Debug)]
pub(crate) enum SecureRouter {}

/// A value that does not exist.
#[expect(unnameable_types, reason = "only this crate makes targets")]
#[derive(Clone, Copy, Debug)]
pub enum SecureTarget {}

/// No options.
#[derive(Debug, Default)]
pub(super) struct SecureOptions(());

/// Nothing.
#[derive(Debug)]
pub(super) struct SecureTable;

/// Nobody: over plain UDP strangers send INITs.
pub(super) struct Strangers;

impl SecurePart {
    pub(super) fn count_unknown(&self, _: usize) {
        match *self {}
    }

    pub(super) fn router(&self) -> DatagramRouter {
        match *self {}
    }
}

/// Routes like the router of builds with the feature.
pub(super) fn route(router: &mut SecureRouter, _: Instant, _: Datagram) -> RouteResult {
    match *router {}
}

impl SecureRouter {
    pub(super) fn remove(&mut self, _: AssociationHandle) {
        match *self {}
    }
}

impl SecureTarget {
    pub(super) fn parse(_: &str) -> Option<Self> {
        None
    }
}

impl SecureOptions {
    pub(super) fn check(&self, _: Ways) -> Result<(), BindError> {
        Ok(())
    }

    pub(super) fn part(self, _: Ways, _: &Config) -> Result<Option<SecurePart>, BindError> {
        Ok(None)
    }
}

impl SecureTable {
    pub(super) fn new(_: [u8; 32]) -> Self {
        Self
    }
}

impl Strangers {
    pub(super) fn new(_: &EndpointShared) -> Self {
        Self
    }

    pub(super) fn is_wanted(&self, _: &[u8]) -> bool {
        true
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    pub(super) fn handle_timeout(&mut self, _: &EndpointShared, _: &mut Answers) {}

    pub(super) fn handle_batch(&mut self, _: &Arc<EndpointShared>, _: &mut RoutedBatch, _: &mut Vec<Waker>) {}
}

impl EndpointTable {
    pub(super) fn forget_signalled(&mut self, _: AssociationHandle) {}
}

impl EndpointShared {
    pub(super) fn has_room(&self, _: &EndpointTable, _: IpAddr) -> bool {
        false
    }
}

impl Endpoint {
    pub(super) fn dial_secure(&self, target: SecureTarget) -> Result<Association, ConnectError> {
        match target {}
    }
}
