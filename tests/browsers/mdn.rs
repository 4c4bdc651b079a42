//! MDN's example of `RTCDataChannel.close()`, as it is written there, and the same with our side closing.

use serde_json::json;

use crate::Result;
use crate::link::connect;
use crate::suite::Setting;

/// The example, with its three lines to the console written down instead, in the page's own log.
const EXAMPLE: &str = r#"
    const said = [];
    const console = { log: (line) => { said.push(line); wake(); } };
    pc = new RTCPeerConnection();
    const dc = pc.createDataChannel("my channel");

    dc.onmessage = (event) => {
      console.log(`received: ${event.data}`);
      dc.close(); // We decided to close after the first received message
    };

    dc.onopen = () => {
      console.log("datachannel open");
    };

    dc.onclose = () => {
      console.log("datachannel close");
    };

    // Now negotiate the connection and so forth...
    running = { said, dc };
"#;

/// The same, but the page leaves the closing to the other end.
fn without_close() -> String {
    EXAMPLE.replace("dc.close(); // We decided to close after the first received message", "")
}

pub async fn the_page_closes(setting: Setting) -> Result<()> {
    let (page, endpoint) = (setting.page().await?, crate::link::service().build()?);
    page.eval(EXAMPLE).await?;
    let association = connect(&page, &endpoint, setting.way).await?;
    let channel = association.accept_channel().await.ok_or("the association ended")?;
    assert_eq!(channel.label(), "my channel");
    channel.send("hello").await?;
    // The page closes: there is nothing more to receive, and the end is not an error.
    assert!(channel.recv().await.is_none());
    channel.closed().await?;
    page.eval("return until(() => running.said.length === 3)").await?;
    let said = json!(["datachannel open", "received: hello", "datachannel close"]);
    assert_eq!(page.eval("return running.said").await?, said);
    page.close().await
}

pub async fn we_close(setting: Setting) -> Result<()> {
    let (page, endpoint) = (setting.page().await?, crate::link::service().build()?);
    page.eval(&without_close()).await?;
    let association = connect(&page, &endpoint, setting.way).await?;
    let channel = association.accept_channel().await.ok_or("the association ended")?;
    channel.send("hello").await?;
    // The channel is closed at once: messages that were accepted before are delivered first.
    channel.close().await?;
    page.eval("return until(() => running.said.length === 3)").await?;
    let said = json!(["datachannel open", "received: hello", "datachannel close"]);
    assert_eq!(page.eval("return running.said").await?, said);
    assert_eq!(page.eval("return running.dc.readyState").await?, json!("closed"));
    page.close().await
}
