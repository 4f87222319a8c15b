//! A container's root file system: overlayfs over an image's layers, a copy of them where the host has no overlayfs, or a
//! directory as it is; then the change into it. To be called in a mount namespace of the container's own.

use std::fs::{self, DirBuilder};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::pivot_root;

use crate::model::Launch;
use crate::model::attempt::Root;

use super::mounts::{self, NONE, Stage, restrict, words};
use super::paths::Dirs;
use super::{layers, system, walk};

/// Makes the root with all that is mounted in it and changes into it. `volumes` are the directories of `launch.volumes`.
pub fn enter(launch: &Launch, dirs: &Dirs, volumes: &[PathBuf]) -> Result<(), String> {
    let attempt = dirs.root(&launch.attempt);
    mounts::part_from_host()?;
    let root = mount_root(launch, dirs, &attempt)?;
    let stage = Stage::new(&attempt)?;
    let opened = walk::open_directory(&root).map_err(|e| format!("open the root file system: {}", words(e)))?;
    system::mount_all(&stage, opened.as_fd(), launch.privileged)?;
    system::mount_files(&stage, opened.as_fd(), &attempt, &launch.hostname)?;
    mounts::mount_all(launch, volumes, &stage, opened.as_fd())?;
    change_into(&root)?;
    make_working_directory(&launch.cwd)?;
    if launch.read_only_root {
        restrict(Path::new("/"), MsFlags::MS_RDONLY).map_err(|e| format!("make the root read-only: {}", words(e)))?;
    }
    Ok(())
}

/// Mounts what the host's own root needs, in a mount namespace of this process's own. A mount point that is missing is made
/// on the host and stays there, as under systemd's `BindPaths=`.
pub fn stay_on_host(launch: &Launch, dirs: &Dirs, volumes: &[PathBuf]) -> Result<(), String> {
    let attempt = dirs.root(&launch.attempt);
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)
        .map_err(|e| format!("mount volumes: the kernel gives no mount namespace: {}", words(e)))?;
    mounts::part_from_host()?;
    make_own(&attempt)?;
    let stage = Stage::new(&attempt)?;
    let opened = walk::open_directory(Path::new("/")).map_err(|e| format!("open the host's root: {}", words(e)))?;
    mounts::mount_all(launch, volumes, &stage, opened.as_fd())
}

/// The attempt's own directory. Nothing can be in it: an attempt begins once.
fn make_own(attempt: &Path) -> Result<(), String> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(attempt);
    made.map_err(|e| format!("make directory {}: {e}", attempt.display()))
}

fn mount_root(launch: &Launch, dirs: &Dirs, attempt: &Path) -> Result<PathBuf, String> {
    let point = attempt.join("root");
    let directory = match &launch.root {
        Root::Host => return Err("the host's own root needs no mount".into()),
        Root::Directory(directory) => {
            let failed = |e: &dyn std::fmt::Display| format!("use {directory:?} as root directory: {e}");
            let found = fs::canonicalize(directory).map_err(|e| failed(&describe(&e)))?;
            if !found.is_dir() {
                return Err(failed(&Errno::ENOTDIR.desc()));
            }
            make_own(attempt)?;
            found
        }
        Root::Layers(layers) => {
            let layers = open_layers(layers, dirs)?;
            make_own(attempt)?;
            make_beside(&point, &layers)?;
            match mount_overlay(attempt, &layers, &point, launch.privileged) {
                // This kernel has none, or the data directory's file system cannot be written through one.
                Err(Errno::ENODEV | Errno::EINVAL | Errno::EOPNOTSUPP | Errno::ENOSYS) => {
                    let from: Vec<PathBuf> = layers.iter().map(|layer| walk::name(layer.as_fd())).collect();
                    layers::copy(&from, &point).map_err(|e| format!("copy the image's layers: {e}"))?;
                    point.clone()
                }
                mounted => {
                    return mounted.map(|()| point).map_err(|e| format!("mount the image's layers: {}", words(e)));
                }
            }
        }
    };
    fs::create_dir_all(&point).map_err(|e| format!("make {}: {e}", point.display()))?;
    let failed = |e: Errno| format!("use {:?} as root directory: {}", directory.display(), e.desc());
    mounts::bind(&directory, &point, MsFlags::MS_REC).map_err(failed)?;
    if !launch.privileged {
        restrict(&point, MsFlags::MS_NODEV).map_err(failed)?;
    }
    Ok(point)
}

