//! Datagrams of the floods of a plain endpoint.

use narrowboat_sctp::testing::wire::{self, ChunkType, DataChunk, Init, PacketHeader};
use narrowboat_sctp::{Ppid, Ssn, StreamId, Tsn};

fn packet(verification_tag: u32, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut packet = Vec::new();
    PacketHeader { source_port: 5000, destination_port: 5000, verification_tag }.encode(&mut packet);
    write(&mut packet);
    wire::seal(&mut packet);
    packet
}

/// An INIT that asks for an association.
pub(crate) fn init() -> Vec<u8> {
    packet(0, |out| Init::new(7, 1 << 20, 100, 100, Tsn(1)).encode(ChunkType::INIT, &[], out))
}

/// DATA for an association that does not exist.
pub(crate) fn out_of_the_blue() -> Vec<u8> {
    let chunk = DataChunk {
        tsn: Tsn(1),
        stream: StreamId(1),
        ssn: Ssn(0),
        ppid: Ppid(53),
        unordered: false,
        beginning: true,
        ending: true,
        immediate: false,
    };
    packet(0x0b1e, |out| chunk.encode(&[7; 100], out))
}
