//! Just enough HTTP to ask a node over its socket: one connection that is kept, one answer after the other.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

pub struct Client(BufReader<UnixStream>);

impl Client {
    pub fn connect(socket: &Path) -> Client {
        Client(BufReader::new(UnixStream::connect(socket).expect("the node listens")))
    }

    pub fn get(&mut self, path: &str) -> String {
        self.ask("GET", path, "")
    }

    pub fn post(&mut self, path: &str, object: &Value) {
        self.ask("POST", path, &object.to_string());
    }

    fn ask(&mut self, method: &str, path: &str, body: &str) -> String {
        let (status, length) = self.begin(method, path, body);
        let mut answer = vec![0; length];
        self.0.read_exact(&mut answer).expect("the node answers in full");
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(status.contains(" 20"), "{method} {path}: {status}{answer}");
        answer
    }

    /// Sends a request and reads the head of the answer: its first line and the length of its body.
    fn begin(&mut self, method: &str, path: &str, body: &str) -> (String, usize) {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: node\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.0.get_mut().write_all((head + body).as_bytes()).expect("the node reads");
        let (status, mut length) = (self.line(), 0);
        loop {
            let line = self.line().to_ascii_lowercase();
            if line.trim().is_empty() {
                return (status, length);
            }
            if let Some(bytes) = line.strip_prefix("content-length:") {
                length = bytes.trim().parse().expect("a length is a number");
            }
        }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).expect("the node answers");
        assert!(read > 0, "the node closed the connection");
        line
    }

    /// Watches one object until `done` of it.
    pub fn watch(mut self, path: &str, name: &str, done: impl Fn(&Value) -> bool) {
        self.begin("GET", &format!("{path}?watch=true&fieldSelector=metadata.name%3D{name}"), "");
        loop {
            // Lines between them are the sizes of chunks.
            let line = self.line();
            let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
            assert_ne!(event["type"], "ERROR", "{event}");
            if event["object"].is_object() && done(&event["object"]) {
                return;
            }
        }
    }
}
