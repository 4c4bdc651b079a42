//! Resources that this process has used, as Linux counts them.

use std::io;
use std::time::{Duration, Instant};

/// Processor time and context switches between two moments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Time that passed.
    pub(crate) wall: Duration,
    /// Processor time of the program itself.
    pub(crate) user: Duration,
    /// Processor time of the system on its behalf.
    pub(crate) system: Duration,
    /// Times that a thread gave its core up because it had nothing to do.
    pub(crate) switches: u64,
}

impl Usage {
    /// All processor time.
    pub(crate) fn cpu(&self) -> Duration {
        self.user + self.system
    }
}

/// A moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    at: Instant,
    user: Duration,
    system: Duration,
    switches: u64,
}

impl Mark {
    /// Now.
    pub(crate) fn now() -> io::Result<Self> {
        let [user, system] = times()?;
        Ok(Self { at: Instant::now(), user, system, switches: switches()? })
    }

    /// Returns the resources used since.
    pub(crate) fn elapsed(&self) -> io::Result<Usage> {
        let now = Self::now()?;
        Ok(Usage {
            wall: now.at - self.at,
            user: now.user.saturating_sub(self.user),
            system: now.system.saturating_sub(self.system),
            switches: now.switches.saturating_sub(self.switches),
        })
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "/proc is not as Linux writes it")
}

/// User and system time, `proc_pid_stat(5)`, in ticks of 10 ms.
fn times() -> io::Result<[Duration; 2]> {
    const TICK: Duration = Duration::from_millis(10);
    const UTIME: usize = 11;
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name before it, in brackets, may have spaces.
    let fields = stat.rsplit_once(')').ok_or_else(malformed)?.1;
    let mut ticks = fields.split_whitespace().skip(UTIME);
    let mut next = || ticks.next().and_then(|number| number.parse().ok()).map(|number: u32| TICK * number);
    next().zip(next()).map(|(user, system)| [user, system]).ok_or_else(malformed)
}

/// Voluntary context switches of all threads.
fn switches() -> io::Result<u64> {
    let mut sum = 0;
    for thread in std::fs::read_dir("/proc/self/task")? {
        // A thread may have ended meanwhile.
        let Ok(status) = std::fs::read_to_string(thread?.path().join("status")) else { continue };
        let number = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        sum += number.and_then(|number| number.trim().parse::<u64>().ok()).ok_or_else(malformed)?;
    }
    Ok(sum)
}
