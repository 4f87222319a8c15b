//! A registry on loopback that answers as a test tells it, and remembers what it was asked. And images made of bytes.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use pinnace::model::id::sha256_hex;
use serde_json::{Value, json};

#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    /// With the query.
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Asked {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub send: Send,
}

/// How much of the body goes out.
#[derive(Clone, Copy, PartialEq)]
pub enum Send {
    All,
    /// So many bytes of it, then the connection is closed.
    Cut(usize),
    /// So many bytes of it, then nothing until the client goes.
    Hang(usize),
    /// Again and again, without a length, until the client goes.
    Endless,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Reply {
        Reply { status, headers: Vec::new(), body: body.into(), send: Send::All }
    }

    pub fn with(mut self, name: &str, value: impl ToString) -> Reply {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.into(), value.to_string()));
        self
    }

    pub fn sent(self, send: Send) -> Reply {
        Reply { send, ..self }
    }
}

pub struct Fake {
    /// `IP:PORT`
    pub address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    is_over: Arc<AtomicBool>,
}

/// Gives a reply; the number says how often the same was asked before.
type Answer = dyn Fn(&Asked, usize) -> Reply + std::marker::Send + Sync;

impl Fake {
    pub fn start(answer: impl Fn(&Asked, usize) -> Reply + std::marker::Send + Sync + 'static) -> Fake {
        Fake::start_at("127.0.0.1", answer)
    }

    pub fn start_at(ip: &str, answer: impl Fn(&Asked, usize) -> Reply + std::marker::Send + Sync + 'static) -> Fake {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (asked, is_over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (log, over, answer): (_, _, Arc<Answer>) = (asked.clone(), is_over.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let (stream, log, answer) = (stream.unwrap(), log.clone(), answer.clone());
                // A client that goes away is no failure of the test.
                std::thread::spawn(move || drop(serve(&stream, &log, &*answer)));
            }
        });
        Fake { address, asked, is_over }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// `METHOD PATH` of each.
    pub fn lines(&self) -> Vec<String> {
        self.asked().iter().map(|asked| format!("{} {}", asked.method, asked.path)).collect()
    }

    /// Those for blobs whose path has `text`.
    pub fn asked_for(&self, text: &str) -> Vec<Asked> {
        self.asked().into_iter().filter(|asked| asked.path.contains(text)).collect()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(&self.address));
    }
}

/// A server that says the same bytes to everybody who speaks plain HTTP to it, whatever is asked; gives its address. It ends
/// with the test's process.
pub fn speak(bytes: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            let mut from = BufReader::new(&stream);
            if let Ok(Some(_)) = read_request(&mut from) {
                drop((&stream).write_all(&bytes));
            }
        }
    });
    address
}

fn serve(stream: &TcpStream, log: &Mutex<Vec<Asked>>, answer: &Answer) -> std::io::Result<()> {
    let mut from = BufReader::new(stream);
    while let Some(asked) = read_request(&mut from)? {
        let before = {
            let mut log = log.lock().unwrap();
            let before = log.iter().filter(|a| (&a.method, &a.path) == (&asked.method, &asked.path)).count();
            log.push(asked.clone());
            before
        };
        let reply = answer(&asked, before);
        if !write_reply(stream, &asked, &reply)? {
            break;
        }
    }
    Ok(())
}

fn read_request(from: &mut impl BufRead) -> std::io::Result<Option<Asked>> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let mut words = line.split(' ');
    let (Some(method), Some(path), Some(_)) = (words.next(), words.next(), words.next()) else { return Ok(None) };
    let (method, path) = (method.to_string(), path.to_string());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_string());
    }
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok(Some(Asked { method, path, headers, body: String::from_utf8(body).unwrap() }))
}

