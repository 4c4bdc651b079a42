//! The Data Channel Establishment Protocol's two messages (RFC 8832 §5).

use bytes::Bytes;

use crate::error::ControlError;
use crate::open::{self, TYPE_OPEN};
use crate::options::ChannelOptions;

/// Message type of DATA_CHANNEL_ACK (RFC 8832 §8.2.1).
const TYPE_ACK: u8 = 0x02;

/// The whole of a DATA_CHANNEL_ACK.
pub(crate) const ACK: Bytes = Bytes::from_static(&[TYPE_ACK]);

/// Contents of a message with the DCEP PPID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    Open(ChannelOptions),
    Ack,
    /// A message of another type; 0x00 and 0x01 are of draft versions. Browsers ignore it, and so does this end: it
    /// requests nothing, and the channel works without it.
    Unknown(u8),
}

/// A DCEP message, decoded as leniently as browsers do: fields that this end needs have to be valid, and the rest is
/// ignored and counted.
///
/// A message is known by its first byte. Bytes behind its last field are ignored: pion pads DATA_CHANNEL_ACK to four
/// bytes. Fields that say what kind of channel it is (RFC 8832 §5.1) are needed. So a DATA_CHANNEL_OPEN that is cut
/// short, of an unknown channel type, or with a label that is not UTF-8 is refused (§7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    pub(crate) control: Control,
    /// True if bytes follow that belong to no field.
    pub(crate) has_trailing_bytes: bool,
}

impl Decoded {
    pub(crate) fn new(message: &[u8]) -> Result<Self, ControlError> {
        let (control, rest): (Control, &[u8]) = match message {
            [] => return Err(ControlError::Empty),
            [TYPE_ACK, rest @ ..] => (Control::Ack, rest),
            [TYPE_OPEN, body @ ..] => {
                let (options, rest) = open::decode(body)?;
                (Control::Open(options), rest)
            }
            [other, ..] => (Control::Unknown(*other), &[]),
        };
        Ok(Self { control, has_trailing_bytes: !rest.is_empty() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_registered_types_are_understood_rfc8832_8_2_1() {
        let decoded = |control, has_trailing_bytes| Ok(Decoded { control, has_trailing_bytes });
        assert_eq!(Decoded::new(&[]), Err(ControlError::Empty));
        assert_eq!(Decoded::new(&ACK), decoded(Control::Ack, false));
        assert_eq!(Decoded::new(&[2, 0, 0, 0]), decoded(Control::Ack, true));
        assert_eq!(Decoded::new(&[3]), Err(ControlError::OpenTooShort));
        for other in (0..=255).filter(|value| ![TYPE_ACK, TYPE_OPEN].contains(value)) {
            assert_eq!(Decoded::new(&[other]), decoded(Control::Unknown(other), false));
            assert_eq!(Decoded::new(&[other, 1, 2]), decoded(Control::Unknown(other), false));
        }
    }
}
