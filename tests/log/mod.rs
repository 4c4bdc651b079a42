//! A subscriber that keeps spans and events in memory, with their fields as text.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test program uses its part")]
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use narrowboat::Endpoint;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::ThreadId;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Metadata, Subscriber};

/// Fields of a span or an event, by name.
#[derive(Clone, Default)]
pub struct Fields(Vec<(&'static str, String)>);

impl Fields {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(field, _)| *field == name).map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(name, value)| (name, value))).finish()
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.retain(|(name, _)| *name != field.name());
        self.0.push((field.name(), format!("{value:?}")));
    }
}

/// A span that has existed.
#[derive(Clone, Debug)]
pub struct LoggedSpan {
    pub name: &'static str,
    pub fields: Fields,
    parent: Option<u64>,
}

/// An event, and the spans around it, the outermost first.
#[derive(Clone, Debug)]
pub struct LoggedEvent {
    pub level: Level,
    pub target: &'static str,
    pub message: String,
    pub fields: Fields,
    pub spans: Vec<LoggedSpan>,
}

impl LoggedEvent {
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).unwrap_or_else(|| panic!("no field `{name}` in {self:?}"))
    }

    /// A field of a span around the event.
    pub fn span_field(&self, span: &str, name: &str) -> &str {
        let span = self.spans.iter().find(|known| known.name == span);
        let field = span.and_then(|span| span.fields.get(name));
        field.unwrap_or_else(|| panic!("no field `{name}` in a span of that name around {self:?}"))
    }

    pub fn span_names(&self) -> Vec<&'static str> {
        self.spans.iter().map(|span| span.name).collect()
    }
}

#[derive(Default)]
struct LogState {
    spans: Vec<LoggedSpan>,
    entered: HashMap<ThreadId, Vec<u64>>,
    events: Vec<LoggedEvent>,
}

/// The log of one test. A clone is the same log.
#[derive(Clone)]
pub struct Log {
    level: Level,
    state: Arc<Mutex<LogState>>,
}

impl Log {
    /// Logs what this thread does, at this level and above, for as long as the guard lives.
    pub fn install(level: Level) -> (Self, DefaultGuard) {
        let log = Self { level, state: Arc::default() };
        (log.clone(), tracing::subscriber::set_default(log))
    }

    fn lock(&self) -> MutexGuard<'_, LogState> {
        self.state.lock().expect("no panic under the lock")
    }

    pub fn events(&self) -> Vec<LoggedEvent> {
        self.lock().events.clone()
    }

    /// The events with this message.
    pub fn all(&self, message: &str) -> Vec<LoggedEvent> {
        self.events().into_iter().filter(|event| event.message == message).collect()
    }

    /// The first event with this message that is as wanted. Waits for it.
    pub async fn find(&self, message: &str, is_wanted: impl Fn(&LoggedEvent) -> bool) -> LoggedEvent {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(event) = self.all(message).into_iter().find(&is_wanted) {
                return event;
            }
            assert!(Instant::now() < deadline, "no such event `{message}` in {:#?}", self.events());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// The first event with this message. Waits for it.
    pub async fn first(&self, message: &str) -> LoggedEvent {
        self.find(message, |_| true).await
    }

    pub fn span_count(&self) -> usize {
        self.lock().spans.len()
    }

    /// All of the log as text.
    pub fn text(&self) -> String {
        let state = self.lock();
        format!("{:?}\n{:?}", state.spans, state.events)
    }

    pub fn clear(&self) {
        self.lock().events.clear();
    }
}

impl LogState {
    fn current(&self) -> Option<u64> {
        self.entered.get(&std::thread::current().id())?.last().copied()
    }

    fn span(&mut self, id: &Id) -> &mut LoggedSpan {
        let index = usize::try_from(id.into_u64() - 1).expect("an index");
        self.spans.get_mut(index).expect("a span that was made")
    }

    fn with_parents(&mut self, id: Option<u64>) -> Vec<LoggedSpan> {
        let mut spans = Vec::new();
        let mut next = id;
        while let Some(id) = next {
            let span = self.span(&Id::from_u64(id)).clone();
            next = span.parent;
            spans.insert(0, span);
        }
        spans
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("narrowboat") && *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(self.level.into())
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields::default();
        span.record(&mut fields);
        let mut state = self.lock();
        let contextual = state.current().filter(|_| span.is_contextual());
        let parent = span.parent().map(Id::into_u64).or(contextual);
        state.spans.push(LoggedSpan { name: span.metadata().name(), fields, parent });
        Id::from_u64(state.spans.len() as u64)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        values.record(&mut self.lock().span(span).fields);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let message = fields.get("message").unwrap_or_default().to_owned();
        fields.0.retain(|(name, _)| *name != "message");
        let mut state = self.lock();
        let contextual = state.current().filter(|_| event.is_contextual());
        let spans = event.parent().map(Id::into_u64).or(contextual);
        let spans = state.with_parents(spans);
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        state.events.push(LoggedEvent { level, target, message, fields, spans });
    }

    fn enter(&self, span: &Id) {
        self.lock().entered.entry(std::thread::current().id()).or_default().push(span.into_u64());
    }

    fn exit(&self, span: &Id) {
        let mut state = self.lock();
        let entered = state.entered.get_mut(&std::thread::current().id()).expect("a span that was entered");
        let at = entered.iter().rposition(|known| *known == span.into_u64()).expect("a span that was entered");
        entered.remove(at);
    }
}

/// Returns a runtime whose tasks all run on the thread of the test, which the log listens to.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Selects the events that belong to this endpoint.
pub(crate) fn is_of(endpoint: &Endpoint) -> impl Fn(&LoggedEvent) -> bool {
    let address = endpoint.local_address().to_string();
    move |event| event.spans.iter().any(|span| span.fields.get("local_address") == Some(&address))
}
