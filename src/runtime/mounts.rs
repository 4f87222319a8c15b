//! Mounts of one container: each is made ready on a stage that no container can reach, then moved to its place in one step.
//! So nobody sees a mount before it is read-only or masked, and no link in an image or a volume leads it out of the root.
//! Knows what a mount is to be, not why.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{FsFlags, statvfs};

use crate::model::attempt::{HostPathType, MountSource};
use crate::model::{Launch, attempt, sorted};

use super::sys;
use super::walk::{self, Found, Make, Outside};

/// Two mount points in a directory of the attempt's own; a file can be mounted on a file alone.
pub struct Stage {
    pub directory: PathBuf,
    pub file: PathBuf,
}

impl Stage {
    pub fn new(attempt: &Path) -> Result<Stage, String> {
        let stage = Stage { directory: attempt.join("stage"), file: attempt.join("stage.file") };
        let made = fs::create_dir(&stage.directory).and_then(|()| fs::write(&stage.file, ""));
        made.map_err(|e| format!("make a place for mounts in {}: {e}", attempt.display()))?;
        Ok(stage)
    }

    /// Puts what is mounted on the stage where it belongs; `root` is the container's.
    pub fn put(&self, root: BorrowedFd, path: &str, is_directory: bool) -> Result<(), String> {
        let point = point(root, path, is_directory)?;
        self.put_at(&point).map_err(|e| format!("mount on {path}: {}", words(e)))
    }

    fn put_at(&self, point: &Found) -> nix::Result<()> {
        let from = if point.is_directory { &self.directory } else { &self.file };
        mount(Some(from), &point.name(), NONE, MsFlags::MS_MOVE, NONE)
    }
}

pub const NONE: Option<&str> = None;

/// Nothing that is mounted here from now on is seen by the host; what the host mounts is seen here.
pub fn part_from_host() -> Result<(), String> {
    let parted = mount(NONE, "/", NONE, MsFlags::MS_SLAVE | MsFlags::MS_REC, NONE);
    parted.map_err(|e| format!("part from the host's mounts: {}", words(e)))
}

/// The mount point of that path in the container, made where it is missing.
fn point(root: BorrowedFd, path: &str, is_directory: bool) -> Result<Found, String> {
    let make = if is_directory { Make::Directory { mode: 0o755 } } else { Make::File };
    let found = walk::find(root, Path::new(path), Outside::IsRoot, make);
    let found = found.map_err(|e| format!("make the mount point {path}: {}", words(e)))?;
    match (is_directory, found.is_directory) {
        (true, false) => {
            Err(format!("mount on {path}: a directory is to be mounted, and there is a file in the image"))
        }
        (false, true) => {
            Err(format!("mount on {path}: a file is to be mounted, and there is a directory in the image"))
        }
        (true, true) | (false, false) => Ok(found),
    }
}

/// Mounts files or directories of the host on the stage.
pub fn bind(from: &Path, to: &Path, flags: MsFlags) -> nix::Result<()> {
    mount(Some(from), to, NONE, MsFlags::MS_BIND | flags, NONE)
}

/// Adds restrictions to the mount at this path and keeps those that it has. How access times are kept stays as it is when
/// nothing is said of it (mount(2), remounting).
pub fn restrict(path: &Path, more: MsFlags) -> nix::Result<()> {
    let has = statvfs(path)?.flags();
    let pairs = [
        (FsFlags::ST_RDONLY, MsFlags::MS_RDONLY),
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
    ];
    let kept = pairs.iter().filter(|(old, _)| has.contains(*old)).fold(more, |all, (_, flag)| all | *flag);
    mount(NONE, path, NONE, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | kept, NONE)
}

/// The same for what is mounted below it too; before Linux 5.12 for the topmost mount alone, as Kubernetes does it.
fn restrict_all(path: &Path, more: MsFlags) -> nix::Result<()> {
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    match sys::restrict_mounts(&name, u64::from(more.bits() as u32)) {
        Ok(()) => Ok(()),
        Err(_) => restrict(path, more),
    }
}

