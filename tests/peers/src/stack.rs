//! The stacks that are compared.

use std::fmt;
use std::time::Instant;

use crate::peer::{Peer, Settings};
use crate::{Dcsctp, Narrowboat, NarrowboatChannels, RtcSctp, SctpProto};

/// The end of the association that a peer is to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The one that connects.
    Client,
    /// The one that answers.
    Server,
}

/// An SCTP stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stack {
    /// This project's.
    Narrowboat,
    /// Chromium's, in Rust.
    Dcsctp,
    /// str0m's.
    SctpProto,
    /// webrtc-rs'.
    RtcSctp,
}

impl Stack {
    /// Every stack, this project's first.
    pub const ALL: [Self; 4] = [Self::Narrowboat, Self::Dcsctp, Self::SctpProto, Self::RtcSctp];

    /// The crate's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Narrowboat => "narrowboat",
            Self::Dcsctp => "dcsctp",
            Self::SctpProto => "sctp-proto",
            Self::RtcSctp => "rtc-sctp",
        }
    }

    /// One end. The seed only counts for a stack that takes one.
    #[must_use]
    pub fn peer(self, now: Instant, settings: &Settings, seed: u64) -> Box<dyn Peer> {
        match self {
            Self::Narrowboat => Box::new(Narrowboat::new(now, settings, spread(seed))),
            Self::Dcsctp => Box::new(Dcsctp::new(now, settings)),
            Self::SctpProto => Box::new(SctpProto::new(settings)),
            Self::RtcSctp => Box::new(RtcSctp::new(settings)),
        }
    }

    /// One end that opens and closes channels: with DCEP where the stack has it, else the bare association.
    #[must_use]
    pub fn channels(self, now: Instant, settings: &Settings, role: Role, seed: u64) -> Box<dyn Peer> {
        match self {
            Self::Narrowboat => Box::new(NarrowboatChannels::new(now, settings, role, spread(seed))),
            other => other.peer(now, settings, seed),
        }
    }
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// 32 bytes from 8.
fn spread(seed: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes
}
