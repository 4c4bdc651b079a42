//! Lower limit of a sender's rate.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::Failure;

/// A sender must have sent this many bytes, or the rest of the file, in this time: 550 bytes a second. A peer that has
/// vanished is given up before.
const STEP_BYTES: u64 = 32 << 10;
const STEP_TIME: Duration = Duration::from_secs(60);

/// Time-out of a file that does not go on. Without it, senders that send nothing would hold their turns for ever.
pub(crate) struct Pace {
    deadline: Instant,
    bytes: u64,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self { deadline: Instant::now() + STEP_TIME, bytes: 0 }
    }

    /// Waits for the sender.
    pub(crate) async fn wait<T>(&self, next: impl Future<Output = T>) -> Result<T, Failure> {
        let seconds = STEP_TIME.as_secs();
        timeout_at(self.deadline, next)
            .await
            .map_err(|_| format!("the file did not go on for {seconds} seconds: have it sent again").into())
    }

    /// Waits for this end, which does not count.
    pub(crate) async fn pause<T>(&mut self, work: impl Future<Output = T>) -> T {
        let start = Instant::now();
        let result = work.await;
        self.deadline += start.elapsed();
        result
    }

    /// Counts bytes that have come.
    pub(crate) fn on_bytes(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        if self.bytes >= STEP_BYTES {
            *self = Self::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_slow_sender_is_waited_for_and_a_silent_one_is_not() {
        let mut pace = Pace::new();
        for _ in 0..100 {
            pace.wait(sleep(Duration::from_secs(59))).await.unwrap();
            pace.on_bytes(32 << 10);
        }
        let failure = pace.wait(pending::<()>()).await.unwrap_err().to_string();
        assert_eq!(failure, "the file did not go on for 60 seconds: have it sent again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_now_and_then_is_no_progress() {
        let mut pace = Pace::new();
        let start = Instant::now();
        while pace.wait(sleep(Duration::from_secs(5))).await.is_ok() {
            pace.on_bytes(1);
        }
        assert_eq!(start.elapsed(), STEP_TIME);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_disk_is_not_the_senders_fault() {
        let mut pace = Pace::new();
        pace.pause(sleep(Duration::from_secs(600))).await;
        pace.wait(sleep(Duration::from_secs(59))).await.unwrap();
    }
}
