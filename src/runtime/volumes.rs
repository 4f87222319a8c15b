//! The volumes of pods as directories of the host: makes them, replaces the content of those that consist of files, and
//! removes them with what is mounted there. Mounts nothing into a container, and knows no ConfigMap.
//!
//! ```text
//! DATA/pods/UID/_volumes/NAME     emptyDir: kept for the pod's life; with medium Memory a tmpfs of its own
//! RUN/volumes/UID/NAME            files; RUN/volumes is a tmpfs of ours, so that no secret comes onto the flash:
//!     ..0a1b2c3d4e5f6a7b/key        one content, whole
//!     ..data -> ..0a1b2c3d4e5f6a7b  swapped by a rename, so a reader finds all of the old or all of the new
//!     key -> ..data/key
//! ```
//!
//! Source of the layout: `pkg/volume/util/atomic_writer.go`; of modes and groups: `pkg/volume/volume_linux.go`.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{Gid, Uid as UserId, chown};
use tokio::sync::Notify;

use crate::model::attempt::{VolumeContent, VolumeFile, VolumeOrder};
use crate::model::{Uid, id, sorted};

use super::home::unescape;
use super::paths::{self, Dirs};

/// The link to the content that is in force.
const DATA: &str = "..data";
/// A link in the making; renamed to where it belongs.
const NEW_LINK: &str = "..new";
/// Letters of a digest in the name of a content.
const DIGEST_LETTERS: usize = 16;
/// The group gets what the owner has of these: the group of a pod (`fsGroup`) can always read.
const GROUP_READS: u32 = 0o440;
const SETGID: u32 = 0o2000;
/// An empty directory is everybody's, as a kubelet makes it.
const EMPTY_MODE: u32 = 0o777;
const DIRECTORY_MODE: u32 = 0o755;
/// Of the directories around volumes: what is in them is nobody's on the host.
const OUTER_MODE: u32 = 0o700;

/// The directory of a volume, made where it is not there yet. What is there stays as it is: a newer content may have come
/// between the order to start a container and its start. Blocks while another volume of the node is being made.
///
/// # Errors
/// What was tried and why it failed, for the container's status.
pub fn prepare(dirs: &Dirs, pod: &Uid, order: &VolumeOrder) -> Result<PathBuf, String> {
    let made = locked(dirs, || match &order.content {
        VolumeContent::Empty { memory: false, .. } => keep(dirs, pod, order),
        VolumeContent::Empty { memory: true, size_max } => keep_in_memory(dirs, pod, order, *size_max),
        VolumeContent::Files(files) => {
            let directory = file_volume(dirs, pod, order)?;
            match fs::symlink_metadata(directory.join(DATA)) {
                Ok(_) => Ok(directory),
                Err(_) => put_files(&directory, files, order.group).map(|()| directory),
            }
        }
    });
    made.map_err(|e| format!("set up volume {:?}: {e}", order.name))
}

/// Puts another content into a volume of files, at once as a whole; makes the volume where it is not there yet. Does
/// nothing to other volumes, and nothing when the content is there already. Under the lock; the content that was there
/// stays in force when it fails.
fn replace_now(dirs: &Dirs, pod: &Uid, order: &VolumeOrder) -> io::Result<()> {
    match &order.content {
        VolumeContent::Empty { .. } => Ok(()),
        VolumeContent::Files(files) => put_files(&file_volume(dirs, pod, order)?, files, order.group),
    }
}

/// Removes all volumes of a pod and unmounts what is mounted below its directories; to be called when none of its processes
/// lives, and before anything else removes these directories. What cannot be unmounted is not removed.
pub fn remove(dirs: &Dirs, pod: &Uid) -> io::Result<()> {
    let home = dirs.file_volumes();
    locked(dirs, || {
        for directory in [dirs.pod(pod), home.join(pod.as_str())] {
            unmount_below(&directory)?;
        }
        remove_tree(&home.join(pod.as_str()))?;
        remove_tree(&dirs.kept_volumes(pod))?;
        // The last one takes the tmpfs along; in use or not empty, it stays.
        if is_mounted(&home)? && fs::read_dir(&home)?.next().is_none() {
            let _ = umount2(&home, MntFlags::UMOUNT_NOFOLLOW);
        }
        Ok(())
    })
}

/// One at a time on this node: shims and the daemon all make volumes.
fn locked<T>(dirs: &Dirs, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let path = dirs.run.join("volumes.lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = file.map_err(|e| about("open", &path, &e))?;
    let _lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, e)| about("lock", &path, &e.into()))?;
    work()
}

// ---- empty directories ---------------------------------------------------------------------------------------------

/// Made under another name first, so that what has the name has its mode and group.
fn keep(dirs: &Dirs, pod: &Uid, order: &VolumeOrder) -> io::Result<PathBuf> {
    let (outer, directory) = kept(dirs, pod, order)?;
    if directory.is_dir() {
        return Ok(directory);
    }
    let new = outer.join(format!("{}.new", order.name));
    remove_tree(&new)?;
    make_dir(&new, OUTER_MODE)?;
    own(&new, order.group, EMPTY_MODE | group_bits(order.group))?;
    fs::rename(&new, &directory)?;
    Ok(directory)
}

