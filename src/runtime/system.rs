//! The file systems that every container has: `/proc`, `/sys` and `/dev`, and the host's few files below `/etc`. As the OCI
//! runtime specification (`config-linux.md`, default file systems and devices) and containerd's defaults have them.

use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, mknod};

use super::mounts::{NONE, Stage, bind, restrict, words};

/// What tells too much of the host or controls it.
const MASKED: [&str; 9] =
    ["acpi", "asound", "kcore", "keys", "latency_stats", "timer_list", "timer_stats", "sched_debug", "scsi"];
const MASKED_SYS: [&str; 2] = ["firmware", "devices/virtual/powercap"];
const READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
/// What is in the host's `/dev` and is no device of it.
const NO_DEVICES: [&str; 6] = ["pts", "shm", "mqueue", "fd", "hugepages", "ptmx"];

/// Files of the host that a container without a network of its own shares with it.
const SHARED: [&str; 2] = ["/etc/hosts", "/etc/resolv.conf"];

const HARMLESS: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

/// Mounts all of it inside the container's root. To be called in the container's namespaces.
pub fn mount_all(stage: &Stage, root: BorrowedFd, privileged: bool) -> Result<(), String> {
    let on = &stage.directory;
    let made = |what: &'static str| move |e: Errno| format!("make the container's {what}: {}", words(e));
    proc(on, privileged).map_err(made("/proc"))?;
    put(stage, root, "/proc")?;
    sys(on, privileged).map_err(made("/sys"))?;
    put(stage, root, "/sys")?;
    dev(on, privileged).map_err(|e| format!("make the container's /dev: {e}"))?;
    put(stage, root, "/dev")
}

/// A link in place of one of these would have the masks lie elsewhere than programs look.
fn put(stage: &Stage, root: BorrowedFd, path: &str) -> Result<(), String> {
    let found = nix::sys::stat::fstatat(root, &path[1..], nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW);
    let is_link = found.is_ok_and(|stat| stat.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFLNK.bits());
    if is_link {
        return Err(format!("the image has a symbolic link at {path}, where a directory must be"));
    }
    stage.put(root, path, true)
}

fn proc(on: &Path, privileged: bool) -> nix::Result<()> {
    mount(Some("proc"), on, Some("proc"), HARMLESS, NONE)?;
    if privileged {
        return Ok(());
    }
    for path in READ_ONLY.iter().map(|name| on.join(name)).filter(|path| path.exists()) {
        bind(&path, &path, MsFlags::MS_REC)?;
        restrict(&path, MsFlags::MS_RDONLY | HARMLESS)?;
    }
    MASKED.iter().try_for_each(|name| mask(&on.join(name)))
}

fn mask(path: &Path) -> nix::Result<()> {
    let Ok(there) = fs::symlink_metadata(path) else { return Ok(()) };
    if there.is_dir() {
        return mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::MS_RDONLY | HARMLESS, Some("size=0,nr_inodes=1"));
    }
    bind(Path::new("/dev/null"), path, MsFlags::empty())?;
    // The node is the host's own: nobody in a container shall change its permissions.
    restrict(path, MsFlags::MS_RDONLY)
}

/// The network is the host's, and so is what the kernel shows of it here.
fn sys(on: &Path, privileged: bool) -> nix::Result<()> {
    let access = if privileged { MsFlags::empty() } else { MsFlags::MS_RDONLY };
    if mount(Some("sysfs"), on, Some("sysfs"), HARMLESS | access, NONE).is_err() {
        bind(Path::new("/sys"), on, MsFlags::empty())?;
        restrict(on, HARMLESS | access)?;
    }
    // A host without cgroup v2, or without a place for it, has nothing to show.
    let _ = mount(Some("cgroup"), &on.join("fs/cgroup"), Some("cgroup2"), HARMLESS | access, NONE);
    if privileged {
        return Ok(());
    }
    MASKED_SYS.iter().try_for_each(|name| mask(&on.join(name)))
}

