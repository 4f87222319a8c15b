//! A directory that files are made in by the names of an archive: no name and no link in it leads out. Knows no layer.
//!
//! Every step is an `openat` of one component with `O_NOFOLLOW`. A symbolic link on the way is read and followed here, its `/`
//! and its `..` being those of this directory, as in a chroot. That is what `openat2` with `RESOLVE_IN_ROOT` does, on every
//! kernel and without a second path to test; nobody else writes here meanwhile, so nothing moves between two steps.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::{ImageError, sys};

/// Links on one way; the kernel's own bound (`MAXSYMLINKS`).
const LINKS_MAX: usize = 40;
/// As `NAME_MAX` and `PATH_MAX` of the kernel.
const NAME_MAX: usize = 255;
const PATH_MAX: usize = 4095;
/// Directories above a file. Each is an open file while something below it is written.
const DEPTH_MAX: usize = 128;
/// The same where links lead deeper than any name does.
const LINKED_DEPTH_MAX: usize = 2 * DEPTH_MAX;

const AS_DIRECTORY: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// A name of an archive, cut into its components: neither `.` nor `..` nor empty ones. No component: the directory itself.
pub(super) type Names = Vec<Vec<u8>>;

/// Reads a name of an archive. A leading `/` is that of the image, as for every tar; `..` has no business in an archive.
pub(super) fn names(path: &[u8]) -> Result<Names, ImageError> {
    let bad = |why: &str| {
        let shown = String::from_utf8_lossy(&path[..path.len().min(200)]).into_owned();
        Err(ImageError::Invalid(format!("the archive holds the name {shown:?}: {why}")))
    };
    if path.len() > PATH_MAX {
        return bad("it is longer than 4095 bytes");
    }
    if path.contains(&0) {
        return bad("it holds a zero byte");
    }
    let names: Names = path.split(|b| *b == b'/').filter(|n| !n.is_empty() && *n != b".").map(<[u8]>::to_vec).collect();
    if names.iter().any(|name| name == b"..") {
        return bad("it has a `..`, which could lead out of the image");
    }
    if names.iter().any(|name| name.len() > NAME_MAX) {
        return bad("a part of it is longer than 255 bytes");
    }
    if names.len() > DEPTH_MAX {
        return bad("it lies more than 128 directories deep");
    }
    Ok(names)
}

/// How a name looks in a message.
pub(super) fn shown(names: &[Vec<u8>]) -> String {
    String::from_utf8_lossy(&names.join(&b'/')).into_owned()
}

pub(super) struct Tree {
    root: OwnedFd,
    /// The directories that were opened last, each within the one before it; the next file is mostly beside the last one.
    way: Vec<(Vec<u8>, OwnedFd)>,
    /// The end of a way that went over a symbolic link.
    aside: Option<OwnedFd>,
    /// Directories that were made because something is to lie in them.
    made: Vec<Names>,
}

impl Tree {
    pub(super) fn open(directory: &Path) -> io::Result<Tree> {
        let root = std::fs::File::open(directory)?.into();
        Ok(Tree { root, way: Vec::new(), aside: None, made: Vec::new() })
    }

    /// The directory `names`; one that is missing is made when `make` says so, with mode 0755.
    pub(super) fn directory(&mut self, names: &[Vec<u8>], make: bool) -> Result<BorrowedFd<'_>, Errno> {
        let known = self.way.iter().zip(names).take_while(|((known, _), name)| known == *name).count();
        self.way.truncate(known);
        for (index, name) in names.iter().enumerate().skip(known) {
            let at = self.way.last().map_or(self.root.as_fd(), |(_, fd)| fd.as_fd());
            match step(at, name, make)? {
                Step::Into(fd) => self.way.push((name.clone(), fd)),
                Step::Made(fd) => {
                    self.way.push((name.clone(), fd));
                    self.made.push(names[..=index].to_vec());
                }
                Step::Link(_) => {
                    self.way.clear();
                    let end = self.over_links(names, make)?;
                    let end: &OwnedFd = self.aside.insert(end);
                    return Ok(end.as_fd());
                }
            }
        }
        Ok(self.way.last().map_or(self.root.as_fd(), |(_, fd)| fd.as_fd()))
    }

    /// To be called when something that may be a directory on the last way is no more what it was.
    pub(super) fn forget(&mut self) {
        self.way.clear();
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// What [`Tree::directory`] made since this was asked last.
    pub(super) fn take_made(&mut self) -> Vec<Names> {
        std::mem::take(&mut self.made)
    }

    fn over_links(&mut self, names: &[Vec<u8>], make: bool) -> Result<OwnedFd, Errno> {
        let mut waiting: VecDeque<Vec<u8>> = names.iter().cloned().collect();
        let mut way: Vec<(Vec<u8>, OwnedFd)> = Vec::new();
        let mut links = 0;
        while let Some(name) = waiting.pop_front() {
            match name.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    way.pop();
                    continue;
                }
                _ => {}
            }
            if way.len() == LINKED_DEPTH_MAX {
                return Err(Errno::ELOOP);
            }
            let at = way.last().map_or(self.root.as_fd(), |(_, fd)| fd.as_fd());
            match step(at, &name, make)? {
                Step::Into(fd) => way.push((name, fd)),
                Step::Made(fd) => {
                    way.push((name, fd));
                    self.made.push(way.iter().map(|(name, _)| name.clone()).collect());
                }
                Step::Link(target) => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(Errno::ELOOP);
                    }
                    if target.starts_with(b"/") {
                        way.clear();
                    }
                    for part in target.split(|byte| *byte == b'/').rev() {
                        waiting.push_front(part.to_vec());
                    }
                }
            }
        }
        way.pop().map_or_else(|| self.root.try_clone().map_err(|_| Errno::EMFILE), |(_, fd)| Ok(fd))
    }
}

