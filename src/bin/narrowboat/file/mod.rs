//! Transfer of files: one channel for each, with the protocol `narrowboat.file.v1`.
//!
//! ```text
//! sender                                     receiver
//!   text    "size 1234\nname boat.jpg\n"  ▶   refuses, or writes under a temporary name
//!   binary  the bytes, in order           ▶
//!   text    "sha256 9f86…\n"              ▶   compares, gives the file its name
//!                                         ◀   text  "ok 9f86…\n"  or, at any time, "error why\n"
//!   closes the channel                    ▶   its side is reset too
//! ```
//!
//! A sender that has a token puts it first: "token ahoy-4711\nsize 1234\n…".

mod name;
mod pace;
mod partial;
mod room;
mod turns;
mod writer;

pub(crate) use name::safe_name;
pub(crate) use pace::Pace;
pub(crate) use partial::{Partial, sweep};
pub(crate) use room::parse_size;
pub(crate) use turns::{Turn, Turns};
pub(crate) use writer::FileWriter;

use crate::{Failure, text};

/// The channel's protocol.
pub(crate) const PROTOCOL: &str = "narrowboat.file.v1";
/// Bytes of the file in each message: what costs little for each message, and every peer takes.
pub(crate) const BLOCK_SIZE: usize = 64 << 10;
/// Blocks between the sender's disk and the channel: 1 MiB, so that neither waits for the other's hiccups.
pub(crate) const BLOCKS_MAX: usize = 16;

/// The first message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Permission to send, if the receiver asks for one. It has no line break in it.
    pub(crate) token: Option<String>,
    pub(crate) size: u64,
    pub(crate) name: String,
}

impl Header {
    pub(crate) fn encode(&self) -> String {
        let token = self.token.as_ref().map(|token| format!("token {token}\n")).unwrap_or_default();
        format!("{token}size {}\nname {}\n", self.size, self.name)
    }

    pub(crate) fn decode(text: &str) -> Option<Self> {
        let (token, rest) = match text.strip_prefix("token ") {
            Some(rest) => rest.split_once('\n').map(|(token, rest)| (Some(token.to_owned()), rest))?,
            None => (None, text),
        };
        let rest = rest.strip_prefix("size ")?;
        let (size, rest) = rest.split_once('\n')?;
        let name = rest.strip_prefix("name ")?.strip_suffix('\n')?;
        Some(Self { token, size: size.parse().ok()?, name: name.to_owned() })
    }
}

/// The receiver's verdict.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeaderReply {
    /// The file is there, with this SHA-256.
    Ok(String),
    /// It is not, and why.
    Error(String),
}

impl HeaderReply {
    pub(crate) fn encode(&self) -> String {
        match self {
            Self::Ok(hash) => format!("ok {hash}\n"),
            Self::Error(why) => format!("error {why}\n"),
        }
    }

    pub(crate) fn decode(text: &str) -> Option<Self> {
        let text = text.strip_suffix('\n')?;
        match text.strip_prefix("ok ") {
            Some(hash) => sha256(hash).map(Self::Ok),
            None => text.strip_prefix("error ").map(|why| Self::Error(why.to_owned())),
        }
    }
}

/// Returns the last message of the sender.
pub(crate) fn encode_hash(hash: &str) -> String {
    format!("sha256 {hash}\n")
}

pub(crate) fn decode_hash(text: &str) -> Option<String> {
    sha256(text.strip_prefix("sha256 ")?.strip_suffix('\n')?)
}

/// Decodes a SHA-256 that a peer has sent: 64 hexadecimal digits, and nothing else.
fn sha256(text: &str) -> Option<String> {
    (text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| text.to_ascii_lowercase())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Merges the result of a task with the error of a task that ended early.
pub(crate) fn joined<T>(result: Result<Result<T, Failure>, tokio::task::JoinError>) -> Result<T, Failure> {
    result.map_err(|error| format!("a task ended early: {error}"))?
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn messages_read_as_they_were_written() {
        for token in [None, Some("ahoy 4711".to_owned())] {
            let header = Header { token, size: u64::MAX, name: "a\nname b ü".to_owned() };
            assert_eq!(Header::decode(&header.encode()), Some(header));
        }
        for answer in [HeaderReply::Ok(HASH.to_owned()), HeaderReply::Error("the disk is full".to_owned())] {
            assert_eq!(HeaderReply::decode(&answer.encode()), Some(answer));
        }
        assert_eq!(decode_hash(&encode_hash(HASH)).as_deref(), Some(HASH));
        assert_eq!(decode_hash(&encode_hash(&HASH.to_uppercase())).as_deref(), Some(HASH));
        for bad in [
            "",
            "size\n",
            "size -1\nname x\n",
            "size 1\nname x",
            "size 18446744073709551616\nname x\n",
            "token\nsize 1\nname x\n",
            "token x",
        ] {
            assert_eq!(Header::decode(bad), None, "{bad:?}");
            assert_eq!(HeaderReply::decode(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_hash_is_64_hexadecimal_digits() {
        let with = |end: &str| format!("{}{end}", &HASH[..HASH.len() - end.len()]);
        for bad in ["", "9f", &HASH[1..], &format!("{HASH}0"), &with("\u{1b}[2J"), &with("g"), &with("ü"), &with(" ")]
        {
            assert_eq!(decode_hash(&encode_hash(bad)), None, "{bad:?}");
            assert_eq!(HeaderReply::decode(&format!("ok {bad}\n")), None, "{bad:?}");
        }
    }
}
