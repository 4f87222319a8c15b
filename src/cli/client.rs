//! The local API's client: HTTP/1.1 over the node's Unix socket, JSON in and out. Knows paths and bodies, and nothing
//! of what they mean.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderMap, USER_AGENT};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::fail::{Fail, Status};
use super::term;
use super::wire::Wire;

/// The most that one answer may hold; a node's whole state is far smaller.
const REPLY_BYTES_MAX: usize = 256 << 20;
/// The longest line of a stream: one watch event or one log line.
const LINE_BYTES_MAX: usize = 64 << 20;

pub const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";
/// What `get` asks for: the server's columns, where it has any.
pub const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// Talks to one node. Each request has a connection of its own: they are few, and a Unix socket's cost nothing.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

/// An answer that comes in pieces.
pub struct Stream {
    body: Incoming,
    headers: HeaderMap,
    buffer: VecDeque<u8>,
    ended: bool,
}

impl Client {
    pub fn new(socket: PathBuf) -> Client {
        Client { socket }
    }

    /// # Errors
    /// The node's refusal, or that it cannot be reached; so for all the verbs below.
    pub async fn get(&self, path: &str) -> Result<Value, Fail> {
        self.get_as(path, JSON).await
    }

    /// None where the node says 404.
    ///
    /// # Errors
    /// As `get`.
    pub async fn find(&self, path: &str) -> Result<Option<Value>, Fail> {
        match self.get(path).await {
            Ok(value) => Ok(Some(value)),
            Err(fail) if fail.is_not_found() => Ok(None),
            Err(fail) => Err(fail),
        }
    }

    /// # Errors
    /// As `get`.
    pub async fn get_as(&self, path: &str, accept: &str) -> Result<Value, Fail> {
        self.send(Method::GET, path, accept, None).await
    }

    /// # Errors
    /// As `get`.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, Fail> {
        self.send(Method::POST, path, JSON, Some((JSON, body))).await
    }

    /// # Errors
    /// As `get`.
    pub async fn put(&self, path: &str, body: &Value) -> Result<Value, Fail> {
        self.send(Method::PUT, path, JSON, Some((JSON, body))).await
    }

    /// A JSON merge patch (RFC 7386).
    ///
    /// # Errors
    /// As `get`.
    pub async fn patch(&self, path: &str, patch: &Value) -> Result<Value, Fail> {
        self.send(Method::PATCH, path, JSON, Some((MERGE_PATCH, patch))).await
    }

    /// # Errors
    /// As `get`.
    pub async fn delete(&self, path: &str, options: &Value) -> Result<Value, Fail> {
        self.send(Method::DELETE, path, JSON, Some((JSON, options))).await
    }

    /// An answer whose end is not waited for: a watch or a log.
    ///
    /// # Errors
    /// As `get`.
    pub async fn stream(&self, path: &str, accept: &str) -> Result<Stream, Fail> {
        let response = self.request(Method::GET, path, accept, None).await?;
        Ok(Stream::of(response))
    }

    /// Sends a body as it comes; the answer comes meanwhile, line by line.
    ///
    /// # Errors
    /// As `get`.
    pub async fn upload(&self, path: &str, body: mpsc::Receiver<io::Result<Bytes>>) -> Result<Stream, Fail> {
        let response = self.exchange(Method::POST, path, JSON, None, Upload(body)).await?;
        Ok(Stream::of(response))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        body: Option<(&str, &Value)>,
    ) -> Result<Value, Fail> {
        let response = self.request(method, path, accept, body).await?;
        let bytes = self.collect(response.into_body()).await?;
        serde_json::from_slice(&bytes).map_err(|e| Fail::other(format!("the node's answer to {path} is no JSON: {e}")))
    }

    /// The response to a request that was not refused; warnings are shown on the way.
    async fn request(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        body: Option<(&str, &Value)>,
    ) -> Result<Response<Incoming>, Fail> {
        let (content_type, value) = body.unzip();
        let bytes = value.map(|value| Bytes::from(value.to_string())).unwrap_or_default();
        self.exchange(method, path, accept, content_type, Full::new(bytes)).await
    }

    async fn exchange<B>(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        content_type: Option<&str>,
        body: B,
    ) -> Result<Response<Incoming>, Fail>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let lost = |e: hyper::Error| Fail::Broken(e.to_string());
        let stream = UnixStream::connect(&self.socket).await.map_err(|e| self.unreachable(e))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(Wire::new(stream))).await.map_err(lost)?;
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "localhost")
            .header(USER_AGENT, concat!("pinnace/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, accept);
        if let Some(content_type) = content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let request = request.body(body).map_err(|e| Fail::other(format!("cannot ask the node for {path}: {e}")))?;
        let response = sender.send_request(request).await.map_err(lost)?;
        show_warnings(response.headers());
        if response.status().is_success() {
            return Ok(response);
        }
        let code = response.status().as_u16();
        let bytes = self.collect(response.into_body()).await?;
        Err(Fail::Refused(Box::new(Status::read(code, &bytes))))
    }

    async fn collect(&self, body: Incoming) -> Result<Bytes, Fail> {
        let limited = Limited::new(body, REPLY_BYTES_MAX).collect().await;
        limited.map(|c| c.to_bytes()).map_err(|e| match e.downcast::<hyper::Error>() {
            Ok(broken) => Fail::Broken(broken.to_string()),
            Err(e) => Fail::other(format!("the node's answer broke off: {e}")),
        })
    }

    fn unreachable(&self, why: std::io::Error) -> Fail {
        Fail::Unreachable { socket: self.socket.display().to_string(), why }
    }
}

