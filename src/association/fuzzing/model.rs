//! Results that an end of a byte stream may report, by the actions of the applications of both ends.

use crate::error::{ByteStreamError, ChannelError, Error};

/// Actions of the application of one end, and the results that were reported to it.
#[derive(Debug, Default)]
pub(super) struct EndModel {
    /// Bytes that were accepted for sending, and bytes that were taken from the channel.
    pub(super) written: usize,
    pub(super) read: usize,
    /// Bytes that the application had read when it dropped its reading half.
    pub(super) stopped_at: Option<usize>,
    /// True if the direction in which this end writes was ended, by a shutdown or by dropping the writing half.
    pub(super) is_finished: bool,
    /// True if the writing half was dropped after the reading half, without a shutdown.
    pub(super) is_reset: bool,
    /// True if the application has closed the channel itself, below the byte stream.
    pub(super) has_closed: bool,
    pub(super) has_ended_association: bool,
    /// True if it has sent messages of its own between those of the stream.
    pub(super) breaks_rules: bool,
    /// Result with which reading has ended.
    pub(super) read_end: Option<Result<(), String>>,
    /// True if `shutdown` has returned `Ok`.
    pub(super) is_shut_down: bool,
    /// True if reading or shutting down has said that the peer has not received all that was written; `Some(false)` if
    /// it has said the contrary.
    pub(super) is_undelivered: Option<bool>,
}

/// Both ends, and the kind of their stream.
pub(super) struct Model {
    pub(super) ends: [EndModel; 2],
    pub(super) has_half_close: bool,
}

impl Model {
    pub(super) fn end(&mut self, end: usize) -> &mut EndModel {
        let [first, second] = &mut self.ends;
        if end == 0 { first } else { second }
    }

    /// Returns this end, and its peer.
    fn both(&self, end: usize) -> (&EndModel, &EndModel) {
        let [first, second] = &self.ends;
        if end == 0 { (first, second) } else { (second, first) }
    }

    /// True if nobody sends what is not of the protocol. Otherwise only what always holds is demanded.
    pub(super) fn is_honest(&self) -> bool {
        self.ends.iter().all(|end| !end.breaks_rules)
    }

    /// True if an application has ended the channel or the association, rather than the stream.
    pub(super) fn is_cut(&self) -> bool {
        self.is_association_over() || self.ends.iter().any(|end| end.has_closed)
    }

    pub(super) fn is_association_over(&self) -> bool {
        self.ends.iter().any(|end| end.has_ended_association)
    }

    /// Returns the byte at a position of the stream that this end writes.
    pub(super) fn byte(end: usize, position: usize) -> u8 {
        u8::try_from((position * 31 + end * 7) % 251).unwrap_or_default()
    }

    /// Checks that the bytes that were read are the next ones.
    pub(super) fn on_bytes(&mut self, end: usize, bytes: &[u8]) {
        let (here, peer) = self.both(end);
        assert_eq!(here.read_end, None, "bytes after the end");
        let start = here.read;
        let is_next = bytes.iter().enumerate().all(|(at, byte)| *byte == Self::byte(1 - end, start + at));
        assert!(is_next, "end {end}: bytes are missing or change places after {start}");
        assert!(start + bytes.len() <= peer.written, "end {end}: more bytes than were written");
        self.end(end).read += bytes.len();
    }

    /// Checks the end of reading.
    pub(super) fn on_read_end(&mut self, end: usize, result: Result<(), Error>) {
        let words = result.as_ref().copied().map_err(ToString::to_string);
        let before = self.end(end).read_end.replace(words.clone());
        assert!(before.is_none() || before == Some(words), "end {end}: {before:?} changes: {:?}", self.ends);
        if before.is_some() || !self.is_honest() {
            return;
        }
        let (here, peer) = self.both(end);
        let has_all = here.read == peer.written;
        match result {
            Ok(()) if self.has_half_close => {
                assert!(
                    has_all && peer.is_finished,
                    "end {end}: the peer has not ended its direction: {here:?}, {peer:?}"
                );
                let was_read = !peer.is_reset || peer.stopped_at >= Some(here.written);
                assert!(was_read, "end {end}: no word of what the peer has not read: {here:?}, {peer:?}");
            }
            Ok(()) => {
                assert!(has_all && (peer.has_closed || self.is_association_over()), "end {end}: nobody has ended it");
                self.end(end).is_undelivered = Some(false);
            }
            Err(error) => self.on_read_error(end, &error),
        }
    }

