//! Where the daemon's log goes and how much of it: to journald with fields where it is the service's standard error, else
//! to standard error as text.

use std::fmt::{self, Write as _};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::sync::OnceLock;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::{Registry, fmt as text, reload};

use crate::config::LogLevel;

/// Source: systemd's documentation, "Native Journal Protocol".
const JOURNAL: &str = "/run/systemd/journal/socket";

static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// Begins to log. A second node in one process (tests) keeps the first one's log.
pub fn begin(level: LogLevel) {
    let (filter, handle) = reload::Layer::new(filter(level));
    let registry = tracing_subscriber::registry().with(filter);
    let begun = match journal() {
        Some(socket) => tracing::subscriber::set_global_default(registry.with(Journal(socket))),
        None => {
            // Colours are not built in, and the layer panics where they are asked for.
            let layer = text::layer().with_writer(io::stderr).with_ansi(false);
            tracing::subscriber::set_global_default(registry.with(layer))
        }
    };
    if begun.is_ok() {
        let _ = LEVEL.set(handle);
    }
}

/// From now on.
pub fn set_level(level: LogLevel) {
    if let Some(handle) = LEVEL.get() {
        // It fails only when the subscriber is gone, and then there is no log.
        let _ = handle.reload(filter(level));
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// journald's socket, where standard error goes there: systemd names that stream in `JOURNAL_STREAM` (systemd.exec(5)).
fn journal() -> Option<UnixDatagram> {
    let stream = std::env::var("JOURNAL_STREAM").ok()?;
    let meta = std::fs::metadata("/proc/self/fd/2").ok()?;
    if stream != format!("{}:{}", meta.dev(), meta.ino()) {
        return None;
    }
    let socket = UnixDatagram::unbound().ok()?;
    socket.connect(JOURNAL).ok()?;
    Some(socket)
}

struct Journal(UnixDatagram);

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let entry = entry(event);
        if self.0.send(&entry).is_err() {
            // A journal that is being restarted: standard error is kept for us by systemd.
            eprintln!("{}", String::from_utf8_lossy(&entry).replace('\n', " "));
        }
    }
}

fn entry(event: &Event<'_>) -> Vec<u8> {
    let meta = event.metadata();
    let mut fields = Fields(Vec::new());
    fields.put("PRIORITY", priority(*meta.level()));
    fields.put("SYSLOG_IDENTIFIER", "pinnace");
    fields.put("CODE_MODULE", meta.module_path().unwrap_or_default());
    event.record(&mut fields);
    fields.0
}

/// Source: syslog(3).
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    }
}

/// `NAME=value` a line; a value with line breaks with its length instead, so that nothing in it can be taken for a field.
struct Fields(Vec<u8>);

impl Fields {
    fn put(&mut self, name: &str, value: &str) {
        self.0.extend(name.as_bytes());
        if value.contains('\n') {
            self.0.push(b'\n');
            self.0.extend((value.len() as u64).to_le_bytes());
        } else {
            self.0.push(b'=');
        }
        self.0.extend(value.as_bytes());
        self.0.push(b'\n');
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(&name(field.name()), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let mut text = String::new();
        let _ = write!(text, "{value:?}");
        self.put(&name(field.name()), &text);
    }
}

/// Capitals, digits and `_`, no `_` at the head (those are journald's own).
fn name(field: &str) -> String {
    if field == "message" {
        return "MESSAGE".into();
    }
    let fits = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("PINNACE_{}", field.chars().map(fits).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_reaches_journald_field_by_field() {
        let dir = tempfile::tempdir().unwrap();
        let journald = UnixDatagram::bind(dir.path().join("socket")).unwrap();
        let socket = UnixDatagram::unbound().unwrap();
        socket.connect(dir.path().join("socket")).unwrap();
        let subscriber = tracing_subscriber::registry().with(Journal(socket));
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(pod = "default/a", "two\nlines");
            tracing::info!("plain");
        });
        let read = || {
            let mut bytes = [0; 1024];
            let len = journald.recv(&mut bytes).unwrap();
            bytes[..len].to_vec()
        };
        let first = read();
        let message = [&b"MESSAGE\n"[..], &9u64.to_le_bytes(), b"two\nlines\n"].concat();
        assert!(first.starts_with(b"PRIORITY=4\nSYSLOG_IDENTIFIER=pinnace\nCODE_MODULE=pinnace::node::logging"));
        assert!(first.windows(message.len()).any(|w| w == message), "{}", String::from_utf8_lossy(&first));
        assert!(String::from_utf8_lossy(&first).contains("PINNACE_POD=default/a\n"));
        let second = String::from_utf8(read()).unwrap();
        assert!(second.contains("PRIORITY=6\n") && second.ends_with("MESSAGE=plain\n"), "{second}");
    }
}
