//! The other two programs of a measurement, and what Linux counts of them.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use crate::Result;

/// This program with another part to play. It is killed when this is dropped.
pub(crate) struct Child {
    child: std::process::Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Child {
    pub(crate) fn start<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("a child without pipes".into());
        };
        Ok(Self { child, input, output: BufReader::new(output) })
    }

    /// Its next line.
    pub(crate) fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err("a child has ended before its time".into());
        }
        Ok(line.trim_end().to_owned())
    }

    /// What it answers to a line: a number.
    pub(crate) fn ask(&mut self, question: &str) -> Result<u64> {
        writeln!(self.input, "{question}")?;
        Ok(self.line()?.parse()?)
    }

    /// Processor time that it has used, in seconds: proc_pid_stat(5), in ticks of 10 ms.
    pub(crate) fn cpu(&self) -> Result<f64> {
        const UTIME: usize = 11;
        let stat = self.file("stat")?;
        // The name before it, in brackets, may have spaces.
        let (_, fields) = stat.rsplit_once(')').ok_or("/proc/PID/stat has no name")?;
        let ticks = fields.split_whitespace().skip(UTIME).take(2).map(str::parse::<u32>);
        Ok(f64::from(ticks.sum::<std::result::Result<u32, _>>()?) / 100.0)
    }

    /// Memory that it has resident, in KiB.
    pub(crate) fn resident(&self) -> Result<u64> {
        let status = self.file("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    fn file(&self, name: &str) -> Result<String> {
        Ok(std::fs::read_to_string(format!("/proc/{}/{name}", self.child.id()))?)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