    fn on_read_error(&mut self, end: usize, error: &Error) {
        let (here, peer) = self.both(end);
        let is_right = match error {
            Error::ByteStream(ByteStreamError::ClosedHere) => here.has_closed || here.has_ended_association,
            Error::ByteStream(ByteStreamError::Truncated) => {
                self.has_half_close && (peer.has_closed || peer.has_ended_association)
            }
            Error::ByteStream(ByteStreamError::Reset) => {
                self.has_half_close && peer.is_reset && peer.stopped_at < Some(here.written)
            }
            Error::ByteStream(ByteStreamError::Undelivered) | Error::Channel(ChannelError::PeerClosed { .. }) => {
                peer.has_closed && (self.has_half_close || here.written > 0)
            }
            Error::Channel(ChannelError::Association(_)) => self.is_association_over(),
            // No acknowledgement of the channel has come before its end.
            Error::Channel(ChannelError::Refused) => peer.has_closed || self.is_association_over(),
            _ => false,
        };
        assert!(is_right, "end {end}: {error:?}: {here:?}, {peer:?}");
        let says = matches!(
            error,
            Error::ByteStream(ByteStreamError::Undelivered) | Error::Channel(ChannelError::PeerClosed { .. })
        );
        if says {
            self.end(end).is_undelivered = Some(true);
        }
    }

    /// Checks the result of a write.
    pub(super) fn on_written(&mut self, end: usize, result: &Result<usize, Error>) {
        let (here, peer) = self.both(end);
        let is_right = match result {
            Ok(_) => !here.is_finished,
            Err(Error::ByteStream(ByteStreamError::Stopped)) => self.has_half_close && peer.stopped_at.is_some(),
            Err(Error::ByteStream(ByteStreamError::ShutDown)) => self.has_half_close && here.is_finished,
            Err(_) => self.is_cut(),
        };
        assert!(is_right || !self.is_honest(), "end {end}: write: {result:?}: {here:?}, {peer:?}");
        self.end(end).written += result.as_ref().map_or(0, |len| *len);
    }

    /// Checks the result of a shutdown.
    pub(super) fn on_shut_down(&mut self, end: usize, result: &Result<(), Error>) {
        let (here, peer) = self.both(end);
        let is_right = match result {
            Ok(()) => true,
            Err(Error::ByteStream(ByteStreamError::Stopped)) => peer.stopped_at < Some(here.written),
            Err(_) => self.is_cut(),
        };
        assert!(is_right || !self.is_honest(), "end {end}: shutdown: {result:?}: {here:?}, {peer:?}");
        self.end(end).is_shut_down |= result.is_ok();
    }

    /// Checks, after the end of everything, that the earlier reports to the application were true. `arrived` has the
    /// bytes that each end has received, read or not, if known.
    pub(super) fn check_end(&self, arrived: [Option<usize>; 2]) {
        if !self.is_honest() {
            return;
        }
        for end in 0..2 {
            let (here, peer) = self.both(end);
            let [first, second] = arrived;
            let at_peer = if end == 0 { second } else { first };
            if let (Some(arrived), Some(is_undelivered)) = (at_peer, here.is_undelivered) {
                let is_missing = arrived < here.written;
                assert_eq!(is_undelivered, is_missing, "end {end}: {arrived} bytes arrived: {here:?}, {peer:?}");
            }
            let is_ordinary = self.has_half_close && !self.is_cut();
            if is_ordinary && here.is_finished && !here.is_reset && peer.stopped_at.is_none() {
                assert_eq!(peer.read_end, Some(Ok(())), "end {end}: its FIN is lost: {here:?}, {peer:?}");
                assert_eq!(peer.read, here.written, "end {end}");
            }
        }
    }
}
