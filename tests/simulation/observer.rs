//! An eavesdropper beside one end of an association: sees the packets that the end sends and receives, and knows the
//! rules (I04, and through its parts I07, I12, I13, I15, I16, I30, I31, I33). It knows nothing of the code under test
//! but its packets.

use std::collections::BTreeMap;

use crate::clock::Nanos;
use crate::incoming::Incoming;
use crate::outgoing::{Outgoing, Promise};
use crate::packet::{Chunk, Data, Init, Packet, Reconfig, kind};
use crate::resets::Resets;

/// State of the end that the eavesdropper is told besides its packets.
pub(crate) struct Situation<'a> {
    pub(crate) now: Nanos,
    /// Largest packet now, but for a probe, and the size within which control chunks keep.
    pub(crate) mtu: usize,
    pub(crate) mtu_floor: usize,
    pub(crate) window: u32,
    /// True if the end is in a state that accepts DATA.
    pub(crate) takes_data: bool,
    /// It has sent SHUTDOWN, so that DATA is an answer, too (RFC 9260 §9.2).
    pub(crate) is_ending: bool,
    /// Things that were refused for want of room, so far.
    pub(crate) refusals: u64,
    /// True if packets travel over DTLS, and the peer has said that it takes those without a checksum.
    pub(crate) may_omit_checksum: bool,
    /// Messages that wait for the application, and their bytes as far as they are known.
    pub(crate) unread: usize,
    pub(crate) unread_bytes: usize,
    /// Nothing whole is held for anybody else than the application of an open channel.
    pub(crate) is_plain: bool,
    /// The network has no faults any more, and everything is read.
    pub(crate) healed: bool,
    /// Promise to the application about the message that begins with this chunk.
    pub(crate) promise: &'a dyn Fn(&Data<'_>) -> Promise,
}

/// Bytes of a common header.
const HEADER_LEN: usize = 12;

/// I40: one that was on its way when the network healed, and two more.
const PROBES_MAX: u32 = 3;

#[derive(Debug, Default)]
pub(crate) struct Observer {
    /// Agreement behind each State Cookie that was seen.
    cookies: BTreeMap<Vec<u8>, Agreement>,
    agreement: Option<Agreement>,
    flows: Option<Flows>,
    init_sent: Option<Init>,
    /// Number of times that this INIT was sent, and the echoed State Cookie: only a single transmission measures
    /// (Karn).
    inits_sent: u32,
    echoes_sent: u32,
    echoed: Option<Vec<u8>>,
    last_init: Option<Init>,
    last_cookie: Option<Vec<u8>>,
    last_tag: u32,
    /// The last packet may measure the round trip.
    pub(crate) measures: bool,
    /// The last packet may be the answer to something, and so shows that the peer is there (I29).
    pub(crate) lives: bool,
    /// The last packet acknowledged something, and so shows with certainty that the peer is there.
    pub(crate) moves: bool,
    /// Bytes that the SACKs in the last packet acknowledged for the first time.
    pub(crate) acked_bytes: usize,
    /// The last packet is part of a handshake, so that an association may begin or restart.
    pub(crate) begins: bool,
    /// The window that the peer told last, and how often it was probed while closed on a network without faults (I40).
    window_heard: u32,
    probes: u32,
    /// An attacker changes contents behind the checksum: then only the form of packets is held to the rules.
    pub(crate) form_only: bool,
    /// Packets that have arrived since the end was last polled for packets, if several may.
    batch: Option<u32>,
    /// Packets with DATA that have come since a SACK was sent, and SACKs since packets were last taken out.
    data_packets: u32,
    acknowledgements: u32,
}

/// Tags and first TSNs of both ends, and the chunk types of user data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Agreement {
    our_tag: u32,
    our_tsn: u32,
    peer_tag: u32,
    peer_tsn: u32,
    interleaves: bool,
}

impl Agreement {
    fn new(ours: Init, theirs: Init) -> Self {
        let interleaves = ours.interleaves && theirs.interleaves;
        let (our_tag, our_tsn, peer_tag, peer_tsn) = (ours.tag, ours.tsn, theirs.tag, theirs.tsn);
        Self { our_tag, our_tsn, peer_tag, peer_tsn, interleaves }
    }
}

/// Chunks that have passed under an agreement.
#[derive(Debug)]
pub(crate) struct Flows {
    pub(crate) outgoing: Outgoing,
    pub(crate) incoming: Incoming,
    pub(crate) resets: Resets,
}

