//! The Data Channel Establishment Protocol's two messages (RFC 8832 §5).

use bytes::Bytes;

use crate::open;
use crate::options::ChannelOptions;

/// DATA_CHANNEL_ACK (RFC 8832 §8.2.1).
const TYPE_ACK: u8 = 0x02;
/// DATA_CHANNEL_OPEN.
pub(crate) const TYPE_OPEN: u8 = 0x03;

/// The whole of a DATA_CHANNEL_ACK.
pub(crate) const ACK: Bytes = Bytes::from_static(&[TYPE_ACK]);

/// What a message with the DCEP label says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    Open(ChannelOptions),
    Ack,
}

impl Control {
    pub(crate) fn decode(message: &[u8]) -> Result<Self, ControlError> {
        match message {
            [] => Err(ControlError::Empty),
            [TYPE_ACK] => Ok(Self::Ack),
            [TYPE_ACK, ..] => Err(ControlError::AckTooLong),
            [TYPE_OPEN, body @ ..] => open::decode(body).map(Self::Open),
            [other, ..] => Err(ControlError::UnknownType(*other)),
        }
    }
}

/// What is wrong with a DCEP message of the peer (RFC 8832 §5, §7).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum ControlError {
    /// No message type.
    #[error("an empty DCEP message")]
    Empty,
    /// Neither DATA_CHANNEL_OPEN nor DATA_CHANNEL_ACK; 0x00 and 0x01 are of draft versions.
    #[error("DCEP message of unknown type {0:#04x}")]
    UnknownType(u8),
    /// A DATA_CHANNEL_ACK with something behind it.
    #[error("a DATA_CHANNEL_ACK longer than one byte")]
    AckTooLong,
    /// Less than the fixed part of a DATA_CHANNEL_OPEN.
    #[error("a DATA_CHANNEL_OPEN cut short")]
    OpenTooShort,
    /// Label and protocol do not fill the rest of the message.
    #[error("a DATA_CHANNEL_OPEN whose lengths do not add up")]
    LengthMismatch,
    /// Not one of the six channel types.
    #[error("DATA_CHANNEL_OPEN for a channel of unknown type {0:#04x}")]
    UnknownChannelType(u8),
    /// The label is not UTF-8.
    #[error("a label that is not UTF-8")]
    LabelNotUtf8,
    /// The protocol is not UTF-8.
    #[error("a protocol that is not UTF-8")]
    ProtocolNotUtf8,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_registered_types_are_understood_rfc8832_8_2_1() {
        assert_eq!(Control::decode(&[]), Err(ControlError::Empty));
        assert_eq!(Control::decode(&ACK), Ok(Control::Ack));
        assert_eq!(Control::decode(&[2, 0]), Err(ControlError::AckTooLong));
        assert_eq!(Control::decode(&[3]), Err(ControlError::OpenTooShort));
        for other in (0..=255).filter(|value| ![TYPE_ACK, TYPE_OPEN].contains(value)) {
            assert_eq!(Control::decode(&[other]), Err(ControlError::UnknownType(other)));
        }
    }
}
