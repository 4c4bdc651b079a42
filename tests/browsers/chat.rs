//! The chat example: two browsers that come by the axum routes, one that leaves, and a service that is killed.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};

use crate::page::Page;
use crate::suite::Setting;
use crate::{Result, chat_example};

/// The page's port, in the process that is the service.
const SERVICE: &str = "NARROWBOAT_BROWSERS_CHAT";
/// Longest time that a page may take to notice that its service is gone: five signs of life, one a second, on a busy
/// machine.
const NOTICE_MAX: Duration = Duration::from_secs(7);

pub fn is_service() -> bool {
    std::env::var_os(SERVICE).is_some()
}

/// The example, until it is killed.
pub async fn serve() -> Result<()> {
    let port: u16 = std::env::var(SERVICE)?.parse()?;
    chat_example::serve(TcpListener::bind(("127.0.0.1", port)).await?).await
}

/// The service, seen from the test. Dropping it kills it.
struct Service(Child);

impl Service {
    async fn start(port: u16) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let service = Self(command.env(SERVICE, port.to_string()).stdout(Stdio::null()).spawn()?);
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(service)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The page notices a service that is killed, says so, and connects again when it is back.
pub async fn a_killed_service_is_noticed(setting: Setting) -> Result<()> {
    let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
    let service = Service::start(port).await?;
    let page = setting.browser.open(&format!("http://127.0.0.1:{port}/")).await?;
    until(&page, "state.textContent === 'connected'").await?;
    // Records all that the page shows from now on.
    page.eval(
        "window.states = []; const look = () => states.push(document.getElementById('state').textContent);
         new MutationObserver(look).observe(document.getElementById('state'), { childList: true })",
    )
    .await?;
    let killed = Instant::now();
    drop(service);
    until(&page, "window.states.length > 0").await?;
    let elapsed = killed.elapsed();
    let first = page.eval("return states[0]").await?;
    println!("    noticed after {:.1} s", elapsed.as_secs_f64());
    assert!(elapsed < NOTICE_MAX, "noticed after {elapsed:?}");
    assert!(
        first.as_str().is_some_and(|first| first.starts_with("Nothing comes from the service any more.")),
        "{first}"
    );
    until(&page, "window.states.some((said) => said.startsWith('The service does not answer.'))").await?;
    let states = page.eval("return states").await?;
    assert!(!states.to_string().contains("firewall"), "{states}");
    let _service = Service::start(port).await?;
    until(&page, "state.textContent === 'connected'").await?;
    say(&page, "welcome back").await?;
    until(&page, "said.innerText.includes('welcome back')").await?;
    page.close().await
}

pub async fn two_browsers_talk(setting: Setting) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    tokio::spawn(chat_example::serve(listener));
    let here = setting.browser.open(&url).await?;
    let there = setting.other.open(&url).await?;
    for page in [&here, &there] {
        until(page, "state.textContent === 'connected'").await?;
    }
    say(&here, "hello, größe 🚤").await?;
    for page in [&here, &there] {
        until(page, "said.innerText.includes('hello, größe 🚤')").await?;
    }
    // One is loaded again, which ends its association by DELETE; the other one goes on.
    here.reload().await?;
    until(&here, "state.textContent === 'connected'").await?;
    say(&there, "welcome back").await?;
    for page in [&here, &there] {
        until(page, "said.innerText.includes('welcome back')").await?;
    }
    assert_eq!(there.eval("return said.childElementCount").await?, 2, "each once");
    here.close().await?;
    there.close().await
}

async fn say(page: &Page, text: &str) -> Result<()> {
    page.eval(&format!("document.getElementById('text').value = {text:?}; form.requestSubmit()")).await.map(drop)
}

async fn until(page: &Page, what: &str) -> Result<()> {
    let script = format!(
        "for (const end = performance.now() + 60_000; performance.now() < end;) {{
            if ({what}) return;
            await new Promise((resolve) => setTimeout(resolve, 50));
         }}
         throw new Error(document.body.innerText);"
    );
    page.eval(&script).await.map(drop)
}
