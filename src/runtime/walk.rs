//! Finds a path inside a directory without ever leaving it, whatever symbolic links say, and makes what is missing on the
//! way. It goes from descriptor to descriptor and lets the kernel follow no link, so that nobody who changes the tree
//! meanwhile can lead it out; that is what `openat2` promises, on kernels that do not have it too. Knows no mount.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};

/// As many as the kernel follows (path_resolution(7)).
const LINKS_MAX: usize = 40;

/// What a link that leads out of the directory means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outside {
    /// The directory is what `/` is inside a container: an absolute link starts there, and `..` stays there.
    IsRoot,
    /// An error: `EXDEV`.
    IsRefused,
}

/// What to make when it is not there; directories on the way to it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Make {
    Directory { mode: u32 },
    File,
}

/// Something inside the directory.
#[derive(Debug)]
pub struct Found {
    /// Opened with `O_PATH`; stays what it is whatever becomes of the path.
    pub fd: OwnedFd,
    pub is_directory: bool,
    /// From the directory on, without links and dots; empty: the directory itself.
    pub path: PathBuf,
}

impl Found {
    /// A name for it that system calls take.
    pub fn name(&self) -> PathBuf {
        name(self.fd.as_fd())
    }
}

/// A name for what a descriptor of this process is open for.
pub fn name(fd: BorrowedFd) -> PathBuf {
    use std::os::fd::AsRawFd;
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// Opens a directory as the place to start from.
pub fn open_directory(path: &Path) -> nix::Result<OwnedFd> {
    nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

struct Walk<'a> {
    top: BorrowedFd<'a>,
    /// Where it stands: from below `top` on.
    stack: Vec<(OwnedFd, OsString)>,
    /// What is left to go, the next last.
    rest: Vec<OsString>,
    links: usize,
    outside: Outside,
}

/// Finds `path` inside `top`; a leading `/` stands for `top`.
///
/// # Errors
/// `ENOTDIR`, `ELOOP`, `EXDEV` and what the kernel says when something cannot be made or looked at.
pub fn find(top: BorrowedFd, path: &Path, outside: Outside, make: Make) -> nix::Result<Found> {
    let mut walk = Walk { top, stack: Vec::new(), rest: Vec::new(), links: 0, outside };
    walk.push(path);
    while let Some(part) = walk.rest.pop() {
        if part.as_bytes() == b".." {
            walk.up()?;
        } else {
            walk.down(part, make)?;
        }
    }
    walk.end()
}

impl Walk<'_> {
    fn push(&mut self, path: &Path) {
        let before = self.rest.len();
        for part in path.components() {
            match part {
                Component::RootDir | Component::Prefix(_) | Component::CurDir => {}
                Component::ParentDir => self.rest.push("..".into()),
                Component::Normal(name) => self.rest.push(name.to_os_string()),
            }
        }
        self.rest[before..].reverse();
    }

    fn here(&self) -> BorrowedFd<'_> {
        self.stack.last().map_or(self.top, |(fd, _)| fd.as_fd())
    }

    fn up(&mut self) -> nix::Result<()> {
        match (self.stack.pop(), self.outside) {
            (Some(_), _) | (None, Outside::IsRoot) => Ok(()),
            (None, Outside::IsRefused) => Err(Errno::EXDEV),
        }
    }

    fn down(&mut self, part: OsString, make: Make) -> nix::Result<()> {
        let fd = match self.open(&part) {
            Err(Errno::ENOENT) => {
                self.make(&part, make)?;
                self.open(&part)?
            }
            fd => fd?,
        };
        if !is(&fd, SFlag::S_IFLNK)? {
            self.stack.push((fd, part));
            return Ok(());
        }
        self.links += 1;
        if self.links > LINKS_MAX {
            return Err(Errno::ELOOP);
        }
        let target = PathBuf::from(readlinkat(self.here(), part.as_os_str())?);
        if target.is_absolute() {
            match self.outside {
                Outside::IsRoot => self.stack.clear(),
                Outside::IsRefused => return Err(Errno::EXDEV),
            }
        }
        self.push(&target);
        Ok(())
    }

    fn open(&self, part: &OsStr) -> nix::Result<OwnedFd> {
        openat(self.here(), part, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
    }

    fn make(&self, part: &OsStr, make: Make) -> nix::Result<()> {
        let made = match make {
            Make::File if self.rest.is_empty() => {
                let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                openat(self.here(), part, flags, Mode::from_bits_truncate(0o644)).map(drop)
            }
            Make::File => mkdirat(self.here(), part, Mode::from_bits_truncate(0o755)),
            Make::Directory { mode } => mkdirat(self.here(), part, Mode::from_bits_truncate(mode as libc::mode_t)),
        };
        match made {
            Err(Errno::EEXIST) => Ok(()),
            made => made,
        }
    }

    fn end(mut self) -> nix::Result<Found> {
        let path = self.stack.iter().map(|(_, name)| name).collect();
        let fd = match self.stack.pop() {
            Some((fd, _)) => fd,
            None => openat(self.top, ".", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?,
        };
        Ok(Found { is_directory: is(&fd, SFlag::S_IFDIR)?, fd, path })
    }
}

fn is(fd: &OwnedFd, kind: SFlag) -> nix::Result<bool> {
    Ok(SFlag::from_bits_truncate(fstat(fd)?.st_mode & SFlag::S_IFMT.bits()) == kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn tree() -> tempfile::TempDir {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(root.join("a/file"), "x").unwrap();
        fs::create_dir(temp.path().join("outside")).unwrap();
        for (link, target) in [
            ("relative", "a/b"),
            ("absolute", "/a/b"),
            ("up", "../outside"),
            ("a/up", "../../outside"),
            ("host", "/etc"),
            ("loop", "loop"),
            ("dangling", "new/deep"),
            ("inner", "a/../a/b"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        temp
    }

    fn walk(path: &str, outside: Outside, make: Make) -> nix::Result<PathBuf> {
        let temp = tree();
        let top = open_directory(&temp.path().join("root")).unwrap();
        let found = find(top.as_fd(), Path::new(path), outside, make)?;
        let real = fs::read_link(found.name()).unwrap();
        assert_eq!(real, temp.path().canonicalize().unwrap().join("root").join(&found.path), "it says where it is");
        assert_eq!(fs::read_dir(temp.path().join("outside")).unwrap().count(), 0, "nothing is made outside");
        Ok(found.path)
    }

    #[test]
    fn inside_a_root_every_link_stays_there() {
        let check = |path: &str, expected: Result<&str, Errno>| {
            let found = walk(path, Outside::IsRoot, Make::Directory { mode: 0o755 });
            assert_eq!(found, expected.map(PathBuf::from), "{path}");
        };
        check("/a/b", Ok("a/b"));
        check("", Ok(""));
        check("/../..", Ok(""));
        check("a/../../../a", Ok("a"));
        check("relative/x/y", Ok("a/b/x/y"));
        check("absolute/x", Ok("a/b/x"));
        check("up/x", Ok("outside/x"));
        check("a/up", Ok("outside"));
        check("host/x", Ok("etc/x"));
        check("dangling/x", Ok("new/deep/x"));
        check("loop", Err(Errno::ELOOP));
        check("a/file/x", Err(Errno::ENOTDIR));
    }

    #[test]
    fn what_must_stay_beneath_is_refused_when_it_leads_out() {
        let check = |path: &str, expected: Result<&str, Errno>| {
            let found = walk(path, Outside::IsRefused, Make::Directory { mode: 0o755 });
            assert_eq!(found, expected.map(PathBuf::from), "{path}");
        };
        check("a/b/new", Ok("a/b/new"));
        check("relative", Ok("a/b"));
        check("inner", Ok("a/b"));
        for out in ["absolute", "up", "a/up", "host", "..", "a/../../outside"] {
            check(out, Err(Errno::EXDEV));
        }
    }

    #[test]
    fn a_file_is_made_with_the_directories_before_it() {
        let check = |path: &str, expected: &str| {
            assert_eq!(walk(path, Outside::IsRoot, Make::File), Ok(PathBuf::from(expected)), "{path}");
        };
        check("etc/resolv.conf", "etc/resolv.conf");
        check("dangling", "new/deep");
        check("a/file", "a/file");
    }
}
