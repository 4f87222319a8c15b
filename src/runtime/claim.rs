//! The claim of an attempt: the file that makes it start at most once, and the life line by which the daemon is told of
//! its shim. Knows nothing of what the shim does.
//!
//! The spawner makes the file, which can be done once, and the shim inherits its descriptor and no other process has it
//! for writing. So the kernel itself says when the shim is gone, however it went: the lock on the file is free and
//! inotify tells `IN_CLOSE_WRITE`. What the shim has to say before that are lines in the file.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::model::Exit;
use crate::model::attempt::Stamp;

use super::sys;

/// Far more than the few lines that a shim writes.
const CLAIM_BYTES_MAX: u64 = 256 * 1024;
/// Room for what a claim has as a rule, so that one read takes it.
const USUAL_BYTES: usize = 512;

/// The shim's end of the life line.
pub struct Claim(File);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Line {
    /// The shim's process.
    Shim(i32),
    /// The container's first process runs its program.
    Started { pid: u32, at: Stamp },
    /// The end, when it could not be recorded on the disk.
    Exit(Exit),
}

/// All that a claim says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Told {
    pub shim: Option<i32>,
    pub started: Option<(u32, Stamp)>,
    pub exit: Option<Exit>,
}

impl Claim {
    /// None: the attempt was claimed before, and must not start again.
    pub fn take(path: &Path) -> io::Result<Option<Claim>> {
        let file = match OpenOptions::new().append(true).create_new(true).open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            Err(e) => return Err(e),
        };
        // Readers hold the lock for no longer than it takes to see that it is free.
        file.lock()?;
        Ok(Some(Claim(file)))
    }

    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    pub fn say(&self, line: &Line) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        (&self.0).write_all(&bytes)
    }
}

/// What the claim says up to now; nothing when there is none.
pub fn read(path: &Path) -> io::Result<Told> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    match File::open(path) {
        Ok(file) => file.take(CLAIM_BYTES_MAX).read_to_end(&mut bytes)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
        Err(e) => return Err(e),
    };
    Ok(parse(&bytes))
}

/// A line that is not finished is not said yet.
fn parse(bytes: &[u8]) -> Told {
    let mut told = Told::default();
    for line in bytes.split_inclusive(|b| *b == b'\n').filter_map(|line| line.strip_suffix(b"\n")) {
        match serde_json::from_slice(line) {
            Ok(Line::Shim(pid)) => told.shim = Some(pid),
            Ok(Line::Started { pid, at }) => told.started = Some((pid, at)),
            Ok(Line::Exit(exit)) => told.exit = Some(exit),
            Err(_) => {}
        }
    }
    told
}

/// Whether the shim lives; false when there is no claim.
pub fn is_held(path: &Path) -> io::Result<bool> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(e)) => Err(e),
    }
}

/// Blocks until the shim is gone.
pub fn wait_released(path: &Path) -> io::Result<()> {
    match File::open(path) {
        Ok(file) => file.lock_shared(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

/// Sends the shim a signal. False: it is gone, or has not said yet who it is.
pub fn signal(path: &Path, signal: i32) -> io::Result<bool> {
    let Some(pid) = read(path)?.shim else { return Ok(false) };
    let process = match sys::pidfd_open(pid) {
        Ok(process) => process,
        Err(e) if e.raw_os_error() == Some(libc::ESRCH) => return Ok(false),
        Err(e) => return Err(e),
    };
    // Looked at after the handle was made: if the shim lives now, then the handle is the shim's.
    if !is_held(path)? {
        return Ok(false);
    }
    match sys::pidfd_send_signal(&process, signal) {
        Err(e) if e.raw_os_error() == Some(libc::ESRCH) => Ok(false),
        sent => sent.map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BootId, Timestamp};

    #[test]
    fn an_attempt_can_be_claimed_once() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("claim");
        assert!(!is_held(&path).unwrap());
        let claim = Claim::take(&path).unwrap().unwrap();
        assert!(Claim::take(&path).unwrap().is_none());
        assert!(is_held(&path).unwrap());
        drop(claim);
        assert!(!is_held(&path).unwrap());
        assert!(Claim::take(&path).unwrap().is_none(), "claimed for ever");
        wait_released(&path).unwrap();
    }

    #[test]
    fn a_claim_says_what_was_written_in_whole_lines() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("claim");
        assert_eq!(read(&path).unwrap(), Told::default());
        let claim = Claim::take(&path).unwrap().unwrap();
        let at = Stamp { wall: Timestamp::from_secs(1), boot: BootId::new("b"), up_ms: 2 };
        claim.say(&Line::Shim(11)).unwrap();
        claim.say(&Line::Started { pid: 12, at: at.clone() }).unwrap();
        (&claim.0).write_all(b"{\"shim\":99}").unwrap();
        assert_eq!(read(&path).unwrap(), Told { shim: Some(11), started: Some((12, at)), exit: None });
        (&claim.0).write_all(b"x\n\0\xff\n").unwrap();
        assert_eq!(read(&path).unwrap().shim, Some(11), "what cannot be read is skipped");
    }

    #[test]
    fn no_signal_goes_to_a_process_that_merely_has_the_number() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("claim");
        let claim = Claim::take(&path).unwrap().unwrap();
        claim.say(&Line::Shim(std::process::id() as i32)).unwrap();
        drop(claim);
        // Would end this test if it were sent.
        assert!(!signal(&path, libc::SIGKILL).unwrap());
    }
}
