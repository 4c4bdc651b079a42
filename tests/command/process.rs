//! A running `narrowboat`, and a directory of its own.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use narrowboat_sctp::testing::Random;

/// Longer than any peer takes to find out that the other one is gone.
const PATIENCE: Duration = Duration::from_secs(90);

/// A process, killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    input: Option<ChildStdin>,
    errors: Receiver<String>,
    output: Receiver<u8>,
    /// All lines that the process has written to standard error.
    pub(crate) said: Vec<String>,
}

/// Result of a process that has ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) said: Vec<String>,
    pub(crate) output: Vec<u8>,
}

impl Process {
    /// One that the end of its terminal ends, however the tests were started.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::spawn(
            Command::new("env").args(["--default-signal=HUP", env!("CARGO_BIN_EXE_narrowboat")]).args(arguments),
        )
    }

    /// One that may not write files of more than this many KiB: the nearest to a full disk that needs no privilege.
    pub(crate) fn start_with_small_files(kib: u32, arguments: &[&str]) -> Self {
        let script = format!("trap '' XFSZ; ulimit -f {kib}; exec \"$0\" \"$@\"");
        Self::spawn(Command::new("bash").args(["-c", &script, env!("CARGO_BIN_EXE_narrowboat")]).args(arguments))
    }

    /// One with a variable in its environment.
    pub(crate) fn start_with(variable: (&str, &str), arguments: &[&str]) -> Self {
        Self::spawn(Command::new(env!("CARGO_BIN_EXE_narrowboat")).env(variable.0, variable.1).args(arguments))
    }

    /// One that ignores the end of its terminal from the start, as with nohup.
    pub(crate) fn start_with_nohup(arguments: &[&str]) -> Self {
        let script = "trap '' HUP; exec \"$0\" \"$@\"";
        Self::spawn(Command::new("bash").args(["-c", script, env!("CARGO_BIN_EXE_narrowboat")]).args(arguments))
    }

    /// One whose output goes to a terminal.
    pub(crate) fn start_on_terminal(arguments: &[&str]) -> Self {
        let line = [&[env!("CARGO_BIN_EXE_narrowboat")][..], arguments].concat().join(" ");
        Self::spawn(Command::new("script").args(["--quiet", "--return", "--command", &line, "/dev/null"]))
    }

    fn spawn(command: &mut Command) -> Self {
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().unwrap();
        let input = child.stdin.take();
        let (said, errors) = channel();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| said.send(line)));
        let (wrote, output) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || stdout.bytes().map_while(Result::ok).try_for_each(|byte| wrote.send(byte)));
        Self { child, input, errors, output, said: Vec::new() }
    }

    /// Waits for a line with these words in it.
    pub(crate) fn says(&mut self, words: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.errors.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(words) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("it did not say {words:?}, but {:?}", self.said)
                }
            }
        }
    }

    /// The address that it listens on, which is in the first line that it says.
    pub(crate) fn address(&mut self) -> String {
        let line = self.says(" on ");
        let (_, address) = line.split_once(" on ").unwrap();
        address.split(' ').next().unwrap().to_owned()
    }

    /// The ticket that it prints, which is a line of its output.
    pub(crate) fn ticket(&mut self) -> String {
        let mut ticket = Vec::new();
        while ticket.last() != Some(&b'\n') {
            ticket.push(self.output.recv_timeout(PATIENCE).expect("a ticket"));
        }
        String::from_utf8(ticket).unwrap().trim_end().to_owned()
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.input.as_mut().unwrap().write_all(bytes).unwrap();
    }

    pub(crate) fn end_input(&mut self) {
        self.input = None;
    }

    /// Interrupts the process, as Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        self.signal("INT");
    }

    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
    }

    /// True while the process runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it does not end; it has said {:?}", self.said);
            std::thread::sleep(Duration::from_millis(10));
        };
        let mut said = std::mem::take(&mut self.said);
        said.extend(self.errors.iter());
        let output = self.output.iter().collect();
        Ended { status, said, output }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    pub(crate) fn succeeds(self) -> Self {
        assert!(self.status.success(), "{:?}", self.said);
        self
    }

    /// It failed, as a status and one sentence say; returns the sentence.
    pub(crate) fn fails(&self) -> &str {
        self.fails_with(1)
    }

    /// It was interrupted by the signal with this number, as its status and one sentence say.
    pub(crate) fn is_interrupted(&self, signal: i32) {
        assert_eq!(self.fails_with(128 + signal), "interrupted");
    }

    fn fails_with(&self, status: i32) -> &str {
        assert_eq!(self.status.code(), Some(status), "{:?}", self.said);
        let complaints: Vec<_> = self.said.iter().filter_map(|line| line.strip_prefix("narrowboat: ")).collect();
        let [complaint] = complaints[..] else { panic!("not one complaint: {:?}", self.said) };
        assert!(!complaint.contains("Some(") && !complaint.contains(" { "), "not for people: {complaint}");
        complaint
    }
}

/// A directory that is removed when it is dropped.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("narrowboat-command-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    /// The path of something in it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A file in it; returns its path.
    pub(crate) fn file(&self, name: &str, contents: &[u8]) -> String {
        let path = self.join(name);
        fs::write(&path, contents).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.join(name)).unwrap()
    }

    /// Names of all that is in it, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        names(&self.0)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Bytes that repeat nowhere near, so that a block lost, doubled or moved shows.
pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut random = Random(1);
    std::iter::repeat_with(|| random.u64().to_le_bytes()).flatten().take(len).collect()
}
