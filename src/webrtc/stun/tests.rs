//! The format against published messages (RFC 5769), captured ones, and damage.

use narrowboat_sctp::testing::Random;

use super::message::ParseError;
use super::*;

/// RFC 5769 §2: the password of the first three messages.
const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";

const TRANSACTION_ID: TransactionId =
    TransactionId([0xB7, 0xE7, 0xA7, 0x01, 0xBC, 0x34, 0xD6, 0x86, 0xFA, 0x87, 0xDF, 0xAE]);

/// RFC 5769 §2.1: a request of a controlled agent.
const REQUEST: &str = "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74\
     002400046e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020\
     000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf";

/// RFC 5769 §2.2: 192.0.2.1, port 32853.
const RESPONSE_V4: &str = "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220\
     002000080001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96";

/// RFC 5769 §2.3: 2001:db8:1234:5678:11:2233:4455:6677, port 32853.
const RESPONSE_V6: &str = "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220\
     002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275\
     bfe3ed4180280004c8fb0b4c";

/// RFC 5769 §2.4: long-term credentials, which ICE never uses; it has no FINGERPRINT.
const REQUEST_LONG_TERM: &str = "000100602112a44278ad3433c6ad72c029da412e00060012e3839ee38388e383aae38383\
     e382afe382b900000015001c662f2f3439396b39353464364f4c33346f4c394653547679363473410014000b\
     6578616d706c652e6f72670000080014f67024656dd64a3e02b8e0712e85c9a28ca89666";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal")).collect()
}

/// Returns a message with any attributes: sets the length and puts FINGERPRINT last.
fn message(kind: u16, attributes: &[u8]) -> Vec<u8> {
    let mut message = kind.to_be_bytes().to_vec();
    message.extend(u16::try_from(attributes.len() + 8).expect("short").to_be_bytes());
    message.extend(MAGIC_COOKIE);
    message.extend(TRANSACTION_ID.0);
    message.extend(attributes);
    let crc = crc32fast::hash(&message) ^ FINGERPRINT_XOR;
    message.extend([0x80, 0x28, 0, 4]);
    message.extend(crc.to_be_bytes());
    message
}

#[test]
fn the_published_request_is_read_and_its_integrity_holds() {
    let datagram = bytes(REQUEST);
    let message = StunMessage::parse(&datagram).expect("a message");
    assert_eq!((message.class, message.transaction_id), (Class::Request, TRANSACTION_ID));
    assert_eq!(message.username, Some(&b"evtj:h6vY"[..]));
    assert_eq!(message.ice_username(), Some(Username { to: "evtj", from: "h6vY" }));
    assert_eq!(message.priority, Some(0x6E00_01FF));
    assert_eq!((message.controlled, message.controlling), (Some(0x932F_F9B1_5126_3B36), None));
    assert!(!message.use_candidate);
    assert!(Key::new(PASSWORD).has_signed(&message));
    assert!(!Key::new("VOkJxbRl1RmTxUk/WvJxBu").has_signed(&message));
    assert!(!Key::new("").has_signed(&message));
}

