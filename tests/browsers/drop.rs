//! The drop example as its users meet it: the page in a browser, the service a process that can be killed.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::page::Page;
use crate::scratch::Scratch;
use crate::suite::Setting;
use crate::{Result, drop_example};

/// The page's port and the directory for the files, in the process that is the service.
const SERVICE: &str = "NARROWBOAT_BROWSERS_DROP";

/// A token, which the page's address ends with; and a limit for files.
const OPTIONS: [&str; 4] = ["--token", "ahoy 4711", "--max-size", "128M"];
const TOKEN: &str = "#ahoy%204711";

/// Functions that the tests add to the page: to drop a file, and to read the page's text.
const IN_PAGE: &str = r#"
    window.until = async (what, milliseconds = 60_000) => {
        for (const end = performance.now() + milliseconds; performance.now() < end;) {
            const value = what();
            if (value) return value;
            await new Promise((resolve) => setTimeout(resolve, 50));
        }
        throw new Error(`${what} never held; the page says: ${document.body.innerText}`);
    };
    window.isOn = () => document.getElementById("state").textContent === "connected"
        && !document.getElementById("target").classList.contains("off");
    window.dropFile = (name, size) => {
        const bytes = new Uint8Array(size);
        for (let n = 0; n < size; n++) bytes[n] = (n * 31 + (n >> 8) * 7) & 255;
        const dataTransfer = new DataTransfer();
        dataTransfer.items.add(new File([bytes], name));
        document.getElementById("target").dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
    };
    window.cardOf = (name) => [...document.querySelectorAll("section .card")]
        .find((card) => card.querySelector(".name").textContent === name);
    window.lives = (card) => [...card.querySelectorAll(".life")]
        .map((life) => [...life.querySelectorAll("li:not(.arrow)")].map((li) => li.className));
    window.age = (name) => document.getElementById(`age-${name}`).textContent.match(/\d+/g)?.map(Number) ?? [0, 0];
"#;

fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|n| ((n * 31 + (n >> 8) * 7) & 255) as u8).collect()
}

pub fn is_service() -> bool {
    std::env::var_os(SERVICE).is_some()
}

/// The example, until it is killed.
pub async fn serve() -> Result<()> {
    let arguments = std::env::var(SERVICE)?;
    let (port, into) = arguments.split_once(' ').ok_or("no port")?;
    let words = [into, port].into_iter().chain(OPTIONS).map(str::to_owned);
    drop_example::run(drop_example::Arguments::read(words)?).await
}

/// The service, seen from the test. Dropping it kills it.
struct Service {
    process: Child,
    port: u16,
}

impl Service {
    fn start(into: &Path, port: u16) -> Result<Self> {
        let process = Command::new(std::env::current_exe()?)
            .env(SERVICE, format!("{port} {}", into.display()))
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Self { process, port })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The service and the page, connected.
async fn start(setting: &Setting, into: &Path) -> Result<(Service, Page)> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let service = Service::start(into, port)?;
    while tokio::net::TcpStream::connect(("127.0.0.1", service.port)).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let page = setting.browser.open(&format!("http://127.0.0.1:{}/{TOKEN}", service.port)).await?;
    page.eval(IN_PAGE).await?;
    page.eval("return until(isOn)").await?;
    Ok((service, page))
}

/// Drops a file, and waits until the page shows both hashes and both ends of the channel's life.
async fn pass(page: &Page, into: &Path, name: &str, size: usize) -> Result<()> {
    page.eval(&format!("dropFile({name:?}, {size})")).await?;
    let shown = page
        .eval(&format!(
            "const card = await until(() => cardOf({name:?}));
             await until(() => lives(card).length === 2 && lives(card).every((life) => life.at(-1) === 'closed'));
             return {{
                verdict: card.querySelector('.hash b').textContent,
                saved: card.querySelector('.numbers').textContent,
                lives: lives(card),
             }};"
        ))
        .await?;
    assert_eq!(shown["verdict"], "equal", "{shown}");
    let saved = shown["saved"].as_str().unwrap_or_default();
    assert!(saved.ends_with(&format!("saved as {name}")), "the path is not the page's business: {saved}");
    assert_eq!(shown["lives"][0], json!(["connecting", "open", "closing", "closed"]), "in the page");
    assert_eq!(shown["lives"][1], json!(["open", "closing", "closed"]), "at the service, which has accepted it");
    assert!(std::fs::read(into.join(name))? == bytes(size), "{name} is another file");
    Ok(())
}

pub async fn files_arrive(setting: Setting) -> Result<()> {
    let scratch = Scratch::new()?;
    let (_service, page) = start(&setting, scratch.path()).await?;
    pass(&page, scratch.path(), "holiday.mp4", 8 << 20).await?;
    pass(&page, scratch.path(), "empty", 0).await?;
    pass(&page, scratch.path(), "one", 1).await?;
    page.close().await
}

