//! Asks the broker, step by step, what a node's session needs of it: a name, a port, TLS, a session, subscriptions,
//! publications. Uses a client id of its own and leaves no will, so the node's session is not touched; publishes nothing
//! but an empty note below the node's own topics.
//!
//! Blocks its caller, and ends within the waits below.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustls::pki_types::ServerName;
use serde_json::Value;

use crate::model::{Mqtt, Protocol};

use super::backoff::{Choice, Dialect};
use super::certificate::{self, Validity};
use super::session::{Connect, Heard, Session as Wire, Why};
use super::tls;
use super::topic::Topics;

const RESOLVE_WAIT: Duration = Duration::from_secs(10);
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;
/// From the first packet to the last answer.
const SESSION_WAIT: Duration = Duration::from_secs(10);
/// What is retained comes with the subscription; a broker that sends later has nothing.
const RETAINED_WAIT: Duration = Duration::from_millis(700);
const FAREWELL_WAIT: Duration = Duration::from_secs(1);
const PACKET_BYTES_MAX: usize = 1 << 21;

/// What to ask.
#[derive(Debug, Clone)]
pub struct Probe<'a> {
    pub mqtt: &'a Mqtt,
    pub fleet: &'a str,
    pub node: &'a str,
    pub groups: &'a [String],
    /// Also open a session. A broker that names sessions after users ends the node's by it.
    pub session: bool,
}

/// What came of it; a step after one that failed is none.
#[derive(Debug, Clone, Default)]
pub struct Probed {
    pub resolved: Option<Result<Vec<SocketAddr>, String>>,
    /// How long the connection took.
    pub tcp: Option<Result<Duration, String>>,
    /// None also for a broker without TLS.
    pub tls: Option<Result<Tls, String>>,
    /// None also where no session was asked for.
    pub session: Option<Result<Session, String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// `TLSv1.3`
    pub version: String,
    /// The broker's own certificate; none where it cannot be read.
    pub validity: Option<Validity>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Session {
    /// `5` or `3.1.1`
    pub version: &'static str,
    /// The client id that was used.
    pub client_id: String,
    /// Filters of the node, each with the broker's refusal; none: granted.
    pub filters: Vec<(String, Option<String>)>,
    /// The broker's refusal of the note, or that it took it.
    pub published: Option<Result<(), String>>,
    /// The node's retained `live` document, where there is one and this session may read it.
    pub live: Option<Value>,
}

pub fn probe(ask: &Probe) -> Probed {
    let mut probed = Probed::default();
    let broker = &ask.mqtt.broker;
    let addresses = resolve(&broker.host, broker.port);
    probed.resolved = Some(addresses.clone());
    let Ok(addresses) = addresses else { return probed };
    let begun = Instant::now();
    let stream = connect(&addresses);
    probed.tcp = Some(stream.as_ref().map(|_| begun.elapsed()).map_err(Clone::clone));
    let Ok(stream) = stream else { return probed };
    if broker.tls {
        let greeted = greet(ask.mqtt, stream);
        let failed = greeted.is_err();
        probed.tls = Some(greeted);
        if failed {
            return probed;
        }
    }
    if ask.session {
        probed.session = Some(session(ask));
    }
    probed
}

/// On a thread of its own: the resolver of the C library has no timeout that we could set.
fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let (tell, told) = mpsc::channel();
    let name = host.to_string();
    thread::spawn(move || tell.send((name.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>)));
    match told.recv_timeout(RESOLVE_WAIT) {
        Ok(Ok(addresses)) if !addresses.is_empty() => Ok(addresses),
        Ok(Ok(_)) => Err(format!("{host} has no address")),
        Ok(Err(e)) => Err(format!("{host}: {e}")),
        Err(_) => Err(format!("{host}: no answer within {} s", RESOLVE_WAIT.as_secs())),
    }
}

fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, String> {
    let mut why = String::new();
    for address in addresses.iter().take(ADDRESSES_MAX) {
        match TcpStream::connect_timeout(address, CONNECT_WAIT) {
            Ok(stream) => return Ok(stream),
            Err(e) => why = format!("{address}: {e}"),
        }
    }
    Err(why)
}

fn greet(mqtt: &Mqtt, mut stream: TcpStream) -> Result<Tls, String> {
    let config = tls::client(mqtt)?;
    let name = ServerName::try_from(mqtt.broker.host.clone()).map_err(|e| format!("{}: {e}", mqtt.broker.host))?;
    let mut tls = rustls::ClientConnection::new(config, name).map_err(|e| e.to_string())?;
    let in_time =
        stream.set_read_timeout(Some(CONNECT_WAIT)).and_then(|()| stream.set_write_timeout(Some(CONNECT_WAIT)));
    in_time.map_err(|e| e.to_string())?;
    while tls.is_handshaking() {
        tls.complete_io(&mut stream).map_err(|e| e.to_string())?;
    }
    let first = tls.peer_certificates().and_then(|chain| chain.first());
    let version = tls.protocol_version().and_then(|version| version.as_str()).unwrap_or("TLS");
    let found =
        Tls { version: version.replace('_', "."), validity: first.and_then(|der| certificate::validity(der).ok()) };
    tls.send_close_notify();
    // Whoever has hung up needs no good-bye.
    let _ = tls.write_tls(&mut stream);
    Ok(found)
}