/// Carries out the container's mounts, parents before children. `volumes` are the directories of `launch.volumes`.
///
/// Devices in what is mounted are dead (`nodev`), or a container that may make device nodes could reach every disk; those
/// below the host's `/dev` live, because naming such a path is to ask for them.
pub fn mount_all(launch: &Launch, volumes: &[PathBuf], stage: &Stage, root: BorrowedFd) -> Result<(), String> {
    let mut mounts: Vec<&attempt::Mount> = launch.mounts.iter().collect();
    sorted::by_key(&mut mounts, |mount| Path::new(&mount.path).components().count());
    for mount in mounts {
        let named = |e: String| format!("mount {}: {e}", mount.path);
        if leads_nowhere(&mount.path) {
            return Err(named("the path must be absolute, not the root, and without `..`".into()));
        }
        let (source, alive) = source(launch, volumes, mount).map_err(named)?;
        let restrictions = [
            (mount.read_only, MsFlags::MS_RDONLY),
            (!alive && !launch.privileged && launch.root != attempt::Root::Host, MsFlags::MS_NODEV),
        ];
        let restrictions =
            restrictions.iter().filter(|(wanted, _)| *wanted).fold(MsFlags::empty(), |all, (_, f)| all | *f);
        let point = point(root, &mount.path, source.is_directory)?;
        if launch.root != attempt::Root::Host && point.path.starts_with("proc") {
            return Err(named("nothing can be mounted inside /proc".into()));
        }
        let on = if source.is_directory { &stage.directory } else { &stage.file };
        let ready = || {
            bind(&source.name(), on, MsFlags::MS_REC)?;
            if !mount.follow_host {
                nix::mount::mount(NONE, on, NONE, MsFlags::MS_PRIVATE | MsFlags::MS_REC, NONE)?;
            }
            if !restrictions.is_empty() {
                restrict_all(on, restrictions)?;
            }
            stage.put_at(&point)
        };
        ready().map_err(|e| named(words(e)))?;
    }
    Ok(())
}

fn leads_nowhere(path: &str) -> bool {
    let mut parts = Path::new(path).components();
    parts.next() != Some(Component::RootDir)
        || Path::new(path).components().count() < 2
        || parts.any(|part| part == Component::ParentDir)
}

/// What is to be mounted, and whether devices in it are to work.
fn source(launch: &Launch, volumes: &[PathBuf], mount: &attempt::Mount) -> Result<(Found, bool), String> {
    let (path, alive) = match &mount.source {
        MountSource::Volume(name) => {
            let position = launch.volumes.iter().position(|volume| volume.name == *name);
            let path = position.and_then(|n| volumes.get(n)).ok_or_else(|| format!("there is no volume {name:?}"))?;
            (path.clone(), false)
        }
        MountSource::Host { path, kind } => {
            check_host_path(path, *kind)?;
            let real = fs::canonicalize(path).map_err(|e| format!("find {path} on the host: {e}"))?;
            let alive = real.starts_with("/dev");
            (real, alive)
        }
    };
    let fd = open(&path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty());
    let fd = fd.map_err(|e| format!("open {} on the host: {}", path.display(), words(e)))?;
    if !mount.sub_path.is_empty() {
        return Ok((sub_path(fd.as_fd(), &mount.sub_path)?, alive));
    }
    let is_directory =
        fs::metadata(walk::name(fd.as_fd())).map_err(|e| format!("look at {}: {e}", path.display()))?.is_dir();
    Ok((Found { fd, is_directory, path }, alive))
}

/// Kubelet's `doSafeMakeDir`: a missing directory gets the volume's own permissions.
fn sub_path(volume: BorrowedFd, path: &str) -> Result<Found, String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(walk::name(volume)).map(|m| m.permissions().mode() & 0o7777);
    let make = Make::Directory { mode: mode.map_err(|e| format!("look at the volume: {e}"))? };
    walk::find(volume, Path::new(path), Outside::IsRefused, make).map_err(|e| match e {
        Errno::EXDEV => format!("subPath {path:?} leads out of the volume"),
        e => format!("subPath {path:?} of the volume: {}", words(e)),
    })
}