/// Contents of a packet that was sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Contents {
    pub(crate) has_data: bool,
    /// DATA sent for the first time.
    pub(crate) new_data: u32,
    /// Bytes of DATA, headers and padding included.
    pub(crate) data_bytes: usize,
    pub(crate) only_heartbeat: bool,
    /// A probe of a size (RFC 8899), which answers nothing.
    pub(crate) is_probe: bool,
    pub(crate) only_forward_tsn: bool,
    /// Our own stream reset: it answers nothing.
    pub(crate) only_reset: bool,
}

impl Observer {
    pub(crate) fn new(form_only: bool) -> Self {
        Self { form_only, ..Self::default() }
    }

    pub(crate) fn flows(&self) -> Option<&Flows> {
        self.flows.as_ref()
    }

    /// Tags of this end and its peer, once agreed on.
    pub(crate) fn tags(&self) -> Option<(u32, u32)> {
        self.agreement.map(|agreement| (agreement.our_tag, agreement.peer_tag))
    }

    /// The end has a new association: the old agreement is over.
    pub(crate) fn on_new_association(&mut self) {
        (self.agreement, self.flows) = (None, None);
        (self.inits_sent, self.echoes_sent, self.echoed) = (0, 0, None);
    }

    /// Packets arrive before the end is polled for packets: it answers each of them as it arrives.
    pub(crate) fn begin_batch(&mut self) {
        self.batch = self.batch.or(Some(0));
    }

    /// The end has handled the last packet.
    pub(crate) fn on_taken_in(&mut self, refusals: u64) {
        if let Some(flows) = &mut self.flows {
            flows.incoming.on_taken_in(refusals);
        }
    }

    /// All that the end had to send was taken out. `is_up`: it is in a state in which it takes DATA.
    pub(crate) fn end_batch(&mut self, is_up: bool) {
        let is_batch = self.batch.take().is_some();
        let Some(flows) = &mut self.flows else { return };
        if is_batch {
            flows.incoming.catch_up();
            flows.resets.end_batch();
        }
        // RFC 9260 §6.2 wants a SACK for every second packet with DATA, even if both are handled at once. The packets
        // that arrived with DATA are not known for sure, so the best is assumed: none is left over.
        let (packets, sacks) = (self.data_packets, std::mem::take(&mut self.acknowledgements));
        assert!(!is_up || sacks >= packets / 2, "I16: {sacks} SACKs for {packets} packets with DATA");
        self.data_packets = if sacks > 0 { 0 } else { packets };
    }

    /// True if the packet goes in beside others: it is of the association, and neither begins nor ends it.
    pub(crate) fn may_batch(&self, bytes: &[u8]) -> bool {
        let kinds = [kind::SACK, kind::HEARTBEAT, kind::HEARTBEAT_ACK, kind::RE_CONFIG];
        let may_batch = |kind: u8| kinds.contains(&kind) || kind::is_data(kind) || kind::is_skip(kind);
        Packet::parse(bytes).is_ok_and(|packet| {
            let is_ours = self.agreement.is_some_and(|agreement| agreement.our_tag == packet.tag);
            is_ours && packet.crc_is_right && packet.chunks.iter().all(|chunk| may_batch(chunk.kind))
        })
    }

    pub(crate) fn on_sent(&mut self, bytes: &[u8], situation: &Situation<'_>) -> Contents {
        let packet = Packet::parse(bytes).unwrap_or_else(|reason| panic!("I04: {reason}"));
        let (len, mtu) = (bytes.len(), situation.mtu);
        assert!(len <= mtu || packet.is_probe(), "I04: a packet of {len} bytes, MTU {mtu}");
        assert!(packet.crc_is_right, "I04: wrong checksum");
        assert!(!packet.omits_checksum || situation.may_omit_checksum, "I04: no checksum");
        assert!(packet.is_padded_with_zeros, "I04: padding is not zero");
        check_form(&packet);
        if self.form_only {
            return Contents { has_data: packet.has_data(), ..Contents::default() };
        }
        for chunk in &packet.chunks {
            self.on_handshake_sent(chunk, situation.window);
        }
        self.check_tag(&packet);
        self.check_data_format(&packet);
        let (mut new_data, mut end) = (0, HEADER_LEN);
        for chunk in &packet.chunks {
            end += chunk.wire_len();
            new_data += u32::from(self.on_chunk_sent(chunk, end, situation));
        }
        Contents {
            has_data: packet.has_data(),
            new_data,
            data_bytes: packet.chunks.iter().filter(|c| kind::is_data(c.kind)).map(Chunk::wire_len).sum(),
            only_heartbeat: packet.chunks.iter().all(|c| c.kind == kind::HEARTBEAT || c.kind == kind::HEARTBEAT_ACK),
            is_probe: packet.is_probe(),
            only_reset: packet.chunks.iter().all(|chunk| {
                let parameters =
                    if chunk.kind == kind::RE_CONFIG { chunk.reconfig().unwrap_or_default() } else { Vec::new() };
                matches!(parameters[..], [Reconfig::Outgoing { .. } | Reconfig::Incoming { .. } | Reconfig::Add { .. }])
            }),
            only_forward_tsn: packet.chunks.iter().all(|c| kind::is_skip(c.kind)),
        }
    }

