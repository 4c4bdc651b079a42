//! Places of chunks in packets.

/// Place of a chunk in the packet that it leaves in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PlaceInPacket {
    /// True if the chunk begins within the part of the packet that needs no proof and ends beyond it: it arrives only
    /// if the path carries larger packets. A packet has one such chunk at most.
    pub(crate) crosses_floor: bool,
    /// True if no chunk of user data is in front of it. A packet may have many, and is lost as a whole, so loss
    /// detection counts packets by their first chunks.
    pub(crate) begins_packet: bool,
}