/// A body that is read from elsewhere while it is sent.
struct Upload(mpsc::Receiver<io::Result<Bytes>>);

impl Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|bytes| bytes.map(Frame::data)))
    }
}

/// A value of a query, percent-encoded.
pub fn escape(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

impl Stream {
    fn of(response: Response<Incoming>) -> Stream {
        let (head, body) = response.into_parts();
        Stream { body, headers: head.headers, buffer: VecDeque::new(), ended: false }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The next bytes as they come. `Ok(None)` at the end of a whole answer.
    ///
    /// # Errors
    /// When the connection breaks before that.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, Fail> {
        loop {
            match self.body.frame().await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => return Ok(Some(data)),
                    Err(_trailers) => {}
                },
                Some(Err(e)) => return Err(Fail::Broken(e.to_string())),
                None => return Ok(None),
            }
        }
    }

    /// The next line with its end; a last one may have none. `Ok(None)` when the node has no more to say.
    ///
    /// # Errors
    /// When the connection breaks or a line is longer than any that a node sends.
    pub async fn line(&mut self) -> Result<Option<Vec<u8>>, Fail> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.buffer.iter().skip(searched).position(|b| *b == b'\n') {
                return Ok(Some(self.buffer.drain(..=searched + at).collect()));
            }
            if self.ended {
                return Ok((!self.buffer.is_empty()).then(|| self.buffer.drain(..).collect()));
            }
            searched = self.buffer.len();
            if searched > LINE_BYTES_MAX {
                return Err(Fail::other(format!("the node sent a line of more than {LINE_BYTES_MAX} bytes")));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => self.buffer.extend(frame.data_ref().into_iter().flat_map(|data| data.iter())),
                Some(Err(e)) => return Err(Fail::Broken(e.to_string())),
                None => self.ended = true,
            }
        }
    }

    /// The next event of a watch: its type and its object. An `ERROR` event is a failure.
    ///
    /// # Errors
    /// As `line`, and the node's refusal to go on.
    pub async fn event(&mut self) -> Result<Option<(String, Value)>, Fail> {
        let Some(line) = self.line().await? else { return Ok(None) };
        let mut event: Value = serde_json::from_slice(&line)
            .map_err(|e| Fail::other(format!("the node sent a watch event that is no JSON: {e}")))?;
        let object = event.get_mut("object").map(Value::take).unwrap_or_default();
        let kind = event["type"].as_str().unwrap_or_default().to_string();
        if kind == "ERROR" {
            return Err(Fail::Refused(Box::new(Status::from_value(500, &object))));
        }
        Ok(Some((kind, object)))
    }
}

/// `Warning: 299 - "text"`. Source: RFC 7234 section 5.5, as Kubernetes uses it.
fn show_warnings(headers: &HeaderMap) {
    for header in headers.get_all(hyper::header::WARNING) {
        if let Some(text) = header.to_str().ok().and_then(warning_text) {
            term::warn(&text);
        }
    }
}

fn warning_text(header: &str) -> Option<String> {
    let quoted = header.splitn(3, ' ').nth(2)?.strip_prefix('"')?;
    let mut text = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return Some(text),
            '\\' => text.extend(chars.next()),
            c => text.push(c),
        }
    }
    None
}

/// Where a node's socket is when nobody says: root's in `/run`, a user's in the session's directory.
pub fn default_socket() -> PathBuf {
    let uid = nix::unistd::geteuid();
    if uid.is_root() {
        return PathBuf::from("/run/pinnace/pinnace.sock");
    }
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|d| !d.is_empty()) {
        Some(dir) => Path::new(&dir).join("pinnace/pinnace.sock"),
        None => PathBuf::from(format!("/tmp/pinnace-{uid}/pinnace.sock")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    /// It refuses at the first sight of the request and closes, while megabytes are still under way.
    #[tokio::test]
    async fn a_refusal_is_read_though_the_upload_breaks() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 6\r\n\r\nit is ");
                let _ = stream.shutdown(std::net::Shutdown::Read);
                // The end of the answer comes when the client has met the closed door.
                std::thread::yield_now();
            }
        });
        let client = Client::new(socket);
        for _ in 0..50 {
            let (sender, body) = mpsc::channel(1);
            tokio::spawn(async move {
                for _ in 0..64 {
                    let _ = sender.send(Ok(Bytes::from(vec![0; 1 << 16]))).await;
                }
            });
            let refused = client.upload("/x", body).await.err().unwrap();
            assert!(matches!(&refused, Fail::Refused(status) if status.code == 400), "{refused}");
        }
    }

    #[track_caller]
    fn check(header: &str, expected: Option<&str>) {
        assert_eq!(warning_text(header).as_deref(), expected);
    }

    #[test]
    fn a_warning_header_gives_its_text() {
        check(r#"299 - "unknown field \"spec.foo\"""#, Some(r#"unknown field "spec.foo""#));
        check(r#"299 - "a b c" "Thu, 01 Jan 1970""#, Some("a b c"));
        for bad in ["", "299", "299 -", "299 - text", r#"299 - "open"#, r#"299 - "open\"#] {
            check(bad, None);
        }
    }
}
