//! The files of an archive, put down until all of them are there: their order in a tar is free. Knows no image.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use super::config::DOCUMENT_BYTES_MAX;
use super::manifest::Descriptor;
use super::read::{Hashed, digits, sha256_digits};
use super::store::failed;
use super::tarball::{Kind, Tarball};
use super::{ImageError, Store, tree};

/// Members of one archive.
const MEMBERS_MAX: usize = 20_000;
/// Links from name to name; `docker save` makes one for a layer that two images have.
const LINKS_MAX: usize = 8;
const BUFFER: usize = 128 << 10;

/// The files of one archive. Dropping it removes them.
pub(super) struct Spool {
    directory: PathBuf,
    /// By their names in the archive, without `./`.
    members: BTreeMap<String, Spooled>,
}

enum Spooled {
    File(Blob),
    /// To another name of the archive.
    Link(String),
}

/// A file of the archive.
#[derive(Debug, Clone)]
pub(super) struct Blob {
    path: PathBuf,
    pub(super) size: u64,
    /// SHA-256 in hexadecimal digits.
    pub(super) digest: String,
}

impl Spool {
    /// Reads all members of `archive`.
    ///
    /// # Errors
    /// A blob that has another digest than its name says, a damaged archive, no room.
    pub(super) fn fill(store: &Store, archive: &mut Tarball<impl Read>) -> Result<Spool, ImageError> {
        let directory = store.new_ingest_path("archive");
        DirBuilder::new().mode(0o700).create(&directory).map_err(|e| failed("make", &directory, &e))?;
        let mut spool = Spool { directory, members: BTreeMap::new() };
        let mut budget = store.budget();
        let mut buffer = vec![0; BUFFER];
        let mut members = 0usize;
        while let Some(member) = archive.next()? {
            members += 1;
            if members > MEMBERS_MAX {
                return Err(ImageError::Invalid(format!("the archive has more than {MEMBERS_MAX} files")));
            }
            let names = tree::names(&member.path)?;
            let name = tree::shown(&names);
            let spooled = match member.kind {
                Kind::File => {
                    let path = spool.directory.join(members.to_string());
                    budget.room_on_disk(member.size)?;
                    let blob = put(archive, path, &mut buffer, |bytes| budget.spend(bytes))?;
                    check_name(&name, &blob)?;
                    Spooled::File(blob)
                }
                Kind::Symlink => Spooled::Link(beside(&names, &member.link)),
                Kind::HardLink => Spooled::Link(tree::shown(&tree::names(&member.link)?)),
                Kind::Directory => continue,
                Kind::Fifo | Kind::CharDevice(..) | Kind::BlockDevice => {
                    return Err(ImageError::Invalid(format!("the archive holds {name:?}, which is no file")));
                }
            };
            spool.members.insert(name, spooled);
        }
        Ok(spool)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// The file of that name, over links.
    pub(super) fn file(&self, name: &str) -> Result<&Blob, ImageError> {
        let mut at = name;
        for _ in 0..=LINKS_MAX {
            match self.members.get(at) {
                Some(Spooled::File(blob)) => return Ok(blob),
                Some(Spooled::Link(to)) => at = to,
                None => break,
            }
        }
        Err(ImageError::Invalid(format!("the archive has no file {name:?}, which its image needs; make it again")))
    }

    /// The blob of a descriptor, in its place in an OCI layout (OCI image spec, `image-layout.md`).
    pub(super) fn blob(&self, descriptor: &Descriptor) -> Result<&Blob, ImageError> {
        let blob = self.file(&format!("blobs/sha256/{}", sha256_digits(&descriptor.digest, "a blob")?))?;
        if blob.size != descriptor.size {
            return Err(ImageError::Invalid(format!(
                "{} has {} bytes, its descriptor says {}",
                descriptor.digest, blob.size, descriptor.size
            )));
        }
        Ok(blob)
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        // What stays is cleared at the next start.
        drop(fs::remove_dir_all(&self.directory));
    }
}

impl Blob {
    pub(super) fn open(&self) -> Result<File, ImageError> {
        File::open(&self.path).map_err(|e| failed("open", &self.path, &e))
    }

    /// A small blob: a manifest, an index, a configuration.
    pub(super) fn document(&self) -> Result<Vec<u8>, ImageError> {
        if self.size > DOCUMENT_BYTES_MAX {
            let text = format!("a document of the archive has {} bytes; {DOCUMENT_BYTES_MAX} are the most", self.size);
            return Err(ImageError::Invalid(text));
        }
        fs::read(&self.path).map_err(|e| failed("read", &self.path, &e))
    }
}

fn put(
    from: &mut impl Read,
    path: PathBuf,
    buffer: &mut [u8],
    mut spend: impl FnMut(u64) -> Result<(), ImageError>,
) -> Result<Blob, ImageError> {
    let fail = |e: io::Error| failed("write", &path, &e);
    let mut file = File::create_new(&path).map_err(fail)?;
    let mut hashed = Hashed::new(from);
    let mut size = 0u64;
    loop {
        let count = hashed.read(buffer)?;
        if count == 0 {
            let digest = hashed.finish();
            return Ok(Blob { path, size, digest });
        }
        spend(count as u64)?;
        file.write_all(&buffer[..count]).map_err(fail)?;
        size += count as u64;
    }
}

/// A blob's name in an OCI layout is its digest.
fn check_name(name: &str, blob: &Blob) -> Result<(), ImageError> {
    let Some(named) = name.strip_prefix("blobs/sha256/").and_then(digits) else { return Ok(()) };
    if named == blob.digest {
        return Ok(());
    }
    Err(ImageError::Invalid(format!(
        "the blob sha256:{named} has the digest sha256:{}; it is damaged, get it again",
        blob.digest
    )))
}

/// Where a symbolic link in the directory of `names` leads; what would lead out of the archive leads to its root.
fn beside(names: &[Vec<u8>], link: &[u8]) -> String {
    let mut way: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
    way.pop();
    for part in link.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(way.pop()),
            part => way.push(part),
        }
    }
    String::from_utf8_lossy(&way.join(&b'/')).into_owned()
}
