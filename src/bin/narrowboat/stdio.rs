//! Standard input and output of `narrowboat connect`: the size of a piece, errors, and the wait for silence.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::Failure;

/// Longest piece of the input in one message with --bytes.
pub(crate) const BLOCK_SIZE: usize = 64 << 10;

/// Waits until nothing has arrived for so long, counted from now at the earliest.
pub(crate) async fn wait_until_quiet(last_received: &Mutex<Instant>, linger: Duration) {
    let mut quiet_since = Instant::now();
    loop {
        quiet_since = quiet_since.max(*last_received.lock().unwrap_or_else(PoisonError::into_inner));
        if quiet_since.elapsed() >= linger {
            return;
        }
        tokio::time::sleep_until(quiet_since + linger).await;
    }
}

pub(crate) fn input_error(error: &std::io::Error) -> Failure {
    format!("cannot read the input ({error}): see where it comes from").into()
}

pub(crate) fn output_error(error: &std::io::Error) -> Failure {
    format!("cannot write the output ({error}): see that its reader still reads, and that its disk has room").into()
}
