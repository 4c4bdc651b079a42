//! Tests of the table of pending handshakes.

mod table;
