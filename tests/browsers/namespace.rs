//! A network with nothing but loopback, and an end for every process: the test runs itself again in namespaces.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Set in the process that is inside.
const INSIDE: &str = "NARROWBOAT_BROWSERS_INSIDE";

/// The namespaces to try, the tightest first. In a process namespace, all remaining processes are killed at the end.
const ATTEMPTS: [&[&str]; 4] = [
    &["--net", "--pid", "--fork", "--kill-child", "--mount-proc"],
    &["--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"],
    &["--net"],
    &["--user", "--map-root-user", "--net"],
];

const RUN: &str = "ip link set lo up && exec \"$0\" \"$@\"";

/// Does not return if this process is outside and may make a namespace. Says which network the tests see.
pub fn enter() -> &'static str {
    if std::env::var_os(INSIDE).is_some() {
        return "a network namespace with only lo";
    }
    let unshare = |attempt: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(attempt).args(["sh", "-c", RUN]).env(INSIDE, "1");
        command
    };
    for attempt in ATTEMPTS {
        let probe = unshare(attempt).arg("true").stderr(Stdio::null()).status();
        if probe.is_ok_and(|status| status.success()) {
            let program = std::env::current_exe().expect("this program");
            let error = unshare(attempt).arg(program).args(std::env::args_os().skip(1)).exec();
            panic!("unshare: {error}");
        }
    }
    "this machine's network (no namespace may be made here)"
}
