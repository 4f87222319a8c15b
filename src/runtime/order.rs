//! What the daemon and the spawner say to each other: a length of four bytes (little endian), then JSON. Starts nothing.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use crate::model::{AttemptId, BootId, Launch, Limits};

use super::paths::Dirs;
use super::sys::Pages;

/// Beyond what the kernel lets a program have as arguments and environment (a quarter of the stack's limit, 2 MiB as a
/// rule), with room for JSON's escapes.
pub const ORDER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// From the daemon. `L` is what the reader wants to know of the launch: the spawner and the shim have no use for the
/// arguments and the environment, and a shim that never held them is smaller.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Order<L> {
    /// First of all. Answered by `Reply::Ready` when no other spawner works in these directories any more.
    Hello {
        dirs: Dirs,
    },
    Start(Start<L>),
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Start<L> {
    pub dirs: Dirs,
    pub boot: BootId,
    /// None: the host lets us have no groups; processes are found by descent.
    pub groups: Option<Groups>,
    pub launch: L,
}

/// The control groups of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Groups {
    pub pod: PathBuf,
    pub container: PathBuf,
    /// Controllers to be had below `pod`.
    pub controllers: Vec<String>,
}

/// The part of a launch that outlives the start.
#[derive(Debug, Deserialize)]
pub struct Keep {
    pub attempt: AttemptId,
    pub pod_limits: Limits,
    pub limits: Limits,
    pub log_bytes_max: u64,
    pub log_files_max: u32,
    pub root: RootKind,
    pub volumes: Vec<IgnoredAny>,
    pub mounts: Vec<IgnoredAny>,
    pub stop_signal: i32,
}

/// `Root` without what is in it.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RootKind {
    Host,
    Directory(IgnoredAny),
    Layers(IgnoredAny),
}

/// From the spawner.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reply {
    Ready,
    /// The spawner cannot do its work in these directories.
    Unfit(String),
    /// The attempt could not even be claimed, so nothing of it is on record.
    Refused {
        attempt: AttemptId,
        reason: String,
    },
}

/// A message with its length before it.
///
/// # Errors
/// It is longer than the other side would take.
pub fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let len = bytes.len() - 4;
    if len > ORDER_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{len} bytes, at most {ORDER_BYTES_MAX}")));
    }
    bytes[..4].copy_from_slice(&(len as u32).to_le_bytes());
    Ok(bytes)
}

pub fn send<T: Serialize>(mut to: impl Write, message: &T) -> io::Result<()> {
    to.write_all(&encode(message)?)
}

/// The next message, undecoded. None: the other side has ended.
pub fn receive(mut from: impl Read) -> io::Result<Option<Pages>> {
    let mut len = [0; 4];
    match from.read_exact(&mut len) {
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    }
    let len = u32::from_le_bytes(len) as usize;
    if len == 0 || len > ORDER_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {len} bytes")));
    }
    let mut bytes = Pages::new(len)?;
    from.read_exact(&mut bytes)?;
    Ok(Some(bytes))
}

pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    Ok(serde_json::from_slice(bytes)?)
}

/// The launch inside a start order; for the process that is to become the container's.
pub fn launch(bytes: &[u8]) -> io::Result<Launch> {
    match decode(bytes)? {
        Order::Start(start) => Ok(start.launch),
        Order::Hello { .. } => Err(io::Error::new(io::ErrorKind::InvalidData, "not an order to start")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_as_they_were_sent_and_then_the_end() {
        let attempt = AttemptId { pod: crate::model::Uid::new("u"), container: "c".into(), number: 1 };
        let sent = [Reply::Ready, Reply::Refused { attempt, reason: "é".into() }];
        let mut wire = Vec::new();
        for reply in &sent {
            send(&mut wire, reply).unwrap();
        }
        let mut wire = &wire[..];
        for reply in &sent {
            assert_eq!(decode::<Reply>(&receive(&mut wire).unwrap().unwrap()).unwrap(), *reply);
        }
        assert!(receive(&mut wire).unwrap().is_none());
    }

    #[test]
    fn no_length_and_no_bytes_do_harm() {
        for bad in [&[0, 0, 0, 0][..], &[0xff; 8], &[0, 0, 0, 2], &[9, 0, 0, 0, 1, 2]] {
            assert!(receive(bad).is_err(), "{bad:?}");
        }
        for bad in [&b""[..], b"{", b"{\"start\":{}}", b"{\"hello\":1}", &[0xff, 0]] {
            assert!(decode::<Order<Keep>>(bad).is_err(), "{bad:?}");
            assert!(launch(bad).is_err(), "{bad:?}");
        }
        assert!(encode(&"x".repeat(ORDER_BYTES_MAX)).is_err());
    }
}
