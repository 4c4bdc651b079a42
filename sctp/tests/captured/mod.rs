//! A subscriber in memory: keeps the events of this thread, for tests of the log.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test may fail this way")]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, Once};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Metadata, Subscriber};

/// An event as it was emitted.
#[derive(Clone, Debug)]
pub(crate) struct Logged {
    pub(crate) level: Level,
    pub(crate) target: String,
    pub(crate) message: String,
    /// All other fields, as text.
    pub(crate) fields: BTreeMap<String, String>,
}

impl Logged {
    /// Returns the text of a field, or panics if the event has no such field.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).unwrap_or_else(|| panic!("no field `{name}` in {self:?}"))
    }

    pub(crate) fn number(&self, name: &str) -> u64 {
        self.field(name).parse().unwrap()
    }
}

impl Visit for Logged {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.fields.insert(field.name().to_owned(), text);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// The events of a thread for as long as this lives.
pub(crate) struct Log {
    events: Arc<Mutex<Vec<Logged>>>,
    _guard: DefaultGuard,
}

impl Log {
    /// Starts to keep events up to `level`.
    pub(crate) fn capture(level: Level) -> Self {
        // While a process has one subscriber only, `tracing` asks the thread that first reaches an event if the event
        // is of interest, for all threads. Another test's thread may have none. With a second subscriber it asks both.
        static SECOND: Once = Once::new();
        SECOND.call_once(|| {
            tracing::subscriber::set_global_default(Capture { level: Level::TRACE, events: None }).unwrap();
        });
        let events = Arc::new(Mutex::new(Vec::new()));
        let guard = tracing::subscriber::set_default(Capture { level, events: Some(Arc::clone(&events)) });
        // Events that were reached while there was no second one are judged again.
        tracing::callsite::rebuild_interest_cache();
        Self { events, _guard: guard }
    }

    /// Takes the events since the last call.
    pub(crate) fn take(&self) -> Vec<Logged> {
        std::mem::take(&mut self.events.lock().unwrap())
    }
}

/// Returns the events with this message.
pub(crate) fn with_message<'l>(events: &'l [Logged], message: &str) -> Vec<&'l Logged> {
    events.iter().filter(|event| event.message == message).collect()
}

/// Returns the only event with this message.
pub(crate) fn only<'l>(events: &'l [Logged], message: &str) -> &'l Logged {
    match with_message(events, message).as_slice() {
        [event] => event,
        found => panic!("{} events \"{message}\" in {events:#?}", found.len()),
    }
}

struct Capture {
    level: Level,
    /// `None` if nothing is kept.
    events: Option<Arc<Mutex<Vec<Logged>>>>,
}

impl Subscriber for Capture {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level.into())
    }

    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let Some(events) = self.events.as_ref().filter(|_| self.enabled(metadata)) else { return };
        let mut logged = Logged {
            level: *metadata.level(),
            target: metadata.target().to_owned(),
            message: String::new(),
            fields: BTreeMap::new(),
        };
        event.record(&mut logged);
        events.lock().unwrap().push(logged);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