/// Kubelet's check, in its words (`pkg/volume/hostpath/host_path.go`). Where no type says otherwise, a path that is missing
/// becomes a directory, as containerd has it.
fn check_host_path(path: &str, kind: HostPathType) -> Result<(), String> {
    let made = |made: std::io::Result<()>| made.map_err(|e| format!("make {path} on the host: {e}"));
    let there = fs::metadata(path).ok();
    if there.is_none() {
        match kind {
            HostPathType::Any | HostPathType::DirectoryOrCreate => {
                return made(fs::DirBuilder::new().recursive(true).mode(0o755).create(path));
            }
            HostPathType::FileOrCreate => return made(fs::File::create_new(path).map(drop)),
            HostPathType::Directory
            | HostPathType::File
            | HostPathType::Socket
            | HostPathType::CharDevice
            | HostPathType::BlockDevice => {}
        }
    }
    let kind_of = there.map(|there| there.file_type());
    let is = |check: fn(&fs::FileType) -> bool| kind_of.as_ref().is_some_and(check);
    let (fits, what) = match kind {
        HostPathType::Any => (true, ""),
        HostPathType::Directory | HostPathType::DirectoryOrCreate => (is(fs::FileType::is_dir), "directory"),
        HostPathType::File | HostPathType::FileOrCreate => (is(|kind| !kind.is_dir()), "file"),
        HostPathType::Socket => (is(fs::FileType::is_socket), "socket file"),
        HostPathType::CharDevice => (is(fs::FileType::is_char_device), "character device"),
        HostPathType::BlockDevice => (is(fs::FileType::is_block_device), "block device"),
    };
    if fits { Ok(()) } else { Err(format!("hostPath type check failed: {path} is not a {what}")) }
}

/// An error of the kernel in its own words.
pub fn words(e: Errno) -> String {
    e.desc().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_paths_that_lead_nowhere() {
        for bad in ["", "/", "a", "./a", "/a/..", "/../a", "//"] {
            assert!(leads_nowhere(bad), "{bad:?}");
        }
        for good in ["/a", "/a/b/", "/a..b"] {
            assert!(!leads_nowhere(good), "{good:?}");
        }
    }

    #[test]
    fn host_paths_are_checked_in_kubelets_words() {
        let temp = tempfile::tempdir().unwrap();
        let path = |name: &str| temp.path().join(name).to_str().unwrap().to_string();
        fs::write(path("file"), "").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        let check = |path: &str, kind: HostPathType, expected: &str| {
            let expected = match expected {
                "" => Ok(()),
                what => Err(format!("hostPath type check failed: {path} is not a {what}")),
            };
            assert_eq!(check_host_path(path, kind), expected, "{path} {kind:?}");
        };
        use HostPathType::*;
        check(&path("made/deep"), Any, "");
        assert!(temp.path().join("made/deep").is_dir());
        check(&path("made2"), DirectoryOrCreate, "");
        check(&path("new"), FileOrCreate, "");
        assert!(temp.path().join("new").is_file());
        check(&path("file"), Any, "");
        for (kind, what) in [
            (Directory, "directory"),
            (DirectoryOrCreate, "directory"),
            (Socket, "socket file"),
            (CharDevice, "character device"),
            (BlockDevice, "block device"),
        ] {
            check(&path("file"), kind, what);
        }
        check(&path("file"), File, "");
        check(&path("made"), FileOrCreate, "file");
        check(&path("missing"), Directory, "directory");
        check(&path("missing"), File, "file");
        check(&path("socket"), Socket, "");
        check("/dev/null", CharDevice, "");
        assert!(!temp.path().join("missing").exists());
    }
}
