//! Brings a program to this device and finds out whether it may be tried: whole, the one that was meant, signed where
//! that is asked for, for this machine, and pinnace. Decides nothing about when it runs.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use nix::sys::statvfs::statvfs;

use crate::model::image::size_text;
use crate::model::update::{Program, SignatureFrom, UpdateKey, UpdateWish, Which};
use crate::model::{Failure, Reason};
use crate::transport::partial::Partial;

use super::download::{self, Effort, cancelled};
use super::home::{Home, probe, sha256_of};
use super::{elf, signature};

/// A larger file is no program; the release has below 10 MB.
pub const ARTEFACT_BYTES_MAX: u64 = 256 << 20;
/// Of a release's archive, unpacked, with all that is before the program in it.
const ARCHIVE_BYTES_MAX: u64 = 512 << 20;
/// Stays free beside what is brought: the store must go on.
const ROOM_LEFT: u64 = 16 << 20;
const UPLOAD: &str = "upload";
const STAGED: &str = "staged";
const PROGRAM: &str = "pinnace";
const PIECE_BYTES: usize = 256 << 10;

/// Hears how far it is.
pub trait Listener: Sync {
    fn at(&self, what: &str, done: u64, total: Option<u64>);
    /// Nobody wants it any more.
    fn is_cancelled(&self) -> bool;
}

/// Where the bytes come from.
pub enum Source<'a> {
    Stream(&'a mut dyn Read, Option<u64>),
    Url(&'a str),
}

/// A program that may be tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brought {
    pub program: Program,
    /// Of the file as it was given, which may be an archive.
    pub sha256: String,
    /// The comment of the key, where a signature was given.
    pub signed_by: Option<String>,
}

/// # Errors
/// The rule that forbids it, with what to do: a file from elsewhere needs a proof of what it is.
fn admit(wish: &UpdateWish, keys: &[UpdateKey]) -> Result<(), Failure> {
    let no = |text: &str| Err(Failure::new(Reason::Forbidden, text));
    match (&wish.signature, keys.is_empty()) {
        (None, false) => no("the settings have update_keys, so a signature is needed: give --signature"),
        (Some(_), true) => no("the signature cannot be checked: the settings have no update_keys"),
        (None, true) if wish.url.is_some() && wish.sha256.is_none() => no(
            "what a server gives is not believed without a proof: give --sha256, or --signature and update_keys in the settings",
        ),
        (None, true) | (Some(_), false) => Ok(()),
    }
}

/// Brings, checks and keeps a program; what is not good leaves nothing behind but a download that broke off.
///
/// # Errors
/// Why it may not be tried, and what to do.
pub fn bring(
    home: &Home,
    wish: &UpdateWish,
    source: Source,
    keys: &[UpdateKey],
    effort: Effort,
    listener: &dyn Listener,
) -> Result<Brought, Failure> {
    admit(wish, keys)?;
    home.make().map_err(|e| disk("make", home.dir(), &e))?;
    let signature = match &wish.signature {
        None => None,
        Some(SignatureFrom::Text(text)) => Some(text.clone()),
        Some(SignatureFrom::Url(url)) => Some(download::text(url, signature::TEXT_BYTES_MAX, effort, listener)?),
    };
    let file = match source {
        Source::Url(url) => download::fetch(url, home.dir(), effort, listener)?,
        Source::Stream(from, size) => receive(from, size, home.dir(), listener).inspect_err(|_| clear(home))?,
    };
    let (sha256, path) = (file.sha256(), file.path().to_path_buf());
    // A program that is open for writing cannot be executed.
    drop(file);
    let done = check(home, wish, &path, &sha256, signature.as_deref(), keys, listener);
    download::forget(home.dir());
    clear(home);
    done
}

/// What is left of the steps in between.
fn clear(home: &Home) {
    for left in [UPLOAD, STAGED] {
        // It is seldom there, and what stays is swept.
        let _ = fs::remove_file(home.dir().join(left));
    }
}

fn receive(from: &mut dyn Read, size: Option<u64>, dir: &Path, listener: &dyn Listener) -> Result<Partial, Failure> {
    room(dir, size.unwrap_or_default())?;
    let mut file = Partial::open(dir, UPLOAD, ARTEFACT_BYTES_MAX, &|| false)
        .and_then(|mut file| file.restart().map(|()| file))
        .map_err(|e| disk("write to", dir, &e))?;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let count = from.read(&mut piece).map_err(|e| bad(format!("the file did not come whole: {e}")))?;
        if listener.is_cancelled() {
            return Err(cancelled());
        }
        if count == 0 {
            return match size {
                Some(size) if size != file.len() => Err(bad(format!("{} of {size} bytes came", file.len()))),
                Some(_) | None => Ok(file),
            };
        }
        if file.len() + count as u64 > ARTEFACT_BYTES_MAX {
            return Err(bad(format!("it is larger than {}, which no program is", size_text(ARTEFACT_BYTES_MAX))));
        }
        file.append(&piece[..count]).map_err(|e| disk("write to", dir, &e))?;
        listener.at("copying", file.len(), size);
    }
}

