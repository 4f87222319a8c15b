//! A blocking HTTP/1.1 client for one thread: connections that are used again, TLS, limits of time, cancelling. Knows no
//! registry; follows no redirect, tries nothing again, and keeps no secret.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::header::{ACCEPT_ENCODING, HOST, HeaderMap, USER_AGENT};
use hyper::http::HeaderValue;
use hyper::{Method, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::trust::{Judge, Trust};
use super::url::{Scheme, Url};

/// Also the most that one piece of a body has, so that a cancel is seen at least as often.
const BUFFER_BYTES: usize = 64 * 1024;
const HEADERS_MAX: usize = 100;
/// Of one name.
const ADDRESSES_MAX: usize = 4;
/// How often a wait looks whether it was cancelled.
const LOOK: Duration = Duration::from_millis(250);
const AGENT: &str = concat!("pinnace/", env!("CARGO_PKG_VERSION"));

/// How long the network may be silent.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Name lookup, connection and handshake of TLS, each.
    pub connect: Duration,
    /// Without a byte of an answer.
    pub idle: Duration,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    Cancelled,
    /// Nobody was reached: no such name, refused, no answer.
    Unconnected(String),
    /// The peer speaks, but no TLS.
    NoTls(String),
    /// The certificate does not satisfy.
    Untrusted(String),
    /// It broke off, was silent for too long, or spoke no HTTP.
    Broken(String),
}

pub struct Request<'a> {
    pub method: Method,
    pub url: &'a Url,
    pub judge: &'a Judge,
    pub headers: HeaderMap,
    /// Sent with POST alone.
    pub body: Bytes,
}

pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    body: Incoming,
}

