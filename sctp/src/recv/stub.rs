//! Stand-ins for `crate::wire` until it is merged.

use crate::message::{Ppid, StreamId};
use crate::serial::{Ssn, Tsn};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DataChunk {
    pub(crate) tsn: Tsn,
    pub(crate) stream: StreamId,
    pub(crate) ssn: Ssn,
    pub(crate) ppid: Ppid,
    pub(crate) unordered: bool,
    pub(crate) beginning: bool,
    pub(crate) ending: bool,
    pub(crate) immediate: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct GapBlock {
    pub(crate) start: u16,
    pub(crate) end: u16,
}
