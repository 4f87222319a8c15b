//! Everything outside the program that is looked at, behind one trait, and the real machine as one of it.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{AccessFlags, access, geteuid};

use crate::clock::Clock;
use crate::link::{self, Probe, Probed};
use crate::model::{Now, Timestamp};
use crate::runtime::probe::{self, Feature, Support};
use crate::store;

/// A machine, as far as the examination looks at it.
pub trait Host {
    /// A file as text.
    fn read(&self, path: &Path) -> io::Result<String>;
    fn stat(&self, path: &Path) -> io::Result<Stat>;
    fn space(&self, path: &Path) -> io::Result<Space>;
    /// Whether this user may write there.
    fn may_write(&self, path: &Path) -> bool;
    fn user(&self) -> u32;
    /// The clocks; the wall clock is held against the floor by the caller.
    fn now(&self) -> Option<Now>;
    /// Something keeps the clock right; none: the kernel does not say.
    fn clock_is_synchronised(&self) -> Option<bool>;
    fn kernel(&self, feature: Feature) -> Support;
    /// Writes 4 KiB to a new file in this directory and makes them durable, so many times; removes the file.
    fn flush(&self, directory: &Path, times: usize) -> io::Result<Vec<Duration>>;
    /// `GET PATH` of the node at this socket.
    fn ask(&self, socket: &Path, path: &str) -> io::Result<Answer>;
    /// The records of the store as JSON lines, while no daemon has it.
    fn stored(&self, data_dir: &Path) -> Result<String, String>;
    fn broker(&self, ask: &Probe) -> Probed;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    pub user: u32,
    /// Permission bits alone.
    pub mode: u32,
    pub is_dir: bool,
    pub is_socket: bool,
    pub modified: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    pub bytes: u64,
    /// Free for this user: what the file system keeps back for root is not counted.
    pub bytes_free: u64,
    /// Nought: this file system has no fixed number of them.
    pub inodes: u64,
    pub inodes_free: u64,
    pub read_only: bool,
}

/// What a daemon said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP's.
    pub code: u16,
    pub body: String,
    /// The daemon's process.
    pub pid: i32,
}

/// A daemon that does not answer by then is not well.
const ASK_WAIT: Duration = Duration::from_secs(10);
/// No file that is read here is larger.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Of an answer: the whole of a large store.
const ANSWER_BYTES_MAX: u64 = 256 << 20;
const BLOCK: usize = 4096;

/// The machine that this runs on.
#[derive(Debug, Default)]
pub struct System;

impl Host for System {
    fn read(&self, path: &Path) -> io::Result<String> {
        let mut text = Vec::new();
        fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let meta = fs::metadata(path)?;
        Ok(Stat {
            user: meta.uid(),
            mode: meta.mode() & 0o7777,
            is_dir: meta.is_dir(),
            is_socket: meta.file_type().is_socket(),
            modified: Timestamp::from_secs(meta.mtime()),
        })
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let found = statvfs(path)?;
        // Their width differs between targets.
        #[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
        let (unit, blocks, free) =
            (found.fragment_size() as u64, found.blocks() as u64, found.blocks_available() as u64);
        #[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
        let (inodes, inodes_free) = (found.files() as u64, found.files_available() as u64);
        Ok(Space {
            bytes: blocks.saturating_mul(unit),
            bytes_free: free.saturating_mul(unit),
            inodes,
            inodes_free,
            read_only: found.flags().contains(FsFlags::ST_RDONLY),
        })
    }

    fn may_write(&self, path: &Path) -> bool {
        access(path, AccessFlags::W_OK).is_ok()
    }

    fn user(&self) -> u32 {
        geteuid().as_raw()
    }

    fn now(&self) -> Option<Now> {
        Clock::open().ok().map(|clock| clock.now(None))
    }

    fn clock_is_synchronised(&self) -> Option<bool> {
        probe::clock_is_synchronised()
    }

    fn kernel(&self, feature: Feature) -> Support {
        probe::support(feature)
    }

    fn flush(&self, directory: &Path, times: usize) -> io::Result<Vec<Duration>> {
        let scratch = Scratch(directory.join(format!(".pinnace-doctor-{}", std::process::id())));
        let mut file = OpenOptions::new().write(true).create_new(true).open(&scratch.0)?;
        // No block of zeros, which a file system may leave out.
        let block = [0xa5; BLOCK];
        let mut once = || {
            let begun = Instant::now();
            file.write_all(&block)?;
            file.sync_data()?;
            Ok(begun.elapsed())
        };
        (0..times).map(|_| once()).collect()
    }

    fn ask(&self, socket: &Path, path: &str) -> io::Result<Answer> {
        let mut stream = UnixStream::connect(socket)?;
        let pid = getsockopt(&stream, PeerCredentials).map_or(0, |peer| peer.pid());
        stream.set_read_timeout(Some(ASK_WAIT))?;
        stream.set_write_timeout(Some(ASK_WAIT))?;
        // Version 1.0: the body comes in one piece and ends with the connection.
        stream.write_all(format!("GET {path} HTTP/1.0\r\nAccept: */*\r\n\r\n").as_bytes())?;
        let mut bytes = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let code = code.ok_or_else(|| io::Error::other("what it says is no HTTP"))?;
        Ok(Answer { code, body: body.to_string(), pid })
    }

    fn stored(&self, data_dir: &Path) -> Result<String, String> {
        let mut lines = Vec::new();
        store::dump(data_dir, &mut lines).map_err(|e| e.to_string())?;
        Ok(String::from_utf8_lossy(&lines).into_owned())
    }

    fn broker(&self, ask: &Probe) -> Probed {
        link::probe(ask)
    }
}

/// A file that goes when it is dropped.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
