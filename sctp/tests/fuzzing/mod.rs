//! Entry functions of the fuzz targets `association` and `endpoint`: each reads a script from any bytes. Shared by the
//! targets and by the tests that replay their corpora.
#![allow(dead_code, reason = "each target uses its own part of it")]

pub(crate) mod association;
pub(crate) mod endpoint;

/// Bytes of a script; zeros once it has ended.
pub(crate) struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub(crate) fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// A number near zero, in both directions.
    pub(crate) fn near(&mut self) -> u32 {
        i32::from(self.byte().cast_signed()).cast_unsigned()
    }

    pub(crate) fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }
}