fn keep_in_memory(dirs: &Dirs, pod: &Uid, order: &VolumeOrder, size_max: Option<u64>) -> io::Result<PathBuf> {
    let (_, directory) = kept(dirs, pod, order)?;
    make_dirs(&directory)?;
    if !is_mounted(&directory)? {
        let size = size_max.map_or(String::new(), |size| format!(",size={size}"));
        let group = order.group.map_or(String::new(), |group| format!(",gid={group}"));
        let mode = EMPTY_MODE | group_bits(order.group);
        mount_tmpfs(&directory, &format!("mode={mode:o}{group}{size}"))?;
    }
    Ok(directory)
}

fn kept(dirs: &Dirs, pod: &Uid, order: &VolumeOrder) -> io::Result<(PathBuf, PathBuf)> {
    check_names(pod, order)?;
    let outer = dirs.kept_volumes(pod);
    make_dirs(&outer)?;
    Ok((outer.clone(), outer.join(&order.name)))
}

// ---- volumes of files ----------------------------------------------------------------------------------------------

/// The directory of a volume of files, in memory where this process may mount; else where the run directory is.
fn file_volume(dirs: &Dirs, pod: &Uid, order: &VolumeOrder) -> io::Result<PathBuf> {
    check_names(pod, order)?;
    let home = dirs.file_volumes();
    make_dirs(&home)?;
    if UserId::effective().is_root() && !is_mounted(&home)? {
        match mount_tmpfs(&home, &format!("mode={OUTER_MODE:o}")) {
            // Root in a container that lacks the right.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {}
            mounted => mounted?,
        }
    }
    let directory = home.join(pod.as_str()).join(&order.name);
    make_dirs(&directory)?;
    own(&directory, order.group, DIRECTORY_MODE | group_bits(order.group))?;
    Ok(directory)
}

/// Links come first and lead nowhere for a moment, so that a volume with a content in force is always whole.
fn put_files(directory: &Path, files: &[VolumeFile], group: Option<u32>) -> io::Result<()> {
    let name = name_of(files, group);
    let wanted = sorted::set(files.iter().filter_map(|file| file.path.split('/').next()));
    if fs::read_link(directory.join(DATA)).ok().as_deref() != Some(Path::new(&name)) {
        let content = directory.join(&name);
        // What is there of it was not finished.
        remove_tree(&content)?;
        if let Err(e) = write_content(&content, files, group) {
            let _ = remove_tree(&content);
            return Err(e);
        }
        wanted.iter().try_for_each(|name| link(directory, name, &format!("{DATA}/{name}")))?;
        link(directory, DATA, &name)?;
    }
    clear(directory, |entry| entry == DATA || entry == name || wanted.contains(entry))
}

fn name_of(files: &[VolumeFile], group: Option<u32>) -> String {
    let parts = files.iter().map(|f| format!("{}\0{:o}\0{}\0", f.path, f.mode, f.data)).collect::<String>();
    format!("..{}", &id::sha256_hex(format!("{group:?}\0{parts}").as_bytes())[..DIGEST_LETTERS])
}

fn write_content(content: &Path, files: &[VolumeFile], group: Option<u32>) -> io::Result<()> {
    make_dir(content, OUTER_MODE)?;
    let mut directories = sorted::set([content.to_path_buf()]);
    for file in files {
        if !is_inside(&file.path) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("{:?} leads out of the volume", file.path),
            ));
        }
        let path = content.join(&file.path);
        let outer = path.ancestors().skip(1).take_while(|outer| *outer != content);
        directories.extend(outer.map(Path::to_path_buf));
        write_file(&path, file, group).map_err(|e| about("write", &path, &e))?;
    }
    let mode = DIRECTORY_MODE | group_bits(group);
    directories.iter().try_for_each(|directory| own(directory, group, mode))
}

fn write_file(path: &Path, file: &VolumeFile, group: Option<u32>) -> io::Result<()> {
    let bytes = BASE64.decode(&file.data).map_err(io::Error::other)?;
    if let Some(outer) = path.parent() {
        make_dirs(outer)?;
    }
    let flags = nix::fcntl::OFlag::O_NOFOLLOW.bits();
    let mut open = OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(flags).open(path)?;
    open.write_all(&bytes)?;
    own(path, group, (file.mode & 0o777) | group.map_or(0, |_| GROUP_READS))
}

/// A link with this name and target, in place of what has its name, if anything.
fn link(directory: &Path, name: &str, target: &str) -> io::Result<()> {
    if fs::read_link(directory.join(name)).ok().as_deref() == Some(Path::new(target)) {
        return Ok(());
    }
    let new = directory.join(NEW_LINK);
    remove_tree(&new)?;
    symlink(target, &new).map_err(|e| about("link", &new, &e))?;
    fs::rename(&new, directory.join(name)).map_err(|e| about("rename", &new, &e))
}

