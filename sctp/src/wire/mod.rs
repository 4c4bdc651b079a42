//! The wire format.
/// Result of a re-configuration request (RFC 6525 §4.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResetResult { NothingToDo, Performed, Denied, WrongSsn, InProgress, ErrorInProgress, BadSequenceNumber, Unknown(u32) }
