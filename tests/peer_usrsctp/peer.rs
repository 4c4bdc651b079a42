//! usrsctp in a process of its own: `peer.c` beside this file, compiled once and spoken to by lines.

use std::io::{BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// A running peer. Killed when dropped.
pub(crate) struct Peer {
    child: Child,
    input: ChildStdin,
    output: Receiver<String>,
    /// Everything that it has reported, oldest first.
    pub(crate) reports: Vec<String>,
    /// True if reports of errors are expected. Otherwise, which is the rule, one fails the test.
    pub(crate) errors_allowed: bool,
}

impl Peer {
    /// A peer that waits for our INIT on this UDP port.
    pub(crate) fn listen(port: u16, settings: &[&str]) -> Self {
        Self::start(&["listen", &port.to_string()], settings)
    }

    /// A peer that sends its INIT from one UDP port to another, as soon as it runs.
    pub(crate) fn connect(port: u16, remote: u16, settings: &[&str]) -> Self {
        Self::start(&["connect", &port.to_string(), &remote.to_string()], settings)
    }

    /// Gives a command; `peer.c` lists them.
    pub(crate) fn tell(&mut self, command: &str) {
        writeln!(self.input, "{command}").expect("the peer has gone");
    }

    /// Reads the reports that have arrived since.
    pub(crate) fn listen_in(&mut self) {
        for line in self.output.try_iter() {
            assert!(self.errors_allowed || !line.starts_with("error"), "usrsctp: {line}");
            self.reports.push(line);
        }
    }

    /// Returns `true` if there was a report that begins with these words.
    pub(crate) fn said(&self, words: &str) -> bool {
        self.times(words) > 0
    }

    /// Returns the number of reports that begin with these words.
    pub(crate) fn times(&self, words: &str) -> usize {
        let begins =
            |line: &&String| line.strip_prefix(words).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
        self.reports.iter().filter(begins).count()
    }

    /// Returns the text after `words` in each report that begins with them.
    pub(crate) fn after<'a>(&'a self, words: &'a str) -> impl Iterator<Item = &'a str> {
        self.reports.iter().filter_map(move |line| line.strip_prefix(words)).map(str::trim)
    }

    /// Ends the process without a word to anyone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    fn start(mode: &[&str], settings: &[&str]) -> Self {
        let mut child = Command::new(program())
            .args(mode)
            .args(settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the peer was compiled, but does not start");
        let (sender, output) = channel();
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let input = child.stdin.take().expect("piped");
        let mut peer = Self { child, input, output, reports: Vec::new(), errors_allowed: false };
        let first = peer.output.recv().expect("the peer ended at once");
        assert_eq!(first, "ready", "usrsctp could not start");
        peer.listen_in();
        peer
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns a UDP port that nothing else is likely to use: below the range that the system assigns by itself, and
/// another one for each call. usrsctp needs a number, so the system cannot choose one.
pub(crate) fn free_udp_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u16 = 20_000;
    const PORTS: u16 = 12_000;
    let spread = u16::try_from(std::process::id() % u32::from(PORTS)).expect("below PORTS");
    loop {
        let offset = spread.wrapping_mul(7).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = FIRST + offset % PORTS;
        if UdpSocket::bind(("0.0.0.0", port)).is_ok() {
            return port;
        }
    }
}

/// Message `index` of `stream`: the same bytes as `fill` in `peer.c`.
pub(crate) fn pattern(stream: u16, index: u32, len: usize) -> Vec<u8> {
    let mut x = (u64::from(stream) << 32 | u64::from(index)).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        bytes.extend_from_slice(&x.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// FNV-1a, as `peer.c` computes it.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, byte| (h ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// The report that the peer makes of a message with these contents (without the bytes, which only short ones have).
pub(crate) fn message_report(stream: u16, ppid: u32, order: &str, bytes: &[u8]) -> String {
    format!("message {stream} {ppid} {order} {} {:016x}", bytes.len(), hash(bytes))
}

fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peer_usrsctp/peer.c");
        // Named after the process, because several test processes may compile it at once.
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("peer_usrsctp-{}", std::process::id()));
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
        let output = Command::new(&compiler)
            .args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-o"])
            .args([&program, &source])
            .args(["-lusrsctp", "-lpthread"])
            .output()
            .unwrap_or_else(|error| panic!("no C compiler `{compiler}` ({error}); tests/run installs one"));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "peer.c needs libusrsctp-dev, which tests/run installs:\n{errors}");
        program
    })
}