enum Step {
    Into(OwnedFd),
    Made(OwnedFd),
    Link(Vec<u8>),
}

fn step(at: BorrowedFd, name: &[u8], make: bool) -> Result<Step, Errno> {
    match openat(at, name, AS_DIRECTORY, Mode::empty()) {
        Ok(fd) => Ok(Step::Into(fd)),
        Err(Errno::ENOENT) if make => {
            make_directory(at, name, Mode::from_bits_truncate(0o755))?;
            openat(at, name, AS_DIRECTORY, Mode::empty()).map(Step::Made)
        }
        Err(Errno::ENOTDIR | Errno::ELOOP) => {
            let seen = look(at, name)?.ok_or(Errno::ENOENT)?;
            if is(&seen, SFlag::S_IFLNK) {
                return Ok(Step::Link(readlinkat(at, name)?.into_vec()));
            }
            if !(make && is_whiteout(&seen)) {
                return Err(Errno::ENOTDIR);
            }
            make_opaque_directory(at, name)?;
            openat(at, name, AS_DIRECTORY, Mode::empty()).map(Step::Made)
        }
        Err(e) => Err(e),
    }
}

/// Makes a directory, whatever the mask of the process.
pub(super) fn make_directory(at: BorrowedFd, name: &[u8], mode: Mode) -> Result<(), Errno> {
    mkdirat(at, name, Mode::S_IRWXU)?;
    let fd = openat(at, name, AS_DIRECTORY, Mode::empty())?;
    nix::sys::stat::fchmod(fd, mode)
}

/// A directory in the place of a whiteout: it hides what lower layers have under its name.
pub(super) fn make_opaque_directory(at: BorrowedFd, name: &[u8]) -> Result<(), Errno> {
    unlinkat(at, name, UnlinkatFlags::NoRemoveDir)?;
    make_directory(at, name, Mode::from_bits_truncate(0o755))?;
    make_opaque(openat(at, name, AS_DIRECTORY, Mode::empty())?)
}

/// overlayfs then shows nothing of lower layers in this directory (kernel, `Documentation/filesystems/overlayfs.rst`).
pub(super) fn make_opaque(directory: impl AsFd) -> Result<(), Errno> {
    sys::set_attribute(directory, OPAQUE, b"y").map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO)))
}

pub(super) const OPAQUE: &std::ffi::CStr = c"trusted.overlay.opaque";

/// None: there is nothing of that name. A link is itself, not what it leads to.
pub(super) fn look(at: BorrowedFd, name: &[u8]) -> Result<Option<FileStat>, Errno> {
    match fstatat(at, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(seen) => Ok(Some(seen)),
        Err(Errno::ENOENT) => Ok(None),
        Err(e) => Err(e),
    }
}

pub(super) fn is(seen: &FileStat, kind: SFlag) -> bool {
    SFlag::from_bits_truncate(seen.st_mode) & SFlag::S_IFMT == kind
}

/// overlayfs' mark that a lower layer's file is gone: a character device 0/0.
pub(super) fn is_whiteout(seen: &FileStat) -> bool {
    is(seen, SFlag::S_IFCHR) && seen.st_rdev == 0
}

/// Removes `name` and what is in it, following no link. Nothing lies deeper than `LINKED_DEPTH_MAX`.
pub(super) fn remove(at: BorrowedFd, name: &[u8]) -> Result<(), Errno> {
    match unlinkat(at, name, UnlinkatFlags::NoRemoveDir) {
        Err(Errno::EISDIR) => {}
        done => return done,
    }
    let within = openat(at, name, AS_DIRECTORY, Mode::empty())?;
    let mut open = Dir::from_fd(within.try_clone().map_err(|_| Errno::EMFILE)?)?;
    let children: Result<Vec<Vec<u8>>, Errno> = open.iter().map(|e| Ok(e?.file_name().to_bytes().to_vec())).collect();
    for child in children?.iter().filter(|child| *child != b"." && *child != b"..") {
        remove(within.as_fd(), child)?;
    }
    unlinkat(at, name, UnlinkatFlags::RemoveDir)
}
