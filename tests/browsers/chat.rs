//! The chat example: two browsers that come by the axum routes, and one that leaves.

use tokio::net::TcpListener;

use crate::page::Page;
use crate::suite::Setting;
use crate::{Result, chat_example};

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
