//! Tests of the table of pending handshakes.

mod flood;
mod table;
