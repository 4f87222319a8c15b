//! A file that keeps room for the store on a disk that others fill. Knows nothing of what is in the store.
//!
//! While there is room it lies beside the database. When a commit finds the disk full it is given up, and that commit and
//! those after it have its room: exits, deletions and what makes room can be committed.
//! Nothing is written to it meanwhile, so it costs the medium its size once.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;

/// Room for some dozens of commits at least: redb writes into pages that it has whenever it can.
pub const RESERVE_BYTES: u64 = 512 * 1024;
/// It is taken only where this much is left for others, else a start would take what the last one has just given up.
const FREE_BYTES_MIN: u64 = 2 * RESERVE_BYTES;

#[derive(Debug)]
pub(super) struct Reserve {
    file: PathBuf,
}

impl Reserve {
    pub(super) fn of(dir: &Path) -> Reserve {
        Reserve { file: dir.join("pinnace.reserve") }
    }

    /// Makes it where it is missing.
    ///
    /// # Errors
    /// There is no room for it, no inode, or the disk refuses.
    pub(super) fn keep(&self) -> io::Result<()> {
        if fs::metadata(&self.file).is_ok_and(|meta| meta.len() == RESERVE_BYTES) {
            return Ok(());
        }
        if self.free()? <= FREE_BYTES_MIN + RESERVE_BYTES {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let made = self.make();
        if made.is_err() {
            // Half a reserve on a full disk is in the way; that it may fail too changes nothing.
            let _ = fs::remove_file(&self.file);
        }
        made
    }

    /// Bytes that are free for us on its disk.
    ///
    /// # Errors
    /// The host cannot tell.
    pub(super) fn free(&self) -> io::Result<u64> {
        let disk = statvfs(self.file.parent().unwrap_or(Path::new("/")))?;
        Ok(disk.blocks_available() as u64 * disk.fragment_size() as u64)
    }

    /// Written, not only made long: a file system gives room for what was written.
    fn make(&self) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&self.file)?;
        let block = [0xA5; 4096];
        for _ in 0..RESERVE_BYTES / block.len() as u64 {
            file.write_all(&block)?;
        }
        file.sync_all()?;
        File::open(self.file.parent().unwrap_or(Path::new("/")))?.sync_all()
    }

    /// Where a file lies that is in the same directory.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.file.with_file_name(name)
    }

    /// Gives the room back. False: there was none to give.
    pub(super) fn give_up(&self) -> bool {
        fs::remove_file(&self.file).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_given_up_once_and_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Reserve::of(dir.path());
        reserve.keep().unwrap();
        let made = fs::metadata(&reserve.file).unwrap();
        assert_eq!(made.len(), RESERVE_BYTES);
        reserve.keep().unwrap();
        assert_eq!(
            fs::metadata(&reserve.file).unwrap().modified().unwrap(),
            made.modified().unwrap(),
            "one write is enough"
        );
        assert!(reserve.give_up());
        assert!(!reserve.give_up());
        reserve.keep().unwrap();
        fs::write(&reserve.file, "half").unwrap();
        reserve.keep().unwrap();
        assert_eq!(fs::metadata(&reserve.file).unwrap().len(), RESERVE_BYTES, "half a reserve is none");
    }

    #[test]
    fn a_place_that_cannot_hold_it_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Reserve::of(&dir.path().join("nowhere")).keep().is_err());
    }
}
