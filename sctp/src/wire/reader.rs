//! Reading without indexing: what is not there is an error, never a panic.

/// A cursor over borrowed bytes. Each read takes from the front, or says that too little is left and takes nothing.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Creates a cursor at the front of `bytes`.
    #[must_use]
    #[inline]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Returns the next byte.
    ///
    /// # Errors
    ///
    /// [`DecodeError::TooShort`].
    #[inline]
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    /// Returns the next two bytes, the most significant one first.
    ///
    /// # Errors
    ///
    /// [`DecodeError::TooShort`].
    #[inline]
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// Returns the next four bytes, the most significant one first.
    ///
    /// # Errors
    ///
    /// [`DecodeError::TooShort`].
    #[inline]
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// Returns the next eight bytes, the most significant one first.
    ///
    /// # Errors
    ///
    /// [`DecodeError::TooShort`].
    #[inline]
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// Returns the next `N` bytes, copied.
    ///
    /// # Errors
    ///
    /// [`DecodeError::TooShort`].
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(DecodeError::TooShort)?;
        self.rest = rest;
        Ok(*head)
    }

    /// Returns the next `len` bytes, borrowed.
    ///
    /// # Errors
    ///
    /// [`DecodeError::TooShort`].
    #[inline]
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::TooShort)?;
        self.rest = rest;
        Ok(head)
    }

    /// Returns all that is left.
    #[must_use]
    #[inline]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Ends a format of fixed size.
    ///
    /// # Errors
    ///
    /// [`DecodeError::BadLength`] if bytes are left over.
    #[inline]
    pub const fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::BadLength) }
    }
}

/// Error in a packet, a chunk, a parameter or an error cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DecodeError {
    /// It ends before its mandatory fields do.
    #[error("it ends before its mandatory fields do")]
    TooShort,
    /// A length or a count contradicts what is there (RFC 9260 §3.2, §3.2.1).
    #[error("a length contradicts what is there")]
    BadLength,
    /// A port number of the common header is 0 (RFC 9260 §3.1).
    #[error("a port number is zero")]
    ZeroPort,
    /// A mandatory parameter is missing.
    #[error("a mandatory parameter is missing")]
    MissingParameter,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_to_the_last_byte_and_not_beyond() {
        let mut reader = Reader::new(&[1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(reader.u16(), Ok(0x0102));
        assert_eq!(reader.u32(), Ok(0x0304_0506));
        assert_eq!(reader.u32(), Err(DecodeError::TooShort));
        assert_eq!(reader.take(2), Ok(&[7, 8][..]));
        assert_eq!(reader.rest(), [9]);
        assert_eq!(reader.finish(), Err(DecodeError::BadLength));
        assert_eq!(reader.take(2), Err(DecodeError::TooShort));
        assert_eq!(reader.take(usize::MAX), Err(DecodeError::TooShort));
        assert_eq!(reader.array(), Ok([9]));
        assert_eq!(reader.finish(), Ok(()));
        assert_eq!(reader.take(0), Ok(&[][..]));
    }
}
