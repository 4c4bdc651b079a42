//! A datagram comes in: which chunks may be believed, and who gets them (RFC 9260 §6.8, §6.10, §8.5).

use std::ops::ControlFlow;

use bytes::{Buf, Bytes};

use super::{Association, State, negotiate};
use crate::out_of_the_blue;
use crate::recv::FragmentHeader;
use crate::stats::PacketDropReason;
use crate::time::Instant;
use crate::wire::{Cause, ChunkType, Chunks, Init, PACKET_HEADER_LEN, PacketHeader, RawChunk, trace_chunks};

impl Association {
    pub(super) fn take_in(&mut self, now: Instant, datagram: Bytes) {
        self.stats.packets_received += 1;
        self.stats.bytes_received += datagram.len() as u64;
        let Ok(header) = PacketHeader::decode(&datagram) else { return self.drop_chunk(PacketDropReason::BadPacket) };
        if header.destination_port != self.config.local_port || header.source_port != self.config.remote_port {
            return self.drop_chunk(PacketDropReason::WrongPorts);
        }
        if !self.is_checksum_acceptable(&datagram) {
            return self.drop_chunk(PacketDropReason::BadChecksum);
        }
        if self.is_over {
            // As if it had been forgotten already: a peer that has not heard the end hears of it.
            self.drop_chunk(PacketDropReason::Closed);
            return self.answer_out_of_the_blue(&header, &datagram);
        }
        if matches!(self.state, State::CookieWait | State::CookieEchoed) && has(ChunkType::SHUTDOWN_ACK, &datagram) {
            // §8.5.1 E, §9.2: the peer is still ending an association with the same ports that this end has forgotten.
            self.drop_chunk(PacketDropReason::OutOfTheBlue);
            return self.answer_out_of_the_blue(&header, &datagram);
        }
        // Erratum 7852: nothing is processed, and nothing changes, before the tag is checked.
        if !self.is_tag_valid(&header, &datagram) {
            return self.drop_chunk(PacketDropReason::WrongTag);
        }
        self.stats.packets_accepted += 1;
        trace_chunks("received", &datagram);
        self.limit_memory();
        let had_data = self.process_chunks(now, &header, datagram);
        if had_data {
            self.on_data_packet_end(now);
        }
        self.on_heard_while_shutting_down(now);
        if let Some(tcb) = &mut self.tcb {
            tcb.own_requests.on_heard(now, self.path.rto.without_back_off());
        }
    }

    /// Returns true if the packet's Verification Tag is valid (§8.5, §8.5.1).
    fn is_tag_valid(&self, header: &PacketHeader, datagram: &Bytes) -> bool {
        let (local, peer) = (self.handshake.local_tag, self.peer_tag());
        let Some(Ok(first)) = Chunks::new(datagram).next() else { return header.verification_tag == local };
        match first.kind {
            // A: tag 0, and alone in its packet.
            ChunkType::INIT => header.verification_tag == 0 && is_alone(&first, datagram),
            ChunkType::INIT_ACK => header.verification_tag == local && is_alone(&first, datagram),
            // D: the tag is the cookie's, which is checked with it.
            ChunkType::COOKIE_ECHO => true,
            // B, C. The peer's own tag vouches for this chunk only, which then has to be the last one that counts.
            ChunkType::ABORT => out_of_the_blue::is_tag_acceptable(first.flags, header.verification_tag, local, peer),
            ChunkType::SHUTDOWN_COMPLETE => {
                out_of_the_blue::is_tag_acceptable(first.flags, header.verification_tag, local, peer)
                    && is_alone(&first, datagram)
            }
            _ => header.verification_tag == local,
        }
    }

    /// Answers a packet that belongs to no association (§8.4).
    fn answer_out_of_the_blue(&mut self, header: &PacketHeader, datagram: &Bytes) {
        let mut answer = Vec::new();
        let has_answer =
            self.refuse_init(header, datagram, &mut answer) || out_of_the_blue::answer(header, datagram, &mut answer);
        if has_answer && !self.control_queue.push_standalone(&answer) {
            self.drop_chunk(PacketDropReason::AnswerLimit);
        }
    }

    /// Answers an INIT for an association that is over (§8.4 rule 3), so that the peer need not find out by a time-out.
    fn refuse_init(&self, header: &PacketHeader, datagram: &Bytes, answer: &mut Vec<u8>) -> bool {
        let Some(Ok(first)) = Chunks::new(datagram).next() else { return false };
        let is_init = self.is_over && first.kind == ChunkType::INIT && header.verification_tag == 0;
        let init =
            if is_init && is_alone(&first, datagram) { Init::decode(first.value_in(datagram)).ok() } else { None };
        let Some(init) = init.filter(|init| init.initiate_tag != 0) else { return false };
        negotiate::write_abort(&self.config, init.initiate_tag, None, false, answer);
        true
    }

