//! Spans and events of an association and its channels in the log.

use narrowboat_dcep::ChannelId;
use tracing::span::EnteredSpan;
use tracing::{Level, Span};

use super::inner::Inner;
use super::shared::{Shared, now};
use crate::error::{ChannelError, CloseReason};
use crate::log::{EventLimit, shortened};

/// Returns `true` if neither end has ended the association on purpose.
fn is_failure(reason: &CloseReason) -> bool {
    !reason.is_orderly() && !matches!(reason, CloseReason::LocalAbort | CloseReason::PeerAbort { .. })
}

impl Inner {
    /// Creates the span of a channel, for its calls; `None` below the level of debugging.
    pub(super) fn channel_span(&self, id: ChannelId) -> Option<Span> {
        if !tracing::enabled!(Level::DEBUG) {
            return None;
        }
        let label = self.channels.options(id).map_or("", |options| shortened(&options.label));
        Some(tracing::debug_span!("channel", id = self.channels.stream(id).map(|stream| stream.0), label))
    }

    /// Enters the span of a channel, if the log has one.
    pub(super) fn enter_channel(&self, id: ChannelId) -> Option<EnteredSpan> {
        if !tracing::enabled!(Level::DEBUG) {
            return None;
        }
        Some(self.entries.entry(id)?.span.clone()?.entered())
    }

    /// Reports that a channel is open.
    pub(super) fn report_open(&self, id: ChannelId) {
        let _channel = self.enter_channel(id);
        tracing::debug!(
            stream_id = self.channels.stream(id).map(|stream| stream.0),
            label = self.channels.options(id).map(|options| shortened(&options.label)),
            "channel opened"
        );
    }

    /// Reports that a channel has ended.
    pub(super) fn report_closed(&self, id: ChannelId, error: Option<&ChannelError>) {
        let _channel = self.enter_channel(id);
        tracing::debug!(error = error.map(tracing::field::display), "channel closed");
    }

    /// Returns the reason of the end as text, for the log.
    fn end_reason(&self) -> String {
        match (&self.network.unreachable, self.life.reason()) {
            (Some(error), _) => error.clone(),
            (None, reason) => reason.map(ToString::to_string).unwrap_or_default(),
        }
    }
}

impl Shared {
    /// Reports that the association is established.
    pub(super) fn report_established(&self) {
        if !tracing::enabled!(Level::INFO) {
            return;
        }
        let (association, remote_address) = (self.number(), self.remote_address());
        let role = self.read(|inner| inner.channels.role());
        self.span.record("remote_address", tracing::field::display(remote_address));
        self.span.record("role", tracing::field::debug(role));
        tracing::info!(association, %remote_address, ?role, "association established");
    }

    /// Reports that the association has ended, and its last datagram has left: as a warning if neither end wanted it.
    /// The caller of an attempt that fails has its error.
    pub(super) fn report_end(&self) {
        if !tracing::enabled!(Level::INFO) {
            return;
        }
        let (association, remote_address) = (self.number(), self.remote_address());
        let (was_established, is_failure, reason) = self.read(|inner| {
            let is_failure = inner.life.reason().is_some_and(is_failure);
            (inner.life.was_connected(), is_failure, inner.end_reason())
        });
        let is_failure = is_failure && was_established;
        if is_failure {
            tracing::warn!(association, %remote_address, was_established, reason, "association ended");
        } else {
            tracing::info!(association, %remote_address, was_established, reason, "association ended");
        }
    }

    /// Warns that the runtime ends before the association.
    pub(super) fn warn_of_early_end(&self) {
        static WARNINGS: EventLimit = EventLimit::new();
        let Some(suppressed) = WARNINGS.permit(now()) else { return };
        let (association, remote_address) = (self.number(), self.remote_address());
        tracing::warn!(
            association,
            %remote_address,
            suppressed,
            "the runtime ends before an association: what was not sent is lost. Await close(), shutdown() or wait_idle()"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_an_end_has_wanted_is_no_failure() {
        let aborted = |cause| CloseReason::PeerAbort { cause, text: String::new() };
        for wanted in [CloseReason::Shutdown, CloseReason::LocalAbort, aborted(None), aborted(Some(4))] {
            assert!(!is_failure(&wanted), "{wanted}");
        }
        for failure in [CloseReason::PeerUnreachable, CloseReason::ShutdownTimedOut] {
            assert!(is_failure(&failure), "{failure}");
        }
    }
}
