//! Readers that watch what goes through them: a hash, a bound, a listener. Know nothing of images.

use std::io::{self, Read};

use ring::digest::{Context, SHA256};

use super::{ImageError, Progress};

/// The listener hears of it after this many bytes.
const REPORT_EACH: u64 = 256 << 10;

/// Tells a listener how far the source is, and ends when it says so.
pub(super) struct Watched<'a, R> {
    pub(super) from: R,
    pub(super) what: &'a str,
    pub(super) total: Option<u64>,
    pub(super) progress: &'a dyn Progress,
    done: u64,
    told: u64,
}

impl<'a, R> Watched<'a, R> {
    pub(super) fn new(from: R, what: &'a str, total: Option<u64>, progress: &'a dyn Progress) -> Watched<'a, R> {
        Watched { from, what, total, progress, done: 0, told: 0 }
    }
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.done += count as u64;
        if count == 0 || self.done - self.told >= REPORT_EACH {
            if self.progress.is_cancelled() {
                return Err(ImageError::Cancelled.into());
            }
            self.told = self.done;
            self.progress.at(self.what, self.done, self.total);
        }
        Ok(count)
    }
}

/// Hashes what goes through.
pub(super) struct Hashed<R> {
    from: R,
    hash: Context,
}

impl<R> Hashed<R> {
    pub(super) fn new(from: R) -> Hashed<R> {
        Hashed { from, hash: Context::new(&SHA256) }
    }

    /// SHA-256 of all that was read, in hexadecimal digits.
    pub(super) fn finish(self) -> String {
        hex(self.hash.finish().as_ref())
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}

/// An error of `error`'s making once more than `left` bytes came.
pub(super) struct Bounded<R, E> {
    pub(super) from: R,
    pub(super) left: u64,
    pub(super) error: E,
}

impl<R: Read, E: Fn() -> ImageError> Read for Bounded<R, E> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => self.left = left,
            None => return Err((self.error)().into()),
        }
        Ok(count)
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The 64 hexadecimal digits of `sha256:…` or of the digits alone.
pub(super) fn digits(digest: &str) -> Option<&str> {
    let digits = digest.strip_prefix("sha256:").unwrap_or(digest);
    (digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))).then_some(digits)
}

/// As [`digits`], and an error that names `what` when it is none.
pub(super) fn sha256_digits<'a>(digest: &'a str, what: &str) -> Result<&'a str, ImageError> {
    digits(digest).ok_or_else(|| {
        let shown: String = digest.chars().take(100).collect();
        ImageError::Unsupported(format!(
            "{what} has the digest {shown:?}: only sha256: and 64 hexadecimal digits is read"
        ))
    })
}