/// No device node that a container makes itself works (`nodev`): there is no device controller in cgroup v2, and who may
/// make nodes could reach every disk. The usual ones are the host's, mounted one by one.
fn dev(on: &Path, privileged: bool) -> io::Result<()> {
    let nodev = if privileged { MsFlags::empty() } else { MsFlags::MS_NODEV };
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_STRICTATIME | nodev;
    mount(Some("tmpfs"), on, Some("tmpfs"), flags, Some("mode=755,size=64m"))?;
    if privileged {
        copy_nodes(Path::new("/dev"), on, true)?;
    } else {
        for name in DEVICES {
            borrow_node(name, on)?;
        }
    }
    for (link, target) in LINKS {
        symlink(target, on.join(link))?;
    }
    for directory in ["pts", "shm", "mqueue"] {
        fs::create_dir(on.join(directory))?;
    }
    const TERMINALS: &str = "newinstance,ptmxmode=0666,mode=0620,gid=5";
    mount(Some("devpts"), &on.join("pts"), Some("devpts"), MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC, Some(TERMINALS))?;
    mount(Some("shm"), &on.join("shm"), Some("tmpfs"), HARMLESS, Some("mode=1777,size=65536k"))?;
    // Kernels for small devices leave message queues out.
    let _ = mount(Some("mqueue"), &on.join("mqueue"), Some("mqueue"), HARMLESS, NONE);
    Ok(())
}

fn borrow_node(name: &str, on: &Path) -> io::Result<()> {
    let (host, own) = (Path::new("/dev").join(name), on.join(name));
    if !host.exists() {
        return Ok(());
    }
    fs::write(&own, "")?;
    bind(&host, &own, MsFlags::empty())?;
    // Writing to a device goes on; changing the host's node does not.
    Ok(restrict(&own, MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC)?)
}

/// All devices of the host, as nodes of the container's own.
fn copy_nodes(from: &Path, to: &Path, is_top: bool) -> io::Result<()> {
    for entry in fs::read_dir(from)?.flatten() {
        let name = entry.file_name();
        if is_top && NO_DEVICES.iter().any(|no| name == *no) {
            continue;
        }
        let (Ok(there), target) = (entry.path().symlink_metadata(), to.join(&name)) else { continue };
        let kind = there.file_type();
        if kind.is_dir() {
            fs::create_dir(&target)?;
            copy_nodes(&entry.path(), &target, false)?;
        } else if kind.is_symlink() && !is_top {
            symlink(fs::read_link(entry.path())?, &target)?;
        } else if kind.is_char_device() || kind.is_block_device() {
            let kind = if kind.is_char_device() { SFlag::S_IFCHR } else { SFlag::S_IFBLK };
            mknod(&target, kind, Mode::from_bits_truncate(there.mode()), there.rdev())?;
            std::os::unix::fs::chown(&target, Some(there.uid()), Some(there.gid()))?;
            fs::set_permissions(&target, fs::Permissions::from_mode(there.mode() & 0o7777))?;
        }
    }
    Ok(())
}

/// The host's name service and the container's own name, read-only. An image that has no place for one of them and lets
/// none be made goes without.
pub fn mount_files(stage: &Stage, root: BorrowedFd, attempt: &Path, hostname: &str) -> Result<(), String> {
    let own = attempt.join("hostname");
    fs::write(&own, format!("{hostname}\n")).map_err(|e| format!("write {}: {e}", own.display()))?;
    let files = SHARED.iter().map(|path| (Path::new(path), *path)).chain([(own.as_path(), "/etc/hostname")]);
    for (from, to) in files.filter(|(from, _)| from.is_file()) {
        let ready = bind(from, &stage.file, MsFlags::empty());
        let ready = ready.and_then(|()| restrict(&stage.file, MsFlags::MS_RDONLY | HARMLESS));
        ready.map_err(|e| format!("share {to} with the container: {}", words(e)))?;
        if stage.put(root, to, false).is_err() {
            let _ = nix::mount::umount2(&stage.file, nix::mount::MntFlags::MNT_DETACH);
        }
    }
    Ok(())
}