#[test]
fn the_published_responses_are_read_and_their_integrity_holds() {
    for (hex, address) in
        [(RESPONSE_V4, "192.0.2.1:32853"), (RESPONSE_V6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853")]
    {
        let datagram = bytes(hex);
        let message = StunMessage::parse(&datagram).expect("a message");
        assert_eq!(message.class, Class::Success);
        assert_eq!(message.xor_mapped_address, Some(address.parse().expect("an address")));
        assert!(Key::new(PASSWORD).has_signed(&message));
    }
}

#[test]
fn a_message_without_fingerprint_is_none_of_ours() {
    let datagram = bytes(REQUEST_LONG_TERM);
    assert_eq!(StunMessage::parse(&datagram).err(), Some(ParseError::NoFingerprint));
    let bare = &message(0x0001, &[])[..HEADER_LEN];
    let empty = [&bare[..2], &[0, 0], &bare[4..]].concat();
    assert_eq!(StunMessage::parse(&empty).err(), Some(ParseError::NoFingerprint));
}

#[test]
fn what_is_written_reads_back_and_equals_the_published_bytes() {
    // The published response without SOFTWARE, which we never write: its MAC and CRC differ, all else is equal.
    let mut written = Vec::new();
    StunWriter::new(&mut written, Class::Success, TRANSACTION_ID)
        .xor_mapped_address("192.0.2.1:32853".parse().expect("an address"))
        .finish(Some(&Key::new(PASSWORD)));
    assert_eq!(written[20..32], bytes("002000080001a147e112a643"));
    let mut written = Vec::new();
    StunWriter::new(&mut written, Class::Success, TRANSACTION_ID)
        .xor_mapped_address("[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().expect("an address"))
        .finish(None);
    assert_eq!(written[20..44], bytes("002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"));
    assert!(!StunMessage::parse(&written).expect("a message").has_integrity());

    let mut written = b"before".to_vec();
    StunWriter::new(&mut written, Class::Request, TRANSACTION_ID)
        .username(Username { to: "evtj", from: "h6vY" })
        .priority(0x6E00_01FF)
        .use_candidate()
        .controlling(7)
        .finish(Some(&Key::new(PASSWORD)));
    let message = StunMessage::parse(&written[6..]).expect("a message");
    assert_eq!(message.ice_username(), Some(Username { to: "evtj", from: "h6vY" }));
    assert_eq!((message.priority, message.controlling, message.controlled), (Some(0x6E00_01FF), Some(7), None));
    assert!(message.use_candidate && Key::new(PASSWORD).has_signed(&message));
    // The order and bytes of the attributes before the MAC are a browser's.
    assert_eq!(
        written[26..62],
        bytes("000600096576746a3a68367659000000002400046e0001ff00250000802a00080000000000000007")[..36]
    );
}

#[test]
fn an_error_response_carries_its_number_and_the_attributes_that_were_not_understood() {
    for code in [300, 400, 401, 420, 487, 500, 699] {
        let mut written = Vec::new();
        StunWriter::new(&mut written, Class::Error, TRANSACTION_ID)
            .error_code(code)
            .unknown_attributes(&[0x7F01, 0x0031, 0x0032])
            .finish(None);
        let message = StunMessage::parse(&written).expect("a message");
        assert_eq!((message.class, message.error_code), (Class::Error, Some(code)));
        assert_eq!(written[28..40], bytes("000a00067f01003100320000"));
    }
}

#[test]
fn k04_each_flipped_bit_and_each_truncation_is_dropped_before_any_mac() {
    let whole = bytes(REQUEST);
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(StunMessage::parse(&damaged).is_err(), "bit {bit} flipped");
    }
    for len in 0..whole.len() {
        assert!(StunMessage::parse(&whole[..len]).is_err(), "cut to {len} bytes");
    }
    let longer = [&whole[..], &[0; 4]].concat();
    assert_eq!(StunMessage::parse(&longer).err(), Some(ParseError::Length));
}

#[test]
fn k04_the_crc_is_checked_before_attributes_and_the_length_before_the_crc() {
    let mut bad_attribute = message(0x0001, &[0x00, 0x06, 0xFF, 0xFF]);
    assert_eq!(StunMessage::parse(&bad_attribute).err(), Some(ParseError::Attribute));
    bad_attribute[30] ^= 1;
    assert_eq!(StunMessage::parse(&bad_attribute).err(), Some(ParseError::Fingerprint));
    let huge = message(0x0001, &[0; 1_480]);
    assert_eq!(StunMessage::parse(&huge).err(), Some(ParseError::Length));
    let mut other = message(0x0001, &[]);
    other[4] = 0;
    assert_eq!(StunMessage::parse(&other).err(), Some(ParseError::MagicCookie));
    for kind in [0x0003, 0x0101 | 0x0002, 0x3FFF, 0x0000] {
        assert_eq!(StunMessage::parse(&message(kind, &[])).err(), Some(ParseError::Method), "type {kind:#06x}");
    }
}

#[test]
fn unknown_attributes_are_reported_if_they_must_be_understood_and_skipped_if_not() {
    let optional = message(0x0001, &bytes("c057000400010032"));
    assert!(StunMessage::parse(&optional).expect("a message").unknown_attributes().is_empty());
    let required = message(0x0001, &bytes("7f0100007f020001ff000000c0570000"));
    assert_eq!(StunMessage::parse(&required).expect("a message").unknown_attributes(), [0x7F01, 0x7F02]);
    let many: Vec<u8> = (0..100_u8).flat_map(|number| [0x70, number, 0, 0]).collect();
    assert_eq!(StunMessage::parse(&message(0x0001, &many)).expect("a message").unknown_attributes().len(), 8);
}

#[test]
fn what_follows_message_integrity_is_ignored_and_so_is_a_second_attribute_of_a_type() {
    let mut written = Vec::new();
    StunWriter::new(&mut written, Class::Request, TRANSACTION_ID)
        .priority(1)
        .priority(2)
        .finish(Some(&Key::new(PASSWORD)));
    let signed = written[20..written.len() - 8].to_vec();
    let appended = message(0x0001, &[&signed[..], &bytes("0025000000060001610000007f0100008028000400000000")].concat());
    let message = StunMessage::parse(&appended).expect("a message");
    assert_eq!((message.priority, message.use_candidate, message.username), (Some(1), false, None));
    assert!(message.unknown_attributes().is_empty());
    assert!(Key::new(PASSWORD).has_signed(&message), "the MAC covers what is before it, with the length up to it");
}

#[test]
fn an_attribute_whose_value_cannot_be_one_of_its_type_counts_as_absent() {
    for attribute in [
        "00240003000000ff",         // PRIORITY of three bytes
        "802a000400000000",         // a tiebreaker of four
        "8029000400000000",         // and of the other role
        "002000080003a147e112a643", // an address family that does not exist
        "002000080002a147e112a643", // IPv6 in four bytes
        "00200004000100ff",         // no address at all
        "0009000400000200",         // error class 2
        "0009000400000464",         // error number 100
        "00090003000004ff",         // ERROR-CODE of three bytes
        "8028000400000000",         // a FINGERPRINT that is not the last attribute
    ] {
        let name = bytes("000600096576746a3a68367659000000");
        let alone = message(0x0001, &name);
        assert!(!StunMessage::parse(&alone).expect("a message").has_malformed_attribute);
        let whole = message(0x0001, &[bytes(attribute), name].concat());
        let read = StunMessage::parse(&whole).unwrap_or_else(|error| panic!("{error}: {attribute}"));
        assert_eq!(read.ice_username(), Some(Username { to: "evtj", from: "h6vY" }), "{attribute}");
        assert!(read.has_malformed_attribute, "{attribute}");
        assert_eq!((read.priority, read.controlling, read.controlled), (None, None, None), "{attribute}");
        assert_eq!((read.xor_mapped_address, read.error_code), (None, None), "{attribute}");
    }
}

#[test]
fn attributes_that_cannot_be_told_apart_make_the_message_malformed() {
    for attribute in [
        "0008000400000000", // a MAC of four bytes
        "00060002",         // a value beyond the end
        "0006ffff",         // and far beyond
    ] {
        let datagram = message(0x0001, &bytes(attribute));
        assert_eq!(StunMessage::parse(&datagram).err(), Some(ParseError::Attribute), "{attribute}");
    }
}

#[test]
fn attributes_of_any_shape_never_panic() {
    let mut random = Random(1);
    for _ in 0..20_000 {
        let len = random.index(16) * 4;
        let attributes: Vec<u8> = (0..len).map(|_| if random.bool() { 0 } else { random.u8() % 40 }).collect();
        if let Ok(read) = StunMessage::parse(&message(0x0001, &attributes)) {
            assert!(!Key::new(PASSWORD).has_signed(&read));
        }
    }
}
