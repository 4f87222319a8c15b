//! A node that gives canned answers over a Unix socket and remembers what it was asked; and a run of the real binary
//! against it.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// One answer: a status and a body; a header `Warning` where there is a text.
#[derive(Debug, Clone)]
struct Answer {
    status: u16,
    body: String,
    warning: Option<String>,
}

/// A request as it came: `GET /path?query`, and its body (null without one).
pub type Asked = (String, Value);

type Routes = Vec<(String, VecDeque<Answer>)>;

pub struct Fake {
    directory: tempfile::TempDir,
    routes: Routes,
}

/// What one run of the binary did.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
    pub asked: Vec<Asked>,
}

impl Fake {
    pub fn new() -> Fake {
        Fake { directory: tempfile::tempdir().unwrap(), routes: Vec::new() }
    }

    /// An answer to `METHOD /path` (a query in the request is not looked at, unless the route has one). Several answers
    /// to one are given one after another; the last one stays.
    pub fn on(self, route: &str, body: Value) -> Fake {
        self.answer(route, 200, body.to_string(), None)
    }

    pub fn refuse(self, route: &str, status: Value) -> Fake {
        let code = u16::try_from(status["code"].as_u64().unwrap()).unwrap();
        self.answer(route, code, status.to_string(), None)
    }

    pub fn warn(self, route: &str, body: Value, warning: &str) -> Fake {
        self.answer(route, 200, body.to_string(), Some(warning.to_string()))
    }

    /// An answer that is no JSON, or several lines of it.
    pub fn text(self, route: &str, body: &str) -> Fake {
        self.answer(route, 200, body.to_string(), None)
    }

    /// The events of a watch.
    pub fn watch(self, route: &str, events: &[(&str, Value)]) -> Fake {
        let line = |(kind, object): &(&str, Value)| format!("{}\n", json!({"type": kind, "object": object}));
        self.answer(route, 200, events.iter().map(line).collect(), None)
    }

    fn answer(mut self, route: &str, status: u16, body: String, warning: Option<String>) -> Fake {
        let answer = Answer { status, body, warning };
        match self.routes.iter_mut().find(|(known, _)| known == route) {
            Some((_, answers)) => answers.push_back(answer),
            None => self.routes.push((route.to_string(), VecDeque::from([answer]))),
        }
        self
    }

    /// A file that the run may name; gives its path.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_string()
    }

    pub fn run(self, words: &str) -> Ran {
        let words: Vec<&str> = words.split_whitespace().collect();
        self.run_words(&words, "")
    }

    /// As `run`, with an output whose reader has gone.
    pub fn run_unread(self, words: &str) -> Ran {
        self.run_words_unread(&words.split_whitespace().collect::<Vec<_>>())
    }

    pub fn run_words_unread(self, words: &[&str]) -> Ran {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        self.run_to(words, "", writer.into())
    }

    /// Runs the binary with these arguments and this standard input, in the directory of the files.
    pub fn run_words(self, words: &[&str], stdin: &str) -> Ran {
        self.run_to(words, stdin, Stdio::piped())
    }

    fn run_to(self, words: &[&str], stdin: &str, stdout: Stdio) -> Ran {
        let socket = self.directory.path().join("pinnace.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (routes, log) = (Arc::new(Mutex::new(self.routes)), asked.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (routes, log) = (routes.clone(), log.clone());
                std::thread::spawn(move || serve(&stream.unwrap(), &routes, &log));
            }
        });
        let mut child = Command::new(env!("CARGO_BIN_EXE_pinnace"))
            .args(words)
            .current_dir(self.directory.path())
            .env("PINNACE_SOCKET", &socket)
            .env("TZ", "UTC")
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A verb that reads nothing may be done before.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        let output = child.wait_with_output().unwrap();
        let asked = std::mem::take(&mut *asked.lock().unwrap());
        Ran {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
            asked,
        }
    }
}

fn serve(stream: &UnixStream, routes: &Mutex<Routes>, log: &Mutex<Vec<Asked>>) {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    reader.read_line(&mut head).unwrap();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = n.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let request = head.trim_end().trim_end_matches(" HTTP/1.1").to_string();
    let answer = answer_to(&request, &mut routes.lock().unwrap());
    log.lock().unwrap().push((request, serde_json::from_slice(&body).unwrap_or(Value::Null)));
    let warning = answer.warning.map(|w| format!("Warning: 299 - \"{w}\"\r\n")).unwrap_or_default();
    let reply = format!("HTTP/1.1 {} X\r\nConnection: close\r\n{warning}\r\n{}", answer.status, answer.body);
    // A client that has seen enough may be gone.
    let _ = (&mut &*stream).write_all(reply.as_bytes());
}

/// The route with exactly this request, else the one without its query.
fn answer_to(request: &str, routes: &mut Routes) -> Answer {
    let bare = request.split('?').next().unwrap();
    let at = routes.iter().position(|(known, _)| known == request);
    let at = at.or_else(|| routes.iter().position(|(known, _)| known == bare));
    match at {
        Some(at) if routes[at].1.len() > 1 => routes[at].1.pop_front().unwrap(),
        Some(at) => routes[at].1[0].clone(),
        None => Answer { status: 404, body: not_found("things", bare).to_string(), warning: None },
    }
}

pub fn not_found(resource: &str, name: &str) -> Value {
    json!({"kind": "Status", "code": 404, "reason": "NotFound", "message": format!("{resource} {name:?} not found")})
}

impl Ran {
    /// The run's code and all that it printed.
    #[track_caller]
    pub fn is(&self, code: i32, out: &str, err: &str) -> &Ran {
        assert_eq!((self.code, self.out.as_str(), self.err.as_str()), (code, out, err), "asked {:?}", self.asked);
        self
    }

    /// The changes that were asked for: everything but `GET`.
    #[track_caller]
    pub fn changed(&self, expected: &[(&str, Value)]) -> &Ran {
        let changes: Vec<(&str, Value)> = self
            .asked
            .iter()
            .filter(|(request, _)| !request.starts_with("GET"))
            .map(|(request, body)| (request.as_str(), body.clone()))
            .collect();
        assert_eq!(changes, expected);
        self
    }

    /// The requests, without what they held.
    #[track_caller]
    pub fn asked(&self, expected: &[&str]) -> &Ran {
        let asked: Vec<&str> = self.asked.iter().map(|(request, _)| request.as_str()).collect();
        assert_eq!(asked, expected);
        self
    }
}
