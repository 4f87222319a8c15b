//! Puts the members of a layer's archive into a directory, in overlayfs's own form. Knows no store and no image.
//!
//! Sources: OCI image spec, `layer.md` (whiteouts); kernel, `Documentation/filesystems/overlayfs.rst`.
//!
//! Decisions:
//! - Owners, modes, times, `security.capability` and `user.*` attributes are kept. Other attributes are dropped: `trusted.overlay.*`
//!   of a stranger would redirect overlayfs, and labels belong to the host's policy.
//! - setuid and setgid bits are kept, as every container runtime does: `su` in an image is meant. They do no harm outside, since the
//!   store is closed to all but root, and inside they are under `no_new_privs` and the dropped capabilities.
//! - Devices are refused by name: an image that brings its own way to the disk is no image. The exception is the character device
//!   0/0, overlayfs's whiteout.
//! - A directory that the archive does not list, but puts files into, is root's with mode 0755, as in docker's overlay2.
//! - aufs's own files (`.wh..wh.plnk` and the like) are left out.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, fchmod, fchmodat, futimens, mknodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat, linkat, symlinkat};

use crate::model::sorted;

use super::budget::Budget;
use super::tarball::{Kind, Member, Tarball};
use super::tree::{self, Names, Tree};
use super::{ImageError, sys};

/// Members of one layer.
const MEMBERS_MAX: u64 = 1_000_000;
const BUFFER: usize = 128 << 10;
/// What a file takes on the disk is counted in these.
pub(super) const DISK_BLOCK: u64 = 4096;
const WHITEOUT: &[u8] = b".wh.";
/// aufs's own; of these only the opaque mark has a meaning elsewhere.
const AUFS: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Unpacks all members; gives the bytes that they take on the disk.
pub(super) fn unpack<R: Read>(archive: &mut Tarball<R>, into: &Path, budget: &mut Budget) -> Result<u64, ImageError> {
    let tree = Tree::open(into).map_err(|e| ImageError::Io(format!("open {}: {e}", into.display())))?;
    let late = sorted::map([(vec![], (0, 0))]);
    let mut work = Work { tree, budget, late, disk: 0, buffer: vec![0; BUFFER] };
    let mut members = 0u64;
    while let Some(member) = archive.next()? {
        work.put(&member, archive)?;
        members += 1 + work.note_made()?;
        if members > MEMBERS_MAX {
            return Err(ImageError::Invalid(format!(
                "the layer has more than {MEMBERS_MAX} files, the bound of one layer"
            )));
        }
    }
    work.finish_directories()?;
    Ok(work.disk)
}

struct Work<'a> {
    tree: Tree,
    budget: &'a mut Budget,
    /// The times of directories, which every file made in them would change.
    late: BTreeMap<Names, (i64, u32)>,
    disk: u64,
    buffer: Vec<u8>,
}

