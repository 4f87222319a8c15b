//! Walks the members of a tar stream with every length bounded: ustar, GNU and PAX headers, sparse files. Knows no disk.
//!
//! Sources: POSIX.1-2017 `pax` (ustar and extended headers), GNU tar's manual ("Basic Tar Format", "Storing Sparse Files").
//! Global PAX headers are skipped: what writes them (`git archive`) puts a comment there.

mod pax;
mod sparse;

use std::io::{self, Read};

use tar::{EntryType, Header};

use super::ImageError;
use pax::Pax;

pub(super) const BLOCK: usize = 512;
/// A name or an extended header; GNU tar and Go write a few hundred bytes.
const EXTENSION_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Symlink,
    HardLink,
    Fifo,
    /// Major and minor number.
    CharDevice(u64, u64),
    BlockDevice,
}

/// Everything that a tar says of one member but its bytes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Member {
    /// As written; may be absolute, and anything else.
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    /// Bytes of the file, holes included.
    pub(super) size: u64,
    /// Seconds since 1970 and nanoseconds.
    pub(super) mtime: (i64, u32),
    pub(super) attributes: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the bytes of a sparse file belong: offset and length, rising. None: from its start to its end.
    pub(super) pieces: Option<Vec<(u64, u64)>>,
}

/// A tar stream at one of its members; reading gives that member's bytes.
pub(super) struct Tarball<R> {
    from: R,
    /// Of the current member: bytes to come, and the zeros behind them.
    left: u64,
    padding: u64,
}

/// What the members before one say of it.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: Pax,
}

impl<R: Read> Tarball<R> {
    pub(super) fn new(from: R) -> Tarball<R> {
        Tarball { from, left: 0, padding: 0 }
    }

    /// The next member; none at the end mark. A stream that ends without one is cut off.
    pub(super) fn next(&mut self) -> Result<Option<Member>, ImageError> {
        let mut extensions = Extensions::default();
        loop {
            self.skip_rest()?;
            let Some(header) = self.header()? else { return Ok(None) };
            let size = number(&header.as_old().size).ok_or_else(|| damaged(&header, "its size"))?;
            let kind = header.entry_type();
            match kind {
                EntryType::GNULongName => extensions.path = Some(self.extension(size)?),
                EntryType::GNULongLink => extensions.link = Some(self.extension(size)?),
                EntryType::XHeader => extensions.pax = Pax::read(&self.extension_bytes(size)?)?,
                // `V` is the label that GNU tar gives a volume.
                EntryType::XGlobalHeader => self.hold(size),
                other if other.as_byte() == b'V' => self.hold(size),
                _ => return self.member(&header, size, extensions).map(Some),
            }
        }
    }

    /// Reads what is behind the end mark, so that whoever counts or hashes sees the whole stream.
    pub(super) fn drain(&mut self) -> Result<(), ImageError> {
        io::copy(&mut self.from, &mut io::sink())?;
        Ok(())
    }

    fn skip_rest(&mut self) -> Result<(), ImageError> {
        let rest = self.left.saturating_add(self.padding);
        if io::copy(&mut (&mut self.from).take(rest), &mut io::sink())? < rest {
            return Err(cut_off());
        }
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    fn header(&mut self) -> Result<Option<Header>, ImageError> {
        let mut header = Header::new_old();
        self.from.read_exact(header.as_mut_bytes()).map_err(end_of_source)?;
        let bytes = header.as_bytes();
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if number(&header.as_old().cksum) != Some(checksum(bytes)) {
            return Err(ImageError::Invalid(
                "no tar archive, or a damaged one: the checksum of a header is wrong".into(),
            ));
        }
        Ok(Some(header))
    }

    fn hold(&mut self, size: u64) {
        self.left = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
    }

    fn extension_bytes(&mut self, size: u64) -> Result<Vec<u8>, ImageError> {
        if size > EXTENSION_BYTES_MAX {
            let text = format!("an extended tar header has {size} bytes; {EXTENSION_BYTES_MAX} are the most");
            return Err(ImageError::Invalid(text));
        }
        self.hold(size);
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, ImageError> {
        let mut bytes = self.extension_bytes(size)?;
        while bytes.last() == Some(&0) {
            bytes.pop();
        }
        Ok(bytes)
    }

    fn member(&mut self, header: &Header, size: u64, extensions: Extensions) -> Result<Member, ImageError> {
        let Extensions { path, link, pax } = extensions;
        let size = pax.size.unwrap_or(size);
        let old = header.as_old();
        let field = |bytes: &[u8], name: &str| number(bytes).ok_or_else(|| damaged(header, name));
        let path = pax.path.or(path).unwrap_or_else(|| header.path_bytes().into_owned());
        let link = pax.link.or(link).or_else(|| header.link_name_bytes().map(|name| name.into_owned()));
        let kind = kind(header, &path)?;
        let mut member = Member {
            path,
            link: link.unwrap_or_default(),
            kind,
            mode: field(&old.mode, "its mode")? as u32 & 0o7777,
            uid: pax.uid.map_or_else(|| field(&old.uid, "its owner"), Ok)?,
            gid: pax.gid.map_or_else(|| field(&old.gid, "its group"), Ok)?,
            size,
            mtime: pax.mtime.unwrap_or_else(|| (signed(&old.mtime), 0)),
            attributes: pax.attributes,
            pieces: None,
        };
        if kind != Kind::File {
            // What has no bytes may still give a size: that of the file a hard link leads to, for one.
            member.size = 0;
            return Ok(member);
        }
        self.hold(size);
        if header.entry_type() == EntryType::GNUSparse {
            self.old_sparse(header, &mut member)?;
        } else if let Some(real) = pax.sparse {
            self.pax_sparse(real, &mut member)?;
        }
        Ok(member)
    }
}

impl<R: Read> Read for Tarball<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let count = self.from.read(&mut buffer[..most])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        Ok(count)
    }
}

