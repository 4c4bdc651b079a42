//! Packets that belong to no association (RFC 9260 §8.4).

use crate::serial::VerificationTag;
use crate::wire::{
    CHUNK_HEADER_LEN, Cause, Causes, ChunkType, Chunks, PACKET_HEADER_LEN, PacketHeader, PacketWriter, T_BIT,
    encode_abort, encode_shutdown_complete,
};

/// Bytes of an answer: a chunk that is a header alone.
const ANSWER_LEN: usize = PACKET_HEADER_LEN + CHUNK_HEADER_LEN;

/// Appends the answer to such a packet, if it has one. INIT and COOKIE ECHO are not answered here: they are how an
/// association begins.
pub(crate) fn answer(header: &PacketHeader, datagram: &[u8], out: &mut Vec<u8>) -> bool {
    // §8.5.1 A: only an INIT may have no tag, and what has none has nothing to reflect.
    if header.verification_tag == 0 {
        return false;
    }
    let mut is_shutdown_ack = false;
    for chunk in Chunks::new(datagram) {
        let Ok(chunk) = chunk else { return false };
        match chunk.kind {
            // Rules 2, 6, 7: never an answer to these, so that two ends cannot keep each other busy.
            ChunkType::ABORT | ChunkType::SHUTDOWN_COMPLETE | ChunkType::COOKIE_ACK => return false,
            ChunkType::ERROR if has_stale_cookie(chunk.value_in(datagram)) => return false,
            // Rules 3 and 4 are applied elsewhere, and an INIT or a COOKIE ECHO behind another chunk is not valid. The
            // sender of an INIT ACK has no state that an ABORT could end.
            ChunkType::INIT | ChunkType::INIT_ACK | ChunkType::COOKIE_ECHO => return false,
            ChunkType::SHUTDOWN_ACK => is_shutdown_ack = true,
            _ => {}
        }
    }
    let back = PacketHeader {
        source_port: header.destination_port,
        destination_port: header.source_port,
        verification_tag: header.verification_tag,
    };
    let mut packet = PacketWriter::begin(&back, ANSWER_LEN, out);
    if is_shutdown_ack {
        // Rule 5.
        encode_shutdown_complete(true, packet.chunks());
    } else {
        // Rule 8.
        encode_abort(&[], true, packet.chunks());
    }
    packet.finish();
    true
}

fn has_stale_cookie(value: &[u8]) -> bool {
    Causes::new(value).flatten().any(|cause| matches!(cause, Cause::StaleCookie(_)))
}

/// Returns true if an ABORT or SHUTDOWN COMPLETE may be believed: it carries this end's tag, or with the T bit the
/// peer's (RFC 9260 §8.5.1 B, C).
pub(crate) fn is_tag_acceptable(flags: u8, tag: u32, local_tag: u32, peer_tag: Option<VerificationTag>) -> bool {
    if flags & T_BIT == 0 { tag == local_tag } else { peer_tag.is_some_and(|peer_tag| tag == peer_tag.get()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{begin_chunk, encode_error, end_chunk};

    const HEADER: PacketHeader = PacketHeader { source_port: 7, destination_port: 9, verification_tag: 0xabcd };

    fn answer_to(write: impl FnOnce(&mut Vec<u8>)) -> Option<(PacketHeader, ChunkType, u8)> {
        let (mut packet, mut out) = (Vec::new(), Vec::new());
        HEADER.encode(&mut packet);
        write(&mut packet);
        answer(&HEADER, &packet, &mut out).then(|| {
            let chunk = Chunks::new(&out).next().unwrap().unwrap();
            (PacketHeader::decode(&out).unwrap(), chunk.kind, chunk.flags)
        })
    }

    #[test]
    fn a_packet_without_a_tag_gets_no_answer() {
        let (mut packet, mut out) = (Vec::new(), Vec::new());
        let header = PacketHeader { verification_tag: 0, ..HEADER };
        header.encode(&mut packet);
        bare(ChunkType::SHUTDOWN_ACK)(&mut packet);
        assert!(!answer(&header, &packet, &mut out));
    }

    fn bare(kind: ChunkType) -> impl FnOnce(&mut Vec<u8>) {
        move |out| {
            let at = begin_chunk(out, kind, 0);
            end_chunk(out, at);
        }
    }

    #[test]
    fn c03_aborts_and_other_last_words_get_no_answer() {
        for kind in [ChunkType::ABORT, ChunkType::SHUTDOWN_COMPLETE, ChunkType::COOKIE_ACK, ChunkType::INIT_ACK] {
            assert_eq!(answer_to(bare(kind)), None, "{kind:?}");
        }
        assert_eq!(answer_to(|out| encode_error(&[Cause::StaleCookie(5)], out)), None);
    }

    #[test]
    fn c04_c05_the_tag_is_reflected_and_the_ports_are_swapped() {
        let back = PacketHeader { source_port: 9, destination_port: 7, ..HEADER };
        let complete = (back, ChunkType::SHUTDOWN_COMPLETE, T_BIT);
        assert_eq!(answer_to(bare(ChunkType::SHUTDOWN_ACK)), Some(complete));
        for kind in [ChunkType::DATA, ChunkType::SACK, ChunkType::HEARTBEAT, ChunkType::SHUTDOWN] {
            assert_eq!(answer_to(bare(kind)), Some((back, ChunkType::ABORT, T_BIT)), "{kind:?}");
        }
    }

    #[test]
    fn c02_of_the_tags_of_an_abort_only_two_forms_are_believed() {
        let (local, peer) = (11, VerificationTag::new(22));
        for (flags, tag, expected) in
            [(0, 11, true), (T_BIT, 22, true), (0, 22, false), (T_BIT, 11, false), (0, 0, false), (T_BIT, 0, false)]
        {
            assert_eq!(is_tag_acceptable(flags, tag, local, peer), expected);
        }
        assert!(!is_tag_acceptable(T_BIT, 0, local, None), "a peer tag that is not known yet matches nothing");
    }
}