impl Work<'_> {
    fn put<R: Read>(&mut self, member: &Member, archive: &mut Tarball<R>) -> Result<(), ImageError> {
        let names = tree::names(&member.path)?;
        let Some((name, above)) = names.split_last() else { return self.put_root(member) };
        if let Some(at) = names.iter().position(|name| name.starts_with(WHITEOUT)) {
            return self.mark(&names, at);
        }
        match member.kind {
            Kind::File => self.put_file(member, above, name, archive),
            Kind::Directory => self.put_directory(member, &names),
            Kind::Symlink => self.put_symlink(member, above, name),
            Kind::HardLink => self.put_hard_link(member, above, name),
            Kind::Fifo => self.put_fifo(member, above, name),
            Kind::CharDevice(0, 0) => self.put_whiteout(above, name),
            Kind::CharDevice(..) | Kind::BlockDevice => Err(ImageError::Invalid(format!(
                "the image holds the device {:?}: a container gets its /dev from the node; make the image without device \
                 files (tar --exclude='./dev/*')",
                tree::shown(&names)
            ))),
        }
    }

    fn count(&mut self, bytes: u64) -> Result<(), ImageError> {
        self.disk = self.disk.saturating_add(bytes);
        self.budget.charge(bytes)
    }

    /// Directories that no member names are as old as nothing, so that the same archive always makes the same tree.
    fn note_made(&mut self) -> Result<u64, ImageError> {
        let made = self.tree.take_made();
        let count = made.len() as u64;
        for names in made {
            self.late.entry(names).or_default();
        }
        self.count(count * DISK_BLOCK)?;
        Ok(count)
    }

    fn put_root(&mut self, member: &Member) -> Result<(), ImageError> {
        if member.kind != Kind::Directory {
            return Err(ImageError::Invalid("the archive's root is no directory".into()));
        }
        describe(self.tree.root(), member).map_err(|e| failed("unpack", &[], e))?;
        self.late.insert(vec![], member.mtime);
        Ok(())
    }

    fn put_file<R: Read>(
        &mut self,
        member: &Member,
        above: &[Vec<u8>],
        name: &[u8],
        archive: &mut Tarball<R>,
    ) -> Result<(), ImageError> {
        if member.size > self.budget.image_bytes_max() {
            return Err(super::budget::too_large(self.budget.image_bytes_max()));
        }
        let here = self.free_place(above, name)?;
        let fail = |e: Errno| failed_at("unpack", above, name, e);
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file: std::fs::File = openat(here, name, flags, Mode::S_IRUSR | Mode::S_IWUSR).map_err(fail)?.into();
        let whole = [(0, member.size)];
        let mut written = 0u64;
        for (mut offset, mut left) in member.pieces.as_deref().unwrap_or(&whole).iter().copied() {
            while left > 0 {
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
                archive.read_exact(&mut self.buffer[..most])?;
                self.budget.charge(most as u64)?;
                file.write_all_at(&self.buffer[..most], offset).map_err(|e| fail(number_of(&e)))?;
                (offset, left, written) = (offset + most as u64, left - most as u64, written + most as u64);
            }
        }
        if member.pieces.is_some() {
            file.set_len(member.size).map_err(|e| fail(number_of(&e)))?;
        }
        self.disk = self.disk.saturating_add(written);
        self.count(written.next_multiple_of(DISK_BLOCK) - written)?;
        describe(file.as_fd(), member).map_err(fail)?;
        futimens(&file, &time(member.mtime), &time(member.mtime)).map_err(fail)
    }

    fn put_directory(&mut self, member: &Member, names: &Names) -> Result<(), ImageError> {
        let Some((name, above)) = names.split_last() else { return Ok(()) };
        let here = self.tree.directory(above, true).map_err(|e| failed("unpack", names, e))?;
        let fail = |e| failed("unpack", names, e);
        let seen = tree::look(here, name).map_err(fail)?;
        match seen {
            Some(seen) if tree::is(&seen, SFlag::S_IFDIR) => {}
            Some(seen) if tree::is_whiteout(&seen) => {
                tree::make_opaque_directory(here, name).map_err(fail)?;
                self.count(DISK_BLOCK)?;
            }
            Some(_) => {
                tree::remove(here, name).map_err(fail)?;
                self.new_directory(names)?;
            }
            None => self.new_directory(names)?,
        }
        let directory = self.tree.directory(names, false).map_err(fail)?;
        describe(directory, member).map_err(fail)?;
        self.late.insert(names.clone(), member.mtime);
        Ok(())
    }

    fn new_directory(&mut self, names: &Names) -> Result<(), ImageError> {
        self.tree.directory(names, true).map_err(|e| failed("unpack", names, e))?;
        Ok(())
    }

    fn put_symlink(&mut self, member: &Member, above: &[Vec<u8>], name: &[u8]) -> Result<(), ImageError> {
        let fail = |e| failed_at("make the link", above, name, e);
        if member.link.is_empty() || member.link.len() > 4095 || member.link.contains(&0) {
            return Err(fail(Errno::EINVAL));
        }
        let here = self.free_place(above, name)?;
        symlinkat(member.link.as_slice(), here, name).map_err(fail)?;
        own_and_date(here, name, member).map_err(fail)?;
        self.count(DISK_BLOCK)
    }

    /// A hard link may lead to nothing but a file of this layer; what a lower layer has is not here.
    fn put_hard_link(&mut self, member: &Member, above: &[Vec<u8>], name: &[u8]) -> Result<(), ImageError> {
        let target = tree::names(&member.link)?;
        let fail = |e| failed_at(&format!("link to {:?}", tree::shown(&target)), above, name, e);
        let Some((old, old_above)) = target.split_last() else { return Err(fail(Errno::EISDIR)) };
        let from = self.tree.directory(old_above, false).map_err(fail)?;
        let from = from.try_clone_to_owned().map_err(|e| fail(number_of(&e)))?;
        let seen = tree::look(from.as_fd(), old).map_err(fail)?.ok_or_else(|| fail(Errno::ENOENT))?;
        if tree::is_whiteout(&seen) {
            return Err(fail(Errno::ENOENT));
        }
        if tree::is(&seen, SFlag::S_IFDIR) {
            return Err(fail(Errno::EISDIR));
        }
        let here = self.tree.directory(above, true).map_err(fail)?;
        let there = tree::look(here, name).map_err(fail)?;
        if there.is_some_and(|there| (there.st_dev, there.st_ino) == (seen.st_dev, seen.st_ino)) {
            return Ok(());
        }
        let here = self.free_place(above, name)?;
        // Not AT_SYMLINK_FOLLOW: the link itself gets a second name.
        linkat(from.as_fd(), old.as_slice(), here, name, AtFlags::empty()).map_err(fail)
    }

    fn put_fifo(&mut self, member: &Member, above: &[Vec<u8>], name: &[u8]) -> Result<(), ImageError> {
        let fail = |e| failed_at("unpack", above, name, e);
        let here = self.free_place(above, name)?;
        mknodat(here, name, SFlag::S_IFIFO, Mode::S_IRUSR, 0).map_err(fail)?;
        own_and_date(here, name, member).map_err(fail)?;
        let mode = Mode::from_bits_truncate(member.mode);
        // A new name that nobody else can change: what is followed is the pipe.
        fchmodat(here, name, mode, nix::sys::stat::FchmodatFlags::FollowSymlink).map_err(fail)
    }

    /// `.wh.` names. `at` is the first component that is one.
    fn mark(&mut self, names: &Names, at: usize) -> Result<(), ImageError> {
        let (above, name) = (&names[..at], names[at].as_slice());
        let is_last = at + 1 == names.len();
        if name == OPAQUE && is_last {
            let directory = self.tree.directory(above, true).map_err(|e| failed("unpack", above, e))?;
            return tree::make_opaque(directory).map_err(|e| failed("mark as opaque", above, e));
        }
        if name.starts_with(AUFS) {
            return Ok(());
        }
        match &name[WHITEOUT.len()..] {
            hidden if is_last && !matches!(hidden, b"" | b"." | b"..") => self.put_whiteout(above, hidden),
            _ => Err(ImageError::Invalid(format!(
                "the archive holds the whiteout {:?}, which hides no file",
                tree::shown(names)
            ))),
        }
    }

    /// A whiteout hides what lower layers have, never what this layer has itself; a directory of this layer becomes opaque.
    fn put_whiteout(&mut self, above: &[Vec<u8>], name: &[u8]) -> Result<(), ImageError> {
        let fail = |e| failed_at("make the whiteout of", above, name, e);
        let here = match self.tree.directory(above, true) {
            // A file of this layer replaced the directory; it hides what was in it. umoci writes such marks.
            Err(Errno::ENOTDIR) => return Ok(()),
            here => here.map_err(fail)?,
        };
        match tree::look(here, name).map_err(fail)? {
            Some(seen) if tree::is(&seen, SFlag::S_IFDIR) => {
                let names: Names = above.iter().cloned().chain([name.to_vec()]).collect();
                let directory = self.tree.directory(&names, false).map_err(fail)?;
                tree::make_opaque(directory).map_err(fail)
            }
            Some(_) => Ok(()),
            None => {
                mknodat(here, name, SFlag::S_IFCHR, Mode::empty(), 0).map_err(fail)?;
                let never = time((0, 0));
                utimensat(here, name, &never, &never, UtimensatFlags::NoFollowSymlink).map_err(fail)
            }
        }
    }

    /// The directory `above`, with nothing named `name` in it: the later of two members with one name counts.
    fn free_place(&mut self, above: &[Vec<u8>], name: &[u8]) -> Result<BorrowedFd<'_>, ImageError> {
        let fail = |e| failed_at("unpack", above, name, e);
        let here = self.tree.directory(above, true).map_err(fail)?;
        let Some(seen) = tree::look(here, name).map_err(fail)? else {
            return self.tree.directory(above, true).map_err(fail);
        };
        tree::remove(here, name).map_err(fail)?;
        if tree::is(&seen, SFlag::S_IFDIR) {
            self.tree.forget();
            let gone: Names = above.iter().cloned().chain([name.to_vec()]).collect();
            let behind = self.late.range(gone.clone()..).map(|(names, _)| names);
            let lost: Vec<Names> = behind.take_while(|names| names.starts_with(&gone)).cloned().collect();
            for names in lost {
                self.late.remove(&names);
            }
        }
        self.tree.directory(above, true).map_err(fail)
    }

    fn finish_directories(&mut self) -> Result<(), ImageError> {
        for (names, mtime) in std::mem::take(&mut self.late) {
            let at = time(mtime);
            match self.tree.directory(&names, false) {
                Ok(directory) => futimens(directory, &at, &at).map_err(|e| failed("set the time of", &names, e))?,
                // A link replaced a directory that it was reached by; its time is nobody's any more.
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {}
                Err(e) => return Err(failed("set the time of", &names, e)),
            }
        }
        Ok(())
    }
}

