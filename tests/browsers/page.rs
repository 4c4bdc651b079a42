//! A tab of a browser.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::browser::Kind;
use crate::remote::Remote;
use crate::{Failure, Result};

/// A tab. Closing it is explicit, because it takes an answer.
pub struct Page {
    pub kind: Kind,
    pub(crate) remote: Arc<Remote>,
    pub(crate) target: String,
    /// Chromium's name for our connection to the tab.
    pub(crate) session: String,
}

impl Page {
    /// Runs the body of an asynchronous JavaScript function in the page, and waits for its result.
    pub async fn eval(&self, body: &str) -> Result<Value> {
        // The result is text, because the two protocols write values differently.
        let expression = format!("(async () => JSON.stringify(await (async () => {{ {body} }})() ?? null))()");
        let (text, exception) = match self.kind {
            Kind::Chromium => {
                let params = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
                let answer = self.remote.call(Some(&self.session), "Runtime.evaluate", params).await?;
                (answer["result"]["value"].clone(), answer["exceptionDetails"]["exception"]["description"].clone())
            }
            Kind::Firefox => {
                let target = json!({ "context": self.target });
                let params = json!({ "expression": expression, "awaitPromise": true, "target": target });
                let answer = self.remote.call(None, "script.evaluate", params).await?;
                (answer["result"]["value"].clone(), answer["exceptionDetails"]["text"].clone())
            }
        };
        match text.as_str() {
            Some(text) => Ok(serde_json::from_str(text)?),
            None => Err(format!("JavaScript: {exception}\nin: {body}").into()),
        }
    }

    /// Calls a function of the page with values.
    pub async fn call(&self, function: &str, arguments: &[Value]) -> Result<Value> {
        let arguments = Value::from(arguments).to_string();
        self.eval(&format!("return {function}(...{arguments});")).await
    }

    pub async fn navigate(&self, url: &str) -> Result<()> {
        match self.kind {
            Kind::Chromium => self.load("Page.navigate", json!({ "url": url })).await,
            Kind::Firefox => {
                let params = json!({ "context": self.target, "url": url, "wait": "complete" });
                self.remote.call(None, "browsingContext.navigate", params).await.map(drop)
            }
        }
    }

    /// Loads the page again, at any moment.
    pub async fn reload(&self) -> Result<()> {
        match self.kind {
            Kind::Chromium => self.load("Page.reload", json!({})).await,
            Kind::Firefox => {
                let params = json!({ "context": self.target, "wait": "complete" });
                self.remote.call(None, "browsingContext.reload", params).await.map(drop)
            }
        }
    }

    pub async fn close(self) -> Result<()> {
        match self.kind {
            Kind::Chromium => self.remote.call(None, "Target.closeTarget", json!({ "targetId": self.target })).await,
            Kind::Firefox => self.remote.call(None, "browsingContext.close", json!({ "context": self.target })).await,
        }
        .map(drop)
    }

    async fn load(&self, method: &str, params: Value) -> Result<()> {
        let loaded = self.remote.event(Some(&self.session), "Page.loadEventFired");
        self.remote.call(Some(&self.session), method, params).await?;
        let loaded = tokio::time::timeout(std::time::Duration::from_secs(60), loaded).await;
        loaded.map_err(|_| Failure::from("the page does not load"))?.map_err(|_| "the browser has gone".into())
    }
}
