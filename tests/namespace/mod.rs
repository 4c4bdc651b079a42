//! A network of a test's own: the test runs again in network namespaces, where it may change addresses and links.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test program uses its part")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Stdio};

/// Set in the process that is in the namespace.
const INSIDE: &str = "NARROWBOAT_NAMESPACE_INSIDE";

/// Namespaces to try: as root, else as a user.
const NAMESPACES: [&[&str]; 2] = [&["--net"], &["--user", "--map-root-user", "--net"]];

/// Runs `ip` with these arguments, which has to succeed.
pub fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split_whitespace()).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

/// Runs one test of this program again in a network namespace. Returns false in that process.
pub fn is_outside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return false;
    }
    let unshare = |namespaces: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(namespaces);
        command
    };
    let may = |namespaces: &[&str]| {
        let probe = unshare(namespaces).arg("true").stderr(Stdio::null()).status();
        probe.is_ok_and(|status| status.success())
    };
    let namespaces = NAMESPACES.into_iter().find(|namespaces| may(namespaces));
    let namespaces = namespaces.expect("a network namespace: run as root, or allow user namespaces");
    let program = std::env::current_exe().unwrap();
    let status =
        unshare(namespaces).arg(program).args(["--exact", test, "--nocapture"]).env(INSIDE, "1").status().unwrap();
    assert!(status.success(), "{test} in its namespace");
    true
}