/// Owner first: the kernel drops setuid bits and capabilities of a file that changes hands.
fn describe(file: BorrowedFd, member: &Member) -> Result<(), Errno> {
    let (uid, gid) = owner(member)?;
    fchown(file, Some(uid), Some(gid))?;
    fchmod(file, Mode::from_bits_truncate(member.mode))?;
    for (name, value) in member.attributes.iter().filter(|(name, _)| is_kept(name)) {
        let name = std::ffi::CString::new(name.as_slice()).map_err(|_| Errno::EINVAL)?;
        sys::set_attribute(file, &name, value).map_err(|e| number_of(&e))?;
    }
    Ok(())
}

pub(super) fn is_kept(attribute: &[u8]) -> bool {
    attribute == b"security.capability" || attribute.starts_with(b"user.") && !attribute.starts_with(b"user.overlay.")
}

fn own_and_date(here: BorrowedFd, name: &[u8], member: &Member) -> Result<(), Errno> {
    let (uid, gid) = owner(member)?;
    fchownat(here, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    utimensat(here, name, &time(member.mtime), &time(member.mtime), UtimensatFlags::NoFollowSymlink)
}

/// The highest number means "leave it" to the kernel, so no file can have it.
fn owner(member: &Member) -> Result<(Uid, Gid), Errno> {
    let id = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX).ok_or(Errno::EINVAL);
    Ok((Uid::from_raw(id(member.uid)?), Gid::from_raw(id(member.gid)?)))
}

