//! The DATA_CHANNEL_OPEN message (RFC 8832 §5.1).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |  type = 0x03  | channel type  |           priority            |
//! |                     reliability parameter                     |
//! |         label length          |        protocol length        |
//! |  label …                      |  protocol …                   |
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};
use narrowboat_sctp::time::Duration;
use narrowboat_sctp::{Reliability, SendPolicy};

use crate::error::ControlError;
use crate::options::{ChannelOptions, milliseconds};

/// Message type of DATA_CHANNEL_OPEN (RFC 8832 §8.2.1).
pub(crate) const TYPE_OPEN: u8 = 0x03;

/// Bytes before the label.
const HEADER_LEN: usize = 12;

/// The high bit of the channel type (RFC 8832 §8.2.2).
const UNORDERED: u8 = 0x80;
const RELIABLE: u8 = 0x00;
const PARTIAL_RELIABLE_REXMIT: u8 = 0x01;
const PARTIAL_RELIABLE_TIMED: u8 = 0x02;

/// Returns the DATA_CHANNEL_OPEN message of a channel with these options. The caller has checked that label and
/// protocol fit.
pub(crate) fn encode(options: &ChannelOptions) -> Bytes {
    let length = |text: &str| u16::try_from(text.len()).unwrap_or(u16::MAX);
    let (channel_type, parameter) = match options.reliability {
        // A priority means nothing to the peer: what arrives was not abandoned.
        Reliability::Reliable | Reliability::Priority(_) => (RELIABLE, 0),
        Reliability::MaxRetransmits(count) => (PARTIAL_RELIABLE_REXMIT, count),
        Reliability::MaxLifetime(lifetime) => (PARTIAL_RELIABLE_TIMED, milliseconds(lifetime)),
    };
    let mut message = BytesMut::with_capacity(HEADER_LEN + options.label.len() + options.protocol.len());
    message.put_u8(TYPE_OPEN);
    message.put_u8(if options.ordered { channel_type } else { channel_type | UNORDERED });
    message.put_u16(options.priority);
    message.put_u32(parameter);
    message.put_u16(length(&options.label));
    message.put_u16(length(&options.protocol));
    message.put_slice(options.label.as_bytes());
    message.put_slice(options.protocol.as_bytes());
    message.freeze()
}

/// Reads what follows the message type. Returns the bytes behind the protocol, too: no field accounts for them, and
/// libwebrtc and Firefox ignore them.
pub(crate) fn decode(mut body: &[u8]) -> Result<(ChannelOptions, &[u8]), ControlError> {
    if body.len() < HEADER_LEN - 1 {
        return Err(ControlError::OpenTooShort);
    }
    let channel_type = body.get_u8();
    let priority = body.get_u16();
    let parameter = body.get_u32();
    let label_len = usize::from(body.get_u16());
    let protocol_len = usize::from(body.get_u16());
    let reliability = match channel_type & !UNORDERED {
        // The parameter is ignored here (RFC 8832 §5.1).
        RELIABLE => Reliability::Reliable,
        // Zero stays "never again": it is not the same as reliable.
        PARTIAL_RELIABLE_REXMIT => Reliability::MaxRetransmits(parameter),
        PARTIAL_RELIABLE_TIMED => Reliability::MaxLifetime(Duration::from_millis(u64::from(parameter))),
        _ => return Err(ControlError::UnknownChannelType(channel_type)),
    };
    // Lengths beyond the message are inconsistent, and close the channel (RFC 8832 §7).
    let (label, protocol, rest) = body
        .split_at_checked(label_len)
        .and_then(|(label, rest)| rest.split_at_checked(protocol_len).map(|(protocol, rest)| (label, protocol, rest)))
        .ok_or(ControlError::LengthMismatch)?;
    let options = ChannelOptions {
        label: text(label).ok_or(ControlError::LabelNotUtf8)?,
        protocol: text(protocol).ok_or(ControlError::ProtocolNotUtf8)?,
        ordered: channel_type & UNORDERED == 0,
        reliability,
        priority,
        negotiated: None,
        send_policy: SendPolicy::default(),
    };
    Ok((options, rest))
}

