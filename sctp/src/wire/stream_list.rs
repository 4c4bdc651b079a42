//! Lists of stream numbers in re-configuration requests.

use super::DecodeError;
use crate::message::StreamId;

/// Stream numbers as they came. An empty list in a reset request means all streams (RFC 6525 §4.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct StreamList<'a> {
    numbers: &'a [[u8; 2]],
}

impl<'a> StreamList<'a> {
    /// Decodes a list from the bytes on the wire.
    ///
    /// # Errors
    ///
    /// [`DecodeError::BadLength`] if half a number is left over.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (numbers, odd) = bytes.as_chunks();
        if odd.is_empty() { Ok(Self { numbers }) } else { Err(DecodeError::BadLength) }
    }

    /// Returns the number of streams, repeated ones included.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Returns `true` if there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Returns the numbers.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = StreamId> + Clone + use<'a> {
        self.numbers.iter().map(|&number| StreamId(u16::from_be_bytes(number)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_in_order_and_half_a_number_is_refused() {
        let list = StreamList::decode(&[0, 1, 255, 255, 0, 1]).unwrap();
        assert_eq!(list.iter().collect::<Vec<_>>(), [1, 65535, 1].map(StreamId));
        assert_eq!(list.len(), 3);
        assert!(!list.is_empty() && StreamList::decode(&[]).unwrap().is_empty());
        assert_eq!(StreamList::decode(&[0, 1, 2]), Err(DecodeError::BadLength));
    }
}
