//! The answer to a re-configuration request.

/// Result of a re-configuration request (RFC 6525 §4.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ResetResult {
    /// Success: there was nothing to do.
    NothingToDo,
    /// Success: it was done.
    Performed,
    /// The peer does not want to.
    Denied,
    /// A stream number that does not exist.
    WrongSsn,
    /// Not done yet; ask again with the same request.
    InProgress,
    /// Refused: another request is being worked on.
    ErrorInProgress,
    /// Refused: the request's sequence number is not the next one.
    BadSequenceNumber,
    /// A number without a meaning in RFC 6525.
    Unknown(u32),
}

impl ResetResult {
    /// Returns `true` if the requested change has been performed or was not needed.
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self, Self::NothingToDo | Self::Performed)
    }
}

impl From<u32> for ResetResult {
    fn from(number: u32) -> Self {
        match number {
            0 => Self::NothingToDo,
            1 => Self::Performed,
            2 => Self::Denied,
            3 => Self::WrongSsn,
            4 => Self::ErrorInProgress,
            5 => Self::BadSequenceNumber,
            6 => Self::InProgress,
            other => Self::Unknown(other),
        }
    }
}

impl From<ResetResult> for u32 {
    fn from(result: ResetResult) -> Self {
        match result {
            ResetResult::NothingToDo => 0,
            ResetResult::Performed => 1,
            ResetResult::Denied => 2,
            ResetResult::WrongSsn => 3,
            ResetResult::ErrorInProgress => 4,
            ResetResult::BadSequenceNumber => 5,
            ResetResult::InProgress => 6,
            ResetResult::Unknown(other) => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_agree() {
        for number in 0..10 {
            assert_eq!(u32::from(ResetResult::from(number)), number);
            assert_eq!(ResetResult::from(number).is_success(), number < 2);
            assert_eq!(matches!(ResetResult::from(number), ResetResult::Unknown(_)), number > 6);
        }
    }
}
