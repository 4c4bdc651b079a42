//! A service in a process of its own, which can be killed: this program again.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use narrowboat::{Endpoint, Identity};
use serde_json::Value;
use tokio::io::AsyncBufReadExt;

use crate::Result;

/// The file of the identity and the port, in the process that is the service.
const SERVICE: &str = "NARROWBOAT_BROWSERS_SERVICE";

/// The service, seen from the test. Dropping it kills it.
pub struct Child {
    process: std::process::Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    pub ticket: Value,
}

impl Child {
    /// Starts a service on a port, 0 for any, with the identity in that file.
    pub fn start(identity: &Path, port: u16) -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .env(SERVICE, format!("{port} {}", identity.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = process.stdin.take().ok_or("no standard input")?;
        let output = BufReader::new(process.stdout.take().ok_or("no standard output")?);
        let mut child = Self { process, input, output, ticket: Value::Null };
        child.ticket = child.line()?;
        Ok(child)
    }

    pub fn port(&self) -> u16 {
        self.ticket["candidates"][0]["port"].as_u64().and_then(|port| port.try_into().ok()).unwrap_or_default()
    }

    pub fn answer(&mut self, offer: &Value) -> Result<Value> {
        writeln!(self.input, "{offer}")?;
        self.line()
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        serde_json::from_str(&line).map_err(|error| format!("the service says {line:?}: {error}").into())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns `true` if this process is to be the service.
pub fn is_service() -> bool {
    std::env::var_os(SERVICE).is_some()
}

/// Writes its ticket; then answers an offer a line, and sends back what comes on any channel, until it is killed.
pub async fn serve() -> Result<()> {
    let arguments = std::env::var(SERVICE)?;
    let (port, identity) = arguments.split_once(' ').ok_or("no port")?;
    let address = format!("127.0.0.1:{port}");
    let endpoint =
        Endpoint::builder().bind(address).identity(Identity::load_or_create(identity)?).accept_direct().build()?;
    println!("{}", crate::link::ticket(&endpoint.ticket()?));
    let accepting = endpoint.clone();
    tokio::spawn(async move {
        while let Some(incoming) = accepting.accept().await {
            tokio::spawn(async move { crate::pages::echo(incoming.await.unwrap()).await });
        }
    });
    let mut offers = tokio::io::BufReader::new(tokio::io::stdin()).lines();
    while let Some(offer) = offers.next_line().await? {
        let offer: String = serde_json::from_str(&offer)?;
        let answer = endpoint.answer(&offer)?;
        println!("{}", Value::from(answer.sdp));
        tokio::spawn(crate::pages::echo(answer.association));
    }
    std::future::pending().await
}
