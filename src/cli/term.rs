//! Standard output and error: whole texts out, colour and progress only for a person at a terminal.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::fail::Fail;

/// Standard output. What it is given is written at once, so that a reader of a pipe sees a line when it happens.
pub struct Out {
    colour: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    Green,
    Yellow,
    Red,
}

impl Out {
    pub fn new() -> Out {
        Out { colour: io::stdout().is_terminal() && may_colour() }
    }

    /// True when colour may be used.
    pub fn colour(&self) -> bool {
        self.colour
    }

    /// # Errors
    /// `Closed` when the reader is gone.
    pub fn text(&mut self, text: &str) -> Result<(), Fail> {
        self.bytes(text.as_bytes())
    }

    /// `text` and a line's end.
    ///
    /// # Errors
    /// As `text`.
    pub fn line(&mut self, text: &str) -> Result<(), Fail> {
        self.text(&format!("{text}\n"))
    }

    /// # Errors
    /// As `text`; a full disk behind a redirection is told.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Fail> {
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(|e| match e.kind() {
            io::ErrorKind::BrokenPipe => Fail::Closed,
            _ => Fail::other(format!("cannot write to standard output: {e}")),
        })
    }
}

/// Says something beside the output. A closed standard error is nobody's fault.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// `Warning: …`, yellow on a terminal.
pub fn warn(text: &str) {
    if io::stderr().is_terminal() && may_colour() {
        say(&format!("{}: {text}", paint("Warning", Colour::Yellow)));
    } else {
        say(&format!("Warning: {text}"));
    }
}

pub fn paint(text: &str, colour: Colour) -> String {
    let code = match colour {
        Colour::Green => "32",
        Colour::Yellow => "33",
        Colour::Red => "31",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// <https://no-color.org>: set and not empty switches colour off; so does a terminal that knows none.
fn may_colour() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    !set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|t| t != "dumb")
}

/// How long a wait may take before it is worth a line.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the line is drawn anew.
const REDRAW: Duration = Duration::from_secs(1);

/// A line on a terminal's standard error that says what is being waited for and how long already; gone when dropped.
/// Where standard error is no terminal it does nothing.
pub struct Progress {
    text: Arc<Mutex<String>>,
    task: Option<tokio::task::JoinHandle<()>>,
}

impl Progress {
    pub fn start(text: impl Into<String>) -> Progress {
        let text = Arc::new(Mutex::new(text.into()));
        let task = io::stderr().is_terminal().then(|| tokio::spawn(redraw(text.clone())));
        Progress { text, task }
    }

    pub fn set(&self, text: impl Into<String>) {
        *self.text.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = text.into();
    }

    /// Takes the line away for a moment, so that another text can be printed.
    pub fn clear(&self) {
        if self.task.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

async fn redraw(text: Arc<Mutex<String>>) {
    let began = Instant::now();
    tokio::time::sleep(PATIENCE).await;
    loop {
        let text = text.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let line = format!("{text} ({}s)", began.elapsed().as_secs());
        let _ = write!(io::stderr(), "\r\x1b[K{}", cut(&line, width()));
        tokio::time::sleep(REDRAW).await;
    }
}

/// Columns of a bar.
const BAR: usize = 24;

/// A bar on a terminal's standard error; gone when dropped. Where standard error is no terminal it does nothing.
pub struct Bar {
    title: String,
    on_terminal: bool,
}

impl Bar {
    pub fn start(title: String) -> Bar {
        Bar { title, on_terminal: io::stderr().is_terminal() }
    }

    /// `part` from 0 to 1; none: nobody knows how much there is.
    pub fn set(&self, part: Option<f64>, text: String) {
        if self.on_terminal {
            let line = match part {
                Some(part) => format!("{} {} {:3.0} % {text}", self.title, bar(part), (part * 100.0).floor()),
                None => format!("{} {text}", self.title),
            };
            let _ = write!(io::stderr(), "\r\x1b[K{}", cut(&line, width()));
        }
    }

    /// Takes the bar away for a moment, so that another text can be printed.
    pub fn clear(&self) {
        if self.on_terminal {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}

fn bar(part: f64) -> String {
    let full = ((part * BAR as f64) as usize).min(BAR);
    format!("[{}{}]", "#".repeat(full), ".".repeat(BAR - full))
}

/// Columns of the terminal behind standard error; 80 where it does not tell.
fn width() -> usize {
    terminal_size::terminal_size_of(io::stderr())
        .map(|(width, _)| usize::from(width.0))
        .filter(|c| *c > 10)
        .unwrap_or(80)
}

/// At most `columns - 1` characters, so that the cursor stays in the line.
fn cut(line: &str, columns: usize) -> String {
    line.chars().take(columns - 1).collect()
}

#[cfg(test)]
mod tests {
    use super::{BAR, bar, cut};

    #[test]
    fn a_bar_is_never_longer_or_shorter() {
        for (part, full) in [(0.0, 0), (0.04, 0), (0.5, 12), (0.999, 23), (1.0, 24), (7.0, 24)] {
            assert_eq!(bar(part), format!("[{}{}]", "#".repeat(full), ".".repeat(BAR - full)), "{part}");
        }
        assert_eq!(cut("abc", 3), "ab");
    }
}