    /// Returns whether there was DATA.
    fn process_chunks(&mut self, now: Instant, header: &PacketHeader, mut datagram: Bytes) -> bool {
        let (mut had_data, mut at) = (false, PACKET_HEADER_LEN);
        let datagram_len = datagram.len();
        // Chunks are found again for each step: the last payload then takes the datagram itself, without another
        // reference to it.
        loop {
            let mut chunks = Chunks::resume(&datagram, at);
            let chunk = match chunks.next() {
                None => break,
                Some(Ok(chunk)) => chunk,
                Some(Err(_)) => {
                    self.drop_chunk(PacketDropReason::BadChunkLength);
                    break;
                }
            };
            at = chunks.position();
            if chunk.kind == ChunkType::DATA || chunk.kind == ChunkType::I_DATA {
                had_data = true;
                let is_last = at >= datagram_len;
                let Ok((header, header_len)) = FragmentHeader::decode(&chunk, &datagram) else {
                    self.on_short_data();
                    break;
                };
                let payload_at = chunk.start + header_len;
                let payload = if is_last && chunk.value.end == datagram_len {
                    let mut whole = std::mem::take(&mut datagram);
                    whole.advance(payload_at);
                    whole
                } else {
                    datagram.slice(payload_at..chunk.value.end)
                };
                self.on_data(header, payload, datagram_len);
                if is_last {
                    break;
                }
            } else if self.on_chunk(now, header, &chunk, &datagram).is_break() {
                break;
            }
            if self.is_over {
                break;
            }
        }
        had_data && !self.is_over
    }

    /// Acts on a chunk. Breaks if the rest of the packet is ignored.
    fn on_chunk(&mut self, now: Instant, header: &PacketHeader, chunk: &RawChunk, datagram: &Bytes) -> ControlFlow<()> {
        let value = chunk.value_in(datagram);
        match chunk.kind {
            ChunkType::SACK => self.on_sack(now, value),
            ChunkType::FORWARD_TSN if !self.peer_supports_partial_reliability() => {
                // RFC 3758 §3.3.1: as if it were not known.
                return self.on_unknown_chunk(chunk, datagram);
            }
            ChunkType::FORWARD_TSN => self.on_forward_tsn(value),
            ChunkType::I_FORWARD_TSN => self.on_i_forward_tsn(value),
            ChunkType::RE_CONFIG => self.on_reconfig(now, value),
            ChunkType::HEARTBEAT => self.on_heartbeat(datagram, chunk),
            ChunkType::HEARTBEAT_ACK => self.on_heartbeat_ack(now, value),
            // INIT, INIT ACK and SHUTDOWN COMPLETE stand alone (§6.10); behind another chunk they mean nothing.
            ChunkType::INIT | ChunkType::INIT_ACK | ChunkType::SHUTDOWN_COMPLETE if !is_alone(chunk, datagram) => {
                self.drop_chunk(PacketDropReason::UnexpectedChunk);
            }
            ChunkType::INIT => self.on_init(now, value),
            ChunkType::INIT_ACK => self.on_init_ack(now, value),
            ChunkType::COOKIE_ECHO if chunk.start != PACKET_HEADER_LEN => {
                // §5.1: it comes first, or not at all.
                self.drop_chunk(PacketDropReason::UnexpectedChunk);
            }
            ChunkType::COOKIE_ECHO => return self.on_cookie_echo(now, header, value),
            ChunkType::COOKIE_ACK => self.on_cookie_ack(now),
            ChunkType::SHUTDOWN => self.on_shutdown(now, value),
            ChunkType::SHUTDOWN_ACK => self.on_shutdown_ack(),
            ChunkType::SHUTDOWN_COMPLETE => self.on_shutdown_complete(),
            ChunkType::ABORT => {
                // §3.3.7: nothing behind it counts, not even if it is malformed.
                self.on_abort(chunk.flags, value);
                return ControlFlow::Break(());
            }
            ChunkType::ERROR => self.on_error(now, value),
            ChunkType::PAD => {}
            _ => return self.on_unknown_chunk(chunk, datagram),
        }
        ControlFlow::Continue(())
    }

    /// Handles a chunk of an unknown type by the two high bits of its type (§3.2).
    fn on_unknown_chunk(&mut self, chunk: &RawChunk, datagram: &[u8]) -> ControlFlow<()> {
        self.stats.drops.add(PacketDropReason::UnknownChunk);
        let action = chunk.kind.unrecognized_action();
        if action.reports()
            && self.state.is_up()
            && !self.control_queue.push_error(Cause::UnrecognizedChunk(chunk.whole_in(datagram)))
        {
            self.drop_chunk(PacketDropReason::AnswerLimit);
        }
        if action.stops() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Counts something that was dropped.
    pub(super) fn drop_chunk(&mut self, reason: PacketDropReason) {
        self.stats.drops.add(reason);
    }
}

fn has(kind: ChunkType, datagram: &[u8]) -> bool {
    Chunks::new(datagram).map_while(Result::ok).any(|chunk| chunk.kind == kind)
}

fn is_alone(chunk: &RawChunk, datagram: &[u8]) -> bool {
    let mut chunks = Chunks::new(datagram);
    chunks.next().is_some_and(|first| first.is_ok_and(|first| first.start == chunk.start)) && chunks.next().is_none()
}
