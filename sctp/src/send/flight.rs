//! The flight size: what was sent, and neither acknowledged nor lost.

/// Sums over the chunks in flight.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Flight {
    pub(super) chunks: usize,
    /// Bytes that they take in packets.
    pub(super) bytes: usize,
    /// Bytes of user data, which the peer's window counts.
    pub(super) payload: usize,
}

impl Flight {
    pub(super) fn add(&mut self, bytes: usize, payload: usize) {
        self.chunks += 1;
        self.bytes += bytes;
        self.payload += payload;
    }

    pub(super) fn remove(&mut self, bytes: usize, payload: usize) {
        self.chunks -= 1;
        self.bytes -= bytes;
        self.payload -= payload;
    }
}