/// With a fifth of the datagrams gone, the reliable ticks arrive late, and of the others a part not at all.
pub async fn loss_shows(setting: Setting) -> Result<()> {
    let scratch = Scratch::new()?;
    let (_service, page) = start(&setting, scratch.path()).await?;
    page.eval("return until(() => age('newest')[0] >= 50 && age('reliable')[0] >= 50)").await?;
    page.eval("const loss = document.getElementById('loss'); loss.value = 20; loss.dispatchEvent(new Event('input'))")
        .await?;
    // The plot's last second, at any time: the shares are random.
    page.eval("return until(() => age('newest')[0] > 0 && age('newest')[0] <= 54)").await?;
    page.eval("return until(() => age('reliable')[1] > 3 * age('newest')[1])").await?;
    // A file arrives all the same.
    pass(&page, scratch.path(), "in spite of it", 200_000).await?;
    page.close().await
}

pub async fn the_page_connects_again(setting: Setting) -> Result<()> {
    let scratch = Scratch::new()?;
    let (service, page) = start(&setting, scratch.path()).await?;
    // In the middle of a file.
    page.eval(
        "dropFile('half', 64 << 20); await until(() => cardOf('half').querySelector('progress').value > 1 << 20)",
    )
    .await?;
    let port = service.port;
    drop(service);
    let said = page
        .eval("return until(() => !isOn() && cardOf('half').matches('.failed') && cardOf('half').innerText)")
        .await?;
    assert!(said.as_str().is_some_and(|said| said.contains("drop the file again")), "{said}");
    let life = page.eval("return lives(cardOf('half'))[0]").await?;
    assert!(life.as_array().is_some_and(|life| life.last() == Some(&json!("closed"))), "{life}");
    let trouble = "const box = document.getElementById('trouble'); return until(() => !box.hidden && box.textContent)";
    let said: Value = page.eval(trouble).await?;
    assert!(said.as_str().is_some_and(|said| said.contains("again") || said.contains("does not answer")), "{said}");

    let _service = Service::start(scratch.path(), port)?;
    page.eval("await until(isOn); return until(() => document.getElementById('trouble').hidden)").await?;
    pass(&page, scratch.path(), "after", 1 << 20).await?;
    assert!(!scratch.path().join("half").exists(), "half a file has the name of the whole");
    page.close().await
}

/// Its directory is gone: the same path as a disk that is full.
pub async fn a_refused_file_says_why(setting: Setting) -> Result<()> {
    let scratch = Scratch::new()?;
    let into = scratch.path().join("into");
    let (_service, page) = start(&setting, &into).await?;
    std::fs::remove_dir_all(&into)?;
    page.eval("dropFile('refused', 8 << 20)").await?;
    let said =
        page.eval("return until(() => cardOf('refused')?.matches('.failed') && cardOf('refused').innerText)").await?;
    let said = said.as_str().unwrap_or_default();
    assert!(
        said.contains("not received: cannot write the file") && said.contains("choose another directory"),
        "{said}"
    );
    let path = scratch.path().to_string_lossy();
    assert!(!said.contains(&*path), "the page need not know where files go: {said}");
    // The connection is as good as before.
    std::fs::create_dir(&into)?;
    pass(&page, &into, "accepted", 100_000).await?;
    page.close().await
}

/// A file above the limit, and one of a page that was opened without the token, are refused with a sentence; another
/// name does not lead to the page.
pub async fn who_may_send(setting: Setting) -> Result<()> {
    let scratch = Scratch::new()?;
    let (service, page) = start(&setting, scratch.path()).await?;
    page.eval("dropFile('large', (128 << 20) + 1)").await?;
    let said = "return until(() => cardOf('large')?.matches('.failed') && cardOf('large').innerText)";
    let said = page.eval(said).await?;
    assert!(said.as_str().is_some_and(|said| said.contains("above the limit of 128.00 MiB")), "{said}");
    page.eval("location.hash = ''; dropFile('secret', 5)").await?;
    let said = "return until(() => cardOf('secret')?.matches('.failed') && cardOf('secret').innerText)";
    let said = page.eval(said).await?;
    assert!(said.as_str().is_some_and(|said| said.contains("asks for a token: open the page by")), "{said}");
    assert_eq!(std::fs::read_dir(scratch.path())?.count(), 0, "a refused file has left something");
    for (host, status) in [("127.0.0.1", "200"), ("evil.example", "421")] {
        let answer = ask(service.port, host).await?;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {answer}");
        assert_eq!(answer.contains("fingerprint"), status == "200", "{host}: {answer}");
    }
    page.close().await
}

/// The answer to a request for the ticket under this name.
async fn ask(port: u16, host: &str) -> Result<String> {
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET /ticket.json HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
