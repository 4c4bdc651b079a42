//! Why bytes are not what they claim to be.

/// What is wrong with a packet, a chunk, a parameter or an error cause.
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
    /// What must be in it is missing.
    #[error("a mandatory parameter is missing")]
    MissingParameter,
}