/// Removes links of what is no more, and contents that are no longer in force.
fn clear(directory: &Path, is_kept: impl Fn(&str) -> bool) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(&is_kept) {
            remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

/// Relative, and without a part that leads up or may be taken for one of ours.
fn is_inside(path: &str) -> bool {
    !path.starts_with("..") && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

// ---- directories and mounts ----------------------------------------------------------------------------------------

fn check_names(pod: &Uid, order: &VolumeOrder) -> io::Result<()> {
    let is_sound = paths::is_part(pod.as_str()) && paths::is_part(&order.name);
    let bad = || io::Error::new(io::ErrorKind::InvalidInput, format!("{pod}/{} cannot be a path", order.name));
    is_sound.then_some(()).ok_or_else(bad)
}

fn make_dirs(path: &Path) -> io::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(OUTER_MODE).create(path);
    made.map_err(|e| about("make directory", path, &e))
}

fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().mode(mode).create(path).map_err(|e| about("make directory", path, &e))
}

/// What is made in a directory of the pod's group belongs to that group.
fn group_bits(group: Option<u32>) -> u32 {
    group.map_or(0, |_| SETGID)
}

/// Group first: a change of owner takes the setgid bit away.
fn own(path: &Path, group: Option<u32>, mode: u32) -> io::Result<()> {
    if let Some(group) = group {
        let owned = chown(path, None, Some(Gid::from_raw(group))).map_err(io::Error::from);
        owned.map_err(|e| about(&format!("give to group {group}"), path, &e))?;
    }
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(|e| about("set the mode of", path, &e))
}

/// Removes a file, a link or a directory with all that is in it; follows no link. Nothing is done where nothing is.
fn remove_tree(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    match removed {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(|e| about("remove", path, &e)),
    }
}

fn mount_tmpfs(path: &Path, options: &str) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let mounted = mount(Some("pinnace"), path, Some("tmpfs"), flags, Some(options));
    mounted.map_err(|e| match e {
        Errno::EPERM => {
            let text = "the node must run as root to keep a volume in memory";
            io::Error::new(io::ErrorKind::PermissionDenied, format!("mount a tmpfs on {}: {e}; {text}", path.display()))
        }
        e => about("mount a tmpfs on", path, &e.into()),
    })
}

fn is_mounted(path: &Path) -> io::Result<bool> {
    Ok(mounts()?.iter().any(|mount| mount == path))
}

/// What was mounted last goes first. A mount that a pod's processes had made shared reaches the host, too.
fn unmount_below(directory: &Path) -> io::Result<()> {
    for path in mounts()?.iter().rev().filter(|path| path.starts_with(directory)) {
        let gone = umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
        gone.map_err(|e| about("unmount", path, &e.into()))?;
    }
    Ok(())
}

/// In the order in which they were mounted.
fn mounts() -> io::Result<Vec<PathBuf>> {
    let text = fs::read_to_string("/proc/self/mountinfo")?;
    Ok(text.lines().filter_map(|line| Some(PathBuf::from(unescape(line.split(' ').nth(4)?)))).collect())
}

fn about(what: &str, path: &Path, e: &io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("{what} {}: {e}", path.display()))
}

// ---- replacements that wait ----------------------------------------------------------------------------------------

/// Contents that are to be put in place beside the loop. Of two for one volume the later is the one.
#[derive(Debug, Default)]
pub struct Projections {
    waiting: Mutex<BTreeMap<(Uid, String), Arc<VolumeOrder>>>,
    come: Notify,
}

impl Projections {
    pub fn add(&self, pod: &Uid, order: &VolumeOrder) {
        self.lock().insert((pod.clone(), order.name.clone()), Arc::new(order.clone()));
        self.come.notify_one();
    }

    /// The pod is being removed: nothing of it is made any more. What is just being made is gone when `remove` returns.
    pub fn forget(&self, pod: &Uid) {
        self.lock().retain(|(other, _), _| other != pod);
    }

    /// Returns when there is something that was not there before.
    pub async fn come(&self) {
        self.come.notified().await;
    }

    /// Puts all that wait in place. What fails is logged and goes on waiting; false when something does.
    pub fn work_off(&self, dirs: &Dirs) -> bool {
        let waiting: Vec<_> = self.lock().keys().cloned().collect();
        // Each is tried, also after one has failed.
        waiting.iter().filter(|key| !self.work_off_one(dirs, key)).count() == 0
    }

    /// Looks what to write only under the lock that `remove` takes as well, and that orders all writers: no older content
    /// is written after a newer one, and none after the pod is gone.
    fn work_off_one(&self, dirs: &Dirs, key: &(Uid, String)) -> bool {
        let worked = locked(dirs, || {
            let Some(order) = self.lock().get(key).cloned() else { return Ok(()) };
            replace_now(dirs, &key.0, &order)?;
            let mut waiting = self.lock();
            if waiting.get(key).is_some_and(|now| Arc::ptr_eq(now, &order)) {
                waiting.remove(key);
            }
            Ok(())
        });
        if let Err(e) = &worked {
            tracing::warn!("replace volume {:?} of pod {}: {e}; it is tried again", key.1, key.0);
        }
        worked.is_ok()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Uid, String), Arc<VolumeOrder>>> {
        // No change to the map can be half done.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