#[allow(
    clippy::useless_conversion,
    clippy::unnecessary_fallible_conversions,
    reason = "both are 32 bits on some machines"
)]
fn time((seconds, nanoseconds): (i64, u32)) -> TimeSpec {
    // Clocks of 32 bits end in 2038; such a file is as old as they can say.
    let seconds = seconds.try_into().unwrap_or(if seconds < 0 { 0 } else { i32::MAX.into() });
    TimeSpec::new(seconds, nanoseconds.min(999_999_999).try_into().unwrap_or(0))
}

fn number_of(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

fn failed_at(what: &str, above: &[Vec<u8>], name: &[u8], error: Errno) -> ImageError {
    let names: Names = above.iter().cloned().chain([name.to_vec()]).collect();
    failed(what, &names, error)
}

/// What the kernel said to one member. Some of it is the archive's fault, some the disk's.
fn failed(what: &str, names: &[Vec<u8>], error: Errno) -> ImageError {
    let path = tree::shown(names);
    let text = |why: &str| format!("{what} {path:?} of the image: {why}");
    match error {
        Errno::ENOSPC | Errno::EDQUOT => {
            ImageError::NoRoom(text("the disk is full; remove images (pinnace image prune)"))
        }
        Errno::ENOTDIR => ImageError::Invalid(text("a part of the path is a file")),
        Errno::ELOOP => ImageError::Invalid(text("links on the way lead in a circle, or too deep")),
        Errno::ENOENT => ImageError::Invalid(text("there is no such file in this layer")),
        Errno::EISDIR => ImageError::Invalid(text("it leads to a directory")),
        Errno::EINVAL | Errno::ENAMETOOLONG | Errno::E2BIG | Errno::ERANGE => {
            ImageError::Invalid(text(&format!("no file can be so: {}", error.desc())))
        }
        Errno::ENOTSUP => {
            ImageError::Io(text("the store's file system keeps no extended attributes; use ext4, xfs or btrfs"))
        }
        Errno::EMLINK => ImageError::Io(text("a file of this file system cannot have so many names")),
        _ => ImageError::Io(text(error.desc())),
    }
}
