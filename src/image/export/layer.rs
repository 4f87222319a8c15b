//! A layer's directory as a tar, overlayfs's marks turned back into whiteouts. Names are sorted, so the same tree gives the same
//! bytes. Follows no link. The reverse of `unpack.rs`.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use tar::{Builder, EntryType, Header};

use crate::model::sorted;

use super::super::tree::OPAQUE;
use super::super::{ImageError, sys, unpack};

/// Name and link fields of a header; what is longer goes into an extended one.
const NAME_FIELD: usize = 100;

/// Writes the tree below `root`.
pub(super) fn write(root: &Path, to: &mut dyn Write) -> Result<(), ImageError> {
    let mut work = Work { root, to: Builder::new(to), links: BTreeMap::new() };
    let done = work.directory(b"").and_then(|()| work.to.finish());
    done.map_err(|e| match ImageError::from(e) {
        ImageError::Io(why) => ImageError::Io(format!("export the layer {}: {why}", root.display())),
        other => other,
    })
}

struct Work<'a> {
    root: &'a Path,
    to: Builder<&'a mut dyn Write>,
    /// The first name of each file that has several, by device and number.
    links: BTreeMap<(u64, u64), Vec<u8>>,
}

impl Work<'_> {
    /// The directory `name` (empty: the root), then what is in it. No deeper than the unpacker goes.
    fn directory(&mut self, name: &[u8]) -> io::Result<()> {
        let path = self.root.join(std::ffi::OsStr::from_bytes(name));
        let file = File::open(&path)?;
        let seen = file.metadata()?;
        let shown = if name.is_empty() { b"./".to_vec() } else { [name, b"/"].concat() };
        self.member(&shown, &seen, EntryType::Directory, b"", Some(&file))?;
        if sys::attribute(&file, OPAQUE)?.as_deref() == Some(b"y") {
            self.mark(&join(name, b".wh..wh..opq"))?;
        }
        let mut children = fs::read_dir(&path)?
            .map(|entry| entry.map(|entry| entry.file_name().into_vec()))
            .collect::<io::Result<Vec<Vec<u8>>>>()?;
        sorted::by(&mut children, Ord::cmp);
        for child in children {
            self.child(name, &child)?;
        }
        Ok(())
    }

    fn child(&mut self, above: &[u8], child: &[u8]) -> io::Result<()> {
        let name = join(above, child);
        let path = self.root.join(std::ffi::OsStr::from_bytes(&name));
        let seen = path.symlink_metadata()?;
        let kind = seen.file_type();
        if kind.is_dir() {
            return self.directory(&name);
        }
        if kind.is_char_device() {
            return self.mark(&join(above, &[b".wh.", child].concat()));
        }
        if seen.nlink() > 1 {
            let first = self.links.entry((seen.dev(), seen.ino())).or_insert_with(|| name.clone());
            if *first != name {
                let first = first.clone();
                return self.member(&name, &seen, EntryType::Link, &first, None);
            }
        }
        if kind.is_symlink() {
            let target = fs::read_link(&path)?.into_os_string().into_vec();
            self.member(&name, &seen, EntryType::Symlink, &target, None)
        } else if kind.is_fifo() {
            self.member(&name, &seen, EntryType::Fifo, b"", None)
        } else {
            self.file(&name, &path, &seen)
        }
    }

    fn file(&mut self, name: &[u8], path: &Path, seen: &Metadata) -> io::Result<()> {
        let mut file = fs::OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path)?;
        self.member(name, seen, EntryType::Regular, b"", Some(&file))?;
        let to = self.to.get_mut();
        let written = io::copy(&mut (&mut file).take(seen.len()), to)?;
        if written < seen.len() {
            return Err(io::Error::other(format!("{} became shorter while it was read", path.display())));
        }
        super::write_padding(*to, seen.len())
    }

    /// An empty file whose name is the message.
    fn mark(&mut self, name: &[u8]) -> io::Result<()> {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(0);
        self.header(header, name, b"", Vec::new())
    }

    fn member(
        &mut self,
        name: &[u8],
        seen: &Metadata,
        kind: EntryType,
        link: &[u8],
        open: Option<&File>,
    ) -> io::Result<()> {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(seen.mode() & 0o7777);
        header.set_uid(seen.uid().into());
        header.set_gid(seen.gid().into());
        header.set_size(if kind == EntryType::Regular { seen.len() } else { 0 });
        header.set_mtime(u64::try_from(seen.mtime()).unwrap_or(0));
        let mut extended = Vec::new();
        if seen.mtime() < 0 || seen.mtime_nsec() != 0 {
            extended.push(("mtime".to_string(), time(seen.mtime(), seen.mtime_nsec()).into_bytes()));
        }
        if let Some(file) = open {
            extended.append(&mut attributes(file)?);
        }
        self.header(header, name, link, extended)
    }

    fn header(
        &mut self,
        mut header: Header,
        name: &[u8],
        link: &[u8],
        mut extended: Vec<(String, Vec<u8>)>,
    ) -> io::Result<()> {
        for (key, value) in [("path", name), ("linkpath", link)] {
            if value.len() > NAME_FIELD {
                extended.push((key.into(), value.to_vec()));
            }
        }
        let old = header.as_old_mut();
        put(&mut old.name, name);
        put(&mut old.linkname, link);
        header.set_cksum();
        self.to.append_pax_extensions(extended.iter().map(|(key, value)| (key.as_str(), value.as_slice())))?;
        self.to.get_mut().write_all(header.as_bytes())
    }
}

fn put(field: &mut [u8; NAME_FIELD], text: &[u8]) {
    let length = text.len().min(NAME_FIELD);
    field[..length].copy_from_slice(&text[..length]);
}

fn join(above: &[u8], name: &[u8]) -> Vec<u8> {
    if above.is_empty() { name.to_vec() } else { [above, b"/", name].concat() }
}

/// Seconds and their part as decimal digits; -1.5 is half a second before -1.
fn time(seconds: i64, nanoseconds: i64) -> String {
    if seconds < 0 && nanoseconds > 0 {
        let whole = -(seconds + 1);
        return format!("-{whole}.{:09}", 1_000_000_000 - nanoseconds);
    }
    format!("{seconds}.{nanoseconds:09}")
}

fn attributes(file: &File) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for name in sys::attributes(file)?.iter().filter(|name| unpack::is_kept(name.to_bytes())) {
        if let (Ok(text), Some(value)) = (name.to_str(), sys::attribute(file, name)?) {
            found.push((format!("SCHILY.xattr.{text}"), value));
        }
    }
    Ok(found)
}