fn check(
    home: &Home,
    wish: &UpdateWish,
    file: &Path,
    sha256: &str,
    signature: Option<&str>,
    keys: &[UpdateKey],
    listener: &dyn Listener,
) -> Result<Brought, Failure> {
    listener.at("checking", 0, None);
    if let Some(wanted) = wish.sha256.as_deref().filter(|wanted| *wanted != sha256) {
        return Err(bad(format!("the file has another SHA-256 than the one given: {sha256}, not {wanted}")));
    }
    let signed_by = signature.map(|text| signature::verify(text, file, keys)).transpose();
    let signed_by = signed_by.map_err(|why| Failure::new(Reason::Forbidden, format!("the signature {why}")))?;
    let program = if is_gzip(file) { unpack(home.dir(), file)? } else { file.to_path_buf() };
    elf::check(&program).map_err(|why| bad(format!("the file {why}")))?;
    let own = sha256_of(&program).map_err(|e| disk("read", &program, &e))?;
    let program = keep(home, Which::Version(own), &program)?;
    Ok(Brought { program, sha256: sha256.into(), signed_by: signed_by.map(|key| key.comment.clone()) })
}

/// Puts it into its place, where it must run.
fn keep(home: &Home, which: Which, file: &Path) -> Result<Program, Failure> {
    // The one that runs stays the file that it is.
    let was_there = home.verify(&which).is_ok();
    let program = match home.program(&which).filter(|_| was_there) {
        Some(program) => program,
        None => home.keep(&which, file).map_err(|e| disk("keep the program in", home.dir(), &e))?,
    };
    match probe(&program) {
        Ok(version) => Ok(Program { which, version }),
        Err(why) => {
            if let Some(own) = program.parent().filter(|_| !was_there) {
                let _ = fs::remove_dir_all(own);
            }
            Err(bad(format!("the program {why}")))
        }
    }
}

fn is_gzip(file: &Path) -> bool {
    let mut head = [0; 2];
    File::open(file).and_then(|mut file| file.read_exact(&mut head)).is_ok() && head == [0x1f, 0x8b]
}

/// The program of a release's archive.
fn unpack(dir: &Path, archive: &Path) -> Result<PathBuf, Failure> {
    let broken = |e: io::Error| bad(format!("the archive cannot be read: {e}"));
    let file = File::open(archive).map_err(|e| disk("read", archive, &e))?;
    let mut archive = tar::Archive::new(MultiGzDecoder::new(file).take(ARCHIVE_BYTES_MAX));
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let is_program = entry.path().is_ok_and(|path| path.file_name().is_some_and(|name| name == PROGRAM));
        if !is_program || !entry.header().entry_type().is_file() {
            continue;
        }
        if entry.size() > ARTEFACT_BYTES_MAX {
            return Err(bad(format!("the archive's {PROGRAM} is larger than {}", size_text(ARTEFACT_BYTES_MAX))));
        }
        room(dir, entry.size())?;
        let staged = dir.join(STAGED);
        let mut to = File::create(&staged).map_err(|e| disk("write to", dir, &e))?;
        io::copy(&mut entry, &mut to).map_err(|e| bad(format!("the archive cannot be unpacked: {e}")))?;
        return Ok(staged);
    }
    Err(bad(format!("the archive has no file that is named {PROGRAM}")))
}

/// # Errors
/// The disk has not so much and something to spare.
pub(super) fn room(dir: &Path, bytes: u64) -> Result<(), Failure> {
    let stat = statvfs(dir).map_err(|e| disk("look at the disk of", dir, &e.into()))?;
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast)] // Their width differs between architectures.
    let free = (stat.blocks_available() as u64).saturating_mul(stat.fragment_size() as u64);
    if free >= bytes.saturating_add(ROOM_LEFT) {
        return Ok(());
    }
    let (needed, left) = (size_text(bytes), size_text(ROOM_LEFT));
    let text = format!(
        "no room: {needed} and {left} to spare are needed on the disk of {}, {} are free",
        dir.display(),
        size_text(free)
    );
    Err(Failure::new(Reason::RequestEntityTooLarge, text))
}

fn bad(text: String) -> Failure {
    Failure::new(Reason::BadRequest, text)
}

pub(super) fn disk(tried: &str, path: &Path, e: &io::Error) -> Failure {
    Failure::new(Reason::InternalError, format!("cannot {tried} {}: {e}", path.display()))
}

#[cfg(test)]
mod tests;
