//! Downloads that are not complete, as files named by the digest that they will have. They outlive a broken connection and a
//! restart, and are not believed before the digest is right, so nothing here is synced.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ring::digest::{Context, SHA256};

use crate::model::sorted;

/// What nobody went on with for so long goes.
const AGE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// Beyond it the oldest go.
const FILES_MAX: usize = 64;
const PIECE_BYTES: usize = 64 * 1024;

/// The beginning of a blob, on disk, with the hash of what is there.
pub struct Partial {
    file: File,
    path: PathBuf,
    hash: Context,
    len: u64,
}

impl Partial {
    /// Opens or makes the file, and reads what an earlier try left of at most `size` bytes; more is no beginning.
    ///
    /// # Errors
    /// The directory or file cannot be made or read; `Interrupted`-free cancel is the caller's: `is_cancelled` ends the
    /// reading with an error of kind `TimedOut`.
    pub fn open(dir: &Path, hex: &str, size: u64, is_cancelled: &dyn Fn() -> bool) -> io::Result<Partial> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let path = dir.join(hex);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)?;
        let mut partial = Partial { file, path, hash: Context::new(&SHA256), len: 0 };
        if partial.file.metadata()?.len() > size {
            partial.restart()?;
        }
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let count = partial.file.read(&mut piece)?;
            if count == 0 {
                return Ok(partial);
            }
            if is_cancelled() {
                return Err(io::Error::from(io::ErrorKind::TimedOut));
            }
            partial.hash.update(&piece[..count]);
            partial.len += count as u64;
        }
    }

    /// Bytes that are here.
    #[allow(clippy::len_without_is_empty)] // It is no collection.
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hash.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Forgets what is there.
    pub fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        (self.hash, self.len) = (Context::new(&SHA256), 0);
        Ok(())
    }

    pub fn is(&self, hex: &str) -> bool {
        self.sha256() == hex
    }

    /// Of what is there, in lower-case hexadecimal.
    pub fn sha256(&self) -> String {
        let digest = self.hash.clone().finish();
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// To be read from its beginning.
    pub fn rewind(&mut self) -> io::Result<&mut File> {
        self.file.seek(SeekFrom::Start(0))?;
        Ok(&mut self.file)
    }

    pub fn remove(self) {
        // A file that stays is found again, or swept when it is old.
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes what is old or too many; `is_busy` says which files are being written.
pub fn sweep(dir: &Path, now: SystemTime, is_busy: &dyn Fn(&str) -> bool) {
    let mut files = files(dir, is_busy);
    sorted::by_key(&mut files, |(_, changed)| std::cmp::Reverse(*changed));
    for (number, (path, changed)) in files.iter().enumerate() {
        // A time to come was written by a clock that was wrong; the file counts as new.
        let age = now.duration_since(*changed).unwrap_or_default();
        if age > AGE_MAX || number >= FILES_MAX {
            let _ = fs::remove_file(path);
        }
    }
}

/// Removes all that nobody writes, for room.
pub fn clear(dir: &Path, is_busy: &dyn Fn(&str) -> bool) {
    for (path, _) in files(dir, is_busy) {
        let _ = fs::remove_file(path);
    }
}

/// Bytes of the blob that are here already.
pub fn present(dir: &Path, hex: &str) -> u64 {
    fs::symlink_metadata(dir.join(hex)).map_or(0, |meta| meta.len())
}

fn files(dir: &Path, is_busy: &dyn Fn(&str) -> bool) -> Vec<(PathBuf, SystemTime)> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let known = entries.flatten().filter(|entry| entry.file_name().to_str().is_none_or(|name| !is_busy(name)));
    known.filter_map(|entry| Some((entry.path(), entry.metadata().ok()?.modified().ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn open(dir: &Path, size: u64) -> Partial {
        Partial::open(dir, ABC, size, &|| false).unwrap()
    }

    #[test]
    fn a_beginning_is_found_again_and_hashed() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("a/b");
        open(&dir, 3).append(b"ab").unwrap();
        assert_eq!(present(&dir, ABC), 2);
        let mut partial = open(&dir, 3);
        assert_eq!((partial.len(), partial.is(ABC)), (2, false));
        partial.append(b"c").unwrap();
        assert!(partial.is(ABC));
        let mut text = String::new();
        partial.rewind().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "abc");
        partial.remove();
        assert_eq!(present(&dir, ABC), 0);
    }

    #[test]
    fn more_than_the_blob_has_is_no_beginning() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), 3).append(b"abcd").unwrap();
        assert_eq!(open(dir.path(), 3).len(), 0);
    }

    #[test]
    fn starting_over_forgets_the_hash_too() {
        let dir = tempfile::tempdir().unwrap();
        let mut partial = open(dir.path(), 3);
        partial.append(b"x").unwrap();
        partial.restart().unwrap();
        partial.append(b"abc").unwrap();
        assert!(partial.is(ABC) && present(dir.path(), ABC) == 3);
    }

    #[test]
    fn a_link_is_not_followed_and_reading_can_be_ended() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("target");
        fs::write(&target, "secret").unwrap();
        std::os::unix::fs::symlink(&target, dir.path().join(ABC)).unwrap();
        assert!(Partial::open(dir.path(), ABC, 3, &|| false).is_err());
        assert_eq!(fs::read(&target).unwrap(), b"secret");
        assert!(Partial::open(dir.path(), "target", 10, &|| true).is_err());
    }

    #[test]
    fn old_ones_and_too_many_go_but_none_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let make = |name: &str, age: Duration| {
            File::create(dir.path().join(name)).unwrap().set_modified(now - age).unwrap();
        };
        let left = || {
            let mut names: Vec<String> =
                fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        make("busy", AGE_MAX * 2);
        make("old", AGE_MAX + Duration::from_secs(1));
        make("young", AGE_MAX - Duration::from_secs(60));
        sweep(dir.path(), now, &|name| name == "busy");
        assert_eq!(left(), ["busy", "young"]);
        (0..FILES_MAX).for_each(|number| make(&format!("n{number}"), Duration::from_secs(number as u64)));
        sweep(dir.path(), now, &|name| name == "busy");
        assert_eq!((left().len(), left().contains(&"young".into())), (FILES_MAX + 1, false));
        clear(dir.path(), &|name| name == "busy");
        assert_eq!(left(), ["busy"]);
        sweep(&dir.path().join("nowhere"), now, &|_| false);
    }
}
