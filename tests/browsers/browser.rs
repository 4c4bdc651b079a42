//! Chromium and Firefox as processes: started with a fresh profile, driven without a driver binary, killed at the end.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::page::Page;
use crate::remote::Remote;
use crate::scratch::Scratch;
use crate::{Failure, Result};

/// A busy machine starts Firefox in 15 seconds.
const START_MAX: Duration = Duration::from_secs(90);

const CHROMIUM_FLAGS: &[&str] = &[
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--allow-loopback-in-peer-connection",
    "--remote-debugging-port=0",
];

/// The first two let Firefox use loopback candidates. The others keep it from looking for the internet.
const FIREFOX_PREFERENCES: &[&str] = &[
    "media.peerconnection.ice.loopback=true",
    "permissions.default.microphone=1",
    "remote.active-protocols=1",
    "app.normandy.enabled=false",
    "toolkit.telemetry.enabled=false",
    "datareporting.policy.dataSubmissionEnabled=false",
    "network.captive-portal-service.enabled=false",
    "network.connectivity-service.enabled=false",
    "browser.safebrowsing.enabled=false",
    "extensions.update.enabled=false",
    "services.settings.server=\"\"",
    "browser.shell.checkDefaultBrowser=false",
    "browser.sessionstore.resume_from_crash=false",
    "dom.min_background_timeout_value=4",
    // A busy machine may keep a script waiting for longer than the ten seconds after which it is ended.
    "dom.max_script_run_time=0",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Chromium,
    Firefox,
}

impl Kind {
    pub const ALL: [Self; 2] = [Self::Chromium, Self::Firefox];

    fn program(self) -> &'static str {
        match self {
            Self::Chromium => "chromium",
            Self::Firefox => "firefox-esr",
        }
    }

    /// Returns the browser's own name and version.
    ///
    /// # Errors
    ///
    /// It is not installed.
    pub fn version(self) -> Result<String> {
        let program = self.program();
        let output = Command::new(program)
            .arg("--version")
            .output()
            .map_err(|error| Failure::from(format!("{program}: {error}; tests/run packages installs it")))?;
        let version = String::from_utf8_lossy(&output.stdout);
        Ok(version.trim().split(" built on").next().unwrap_or_default().to_owned())
    }
}

/// A running browser. Dropping it kills it and deletes its profile.
pub struct Browser {
    pub kind: Kind,
    remote: Arc<Remote>,
    process: Process,
}

impl Browser {
    /// Starts a browser; `settings` are a command-line flag (Chromium) or `preference=value` (Firefox) each.
    pub async fn launch(kind: Kind, settings: &[&str]) -> Result<Self> {
        let mut process = Process::start(kind, settings)?;
        let (address, path) = process.debugging_address().await?;
        let remote = match Remote::connect(&address, &path) {
            Ok(remote) => Arc::new(remote),
            Err(error) => return Err(process.failure(&error.to_string())),
        };
        if kind == Kind::Firefox {
            remote.call(None, "session.new", json!({ "capabilities": {} })).await?;
        }
        Ok(Self { kind, remote, process })
    }

    /// A new tab that shows `url`, when it has loaded.
    pub async fn open(&self, url: &str) -> Result<Page> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let page = match self.kind {
            Kind::Chromium => {
                let target = self.remote.call(None, "Target.createTarget", json!({ "url": "about:blank" })).await?;
                let target = text(&target["targetId"]);
                let params = json!({ "targetId": target, "flatten": true });
                let session = text(&self.remote.call(None, "Target.attachToTarget", params).await?["sessionId"]);
                self.remote.call(Some(&session), "Page.enable", json!({})).await?;
                Page { kind: self.kind, remote: Arc::clone(&self.remote), target, session }
            }
            Kind::Firefox => {
                let context = self.remote.call(None, "browsingContext.create", json!({ "type": "tab" })).await?;
                let target = text(&context["context"]);
                Page { kind: self.kind, remote: Arc::clone(&self.remote), target, session: String::new() }
            }
        };
        page.navigate(url).await?;
        Ok(page)
    }

    /// Lets pages of this origin know every address of the machine, as if they had been allowed the microphone;
    /// without, Chromium offers no candidate where there is no default route. Firefox's profile allows it to all.
    pub async fn reveal_addresses(&self, origin: &str) -> Result<()> {
        if self.kind == Kind::Chromium {
            let params = json!({ "origin": origin, "permissions": ["audioCapture"] });
            self.remote.call(None, "Browser.grantPermissions", params).await?;
        }
        Ok(())
    }

    /// Kills it as a user's machine that loses power would: nothing more is sent.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// Returns the browser's standard error, where it reports what went wrong.
    pub fn complaints(&self) -> String {
        self.process.complaints()
    }
}