impl Response {
    /// Bytes that will follow, where the server says so.
    pub fn length(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// A header's text; none where it is not there or is no ASCII.
    pub fn header(&self, name: impl hyper::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

type Sender = SendRequest<Full<Bytes>>;

pub struct Client<'a> {
    /// None only while it is dropped.
    runtime: Option<Runtime>,
    idle: HashMap<(Scheme, String, Judge), Sender>,
    trust: &'a Trust,
    patience: Patience,
    is_cancelled: &'a (dyn Fn() -> bool + Sync),
}

/// A name lookup that hangs must not hold the thread up.
impl Drop for Client<'_> {
    fn drop(&mut self) {
        self.idle.clear();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl<'a> Client<'a> {
    /// # Errors
    /// The system has no descriptors left.
    pub fn new(trust: &'a Trust, patience: Patience, is_cancelled: &'a (dyn Fn() -> bool + Sync)) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        Ok(Client { runtime: Some(runtime), idle: HashMap::new(), trust, patience, is_cancelled })
    }

    /// Sends and waits for the head of the answer.
    pub fn send(&mut self, request: &Request<'_>) -> Result<Response, Fault> {
        let key = (request.url.scheme, request.url.authority.clone(), request.judge.clone());
        // The server may have closed a connection that waited; that says nothing about the server.
        if let Some(mut sender) = self.idle.remove(&key)
            && let Ok(response) = self.exchange(&mut sender, request)
        {
            self.idle.insert(key, sender);
            return Ok(response);
        }
        let mut sender = self.connect(request.url, request.judge)?;
        let response = self.exchange(&mut sender, request)?;
        self.idle.insert(key, sender);
        Ok(response)
    }

    /// The next piece of the body; none: it is complete.
    pub fn read(&self, response: &mut Response) -> Result<Option<Bytes>, Fault> {
        let frame = self.wait(self.patience.idle, response.body.frame());
        match frame.map_err(|Stopped| self.stopped("no byte came", self.patience.idle))? {
            None => Ok(None),
            // Trailers are no bytes.
            Some(Ok(frame)) => Ok(Some(frame.into_data().unwrap_or_default())),
            Some(Err(e)) => Err(Fault::Broken(format!("the answer broke off: {}", cause(&e)))),
        }
    }

    /// The whole body; none: it is longer than `most`.
    pub fn read_all(&self, response: &mut Response, most: usize) -> Result<Option<Vec<u8>>, Fault> {
        let mut all = Vec::new();
        while let Some(piece) = self.read(response)? {
            if all.len() + piece.len() > most {
                return Ok(None);
            }
            all.extend_from_slice(&piece);
        }
        Ok(Some(all))
    }

    /// Lets time pass.
    pub fn pause(&self, time: Duration) -> Result<(), Fault> {
        let never = std::future::pending::<()>();
        match self.wait(time, never) {
            Err(Stopped) if (self.is_cancelled)() => Err(Fault::Cancelled),
            Ok(()) | Err(Stopped) => Ok(()),
        }
    }

    fn exchange(&self, sender: &mut Sender, request: &Request<'_>) -> Result<Response, Fault> {
        let broken = |e: hyper::Error| Fault::Broken(format!("the connection broke: {}", cause(&e)));
        let answer = self.wait(self.patience.idle, async {
            sender.ready().await?;
            sender.send_request(self.head(request)).await
        });
        let answer = answer.map_err(|Stopped| self.stopped("no answer came", self.patience.idle))?;
        let (head, body) = answer.map_err(broken)?.into_parts();
        Ok(Response { status: head.status, headers: head.headers, body })
    }

    fn head(&self, request: &Request<'_>) -> hyper::Request<Full<Bytes>> {
        let mut made = hyper::Request::new(Full::new(request.body.clone()));
        *made.method_mut() = request.method.clone();
        // Both were checked when the address was read.
        *made.uri_mut() = request.url.path.parse().unwrap_or_default();
        *made.headers_mut() = request.headers.clone();
        if let Ok(host) = HeaderValue::from_str(&request.url.authority) {
            made.headers_mut().insert(HOST, host);
        }
        made.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
        // Digests are of the bytes as they are stored.
        made.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        made
    }

    fn connect(&self, url: &Url, judge: &Judge) -> Result<Sender, Fault> {
        let limit = self.patience.connect;
        let tcp = self.reach(url)?;
        match url.scheme {
            Scheme::Http => self.handshake(tcp),
            Scheme::Https => {
                let config = self.trust.config(judge).map_err(Fault::Untrusted)?;
                let name = ServerName::try_from(url.host().to_string())
                    .map_err(|_| Fault::Untrusted(format!("{} is no name for a certificate", url.host())))?;
                let tls = self.wait(limit, TlsConnector::from(Arc::clone(&config)).connect(name, tcp));
                let tls = tls.map_err(|Stopped| self.stopped("the handshake of TLS did not end", limit))?;
                self.handshake(tls.map_err(|e| tls_fault(&e))?)
            }
        }
    }

    /// Tries the host's addresses in turn; where there are several, none of them may take all the time.
    fn reach(&self, url: &Url) -> Result<TcpStream, Fault> {
        let limit = self.patience.connect;
        let unconnected = |fault: Fault| match fault {
            Fault::Broken(why) => Fault::Unconnected(why),
            other => other,
        };
        let found = self.wait(limit, async {
            let found = tokio::net::lookup_host((url.host(), url.port())).await?;
            Ok::<Vec<SocketAddr>, io::Error>(found.take(ADDRESSES_MAX).collect())
        });
        let found = found.map_err(|Stopped| unconnected(self.stopped("its name was not looked up", limit)))?;
        let found = found.map_err(|e| Fault::Unconnected(format!("its name is not known: {e}")))?;
        let share = limit / u32::try_from(found.len().max(1)).unwrap_or(u32::MAX);
        let mut last = Fault::Unconnected("its name has no address".into());
        for address in found {
            last = match self.wait(share, TcpStream::connect(address)) {
                Ok(Ok(tcp)) => {
                    // Requests are small and wait for nothing; without it they are a little slower.
                    drop(tcp.set_nodelay(true));
                    return Ok(tcp);
                }
                Ok(Err(e)) => Fault::Unconnected(format!("{address}: {e}")),
                Err(Stopped) => unconnected(self.stopped(&format!("{address} did not answer"), share)),
            };
            if last == Fault::Cancelled {
                break;
            }
        }
        Err(last)
    }

    fn handshake(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Sender, Fault> {
        let made = self.wait(self.patience.connect, async {
            let mut builder = Builder::new();
            builder.max_buf_size(BUFFER_BYTES).max_headers(HEADERS_MAX);
            let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
            // Its error reaches whoever waits for an answer.
            tokio::spawn(connection);
            Ok::<Sender, hyper::Error>(sender)
        });
        let made = made.map_err(|Stopped| self.stopped("HTTP did not begin", self.patience.connect))?;
        made.map_err(|e| Fault::Broken(cause(&e)))
    }

    /// Runs the future for at most `limit`, and looks now and then whether it is still wanted.
    fn wait<T>(&self, limit: Duration, future: impl Future<Output = T>) -> Result<T, Stopped> {
        let runtime = self.runtime.as_ref().expect("the runtime is taken by drop alone");
        runtime.block_on(async {
            let mut future = pin!(future);
            let end = Instant::now() + limit;
            loop {
                if (self.is_cancelled)() {
                    return Err(Stopped);
                }
                let left = end.saturating_duration_since(Instant::now());
                if let Ok(value) = timeout(left.min(LOOK), &mut future).await {
                    return Ok(value);
                }
                if left <= LOOK {
                    return Err(Stopped);
                }
            }
        })
    }

    fn stopped(&self, what: &str, limit: Duration) -> Fault {
        if (self.is_cancelled)() {
            return Fault::Cancelled;
        }
        Fault::Broken(format!("{what} for {} s", limit.as_secs()))
    }
}

/// A wait ended before what it waited for: by time or by a cancel.
struct Stopped;

fn tls_fault(e: &io::Error) -> Fault {
    let inner = e.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(why)) => {
            Fault::Untrusted(format!("its certificate is not trusted: {why}"))
        }
        Some(other) => Fault::NoTls(other.to_string()),
        // Who expects plain HTTP may hang up at the sight of TLS.
        None if [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe]
            .contains(&e.kind()) =>
        {
            Fault::NoTls("it ended the handshake of TLS".into())
        }
        None => Fault::Broken(e.to_string()),
    }
}

/// hyper's own text says little; what lies below it says more.
fn cause(e: &hyper::Error) -> String {
    use std::error::Error;
    e.source().map_or_else(|| e.to_string(), |below| format!("{e}: {below}"))
}