/// Whether the connection goes on.
fn write_reply(mut to: &TcpStream, asked: &Asked, reply: &Reply) -> std::io::Result<bool> {
    let mut head = format!("HTTP/1.1 {} Status\r\n", reply.status);
    let has = |name: &str| reply.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    if reply.send != Send::Endless && !has("content-length") {
        head += &format!("content-length: {}\r\n", reply.body.len());
    }
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    to.write_all(format!("{head}\r\n").as_bytes())?;
    if asked.method == "HEAD" {
        return Ok(true);
    }
    match reply.send {
        Send::All => to.write_all(&reply.body).map(|()| true),
        Send::Cut(bytes) => to.write_all(&reply.body[..bytes]).map(|()| false),
        Send::Hang(bytes) => {
            to.write_all(&reply.body[..bytes])?;
            to.read_to_end(&mut Vec::new()).map(|_| false)
        }
        Send::Endless => loop {
            to.write_all(&reply.body)?;
        },
    }
}

/// An image as a registry has it: its documents by digest, its layers as plain tar archives.
#[derive(Clone)]
pub struct Picture {
    pub manifest: Vec<u8>,
    /// Configuration and layers, by digest.
    pub blobs: BTreeMap<String, Vec<u8>>,
    /// `sha256:…` of the layers, lowest first.
    pub layers: Vec<String>,
}

pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", sha256_hex(bytes))
}

pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// This machine in Go's words, which skopeo and registries use.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl Picture {
    /// One layer for each file: its name, and so many bytes.
    pub fn new(files: &[(&str, usize)]) -> Picture {
        Picture::of(files, architecture())
    }

    pub fn of(files: &[(&str, usize)], architecture: &str) -> Picture {
        let layers: Vec<Vec<u8>> = files.iter().map(|(name, size)| tar(name, &content(name, *size))).collect();
        let ids: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
        let config = json!({
            "os": "linux", "architecture": architecture,
            "config": {"Cmd": ["/x"]}, "rootfs": {"type": "layers", "diff_ids": ids},
        });
        let config = config.to_string().into_bytes();
        let part = |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len()});
        let parts: Vec<Value> =
            layers.iter().map(|layer| part("application/vnd.oci.image.layer.v1.tar", layer)).collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST_TYPE,
            "config": part("application/vnd.oci.image.config.v1+json", &config), "layers": parts,
        });
        let blobs = layers.into_iter().chain([config]).map(|bytes| (digest(&bytes), bytes)).collect();
        Picture { manifest: manifest.to_string().into_bytes(), blobs, layers: ids }
    }

    pub fn digest(&self) -> String {
        digest(&self.manifest)
    }

    /// As a good registry answers for any repository and any tag.
    pub fn answer(&self, asked: &Asked) -> Reply {
        let name = asked.path.rsplit('/').next().unwrap();
        if asked.path.contains("/manifests/") && !name.starts_with("sha256:") || name == self.digest() {
            return document(&self.manifest, MANIFEST_TYPE);
        }
        let Some(blob) = self.blobs.get(name) else { return Reply::new(404, "{}") };
        let from =
            asked.header("range").strip_prefix("bytes=").and_then(|range| range.trim_end_matches('-').parse().ok());
        match from {
            Some(from) => part(blob, from),
            None => Reply::new(200, blob.clone()),
        }
    }
}

pub fn document(bytes: &[u8], media_type: &str) -> Reply {
    Reply::new(200, bytes).with("content-type", media_type).with("docker-content-digest", digest(bytes))
}

pub fn part(blob: &[u8], from: usize) -> Reply {
    let range = format!("bytes {from}-{}/{}", blob.len() - 1, blob.len());
    Reply::new(206, &blob[from..]).with("content-range", range)
}

/// Bytes that do not repeat soon, the same for the same name.
pub fn content(name: &str, size: usize) -> Vec<u8> {
    let mut state = name.bytes().fold(1u64, |state, byte| state.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..size).map(|_| next()).collect()
}

/// A POSIX archive of one file.
pub fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut head = [0u8; 512];
    let mut put = |at: usize, text: &str| head[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{:011o}", content.len()));
    put(136, "00000000000");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = [&head[..], content].concat();
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}