struct Process {
    kind: Kind,
    child: Child,
    folder: Scratch,
}

impl Process {
    fn start(kind: Kind, settings: &[&str]) -> Result<Self> {
        let folder = Scratch::new()?;
        let (profile, temporary) = (folder.path().join("profile"), folder.path().join("tmp"));
        fs::create_dir_all(&profile)?;
        fs::create_dir_all(&temporary)?;
        let mut command = Command::new(kind.program());
        match kind {
            Kind::Chromium => {
                command.args(CHROMIUM_FLAGS).arg(format!("--user-data-dir={}", profile.display()));
                command.args(chromium_flags(settings)).arg("about:blank");
            }
            Kind::Firefox => {
                fs::write(profile.join("user.js"), firefox_preferences(settings))?;
                // The profile as two arguments: `-profile=` is not understood.
                command.args(["-headless", "-no-remote", "--remote-debugging-port=0", "-profile"]).arg(&profile);
                command.arg("about:blank");
            }
        }
        command.env("HOME", &profile).env("TMPDIR", &temporary).env_remove("DISPLAY");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(folder.path().join("stderr"))?);
        // A group of its own, so that one signal ends its children too.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn().map_err(|error| {
            Failure::from(format!("{} does not start: {error}; tests/run packages installs it", kind.program()))
        })?;
        Ok(Self { kind, child, folder })
    }

    /// Returns the address of the remote control: Chromium writes it to a file, Firefox to standard error.
    async fn debugging_address(&mut self) -> Result<(String, String)> {
        let started = Instant::now();
        while started.elapsed() < START_MAX {
            if let Some(status) = self.child.try_wait()? {
                return Err(self.failure(&format!("it ended by itself ({status})")));
            }
            let found = match self.kind {
                Kind::Chromium => read(&self.folder.path().join("profile/DevToolsActivePort"))
                    .split_once('\n')
                    .filter(|(_, path)| !path.is_empty())
                    .map(|(port, path)| (format!("127.0.0.1:{port}"), path.trim().to_owned())),
                Kind::Firefox => read(&self.folder.path().join("stderr"))
                    .lines()
                    .find_map(|line| line.strip_prefix("WebDriver BiDi listening on ws://"))
                    .map(|address| (address.trim().to_owned(), "/session".to_owned())),
            };
            if let Some(found) = found {
                return Ok(found);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Err(self.failure("it does not say where it listens"))
    }

    fn failure(&self, what: &str) -> Failure {
        format!("{}: {what}\n{}", self.kind.program(), self.complaints()).into()
    }

    fn complaints(&self) -> String {
        let text = read(&self.folder.path().join("stderr"));
        // Without a desktop's message bus, Chromium misses it all the time.
        let lines: Vec<&str> = text.lines().filter(|line| !line.contains("dbus/")).collect();
        lines[lines.len().saturating_sub(6)..].join("\n")
    }

    fn kill(&self) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}

/// Of `--disable-features` only the last counts, so all that is to be disabled goes into one.
fn chromium_flags(settings: &[&str]) -> Vec<String> {
    let mut disabled = "--disable-features=WebRtcHideLocalIpsWithMdns".to_owned();
    let mut flags = Vec::new();
    for setting in settings {
        match setting.strip_prefix("--disable-features=") {
            Some(features) => disabled = format!("{disabled},{features}"),
            None => flags.push((*setting).to_owned()),
        }
    }
    flags.push(disabled);
    flags
}

fn firefox_preferences(settings: &[&str]) -> String {
    let line = |setting: &&str| {
        let (name, value) = setting.split_once('=').expect("a preference and its value");
        format!("user_pref(\"{name}\", {value});\n")
    };
    FIREFOX_PREFERENCES.iter().chain(settings).map(line).collect()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