    /// Called before the end sees the packet. Packets that the end would drop are ignored here, too.
    pub(crate) fn on_arrival(&mut self, bytes: &[u8], situation: &Situation<'_>) {
        let Ok(packet) = Packet::parse(bytes) else { return };
        self.last_tag = packet.tag;
        (self.moves, self.acked_bytes) = (false, 0);
        self.begins = [kind::INIT_ACK, kind::COOKIE_ECHO, kind::COOKIE_ACK].iter().any(|&kind| packet.has(kind));
        self.lives = packet.has(kind::HEARTBEAT_ACK)
            || packet.has(kind::SHUTDOWN)
            || packet.has(kind::RE_CONFIG)
            || packet.has(kind::COOKIE_ACK)
            || packet.has(kind::COOKIE_ECHO)
            || packet.has_data() && situation.is_ending;
        self.measures = packet.has(kind::HEARTBEAT_ACK)
            || packet.has(kind::INIT_ACK) && self.inits_sent == 1
            || packet.has(kind::COOKIE_ACK) && self.echoes_sent == 1;
        if self.form_only || !packet.crc_is_right {
            return;
        }
        for chunk in &packet.chunks {
            self.on_handshake_arrival(chunk);
        }
        if self.agreement.is_some_and(|agreement| agreement.our_tag == packet.tag) {
            let mut is_first = self.batch.is_none_or(|count| count == 0);
            self.batch = self.batch.map(|count| count + 1);
            self.data_packets += u32::from(situation.takes_data && packet.has_data());
            for chunk in &packet.chunks {
                self.on_chunk_arrival(chunk, is_first, situation);
                is_first &= !kind::is_data(chunk.kind);
            }
        }
    }

    fn on_handshake_sent(&mut self, chunk: &Chunk<'_>, window: u32) {
        match chunk.kind {
            kind::INIT => {
                self.init_sent = chunk.init().ok();
                self.inits_sent += 1;
            }
            kind::INIT_ACK => {
                let (ours, cookie) = (chunk.init().expect("I04: INIT ACK"), chunk.state_cookie());
                let theirs = self.last_init.expect("I05: INIT ACK without INIT");
                self.learn(cookie.expect("I04: INIT ACK without cookie"), ours, theirs);
            }
            kind::COOKIE_ECHO => {
                let agreement = self.cookies.get(chunk.body).copied();
                if self.echoed.as_deref() != Some(chunk.body) {
                    (self.echoed, self.echoes_sent) = (Some(chunk.body.to_vec()), 0);
                }
                self.echoes_sent += 1;
                self.agree(agreement.expect("I04: COOKIE ECHO with a cookie that never came"), window);
            }
            kind::COOKIE_ACK => {
                let cookie = self.last_cookie.clone().expect("I05: COOKIE ACK without COOKIE ECHO");
                let agreement = self.cookies.get(&cookie).copied();
                self.agree(agreement.expect("I24: COOKIE ACK for a cookie that is not ours"), window);
            }
            _ => {}
        }
    }

    fn on_handshake_arrival(&mut self, chunk: &Chunk<'_>) {
        match chunk.kind {
            kind::INIT => self.last_init = chunk.init().ok(),
            kind::INIT_ACK => {
                if let (Ok(theirs), Some(ours), Some(cookie)) = (chunk.init(), self.init_sent, chunk.state_cookie())
                    && self.last_tag == ours.tag
                {
                    self.learn(cookie, ours, theirs);
                }
            }
            kind::COOKIE_ECHO => self.last_cookie = Some(chunk.body.to_vec()),
            _ => {}
        }
    }

