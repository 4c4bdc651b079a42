//! Calls to a browser over its WebSocket: Chromium's DevTools protocol and WebDriver BiDi number theirs alike.

use std::collections::HashMap;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use tungstenite::protocol::Role;
use tungstenite::{Message, WebSocket};

use crate::{Failure, Result};

/// Longest time of a single call; longer actions have a time-out of their own in the page.
const CALL_MAX: Duration = Duration::from_secs(120);

/// One browser's remote control. Any number of calls may be under way.
pub struct Remote {
    writer: Mutex<WebSocket<TcpStream>>,
    pending: Arc<Mutex<Pending>>,
}

#[derive(Default)]
struct Pending {
    last_id: u64,
    calls: HashMap<u64, oneshot::Sender<Result<Value>>>,
    /// Tasks that wait for an event, with the event's method and session.
    events: Vec<(String, Option<String>, oneshot::Sender<()>)>,
    /// The browser has hung up.
    is_over: bool,
}

impl Remote {
    /// `address` is a host and a port, `path` begins with `/`. No `Origin` is sent: both browsers refuse most.
    pub fn connect(address: &str, path: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let writer = WebSocket::from_raw_socket(stream.try_clone()?, Role::Client, None);
        let config = tungstenite::protocol::WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let (mut reader, _) =
            tungstenite::client::client_with_config(format!("ws://{address}{path}"), stream, Some(config))
                .map_err(|error| Failure::from(format!("no WebSocket at {address}{path}: {error}")))?;
        let pending = Arc::new(Mutex::new(Pending::default()));
        let shared = Arc::clone(&pending);
        std::thread::spawn(move || {
            while let Ok(message) = reader.read() {
                if let Message::Text(text) = message {
                    let message = serde_json::from_str(&text).unwrap_or(Value::Null);
                    shared.lock().unwrap().handle(&message);
                }
            }
            let mut pending = shared.lock().unwrap();
            (pending.is_over, pending.calls, pending.events) = (true, HashMap::new(), Vec::new());
        });
        Ok(Self { writer: Mutex::new(writer), pending })
    }

    pub async fn call(&self, session: Option<&str>, method: &str, params: Value) -> Result<Value> {
        let (sender, receiver) = oneshot::channel();
        let id = {
            let mut pending = self.pending.lock().unwrap();
            if pending.is_over {
                return Err(format!("{method}: the browser has gone").into());
            }
            pending.last_id += 1;
            let id = pending.last_id;
            pending.calls.insert(id, sender);
            id
        };
        let mut call = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = session {
            call["sessionId"] = session.into();
        }
        self.writer.lock().unwrap().send(Message::text(call.to_string()))?;
        match tokio::time::timeout(CALL_MAX, receiver).await {
            Err(_) => Err(format!("{method}: no answer within {CALL_MAX:?}").into()),
            Ok(Err(_)) => Err(format!("{method}: the browser has gone").into()),
            Ok(Ok(answer)) => answer.map_err(|error| format!("{method}: {error}").into()),
        }
    }

    /// The next event of this name from now on.
    pub fn event(&self, session: Option<&str>, method: &str) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let event = (method.to_owned(), session.map(str::to_owned), sender);
        self.pending.lock().unwrap().events.push(event);
        receiver
    }
}

impl Pending {
    fn handle(&mut self, message: &Value) {
        if let Some(id) = message["id"].as_u64() {
            let Some(call) = self.calls.remove(&id) else { return };
            let answer = match (&message["error"], &message["message"]) {
                (Value::Null, _) => Ok(message["result"].clone()),
                (Value::String(error), text) => Err(format!("{error}: {text}").into()),
                (error, _) => Err(error.to_string().into()),
            };
            let _ = call.send(answer);
        } else if let Some(method) = message["method"].as_str() {
            let session = message["sessionId"].as_str();
            let is_it = |event: &mut (String, Option<String>, _)| event.0 == method && event.1.as_deref() == session;
            for (_, _, sender) in self.events.extract_if(.., is_it) {
                let _ = sender.send(());
            }
        }
    }
}