fn text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(ordered: bool, reliability: Reliability) -> ChannelOptions {
        ChannelOptions {
            label: "chat".into(),
            protocol: "p1".into(),
            ordered,
            reliability,
            priority: 0x0102,
            negotiated: None,
            send_policy: SendPolicy::default(),
        }
    }

    fn decode_whole(message: &[u8]) -> Result<ChannelOptions, ControlError> {
        assert_eq!(message[0], TYPE_OPEN);
        decode(&message[1..]).map(|(options, _)| options)
    }

    #[test]
    fn each_channel_type_has_its_bytes_and_reads_back_rfc8832_5_1() {
        let lifetime = Reliability::MaxLifetime(Duration::from_millis(0x0506_0708));
        let cases = [
            (true, Reliability::Reliable, 0x00, 0),
            (false, Reliability::Reliable, 0x80, 0),
            (true, Reliability::MaxRetransmits(7), 0x01, 7),
            (false, Reliability::MaxRetransmits(0), 0x81, 0),
            (true, lifetime, 0x02, 0x0506_0708),
            (false, lifetime, 0x82, 0x0506_0708),
        ];
        for (ordered, reliability, channel_type, parameter) in cases {
            let options = options(ordered, reliability);
            let message = encode(&options);
            let mut expected = vec![3, channel_type, 1, 2];
            expected.extend(u32::to_be_bytes(parameter));
            expected.extend([0, 4, 0, 2]);
            expected.extend(b"chatp1");
            assert_eq!(message, expected);
            assert_eq!(decode_whole(&message).unwrap(), options);
        }
    }

    #[test]
    fn j01_a_message_cut_short_is_refused_and_one_with_bytes_left_over_is_not() {
        let message = encode(&options(true, Reliability::Reliable));
        for len in 1..message.len() {
            let expected = if len < HEADER_LEN { ControlError::OpenTooShort } else { ControlError::LengthMismatch };
            assert_eq!(decode_whole(&message[..len]), Err(expected), "{len} bytes");
        }
        let mut longer = message.to_vec();
        longer.extend([0, 1]);
        assert_eq!(decode(&longer[1..]), Ok((options(true, Reliability::Reliable), &[0, 1][..])));
    }

    #[test]
    fn j02_the_longest_label_and_protocol_read_back() {
        let mut options = options(true, Reliability::Reliable);
        options.label = "l".repeat(65_535);
        options.protocol = "p".repeat(65_535);
        assert_eq!(decode_whole(&encode(&options)).unwrap(), options);
    }

    #[test]
    fn j03_a_label_or_protocol_that_is_not_utf8_is_refused() {
        let message = encode(&options(true, Reliability::Reliable)).to_vec();
        let mut bad = message.clone();
        bad[HEADER_LEN] = 0xff;
        assert_eq!(decode_whole(&bad), Err(ControlError::LabelNotUtf8));
        let mut bad = message;
        bad[HEADER_LEN + 5] = 0xff;
        assert_eq!(decode_whole(&bad), Err(ControlError::ProtocolNotUtf8));
    }

    #[test]
    fn j04_unknown_channel_types_are_refused_and_a_reliable_type_ignores_its_parameter() {
        let mut message = encode(&options(true, Reliability::Reliable)).to_vec();
        message[4..8].fill(0xee);
        assert_eq!(decode_whole(&message).unwrap().reliability, Reliability::Reliable);
        for channel_type in 0..=255 {
            message[1] = channel_type;
            let known = [0x00, 0x01, 0x02, 0x80, 0x81, 0x82].contains(&channel_type);
            assert_eq!(decode_whole(&message).is_ok(), known, "{channel_type:#x}");
        }
    }
}
