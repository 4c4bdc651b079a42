//! A thread that writes lines to standard error, and is the only one that does.
//!
//! No task waits for the reader of standard error: a pipe that is full or a terminal that is stopped would delay every
//! transfer. A line that cannot be written is left out.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Lines that may wait. More are left out, and counted.
const LINES_MAX: usize = 1_024;

/// Writes what it is given, whenever the reader takes it.
pub(crate) struct Printer {
    shared: Arc<SharedPrinter>,
}

struct SharedPrinter {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<String>,
    /// Lines that found no room.
    left_out: u64,
    is_writing: bool,
}

impl Printer {
    /// Starts the thread. It calls `write` with one or more whole lines.
    pub(crate) fn start(mut write: impl FnMut(&str) + Send + 'static) -> Self {
        let shared = Arc::new(SharedPrinter { queue: Mutex::default(), changed: Condvar::new() });
        let of_thread = Arc::clone(&shared);
        // Without the thread nothing is printed, and all else goes on.
        let _ = std::thread::Builder::new().name("printer".to_owned()).spawn(move || {
            loop {
                write(&of_thread.next());
                of_thread.lock().is_writing = false;
                of_thread.changed.notify_all();
            }
        });
        Self { shared }
    }

    /// Queues lines that stay together. Never waits.
    pub(crate) fn print(&self, lines: &str) {
        let mut queue = self.shared.lock();
        if queue.lines.len() < LINES_MAX {
            queue.lines.push_back(lines.to_owned());
        } else {
            queue.left_out += 1;
        }
        self.shared.changed.notify_all();
    }

    /// Waits until all is written, or the time is over.
    pub(crate) fn flush(&self, time_max: Duration) {
        let deadline = Instant::now() + time_max;
        let mut queue = self.shared.lock();
        while queue.is_writing || !queue.lines.is_empty() || queue.left_out > 0 {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return };
            queue = self.shared.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl SharedPrinter {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next lines.
    fn next(&self) -> String {
        let mut queue = self.lock();
        loop {
            if let Some(mut lines) = queue.lines.pop_front() {
                lines.push('\n');
                queue.is_writing = true;
                return lines;
            }
            if queue.left_out > 0 {
                let left_out = std::mem::take(&mut queue.left_out);
                queue.is_writing = true;
                return format!("({left_out} lines could not be printed in time)\n");
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Writes to standard error. That nobody reads it any more, or that its disk is full, is no reason to end.
pub(crate) fn write_to_stderr(lines: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(lines.as_bytes()).and_then(|()| stderr.flush());
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_reader_that_stops_holds_up_nobody_and_hears_how_much_it_has_missed() {
        let (begun, has_begun) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let (wrote, written) = mpsc::channel();
        let printer = Printer::start(move |lines| {
            let _ = begun.send(());
            let _ = may_go_on.recv();
            let _ = wrote.send(lines.to_owned());
        });
        printer.print("first");
        has_begun.recv().unwrap();
        for n in 0..LINES_MAX + 7 {
            printer.print(&n.to_string());
        }
        printer.flush(Duration::from_millis(1));
        drop(go_on);
        printer.flush(Duration::from_secs(60));
        let written: Vec<_> = written.try_iter().collect();
        assert_eq!((written[0].as_str(), written[1].as_str()), ("first\n", "0\n"));
        assert_eq!(written.len(), LINES_MAX + 2);
        assert_eq!(written.last().unwrap(), "(7 lines could not be printed in time)\n");
    }
}
