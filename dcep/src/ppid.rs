//! Payload protocol identifiers of data channels (RFC 8831 §8, RFC 8832 §8.1).

use narrowboat_sctp::Ppid;

/// DATA_CHANNEL_OPEN and DATA_CHANNEL_ACK.
pub const DCEP: Ppid = Ppid(50);
/// Text, not empty.
pub const STRING: Ppid = Ppid(51);
/// Binary data, not empty.
pub const BINARY: Ppid = Ppid(53);
/// An empty text; one byte travels, and is ignored.
pub const STRING_EMPTY: Ppid = Ppid(56);
/// An empty binary message; one byte travels, and is ignored.
pub const BINARY_EMPTY: Ppid = Ppid(57);

/// Kind of a message, by its PPID.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PpidKind {
    Control,
    Text,
    Binary,
    EmptyText,
    EmptyBinary,
    /// The deprecated partial messages (52 and 54), or anything else. The channel is closed (RFC 8831 §6.6): it is a
    /// user's message, and ignoring it, or delivering a part as a whole, would corrupt what the application reads.
    Unsupported,
}

impl PpidKind {
    pub(crate) fn of(ppid: Ppid) -> Self {
        match ppid {
            DCEP => Self::Control,
            STRING => Self::Text,
            BINARY => Self::Binary,
            STRING_EMPTY => Self::EmptyText,
            BINARY_EMPTY => Self::EmptyBinary,
            _ => Self::Unsupported,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_five_labels_in_use_are_known_and_no_other() {
        let known = [
            (50, PpidKind::Control),
            (51, PpidKind::Text),
            (53, PpidKind::Binary),
            (56, PpidKind::EmptyText),
            (57, PpidKind::EmptyBinary),
        ];
        for value in (0..1000).chain([u32::MAX, 50 << 24, 51 << 24]) {
            let expected =
                known.iter().find(|(ppid, _)| *ppid == value).map_or(PpidKind::Unsupported, |(_, kind)| *kind);
            assert_eq!(PpidKind::of(Ppid(value)), expected, "{value}");
        }
    }
}