    fn learn(&mut self, cookie: &[u8], ours: Init, theirs: Init) {
        self.cookies.insert(cookie.to_vec(), Agreement::new(ours, theirs));
    }

    /// Signalling has carried the INIT chunks of both ends, which are established.
    pub(crate) fn agree_as_signalled(&mut self, ours: &[u8], theirs: &[u8], window: u32) {
        let [ours, theirs] = [ours, theirs].map(|chunk| {
            let len = usize::from(u16::from_be_bytes([chunk[2], chunk[3]]));
            Chunk { kind: chunk[0], flags: chunk[1], body: &chunk[4..len] }.init().expect("I04: INIT")
        });
        self.agree(Agreement::new(ours, theirs), window);
    }

    /// The same agreement again is a retransmitted COOKIE ECHO; another one is a collision, or a restart.
    fn agree(&mut self, agreement: Agreement, window: u32) {
        if self.agreement == Some(agreement) {
            return;
        }
        self.agreement = Some(agreement);
        (self.window_heard, self.probes, self.data_packets) = (u32::MAX, 0, 0);
        self.flows = Some(Flows {
            outgoing: Outgoing::new(agreement.our_tsn, agreement.interleaves),
            incoming: Incoming::new(agreement.peer_tsn, window, agreement.interleaves),
            resets: Resets::new(agreement.our_tsn),
        });
    }

    /// RFC 9260 §8.5, and §8.4 for answers to out-of-the-blue packets.
    fn check_tag(&self, packet: &Packet<'_>) {
        let agreed = self.agreement.is_some_and(|agreement| agreement.peer_tag == packet.tag);
        let of_init = self.last_init.is_some_and(|init| init.tag == packet.tag);
        let of_cookie = self.last_cookie.as_ref().and_then(|cookie| self.cookies.get(cookie));
        let of_cookie = of_cookie.is_some_and(|agreement| agreement.peer_tag == packet.tag);
        let reflected = packet.tag == self.last_tag;
        let first = packet.chunks[0];
        let right = match first.kind {
            kind::INIT => packet.tag == 0,
            kind::INIT_ACK => of_init,
            kind::ABORT | kind::SHUTDOWN_COMPLETE if first.flags & 1 == 1 => reflected,
            // The answer to an INIT or a COOKIE ECHO for which there is no room is an ABORT, and an INIT of somebody
            // else may have come before the latter.
            kind::ABORT => agreed || of_init || of_cookie,
            kind::ERROR => agreed || of_cookie,
            _ => agreed,
        };
        assert!(right, "I04: wrong tag {:08x} in {:?}; agreed: {:08x?}", packet.tag, packet.chunks, self.agreement);
    }

    /// I45: user data and skips have the type that the handshake has decided (RFC 8260 §2.2.1).
    fn check_data_format(&self, packet: &Packet<'_>) {
        let Some(agreement) = self.agreement else { return };
        let wrong =
            if agreement.interleaves { [kind::DATA, kind::FORWARD_TSN] } else { [kind::I_DATA, kind::I_FORWARD_TSN] };
        for kind in wrong {
            assert!(!packet.has(kind), "I45: a chunk of type {kind}, messages interleave: {}", agreement.interleaves);
        }
    }

    /// `end` is where the chunk ends in its packet. Returns whether it is DATA that was not sent before.
    fn on_chunk_sent(&mut self, chunk: &Chunk<'_>, end: usize, situation: &Situation<'_>) -> bool {
        self.acknowledgements += u32::from(chunk.kind == kind::SACK || chunk.kind == kind::SHUTDOWN);
        let Some(flows) = &mut self.flows else { return false };
        if self.batch.is_none() {
            flows.incoming.on_refusals(situation.refusals);
        }
        match chunk.kind {
            kind::DATA | kind::I_DATA => {
                let data = chunk.data().expect("I04: DATA");
                if situation.healed && self.window_heard == 0 && flows.outgoing.is_alone(data.tsn) {
                    self.probes += 1;
                    assert!(self.probes <= PROBES_MAX, "I40: {} probes, and the window is still closed", self.probes);
                }
                return flows.outgoing.on_data(situation.now, &data, || (situation.promise)(&data));
            }
            kind::SACK => {
                let sack = chunk.sack().expect("I04: SACK");
                // A SACK in the middle of a batch tells of a moment that the application does not see.
                let is_now = self.batch.is_none_or(|count| count <= 1);
                let is_empty = situation.unread == 0 && situation.is_plain && is_now;
                let unread = if is_now { situation.unread_bytes } else { 0 };
                flows.incoming.on_sack(&sack, end + 4 > situation.mtu_floor, unread, is_empty);
            }
            kind::SHUTDOWN => {
                flows.incoming.report(chunk.shutdown().expect("I04: SHUTDOWN"));
            }
            kind::FORWARD_TSN | kind::I_FORWARD_TSN => {
                flows.outgoing.on_forward_tsn(&chunk.forward_tsn().expect("I04: FORWARD-TSN"));
            }
            kind::RE_CONFIG => {
                for parameter in chunk.reconfig().expect("I04: RE-CONFIG") {
                    flows.resets.on_sent(&parameter, &mut flows.outgoing, &flows.incoming);
                }
            }
            _ => {}
        }
        false
    }

