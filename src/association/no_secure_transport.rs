//! Stand-in for the secure transport in builds without the feature `webrtc`, where no association has one.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use narrowboat_sctp::AssociationHandle;

use crate::net::{BatchEffects, Input, Route, SealedBatch, SessionProgress};

/// A value that does not exist.
#[derive(Debug)]
pub(crate) enum SecureTransport {}

impl SecureTransport {
    pub(super) fn handle(&self) -> AssociationHandle {
        match *self {}
    }

    pub(crate) fn remote(&self) -> Option<SocketAddr> {
        match *self {}
    }

    pub(super) fn overhead_max(&self) -> usize {
        match *self {}
    }

    pub(super) fn check_at_once(&self, _: Instant) {
        match *self {}
    }

    pub(super) fn send_probe(&self, _: &[u8]) {
        match *self {}
    }

    pub(super) fn confirm_nominated(&self) {
        match *self {}
    }

    pub(super) fn close(&self, _: &mut Vec<(Route, Vec<u8>)>) {
        match *self {}
    }

    pub(super) fn seal(&self, _: &[u8], _: usize, _: &mut Vec<u8>) -> Option<SealedBatch> {
        match *self {}
    }

    pub(super) fn on_send_failure(&self, _: Instant, _: Route, _: &io::Error) {
        match *self {}
    }

    pub(super) fn on_unreachable(&self, _: SocketAddr) -> bool {
        match *self {}
    }

    pub(super) fn receive(
        &self,
        _: Instant,
        _: impl Iterator<Item = Input>,
        _: &mut Vec<Bytes>,
        _: &mut BatchEffects,
    ) -> SessionProgress {
        match *self {}
    }

    pub(super) fn turn(&self, _: Instant, _: &mut Vec<(Route, Vec<u8>)>) -> (SessionProgress, Option<Instant>) {
        match *self {}
    }
}