fn kind(header: &Header, path: &[u8]) -> Result<Kind, ImageError> {
    let device = |bytes: Option<&[u8; 8]>| bytes.and_then(|bytes| number(bytes)).unwrap_or(0);
    let numbers = |header: &Header| {
        let (gnu, ustar) = (header.as_gnu(), header.as_ustar());
        let major = gnu.map(|h| &h.dev_major).or(ustar.map(|h| &h.dev_major));
        let minor = gnu.map(|h| &h.dev_minor).or(ustar.map(|h| &h.dev_minor));
        (device(major), device(minor))
    };
    Ok(match header.entry_type() {
        // Before POSIX a directory was a file whose name ends with a slash.
        EntryType::Regular if path.ends_with(b"/") => Kind::Directory,
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File,
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink,
        EntryType::Link => Kind::HardLink,
        EntryType::Fifo => Kind::Fifo,
        EntryType::Char => {
            let (major, minor) = numbers(header);
            Kind::CharDevice(major, minor)
        }
        EntryType::Block => Kind::BlockDevice,
        other => {
            let letter = char::from(other.as_byte()).escape_default().to_string();
            return Err(ImageError::Invalid(format!(
                "{:?} has the type {letter:?}, which is no kind of file that an image can hold",
                String::from_utf8_lossy(path)
            )));
        }
    })
}

/// Sum of all bytes, the sum's own field taken as spaces.
fn checksum(header: &[u8]) -> u64 {
    const FIELD: std::ops::Range<usize> = 148..156;
    header.iter().enumerate().map(|(at, byte)| if FIELD.contains(&at) { 32 } else { u64::from(*byte) }).sum()
}

/// Octal digits between spaces and zeros, or GNU's base 256 (first bit set). An empty field is 0.
fn number(field: &[u8]) -> Option<u64> {
    match field {
        [0x80, rest @ ..] => rest.iter().try_fold(0u64, |sum, byte| Some(sum.checked_mul(256)? + u64::from(*byte))),
        [first, ..] if first & 0x80 != 0 => None,
        _ => {
            let text = field.split(|byte| *byte == 0).find(|part| !part.is_empty()).unwrap_or_default().trim_ascii();
            text.iter().try_fold(0u64, |sum, digit| match digit {
                b'0'..=b'7' => Some(sum.checked_mul(8)? + u64::from(digit - b'0')),
                _ => None,
            })
        }
    }
}

/// A time; base 256 can hold those before 1970. What makes no sense is 1970: nothing depends on it.
fn signed(field: &[u8; 12]) -> i64 {
    if field[0] == 0xff {
        let mut low = [0u8; 8];
        low.copy_from_slice(&field[4..]);
        return i64::from_be_bytes(low).min(0);
    }
    number(field).and_then(|seconds| i64::try_from(seconds).ok()).unwrap_or(0)
}

fn damaged(header: &Header, what: &str) -> ImageError {
    let path = header.path_bytes();
    ImageError::Invalid(format!(
        "the tar header of {:?} is damaged: {what} is no number",
        String::from_utf8_lossy(&path)
    ))
}

fn cut_off() -> ImageError {
    io::Error::from(io::ErrorKind::UnexpectedEof).into()
}

/// `read_exact` has words of its own for an early end.
fn end_of_source(error: io::Error) -> ImageError {
    if error.kind() == io::ErrorKind::UnexpectedEof { cut_off() } else { error.into() }
}

#[cfg(test)]
mod tests;