    /// `is_first`: there was no DATA before it in the packet, which might fill the buffer for it.
    fn on_chunk_arrival(&mut self, chunk: &Chunk<'_>, is_first: bool, situation: &Situation<'_>) {
        let Some(flows) = &mut self.flows else { return };
        if self.batch.is_some() {
            flows.incoming.lag();
        }
        match chunk.kind {
            kind::DATA | kind::I_DATA => {
                let Ok(data) = chunk.data() else { return };
                if !situation.takes_data {
                    flows.incoming.on_refusal();
                }
                flows.incoming.on_data(&data, is_first && situation.unread == 0);
                flows.outgoing.on_heard(&data);
            }
            kind::SACK => {
                if let Ok(sack) = chunk.sack() {
                    let learned = flows.outgoing.on_ack(sack.cumulative, Some(&sack.gaps));
                    self.measures |= learned.measures;
                    let is_probed = (sack.a_rwnd as usize) <= flows.outgoing.outstanding_bytes();
                    self.moves |= learned.is_new;
                    self.acked_bytes += learned.bytes;
                    self.lives |= learned.is_new || is_probed && !learned.is_old;
                    if !learned.is_old {
                        self.window_heard = sack.a_rwnd;
                    }
                    if learned.is_new || sack.a_rwnd > 0 {
                        self.probes = 0;
                    }
                }
            }
            kind::SHUTDOWN => {
                if let Ok(cumulative) = chunk.shutdown() {
                    let _ = flows.outgoing.on_ack(cumulative, None);
                }
            }
            kind::FORWARD_TSN | kind::I_FORWARD_TSN => {
                if let Ok(forward) = chunk.forward_tsn() {
                    flows.incoming.on_forward_tsn(&forward);
                }
            }
            kind::RE_CONFIG => {
                for parameter in chunk.reconfig().unwrap_or_default() {
                    flows.resets.on_received(&parameter, &mut flows.outgoing, self.batch.is_some());
                }
            }
            _ => {}
        }
    }
}

/// I04: chunks that stand alone, chunks that are first, flags.
fn check_form(packet: &Packet<'_>) {
    let lonely = [kind::INIT, kind::INIT_ACK, kind::SHUTDOWN_COMPLETE];
    let mut data_seen = false;
    for (index, chunk) in packet.chunks.iter().enumerate() {
        assert!(kind::is_known(chunk.kind), "I04: a chunk of type {}", chunk.kind);
        assert!(packet.chunks.len() == 1 || !lonely.contains(&chunk.kind), "I04: {:?} is not alone", chunk.kind);
        assert!((packet.tag == 0) == (chunk.kind == kind::INIT), "I04: tag {} on type {}", packet.tag, chunk.kind);
        assert!(!data_seen || kind::is_data(chunk.kind), "I04: a control chunk after DATA");
        assert!(chunk.kind != kind::PAD || packet.is_probe(), "I04: padding outside of a probe");
        assert!(chunk.kind != kind::COOKIE_ECHO || index == 0, "I04: COOKIE ECHO is not first");
        let t_bit = chunk.kind == kind::ABORT || chunk.kind == kind::SHUTDOWN_COMPLETE;
        let flags = if kind::is_data(chunk.kind) { 15 } else { u8::from(t_bit) };
        assert_eq!(chunk.flags & !flags, 0, "I04: reserved flags are set on type {}", chunk.kind);
        data_seen |= kind::is_data(chunk.kind);
    }
    assert!(!packet.chunks.is_empty(), "I04: a packet without chunks");
    assert!(!(packet.has(kind::ABORT) && packet.has_data()), "I04: DATA bundled with ABORT");
}
