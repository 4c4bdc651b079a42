//! A browser as the sender.

use serde_json::{Value, json};

use crate::browser::{Browser, Kind};
use crate::{Input, Result, web};

const HTML: &str = concat!(
    "<!doctype html><meta charset=utf-8><title>upload</title><link rel=icon href='data:,'><script>",
    include_str!("upload.js"),
    "</script>"
);

/// One browser for all uploads, and a tab for each: for each line of the input an offer goes out, and the next line is
/// its answer. The tab is closed at the line after that.
pub(crate) async fn from(kind: Kind, bytes: &str) -> Result<()> {
    let bytes: u64 = bytes.parse()?;
    let origin = format!("http://{}", web::serve(HTML.to_owned()).await?);
    let browser = Browser::launch(kind, &[]).await?;
    browser.reveal_addresses(&origin).await?;
    let mut input = Input::new();
    while input.line().await?.is_some() {
        let page = browser.open(&origin).await?;
        println!("{}", page.call("offer", &[bytes.into()]).await?);
        let answer: Value = serde_json::from_str(&input.expect("the answer").await?)?;
        page.call("take", &[json!(answer)]).await?;
        input.expect("the upload's end").await?;
        page.close().await?;
    }
    Ok(())
}