fn session(ask: &Probe) -> Result<Session, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let done = tokio::task::LocalSet::new().block_on(&runtime, async {
        let within = tokio::time::timeout(SESSION_WAIT, in_some_version(ask)).await;
        within.unwrap_or_else(|_| Err(format!("no answer within {} s", SESSION_WAIT.as_secs())))
    });
    runtime.shutdown_background();
    done
}

/// As a node does: version 5 first, and 3.1.1 where the broker will not have it.
async fn in_some_version(ask: &Probe<'_>) -> Result<Session, String> {
    let mut choice = Choice::new(ask.mqtt.protocol);
    let first = in_version(ask, choice.dialect()).await;
    match first {
        Err((Why::Refused, _)) if ask.mqtt.protocol == Protocol::Auto && choice.refused() => {
            in_version(ask, choice.dialect()).await.map_err(|(_, text)| text)
        }
        other => other.map_err(|(_, text)| text),
    }
}

async fn in_version(ask: &Probe<'_>, dialect: Dialect) -> Result<Session, (Why, String)> {
    let client_id = format!("{}-doctor", ask.mqtt.client_id);
    let mqtt = Mqtt { client_id: client_id.clone(), ..ask.mqtt.clone() };
    let connect = Connect { mqtt: &mqtt, dialect, packet_bytes_max: PACKET_BYTES_MAX, will: None };
    let mut wire = Wire::begin(&connect).map_err(|text| (Why::Lost, text))?;
    let version = match dialect {
        Dialect::V5 => "5",
        Dialect::V3 => "3.1.1",
    };
    let mut found = Session { version, client_id, ..Session::default() };
    loop {
        match wire.next().await {
            Heard::Connected { .. } => break,
            Heard::Ended(ended) => return Err((ended.why, ended.text)),
            Heard::Message(_) | Heard::Subscribed { .. } | Heard::Answered { .. } => {}
        }
    }
    let topics = Topics::new(&mqtt.topic_root, ask.fleet, ask.node);
    // First, while no retained set can fill the window of what is not acknowledged. Whether this may be read says nothing of
    // the node, which does not read it.
    subscribe(&mut wire, &topics.up("live"), &mut found).await?;
    let until = tokio::time::Instant::now() + RETAINED_WAIT;
    while found.live.is_none() {
        match tokio::time::timeout_at(until, wire.next()).await {
            Ok(heard) => note(heard, &mut found)?,
            Err(_) => break,
        }
    }
    for filter in topics.filters(ask.groups) {
        let refusal = subscribe(&mut wire, &filter, &mut found).await?;
        found.filters.push((filter, refusal));
    }
    found.published = Some(publish(&mut wire, &topics.up("doctor"), &mut found).await?);
    wire.disconnect();
    // A broker that does not hang up has answered all the same.
    let over = async { while !matches!(wire.next().await, Heard::Ended(_)) {} };
    let _ = tokio::time::timeout(FAREWELL_WAIT, over).await;
    Ok(found)
}

/// The broker's refusal.
async fn subscribe(wire: &mut Wire, filter: &str, found: &mut Session) -> Result<Option<String>, (Why, String)> {
    if !wire.subscribe(&[filter.to_string()]) {
        return Err((Why::Lost, "the queue to the broker is full".into()));
    }
    loop {
        match wire.next().await {
            Heard::Subscribed { refusal } => return Ok(refusal),
            heard => note(heard, found)?,
        }
    }
}

async fn publish(wire: &mut Wire, topic: &str, found: &mut Session) -> Result<Result<(), String>, (Why, String)> {
    if !wire.publish(topic, false, Bytes::new()) {
        return Err((Why::Lost, "the queue to the broker is full".into()));
    }
    loop {
        match wire.next().await {
            Heard::Answered { refusal } => return Ok(refusal.map_or(Ok(()), Err)),
            heard => note(heard, found)?,
        }
    }
}

/// Retained sets come with the subscriptions; they are not acknowledged and not looked at.
fn note(heard: Heard, found: &mut Session) -> Result<(), (Why, String)> {
    match heard {
        Heard::Message(message) if message.topic.ends_with("/live") => {
            found.live = serde_json::from_slice(&message.payload).ok();
            Ok(())
        }
        Heard::Ended(ended) => Err((ended.why, ended.text)),
        Heard::Message(_) | Heard::Connected { .. } | Heard::Subscribed { .. } | Heard::Answered { .. } => Ok(()),
    }
}
