//! The command `narrowboat`.
fn main() {}
