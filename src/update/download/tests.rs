use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use super::*;

const CONTENT: &[u8] = b"0123456789abcdefghij";

struct Deaf;

impl Listener for Deaf {
    fn at(&self, _: &str, _: u64, _: Option<u64>) {}

    fn is_cancelled(&self) -> bool {
        false
    }
}

/// One answer a connection, in this order, the last one again and again.
struct Server {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

fn server(answers: &[String]) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/file", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (answers, log) = (answers.to_vec(), asked.clone());
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let (mut request, mut byte) = (Vec::new(), [0]);
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                request.push(byte[0]);
            }
            log.lock().unwrap().push(String::from_utf8(request).unwrap().to_lowercase());
            let _ = stream.write_all(answers[number.min(answers.len() - 1)].as_bytes());
        }
    });
    Server { url, asked }
}

fn answer(status: &str, headers: &str, length: usize, body: &[u8]) -> String {
    let body = std::str::from_utf8(body).unwrap();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
}

fn ok(headers: &str, content: &[u8], sent: usize) -> String {
    answer("200 OK", headers, content.len(), &content[..sent])
}

fn rest(from: usize, sent: usize) -> String {
    let range = format!("Content-Range: bytes {from}-{}/{}\r\nETag: \"1\"\r\n", CONTENT.len() - 1, CONTENT.len());
    answer("206 Partial Content", &range, CONTENT.len() - from, &CONTENT[from..from + sent])
}

const TAG: &str = "ETag: \"1\"\r\n";

impl Server {
    fn fetch(&self, dir: &Path) -> Result<Vec<u8>, Failure> {
        let patience = Patience { connect: Duration::from_secs(20), idle: Duration::from_secs(20) };
        let effort = Effort { patience, first_wait: Duration::from_millis(1) };
        let file = fetch(&self.url, dir, effort, &Deaf)?;
        let content = fs::read(file.path()).unwrap();
        assert_eq!(file.sha256(), crate::model::id::sha256_hex(&content));
        Ok(content)
    }

    /// A header of the request with this number.
    fn header(&self, number: usize, name: &str) -> Option<String> {
        let asked = self.asked.lock().unwrap();
        asked[number].lines().find_map(|line| line.strip_prefix(&format!("{name}: ")).map(String::from))
    }
}

#[test]
fn a_break_is_gone_on_from_and_the_server_is_asked_for_the_rest_of_the_same_file() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(&[ok(TAG, CONTENT, 5), rest(5, 4), rest(9, 11)]);
    assert_eq!(server.fetch(dir.path()).unwrap(), CONTENT);
    assert_eq!((server.header(0, "range"), server.header(0, "if-range")), (None, None));
    let second = (server.header(1, "range"), server.header(1, "if-range"));
    assert_eq!(second, (Some("bytes=5-".into()), Some("\"1\"".into())));
    assert_eq!(server.header(2, "range"), Some("bytes=9-".into()));
}

#[test]
fn a_later_update_goes_on_and_one_from_elsewhere_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let broken = server(&[ok(TAG, CONTENT, 5), answer("503 Service Unavailable", "", 0, b"")]);
    let failure = broken.fetch(dir.path()).unwrap_err();
    assert_eq!(failure.reason, Reason::ServiceUnavailable);
    assert!(failure.message.contains("503") && failure.message.contains("is kept"), "{failure:?}");
    let tries = usize::try_from(TRIES).unwrap();
    assert_eq!(broken.asked.lock().unwrap().len(), tries + 1);

    let elsewhere = server(&[ok(TAG, b"other", 5)]);
    // The note is of the first address, so this download is begun anew.
    assert_eq!(elsewhere.fetch(dir.path()).unwrap(), b"other");
    assert_eq!(elsewhere.header(0, "range"), None);

    forget(dir.path());
    let _ = broken.fetch(dir.path());
    let first = server(&[ok(TAG, CONTENT, 7), answer("503 x", "", 0, b"")]);
    let _ = first.fetch(dir.path());
    let again = Server { url: first.url.clone(), asked: first.asked.clone() };
    let _ = again.fetch(dir.path());
    let asked = first.asked.lock().unwrap();
    assert!(asked[tries + 1].contains("range: bytes=7-"), "{}", asked[tries + 1]);
}

#[test]
fn a_file_that_was_replaced_meanwhile_is_fetched_whole() {
    for second in [ok("ETag: \"2\"\r\n", b"another file", 12), answer("416 Range Not Satisfiable", "", 0, b"")] {
        let dir = tempfile::tempdir().unwrap();
        let server = server(&[ok(TAG, CONTENT, 5), second, ok("", b"another file", 12)]);
        assert_eq!(server.fetch(dir.path()).unwrap(), b"another file");
    }
    // A range that nobody asked for.
    let dir = tempfile::tempdir().unwrap();
    let server = server(&[ok(TAG, CONTENT, 5), rest(9, 11), ok(TAG, CONTENT, 20)]);
    assert_eq!(server.fetch(dir.path()).unwrap(), CONTENT);
    assert_eq!(server.header(2, "range"), None);
}

#[test]
fn a_tag_that_is_weak_does_not_say_that_a_file_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let headers = "ETag: W/\"1\"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n";
    let server = server(&[ok(headers, CONTENT, 5), rest(5, 15)]);
    assert_eq!(server.fetch(dir.path()).unwrap(), CONTENT);
    assert_eq!(server.header(1, "if-range"), Some("thu, 01 jan 2026 00:00:00 gmt".into()));
}

#[track_caller]
fn refused(answers: &[String], reason: Reason, why: &str) {
    let dir = tempfile::tempdir().unwrap();
    let failure = server(answers).fetch(dir.path()).unwrap_err();
    assert!(failure.reason == reason && failure.message.contains(why), "{failure:?}");
}

#[test]
fn what_is_no_file_is_refused_at_once() {
    refused(&[answer("404 Not Found", "", 0, b"")], Reason::NotFound, "404");
    refused(&[answer("403 Forbidden", "", 0, b"")], Reason::BadRequest, "403");
    refused(&[ok("Content-Encoding: gzip\r\n", CONTENT, 20)], Reason::BadRequest, "packs");
    let large = usize::try_from(ARTEFACT_BYTES_MAX).unwrap() + 1;
    refused(&[answer("200 OK", "", large, b"")], Reason::BadRequest, "more than the");
    refused(&[answer("302 Found", "Location: ftp://a/\r\n", 0, b"")], Reason::BadRequest, "not safe");
    refused(&[answer("302 Found", "Location: /again\r\n", 0, b"")], Reason::BadRequest, "more than 5 times");
}

#[test]
fn redirects_are_followed_and_a_busy_server_is_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let moved = answer("302 Found", "Location: /there\r\n", 0, b"");
    let server = server(&[answer("503 Busy", "Retry-After: 0\r\n", 0, b""), moved, ok(TAG, CONTENT, 20)]);
    assert_eq!(server.fetch(dir.path()).unwrap(), CONTENT);
    assert!(server.asked.lock().unwrap()[2].starts_with("get /there "));
}
