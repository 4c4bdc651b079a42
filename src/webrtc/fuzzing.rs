//! Entry functions of fuzz targets for what is private. Only tests and fuzzers compile them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use super::admission::{AdmissionConfig, PendingHandshakes};
use super::dtls::SetupRole;
use super::ice::Credentials;
use super::stun::{Class, Key, StunMessage, StunWriter};
use super::{Fingerprint, Ticket, demux, sdp};

/// Reads STUN messages: arbitrary bytes, and arbitrary attributes between a valid header and a valid FINGERPRINT. A
/// message that was read, written and read again must be the same.
pub fn stun(bytes: &[u8]) {
    let key = Key::new("a password of twenty-two");
    let _ = demux::Protocol::of(bytes);
    if let Ok(message) = StunMessage::parse(bytes) {
        check_message(&message, &key);
    }
    let sealed = sealed(bytes);
    if let Ok(message) = StunMessage::parse(&sealed) {
        check_message(&message, &key);
    }
}

/// Returns the bytes as the attributes of a request.
fn sealed(attributes: &[u8]) -> Vec<u8> {
    let attributes = attributes.get(..attributes.len() & !3).unwrap_or_default();
    let mut message = vec![0, 1];
    message.extend(u16::try_from(attributes.len() + 8).unwrap_or(u16::MAX).to_be_bytes());
    message.extend([0x21, 0x12, 0xA4, 0x42]);
    message.extend([7; 12]);
    message.extend(attributes);
    let crc = crc32fast::hash(&message) ^ 0x5354_554E;
    message.extend([0x80, 0x28, 0, 4]);
    message.extend(crc.to_be_bytes());
    message
}

fn check_message(message: &StunMessage<'_>, key: &Key) {
    assert!(!key.has_signed(message), "signed by nobody");
    let mut buffer = Vec::new();
    let mut writer = StunWriter::new(&mut buffer, message.class, message.transaction_id);
    if let Some(username) = message.ice_username() {
        writer = writer.username(username);
    }
    if let Some(priority) = message.priority {
        writer = writer.priority(priority);
    }
    if message.use_candidate {
        writer = writer.use_candidate();
    }
    if let Some(address) = message.xor_mapped_address {
        writer = writer.xor_mapped_address(address);
    }
    if let Some(code) = message.error_code {
        writer = writer.error_code(code);
    }
    if message.class != Class::Success {
        writer = writer.unknown_attributes(message.unknown_attributes());
    }
    writer.finish(Some(key));
    let again = StunMessage::parse(&buffer);
    assert!(again.is_ok(), "what was written cannot be read: {buffer:02x?}");
    let Ok(again) = again else { return };
    assert!(key.has_signed(&again), "the signature is lost");
    assert_eq!(again.ice_username(), message.ice_username());
    assert_eq!((again.class, again.priority), (message.class, message.priority));
    assert_eq!(again.use_candidate, message.use_candidate);
    assert_eq!((again.xor_mapped_address, again.error_code), (message.xor_mapped_address, message.error_code));
}

/// Reads descriptions: a valid offer gets an answer with as many sections.
pub fn sdp(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    sdp::AnswerDescription::parse(text).ok();
    let Ok(offer) = sdp::OfferDescription::parse(text) else { return };
    let credentials = Credentials::from_valid("ufrag", "a/password/of/24/letters");
    let local = sdp::Local {
        credentials: &credentials,
        fingerprint: Fingerprint::of(b""),
        addresses: &[SocketAddr::from((Ipv4Addr::LOCALHOST, 9))],
        sctp_port: 5000,
        max_message_size: 1 << 20,
        sctp_init: None,
        nonce: [1; 16],
        version: 1,
    };
    let answer = sdp::answer(&offer, offer.setup.answered(SetupRole::Passive), &local);
    let sections = |text: &str| text.lines().filter(|line| line.starts_with("m=")).count();
    assert_eq!(sections(&answer), sections(text), "{answer}");
    assert!(answer.lines().all(|line| line.as_bytes().get(1) == Some(&b'=')), "a broken line: {answer:?}");
}

/// Reads tickets and fingerprints: one that was read, written and read again must be the same.
pub fn ticket(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(ticket) = text.parse::<Ticket>() {
        assert_eq!(ticket.to_string().parse(), Ok(ticket.clone()), "{text}");
        for multiaddr in ticket.multiaddrs() {
            assert!(multiaddr.parse::<Ticket>().is_ok(), "{multiaddr}");
        }
    }
    if let Ok(fingerprint) = text.parse::<Fingerprint>() {
        for spelling in [fingerprint.to_string(), fingerprint.to_hex(), fingerprint.to_certhash()] {
            assert_eq!(spelling.parse(), Ok(fingerprint), "{text}");
        }
    }
}

/// Compares the table of pending handshakes with a list, two bytes an operation.
pub fn admission(script: &[u8]) {
    let config = AdmissionConfig { peers_max: 8, per_source_max: 3, ..AdmissionConfig::default() };
    let mut now = Instant::now();
    let mut table = PendingHandshakes::new(now, config, 7);
    let mut model: BTreeMap<SocketAddr, (u8, Instant)> = BTreeMap::new();
    for operation in script.chunks_exact(2).take(256) {
        let [what, how] = operation else { continue };
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, how >> 4)), 1000 + u16::from(how % 8));
        match what % 6 {
            0..=2 => {
                if table.insert(now, address, || *what).is_some() {
                    model.insert(address, (*what, now + config.lifetime));
                }
            }
            3 => assert_eq!(table.remove(address), model.remove(&address).map(|(value, _)| value)),
            4 => {
                now += Duration::from_millis(u64::from(*how) * 40);
                while let Some((address, value)) = table.expire(now) {
                    let expected = model.remove(&address);
                    assert!(expected.is_some_and(|(of, at)| of == value && at <= now), "{address} expires early");
                }
                assert!(model.values().all(|(_, at)| *at > now), "a peer stays after its time");
                table.sweep(now, |_, _| {});
            }
            _ => {
                let kept = table.peer(address).map(|peer| {
                    peer.budget.on_received(usize::from(*how));
                    peer.value
                });
                assert_eq!(kept, model.get(&address).map(|(value, _)| *value));
            }
        }
        // Somebody older may have had to make room.
        model.retain(|address, _| table.peer(*address).is_some());
        assert_eq!(table.len(), model.len(), "the table counts others");
        assert!(table.len() <= config.peers_max);
        // No other source has gained a peer.
        let of_source = model.keys().filter(|other| other.ip() == address.ip()).count();
        assert!(of_source <= config.per_source_max, "{of_source} peers of one source");
    }
}

#[cfg(test)]
mod tests {
    use crate::fuzz_replay::replay;

    #[test]
    fn the_corpora_of_what_is_private_pass_what_their_fuzz_targets_check() {
        replay("stun", 5, super::stun);
        replay("sdp", 5, super::sdp);
        replay("ticket", 5, super::ticket);
        replay("admission", 5, super::admission);
    }
}
