//! Stand-ins for builds without the feature `webrtc`, where no endpoint speaks DTLS.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use narrowboat_sctp::AssociationHandle;

use super::Endpoint;
use super::batch::RoutedBatch;
use super::incoming::Ways;
use super::shared::EndpointShared;
use crate::config::Config;
use crate::error::{BindError, ConnectError};
use crate::handle::Association;
use crate::net::{Answers, Datagram, RouteTarget};

/// A value that does not exist.
#[derive(Debug)]
pub(crate) enum SecurePart {}

/// A value that does not exist.
#[derive(Debug)]
pub(super) enum Server {}

/// A value that does not exist.
#[expect(unnameable_types, reason = "only this crate makes targets")]
#[derive(Clone, Copy, Debug)]
pub enum SecureTarget {}

/// No options.
#[derive(Debug, Default)]
pub(super) struct SecureOptions(());

/// Nobody: over plain UDP strangers send INITs.
pub(super) struct Strangers;

impl SecurePart {
    pub(super) fn count_unknown(&self, _: usize) {
        match *self {}
    }

    pub(super) fn server(&self, _: &Config, _: [u8; 32]) -> Box<Server> {
        match *self {}
    }
}

impl Server {
    pub(super) fn handle_datagram(&mut self, _: Instant, _: Datagram) -> RouteTarget {
        match *self {}
    }

    pub(super) fn stop_accepting(&mut self) {
        match *self {}
    }

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

impl Endpoint {
    pub(super) fn dial_secure(&self, target: SecureTarget) -> Result<Association, ConnectError> {
        match target {}
    }
}