/// Opened, so that an option of the mount names each in two or three bytes: hundreds fit into the page that there is.
fn open_layers(layers: &[String], dirs: &Dirs) -> Result<Vec<OwnedFd>, String> {
    const HEX_DIGITS: usize = 64;
    let mut opened = Vec::with_capacity(layers.len());
    for layer in layers {
        if layer.len() != HEX_DIGITS || !layer.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(format!("{layer:?} cannot be the name of a layer"));
        }
        let path = dirs.layers().join(layer);
        let fd = walk::open_directory(&path);
        opened.push(fd.map_err(|e| format!("open layer {layer} of the image in the store: {}", words(e)))?);
    }
    if opened.is_empty() { Err("the image has no layer".into()) } else { Ok(opened) }
}

/// The mount point, and what the container writes; the root directory looks as the topmost layer has it.
fn make_beside(point: &Path, layers: &[OwnedFd]) -> Result<(), String> {
    let make = || {
        let top = layers.last().map(|top| fs::metadata(walk::name(top.as_fd()))).transpose()?;
        for directory in [point.to_path_buf(), point.with_file_name("upper"), point.with_file_name("work")] {
            fs::create_dir(&directory)?;
            if let Some(top) = &top {
                chown(&directory, Some(top.uid()), Some(top.gid()))?;
                fs::set_permissions(&directory, fs::Permissions::from_mode(top.mode() & 0o7777))?;
            }
        }
        Ok(())
    };
    make().map_err(|e: std::io::Error| format!("make the container's directories beside {}: {e}", point.display()))
}

fn mount_overlay(attempt: &Path, layers: &[OwnedFd], point: &Path, privileged: bool) -> nix::Result<()> {
    let upper = walk::open_directory(&attempt.join("upper"))?;
    let work = walk::open_directory(&attempt.join("work"))?;
    let lower: Vec<String> = layers.iter().rev().map(|layer| layer.as_raw_fd().to_string()).collect();
    let options = format!("lowerdir={},upperdir={},workdir={}", lower.join(":"), upper.as_raw_fd(), work.as_raw_fd());
    let flags = if privileged { MsFlags::empty() } else { MsFlags::MS_NODEV };
    nix::unistd::chdir("/proc/self/fd")?;
    // What is written goes with the attempt, so none of it need be on the medium (`volatile`, Linux 5.10).
    let mounted =
        [",volatile", ""].iter().map(|more| format!("{options}{more}")).try_fold(Errno::EINVAL, |before, options| {
            match mount(Some("overlay"), point, Some("overlay"), flags, Some(options.as_str())) {
                Ok(()) => Err(Ok(())),
                Err(Errno::EINVAL) => Ok(before),
                Err(e) => Err(Err(e)),
            }
        });
    nix::unistd::chdir("/")?;
    match mounted {
        Ok(e) => Err(e),
        Err(done) => done,
    }
}

/// The old root and all that is mounted in it are out of reach afterwards, of init too: `pivot_root` moves every process
/// that stands in it.
fn change_into(root: &Path) -> Result<(), String> {
    let change = || {
        nix::unistd::chdir(root)?;
        pivot_root(".", ".")?;
        umount2(".", MntFlags::MNT_DETACH)?;
        mount(NONE, "/", NONE, MsFlags::MS_SLAVE | MsFlags::MS_REC, NONE)?;
        nix::unistd::chdir("/")
    };
    change().map_err(|e: Errno| match e {
        Errno::EINVAL => "change the root: the kernel refuses it; the host's own root must not be an initramfs".into(),
        e => format!("change the root: {}", words(e)),
    })
}

/// As runc: an image that names a directory need not have it. Where it cannot be made, entering it says so.
fn make_working_directory(cwd: &str) -> Result<(), String> {
    if Path::new(cwd).is_absolute() && !Path::new(cwd).exists() {
        let _ = DirBuilder::new().recursive(true).mode(0o755).create(cwd);
    }
    Ok(())
}

fn describe(e: &std::io::Error) -> String {
    e.raw_os_error().map_or_else(|| e.to_string(), |code| Errno::from_raw(code).desc().to_string())
}
