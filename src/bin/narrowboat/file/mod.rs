//! How a file travels: one channel for each, with the protocol `narrowboat.file.v1`.
//!
//! ```text
//! sender                                     receiver
//!   text    "size 1234\nname boat.jpg\n"  ▶
//!   binary  the bytes, in order           ▶
//!   text    "sha256 9f86…\n"              ▶   compares, gives the file its name
//!                                         ◀   text  "ok 9f86…\n"  or, at any time, "error why\n"
//!   closes the channel                    ▶   its side is reset too
//! ```

mod name;
mod partial;

pub(crate) use name::safe_name;
pub(crate) use partial::Partial;

use crate::Failure;

/// The channel's protocol.
pub(crate) const PROTOCOL: &str = "narrowboat.file.v1";
/// Bytes of the file in each message: what costs little for each message, and every peer takes.
pub(crate) const BLOCK_SIZE: usize = 64 << 10;
/// Blocks between the disk and the channel, at both ends: 1 MiB, so that neither waits for the other's hiccups.
pub(crate) const BLOCKS_MAX: usize = 16;

/// The first message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) size: u64,
    pub(crate) name: String,
}

impl Header {
    pub(crate) fn encode(&self) -> String {
        format!("size {}\nname {}\n", self.size, self.name)
    }

    pub(crate) fn decode(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("size ")?;
        let (size, rest) = rest.split_once('\n')?;
        let name = rest.strip_prefix("name ")?.strip_suffix('\n')?;
        Some(Self { size: size.parse().ok()?, name: name.to_owned() })
    }
}

/// The receiver's verdict.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The file is there, with this SHA-256.
    Ok(String),
    /// It is not, and why.
    Error(String),
}

impl Answer {
    pub(crate) fn encode(&self) -> String {
        match self {
            Self::Ok(hash) => format!("ok {hash}\n"),
            Self::Error(why) => format!("error {why}\n"),
        }
    }

    pub(crate) fn decode(text: &str) -> Option<Self> {
        let text = text.strip_suffix('\n')?;
        let ok = text.strip_prefix("ok ").map(|hash| Self::Ok(hash.to_owned()));
        ok.or_else(|| text.strip_prefix("error ").map(|why| Self::Error(why.to_owned())))
    }
}

/// The last message of the sender.
pub(crate) fn encode_hash(hash: &str) -> String {
    format!("sha256 {hash}\n")
}

pub(crate) fn decode_hash(text: &str) -> Option<&str> {
    text.strip_prefix("sha256 ")?.strip_suffix('\n')
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a task that cannot fail on its own says when it did.
pub(crate) fn joined<T>(result: Result<Result<T, Failure>, tokio::task::JoinError>) -> Result<T, Failure> {
    result.map_err(|error| format!("a task ended early: {error}"))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_read_as_they_were_written() {
        let header = Header { size: u64::MAX, name: "a\nname b ü".to_owned() };
        assert_eq!(Header::decode(&header.encode()), Some(header));
        for answer in [Answer::Ok("9f".to_owned()), Answer::Error("the disk is full".to_owned())] {
            assert_eq!(Answer::decode(&answer.encode()), Some(answer));
        }
        assert_eq!(decode_hash(&encode_hash("9f")), Some("9f"));
        for bad in ["", "size\n", "size -1\nname x\n", "size 1\nname x", "size 18446744073709551616\nname x\n"] {
            assert_eq!(Header::decode(bad), None, "{bad:?}");
            assert_eq!(Answer::decode(bad), None, "{bad:?}");
        }
    }
}
